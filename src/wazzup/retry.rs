//! When a request may start, and what follows when it fails: the gate, the limiter, the waits.

use std::{
    fmt, iter,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::error::{Error, Refusal};

/// What must hold for a request to start. It is looked at before every attempt, and the waits between attempts end at
/// once when `stop` fires; a request under way is never broken off by it.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Fires when the process is to stop.
    pub stop: CancellationToken,
    /// How long the lease lasts: a request starts only while the lease covers its time-out.
    pub lease_until: watch::Receiver<Instant>,
}

impl Gate {
    /// A gate for calls that change nothing and so need no lease.
    #[must_use]
    pub fn without_lease(stop: CancellationToken) -> Self {
        const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);
        let lease_until = watch::channel(Instant::now() + FOREVER).1;
        Self { stop, lease_until }
    }

    /// When a request that starts now has to be over.
    fn pass(&self, timeout: Duration) -> Result<Instant, Hindrance> {
        if self.stop.is_cancelled() {
            return Err(Hindrance::Stopping);
        }
        let deadline = Instant::now() + timeout;
        if deadline > *self.lease_until.borrow() {
            Err(Hindrance::LeaseTooShort)
        } else {
            Ok(deadline)
        }
    }
}

/// Why a request may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// The process is stopping.
    Stopping,
    /// The lease ends before the request would have to.
    LeaseTooShort,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the process is stopping",
            Self::LeaseTooShort => "the lease does not cover the request's time-out",
        })
    }
}

/// What a failed attempt may have done to the service's data, in rising order of concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Nothing: it did not get there, was turned away, or only reads.
    Untouched,
    /// It may have acted, and is over.
    Over,
    /// It may have acted, and may still land.
    Open,
}

impl Fate {
    pub(super) fn may_have_acted(self) -> bool {
        self > Self::Untouched
    }

    pub(super) fn may_land(self) -> bool {
        self == Self::Open
    }
}

/// How an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// For good.
    Final(Error),
    /// Perhaps not the next time.
    Again(Again),
}

/// An attempt that failed and may succeed the next time.
#[derive(Debug)]
pub(super) struct Again {
    pub reason: String,
    pub status: Option<u16>,
    pub pause: Pause,
    pub fate: Fate,
    /// What the service said, if it is a fault of the service.
    pub fault: Option<Box<Refusal>>,
}

/// How long to wait after a failed attempt. The durations are what `Retry-After` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// A moment, longer each time.
    BackOff(Option<Duration>),
    /// Long: there were too many requests.
    Throttled(Option<Duration>),
}

/// How long a call keeps trying. The figures are those of `wazzup-api.md` and the design.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Retries of what may be a passing trouble, after waits that double: each is between this and twice this.
    pub retries: usize,
    pub first: Duration,
    pub longest: Duration,
    /// The waits after "too many requests" that names no time.
    pub throttled: &'static [Duration],
}

impl Patience {
    pub(super) const USUAL: Self = Self {
        retries: 3,
        first: Duration::from_millis(125),
        longest: Duration::from_millis(2_500),
        throttled: &[
            Duration::from_secs(5),
            Duration::from_secs(10),
            Duration::from_secs(20),
            Duration::from_secs(40),
            Duration::from_mins(1),
        ],
    };

    /// One attempt.
    pub(super) const NONE: Self = Self {
        retries: 0,
        throttled: &[],
        ..Self::USUAL
    };

    fn schedule(&self) -> Schedule<impl Iterator<Item = Duration> + use<>, impl Iterator<Item = Duration> + use<>> {
        let back_off = ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.retries)
            .with_jitter()
            .build();
        Schedule {
            back_off,
            throttled: self.throttled.iter().copied(),
        }
    }
}

/// A 503 that asks for a longer wait than this is tried again after this.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// "Too many requests" that asks for a longer wait than this ends the call.
const LONGEST_THROTTLE: Duration = Duration::from_mins(2);
/// No `Retry-After` closes the service to us for longer: one absurd header must not stop the sync for a year.
const LONGEST_CLOSURE: Duration = Duration::from_hours(1);
/// How long the service is left alone when a call gives up on "too many requests" that names no time.
const USUAL_CLOSURE: Duration = Duration::from_secs(5);

/// The waits that one call has left.
struct Schedule<B, T> {
    back_off: B,
    throttled: T,
}

