//! What a process remembers from one cycle to the next. The rest is in the state, so that `once` knows it, too.

use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Memory {
    /// Wazzup's list is due: this process has not read it since it began to lead.
    pub list_is_due: bool,
    /// When the log last said that a cycle finished.
    pub(super) finished_logged: Option<Instant>,
    pub(super) state_failure: Option<StateFailure>,
}

/// Since when the state cannot be used, and when that was last said as an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateFailure {
    pub(super) since: Instant,
    pub(super) kind: &'static str,
    pub(super) reported_at: Option<Instant>,
}

impl Memory {
    /// The state can be used again, although no cycle runs here.
    pub(crate) fn forget_outage(&mut self) {
        self.state_failure = None;
    }
}
