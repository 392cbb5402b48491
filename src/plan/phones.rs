//! Who may have which phone, and who must give one up before somebody else can take it.
//!
//! Wazzup refuses a phone that another user has, so a phone that moves is released in an earlier request than it is
//! claimed in. Whether Wazzup clears a phone that an update leaves out is not documented: where it does not, the claim is
//! refused, which concerns the phone alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    BatchEntry, Change, Failure, Operation,
    input::Input,
    leavers::{Leaver, Presence},
    wish::{Standing, Wish},
};
use crate::employee::{Employee, EmployeeId, Phone, RowProblem};

/// What else follows from who may have which phone.
#[derive(Debug, Default)]
pub(super) struct AssignedPhones {
    /// Whose phone cannot be taken.
    pub problems: BTreeMap<EmployeeId, RowProblem>,
    /// Users who give up their phone first: as acknowledged, without it.
    pub releases: BTreeMap<EmployeeId, BatchEntry>,
}

/// Assigns to each wish the phone that is wanted, the one that is sent now, and those for whom it waits.
pub(super) fn assign(input: Input<'_>, wishes: &mut [Wish<'_>], leavers: &[Leaver<'_>]) -> AssignedPhones {
    let mut assigned = AssignedPhones::default();
    for wish in wishes.iter_mut() {
        wish.phone = wish.claimed_phone();
        wish.sent_phone = None;
        wish.phone_is_pending = false;
        wish.phone_waits_for.clear();
        let is_unreadable = wish.entry.is_some_and(|entry| entry.has_unreadable_phone);
        if is_unreadable && !wish.is_held {
            assigned.problems.insert(wish.id.clone(), RowProblem::InvalidPhone);
        }
    }
    for index in losers_of_shared_phones(input, wishes) {
        assigned.deny_phone(&mut wishes[index]);
    }
    let holders = Holders::new(input, wishes, leavers);
    for index in 0..wishes.len() {
        let Some(phone) = wishes[index].phone else { continue };
        match claim(input, wishes, index, phone, &holders) {
            Claim::Denied => assigned.deny_phone(&mut wishes[index]),
            Claim::RefusedLately => {}
            Claim::Pending => wishes[index].phone_is_pending = true,
            Claim::Granted {
                mut waits_for,
                released_by,
            } => {
                for holder in released_by {
                    let holder = &wishes[holder];
                    waits_for.push(holder.id.clone());
                    assigned.releases.insert(holder.id.clone(), release_of(holder));
                }
                wishes[index].sent_phone = Some(phone);
                wishes[index].phone_waits_for = waits_for;
            }
        }
    }
    assigned
}

impl AssignedPhones {
    fn deny_phone(&mut self, wish: &mut Wish<'_>) {
        wish.phone = None;
        self.problems.insert(wish.id.clone(), RowProblem::DuplicatePhoneNumber);
    }
}

/// The indexes of the wishes whose phone somebody else has the better right to: who has it acknowledged, else who may hold
/// it by a lost request, else who has the smallest id.
fn losers_of_shared_phones(input: Input<'_>, wishes: &[Wish<'_>]) -> BTreeSet<usize> {
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
        let is_acknowledged = |index: &&usize| wishes[**index].acknowledged_phone() == Some(phone);
        let is_possible = |index: &&usize| {
            let mut possible = input.snapshot.possible_phones(wishes[**index].id);
            possible.any(|possible| possible == phone)
        };
        let holder = claimants.iter().find(is_acknowledged);
        let winner = *holder
            .or_else(|| claimants.iter().find(is_possible))
            .unwrap_or(&claimants[0]);
        losers.extend(claimants.into_iter().filter(|index| *index != winner));
    }
    losers
}

/// Who holds each phone in Wazzup, or may hold it by a lost request.
struct Holders<'l, 'a> {
    leavers: HashMap<Phone, Vec<&'l Leaver<'a>>>,
    /// Indexes of wishes whose users are in Wazzup.
    wishes: HashMap<Phone, Vec<usize>>,
}

