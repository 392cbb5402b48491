//! How a plan comes about, step by step.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    BATCH, BatchEntry, Change, Drift, Hold, HoldKey, HoldKind, Operation, Plan, PlannedRemoval, PlannedUpsert, Policy,
    Questions, RemoteList, Seats, Snapshot, StayReason, StayingUser, WaitingEmployee,
    account::{self, AccountVerdict, MissingUsers, Proof},
    input::Input,
    leavers::{self, Fate, Leaver},
    lookalikes::Lookalikes,
    marks,
    phones::{self, AssignedPhones},
    updates::hold_updates,
    wish::{Standing, Wish},
};
use crate::employee::{Employee, EmployeeId, Roster};

impl Plan {
    /// The plan that brings Wazzup to what the CRM says (`roster`), as far as the state (`snapshot`) and Wazzup itself
    /// (`list`) tell, but for what was refused lately and what `policy` holds. `now` is the state database's clock.
    #[must_use]
    pub fn between(roster: &Roster, snapshot: &Snapshot, list: &RemoteList, policy: &Policy, now: Timestamp) -> Self {
        let input = Input {
            roster,
            snapshot,
            list,
            policy,
            now,
        };
        // While the account is doubted, nothing else is judged by its list.
        let unread = RemoteList::unread(&list.fingerprint);
        let without_list = Input { list: &unread, ..input };
        let account_key = HoldKey::account();
        let account_hold = snapshot.holds.get(&account_key);
        match account::judge(input) {
            AccountVerdict::Ours { is_proven } => Self {
                account_proven: is_proven,
                ..decide(input, None)
            },
            AccountVerdict::Unknown(questions) => {
                let mut plan = decide(without_list, account_hold.cloned());
                plan.stop_everything();
                plan.questions = questions;
                plan
            }
            AccountVerdict::Doubted(_) if account_hold.is_some_and(|hold| hold.is_approved_for(&list.fingerprint)) => {
                let nothing = Snapshot::default();
                let mut plan = decide(
                    Input {
                        snapshot: &nothing,
                        ..input
                    },
                    None,
                );
                plan.marks.forgets_account = true;
                plan.account_proven = true;
                plan
            }
            AccountVerdict::Doubted(reason) => {
                let hold = input.new_hold(&account_key, &list.fingerprint, reason);
                let mut plan = decide(without_list, Some(hold));
                plan.stop_everything();
                plan
            }
        }
    }

    /// What was to be sent is pending instead.
    fn stop_everything(&mut self) {
        let upserted = self.upserts.drain(..).map(|upsert| upsert.entry.employee.id);
        self.pending.extend(upserted);
        let released = self.releases.drain(..).map(|release| release.employee.id);
        self.pending.extend(released);
        for removal in std::mem::take(&mut self.removals) {
            self.staying.push(StayingUser {
                id: removal.id,
                name: removal.name,
                reason: StayReason::Unknown,
            });
        }
        self.control = None;
        self.questions = Questions::default();
        self.marks.forgotten.clear();
    }
}

/// The plan for an account that is ours.
fn decide(input: Input<'_>, account_hold: Option<Hold>) -> Plan {
    let missing = MissingUsers::new(input);
    let (leavers, removal_holds) = leavers::decide(input);
    let mut wishes = Wish::all(input, missing.proof == Proof::Given);
    let mut phones = phones::assign(input, &mut wishes, &leavers);
    let mut holds = removal_holds;
    holds.extend(account_hold.map(|hold| (HoldKey::account(), hold)));
    // Whoever is held may leave a phone to somebody else, whose update counts as well.
    while hold_updates(input, &mut wishes, &mut holds) {
        phones = phones::assign(input, &mut wishes, &leavers);
    }
    let mut plan = Plan {
        holds,
        rejected: input.roster.rejected.clone(),
        missing_ids: input.roster.missing_ids,
        eligible: input.roster.eligible(),
        managed: input.snapshot.users.len(),
        drift: drift(input, missing.count),
        seats: seats(input),
        local_failures: marks::local_failures(input, &wishes, &phones),
        releases: phones.releases.values().cloned().collect(),
        ..Plan::default()
    };
    if let Proof::Needed(id) = missing.proof {
        plan.questions.users.push(id);
    }
    plan.take_leavers(input, &leavers);
    plan.take_wishes(input, &wishes, &leavers, &phones);
    marks::complete(&mut plan, input, &wishes, &leavers);
    plan.unchanged = plan.eligible - plan.not_in_sync(input.snapshot).len();
    plan
}

