//! What can go wrong, told apart by what a caller does about it.

use std::{borrow::Cow, fmt, path::PathBuf};

use super::retry::{Fate, Hindrance};
use crate::employee::Phone;

/// Why a call did not do what it was asked. Neither `Display` nor `Debug` shows a name, a phone, the key or anything
/// that the service wrote, except codes, field names and request ids.
///
/// `late`: an earlier attempt of the same call ended without an answer and may still land. See [`Error::late`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401: the key is missing or wrong. Never retried.
    #[error("Wazzup does not accept the API key (401): replace it by an API key from the account's settings")]
    Unauthorized {
        /// See [`Error::late`].
        late: bool,
    },
    /// 403: the key is not allowed to do this. Never retried.
    #[error(
        "Wazzup forbids this with the API key (403): the key is probably of the wrong type (\"sidecar\"); \
         an API key from the account's settings is needed"
    )]
    Forbidden {
        /// See [`Error::late`].
        late: bool,
    },
    /// Any other 4xx that is a decision of the service, an unknown one and a 404 of a collection too.
    #[error("Wazzup refuses the request: {0}")]
    Refused(Box<Refusal>),
    /// A 500 that stayed after the retries, or the first one with [`OnFault::Report`](super::OnFault::Report). What the
    /// service did with the request is unknown.
    #[error("Wazzup fails on the request: {0}")]
    Fault(Box<Refusal>),
    /// There was no answer, or none of the service itself: network, TLS, time-out, 3xx, 408, 425, 429, 5xx but 500.
    #[error("Wazzup is unavailable: {reason}")]
    Unavailable {
        /// What the last attempt met.
        reason: String,
        /// An attempt may have acted or may still land. `false` if none got as far as the service.
        late: bool,
    },
    /// A success whose body is needed and is not what the contract says.
    #[error("Wazzup's answer to {call} cannot be read: {reason}")]
    Unreadable {
        /// The call, as `METHOD path`.
        call: &'static str,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// Nothing was sent.
    #[error("no request was sent: {0}")]
    NotSent(Hindrance),
    /// There is no usable key. Nothing was sent.
    #[error("the Wazzup API key {}{problem}: put an API key from the account's settings there", at(file.as_ref()))]
    Key {
        /// The file that should hold the key, if it is to come from a file.
        file: Option<PathBuf>,
        /// What is wrong with it.
        problem: String,
    },
}

fn at(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| format!("in {} ", file.display()))
}

impl Error {
    /// Whether a request of the call may still land after this, or for [`Error::Unavailable`] may have acted.
    #[must_use]
    pub fn late(&self) -> bool {
        match self {
            Self::Unauthorized { late } | Self::Forbidden { late } | Self::Unavailable { late, .. } => *late,
            Self::Refused(refusal) | Self::Fault(refusal) => refusal.late,
            Self::Unreadable { .. } | Self::NotSent(_) | Self::Key { .. } => false,
        }
    }

    /// The answer that decided the call came after attempts that ended as `earlier` says.
    pub(super) fn after(mut self, earlier: Fate) -> Self {
        match &mut self {
            Self::Unauthorized { late } | Self::Forbidden { late } => *late |= earlier.may_land(),
            Self::Refused(refusal) | Self::Fault(refusal) => refusal.late |= earlier.may_land(),
            Self::Unavailable { late, .. } => *late |= earlier.may_have_acted(),
            Self::Unreadable { .. } | Self::NotSent(_) | Self::Key { .. } => {}
        }
        self
    }
}

/// What the service said when it refused a request or failed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The service's code.
    pub code: Code,
    /// The service's id of the request, for its support.
    pub request_id: Option<String>,
    /// The entries it names as invalid, in its order.
    pub invalid: Vec<InvalidEntry>,
    /// The phone it names as taken. (`Debug` of a phone hides it.)
    pub phone: Option<Phone>,
    /// The limit it names, at least 1.
    pub limit: Option<usize>,
    /// An earlier attempt of the call ended without an answer and may still land.
    pub late: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}, {}", self.status, self.code)?;
        match &self.request_id {
            Some(id) => write!(f, ", request {id}"),
            None => Ok(()),
        }
    }
}

/// One entry of a request that the service finds invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEntry {
    /// Its place in the request, from 0. Absent if the service names none; may lie outside the request.
    pub index: Option<usize>,
    /// The names of the fields, such as `phone`; may be empty.
    pub fields: Vec<String>,
}

/// The service's code of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// Entries are invalid, or there are none.
    InvalidUsersData,
    /// Too many entries in one request.
    TooManyEntities,
    /// The account is full.
    UserLimitExceeded,
    /// Another user has this phone.
    DuplicatePhoneNumber,
    /// Any other: letters `A-Z`, digits and underscores, at most 64.
    Other(String),
    /// There is none that can be read; `HTTP_` and the status stand for it.
    Missing(u16),
}

