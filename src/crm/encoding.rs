//! Values that cannot be converted to UTF-8: a byte that the database's encoding does not define, or any bytes at all where
//! the encoding is `SQL_ASCII`. One such value makes the server refuse the whole SELECT.

use sqlx::{AssertSqlSafe, Connection as _, Row as _, postgres::PgConnection};

use super::{CrmRows, EmployeeTexts, Error, UNREADABLE_PHONE};
use crate::postgres::{Reason, unnamed};

/// How many conversions may fail in one read. Finding one bad value among 10,000 costs about 14.
const MOST_FAILURES: usize = 2_000;

/// What could not be converted to UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconvertible {
    /// What the CRM's database says its encoding is.
    pub encoding: String,
    /// The ids of the rows whose name or phone is left out. A name that is left out rejects its row.
    pub ids: Vec<String>,
    /// How many rows have an id that is left out itself: they count as rows without an id.
    pub unreadable_ids: usize,
}

/// Whether the server could not convert a value. 22021: character not in repertoire; 22P05: untranslatable character.
pub(super) fn is_conversion_failure(sqlstate: Option<&str>) -> bool {
    matches!(sqlstate, Some("22021" | "22P05"))
}

/// Runs `select`, which gives the bytes of `id`, `name` and `phone`, and leaves out what cannot be converted.
pub(super) async fn read_convertible(tx: &mut PgConnection, select: &str) -> Result<CrmRows, Error> {
    let rows = sqlx::query(AssertSqlSafe(select.to_owned()))
        .fetch_all(unnamed(tx))
        .await?;
    let mut stored = Vec::with_capacity(3 * rows.len());
    for row in &rows {
        for column in 0..3 {
            stored.push(row.try_get::<Option<Vec<u8>>, _>(column)?);
        }
    }
    drop(rows);
    let encoding: String = sqlx::query_scalar("SELECT getdatabaseencoding()::text")
        .fetch_one(unnamed(tx))
        .await?;
    let mut texts = convert_all(tx, &stored, &encoding).await?;

    let mut unconvertible = Unconvertible {
        encoding,
        ids: Vec::new(),
        unreadable_ids: 0,
    };
    let mut rows = Vec::with_capacity(texts.len() / 3);
    for (stored, texts) in stored.chunks_exact(3).zip(texts.chunks_exact_mut(3)) {
        let is_lost = |column: usize| stored[column].is_some() && texts[column].is_none();
        let [id_is_lost, name_is_lost, phone_is_lost] = [0, 1, 2].map(is_lost);
        let row = EmployeeTexts {
            id: texts[0].take(),
            name: texts[1].take(),
            phone: if phone_is_lost {
                Some(UNREADABLE_PHONE.into())
            } else {
                texts[2].take()
            },
        };
        if id_is_lost {
            unconvertible.unreadable_ids += 1;
        } else if name_is_lost || phone_is_lost {
            unconvertible.ids.extend(row.id.clone());
        }
        rows.push(row);
    }
    Ok(CrmRows {
        rows,
        unconvertible: Some(unconvertible),
    })
}

/// The values as text; `None` for those that cannot be converted. What fails as a whole is tried in halves.
async fn convert_all(
    tx: &mut PgConnection,
    stored: &[Option<Vec<u8>>],
    encoding: &str,
) -> Result<Vec<Option<String>>, Error> {
    let mut texts = vec![None; stored.len()];
    let mut failures = 0;
    let everything = 0..stored.len();
    let mut ranges = vec![everything];
    while let Some(range) = ranges.pop() {
        match convert(tx, &stored[range.clone()]).await {
            Ok(converted) => texts[range].clone_from_slice(&converted),
            Err(error) if !is_conversion_failure(error.sqlstate()) => return Err(error),
            Err(_) => {
                failures += 1;
                if failures > MOST_FAILURES {
                    return Err(too_many(encoding));
                }
                if range.len() > 1 {
                    let middle = usize::midpoint(range.start, range.end);
                    ranges.extend([range.start..middle, middle..range.end]);
                }
            }
        }
    }
    Ok(texts)
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

fn too_many(encoding: &str) -> Error {
    let text = format!(
        "very many values cannot be converted from the database's encoding, {encoding}, to UTF-8; these rows are among \
         them: SELECT * FROM the employees' table WHERE name::text ~ '[^[:ascii:]]'"
    );
    Error::Query(Reason::new(text, Some("22021")))
}
