//! Attempts, waits and the gate, on a paused clock.

use std::{
    io,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rstest::rstest;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Client, Gate, Settings, exchange::Call, failure::AttemptFailure, retry::Patience},
    client_with, open_gate,
};
use crate::{
    delivery::{Attempts, Loss, RefusalCode},
    secret::SecretSource,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// How an attempt fails, if it does.
type Attempted = Option<AttemptFailure>;

fn patient_client() -> Client {
    client_with("http://127.0.0.1:1", TIMEOUT, SecretSource::Literal("key".into()))
}

fn unreached() -> AttemptFailure {
    AttemptFailure::unavailable("trouble".to_owned())
}

fn lost() -> AttemptFailure {
    AttemptFailure::no_answer("trouble".to_owned())
}

fn status(status: u16, retry_after: Option<u64>) -> AttemptFailure {
    let refusal = RefusalCode::Status(status).into();
    AttemptFailure::from_status(status, refusal, retry_after.map(Duration::from_secs))
}

/// How a call went.
struct Played {
    /// How it failed, in words.
    failure: Option<String>,
    loss: Loss,
    attempts: usize,
    seconds: f64,
}

/// Runs attempts that come to what `script` says, one after the other; the last entry again and again.
async fn run(client: &Client, gate: Gate, patience: Patience, script: &[Attempted]) -> Played {
    let session = client.session(gate).expect("a key");
    let call = Call::get("users/{id}", "users/secret".to_owned(), 0);
    let start = Instant::now();
    let attempts = AtomicUsize::new(0);
    let attempt = async || {
        let number = attempts.fetch_add(1, Ordering::Relaxed);
        script[number.min(script.len() - 1)].clone().map_or(Ok(()), Err)
    };
    let (result, loss) = session.retry(&call, patience, attempt).await;
    Played {
        failure: result.err().map(|failure| failure.reason),
        loss,
        attempts: attempts.load(Ordering::Relaxed),
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// As [`run`], with the usual patience and an open gate.
async fn play(script: &[Attempted]) -> Played {
    run(&patient_client(), open_gate(), Patience::USUAL, script).await
}

#[rstest]
#[case::unreached(unreached(), 4, 0.875, 1.8)]
#[case::lost(lost(), 4, 0.875, 1.8)]
#[case::asked_within_bounds(status(503, Some(7)), 4, 21.0, 21.1)]
#[case::asked_too_much(status(503, Some(9 * 3_600)), 4, 180.0, 180.1)]
#[case::throttled(status(429, None), 6, 135.0, 135.1)]
#[case::throttled_for_a_time(status(429, Some(7)), 6, 35.0, 35.1)]
#[case::throttled_for_no_time(status(429, Some(0)), 6, 5.0, 5.1)]
#[case::throttled_for_too_long(status(429, Some(121)), 1, 0.0, 0.1)]
#[case::refused(status(400, None), 1, 0.0, 0.1)]
#[tokio::test(start_paused = true)]
async fn the_waits_between_attempts(
    #[case] failure: AttemptFailure,
    #[case] attempts: usize,
    #[case] least: f64,
    #[case] most: f64,
) {
    let played = play(&[Some(failure)]).await;
    assert!(played.failure.is_some());
    assert_eq!(played.attempts, attempts);
    assert!((least..=most).contains(&played.seconds), "{}", played.seconds);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_one_attempt_and_still_waits_when_throttled() {
    let client = patient_client();
    let one = Patience::USUAL.for_attempts(Attempts::One);
    let script = [Some(status(429, None)), None];
    for (patience, script, attempts) in [
        (one, &[Some(lost())][..], 1),
        (one, &script, 2),
        (Patience::ONE_ATTEMPT, &script, 1),
    ] {
        let played = run(&client, open_gate(), patience, script).await;
        assert_eq!(played.attempts, attempts, "{script:?}");
    }
}

#[rstest]
#[case(&[Some(unreached()), None], Loss::None)]
#[case(&[Some(status(500, None)), None], Loss::Over)]
#[case(&[Some(lost()), None], Loss::MayLand)]
#[case(&[Some(lost()), Some(status(500, None)), Some(unreached())], Loss::MayLand)]
#[case(&[Some(status(500, None)), Some(status(400, None))], Loss::Over)]
#[case(&[Some(lost()), Some(status(401, None))], Loss::MayLand)]
#[case(&[Some(unreached()), Some(lost())], Loss::MayLand)]
#[tokio::test(start_paused = true)]
async fn the_worst_loss_of_all_attempts_counts(#[case] script: &[Attempted], #[case] loss: Loss) {
    assert_eq!(play(script).await.loss, loss);
}

#[tokio::test(start_paused = true)]
async fn a_long_closure_ends_the_call_and_the_next_ones_at_once() {
    let client = patient_client();
    let throttled = [Some(status(429, Some(u64::MAX)))];
    for attempts in [1, 0] {
        let played = run(&client, open_gate(), Patience::USUAL, &throttled).await;
        let failure = played.failure.expect("closed");
        assert!(failure.starts_with("HTTP 429"), "{failure}");
        assert_eq!((played.attempts, played.seconds), (attempts, 0.0));
    }
    // Even an absurd wish ends.
    tokio::time::advance(Duration::from_hours(1)).await;
    let played = run(&client, open_gate(), Patience::USUAL, &[None]).await;
    assert_eq!((played.failure, played.attempts), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_wait_at_once_and_says_what_is_unknown() {
    let client = patient_client();
    let stop = CancellationToken::new();
    let gate = Gate::without_lease(stop.clone());
    let script = [Some(lost()), Some(status(429, None))];
    let stopper = async {
        sleep(Duration::from_secs(2)).await;
        stop.cancel();
    };
    let (played, ()) = tokio::join!(run(&client, gate, Patience::USUAL, &script), stopper);
    assert_eq!((played.seconds.floor(), played.loss), (2.0, Loss::MayLand));
    let reason = "HTTP 429, too many requests; not tried again: the process is stopping";
    assert_eq!(played.failure.as_deref(), Some(reason));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_wait_for_the_limiter() {
    let client = Client::new(Settings {
        base_url: "http://127.0.0.1:1".parse().expect("a URL"),
        timeout: TIMEOUT,
        requests_per_minute: NonZeroU32::MIN,
        key: SecretSource::Literal("key".into()),
    });
    let stop = CancellationToken::new();
    let gate = Gate::without_lease(stop.clone());
    let first = run(&client, gate.clone(), Patience::USUAL, &[None]).await;
    assert_eq!(first.attempts, 1);
    let second = run(&client, gate, Patience::USUAL, &[None]);
    let (second, ()) = tokio::join!(second, async { stop.cancel() });
    assert_eq!(
        (second.failure.as_deref(), second.attempts),
        (Some("the process is stopping"), 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_must_cover_the_time_out_of_every_attempt() {
    let client = patient_client();
    let start = Instant::now();
    let (lease, lease_until) = watch::channel(start + TIMEOUT.saturating_sub(Duration::from_millis(1)));
    let gate = Gate {
        stop: CancellationToken::new(),
        lease_until,
    };
    let script = [Some(status(429, None))];
    let played = run(&client, gate.clone(), Patience::USUAL, &script).await;
    let too_short = "the lease does not cover the request's time-out";
    assert_eq!((played.failure.as_deref(), played.attempts), (Some(too_short), 0));

    // Enough for the first attempt, and for the second 5 s later; not for the third.
    lease.send_replace(start + TIMEOUT + Duration::from_secs(6));
    let played = run(&client, gate, Patience::USUAL, &script).await;
    let failure = played.failure.expect("the lease ends");
    assert!(failure.ends_with(&format!("not tried again: {too_short}")), "{failure}");
    assert_eq!(played.attempts, 2);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
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
    play(&[Some(status(429, None))]).await;
    drop(guard);
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 5);
    for (field, value) in [
        ("event", serde_json::Value::from("request.retried")),
        ("level", "WARN".into()),
        ("method", "GET".into()),
        ("path", "users/{id}".into()),
        ("attempt", 2.into()),
        ("wait_ms", 10_000.into()),
        ("status", 429.into()),
        ("reason", "HTTP 429, too many requests".into()),
    ] {
        assert_eq!(lines[1][field], value, "{field}");
    }
}
