//! What a plan is made from, and what the plan's rules ask of it again and again.

use jiff::Timestamp;

use super::{
    Acknowledged, FailureKey, Hold, HoldKey, HoldKind, LostContent, OpenFailure, Operation, Policy, RemoteList,
    Snapshot,
};
use crate::employee::{EmployeeId, FullName, Roster};

#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub roster: &'a Roster,
    pub snapshot: &'a Snapshot,
    pub list: &'a RemoteList,
    pub policy: &'a Policy,
    pub now: Timestamp,
}

impl<'a> Input<'a> {
    pub(super) fn acknowledged_users(self) -> Vec<(&'a EmployeeId, &'a Acknowledged)> {
        let users = self.snapshot.users.iter();
        users
            .filter_map(|(id, user)| Some((id, user.acknowledged.as_ref()?)))
            .collect()
    }

    /// What the service last refused of `id` at `operation`, if that failure is open.
    pub(super) fn refused(self, id: &EmployeeId, operation: Operation) -> Option<&'a OpenFailure> {
        let failures = &self.snapshot.failures;
        if failures.is_empty() {
            return None;
        }
        let open = failures.get(&FailureKey::new(id.as_str(), operation))?;
        Some(open).filter(|open| !open.failure.is_local)
    }

    pub(super) fn stored_hold(self, kind: HoldKind, id: &EmployeeId) -> Option<&'a Hold> {
        self.snapshot.holds.get(&HoldKey::new(kind, id.as_str()))
    }

    /// A hold that nobody has approved. It begins anew when its content changes, or the CRM's row of a take-over.
    pub(super) fn new_hold(self, key: &HoldKey, content: &str, crm_row: Option<String>, reason: String) -> Hold {
        let existing = self.snapshot.holds.get(key);
        let unchanged = existing.filter(|hold| hold.content == content && hold.crm_row == crm_row);
        Hold {
            content: content.to_owned(),
            since: unchanged.map_or(self.now, |hold| hold.since),
            crm_row,
            reason,
            sticky: false,
            approved: None,
        }
    }

    /// The names of lost upserts: any of them may be the user's in Wazzup.
    pub(super) fn lost_names(self, id: &EmployeeId) -> impl DoubleEndedIterator<Item = &'a FullName> {
        let entries = self.snapshot.lost_entries(id).iter();
        entries.filter_map(|entry| match &entry.content {
            LostContent::Upsert { name, .. } => Some(name),
            LostContent::Removal => None,
        })
    }

    /// Whether a lost upsert of ours may have given the user this name.
    pub(super) fn is_lost_name(self, id: &EmployeeId, name: &str) -> bool {
        self.lost_names(id).any(|lost| lost.is_same_as(name))
    }

    /// Whether a lost request about the user may still act.
    pub(super) fn may_still_land(self, id: &EmployeeId) -> bool {
        let entries = self.snapshot.lost_entries(id);
        entries.iter().any(|entry| entry.may_land_until > self.now)
    }
}
