//! What a cycle will do, decided before it does anything.
//!
//! Pure: from the roster, the snapshot, the open failures, the policy and the time follows the plan. It can be printed
//! ([`std::fmt::Display`], [`Plan::to_json`]) and tested without a database or a network.

mod brake;
mod display;
mod phones;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use brake::{HoldReason, Policy, Removal};
pub use display::printable;
use jiff::Timestamp;
pub use snapshot::{
    Acknowledged, Failure, Failures, InDoubt, Managed, Marks, Operation, Snapshot, failure_of, next_attempt,
};

use crate::employee::{Code, Employee, EmployeeId, Entry, Phone, Rejected, Roster, Spelling};

/// The most entries that Wazzup takes in one request.
pub const BATCH: usize = 100;

/// What a cycle will do. Each list is sorted by id.
#[derive(Debug, Default)]
pub struct Plan {
    /// Users that leave Wazzup.
    pub removals: Vec<Removal>,
    /// Users that give up their phone before somebody else takes it: as acknowledged, without a phone.
    pub releases: Vec<Employee>,
    /// Users whose upsert follows, updates before additions.
    pub upserts: Vec<Upsert>,
    /// Additions that wait for a seat and are tried only if one becomes free.
    pub waiting: Vec<Upsert>,
    /// Changed users whose last attempt failed and is not yet due again.
    pub backing_off: Vec<EmployeeId>,
    /// Removals that the brake holds.
    pub held: Vec<EmployeeId>,
    /// Why.
    pub hold_reason: Option<HoldReason>,
    /// Those of them that were not held before.
    pub newly_held: Vec<EmployeeId>,
    /// Users that the CRM does not have any more, seen for the first time, and that stay for now.
    pub newly_absent: Vec<EmployeeId>,
    /// Users whose marks of leaving (absent, held, approved) are over.
    pub returned: Vec<EmployeeId>,
    /// Those of them that were held.
    pub released: Vec<EmployeeId>,
    /// Users that left the CRM and stay: within the grace, kept by the policy, or waiting for another attempt.
    pub staying: Vec<EmployeeId>,
    /// Rows that cannot be taken.
    pub rejected: Vec<Rejected>,
    /// Rows without an id.
    pub missing_ids: usize,
    /// What is wrong in the CRM's own rows: everything, whether known before or not.
    pub local_failures: BTreeMap<(Box<str>, Operation), Code>,
    /// Those of them that are not open yet.
    pub opened_failures: Vec<(Box<str>, Operation, Code)>,
    /// Failures that nobody wants to attempt any more.
    pub closed_failures: Vec<(Box<str>, Operation)>,
    /// How many employees Wazzup has exactly as the CRM wants them.
    pub unchanged: usize,
    /// How many distinct ids the CRM wants in Wazzup.
    pub eligible: usize,
}

/// A user to be added or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upsert {
    /// What is sent.
    pub employee: Employee,
    /// The phone that the CRM wants, also where it is left out because it failed lately.
    pub wish: Option<Phone>,
    /// How the CRM spells it.
    pub spelling: Option<Spelling>,
    /// What Wazzup acknowledged before.
    pub before: Option<Acknowledged>,
    /// It takes a seat: Wazzup does not have it, as far as we know.
    pub addition: bool,
}

/// What of the CRM is wanted of one employee, and what stands against it.
struct Wish<'a> {
    entry: &'a Entry,
    /// The phone wanted, after the CRM's own conflicts are settled.
    phone: Option<Phone>,
    /// The phone sent: left out while it backs off.
    sent: Option<Phone>,
    user: Option<&'a Managed>,
}

