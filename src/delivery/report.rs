//! The result of an answer, for the state to record, and of the whole delivery.

use std::collections::BTreeSet;

use strum::IntoEnumIterator as _;

use super::{Change, Interruption, Loss, Request};
use crate::{
    employee::{EmployeeId, FullName, Phone},
    plan::{FailureKey, Operation, Plan, PlannedUpsert},
};

/// The result of one answer. Recorded in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whether the entries of the request that was answered are lost.
    pub loss: Loss,
    /// What became of its entries, and of others whose fate hung on it.
    pub outcomes: Vec<Outcome>,
    /// What to send next. `None` ends the delivery.
    pub next: Option<Request>,
}

/// One thing to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All entries of the upsert in the journal were acknowledged.
    Upserted,
    /// All users of the removal in the journal are gone.
    Removed {
        /// Those who had been gone before.
        absent: Vec<EmployeeId>,
    },
    Failed(FailedAttempt),
    /// A failure is over.
    Recovered(FailureKey),
    /// The number of used seats changed by this.
    SeatsTaken(i64),
    /// The most users that the account may have.
    SeatLimit {
        /// As the service named it, else as many as there are now; `None`: the known limit proved to be wrong.
        limit: Option<usize>,
        /// How many users it has; `None` leaves the count as it is.
        used: Option<usize>,
    },
}

/// An attempt that is charged to one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    pub key: FailureKey,
    /// The service's code, as `status` shows it.
    pub code: String,
    /// Our own words for it.
    pub detail: &'static str,
    /// The service's id of the request.
    pub request_id: Option<String>,
    pub name: Option<FullName>,
    /// The phone that the CRM wants, sent or not.
    pub phone: Option<Phone>,
    /// How often it was attempted with these values, this attempt included.
    pub attempts: u32,
}

/// The result of a delivery.
#[derive(Debug, Default)]
pub struct Report {
    /// Writing requests that were attempted, whatever the answer.
    pub requests: usize,
    /// In the order of delivery.
    pub delivered: Vec<Delivered>,
    /// How many users are gone.
    pub removed: usize,
    /// Whose failures are open now, those of the CRM's own rows included.
    pub failing: BTreeSet<FailureKey>,
    pub recovered: Vec<FailureKey>,
    /// Employees who differ from what Wazzup has, and do not wait for a seat.
    pub pending: BTreeSet<EmployeeId>,
    /// Users whose removal was to be sent and was not acknowledged.
    pub unremoved: BTreeSet<EmployeeId>,
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

/// A delivered upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub id: EmployeeId,
    pub change: Change,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        let local_failures = plan.local_failures.iter().map(|local| &local.key);
        let released = plan.releases.iter().map(|release| &release.employee.id);
        let upserted = plan.upserts.iter().map(PlannedUpsert::id);
        let pending = plan.pending.iter().chain(&plan.backing_off);
        Self {
            failing: plan.open_failures.keys().chain(local_failures).cloned().collect(),
            pending: pending.chain(released).chain(upserted).cloned().collect(),
            unremoved: plan.removals.iter().map(|removal| removal.id.clone()).collect(),
            waiting_for_seat: plan.waiting_for_seat.iter().cloned().collect(),
            seats_used: plan.seats.used,
            ..Self::default()
        }
    }

    /// How many users were delivered with one of `changes`; one who gave up a phone first counts once.
    pub fn count(&self, changes: &[Change]) -> usize {
        let mut users: BTreeSet<&EmployeeId> = BTreeSet::new();
        for delivered in &self.delivered {
            if changes.contains(&delivered.change) {
                users.insert(&delivered.id);
            }
        }
        users.len()
    }

    pub(super) fn note_removed(&mut self, id: &EmployeeId) {
        self.removed += 1;
        self.unremoved.remove(id);
        for operation in Operation::iter() {
            self.failing.remove(&FailureKey::new(id.as_str(), operation));
        }
    }
}
