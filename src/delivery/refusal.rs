//! Finding whom a refusal is about.

use std::collections::BTreeMap;

use super::{
    Delivery, EXTRA_REQUESTS, EXTRA_REQUESTS_OVER_LIMIT, Outcome,
    outcome::FailedAttempt,
    queue::{Group, Item},
    request::{Attempts, Refusal, RefusalCode},
};
use crate::plan::{FailureKey, Failures, Operation, PlannedUpsert};

/// An entry that an answer named, and the answer.
#[derive(Debug, Clone)]
pub(super) struct NamedEntry {
    pub item: Item,
    pub refusal: Refusal,
}

/// An entry that failed alone, while it is open whether the service fails on everything.
#[derive(Debug, Clone)]
pub(super) struct Unjudged {
    pub attempt: FailedAttempt,
    pub code: RefusalCode,
}

impl Delivery {
    /// The service decided against a group.
    pub(super) fn refused(&mut self, group: Group, refusal: &Refusal, outcomes: &mut Vec<Outcome>) {
        self.report.refusals.push((group.len(), refusal.clone()));
        if refusal.code == RefusalCode::TooManyEntities && group.len() > 1 {
            let named = refusal.limit.filter(|limit| *limit < group.len());
            let size = named.unwrap_or(group.len() / 2);
            self.queue.limit_batch(size, group);
            return;
        }
        match group {
            Group::Removal { removals, attempts } => {
                if let [removal] = &removals[..] {
                    let attempt = removal_attempt(&removal.id, refusal, &self.failures);
                    self.queue.did_not_give_up(&removal.id);
                    self.report.failed(&attempt);
                    outcomes.push(Outcome::Failed(attempt));
                } else {
                    self.halve(Group::Removal { removals, attempts });
                }
            }
            Group::Upsert { items, aside, attempts } => {
                self.upsert_refused(items, aside, attempts, refusal, outcomes);
            }
        }
    }

    fn upsert_refused(
        &mut self,
        mut items: Vec<Item>,
        aside: Vec<NamedEntry>,
        attempts: Attempts,
        refusal: &Refusal,
        outcomes: &mut Vec<Outcome>,
    ) {
        let has_additions = items.iter().any(|item| item.upsert.takes_seat);
        if refusal.code == RefusalCode::UserLimitExceeded {
            if has_additions {
                self.report.seats_exhausted = Some(refusal.limit);
                items.extend(aside.into_iter().map(|named| named.item));
                outcomes.extend(self.queue.account_is_full(items, refusal.limit, attempts));
                return;
            }
            self.requests_over_limit += 1;
            if self.requests_over_limit > EXTRA_REQUESTS_OVER_LIMIT {
                return;
            }
        }
        if let Some(item) = Self::owner_of_named_phone(&mut items, refusal) {
            item.drop_phone();
            item.phone_refusal = Some(refusal.clone());
            // The service takes decisions. It names one phone in each answer, and another integration may have created many
            // of the same people.
            self.most_extra_requests = EXTRA_REQUESTS;
            self.queue.push_refused(Group::Upsert { items, aside, attempts });
            return;
        }
        if items.len() == 1 && aside.is_empty() {
            self.single_refused(items.remove(0), attempts, refusal, outcomes);
            return;
        }
        let were_phones_named = items.iter().any(|item| item.named_phone.is_some());
        if !aside.is_empty() || were_phones_named {
            // What the answer named was wrong, or not all: those it named are tried by themselves.
            for item in &mut items {
                item.restore_named_phone();
            }
            let named: Vec<Item> = aside.into_iter().map(|named| named.item).collect();
            self.queue.push_refused(Group::upsert(named, attempts));
            self.halve(Group::upsert(items, attempts));
            return;
        }
        match set_aside(items, refusal) {
            Named::Some { rest, aside } => self.queue.push_refused(Group::Upsert {
                items: rest,
                aside,
                attempts,
            }),
            Named::Nothing(items) => self.halve(Group::upsert(items, attempts)),
        }
    }

