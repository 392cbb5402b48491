//! Reading the CRM: the only SQL against it, in one read-only transaction.
//!
//! Identifiers are quoted, so any legal name works and none can be run as SQL. A query of the operator's own runs wrapped
//! as a sub-select.

use std::{fmt, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Column as _, PgPool, Postgres, Row as _, Transaction, postgres::PgConnectOptions};

use crate::{
    employee::{PhoneReader, Roster, RosterBuilder, Row},
    postgres::{Reason, is_unavailable, options, pool, quoted, unnamed},
};

/// So many phones are not read on the thread that does everything else.
const MANY_PHONES: usize = 10_000;

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
    Unavailable(Reason),
    /// The database refuses the query: the table, a column or a right is missing, or it takes too long.
    #[error("the CRM cannot be read: {0}; check crm.table, crm.columns or crm.query, and the role's rights")]
    Query(Reason),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let reason = Reason::from(&error);
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
    /// The CRM that `connection` leads to. Connects when first used; a statement that takes longer than `query_timeout` is ended.
    #[must_use]
    pub fn new(connection: PgConnectOptions, source: Source, query_timeout: Duration) -> Self {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout TO {}",
            query_timeout.as_millis().clamp(1, i32::MAX as u128)
        );
        Self {
            pool: pool(options(connection), 1),
            source,
            begin,
        }
    }

    /// Opens a connection, so that it is there when it is needed.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn connect(&self) -> Result<(), Error> {
        self.pool.acquire().await?;
        Ok(())
    }

    /// Reads whom the CRM wants in Wazzup. The first phone is read when `phones` is there; the database works meanwhile.
    ///
    /// # Errors
    /// If the database does not answer or refuses the query.
    pub async fn read(&self, phones: impl Future<Output = PhoneReader>) -> Result<Roster, Error> {
        let mut tx = self.begin().await?;
        let rows = self.select(&mut tx, Which::Active).await?;
        let sql = AssertSqlSafe(format!("SELECT id, name, phone FROM ({rows}) AS employees"));
        let roster = {
            let mut rows = sqlx::query(sql).fetch(unnamed(&mut tx));
            let mut next = rows.try_next().await?;
            let mut roster = RosterBuilder::new(phones.await);
            while let Some(row) = next {
                roster.push(Row {
                    id: row.try_get(0)?,
                    name: row.try_get(1)?,
                    phone: row.try_get(2)?,
                });
                next = rows.try_next().await?;
            }
            roster
        };
        tx.commit().await?;
        if roster.unread_phones() < MANY_PHONES {
            return Ok(roster.finish());
        }
        // This takes its time: the lease is renewed meanwhile.
        let finished = tokio::task::spawn_blocking(|| roster.finish()).await;
        Ok(finished.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }

    /// The rows whose id is `id`, or differs from it by case and blanks alone, as the CRM has them: at most 20, those that
    /// are not active too. For `explain`.
    ///
    /// # Errors
    /// If the database does not answer or refuses the query.
    pub async fn rows_of(&self, id: &str) -> Result<Vec<CrmRow>, Error> {
        let mut tx = self.begin().await?;
        let rows = self.select(&mut tx, Which::All).await?;
        let sql = AssertSqlSafe(format!(
            "SELECT id, name, phone, active FROM ({rows}) AS employees \
             WHERE lower(trim(id)) = lower(trim($1)) ORDER BY id <> $1 LIMIT 20"
        ));
        let rows = sqlx::query(sql).bind(id).fetch_all(unnamed(&mut tx)).await?;
        let row = |row: sqlx::postgres::PgRow| {
            Ok(CrmRow {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                phone: row.try_get(2)?,
                is_active: row.try_get::<Option<bool>, _>(3)?.unwrap_or(false),
            })
        };
        rows.into_iter().map(row).collect()
    }

    /// The columns that there are, for who misspelt one.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn columns(&self) -> Result<Vec<String>, Error> {
        let mut tx = self.begin().await?;
        // The join gives one row where there is none.
        let from = self.source.from();
        let sql = AssertSqlSafe(format!(
            "SELECT * FROM (SELECT) AS one LEFT JOIN {from} ON true LIMIT 1"
        ));
        let row = sqlx::query(sql).fetch_one(unnamed(&mut tx)).await?;
        Ok(row.columns().iter().map(|it| it.name().to_owned()).collect())
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        Ok(self.pool.begin_with(AssertSqlSafe(self.begin.clone())).await?)
    }

    /// The SELECT that gives `id`, `name` and `phone` of the employees as text, and `active`.
    async fn select(&self, tx: &mut Transaction<'static, Postgres>, which: Which) -> Result<String, Error> {
        let from = self.source.from();
        let columns = match &self.source {
            Source::Table { columns, .. } => columns.clone(),
            Source::Query(_) => {
                // The first row tells the columns; without one there is nothing to read anyway.
                let sql = AssertSqlSafe(format!("SELECT * FROM {from} LIMIT 1"));
                let first = sqlx::query(sql).fetch_optional(unnamed(tx)).await?;
                let has = |name: &str| first.iter().any(|row| row.columns().iter().any(|it| it.name() == name));
                let optional = |name: &str| has(name).then(|| name.to_owned());
                Columns {
                    id: "id".into(),
                    name: "name".into(),
                    phone: optional("phone"),
                    active: optional("active"),
                }
            }
        };
        let phone = columns.phone.map_or_else(|| "NULL".into(), |it| quoted(&it));
        let active = columns
            .active
            .map_or_else(|| "true".into(), |it| format!("{}::boolean", quoted(&it)));
        let (id, name) = (quoted(&columns.id), quoted(&columns.name));
        let (active, filter) = match which {
            Which::Active => (String::new(), format!(" WHERE {active}")),
            Which::All => (format!(", {active} AS active"), String::new()),
        };
        Ok(format!(
            "SELECT {id}::text AS id, {name}::text AS name, {phone}::text AS phone{active} FROM {from}{filter}"
        ))
    }

    /// What the role may do to the employees' table; to anything but `own_schema`, which is ours, if the CRM is read by a
    /// query. Warned of by `check`: the daemon needs no more than SELECT.
    ///
    /// # Errors
    /// If the database does not answer, or does not have the table.
    pub async fn role(&self, own_schema: &str) -> Result<Role, Error> {
        let mut tx = self.begin().await?;
        let table = match &self.source {
            Source::Table { .. } => Some(self.source.from()),
            Source::Query(_) => None,
        };
        // A right on a single column is one, too; of DELETE and TRUNCATE there are none such.
        let row = sqlx::query(
            "SELECT current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), EXISTS ( \
                 SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'f') \
                 AND CASE WHEN $1::text IS NOT NULL THEN c.oid = $1::regclass \
                     ELSE n.nspname NOT IN ('pg_catalog', 'information_schema', $2) END \
                 AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') \
                     OR has_any_column_privilege(c.oid, 'INSERT, UPDATE')))",
        )
        .bind(table)
        .bind(own_schema)
        .fetch_one(unnamed(&mut tx))
        .await?;
        Ok(Role {
            name: row.try_get(0)?,
            is_superuser: row.try_get::<Option<bool>, _>(1)?.unwrap_or(false),
            can_write: row.try_get(2)?,
        })
    }
}

impl Source {
    /// What stands behind FROM.
    fn from(&self) -> String {
        match self {
            Self::Table { name, .. } => name.iter().map(|part| quoted(part)).collect::<Vec<_>>().join("."),
            // On lines of its own: it may end with a comment.
            Self::Query(query) => format!("(\n{query}\n) AS crm_query"),
        }
    }
}

/// Which rows are read.
#[derive(Clone, Copy)]
enum Which {
    Active,
    All,
}

/// A row as the CRM has it. `Debug` hides what is personal.
#[derive(Clone, PartialEq, Eq)]
pub struct CrmRow {
    /// The id.
    pub id: String,
    /// The name.
    pub name: Option<String>,
    /// The phone.
    pub phone: Option<String>,
    /// Whether it counts.
    pub is_active: bool,
}

impl fmt::Debug for CrmRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrmRow").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The role that reads the CRM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Nothing is forbidden to it.
    pub is_superuser: bool,
    /// It may change what it should only read.
    pub can_write: bool,
}
