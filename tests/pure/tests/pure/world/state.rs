//! The state in memory: what `src/state` does in SQL, table by table.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pure_core::{
    delivery::{Change, Loss, Request, Step},
    employee::{EmployeeId, Phone},
    plan::{
        Acknowledged, Approval, Failure, FailureKey, Hold, HoldKey, HoldKind, LostContent, LostEntry, Marks,
        OpenFailure, Seats, Snapshot, User,
    },
};

/// How long after its loss a request may still act: twice the time-out.
pub const LANDS_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// The tables of one account.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// `users`, `lost`, `failures`, `holds` and the facts of `accounts`. What a snapshot takes from elsewhere is empty.
    pub tables: Snapshot,
    /// The removals in `history`.
    pub removals: Vec<PastRemoval>,
    pub in_flight: Option<RequestInFlight>,
    pub inbox: Vec<Order>,
    pub list_read_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct PastRemoval {
    pub user_id: EmployeeId,
    pub at: Timestamp,
    pub approved: bool,
}

#[derive(Clone, Debug)]
pub struct RequestInFlight {
    pub started_at: Timestamp,
    pub request: Request,
}

/// What an operator ordered.
#[derive(Clone, Debug)]
pub enum Order {
    Approve { key: HoldKey, content: String },
    RetryAll,
    Retry(EmployeeId),
}

/// What the end of a cycle leaves.
#[derive(Clone, Debug)]
pub struct Finished {
    pub failed: bool,
    pub had_list: bool,
    pub passed_fingerprint: Option<String>,
    pub seats_used: Option<usize>,
    pub waiting_for_seat: Option<BTreeSet<EmployeeId>>,
}

impl State {
    /// `opening.rs`: what was in flight is lost, the snapshot is loaded, and the orders are applied to it alone.
    pub fn open_cycle(&mut self, now: Timestamp) -> Snapshot {
        self.lose_entries_in_flight(now, true);
        self.in_flight = None;
        let mut opened = self.clone();
        let retries_seats = opened.take_orders(now);
        let mut snapshot = opened.tables;
        snapshot.recent_removals = self.recent_removals(now);
        snapshot.account.retry_seats = retries_seats;
        snapshot
    }

    /// `journal.rs`: the orders, what the plan marks, and the first request before it is sent.
    pub fn begin(&mut self, now: Timestamp, cycle_began: Timestamp, marks: &Marks, first: Option<&Request>) {
        self.take_orders(now);
        if marks.is_empty() && !first.is_some_and(Request::is_writing) {
            return;
        }
        self.write_marks(now, cycle_began, marks);
        self.replace_request_in_flight(now, first);
    }

    /// `journal.rs`: what an answer came to, and the next request before it is sent.
    pub fn record(&mut self, now: Timestamp, step: &Step) {
        self.write_step(now, step);
        match step.loss {
            Loss::None => {}
            Loss::Over => self.lose_entries_in_flight(now, false),
            Loss::MayLand => self.lose_entries_in_flight(now, true),
        }
        self.replace_request_in_flight(now, step.next.as_ref());
    }

    /// `finish.rs`.
    pub fn finish_cycle(&mut self, now: Timestamp, finished: Finished) {
        let Finished {
            failed,
            had_list,
            passed_fingerprint,
            seats_used,
            waiting_for_seat,
        } = finished;
        if !failed {
            if had_list {
                self.list_read_at = Some(now);
            }
            if passed_fingerprint.is_some() {
                self.tables.account.fingerprint = passed_fingerprint;
            }
        }
        if seats_used.is_some() {
            self.tables.account.seats.used = seats_used;
        }
        if let Some(waiting) = waiting_for_seat {
            self.tables.account.waiting_for_seat = waiting;
        }
    }

    /// Whether nothing of earlier requests is open, but of those who cannot be sent for want of a seat.
    pub fn has_empty_journal(&self) -> bool {
        let waiting = &self.tables.account.waiting_for_seat;
        self.in_flight.is_none() && self.tables.lost.keys().all(|id| waiting.contains(id))
    }

    fn recent_removals(&self, now: Timestamp) -> BTreeMap<EmployeeId, bool> {
        let mut recent: BTreeMap<EmployeeId, bool> = BTreeMap::new();
        for removal in &self.removals {
            if removal.at + SignedDuration::from_hours(24) > now {
                let entry = recent.entry(removal.user_id.clone());
                *entry.or_insert(true) &= removal.approved;
            }
        }
        recent
    }
}

