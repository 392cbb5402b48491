//! What is wanted of each user who should be in Wazzup, and how that compares with what Wazzup has.

use super::{
    Acknowledged, BatchEntry, Change, HoldKind, OpenFailure, Operation, PlannedUpsert, Sighting, User, input::Input,
    updates::content_of_update,
};
use crate::employee::{Employee, EmployeeId, FullName, Phone, RosterEntry, RowProblem, Spelling};

/// What is wanted of one user who should be in Wazzup.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub id: &'a EmployeeId,
    /// The CRM's row; `None` if the user stays as acknowledged, since the row was rejected or its update is held.
    pub entry: Option<&'a RosterEntry>,
    user: Option<&'a User>,
    pub standing: Standing<'a>,
    pub is_held: bool,
    pub phone: PhoneWish,
}

/// What becomes of a user's phone in this cycle; `phones` decides it.
#[derive(Debug, Default)]
pub(super) struct PhoneWish {
    /// The phone wanted, after conflicts among the CRM's rows are resolved.
    pub wanted: Option<Phone>,
    /// The phone that is sent: left out while it cannot be had.
    pub sent: Option<Phone>,
    /// Why the CRM's phone cannot be taken.
    pub problem: Option<RowProblem>,
    /// The phone is left out because somebody who is leaving has it.
    pub is_pending: bool,
    /// The user gives up a phone before somebody else takes it.
    pub is_released: bool,
    /// Leavers who are removed in this cycle, and users who give up a phone in it, before the phone can be sent.
    pub waits_for: Vec<EmployeeId>,
}

/// How a user who should be in Wazzup stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// Ours, and in Wazzup as far as we know.
    Ours,
    /// Ours by what was acknowledged, but Wazzup's list does not show the user any more.
    Missing,
    /// Ours, but Wazzup's list shows another name.
    Renamed,
    /// Not in Wazzup.
    New,
    /// In Wazzup under the same name, and not ours yet.
    Adoptable,
    /// In Wazzup under another name, not ours, and to be taken over.
    TakenOver,
    /// In Wazzup under this other name, not ours, and held.
    Foreign(&'a str),
    /// Not ours, and nothing of this cycle tells whether the user is in Wazzup.
    Unknown,
}

impl<'a> Wish<'a> {
    /// The wishes of everybody who should be in Wazzup, sorted by id.
    pub(super) fn all(input: Input<'a>, trusts_missing: bool) -> Vec<Self> {
        let mut wishes: Vec<Self> = Vec::with_capacity(input.roster.entries.len());
        for entry in &input.roster.entries {
            let id = &entry.employee.id;
            wishes.push(Self::new(id, Some(entry), input.snapshot.users.get(id)));
        }
        for rejected_id in input.roster.rejected.keys() {
            if let Some((id, user)) = input.snapshot.users.get_key_value(&**rejected_id)
                && user.acknowledged.is_some()
            {
                wishes.push(Self::new(id, None, Some(user)));
            }
        }
        wishes.sort_by_key(|wish| wish.id);
        for wish in &mut wishes {
            wish.standing = match wish.acknowledged() {
                Some(acknowledged) => standing_of_ours(input, wish.id, acknowledged, trusts_missing),
                None => standing_of_others(input, wish),
            };
        }
        wishes
    }

    fn new(id: &'a EmployeeId, entry: Option<&'a RosterEntry>, user: Option<&'a User>) -> Self {
        Self {
            id,
            entry,
            user,
            standing: Standing::Unknown,
            is_held: false,
            phone: PhoneWish::default(),
        }
    }

    /// The update is held.
    pub(super) fn keep_as_acknowledged(&mut self) {
        self.entry = None;
        self.is_held = true;
    }

