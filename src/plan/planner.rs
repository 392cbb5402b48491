//! How a plan comes about, step by step.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::{
    AccountFacts, BATCH, BatchEntry, Change, Drift, Failure, FailureKey, Failures, Hold, HoldKey, HoldKind,
    LocalFailure, Operation, Plan, PlannedRemoval, PlannedUpsert, Policy, RemoteList, Seats, Sighting, Snapshot,
    StayReason, StayingUser, WaitingEmployee,
    account::{self, AccountVerdict},
    leavers::{self, Fate, Leaver, Leavers},
    phones::{self, PhoneProblems},
    wish::{Standing, Wish},
};
use crate::employee::{Employee, EmployeeId, NameKey, Phone, Roster, RowProblem};

impl Plan {
    /// The plan that brings Wazzup to what the CRM says (`roster`), as far as the state (`snapshot`) and Wazzup itself
    /// (`list`) tell, but for what was refused lately and what `policy` holds. `now` is the state database's clock.
    #[must_use]
    pub fn between(roster: &Roster, snapshot: &Snapshot, list: &RemoteList, policy: &Policy, now: Timestamp) -> Self {
        let verdict = account::judge(snapshot, list);
        if let AccountVerdict::Doubted(_) = &verdict
            && let Some(id) = unproven_missing_user(snapshot, list)
        {
            return Self::asking_about_account(roster, snapshot, list, policy, now, vec![id]);
        }
        match verdict {
            AccountVerdict::NotJudged => decide(roster, snapshot, list, policy, now),
            AccountVerdict::Passed => {
                let mut plan = decide(roster, snapshot, list, policy, now);
                plan.account_passed = true;
                plan
            }
            AccountVerdict::NeedsList => {
                let mut plan = Self::asking_about_account(roster, snapshot, list, policy, now, Vec::new());
                plan.questions.list = true;
                plan
            }
            AccountVerdict::NeedsLookUps(users) => {
                Self::asking_about_account(roster, snapshot, list, policy, now, users)
            }
            AccountVerdict::Doubted(reason) => {
                let hold = snapshot.holds.get(&HoldKey::account());
                if hold.is_some_and(|hold| hold.is_approved_for(&list.fingerprint)) {
                    after_forgetting(roster, list, policy, now)
                } else {
                    Self::doubting(roster, snapshot, list, policy, now, reason)
                }
            }
        }
    }

    /// A plan that sends nothing, since it is not known yet whether this is our account.
    fn asking_about_account(
        roster: &Roster,
        snapshot: &Snapshot,
        list: &RemoteList,
        policy: &Policy,
        now: Timestamp,
        users: Vec<EmployeeId>,
    ) -> Self {
        let mut plan = decide(roster, snapshot, &RemoteList::unread(&list.fingerprint), policy, now);
        plan.stop_everything();
        plan.keep_account_hold(snapshot);
        plan.questions.users = users;
        plan.questions.for_account = true;
        plan
    }

    /// A plan that sends nothing, since this looks like another account.
    fn doubting(
        roster: &Roster,
        snapshot: &Snapshot,
        list: &RemoteList,
        policy: &Policy,
        now: Timestamp,
        reason: String,
    ) -> Self {
        // No other hold is judged by that list.
        let mut plan = decide(roster, snapshot, &RemoteList::unread(&list.fingerprint), policy, now);
        plan.stop_everything();
        let key = HoldKey::account();
        let existing = snapshot.holds.get(&key).filter(|hold| hold.content == list.fingerprint);
        let hold = Hold {
            content: list.fingerprint.clone(),
            reason,
            since: existing.map_or(now, |hold| hold.since),
            sticky: false,
            approved: None,
        };
        plan.marks.closed_holds.retain(|closed| *closed != key);
        if snapshot.holds.get(&key) != Some(&hold) {
            plan.marks.opened_holds.push((key.clone(), hold.clone()));
        }
        plan.holds.insert(key, hold);
        plan
    }

