//! What a plan wants written down first: absences, holds and failures that began or are over.

use std::collections::BTreeSet;

use super::{Failure, FailureKey, LocalFailure, Operation, Plan, input::Input, leavers::Leavers, wish::Wish};
use crate::employee::{EmployeeId, RowProblem};

/// Everything that is wrong in the CRM's own rows, sorted.
pub(super) fn local_failures(input: Input<'_>, wishes: &[Wish<'_>]) -> Vec<LocalFailure> {
    let mut failures = Vec::new();
    for row in &input.roster.rejected {
        failures.push(LocalFailure {
            key: FailureKey::new(&row.id, Operation::Upsert),
            problem: row.problem,
            spelling: None,
        });
    }
    for wish in wishes {
        let Some(problem) = wish.phone.problem else { continue };
        let spelling = wish.entry.and_then(|entry| entry.phone_spelling.clone());
        failures.push(LocalFailure {
            key: FailureKey::new(wish.id.as_str(), Operation::Phone),
            problem,
            spelling: spelling.filter(|_| problem == RowProblem::InvalidPhone),
        });
    }
    failures.sort_by(|a, b| a.key.cmp(&b.key));
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
        let stored = &input.snapshot.failures;
        for local in &self.local_failures {
            let is_open = stored.get(&local.key).is_some_and(|failure| {
                failure.is_local && failure.code == local.problem.as_ref() && failure.spelling == local.spelling
            });
            if !is_open {
                self.marks.opened_failures.push(local.clone());
            }
        }
        let local: BTreeSet<&FailureKey> = self.local_failures.iter().map(|local| &local.key).collect();
        let unsynced: BTreeSet<&str> = self.unsynced_ids().map(EmployeeId::as_str).collect();
        let is_wanted = |key: &FailureKey, failure: &Failure| {
            let id = &*key.user_id;
            match key.operation {
                _ if failure.is_local || local.contains(key) => local.contains(key),
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
        let (wanted, unwanted): (Vec<_>, Vec<_>) = stored.iter().partition(|(key, failure)| is_wanted(key, failure));
        let refused = wanted.into_iter().filter(|(key, _)| !local.contains(key));
        let open_failures = refused.map(|(key, failure)| (key.clone(), failure.clone())).collect();
        self.open_failures = open_failures;
        self.marks.closed_failures = unwanted.into_iter().map(|(key, _)| key.clone()).collect();
    }
}
