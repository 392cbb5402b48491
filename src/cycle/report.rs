//! What a cycle says in the log, once and at the right level.
//!
//! What was said when is kept in the state, so that `once` does not repeat itself either; the little that is not is in
//! [`Memory`].

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    CycleError, SyncEngine,
    error::{self, FailureClass},
    seconds, signed,
};
use crate::{
    crm::Unconvertible,
    delivery::{Change, Delivery, Outcome, Request, Step},
    employee::{Roster, RowProblem},
    events::{self, HeldUsers, ReleasedUsers, Severity},
    plan::{Coverage, Hold, HoldKey, HoldKind, Operation, Plan, Policy, RemoteList, Snapshot},
    state::{Account, CycleOutcome, Finished, Opening},
};

/// What needs a human is said again after this time.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// A quiet daemon gives a sign of life this often.
const HEARTBEAT: Duration = Duration::from_mins(10);

/// What a process remembers from one cycle to the next.
#[derive(Debug)]
pub struct Memory {
    /// Wazzup's list is read in the first cycle.
    list_at_start: bool,
    finished_logged: Option<Instant>,
    /// Since when the state cannot be used, and when that was last said as an error.
    state_failure: Option<StateFailure>,
}

#[derive(Debug, Clone, Copy)]
struct StateFailure {
    since: Instant,
    kind: &'static str,
    reported_at: Option<Instant>,
}

impl Memory {
    /// Nothing remembered yet. With `list_at_start` Wazzup's list is due in the first cycle.
    #[must_use]
    pub fn new(list_at_start: bool) -> Self {
        Self {
            list_at_start,
            finished_logged: None,
            state_failure: None,
        }
    }
}

/// Says what happens in one cycle.
#[derive(Debug)]
pub(super) struct Reporter<'m> {
    memory: &'m mut Memory,
    account: Account,
    now: Timestamp,
    policy: Policy,
    verify_every: SignedDuration,
    unhealthy_after: SignedDuration,
    approved: Vec<(HoldKey, String)>,
    reported_holds: bool,
    /// How many refusals of the delivery are in the log.
    refusals_logged: usize,
    newly_failing_logged: usize,
}

impl<'m> Reporter<'m> {
    pub(super) fn new(memory: &'m mut Memory, opening: &Opening, engine: &SyncEngine) -> Self {
        for order in &opening.dropped_orders {
            events::order_dropped(order.key.kind, &order.key.user_id, &order.given_by);
        }
        let approved = opening.approved.iter();
        Self {
            memory,
            account: opening.account.clone(),
            now: opening.cycle.now,
            policy: engine.policy,
            verify_every: engine.verify_every,
            unhealthy_after: engine.unhealthy_after,
            approved: approved
                .map(|(key, approval)| (key.clone(), approval.by.clone()))
                .collect(),
            reported_holds: false,
            refusals_logged: 0,
            newly_failing_logged: 0,
        }
    }

    /// Whether Wazzup's list is due, whatever the plan asks for.
    pub(super) fn list_is_due(&self, account: &Account, fingerprint: &str, now: Timestamp) -> bool {
        let is_old = account
            .list_read_at
            .is_none_or(|read_at| now.duration_since(read_at) >= self.verify_every);
        let is_changed = account.fingerprint.as_deref().is_some_and(|known| known != fingerprint);
        self.memory.list_at_start || is_old || is_changed
    }

