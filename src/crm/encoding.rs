//! Values that cannot be converted to UTF-8: a byte that the database's encoding does not define, or any bytes at all where
//! the encoding is `SQL_ASCII`. One such value makes the server refuse the whole SELECT.

use sqlx::{Connection as _, Row as _, postgres::PgConnection};

use super::{
    CrmRow, CrmRows, Error, UNREADABLE_PHONE,
    select::{Encoding, Select, Whose},
};
use crate::postgres::{Reason, unnamed};

/// How many conversions may fail in one read. Finding one bad value among 10,000 costs about 14.
const MOST_FAILURES: usize = 2_000;

/// How many ids the query for people names.
const IDS_IN_QUERY: usize = 20;

/// What could not be converted to UTF-8.
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

/// Whether the server could not convert a value. 22021: character not in repertoire; 22P05: untranslatable character.
pub(super) fn is_conversion_failure(error: &Error) -> bool {
    matches!(error.sqlstate(), Some("22021" | "22P05"))
}

/// Reads the bytes of the rows, and leaves out what cannot be converted.
pub(super) async fn read_convertible(
    tx: &mut PgConnection,
    select: &Select,
    whose: Whose<'_>,
) -> Result<CrmRows, Error> {
    let query = select.query(whose, Encoding::AsStored);
    let read = query.fetch_all(unnamed(tx)).await?;
    let mut stored = Vec::with_capacity(3 * read.len());
    let mut rows = Vec::with_capacity(read.len());
    for row in &read {
        for column in 0..3 {
            stored.push(row.try_get::<Option<Vec<u8>>, _>(column)?);
        }
        rows.push(CrmRow {
            is_active: CrmRow::read_active(row)?,
            ..CrmRow::default()
        });
    }
    drop(read);
    let encoding: String = sqlx::query_scalar("SELECT getdatabaseencoding()::text")
        .fetch_one(unnamed(tx))
        .await?;
    let Some(mut texts) = convert_all(tx, &stored).await? else {
        return Err(too_many(&encoding, select));
    };

    let mut ids = Vec::new();
    let mut unreadable_ids = 0;
    let values = stored.chunks_exact(3).zip(texts.chunks_exact_mut(3));
    for (row, (stored, texts)) in rows.iter_mut().zip(values) {
        let is_lost = |column: usize| stored[column].is_some() && texts[column].is_none();
        let [id_is_lost, name_is_lost, phone_is_lost] = [0, 1, 2].map(is_lost);
        row.id = texts[0].take();
        row.name = texts[1].take();
        row.phone = texts[2].take();
        if phone_is_lost {
            row.phone = Some(UNREADABLE_PHONE.into());
        }
        if id_is_lost {
            unreadable_ids += 1;
        } else if name_is_lost || phone_is_lost {
            ids.extend(row.id.clone());
        }
    }
    let named_ids = &ids[..ids.len().min(IDS_IN_QUERY)];
    let query = select.escaped(named_ids, unreadable_ids > 0);
    Ok(CrmRows {
        rows,
        unconvertible: Some(Unconvertible {
            encoding,
            ids,
            unreadable_ids,
            query,
        }),
    })
}

/// The values as text; `None` for those that cannot be converted. What fails as a whole is tried in halves; if too much
/// fails, there is no result.
async fn convert_all(tx: &mut PgConnection, stored: &[Option<Vec<u8>>]) -> Result<Option<Vec<Option<String>>>, Error> {
    let mut texts = vec![None; stored.len()];
    let mut failures = 0;
    let everything = 0..stored.len();
    let mut ranges = vec![everything];
    while let Some(range) = ranges.pop() {
        match convert(tx, &stored[range.clone()]).await {
            Ok(converted) => texts[range].clone_from_slice(&converted),
            Err(error) if !is_conversion_failure(&error) => return Err(error),
            Err(_) if failures == MOST_FAILURES => return Ok(None),
            Err(_) => {
                failures += 1;
                if range.len() > 1 {
                    let middle = usize::midpoint(range.start, range.end);
                    ranges.extend([range.start..middle, middle..range.end]);
                }
            }
        }
    }
    Ok(Some(texts))
}

async fn convert(tx: &mut PgConnection, stored: &[Option<Vec<u8>>]) -> Result<Vec<Option<String>>, Error> {
    // A savepoint, so that a failure does not end the transaction. Dropping it goes back to where it was.
    let mut savepoint = tx.begin().await?;
    let texts = sqlx::query_scalar(
        "SELECT convert_from(value, getdatabaseencoding()) \
         FROM unnest($1::bytea[]) WITH ORDINALITY AS stored (value, position) ORDER BY position",
    )
    .bind(stored)
    .fetch_all(unnamed(&mut savepoint))
    .await?;
    savepoint.commit().await?;
    Ok(texts)
}

fn too_many(encoding: &str, select: &Select) -> Error {
    let query = select.escaped_beyond_ascii();
    let text = format!(
        "more than {MOST_FAILURES} values cannot be converted from the database's encoding, {encoding}, to UTF-8; they are \
         among the rows of: {query}"
    );
    Error::Query(Reason::new(text, Some("22021")))
}
