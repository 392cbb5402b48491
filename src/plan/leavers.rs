//! The users whom the CRM does not name any more: who goes now, and who stays for what reason.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::{
    Hold, HoldKey, HoldKind, Holds, LostContent, OpenFailure, Operation, Sighting, StayReason, User, input::Input,
};
use crate::employee::{EmployeeId, FullName, NameKey, Phone};

/// A user whom the CRM does not name any more.
#[derive(Debug)]
pub(super) struct Leaver<'a> {
    pub id: &'a EmployeeId,
    pub user: &'a User,
    /// In the first cycle that misses the user, this is now.
    absent_since: Timestamp,
    /// The stored hold on this absence, not on an earlier one.
    stored_hold: Option<&'a Hold>,
    /// The removal that was refused.
    refused: Option<&'a OpenFailure>,
    pub fate: Fate,
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

impl<'a> Leaver<'a> {
    fn new(input: Input<'a>, id: &'a EmployeeId, user: &'a User) -> Self {
        let absent_since = user.absent_since.unwrap_or(input.now);
        let content = absent_since.to_string();
        let hold = input.stored_hold(HoldKind::Remove, id);
        Self {
            id,
            user,
            absent_since,
            stored_hold: hold.filter(|hold| hold.content == content),
            refused: input.refused(id, Operation::Remove),
            // Decided once everybody is known.
            fate: Fate::Stays(StayReason::Unknown),
        }
    }

    pub(super) fn is_removed(&self) -> bool {
        matches!(self.fate, Fate::Removed { .. })
    }

    /// Whether the removal may never happen, so that nobody waits for it.
    pub(super) fn may_stay(&self) -> bool {
        match self.fate {
            Fate::Stays(StayReason::Kept | StayReason::BackingOff) => true,
            Fate::Removed { .. } => self.refused.is_some(),
            Fate::Held | Fate::Stays(_) | Fate::Settling | Fate::Forgotten => false,
        }
    }

    /// Whether the user is in Wazzup and about to go, so that it is worth waiting for.
    pub(super) fn is_awaited(&self) -> bool {
        !self.may_stay() && !self.is_not_in_wazzup()
    }

    pub(super) fn is_not_in_wazzup(&self) -> bool {
        matches!(self.fate, Fate::Settling | Fate::Forgotten)
    }