    /// Says what the plan found.
    pub(super) fn planned(&mut self, plan: &Plan, roster: &Roster, snapshot: &Snapshot, list: &RemoteList) {
        let last = self.account.last_cycle.as_ref().map(|cycle| cycle.counts);
        let holds_are_due = self.is_due(self.account.holds_reported_at);
        if roster.is_empty() && plan.managed > 0 && (holds_are_due || last.is_none_or(|last| last.eligible > 0)) {
            events::source_empty(plan.managed);
        }
        if plan.missing_ids > 0 && last.is_none_or(|last| last.missing_ids != plan.missing_ids) {
            events::rows_without_id(plan.missing_ids);
        }
        match list.coverage() {
            Coverage::Complete => events::verify_finished(list.len(), plan.drift),
            Coverage::Incomplete(reason) | Coverage::Unavailable(reason) => events::verify_proved_nothing(reason),
            Coverage::Unread => {}
        }
        report_row_problems(plan);
        let recovered: BTreeSet<&str> = plan.marks.closed_failures.iter().map(|key| &*key.user_id).collect();
        if !recovered.is_empty() {
            events::employee_recovered(&recovered);
        }
        self.report_released(plan, roster);
        self.report_held(plan, snapshot, holds_are_due);
    }

    /// Says which of the CRM's values were left out, when the first of them appear.
    pub(super) fn left_out(&self, values: &Unconvertible, plan: &Plan) {
        let last = self.account.last_cycle.as_ref().map(|cycle| cycle.counts);
        let has_new_row_without_id =
            values.unreadable_ids > 0 && last.is_none_or(|last| last.missing_ids != plan.missing_ids);
        let mut opened = plan.marks.opened_failures.iter();
        let has_new_failure = opened.any(|failure| values.ids.iter().any(|id| **id == *failure.key.user_id));
        if has_new_row_without_id || has_new_failure {
            events::values_unconvertible(values);
        }
    }

    fn is_due(&self, reported_at: Option<Timestamp>) -> bool {
        reported_at.is_none_or(|reported_at| self.now.duration_since(reported_at) >= AGAIN)
    }

