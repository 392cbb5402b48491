//! What a caller of a reading call has to tell apart.

use std::path::PathBuf;

use super::trouble::Trouble;
use crate::delivery::{NotSent, Refusal};

/// Why a call did not do what was asked. Neither `Display` nor `Debug` shows a name, a phone, the key or anything that
/// the service wrote, except codes, field names and request ids.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401.
    #[error("Wazzup does not accept the API key (401): replace the key by one from the account's settings")]
    Unauthorized,
    /// 403.
    #[error(
        "Wazzup forbids this with the API key (403): the key is probably of the wrong type (\"sidecar\"); \
         use an API key from the account's settings"
    )]
    Forbidden,
    /// 404 to a call that exists at every Wazzup account.
    #[error("Wazzup does not know {call} (404): check wazzup.base_url")]
    NotFound {
        /// The call, as `METHOD path`.
        call: &'static str,
    },
    /// Any other 4xx that is a decision of the service.
    #[error("Wazzup refuses the request ({0}): look up the code in Wazzup's documentation, or ask its support")]
    Refused(Refusal),
    /// There was no answer, or none of the service itself: network, TLS, time-out, web page, 3xx, 408, 425, 429, 5xx.
    #[error("Wazzup is unavailable: {reason}; if this lasts, check the network, wazzup.base_url and Wazzup's status")]
    Unavailable {
        /// What the last attempt met.
        reason: String,
    },
    /// A success whose body is not what the contract says.
    #[error("Wazzup's answer to {call} cannot be read: {reason}; check wazzup.base_url, or ask Wazzup's support")]
    Unreadable {
        /// The call, as `METHOD path`.
        call: &'static str,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// Nothing was sent.
    #[error("no request was sent to Wazzup: {0}; the next cycle tries again")]
    NotSent(NotSent),
    /// There is no usable key. Nothing was sent.
    #[error("the Wazzup API key {}{problem}: put an API key from the account's settings there", location(.file.as_ref()))]
    Key {
        /// The file that should hold the key, if the key is to come from a file.
        file: Option<PathBuf>,
        /// What is wrong with the key, as the end of a sentence about the key.
        problem: String,
    },
}

fn location(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| format!("in {} ", file.display()))
}

impl Error {
    /// What `trouble` means to somebody who asked `call`.
    pub(super) fn from_trouble(trouble: Trouble, call: &'static str) -> Self {
        match trouble {
            Trouble::NotSent(reason) => Self::NotSent(reason),
            Trouble::Unauthorized => Self::Unauthorized,
            Trouble::Denied { status: 403, .. } => Self::Forbidden,
            Trouble::Denied { status: 404, .. } => Self::NotFound { call },
            Trouble::Denied { refusal, .. } | Trouble::Refused(refusal) => Self::Refused(refusal),
            other => Self::Unavailable {
                reason: other.to_string(),
            },
        }
    }
}
