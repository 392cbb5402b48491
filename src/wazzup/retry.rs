//! When an attempt may start, and what follows when it fails: the limiter, the waits, the loss of the whole call.

use std::{
    num::NonZeroU32,
    slice,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{
    select,
    time::{Instant, sleep},
};

use super::{
    attempt::Call,
    gate::Gate,
    trouble::{Retry, Trouble},
};
use crate::{
    delivery::{Attempts, Loss, NotSent},
    events,
};

/// How long a call keeps trying.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Retries of what may pass by itself, after waits that double: each is between this and twice this.
    pub retries: usize,
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// The waits after "too many requests" that names no time.
    pub throttled_waits: &'static [Duration],
}

impl Patience {
    /// What `wazzup-api.md` and the design say.
    pub(super) const USUAL: Self = Self {
        retries: 3,
        first_wait: Duration::from_millis(125),
        longest_wait: Duration::from_millis(2_500),
        throttled_waits: &[
            Duration::from_secs(5),
            Duration::from_secs(10),
            Duration::from_secs(20),
            Duration::from_secs(40),
            Duration::from_mins(1),
        ],
    };

    /// Without retries, where `attempts` says so. "Too many requests" is waited for all the same.
    pub(super) fn for_attempts(self, attempts: Attempts) -> Self {
        match attempts {
            Attempts::Several => self,
            Attempts::One => Self { retries: 0, ..self },
        }
    }

    /// One attempt, whatever comes.
    pub(super) fn for_ping(self) -> Self {
        Self {
            retries: 0,
            throttled_waits: &[],
            ..self
        }
    }

    fn schedule(&self) -> Schedule {
        let back_off = ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_max_times(self.retries)
            .with_jitter();
        Schedule {
            back_off: back_off.build(),
            throttled: self.throttled_waits.iter(),
        }
    }
}

/// An answer other than 429 that asks for a longer wait than this is tried again after this.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// "Too many requests" that asks for a longer wait than this ends the call.
const LONGEST_THROTTLE: Duration = Duration::from_mins(2);
/// No `Retry-After` closes the service to us for longer: one absurd header must not stop the sync for a year.
const LONGEST_CLOSURE: Duration = Duration::from_hours(1);
/// How long the service is left alone when a call gives up on "too many requests" that names no time.
const USUAL_CLOSURE: Duration = Duration::from_secs(5);

/// The waits that one call has left.
struct Schedule {
    back_off: ExponentialBackoff,
    throttled: slice::Iter<'static, Duration>,
}

impl Schedule {
    /// How long to wait before the next attempt; `None` if there should be none.
    fn next(&mut self, retry: Retry) -> Option<Duration> {
        match retry {
            Retry::Never => None,
            Retry::AfterBackOff(asked) => {
                let usual = self.back_off.next()?;
                Some(usual.max(asked.unwrap_or_default().min(LONGEST_BACK_OFF)))
            }
            Retry::AfterThrottling(asked) => {
                let usual = *self.throttled.next()?;
                let wait = asked.map_or(usual, |asked| asked.max(Duration::from_secs(1)));
                (wait <= LONGEST_THROTTLE).then_some(wait)
            }
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Ending<T> {
    pub result: Result<T, Trouble>,
    /// The worst of all attempts, if the call writes.
    pub loss: Loss,
}

/// Spaces out the requests of one process.
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
        call: &Call,
        patience: Patience,
        mut attempt: impl FnMut(Instant) -> F,
    ) -> Ending<T>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut loss = Loss::None;
        let mut schedule = patience.schedule();
        let mut previous = None;
        let mut attempt_number = 0;
        let result = loop {
            let deadline = match self.admit(gate, previous.as_ref()).await {
                Ok(deadline) => deadline,
                Err(trouble) => break Err(trouble),
            };
            attempt_number += 1;
            let trouble = match attempt(deadline).await {
                Ok(value) => break Ok(value),
                Err(trouble) => trouble,
            };
            loss = loss.max(trouble.loss());
            let retry = trouble.retry();
            let wait = schedule.next(retry);
            if let Retry::AfterThrottling(asked) = retry {
                self.close(wait.or(asked).unwrap_or(USUAL_CLOSURE));
            }
            let Some(wait) = wait else {
                break Err(trouble);
            };
            report_retry(call, attempt_number, &trouble, wait);
            previous = Some(trouble);
            select! {
                biased;
                () = gate.stop.cancelled() => {}
                () = sleep(wait) => {}
            }
        };
        Ending { result, loss }
    }

    /// Waits for the limiter, if the gate is open before and after. `previous` is what the attempt before came to.
    async fn admit(&self, gate: &Gate, previous: Option<&Trouble>) -> Result<Instant, Trouble> {
        let not_sent = |reason: NotSent| match previous {
            None => Trouble::NotSent(reason),
            Some(trouble) => Trouble::Unavailable(format!("{trouble}; not tried again: {reason}")),
        };
        gate.pass(self.timeout).map_err(not_sent)?;
        if previous.is_none() {
            self.check_closure()?;
        }
        select! {
            biased;
            () = gate.stop.cancelled() => {}
            () = self.limiter.until_ready() => {}
        }
        gate.pass(self.timeout).map_err(not_sent)
    }

    fn close(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_CLOSURE);
        *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn check_closure(&self) -> Result<(), Trouble> {
        let closed_until = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        let seconds = left.as_secs() + 1;
        Err(Trouble::Unavailable(format!(
            "HTTP 429, too many requests: to be left alone for {seconds} s more"
        )))
    }
}

fn report_retry(call: &Call, attempt: u32, trouble: &Trouble, wait: Duration) {
    events::request_retried(&events::Retry {
        method: call.method.as_str(),
        path: call.template,
        attempt,
        status: trouble.retried_status(),
        reason: &trouble.to_string(),
        wait,
    });
}
