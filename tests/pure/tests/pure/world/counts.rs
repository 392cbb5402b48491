//! How the employees stand at the end of a cycle, counted as `src/cycle/progress.rs` does.

use std::collections::BTreeSet;

use pure_core::{
    delivery::Report,
    employee::{EmployeeId, Roster},
    plan::{Operation, Plan, StayReason},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub eligible: usize,
    pub in_sync: usize,
    pub failing: usize,
    pub waiting_for_seat: usize,
    pub pending: usize,
    pub missing_ids: usize,
    /// Who is not counted as in sync.
    pub others: BTreeSet<String>,
}

impl Counts {
    pub fn of(roster: &Roster, plan: &Plan, report: &Report) -> Self {
        let waiting: BTreeSet<&str> = report
            .waiting_for_seat
            .iter()
            .map(EmployeeId::as_str)
            .filter(|id| roster.names(id))
            .collect();
        let failing: BTreeSet<&str> = report
            .failing
            .keys()
            .map(|key| &*key.user_id)
            .filter(|id| roster.names(id) && !waiting.contains(id))
            .collect();
        let pending: BTreeSet<&str> = report
            .pending
            .iter()
            .map(EmployeeId::as_str)
            .filter(|id| roster.names(id) && !waiting.contains(id) && !failing.contains(id))
            .collect();
        let others: BTreeSet<String> = waiting
            .iter()
            .chain(&failing)
            .chain(&pending)
            .map(|id| (*id).to_owned())
            .collect();
        Self {
            eligible: plan.eligible,
            in_sync: plan
                .eligible
                .saturating_sub(waiting.len() + failing.len() + pending.len()),
            failing: failing.len(),
            waiting_for_seat: waiting.len(),
            pending: pending.len(),
            missing_ids: plan.missing_ids,
            others,
        }
    }
}

pub fn is_in_sync(plan: &Plan, report: &Report, counts: &Counts) -> bool {
    let is_removal_due = plan.staying.iter().any(|user| user.reason == StayReason::Unknown);
    let has_removal_failed = report.failing.keys().any(|key| key.operation == Operation::Remove);
    counts.in_sync == counts.eligible
        && counts.missing_ids == 0
        && plan.unapproved_holds().next().is_none()
        && report.removed == plan.removals.len()
        && !is_removal_due
        && !has_removal_failed
}
