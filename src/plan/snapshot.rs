//! What the state knows when a cycle begins: the users we manage, what was lost, failures, holds and the account itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{FailureKey, Holds, OpenFailure};
use crate::employee::{EmployeeId, FullName, KnownPhones, Phone, Spelling};

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The users we manage. A row without acknowledged values belongs to a creation whose answer was lost, or to a
    /// removed user whom a lost upsert may bring back.
    pub users: BTreeMap<EmployeeId, User>,
    /// Entries of lost requests, by user.
    pub lost: BTreeMap<EmployeeId, Vec<LostEntry>>,
    pub failures: BTreeMap<FailureKey, OpenFailure>,
    /// Open holds, approved ones included.
    pub holds: Holds,
    /// Who was removed in the last 24 hours.
    pub recent_removals: BTreeMap<EmployeeId, RecentRemoval>,
    pub account: AccountFacts,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct User {
    #[serde(flatten)]
    pub acknowledged: Option<Acknowledged>,
    /// Since when the CRM does not name the user any more.
    pub absent_since: Option<Timestamp>,
    /// When Wazzup last acknowledged a request about the user.
    pub synced_at: Option<Timestamp>,
    /// Since when the user is managed.
    #[serde(skip)]
    pub added_at: Option<Timestamp>,
}

/// A user as Wazzup acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    pub name: FullName,
    pub phone: Option<Phone>,
    /// How the CRM spells the phone, so that an unchanged spelling need not be read again.
    #[serde(skip)]
    pub phone_spelling: Option<Spelling>,
}

impl Acknowledged {
    /// Whether Wazzup's list shows the acknowledged name.
    pub fn is_named(&self, shown: &str) -> bool {
        self.name.as_str() == shown.trim()
    }
}

/// One entry of a request that may have acted, or may still act, without our knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostEntry {
    #[serde(flatten)]
    pub content: LostContent,
    /// When the loss was noted.
    pub lost_at: Timestamp,
    /// The request cannot act after this time.
    pub may_land_until: Timestamp,
}

/// What a lost request said about one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum LostContent {
    /// Create or update with these values.
    Upsert {
        name: FullName,
        /// The phone; `None`: the key was left out.
        phone: Option<Phone>,
    },
    #[serde(rename = "remove")]
    Removal,
}

/// A removal of the last 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentRemoval {
    /// Somebody approved it, so the brake does not count it.
    pub approved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFacts {
    /// The fingerprint of address and key with which a list last passed; `None` before the first.
    pub fingerprint: Option<String>,
    pub seats: Seats,
    /// Employees who waited for a seat at the end of the last cycle.
    pub waiting_for_seat: BTreeSet<EmployeeId>,
    /// An operator wants those who wait for a seat to be tried now.
    pub retry_seats: bool,
}

/// The seats of an account, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seats {
    /// Users in the account, foreign ones included: as last counted, and changed by our own additions and removals since.
    pub used: Option<usize>,
    /// The most users that the account may have, once the service has named it.
    pub limit: Option<usize>,
}

impl Seats {
    pub fn free(&self) -> Option<usize> {
        let (used, limit) = (self.used?, self.limit?);
        Some(limit.saturating_sub(used))
    }
}

impl Snapshot {
    /// The user as Wazzup acknowledged it, if it ever did.
    pub fn acknowledged(&self, id: &str) -> Option<&Acknowledged> {
        self.users.get(id)?.acknowledged.as_ref()
    }

    pub fn lost_entries(&self, id: &EmployeeId) -> &[LostEntry] {
        self.lost.get(id).map_or(&[], Vec::as_slice)
    }

