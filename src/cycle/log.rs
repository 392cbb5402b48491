//! What a cycle logs, once and at the right level.
//!
//! What was logged when is kept in the state, so that `once` does not repeat itself either; the little that is not is in
//! [`Memory`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use strum::IntoEnumIterator as _;
use tokio::time::Instant;
use tracing::Level;

use super::{
    CycleError, SyncEngine,
    error::FailureClass,
    memory::{Memory, StateFailure},
};
use crate::{
    crm::Unconvertible,
    delivery::{Answer, Change, Report, Request, Step, Verdict},
    employee::Roster,
    events::{self, ReleaseReason},
    plan::{Coverage, Failure, FailureKey, Hold, HoldKey, HoldKind, Operation, Plan, RemoteList},
    state::{CycleOutcome, Finished, Opening},
};

/// What needs a human is logged again after this time.
const REMIND_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// A quiet daemon logs a heartbeat this often.
const HEARTBEAT: Duration = Duration::from_mins(10);

pub(super) struct CycleLog<'c> {
    pub(super) memory: &'c mut Memory,
    engine: &'c SyncEngine,
    opening: &'c Opening,
    /// Holds were reported, or a CRM that names nobody.
    reported_holds: bool,
}

impl<'c> CycleLog<'c> {
    pub(super) fn new(memory: &'c mut Memory, engine: &'c SyncEngine, opening: &'c Opening) -> Self {
        Self {
            memory,
            engine,
            opening,
            reported_holds: false,
        }
    }

    /// How long ago something was last logged.
    fn ago(&self, reported_at: Option<Timestamp>) -> Option<SignedDuration> {
        reported_at.map(|reported_at| self.opening.cycle.now.duration_since(reported_at))
    }

    /// Logs what the plan found.
    pub(super) fn planned(
        &mut self,
        plan: &Plan,
        roster: &Roster,
        list: &RemoteList,
        unconvertible: Option<&Unconvertible>,
    ) {
        let account = &self.opening.account;
        let last = account.last_cycle.as_ref().map(|cycle| cycle.counts);
        let holds_are_due = is_due(self.ago(account.holds_reported_at));
        if roster.is_empty() && plan.managed > 0 && (holds_are_due || last.is_none_or(|last| last.eligible > 0)) {
            events::source_empty(plan.managed);
            self.reported_holds = true;
        }
        let has_new_missing_ids = last.is_none_or(|last| last.missing_ids != plan.missing_ids);
        if plan.missing_ids > 0 && has_new_missing_ids {
            events::rows_without_id(plan.missing_ids);
        }
        match list.coverage() {
            Coverage::Complete => events::verify_finished(list.users().count(), plan.drift),
            Coverage::Incomplete(reason) | Coverage::Unavailable(reason) => events::verify_proved_nothing(reason),
            Coverage::Unread => {}
        }
        let stored = &self.opening.snapshot.failures;
        let mut newly_wrong: Vec<&Failure> = plan.marks.opened_failures.iter().collect();
        newly_wrong.retain(|failure| {
            // A phone that is spelled in another way, and cannot be read all the same, is no news.
            let known = stored.get(&failure.key);
            known.is_none_or(|known| known.failure.code != failure.code)
        });
        for ((operation, code), ids) in grouped(newly_wrong.iter().copied()) {
            match operation {
                Operation::Upsert => events::employee_rejected(code, &ids),
                Operation::Remove | Operation::Phone => events::employee_failing(operation, code, &ids),
            }
        }
        report_recovered_employees(&plan.marks.closed_failures);
        self.report_released(plan, roster);
        self.report_held(plan);
        if let Some(values) = unconvertible {
            let is_new = |id: &String| newly_wrong.iter().any(|failure| *failure.key.user_id == **id);
            if (values.unreadable_ids > 0 && has_new_missing_ids) || values.ids.iter().any(is_new) {
                events::values_unconvertible(values);
            }
        }
    }