impl<B: Iterator<Item = Duration>, T: Iterator<Item = Duration>> Schedule<B, T> {
    /// How long to wait before the next attempt; `None` if there should be none.
    fn next(&mut self, pause: Pause) -> Option<Duration> {
        match pause {
            Pause::BackOff(asked) => {
                let usual = self.back_off.next()?;
                Some(usual.max(asked.unwrap_or_default().min(LONGEST_PAUSE)))
            }
            Pause::Throttled(asked) => {
                let usual = self.throttled.next()?;
                let wait = asked.map_or(usual, |asked| asked.max(Duration::from_secs(1)));
                (wait <= LONGEST_THROTTLE).then_some(wait)
            }
        }
    }
}

/// What a call is named in the logs: never by an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub method: &'static str,
    pub path: &'static str,
}

/// A success, and whether an earlier attempt of the call may still land.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub value: T,
    pub late: bool,
}

/// Spaces the requests of one process out.
pub(super) struct Pacer {
    pub timeout: Duration,
    limiter: DefaultDirectRateLimiter,
    /// The service asked to be left alone until then.
    closed_until: Mutex<Option<Instant>>,
}

impl Pacer {
    pub(super) fn new(timeout: Duration, requests_per_minute: NonZeroU32) -> Self {
        let burst = NonZeroU32::new(requests_per_minute.get() / 10).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::direct(Quota::per_minute(requests_per_minute).allow_burst(burst));
        Self {
            timeout,
            limiter,
            closed_until: Mutex::new(None),
        }
    }

