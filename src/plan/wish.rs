//! What the CRM wants of one employee, and how that stands to what Wazzup has.

use jiff::Timestamp;

use super::{
    Acknowledged, BatchEntry, Change, FailureKey, HoldKey, HoldKind, Operation, PlannedUpsert, Policy, RemoteList,
    Sighting, Snapshot, User, backing_off, leavers::is_name_of_lost_upsert,
};
use crate::employee::{Employee, EmployeeId, FullName, Phone, Roster, RosterEntry, Spelling};

/// What is wanted of one user who should be in Wazzup.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub id: &'a EmployeeId,
    /// The CRM's row; `None` if it was rejected, so that the user stays as acknowledged.
    pub entry: Option<&'a RosterEntry>,
    pub user: Option<&'a User>,
    pub standing: Standing<'a>,
    /// The user's update is held: what is wanted is what was acknowledged.
    pub is_held: bool,
    /// The phone wanted, after the conflicts among the CRM's rows are settled.
    pub phone: Option<Phone>,
    /// The phone that is sent: left out while it cannot be had.
    pub sent_phone: Option<Phone>,
    /// The phone is left out because somebody who is leaving has it.
    pub phone_is_pending: bool,
    /// Leavers who are removed in this cycle, and users who give up a phone in it, before the phone can be sent.
    pub phone_waits_for: Vec<EmployeeId>,
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
    Adoptable(&'a str),
    /// In Wazzup under another name, not ours, and to be taken over.
    TakenOver(&'a str),
    /// In Wazzup under another name, not ours, and held.
    Foreign(&'a str),
    /// Not ours, and nothing of this cycle tells whether the user is in Wazzup.
    Unknown,
}

impl<'a> Wish<'a> {
    /// The wishes of everybody who should be in Wazzup, sorted by id.
    pub(super) fn all(
        roster: &'a Roster,
        snapshot: &'a Snapshot,
        list: &'a RemoteList,
        trusts_missing: bool,
        policy: &Policy,
    ) -> Vec<Self> {
        let context = StandingContext {
            snapshot,
            list,
            trusts_missing,
            policy,
        };
        let mut wishes: Vec<Self> = Vec::with_capacity(roster.entries.len());
        for entry in &roster.entries {
            let id = &entry.employee.id;
            let user = snapshot.users.get(id);
            let standing = context.standing(id, &entry.employee.name, user);
            wishes.push(Self::new(id, Some(entry), user, standing));
        }
        for row in &roster.rejected {
            let Some((id, user)) = snapshot.users.get_key_value(&*row.id) else {
                continue;
            };
            if let Some(acknowledged) = &user.acknowledged {
                let standing = context.standing(id, &acknowledged.name, Some(user));
                wishes.push(Self::new(id, None, Some(user), standing));
            }
        }
        wishes.sort_by(|a, b| a.id.cmp(b.id));
        wishes
    }

    fn new(id: &'a EmployeeId, entry: Option<&'a RosterEntry>, user: Option<&'a User>, standing: Standing<'a>) -> Self {
        Self {
            id,
            entry,
            user,
            standing,
            is_held: false,
            phone: None,
            sent_phone: None,
            phone_is_pending: false,
            phone_waits_for: Vec::new(),
        }
    }

    /// What Wazzup acknowledged of the user.
    pub(super) fn acknowledged(&self) -> Option<&'a Acknowledged> {
        self.user.and_then(|user| user.acknowledged.as_ref())
    }

    pub(super) fn acknowledged_phone(&self) -> Option<Phone> {
        self.acknowledged().and_then(|acknowledged| acknowledged.phone)
    }

    /// The CRM's row, unless the user is kept as acknowledged.
    fn followed_entry(&self) -> Option<&'a RosterEntry> {
        self.entry.filter(|_| !self.is_held)
    }

    /// Whether the user is kept as acknowledged, whatever the CRM says.
    pub(super) fn is_kept(&self) -> bool {
        self.followed_entry().is_none()
    }

    /// The name wanted.
    pub(super) fn name(&self) -> &'a FullName {
        let acknowledged = self.acknowledged().map(|acknowledged| &acknowledged.name);
        let wanted = self.followed_entry().map(|entry| &entry.employee.name);
        wanted
            .or(acknowledged)
            .expect("a user without a valid row is listed only if acknowledged, and so is one whose update is held")
    }

    /// The phone wanted before conflicts are settled.
    pub(super) fn claimed_phone(&self) -> Option<Phone> {
        match self.followed_entry() {
            Some(entry) => entry.employee.phone,
            None => self.acknowledged_phone(),
        }
    }

    fn phone_spelling(&self) -> Option<Spelling> {
        let spelling = match self.followed_entry() {
            Some(entry) => entry.phone_spelling.clone(),
            None => self
                .acknowledged()
                .and_then(|acknowledged| acknowledged.phone_spelling.clone()),
        };
        spelling.filter(|_| self.sent_phone.is_some())
    }

    /// Whether what is sent would differ from what was acknowledged.
    pub(super) fn differs(&self) -> bool {
        self.acknowledged()
            .is_none_or(|acknowledged| acknowledged.name != *self.name() || acknowledged.phone != self.sent_phone)
    }

    /// Whether a lost request has to be settled by sending the user now: nothing was acknowledged since, or it can no
    /// longer land.
    pub(super) fn needs_settling(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let synced_at = self.user.and_then(|user| user.synced_at);
        snapshot
            .lost_entries(self.id)
            .iter()
            .any(|entry| Some(entry.lost_at) > synced_at || entry.may_land_until <= now)
    }

    /// Whether Wazzup has the user as wanted, as far as we know, and nothing has to be sent.
    pub(super) fn is_fulfilled(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        self.standing == Standing::Ours && !self.differs() && !self.needs_settling(snapshot, now)
    }

    /// Whether the last attempt to send exactly this was refused and is not yet due again.
    pub(super) fn backs_off(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        backing_off(&snapshot.failures, self.id, Operation::Upsert, now)
            .is_some_and(|attempt| attempt.name.as_ref() == Some(self.name()) && attempt.phone == self.phone)
    }

    /// Whether all that is new is a phone that Wazzup refused before: the CRM changed nothing since.
    pub(super) fn retries_only_phone(&self, snapshot: &Snapshot) -> bool {
        let has_name = self
            .acknowledged()
            .is_some_and(|acknowledged| acknowledged.name == *self.name());
        let key = FailureKey::new(self.id.as_str(), Operation::Phone);
        let is_refused_phone = snapshot
            .failures
            .get(&key)
            .is_some_and(|failure| !failure.is_local && failure.phone.is_some() && failure.phone == self.sent_phone);
        has_name && is_refused_phone
    }

    /// What is to be sent.
    pub(super) fn upsert(&self) -> PlannedUpsert {
        let (change, name_in_wazzup) = match self.standing {
            Standing::New | Standing::Unknown => (Change::Add, None),
            Standing::Adoptable(name) => (Change::Adopt, Some(name.to_owned())),
            Standing::TakenOver(name) | Standing::Foreign(name) => (Change::TakeOver, Some(name.to_owned())),
            Standing::Ours | Standing::Missing | Standing::Renamed if self.differs() => (Change::Update, None),
            Standing::Ours | Standing::Missing | Standing::Renamed => (Change::Resend, None),
        };
        PlannedUpsert {
            entry: BatchEntry {
                employee: Employee {
                    id: self.id.clone(),
                    name: self.name().clone(),
                    phone: self.sent_phone,
                },
                phone_spelling: self.phone_spelling(),
                change,
            },
            wanted_phone: self.phone,
            before: self.acknowledged().cloned(),
            name_in_wazzup,
            takes_seat: self.takes_seat(),
            waits_for: Vec::new(),
            phone_waits_for: self.phone_waits_for.clone(),
        }
    }

    /// Whether sending the user needs a free seat.
    pub(super) fn takes_seat(&self) -> bool {
        matches!(self.standing, Standing::New | Standing::Missing | Standing::Unknown)
    }
}

