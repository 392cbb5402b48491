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
use tracing::Level;

use super::{CycleError, SyncEngine, error::FailureClass};
use crate::{
    crm::Unconvertible,
    delivery::{Answer, Change, Outcome, Report, Request, Step, Verdict},
    employee::Roster,
    events,
    plan::{Approval, Coverage, FailureKey, Hold, HoldKey, HoldKind, Operation, Plan, RemoteList, Snapshot},
    state::{Account, CycleOutcome, Finished, Opening},
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

    /// Says what the plan found.
    pub(super) fn planned(
        &mut self,
        plan: &Plan,
        roster: &Roster,
        snapshot: &Snapshot,
        list: &RemoteList,
        unconvertible: Option<&Unconvertible>,
    ) {
        let last = self.account.last_cycle.as_ref().map(|cycle| cycle.counts);
        let holds_are_due = self.is_due_since(self.account.holds_reported_at);
        if roster.is_empty() && plan.managed > 0 && (holds_are_due || last.is_none_or(|last| last.eligible > 0)) {
            events::source_empty(plan.managed);
        }
        let has_new_missing_ids = last.is_none_or(|last| last.missing_ids != plan.missing_ids);
        if plan.missing_ids > 0 && has_new_missing_ids {
            events::rows_without_id(plan.missing_ids);
        }
        match list.coverage() {
            Coverage::Complete => events::verify_finished(list.len(), plan.drift),
            Coverage::Incomplete(reason) | Coverage::Unavailable(reason) => events::verify_proved_nothing(reason),
            Coverage::Unread => {}
        }
        let opened = &plan.marks.opened_failures;
        let problems = opened.iter().map(|failure| (&failure.key, failure.problem.as_str()));
        for ((operation, code), ids) in grouped(problems) {
            match operation {
                Operation::Upsert => events::employee_rejected(code, &ids),
                Operation::Remove | Operation::Phone => events::employee_failing(operation, code, &ids),
            }
        }
        report_recovered_employees(&plan.marks.closed_failures);
        self.report_released(plan, roster);
        self.report_held(plan, snapshot, holds_are_due);
        if let Some(values) = unconvertible {
            let is_new = |id: &String| opened.iter().any(|failure| *failure.key.user_id == **id);
            if (values.unreadable_ids > 0 && has_new_missing_ids) || values.ids.iter().any(is_new) {
                events::values_unconvertible(values);
            }
        }
        for key in &plan.marks.closed_failures {
            self.known_failures.remove(key);
        }
        let local = plan.local_failures.iter().map(|failure| failure.key.clone());
        self.known_failures.extend(local);
    }

    fn report_released(&self, plan: &Plan, roster: &Roster) {
        let mut released: BTreeMap<(HoldKind, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
        for (key, approval) in &self.approved {
            if is_followed(plan, key) {
                let group = released.entry((key.kind, "approved", Some(&approval.by)));
                group.or_default().insert(&key.user_id);
            } else {
                events::order_dropped(key.kind, &key.user_id, &approval.by);
            }
        }
        for key in &plan.marks.closed_holds {
            let reason = match key.kind {
                HoldKind::Remove if roster.names(&key.user_id) => "returned",
                HoldKind::Remove if !self.engine.policy.removes => "policy",
                _ => "over",
            };
            let group = released.entry((key.kind, reason, None));
            group.or_default().insert(&key.user_id);
        }
        for ((kind, reason, approved_by), ids) in released {
            events::released(kind, &ids, reason, approved_by);
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
            let grace_ends: Vec<Timestamp> = held.iter().map(|(key, hold)| self.grace_end(key, hold)).collect();
            let reported_at = self.account.holds_reported_at;
            let has_ended = |end: &Timestamp| reported_at.is_some_and(|reported| reported < *end) && *end <= self.now;
            if hourly || !held.iter().all(is_known) || grace_ends.iter().any(has_ended) {
                let ids = held.iter().map(|(key, _)| &*key.user_id).collect();
                let in_grace = grace_ends.iter().all(|end| *end > self.now);
                events::held(kind, &ids, &first.reason, in_grace);
                self.reported_holds = true;
            }
        }
    }

    /// When the grace of a held removal ends: its content is since when the user is absent. Other holds have none.
    fn grace_end(&self, key: &HoldKey, hold: &Hold) -> Timestamp {
        let absent_since: Option<Timestamp> = match key.kind {
            HoldKind::Remove => hold.content.parse().ok(),
            HoldKind::Account | HoldKind::Update | HoldKind::Takeover => None,
        };
        let end = absent_since.and_then(|since| since.checked_add(self.engine.policy.grace).ok());
        end.unwrap_or(Timestamp::MIN)
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
        let newly_failed = newly_failed.into_iter().map(|attempt| (&attempt.key, &*attempt.code));
        for ((operation, code), ids) in grouped(newly_failed) {
            events::employee_failing(operation, code, &ids);
        }
    }

    /// Says how the cycle ended, and notes in `finished` what was said.
    pub(super) fn ended(&mut self, error: Option<&CycleError>, finished: &mut Finished, took: Duration) {
        let Some(error) = error else {
            return self.succeeded(finished, took);
        };
        let last = self.account.last_cycle.as_ref();
        let failing = Failing {
            lasts: self.account.failing_for(self.now),
            is_new_kind: last.and_then(|last| last.error_kind.as_deref()) != Some(error.kind()),
            is_due: self.is_due_since(self.account.error_reported_at),
        };
        finished.reported_error = failing.report(error, finished.requests, self.engine.unhealthy_after);
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
    let since = earlier.map_or_else(Instant::now, |earlier| earlier.since);
    let reported_at = earlier.and_then(|earlier| earlier.reported_at);
    let failing = Failing {
        lasts: elapsed(since),
        is_new_kind: earlier.is_none_or(|earlier| earlier.kind != kind),
        is_due: reported_at.is_none_or(|at| elapsed(at) >= REMIND_AFTER),
    };
    let is_reported = failing.report(error, 0, unhealthy_after);
    memory.state_failure = Some(StateFailure {
        since,
        kind,
        reported_at: if is_reported { Some(Instant::now()) } else { reported_at },
    });
}

/// Cycles that fail.
struct Failing {
    lasts: SignedDuration,
    /// The last cycle did not fail, or failed in another way.
    is_new_kind: bool,
    /// The last error was not reported, or more than an hour ago.
    is_due: bool,
}

impl Failing {
    /// What may pass by itself is an error only if it lasts; what needs a human is one at once, and when it changes. Both are
    /// errors once an hour. Returns whether this is one.
    fn report(&self, error: &CycleError, requests: usize, unhealthy_after: SignedDuration) -> bool {
        let (kind, class) = error.kind_and_class();
        let level = match class {
            FailureClass::Stopping => Level::INFO,
            FailureClass::Transient if self.lasts < unhealthy_after / 3 => Level::WARN,
            FailureClass::NeedsHuman if self.is_new_kind => Level::ERROR,
            FailureClass::Transient | FailureClass::NeedsHuman if self.is_due => Level::ERROR,
            FailureClass::Transient | FailureClass::NeedsHuman => Level::WARN,
        };
        events::cycle_failed(level, kind, error, seconds(self.lasts), requests);
        level == Level::ERROR
    }
}

/// The ids of failures by their operation and code.
fn grouped<'a>(
    failures: impl IntoIterator<Item = (&'a FailureKey, &'a str)>,
) -> BTreeMap<(Operation, &'a str), BTreeSet<&'a str>> {
    let mut groups: BTreeMap<(Operation, &str), BTreeSet<&str>> = BTreeMap::new();
    for (key, code) in failures {
        groups.entry((key.operation, code)).or_default().insert(&key.user_id);
    }
    groups
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