    fn report_released(&self, plan: &Plan, roster: &Roster) {
        let mut approvers: Vec<&str> = self.approved.iter().map(|(_, by)| by.as_str()).collect();
        approvers.sort_unstable();
        approvers.dedup();
        for kind in HoldKind::ALL {
            for approver in &approvers {
                let approved = self
                    .approved
                    .iter()
                    .filter(|(key, by)| key.kind == kind && by == approver);
                let ids: BTreeSet<&str> = approved.map(|(key, _)| &*key.user_id).collect();
                report_release(kind, ids, "approved", Some(approver));
            }
            let is_over =
                |key: &&HoldKey| key.kind == kind && !self.approved.iter().any(|(approved, _)| approved == *key);
            let closed: Vec<&HoldKey> = plan.marks.closed_holds.iter().filter(is_over).collect();
            let (back, over): (Vec<&HoldKey>, Vec<&HoldKey>) = closed
                .into_iter()
                .partition(|key| kind == HoldKind::Remove && roster.names(&key.user_id));
            let is_policy = kind == HoldKind::Remove && !self.policy.removes;
            let ids_of = |keys: Vec<&'_ HoldKey>| -> BTreeSet<String> {
                keys.iter().map(|key| key.user_id.to_string()).collect()
            };
            let (back, over) = (ids_of(back), ids_of(over));
            report_release(kind, back.iter().map(String::as_str).collect(), "returned", None);
            let reason = if is_policy { "policy" } else { "over" };
            report_release(kind, over.iter().map(String::as_str).collect(), reason, None);
        }
    }

    /// Holds are said when they appear or change, when their grace ends, and then hourly.
    fn report_held(&mut self, plan: &Plan, snapshot: &Snapshot, hourly: bool) {
        for kind in HoldKind::ALL {
            let held: Vec<(&HoldKey, &Hold)> = plan.unapproved_holds().filter(|(key, _)| key.kind == kind).collect();
            let Some((_, first)) = held.first() else { continue };
            let is_news = plan.marks.opened_holds.iter().any(|(key, hold)| {
                key.kind == kind
                    && hold.approved.is_none()
                    && snapshot.holds.get(key).map(|known| &known.content) != Some(&hold.content)
            });
            let grace_ended = held
                .iter()
                .any(|(_, hold)| self.has_grace_ended_since_report(kind, hold));
            if !is_news && !grace_ended && !hourly {
                continue;
            }
            let is_in_grace = kind == HoldKind::Remove
                && held
                    .iter()
                    .all(|(_, hold)| self.grace_end(hold).is_some_and(|end| end > self.now));
            events::held(&HeldUsers {
                kind,
                ids: held.iter().map(|(key, _)| &*key.user_id).collect(),
                reason: &first.reason,
                is_in_grace,
            });
            self.reported_holds = true;
        }
    }

    /// When the grace of a held removal ends: its content is since when the user is absent.
    fn grace_end(&self, hold: &Hold) -> Option<Timestamp> {
        let absent_since: Timestamp = hold.content.parse().ok()?;
        absent_since.checked_add(self.policy.grace).ok()
    }

    fn has_grace_ended_since_report(&self, kind: HoldKind, hold: &Hold) -> bool {
        if kind != HoldKind::Remove {
            return false;
        }
        let (Some(end), Some(reported_at)) = (self.grace_end(hold), self.account.holds_reported_at) else {
            return false;
        };
        reported_at < end && end <= self.now
    }

    /// Says what a step of the delivery came to.
    pub(super) fn recorded(&mut self, request: &Request, step: &Step, delivery: &Delivery) {
        let operation = match request {
            Request::Remove { .. } => "remove",
            Request::Upsert { .. } | Request::Ping => "upsert",
        };
        for outcome in &step.outcomes {
            match outcome {
                Outcome::Upserted => events::batch_delivered(operation, request.entry_count(), 0),
                Outcome::Removed { absent } => {
                    events::batch_delivered(operation, request.entry_count(), absent.len());
                }
                Outcome::Failed(_)
                | Outcome::Recovered(_)
                | Outcome::SeatsTaken(_)
                | Outcome::AccountFull { .. }
                | Outcome::LimitExceeded => {}
            }
        }
        let report = delivery.report();
        for (entries, refusal) in &report.refusals[self.refusals_logged..] {
            events::batch_refused(*entries, refusal);
        }
        self.refusals_logged = report.refusals.len();
        events::failed_attempts(&report.newly_failing[self.newly_failing_logged..]);
        self.newly_failing_logged = report.newly_failing.len();
    }

    pub(super) fn reported_holds(&self) -> bool {
        self.reported_holds
    }

    /// Says how the cycle ended, and notes in `finished` what was said.
    pub(super) fn ended(&mut self, finished: &mut Finished, took: Duration) {
        if finished.outcome == CycleOutcome::Failed {
            self.failed(finished);
        } else {
            self.succeeded(finished, took);
        }
    }

    fn failed(&mut self, finished: &mut Finished) {
        let Some(failure) = &finished.error else { return };
        let failing_for = self.account.failing_for(self.now);
        let is_new_kind = self
            .account
            .last_cycle
            .as_ref()
            .is_none_or(|last| last.error_kind.as_deref() != Some(failure.kind));
        let severity = match error::class_of(failure.kind) {
            FailureClass::Stopping => Severity::Info,
            FailureClass::Passing if failing_for < self.unhealthy_after / 3 => Severity::Warn,
            FailureClass::NeedsHuman if is_new_kind => Severity::Error,
            FailureClass::Passing | FailureClass::NeedsHuman if self.is_due(self.account.error_reported_at) => {
                Severity::Error
            }
            FailureClass::Passing | FailureClass::NeedsHuman => Severity::Warn,
        };
        events::cycle_failed(
            severity,
            failure.kind,
            &failure.message,
            seconds(failing_for),
            finished.requests,
        );
        finished.reported_error = severity == Severity::Error;
    }

    fn succeeded(&mut self, finished: &Finished, took: Duration) {
        self.memory.list_at_start = self.memory.list_at_start && !finished.had_list;
        let recovered = self.recovered();
        let sign_of_life = self.memory.finished_logged.is_none_or(|at| at.elapsed() >= HEARTBEAT);
        let is_worth_info = finished.noteworthy || recovered || sign_of_life;
        if is_worth_info {
            self.memory.finished_logged = Some(Instant::now());
        }
        events::cycle_finished(finished, took, is_worth_info);
    }

    /// Says that cycles succeed again, if the last one failed. Returns whether it did.
    fn recovered(&mut self) -> bool {
        let last_failure = self
            .account
            .last_cycle
            .as_ref()
            .filter(|last| last.outcome == CycleOutcome::Failed)
            .map(|last| last.error_kind.clone().unwrap_or_default());
        let failed_for = self.account.failing_for(self.now);
        match (last_failure, self.memory.state_failure.take()) {
            (Some(kind), _) => events::cycle_recovered(&kind, seconds(failed_for)),
            (None, Some(failure)) => {
                events::cycle_recovered(failure.kind, seconds(signed(failure.since.elapsed())));
            }
            (None, None) => return false,
        }
        true
    }

    /// The end of the cycle could not be written down.
    pub(super) fn could_not_be_recorded(&mut self, error: &CycleError) {
        failed_without_state(error, self.memory, self.unhealthy_after);
    }

    /// Says who was added, who recovered and who waits for a seat.
    pub(super) fn delivered(report: &crate::delivery::Report) {
        let added: BTreeSet<&str> = report
            .delivered
            .iter()
            .filter(|delivered| delivered.change == Change::Add)
            .map(|delivered| delivered.id.as_str())
            .collect();
        if !added.is_empty() {
            events::users_added(&added);
        }
        let recovered: BTreeSet<&str> = report.recovered.iter().map(|key| &*key.user_id).collect();
        if !recovered.is_empty() {
            events::employee_recovered(&recovered);
        }
        if let Some(limit) = report.seats_exhausted {
            events::seats_exhausted(limit, report.waiting_for_seat.len());
        }
    }
}

