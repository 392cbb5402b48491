//! What is still to be sent, in which groups and in which order.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Outcome,
    refusal::NamedEntry,
    request::{Attempts, Refusal, Request},
};
use crate::{
    employee::{EmployeeId, Phone, Spelling},
    plan::{BATCH, Plan, PlannedRemoval, PlannedUpsert, Seats},
};

/// One upsert on its way.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub upsert: PlannedUpsert,
    /// It only gives up a phone.
    pub is_release: bool,
    /// It goes without its phone, and this is why: charged once the rest of it is accepted.
    pub phone_refusal: Option<Refusal>,
    /// The phone that was taken off it because an answer named the field: put back if that did not help.
    pub named_phone: Option<NamedPhone>,
}

/// A phone that was taken off an entry.
#[derive(Debug, Clone)]
pub(super) struct NamedPhone {
    pub phone: Phone,
    pub spelling: Option<Spelling>,
}

impl Item {
    fn new(upsert: PlannedUpsert, is_release: bool) -> Self {
        Self {
            upsert,
            is_release,
            phone_refusal: None,
            named_phone: None,
        }
    }

    pub(super) fn id(&self) -> &EmployeeId {
        self.upsert.id()
    }

    pub(super) fn phone(&self) -> Option<Phone> {
        self.upsert.entry.employee.phone
    }

    /// Takes the phone off.
    pub(super) fn drop_phone(&mut self) -> Option<NamedPhone> {
        let phone = self.upsert.entry.employee.phone.take()?;
        let spelling = self.upsert.entry.phone_spelling.take();
        Some(NamedPhone { phone, spelling })
    }

    /// Puts back a phone that was taken off because an answer named it.
    pub(super) fn restore_named_phone(&mut self) {
        if let Some(named) = self.named_phone.take() {
            self.upsert.entry.employee.phone = Some(named.phone);
            self.upsert.entry.phone_spelling = named.spelling;
            self.phone_refusal = None;
        }
    }
}

/// What goes into one request.
#[derive(Debug, Clone)]
pub(super) enum Group {
    Removal {
        removals: Vec<PlannedRemoval>,
        attempts: Attempts,
    },
    Upsert {
        items: Vec<Item>,
        /// Entries that an answer named: charged if the others are accepted.
        aside: Vec<NamedEntry>,
        attempts: Attempts,
    },
}

impl Group {
    pub(super) fn upsert(items: Vec<Item>, attempts: Attempts) -> Self {
        Self::Upsert {
            items,
            aside: Vec::new(),
            attempts,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Removal { removals, .. } => removals.len(),
            Self::Upsert { items, .. } => items.len(),
        }
    }

    pub(super) fn attempts(&self) -> Attempts {
        match self {
            Self::Removal { attempts, .. } | Self::Upsert { attempts, .. } => *attempts,
        }
    }

    pub(super) fn request(&self) -> Request {
        match self {
            Self::Removal { removals, attempts } => Request::Remove {
                user_ids: removals.iter().map(|removal| removal.id.clone()).collect(),
                attempts: *attempts,
            },
            Self::Upsert { items, attempts, .. } => Request::Upsert {
                entries: items.iter().map(|item| item.upsert.entry.clone()).collect(),
                attempts: *attempts,
            },
        }
    }
}

/// What is still to be sent.
#[derive(Debug)]
pub(super) struct Queue {
    removals: VecDeque<PlannedRemoval>,
    releases: VecDeque<Item>,
    upserts: VecDeque<Item>,
    /// Upserts that wait for a removal or a release that was refused as part of a group.
    blocked: Vec<Item>,
    /// Groups that were trimmed, not refused: they come first.
    trimmed: VecDeque<Group>,
    /// Parts of refused groups.
    refused: VecDeque<Group>,
    /// Who gave up a phone or left in this cycle.
    gave_up: BTreeSet<EmployeeId>,
    /// Who was to and did not.
    did_not_give_up: BTreeSet<EmployeeId>,
    leavers: BTreeSet<EmployeeId>,
    batch_size: usize,
    room: Room,
    waiting_for_seat: Vec<EmployeeId>,
    /// Who was sent without the phone that a leaver still has.
    phone_pending: Vec<EmployeeId>,
}

/// The room for additions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    seats: Seats,
    /// How many more additions may be sent; `None` while no limit is known.
    left: Option<usize>,
    /// How many users are ours: the fewest that the account can have.
    managed: usize,
}

