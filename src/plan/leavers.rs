//! The users whom the CRM does not name any more: who goes now, and who stays for what reason.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Hold, HoldKey, HoldKind, Holds, LostContent, Operation, Sighting, StayReason, User, input::Input};
use crate::employee::{EmployeeId, NameKey, Roster};

/// A user whom the CRM does not name any more.
#[derive(Debug)]
pub(super) struct Leaver<'a> {
    pub id: &'a EmployeeId,
    pub user: &'a User,
    pub fate: Fate,
    pub presence: Presence,
}

/// What becomes of a leaver in this cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Removed {
        approved: bool,
    },
    Held,
    Stays(StayReason),
    /// Not in Wazzup as far as we know; a lost request may still create the user.
    Settling,
    /// Turned out not to be in Wazzup, or not to be ours.
    Forgotten,
}

/// Whether a leaver still occupies a name or phone in Wazzup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not in Wazzup.
    Gone,
    /// In Wazzup, and about to go: worth waiting for.
    Leaving,
    /// In Wazzup for longer than anybody should wait.
    Staying,
}

/// Decides about everybody who is managed and not named by the CRM. Returns the leavers, sorted by id, and the holds on
/// their removal.
pub(super) fn decide(input: Input<'_>) -> (Vec<Leaver<'_>>, Holds) {
    let users = input.snapshot.users.iter();
    let absent: Vec<(&EmployeeId, &User)> = users.filter(|(id, _)| !input.roster.names(id.as_str())).collect();
    let brake = Brake::new(input, &absent);
    let mut leavers = Vec::with_capacity(absent.len());
    let mut holds = Holds::new();
    for (id, user) in absent {
        let hold = brake.hold(id, user);
        let fate = fate(input, id, user, hold.as_ref());
        if let Some(hold) = hold.filter(|_| fate != Fate::Forgotten) {
            holds.insert(HoldKey::new(HoldKind::Remove, id.as_str()), hold);
        }
        let has_failed = input.refused(id, Operation::Remove).is_some();
        let presence = match fate {
            Fate::Stays(StayReason::Kept | StayReason::BackingOff) => Presence::Staying,
            Fate::Removed { .. } if has_failed => Presence::Staying,
            Fate::Removed { .. } | Fate::Held | Fate::Stays(StayReason::InGrace | StayReason::Unknown) => {
                Presence::Leaving
            }
            Fate::Settling | Fate::Forgotten => Presence::Gone,
        };
        leavers.push(Leaver {
            id,
            user,
            fate,
            presence,
        });
    }
    (leavers, holds)
}

fn fate(input: Input<'_>, id: &EmployeeId, user: &User, hold: Option<&Hold>) -> Fate {
    if !input.policy.removes {
        // Nothing is settled: what was lost is forgotten once it cannot land any more.
        let is_nobody = user.acknowledged.is_none() && !input.may_still_land(id);
        return if is_nobody {
            Fate::Forgotten
        } else {
            Fate::Stays(StayReason::Kept)
        };
    }
    let approved = hold.is_some_and(|hold| hold.approved.is_some());
    if hold.is_some() && !approved {
        Fate::Held
    } else if !approved && is_in_grace(input, user) {
        Fate::Stays(StayReason::InGrace)
    } else if input.backing_off(id, Operation::Remove).is_some() {
        Fate::Stays(StayReason::BackingOff)
    } else if user.acknowledged.is_some() {
        Fate::Removed { approved }
    } else {
        fate_of_unacknowledged(input, id, user, approved)
    }
}

/// A user whom only a lost upsert can have created is looked up before anything is removed.
fn fate_of_unacknowledged(input: Input<'_>, id: &EmployeeId, user: &User, approved: bool) -> Fate {
    let may_land = input.may_still_land(id);
    let lost = input.lost_entries(id);
    let was_removed_since = lost.iter().all(|entry| Some(entry.lost_at) <= user.synced_at);
    // A list may lack somebody who is there, and whoever is forgotten would stay in Wazzup for ever.
    let is_proven_absent = input.list.is_proven_absent(id.as_str()) || !id.has_own_url();
    match input.list.find(id.as_str()) {
        Sighting::Named(name) if input.is_lost_name(id, name) => Fate::Removed { approved },
        _ if may_land && was_removed_since => Fate::Settling,
        Sighting::Unknown => Fate::Stays(StayReason::Unknown),
        // Somebody else's name may still become that of a lost take-over.
        Sighting::Absent | Sighting::Named(_) if may_land => Fate::Settling,
        Sighting::Absent if !is_proven_absent => Fate::Stays(StayReason::Unknown),
        Sighting::Absent | Sighting::Named(_) => Fate::Forgotten,
    }
}