impl Wish<'_> {
    fn id(&self) -> &EmployeeId {
        &self.entry.employee.id
    }

    fn is_fulfilled(&self) -> bool {
        self.user.is_some_and(|user| {
            let acknowledged = user.acknowledged.as_ref();
            let alike = acknowledged.is_some_and(|it| it.name == self.entry.employee.name && it.phone == self.sent);
            alike && user.marks().in_doubt.is_none() && !user.takes_a_seat()
        })
    }

    /// Whether the last attempt at `operation` wanted the same and is not yet due again.
    fn backs_off(&self, failures: &Failures, operation: Operation, now: Timestamp) -> bool {
        failure_of(failures, self.id().as_str(), operation).is_some_and(|failure| {
            let same = failure.name.as_ref() == Some(&self.entry.employee.name) && failure.phone == self.phone;
            failure.backs_off(now) && (same || operation == Operation::Seat)
        })
    }

    fn upsert(&self) -> Upsert {
        Upsert {
            employee: Employee {
                phone: self.sent,
                ..self.entry.employee.clone()
            },
            wish: self.phone,
            spelling: self.entry.spelling.filter(|_| self.sent.is_some()),
            before: self.user.and_then(|user| user.acknowledged.clone()),
            addition: self.user.is_none_or(Managed::takes_a_seat),
        }
    }
}

impl Plan {
    /// The plan that brings Wazzup (as `snapshot` has it) to what the CRM says (`roster`), but for what failed lately and
    /// what `policy` holds back. `now` is the state database's clock.
    #[must_use]
    pub fn between(roster: &Roster, snapshot: &Snapshot, failures: &Failures, policy: Policy, now: Timestamp) -> Self {
        let mut plan = Self {
            rejected: roster.rejected.clone(),
            missing_ids: roster.missing_ids,
            eligible: roster.eligible(),
            ..Self::default()
        };
        let users = users_of(roster, snapshot);
        plan.decide_leavers(roster, snapshot, failures, policy, now);
        plan.find_local_failures(roster, snapshot);

        let mut claims: HashMap<Phone, &EmployeeId> = HashMap::new();
        let mut changed: Vec<Wish<'_>> = Vec::new();
        for (entry, user) in roster.entries.iter().zip(users) {
            let wish = plan.wish(entry, user, failures, now);
            if wish.is_fulfilled() {
                plan.unchanged += 1;
            } else {
                changed.push(wish);
            }
        }
        let is_sent = |wish: &Wish<'_>| !wish.backs_off(failures, Operation::Upsert, now);
        for wish in changed.iter().filter(|wish| is_sent(wish)) {
            let held = wish
                .user
                .and_then(|it| it.acknowledged.as_ref())
                .and_then(|it| it.phone);
            if let Some(phone) = wish.sent.filter(|phone| Some(*phone) != held) {
                claims.insert(phone, wish.id());
            }
        }
        plan.releases = phones::releases(roster, snapshot, failures, &claims);
        plan.block_claims_of_refused_releases(&mut changed, snapshot, failures, now);

        let released: HashMap<&EmployeeId, &Employee> = plan.releases.iter().map(|it| (&it.id, it)).collect();
        let mut additions = Vec::new();
        for wish in &changed {
            let release_is_all = released
                .get(wish.id())
                .is_some_and(|release| release.name == wish.entry.employee.name && wish.sent.is_none());
            if release_is_all {
                continue;
            }
            let upsert = wish.upsert();
            if wish.backs_off(failures, Operation::Upsert, now) {
                plan.backing_off.push(upsert.employee.id);
            } else if upsert.addition && wish.backs_off(failures, Operation::Seat, now) {
                plan.waiting.push(upsert);
            } else if upsert.addition {
                additions.push(upsert);
            } else {
                plan.upserts.push(upsert);
            }
        }
        plan.upserts.append(&mut additions);
        plan.follow_failures(failures, roster, snapshot);
        plan
    }

    /// How many requests that change something the plan needs when nothing is refused.
    #[must_use]
    pub fn requests(&self) -> usize {
        [self.removals.len(), self.releases.len(), self.upserts.len()]
            .iter()
            .map(|it| it.div_ceil(BATCH))
            .sum()
    }

    /// Whether there is anything to write down before the first request.
    #[must_use]
    pub fn needs_intent(&self) -> bool {
        let Self {
            removals,
            releases,
            upserts,
            newly_held,
            newly_absent,
            returned,
            opened_failures,
            closed_failures,
            ..
        } = self;
        !(removals.is_empty()
            && releases.is_empty()
            && upserts.is_empty()
            && newly_held.is_empty()
            && newly_absent.is_empty()
            && returned.is_empty()
            && opened_failures.is_empty()
            && closed_failures.is_empty())
    }

