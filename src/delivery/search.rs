//! Finding whom a refusal is about.

use strum::IntoEnumIterator as _;

use super::{
    Delivery, UnderWay,
    group::{Group, RefusedItem},
    request::{Attempts, Refusal, RefusalCode},
};
use crate::{employee::EmployeeId, plan::Operation};

/// How often an account over its user limit may refuse updates in one cycle. After that, all upserts that were refused stay
/// pending, for whatever reason.
const MAX_REFUSALS_OVER_LIMIT: usize = 16;

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
                self.queue.hold_back_additions(group, refusal.limit, &mut self.step);
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
        let believes_names = !self.names_were_wrong && !group.has_left_out_named();
        if !group.is_single() && believes_names && group.set_aside_named(refusal) {
            self.queue.put_group_back(group);
        } else {
            self.search(group, refusal, true);
        }
    }

    /// There was no decision about a group: is the service there at all?
    pub(super) fn undecided(&mut self, group: Group, refusal: Refusal) {
        let is_known_to_answer = group.attempts == Attempts::One && refusal.code != RefusalCode::NoAnswer;
        if is_known_to_answer {
            self.search_undecided(group, &refusal);
        } else {
            self.service_may_fail = true;
            self.under_way = Some(UnderWay::Ping { group, refusal });
        }
    }

    /// The service answers, but made no decision about a group: it is split like a refused one, without retries.
    pub(super) fn search_undecided(&mut self, mut group: Group, refusal: &Refusal) {
        group.attempts = Attempts::One;
        self.search(group, refusal, false);
    }

    /// Narrows down whom a failure is about. Unless it `is_decision`, it may be the service's own.
    fn search(&mut self, mut group: Group, refusal: &Refusal, is_decision: bool) {
        if !group.is_single() {
            self.split(group);
            return;
        }
        let mut item = group.items.remove(0);
        item.restore_named_phone();
        // Without a decision, a request may have acted: whoever is only sent again must not lose the phone by it.
        let may_lose_phone = is_decision || !item.is_resend();
        if may_lose_phone && item.leave_phone_out(refusal) {
            // Perhaps it is only the phone.
            self.queue.put_group_back(Group::new(vec![item], group.attempts));
            return;
        }
        self.lone_failures += 1;
        if is_decision {
            self.charge(&item, item.operation(), refusal);
        } else {
            self.queue.did_not_hand_over(&item.id);
            let refusal = refusal.clone();
            self.unjudged.push(RefusedItem { item, refusal });
        }
    }

    /// Divides a group in two: the entries without an open failure, which are sent first, and those with one; halves if all are
    /// alike. What an earlier answer named was wrong, or not all: the entries that it named are sent by themselves, first of all.
    fn split(&mut self, mut group: Group) {
        // Without entries to try by themselves, nothing can show that the answer was right.
        self.names_were_wrong |= group.aside.is_empty() && group.items.iter().any(|item| item.named_entry.is_some());
        for item in &mut group.items {
            item.restore_named_phone();
        }
        let named = group.aside.into_iter().map(|named| named.item).collect();
        let mut first = group.items;
        first.sort_by_cached_key(|item| !self.is_failing(&item.id));
        let suspects = first.partition_point(|item| self.is_failing(&item.id));
        let are_all_alike = suspects == 0 || suspects == first.len();
        let second = first.split_off(if are_all_alike { first.len() / 2 } else { suspects });
        for items in [first, second] {
            self.queue.put_group_back(Group::new(items, group.attempts));
        }
        self.queue.put_group_back(Group {
            was_named: true,
            ..Group::new(named, group.attempts)
        });
    }

    /// Whether a refusal of the user is open, whatever it is about.
    fn is_failing(&self, id: &EmployeeId) -> bool {
        Operation::iter().any(|operation| self.refused_before(id, operation).is_some())
    }
}
