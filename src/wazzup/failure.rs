//! How an attempt failed, and what follows.

use std::time::Duration;

use crate::delivery::{Interruption, Loss, NotSent, Refusal, RefusalCode, Verdict};

/// How an attempt failed, or a call after all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AttemptFailure {
    /// The HTTP status, if it is the status that makes this a failure.
    pub status: Option<u16>,
    /// In words.
    pub reason: String,
    /// What the delivery is told about a writing request.
    pub verdict: Verdict,
    /// Whether a writing request may have acted all the same.
    pub loss: Loss,
    pub retry: Retry,
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

impl AttemptFailure {
    /// What a status other than 2xx means. `refusal` is what the service said with it.
    pub(super) fn from_status(status: u16, refusal: Refusal, retry_after: Option<Duration>) -> Self {
        let reason = match (status, &refusal.code) {
            (300..=399, _) => format!("HTTP {status}, a redirect, not followed: check base_url"),
            (401, _) => "HTTP 401, the key is not accepted".to_owned(),
            (429, _) => "HTTP 429, too many requests".to_owned(),
            (_, RefusalCode::Status(_)) => refusal.to_string(),
            _ => format!("HTTP {status}, {refusal}"),
        };
        let again = Retry::AfterBackOff(retry_after);
        let (verdict, loss, retry) = match status {
            401 => (
                Verdict::Interrupted(Interruption::Unauthorized),
                Loss::None,
                Retry::Never,
            ),
            // Perhaps a firewall in front of the service, which would answer the same again.
            403..=405 => (Verdict::NoDecision(refusal), Loss::None, Retry::Never),
            // Turned away before anything was looked at.
            300..=399 => (unavailable(&reason), Loss::None, Retry::Never),
            408 | 425 => (unavailable(&reason), Loss::None, again),
            429 => (unavailable(&reason), Loss::None, Retry::AfterThrottling(retry_after)),
            400..=499 => (Verdict::Refused(refusal), Loss::None, Retry::Never),
            // A 500 is an answer: the request is over.
            500 => (Verdict::NoDecision(refusal), Loss::Over, again),
            // A gateway may have lost sight of the service.
            _ => (Verdict::NoDecision(refusal), Loss::MayLand, again),
        };
        Self {
            status: Some(status),
            ..Self::new(reason, verdict, loss, retry)
        }
    }

    fn new(reason: String, verdict: Verdict, loss: Loss, retry: Retry) -> Self {
        Self {
            status: None,
            reason,
            verdict,
            loss,
            retry,
        }
    }

    pub(super) fn not_sent(reason: NotSent) -> Self {
        let text = reason.to_string();
        let verdict = Verdict::Interrupted(Interruption::NotSent(reason));
        Self::new(text, verdict, Loss::None, Retry::Never)
    }

    /// Nobody was reached, or the call was given up between two attempts.
    pub(super) fn unavailable(reason: String) -> Self {
        let verdict = unavailable(&reason);
        Self::new(reason, verdict, Loss::None, Retry::AfterBackOff(None))
    }

    /// The request was sent and no full answer came.
    pub(super) fn no_answer(reason: String) -> Self {
        Self::lost(reason, RefusalCode::NoAnswer)
    }

    /// A success with a web page, or with something else that the service never answers.
    pub(super) fn web_page() -> Self {
        let reason = "the answer is a web page, or not one of Wazzup's";
        Self::lost(reason.to_owned(), RefusalCode::WebPage)
    }

    fn lost(reason: String, code: RefusalCode) -> Self {
        let verdict = Verdict::NoDecision(code.into());
        Self::new(reason, verdict, Loss::MayLand, Retry::AfterBackOff(None))
    }

    /// What this means for whoever sends nothing that the service could decide about.
    pub(super) fn into_interruption(self) -> Interruption {
        match (self.status, self.verdict) {
            (Some(403), _) => Interruption::Forbidden,
            (_, Verdict::Interrupted(interruption)) => interruption,
            _ => Interruption::Unavailable(self.reason),
        }
    }
}

fn unavailable(reason: &str) -> Verdict {
    Verdict::Interrupted(Interruption::Unavailable(reason.to_owned()))
}
