//! The daemon's memory in Postgres: the only SQL against our own schema.
//!
//! Invariants:
//! - Every access is one transaction, made by `State::transaction`. It begins with `SET LOCAL search_path`, so that a
//!   PgBouncer in transaction mode can stand in between: no session state, no session lock, no named statement.
//! - No transaction waits longer than [`STATE_LIMIT`]. Only a connection whose transaction ended well is used again.
//! - Every writing transaction of a cycle begins with a statement that renews the lease, by token and holder, and fails if
//!   that touches no row (`State::under_lease`). It holds the account's row until it ends, so nobody takes the
//!   lease over in the middle of it.
//! - `approve` and `retry` only insert into `inbox`, without the lease; the next cycle takes what is there.
//! - A request is recorded in `in_flight` before it is sent. The transaction that records its answer takes it out again;
//!   if the answer leaves open whether it acted, its entries become rows of `lost`.
//! - The result of an answer is recorded by functions of the schema (see `migrations/`). The server caches their plans for
//!   each connection; nothing depends on that.
//! - Times are on this database's clock: within a transaction, all are the time of its beginning.

mod account;
mod failures;
mod finish;
mod history;
mod journal;
mod lease;
mod marks;
mod opening;
mod orders;
mod overview;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{
    Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, types::PgInterval},
    query::Query,
};

pub use account::{Account, Counts, CycleOutcome, HeldLease, LastCycle};
pub use finish::{AccountProof, CycleFailure, Finished};
pub use history::{Erasure, HistoryEntry, HistoryOperation};
pub use lease::{Acquired, Holder, Lease};
pub use opening::{OpenCycle, Opening, Peek};
#[cfg(test)]
pub use orders::AppliedOrders;
pub use overview::Overview;
#[cfg(test)]
pub use overview::PastCycle;
pub use schema::{ForeignOwner, Rights, SchemaVersion};

use crate::{
    employee::EmployeeId,
    postgres::{Database, Reason, STATE_LIMIT, quoted, unnamed},
};

/// [`STATE_LIMIT`] for the server, in case that it is us who vanish. Loading 100,000 users takes a fraction of a second.
const STATEMENT_TIMEOUT: &str = "60s";

/// How long the server waits for our next statement within a transaction. Nothing but statements happens in one, so that this
/// ends only the transactions of a copy that vanished: they hold the account's row, for which a standby waits.
const IDLE_TIMEOUT: &str = "15s";

/// The state of one account.
#[derive(Clone)]
pub struct State {
    /// One connection: what is done under the lease is done one after the other.
    database: Database,
    /// Another one to renew the lease meanwhile. Connects at the first renewal, so never in a short `once`.
    renewals: Database,
    account: String,
    schema: String,
    /// What every transaction begins with.
    begin_sql: String,
    /// How long after its loss a request may still act.
    lands_within: PgInterval,
}

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the state database is unavailable: {0}; {remedy}", remedy = .0.remedy("state.url"))]
    Unavailable(Reason),
    #[error("the state database refuses: {0}; check state.schema, and the rights of the role of state.url")]
    Refused(Reason),
    #[error("the lease was lost to another process")]
    LeaseLost,
    #[error(
        "the state schema {schema} is at version {found}, newer than this program knows ({known}): run the newer one"
    )]
    TooNew {
        schema: String,
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    #[error("the state schema {schema} cannot be migrated: {reason}")]
    Migration { schema: String, reason: String },
    #[error(transparent)]
    ForeignOwner(#[from] ForeignOwner),
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        if reason.is_unavailable() {
            Self::Unavailable(reason)
        } else {
            Self::Refused(reason)
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Reason::from(error).into()
    }
}

impl State {
    /// The state of `account` in `schema` of the database that `options` lead to. Connects when first used.
    ///
    /// A request that was lost may still act for twice `request_timeout`.
    pub fn new(options: PgConnectOptions, schema: &str, account: &str, request_timeout: Duration) -> Self {
        let begin_sql = format!(
            "BEGIN; SET LOCAL search_path TO {}; SET LOCAL statement_timeout TO '{STATEMENT_TIMEOUT}'; \
             SET LOCAL idle_in_transaction_session_timeout TO '{IDLE_TIMEOUT}'",
            quoted(schema)
        );
        Self {
            database: Database::new(options.clone()),
            renewals: Database::new(options),
            account: account.into(),
            schema: schema.into(),
            begin_sql,
            lands_within: interval(request_timeout.saturating_mul(2)),
        }
    }

    /// Runs `work` in one transaction in our schema. `purpose` completes the sentence "no answer while …".
    async fn transaction<T>(
        &self,
        purpose: &str,
        work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transaction_in(&self.database, purpose, work).await
    }

    /// The same, on the connection of `database`.
    async fn transaction_in<T>(
        &self,
        database: &Database,
        purpose: &str,
        work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let account = self.account.as_str();
        let work = async |connection: &mut PgConnection| work(&mut Transaction { connection, account }).await;
        database.transaction(STATE_LIMIT, purpose, &self.begin_sql, work).await
    }
}

/// A transaction in our schema, about one account.
struct Transaction<'t> {
    connection: &'t mut PgConnection,
    account: &'t str,
}

impl Transaction<'_> {
    /// For a statement that returns rows.
    fn executor(&mut self) -> impl Executor<'_, Database = Postgres> {
        unnamed(self.connection)
    }

    async fn run(&mut self, statement: Query<'_, Postgres, PgArguments>) -> Result<(), Error> {
        statement.execute(self.executor()).await?;
        Ok(())
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

fn signed_interval(duration: SignedDuration) -> PgInterval {
    interval(Duration::try_from(duration).unwrap_or_default())
}

fn stored_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn read_count(count: i64) -> usize {
    usize::try_from(count).unwrap_or_default()
}

fn read_time(time: Option<jiff_sqlx::Timestamp>) -> Option<Timestamp> {
    time.map(jiff_sqlx::Timestamp::to_jiff)
}

fn texts<'a>(ids: impl IntoIterator<Item = &'a EmployeeId>) -> Vec<String> {
    ids.into_iter().map(ToString::to_string).collect()
}
