//! A plan as one user sees it.

use std::collections::BTreeMap;

use super::{BatchEntry, Hold, HoldKey, Plan, PlannedRemoval, PlannedUpsert, StayingUser, Waiting};

/// What the next cycle does about a user, or why it does nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NextStep<'p> {
    Send(&'p PlannedUpsert),
    /// Only the phone is given up.
    Release(&'p BatchEntry),
    Remove(&'p PlannedRemoval),
    /// Nobody has approved it.
    Hold(&'p HoldKey, &'p Hold),
    Wait(&'p Waiting),
    Stay(&'p StayingUser),
}

impl Plan {
    /// The next step of each user for whom there is one, by id. Users who are in sync or rejected have none; of several the
    /// first kind counts: a user whose update is held is sent all the same after a lost request.
    pub(crate) fn next_steps(&self) -> BTreeMap<&str, NextStep<'_>> {
        let mut steps = BTreeMap::new();
        let mut add = |id, step| _ = steps.entry(id).or_insert(step);
        for upsert in &self.upserts {
            add(upsert.id().as_str(), NextStep::Send(upsert));
        }
        for release in &self.releases {
            add(release.employee.id.as_str(), NextStep::Release(release));
        }
        for removal in &self.removals {
            add(removal.id.as_str(), NextStep::Remove(removal));
        }
        for (key, hold) in self.unapproved_holds() {
            add(&key.user_id, NextStep::Hold(key, hold));
        }
        for (id, waiting) in &self.waiting {
            add(id.as_str(), NextStep::Wait(waiting));
        }
        for user in &self.staying {
            add(user.id.as_str(), NextStep::Stay(user));
        }
        steps
    }
}
