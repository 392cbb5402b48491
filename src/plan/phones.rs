//! Who may have which phone, and who must give one up before somebody else can take it.
//!
//! Wazzup refuses a phone that another user has, so a phone that moves is released in an earlier request than it is
//! claimed in. Whether Wazzup clears a phone that an update leaves out is not documented: where it does not, the claim is
//! refused, which concerns the phone alone.

use std::collections::HashMap;

use super::{
    Failure, Operation,
    input::Input,
    leavers::{Leaver, Leavers},
    wish::{PhoneWish, Standing, Wish},
};
use crate::employee::{Phone, RowProblem};

/// Assigns to each wish the phone that is wanted, the one that is sent now, and those for whom it waits.
pub(super) fn assign(input: Input<'_>, wishes: &mut [Wish<'_>], leavers: &Leavers<'_>) {
    for wish in wishes.iter_mut() {
        let is_unreadable = wish.entry.is_some_and(|entry| entry.has_unreadable_phone);
        wish.phone = PhoneWish {
            wanted: wish.claimed_phone(),
            problem: is_unreadable.then_some(RowProblem::InvalidPhone),
            ..PhoneWish::default()
        };
    }
    let owners = owners(input, wishes);
    let holders = holders(input, wishes);
    for index in 0..wishes.len() {
        let Some(phone) = wishes[index].phone.wanted else {
            continue;
        };
        if owners[&phone] == index {
            let holders = holders.get(&phone).map_or(&[][..], Vec::as_slice);
            claim(input, wishes, index, phone, holders, leavers);
        } else {
            wishes[index].deny_phone();
        }
    }
}

impl Wish<'_> {
    /// Somebody else keeps the phone.
    fn deny_phone(&mut self) {
        self.phone.wanted = None;
        self.phone.problem = Some(RowProblem::DuplicatePhoneNumber);
    }

    /// Whether a refused phone, or a refused release, is still wanted.
    pub(super) fn wants_phone_failure(&self, input: Input<'_>, attempt: &Failure) -> bool {
        if attempt.phone.is_some() {
            return self.phone.wanted == attempt.phone;
        }
        let mut possible = input.snapshot.possible_phones(self.id);
        possible.any(|possible| Some(possible) != self.phone.wanted)
    }
}

/// The index of the wish with the best right to each phone that is wanted: who has it acknowledged, else who may hold it by
/// a lost request, else who has the smallest id.
fn owners(input: Input<'_>, wishes: &[Wish<'_>]) -> HashMap<Phone, usize> {
    let has_acknowledged = |index: usize, phone| wishes[index].acknowledged_phone() == Some(phone);
    let may_hold = |index: usize, phone| {
        let mut possible = input.snapshot.possible_phones(wishes[index].id);
        possible.any(|possible| possible == phone)
    };
    let right = |index, phone| (has_acknowledged(index, phone), may_hold(index, phone));
    let mut owners = HashMap::with_capacity(wishes.len());
    for (index, wish) in wishes.iter().enumerate() {
        let Some(phone) = wish.phone.wanted else { continue };
        let owner = owners.entry(phone).or_insert(index);
        if *owner != index && right(index, phone) > right(*owner, phone) {
            *owner = index;
        }
    }
    owners
}

/// The indexes of the wishes whose users have each phone in Wazzup, or may have it by a lost request.
fn holders(input: Input<'_>, wishes: &[Wish<'_>]) -> HashMap<Phone, Vec<usize>> {
    let mut holders: HashMap<Phone, Vec<usize>> = HashMap::with_capacity(wishes.len());
    for (index, wish) in wishes.iter().enumerate() {
        if matches!(wish.standing, Standing::Ours | Standing::Renamed) {
            for phone in input.snapshot.possible_phones(wish.id) {
                holders.entry(phone).or_default().push(index);
            }
        }
    }
    holders
}

/// Decides whether the wish at `index` gets the phone that it wants, and what has to happen before. `holders` are the wishes
/// whose users may have it now.
fn claim(
    input: Input<'_>,
    wishes: &mut [Wish<'_>],
    index: usize,
    phone: Phone,
    holders: &[usize],
    leavers: &Leavers<'_>,
) {
    let wish = &mut wishes[index];
    let is_kept = wish.entry.is_none();
    if !is_kept && leavers.with_phone(phone).any(Leaver::may_stay) {
        wish.deny_phone();
        return;
    }
    if wish.acknowledged_phone() == Some(phone) {
        wish.phone.sent = Some(phone);
        return;
    }
    let mut waits_for = Vec::new();
    for leaver in leavers.with_phone(phone).filter(|leaver| leaver.is_awaited()) {
        if !leaver.is_removed() {
            wish.phone.is_pending = true;
            return;
        }
        waits_for.push(leaver.id.clone());
    }
    let refused_lately = |wish: &Wish<'_>| {
        let refused = input.refused(wish.id, Operation::Phone)?;
        refused.backs_off(input.now).then_some(&refused.failure)
    };
    if refused_lately(wish).is_some_and(|attempt| attempt.phone == Some(phone)) {
        return;
    }
    if !wish.backs_off(input) {
        let others: Vec<usize> = holders.iter().copied().filter(|holder| *holder != index).collect();
        for holder in &others {
            // A phone failure without a phone: the release was refused.
            if refused_lately(&wishes[*holder]).is_some_and(|attempt| attempt.phone.is_none()) {
                wishes[index].deny_phone();
                return;
            }
        }
        for holder in others {
            wishes[holder].phone.is_released = true;
            waits_for.push(wishes[holder].id.clone());
        }
    }
    wishes[index].phone.sent = Some(phone);
    wishes[index].phone.waits_for = waits_for;
}
