//! What is still to be sent, in which groups and in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Step,
    group::{Group, Item},
    request::{Attempts, RefusalCode},
};
use crate::{
    employee::EmployeeId,
    plan::{BATCH, Plan, PlannedUpsert, Seats},
};

/// What is still to be sent.
#[derive(Debug)]
pub(super) struct Queue {
    /// Removals, then phone releases, then upserts.
    planned: VecDeque<Item>,
    /// Parts of refused groups.
    put_back: VecDeque<Group>,
    /// Who has yet to leave, or to give up a phone, before others can be sent.
    handovers: BTreeMap<EmployeeId, Handover>,
    batch_size: usize,
    pub room: Room,
    pub waiting_for_seat: Vec<EmployeeId>,
}

#[derive(Debug)]
struct Handover {
    is_leaver: bool,
    /// It was refused, or not tried to the end.
    has_failed: bool,
}

impl Queue {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut planned = VecDeque::new();
        let mut handovers = BTreeMap::new();
        let mut expect_handover = |id: &EmployeeId, is_leaver| {
            let handover = Handover {
                is_leaver,
                has_failed: false,
            };
            handovers.insert(id.clone(), handover);
        };
        for removal in &plan.removals {
            expect_handover(&removal.id, true);
            planned.push_back(Item::new(&removal.id, None));
        }
        let upserted: BTreeSet<&EmployeeId> = plan.upserts.iter().map(PlannedUpsert::id).collect();
        for release in &plan.releases {
            let id = &release.employee.id;
            expect_handover(id, false);
            planned.push_back(Item {
                completes: !upserted.contains(id) && !plan.waiting.contains_key(id),
                ..Item::new(id, Some(release))
            });
        }
        for upsert in &plan.upserts {
            planned.push_back(Item {
                completes: !plan.waiting.contains_key(upsert.id()),
                ..Item::upsert(upsert)
            });
        }
        Self {
            planned,
            put_back: VecDeque::new(),
            handovers,
            batch_size: BATCH,
            room: Room::new(plan),
            waiting_for_seat: Vec::new(),
        }
    }

    /// A user left, gave up a phone, or was sent as wanted.
    pub(super) fn handed_over(&mut self, id: &EmployeeId) {
        self.handovers.remove(id);
    }

    /// A user was to leave, or to give up a phone, and did not.
    pub(super) fn did_not_hand_over(&mut self, id: &EmployeeId) {
        if let Some(handover) = self.handovers.get_mut(id) {
            handover.has_failed = true;
        }
    }

    /// The next group of the plan itself: items of one kind for one request, as far as nobody has to hand over something
    /// first and there are seats.
    pub(super) fn next_planned(&mut self, attempts: Attempts) -> Option<Group> {
        let mut batch = Vec::new();
        let mut blocked = Vec::new();
        let operation = self.planned.front().map(Item::operation);
        while batch.len() < self.batch_size
            && let Some(mut item) = self.planned.pop_front_if(|item| Some(item.operation()) == operation)
        {
            let is_open = |id| self.handovers.get(id).is_some_and(|handover| !handover.has_failed);
            if item.waits_for.iter().chain(&item.phone_waits_for).any(is_open) {
                blocked.push(item);
                continue;
            }
            // A leaver who looks the same stays: not in this cycle.
            if item.waits_for.iter().any(|id| self.handovers.contains_key(id)) {
                continue;
            }
            if item.takes_seat && !self.room.reserve_seat() {
                self.waiting_for_seat.push(item.id);
                continue;
            }
            self.drop_unreleased_phone(&mut item);
            batch.push(item);
        }
        self.put_first(blocked);
        (!batch.is_empty()).then(|| Group::new(batch, attempts))
    }

    /// Leaves out a phone that somebody did not give up. A leaver's phone is only late; an employee's is a conflict.
    fn drop_unreleased_phone(&self, item: &mut Item) {
        let others = item.phone_waits_for.iter().filter(|id| **id != item.id);
        let failed: Vec<&Handover> = others.filter_map(|id| self.handovers.get(id)).collect();
        if failed.iter().any(|handover| !handover.is_leaver) {
            item.leave_phone_out(&RefusalCode::DuplicatePhoneNumber.into());
        } else if !failed.is_empty() && item.drop_phone() {
            item.completes = false;
        }
    }

    fn put_first(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.planned.push_front(item);
        }
    }

    /// The next group that was put back: the one put back last, which is usually the smallest, or the one that waits for
    /// longest.
    pub(super) fn next_put_back(&mut self, takes_longest_waiting: bool) -> Option<Group> {
        if takes_longest_waiting {
            self.put_back.pop_front()
        } else {
            self.put_back.pop_back()
        }
    }

    /// Nobody will give up a phone, or leave, any more: the next group of those who waited for that, sent without.
    pub(super) fn next_without_waiting(&mut self) -> Option<Group> {
        for handover in self.handovers.values_mut() {
            handover.has_failed = true;
        }
        self.next_planned(Attempts::One)
    }

    pub(super) fn put_group_back(&mut self, group: Group) {
        if !group.items.is_empty() {
            self.put_back.push_back(group);
        }
    }

    /// Parts of refused upserts are not tried any more.
    pub(super) fn drop_upserts_put_back(&mut self) {
        self.put_back.retain(Group::is_removal);
    }

    /// The service takes no more than `limit` entries in one request; half of what it got, if it named no limit.
    pub(super) fn recut(&mut self, group: Group, limit: Option<usize>) {
        let length = group.items.len();
        let size = limit.filter(|limit| *limit < length).unwrap_or(length / 2);
        self.batch_size = size.max(1);
        let items = group.into_items();
        self.room.return_seats(count_additions(&items));
        self.put_first(items);
    }

    /// The account is full: of the group's additions only so many go again as seats are free. Where that is not known, or
    /// contradicts the refusal, updates go alone and the additions are halved, until a single one is refused: then there are as
    /// many users as the account may have. That is remembered, so that nobody is tried in vain in each cycle.
    pub(super) fn hold_back_additions(&mut self, group: Group, limit: Option<usize>, step: &mut Step) {
        self.room.seats.limit = limit.or(self.room.seats.limit);
        let attempts = group.attempts;
        let mut items = group.into_items();
        items.sort_by_key(|item| item.takes_seat);
        let additions = count_additions(&items);
        let free = self.room.seats.free().filter(|free| *free < additions);
        let is_single = free.is_none() && additions == 1;
        if is_single {
            self.room.no_seat_is_free(limit);
        }
        if limit.is_some() || is_single {
            let used = self.room.seats.used.filter(|_| is_single);
            let limit = self.room.seats.limit;
            step.seats = Some(Seats { used, limit });
        }
        match free.or(is_single.then_some(0)) {
            Some(free) => self.send_again(items, free),
            None => self.halve_additions(items, additions, attempts),
        }
    }

    /// Sends items again, but only so many additions, of all that are still to be sent.
    fn send_again(&mut self, items: Vec<Item>, additions: usize) {
        self.room.left = Some(additions);
        self.stop_additions_put_back();
        self.put_first(items);
    }

    /// `items` end with the additions.
    fn halve_additions(&mut self, mut items: Vec<Item>, additions: usize, attempts: Attempts) {
        let second_half = items.split_off(items.len() - additions.div_ceil(2));
        let first_half = items.split_off(items.len() - additions / 2);
        // What is put back last is sent first: seats are taken in the order of the plan.
        for items in [second_half, first_half, items] {
            self.put_group_back(Group::new(items, attempts));
        }
    }

    fn stop_additions_put_back(&mut self) {
        // Where an answer named some entries, the others have to go first, to show that it was right.
        for group in self.put_back.iter_mut().filter(|group| group.aside.is_empty()) {
            let additions = group.items.extract_if(.., |item| item.takes_seat);
            self.waiting_for_seat.extend(additions.map(|item| item.id));
        }
        self.put_back.retain(|group| !group.items.is_empty());
    }
}

