//! The requests that a delivery asks for, and the answers that it is told.

use std::fmt;

use crate::{
    employee::{EmployeeId, Phone},
    plan::{BatchEntry, Operation},
};

/// What to send next. At most one is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `POST /users` with at most 100 entries; no id twice.
    Upsert {
        /// In the order in which an answer counts them.
        entries: Vec<BatchEntry>,
        attempts: Attempts,
    },
    /// `PATCH /users/bulk_delete` with at most 100 ids; none twice.
    Remove {
        user_ids: Vec<EmployeeId>,
        attempts: Attempts,
    },
    /// One cheap `GET /users`: does the service answer, and does it take the key? It is not written into the journal.
    Ping,
}

/// How hard a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// With the usual retries.
    Several,
    /// Once: it is part of a group that failed already.
    One,
}

impl Request {
    /// Whether it may change something in Wazzup, and so belongs in the journal.
    pub fn is_writing(&self) -> bool {
        !matches!(self, Self::Ping)
    }

    pub fn entry_count(&self) -> usize {
        match self {
            Self::Upsert { entries, .. } => entries.len(),
            Self::Remove { user_ids, .. } => user_ids.len(),
            Self::Ping => 0,
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The result of the last attempt.
    pub verdict: Verdict,
    /// What is not known about the attempts.
    pub loss: Loss,
}

/// Whether an attempt of the request may have acted without our knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Loss {
    #[default]
    None,
    /// It may have acted, and is over: a 500.
    Over,
    /// It may still act, until twice the time-out has passed: a time-out, a reset, a gateway's error, a web page.
    MayLand,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The service did it.
    Accepted {
        /// Of a removal: the ids that were not there.
        absent: Vec<EmployeeId>,
    },
    /// The service decided against it: a 4xx other than 401, 403-405, 408, 425 and 429.
    Refused(Refusal),
    /// Something answered, or nothing did, and neither is a decision about the entries: 403, 404, 405, 5xx, a time-out, a
    /// reset or a web page that stayed through the retries.
    NoDecision(Refusal),
    /// No other request would fare better.
    Interrupted(Interruption),
}

impl Verdict {
    pub(super) fn was_attempted(&self) -> bool {
        !matches!(self, Self::Interrupted(Interruption::NotSent(_)))
    }
}

/// Why there is no use in sending anything at the moment. Nobody is charged with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// 401.
    #[error("Wazzup does not accept the API key (401): replace it with an API key from the account's settings")]
    Unauthorized,
    /// 403 to a call that every key of an account may make.
    #[error(
        "Wazzup forbids this with the API key (403): the key is probably of the wrong type (\"sidecar\"); \
         use an API key from the account's settings"
    )]
    Forbidden,
    /// The service cannot be reached, redirects (3xx), does not take the request now (408, 425, 429), or answers and
    /// takes nothing; in words.
    #[error("Wazzup is unavailable: {0}; if this lasts, check the network, wazzup.base_url and Wazzup's status")]
    Unavailable(String),
    #[error("no further request was sent to Wazzup: {0}; the next cycle continues")]
    NotSent(NotSent),
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    #[error("the process is stopping")]
    Stopping,
    #[error("the lease does not cover the request's time-out")]
    LeaseTooShort,
}

/// What the service said when it refused a request or failed on it. Neither `Display` nor `Debug` shows anything personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// The service's id of the request, for its support.
    pub request_id: Option<String>,
    /// The entries that it names as invalid, in its order.
    pub invalid: Vec<InvalidEntry>,
    /// The phone that it names as taken.
    pub phone: Option<Phone>,
    /// The limit that it names, at least 1.
    pub limit: Option<usize>,
}

impl From<RefusalCode> for Refusal {
    /// A refusal of which nothing else is known.
    fn from(code: RefusalCode) -> Self {
        Self {
            code,
            request_id: None,
            invalid: Vec::new(),
            phone: None,
            limit: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.request_id {
            Some(request_id) => write!(f, "{}, request {request_id}", self.code),
            None => self.code.fmt(f),
        }
    }
}

/// One entry that the service finds invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEntry {
    /// Its place in the request, from 0; may lie outside the request.
    pub index: Option<usize>,
    /// The names of the fields, such as `phone`; may be empty.
    pub fields: Vec<String>,
}

/// The code that the service gives.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum RefusalCode {
    /// Entries are invalid, or there are none.
    InvalidUsersData,
    TooManyEntities,
    UserLimitExceeded,
    DuplicatePhoneNumber,
    /// Any other: letters `A-Z`, digits and underscores, at most 64.
    #[strum(to_string = "{0}")]
    Other(String),
    /// The answer had no code that can be read; the HTTP status stands for it.
    #[strum(to_string = "HTTP_{0}")]
    Status(u16),
    /// There was no answer within the time-out, or the connection broke.
    NoAnswer,
    /// A success whose body is a web page, or not what the service answers.
    WebPage,
}

impl RefusalCode {
    /// Our own words for a refusal: the service's description can contain a phone.
    pub(super) fn detail(&self, operation: Operation) -> &'static str {
        match (self, operation) {
            (Self::DuplicatePhoneNumber, _) => "another user in Wazzup has this phone; everything else is synced",
            (_, Operation::Phone) => "Wazzup refuses this change of the phone; everything else is synced",
            (Self::UserLimitExceeded, _) => "the account has more users than seats",
            (Self::InvalidUsersData, _) => "Wazzup finds this entry invalid",
            (Self::NoAnswer, Operation::Remove) => "Wazzup does not answer when this user is to be removed",
            (Self::NoAnswer, _) => "Wazzup does not answer to this entry, but answers to others",
            (Self::Status(500..=599), _) => "Wazzup fails on this entry, but not on others",
            (_, Operation::Remove) => "Wazzup refuses to remove this user",
            _ => "Wazzup refuses this entry",
        }
    }
}
