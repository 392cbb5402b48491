//! The end of a cycle: what is left of it, and what is too old to be kept.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff_sqlx::ToSqlx as _;
use sqlx::postgres::types::PgInterval;

use super::{Counts, CycleOutcome, Error, Lease, OpenCycle, State, Transaction, signed_interval, stored_count, texts};
use crate::employee::EmployeeId;

/// A cycle that ended.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each of which becomes a column"
)]
pub struct Finished {
    pub outcome: CycleOutcome,
    /// What it failed with.
    pub error: Option<CycleFailure>,
    /// The counts, if it came so far; else those of an earlier cycle stay.
    pub counts: Option<Counts>,
    /// Requests that change something.
    pub requests: usize,
    pub added: usize,
    /// Users adopted or taken over.
    pub adopted: usize,
    pub updated: usize,
    pub removed: usize,
    /// Open holds that are not approved.
    pub held: usize,
    /// Who waits for a seat now, if that changed.
    pub waiting_for_seat: Option<BTreeSet<EmployeeId>>,
    /// It had a list of Wazzup's. One that failed leaves the next one due.
    pub had_list: bool,
    /// What its list told, if it passed.
    pub list_passed: Option<ListPassed>,
    /// The log reported the holds as an error.
    pub reported_holds: bool,
    /// The log reported the cycle's failure as an error.
    pub reported_error: bool,
    /// It did or failed something, and so gets a row of its own.
    pub noteworthy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CycleFailure {
    /// As the log's `error_kind`.
    pub kind: &'static str,
    pub message: String,
}

/// What showed that this is our account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPassed {
    /// The fingerprint of address and key that it was read with.
    pub fingerprint: String,
    /// The users in the account, where the list was complete.
    pub seats: Option<SeatsCounted>,
}

/// The users in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatsCounted {
    /// All of them at the end of the cycle: as the list showed, and changed by what was delivered since.
    pub used: usize,
    /// Those who are not ours.
    pub foreign: usize,
}

impl State {
    /// Records the end of a cycle. Once a day, history and cycles older than `keep_history` are pruned, in quiet times too.
    pub async fn finish_cycle(
        &self,
        lease: &Lease,
        cycle: OpenCycle,
        finished: &Finished,
        keep_history: SignedDuration,
    ) -> Result<(), Error> {
        let keep = signed_interval(keep_history);
        self.fenced(lease, "recording the end of a cycle", async |tx| {
            let prune_is_due = tx.write_end(cycle, finished, &keep).await?;
            if let Some(counts) = finished.counts {
                tx.write_counts(counts).await?;
            }
            if let Some(passed) = &finished.list_passed {
                if finished.outcome != CycleOutcome::Failed {
                    tx.write_fingerprint(&passed.fingerprint).await?;
                }
                if let Some(seats) = passed.seats {
                    tx.write_seats(seats).await?;
                }
            }
            if let Some(waiting) = &finished.waiting_for_seat {
                tx.write_waiting(waiting).await?;
            }
            if finished.noteworthy {
                tx.write_cycle(cycle, finished).await?;
            }
            if prune_is_due {
                tx.prune(&keep).await?;
            }
            Ok(())
        })
        .await
    }
}

