//! When an attempt may start, and what follows when it fails: the limiter, the waits, the loss of the whole call.

use std::{num::NonZeroU32, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    client::Session,
    exchange::Call,
    failure::{AttemptFailure, Retry},
};
use crate::{
    delivery::{Attempts, Loss},
    events,
};

/// How long a call keeps trying.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The waits for what may pass by itself.
    pub back_off: ExponentialBuilder,
    /// The waits after "too many requests" that names no time.
    pub throttling: ExponentialBuilder,
}

impl Patience {
    pub(super) const USUAL: Self = Self {
        back_off: ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(125))
            .with_max_delay(Duration::from_millis(2_500))
            .with_max_times(3)
            .with_jitter(),
        throttling: ExponentialBuilder::new()
            .with_min_delay(Duration::from_secs(5))
            .with_max_delay(Duration::from_mins(1))
            .with_max_times(5),
    };

    pub(super) const ONE_ATTEMPT: Self = Self {
        back_off: ExponentialBuilder::new().with_max_times(0),
        throttling: ExponentialBuilder::new().with_max_times(0),
    };

    /// Without retries, where `attempts` says so. "Too many requests" is waited for all the same.
    pub(super) fn for_attempts(self, attempts: Attempts) -> Self {
        let back_off = match attempts {
            Attempts::Several => self.back_off,
            Attempts::One => Self::ONE_ATTEMPT.back_off,
        };
        Self { back_off, ..self }
    }
}

/// An answer other than 429 that asks for a longer wait than this is tried again after this.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// "Too many requests" that asks for a longer wait than this ends the call.
const LONGEST_THROTTLE: Duration = Duration::from_mins(2);
/// No `Retry-After` closes the service to us for longer: one absurd header must not stop the sync for a year.
const LONGEST_CLOSURE: Duration = Duration::from_hours(1);

/// Spaces out the requests of one process.
#[derive(Debug)]
pub(super) struct Pacer {
    limiter: DefaultDirectRateLimiter,
    /// The service asked to be left alone until then.
    closed_until: watch::Sender<Instant>,
}

impl Pacer {
    pub(super) fn new(requests_per_minute: NonZeroU32) -> Self {
        let burst = NonZeroU32::new(requests_per_minute.get() / 10).unwrap_or(NonZeroU32::MIN);
        Self {
            limiter: RateLimiter::direct(Quota::per_minute(requests_per_minute).allow_burst(burst)),
            closed_until: watch::Sender::new(Instant::now()),
        }
    }

    fn close(&self, duration: Duration) {
        self.closed_until
            .send_replace(Instant::now() + duration.min(LONGEST_CLOSURE));
    }

    /// How long the service wants to be left alone from now on.
    fn closed_for(&self) -> Duration {
        self.closed_until.borrow().saturating_duration_since(Instant::now())
    }
}

/// How long to wait before the next attempt; `None` if there should be none. The iterators are the waits that are left.
fn next_wait(retry: Retry, back_off: &mut ExponentialBackoff, throttling: &mut ExponentialBackoff) -> Option<Duration> {
    match retry {
        Retry::Never => None,
        Retry::AfterBackOff(asked) => {
            let usual = back_off.next()?;
            Some(usual.max(asked.unwrap_or_default().min(LONGEST_BACK_OFF)))
        }
        Retry::AfterThrottling(asked) => {
            let usual = throttling.next()?;
            let wait = asked.map_or(usual, |asked| asked.max(Duration::from_secs(1)));
            (wait <= LONGEST_THROTTLE).then_some(wait)
        }
    }
}

impl Session<'_> {
    /// Attempts until one decides the call or `patience` ends. Returns the result of the last attempt, and the worst loss
    /// of all.
    pub(super) async fn retry<T>(
        &self,
        call: &Call,
        patience: Patience,
        attempt: impl AsyncFn() -> Result<T, AttemptFailure>,
    ) -> (Result<T, AttemptFailure>, Loss) {
        let mut loss = Loss::None;
        let mut back_off = patience.back_off.build();
        let mut throttling = patience.throttling.build();
        let mut previous = None;
        let mut attempt_number = 0;
        let result = loop {
            if let Err(failure) = self.admit(previous.as_ref()).await {
                break Err(failure);
            }
            attempt_number += 1;
            let failure = match attempt().await {
                Ok(value) => break Ok(value),
                Err(failure) => failure,
            };
            loss = loss.max(failure.loss);
            let Some(wait) = next_wait(failure.retry, &mut back_off, &mut throttling) else {
                if let Retry::AfterThrottling(Some(asked)) = failure.retry {
                    self.client.pacer.close(asked);
                }
                break Err(failure);
            };
            let AttemptFailure { status, reason, .. } = &failure;
            events::request_retried(
                call.method.as_str(),
                call.template,
                attempt_number,
                *status,
                reason,
                wait,
            );
            previous = Some(failure);
            self.gate.stop.run_until_cancelled(sleep(wait)).await;
        };
        (result, loss)
    }

    /// Waits until a request may start. `previous` is how the attempt before failed.
    async fn admit(&self, previous: Option<&AttemptFailure>) -> Result<(), AttemptFailure> {
        let pacer = &self.client.pacer;
        let closed_for = pacer.closed_for();
        if previous.is_none() && !closed_for.is_zero() {
            let seconds = closed_for.as_secs() + 1;
            let reason = format!("HTTP 429, too many requests: to be left alone for {seconds} s more");
            return Err(AttemptFailure::unavailable(reason));
        }
        // Not by the first attempt itself: setting TLS up takes time, for which the lease may not last.
        self.client.http().await?;
        self.gate.stop.run_until_cancelled(pacer.limiter.until_ready()).await;
        let passed = self.gate.pass(self.client.timeout);
        passed.map_err(|reason| match previous {
            None => AttemptFailure::not_sent(reason),
            Some(failure) => AttemptFailure::unavailable(format!("{}; not tried again: {reason}", failure.reason)),
        })
    }
}
