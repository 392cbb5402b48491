//! The end of a cycle: what is left of it, and what is too old to be kept.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;
use sqlx::{postgres::types::PgInterval, types::Json};

use super::{Counts, CycleOutcome, Error, Lease, OpenCycle, State, Transaction, interval, signed_interval};
use crate::employee::EmployeeId;

/// What the state keeps of a cycle. The statements know its fields by their serialised names.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(Default))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each of which becomes a column"
)]
pub struct Finished {
    pub outcome: CycleOutcome,
    /// What it failed with.
    #[serde(flatten)]
    pub error: Option<CycleFailure>,
    /// The counts, if the cycle got that far; else those of an earlier cycle stay.
    #[serde(flatten)]
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
    pub waiting_ids: Option<BTreeSet<EmployeeId>>,
    /// Wazzup answered with a list, and nobody whom it showed is left to be sent. That counts only if the cycle did not fail.
    pub had_list: bool,
    /// What showed that this is our account, if anything did.
    #[serde(flatten)]
    pub account_proof: Option<AccountProof>,
    /// The log reported holds, or a CRM that names nobody.
    pub reported_holds: bool,
    /// The log reported the cycle's failure as an error.
    pub reported_error: bool,
    /// It did or failed something, and so gets a row of its own.
    pub noteworthy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CycleFailure {
    /// As the log's `error_kind`.
    #[serde(rename = "error_kind")]
    pub kind: &'static str,
    #[serde(rename = "error")]
    pub message: String,
}

/// That something of the cycle showed that this is our account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountProof {
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
        // After a cycle that failed, the list stays due until one ends well that had it.
        let is_prune_due = sqlx::query_scalar!(
            r#"UPDATE accounts AS a SET lease_expires_at = now() + $4,
                   last_cycle_id = $5, last_started_at = $6, last_finished_at = now(),
                   last_outcome = ended.outcome, last_error_kind = ended.error_kind, last_error = ended.error,
                   last_success_at = CASE WHEN has_failed THEN a.last_success_at ELSE now() END,
                   failing_since = CASE WHEN has_failed THEN COALESCE(a.failing_since, $6) END,
                   error_reported_at = CASE WHEN NOT has_failed THEN NULL
                       WHEN ended.reported_error THEN now() ELSE a.error_reported_at END,
                   holds_reported_at = CASE WHEN ended.reported_holds THEN $6 ELSE a.holds_reported_at END,
                   eligible = COALESCE(ended.eligible, a.eligible), in_sync = COALESCE(ended.in_sync, a.in_sync),
                   failing = COALESCE(ended.failing, a.failing), waiting_for_seat = COALESCE(ended.waiting_for_seat, a.waiting_for_seat),
                   pending = COALESCE(ended.pending, a.pending), missing_ids = COALESCE(ended.missing_ids, a.missing_ids),
                   waiting_ids = COALESCE(ended.waiting_ids, a.waiting_ids),
                   list_read_at = CASE WHEN ended.had_list AND NOT has_failed THEN now() ELSE a.list_read_at END,
                   fingerprint = CASE WHEN has_passed THEN ended.fingerprint ELSE a.fingerprint END,
                   list_passed_at = CASE WHEN has_passed THEN now() ELSE a.list_passed_at END,
                   seats_used = COALESCE(ended.seats_used, a.seats_used),
                   foreign_users = COALESCE(ended.foreign_users, a.foreign_users),
                   seats_counted_at = CASE WHEN ended.seats_used IS NULL THEN a.seats_counted_at ELSE now() END,
                   pruned_at = CASE WHEN a.pruned_at <= now() - LEAST($7, interval '1 day') THEN now() ELSE a.pruned_at END
               FROM jsonb_to_record($8) AS ended (outcome text, error_kind text, error text, reported_error boolean,
                       reported_holds boolean, eligible bigint, in_sync bigint, failing bigint, waiting_for_seat bigint,
                       pending bigint, missing_ids bigint, waiting_ids text[], had_list boolean, fingerprint text,
                       seats_used bigint, foreign_users bigint),
                   LATERAL (SELECT ended.outcome = 'failed' AS has_failed,
                       ended.outcome <> 'failed' AND ended.fingerprint IS NOT NULL AS has_passed) AS result
               WHERE account = $1 AND lease_token = $2 AND lease_holder = $3
               RETURNING pruned_at = now() AS "is_prune_due!""#,
            self.account,
            lease.token,
            lease.holder,
            interval(lease.duration),
            cycle.id,
            cycle.now.to_sqlx() as _,
            keep.clone(),
            Json(finished) as _
        )
        .fetch_optional(self.executor())
        .await?;
        is_prune_due.ok_or(Error::LeaseLost)
    }

    async fn write_cycle(&mut self, cycle: OpenCycle, finished: &Finished) -> Result<(), Error> {
        self.run(sqlx::query!(
            "INSERT INTO cycles (account, cycle_id, started_at, finished_at, outcome, error_kind, error, requests, \
                 added, adopted, updated, removed, held) \
             SELECT $1, $2, $3, now(), ended.* \
             FROM jsonb_to_record($4) AS ended (outcome text, error_kind text, error text, requests bigint, \
                 added bigint, adopted bigint, updated bigint, removed bigint, held bigint)",
            self.account,
            cycle.id,
            cycle.now.to_sqlx() as _,
            Json(finished) as _
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
