//! What a cycle will do, decided before it does anything.
//!
//! Pure: the plan follows from the CRM's roster, the snapshot of the state, Wazzup's own list, the policy and the time.
//! It can be printed and tested without a database or a network. What it still has to know of Wazzup it asks for
//! ([`Questions`]); the cycle adds the answers to the list and plans again.

mod account;
mod entry;
mod failures;
mod holds;
mod input;
mod leavers;
mod list;
mod marks;
mod missing;
mod next_step;
mod phones;
mod planner;
mod snapshot;
#[cfg(test)]
mod tests;
mod updates;
mod wish;

use std::collections::BTreeMap;

use serde::Serialize;

pub use entry::{BatchEntry, Change, PlannedRemoval, PlannedUpsert};
pub use failures::{Failure, FailureKey, Failures, OpenFailure, Operation, back_off};
pub use holds::{Approval, Hold, HoldKey, HoldKind, Holds, Limit, Policy};
pub use list::{Coverage, RemoteList, Sighting};
pub(crate) use next_step::NextStep;
pub use snapshot::{AccountFacts, Acknowledged, LostContent, LostEntry, Seats, Snapshot, User};

use crate::employee::{EmployeeId, FullName, RowProblem};

/// The most entries that Wazzup takes in one request.
pub const BATCH: usize = 100;

/// What a cycle will do. Lists of ids are sorted.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub removals: Vec<PlannedRemoval>,
    /// Users who give up their phone before somebody else takes it.
    pub releases: Vec<BatchEntry>,
    /// Users who are added or changed: those who are in Wazzup already before those who take a seat.
    pub upserts: Vec<PlannedUpsert>,
    pub seats: Seats,
    /// So many additions are tried beyond the known limit: seats may have been booked.
    pub tried_beyond_seats: usize,
    /// A user who is sent again unchanged to see whether the service accepts any write: somebody in sync, or somebody who is to
    /// be sent again with the acknowledged values anyway.
    pub control: Option<BatchEntry>,
    /// Employees who are not sent as the CRM wants them, and why; everybody while the account is doubted. Those of them who are in
    /// `upserts` are sent without their phone, or as acknowledged.
    pub waiting: BTreeMap<EmployeeId, Waiting>,
    /// Users who left the CRM and stay in Wazzup for now. Held users are only in `holds`.
    pub staying: Vec<StayingUser>,
    /// All open holds, approved ones included.
    pub holds: Holds,
    pub missing_ids: usize,
    /// Everything that is wrong in the CRM's own rows, whether it is known already or not; and what the service refused in
    /// earlier cycles, as far as it is still wanted.
    pub open_failures: Failures,
    /// How Wazzup's list differs from what it acknowledged.
    pub drift: Drift,
    /// What has to be written down first.
    pub marks: Marks,
    /// What has to be asked first.
    pub questions: Questions,
    /// The list of this cycle, or the look-ups, showed that this is our account; so does any list while we manage nobody or
    /// one user.
    pub account_proven: bool,
    /// How many employees Wazzup has exactly as the CRM wants them, without an open failure.
    pub unchanged: usize,
    /// How many distinct ids the CRM wants in Wazzup.
    pub eligible: usize,
    /// Users of ours, those included whom only a lost request may have created.
    pub managed: usize,
}

/// What an employee waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// This leaver looks the same, and has to be gone or back before the employee is added.
    ForLeaver(EmployeeId),
    ForSeat,
    /// The last attempt was refused and is not yet due again.
    BackingOff,
    /// For the phone of somebody who is leaving, an approval, or an answer from Wazzup.
    Pending,
}

/// A user who left the CRM and stays in Wazzup for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StayingUser {
    pub id: EmployeeId,
    pub name: Option<FullName>,
    pub reason: StayReason,
}

/// Why a user missing from the CRM is not removed now. A held user is in [`Plan::holds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StayReason {
    /// Not absent for long enough.
    InGrace,
    /// Nobody is ever removed, by policy.
    Kept,
    /// The last removal was refused.
    BackingOff,
    /// Wazzup could not be asked, or the account is doubted.
    Unknown,
}

/// How Wazzup's list differs from what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drift {
    /// Users of ours whom the list lacks.
    pub missing: usize,
    /// Users of ours whom the list shows under another name.
    pub renamed: usize,
    pub foreign: usize,
}

/// What the plan has to know before it can be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Questions {
    pub list: bool,
    pub users: Vec<EmployeeId>,
    /// Without an answer the account cannot be judged, and nothing may be sent.
    pub for_account: bool,
}

/// What the plan wants to be written down before the first request, whether or not there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The account is another one, which somebody approved: users, journal, failures, holds and seats are forgotten first.
    pub forgets_account: bool,
    /// Users who are absent from the CRM for the first time: `absent_since` becomes the time of the cycle.
    pub newly_absent: Vec<EmployeeId>,
    /// Users who are back: `absent_since` becomes NULL.
    pub returned: Vec<EmployeeId>,
    /// Holds that are new or changed, as they are to be stored.
    pub opened_holds: Holds,
    /// Holds that are over.
    pub closed_holds: Vec<HoldKey>,
    /// Failures in the CRM's own rows that are not stored yet.
    pub opened_failures: Vec<Failure>,
    /// Failures whose attempt is no longer wanted.
    pub closed_failures: Vec<FailureKey>,
    /// Users without acknowledged values who turned out not to be ours: their row, lost entries and failures go.
    pub forgotten: Vec<EmployeeId>,
    /// Users whose lost entries need no settling any more.
    pub dropped_losses: Vec<EmployeeId>,
}

impl Marks {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Plan {
    /// How many requests that change something the plan needs when nothing is refused.
    pub fn requests(&self) -> usize {
        [self.removals.len(), self.releases.len(), self.upserts.len()]
            .iter()
            .map(|entries| entries.div_ceil(BATCH))
            .sum()
    }

    /// How many additions may be sent; `None` while no limit is known.
    pub fn room(&self) -> Option<usize> {
        Some(self.seats.free()? + self.tried_beyond_seats)
    }

    /// What is wrong in the CRM's own rows: rows that cannot be taken, and phones that are left out.
    pub fn row_problems(&self) -> impl Iterator<Item = (&FailureKey, RowProblem)> {
        let local = self.open_failures.values().filter(|failure| failure.is_local);
        local.filter_map(|failure| Some((&failure.key, failure.code.parse().ok()?)))
    }

    pub fn waiting_for_seat(&self) -> impl Iterator<Item = &EmployeeId> {
        let waiting = self.waiting.iter().filter(|(_, waiting)| **waiting == Waiting::ForSeat);
        waiting.map(|(id, _)| id)
    }

    /// The holds that nobody has approved yet.
    pub fn unapproved_holds(&self) -> impl Iterator<Item = (&HoldKey, &Hold)> {
        self.holds.iter().filter(|(_, hold)| hold.approved.is_none())
    }

    /// Whether nothing speaks against this being the right Wazzup account. If not, nothing is sent.
    pub fn is_account_known(&self) -> bool {
        !self.doubts_account() && !self.questions.for_account
    }

    /// Whether the account is doubted, so that nothing may be sent.
    pub fn doubts_account(&self) -> bool {
        self.unapproved_holds().any(|(key, _)| key.kind == HoldKind::Account)
    }
}
