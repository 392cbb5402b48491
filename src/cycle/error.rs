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
    /// Wazzup, before the plan is final.
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
    /// The delivery ended early.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
}

/// What kind of failure it was: decides who is told, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureClass {
    /// The process was asked to stop.
    Stopping,
    /// It may pass by itself.
    Transient,
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
            Self::Wazzup(wazzup::Error::Interrupted(interruption)) | Self::Interrupted(interruption) => {
                match interruption {
                    Interruption::Unauthorized | Interruption::Forbidden => "wazzup_unauthorized",
                    Interruption::Unavailable(_) => "wazzup_unavailable",
                    Interruption::NotSent(NotSent::Stopping) => "interrupted",
                    Interruption::NotSent(NotSent::LeaseTooShort) => "lease_too_short",
                }
            }
            Self::Wazzup(wazzup::Error::Key { .. }) => "wazzup_unauthorized",
            Self::Wazzup(wazzup::Error::NotFound { .. }) => "wazzup_not_found",
            Self::Wazzup(wazzup::Error::Useless { .. }) => "wazzup_unavailable",
        }
    }

    pub(super) fn class(&self) -> FailureClass {
        match self {
            Self::Crm(crm::Error::Unavailable(_))
            | Self::State(state::Error::Unavailable(_) | state::Error::LeaseLost)
            | Self::Wazzup(wazzup::Error::Useless { .. }) => FailureClass::Transient,
            Self::Wazzup(wazzup::Error::Interrupted(interruption)) | Self::Interrupted(interruption) => {
                match interruption {
                    Interruption::NotSent(NotSent::Stopping) => FailureClass::Stopping,
                    Interruption::NotSent(NotSent::LeaseTooShort) | Interruption::Unavailable(_) => {
                        FailureClass::Transient
                    }
                    Interruption::Unauthorized | Interruption::Forbidden => FailureClass::NeedsHuman,
                }
            }
            Self::Crm(crm::Error::Query(_))
            | Self::State(
                state::Error::Refused(_)
                | state::Error::TooNew { .. }
                | state::Error::Migration { .. }
                | state::Error::ForeignOwner(_),
            )
            | Self::Wazzup(wazzup::Error::Key { .. } | wazzup::Error::NotFound { .. }) => FailureClass::NeedsHuman,
        }
    }

    pub(crate) fn is_lost_lease(&self) -> bool {
        matches!(self, Self::State(state::Error::LeaseLost))
    }
}