    /// What was to be sent is pending instead.
    fn stop_everything(&mut self) {
        for upsert in std::mem::take(&mut self.upserts) {
            self.pending.insert(upsert.entry.employee.id);
        }
        for release in std::mem::take(&mut self.releases) {
            self.pending.insert(release.employee.id);
        }
        for removal in std::mem::take(&mut self.removals) {
            self.staying.push(StayingUser {
                id: removal.id,
                name: removal.name,
                reason: StayReason::Unknown,
            });
        }
        self.control = None;
        self.questions = super::Questions::default();
        self.marks.forgotten.clear();
    }

    fn keep_account_hold(&mut self, snapshot: &Snapshot) {
        let key = HoldKey::account();
        self.marks.closed_holds.retain(|closed| *closed != key);
        if let Some(hold) = snapshot.holds.get(&key) {
            self.holds.insert(key, hold.clone());
        }
    }
}

/// The plan for an account about which nothing is known: somebody approved that it is another one.
fn after_forgetting(roster: &Roster, list: &RemoteList, policy: &Policy, now: Timestamp) -> Plan {
    let mut plan = decide(roster, &Snapshot::default(), list, policy, now);
    plan.marks.forgets_account = true;
    plan.account_passed = true;
    plan
}

/// The plan for an account that is ours.
fn decide(roster: &Roster, snapshot: &Snapshot, list: &RemoteList, policy: &Policy, now: Timestamp) -> Plan {
    let proof = proof_of_missing_users(snapshot, list);
    let leavers = leavers::decide(roster, snapshot, list, policy, now);
    let trusts_missing = proof == Proof::Given;
    let mut wishes = Wish::all(roster, snapshot, list, trusts_missing, policy);
    let mut problems = phones::settle(&mut wishes, &leavers.leavers, snapshot, now);
    let mut plan = Plan {
        rejected: roster.rejected.clone(),
        missing_ids: roster.missing_ids,
        eligible: roster.eligible(),
        managed: snapshot.users.len(),
        drift: drift(snapshot, list),
        seats: seats(snapshot, list),
        ..Plan::default()
    };
    plan.holds.extend(leavers.holds.clone());
    if hold_updates(&mut plan, &mut wishes, snapshot, policy, now) {
        problems = phones::settle(&mut wishes, &leavers.leavers, snapshot, now);
    }
    plan.releases = phones::releases(&mut wishes, &mut problems, snapshot, now);
    if let Proof::Needed(id) = proof {
        plan.questions.users.push(id);
    }
    plan.take_leavers(&leavers, snapshot, list);
    plan.take_wishes(&wishes, &leavers, snapshot, list, now);
    plan.find_local_failures(&wishes, &problems);
    plan.follow_failures(&wishes, &leavers, snapshot);
    plan.follow_holds(snapshot);
    plan.follow_absences(roster, &leavers, snapshot, now);
    plan.unchanged = count_unchanged(&wishes, &plan, snapshot, now);
    plan
}

/// Whether the users that a complete list lacks are really gone.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    Given,
    /// This user has to be looked up: the answer must be 404.
    Needed(EmployeeId),
    /// There is none in this cycle.
    Missing,
}

fn missing_users<'a>(snapshot: &'a Snapshot, list: &RemoteList) -> Vec<&'a EmployeeId> {
    if !list.is_complete() {
        return Vec::new();
    }
    let acknowledged = snapshot.users.iter().filter(|(_, user)| user.acknowledged.is_some());
    acknowledged
        .map(|(id, _)| id)
        .filter(|id| list.find(id.as_str()) == Sighting::Absent)
        .collect()
}

fn proof_of_missing_users(snapshot: &Snapshot, list: &RemoteList) -> Proof {
    if !list.is_complete() {
        return Proof::Missing;
    }
    let missing = missing_users(snapshot, list);
    let mut can_be_asked = missing.iter().filter(|id| id.has_own_url()).peekable();
    let nobody_can = can_be_asked.peek().is_none();
    let somebody_is = missing.iter().any(|id| list.is_proven_absent(id.as_str()));
    if nobody_can || somebody_is {
        return Proof::Given;
    }
    let asked_in_vain = missing.iter().any(|id| list.was_looked_up(id.as_str()));
    match can_be_asked.next() {
        Some(id) if !asked_in_vain => Proof::Needed((*id).clone()),
        _ => Proof::Missing,
    }
}

