//! The users whom the CRM does not name any more: who goes now, and who stays for what reason.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    FailureKey, Hold, HoldKey, HoldKind, Holds, LostContent, Operation, Policy, RemoteList, Sighting, Snapshot, User,
    backing_off,
};
use crate::employee::{EmployeeId, NameKey, Roster};

/// A user whom the CRM does not name any more.
#[derive(Debug)]
pub(super) struct Leaver<'a> {
    pub id: &'a EmployeeId,
    pub user: &'a User,
    pub fate: Fate,
}

/// What becomes of a leaver in this cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Removed now.
    Removed {
        /// Somebody approved it.
        approved: bool,
    },
    /// Not absent for long enough.
    InGrace,
    /// Held.
    Held,
    /// Never removed, by policy.
    Kept,
    /// The last removal was refused and is not yet due again.
    BackingOff,
    /// Nothing of this cycle tells whether the user is in Wazzup and ours.
    Unknown,
    /// Not in Wazzup as far as we know; a lost request may still create the user.
    Settling,
    /// Turned out not to be in Wazzup, or not to be ours.
    Forgotten,
}

/// All leavers, sorted by id, and the holds on their removal.
#[derive(Debug, Default)]
pub(super) struct Leavers<'a> {
    pub leavers: Vec<Leaver<'a>>,
    pub holds: Holds,
}

/// Decides about everybody who is managed and not named by the CRM.
pub(super) fn decide<'a>(
    roster: &Roster,
    snapshot: &'a Snapshot,
    list: &RemoteList,
    policy: &Policy,
    now: Timestamp,
) -> Leavers<'a> {
    let absent: Vec<(&EmployeeId, &User)> = snapshot
        .users
        .iter()
        .filter(|(id, _)| !roster.names(id.as_str()))
        .collect();
    let brake = Brake::new(roster, snapshot, &absent, policy, now);
    let mut result = Leavers::default();
    for (id, user) in absent {
        let key = HoldKey::new(HoldKind::Remove, id.as_str());
        let hold = brake.hold(id, user, now);
        let approved = hold.as_ref().is_some_and(|hold| hold.approved.is_some());
        let fate = if !policy.removes {
            kept(snapshot, id, user, now)
        } else if hold.is_some() && !approved {
            Fate::Held
        } else if !approved && absent_for_less_than_grace(user, policy, now) {
            Fate::InGrace
        } else if backing_off(&snapshot.failures, id, Operation::Remove, now).is_some() {
            Fate::BackingOff
        } else {
            due(snapshot, id, user, list, approved, now)
        };
        if let Some(hold) = hold.filter(|_| fate != Fate::Forgotten) {
            result.holds.insert(key, hold);
        }
        result.leavers.push(Leaver { id, user, fate });
    }
    result
}

fn absent_for_less_than_grace(user: &User, policy: &Policy, now: Timestamp) -> bool {
    now.duration_since(user.absent_since.unwrap_or(now)) < policy.grace
}

/// Under policy `keep` nothing is settled: what was lost is forgotten once it cannot land any more.
fn kept(snapshot: &Snapshot, id: &EmployeeId, user: &User, now: Timestamp) -> Fate {
    let can_land = snapshot.lost_entries(id).iter().any(|entry| entry.may_land_until > now);
    if user.acknowledged.is_none() && !can_land {
        Fate::Forgotten
    } else {
        Fate::Kept
    }
}

/// What to do about a leaver whose removal is due.
fn due(snapshot: &Snapshot, id: &EmployeeId, user: &User, list: &RemoteList, approved: bool, now: Timestamp) -> Fate {
    if user.acknowledged.is_some() {
        return Fate::Removed { approved };
    }
    let lost = snapshot.lost_entries(id);
    let can_land = lost.iter().any(|entry| entry.may_land_until > now);
    let removed_since = lost.iter().all(|entry| Some(entry.lost_at) <= user.synced_at);
    match list.find(id.as_str()) {
        Sighting::Named(name) if is_name_of_lost_upsert(snapshot, id, name) => Fate::Removed { approved },
        _ if can_land && removed_since => Fate::Settling,
        Sighting::Unknown => Fate::Unknown,
        // Somebody else's name may still become that of a lost take-over.
        Sighting::Absent | Sighting::Named(_) if can_land => Fate::Settling,
        Sighting::Absent | Sighting::Named(_) => Fate::Forgotten,
    }
}

/// Whether a lost upsert of ours may have given the user this name.
pub(super) fn is_name_of_lost_upsert(snapshot: &Snapshot, id: &EmployeeId, name: &str) -> bool {
    snapshot.lost_entries(id).iter().any(|entry| match &entry.content {
        LostContent::Upsert { name: lost_name, .. } => lost_name.is_same_as(name),
        LostContent::Removal => false,
    })
}

/// The brake on removals.
struct Brake<'a> {
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    /// Holds everybody who is absent and not approved.
    reason_for_all: Option<String>,
    /// Holds everybody whose removal was not tried yet.
    reason_for_untried: Option<String>,
}

impl<'a> Brake<'a> {
    fn new(
        roster: &Roster,
        snapshot: &'a Snapshot,
        absent: &[(&EmployeeId, &User)],
        policy: &'a Policy,
        now: Timestamp,
    ) -> Self {
        let managed = snapshot.users.len();
        let mut brake = Self {
            snapshot,
            policy,
            reason_for_all: reason_for_all(roster, managed, absent.len()),
            reason_for_untried: None,
        };
        let untried: BTreeSet<&EmployeeId> = absent
            .iter()
            .filter(|(id, user)| !brake.was_tried(id, user) && !brake.is_approved(id, user, now))
            .map(|(id, _)| *id)
            .collect();
        let recent = snapshot
            .recent_removals
            .iter()
            .filter(|(id, removal)| !removal.approved && !untried.contains(id))
            .count();
        let limit = policy.removals.of(managed);
        if untried.len() + recent > limit {
            brake.reason_for_untried = Some(format!(
                "{} missing from the CRM and {recent} removed in the last 24 hours, together more than the limit of {limit}",
                untried.len()
            ));
        }
        brake
    }