    /// Attempts until one decides the call or `patience` ends. `attempt` is given the time by which it must be over.
    pub(super) async fn run<T, F>(
        &self,
        gate: &Gate,
        label: Label,
        patience: Patience,
        mut attempt: impl FnMut(Instant) -> F,
    ) -> Result<Done<T>, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.still_closed()?;
        let mut schedule = patience.schedule();
        let mut fate = Fate::Untouched;
        let mut last = None;
        let mut number = 0_u32;
        loop {
            let deadline = match self.admit(gate).await {
                Ok(deadline) => deadline,
                Err(hindrance) => return Err(broken_off(hindrance, last, fate)),
            };
            number += 1;
            let again = match attempt(deadline).await {
                Ok(value) => {
                    return Ok(Done {
                        value,
                        late: fate.may_land(),
                    });
                }
                Err(Failure::Final(error)) => return Err(error.after(fate)),
                Err(Failure::Again(again)) => again,
            };
            let wait = schedule.next(again.pause);
            if let Pause::Throttled(asked) = again.pause {
                self.close(wait.or(asked).unwrap_or(USUAL_CLOSURE));
            }
            let Some(wait) = wait else {
                return Err(given_up(again, number, fate));
            };
            log_retry(label, number, &again, wait);
            fate = fate.max(again.fate);
            last = Some(again.reason);
            select! {
                biased;
                () = gate.stop.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Waits for the limiter, if the gate is open before and after.
    async fn admit(&self, gate: &Gate) -> Result<Instant, Hindrance> {
        gate.pass(self.timeout)?;
        select! {
            biased;
            () = gate.stop.cancelled() => {}
            () = self.limiter.until_ready() => {}
        }
        gate.pass(self.timeout)
    }

    fn close(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_CLOSURE);
        *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn still_closed(&self) -> Result<(), Error> {
        let until = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        match until
            .and_then(|until| until.checked_duration_since(Instant::now()))
            .filter(|left| !left.is_zero())
        {
            None => Ok(()),
            Some(left) => Err(Error::Unavailable {
                reason: format!(
                    "too many requests (429); it is to be left alone for {} s more",
                    left.as_secs() + 1
                ),
                late: false,
            }),
        }
    }
}

fn broken_off(hindrance: Hindrance, last: Option<String>, fate: Fate) -> Error {
    match last {
        None => Error::NotSent(hindrance),
        Some(reason) => Error::Unavailable {
            reason: format!("{reason}; not tried again: {hindrance}"),
            late: fate.may_have_acted(),
        },
    }
}

fn given_up(again: Again, attempts: u32, earlier: Fate) -> Error {
    let error = match again.fault {
        Some(refusal) => Error::Fault(refusal),
        None => Error::Unavailable {
            reason: match attempts {
                1 => again.reason,
                _ => format!("{} ({attempts} attempts)", again.reason),
            },
            late: again.fate.may_have_acted(),
        },
    };
    error.after(earlier)
}

fn log_retry(label: Label, attempt: u32, again: &Again, wait: Duration) {
    tracing::warn!(
        event = "request.retried",
        method = label.method,
        path = label.path,
        attempt,
        status = again.status,
        reason = again.reason,
        wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        "a request to Wazzup failed and is tried again"
    );
}

/// The causes of `error` in one line, without `error` itself, which only wraps them.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    const LONGEST: usize = 300;
    let mut line = String::new();
    for cause in iter::successors(error.source().or(Some(error)), |error| error.source()) {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&text);
        }
    }
    line.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LABEL: Label = Label {
        method: "POST",
        path: "users",
    };
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn pacer() -> Pacer {
        Pacer::new(TIMEOUT, NonZeroU32::MAX)
    }

    fn failure(pause: Pause, fate: Fate) -> Failure {
        Failure::Again(Again {
            reason: "trouble".to_owned(),
            status: None,
            pause,
            fate,
            fault: None,
        })
    }

    /// Runs attempts that fail as `script` says, the last one for ever. Returns the outcome, the number of attempts and
    /// the seconds it took.
    async fn play(script: &[(Pause, Fate)]) -> (Error, usize, f64) {
        let (attempts, start) = (Cell::new(0), Instant::now());
        let gate = Gate::without_lease(CancellationToken::new());
        let attempt = async |_| {
            let (pause, fate) = script[attempts.get().min(script.len() - 1)];
            attempts.set(attempts.get() + 1);
            Err::<(), _>(failure(pause, fate))
        };
        let error = pacer()
            .run(&gate, LABEL, Patience::USUAL, attempt)
            .await
            .expect_err("it only fails");
        (error, attempts.get(), start.elapsed().as_secs_f64())
    }

    #[tokio::test(start_paused = true)]
    async fn passing_trouble_is_tried_four_times() {
        let (error, attempts, seconds) = play(&[(Pause::BackOff(None), Fate::Untouched)]).await;
        assert_eq!(error.to_string(), "Wazzup is unavailable: trouble (4 attempts)");
        assert_eq!((attempts, error.late()), (4, false));
        assert!((0.875..1.8).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_lost_answer_is_not_forgotten() {
        for fate in [Fate::Over, Fate::Open] {
            let (error, ..) = play(&[(Pause::BackOff(None), fate), (Pause::BackOff(None), Fate::Untouched)]).await;
            assert!(error.late());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_lengthens_a_back_off_within_bounds() {
        let (_, attempts, seconds) = play(&[(Pause::BackOff(Some(Duration::from_hours(9))), Fate::Over)]).await;
        assert_eq!((attempts, seconds.round()), (4, 180.0));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_requests_waits_longer_each_time() {
        let (error, attempts, seconds) = play(&[(Pause::Throttled(None), Fate::Untouched)]).await;
        assert_eq!((attempts, seconds.round(), error.late()), (6, 135.0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_requests_waits_as_asked() {
        let (_, attempts, seconds) = play(&[(Pause::Throttled(Some(Duration::from_secs(7))), Fate::Untouched)]).await;
        assert_eq!((attempts, seconds.round()), (6, 35.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_closure_ends_the_call_and_the_next_ones_at_once() {
        let pacer = pacer();
        let gate = Gate::without_lease(CancellationToken::new());
        let start = Instant::now();
        let throttled = async |_| {
            Err::<(), _>(failure(
                Pause::Throttled(Some(Duration::from_secs(u64::MAX))),
                Fate::Untouched,
            ))
        };
        let error = pacer
            .run(&gate, LABEL, Patience::USUAL, throttled)
            .await
            .expect_err("closed");
        assert!(matches!(error, Error::Unavailable { late: false, .. }));
        let unsent = async |_| -> Result<(), Failure> { panic!("no request may start") };
        let error = pacer
            .run(&gate, LABEL, Patience::USUAL, unsent)
            .await
            .expect_err("still closed");
        assert!(matches!(error, Error::Unavailable { late: false, .. }));
        assert!(start.elapsed().is_zero());
        // Even an absurd wish ends.
        tokio::time::advance(LONGEST_CLOSURE).await;
        let done = pacer
            .run(&gate, LABEL, Patience::USUAL, async |_| Ok(7))
            .await
            .expect("open again");
        assert_eq!((done.value, done.late), (7, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_after_a_lost_answer_is_late() {
        for (fate, late) in [(Fate::Untouched, false), (Fate::Over, false), (Fate::Open, true)] {
            let first = Cell::new(true);
            let attempt = async |_| {
                if first.take() {
                    Err(failure(Pause::BackOff(None), fate))
                } else {
                    Ok(())
                }
            };
            let gate = Gate::without_lease(CancellationToken::new());
            let done = pacer()
                .run(&gate, LABEL, Patience::USUAL, attempt)
                .await
                .expect("it succeeds");
            assert_eq!(done.late, late, "{fate:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_after_a_lost_answer_is_late() {
        let first = Cell::new(true);
        let attempt = async |_| {
            let lost = first.take();
            Err::<(), _>(if lost {
                failure(Pause::BackOff(None), Fate::Open)
            } else {
                Failure::Final(Error::Unauthorized { late: false })
            })
        };
        let gate = Gate::without_lease(CancellationToken::new());
        let error = pacer()
            .run(&gate, LABEL, Patience::USUAL, attempt)
            .await
            .expect_err("refused");
        assert!(matches!(error, Error::Unauthorized { late: true }));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_a_wait_at_once_and_says_what_is_unknown() {
        let stop = CancellationToken::new();
        let gate = Gate::without_lease(stop.clone());
        let start = Instant::now();
        let pacer = pacer();
        let attempt = async |_| Err::<(), _>(failure(Pause::Throttled(None), Fate::Open));
        let stopper = async {
            sleep(Duration::from_secs(2)).await;
            stop.cancel();
        };
        let (outcome, ()) = tokio::join!(pacer.run(&gate, LABEL, Patience::USUAL, attempt), stopper);
        assert_eq!(start.elapsed().as_secs(), 2);
        let error = outcome.expect_err("stopped");
        assert_eq!(
            error.to_string(),
            "Wazzup is unavailable: trouble; not tried again: the process is stopping"
        );
        assert!(error.late());
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_the_wait_for_the_limiter() {
        let pacer = Pacer::new(TIMEOUT, NonZeroU32::MIN);
        let stop = CancellationToken::new();
        let gate = Gate::without_lease(stop.clone());
        pacer
            .run(&gate, LABEL, Patience::USUAL, async |_| Ok(()))
            .await
            .expect("the first may go");
        let (outcome, ()) = tokio::join!(pacer.run(&gate, LABEL, Patience::USUAL, async |_| Ok(())), async {
            stop.cancel();
        });
        assert!(matches!(outcome, Err(Error::NotSent(Hindrance::Stopping))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_must_cover_the_time_out_of_every_attempt() {
        let pacer = pacer();
        let start = Instant::now();
        let (lease, lease_until) = watch::channel(start + TIMEOUT - Duration::from_millis(1));
        let gate = Gate {
            stop: CancellationToken::new(),
            lease_until,
        };
        let attempts = Cell::new(0);
        let attempt = async |_| {
            attempts.set(attempts.get() + 1);
            Err::<(), _>(failure(Pause::Throttled(None), Fate::Untouched))
        };
        let error = pacer
            .run(&gate, LABEL, Patience::USUAL, attempt)
            .await
            .expect_err("the lease is too short");
        assert!(matches!(error, Error::NotSent(Hindrance::LeaseTooShort)));
        assert_eq!(attempts.get(), 0);

        // Enough for the first attempt, and for the second 5 s later; not for the third.
        lease.send_replace(start + TIMEOUT + Duration::from_secs(6));
        let error = pacer
            .run(&gate, LABEL, Patience::USUAL, attempt)
            .await
            .expect_err("the lease ends");
        assert!(error.to_string().contains("the lease does not cover"), "{error}");
        assert_eq!(attempts.get(), 2);
    }

    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_is_logged() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        play(&[(Pause::Throttled(None), Fate::Untouched)]).await;
        drop(guard);
        let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 5);
        let second = &lines[1];
        assert_eq!(
            (&second["event"], &second["level"]),
            (&"request.retried".into(), &"WARN".into())
        );
        assert_eq!((&second["method"], &second["path"]), (&"POST".into(), &"users".into()));
        assert_eq!((&second["attempt"], &second["wait_ms"]), (&2.into(), &10_000.into()));
        assert_eq!(second["reason"], "trouble");
    }
}