    /// How many users were added after `time` and are not absent: they do not show that anybody else is still there.
    pub fn newcomers_since(&self, time: Timestamp) -> usize {
        let is_newcomer = |user: &&User| user.absent_since.is_none() && user.added_at > Some(time);
        self.users.values().filter(is_newcomer).count()
    }

    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.users.contains_key(id)
            || self.lost.contains_key(id)
            || self.account.waiting_for_seat.contains(id)
            || self.failures.keys().any(|key| *key.user_id == *id)
            || self.holds.keys().any(|key| key.concerned_user() == Some(id))
    }

    /// Who is failing or waiting for a seat, and so can be tried again.
    #[must_use]
    pub fn retryable(&self) -> BTreeSet<&str> {
        let mut retryable = BTreeSet::new();
        for (key, open) in &self.failures {
            if !open.failure.is_local {
                retryable.insert(&*key.user_id);
            }
        }
        retryable.extend(self.account.waiting_for_seat.iter().map(EmployeeId::as_str));
        retryable
    }

    /// What the CRM's spellings that were read before mean.
    pub fn known_phones(&self) -> KnownPhones {
        let mut known = KnownPhones::with_capacity(self.users.len());
        for user in self.users.values() {
            let Some(acknowledged) = &user.acknowledged else {
                continue;
            };
            if let Some(spelling) = &acknowledged.phone_spelling {
                known.insert(spelling.clone(), acknowledged.phone);
            }
        }
        for open in self.failures.values() {
            if let Some(spelling) = &open.failure.spelling {
                known.insert(spelling.clone(), None);
            }
        }
        known
    }

    /// Each phone that the user may hold in Wazzup: the acknowledged one, and those of lost upserts.
    pub fn possible_phones<'a>(&'a self, id: &'a EmployeeId) -> impl Iterator<Item = Phone> + 'a {
        let acknowledged = self.acknowledged(id.as_str()).and_then(|user| user.phone);
        let lost = self.lost_entries(id).iter().filter_map(|entry| match &entry.content {
            LostContent::Upsert { phone, .. } => *phone,
            LostContent::Removal => None,
        });
        acknowledged.into_iter().chain(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Failure, Hold, HoldKey, HoldKind, Operation};

    fn id(text: &str) -> EmployeeId {
        EmployeeId::parse(text).expect("an id")
    }

    fn local_failure(user_id: &str, spelling: Option<&str>) -> Failure {
        let key = FailureKey::new(user_id, Operation::Phone);
        let spelling = spelling.map(Spelling::from_stored);
        Failure::in_crm(key, crate::employee::RowProblem::InvalidPhone, spelling)
    }

    /// `user` is managed, `lost` stands in the journal, `waiting` waits for a seat, `failing` was refused, `unreadable` has a phone
    /// that cannot be read, and a take-over of `held` is held.
    fn snapshot() -> Snapshot {
        let now = Timestamp::UNIX_EPOCH;
        let mut snapshot = Snapshot::default();
        let acknowledged = Acknowledged {
            name: FullName::parse("Anna").expect("a name"),
            phone: Some(Phone::parse("79261234567").expect("a phone")),
            phone_spelling: Some(Spelling::from_stored("RU 89261234567")),
        };
        let user = User {
            acknowledged: Some(acknowledged),
            ..User::default()
        };
        snapshot.users.insert(id("user"), user);
        snapshot.lost.insert(id("lost"), Vec::new());
        snapshot.account.waiting_for_seat.insert(id("waiting"));
        let unreadable = local_failure("unreadable", Some("RU none"));
        let mut refused = local_failure("failing", None);
        refused.is_local = false;
        for failure in [unreadable, refused] {
            let key = failure.key.clone();
            snapshot.failures.insert(key, OpenFailure::new(failure, now));
        }
        let hold = Hold {
            content: "Boris".to_owned(),
            crm_row: None,
            reason: String::new(),
            since: now,
            sticky: false,
            approved: None,
        };
        snapshot.holds.insert(HoldKey::new(HoldKind::Takeover, "held"), hold);
        snapshot
    }

    #[test]
    fn somebody_is_known_who_stands_in_any_table() {
        let snapshot = snapshot();
        for known in ["user", "lost", "waiting", "failing", "unreadable", "held"] {
            assert!(snapshot.knows(known), "{known}");
        }
        assert!(!snapshot.knows("somebody else"));
    }

    #[test]
    fn whoever_was_refused_or_waits_for_a_seat_can_be_tried_again() {
        assert_eq!(snapshot().retryable(), BTreeSet::from(["failing", "waiting"]));
    }

    #[test]
    fn spellings_that_were_read_before_are_known_also_as_no_phone() {
        let known = snapshot().known_phones();
        let phone = Phone::parse("79261234567").expect("a phone");
        assert_eq!(known.get(&Spelling::from_stored("RU 89261234567")), Some(&Some(phone)));
        assert_eq!(known.get(&Spelling::from_stored("RU none")), Some(&None));
        assert_eq!(known.len(), 2);
    }
}