    fn owner_of_named_phone<'i>(items: &'i mut [Item], refusal: &Refusal) -> Option<&'i mut Item> {
        if refusal.code != RefusalCode::DuplicatePhoneNumber {
            return None;
        }
        let phone = refusal.phone?;
        items.iter_mut().find(|item| item.phone() == Some(phone))
    }

    /// A single entry was refused: perhaps only its phone.
    fn single_refused(&mut self, mut item: Item, attempts: Attempts, refusal: &Refusal, outcomes: &mut Vec<Outcome>) {
        item.restore_named_phone();
        if item.drop_phone().is_some() {
            item.phone_refusal = Some(refusal.clone());
            self.queue.push_refused(Group::upsert(vec![item], attempts));
        } else {
            self.charge(&item, Operation::Upsert, refusal, outcomes);
        }
    }

    /// The service answers, but made no decision about a group: it is split like a refused one, without retries.
    pub(super) fn split_undecided(&mut self, group: Group, refusal: &Refusal) {
        match group {
            Group::Removal { removals, .. } => {
                if let [removal] = &removals[..] {
                    let attempt = removal_attempt(&removal.id, refusal, &self.failures);
                    self.queue.did_not_give_up(&removal.id);
                    self.leave_unjudged(attempt, refusal);
                } else {
                    self.halve(Group::Removal {
                        removals,
                        attempts: Attempts::One,
                    });
                }
            }
            Group::Upsert { mut items, aside, .. } => {
                for item in &mut items {
                    item.restore_named_phone();
                }
                let named: Vec<Item> = aside.into_iter().map(|named| named.item).collect();
                self.queue.push_refused(Group::upsert(named, Attempts::One));
                if items.len() == 1 {
                    self.single_undecided(items.remove(0), refusal);
                } else {
                    self.halve(Group::upsert(items, Attempts::One));
                }
            }
        }
    }

    fn single_undecided(&mut self, mut item: Item, refusal: &Refusal) {
        if item.drop_phone().is_some() {
            item.phone_refusal = Some(refusal.clone());
            self.queue.push_refused(Group::upsert(vec![item], Attempts::One));
            return;
        }
        self.queue.did_not_give_up(item.id());
        let operation = if item.is_release {
            Operation::Phone
        } else {
            Operation::Upsert
        };
        let attempt = failed_attempt(&item.upsert, operation, refusal, &self.failures);
        self.leave_unjudged(attempt, refusal);
    }

    fn leave_unjudged(&mut self, attempt: FailedAttempt, refusal: &Refusal) {
        self.failed_alone = true;
        self.unjudged.push(Unjudged {
            attempt,
            code: refusal.code.clone(),
        });
    }

    fn halve(&mut self, group: Group) {
        match group {
            Group::Removal { mut removals, attempts } => {
                let second = removals.split_off(removals.len() / 2);
                self.queue.push_refused(Group::Removal { removals, attempts });
                self.queue.push_refused(Group::Removal {
                    removals: second,
                    attempts,
                });
            }
            Group::Upsert {
                mut items, attempts, ..
            } => {
                let second = items.split_off(items.len() / 2);
                self.queue.push_refused(Group::upsert(items, attempts));
                self.queue.push_refused(Group::upsert(second, attempts));
            }
        }
    }
}

/// What an answer's names come to.
enum Named {
    Some {
        rest: Vec<Item>,
        aside: Vec<NamedEntry>,
    },
    /// It names nobody, or everybody.
    Nothing(Vec<Item>),
}

