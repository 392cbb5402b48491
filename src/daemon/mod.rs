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
    state::{self, Acquired, Holder, Lease},
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
    let random = fastrand::u64(..);
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
    let mut memory = Memory::default();
    while !stop.is_cancelled() {
        memory.list_is_due = true;
        let Some(lease) = wait_for_lease(engine, schedule.lease, &holder, &mut memory, stop).await else {
            break;
        };
        events::lease_acquired(lease.token);
        let tenure = Tenure::begin(engine.state.clone(), lease, stop);
        let leading = async |tenure: &Tenure| lead(engine, schedule, &mut listener, tenure, &mut memory).await;
        within(tenure, leading).await;
    }
    events::daemon_stopped();
}

async fn lead(engine: &SyncEngine, schedule: Schedule, listener: &mut Listener, tenure: &Tenure, memory: &mut Memory) {
    while !tenure.over.is_cancelled() {
        let next_cycle = Instant::now() + jittered(schedule.every);
        let report = run_cycle(engine, tenure, memory).await;
        if report.is_none_or(|report| report.lost_lease) {
            return;
        }
        tokio::select! {
            () = sleep_until(next_cycle) => {}
            () = listener.notified() => {
                tokio::select! { () = sleep(BURST) => {}, () = tenure.over.cancelled() => {} }
                listener.forget();
            }
            () = tenure.over.cancelled() => {}
        }
    }
}

/// Runs one cycle; `None` if it does not end in time. Whatever it left in flight is recorded in the journal.
async fn run_cycle(engine: &SyncEngine, tenure: &Tenure, memory: &mut Memory) -> Option<CycleReport> {
    let report = finish_in_time(engine.run_cycle(&tenure.lease, &tenure.over, memory), &tenure.over).await?;
    // Unless the renewal noticed it first.
    if report.lost_lease && !tenure.over.is_cancelled() {
        events::lease_lost();
    }
    Some(report)
}

/// Runs `work` and gives the lease up afterwards, even if `work` panics.
async fn within<T>(tenure: Tenure, work: impl AsyncFnOnce(&Tenure) -> T) -> T {
    let result = AssertUnwindSafe(work(&tenure)).catch_unwind().await;
    tenure.end().await;
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

#[derive(Debug)]
pub enum Once {
    /// The cycle came to its own end, even if a stop was asked for meanwhile.
    Done(CycleReport),
    /// Another process holds the lease, for so long at least.
    HeldBy(Holder, SignedDuration),
    /// A signal interrupted the cycle, which did not end in time.
    Interrupted,
}

/// Runs one cycle. The error says that the state cannot be used, or that the lease was lost in the middle of the cycle.
pub async fn once(engine: &SyncEngine, lease: Duration, stop: &CancellationToken) -> Result<Once, state::Error> {
    let holder = holder();
    engine.crm.connect_ahead();
    let Some(acquired) = finish_in_time(engine.state.acquire(&holder, lease), stop).await else {
        return Ok(Once::Interrupted);
    };
    let tenure = match acquired? {
        Acquired::Ours(lease) => Tenure::begin(engine.state.clone(), lease, stop),
        Acquired::HeldBy { holder, expires_in } => return Ok(Once::HeldBy(holder, expires_in)),
    };
    let mut memory = Memory::default();
    let cycle = async |tenure: &Tenure| run_cycle(engine, tenure, &mut memory).await;
    match within(tenure, cycle).await {
        Some(report) => Ok(Once::Done(report)),
        None if stop.is_cancelled() => Ok(Once::Interrupted),
        None => Err(state::Error::LeaseLost),
    }
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
        // A stop does not break this off at once, so that a lease that was just taken is given up.
        match finish_in_time(engine.state.acquire(holder, duration), stop).await? {
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

/// The result of `work`; `None` if it has not ended [`STOP_LIMIT`] after `stop`.
async fn finish_in_time<T>(work: impl Future<Output = T>, stop: &CancellationToken) -> Option<T> {
    let limit = async {
        stop.cancelled().await;
        sleep(STOP_LIMIT).await;
    };
    // Boxed: a cycle's future is big, and would be kept in several copies.
    tokio::select! { result = Box::pin(work) => Some(result), () = limit => None }
}

/// `every` ± 10 %, so that many copies do not ask their CRMs at the same moment.
fn jittered(every: Duration) -> Duration {
    every.mul_f64(0.9 + 0.2 * fastrand::f64())
}
