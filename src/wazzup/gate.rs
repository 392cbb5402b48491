//! Whether a request may start.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::delivery::NotSent;

/// What must hold for a request to start. The gate is checked before every attempt, and the waits between attempts end
/// at once when `stop` fires; a request under way is never broken off.
#[derive(Debug, Clone)]
pub struct Gate {
    pub stop: CancellationToken,
    /// When the lease ends: a request starts only while the lease covers its time-out.
    pub lease_until: watch::Receiver<Instant>,
}

impl Gate {
    /// A gate for calls that change nothing and so need no lease.
    pub fn without_lease(stop: CancellationToken) -> Self {
        const THIRTY_YEARS: Duration = Duration::from_hours(24 * 365 * 30);
        let (_, lease_until) = watch::channel(Instant::now() + THIRTY_YEARS);
        Self { stop, lease_until }
    }

    /// Whether a request may start now that takes `timeout` at most.
    pub(super) fn pass(&self, timeout: Duration) -> Result<(), NotSent> {
        // First: a lease that was lost stops the work, too.
        if Instant::now() + timeout > *self.lease_until.borrow() {
            return Err(NotSent::LeaseTooShort);
        }
        if self.stop.is_cancelled() {
            return Err(NotSent::Stopping);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_is_told_apart_from_a_stop() {
        let stop = CancellationToken::new();
        stop.cancel();
        let stopping = Gate::without_lease(stop.clone());
        assert_eq!(stopping.pass(Duration::from_secs(1)), Err(NotSent::Stopping));
        // What loses the lease stops the work as well.
        let (_, lease_until) = watch::channel(Instant::now());
        let lost = Gate { stop, lease_until };
        assert_eq!(lost.pass(Duration::from_secs(1)), Err(NotSent::LeaseTooShort));
    }
}
