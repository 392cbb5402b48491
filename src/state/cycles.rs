//! Cycles: opening one, and what is left of it when it ends.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::{Postgres, Transaction};
use tokio::time::Instant;

use super::{Account, Error, Lease, State, account::interval};
use crate::plan::{Failures, Snapshot};
use crate::postgres::unnamed;

/// How a cycle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Wazzup has everything that the CRM wants.
    InSync,
    /// Somebody is failing, waiting, pending or held.
    Incomplete,
    /// It could not be done.
    Failed,
}

impl Outcome {
    /// As the state, `status` and the log write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// How the employees stand: `eligible = in_sync + failing + waiting_for_seat + pending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Distinct ids that the CRM wants in Wazzup, rejected rows included.
    pub eligible: usize,
    /// In Wazzup as the CRM wants them.
    pub in_sync: usize,
    /// With an open failure.
    pub failing: usize,
    /// Waiting for a seat.
    pub waiting_for_seat: usize,
    /// Changed or in doubt, and not delivered.
    pub pending: usize,
    /// Rows without an id; they are not eligible.
    pub missing_ids: usize,
}

/// A cycle that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// The counts, if it came so far.
    pub counts: Option<Counts>,
    /// What it failed with: kind and message.
    pub error: Option<(&'static str, String)>,
    /// Requests that change something.
    pub requests: usize,
    /// Users added.
    pub added: usize,
    /// Users changed.
    pub updated: usize,
    /// Users removed.
    pub removed: usize,
    /// Removals held.
    pub held: usize,
    /// There was nothing to compare with Wazzup's list, since nobody was managed: that counts as a comparison.
    pub nothing_to_compare: bool,
    /// Whether it did or failed something, and so gets a row of its own.
    pub noteworthy: bool,
}

/// A cycle that has its number. Its transaction is open until the snapshot is loaded.
#[derive(Debug)]
pub struct Opening {
    /// The cycle's number.
    pub id: i64,
    /// The account.
    pub account: Account,
    recent_removals: usize,
    has_failures: bool,
    tx: Transaction<'static, Postgres>,
}