    fn report_released(&self, plan: &Plan, roster: &Roster) {
        for (key, approval) in &self.opening.orders.dropped {
            events::order_dropped(key.kind, &key.user_id, &approval.by);
        }
        let mut released: BTreeMap<(HoldKind, ReleaseReason, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
        for (key, hold) in &self.opening.orders.approved {
            let Some(approval) = &hold.approved else { continue };
            if is_followed(plan, key) {
                let group = released.entry((key.kind, ReleaseReason::Approved, Some(&approval.by)));
                group.or_default().insert(&key.user_id);
            } else {
                events::order_dropped(key.kind, &key.user_id, &approval.by);
            }
        }
        for key in &plan.marks.closed_holds {
            let reason = match key.kind {
                HoldKind::Remove if roster.names(&key.user_id) => ReleaseReason::Returned,
                HoldKind::Remove if !self.engine.policy.removes => ReleaseReason::Policy,
                _ => ReleaseReason::Over,
            };
            let group = released.entry((key.kind, reason, None));
            group.or_default().insert(&key.user_id);
        }
        for ((kind, reason, approved_by), ids) in released {
            events::released(kind, &ids, reason, approved_by);
        }
    }

    fn report_held(&mut self, plan: &Plan) {
        for kind in HoldKind::iter() {
            let held: Vec<(&HoldKey, &Hold)> = plan.unapproved_holds().filter(|(key, _)| key.kind == kind).collect();
            let Some((_, first)) = held.first() else { continue };
            if held.iter().any(|(key, hold)| self.is_news(key, hold)) {
                let ids = held.iter().map(|(key, _)| &*key.user_id).collect();
                let in_grace = held
                    .iter()
                    .all(|(key, hold)| self.grace_end(key, hold) > self.opening.cycle.now);
                events::held(kind, &ids, &first.reason, in_grace);
                self.reported_holds = true;
            }
        }
    }

    /// Holds are logged when they appear or change, when their grace ends, and then hourly.
    fn is_news(&self, key: &HoldKey, hold: &Hold) -> bool {
        let reported_at = self.opening.account.holds_reported_at;
        let known = self.opening.snapshot.holds.get(key);
        let is_known = known.is_some_and(|known| {
            known.content == hold.content && known.crm_row == hold.crm_row && known.approved.is_none()
        });
        let grace_end = self.grace_end(key, hold);
        let has_grace_ended = reported_at < Some(grace_end) && grace_end <= self.opening.cycle.now;
        !is_known || has_grace_ended || is_due(self.ago(reported_at))
    }

    /// When the grace of a held removal ends. Other holds have none.
    fn grace_end(&self, key: &HoldKey, hold: &Hold) -> Timestamp {
        let absent_since = hold.absent_since().filter(|_| key.kind == HoldKind::Remove);
        absent_since.map_or(Timestamp::MIN, |since| self.engine.policy.grace_end(since))
    }

    /// Notes in `finished` what the log has reported, and whether it will report the failure as an error.
    pub(super) fn note_reports(&self, error: Option<&CycleError>, finished: &mut Finished) {
        finished.reported_holds = self.reported_holds;
        let level = error.map(|error| self.streak().level(error, self.engine.unhealthy_after));
        finished.reported_error = level == Some(Level::ERROR);
    }

    /// Logs how the cycle ended, once that is recorded.
    pub(super) fn ended(&mut self, error: Option<&CycleError>, finished: &Finished, took: Duration) {
        let Some(error) = error else {
            return self.succeeded(finished, took);
        };
        let streak = self.streak();
        let level = streak.level(error, self.engine.unhealthy_after);
        events::cycle_failed(level, error.kind(), error, seconds(streak.lasts), finished.requests);
    }

    /// The failed cycles, of which this is the latest if it failed.
    fn streak(&self) -> FailureStreak<'_> {
        let account = &self.opening.account;
        let last = account.last_cycle.as_ref();
        FailureStreak {
            lasts: account.failing_for(self.opening.cycle.now),
            last_kind: last.and_then(|last| last.error_kind.as_deref()),
            reported_ago: self.ago(account.error_reported_at),
        }
    }

    fn succeeded(&mut self, finished: &Finished, took: Duration) {
        self.memory.list_is_due = self.memory.list_is_due && !finished.had_list;
        let recovered = self.report_cycles_recovered();
        let is_heartbeat_due = self.memory.finished_logged.is_none_or(|at| at.elapsed() >= HEARTBEAT);
        let is_worth_info = finished.noteworthy || recovered || is_heartbeat_due;
        if is_worth_info {
            self.memory.finished_logged = Some(Instant::now());
        }
        events::cycle_finished(finished, took, is_worth_info);
    }

    /// Logs that cycles succeed again, if the last one failed. Returns whether it did.
    fn report_cycles_recovered(&mut self) -> bool {
        let account = &self.opening.account;
        let last = account.last_cycle.as_ref();
        let failed_cycle = last.filter(|last| last.outcome == CycleOutcome::Failed);
        let (kind, lasted) = match (failed_cycle, self.memory.state_failure.take()) {
            (Some(cycle), _) => {
                let kind = cycle.error_kind.as_deref();
                (kind.unwrap_or_default(), account.failing_for(self.opening.cycle.now))
            }
            (None, Some(failure)) => (failure.kind, elapsed(failure.since)),
            (None, None) => return false,
        };
        events::cycle_recovered(kind, seconds(lasted));
        true
    }
}

