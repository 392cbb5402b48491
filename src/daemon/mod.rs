//! The life of the process: take the lease, run cycles, stop politely.
//!
//! No cycle's error ends the daemon. What one cycle does is told in [`crate::cycle`]; this module decides when cycles run.

mod listener;
mod repeats;
mod tenure;
#[cfg(test)]
mod tests;

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::listener::Listener;
use self::{repeats::Repeats, tenure::Tenure};
use crate::{
    cycle::{CycleError, CycleReport, Memory, SyncEngine, report_failure_without_state},
    events,
    state::{self, Acquired, Holder, Lease, State},
};

/// How long a request in flight and its record may take after a stop was asked for, or after the lease was lost.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// How long after the first NOTIFY of a burst the cycle starts.
const BURST: Duration = Duration::from_secs(1);

/// How often a standby asks for the lease, and a state database that is not there is tried again, at most.
const ASK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// From the beginning of one cycle to that of the next, ±10 %.
    pub every: Duration,
    /// How long the lease is valid without being renewed.
    pub lease: Duration,
}

/// This process, as the lease knows it.
pub fn holder() -> Holder {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let process_id = std::process::id();
    let random = RandomState::new().hash_one(process_id);
    Holder {
        name: format!("{host}/{process_id}/{random:08x}"),
        host,
    }
}

/// Who gives an order: user and host. In a container the user often has no name.
pub fn operator() -> String {
    let before_sudo = env::var("SUDO_USER").ok().filter(|name| !name.trim().is_empty());
    let user = before_sudo.or_else(|| whoami::username().ok());
    let user = user.unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", holder().host)
}

/// Cancels the returned token at the first SIGTERM or SIGINT, and ends the process at the second.
pub fn stop_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stopping.cancel();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(130);
    });
    Ok(stop)
}

/// Runs cycles until `stop`: on the timer and at each NOTIFY, while this process holds the lease; a standby otherwise.
pub async fn run(engine: &SyncEngine, schedule: Schedule, mut listener: Listener, stop: &CancellationToken) {
    let holder = holder();
    events::daemon_started(crate::VERSION, &holder.name);
    let mut memory = Memory::new(true);
    while !stop.is_cancelled() {
        memory.make_list_due();
        let Some(lease) = wait_for_lease(engine, schedule.lease, &holder, &mut memory, stop).await else {
            break;
        };
        events::lease_acquired(lease.token);
        let tenure = Tenure::begin(engine.state.clone(), lease, schedule.lease, stop);
        let leading = async |tenure: &Tenure| lead(engine, schedule, &mut listener, tenure, &mut memory).await;
        within(tenure, leading).await;
    }
    events::daemon_stopped();
}

async fn lead(engine: &SyncEngine, schedule: Schedule, listener: &mut Listener, tenure: &Tenure, memory: &mut Memory) {
    while !tenure.over().is_cancelled() {
        let next_cycle = Instant::now() + jittered(schedule.every);
        match run_cycle(engine, tenure, memory).await {
            None => return,
            Some(report) if report.lost_lease => {
                // Unless the renewal noticed it first.
                if !tenure.over().is_cancelled() {
                    events::lease_lost();
                }
                return;
            }
            Some(_) => {}
        }
        tokio::select! {
            () = sleep_until(next_cycle) => {}
            () = listener.notified() => {
                tokio::select! { () = sleep(BURST) => {}, () = tenure.over().cancelled() => {} }
                listener.forget();
            }
            () = tenure.over().cancelled() => {}
        }
    }
}

/// Runs one cycle. Once the tenure is over it has [`STOP_LIMIT`] to end; `None` if it did not. Whatever it left in flight
/// is recorded in the journal.
async fn run_cycle(engine: &SyncEngine, tenure: &Tenure, memory: &mut Memory) -> Option<CycleReport> {
    tokio::select! {
        report = engine.run_cycle(tenure.lease(), tenure.gate(), memory) => Some(report),
        () = limit_after(tenure.over()) => None,
    }
}

