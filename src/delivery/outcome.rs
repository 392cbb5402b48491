//! What an answer came to: what the state has to record.

use super::request::{Loss, Request};
use crate::{
    employee::{EmployeeId, FullName, Phone},
    plan::FailureKey,
};

/// What one answer came to. Recorded in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is not known about the request that was answered: its entries are lost.
    pub loss: Loss,
    /// What became of its entries, and of others whose fate hung on it.
    pub outcomes: Vec<Outcome>,
    /// What to send next. `None` ends the delivery.
    pub next: Option<Request>,
}

/// One thing to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All entries of the upsert in the journal were acknowledged.
    Upserted,
    /// All users of the removal in the journal are gone.
    Removed {
        /// Those who had been gone before.
        absent: Vec<EmployeeId>,
    },
    /// An attempt was refused.
    Failed(FailedAttempt),
    /// A failure is over.
    Recovered(FailureKey),
    /// The number of used seats changed by this.
    SeatsTaken(i64),
    /// The service named the most users that the account may have.
    AccountFull {
        /// The most users that it may have: what the service named, else how many there are.
        limit: usize,
        /// How many users it has; `None` leaves the count as it is.
        used: Option<usize>,
    },
    /// More users were accepted than the known limit: it is none.
    LimitExceeded,
}

/// An attempt that is charged to one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Whose, and of what.
    pub key: FailureKey,
    /// The service's code, as `status` shows it.
    pub code: String,
    /// Our own words for it: what it means and what to do.
    pub detail: &'static str,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// The name that was attempted.
    pub name: Option<FullName>,
    /// The phone that was attempted.
    pub phone: Option<Phone>,
    /// How often it was attempted with these values, this attempt included.
    pub attempts: u32,
}