impl State {
    /// Opens a cycle: numbers it and reads the clock. [`State::load`] goes on.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn open_cycle(&self, lease: &Lease) -> Result<Opening, Error> {
        // Quiet cycles are most of what this program does in its life: one statement renews the lease, too.
        let asked_at = Instant::now();
        let mut tx = self.begin().await?;
        let opened = sqlx::query!(
            r#"UPDATE accounts SET cycle_id = cycle_id + 1, lease_expires_at = now() + $3
               WHERE account = $1 AND lease_token = $2 AND lease_holder IS NOT NULL
               RETURNING cycle_id, now() AS "now!", last_verified_at, verify_tried_at, seats_used, foreign_users, seats_limit,
                   (SELECT count(*) FROM history WHERE account = $1 AND operation = 'remove' AND NOT approved
                       AND at > now() - interval '24 hours') AS "recent_removals!",
                   EXISTS (SELECT FROM failures WHERE account = $1) AS "has_failures!""#,
            self.account,
            lease.token(),
            interval(lease.duration)
        )
        .fetch_optional(unnamed(&mut tx))
        .await?
        .ok_or(Error::LeaseLost)?;
        lease.renewed(asked_at);
        let at = |time: Option<jiff_sqlx::Timestamp>| time.map(jiff_sqlx::Timestamp::to_jiff);
        let counted = |number: Option<i64>| number.and_then(|it| it.try_into().ok());
        let account = Account {
            now: opened.now.to_jiff(),
            last_verified_at: at(opened.last_verified_at),
            verify_tried_at: at(opened.verify_tried_at),
            seats_used: counted(opened.seats_used),
            foreign_users: counted(opened.foreign_users),
            seats_limit: counted(opened.seats_limit),
            ..Account::default()
        };
        Ok(Opening {
            id: opened.cycle_id,
            account,
            recent_removals: opened.recent_removals.try_into().unwrap_or_default(),
            has_failures: opened.has_failures,
            tx,
        })
    }

    /// Reads the snapshot and the open failures, and ends the transaction in which the cycle got its number.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn load(&self, opening: Opening) -> Result<(Snapshot, Failures), Error> {
        let Opening {
            mut tx,
            recent_removals,
            has_failures,
            ..
        } = opening;
        let users = self.load_users(&mut tx).await?;
        let failures = if has_failures {
            self.load_failures(&mut tx).await?
        } else {
            Failures::default()
        };
        self.commit(tx).await?;
        Ok((Snapshot { users, recent_removals }, failures))
    }

    /// What a cycle would start from; reads only.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn peek(&self) -> Result<(Snapshot, Failures), Error> {
        let mut tx = self.begin().await?;
        let snapshot = self.load_snapshot(&mut tx).await?;
        let failures = self.load_failures(&mut tx).await?;
        Ok((snapshot, failures))
    }

    /// The state database's clock.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let mut tx = self.begin().await?;
        Ok(sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
            .fetch_one(unnamed(&mut tx))
            .await?
            .to_jiff())
    }

    /// Records the end of a cycle, and forgets what is older than `keep_history` (never less than the day that the removal
    /// brake looks back).
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn finish_cycle(&self, lease: &Lease, it: &Finished, keep_history: SignedDuration) -> Result<(), Error> {
        let asked_at = Instant::now();
        let mut tx = self.begin().await?;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let counts = it.counts.unwrap_or_default();
        let error_kind = it.error.as_ref().map(|error| error.0);
        let error = it.error.as_ref().map(|error| error.1.as_str());
        let written = sqlx::query!(
            "UPDATE accounts SET lease_expires_at = now() + $14, last_started_at = $2, last_finished_at = now(), last_outcome = $3, last_error_kind = $4, \
                 last_error = $5, last_success_at = CASE WHEN $3 = 'failed' THEN last_success_at ELSE now() END, \
                 eligible = CASE WHEN $6 THEN $7 ELSE eligible END, in_sync = CASE WHEN $6 THEN $8 ELSE in_sync END, \
                 failing = CASE WHEN $6 THEN $9 ELSE failing END, \
                 waiting_for_seat = CASE WHEN $6 THEN $10 ELSE waiting_for_seat END, \
                 pending = CASE WHEN $6 THEN $11 ELSE pending END, \
                 missing_ids = CASE WHEN $6 THEN $12 ELSE missing_ids END, \
                 verify_tried_at = CASE WHEN $15 THEN $2 ELSE verify_tried_at END, \
                 last_verified_at = CASE WHEN $15 THEN $2 ELSE last_verified_at END \
             WHERE account = $1 AND lease_token = $13 AND lease_holder IS NOT NULL",
            self.account,
            it.started_at.to_sqlx(),
            it.outcome.as_str(),
            error_kind,
            error,
            it.counts.is_some(),
            number(counts.eligible),
            number(counts.in_sync),
            number(counts.failing),
            number(counts.waiting_for_seat),
            number(counts.pending),
            number(counts.missing_ids),
            lease.token(),
            interval(lease.duration),
            it.nothing_to_compare
        )
        .execute(unnamed(&mut tx))
        .await?;
        if written.rows_affected() == 0 {
            return Err(Error::LeaseLost);
        }
        lease.renewed(asked_at);
        if it.noteworthy {
            let keep = keep_history.max(SignedDuration::from_hours(24));
            sqlx::query!(
                "WITH old_history AS (DELETE FROM history WHERE account = $1 AND at < $12), \
                     old_cycles AS (DELETE FROM cycles WHERE account = $1 AND finished_at < $12) \
                 INSERT INTO cycles (account, cycle_id, started_at, finished_at, outcome, error_kind, error, requests, \
                     added, updated, removed, held) \
                 VALUES ($1, $2, $3, now(), $4, $5, $6, $7, $8, $9, $10, $11)",
                self.account,
                it.id,
                it.started_at.to_sqlx(),
                it.outcome.as_str(),
                error_kind,
                error,
                number(it.requests),
                number(it.added),
                number(it.updated),
                number(it.removed),
                number(it.held),
                (it.started_at - keep).to_sqlx()
            )
            .execute(unnamed(&mut tx))
            .await?;
        }
        self.commit(tx).await
    }
}