fn absent_since(input: Input<'_>, user: &User) -> Timestamp {
    user.absent_since.unwrap_or(input.now)
}

fn is_in_grace(input: Input<'_>, user: &User) -> bool {
    input.now.duration_since(absent_since(input, user)) < input.policy.grace
}

/// The brake on removals.
struct Brake<'a> {
    input: Input<'a>,
    /// Holds everybody who is absent and not approved.
    reason_for_all: Option<String>,
    /// Holds everybody whose removal was not tried yet.
    reason_for_untried: Option<String>,
}

impl<'a> Brake<'a> {
    fn new(input: Input<'a>, absent: &[(&EmployeeId, &User)]) -> Self {
        let Input { snapshot, policy, .. } = input;
        let managed = snapshot.users.len();
        let mut brake = Self {
            input,
            reason_for_all: reason_for_all(input.roster, managed, absent.len()),
            reason_for_untried: None,
        };
        let mut untried: BTreeSet<&EmployeeId> = BTreeSet::new();
        for (id, user) in absent {
            let is_approved = brake
                .existing_hold(id, user)
                .is_some_and(|hold| hold.approved.is_some());
            if !is_approved && !brake.was_tried(id, user) {
                untried.insert(id);
            }
        }
        let recent = snapshot.recent_removals.iter();
        let recent = recent
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

    /// The hold on this absence of the user, not on an earlier one.
    fn existing_hold(&self, id: &EmployeeId, user: &User) -> Option<&'a Hold> {
        let content = absent_since(self.input, user).to_string();
        let hold = self.input.hold(HoldKind::Remove, id);
        hold.filter(|hold| hold.content == content)
    }

    /// The hold on a leaver's removal, an approved one too.
    fn hold(&self, id: &EmployeeId, user: &User) -> Option<Hold> {
        if !self.input.policy.removes {
            return None;
        }
        let existing = self.existing_hold(id, user);
        if let Some(approved) = existing.filter(|hold| hold.approved.is_some()) {
            return Some(approved.clone());
        }
        let too_many = self.reason_for_untried.as_ref().filter(|_| !self.was_tried(id, user));
        let sticky = existing.filter(|hold| hold.sticky);
        let reason = self.reason_for_all.as_ref().or(too_many);
        let reason = reason.or(sticky.map(|hold| &hold.reason))?;
        let key = HoldKey::new(HoldKind::Remove, id.as_str());
        let content = absent_since(self.input, user).to_string();
        let becomes_sticky = too_many.is_some() && !is_in_grace(self.input, user);
        Some(Hold {
            sticky: sticky.is_some() || becomes_sticky,
            ..self.input.new_hold(&key, &content, reason.clone())
        })
    }

    /// Whether a removal of the user passed the brake already, since the user became absent.
    fn was_tried(&self, id: &EmployeeId, user: &User) -> bool {
        let has_failed = self.input.refused(id, Operation::Remove).is_some();
        let was_lost = self
            .input
            .lost_entries(id)
            .iter()
            .any(|entry| entry.content == LostContent::Removal && Some(entry.lost_at) >= user.absent_since);
        let was_removed = user.acknowledged.is_none() && self.input.snapshot.recent_removals.contains_key(id);
        has_failed || was_lost || was_removed
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
    pub(super) fn is_removed(&self) -> bool {
        matches!(self.fate, Fate::Removed { .. })
    }

    /// The names that the user may have in Wazzup.
    pub(super) fn names(&self, input: Input<'_>) -> Vec<NameKey> {
        match &self.user.acknowledged {
            Some(acknowledged) => vec![NameKey::of(acknowledged.name.as_str())],
            None => input
                .lost_names(self.id)
                .map(|name| NameKey::of(name.as_str()))
                .collect(),
        }
    }

    /// The last known name.
    pub(super) fn name(&self, input: Input<'_>) -> Option<String> {
        let acknowledged = self.user.acknowledged.as_ref().map(|acknowledged| &acknowledged.name);
        let name = acknowledged.or_else(|| input.lost_names(self.id).next_back());
        name.map(ToString::to_string)
    }
}
