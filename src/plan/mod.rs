//! What a cycle will do, decided before it does anything.

mod failures;
mod holds;
mod list;
mod snapshot;

pub(crate) use failures::backing_off;
pub use failures::{Failure, FailureKey, Failures, LocalFailure, Operation, RefusedAttempt, back_off};
pub use holds::{Approval, Hold, HoldKey, HoldKind, Holds, Limit, Policy};
pub use list::{Coverage, RemoteList, Sighting};
pub use snapshot::{AccountFacts, Acknowledged, LostContent, LostEntry, RecentRemoval, Snapshot, User};

use crate::employee::EmployeeId;

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
    pub opened_holds: Vec<(HoldKey, Hold)>,
    /// Holds that are over.
    pub closed_holds: Vec<HoldKey>,
    /// Failures in the CRM's own rows that are not stored yet.
    pub opened_failures: Vec<LocalFailure>,
    /// Failures whose attempt is no longer wanted.
    pub closed_failures: Vec<FailureKey>,
    /// Users without acknowledged values who turned out not to be ours: their row, lost entries and failures go.
    pub forgotten: Vec<EmployeeId>,
    /// Users whose lost entries need no settling any more.
    pub dropped_losses: Vec<EmployeeId>,
}

impl Marks {
    /// Whether there is nothing to write down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