    /// What Wazzup acknowledged of the user.
    pub(super) fn acknowledged(&self) -> Option<&'a Acknowledged> {
        self.user.and_then(|user| user.acknowledged.as_ref())
    }

    pub(super) fn acknowledged_phone(&self) -> Option<Phone> {
        self.acknowledged().and_then(|acknowledged| acknowledged.phone)
    }

    /// The name wanted.
    pub(super) fn name(&self) -> &'a FullName {
        let acknowledged = self.acknowledged().map(|acknowledged| &acknowledged.name);
        let wanted = self.entry.map(|entry| &entry.employee.name);
        wanted
            .or(acknowledged)
            .expect("a user without a valid row is listed only if acknowledged, and so is one whose update is held")
    }

    /// The CRM's row, as the hold on a take-over keeps it.
    pub(super) fn crm_row(&self) -> Option<String> {
        self.entry.map(|entry| content_of_update(&entry.employee))
    }

    /// The phone wanted before conflicts are resolved.
    pub(super) fn claimed_phone(&self) -> Option<Phone> {
        match self.entry {
            Some(entry) => entry.employee.phone,
            None => self.acknowledged_phone(),
        }
    }

    /// Whether what is sent would differ from what was acknowledged.
    pub(super) fn differs(&self) -> bool {
        self.acknowledged()
            .is_none_or(|acknowledged| acknowledged.name != *self.name() || acknowledged.phone != self.phone.sent)
    }

    /// Whether a lost request has to be settled by sending the user now: nothing was acknowledged since, or it can no
    /// longer land. Once that is acknowledged, `settle` in the migrations deletes the lost entry.
    fn needs_settling(&self, input: Input<'_>) -> bool {
        let synced_at = self.user.and_then(|user| user.synced_at);
        let mut lost = input.snapshot.lost_entries(self.id).iter();
        lost.any(|entry| Some(entry.lost_at) > synced_at || entry.may_land_until <= input.now)
    }

    /// The last attempt to send exactly this, if the service refused it.
    pub(super) fn refused(&self, input: Input<'a>) -> Option<&'a OpenFailure> {
        let refused = input.refused(self.id, Operation::Upsert)?;
        let attempt = &refused.failure;
        let is_same = attempt.name.as_ref() == Some(self.name()) && attempt.phone == self.phone.wanted;
        is_same.then_some(refused)
    }

    /// Whether that attempt is not yet due again.
    pub(super) fn backs_off(&self, input: Input<'a>) -> bool {
        self.refused(input).is_some_and(|failure| failure.backs_off(input.now))
    }

    /// Whether Wazzup has the user as wanted, as far as we know, and nothing has to be sent, except perhaps the release of
    /// the phone. Whoever could not be put right when a list showed them missing or renamed is not forgotten in the cycles
    /// without a list.
    pub(super) fn needs_no_upsert(&self, input: Input<'a>) -> bool {
        if self.standing != Standing::Ours {
            false
        } else if self.phone.is_released {
            self.phone.sent.is_none() && self.known_name() == self.name()
        } else {
            !self.differs() && !self.needs_settling(input) && self.refused(input).is_none()
        }
    }

    /// The name as acknowledged; that of a user whom a lost request created is the one wanted.
    fn known_name(&self) -> &'a FullName {
        let acknowledged = self.acknowledged();
        acknowledged.map_or(self.name(), |acknowledged| &acknowledged.name)
    }

    /// What is to be sent.
    pub(super) fn upsert(&self) -> PlannedUpsert {
        let acknowledged = self.acknowledged();
        let change = match self.standing {
            Standing::New | Standing::Unknown => Change::Add,
            Standing::Adoptable => Change::Adopt,
            Standing::TakenOver | Standing::Foreign(_) => Change::TakeOver,
            // A lost request added the user.
            Standing::Ours if acknowledged.is_none() => Change::Add,
            Standing::Ours | Standing::Missing | Standing::Renamed if self.differs() => Change::Update,
            Standing::Ours | Standing::Missing | Standing::Renamed => Change::Resend,
        };
        let spelling = match self.entry {
            Some(entry) => entry.phone_spelling.as_ref(),
            None => acknowledged.and_then(|acknowledged| acknowledged.phone_spelling.as_ref()),
        };
        let mut phone_waits_for = self.phone.waits_for.clone();
        if self.phone.is_released {
            phone_waits_for.push(self.id.clone());
        }
        PlannedUpsert {
            entry: self.batch_entry(self.name(), self.phone.sent, spelling, change),
            wanted_phone: self.phone.wanted,
            takes_seat: matches!(self.standing, Standing::New | Standing::Missing | Standing::Unknown),
            waits_for: Vec::new(),
            phone_waits_for,
        }
    }

    /// The user as acknowledged, without a phone.
    pub(super) fn release(&self) -> BatchEntry {
        self.batch_entry(self.known_name(), None, None, Change::Release)
    }

    /// The user as acknowledged, once more.
    pub(super) fn resend(&self) -> Option<BatchEntry> {
        let acknowledged = self.acknowledged()?;
        let spelling = acknowledged.phone_spelling.as_ref();
        Some(self.batch_entry(&acknowledged.name, acknowledged.phone, spelling, Change::Resend))
    }

    fn batch_entry(
        &self,
        name: &FullName,
        phone: Option<Phone>,
        spelling: Option<&Spelling>,
        change: Change,
    ) -> BatchEntry {
        BatchEntry {
            employee: Employee {
                id: self.id.clone(),
                name: name.clone(),
                phone,
            },
            phone_spelling: phone.and(spelling.cloned()),
            change,
        }
    }
}