    /// Whether there is nothing to ask Wazzup for. Who waits for a seat may be asked for if one became free.
    #[must_use]
    pub fn sends_nothing(&self) -> bool {
        self.removals.is_empty() && self.releases.is_empty() && self.upserts.is_empty() && self.waiting.is_empty()
    }

    fn decide_leavers(
        &mut self,
        roster: &Roster,
        snapshot: &Snapshot,
        failures: &Failures,
        policy: Policy,
        now: Timestamp,
    ) {
        let mut absent = Vec::new();
        let mut entries = roster.entries.iter().map(|entry| &entry.employee.id).peekable();
        for user in &snapshot.users {
            while entries.next_if(|id| **id < user.id).is_some() {}
            if entries.next_if(|id| **id == user.id).is_some() || roster.is_rejected(user.id.as_str()) {
                let marks = user.marks();
                if marks
                    .absent_since
                    .or(marks.held_since)
                    .or(marks.approved_at)
                    .or(marks.remove_again_at)
                    .is_some()
                {
                    self.returned.push(user.id.clone());
                }
            } else {
                absent.push(user);
                if !policy.remove && user.marks().held_since.is_some() {
                    self.returned.push(user.id.clone());
                }
            }
        }
        let was_held = |id: &&EmployeeId| {
            snapshot
                .get(id.as_str())
                .is_some_and(|it| it.marks().held_since.is_some())
        };
        self.released = self.returned.iter().filter(was_held).cloned().collect();
        let leavers = brake::leavers(&absent, roster, snapshot, failures, policy, now);
        self.removals = leavers.remove;
        self.held = leavers.held;
        self.hold_reason = leavers.reason;
        self.newly_held = leavers.newly_held;
        self.newly_absent = leavers.newly_absent;
        self.staying = leavers.staying;
    }

    /// Records what is wrong in the CRM's own rows.
    fn find_local_failures(&mut self, roster: &Roster, snapshot: &Snapshot) {
        for rejected in &roster.rejected {
            self.local_failures
                .insert((rejected.id.clone(), Operation::Upsert), rejected.code);
        }
        let rejected = roster.rejected.iter().map(|it| &*it.id);
        let stay = self
            .held
            .iter()
            .chain(&self.staying)
            .map(EmployeeId::as_str)
            .chain(rejected);
        let staying: Vec<&Managed> = stay.filter_map(|id| snapshot.get(id)).collect();
        let unreadable = roster.entries.iter().filter(|entry| entry.unreadable_phone);
        let unreadable = unreadable.map(|entry| (entry, Code::InvalidPhone));
        let duplicates = phones::duplicates(roster, snapshot, &staying);
        let duplicates = duplicates
            .iter()
            .map(|index| (&roster.entries[*index], Code::DuplicatePhoneNumber));
        for (entry, code) in unreadable.chain(duplicates) {
            self.local_failures
                .insert((entry.employee.id.as_str().into(), Operation::Phone), code);
        }
    }

    fn phone_is_in_conflict(&self, id: &EmployeeId) -> bool {
        !self.local_failures.is_empty()
            && self
                .local_failures
                .contains_key(&(id.as_str().into(), Operation::Phone))
    }

    fn wish<'a>(&self, entry: &'a Entry, user: Option<&'a Managed>, failures: &Failures, now: Timestamp) -> Wish<'a> {
        let id = &entry.employee.id;
        let phone = entry.employee.phone.filter(|_| !self.phone_is_in_conflict(id));
        let failed = failure_of(failures, id.as_str(), Operation::Phone);
        let failed = failed.filter(|it| it.backs_off(now)).and_then(|it| it.phone);
        Wish {
            entry,
            phone,
            sent: phone.filter(|phone| failed != Some(*phone)),
            user,
        }
    }