impl Queue {
    pub(super) fn new(plan: &Plan) -> Self {
        let releases = plan.releases.iter().map(|entry| {
            let upsert = PlannedUpsert {
                wanted_phone: None,
                before: None,
                name_in_wazzup: None,
                takes_seat: false,
                waits_for: Vec::new(),
                phone_waits_for: Vec::new(),
                entry: entry.clone(),
            };
            Item::new(upsert, true)
        });
        Self {
            removals: plan.removals.iter().cloned().collect(),
            releases: releases.collect(),
            upserts: plan
                .upserts
                .iter()
                .map(|upsert| Item::new(upsert.clone(), false))
                .collect(),
            blocked: Vec::new(),
            trimmed: VecDeque::new(),
            refused: VecDeque::new(),
            gave_up: BTreeSet::new(),
            did_not_give_up: BTreeSet::new(),
            leavers: plan.removals.iter().map(|removal| removal.id.clone()).collect(),
            batch_size: BATCH,
            room: Room {
                seats: plan.seats,
                left: plan.seats.free().map(|free| free + plan.seats.tried_beyond),
                managed: plan.managed,
            },
            waiting_for_seat: Vec::new(),
            phone_pending: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.removals.clear();
        self.releases.clear();
        self.upserts.clear();
        self.blocked.clear();
        self.trimmed.clear();
        self.refused.clear();
    }

    /// The next group of the plan itself, in the order removals, releases, upserts.
    pub(super) fn next_planned(&mut self, attempts: Attempts) -> Option<Group> {
        if let Some(group) = self.trimmed.pop_front() {
            return Some(group);
        }
        if !self.removals.is_empty() {
            let removals = take(&mut self.removals, self.batch_size);
            return Some(Group::Removal { removals, attempts });
        }
        if !self.releases.is_empty() {
            let items = take(&mut self.releases, self.batch_size);
            return Some(Group::upsert(items, attempts));
        }
        let items = self.ready_upserts();
        if !items.is_empty() {
            return Some(Group::upsert(items, attempts));
        }
        None
    }

    /// The next part of a refused group, the smallest first, or the one that waits for longest. When there is none left,
    /// whoever still waits for one is sent without.
    pub(super) fn next_refused(&mut self, takes_longest_waiting: bool) -> Option<Group> {
        let group = if takes_longest_waiting {
            self.refused.pop_front()
        } else {
            self.refused.pop_back()
        };
        if group.is_some() {
            return group;
        }
        let unresolved: Vec<EmployeeId> = self
            .blocked
            .iter()
            .flat_map(|item| item.upsert.waits_for.iter().chain(&item.upsert.phone_waits_for))
            .filter(|id| !self.gave_up.contains(*id))
            .cloned()
            .collect();
        self.did_not_give_up.extend(unresolved);
        self.unblock();
        self.next_planned(Attempts::One)
    }

    pub(super) fn push_refused(&mut self, group: Group) {
        if group.len() > 0 {
            self.refused.push_back(group);
        }
    }

    /// Upserts for one request, as far as nobody has to give up something first and there are seats.
    fn ready_upserts(&mut self) -> Vec<Item> {
        let mut ready: Vec<Item> = Vec::new();
        while ready.len() < self.batch_size {
            let Some(mut item) = self.upserts.pop_front() else {
                break;
            };
            match self.readiness(&item) {
                Readiness::Blocked => {
                    self.blocked.push(item);
                    continue;
                }
                Readiness::Pending => continue,
                Readiness::WithoutPhone(reason) => {
                    item.drop_phone();
                    if reason.is_none() {
                        self.phone_pending.push(item.id().clone());
                    }
                    item.phone_refusal = reason;
                }
                Readiness::Ready => {}
            }
            if item.upsert.takes_seat && !self.take_seat() {
                self.waiting_for_seat.push(item.id().clone());
                continue;
            }
            ready.push(item);
        }
        ready
    }

    fn readiness(&self, item: &Item) -> Readiness {
        let upsert = &item.upsert;
        if upsert.waits_for.iter().any(|id| self.did_not_give_up.contains(id)) {
            return Readiness::Pending;
        }
        if upsert.waits_for.iter().any(|id| !self.gave_up.contains(id)) {
            return Readiness::Blocked;
        }
        let unresolved = upsert
            .phone_waits_for
            .iter()
            .any(|id| !self.gave_up.contains(id) && !self.did_not_give_up.contains(id));
        if unresolved {
            return Readiness::Blocked;
        }
        let mut refusing = upsert
            .phone_waits_for
            .iter()
            .filter(|id| *id != item.id() && self.did_not_give_up.contains(*id))
            .peekable();
        if item.phone().is_none() || refusing.peek().is_none() {
            return Readiness::Ready;
        }
        // A leaver's phone is only late; one that an employee could not give up is a conflict.
        if refusing.all(|id| self.leavers.contains(id)) {
            Readiness::WithoutPhone(None)
        } else {
            Readiness::WithoutPhone(Some(Refusal::phone_in_use()))
        }
    }

    /// A user left, gave up a phone, or was sent as wanted.
    pub(super) fn gave_up(&mut self, id: &EmployeeId) {
        self.gave_up.insert(id.clone());
        self.unblock();
    }

    /// A user was to leave, or to give up a phone, and did not.
    pub(super) fn did_not_give_up(&mut self, id: &EmployeeId) {
        self.did_not_give_up.insert(id.clone());
        self.unblock();
    }

    fn unblock(&mut self) {
        if self.blocked.is_empty() {
            return;
        }
        let blocked = std::mem::take(&mut self.blocked);
        for item in blocked {
            if matches!(self.readiness(&item), Readiness::Blocked) {
                self.blocked.push(item);
            } else {
                self.upserts.push_back(item);
            }
        }
    }

    fn take_seat(&mut self) -> bool {
        match &mut self.room.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    pub(super) fn seats_freed(&mut self, seats: usize) {
        self.room.seats.used = self.room.seats.used.map(|used| used.saturating_sub(seats));
        if let Some(left) = &mut self.room.left {
            *left += seats;
        }
    }

    /// Returns whether this shows that the known limit is not the limit any more.
    pub(super) fn seats_taken(&mut self, seats: usize) -> bool {
        let known = &mut self.room.seats;
        known.used = known.used.map(|used| used + seats);
        let is_beyond_limit = known.limit.is_some() && known.used > known.limit;
        if is_beyond_limit {
            known.limit = None;
            self.room.left = None;
        }
        is_beyond_limit
    }

    /// Who waits for a seat now.
    pub(super) fn waiting_for_seat(&self) -> &[EmployeeId] {
        &self.waiting_for_seat
    }

    /// Who was sent without the phone that a leaver still has.
    pub(super) fn phone_pending(&self) -> &[EmployeeId] {
        &self.phone_pending
    }

    /// The service takes no more than so many entries in one request.
    pub(super) fn limit_batch(&mut self, size: usize, group: Group) {
        self.batch_size = size.max(1);
        match group {
            Group::Removal { removals, attempts } => {
                for part in removals.chunks(self.batch_size) {
                    self.trimmed.push_back(Group::Removal {
                        removals: part.to_vec(),
                        attempts,
                    });
                }
            }
            Group::Upsert { items, attempts, .. } => {
                for part in items.chunks(self.batch_size) {
                    self.trimmed.push_back(Group::upsert(part.to_vec(), attempts));
                }
            }
        }
    }

    /// The account is full: of the group's additions only so many go again as seats are free. Where that is not known, or
    /// contradicts the refusal, updates go alone and the additions are halved, until a single one is refused: then there are as
    /// many users as the account may have. Returns what is to be remembered, so that nobody is tried in vain in each cycle.
    pub(super) fn account_is_full(
        &mut self,
        items: Vec<Item>,
        limit: Option<usize>,
        attempts: Attempts,
    ) -> Option<Outcome> {
        let mut found = limit.map(|limit| Outcome::AccountFull { limit, used: None });
        self.room.seats.limit = limit.or(self.room.seats.limit);
        let (additions, updates): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| item.upsert.takes_seat);
        let free = match (self.room.seats.used, self.room.seats.limit) {
            (Some(used), Some(limit)) => Some(limit.saturating_sub(used)),
            _ => None,
        };
        match free {
            Some(free) if free < additions.len() => {
                self.room.left = Some(0);
                let mut additions = additions;
                let rest = additions.split_off(free);
                self.leave_waiting(rest);
                let mut fitting = updates;
                fitting.append(&mut additions);
                if !fitting.is_empty() {
                    self.trimmed.push_back(Group::upsert(fitting, attempts));
                }
            }
            _ if additions.len() == 1 => {
                let limit = limit.or(self.room.seats.used).unwrap_or(self.room.managed);
                self.room.seats = Seats {
                    used: Some(limit),
                    limit: Some(limit),
                    ..self.room.seats
                };
                self.room.left = Some(0);
                found = Some(Outcome::AccountFull {
                    limit,
                    used: Some(limit),
                });
                self.leave_waiting(additions);
                self.push_refused(Group::upsert(updates, attempts));
            }
            _ => {
                let mut first = additions;
                let second = first.split_off(first.len() / 2);
                self.push_refused(Group::upsert(updates, attempts));
                self.push_refused(Group::upsert(first, attempts));
                self.push_refused(Group::upsert(second, attempts));
            }
        }
        if self.room.left == Some(0) {
            self.stop_additions();
        }
        found
    }

    /// No further addition is tried: all that were to follow wait.
    fn stop_additions(&mut self) {
        for group in std::mem::take(&mut self.refused) {
            match group {
                Group::Upsert { items, aside, attempts } if aside.is_empty() => {
                    let (additions, updates): (Vec<Item>, Vec<Item>) =
                        items.into_iter().partition(|item| item.upsert.takes_seat);
                    self.leave_waiting(additions);
                    self.push_refused(Group::upsert(updates, attempts));
                }
                other => self.push_refused(other),
            }
        }
    }

    fn leave_waiting(&mut self, items: Vec<Item>) {
        self.waiting_for_seat
            .extend(items.into_iter().map(|item| item.upsert.entry.employee.id));
    }
}

/// Whether an upsert can be sent.
enum Readiness {
    Ready,
    /// Without its phone; with the refusal, if that is a failure.
    WithoutPhone(Option<Refusal>),
    /// Not before others are answered.
    Blocked,
    /// Not in this cycle.
    Pending,
}

fn take<T>(queue: &mut VecDeque<T>, most: usize) -> Vec<T> {
    let count = queue.len().min(most);
    queue.drain(..count).collect()
}
