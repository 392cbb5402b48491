//! The end of a cycle: what is left of it, and what is too old to be kept.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff_sqlx::ToSqlx as _;
use sqlx::postgres::types::PgInterval;

use super::{
    Counts, CycleOutcome, Error, Lease, OpenCycle, State, Transaction, interval, signed_interval, stored_count, texts,
};
use crate::employee::EmployeeId;

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
    /// What showed that this is our account, if anything did.
    pub list_passed: Option<ListPassed>,
    /// The log reported holds, or a CRM that names nobody.
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
    /// Where the list was complete, the users in the account at the end of the cycle: as it showed, and changed by what was
    /// delivered since.
    pub seats_used: Option<usize>,
    /// Those of them who are not ours.
    pub foreign_users: Option<usize>,
}

impl State {
    /// Records the end of a cycle. At least once a day, history and cycles older than `keep_history` are pruned, in quiet times
    /// too.
    pub async fn finish_cycle(
        &self,
        lease: &Lease,
        cycle: OpenCycle,
        finished: &Finished,
        keep_history: SignedDuration,
    ) -> Result<(), Error> {
        let keep = signed_interval(keep_history);
        self.under_lease(lease, "recording the end of a cycle", async |tx| {
            let is_prune_due = tx.write_end(lease, cycle, finished, &keep).await?;
            if finished.noteworthy {
                tx.write_cycle(cycle, finished).await?;
            }
            if is_prune_due {
                tx.prune(&keep).await?;
            }
            Ok(())
        })
        .await
    }
}

impl Transaction<'_> {
    /// Renews the lease, too. Returns whether the history has to be pruned.
    async fn write_end(
        &mut self,
        lease: &Lease,
        cycle: OpenCycle,
        finished: &Finished,
        keep: &PgInterval,
    ) -> Result<bool, Error> {
        let failed = finished.outcome == CycleOutcome::Failed;
        let counts = finished.counts;
        let count = |of: fn(Counts) -> usize| counts.map(|counts| stored_count(of(counts)));
        let passed = finished.list_passed.as_ref();
        // After a cycle that failed, the list stays due until one ends well that had it.
        let fingerprint = passed.filter(|_| !failed).map(|passed| passed.fingerprint.as_str());
        let is_prune_due = sqlx::query_scalar!(
            r#"UPDATE accounts SET lease_expires_at = now() + $4,
                   last_cycle_id = $5, last_started_at = $6, last_finished_at = now(),
                   last_outcome = $7, last_error_kind = $8, last_error = $9,
                   last_success_at = CASE WHEN $10 THEN last_success_at ELSE now() END,
                   failing_since = CASE WHEN $10 THEN COALESCE(failing_since, $6) END,
                   error_reported_at = CASE WHEN NOT $10 THEN NULL WHEN $11 THEN now() ELSE error_reported_at END,
                   holds_reported_at = CASE WHEN $12 THEN now() ELSE holds_reported_at END,
                   eligible = COALESCE($13, eligible), in_sync = COALESCE($14, in_sync),
                   failing = COALESCE($15, failing), waiting = COALESCE($16, waiting),
                   pending = COALESCE($17, pending), missing_ids = COALESCE($18, missing_ids),
                   waiting_for_seat = COALESCE($19, waiting_for_seat),
                   list_read_at = CASE WHEN $20 AND NOT $10 THEN now() ELSE list_read_at END,
                   fingerprint = COALESCE($21, fingerprint),
                   list_passed_at = CASE WHEN $21::text IS NULL THEN list_passed_at ELSE now() END,
                   seats_used = COALESCE($22, seats_used), foreign_users = COALESCE($23, foreign_users),
                   seats_counted_at = CASE WHEN $22::bigint IS NULL THEN seats_counted_at ELSE now() END,
                   pruned_at = CASE WHEN pruned_at <= now() - LEAST($24, interval '1 day') THEN now() ELSE pruned_at END
               WHERE account = $1 AND lease_token = $2 AND lease_holder = $3
               RETURNING pruned_at = now() AS "is_prune_due!""#,
            self.account,
            lease.token,
            lease.holder,
            interval(lease.duration),
            cycle.id,
            cycle.now.to_sqlx() as _,
            finished.outcome.as_str(),
            finished.error.as_ref().map(|error| error.kind),
            finished.error.as_ref().map(|error| error.message.as_str()),
            failed,
            finished.reported_error,
            finished.reported_holds,
            count(|counts| counts.eligible),
            count(|counts| counts.in_sync),
            count(|counts| counts.failing),
            count(|counts| counts.waiting_for_seat),
            count(|counts| counts.pending),
            count(|counts| counts.missing_ids),
            finished.waiting_for_seat.as_ref().map(texts) as _,
            finished.had_list,
            fingerprint,
            passed.and_then(|passed| passed.seats_used.map(stored_count)),
            passed.and_then(|passed| passed.foreign_users.map(stored_count)),
            keep.clone()
        )
        .fetch_optional(self.executor())
        .await?;
        is_prune_due.ok_or(Error::LeaseLost)
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
        .await
    }
}