impl<'l, 'a> Holders<'l, 'a> {
    fn new(input: Input<'_>, wishes: &[Wish<'_>], leavers: &'l [Leaver<'a>]) -> Self {
        let mut holders = Self {
            leavers: HashMap::new(),
            wishes: HashMap::with_capacity(wishes.len()),
        };
        for leaver in leavers {
            for phone in input.snapshot.possible_phones(leaver.id) {
                holders.leavers.entry(phone).or_default().push(leaver);
            }
        }
        for (index, wish) in wishes.iter().enumerate() {
            if !matches!(wish.standing, Standing::Ours | Standing::Renamed) {
                continue;
            }
            for phone in input.snapshot.possible_phones(wish.id) {
                holders.wishes.entry(phone).or_default().push(index);
            }
        }
        holders
    }
}

/// What comes of wanting a phone.
enum Claim {
    /// Somebody else keeps it.
    Denied,
    /// The service refused it lately.
    RefusedLately,
    /// Somebody who is leaving, but not now, has it.
    Pending,
    Granted {
        /// Leavers who are removed first.
        waits_for: Vec<EmployeeId>,
        /// Indexes of the users who release it first.
        released_by: Vec<usize>,
    },
}

fn claim(input: Input<'_>, wishes: &[Wish<'_>], index: usize, phone: Phone, holders: &Holders<'_, '_>) -> Claim {
    let wish = &wishes[index];
    let leavers: &[&Leaver<'_>] = holders.leavers.get(&phone).map_or(&[], Vec::as_slice);
    if !wish.is_kept() && leavers.iter().any(|leaver| leaver.presence == Presence::Staying) {
        return Claim::Denied;
    }
    let mut waits_for = Vec::new();
    let mut released_by = Vec::new();
    if wish.acknowledged_phone() == Some(phone) {
        return Claim::Granted { waits_for, released_by };
    }
    for leaver in leavers.iter().filter(|leaver| leaver.presence == Presence::Leaving) {
        if !leaver.is_removed() {
            return Claim::Pending;
        }
        waits_for.push(leaver.id.clone());
    }
    if phone_backing_off(input, wish).is_some_and(|attempt| attempt.phone == Some(phone)) {
        return Claim::RefusedLately;
    }
    if !wish.backs_off(input) {
        let users = holders.wishes.get(&phone).map_or(&[][..], Vec::as_slice);
        released_by.extend(users.iter().copied().filter(|holder| *holder != index));
    }
    for holder in &released_by {
        // A phone failure without a phone: the release was refused.
        if phone_backing_off(input, &wishes[*holder]).is_some_and(|attempt| attempt.phone.is_none()) {
            return Claim::Denied;
        }
    }
    Claim::Granted { waits_for, released_by }
}

fn phone_backing_off<'a>(input: Input<'a>, wish: &Wish<'_>) -> Option<&'a Failure> {
    input.backing_off(wish.id, Operation::Phone)
}

/// The user as acknowledged, without a phone.
fn release_of(holder: &Wish<'_>) -> BatchEntry {
    let acknowledged = holder.acknowledged().map(|acknowledged| &acknowledged.name);
    BatchEntry {
        employee: Employee {
            id: holder.id.clone(),
            name: acknowledged.unwrap_or(holder.name()).clone(),
            phone: None,
        },
        phone_spelling: None,
        change: Change::Release,
    }
}

/// Whether a refused phone, or a refused release, is still wanted.
pub(super) fn wants_phone_failure(input: Input<'_>, wish: &Wish<'_>, attempt: &Failure) -> bool {
    if attempt.phone.is_some() {
        return wish.phone == attempt.phone;
    }
    let mut possible = input.snapshot.possible_phones(wish.id);
    possible.any(|possible| Some(possible) != wish.phone)
}