/// Orders.
impl State {
    /// Returns whether those who wait for a seat shall be tried.
    fn take_orders(&mut self, now: Timestamp) -> bool {
        let mut retries_seats = false;
        for order in std::mem::take(&mut self.inbox) {
            match order {
                Order::Approve { key, content } => {
                    if let Some(hold) = self.tables.holds.get_mut(&key)
                        && hold.content == content
                    {
                        hold.approved = Some(Approval {
                            at: now,
                            by: "operator".to_owned(),
                        });
                    }
                }
                Order::RetryAll => {
                    retries_seats = true;
                    self.make_failures_due(now, |_| true);
                }
                Order::Retry(id) => {
                    retries_seats |= self.tables.account.waiting_for_seat.contains(&id);
                    self.make_failures_due(now, |key| *key.user_id == *id.as_str());
                    let acknowledged = self.tables.users.get(&id).and_then(|user| user.acknowledged.clone());
                    if let Some(Acknowledged { name, phone, .. }) = acknowledged {
                        self.lose(&id, LostContent::Upsert { name, phone }, now, now);
                    }
                }
            }
        }
        retries_seats
    }

    fn make_failures_due(&mut self, now: Timestamp, concerns: impl Fn(&FailureKey) -> bool) {
        for (key, open) in &mut self.tables.failures {
            if !open.failure.is_local && concerns(key) {
                open.next_attempt_at = Some(now);
            }
        }
    }
}

/// The journal.
impl State {
    fn replace_request_in_flight(&mut self, now: Timestamp, next: Option<&Request>) {
        let writing = next.filter(|request| request.is_writing());
        self.in_flight = writing.map(|request| RequestInFlight {
            started_at: now,
            request: request.clone(),
        });
    }

    fn lose_entries_in_flight(&mut self, now: Timestamp, may_land: bool) {
        let Some(in_flight) = self.in_flight.clone() else {
            return;
        };
        let may_land_until = if may_land { now + LANDS_WITHIN } else { now };
        for (id, content) in lost_contents(&in_flight.request) {
            if matches!(content, LostContent::Upsert { .. }) {
                let user = self.tables.users.entry(id.clone()).or_default();
                user.added_at.get_or_insert(now);
            }
            self.lose(&id, content, now, may_land_until);
        }
    }

    /// The same entry lost again only moves its times.
    fn lose(&mut self, id: &EmployeeId, content: LostContent, lost_at: Timestamp, may_land_until: Timestamp) {
        let entries = self.tables.lost.entry(id.clone()).or_default();
        match entries.iter_mut().find(|entry| entry.content == content) {
            Some(entry) => {
                entry.lost_at = lost_at;
                entry.may_land_until = entry.may_land_until.max(may_land_until);
            }
            None => entries.push(LostEntry {
                content,
                lost_at,
                may_land_until,
            }),
        }
        entries.sort_by_key(|entry| (entry.lost_at, values(&entry.content)));
    }

    fn settle(&mut self, id: &EmployeeId, sent_at: Timestamp) {
        if let Some(entries) = self.tables.lost.get_mut(id) {
            entries.retain(|entry| entry.may_land_until > sent_at);
            if entries.is_empty() {
                self.tables.lost.remove(id);
            }
        }
    }
}

/// Each entry of a request as the journal notes its loss.
pub fn lost_contents(request: &Request) -> Vec<(EmployeeId, LostContent)> {
    match request {
        Request::Ping => Vec::new(),
        Request::Upsert { entries, .. } => entries
            .iter()
            .map(|entry| {
                let content = LostContent::Upsert {
                    name: entry.employee.name.clone(),
                    phone: entry.employee.phone,
                };
                (entry.employee.id.clone(), content)
            })
            .collect(),
        Request::Remove { user_ids, .. } => user_ids.iter().map(|id| (id.clone(), LostContent::Removal)).collect(),
    }
}

fn values(content: &LostContent) -> (String, Option<Phone>) {
    match content {
        LostContent::Upsert { name, phone } => (name.to_string(), *phone),
        LostContent::Removal => (String::new(), None),
    }
}

