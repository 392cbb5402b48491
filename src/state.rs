//! The daemon's memory in Postgres: the only SQL against our own schema.
//!
//! Invariants:
//! - Every access is one transaction that begins with `SET LOCAL search_path`, so that a `PgBouncer` in transaction mode can
//!   stand in between: no session state, no session lock, no named statement.
//! - Every transaction of a cycle that writes renews the lease by its fencing token (`State::fenced`) and fails if that
//!   touches no row. It holds the account's row until it ends, so nobody takes the lease over in the middle of it.
//! - `approve` and `retry` write without the lease, and only columns that a cycle does not write: an approval that comes
//!   too late for a cycle is seen by the next.
//! - Times are on this database's clock.

mod account;
mod cycles;
mod failures;
mod history;
mod overview;
mod snapshot;

pub use account::{Account, Acquired, Holder, LastCycle, Lease, Seats, Verification};
pub use cycles::{Counts, Finished, Opening, Outcome};
pub use failures::{Attempt, OpenFailure};
pub use history::{Change, HistoryEntry};
pub use overview::{Overview, PastCycle, Rights};
pub use snapshot::{Delivered, Held, Record, Removed};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction, migrate::MigrateError, postgres::PgConnectOptions};

use crate::postgres::{Reason, describe, is_unavailable, options, pool, quoted, unnamed};

/// How many rows one statement writes at most.
const CHUNK: usize = 10_000;

/// How long a statement may take. Loading a million users takes a second.
const STATEMENT_TIMEOUT: &str = "60s";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The state of one account.
#[derive(Debug, Clone)]
pub struct State {
    /// One connection: what is done under the lease is done one after the other.
    pool: PgPool,
    /// Another one to renew the lease meanwhile. Connects at the first renewal, so never in a short `once`.
    renewals: PgPool,
    account: String,
    schema: String,
    begin: String,
}

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database does not answer.
    #[error("the state database is unavailable: {0}")]
    Unavailable(Reason),
    /// The database refuses.
    #[error("the state database refuses: {0}")]
    Refused(Reason),
    /// Another process has taken the lease over.
    #[error("the lease was lost to another process")]
    LeaseLost,
    /// The schema was migrated by a newer version of this program.
    #[error(
        "the state schema {schema} is at version {found}, newer than this program knows ({known}): run the newer one"
    )]
    TooNew {
        /// The schema's name.
        schema: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The schema cannot be created or migrated.
    #[error("the state schema {schema} cannot be migrated: {reason}")]
    Migration {
        /// The schema's name.
        schema: String,
        /// Why.
        reason: String,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let reason = Reason::from(&error);
        if is_unavailable(&error) {
            Self::Unavailable(reason)
        } else {
            Self::Refused(reason)
        }
    }
}

/// How far a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaVersion {
    /// Not created yet.
    Absent,
    /// Older than this program; the next `run` or `once` migrates it.
    Older,
    /// As this program needs it.
    Current,
    /// Newer than this program.
    Newer(i64),
}

impl State {
    /// The state of `account` in `schema` of the database that `connection` leads to. Connects when first used.
    #[must_use]
    pub fn new(connection: PgConnectOptions, schema: &str, account: &str) -> Self {
        let begin = format!(
            "BEGIN; SET LOCAL search_path TO {}; SET LOCAL statement_timeout TO '{STATEMENT_TIMEOUT}'; \
             SET LOCAL idle_in_transaction_session_timeout TO '{STATEMENT_TIMEOUT}'",
            quoted(schema)
        );
        let connection = options(connection);
        Self {
            pool: pool(connection.clone(), 1),
            renewals: pool(connection, 1),
            account: account.into(),
            schema: schema.into(),
            begin,
        }
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// A transaction in our schema.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        Ok(self.pool.begin_with(AssertSqlSafe(self.begin.clone())).await?)
    }

    /// How far the schema is; changes nothing.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn version(&self) -> Result<SchemaVersion, Error> {
        let mut tx = self.begin().await?;
        // With its schema: one that the role may not use would look as if it were not there.
        let sql = format!(
            "SELECT max(version) FROM {}._sqlx_migrations WHERE success",
            quoted(&self.schema)
        );
        let found = sqlx::query_scalar::<_, Option<i64>>(AssertSqlSafe(sql))
            .fetch_one(unnamed(&mut tx))
            .await;
        // Not left to the drop, which would have the next transaction open a connection of its own.
        tx.rollback().await?;
        let known = newest_migration();
        match found {
            Ok(None) => Ok(SchemaVersion::Absent),
            Ok(Some(found)) if found < known => Ok(SchemaVersion::Older),
            Ok(Some(found)) if found > known => Ok(SchemaVersion::Newer(found)),
            Ok(Some(_)) => Ok(SchemaVersion::Current),
            // 42P01: no such table, 3F000: no such schema.
            Err(sqlx::Error::Database(it)) if matches!(it.code().as_deref(), Some("42P01" | "3F000")) => {
                Ok(SchemaVersion::Absent)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is something to read. For the verbs that never migrate.
    ///
    /// # Errors
    /// If the database does not answer, or if the schema is newer than this program.
    pub async fn is_there(&self) -> Result<bool, Error> {
        match self.version().await? {
            SchemaVersion::Absent => Ok(false),
            SchemaVersion::Older | SchemaVersion::Current => Ok(true),
            SchemaVersion::Newer(found) => Err(self.too_new(found)),
        }
    }

    fn too_new(&self, found: i64) -> Error {
        Error::TooNew {
            schema: self.schema.clone(),
            found,
            known: newest_migration(),
        }
    }

    /// Creates the schema, or brings it to this program's version.
    ///
    /// # Errors
    /// If the database does not answer or refuses, or if the schema is newer than this program.
    pub async fn migrate(&self) -> Result<(), Error> {
        let failed = |reason: String| Error::Migration {
            schema: self.schema.clone(),
            reason,
        };
        match self.version().await? {
            SchemaVersion::Current => return Ok(()),
            SchemaVersion::Newer(found) => return Err(self.too_new(found)),
            SchemaVersion::Absent | SchemaVersion::Older => {}
        }
        let mut tx = self.begin().await?;
        // The migrator's own lock belongs to the session, which a PgBouncer does not keep.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('wazzup_sync migrations'), hashtext($1))")
            .bind(&self.schema)
            .execute(unnamed(&mut tx))
            .await?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
            .bind(&self.schema)
            .fetch_one(unnamed(&mut tx))
            .await?;
        // Not IF NOT EXISTS: that asks for the right to create one even where it is there.
        if !exists {
            let create = format!("CREATE SCHEMA {}", quoted(&self.schema));
            sqlx::raw_sql(AssertSqlSafe(create))
                .execute(unnamed(&mut tx))
                .await
                .map_err(|error| {
                    failed(format!(
                        "{}; create it yourself, with `CREATE SCHEMA … AUTHORIZATION` for the role of state.url",
                        describe(&error)
                    ))
                })?;
        }
        let mut migrator = sqlx::migrate::Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrator.set_locking(false);
        migrator.run(&mut *tx).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(describe(&error)),
            other => failed(other.to_string()),
        })?;
        self.commit(tx).await
    }

    async fn commit(&self, tx: Transaction<'static, Postgres>) -> Result<(), Error> {
        crate::abort::step();
        tx.commit().await?;
        crate::abort::step();
        Ok(())
    }
}

fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|it| it.version).max().unwrap_or_default()
}
