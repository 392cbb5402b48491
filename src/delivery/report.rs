//! What a delivery came to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Interruption, Refusal, outcome::FailedAttempt, queue::Item};
use crate::{
    employee::{EmployeeId, Phone},
    plan::{Change, FailureKey, Failures, Operation, Plan, PlannedRemoval, PlannedUpsert},
};

/// What a delivery came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests that change something.
    pub requests: usize,
    /// Who was delivered, by what it meant, in the order of delivery.
    pub delivered: Vec<Delivered>,
    /// Who was removed.
    pub removed: Vec<PlannedRemoval>,
    /// Whose failures are open now, those of the CRM's own rows included.
    pub failing: BTreeSet<FailureKey>,
    /// Attempts that failed in this cycle and were not failing before.
    pub newly_failing: Vec<FailedAttempt>,
    /// Who recovered.
    pub recovered: Vec<FailureKey>,
    /// Employees whose upsert was to be sent and was not acknowledged.
    pub undelivered: BTreeSet<EmployeeId>,
    /// Users whose removal was to be sent and was not acknowledged.
    pub unremoved: BTreeSet<EmployeeId>,
    /// Who waits for a seat.
    pub waiting_for_seat: BTreeSet<EmployeeId>,
    /// Employees who were sent without the phone that somebody who is leaving still has.
    pub phone_pending: BTreeSet<EmployeeId>,
    /// By how much the number of users in the account changed.
    pub seats_taken: isize,
    /// The account was found full; with the limit, if the service named it.
    pub seats_exhausted: Option<Option<usize>>,
    /// Refused requests: how many entries, and what the service said.
    pub refusals: Vec<(usize, Refusal)>,
    /// Why it ended early.
    pub interruption: Option<Interruption>,
    /// Failures that the service caused, open when the delivery began or since.
    refused: BTreeMap<FailureKey, Option<Phone>>,
    /// Users for whom giving up a phone is all there is to do.
    only_released: BTreeSet<EmployeeId>,
}

/// A delivered upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Who.
    pub id: EmployeeId,
    /// What it meant.
    pub change: Change,
}

impl Report {
    pub(super) fn new(plan: &Plan, failures: &Failures) -> Self {
        let releases = plan.releases.iter().map(|release| release.employee.id.clone());
        let upserts = plan.upserts.iter().map(|upsert| upsert.id().clone());
        let mut failing: BTreeSet<FailureKey> = failures.keys().cloned().collect();
        failing.extend(plan.local_failures.iter().map(|local| local.key.clone()));
        let mut refused = BTreeMap::new();
        for (key, failure) in failures {
            if !failure.is_local {
                refused.insert(key.clone(), failure.phone);
            }
        }
        let followed: BTreeSet<&EmployeeId> = plan.upserts.iter().map(PlannedUpsert::id).collect();
        let released = plan.releases.iter().map(|release| &release.employee.id);
        Self {
            refused,
            only_released: released.filter(|id| !followed.contains(id)).cloned().collect(),
            failing,
            undelivered: releases.chain(upserts).collect(),
            unremoved: plan.removals.iter().map(|removal| removal.id.clone()).collect(),
            waiting_for_seat: plan.waiting_for_seat.iter().cloned().collect(),
            ..Self::default()
        }
    }

    /// How many users were delivered with one of `changes`; one who gave up a phone first counts once.
    #[must_use]
    pub fn count(&self, changes: &[Change]) -> usize {
        let mut users: BTreeSet<&EmployeeId> = BTreeSet::new();
        for delivered in &self.delivered {
            if changes.contains(&delivered.change) {
                users.insert(&delivered.id);
            }
        }
        users.len()
    }

    pub(super) fn removed(&mut self, removal: PlannedRemoval) {
        self.unremoved.remove(&removal.id);
        self.failing.retain(|key| *key.user_id != *removal.id.as_str());
        self.removed.push(removal);
    }

    /// An entry was accepted. Returns which failures are over.
    pub(super) fn accepted(&mut self, item: &Item) -> Vec<FailureKey> {
        let id = item.id();
        let change = item.upsert.entry.change;
        if !item.is_release || self.only_released.contains(id) {
            self.undelivered.remove(id);
        }
        self.delivered.push(Delivered { id: id.clone(), change });
        let upsert_key = FailureKey::new(id.as_str(), Operation::Upsert);
        let phone_key = FailureKey::new(id.as_str(), Operation::Phone);
        let mut over = Vec::new();
        if !item.is_release && self.recover(&upsert_key) {
            over.push(upsert_key);
        }
        // A release is a phone failure without a phone; a claim is one with it.
        let phone_failed_as_release = self.refused.get(&phone_key).map(Option::is_none);
        let is_about_this = match phone_failed_as_release {
            Some(true) => item.is_release,
            Some(false) => item.phone().is_some(),
            None => false,
        };
        if is_about_this && self.recover(&phone_key) {
            over.push(phone_key);
        }
        over
    }

    fn recover(&mut self, key: &FailureKey) -> bool {
        let was_refused = self.refused.remove(key).is_some();
        if was_refused {
            self.failing.remove(key);
            self.recovered.push(key.clone());
        }
        was_refused
    }

    pub(super) fn failed(&mut self, attempt: &FailedAttempt) {
        self.refused.insert(attempt.key.clone(), attempt.phone);
        if self.failing.insert(attempt.key.clone()) {
            self.newly_failing.push(attempt.clone());
        }
    }

    pub(super) fn leave_waiting(&mut self, ids: &[EmployeeId]) {
        for id in ids {
            self.undelivered.remove(id);
            self.waiting_for_seat.insert(id.clone());
        }
    }
}
