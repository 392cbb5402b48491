//! The life of the process: hold the lease, run cycles, stop politely.
//!
//! No cycle's error ends the daemon. What is kept in step is [`crate::cycle`]'s; here is only when it happens.

mod listener;
mod tenure;

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use jiff::SignedDuration;
pub use listener::Listener;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::tenure::Tenure;
use crate::{
    cycle::{Memory, Report, Sync},
    state::{self, Acquired, Holder, Lease, State},
};

/// How long a request in flight and its record may take after a stop was asked for.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// How long after the first NOTIFY of a burst the cycle starts.
const BURST: Duration = Duration::from_secs(1);

/// How often a database that is not there is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// When cycles run.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// From the beginning of one cycle to that of the next, ±10 %.
    pub every: Duration,
    /// How long the lease is good for without being renewed.
    pub lease: Duration,
}

/// This process, as the lease knows it.
#[must_use]
pub fn holder() -> Holder {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let random = RandomState::new().hash_one(std::process::id());
    Holder {
        name: format!("{host}/{}/{random:08x}", std::process::id()),
        host,
    }
}

/// Cancels the returned token at the first SIGTERM or SIGINT, and ends the process at the second.
///
/// # Errors
/// If the signals cannot be listened to.
pub fn stop_signal() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            if stopping.is_cancelled() {
                break;
            }
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            stopping.cancel();
        }
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(130);
    });
    Ok(stop)
}

/// Runs cycles until `stop`: a standby while another process holds the lease, else on the timer and on each NOTIFY.
pub async fn run(sync: &Sync, schedule: Schedule, mut listener: Listener, stop: &CancellationToken) {
    let holder = holder();
    tracing::info!(
        event = "daemon.started",
        version = crate::VERSION,
        holder = holder.name,
        "started"
    );
    while !stop.is_cancelled() {
        let Some(lease) = wait_for_lease(sync, schedule.lease, &holder, stop).await else {
            break;
        };
        tracing::info!(event = "lease.acquired", token = lease.token(), "holding the lease");
        let tenure = Tenure::begin(sync.state.clone(), lease, schedule.lease, stop);
        lead(sync, schedule, &mut listener, &tenure).await;
        tenure.end().await;
    }
    tracing::info!(event = "daemon.stopped", "stopped");
}

/// Runs cycles until the tenure is over.
async fn lead(sync: &Sync, schedule: Schedule, listener: &mut Listener, tenure: &Tenure) {
    let mut memory = Memory::new(true);
    loop {
        let next = Instant::now() + jittered(schedule.every);
        if !run_cycle(sync, tenure, &mut memory).await {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = listener.notified() => {
                tokio::select! { () = tokio::time::sleep(BURST) => {}, () = tenure.over() => return }
                listener.settle();
            }
            () = tenure.over() => return,
        }
    }
}

/// Runs one cycle. After a stop it has [`STOP_LIMIT`] to end. Returns whether the tenure goes on.
async fn run_cycle(sync: &Sync, tenure: &Tenure, memory: &mut Memory) -> bool {
    let limit = async {
        tenure.over().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        _ = sync.cycle(tenure.lease(), tenure.gate(), memory) => !tenure.is_over(),
        () = limit => {
            tenure.abandon();
            false
        }
    }
}

/// What `once` came to.
#[derive(Debug)]
pub enum Once {
    /// The cycle ran.
    Done(Report),
    /// Another process holds the lease.
    HeldBy(Holder, SignedDuration),
    /// It was interrupted.
    Interrupted,
}

/// Runs one cycle.
///
/// # Errors
/// If the state cannot be used.
pub async fn once(sync: &Sync, lease: Duration, stop: &CancellationToken) -> Result<Once, state::Error> {
    // The CRM's connection opens meanwhile; what is wrong with it shows when the CRM is read.
    let (migrated, _) = tokio::join!(sync.state.migrate(), sync.crm.connect());
    migrated?;
    let lease = match sync.state.acquire(&holder(), lease).await? {
        Acquired::Ours(taken) => Tenure::begin(sync.state.clone(), taken, lease, stop),
        Acquired::HeldBy { holder, expires_in } => return Ok(Once::HeldBy(holder, expires_in)),
    };
    let mut memory = Memory::new(false);
    let limit = async {
        lease.over().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    let report = tokio::select! {
        report = sync.cycle(lease.lease(), lease.gate(), &mut memory) => Some(report),
        () = limit => {
            lease.abandon();
            None
        }
    };
    lease.end().await;
    Ok(report
        .filter(|_| !stop.is_cancelled())
        .map_or(Once::Interrupted, Once::Done))
}

/// Waits for the databases and for the lease. `None` if a stop came first.
async fn wait_for_lease(sync: &Sync, duration: Duration, holder: &Holder, stop: &CancellationToken) -> Option<Lease> {
    // Another copy that stops politely gives the lease up: a standby that asks often takes over at once.
    let ask_again = (duration / 3).min(TRY_AGAIN);
    let mut standby_for: Option<String> = None;
    let mut failed_with: Option<String> = None;
    loop {
        match migrate_and_acquire(&sync.state, holder, duration).await {
            Ok(Acquired::Ours(lease)) => return Some(lease),
            Ok(Acquired::HeldBy { holder, expires_in }) => {
                failed_with = None;
                if standby_for.as_ref() != Some(&holder.name) {
                    let expires_in_s = expires_in.as_secs();
                    tracing::info!(
                        event = "lease.standby",
                        holder = holder.name,
                        expires_in_s,
                        "another process leads"
                    );
                }
                standby_for = Some(holder.name);
            }
            Err(error) => {
                let error = crate::cycle::Error::from(error);
                let (kind, error) = (error.kind(), error.to_string());
                if failed_with.as_ref() != Some(&error) {
                    tracing::error!(
                        event = "cycle.failed",
                        error.kind = kind,
                        error,
                        "waiting for the state database"
                    );
                }
                failed_with = Some(error);
            }
        }
        tokio::select! { () = tokio::time::sleep(ask_again) => {}, () = stop.cancelled() => return None }
    }
}

async fn migrate_and_acquire(state: &State, holder: &Holder, duration: Duration) -> Result<Acquired, state::Error> {
    state.migrate().await?;
    state.acquire(holder, duration).await
}

/// `every` ± 10 %, so that many copies do not ask the CRM at the same moment.
fn jittered(every: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 2_001;
    every.mul_f64(0.9 + f64::from(u32::try_from(random).unwrap_or(1_000)) / 10_000.0)
}
