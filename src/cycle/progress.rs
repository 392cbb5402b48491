//! How far a cycle got, and its result in numbers.

use std::collections::BTreeSet;

use super::CycleError;
use crate::{
    delivery::{Change, Delivery, Interruption, Report},
    employee::EmployeeId,
    plan::{Operation, Plan, RemoteList, StayReason},
    state::{AccountProof, Counts, CycleOutcome, Finished},
};

/// What is left of a cycle, wherever it failed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) plan: Plan,
    pub(super) list: RemoteList,
    /// `None` before the plan is final.
    pub(super) delivery: Option<Delivery>,
}

impl Progress {
    /// Fails if the delivery ended early, or if a look-up that was needed got no answer.
    pub(super) fn ending(&self) -> Result<(), CycleError> {
        let report = self.delivery.as_ref().map(Delivery::report);
        if let Some(interruption) = report.and_then(|report| report.interruption.clone()) {
            return Err(interruption.into());
        }
        match &self.list.look_up_failure {
            Some(reason) => Err(Interruption::Unavailable(reason.clone()).into()),
            None => Ok(()),
        }
    }

    /// What the state keeps of the cycle, but for what the log says of its end; and the result of the delivery.
    pub(super) fn finish(
        self,
        error: Option<&CycleError>,
        waiting_before: &BTreeSet<EmployeeId>,
    ) -> (Finished, Report) {
        let Self { plan, list, delivery } = self;
        let is_planned = delivery.is_some();
        let mut report = delivery.map(Delivery::finish).unwrap_or_default();
        if error.is_some() {
            report.let_wait_on(waiting_before);
        }
        let counts = is_planned.then(|| counts(&plan, &report));
        let is_in_sync = counts.as_ref().is_some_and(|counts| is_in_sync(counts, &plan, &report));
        let outcome = match error {
            Some(_) => CycleOutcome::Failed,
            None if is_in_sync => CycleOutcome::InSync,
            None => CycleOutcome::Incomplete,
        };
        let waiting = &report.waiting_for_seat;
        let is_waiting_changed = is_planned && (waiting != waiting_before || plan.marks.forgets_account);
        let adopted = report.count(&[Change::Adopt, Change::TakeOver]);
        let account_proof = plan.account_proven.then(|| AccountProof {
            fingerprint: list.fingerprint.clone(),
            seats_used: report.seats_used.filter(|_| list.is_complete()),
            foreign_users: list.is_complete().then_some(plan.drift.foreign.saturating_sub(adopted)),
        });
        let finished = Finished {
            outcome,
            error: error.map(CycleError::recorded),
            counts,
            requests: report.requests,
            added: report.count(&[Change::Add]),
            adopted,
            updated: report.count(&[Change::Update, Change::Release, Change::Resend]),
            removed: report.removed,
            held: plan.unapproved_holds().count(),
            waiting_ids: is_waiting_changed.then(|| waiting.clone()),
            had_list: list.was_answered() && !report.leaves_anybody(&plan),
            account_proof,
            reported_holds: false,
            reported_error: false,
            noteworthy: error.is_some() || report.requests > 0 || !plan.marks.is_empty(),
        };
        (finished, report)
    }
}

/// How the employees stand. Each counts once: waiting for a seat, else failing, else pending, else in sync.
fn counts(plan: &Plan, report: &Report) -> Counts {
    let waiting = &report.waiting_for_seat;
    let mut failing: BTreeSet<&str> = BTreeSet::new();
    for key in report.failing.keys() {
        // Failed removals are about former employees.
        if key.operation != Operation::Remove && !waiting.contains(&*key.user_id) {
            failing.insert(&key.user_id);
        }
    }
    let pending = report
        .pending
        .iter()
        .filter(|id| !waiting.contains(*id) && !failing.contains(id.as_str()))
        .count();
    Counts {
        eligible: plan.eligible,
        in_sync: plan.eligible - waiting.len() - failing.len() - pending,
        failing: failing.len(),
        waiting_for_seat: waiting.len(),
        pending,
        missing_ids: plan.missing_ids,
    }
}

fn is_in_sync(counts: &Counts, plan: &Plan, report: &Report) -> bool {
    let is_a_leaver_unclear = plan.staying.iter().any(|user| user.reason == StayReason::Unknown);
    let has_removal_failed = report.failing.keys().any(|key| key.operation == Operation::Remove);
    counts.in_sync == counts.eligible
        && counts.missing_ids == 0
        && plan.unapproved_holds().next().is_none()
        && report.removed == plan.removals.len()
        && !is_a_leaver_unclear
        && !has_removal_failed
}