fn count_additions(items: &[Item]) -> usize {
    items.iter().filter(|item| item.takes_seat).count()
}

/// The room for additions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub seats: Seats,
    /// Users who are ours, as far as is known: about the fewest that the account can have.
    managed: usize,
    /// How many more additions may be sent; `None` while no limit is known.
    left: Option<usize>,
}

impl Room {
    fn new(plan: &Plan) -> Self {
        Self {
            seats: plan.seats,
            managed: plan.managed,
            left: plan.room(),
        }
    }

    /// A single addition was refused: there are as many users as the account may have.
    fn no_seat_is_free(&mut self, named_limit: Option<usize>) {
        let limit = named_limit.or(self.seats.used).unwrap_or(self.managed);
        self.seats.limit = Some(limit);
        self.seats.used = Some(limit);
    }

    /// Takes a seat for one more addition. Returns whether there was one.
    fn reserve_seat(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn return_seats(&mut self, seats: usize) {
        self.left = self.left.map(|left| left + seats);
    }

    /// Removals were accepted.
    pub(super) fn free_seats(&mut self, seats: usize, step: &mut Step) {
        self.managed = self.managed.saturating_sub(seats);
        self.seats.used = self.seats.used.map(|used| used.saturating_sub(seats));
        self.return_seats(seats);
        step.seats_taken = -count(seats);
    }

    /// Additions were accepted. If they are more than the known limit allows, it was raised.
    pub(super) fn take_seats(&mut self, seats: usize, step: &mut Step) {
        if seats == 0 {
            return;
        }
        self.managed += seats;
        self.seats.used = self.seats.used.map(|used| used + seats);
        step.seats_taken = count(seats);
        if let (Some(used), Some(limit)) = (self.seats.used, self.seats.limit)
            && used > limit
        {
            self.seats.limit = None;
            self.left = None;
            step.seats = Some(Seats::default());
        }
    }
}

fn count(seats: usize) -> i64 {
    i64::try_from(seats).unwrap_or(i64::MAX)
}
