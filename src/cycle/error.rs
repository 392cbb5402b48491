//! Why a cycle failed.

use crate::{
    crm,
    delivery::{Interruption, NotSent},
    state::{self, CycleFailure},
    wazzup,
};

#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    #[error(transparent)]
    Crm(#[from] crm::Error),
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
}

impl From<Interruption> for CycleError {
    fn from(interruption: Interruption) -> Self {
        Self::Wazzup(interruption.into())
    }
}

/// Decides at which level a failure is logged, and how often.
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
    pub fn kind(&self) -> &'static str {
        let (kind, _) = self.kind_and_class();
        kind
    }

    pub(super) fn kind_and_class(&self) -> (&'static str, FailureClass) {
        use FailureClass::{NeedsHuman, Stopping, Transient};
        match self {
            Self::Crm(crm::Error::Unavailable(_)) => ("crm_unavailable", Transient),
            Self::Crm(crm::Error::Query(_)) => ("crm_query", NeedsHuman),
            Self::State(state::Error::LeaseLost) => ("lease_lost", Transient),
            Self::State(state::Error::Unavailable(_)) => ("state_unavailable", Transient),
            Self::State(_) => ("state_refused", NeedsHuman),
            Self::Wazzup(wazzup::Error::Key { .. }) => ("wazzup_unauthorized", NeedsHuman),
            Self::Wazzup(wazzup::Error::NotFound { .. }) => ("wazzup_not_found", NeedsHuman),
            Self::Wazzup(wazzup::Error::Useless { .. }) => ("wazzup_unavailable", Transient),
            Self::Wazzup(wazzup::Error::Interrupted(interruption)) => match interruption {
                Interruption::Unauthorized | Interruption::Forbidden => ("wazzup_unauthorized", NeedsHuman),
                Interruption::Unavailable(_) => ("wazzup_unavailable", Transient),
                Interruption::NotSent(NotSent::Stopping) => ("interrupted", Stopping),
                Interruption::NotSent(NotSent::LeaseTooShort) => ("lease_too_short", Transient),
            },
        }
    }

    /// What the state keeps of it.
    pub(super) fn recorded(&self) -> CycleFailure {
        CycleFailure {
            kind: self.kind(),
            message: self.to_string(),
        }
    }

    pub(crate) fn is_lost_lease(&self) -> bool {
        matches!(self, Self::State(state::Error::LeaseLost))
    }
}
