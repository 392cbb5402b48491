//! Open failures: what was refused, and when it is tried again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use strum::{AsRefStr, EnumIter, EnumString};

use crate::employee::{FullName, Phone, RowProblem, Spelling};

/// What a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsRefStr, EnumIter, EnumString, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Operation {
    /// Adding or changing the user.
    Upsert,
    /// Removing the user.
    Remove,
    /// Only the user's phone. Without an attempted phone: giving one up.
    Phone,
}

/// Names a failure. The user's id is plain text: a rejected row's id may be none that Wazzup would take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FailureKey {
    pub user_id: Box<str>,
    pub operation: Operation,
}

impl FailureKey {
    pub fn new(user_id: &str, operation: Operation) -> Self {
        Self {
            user_id: user_id.into(),
            operation,
        }
    }
}

/// What cannot be done about one user, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    #[serde(flatten)]
    pub key: FailureKey,
    /// The service's code, or that of a [`RowProblem`].
    pub code: String,
    /// Our own words for it.
    pub detail: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// How often it was attempted with these values, the last attempt included; 0 for one in the CRM's own rows.
    pub attempts: u32,
    /// Found in the CRM's own rows: it opens and closes with them and has no retry schedule.
    #[serde(rename = "in_crm")]
    pub is_local: bool,
    /// The name that was attempted.
    #[serde(skip)]
    pub name: Option<FullName>,
    /// The phone that the CRM wants, sent or not.
    #[serde(skip)]
    pub phone: Option<Phone>,
    /// The spelling that could not be read, for [`RowProblem::InvalidPhone`]: it is not read again.
    #[serde(skip)]
    pub spelling: Option<Spelling>,
}

pub type Failures = BTreeMap<FailureKey, Failure>;

impl Failure {
    /// A failure in the CRM's own rows.
    pub(super) fn in_crm(key: FailureKey, problem: RowProblem, spelling: Option<Spelling>) -> Self {
        Self {
            key,
            code: problem.to_string(),
            detail: problem.reason().to_owned(),
            request_id: None,
            attempts: 0,
            is_local: true,
            name: None,
            phone: None,
            spelling,
        }
    }
}

/// A failure as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenFailure {
    #[serde(flatten)]
    pub failure: Failure,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// When it is tried again; `None`: as soon as the CRM's row is corrected.
    pub next_attempt_at: Option<Timestamp>,
}

impl OpenFailure {
    /// As it is once it was opened `now`.
    pub fn new(failure: Failure, now: Timestamp) -> Self {
        Self {
            first_at: now,
            last_at: now,
            next_attempt_at: (!failure.is_local).then(|| now + back_off(failure.attempts)),
            failure,
        }
    }

    pub(super) fn backs_off(&self, now: Timestamp) -> bool {
        self.next_attempt_at > Some(now)
    }
}

/// How long a failure waits after its `attempts`-th attempt: 1 min, 5 min, 30 min, 2 h, 6 h, then 24 h each time.
pub fn back_off(attempts: u32) -> SignedDuration {
    const MINUTES: [i64; 6] = [1, 5, 30, 2 * 60, 6 * 60, 24 * 60];
    let step = (attempts.max(1) as usize - 1).min(MINUTES.len() - 1);
    SignedDuration::from_mins(MINUTES[step])
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn the_back_off_stays_at_24_hours() {
        let minutes = |attempts| back_off(attempts).as_mins();
        assert_eq!(
            [1, 2, 3, 4, 5, 6, 7, 400].map(minutes),
            [1, 5, 30, 120, 360, 1440, 1440, 1440]
        );
    }

    #[test]
    fn each_operation_is_stored_by_its_name() {
        for operation in Operation::iter() {
            assert_eq!(operation.as_ref().parse(), Ok(operation));
        }
        assert_eq!(Operation::Upsert.as_ref(), "upsert");
        assert!("add".parse::<Operation>().is_err());
    }
}