/// The user who has to be looked up before the list may be believed that many are missing.
fn unproven_missing_user(snapshot: &Snapshot, list: &RemoteList) -> Option<EmployeeId> {
    match proof_of_missing_users(snapshot, list) {
        Proof::Needed(id) => Some(id),
        Proof::Given | Proof::Missing => None,
    }
}

fn drift(snapshot: &Snapshot, list: &RemoteList) -> Drift {
    let mut drift = Drift::default();
    for (id, name) in list.users() {
        match snapshot.users.get(id).and_then(|user| user.acknowledged.as_ref()) {
            None => drift.foreign += 1,
            Some(acknowledged) if acknowledged.name.as_str() != name.trim() => drift.renamed += 1,
            Some(_) => {}
        }
    }
    drift.missing = missing_users(snapshot, list).len();
    drift
}

fn seats(snapshot: &Snapshot, list: &RemoteList) -> Seats {
    let AccountFacts {
        seats_used,
        seats_limit,
        retry_seats,
        ..
    } = &snapshot.account;
    let used = if list.is_complete() {
        Some(list.len())
    } else {
        *seats_used
    };
    let tries_beyond = list.scheduled && list.was_read() || *retry_seats;
    Seats {
        used,
        limit: *seats_limit,
        tried_beyond: if tries_beyond { BATCH } else { 0 },
    }
}

/// Holds updates if there are more than the policy lets through at once. Returns whether any is held.
fn hold_updates(
    plan: &mut Plan,
    wishes: &mut [Wish<'_>],
    snapshot: &Snapshot,
    policy: &Policy,
    now: Timestamp,
) -> bool {
    let mut changes: Vec<(usize, HoldKey, String)> = Vec::new();
    let mut approved = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        let (Some(entry), Some(_)) = (wish.entry, wish.acknowledged()) else {
            continue;
        };
        if !wish.differs() {
            continue;
        }
        let key = HoldKey::new(HoldKind::Update, wish.id.as_str());
        let content = content_of_update(&entry.employee);
        match snapshot.holds.get(&key) {
            Some(hold) if hold.is_approved_for(&content) => approved.push((key, hold.clone())),
            _ => changes.push((index, key, content)),
        }
    }
    plan.holds.extend(approved);
    let limit = policy.updates.of(plan.managed);
    let too_many = changes.len() > limit;
    let count = changes.len();
    let mut any = false;
    for (index, key, content) in changes {
        let existing = snapshot.holds.get(&key).filter(|hold| hold.content == content);
        let reason = match existing {
            Some(hold) if !too_many => hold.reason.clone(),
            _ if too_many => format!(
                "{count} of {} users would get another name or phone in one cycle, more than the limit of {limit}",
                plan.managed
            ),
            _ => continue,
        };
        let hold = Hold {
            content,
            reason,
            since: existing.map_or(now, |hold| hold.since),
            sticky: true,
            approved: None,
        };
        plan.holds.insert(key, hold);
        wishes[index].is_held = true;
        plan.pending.insert(wishes[index].id.clone());
        any = true;
    }
    any
}

/// What an approval of a held update is for: the name and the phone that the CRM wants.
fn content_of_update(employee: &Employee) -> String {
    serde_json::json!({"name": employee.name, "phone": employee.phone}).to_string()
}

impl Plan {
    fn take_leavers(&mut self, leavers: &Leavers<'_>, snapshot: &Snapshot, list: &RemoteList) {
        for leaver in &leavers.leavers {
            let id = leaver.id;
            let reason = match leaver.fate {
                Fate::Removed { approved } => {
                    self.removals.push(PlannedRemoval {
                        id: id.clone(),
                        name: leaver.name(snapshot),
                        approved,
                    });
                    continue;
                }
                Fate::Forgotten => {
                    self.marks.forgotten.push(id.clone());
                    continue;
                }
                Fate::Held | Fate::Settling => continue,
                Fate::InGrace => StayReason::InGrace,
                Fate::Kept => StayReason::Kept,
                Fate::BackingOff => StayReason::BackingOff,
                Fate::Unknown => {
                    if id.has_own_url() && !list.was_looked_up(id.as_str()) {
                        self.questions.users.push(id.clone());
                    }
                    StayReason::Unknown
                }
            };
            self.staying.push(StayingUser {
                id: id.clone(),
                name: leaver.name(snapshot),
                reason,
            });
        }
    }

