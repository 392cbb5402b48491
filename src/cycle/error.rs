//! Why a cycle failed.

use crate::{
    crm,
    delivery::{Interruption, NotSent},
    state, wazzup,
};

/// Why a cycle failed.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The CRM.
    #[error(transparent)]
    Crm(#[from] crm::Error),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Wazzup, before the plan stood.
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
    /// The delivery ended early.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
}

/// What kind of failure it was: decides who is told, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureClass {
    /// The process was asked to stop.
    Stopping,
    /// It may pass by itself.
    Passing,
    /// A human is needed.
    NeedsHuman,
}

impl CycleError {
    /// The kind, as the log and `status` name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crm(crm::Error::Unavailable(_)) => "crm_unavailable",
            Self::Crm(crm::Error::Query(_)) => "crm_query",
            Self::State(state::Error::LeaseLost) => "lease_lost",
            Self::State(state::Error::Unavailable(_)) => "state_unavailable",
            Self::State(_) => "state_refused",
            Self::Wazzup(error) => match error {
                wazzup::Error::Unauthorized | wazzup::Error::Forbidden | wazzup::Error::Key { .. } => {
                    "wazzup_unauthorized"
                }
                wazzup::Error::NotFound { .. } => "wazzup_not_found",
                wazzup::Error::NotSent(reason) => kind_of_not_sent(reason),
                _ => "wazzup_unavailable",
            },
            Self::Interrupted(interruption) => match interruption {
                Interruption::Unauthorized | Interruption::Forbidden => "wazzup_unauthorized",
                Interruption::Unavailable(_) | Interruption::FailsOnWrites(_) => "wazzup_unavailable",
                Interruption::NotSent(reason) => kind_of_not_sent(reason),
            },
        }
    }

    pub(crate) fn is_lost_lease(&self) -> bool {
        matches!(self, Self::State(state::Error::LeaseLost))
    }

    pub(crate) fn class(&self) -> FailureClass {
        class_of(self.kind())
    }
}

fn kind_of_not_sent(reason: &NotSent) -> &'static str {
    match reason {
        NotSent::Stopping => "interrupted",
        NotSent::LeaseTooShort => "lease_too_short",
    }
}

pub(super) fn class_of(kind: &str) -> FailureClass {
    match kind {
        "interrupted" => FailureClass::Stopping,
        "crm_unavailable" | "state_unavailable" | "wazzup_unavailable" | "lease_lost" | "lease_too_short" => {
            FailureClass::Passing
        }
        _ => FailureClass::NeedsHuman,
    }
}