/// Runs `work` and gives the lease up afterwards, even if `work` panics.
async fn within<T>(tenure: Tenure, work: impl AsyncFnOnce(&Tenure) -> T) -> T {
    let result = AssertUnwindSafe(work(&tenure)).catch_unwind().await;
    tenure.end().await;
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

#[derive(Debug)]
pub enum Once {
    Done(CycleReport),
    /// Another process holds the lease, for so long at least.
    HeldBy(Holder, SignedDuration),
    /// A signal interrupted the cycle.
    Interrupted,
}

/// Runs one cycle. The error says that the state cannot be used, or that the lease was lost in the middle of the cycle.
pub async fn once(engine: &SyncEngine, lease: Duration, stop: &CancellationToken) -> Result<Once, state::Error> {
    let holder = holder();
    engine.crm.connect_ahead();
    let Some(acquired) = acquire(&engine.state, &holder, lease, stop).await else {
        return Ok(Once::Interrupted);
    };
    let tenure = match acquired? {
        Acquired::Ours(taken) => Tenure::begin(engine.state.clone(), taken, lease, stop),
        Acquired::HeldBy { holder, expires_in } => return Ok(Once::HeldBy(holder, expires_in)),
    };
    let mut memory = Memory::new(false);
    let cycle = async |tenure: &Tenure| run_cycle(engine, tenure, &mut memory).await;
    let report = within(tenure, cycle).await;
    outcome(report, stop.is_cancelled())
}

/// A cycle that came to its own end is done, even if a stop was asked for meanwhile. One that was broken off without a stop
/// has lost the lease.
fn outcome(report: Option<CycleReport>, is_stopped: bool) -> Result<Once, state::Error> {
    match report {
        Some(report) if is_stopped && was_broken_off(&report) => Ok(Once::Interrupted),
        Some(report) => Ok(Once::Done(report)),
        None if is_stopped => Ok(Once::Interrupted),
        None => Err(state::Error::LeaseLost),
    }
}

/// Whether the cycle stopped between two requests because the tenure was over.
fn was_broken_off(report: &CycleReport) -> bool {
    let finished = report.finished.as_ref();
    let error = finished.and_then(|finished| finished.error.as_ref());
    error.is_some_and(|error| error.kind == "interrupted")
}

/// Waits for the state database and for the lease. `None` if a stop came first.
async fn wait_for_lease(
    engine: &SyncEngine,
    duration: Duration,
    holder: &Holder,
    memory: &mut Memory,
    stop: &CancellationToken,
) -> Option<Lease> {
    // Another copy that stops politely gives the lease up: a standby that asks often takes over at once.
    let pause = (duration / 3).min(ASK_AGAIN);
    let mut leader: Option<String> = None;
    let mut failures = Repeats::default();
    loop {
        match acquire(&engine.state, holder, duration, stop).await? {
            Ok(Acquired::Ours(lease)) => return Some(lease),
            Ok(Acquired::HeldBy { holder, expires_in }) => {
                failures = Repeats::default();
                memory.forget_outage();
                if leader.as_ref() != Some(&holder.name) {
                    events::lease_standby(&holder.name, expires_in.as_secs());
                }
                leader = Some(holder.name);
            }
            Err(error) => {
                if failures.is_worth_a_line(&error.to_string()) {
                    report_failure_without_state(&CycleError::from(error), memory, engine.unhealthy_after);
                }
            }
        }
        tokio::select! { () = sleep(pause) => {}, () = stop.cancelled() => return None }
    }
}

/// Asks for the lease. A stop does not break that off at once, so that a lease that was just taken is given up; `None` if it
/// takes longer than [`STOP_LIMIT`] even so.
async fn acquire(
    state: &State,
    holder: &Holder,
    duration: Duration,
    stop: &CancellationToken,
) -> Option<Result<Acquired, state::Error>> {
    tokio::select! {
        acquired = state.acquire(holder, duration) => Some(acquired),
        () = limit_after(stop) => None,
    }
}

/// Ends [`STOP_LIMIT`] after `stop`.
async fn limit_after(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(STOP_LIMIT).await;
}

/// `every` ± 10 %, so that many copies do not ask their CRMs at the same moment.
fn jittered(every: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 2_001;
    let permille = u32::try_from(random).unwrap_or(1_000);
    every.mul_f64(0.9 + f64::from(permille) / 10_000.0)
}
