//! The time between taking the lease and giving it up: a task renews the lease, whatever the cycle is waiting for.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument as _;

use crate::{
    events,
    state::{Error, Lease, State},
};

const GIVE_UP_LIMIT: Duration = Duration::from_secs(1);

/// How soon a renewal that failed is tried again, at most.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Tenure {
    state: State,
    pub(super) lease: Arc<Lease>,
    /// Cancelled when the process is to stop, and when the lease is lost.
    pub(super) over: CancellationToken,
    keeper: AbortOnDropHandle<()>,
}

impl Tenure {
    /// Keeps `lease` until it is lost, or `stop`.
    pub(super) fn begin(state: State, lease: Lease, stop: &CancellationToken) -> Self {
        let lease = Arc::new(lease);
        let over = stop.child_token();
        let keeper = keep(state.clone(), Arc::clone(&lease), over.clone());
        Self {
            state,
            lease,
            over,
            keeper: AbortOnDropHandle::new(tokio::spawn(keeper.in_current_span())),
        }
    }

    /// Gives the lease up if the database answers; otherwise it expires by itself.
    pub(super) async fn end(self) {
        self.keeper.abort();
        match timeout(GIVE_UP_LIMIT, self.state.give_up(&self.lease)).await {
            Ok(Ok(()) | Err(Error::LeaseLost)) => {}
            Ok(Err(error)) => events::lease_kept(&error),
            Err(_) => events::lease_kept(&"the state database does not answer"),
        }
    }
}

/// Renews the lease until it is lost to another process or has expired.
///
/// A cycle renews it as well, on its own connection. As long as one of both gets through, the lease holds.
async fn keep(state: State, lease: Arc<Lease>, over: CancellationToken) {
    let every = lease.duration / 3;
    let valid_until = lease.valid_until();
    let mut pause = every;
    loop {
        sleep(pause).await;
        // Not longer than that: a new connection may get through where this one is silent.
        match timeout(every, state.renew(&lease)).await {
            Ok(Ok(())) => pause = every,
            Ok(Err(Error::LeaseLost)) => {
                lease.note_loss();
                events::lease_lost();
                break;
            }
            Ok(Err(_)) | Err(_) => pause = every.min(TRY_AGAIN),
        }
        if *valid_until.borrow() <= Instant::now() {
            events::lease_expired();
            break;
        }
    }
    over.cancel();
}