    /// A user whose giving up of a phone was refused lately keeps it for now, so whoever claims it goes without.
    fn block_claims_of_refused_releases(
        &mut self,
        changed: &mut [Wish<'_>],
        snapshot: &Snapshot,
        failures: &Failures,
        now: Timestamp,
    ) {
        let refused = |release: &Employee| {
            let failure = failure_of(failures, release.id.as_str(), Operation::Phone);
            failure.is_some_and(|it| it.phone.is_none() && it.backs_off(now))
        };
        let (kept, releases): (Vec<_>, Vec<_>) = std::mem::take(&mut self.releases).into_iter().partition(refused);
        self.releases = releases;
        let holders: HashSet<&EmployeeId> = kept.iter().map(|it| &it.id).collect();
        let held: HashMap<Phone, &EmployeeId> = kept
            .iter()
            .filter_map(|it| snapshot.get(it.id.as_str()))
            .flat_map(|user| user.phones().map(move |phone| (phone, &user.id)))
            .collect();
        for wish in changed.iter_mut().filter(|it| !holders.contains(it.id())) {
            if wish.sent.is_some_and(|phone| held.contains_key(&phone)) {
                (wish.phone, wish.sent) = (None, None);
                let key = (wish.id().as_str().into(), Operation::Phone);
                self.local_failures.insert(key, Code::DuplicatePhoneNumber);
            }
        }
    }

    /// Opens what is newly wrong in the CRM's rows, and closes each failure whose attempt nobody wants any more.
    fn follow_failures(&mut self, failures: &Failures, roster: &Roster, snapshot: &Snapshot) {
        let is_open = |key: &(Box<str>, Operation), code: Code| {
            failures
                .get(key)
                .is_some_and(|open| open.local && open.code == code.as_str())
        };
        let new = self.local_failures.iter().filter(|(key, code)| !is_open(key, **code));
        self.opened_failures = new
            .map(|((id, operation), code)| (id.clone(), *operation, *code))
            .collect();
        if failures.is_empty() {
            return;
        }
        let sent: BTreeSet<&str> = self
            .upserts
            .iter()
            .chain(&self.waiting)
            .map(|it| it.employee.id.as_str())
            .collect();
        let backing_off: BTreeSet<&str> = self.backing_off.iter().map(EmployeeId::as_str).collect();
        let staying: BTreeSet<&str> = self.staying.iter().map(EmployeeId::as_str).collect();
        let removed: BTreeSet<&str> = self.removals.iter().map(|it| it.id.as_str()).collect();
        let wanted = |key: &(Box<str>, Operation), failure: &Failure| {
            if failure.local || self.local_failures.contains_key(key) {
                return self.local_failures.contains_key(key);
            }
            let (id, operation) = (&*key.0, key.1);
            match operation {
                Operation::Upsert => sent.contains(id) || backing_off.contains(id),
                Operation::Seat => {
                    (sent.contains(id) || backing_off.contains(id))
                        && snapshot.get(id).is_none_or(Managed::takes_a_seat)
                }
                Operation::Remove => staying.contains(id) || removed.contains(id),
                Operation::Phone if failure.phone.is_none() => roster
                    .get(id)
                    .zip(snapshot.get(id))
                    .is_some_and(|(entry, user)| user.phones().any(|held| Some(held) != entry.employee.phone)),
                Operation::Phone => roster
                    .get(id)
                    .is_some_and(|entry| entry.employee.phone == failure.phone),
            }
        };
        self.closed_failures = failures
            .iter()
            .filter(|(key, it)| !wanted(key, it))
            .map(|(key, _)| key.clone())
            .collect();
    }
}

/// For each entry of the roster its user, by one walk over both sorted lists.
fn users_of<'a>(roster: &Roster, snapshot: &'a Snapshot) -> Vec<Option<&'a Managed>> {
    let mut users = snapshot.users.iter().peekable();
    let find = |entry: &Entry| {
        while users.next_if(|user| user.id < entry.employee.id).is_some() {}
        users.next_if(|user| user.id == entry.employee.id)
    };
    roster.entries.iter().map(find).collect()
}
