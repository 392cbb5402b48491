//! How a plan comes about, step by step.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    BATCH, BatchEntry, Drift, Hold, HoldKey, HoldKind, Operation, Plan, PlannedRemoval, PlannedUpsert, Policy,
    Questions, RemoteList, Seats, Snapshot, StayReason, StayingUser, Waiting,
    account::{self, AccountVerdict},
    input::Input,
    leavers::{Fate, Leavers},
    missing::MissingUsers,
    phones,
    updates::hold_updates,
    wish::{Standing, Wish},
};
use crate::employee::{EmployeeId, Roster};

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
        let account_key = HoldKey::account();
        let account_hold = snapshot.holds.get(&account_key);
        match account::judge(input) {
            AccountVerdict::Ours { is_proven } => Self {
                account_proven: is_proven,
                ..Self::decide(input, None)
            },
            AccountVerdict::Unknown(questions) => Self {
                questions,
                ..Self::without_requests(input, account_hold.cloned())
            },
            AccountVerdict::Doubted(_) if account_hold.is_some_and(|hold| hold.is_approved_for(&list.fingerprint)) => {
                let snapshot = &Snapshot::default();
                let mut plan = Self::decide(Input { snapshot, ..input }, None);
                plan.marks.forgets_account = true;
                plan.account_proven = true;
                plan
            }
            AccountVerdict::Doubted(reason) => {
                let hold = input.new_hold(&account_key, &list.fingerprint, None, reason);
                Self::without_requests(input, Some(hold))
            }
        }
    }

    /// The plan while nothing may be sent, and nothing else is judged by the list: everybody is pending, since what is known of
    /// the users says nothing about this account.
    fn without_requests(input: Input<'_>, account_hold: Option<Hold>) -> Self {
        let list = &RemoteList::unread(&input.list.fingerprint);
        let mut plan = Self::decide(Input { list, ..input }, account_hold);
        plan.upserts.clear();
        plan.releases.clear();
        for entry in &input.roster.entries {
            plan.waiting
                .entry(entry.employee.id.clone())
                .or_insert(Waiting::Pending);
        }
        plan.unchanged = 0;
        plan.staying.extend(plan.removals.drain(..).map(|removal| StayingUser {
            id: removal.id,
            name: removal.name,
            reason: StayReason::Unknown,
        }));
        plan.control = None;
        plan.questions = Questions::default();
        plan.marks.forgotten.clear();
        plan
    }

    /// The plan for the account of this cycle, whoever's it is.
    fn decide(input: Input<'_>, account_hold: Option<Hold>) -> Self {
        let missing = MissingUsers::new(input);
        let (leavers, mut holds) = Leavers::decide(input);
        let mut wishes = Wish::all(input, missing.are_proven);
        phones::assign(input, &mut wishes, &leavers);
        holds.extend(account_hold.map(|hold| (HoldKey::account(), hold)));
        // Whoever is held may leave a phone to somebody else, whose update counts as well.
        while hold_updates(input, &mut wishes, &mut holds) {
            phones::assign(input, &mut wishes, &leavers);
        }
        let tries_beyond = input.snapshot.account.retry_seats || input.list.scheduled;
        let mut plan = Self {
            holds,
            missing_ids: input.roster.missing_ids,
            eligible: input.roster.eligible(),
            managed: input.snapshot.users.len(),
            drift: drift(input, missing.count),
            seats: seats(input),
            tried_beyond_seats: if tries_beyond { BATCH } else { 0 },
            control: control(input, &wishes),
            ..Self::default()
        };
        plan.questions.users.extend(missing.to_look_up);
        plan.take_leavers(input, &leavers);
        plan.take_wishes(input, &wishes, &leavers);
        plan.complete_marks(input, &wishes, &leavers);
        plan.unchanged = plan.eligible - plan.not_in_sync().len();
        plan
    }

    fn take_leavers<'a>(&mut self, input: Input<'a>, leavers: &Leavers<'a>) {
        for leaver in &leavers.all {
            let id = leaver.id.clone();
            if leaver.fate == Fate::Forgotten {
                self.marks.forgotten.push(id);
                continue;
            }
            if leaver.user.absent_since.is_none() {
                self.marks.newly_absent.push(id.clone());
            }
            let name = leaver.names(input).next_back().cloned();
            match leaver.fate {
                Fate::Removed { approved } => self.removals.push(PlannedRemoval { id, name, approved }),
                Fate::Stays(reason) => {
                    let has_losses = !input.snapshot.lost_entries(&id).is_empty();
                    if reason == StayReason::Unknown {
                        self.ask_about(input, &id);
                    } else if reason == StayReason::Kept && has_losses && !input.may_still_land(&id) {
                        // Nothing is settled about users who are kept.
                        self.marks.dropped_losses.push(id.clone());
                    }
                    self.staying.push(StayingUser { id, name, reason });
                }
                Fate::Held | Fate::Settling | Fate::Forgotten => {}
            }
        }
    }

    fn ask_about(&mut self, input: Input<'_>, id: &EmployeeId) {
        if id.has_own_url() && !input.list.has_entry(id.as_str()) {
            self.questions.users.push(id.clone());
        }
    }

    /// Sorts the wishes into what is sent and what waits.
    fn take_wishes(&mut self, input: Input<'_>, wishes: &[Wish<'_>], leavers: &Leavers<'_>) {
        let mut additions = Vec::new();
        for wish in wishes {
            let id = wish.id;
            self.hold_takeover(input, wish);
            if wish.phone.is_released {
                self.releases.push(wish.release());
            }
            if wish.is_held || wish.phone.is_pending {
                self.waiting.insert(id.clone(), Waiting::Pending);
            }
            if wish.needs_no_upsert(input) {
                continue;
            }
            if wish.backs_off(input) {
                self.waiting.insert(id.clone(), Waiting::BackingOff);
                continue;
            }
            if let Standing::Foreign(_) = wish.standing {
                self.waiting.insert(id.clone(), Waiting::Pending);
                continue;
            }
            let mut upsert = wish.upsert();
            if matches!(wish.standing, Standing::New | Standing::Unknown) {
                let lookalikes = leavers.lookalikes(wish.name().as_str(), wish.claimed_phone());
                if let Some(leaver) = lookalikes.iter().find(|leaver| !leaver.is_removed()) {
                    self.waiting.insert(id.clone(), Waiting::ForLeaver(leaver.id.clone()));
                    continue;
                }
                upsert.waits_for = lookalikes.into_iter().map(|leaver| leaver.id.clone()).collect();
            }
            if upsert.takes_seat {
                additions.push((wish, upsert));
            } else {
                self.upserts.push(upsert);
            }
        }
        self.admit_additions(input, additions);
    }

    /// Somebody whom Wazzup shows under another name, and who is not ours, is renamed only after approval.
    fn hold_takeover(&mut self, input: Input<'_>, wish: &Wish<'_>) {
        let key = || HoldKey::new(HoldKind::Takeover, wish.id.as_str());
        let held_anew = |name: &str| {
            let reason = "this id belongs to a user in Wazzup with another name, whom we did not create";
            input.new_hold(&key(), name, wish.crm_row(), reason.to_owned())
        };
        let stored = || input.stored_hold(HoldKind::Takeover, wish.id);
        let is_for_this_row = |hold: &&Hold| hold.crm_row == wish.crm_row();
        let hold = match wish.standing {
            Standing::Foreign(name) => Some(held_anew(name)),
            // Approved: it stays until it is carried out.
            Standing::TakenOver => {
                let approved = stored().filter(|hold| hold.approved.is_some());
                approved.filter(is_for_this_row).cloned()
            }
            Standing::Unknown => stored().map(|hold| {
                if is_for_this_row(&hold) {
                    hold.clone()
                } else {
                    held_anew(&hold.content)
                }
            }),
            _ => None,
        };
        self.holds.extend(hold.map(|hold| (key(), hold)));
    }

    /// Of the additions, in their order, only so many are sent as there may be seats for; each needs proof that
    /// Wazzup has no such user.
    fn admit_additions(&mut self, input: Input<'_>, additions: Vec<(&Wish<'_>, PlannedUpsert)>) {
        let room = self.room().map(|room| room + self.removals.len());
        for (position, (wish, addition)) in additions.into_iter().enumerate() {
            if room.is_some_and(|room| position >= room) {
                self.waiting.insert(wish.id.clone(), Waiting::ForSeat);
            } else if wish.standing != Standing::Unknown {
                self.upserts.push(addition);
            } else {
                self.waiting.insert(wish.id.clone(), Waiting::Pending);
                if input.list.was_requested() {
                    self.ask_about(input, wish.id);
                } else {
                    self.questions.list = true;
                }
            }
        }
    }

    /// The employees whom Wazzup does not have as the CRM wants them, or who have an open failure.
    fn not_in_sync(&self) -> BTreeSet<&str> {
        let of_employees = self
            .open_failures
            .keys()
            .filter(|key| key.operation != Operation::Remove);
        let mut ids: BTreeSet<&str> = of_employees.map(|key| &*key.user_id).collect();
        ids.extend(self.unsynced_ids().map(EmployeeId::as_str));
        ids
    }

    /// The employees who are sent in this cycle, or wait to be sent.
    pub(super) fn unsynced_ids(&self) -> impl Iterator<Item = &EmployeeId> {
        let upserted = self.upserts.iter().map(PlannedUpsert::id);
        let released = self.releases.iter().map(|release| &release.employee.id);
        upserted.chain(released).chain(self.waiting.keys())
    }
}

