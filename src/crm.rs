//! Reading the CRM: the only SQL against it, in one read-only transaction.
//!
//! Identifiers are quoted, so any legal name works and none can be run as SQL. A query of the operator's own runs wrapped
//! as a sub-select.

use std::time::Duration;

use futures_util::TryStreamExt;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Column as _, PgPool, Postgres, Row as _, Transaction};

use crate::{
    employee::{PhoneReader, Roster, RosterBuilder, Row},
    postgres::{describe, is_unavailable, options, pool, quoted},
};

/// Where the employees are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A table: its name, with its schema before it if there is one, and its columns.
    Table {
        /// The parts of the name.
        name: Vec<String>,
        /// The columns.
        columns: Columns,
    },
    /// A SELECT that gives `id`, `name` and, where there are such, `phone` and `active`.
    Query(String),
}

/// The columns of a table.
#[derive(Debug, Clone)]
pub struct Columns {
    /// The id: of any type.
    pub id: String,
    /// The name.
    pub name: String,
    /// The phone.
    pub phone: Option<String>,
    /// Whether the employee is active: boolean.
    pub active: Option<String>,
}

/// The CRM cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database does not answer.
    #[error("the CRM database is unavailable: {0}")]
    Unavailable(String),
    /// The database refuses the query: the table, a column or a right is missing, or it takes too long.
    #[error("the CRM cannot be read: {0}; check crm.table, crm.columns or crm.query, and the role's rights")]
    Query(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let reason = describe(&error);
        if is_unavailable(&error) {
            Self::Unavailable(reason)
        } else {
            Self::Query(reason)
        }
    }
}

/// The CRM.
#[derive(Debug, Clone)]
pub struct Crm {
    pool: PgPool,
    source: Source,
    begin: String,
}

impl Crm {
    /// The CRM at `url`. Connects when first used; a statement that takes longer than `query_timeout` is ended.
    ///
    /// # Errors
    /// If `url` is no URL of a Postgres.
    pub fn new(url: &SecretString, source: Source, query_timeout: Duration) -> Result<Self, sqlx::Error> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout TO {}",
            query_timeout.as_millis().clamp(1, i32::MAX as u128)
        );
        Ok(Self {
            pool: pool(options(url)?, 1),
            source,
            begin,
        })
    }

    /// Opens a connection, so that it is there when it is needed.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn connect(&self) -> Result<(), Error> {
        self.pool.acquire().await?;
        Ok(())
    }

    /// Reads whom the CRM wants in Wazzup, reading phones with `phones`.
    ///
    /// # Errors
    /// If the database does not answer or refuses the query.
    pub async fn read(&self, phones: PhoneReader) -> Result<Roster, Error> {
        let mut roster = RosterBuilder::new(phones);
        self.rows("", None, |row| roster.push(row)).await?;
        Ok(roster.finish())
    }

    /// Reads the rows of one id.
    ///
    /// # Errors
    /// If the database does not answer or refuses the query.
    pub async fn read_one(&self, id: &str, phones: PhoneReader) -> Result<Roster, Error> {
        let mut roster = RosterBuilder::new(phones);
        self.rows(" WHERE id = $1", Some(id), |row| roster.push(row)).await?;
        Ok(roster.finish())
    }

    /// Hands the active rows that `filter` leaves (its `$1` is `id`) to `take`, one by one.
    async fn rows(&self, filter: &str, id: Option<&str>, mut take: impl FnMut(Row<'_>)) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let rows = self.select(&mut tx).await?;
        let sql = AssertSqlSafe(format!("SELECT id, name, phone FROM ({rows}) AS employees{filter}"));
        let mut query = sqlx::query(sql).persistent(false);
        if let Some(id) = id {
            query = query.bind(id);
        }
        {
            let mut rows = query.fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                take(Row {
                    id: row.try_get(0)?,
                    name: row.try_get(1)?,
                    phone: row.try_get(2)?,
                });
            }
        }
        tx.commit().await?;
        Ok(())
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        Ok(self.pool.begin_with(AssertSqlSafe(self.begin.clone())).await?)
    }

    /// The SELECT that gives `id`, `name` and `phone` of the active employees as text.
    async fn select(&self, tx: &mut Transaction<'static, Postgres>) -> Result<String, Error> {
        let (from, columns) = match &self.source {
            Source::Table { name, columns } => (
                name.iter().map(|part| quoted(part)).collect::<Vec<_>>().join("."),
                columns.clone(),
            ),
            Source::Query(query) => {
                // On lines of its own: it may end with a comment.
                let from = format!("(\n{query}\n) AS crm_query");
                // The first row tells the columns; without one there is nothing to read anyway.
                let sql = AssertSqlSafe(format!("SELECT * FROM {from} LIMIT 1"));
                let first = sqlx::query(sql).persistent(false).fetch_optional(&mut **tx).await?;
                let has = |name: &str| first.iter().any(|row| row.columns().iter().any(|it| it.name() == name));
                let optional = |name: &str| has(name).then(|| name.to_owned());
                let columns = Columns {
                    id: "id".into(),
                    name: "name".into(),
                    phone: optional("phone"),
                    active: optional("active"),
                };
                (from, columns)
            }
        };
        let phone = columns.phone.map_or_else(|| "NULL".into(), |it| quoted(&it));
        let active = columns
            .active
            .map(|it| format!(" WHERE {}::boolean", quoted(&it)))
            .unwrap_or_default();
        let (id, name) = (quoted(&columns.id), quoted(&columns.name));
        Ok(format!(
            "SELECT {id}::text AS id, {name}::text AS name, {phone}::text AS phone FROM {from}{active}"
        ))
    }

    /// Whether the role could change the employees' table, or anything if the CRM is read by a query. Warned of by
    /// `check`: the daemon needs no more than SELECT.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn role_can_write(&self) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let table = match &self.source {
            Source::Table { name, .. } => Some(name.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")),
            Source::Query(_) => None,
        };
        let can_write: bool = sqlx::query_scalar(
            "SELECT CASE WHEN $1::text IS NOT NULL THEN has_table_privilege($1, 'INSERT, UPDATE, DELETE, TRUNCATE') \
             ELSE EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
                 AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) END",
        )
        .bind(table)
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
        Ok(can_write)
    }
}