    /// Sorts the wishes into what is sent and what waits.
    fn take_wishes(
        &mut self,
        wishes: &[Wish<'_>],
        leavers: &Leavers<'_>,
        snapshot: &Snapshot,
        list: &RemoteList,
        now: Timestamp,
    ) {
        let released: HashMap<EmployeeId, BatchEntry> = self
            .releases
            .iter()
            .map(|release| (release.employee.id.clone(), release.clone()))
            .collect();
        let lookalikes = Lookalikes::new(leavers, snapshot);
        let mut additions: Vec<PlannedUpsert> = Vec::new();
        for wish in wishes {
            if wish.phone_is_pending {
                self.pending.insert(wish.id.clone());
            }
            self.hold_takeover(wish, snapshot, now);
            let release = released.get(wish.id);
            if wish.is_fulfilled(snapshot, now) && release.is_none() {
                self.propose_control(wish);
                continue;
            }
            let is_all = release.is_some_and(|release| {
                release.employee.name == *wish.name() && wish.sent_phone.is_none() && wish.standing == Standing::Ours
            });
            if is_all {
                continue;
            }
            if wish.backs_off(snapshot, now) {
                self.backing_off.push(wish.id.clone());
                continue;
            }
            if let Standing::Foreign(_) = wish.standing {
                self.pending.insert(wish.id.clone());
                continue;
            }
            let mut upsert = wish.upsert();
            if release.is_some() {
                upsert.phone_waits_for.push(wish.id.clone());
            }
            if matches!(wish.standing, Standing::New | Standing::Unknown) {
                let matching = lookalikes.of(wish);
                if let Some(leaver) = matching.iter().find(|leaver| !leaver.is_removed_now) {
                    self.pending.insert(wish.id.clone());
                    self.waiting_for_leavers.push(WaitingEmployee {
                        id: wish.id.clone(),
                        leaver: leaver.id.clone(),
                    });
                    continue;
                }
                upsert.waits_for = matching.into_iter().map(|leaver| leaver.id.clone()).collect();
            }
            if upsert.takes_seat {
                additions.push(upsert);
            } else {
                self.upserts.push(upsert);
            }
        }
        let unknown: BTreeSet<EmployeeId> = wishes
            .iter()
            .filter(|wish| wish.standing == Standing::Unknown)
            .map(|wish| wish.id.clone())
            .collect();
        self.admit_additions(additions, &unknown, list);
    }

    /// Somebody whom Wazzup shows under another name, and who is not ours, is not renamed without a question.
    fn hold_takeover(&mut self, wish: &Wish<'_>, snapshot: &Snapshot, now: Timestamp) {
        let key = HoldKey::new(HoldKind::Takeover, wish.id.as_str());
        let existing = snapshot.holds.get(&key);
        match wish.standing {
            Standing::Foreign(name) => {
                let unchanged = existing.filter(|hold| hold.content == name);
                let hold = Hold {
                    content: name.to_owned(),
                    reason: "this id belongs to a user in Wazzup with another name, whom we did not create".to_owned(),
                    since: unchanged.map_or(now, |hold| hold.since),
                    sticky: false,
                    approved: None,
                };
                self.holds.insert(key, hold);
            }
            // Approved: it stays until it is carried out.
            Standing::TakenOver(_) | Standing::Unknown => {
                if let Some(hold) = existing.filter(|hold| hold.approved.is_some()) {
                    self.holds.insert(key, hold.clone());
                }
            }
            _ => {}
        }
    }

    /// Of the additions, in their order, only so many are sent as there may be seats for; each must be vouched for.
    fn admit_additions(&mut self, additions: Vec<PlannedUpsert>, unknown: &BTreeSet<EmployeeId>, list: &RemoteList) {
        let room = self
            .seats
            .free()
            .map_or(usize::MAX, |free| free + self.removals.len() + self.seats.tried_beyond);
        for (position, addition) in additions.into_iter().enumerate() {
            let id = addition.id();
            if position >= room {
                self.waiting_for_seat.push(id.clone());
                continue;
            }
            if !unknown.contains(id) {
                self.upserts.push(addition);
                continue;
            }
            self.pending.insert(id.clone());
            if !list.was_read() {
                self.questions.list = true;
            } else if id.has_own_url() && !list.was_looked_up(id.as_str()) {
                self.questions.users.push(id.clone());
            }
        }
    }

    fn propose_control(&mut self, wish: &Wish<'_>) {
        if self.control.is_some() {
            return;
        }
        self.control = wish.acknowledged().map(|acknowledged| BatchEntry {
            employee: Employee {
                id: wish.id.clone(),
                name: acknowledged.name.clone(),
                phone: acknowledged.phone,
            },
            phone_spelling: acknowledged.phone_spelling.clone(),
            change: Change::Resend,
        });
    }

    /// Records what is wrong in the CRM's own rows.
    fn find_local_failures(&mut self, wishes: &[Wish<'_>], problems: &PhoneProblems) {
        for row in &self.rejected {
            self.local_failures.push(LocalFailure {
                key: FailureKey::new(&row.id, Operation::Upsert),
                problem: row.problem,
                spelling: None,
            });
        }
        for wish in wishes {
            let Some(problem) = problems.get(wish.id).copied() else {
                continue;
            };
            let spelling = wish.entry.and_then(|entry| entry.phone_spelling.clone());
            self.local_failures.push(LocalFailure {
                key: FailureKey::new(wish.id.as_str(), Operation::Phone),
                problem,
                spelling: spelling.filter(|_| problem == RowProblem::InvalidPhone),
            });
        }
        self.local_failures.sort_by(|a, b| a.key.cmp(&b.key));
    }

    /// Opens what is newly wrong in the CRM's rows, and closes each failure whose attempt nobody wants any more.
    fn follow_failures(&mut self, wishes: &[Wish<'_>], leavers: &Leavers<'_>, snapshot: &Snapshot) {
        let failures = &snapshot.failures;
        for local in &self.local_failures {
            let is_open = failures.get(&local.key).is_some_and(|failure| {
                failure.is_local && failure.code == local.problem.as_str() && failure.spelling == local.spelling
            });
            if !is_open {
                self.marks.opened_failures.push(local.clone());
            }
        }
        self.marks.closed_failures = self.unwanted_failures(failures, wishes, leavers, snapshot);
    }

    fn unwanted_failures(
        &self,
        failures: &Failures,
        wishes: &[Wish<'_>],
        leavers: &Leavers<'_>,
        snapshot: &Snapshot,
    ) -> Vec<FailureKey> {
        if failures.is_empty() {
            return Vec::new();
        }
        let local: BTreeSet<&FailureKey> = self.local_failures.iter().map(|local| &local.key).collect();
        let wishes: HashMap<&str, &Wish<'_>> = wishes.iter().map(|wish| (wish.id.as_str(), wish)).collect();
        let sent: BTreeSet<&str> = self.upserts.iter().map(|upsert| upsert.id().as_str()).collect();
        let backing_off: BTreeSet<&str> = self.backing_off.iter().map(EmployeeId::as_str).collect();
        let leaving: BTreeSet<&str> = leavers
            .leavers
            .iter()
            .filter(|leaver| !matches!(leaver.fate, Fate::Forgotten | Fate::Settling))
            .map(|leaver| leaver.id.as_str())
            .collect();
        let is_wanted = |key: &FailureKey, failure: &Failure| {
            let id = &*key.user_id;
            if local.contains(key) {
                return true;
            }
            if failure.is_local {
                return false;
            }
            match key.operation {
                Operation::Upsert => sent.contains(id) || backing_off.contains(id) || self.pending.contains(id),
                Operation::Remove => leaving.contains(id),
                Operation::Phone => wishes
                    .get(id)
                    .is_some_and(|wish| phones::wants_phone_failure(key, failure, wish, snapshot)),
            }
        };
        failures
            .iter()
            .filter(|(key, failure)| !is_wanted(key, failure))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Writes down which holds are new or changed, and which are over.
    fn follow_holds(&mut self, snapshot: &Snapshot) {
        for (key, hold) in &self.holds {
            if snapshot.holds.get(key) != Some(hold) {
                self.marks.opened_holds.push((key.clone(), hold.clone()));
            }
        }
        for key in snapshot.holds.keys() {
            if !self.holds.contains_key(key) {
                self.marks.closed_holds.push(key.clone());
            }
        }
    }

    /// Writes down who is absent for the first time, who is back, and whose lost entries are of no interest any more.
    fn follow_absences(&mut self, roster: &Roster, leavers: &Leavers<'_>, snapshot: &Snapshot, now: Timestamp) {
        for leaver in &leavers.leavers {
            if leaver.user.absent_since.is_none() && leaver.fate != Fate::Forgotten {
                self.marks.newly_absent.push(leaver.id.clone());
            }
        }
        for (id, user) in &snapshot.users {
            if user.absent_since.is_some() && roster.names(id.as_str()) {
                self.marks.returned.push(id.clone());
            }
        }
        let kept: BTreeSet<&EmployeeId> = leavers
            .leavers
            .iter()
            .filter(|leaver| leaver.fate == Fate::Kept)
            .map(|leaver| leaver.id)
            .collect();
        for (id, entries) in &snapshot.lost {
            let can_land = entries.iter().any(|entry| entry.may_land_until > now);
            let is_nobody = !snapshot.users.contains_key(id) && !roster.names(id.as_str());
            if !can_land && (is_nobody || kept.contains(id)) {
                self.marks.dropped_losses.push(id.clone());
            }
        }
    }
}

fn count_unchanged(wishes: &[Wish<'_>], plan: &Plan, snapshot: &Snapshot, now: Timestamp) -> usize {
    let closed: BTreeSet<&FailureKey> = plan.marks.closed_failures.iter().collect();
    let failing: BTreeSet<&str> = snapshot
        .failures
        .keys()
        .filter(|key| !closed.contains(key))
        .chain(plan.local_failures.iter().map(|local| &local.key))
        .map(|key| &*key.user_id)
        .collect();
    let released: BTreeSet<&EmployeeId> = plan.releases.iter().map(|release| &release.employee.id).collect();
    wishes
        .iter()
        .filter(|wish| {
            wish.is_fulfilled(snapshot, now)
                && !plan.pending.contains(wish.id)
                && !released.contains(wish.id)
                && !failing.contains(wish.id.as_str())
        })
        .count()
}

/// Leavers by what a newcomer can have in common with them.
struct Lookalikes<'l> {
    leavers: Vec<Lookalike<'l>>,
    by_name: HashMap<NameKey, Vec<usize>>,
    by_phone: HashMap<Phone, Vec<usize>>,
}

/// Somebody who is leaving.
#[derive(Debug, Clone, Copy)]
struct Lookalike<'l> {
    id: &'l EmployeeId,
    is_removed_now: bool,
}

impl<'l> Lookalikes<'l> {
    fn new(leavers: &'l Leavers<'_>, snapshot: &Snapshot) -> Self {
        let mut lookalikes = Self {
            leavers: Vec::new(),
            by_name: HashMap::new(),
            by_phone: HashMap::new(),
        };
        for leaver in leavers.leavers.iter().filter(|leaver| leaver.is_leaving(snapshot)) {
            lookalikes.add(leaver, snapshot);
        }
        lookalikes
    }

    fn add(&mut self, leaver: &'l Leaver<'_>, snapshot: &Snapshot) {
        let index = self.leavers.len();
        for name in leaver.names(snapshot) {
            self.by_name.entry(name).or_default().push(index);
        }
        for phone in snapshot.possible_phones(leaver.id) {
            self.by_phone.entry(phone).or_default().push(index);
        }
        self.leavers.push(Lookalike {
            id: leaver.id,
            is_removed_now: matches!(leaver.fate, Fate::Removed { .. }),
        });
    }

    /// The leavers with the same name or phone.
    fn of(&self, wish: &Wish<'_>) -> Vec<Lookalike<'l>> {
        if self.leavers.is_empty() {
            return Vec::new();
        }
        let by_name = self.by_name.get(&NameKey::of(wish.name().as_str()));
        let by_phone = wish.claimed_phone().and_then(|phone| self.by_phone.get(&phone));
        let indexes: BTreeSet<usize> = by_name.into_iter().chain(by_phone).flatten().copied().collect();
        indexes.into_iter().map(|index| self.leavers[index]).collect()
    }
}
