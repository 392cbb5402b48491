//! Reading the CRM: the only SQL against it.
//!
//! The employees are read by one statement in a read-only `READ COMMITTED` transaction. One statement sees one moment, and
//! sees it after its table locks are granted. Under `REPEATABLE READ` the moment is fixed before: a table or partition that
//! is reloaded by `TRUNCATE` and `INSERT` in one transaction would read as empty, although nobody else ever sees it empty.
//!
//! Identifiers are quoted, so any legal name works and none can be run as SQL. A query of the operator's own runs as a
//! sub-select through the extended protocol, which takes one statement only.

mod columns;
mod encoding;
mod rights;
mod select;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sqlx::{
    Row as _,
    postgres::{PgConnectOptions, PgConnection},
};

pub(crate) use self::{
    columns::is_near,
    encoding::Unconvertible,
    rights::{FoundTable, Role},
    source::{Columns, Source, TableName},
};
use self::{
    encoding::StoredRow,
    select::{Select, Whose},
};
use crate::{
    employee::{PhoneReader, Roster, Row},
    postgres::{self, CRM_MARGIN, Database, Reason, unnamed},
};

/// The SELECT itself cuts values, so that huge ones cost no memory: names to this many characters (bytes under `SQL_ASCII`).
/// 200 characters have 800 bytes at most; as many again are for blanks around them.
const NAME_CUT: usize = 1_601;

/// The same for a phone: one of more than 64 characters is not read.
const PHONE_CUT: usize = 257;

/// A text that is no phone, in place of one that was cut or cannot be converted to UTF-8.
const UNREADABLE_PHONE: &str = "?";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the CRM database is unavailable: {0}; {remedy}", remedy = .0.remedy("crm.url"))]
    Unavailable(Reason),
    /// The database refuses the query: the table, a column or a right is missing, or it takes too long.
    #[error("the CRM cannot be read: {0}{hint}", hint = hint(.0))]
    Query(Reason),
}

/// What to check, where the reason does not say it by itself.
fn hint(reason: &Reason) -> &'static str {
    match reason.sqlstate() {
        Some("42703" | "57014") => "",
        // In a SELECT whose source could be described, only the condition can have a wrong type.
        Some("42804") => {
            "; the active column is not a boolean: correct crm.columns.active, or write a condition in crm.query, such as \
             `status = 'works' AS active`"
        }
        Some("42501") => "; GRANT SELECT to the role of crm.url",
        Some("42P01" | "3F000") => "; check crm.table or crm.query, and in which database and schema the table is",
        _ => "; check crm.table, crm.columns or crm.query",
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        if reason.is_unavailable() {
            Self::Unavailable(reason)
        } else {
            Self::Query(reason)
        }
    }
}

#[derive(Clone)]
pub(crate) struct Crm {
    database: Database,
    source: Source,
    begin: String,
    query_timeout: Duration,
}

impl Crm {
    /// The CRM in the database that `options` lead to. Connects when first used. The server ends a statement that takes
    /// longer than `query_timeout`; a whole read ends 5 seconds later, whatever the server does.
    pub(crate) fn new(options: PgConnectOptions, source: Source, query_timeout: Duration) -> Self {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout TO {}",
            query_timeout.as_millis().clamp(1, i32::MAX as u128)
        );
        Self {
            database: Database::new(options),
            source,
            begin,
            query_timeout,
        }
    }

    /// Connects in the background.
    pub(crate) fn connect_ahead(&self) {
        self.database.connect_ahead();
    }

    pub(crate) async fn read(&self) -> Result<CrmRows, Error> {
        self.read_rows("reading the employees", Whose::AllActive).await
    }

    /// The rows whose id is `id`, or differs from it by case and blanks alone, as the CRM has them, but cut: at most 20,
    /// those that are not active too. For `explain`.
    pub(crate) async fn rows_of(&self, id: &str) -> Result<Vec<CrmRow>, Error> {
        let rows = self.read_rows("reading one employee's rows", Whose::Id(id)).await?;
        Ok(rows.rows)
    }

    async fn read_rows(&self, purpose: &str, whose: Whose<'_>) -> Result<CrmRows, Error> {
        self.transaction(purpose, async |tx| {
            let select = Select::new(tx, &self.source).await?;
            let stored = read_stored(tx, &select, whose).await?;
            encoding::decode(tx, &select, stored).await
        })
        .await
    }

    async fn transaction<T>(
        &self,
        purpose: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Reason>,
    ) -> Result<T, Error> {
        let limit = self.query_timeout + CRM_MARGIN;
        let result = self.database.transaction(limit, purpose, &self.begin, work).await;
        result.map_err(|reason| match reason.sqlstate() {
            // The statement was cancelled.
            Some("57014") => {
                let limit = postgres::seconds(self.query_timeout);
                let text = format!(
                    "the server cancelled the query while {purpose}: it took longer than crm.query_timeout ({limit}), or \
                     somebody cancelled it"
                );
                Error::Query(Reason::new(text, Some("57014")))
            }
            _ => reason.into(),
        })
    }
}

async fn read_stored(tx: &mut PgConnection, select: &Select, whose: Whose<'_>) -> Result<Vec<StoredRow>, Reason> {
    let query = select.query(whose);
    let mut found = query.fetch(unnamed(tx));
    let mut rows = Vec::new();
    while let Some(row) = found.try_next().await? {
        rows.push(StoredRow {
            values: [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?],
            is_active: row.try_get::<Option<bool>, _>(3)?.unwrap_or(false),
        });
    }
    Ok(rows)
}

#[derive(Default)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct CrmRows {
    rows: Vec<CrmRow>,
    pub(crate) unconvertible: Option<Unconvertible>,
}

impl CrmRows {
    pub(crate) fn roster(&self, phones: &PhoneReader) -> Roster {
        Roster::from_rows(self.rows.iter().map(CrmRow::parsed), phones)
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct CrmRow {
    #[serde(skip)]
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) phone: Option<String>,
    #[serde(rename = "active")]
    pub(crate) is_active: bool,
}

impl CrmRow {
    /// The row with what may have been cut left out: trimmed, the rest of it could pass for a valid value.
    fn parsed(&self) -> Row<'_> {
        let phone = self.phone.as_deref();
        Row {
            id: self.id.as_deref(),
            name: self.name.as_deref().filter(|name| name.len() < NAME_CUT),
            phone: phone.map(|phone| {
                if phone.len() < PHONE_CUT {
                    phone
                } else {
                    UNREADABLE_PHONE
                }
            }),
        }
    }
}
