//! What is still to be sent, in which groups and in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Outcome,
    group::{Group, Item},
    request::{Attempts, Refusal, RefusalCode},
};
use crate::{
    employee::EmployeeId,
    plan::{BATCH, Operation, Plan, PlannedUpsert},
};

/// What is still to be sent.
#[derive(Debug)]
pub(super) struct Queue {
    /// Removals, then phone releases, then upserts.
    planned: VecDeque<Item>,
    /// Groups that were re-cut to a smaller size, or to the free seats: they come first.
    trimmed: VecDeque<Group>,
    /// Parts of refused groups.
    put_back: VecDeque<Group>,
    /// Who has to leave, or to give up a phone, before others can be sent.
    handovers: BTreeMap<EmployeeId, Handover>,
    batch_size: usize,
    pub room: Room,
    pub waiting_for_seat: Vec<EmployeeId>,
}

#[derive(Debug, Clone, Copy)]
struct Handover {
    is_leaver: bool,
    state: HandoverState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HandoverState {
    Open,
    Done,
    /// It was refused, or not tried to the end.
    Failed,
}

/// Whether an upsert can be sent.
enum Readiness {
    Ready,
    /// Without its phone; with the refusal, if that is a failure.
    WithoutPhone(Option<Refusal>),
    /// Not before others are answered.
    Blocked,
    /// Not in this cycle.
    Never,
}

impl Queue {
    pub(super) fn new(plan: &Plan) -> Self {
        let upserted: BTreeSet<&EmployeeId> = plan.upserts.iter().map(PlannedUpsert::id).collect();
        let mut queue = Self {
            planned: VecDeque::new(),
            trimmed: VecDeque::new(),
            put_back: VecDeque::new(),
            handovers: BTreeMap::new(),
            batch_size: BATCH,
            room: Room::new(plan),
            waiting_for_seat: Vec::new(),
        };
        for removal in &plan.removals {
            queue.expect_handover(&removal.id, true);
            queue.planned.push_back(Item::new(&removal.id, Operation::Remove, None));
        }
        for release in &plan.releases {
            let id = &release.employee.id;
            queue.expect_handover(id, false);
            queue.planned.push_back(Item {
                completes: !upserted.contains(id) && !plan.pending.contains(id),
                ..Item::new(id, Operation::Phone, Some(release))
            });
        }
        for upsert in &plan.upserts {
            queue.planned.push_back(Item {
                completes: !plan.pending.contains(upsert.id()),
                ..Item::upsert(upsert)
            });
        }
        queue
    }

    fn expect_handover(&mut self, id: &EmployeeId, is_leaver: bool) {
        let state = HandoverState::Open;
        self.handovers.insert(id.clone(), Handover { is_leaver, state });
    }

    /// A user left, gave up a phone, or was sent as wanted.
    pub(super) fn handed_over(&mut self, id: &EmployeeId) {
        self.end_handover(id, HandoverState::Done);
    }

    /// A user was to leave, or to give up a phone, and did not.
    pub(super) fn did_not_hand_over(&mut self, id: &EmployeeId) {
        self.end_handover(id, HandoverState::Failed);
    }

    fn end_handover(&mut self, id: &EmployeeId, state: HandoverState) {
        if let Some(handover) = self.handovers.get_mut(id) {
            handover.state = state;
        }
    }

    /// The next group of the plan itself, in the order removals, releases, upserts.
    pub(super) fn next_planned(&mut self, attempts: Attempts) -> Option<Group> {
        if let Some(group) = self.trimmed.pop_front() {
            return Some(group);
        }
        let items = self.take_batch();
        (!items.is_empty()).then(|| Group::new(items, attempts))
    }