/// Takes the entries that the answer names out of the group. One of which only the phone is named goes on without it.
fn set_aside(items: Vec<Item>, refusal: &Refusal) -> Named {
    let mut only_phone: BTreeMap<usize, bool> = BTreeMap::new();
    for entry in &refusal.invalid {
        let Some(index) = entry.index.filter(|index| *index < items.len()) else {
            continue;
        };
        let names_phone_only = !entry.fields.is_empty() && entry.fields.iter().all(|field| field == "phone");
        let is_phone_so_far = only_phone.entry(index).or_insert(true);
        *is_phone_so_far = *is_phone_so_far && names_phone_only;
    }
    for (index, is_phone) in &mut only_phone {
        *is_phone = *is_phone && items[*index].phone().is_some();
    }
    let set_aside = only_phone.values().filter(|is_phone| !**is_phone).count();
    if only_phone.is_empty() || set_aside == items.len() {
        return Named::Nothing(items);
    }
    let (mut rest, mut aside) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, mut item) in items.into_iter().enumerate() {
        match only_phone.get(&index) {
            None => rest.push(item),
            Some(true) => {
                item.named_phone = item.drop_phone();
                item.phone_refusal = Some(refusal.clone());
                rest.push(item);
            }
            Some(false) => aside.push(NamedEntry {
                item,
                refusal: refusal.clone(),
            }),
        }
    }
    Named::Some { rest, aside }
}

/// The attempt that is charged to an upsert.
pub(super) fn failed_attempt(
    upsert: &PlannedUpsert,
    operation: Operation,
    refusal: &Refusal,
    failures: &Failures,
) -> FailedAttempt {
    let key = FailureKey::new(upsert.id().as_str(), operation);
    let name = Some(upsert.entry.employee.name.clone());
    let phone = upsert.wanted_phone;
    let attempts = match failures.get(&key) {
        Some(earlier)
            if !earlier.is_local
                && earlier.phone == phone
                && (earlier.name == name || operation == Operation::Phone) =>
        {
            earlier.attempts + 1
        }
        _ => 1,
    };
    FailedAttempt {
        detail: detail(&refusal.code, operation),
        code: refusal.code.as_str().into_owned(),
        request_id: refusal.request_id.clone(),
        key,
        name,
        phone,
        attempts,
    }
}

fn removal_attempt(id: &crate::employee::EmployeeId, refusal: &Refusal, failures: &Failures) -> FailedAttempt {
    let key = FailureKey::new(id.as_str(), Operation::Remove);
    let attempts = failures.get(&key).map_or(0, |earlier| earlier.attempts) + 1;
    FailedAttempt {
        detail: detail(&refusal.code, Operation::Remove),
        code: refusal.code.as_str().into_owned(),
        request_id: refusal.request_id.clone(),
        key,
        name: None,
        phone: None,
        attempts,
    }
}

/// Our own words for a refusal: the service's description can contain a phone.
fn detail(code: &RefusalCode, operation: Operation) -> &'static str {
    match (code, operation) {
        (RefusalCode::DuplicatePhoneNumber, _) => "another user in Wazzup has this phone; everything else is synced",
        (_, Operation::Phone) => "Wazzup does not take this phone; everything else is synced",
        (RefusalCode::UserLimitExceeded, _) => "the account has more users than seats",
        (RefusalCode::InvalidUsersData, _) => "Wazzup finds this entry invalid",
        (RefusalCode::NoAnswer, Operation::Remove) => "Wazzup does not answer when this user is to be removed",
        (RefusalCode::NoAnswer, _) => "Wazzup does not answer to this entry, but answers to others",
        (_, Operation::Remove) => "Wazzup refuses to remove this user",
        (RefusalCode::Status(500..=599), _) => "Wazzup fails on this entry, but not on others",
        _ => "Wazzup refuses this entry",
    }
}

impl Refusal {
    /// A phone could not be sent because another user of ours could not give it up.
    pub(super) fn phone_in_use() -> Self {
        Self {
            code: RefusalCode::DuplicatePhoneNumber,
            request_id: None,
            invalid: Vec::new(),
            phone: None,
            limit: None,
        }
    }
}