/// Whether the plan follows an approval. It does not if what was approved changed in the meantime.
fn is_followed(plan: &Plan, approved: &HoldKey) -> bool {
    let is_approved_in_plan = plan.holds.get(approved).is_some_and(|hold| hold.approved.is_some());
    let is_account_replaced = approved.kind == HoldKind::Account && plan.marks.forgets_account;
    is_approved_in_plan || is_account_replaced
}

/// Logs the result of a step of the delivery.
pub(super) fn report_step(request: &Request, step: &Step) {
    if step.is_acknowledged {
        let is_removal = matches!(request, Request::Remove { .. });
        events::batch_delivered(is_removal, request.entry_count(), step.absent.len());
    }
    let failed = step.failed.values();
    let newly_failed = failed.filter(|failure| step.newly_failing.contains(&failure.key));
    for ((operation, code), ids) in grouped(newly_failed) {
        events::employee_failing(operation, code, &ids);
    }
}

/// Logs who was added, who recovered and who waits for a seat.
pub(super) fn report_delivery(report: &Report) {
    let added = report.delivered.iter().filter(|entry| entry.change == Change::Add);
    let added: BTreeSet<&str> = added.map(|entry| entry.employee.id.as_str()).collect();
    if !added.is_empty() {
        events::users_added(&added);
    }
    report_recovered_employees(&report.recovered);
    if report.seats_exhausted {
        events::seats_exhausted(report.seats_limit, report.waiting_for_seat.len());
    }
}

/// Logs that a request was refused, or got no decision.
pub(super) fn report_refusal(request: &Request, answer: &Answer) {
    if let Verdict::Refused(refusal) | Verdict::NoDecision(refusal) = &answer.verdict
        && request.is_writing()
    {
        events::batch_refused(request.entry_count(), refusal);
    }
}

/// Logs that a cycle failed of which the state knows nothing.
pub(crate) fn report_failure_without_state(error: &CycleError, memory: &mut Memory, unhealthy_after: SignedDuration) {
    let earlier = memory.state_failure;
    let since = earlier.map_or_else(Instant::now, |earlier| earlier.since);
    let reported_at = earlier.and_then(|earlier| earlier.reported_at);
    let streak = FailureStreak {
        lasts: elapsed(since),
        last_kind: earlier.map(|earlier| earlier.kind),
        reported_ago: reported_at.map(elapsed),
    };
    let level = streak.level(error, unhealthy_after);
    events::cycle_failed(level, error.kind(), error, seconds(streak.lasts), 0);
    let is_error = level == Level::ERROR;
    memory.state_failure = Some(StateFailure {
        since,
        kind: error.kind(),
        reported_at: if is_error { Some(Instant::now()) } else { reported_at },
    });
}

/// Cycles that failed one after the other.
struct FailureStreak<'a> {
    lasts: SignedDuration,
    /// What the last cycle failed with, if it did.
    last_kind: Option<&'a str>,
    /// How long ago this was last reported as an error.
    reported_ago: Option<SignedDuration>,
}

impl FailureStreak<'_> {
    /// What may pass by itself is an error only if it lasts; what needs a human is one at once, and when it changes. Both are
    /// errors once an hour.
    fn level(&self, error: &CycleError, unhealthy_after: SignedDuration) -> Level {
        let (kind, class) = error.kind_and_class();
        match class {
            FailureClass::Stopping => Level::INFO,
            FailureClass::Transient if self.lasts < unhealthy_after / 3 => Level::WARN,
            FailureClass::NeedsHuman if self.last_kind != Some(kind) => Level::ERROR,
            FailureClass::Transient | FailureClass::NeedsHuman if is_due(self.reported_ago) => Level::ERROR,
            FailureClass::Transient | FailureClass::NeedsHuman => Level::WARN,
        }
    }
}

/// Whether what was last logged so long ago, if ever, is to be logged again.
fn is_due(reported_ago: Option<SignedDuration>) -> bool {
    reported_ago.is_none_or(|reported_ago| reported_ago >= REMIND_AFTER)
}

/// The ids of failures by their operation and code.
fn grouped<'a>(failures: impl IntoIterator<Item = &'a Failure>) -> BTreeMap<(Operation, &'a str), BTreeSet<&'a str>> {
    let mut groups: BTreeMap<(Operation, &str), BTreeSet<&str>> = BTreeMap::new();
    for Failure { key, code, .. } in failures {
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