/// Marks.
impl State {
    fn write_marks(&mut self, now: Timestamp, cycle_began: Timestamp, marks: &Marks) {
        let Marks {
            forgets_account,
            newly_absent,
            returned,
            opened_holds,
            closed_holds,
            opened_failures,
            closed_failures,
            forgotten,
            dropped_losses,
        } = marks;
        if *forgets_account {
            self.tables = Snapshot::default();
            self.in_flight = None;
        }
        for id in newly_absent {
            self.set_absent_since(id, Some(cycle_began));
        }
        for id in returned {
            self.set_absent_since(id, None);
        }
        for (key, hold) in opened_holds {
            self.tables.holds.insert(key.clone(), hold.clone());
        }
        for key in closed_holds {
            self.tables.holds.remove(key);
        }
        self.open_failures(now, opened_failures);
        for key in closed_failures {
            self.tables.failures.remove(key);
        }
        for id in forgotten {
            self.tables.users.remove(id);
            self.tables.lost.remove(id);
            let failures = &mut self.tables.failures;
            failures.retain(|key, open| *key.user_id != *id.as_str() || open.failure.is_local);
        }
        for id in dropped_losses {
            self.tables.lost.remove(id);
        }
    }

    fn set_absent_since(&mut self, id: &EmployeeId, since: Option<Timestamp>) {
        if let Some(user) = self.tables.users.get_mut(id) {
            user.absent_since = since;
        }
    }
}

/// Steps.
impl State {
    fn write_step(&mut self, now: Timestamp, step: &Step) {
        if step.is_acknowledged {
            self.write_upserts(now);
            self.write_removals(now);
        }
        for key in &step.recovered {
            self.tables.failures.remove(key);
        }
        self.open_failures(now, step.failed.values());
        let account = &mut self.tables.account;
        let taken = isize::try_from(step.seats_taken).expect("a small number");
        account.seats.used = account.seats.used.map(|used| used.saturating_add_signed(taken));
        if let Some(Seats { used, limit }) = step.seats {
            account.seats.limit = limit;
            account.seats.used = used.or(account.seats.used);
        }
    }

    fn open_failures<'f>(&mut self, now: Timestamp, opened: impl IntoIterator<Item = &'f Failure>) {
        for failure in opened {
            let open = OpenFailure::new(failure.clone(), now);
            self.tables.failures.insert(failure.key.clone(), open);
        }
    }

    fn write_upserts(&mut self, now: Timestamp) {
        let Some(in_flight) = self.in_flight.clone() else {
            return;
        };
        let Request::Upsert { entries, .. } = &in_flight.request else {
            return;
        };
        for entry in entries {
            let id = &entry.employee.id;
            let user = self.tables.users.entry(id.clone()).or_default();
            user.acknowledged = Some(Acknowledged {
                name: entry.employee.name.clone(),
                phone: entry.employee.phone,
                phone_spelling: entry.phone_spelling.clone(),
            });
            user.synced_at = Some(now);
            user.added_at.get_or_insert(now);
            self.settle(id, in_flight.started_at);
            if !matches!(entry.change, Change::Release | Change::Resend) {
                for kind in [HoldKind::Update, HoldKind::Takeover] {
                    let key = HoldKey::new(kind, id.as_str());
                    if self.tables.holds.get(&key).is_some_and(is_approved) {
                        self.tables.holds.remove(&key);
                    }
                }
            }
        }
    }

    fn write_removals(&mut self, now: Timestamp) {
        let Some(in_flight) = self.in_flight.clone() else {
            return;
        };
        let Request::Remove { user_ids, .. } = &in_flight.request else {
            return;
        };
        for id in user_ids {
            let hold = self.tables.holds.get(&HoldKey::new(HoldKind::Remove, id.as_str()));
            self.removals.push(PastRemoval {
                user_id: id.clone(),
                at: now,
                approved: hold.is_some_and(is_approved),
            });
            self.settle(id, in_flight.started_at);
            self.tables.failures.retain(|key, _| *key.user_id != *id.as_str());
            self.delete_removed_user(now, id);
        }
    }

    /// Whom a lost upsert may bring back keeps a row without acknowledged values, and the approval of the removal.
    fn delete_removed_user(&mut self, now: Timestamp, id: &EmployeeId) {
        let may_come_back = self
            .tables
            .lost_entries(id)
            .iter()
            .any(|entry| matches!(entry.content, LostContent::Upsert { .. }));
        match self.tables.users.get_mut(id) {
            Some(user) if may_come_back => {
                user.acknowledged = None;
                user.synced_at = Some(now);
            }
            _ => {
                self.tables.users.remove(id);
                self.tables.holds.retain(|key, _| *key.user_id != *id.as_str());
            }
        }
    }
}

fn is_approved(hold: &Hold) -> bool {
    hold.approved.is_some()
}
