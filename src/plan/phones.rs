//! Who may have which phone, and who must give one up before somebody else can take it.
//!
//! Wazzup refuses a phone that another user has. So a phone that moves is released in an earlier request than it is
//! claimed in. Whether Wazzup clears a phone that an update leaves out is not documented: where it does not, the claim is
//! refused, which concerns the phone alone.

use std::collections::{HashMap, HashSet};

use super::{Failures, Managed, Operation, Snapshot, failure_of};
use crate::employee::{Employee, EmployeeId, Phone, Roster};

/// For each entry of the roster, in its order, whether its phone is somebody else's.
///
/// Who holds the phone in the snapshot keeps it, else the smallest id has it; users that stay in Wazzup without being
/// employees now (`staying`) keep theirs.
pub(super) fn duplicates(roster: &Roster, snapshot: &Snapshot, staying: &[&Managed]) -> HashSet<usize> {
    let mut lose: HashSet<usize> = HashSet::new();
    let mut claims: Vec<(Phone, usize)> = Vec::with_capacity(roster.entries.len());
    claims.extend(
        roster
            .entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| entry.employee.phone.map(|phone| (phone, index))),
    );
    claims.sort_unstable();
    for claimants in claims
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|claimants| claimants.len() > 1)
    {
        let phone = claimants[0].0;
        let user = |index: usize| snapshot.get(roster.entries[index].employee.id.as_str());
        let acknowledged =
            |index| user(index).is_some_and(|it| it.acknowledged.as_ref().is_some_and(|it| it.phone == Some(phone)));
        let possible = |index| user(index).is_some_and(|it| it.phones().any(|held| held == phone));
        let indexes = || claimants.iter().map(|claim| claim.1);
        let keeps = indexes()
            .find(|it| acknowledged(*it))
            .or_else(|| indexes().find(|it| possible(*it)));
        let keeps = keeps.unwrap_or(claimants[0].1);
        lose.extend(indexes().filter(|it| *it != keeps));
    }
    // Who was removed and is only to be looked up once more has none.
    let there = staying.iter().filter(|user| user.marks().remove_again_at.is_none());
    let taken: HashSet<Phone> = there.flat_map(|user| user.phones()).collect();
    if !taken.is_empty() {
        lose.extend(
            claims
                .iter()
                .filter(|(phone, _)| taken.contains(phone))
                .map(|claim| claim.1),
        );
    }
    lose
}

/// The users of the roster that must be sent without a phone before `claims` (who takes which phone that it does not hold
/// for sure) can be sent. Each entry is the user as acknowledged, without a phone. Who waits for a seat holds nothing.
pub(super) fn releases(
    roster: &Roster,
    snapshot: &Snapshot,
    failures: &Failures,
    claims: &HashMap<Phone, &EmployeeId>,
) -> Vec<Employee> {
    if claims.is_empty() {
        return Vec::new();
    }
    let holds_a_claimed_one = |user: &&Managed| {
        user.phones()
            .any(|phone| claims.get(&phone).is_some_and(|claimant| **claimant != user.id))
    };
    let release = |user: &Managed| {
        let wanted = &roster.get(user.id.as_str())?.employee.name;
        let name = user.acknowledged.as_ref().map_or(wanted, |it| &it.name).clone();
        Some(Employee {
            id: user.id.clone(),
            name,
            phone: None,
        })
    };
    let has_a_seat = |user: &&Managed| failure_of(failures, user.id.as_str(), Operation::Seat).is_none();
    snapshot
        .users
        .iter()
        .filter(holds_a_claimed_one)
        .filter(has_a_seat)
        .filter_map(release)
        .collect()
}
