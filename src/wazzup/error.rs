//! What a caller of a reading call has to tell apart.

use std::path::PathBuf;

use super::failure::AttemptFailure;
use crate::delivery::{Interruption, Verdict};

/// Why a call did not do what was asked. Neither `Display` nor `Debug` shows a name, a phone, the key or anything that
/// the service wrote, except codes, field names and request ids.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is refused, the service is away, or nothing may be sent: no other call would fare better.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    /// 404 to a call that exists at every Wazzup account.
    #[error("Wazzup does not know GET /{path} (404): check wazzup.base_url")]
    NotFound { path: &'static str },
    /// The service answers, and not as the contract says.
    #[error("Wazzup's answer to GET /{path} is of no use: {reason}; check wazzup.base_url, or ask Wazzup's support")]
    Useless { path: &'static str, reason: String },
    /// There is no usable key. Nothing was sent.
    #[error("the Wazzup API key {}{problem}: put an API key from the account's settings there", location(.file.as_ref()))]
    Key {
        file: Option<PathBuf>,
        /// What is wrong with the key, as the end of a sentence about the key.
        problem: String,
    },
}

fn location(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| format!("in {} ", file.display()))
}

impl Error {
    /// What `failure` means to somebody who asked for `path`, as the log shows it.
    pub(super) fn from_failure(failure: AttemptFailure, path: &'static str) -> Self {
        match (failure.status, &failure.verdict) {
            (Some(404), _) => Self::NotFound { path },
            (Some(403), _) | (_, Verdict::Interrupted(_)) => failure.into_interruption().into(),
            (Some(400..=499), _) => Self::Useless {
                path,
                reason: failure.reason,
            },
            _ => failure.into_interruption().into(),
        }
    }
}