    /// The names that the user may have in Wazzup, the latest last.
    pub(super) fn names(&self, input: Input<'a>) -> impl DoubleEndedIterator<Item = &'a FullName> {
        let acknowledged = self.user.acknowledged.as_ref().map(|acknowledged| &acknowledged.name);
        let lost = input.lost_names(self.id).filter(move |_| acknowledged.is_none());
        acknowledged.into_iter().chain(lost)
    }

    fn is_approved(&self) -> bool {
        self.stored_hold.is_some_and(|hold| hold.approved.is_some())
    }

    fn is_in_grace(&self, input: Input<'_>) -> bool {
        input.now < input.policy.grace_end(self.absent_since)
    }

    /// Whether a removal of the user passed the brake already, since the user became absent.
    fn was_tried(&self, input: Input<'_>) -> bool {
        let mut lost = input.snapshot.lost_entries(self.id).iter();
        let was_lost = lost.any(|entry| entry.content == LostContent::Removal && entry.lost_at >= self.absent_since);
        let was_removed = self.user.acknowledged.is_none() && input.snapshot.recent_removals.contains_key(self.id);
        self.refused.is_some() || was_lost || was_removed
    }

    /// The hold on the removal, an approved one too.
    fn decide_hold(
        &self,
        input: Input<'_>,
        reason_for_all: Option<&str>,
        reason_for_untried: Option<&str>,
    ) -> Option<Hold> {
        if !input.policy.removes {
            return None;
        }
        if self.is_approved() {
            return self.stored_hold.cloned();
        }
        let too_many = reason_for_untried.filter(|_| !self.was_tried(input));
        let sticky = self.stored_hold.filter(|hold| hold.sticky);
        let reason = reason_for_all.or(too_many);
        let reason = reason.or(sticky.map(|hold| hold.reason.as_str()))?;
        let key = HoldKey::new(HoldKind::Remove, self.id.as_str());
        let content = self.absent_since.to_string();
        let becomes_sticky = too_many.is_some() && !self.is_in_grace(input);
        Some(Hold {
            sticky: sticky.is_some() || becomes_sticky,
            ..input.new_hold(&key, &content, None, reason.to_owned())
        })
    }

    fn decide_fate(&self, input: Input<'_>, is_held: bool) -> Fate {
        let approved = self.is_approved();
        if !input.policy.removes {
            // Nothing is settled: what was lost is forgotten once it cannot land any more.
            let is_nobody = self.user.acknowledged.is_none() && !input.may_still_land(self.id);
            if is_nobody {
                Fate::Forgotten
            } else {
                Fate::Stays(StayReason::Kept)
            }
        } else if is_held {
            Fate::Held
        } else if !approved && self.is_in_grace(input) {
            Fate::Stays(StayReason::InGrace)
        } else if self.refused.is_some_and(|failure| failure.backs_off(input.now)) {
            Fate::Stays(StayReason::BackingOff)
        } else if self.user.acknowledged.is_some() {
            Fate::Removed { approved }
        } else {
            self.fate_of_unacknowledged(input)
        }
    }

    /// What becomes of a user whom only a lost upsert can have created, or brought back: nothing is removed before Wazzup shows
    /// the user under one of our names.
    fn fate_of_unacknowledged(&self, input: Input<'_>) -> Fate {
        let id = self.id;
        let may_land = input.may_still_land(id);
        let mut lost = input.snapshot.lost_entries(id).iter();
        let was_removed_since = lost.all(|entry| Some(entry.lost_at) <= self.user.synced_at);
        // A list may lack somebody who is there, and whoever is forgotten would stay in Wazzup permanently.
        let is_proven_absent = input.list.was_not_found(id.as_str()) || !id.has_own_url();
        match input.list.find(id.as_str()) {
            Sighting::Named(name) if input.is_lost_name(id, name) => Fate::Removed {
                approved: self.is_approved(),
            },
            _ if may_land && was_removed_since => Fate::Settling,
            Sighting::Unknown => Fate::Stays(StayReason::Unknown),
            // Somebody else's name may still become that of a lost take-over.
            Sighting::Absent | Sighting::Named(_) if may_land => Fate::Settling,
            Sighting::Absent if !is_proven_absent => Fate::Stays(StayReason::Unknown),
            Sighting::Absent | Sighting::Named(_) => Fate::Forgotten,
        }
    }
}

/// Everybody whom the CRM does not name any more.
#[derive(Debug)]
pub(super) struct Leavers<'a> {
    /// Sorted by id.
    pub all: Vec<Leaver<'a>>,
    /// Their indexes by each name and phone that they may have in Wazzup.
    by_name: HashMap<NameKey, Vec<usize>>,
    by_phone: HashMap<Phone, Vec<usize>>,
}

impl<'a> Leavers<'a> {
    /// Decides about everybody who is managed and not named by the CRM. Returns also the holds on their removal.
    pub(super) fn decide(input: Input<'a>) -> (Self, Holds) {
        let users = input.snapshot.users.iter();
        let absent = users.filter(|(id, _)| !input.roster.names(id.as_str()));
        let mut all: Vec<Leaver<'a>> = absent.map(|(id, user)| Leaver::new(input, id, user)).collect();
        let reason_for_all = reason_to_hold_all(input, &all);
        let reason_for_untried = reason_to_hold_untried(input, &all);
        let mut holds = Holds::new();
        for leaver in &mut all {
            let hold = leaver.decide_hold(input, reason_for_all.as_deref(), reason_for_untried.as_deref());
            let is_held = hold.as_ref().is_some_and(|hold| hold.approved.is_none());
            leaver.fate = leaver.decide_fate(input, is_held);
            if let Some(hold) = hold.filter(|_| leaver.fate != Fate::Forgotten) {
                holds.insert(HoldKey::new(HoldKind::Remove, leaver.id.as_str()), hold);
            }
        }
        let mut leavers = Self {
            all,
            by_name: HashMap::new(),
            by_phone: HashMap::new(),
        };
        for (index, leaver) in leavers.all.iter().enumerate() {
            for phone in input.snapshot.possible_phones(leaver.id) {
                leavers.by_phone.entry(phone).or_default().push(index);
            }
            for name in leaver.names(input) {
                let key = NameKey::of(name.as_str());
                leavers.by_name.entry(key).or_default().push(index);
            }
        }
        (leavers, holds)
    }

