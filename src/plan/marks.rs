//! What a plan wants written down first: absences, holds and failures that began or are over.

use std::collections::BTreeSet;

use super::{Failure, FailureKey, Failures, Operation, Plan, input::Input, leavers::Leavers, wish::Wish};
use crate::employee::{EmployeeId, RowProblem};

/// Everything that is wrong in the CRM's own rows.
fn failures_in_crm(input: Input<'_>, wishes: &[Wish<'_>]) -> Failures {
    let mut failures = Failures::new();
    let mut add = |id: &str, operation, problem, spelling| {
        let key = FailureKey::new(id, operation);
        failures.insert(key.clone(), Failure::in_crm(key, problem, spelling));
    };
    for (id, problem) in &input.roster.rejected {
        add(id, Operation::Upsert, *problem, None);
    }
    for wish in wishes {
        let Some(problem) = wish.phone.problem else { continue };
        let spelling = wish.entry.and_then(|entry| entry.phone_spelling.clone());
        let unreadable = spelling.filter(|_| problem == RowProblem::InvalidPhone);
        add(wish.id.as_str(), Operation::Phone, problem, unreadable);
    }
    failures
}

impl Plan {
    /// Completes the marks, when everything else is decided.
    pub(super) fn complete_marks(&mut self, input: Input<'_>, wishes: &[Wish<'_>], leavers: &Leavers<'_>) {
        self.mark_failures(input, wishes, leavers);
        let snapshot = input.snapshot;
        let stored = &snapshot.holds;
        let opened = self.holds.iter().filter(|(key, hold)| stored.get(key) != Some(hold));
        self.marks.opened_holds = opened.map(|(key, hold)| (key.clone(), hold.clone())).collect();
        let closed = stored.keys().filter(|key| !self.holds.contains_key(key));
        self.marks.closed_holds = closed.cloned().collect();
        let returned = snapshot
            .users
            .iter()
            .filter(|(id, user)| user.absent_since.is_some() && input.roster.names(id.as_str()));
        self.marks.returned = returned.map(|(id, _)| id.clone()).collect();
        // Nothing is settled about ids that nobody knows any more.
        let is_unknown = |id: &&EmployeeId| !snapshot.users.contains_key(*id) && !input.roster.names(id.as_str());
        let unknown = snapshot.lost.keys().filter(is_unknown);
        let over = unknown.filter(|id| !input.may_still_land(id));
        self.marks.dropped_losses.extend(over.cloned());
    }

    fn mark_failures(&mut self, input: Input<'_>, wishes: &[Wish<'_>], leavers: &Leavers<'_>) {
        let stored_failures = &input.snapshot.failures;
        let mut failures = failures_in_crm(input, wishes);
        for (key, failure) in &failures {
            let is_known = stored_failures.get(key).is_some_and(|stored| {
                let stored = &stored.failure;
                stored.is_local && stored.code == failure.code && stored.spelling == failure.spelling
            });
            if !is_known {
                self.marks.opened_failures.push(failure.clone());
            }
        }
        let unsynced: BTreeSet<&str> = self.unsynced_ids().map(EmployeeId::as_str).collect();
        let is_wanted = |failure: &Failure| {
            let id = &*failure.key.user_id;
            match failure.key.operation {
                _ if failure.is_local => false,
                Operation::Upsert => unsynced.contains(id),
                Operation::Remove => {
                    let leaver = leavers.all.binary_search_by(|leaver| leaver.id.as_str().cmp(id));
                    leaver.is_ok_and(|index| !leavers.all[index].is_not_in_wazzup())
                }
                Operation::Phone => {
                    let wish = wishes.binary_search_by(|wish| wish.id.as_str().cmp(id));
                    wish.is_ok_and(|index| wishes[index].wants_phone_failure(input, failure))
                }
            }
        };
        let mut closed = Vec::new();
        for (key, stored) in stored_failures {
            // What is wrong in the CRM's own rows takes the place of what was refused.
            if failures.contains_key(key) {
                continue;
            }
            if is_wanted(&stored.failure) {
                failures.insert(key.clone(), stored.failure.clone());
            } else {
                closed.push(key.clone());
            }
        }
        self.open_failures = failures;
        self.marks.closed_failures = closed;
    }
}