impl Code {
    /// Reads a code as the service writes it, whatever its case and underscores. `None` if `text` is no code: it may be
    /// a sentence then, and contain what must not be logged.
    pub(super) fn read(text: &str) -> Option<Self> {
        let code = token(text)?.to_ascii_uppercase();
        Some(match code.replace('_', "").as_str() {
            "INVALIDUSERSDATA" => Self::InvalidUsersData,
            // The second is how the service itself writes it at times.
            "TOOMANYENTITIES" | "TOOMACHENTITIES" => Self::TooManyEntities,
            "USERLIMITEXCEEDED" => Self::UserLimitExceeded,
            "DUPLICATEPHONENUMBER" => Self::DuplicatePhoneNumber,
            _ => Self::Other(code),
        })
    }

    /// The code in its usual writing.
    #[must_use]
    pub fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::InvalidUsersData => "INVALID_USERS_DATA",
            Self::TooManyEntities => "TOO_MANY_ENTITIES",
            Self::UserLimitExceeded => "USER_LIMIT_EXCEEDED",
            Self::DuplicatePhoneNumber => "DUPLICATE_PHONE_NUMBER",
            Self::Other(code) => code,
            Self::Missing(status) => return Cow::Owned(format!("HTTP_{status}")),
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str())
    }
}

/// `text` if it is one short word of a program, such as a code or the name of a field, and so cannot hold a person's
/// name with a space in it, or a phone.
pub(super) fn token(text: &str) -> Option<&str> {
    let mut digits = 0;
    let word = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| {
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            digits < 5 && (byte.is_ascii_alphanumeric() || byte == b'_')
        });
    word.then_some(text)
}

/// What an HTTP status says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Unauthorized,
    Forbidden,
    /// The service decided against it.
    Refused,
    /// The service failed on it.
    Fault,
    /// Too many requests.
    Throttled,
    /// Not the service's own answer to it, but the next may be.
    Unavailable(Fate),
    /// Not the service's own answer to it, and the next would be the same.
    Redirect,
}

impl Verdict {
    pub(super) fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Redirect,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            // Turned away before anything was looked at.
            408 | 425 => Self::Unavailable(Fate::Untouched),
            429 => Self::Throttled,
            400..=499 => Self::Refused,
            500 => Self::Fault,
            503 => Self::Unavailable(Fate::Over),
            // A gateway lost sight of the service, which may be working on it still.
            _ => Self::Unavailable(Fate::Open),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(200, Verdict::Success)]
    #[case(204, Verdict::Success)]
    #[case(302, Verdict::Redirect)]
    #[case(304, Verdict::Redirect)]
    #[case(400, Verdict::Refused)]
    #[case(401, Verdict::Unauthorized)]
    #[case(403, Verdict::Forbidden)]
    #[case(404, Verdict::Refused)]
    #[case(405, Verdict::Refused)]
    #[case(408, Verdict::Unavailable(Fate::Untouched))]
    #[case(418, Verdict::Refused)]
    #[case(422, Verdict::Refused)]
    #[case(425, Verdict::Unavailable(Fate::Untouched))]
    #[case(429, Verdict::Throttled)]
    #[case(500, Verdict::Fault)]
    #[case(501, Verdict::Unavailable(Fate::Open))]
    #[case(502, Verdict::Unavailable(Fate::Open))]
    #[case(503, Verdict::Unavailable(Fate::Over))]
    #[case(504, Verdict::Unavailable(Fate::Open))]
    #[case(524, Verdict::Unavailable(Fate::Open))]
    #[case(999, Verdict::Unavailable(Fate::Open))]
    fn each_status_has_its_verdict(#[case] status: u16, #[case] verdict: Verdict) {
        assert_eq!(Verdict::of(status), verdict);
    }

    #[rstest]
    #[case("INVALID_USERS_DATA", Some(Code::InvalidUsersData))]
    #[case("invalidUsersData", Some(Code::InvalidUsersData))]
    #[case("TOO_MANY_ENTITIES", Some(Code::TooManyEntities))]
    #[case("TOO_MACH_ENTITIES", Some(Code::TooManyEntities))]
    #[case("USER_LIMIT_EXCEEDED", Some(Code::UserLimitExceeded))]
    #[case("DUPLICATEPHONENUMBER", Some(Code::DuplicatePhoneNumber))]
    #[case("sidecar_Denied", Some(Code::Other("SIDECAR_DENIED".to_owned())))]
    #[case("User with phone 79999999999 already exists", None)]
    #[case("PHONE_79999999999", None)]
    #[case("Анна", None)]
    #[case("", None)]
    fn codes_are_normalised(#[case] text: &str, #[case] code: Option<Code>) {
        assert_eq!(Code::read(text), code);
    }

    #[test]
    fn a_missing_code_is_made_of_the_status() {
        assert_eq!(Code::Missing(422).to_string(), "HTTP_422");
    }

    #[test]
    fn every_error_says_what_to_do() {
        let key = |file: Option<&str>| Error::Key {
            file: file.map(PathBuf::from),
            problem: "is empty".to_owned(),
        };
        assert_eq!(
            key(Some("k.txt")).to_string(),
            "the Wazzup API key in k.txt is empty: put an API key from the account's settings there"
        );
        assert!(key(None).to_string().starts_with("the Wazzup API key is empty: "));
        assert!(Error::Forbidden { late: false }.to_string().contains("sidecar"));
    }
}
