//! The time between taking the lease and giving it up: a task renews it, whatever the cycle is waiting for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    state::{Error, Lease, State},
    wazzup::Gate,
};

/// How long giving the lease up may take at the end.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(1);

/// A lease that is kept.
pub(super) struct Tenure {
    state: State,
    lease: Arc<Lease>,
    /// Cancelled when the process is to stop, and when the lease is lost.
    over: CancellationToken,
    keeper: JoinHandle<()>,
    /// A request was left alone: what became of it is unknown.
    abandoned: AtomicBool,
}

impl Tenure {
    /// Keeps `lease`, which is good for `duration`, until it is lost, or `stop`.
    pub(super) fn begin(state: State, lease: Lease, duration: Duration, stop: &CancellationToken) -> Self {
        let (lease, over) = (Arc::new(lease), stop.child_token());
        let keeper =
            tokio::spawn(keep(state.clone(), Arc::clone(&lease), duration / 3, over.clone()).in_current_span());
        Self {
            state,
            lease,
            over,
            keeper,
            abandoned: AtomicBool::new(false),
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What a request needs to start.
    pub(super) fn gate(&self) -> Gate {
        Gate {
            stop: self.over.clone(),
            lease_until: self.lease.valid_until(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// A cycle was left in the middle of a request.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Gives the lease up, as far as the database answers; it ends by itself otherwise.
    pub(super) async fn end(self) {
        self.keeper.abort();
        let given_up = self.state.give_up(&self.lease, self.abandoned.load(Ordering::Relaxed));
        match tokio::time::timeout(GIVE_UP_LIMIT, given_up).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(event = "lease.kept", error = %error, "the lease ends by itself"),
            Err(_) => tracing::warn!(
                event = "lease.kept",
                "the state database does not answer: the lease ends by itself"
            ),
        }
    }
}

/// Renews the lease every `every`, until it is lost. While the database does not answer, the lease runs out by itself:
/// no request starts that it does not cover.
async fn keep(state: State, lease: Arc<Lease>, every: Duration, over: CancellationToken) {
    let mut pause = every;
    loop {
        tokio::time::sleep(pause).await;
        match state.renew(&lease).await {
            Ok(()) => pause = every,
            Err(Error::LeaseLost) => {
                tracing::error!(
                    event = "lease.lost",
                    "another process has taken the lease over: this one stands by"
                );
                over.cancel();
                return;
            }
            Err(_) => pause = every.min(Duration::from_secs(1)),
        }
    }
}