    /// Those who may have `phone` in Wazzup.
    pub(super) fn with_phone(&self, phone: Phone) -> impl Iterator<Item = &Leaver<'a>> {
        let indexes = self.by_phone.get(&phone).into_iter().flatten();
        indexes.map(|index| &self.all[*index])
    }

    /// Those to wait for who have the same name or phone: one of them may be the same person under another id.
    pub(super) fn lookalikes(&self, name: &str, phone: Option<Phone>) -> Vec<&Leaver<'a>> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let by_name = self.by_name.get(&NameKey::of(name));
        let by_phone = phone.and_then(|phone| self.by_phone.get(&phone));
        let indexes: BTreeSet<usize> = by_name.into_iter().chain(by_phone).flatten().copied().collect();
        let leavers = indexes.into_iter().map(|index| &self.all[index]);
        leavers.filter(|leaver| leaver.is_awaited()).collect()
    }
}

/// Why removals that were not tried yet are held, if the brake on removals engages.
fn reason_to_hold_untried(input: Input<'_>, leavers: &[Leaver<'_>]) -> Option<String> {
    let Input { snapshot, policy, .. } = input;
    let untried = leavers
        .iter()
        .filter(|leaver| !leaver.is_approved() && !leaver.was_tried(input));
    let untried: BTreeSet<&EmployeeId> = untried.map(|leaver| leaver.id).collect();
    let mut recent = 0;
    for (id, removal) in &snapshot.recent_removals {
        recent += usize::from(!removal.approved && !untried.contains(id));
    }
    let count = untried.len();
    let limit = policy.removals.of(snapshot.users.len());
    (count + recent > limit).then(|| {
        format!(
            "{count} missing from the CRM and {recent} removed in the last 24 hours, together more than the limit of {limit}"
        )
    })
}

/// Why nobody at all may be removed without approval, if so.
fn reason_to_hold_all(input: Input<'_>, leavers: &[Leaver<'_>]) -> Option<String> {
    let Input { roster, snapshot, .. } = input;
    let managed = snapshot.users.len();
    let absent = leavers.len();
    let holds = leavers.iter().filter_map(|leaver| leaver.stored_hold);
    let held_since = holds
        .filter(|hold| hold.approved.is_none())
        .map(|hold| hold.since)
        .min();
    // A wrong table may name somebody, who is then added: that person does not show that the others have left.
    let newcomers = held_since.map_or(0, |since| snapshot.newcomers_since(since));
    if absent == 0 {
        None
    } else if roster.is_empty() {
        let everybody = if managed == 1 {
            "the only user".to_owned()
        } else {
            format!("ALL {managed} users")
        };
        Some(format!("the CRM names nobody: this is {everybody}"))
    } else if roster.missing_ids == 1 {
        Some("a row of the CRM has no id, and may be anybody's".to_owned())
    } else if roster.missing_ids > 1 {
        Some(format!(
            "{} rows of the CRM have no id, and may be anybody's",
            roster.missing_ids
        ))
    } else if absent >= 2 && absent + newcomers >= managed {
        let but_newcomers = match newcomers {
            0 => String::new(),
            newcomers => format!(", but for {newcomers} added since"),
        };
        Some(format!("ALL {absent} users are missing from the CRM{but_newcomers}"))
    } else {
        None
    }
}