/// What is needed to tell how users stand in Wazzup.
struct StandingContext<'a, 'p> {
    snapshot: &'a Snapshot,
    list: &'a RemoteList,
    trusts_missing: bool,
    policy: &'p Policy,
}

impl<'a> StandingContext<'a, '_> {
    fn standing(&self, id: &EmployeeId, wanted_name: &FullName, user: Option<&User>) -> Standing<'a> {
        let sighting = self.list.find(id.as_str());
        if let Some(acknowledged) = user.and_then(|user| user.acknowledged.as_ref()) {
            return match sighting {
                Sighting::Absent if self.trusts_missing => Standing::Missing,
                Sighting::Named(name) if self.list.is_complete() && name.trim() != acknowledged.name.as_str() => {
                    Standing::Renamed
                }
                _ => Standing::Ours,
            };
        }
        let hold = self.snapshot.holds.get(&HoldKey::new(HoldKind::Takeover, id.as_str()));
        match sighting {
            Sighting::Absent => Standing::New,
            Sighting::Named(name) => {
                let is_ours = user.is_some() && is_name_of_lost_upsert(self.snapshot, id, name);
                if is_ours {
                    Standing::Ours
                } else if wanted_name.is_same_as(name) {
                    Standing::Adoptable(name)
                } else if self.policy.always_takes_over || hold.is_some_and(|hold| hold.is_approved_for(name)) {
                    Standing::TakenOver(name)
                } else {
                    Standing::Foreign(name)
                }
            }
            Sighting::Unknown if self.policy.always_takes_over => Standing::New,
            Sighting::Unknown => match hold {
                Some(hold) if hold.approved.is_none() && !self.list.was_read() => Standing::Foreign(&hold.content),
                _ => Standing::Unknown,
            },
        }
    }
}
