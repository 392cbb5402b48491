//! What goes into one request, and what an answer to it says about its entries.

use std::collections::BTreeMap;

use super::request::{Attempts, Refusal, RefusalCode, Request};
use crate::{
    employee::{EmployeeId, Phone},
    plan::{BatchEntry, Change, Operation},
};

/// One user on the way.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub id: EmployeeId,
    /// What is sent; `None` removes the user.
    pub entry: Option<BatchEntry>,
    pub wanted_phone: Option<Phone>,
    pub takes_seat: bool,
    pub waits_for: Vec<EmployeeId>,
    pub phone_waits_for: Vec<EmployeeId>,
    /// Once it is accepted, the user has everything that the CRM wants.
    pub completes: bool,
    /// It goes without its phone, and this is why: charged once the rest of it is accepted.
    pub phone_refusal: Option<Refusal>,
    /// The entry before its phone was taken off because an answer named the field: put back if that did not help.
    pub named_entry: Option<BatchEntry>,
}

impl Item {
    pub(super) fn new(id: &EmployeeId, entry: Option<&BatchEntry>) -> Self {
        Self {
            id: id.clone(),
            entry: entry.cloned(),
            wanted_phone: None,
            takes_seat: false,
            waits_for: Vec::new(),
            phone_waits_for: Vec::new(),
            completes: true,
            phone_refusal: None,
            named_entry: None,
        }
    }

    /// What fails if it is refused. `Phone`: it only gives up a phone.
    pub(super) fn operation(&self) -> Operation {
        match &self.entry {
            None => Operation::Remove,
            Some(entry) if entry.change == Change::Release => Operation::Phone,
            Some(_) => Operation::Upsert,
        }
    }

    /// Whether the user has these values already, as far as was acknowledged.
    pub(super) fn is_resend(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.change == Change::Resend)
    }

    pub(super) fn phone(&self) -> Option<Phone> {
        self.entry.as_ref().and_then(|entry| entry.employee.phone)
    }

    /// Takes the phone off. Returns whether there was one.
    pub(super) fn drop_phone(&mut self) -> bool {
        let Some(entry) = &mut self.entry else { return false };
        entry.phone_spelling = None;
        entry.employee.phone.take().is_some()
    }

    /// Goes on without the phone, which is charged with `refusal` later. Returns whether there was one.
    pub(super) fn leave_phone_out(&mut self, refusal: &Refusal) -> bool {
        let had_phone = self.drop_phone();
        if had_phone {
            self.phone_refusal = Some(refusal.clone());
        }
        had_phone
    }

    /// Whether the user has all that this item was to give once `sent` is accepted, perhaps with the phone that was taken off.
    pub(super) fn is_settled_by(&self, sent: &BatchEntry) -> bool {
        let Some(entry) = &self.entry else { return false };
        let sent_phone = sent.employee.phone;
        let is_same_phone = sent_phone == entry.employee.phone || sent_phone == self.wanted_phone;
        let is_upsert_of_same = self.operation() == Operation::Upsert && self.id == sent.employee.id;
        is_upsert_of_same && sent.employee.name == entry.employee.name && is_same_phone
    }

    pub(super) fn restore_named_phone(&mut self) {
        if let Some(entry) = self.named_entry.take() {
            self.entry = Some(entry);
            self.phone_refusal = None;
        }
    }
}

/// What goes into one request: removals, phone releases or upserts.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub items: Vec<Item>,
    /// Items that an answer named: charged if the others are accepted.
    pub aside: Vec<RefusedItem>,
    /// These items were named by an answer, and are tried by themselves.
    pub was_named: bool,
    pub attempts: Attempts,
}

/// An item that an answer was about, and the answer.
#[derive(Debug, Clone)]
pub(super) struct RefusedItem {
    pub item: Item,
    pub refusal: Refusal,
}

impl Group {
    pub(super) fn new(items: Vec<Item>, attempts: Attempts) -> Self {
        Self {
            items,
            aside: Vec::new(),
            was_named: false,
            attempts,
        }
    }

    /// All items, those set aside included.
    pub(super) fn into_items(self) -> Vec<Item> {
        let aside = self.aside.into_iter().map(|named| named.item);
        self.items.into_iter().chain(aside).collect()
    }

    pub(super) fn is_removal(&self) -> bool {
        self.items.iter().all(|item| item.entry.is_none())
    }

    /// Only one item can be to blame.
    pub(super) fn is_single(&self) -> bool {
        self.items.len() == 1 && self.aside.is_empty()
    }

    /// What an earlier answer named was left out.
    pub(super) fn has_left_out_named(&self) -> bool {
        !self.aside.is_empty() || self.items.iter().any(|item| item.named_entry.is_some())
    }

    /// The item with the phone that, as the service says, somebody else has.
    pub(super) fn claimant_of_named_phone(&mut self, refusal: &Refusal) -> Option<&mut Item> {
        if refusal.code != RefusalCode::DuplicatePhoneNumber {
            return None;
        }
        let phone = refusal.phone?;
        self.items.iter_mut().find(|item| item.phone() == Some(phone))
    }

    /// Takes the items that the answer names out of the group; an item named only for its phone stays, without it.
    /// Returns `false` and does nothing if the answer names nobody, or if nobody would be left.
    pub(super) fn set_aside_named(&mut self, refusal: &Refusal) -> bool {
        let mut is_only_phone: BTreeMap<usize, bool> = BTreeMap::new();
        for entry in &refusal.invalid {
            let Some(index) = entry.index.filter(|index| *index < self.items.len()) else {
                continue;
            };
            let has_phone = self.items[index].phone().is_some();
            let names_only_phone = !entry.fields.is_empty() && entry.fields.iter().all(|field| field == "phone");
            *is_only_phone.entry(index).or_insert(true) &= has_phone && names_only_phone;
        }
        let aside_count = is_only_phone.values().filter(|only_phone| !**only_phone).count();
        if is_only_phone.is_empty() || aside_count == self.items.len() {
            return false;
        }
        for (index, mut item) in std::mem::take(&mut self.items).into_iter().enumerate() {
            match is_only_phone.get(&index) {
                None => self.items.push(item),
                Some(true) => {
                    item.named_entry.clone_from(&item.entry);
                    item.leave_phone_out(refusal);
                    self.items.push(item);
                }
                Some(false) => self.aside.push(RefusedItem {
                    item,
                    refusal: refusal.clone(),
                }),
            }
        }
        true
    }

    pub(super) fn request(&self) -> Request {
        let attempts = self.attempts;
        if self.is_removal() {
            let user_ids = self.items.iter().map(|item| item.id.clone()).collect();
            return Request::Remove { user_ids, attempts };
        }
        let entries = self.items.iter().filter_map(|item| item.entry.clone()).collect();
        Request::Upsert { entries, attempts }
    }
}
