//! The daemon's memory in Postgres: the only SQL against our own schema.
//!
//! Invariants:
//! - Every access is one `Transaction` within `State::limited`. It begins with `SET LOCAL search_path`, so that a PgBouncer
//!   in transaction mode can stand in between: no session state, no session lock, no named statement.
//! - No transaction waits longer than a minute. Only a connection whose transaction ended well is used again.
//! - Every writing transaction of a cycle first renews the lease, by token and holder (`State::fenced_transaction`), and
//!   fails if that touches no row. It holds the account's row until it ends, so nobody takes the lease over in the middle
//!   of it.
//! - `approve` and `retry` only insert into `inbox`, without the lease; the next cycle takes what is there.
//! - A request stands in `in_flight` before it is sent. The transaction that records its answer takes it out again; if the
//!   answer leaves open whether it acted, its entries become rows of `lost`.
//! - Times are on this database's clock: within a transaction, all are the time of its beginning.

mod account;
mod finish;
mod history;
mod journal;
mod lease;
mod marks;
mod opening;
mod orders;
mod outcomes;
mod overview;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    io,
    ops::{Deref, DerefMut},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, pool::PoolConnection, postgres::types::PgInterval};
use tokio::time::{Instant, timeout};

pub use account::{Account, Counts, CycleOutcome, LastCycle};
pub use finish::{CycleError, Finished, ListPassed};
pub use history::{Erasure, ErasureRefusal, HistoryEntry, HistoryOperation};
pub use lease::{Acquired, Holder, Lease};
pub use opening::{OpenCycle, Opening, Peek};
pub use orders::{DroppedOrder, RetryOrder};
pub use overview::{OpenFailure, OpenHold, Overview, PastCycle, Person};
pub use schema::{ForeignOwner, Rights, SchemaVersion};

use crate::postgres::{Reason, is_unavailable, options, pool, quoted, unnamed};

/// How long a transaction may take as a whole. A host that vanishes sends nothing, so waiting must end on our side.
const TRANSACTION_LIMIT: Duration = Duration::from_mins(1);

/// The same for the server, in case that it is us who vanish. Loading 100,000 users takes a fraction of a second.
const STATEMENT_TIMEOUT: &str = "60s";

/// The state of one account.
#[derive(Debug, Clone)]
pub struct State {
    /// One connection: what is done under the lease is done one after the other.
    pool: PgPool,
    /// Another one to renew the lease meanwhile. Connects at the first renewal, so never in a short `once`.
    renewals: PgPool,
    account: String,
    schema: String,
    /// What every transaction begins with.
    begin: String,
    /// How long after its loss a request may still act.
    lands_within: PgInterval,
    /// See [`TRANSACTION_LIMIT`].
    limit: Duration,
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
        /// The newest version that this program knows.
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
    /// The schema belongs to somebody else.
    #[error(transparent)]
    ForeignOwner(#[from] ForeignOwner),
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

impl State {
    /// The state of `account` in `schema` of the database at `url`. Connects when first used.
    ///
    /// A request that was lost may still act for twice `request_timeout`.
    ///
    /// # Errors
    /// If `url` is no URL of a Postgres.
    pub fn new(
        url: &SecretString,
        schema: &str,
        account: &str,
        request_timeout: Duration,
    ) -> Result<Self, sqlx::Error> {
        let begin = format!(
            "BEGIN; SET LOCAL search_path TO {}; SET LOCAL statement_timeout TO '{STATEMENT_TIMEOUT}'; \
             SET LOCAL idle_in_transaction_session_timeout TO '{STATEMENT_TIMEOUT}'",
            quoted(schema)
        );
        Ok(Self {
            pool: pool(options(url)?, 1),
            renewals: pool(options(url)?, 1),
            account: account.into(),
            schema: schema.into(),
            begin,
            lands_within: interval(request_timeout.saturating_mul(2)),
            limit: TRANSACTION_LIMIT,
        })
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The state database's clock.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        self.limited("reading its clock", async {
            let mut tx = self.transaction().await?;
            let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
                .fetch_one(unnamed(&mut tx))
                .await?;
            tx.commit(now.to_jiff()).await
        })
        .await
    }

    /// Does `work`, one whole transaction, within the limit. `purpose` completes the sentence "no answer while …".
    fn limited<'work, T: Send + 'work>(
        &'work self,
        purpose: &'work str,
        work: impl Future<Output = Result<T, Error>> + Send + 'work,
    ) -> BoxFuture<'work, Result<T, Error>> {
        // Boxed, since the compiler cannot tell otherwise that what holds this future can be sent to another thread.
        let limited = timeout(self.limit, work);
        Box::pin(async move {
            limited.await.unwrap_or_else(|_| {
                let seconds = self.limit.as_secs();
                let text = format!("no answer within {seconds} seconds while {purpose}");
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)).into())
            })
        })
    }

    async fn transaction(&self) -> Result<Transaction<'static>, Error> {
        self.transaction_on(&self.pool).await
    }

    async fn transaction_on<'lease>(&self, pool: &PgPool) -> Result<Transaction<'lease>, Error> {
        let mut connection = Borrowed(Some(pool.acquire().await?));
        sqlx::raw_sql(AssertSqlSafe(self.begin.clone()))
            .execute(&mut *connection)
            .await?;
        Ok(Transaction {
            connection,
            renews: None,
        })
    }
}

/// A transaction in our schema. Without [`Transaction::commit`] it is rolled back, by closing its connection.
struct Transaction<'lease> {
    connection: Borrowed,
    /// The lease that it renews, and the time before it began.
    renews: Option<(&'lease Lease, Instant)>,
}

impl Transaction<'_> {
    /// Commits, and passes `value` on.
    async fn commit<T>(mut self, value: T) -> Result<T, Error> {
        crate::abort::step();
        sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await?;
        crate::abort::step();
        self.connection.give_back();
        if let Some((lease, asked_at)) = self.renews {
            lease.renewed(asked_at);
        }
        Ok(value)
    }
}

impl Deref for Transaction<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// A connection that is closed, and not returned to its pool, unless [`Borrowed::give_back`] says so: after an error, a
/// time-out or a cancellation nobody knows what it would answer next.
struct Borrowed(Option<PoolConnection<Postgres>>);

impl Borrowed {
    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Deref for Borrowed {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("only giving it back takes it")
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("only giving it back takes it")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
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

/// A count as the database keeps it.
fn stored_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as the database gave it.
fn read_count(count: i64) -> usize {
    usize::try_from(count).unwrap_or_default()
}

/// A time as the database gave it.
fn read_time(time: Option<jiff_sqlx::Timestamp>) -> Option<Timestamp> {
    time.map(jiff_sqlx::Timestamp::to_jiff)
}