    /// The next group that was put back: the one put back last first, which is usually the smallest, or the one that
    /// waits for longest. When there is none left, whoever still waits for one is sent without.
    pub(super) fn next_put_back(&mut self, takes_longest_waiting: bool) -> Option<Group> {
        let group = if takes_longest_waiting {
            self.put_back.pop_front()
        } else {
            self.put_back.pop_back()
        };
        if group.is_some() {
            return group;
        }
        for handover in self.handovers.values_mut() {
            if handover.state == HandoverState::Open {
                handover.state = HandoverState::Failed;
            }
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

    /// Items of one kind for one request, as far as nobody has to hand over something first and there are seats.
    fn take_batch(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        let mut blocked = Vec::new();
        let operation = self.planned.front().map(|item| item.operation);
        while batch.len() < self.batch_size
            && let Some(mut item) = self.planned.pop_front_if(|item| Some(item.operation) == operation)
        {
            match self.readiness(&item) {
                Readiness::Ready => {}
                Readiness::WithoutPhone(Some(refusal)) => _ = item.leave_phone_out(&refusal),
                Readiness::WithoutPhone(None) => {
                    item.drop_phone();
                    item.completes = false;
                }
                Readiness::Blocked => {
                    blocked.push(item);
                    continue;
                }
                Readiness::Never => continue,
            }
            if item.takes_seat && !self.room.reserve_seat() {
                self.waiting_for_seat.push(item.id);
                continue;
            }
            batch.push(item);
        }
        for item in blocked.into_iter().rev() {
            self.planned.push_front(item);
        }
        batch
    }

    fn readiness(&self, item: &Item) -> Readiness {
        let state_of = |id: &EmployeeId| self.handovers.get(id).map(|handover| handover.state);
        if item
            .waits_for
            .iter()
            .any(|id| state_of(id) == Some(HandoverState::Failed))
        {
            return Readiness::Never;
        }
        let mut awaited = item.waits_for.iter().chain(&item.phone_waits_for);
        if awaited.any(|id| state_of(id) == Some(HandoverState::Open)) {
            return Readiness::Blocked;
        }
        let mut failed: Vec<&Handover> = Vec::new();
        for id in item.phone_waits_for.iter().filter(|id| **id != item.id) {
            let handover = self.handovers.get(id);
            failed.extend(handover.filter(|handover| handover.state == HandoverState::Failed));
        }
        if failed.is_empty() || item.phone().is_none() {
            Readiness::Ready
        } else if failed.iter().all(|handover| handover.is_leaver) {
            // A leaver's phone is only late; one that an employee could not give up is a conflict.
            Readiness::WithoutPhone(None)
        } else {
            Readiness::WithoutPhone(Some(RefusalCode::DuplicatePhoneNumber.into()))
        }
    }

    /// The service takes no more than `limit` entries in one request, or fewer than it got.
    pub(super) fn recut(&mut self, group: Group, limit: Option<usize>) {
        let length = group.items.len();
        let size = limit.filter(|limit| *limit < length).unwrap_or(length / 2);
        self.batch_size = size.max(1);
        for part in group.items.chunks(self.batch_size) {
            self.trimmed.push_back(Group::new(part.to_vec(), group.attempts));
        }
        let named = group.aside.into_iter().map(|named| named.item).collect();
        self.put_group_back(Group::new(named, group.attempts));
    }

    /// The account is full: of the group's additions only so many go again as seats are free. Where that is not known, or
    /// contradicts the refusal, updates go alone and the additions are halved, until a single one is refused: then there are as
    /// many users as the account may have. That is remembered, so that nobody is tried in vain in each cycle.
    pub(super) fn hold_back_additions(&mut self, group: Group, limit: Option<usize>, outcomes: &mut Vec<Outcome>) {
        self.room.limit = limit.or(self.room.limit);
        let attempts = group.attempts;
        let named = group.aside.into_iter().map(|named| named.item);
        let items = group.items.into_iter().chain(named);
        let (mut additions, mut updates): (Vec<Item>, Vec<Item>) = items.partition(|item| item.takes_seat);
        let known_to_fit = self.room.free().filter(|free| *free < additions.len());
        let is_single = known_to_fit.is_none() && additions.len() == 1;
        if is_single {
            self.room.no_seat_is_free(limit);
        }
        if limit.is_some() || is_single {
            let used = self.room.used.filter(|_| is_single);
            let limit = self.room.limit;
            outcomes.push(Outcome::SeatLimit { limit, used });
        }
        if known_to_fit.is_some() || is_single {
            let fitting = known_to_fit.unwrap_or(0);
            self.leave_waiting(additions.split_off(fitting));
            self.stop_additions();
            updates.append(&mut additions);
            if !updates.is_empty() {
                self.trimmed.push_back(Group::new(updates, attempts));
            }
        } else {
            let second_half = additions.split_off(additions.len() / 2);
            for items in [updates, additions, second_half] {
                self.put_group_back(Group::new(items, attempts));
            }
        }
    }

    /// No further addition is tried: all that were to follow wait.
    fn stop_additions(&mut self) {
        self.room.left = Some(0);
        for mut group in std::mem::take(&mut self.put_back) {
            if group.aside.is_empty() {
                let additions = group.items.extract_if(.., |item| item.takes_seat).collect();
                self.leave_waiting(additions);
            }
            self.put_group_back(group);
        }
    }

    fn leave_waiting(&mut self, items: Vec<Item>) {
        self.waiting_for_seat.extend(items.into_iter().map(|item| item.id));
    }
}

/// The room for additions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Users in the account, where that is known.
    pub used: Option<usize>,
    limit: Option<usize>,
    /// Users who are ours: the fewest that the account can have.
    managed: usize,
    /// How many more additions may be sent; `None` while no limit is known.
    left: Option<usize>,
}

impl Room {
    fn new(plan: &Plan) -> Self {
        let seats = plan.seats;
        Self {
            used: seats.used,
            limit: seats.limit,
            managed: plan.managed,
            left: seats.free().map(|free| free + seats.tried_beyond),
        }
    }

    /// How many seats are free, where that is known.
    fn free(self) -> Option<usize> {
        Some(self.limit?.saturating_sub(self.used?))
    }

    /// A single addition was refused: there are as many users as the account may have.
    fn no_seat_is_free(&mut self, named_limit: Option<usize>) {
        let limit = named_limit.or(self.used).unwrap_or(self.managed);
        self.limit = Some(limit);
        self.used = Some(limit);
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

    pub(super) fn free_seats(&mut self, seats: usize, outcomes: &mut Vec<Outcome>) {
        if seats == 0 {
            return;
        }
        self.used = self.used.map(|used| used.saturating_sub(seats));
        self.left = self.left.map(|left| left + seats);
        outcomes.push(Outcome::SeatsTaken(-count(seats)));
    }

    /// Additions were accepted. If they are more than the known limit allows, it was raised.
    pub(super) fn take_seats(&mut self, seats: usize, outcomes: &mut Vec<Outcome>) {
        if seats == 0 {
            return;
        }
        self.used = self.used.map(|used| used + seats);
        outcomes.push(Outcome::SeatsTaken(count(seats)));
        if let (Some(used), Some(limit)) = (self.used, self.limit)
            && used > limit
        {
            self.limit = None;
            self.left = None;
            outcomes.push(Outcome::SeatLimit {
                limit: None,
                used: None,
            });
        }
    }
}

fn count(seats: usize) -> i64 {
    i64::try_from(seats).unwrap_or(i64::MAX)
}
