//! The result of an answer, for the state to record, and of the whole delivery.

use std::collections::BTreeSet;

use strum::IntoEnumIterator as _;

use super::{BatchEntry, Change, Interruption, Loss, Request};
use crate::{
    employee::EmployeeId,
    plan::{FailureKey, Failures, Operation, Plan, PlannedUpsert, Seats, Waiting},
};

/// The result of one answer. Recorded in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Whether the entries of the request that was answered are lost.
    pub loss: Loss,
    /// All entries of the request in the journal were acknowledged.
    pub is_acknowledged: bool,
    /// If that was a removal: those who had been gone before.
    pub absent: Vec<EmployeeId>,
    /// What is charged now, also to others who waited for this answer.
    pub failed: Failures,
    /// Those of them that were not open before.
    pub newly_failing: BTreeSet<FailureKey>,
    /// Failures that are over.
    pub recovered: Vec<FailureKey>,
    /// By how much the number of used seats changed.
    pub seats_taken: i64,
    /// What turned out about the account's limit: as the service named it, else as many users as there are now. Without a limit,
    /// the known one proved to be wrong; without a number of used seats, their count stays.
    pub seats: Option<Seats>,
    /// What to send next. `None` ends the delivery.
    pub next: Option<Request>,
}

/// The result of a delivery.
#[derive(Debug, Default)]
pub struct Report {
    /// Writing requests that were attempted, whatever the answer.
    pub requests: usize,
    /// In the order of delivery.
    pub delivered: Vec<BatchEntry>,
    /// How many users are gone.
    pub removed: usize,
    /// The failures that are open now, those of the CRM's own rows included.
    pub failing: Failures,
    pub recovered: Vec<FailureKey>,
    /// Employees who differ from what Wazzup has, and do not wait for a seat.
    pub pending: BTreeSet<EmployeeId>,
    pub waiting_for_seat: BTreeSet<EmployeeId>,
    /// Users in the account at the end, where that is known.
    pub seats_used: Option<usize>,
    /// The account was found full.
    pub seats_exhausted: bool,
    /// The limit that the service named then.
    pub seats_limit: Option<usize>,
    /// Why it ended early.
    pub interruption: Option<Interruption>,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        let released = plan.releases.iter().map(|release| &release.employee.id);
        let upserted = plan.upserts.iter().map(PlannedUpsert::id);
        let waiting = plan.waiting.iter().filter(|(_, waiting)| **waiting != Waiting::ForSeat);
        let pending = waiting.map(|(id, _)| id);
        Self {
            failing: plan.open_failures.clone(),
            pending: pending.chain(released).chain(upserted).cloned().collect(),
            waiting_for_seat: plan.waiting_for_seat().cloned().collect(),
            seats_used: plan.seats.used,
            ..Self::default()
        }
    }

    /// How many users were delivered with one of `changes`; one who gave up a phone first counts once.
    pub fn count(&self, changes: &[Change]) -> usize {
        let mut users: BTreeSet<&EmployeeId> = BTreeSet::new();
        for entry in &self.delivered {
            if changes.contains(&entry.change) {
                users.insert(&entry.employee.id);
            }
        }
        users.len()
    }

    /// Whether somebody was to be sent and was not tried. What a list showed of them is remembered nowhere else, so it has to
    /// be read again.
    pub fn leaves_anybody(&self, plan: &Plan) -> bool {
        let mut planned = plan.upserts.iter().map(PlannedUpsert::id);
        planned.any(|id| self.is_left(id) && !plan.waiting.contains_key(id))
    }

    /// After a cycle that failed: those of `waiting_before` who were to get a seat at last, and were not tried, wait on. Without
    /// a list nothing else shows that they have to be sent.
    pub fn let_wait_on(&mut self, waiting_before: &BTreeSet<EmployeeId>) {
        for id in waiting_before {
            if self.is_left(id) {
                self.pending.remove(id);
                self.waiting_for_seat.insert(id.clone());
            }
        }
    }

    /// Whether nothing is remembered of somebody who is pending: whoever the service refused has an open failure.
    fn is_left(&self, id: &EmployeeId) -> bool {
        let failure = self.failing.get(&FailureKey::new(id.as_str(), Operation::Upsert));
        self.pending.contains(id) && failure.is_none_or(|failure| failure.is_local)
    }

    pub(super) fn note_removed(&mut self, id: &EmployeeId) {
        self.removed += 1;
        for operation in Operation::iter() {
            self.failing.remove(&FailureKey::new(id.as_str(), operation));
        }
    }
}
