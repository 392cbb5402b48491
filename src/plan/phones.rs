//! Who may have which phone, and who must give one up before somebody else can take it.
//!
//! Wazzup refuses a phone that another user has, so a phone that moves is released in an earlier request than it is
//! claimed in. Whether Wazzup clears a phone that an update leaves out is not documented: where it does not, the claim is
//! refused, which concerns the phone alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::{
    BatchEntry, Change, Failure, FailureKey, Operation, Snapshot, backing_off,
    leavers::{Fate, Leaver},
    wish::{Standing, Wish},
};
use crate::employee::{Employee, EmployeeId, Phone, RowProblem};

/// The problems with phones among the CRM's own rows.
pub(super) type PhoneProblems = BTreeMap<EmployeeId, RowProblem>;

/// Settles for each wish which phone is wanted and which is sent now. Returns whose phone cannot be taken.
pub(super) fn settle(
    wishes: &mut [Wish<'_>],
    leavers: &[Leaver<'_>],
    snapshot: &Snapshot,
    now: Timestamp,
) -> PhoneProblems {
    let mut problems = PhoneProblems::new();
    for wish in wishes.iter_mut() {
        wish.phone = wish.claimed_phone();
        wish.phone_is_pending = false;
        wish.phone_waits_for.clear();
        let unreadable = wish.entry.is_some_and(|entry| entry.has_unreadable_phone);
        if unreadable && !wish.is_held {
            problems.insert(wish.id.clone(), RowProblem::InvalidPhone);
        }
    }
    let mut losers = losers_of_shared_phones(wishes, snapshot);
    let phones_of_leavers = phones_of_leavers(leavers, snapshot);
    for (index, wish) in wishes.iter().enumerate() {
        let holders = wish.phone.and_then(|phone| phones_of_leavers.get(&phone));
        let somebody_stays = holders.is_some_and(|holders| holders.iter().any(|leaver| leaver.stays(snapshot)));
        if somebody_stays && !wish.is_kept() {
            losers.insert(index);
        }
    }
    for index in losers {
        let wish = &mut wishes[index];
        wish.phone = None;
        problems.insert(wish.id.clone(), RowProblem::DuplicatePhoneNumber);
    }
    for wish in wishes.iter_mut() {
        wish.sent_phone = wish.phone;
        let Some(phone) = wish.phone.filter(|phone| Some(*phone) != wish.acknowledged_phone()) else {
            continue;
        };
        if has_failed_lately(snapshot, wish.id, phone, now) {
            wish.sent_phone = None;
        }
        let holders = phones_of_leavers.get(&phone).map_or(&[][..], Vec::as_slice);
        for leaver in holders.iter().filter(|leaver| leaver.is_leaving(snapshot)) {
            if matches!(leaver.fate, Fate::Removed { .. }) {
                wish.phone_waits_for.push(leaver.id.clone());
            } else {
                wish.sent_phone = None;
                wish.phone_is_pending = true;
            }
        }
    }
    problems
}

/// The indexes of the wishes whose phone somebody else has the better right to: who has it acknowledged, else who may hold
/// it by a lost request, else who has the smallest id.
fn losers_of_shared_phones(wishes: &[Wish<'_>], snapshot: &Snapshot) -> BTreeSet<usize> {
    let mut claims: HashMap<Phone, Vec<usize>> = HashMap::with_capacity(wishes.len());
    for (index, wish) in wishes.iter().enumerate() {
        if let Some(phone) = wish.phone {
            claims.entry(phone).or_default().push(index);
        }
    }
    let mut losers = BTreeSet::new();
    for (phone, claimants) in claims {
        if claimants.len() < 2 {
            continue;
        }
        let is_acknowledged = |index: &usize| wishes[*index].acknowledged_phone() == Some(phone);
        let is_possible = |index: &usize| {
            snapshot
                .possible_phones(wishes[*index].id)
                .any(|possible| possible == phone)
        };
        let winner = claimants
            .iter()
            .copied()
            .find(is_acknowledged)
            .or_else(|| claimants.iter().copied().find(is_possible))
            .unwrap_or(claimants[0]);
        losers.extend(claimants.into_iter().filter(|index| *index != winner));
    }
    losers
}

/// The leavers who hold, or may hold, each phone.
fn phones_of_leavers<'l, 'a>(leavers: &'l [Leaver<'a>], snapshot: &Snapshot) -> HashMap<Phone, Vec<&'l Leaver<'a>>> {
    let mut holders: HashMap<Phone, Vec<&Leaver<'_>>> = HashMap::new();
    for leaver in leavers {
        for phone in snapshot.possible_phones(leaver.id) {
            holders.entry(phone).or_default().push(leaver);
        }
    }
    holders
}

/// Whether Wazzup refused this phone of this user and the next attempt is not due yet.
fn has_failed_lately(snapshot: &Snapshot, id: &EmployeeId, phone: Phone, now: Timestamp) -> bool {
    backing_off(&snapshot.failures, id, Operation::Phone, now).is_some_and(|attempt| attempt.phone == Some(phone))
}

/// The releases that are needed before the wishes can be sent, sorted by id. A wish whose phone cannot be released now goes
/// without it, which is noted in `problems`.
pub(super) fn releases(
    wishes: &mut [Wish<'_>],
    problems: &mut PhoneProblems,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Vec<BatchEntry> {
    let claims = claims(wishes, snapshot, now);
    let mut releases = BTreeMap::new();
    let mut refused = Vec::new();
    let mut needed = Vec::new();
    for holder in wishes.iter() {
        let is_there = matches!(holder.standing, Standing::Ours | Standing::Renamed);
        for phone in snapshot.possible_phones(holder.id) {
            let Some(claimant) = claims.get(&phone).filter(|index| wishes[**index].id != holder.id) else {
                continue;
            };
            if !is_there {
                continue;
            }
            if release_was_refused_lately(snapshot, holder.id, now) {
                refused.push(*claimant);
            } else {
                needed.push((*claimant, holder.id.clone()));
                releases.insert(holder.id.clone(), release_of(holder));
            }
        }
    }
    for (claimant, holder) in needed {
        let waits_for = &mut wishes[claimant].phone_waits_for;
        if !waits_for.contains(&holder) {
            waits_for.push(holder);
        }
    }
    for claimant in refused {
        let wish = &mut wishes[claimant];
        wish.phone = None;
        wish.sent_phone = None;
        problems.insert(wish.id.clone(), RowProblem::DuplicatePhoneNumber);
    }
    releases.into_values().collect()
}

/// Who is about to be sent with a phone that Wazzup has not acknowledged to them.
fn claims(wishes: &[Wish<'_>], snapshot: &Snapshot, now: Timestamp) -> HashMap<Phone, usize> {
    let mut claims = HashMap::new();
    for (index, wish) in wishes.iter().enumerate() {
        let Some(phone) = wish.sent_phone else { continue };
        let is_news = wish.acknowledged_phone() != Some(phone);
        if is_news && !wish.is_fulfilled(snapshot, now) && !wish.backs_off(snapshot, now) {
            claims.insert(phone, index);
        }
    }
    claims
}

fn release_was_refused_lately(snapshot: &Snapshot, id: &EmployeeId, now: Timestamp) -> bool {
    backing_off(&snapshot.failures, id, Operation::Phone, now).is_some_and(|attempt| attempt.phone.is_none())
}

/// The user as acknowledged, without a phone.
fn release_of(holder: &Wish<'_>) -> BatchEntry {
    let acknowledged = holder.acknowledged();
    let name = acknowledged.map_or(holder.name(), |acknowledged| &acknowledged.name);
    BatchEntry {
        employee: Employee {
            id: holder.id.clone(),
            name: name.clone(),
            phone: None,
        },
        phone_spelling: None,
        change: Change::Release,
    }
}

/// Whether a refused phone, or a refused release, is still wanted.
pub(super) fn wants_phone_failure(key: &FailureKey, failure: &Failure, wish: &Wish<'_>, snapshot: &Snapshot) -> bool {
    debug_assert_eq!(key.operation, Operation::Phone);
    match failure.phone {
        Some(phone) => wish.phone == Some(phone),
        None => snapshot
            .possible_phones(wish.id)
            .any(|possible| Some(possible) != wish.phone),
    }
}