fn drift(input: Input<'_>, missing: usize) -> Drift {
    let (mut renamed, mut foreign) = (0, 0);
    for (id, name) in input.list.users() {
        let user = input.snapshot.users.get_key_value(id);
        match user.map(|(id, user)| (id, &user.acknowledged)) {
            Some((_, Some(acknowledged))) => renamed += usize::from(!acknowledged.is_named(name)),
            // Created by a request that was lost.
            Some((id, None)) if input.is_lost_name(id, name) => {}
            Some((_, None)) | None => foreign += 1,
        }
    }
    Drift {
        missing,
        renamed,
        foreign,
    }
}

fn seats(input: Input<'_>) -> Seats {
    let known = input.snapshot.account.seats;
    let counted = input.list.is_complete().then(|| input.list.users().count());
    Seats {
        used: counted.or(known.used),
        ..known
    }
}

/// Somebody who is in sync. In an outage of hours each of them would be lost in turn, so once two users are sent again as
/// acknowledged, one of those serves.
fn control(input: Input<'_>, wishes: &[Wish<'_>]) -> Option<BatchEntry> {
    let is_as_acknowledged = |wish: &&Wish<'_>| wish.standing == Standing::Ours && !wish.differs();
    let candidates = wishes.iter().filter(is_as_acknowledged);
    let (in_sync, differing): (Vec<_>, Vec<_>) = candidates.partition(|wish| wish.needs_no_upsert(input));
    let mut sent_again = differing.into_iter().filter(|wish| !wish.backs_off(input));
    let mut in_sync = in_sync.into_iter().filter(|wish| !wish.phone.is_released);
    let first_sent_again = sent_again.next();
    let control = match sent_again.next() {
        Some(_) => first_sent_again,
        None => in_sync.next().or(first_sent_again),
    };
    control?.resend()
}
