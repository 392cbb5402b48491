//! Open failures: what was refused, and when it is tried again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::employee::{EmployeeId, FullName, Phone, RowProblem, Spelling};

/// What a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Adding or changing the user.
    Upsert,
    /// Removing the user.
    Remove,
    /// Only the user's phone. Without an attempted phone: giving one up.
    Phone,
}

impl Operation {
    /// As the state, `status` and the log write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Remove => "remove",
            Self::Phone => "phone",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Upsert, Self::Remove, Self::Phone]
            .into_iter()
            .find(|operation| operation.as_str() == text)
    }
}

/// Names a failure. The user's id is plain text: a rejected row's id may be none that Wazzup would take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKey {
    /// Whose failure.
    pub user_id: Box<str>,
    /// What failed.
    pub operation: Operation,
}

impl FailureKey {
    /// The failure of `user_id` at `operation`.
    #[must_use]
    pub fn new(user_id: &str, operation: Operation) -> Self {
        Self {
            user_id: user_id.into(),
            operation,
        }
    }
}

/// The open failures.
pub type Failures = BTreeMap<FailureKey, Failure>;

/// An open failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Found in the CRM's own rows: it opens and closes with them and has no retry schedule.
    Local {
        /// What is wrong.
        problem: RowProblem,
        /// The spelling that could not be read, for [`RowProblem::InvalidPhone`]: it is not read again.
        spelling: Option<Spelling>,
    },
    /// Refused by the service.
    Refused(RefusedAttempt),
}

/// The last attempt that the service refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedAttempt {
    /// The service's code, as `status` shows it.
    pub code: String,
    /// The name that was attempted.
    pub name: Option<FullName>,
    /// The phone that was attempted.
    pub phone: Option<Phone>,
    /// How often it was attempted with these values.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt_at: Timestamp,
}

/// A failure in the CRM's own rows that the plan opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFailure {
    /// Whose failure and of what.
    pub key: FailureKey,
    /// What is wrong.
    pub problem: RowProblem,
    /// See [`Failure::Local`].
    pub spelling: Option<Spelling>,
}

/// The refused attempt of `id` at `operation`, if its next attempt is later than `now`.
pub(crate) fn backing_off<'a>(
    failures: &'a Failures,
    id: &EmployeeId,
    operation: Operation,
    now: Timestamp,
) -> Option<&'a RefusedAttempt> {
    if failures.is_empty() {
        return None;
    }
    match failures.get(&FailureKey::new(id.as_str(), operation))? {
        Failure::Refused(attempt) if attempt.next_attempt_at > now => Some(attempt),
        _ => None,
    }
}

/// How long a failure waits after its `attempts`-th attempt: 1 min, 5 min, 30 min, 2 h, 6 h, then a day each.
#[must_use]
pub fn back_off(attempts: u32) -> SignedDuration {
    const MINUTES: [i64; 6] = [1, 5, 30, 2 * 60, 6 * 60, 24 * 60];
    let step = (attempts.max(1) as usize - 1).min(MINUTES.len() - 1);
    SignedDuration::from_mins(MINUTES[step])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_ends_at_once_a_day() {
        let minutes = |attempts| back_off(attempts).as_mins();
        assert_eq!(
            [1, 2, 3, 4, 5, 6, 7, 400].map(minutes),
            [1, 5, 30, 120, 360, 1440, 1440, 1440]
        );
    }

    #[test]
    fn operations_are_read_back() {
        for operation in [Operation::Upsert, Operation::Remove, Operation::Phone] {
            assert_eq!(Operation::parse(operation.as_str()), Some(operation));
        }
    }
}