impl Transaction<'_> {
    /// Returns whether the history has to be pruned.
    async fn write_end(&mut self, cycle: OpenCycle, finished: &Finished, keep: &PgInterval) -> Result<bool, Error> {
        let due = sqlx::query_scalar!(
            r#"UPDATE accounts SET last_cycle_id = $2, last_started_at = $3, last_finished_at = now(),
                   last_outcome = $4, last_error_kind = $5, last_error = $6,
                   last_success_at = CASE WHEN $7 THEN last_success_at ELSE now() END,
                   failing_since = CASE WHEN $7 THEN COALESCE(failing_since, $3) END,
                   error_reported_at = CASE WHEN NOT $7 THEN NULL WHEN $8 THEN now() ELSE error_reported_at END,
                   holds_reported_at = CASE WHEN $9 THEN now() ELSE holds_reported_at END,
                   list_read_at = CASE WHEN $10 THEN now() ELSE list_read_at END
               WHERE account = $1
               RETURNING COALESCE(pruned_at <= now() - LEAST($11, interval '1 day'), true) AS "due!""#,
            self.account,
            cycle.id,
            cycle.now.to_sqlx() as _,
            finished.outcome.as_str(),
            finished.error.as_ref().map(|error| error.kind),
            finished.error.as_ref().map(|error| error.message.as_str()),
            finished.outcome == CycleOutcome::Failed,
            finished.reported_error,
            finished.reported_holds,
            finished.had_list && finished.outcome != CycleOutcome::Failed,
            keep.clone()
        )
        .fetch_one(self.executor())
        .await?;
        Ok(due)
    }

    async fn write_counts(&mut self, counts: Counts) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET eligible = $2, in_sync = $3, failing = $4, waiting = $5, pending = $6, missing_ids = $7 \
             WHERE account = $1",
            self.account,
            stored_count(counts.eligible),
            stored_count(counts.in_sync),
            stored_count(counts.failing),
            stored_count(counts.waiting_for_seat),
            stored_count(counts.pending),
            stored_count(counts.missing_ids)
        )).await
    }

    /// The fingerprint is not stored by a cycle that failed: the list stays due until one ends well that had it.
    async fn write_fingerprint(&mut self, fingerprint: &str) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET list_passed_at = now(), fingerprint = $2 WHERE account = $1",
            self.account,
            fingerprint
        ))
        .await
    }

    async fn write_seats(&mut self, seats: SeatsCounted) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET seats_counted_at = now(), seats_used = $2, foreign_users = $3 WHERE account = $1",
            self.account,
            stored_count(seats.used),
            stored_count(seats.foreign)
        ))
        .await
    }

    async fn write_waiting(&mut self, waiting: &BTreeSet<EmployeeId>) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET waiting_for_seat = $2 WHERE account = $1",
            self.account,
            &texts(waiting)
        ))
        .await
    }

    async fn write_cycle(&mut self, cycle: OpenCycle, finished: &Finished) -> Result<(), Error> {
        self.run(sqlx::query!(
            "INSERT INTO cycles (account, cycle_id, started_at, finished_at, outcome, error_kind, error, requests, \
                 added, adopted, updated, removed, held) \
             VALUES ($1, $2, $3, now(), $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            self.account,
            cycle.id,
            cycle.now.to_sqlx() as _,
            finished.outcome.as_str(),
            finished.error.as_ref().map(|error| error.kind),
            finished.error.as_ref().map(|error| error.message.as_str()),
            stored_count(finished.requests),
            stored_count(finished.added),
            stored_count(finished.adopted),
            stored_count(finished.updated),
            stored_count(finished.removed),
            stored_count(finished.held)
        ))
        .await
    }

    /// Removals of the brake's 24 hours and additions of 7 days stay, without names and phones.
    async fn prune(&mut self, keep: &PgInterval) -> Result<(), Error> {
        self.run(sqlx::query!(
            "DELETE FROM history WHERE account = $1 AND at <= now() - $2::interval \
                 AND NOT (operation = 'remove' AND at > now() - interval '24 hours') \
                 AND NOT (operation = 'add' AND at > now() - interval '7 days')",
            self.account,
            keep.clone()
        ))
        .await?;
        self.run(sqlx::query!(
            "UPDATE history SET name_before = NULL, phone_before = NULL, name_after = NULL, phone_after = NULL \
             WHERE account = $1 AND at <= now() - $2::interval \
                 AND num_nonnulls(name_before, phone_before, name_after, phone_after) > 0",
            self.account,
            keep.clone()
        ))
        .await?;
        self.run(sqlx::query!(
            "DELETE FROM cycles WHERE account = $1 AND finished_at <= now() - $2::interval",
            self.account,
            keep.clone()
        ))
        .await?;
        self.run(sqlx::query!(
            "UPDATE accounts SET pruned_at = now() WHERE account = $1",
            self.account
        ))
        .await
    }
}