fn standing_of_ours<'a>(
    input: Input<'a>,
    id: &EmployeeId,
    acknowledged: &Acknowledged,
    trusts_missing: bool,
) -> Standing<'a> {
    // An earlier list lacked the user, and there was no free seat.
    let waits_for_seat = input.snapshot.account.waiting_for_seat.contains(id);
    match input.list.find(id.as_str()) {
        Sighting::Absent if trusts_missing || waits_for_seat => Standing::Missing,
        Sighting::Unknown if waits_for_seat => Standing::Missing,
        Sighting::Named(name) if input.list.is_complete() && !acknowledged.is_named(name) => Standing::Renamed,
        _ => Standing::Ours,
    }
}

fn standing_of_others<'a>(input: Input<'a>, wish: &Wish<'a>) -> Standing<'a> {
    let (id, wanted_name, may_be_ours) = (wish.id, wish.name(), wish.user.is_some());
    let always_takes_over = input.policy.always_takes_over;
    let hold = input.stored_hold(HoldKind::Takeover, id);
    // An approval is for the row that was shown. If another one takes its place, nobody has approved that.
    let is_for_this_row = hold.is_some_and(|hold| hold.crm_row == wish.crm_row());
    match (input.list.find(id.as_str()), hold) {
        (Sighting::Absent, _) => Standing::New,
        (Sighting::Named(name), _) if may_be_ours && input.is_lost_name(id, name) => Standing::Ours,
        (Sighting::Named(name), _) if wanted_name.is_same_as(name) => Standing::Adoptable,
        (Sighting::Named(_), _) if always_takes_over => Standing::TakenOver,
        (Sighting::Named(name), Some(hold)) if is_for_this_row && hold.is_approved_for(name) => Standing::TakenOver,
        (Sighting::Named(name), _) => Standing::Foreign(name),
        // No proof is needed, but the list must have been asked for.
        (Sighting::Unknown, _) if always_takes_over && input.list.was_requested() => Standing::New,
        // What is held is no reason to ask Wazzup.
        (Sighting::Unknown, Some(hold))
            if (hold.approved.is_none() || !is_for_this_row) && !always_takes_over && !input.list.was_requested() =>
        {
            Standing::Foreign(&hold.content)
        }
        (Sighting::Unknown, _) => Standing::Unknown,
    }
}
