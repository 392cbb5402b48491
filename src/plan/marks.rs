//! What a plan wants written down first: absences, holds and failures that began or are over.

use std::collections::BTreeSet;

use super::{
    Failure, FailureKey, LocalFailure, Marks, Operation, Plan, PlannedUpsert, StayReason,
    input::Input,
    leavers::{Fate, Leaver},
    phones::{AssignedPhones, wants_phone_failure},
    wish::Wish,
};
use crate::employee::{EmployeeId, RowProblem};

/// Everything that is wrong in the CRM's own rows, sorted.
pub(super) fn local_failures(input: Input<'_>, wishes: &[Wish<'_>], phones: &AssignedPhones) -> Vec<LocalFailure> {
    let mut failures = Vec::new();
    for row in &input.roster.rejected {
        failures.push(LocalFailure {
            key: FailureKey::new(&row.id, Operation::Upsert),
            problem: row.problem,
            spelling: None,
        });
    }
    for wish in wishes {
        let Some(problem) = phones.problems.get(wish.id).copied() else {
            continue;
        };
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

/// Completes the marks of `plan`, of which everything else is decided.
pub(super) fn complete(plan: &mut Plan, input: Input<'_>, wishes: &[Wish<'_>], leavers: &[Leaver<'_>]) {
    let closed_failures = unwanted_failures(plan, input, wishes, leavers);
    let marks = &mut plan.marks;
    marks.closed_failures = closed_failures;
    for local in &plan.local_failures {
        let is_open = input.snapshot.failures.get(&local.key).is_some_and(|failure| {
            failure.is_local && failure.code == local.problem.as_str() && failure.spelling == local.spelling
        });
        if !is_open {
            marks.opened_failures.push(local.clone());
        }
    }
    for (key, hold) in &plan.holds {
        if input.snapshot.holds.get(key) != Some(hold) {
            marks.opened_holds.push((key.clone(), hold.clone()));
        }
    }
    for key in input.snapshot.holds.keys() {
        if !plan.holds.contains_key(key) {
            marks.closed_holds.push(key.clone());
        }
    }
    mark_absences(marks, input, leavers);
    mark_dropped_losses(marks, input, leavers);
}

fn mark_absences(marks: &mut Marks, input: Input<'_>, leavers: &[Leaver<'_>]) {
    for leaver in leavers {
        if leaver.fate == Fate::Forgotten {
            marks.forgotten.push(leaver.id.clone());
        } else if leaver.user.absent_since.is_none() {
            marks.newly_absent.push(leaver.id.clone());
        }
    }
    for (id, user) in &input.snapshot.users {
        if user.absent_since.is_some() && input.roster.names(id.as_str()) {
            marks.returned.push(id.clone());
        }
    }
}

/// Nothing is settled about users who are kept, and about ids that nobody knows any more.
fn mark_dropped_losses(marks: &mut Marks, input: Input<'_>, leavers: &[Leaver<'_>]) {
    let mut kept: BTreeSet<&EmployeeId> = BTreeSet::new();
    for leaver in leavers {
        if leaver.fate == Fate::Stays(StayReason::Kept) {
            kept.insert(leaver.id);
        }
    }
    for id in input.snapshot.lost.keys() {
        let is_nobody = !input.snapshot.users.contains_key(id) && !input.roster.names(id.as_str());
        if !input.may_still_land(id) && (is_nobody || kept.contains(id)) {
            marks.dropped_losses.push(id.clone());
        }
    }
}

/// The open failures whose attempt nobody wants any more.
fn unwanted_failures(plan: &Plan, input: Input<'_>, wishes: &[Wish<'_>], leavers: &[Leaver<'_>]) -> Vec<FailureKey> {
    if input.snapshot.failures.is_empty() {
        return Vec::new();
    }
    let local: BTreeSet<&FailureKey> = plan.local_failures.iter().map(|local| &local.key).collect();
    let sent = plan.upserts.iter().map(PlannedUpsert::id);
    let not_sent = plan.backing_off.iter().chain(&plan.pending);
    let not_in_sync: BTreeSet<&str> = sent.chain(not_sent).map(EmployeeId::as_str).collect();
    let is_wanted = |key: &FailureKey, failure: &Failure| {
        let id = &*key.user_id;
        let wish = wishes.binary_search_by(|wish| wish.id.as_str().cmp(id));
        let leaver = leavers.binary_search_by(|leaver| leaver.id.as_str().cmp(id));
        match key.operation {
            _ if failure.is_local || local.contains(key) => local.contains(key),
            Operation::Upsert => not_in_sync.contains(id),
            Operation::Remove => {
                leaver.is_ok_and(|index| !matches!(leavers[index].fate, Fate::Forgotten | Fate::Settling))
            }
            Operation::Phone => wish.is_ok_and(|index| wants_phone_failure(input, &wishes[index], failure)),
        }
    };
    let mut unwanted = Vec::new();
    for (key, failure) in &input.snapshot.failures {
        if !is_wanted(key, failure) {
            unwanted.push(key.clone());
        }
    }
    unwanted
}
