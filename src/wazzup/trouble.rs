//! Why an attempt, or a call after all its attempts, did not succeed; and everything that follows from the reason.

use std::{fmt, time::Duration};

use super::refusal::bare_refusal;
use crate::delivery::{Loss, NotSent, Refusal, RefusalCode, Verdict};

/// Why there is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing was sent.
    NotSent(NotSent),
    /// Nobody was reached, or the call was given up between two attempts; in words.
    Unavailable(String),
    /// The request was sent and no full answer came; in words.
    NoAnswer(String),
    /// A success with a web page, or with something else that the service never answers.
    WebPage,
    /// 401.
    Unauthorized,
    /// 403, 404 and 405: perhaps a firewall in front of the service, which would answer the same again.
    Denied { status: u16, refusal: Refusal },
    /// Any other 4xx: a decision.
    Refused(Refusal),
    /// 3xx, 408, 425 and 429: turned away before anything was looked at.
    TurnedAway { status: u16, retry_after: Option<Duration> },
    /// 5xx, and every status that HTTP does not define.
    Failed {
        status: u16,
        refusal: Refusal,
        retry_after: Option<Duration>,
    },
}

/// Whether another attempt makes sense. The durations are what `Retry-After` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    /// After a moment, longer each time.
    AfterBackOff(Option<Duration>),
    /// After a long wait: there were too many requests.
    AfterThrottling(Option<Duration>),
}

impl Trouble {
    /// What a status other than 2xx means. The refusal holds no more than the status yet.
    pub(super) fn from_status(status: u16, retry_after: Option<Duration>) -> Self {
        let refusal = bare_refusal(RefusalCode::Status(status));
        match status {
            401 => Self::Unauthorized,
            403..=405 => Self::Denied { status, refusal },
            300..=399 | 408 | 425 | 429 => Self::TurnedAway { status, retry_after },
            400..=499 => Self::Refused(refusal),
            _ => Self::Failed {
                status,
                refusal,
                retry_after,
            },
        }
    }

    /// Where the service's own words belong, if they are of interest.
    pub(super) fn refusal_mut(&mut self) -> Option<&mut Refusal> {
        match self {
            Self::Denied { refusal, .. } | Self::Refused(refusal) | Self::Failed { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether a writing request that ended so may have acted all the same.
    pub(super) fn loss(&self) -> Loss {
        match self {
            // A 500 is an answer: the request is over. With any other, a gateway may have lost sight of the service.
            Self::Failed { status: 500, .. } => Loss::Over,
            Self::Failed { .. } | Self::NoAnswer(_) | Self::WebPage => Loss::MayLand,
            _ => Loss::None,
        }
    }

    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::NotSent(_) | Self::Unauthorized | Self::Denied { .. } | Self::Refused(_) => Retry::Never,
            Self::Unavailable(_) | Self::NoAnswer(_) | Self::WebPage => Retry::AfterBackOff(None),
            Self::TurnedAway { status, retry_after } => match status {
                300..=399 => Retry::Never,
                429 => Retry::AfterThrottling(*retry_after),
                _ => Retry::AfterBackOff(*retry_after),
            },
            Self::Failed { retry_after, .. } => Retry::AfterBackOff(*retry_after),
        }
    }

    /// The HTTP status of an answer after which the request is tried again.
    pub(super) fn retried_status(&self) -> Option<u16> {
        match self {
            Self::TurnedAway { status, .. } | Self::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What the delivery is told about a writing request.
    pub(super) fn into_verdict(self) -> Verdict {
        match self {
            Self::NotSent(reason) => Verdict::NotSent(reason),
            Self::Unauthorized => Verdict::Unauthorized { forbidden: false },
            Self::Refused(refusal) => Verdict::Refused(refusal),
            Self::Denied { refusal, .. } | Self::Failed { refusal, .. } => Verdict::NoDecision(refusal),
            Self::NoAnswer(_) => Verdict::NoDecision(bare_refusal(RefusalCode::NoAnswer)),
            Self::WebPage => Verdict::NoDecision(bare_refusal(RefusalCode::WebPage)),
            Self::Unavailable(_) | Self::TurnedAway { .. } => Verdict::Unavailable(self.to_string()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(reason) => reason.fmt(f),
            Self::Unavailable(reason) | Self::NoAnswer(reason) => f.write_str(reason),
            Self::WebPage => f.write_str("the answer is a web page, or not one of Wazzup's"),
            Self::Unauthorized => f.write_str("HTTP 401, the key is not accepted"),
            Self::TurnedAway { status, .. } => match status {
                300..=399 => write!(f, "HTTP {status}, a redirect, not followed: check base_url"),
                429 => write!(f, "HTTP {status}, too many requests"),
                _ => write!(f, "HTTP {status}"),
            },
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Denied { status, refusal } | Self::Failed { status, refusal, .. } => match refusal.code {
                RefusalCode::Status(_) => refusal.fmt(f),
                _ => write!(f, "HTTP {status}, {refusal}"),
            },
        }
    }
}
