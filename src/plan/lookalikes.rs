//! A newcomer who looks like somebody who is leaving may be the same person under another id.

use std::collections::{BTreeSet, HashMap};

use super::{
    input::Input,
    leavers::{Leaver, Presence},
    wish::Wish,
};
use crate::employee::{NameKey, Phone};

/// Leavers by what a newcomer can have in common with them.
pub(super) struct Lookalikes<'l, 'a> {
    leavers: Vec<&'l Leaver<'a>>,
    by_name: HashMap<NameKey, Vec<usize>>,
    by_phone: HashMap<Phone, Vec<usize>>,
}

impl<'l, 'a> Lookalikes<'l, 'a> {
    pub(super) fn new(input: Input<'_>, leavers: &'l [Leaver<'a>]) -> Self {
        let mut lookalikes = Self {
            leavers: Vec::new(),
            by_name: HashMap::new(),
            by_phone: HashMap::new(),
        };
        for leaver in leavers.iter().filter(|leaver| leaver.presence == Presence::Leaving) {
            let index = lookalikes.leavers.len();
            for name in leaver.names(input) {
                lookalikes.by_name.entry(name).or_default().push(index);
            }
            for phone in input.snapshot.possible_phones(leaver.id) {
                lookalikes.by_phone.entry(phone).or_default().push(index);
            }
            lookalikes.leavers.push(leaver);
        }
        lookalikes
    }

    /// The leavers with the same name or phone.
    pub(super) fn of(&self, wish: &Wish<'_>) -> Vec<&'l Leaver<'a>> {
        if self.leavers.is_empty() {
            return Vec::new();
        }
        let by_name = self.by_name.get(&NameKey::of(wish.name().as_str()));
        let by_phone = wish.claimed_phone().and_then(|phone| self.by_phone.get(&phone));
        let indexes: BTreeSet<usize> = by_name.into_iter().chain(by_phone).flatten().copied().collect();
        indexes.into_iter().map(|index| self.leavers[index]).collect()
    }
}
