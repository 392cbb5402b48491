//! Turns the bytes that the CRM's database stores into text.
//!
//! The values are read as bytes: a server that is to convert them refuses the whole SELECT because of one byte that the
//! database's encoding does not define, or, where the encoding is `SQL_ASCII`, because of any byte that is no UTF-8.

use sqlx::{Connection as _, postgres::PgConnection};

use super::{CrmRow, CrmRows, UNREADABLE_PHONE, select::Select};
use crate::postgres::{Reason, unnamed};

/// How many ids the query for people names.
const IDS_IN_QUERY: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unconvertible {
    /// What the CRM's database says its encoding is.
    pub(crate) encoding: String,
    /// The ids of the rows whose name or phone is left out. A name that is left out rejects its row.
    pub(crate) ids: Vec<String>,
    /// How many rows have an id that is left out itself: they count as rows without an id.
    pub(crate) unreadable_ids: usize,
    /// SQL that shows such values.
    pub(crate) query: String,
}

pub(super) struct StoredRow {
    /// Id, name and phone.
    pub(super) values: [Option<Vec<u8>>; 3],
    pub(super) is_active: bool,
}

/// The value cannot be converted.
struct NotConvertible;

/// The rows as text, without what cannot be converted.
pub(super) async fn decode(tx: &mut PgConnection, select: &Select, stored: Vec<StoredRow>) -> Result<CrmRows, Reason> {
    let mut converted = match select.encoding.as_str() {
        "UTF8" | "SQL_ASCII" => None,
        _ => Some(convert_all(tx, &stored).await?.into_iter()),
    };
    let mut rows = Vec::with_capacity(stored.len());
    let mut ids = Vec::new();
    let mut unreadable_ids = 0;
    for StoredRow { values, is_active } in stored {
        let [id, name, phone] = values.map(|bytes| {
            let converted = converted.as_mut().and_then(Iterator::next);
            let Some(bytes) = bytes else {
                return Ok(None);
            };
            let text = converted.unwrap_or_else(|| String::from_utf8(bytes).ok());
            text.map(Some).ok_or(NotConvertible)
        });
        match &id {
            Err(NotConvertible) => unreadable_ids += 1,
            Ok(Some(id)) if name.is_err() || phone.is_err() => ids.push(id.clone()),
            Ok(_) => {}
        }
        rows.push(CrmRow {
            id: id.unwrap_or_default(),
            name: name.unwrap_or_default(),
            phone: phone.unwrap_or_else(|NotConvertible| Some(UNREADABLE_PHONE.to_owned())),
            is_active,
        });
    }
    let has_lost = unreadable_ids > 0 || !ids.is_empty();
    let unconvertible = has_lost.then(|| Unconvertible {
        encoding: select.encoding.clone(),
        query: select.escaped(&ids[..ids.len().min(IDS_IN_QUERY)], unreadable_ids > 0),
        ids,
        unreadable_ids,
    });
    Ok(CrmRows { rows, unconvertible })
}

/// The values, converted by the server; `None` for those that cannot be. What fails as a whole is tried in halves.
async fn convert_all(tx: &mut PgConnection, stored: &[StoredRow]) -> Result<Vec<Option<String>>, Reason> {
    let values: Vec<&Option<Vec<u8>>> = stored.iter().flat_map(|row| &row.values).collect();
    let mut texts = vec![None; values.len()];
    let everything = 0..values.len();
    let mut ranges = vec![everything];
    while let Some(range) = ranges.pop() {
        match convert(tx, &values[range.clone()]).await {
            Ok(converted) => texts[range].clone_from_slice(&converted),
            // 22021: character not in repertoire; 22P05: untranslatable character.
            Err(error) if !matches!(error.sqlstate(), Some("22021" | "22P05")) => return Err(error),
            Err(_) if range.len() > 1 => {
                let middle = usize::midpoint(range.start, range.end);
                ranges.extend([range.start..middle, middle..range.end]);
            }
            Err(_) => {}
        }
    }
    Ok(texts)
}

async fn convert(tx: &mut PgConnection, values: &[&Option<Vec<u8>>]) -> Result<Vec<Option<String>>, Reason> {
    // A savepoint, so that a failure does not end the transaction. Dropping it goes back to where it was.
    let mut savepoint = tx.begin().await?;
    let texts = sqlx::query_scalar(
        "SELECT convert_from(value, getdatabaseencoding()) \
         FROM unnest($1::bytea[]) WITH ORDINALITY AS stored (value, position) ORDER BY position",
    )
    .bind(values)
    .fetch_all(unnamed(&mut savepoint))
    .await?;
    savepoint.commit().await?;
    Ok(texts)
}
