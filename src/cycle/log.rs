//! What a cycle says in the log, once and at the right level.
//!
//! What was said when is kept in the state, so that `once` does not repeat itself either; the little that is not is in
//! [`Memory`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{CycleError, SyncEngine, error::FailureClass};
use crate::{
    crm::Unconvertible,
    delivery::{Answer, Change, Outcome, Report, Request, Step, Verdict},
    employee::{Roster, RowProblem},
    events::{self, HeldUsers, ReleasedUsers, Severity},
    plan::{Approval, Coverage, FailureKey, Hold, HoldKey, HoldKind, Operation, Plan, RemoteList, Snapshot},
    state::{Account, Counts, CycleOutcome, Finished, Opening},
};

/// What needs a human is said again after this time.
const REMIND_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// A quiet daemon logs a heartbeat this often.
const HEARTBEAT: Duration = Duration::from_mins(10);

/// What a process remembers from one cycle to the next.
#[derive(Debug)]
pub struct Memory {
    /// Wazzup's list is read in the first cycle.
    list_at_start: bool,
    finished_logged: Option<Instant>,
    state_failure: Option<StateFailure>,
}

/// Since when the state cannot be used, and when that was last said as an error.
#[derive(Debug, Clone, Copy)]
struct StateFailure {
    since: Instant,
    kind: &'static str,
    reported_at: Option<Instant>,
}

