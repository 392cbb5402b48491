//! Finding whom a refusal is about.

use super::{
    Delivery, UnderWay,
    group::{Group, Item, RefusedItem},
    request::{Attempts, Refusal, RefusalCode},
};
use crate::{
    employee::EmployeeId,
    plan::{FailureKey, Operation},
};

/// How many refusals of updates, because the account is over its user limit, are searched; after that, what was refused
/// stays pending, whatever the reason.
const MAX_REFUSALS_OVER_LIMIT: usize = 16;

/// What the service said about a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Refused,
    /// The service answers, but made no decision about the group.
    Missing,
}

impl Delivery {
    /// The service decided against a group.
    pub(super) fn refused(&mut self, mut group: Group, refusal: &Refusal) {
        let has_additions = group.items.iter().any(|item| item.takes_seat);
        match refusal.code {
            RefusalCode::TooManyEntities if group.items.len() > 1 => {
                self.queue.recut(group, refusal.limit);
                return;
            }
            RefusalCode::UserLimitExceeded if has_additions => {
                self.report.seats_exhausted = true;
                self.report.seats_limit = refusal.limit;
                self.queue.hold_back_additions(group, refusal.limit, &mut self.outcomes);
                return;
            }
            RefusalCode::UserLimitExceeded => {
                self.refusals_over_limit += 1;
                if self.refusals_over_limit > MAX_REFUSALS_OVER_LIMIT {
                    self.queue.drop_upserts_put_back();
                    return;
                }
            }
            _ => {}
        }
        if let Some(item) = group.claimant_of_named_phone(refusal) {
            item.leave_phone_out(refusal);
            if group.items.iter().filter(|item| item.phone_refusal.is_some()).count() == 1 {
                self.queue.put_group_back(group);
            } else {
                // There may be many more: halves are accepted sooner.
                self.split(group);
            }
            return;
        }
        if !group.is_single() && !group.has_left_out_named() && group.set_aside_named(refusal) {
            self.queue.put_group_back(group);
        } else {
            self.search(group, refusal, Decision::Refused);
        }
    }

    /// There was no decision about a group: is the service there at all?
    pub(super) fn undecided(&mut self, group: Group, refusal: Refusal) {
        let is_known_to_answer = group.attempts == Attempts::One && refusal.code != RefusalCode::NoAnswer;
        if is_known_to_answer {
            self.search_undecided(group, &refusal);
        } else {
            self.is_doubtful = true;
            self.under_way = Some(UnderWay::Ping { group, refusal });
        }
    }

    /// The service answers, but made no decision about a group: it is split like a refused one, without retries.
    pub(super) fn search_undecided(&mut self, mut group: Group, refusal: &Refusal) {
        group.attempts = Attempts::One;
        self.search(group, refusal, Decision::Missing);
    }

    fn search(&mut self, mut group: Group, refusal: &Refusal, decision: Decision) {
        if group.is_single()
            && let Some(item) = group.items.pop()
        {
            self.single_failed(item, group.attempts, refusal, decision);
        } else {
            self.split(group);
        }
    }

    /// A single entry failed: perhaps only its phone.
    fn single_failed(&mut self, mut item: Item, attempts: Attempts, refusal: &Refusal, decision: Decision) {
        item.restore_named_phone();
        if item.leave_phone_out(refusal) {
            self.queue.put_group_back(Group::new(vec![item], attempts));
            return;
        }
        self.lone_failures += 1;
        match decision {
            Decision::Refused => self.charge(&item, item.operation, refusal),
            Decision::Missing => {
                self.queue.did_not_hand_over(&item.id);
                self.unjudged.push(RefusedItem {
                    item,
                    refusal: refusal.clone(),
                });
            }
        }
    }

    /// Divides a group: into those with an open failure, who are suspected first, and the others; else into halves. What an
    /// earlier answer named was wrong, or not all: those it named are tried by themselves.
    fn split(&mut self, mut group: Group) {
        for item in &mut group.items {
            item.restore_named_phone();
        }
        let attempts = group.attempts;
        let named = group.aside.into_iter().map(|named| named.item).collect();
        let (suspects, others): (Vec<Item>, Vec<Item>) =
            group.items.into_iter().partition(|item| self.is_failing(&item.id));
        let [first, second] = if suspects.is_empty() || others.is_empty() {
            let mut everybody = [suspects, others].concat();
            let second_half = everybody.split_off(everybody.len() / 2);
            [everybody, second_half]
        } else {
            [suspects, others]
        };
        for items in [named, first, second] {
            self.queue.put_group_back(Group::new(items, attempts));
        }
    }

    /// Whether a failure of the user is open, whatever it is about.
    fn is_failing(&self, id: &EmployeeId) -> bool {
        let operations = [Operation::Upsert, Operation::Remove, Operation::Phone];
        let mut keys = operations
            .map(|operation| FailureKey::new(id.as_str(), operation))
            .into_iter();
        keys.any(|key| self.open_refusals.contains_key(&key))
    }
}

impl RefusalCode {
    /// Our own words for a refusal: the service's description can contain a phone.
    pub(super) fn detail(&self, operation: Operation) -> &'static str {
        match (self, operation) {
            (Self::DuplicatePhoneNumber, _) => "another user in Wazzup has this phone; everything else is synced",
            (_, Operation::Phone) => "Wazzup does not take this phone; everything else is synced",
            (Self::UserLimitExceeded, _) => "the account has more users than seats",
            (Self::InvalidUsersData, _) => "Wazzup finds this entry invalid",
            (Self::NoAnswer, Operation::Remove) => "Wazzup does not answer when this user is to be removed",
            (Self::NoAnswer, _) => "Wazzup does not answer to this entry, but answers to others",
            (_, Operation::Remove) => "Wazzup refuses to remove this user",
            (Self::Status(500..=599), _) => "Wazzup fails on this entry, but not on others",
            _ => "Wazzup refuses this entry",
        }
    }
}