/// Says that a cycle failed of which the state knows nothing.
pub(crate) fn failed_without_state(error: &CycleError, memory: &mut Memory, unhealthy_after: SignedDuration) {
    let kind = error.kind();
    let earlier = memory.state_failure.unwrap_or(StateFailure {
        since: Instant::now(),
        kind,
        reported_at: None,
    });
    let failing_for = signed(earlier.since.elapsed());
    let is_due = earlier.kind != kind
        || earlier
            .reported_at
            .is_none_or(|reported_at| signed(reported_at.elapsed()) >= AGAIN);
    let severity = match error.class() {
        FailureClass::Stopping => Severity::Info,
        FailureClass::Passing if failing_for < unhealthy_after / 3 => Severity::Warn,
        FailureClass::Passing | FailureClass::NeedsHuman if is_due => Severity::Error,
        FailureClass::Passing | FailureClass::NeedsHuman => Severity::Warn,
    };
    events::cycle_failed(severity, kind, &error.to_string(), seconds(failing_for), 0);
    let reported_at = if severity == Severity::Error {
        Some(Instant::now())
    } else {
        earlier.reported_at
    };
    memory.state_failure = Some(StateFailure {
        since: earlier.since,
        kind,
        reported_at,
    });
}

fn report_release(kind: HoldKind, ids: BTreeSet<&str>, reason: &str, approved_by: Option<&str>) {
    if !ids.is_empty() {
        events::released(&ReleasedUsers {
            kind,
            ids,
            reason,
            approved_by,
        });
    }
}

fn report_row_problems(plan: &Plan) {
    for problem in RowProblem::ALL {
        for operation in [Operation::Upsert, Operation::Phone] {
            let opened = plan.marks.opened_failures.iter();
            let ids: BTreeSet<&str> = opened
                .filter(|failure| failure.problem == problem && failure.key.operation == operation)
                .map(|failure| &*failure.key.user_id)
                .collect();
            if ids.is_empty() {
                continue;
            }
            if operation == Operation::Upsert {
                events::employee_rejected(problem.as_str(), &ids);
            } else {
                events::employee_failing(operation, problem.as_str(), &ids);
            }
        }
    }
}