fn drift(input: Input<'_>, missing: usize) -> Drift {
    let mut drift = Drift {
        missing,
        ..Drift::default()
    };
    for (id, name) in input.list.users() {
        let user = input.snapshot.users.get_key_value(id);
        match user.map(|(id, user)| (id, &user.acknowledged)) {
            Some((_, Some(acknowledged))) => drift.renamed += usize::from(acknowledged.name.as_str() != name.trim()),
            // Created by a request that was lost.
            Some((id, None)) if input.is_lost_name(id, name) => {}
            Some((_, None)) | None => drift.foreign += 1,
        }
    }
    drift
}

fn seats(input: Input<'_>) -> Seats {
    let account = &input.snapshot.account;
    let counted = input.list.is_complete().then(|| input.list.len());
    let tries_beyond = account.retry_seats || (input.list.scheduled && input.list.was_requested());
    Seats {
        used: counted.or(account.seats_used),
        limit: account.seats_limit,
        tried_beyond: if tries_beyond { BATCH } else { 0 },
    }
}

impl Plan {
    fn take_leavers(&mut self, input: Input<'_>, leavers: &[Leaver<'_>]) {
        for leaver in leavers {
            let id = leaver.id;
            match leaver.fate {
                Fate::Removed { approved } => self.removals.push(PlannedRemoval {
                    id: id.clone(),
                    name: leaver.name(input),
                    approved,
                }),
                Fate::Stays(reason) => {
                    if reason == StayReason::Unknown {
                        self.ask_about(input, id);
                    }
                    self.staying.push(StayingUser {
                        id: id.clone(),
                        name: leaver.name(input),
                        reason,
                    });
                }
                Fate::Held | Fate::Settling | Fate::Forgotten => {}
            }
        }
    }

    fn ask_about(&mut self, input: Input<'_>, id: &EmployeeId) {
        if id.has_own_url() && !input.list.was_looked_up(id.as_str()) {
            self.questions.users.push(id.clone());
        }
    }

    /// Sorts the wishes into what is sent and what waits.
    fn take_wishes<'a>(
        &mut self,
        input: Input<'a>,
        wishes: &[Wish<'a>],
        leavers: &[Leaver<'_>],
        phones: &AssignedPhones,
    ) {
        let lookalikes = Lookalikes::new(input, leavers);
        let mut additions: Vec<(&Wish<'a>, PlannedUpsert)> = Vec::new();
        let mut unsettled = None;
        for wish in wishes {
            if wish.is_held || wish.phone_is_pending {
                self.pending.insert(wish.id.clone());
            }
            self.hold_takeover(input, wish);
            let release = phones.releases.get(wish.id);
            if needs_only_release(input, wish, release) {
                if release.is_none() && self.control.is_none() {
                    self.control = control(wish);
                }
                continue;
            }
            if wish.backs_off(input) {
                self.backing_off.push(wish.id.clone());
                continue;
            }
            if let Standing::Foreign(_) = wish.standing {
                self.pending.insert(wish.id.clone());
                continue;
            }
            if wish.standing == Standing::Ours && !wish.differs() {
                unsettled = unsettled.or(Some(wish));
            }
            let mut upsert = wish.upsert();
            if release.is_some() {
                upsert.phone_waits_for.push(wish.id.clone());
            }
            if matches!(wish.standing, Standing::New | Standing::Unknown) {
                let matching = lookalikes.of(wish);
                if let Some(leaver) = matching.iter().find(|leaver| !leaver.is_removed()) {
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
                additions.push((wish, upsert));
            } else {
                self.upserts.push(upsert);
            }
        }
        // After a lost request about everybody nobody is known to be in sync.
        if self.control.is_none() {
            self.control = unsettled.and_then(control);
        }
        self.admit_additions(input, additions);
    }

    /// Somebody whom Wazzup shows under another name, and who is not ours, is renamed only after approval.
    fn hold_takeover(&mut self, input: Input<'_>, wish: &Wish<'_>) {
        let key = HoldKey::new(HoldKind::Takeover, wish.id.as_str());
        let existing = input.snapshot.holds.get(&key);
        let hold = match wish.standing {
            Standing::Foreign(name) => {
                let reason = "this id belongs to a user in Wazzup with another name, whom we did not create";
                Some(input.new_hold(&key, name, reason.to_owned()))
            }
            // Approved: it stays until it is carried out.
            Standing::TakenOver(_) => existing.filter(|hold| hold.approved.is_some()).cloned(),
            Standing::Unknown => existing.cloned(),
            _ => None,
        };
        self.holds.extend(hold.map(|hold| (key, hold)));
    }

    /// Of the additions, in their order, only so many are sent as there may be seats for; each needs proof that
    /// Wazzup has no such user.
    fn admit_additions(&mut self, input: Input<'_>, additions: Vec<(&Wish<'_>, PlannedUpsert)>) {
        let free = self.seats.free();
        let room = free.map(|free| free + self.removals.len() + self.seats.tried_beyond);
        for (position, (wish, addition)) in additions.into_iter().enumerate() {
            if room.is_some_and(|room| position >= room) {
                self.waiting_for_seat.push(wish.id.clone());
            } else if wish.standing != Standing::Unknown {
                self.upserts.push(addition);
            } else {
                self.pending.insert(wish.id.clone());
                if input.list.was_requested() {
                    self.ask_about(input, wish.id);
                } else {
                    self.questions.list = true;
                }
            }
        }
    }

    /// The employees whom Wazzup does not have as the CRM wants them, or who have an open failure.
    fn not_in_sync<'p>(&'p self, snapshot: &'p Snapshot) -> BTreeSet<&'p str> {
        let closed: BTreeSet<&_> = self.marks.closed_failures.iter().collect();
        let open = snapshot.failures.keys().filter(|key| !closed.contains(key));
        let local = self.local_failures.iter().map(|failure| &failure.key);
        let of_employees = open.chain(local).filter(|key| key.operation != Operation::Remove);
        let sent = self.upserts.iter().map(PlannedUpsert::id);
        let released = self.releases.iter().map(|release| &release.employee.id);
        let waiting = self
            .pending
            .iter()
            .chain(&self.backing_off)
            .chain(&self.waiting_for_seat);
        let mut ids: BTreeSet<&str> = of_employees.map(|key| &*key.user_id).collect();
        ids.extend(sent.chain(released).chain(waiting).map(EmployeeId::as_str));
        ids
    }
}

/// Whether nothing has to be sent but the release; nothing at all if there is none.
fn needs_only_release<'a>(input: Input<'a>, wish: &Wish<'a>, release: Option<&BatchEntry>) -> bool {
    match release {
        None => wish.is_fulfilled(input),
        Some(release) => {
            let is_same = release.employee.name == *wish.name() && wish.sent_phone.is_none();
            is_same && wish.standing == Standing::Ours
        }
    }
}

/// Somebody who is in sync, to be sent as acknowledged.
fn control(wish: &Wish<'_>) -> Option<BatchEntry> {
    let acknowledged = wish.acknowledged()?;
    Some(BatchEntry {
        employee: Employee {
            id: wish.id.clone(),
            name: acknowledged.name.clone(),
            phone: acknowledged.phone,
        },
        phone_spelling: acknowledged.phone_spelling.clone(),
        change: Change::Resend,
    })
}