    /// The hold on a leaver's removal, an approved one too.
    fn hold(&self, id: &EmployeeId, user: &User, now: Timestamp) -> Option<Hold> {
        if !self.policy.removes {
            return None;
        }
        let content = user.absent_since.unwrap_or(now).to_string();
        let existing = self
            .snapshot
            .holds
            .get(&HoldKey::new(HoldKind::Remove, id.as_str()))
            .filter(|hold| hold.content == content);
        if let Some(approved) = existing.filter(|hold| hold.approved.is_some()) {
            return Some(approved.clone());
        }
        let too_many = self.reason_for_untried.as_ref().filter(|_| !self.was_tried(id, user));
        let was_sticky = existing.is_some_and(|hold| hold.sticky);
        let grace_is_over = !absent_for_less_than_grace(user, self.policy, now);
        let reason = match (&self.reason_for_all, too_many, existing) {
            (Some(reason), _, _) | (None, Some(reason), _) => reason.clone(),
            (None, None, Some(hold)) if hold.sticky => hold.reason.clone(),
            _ => return None,
        };
        Some(Hold {
            content,
            reason,
            since: existing.map_or(now, |hold| hold.since),
            sticky: was_sticky || (too_many.is_some() && grace_is_over),
            approved: None,
        })
    }

    fn is_approved(&self, id: &EmployeeId, user: &User, now: Timestamp) -> bool {
        let content = user.absent_since.unwrap_or(now).to_string();
        self.snapshot
            .holds
            .get(&HoldKey::new(HoldKind::Remove, id.as_str()))
            .is_some_and(|hold| hold.is_approved_for(&content))
    }

    /// Whether a removal of the user passed the brake already, since the user became absent.
    fn was_tried(&self, id: &EmployeeId, user: &User) -> bool {
        let snapshot = self.snapshot;
        let failed = snapshot
            .failures
            .contains_key(&FailureKey::new(id.as_str(), Operation::Remove));
        let lost = snapshot
            .lost_entries(id)
            .iter()
            .any(|entry| entry.content == LostContent::Removal && Some(entry.lost_at) >= user.absent_since);
        let was_removed = user.acknowledged.is_none() && snapshot.recent_removals.contains_key(id);
        failed || lost || was_removed
    }
}

/// Why nobody at all may be removed, if so.
fn reason_for_all(roster: &Roster, managed: usize, absent: usize) -> Option<String> {
    if absent == 0 {
        None
    } else if roster.is_empty() {
        Some(format!("the CRM names nobody: this is ALL {managed} users"))
    } else if roster.missing_ids == 1 {
        Some("a row of the CRM has no id, and may be anybody's".to_owned())
    } else if roster.missing_ids > 1 {
        Some(format!(
            "{} rows of the CRM have no id, and may be anybody's",
            roster.missing_ids
        ))
    } else if managed >= 2 && absent == managed {
        Some(format!("ALL {managed} users are missing from the CRM"))
    } else {
        None
    }
}

impl Leaver<'_> {
    /// Whether the user is in Wazzup now, as far as we know, and will be gone.
    pub(super) fn is_leaving(&self, snapshot: &Snapshot) -> bool {
        match self.fate {
            Fate::Removed { .. } => !has_remove_failure(snapshot, self.id),
            Fate::InGrace | Fate::Held | Fate::Unknown => true,
            Fate::Kept | Fate::BackingOff | Fate::Settling | Fate::Forgotten => false,
        }
    }

    /// Whether the user stays in Wazzup, and so keeps its phone, for longer than anybody should wait.
    pub(super) fn stays(&self, snapshot: &Snapshot) -> bool {
        match self.fate {
            Fate::Kept | Fate::BackingOff => true,
            Fate::Removed { .. } => has_remove_failure(snapshot, self.id),
            Fate::InGrace | Fate::Held | Fate::Unknown | Fate::Settling | Fate::Forgotten => false,
        }
    }

    /// The names that the user may have in Wazzup.
    pub(super) fn names(&self, snapshot: &Snapshot) -> Vec<NameKey> {
        if let Some(acknowledged) = &self.user.acknowledged {
            return vec![NameKey::of(acknowledged.name.as_str())];
        }
        let lost = snapshot.lost_entries(self.id).iter();
        lost.filter_map(|entry| match &entry.content {
            LostContent::Upsert { name, .. } => Some(NameKey::of(name.as_str())),
            LostContent::Removal => None,
        })
        .collect()
    }

    /// The last known name.
    pub(super) fn name(&self, snapshot: &Snapshot) -> Option<String> {
        if let Some(acknowledged) = &self.user.acknowledged {
            return Some(acknowledged.name.to_string());
        }
        let lost = snapshot.lost_entries(self.id).iter();
        lost.filter_map(|entry| match &entry.content {
            LostContent::Upsert { name, .. } => Some(name.to_string()),
            LostContent::Removal => None,
        })
        .next_back()
    }
}

fn has_remove_failure(snapshot: &Snapshot, id: &EmployeeId) -> bool {
    snapshot
        .failures
        .contains_key(&FailureKey::new(id.as_str(), Operation::Remove))
}