impl Memory {
    /// Nothing remembered yet. With `list_at_start` Wazzup's list is due in the first cycle.
    pub fn new(list_at_start: bool) -> Self {
        Self {
            list_at_start,
            finished_logged: None,
            state_failure: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct CycleLog<'m> {
    memory: &'m mut Memory,
    engine: &'m SyncEngine,
    /// The account when the cycle began.
    pub(super) account: Account,
    now: Timestamp,
    /// Holds approved by the orders of this cycle.
    approved: BTreeMap<HoldKey, Approval>,
    /// Failures that were reported already.
    known_failures: BTreeSet<FailureKey>,
    /// Holds were reported as an error.
    pub(super) reported_holds: bool,
}

impl<'m> CycleLog<'m> {
    pub(super) fn new(memory: &'m mut Memory, engine: &'m SyncEngine, opening: &Opening) -> Self {
        for order in &opening.dropped_orders {
            events::order_dropped(order.key.kind, &order.key.user_id, &order.given_by);
        }
        Self {
            memory,
            engine,
            account: opening.account.clone(),
            now: opening.cycle.now,
            approved: opening.approved.clone(),
            known_failures: opening.snapshot.failures.keys().cloned().collect(),
            reported_holds: false,
        }
    }

    /// Whether this process has yet to read Wazzup's list.
    pub(super) fn wants_list_at_start(&self) -> bool {
        self.memory.list_at_start
    }

    /// Whether what was last reported at this time is to be said again.
    fn is_due_since(&self, reported_at: Option<Timestamp>) -> bool {
        reported_at.is_none_or(|reported_at| self.now.duration_since(reported_at) >= REMIND_AFTER)
    }

    fn last_counts(&self) -> Option<Counts> {
        self.account.last_cycle.as_ref().map(|cycle| cycle.counts)
    }

    /// Says what the plan found.
    pub(super) fn planned(
        &mut self,
        plan: &Plan,
        roster: &Roster,
        snapshot: &Snapshot,
        list: &RemoteList,
        unconvertible: Option<&Unconvertible>,
    ) {
        let last = self.last_counts();
        let holds_are_due = self.is_due_since(self.account.holds_reported_at);
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
        report_recovered_employees(&plan.marks.closed_failures);
        self.report_released(plan, roster);
        self.report_held(plan, snapshot, holds_are_due);
        if let Some(values) = unconvertible {
            self.report_left_out(values, plan);
        }
        for key in &plan.marks.closed_failures {
            self.known_failures.remove(key);
        }
        let local = plan.local_failures.iter().map(|failure| failure.key.clone());
        self.known_failures.extend(local);
    }

    /// Warns of values that cannot be converted to UTF-8, when new ones appear.
    fn report_left_out(&self, values: &Unconvertible, plan: &Plan) {
        let last = self.last_counts();
        let has_new_row_without_id =
            values.unreadable_ids > 0 && last.is_none_or(|last| last.missing_ids != plan.missing_ids);
        let mut opened = plan.marks.opened_failures.iter();
        let has_new_failure = opened.any(|failure| values.ids.iter().any(|id| **id == *failure.key.user_id));
        if has_new_row_without_id || has_new_failure {
            events::values_unconvertible(values);
        }
    }

    fn report_released(&self, plan: &Plan, roster: &Roster) {
        let mut released: BTreeMap<(HoldKind, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
        for (key, approval) in &self.approved {
            if !is_followed(plan, key) {
                events::order_dropped(key.kind, &key.user_id, &approval.by);
                continue;
            }
            let group = released.entry((key.kind, "approved", Some(&approval.by)));
            group.or_default().insert(&key.user_id);
        }
        for key in &plan.marks.closed_holds {
            let reason = match key.kind {
                HoldKind::Remove if roster.names(&key.user_id) => "returned",
                HoldKind::Remove if !self.engine.policy.removes => "policy",
                _ => "over",
            };
            released
                .entry((key.kind, reason, None))
                .or_default()
                .insert(&key.user_id);
        }
        for ((kind, reason, approved_by), ids) in released {
            events::released(&ReleasedUsers {
                kind,
                ids,
                reason,
                approved_by,
            });
        }
    }

    /// Holds are said when they appear or change, when their grace ends, and then hourly.
    fn report_held(&mut self, plan: &Plan, snapshot: &Snapshot, hourly: bool) {
        for kind in HoldKind::ALL {
            let held: Vec<(&HoldKey, &Hold)> = plan.unapproved_holds().filter(|(key, _)| key.kind == kind).collect();
            let Some((_, first)) = held.first() else { continue };
            let is_known = |(key, hold): &(&HoldKey, &Hold)| {
                let known = snapshot.holds.get(*key);
                known.is_some_and(|known| known.content == hold.content && known.approved.is_none())
            };
            let has_grace_ended = held
                .iter()
                .any(|(key, hold)| self.has_grace_ended_since_report(key, hold));
            if !hourly && !has_grace_ended && held.iter().all(is_known) {
                continue;
            }
            let is_in_grace = held
                .iter()
                .all(|(key, hold)| self.grace_end(key, hold).is_some_and(|end| end > self.now));
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
    fn grace_end(&self, key: &HoldKey, hold: &Hold) -> Option<Timestamp> {
        if key.kind != HoldKind::Remove {
            return None;
        }
        let absent_since: Timestamp = hold.content.parse().ok()?;
        absent_since.checked_add(self.engine.policy.grace).ok()
    }

    fn has_grace_ended_since_report(&self, key: &HoldKey, hold: &Hold) -> bool {
        match (self.grace_end(key, hold), self.account.holds_reported_at) {
            (Some(end), Some(reported_at)) => reported_at < end && end <= self.now,
            _ => false,
        }
    }

    /// Says what a step of the delivery came to.
    pub(super) fn recorded(&mut self, request: &Request, step: &Step) {
        let mut newly_failed = Vec::new();
        for outcome in &step.outcomes {
            match outcome {
                Outcome::Upserted => events::batch_delivered("upsert", request.entry_count(), 0),
                Outcome::Removed { absent } => {
                    events::batch_delivered("remove", request.entry_count(), absent.len());
                }
                Outcome::Failed(attempt) => {
                    if self.known_failures.insert(attempt.key.clone()) {
                        newly_failed.push(attempt);
                    }
                }
                Outcome::Recovered(key) => _ = self.known_failures.remove(key),
                Outcome::SeatsTaken(_) | Outcome::SeatLimit { .. } => {}
            }
        }
        events::failed_attempts(&newly_failed);
    }

    /// Says how the cycle ended, and notes in `finished` what was said.
    pub(super) fn ended(&mut self, error: Option<&CycleError>, finished: &mut Finished, took: Duration) {
        match error {
            Some(error) => self.failed(error, finished),
            None => self.succeeded(finished, took),
        }
    }

    fn failed(&mut self, error: &CycleError, finished: &mut Finished) {
        let kind = error.kind();
        let last_kind = self
            .account
            .last_cycle
            .as_ref()
            .and_then(|last| last.error_kind.as_deref());
        let failing = Failing {
            class: error.class(),
            lasts: self.account.failing_for(self.now),
            is_new_kind: last_kind != Some(kind),
            is_due: self.is_due_since(self.account.error_reported_at),
        };
        let severity = failing.severity(self.engine.unhealthy_after);
        events::cycle_failed(
            severity,
            kind,
            &error.to_string(),
            seconds(failing.lasts),
            finished.requests,
        );
        finished.reported_error = severity == Severity::Error;
    }

    fn succeeded(&mut self, finished: &Finished, took: Duration) {
        self.memory.list_at_start = self.memory.list_at_start && !finished.had_list;
        let recovered = self.report_cycles_recovered();
        let is_heartbeat_due = self.memory.finished_logged.is_none_or(|at| at.elapsed() >= HEARTBEAT);
        let is_worth_info = finished.noteworthy || recovered || is_heartbeat_due;
        if is_worth_info {
            self.memory.finished_logged = Some(Instant::now());
        }
        events::cycle_finished(finished, took, is_worth_info);
    }

    /// Says that cycles succeed again, if the last one failed. Returns whether it did.
    fn report_cycles_recovered(&mut self) -> bool {
        let state_failure = self.memory.state_failure.take();
        let last = self.account.last_cycle.as_ref();
        if let Some(last) = last.filter(|last| last.outcome == CycleOutcome::Failed) {
            let kind = last.error_kind.as_deref().unwrap_or_default();
            events::cycle_recovered(kind, seconds(self.account.failing_for(self.now)));
            return true;
        }
        if let Some(failure) = state_failure {
            events::cycle_recovered(failure.kind, seconds(elapsed(failure.since)));
        }
        state_failure.is_some()
    }

    /// The end of the cycle could not be written down.
    pub(super) fn could_not_be_recorded(&mut self, error: &CycleError) {
        report_failure_without_state(error, self.memory, self.engine.unhealthy_after);
    }
}

/// Whether the plan follows an approval. It does not if what was approved changed in the meantime.
fn is_followed(plan: &Plan, approved: &HoldKey) -> bool {
    let is_approved_in_plan = plan.holds.get(approved).is_some_and(|hold| hold.approved.is_some());
    let is_account_replaced = approved.kind == HoldKind::Account && plan.marks.forgets_account;
    is_approved_in_plan || is_account_replaced
}

/// Says that a request was refused, or got no decision.
pub(super) fn report_refusal(request: &Request, answer: &Answer) {
    if let Verdict::Refused(refusal) | Verdict::NoDecision(refusal) = &answer.verdict
        && request.is_writing()
    {
        events::batch_refused(request.entry_count(), refusal);
    }
}

/// Says who was added, who recovered and who waits for a seat.
pub(super) fn report_delivered(report: &Report) {
    let mut added: BTreeSet<&str> = BTreeSet::new();
    for delivered in &report.delivered {
        if delivered.change == Change::Add {
            added.insert(delivered.id.as_str());
        }
    }
    if !added.is_empty() {
        events::users_added(&added);
    }
    report_recovered_employees(&report.recovered);
    if report.seats_exhausted {
        events::seats_exhausted(report.seats_limit, report.waiting_for_seat.len());
    }
}

/// Says that a cycle failed of which the state knows nothing.
pub(crate) fn report_failure_without_state(error: &CycleError, memory: &mut Memory, unhealthy_after: SignedDuration) {
    let kind = error.kind();
    let earlier = memory.state_failure;
    let mut failure = StateFailure {
        since: earlier.map_or_else(Instant::now, |earlier| earlier.since),
        kind,
        reported_at: earlier.and_then(|earlier| earlier.reported_at),
    };
    let failing = Failing {
        class: error.class(),
        lasts: elapsed(failure.since),
        is_new_kind: earlier.is_none_or(|earlier| earlier.kind != kind),
        is_due: failure.reported_at.is_none_or(|at| elapsed(at) >= REMIND_AFTER),
    };
    let severity = failing.severity(unhealthy_after);
    events::cycle_failed(severity, kind, &error.to_string(), seconds(failing.lasts), 0);
    if severity == Severity::Error {
        failure.reported_at = Some(Instant::now());
    }
    memory.state_failure = Some(failure);
}

/// Cycles that fail.
struct Failing {
    class: FailureClass,
    lasts: SignedDuration,
    /// The last cycle did not fail, or failed in another way.
    is_new_kind: bool,
    /// The last error was not reported, or more than an hour ago.
    is_due: bool,
}

impl Failing {
    /// What may pass by itself is an error only if it lasts; what needs a human is one at once, and when it changes. Both are
    /// errors once an hour.
    fn severity(&self, unhealthy_after: SignedDuration) -> Severity {
        match self.class {
            FailureClass::Stopping => Severity::Info,
            FailureClass::Transient if self.lasts < unhealthy_after / 3 => Severity::Warn,
            FailureClass::NeedsHuman if self.is_new_kind => Severity::Error,
            FailureClass::Transient | FailureClass::NeedsHuman if self.is_due => Severity::Error,
            FailureClass::Transient | FailureClass::NeedsHuman => Severity::Warn,
        }
    }
}

fn elapsed(since: Instant) -> SignedDuration {
    SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX)
}

/// `duration` as whole seconds, for the log.
fn seconds(duration: SignedDuration) -> i64 {
    duration.as_secs().max(0)
}

fn report_recovered_employees(failures: &[FailureKey]) {
    let ids: BTreeSet<&str> = failures.iter().map(|key| &*key.user_id).collect();
    if !ids.is_empty() {
        events::employee_recovered(&ids);
    }
}

fn report_row_problems(plan: &Plan) {
    let mut opened: BTreeMap<(RowProblem, Operation), BTreeSet<&str>> = BTreeMap::new();
    for failure in &plan.marks.opened_failures {
        let group = opened.entry((failure.problem, failure.key.operation));
        group.or_default().insert(&failure.key.user_id);
    }
    for ((problem, operation), ids) in opened {
        if operation == Operation::Upsert {
            events::employee_rejected(problem.as_str(), &ids);
        } else {
            events::employee_failing(operation, problem.as_str(), &ids);
        }
    }
}
