//! Attempts, waits and the gate, on a paused clock.

use std::{
    cell::Cell,
    io,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::super::{
    attempt::Call,
    gate::Gate,
    retry::{Ending, Pacer, Patience},
    trouble::Trouble,
};
use crate::delivery::{Attempts, Loss, NotSent};

const TIMEOUT: Duration = Duration::from_secs(30);

fn pacer() -> Pacer {
    Pacer::new(TIMEOUT, NonZeroU32::MAX)
}

fn open_gate() -> Gate {
    Gate::without_lease(CancellationToken::new())
}

fn call() -> Call {
    Call {
        method: reqwest::Method::POST,
        template: "users",
        path: "users".to_owned(),
        body: None,
    }
}

fn unreached() -> Trouble {
    Trouble::Unavailable("trouble".to_owned())
}

fn lost() -> Trouble {
    Trouble::NoAnswer("trouble".to_owned())
}

fn status(status: u16, retry_after: Option<u64>) -> Trouble {
    Trouble::from_status(status, retry_after.map(Duration::from_secs))
}

/// Runs attempts that come to what `script` says, one after the other; the last entry again and again.
async fn run(pacer: &Pacer, gate: &Gate, patience: Patience, script: &[Result<(), Trouble>]) -> (Ending<()>, usize) {
    let attempts = Cell::new(0);
    let attempt = async |_| {
        let result = script[attempts.get().min(script.len() - 1)].clone();
        attempts.set(attempts.get() + 1);
        result
    };
    let ending = pacer.run(gate, &call(), patience, attempt).await;
    (ending, attempts.get())
}

/// As [`run`], with the usual patience and an open gate; returns the seconds that it took, too.
async fn play(script: &[Result<(), Trouble>]) -> (Ending<()>, usize, f64) {
    let start = Instant::now();
    let (ending, attempts) = run(&pacer(), &open_gate(), Patience::USUAL, script).await;
    (ending, attempts, start.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn passing_trouble_is_tried_four_times() {
    let (ending, attempts, seconds) = play(&[Err(unreached())]).await;
    assert_eq!(
        (ending.result, ending.loss, attempts),
        (Err(unreached()), Loss::None, 4)
    );
    assert!((0.875..1.8).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_one_attempt_and_still_waits_when_throttled() {
    let patience = Patience::USUAL.for_attempts(Attempts::One);
    let (_, attempts) = run(&pacer(), &open_gate(), patience, &[Err(lost())]).await;
    assert_eq!(attempts, 1);
    let script = [Err(status(429, None)), Ok(())];
    let (ending, attempts) = run(&pacer(), &open_gate(), patience, &script).await;
    assert_eq!((ending.result, attempts), (Ok(()), 2));
    let (_, attempts) = run(&pacer(), &open_gate(), Patience::USUAL.for_ping(), &script).await;
    assert_eq!(attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn the_worst_loss_of_all_attempts_counts() {
    let over = || Err(status(500, None));
    let may_land = || Err(lost());
    let none = || Err(unreached());
    for (script, loss) in [
        (vec![none(), Ok(())], Loss::None),
        (vec![over(), Ok(())], Loss::Over),
        (vec![may_land(), Ok(())], Loss::MayLand),
        (vec![may_land(), over(), none()], Loss::MayLand),
        (vec![over(), Err(status(400, None))], Loss::Over),
        (vec![may_land(), Err(Trouble::Unauthorized)], Loss::MayLand),
        (vec![none(), may_land()], Loss::MayLand),
    ] {
        let (ending, ..) = play(&script).await;
        assert_eq!(ending.loss, loss, "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_lengthens_a_back_off_within_bounds() {
    let (_, attempts, seconds) = play(&[Err(status(503, Some(9 * 3_600)))]).await;
    assert_eq!((attempts, seconds.round()), (4, 180.0));
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_waits_longer_each_time() {
    let (ending, attempts, seconds) = play(&[Err(status(429, None))]).await;
    assert_eq!((attempts, seconds.round(), ending.loss), (6, 135.0, Loss::None));
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_waits_as_asked() {
    let (_, attempts, seconds) = play(&[Err(status(429, Some(7)))]).await;
    assert_eq!((attempts, seconds.round()), (6, 35.0));
}

#[tokio::test(start_paused = true)]
async fn a_long_closure_ends_the_call_and_the_next_ones_at_once() {
    let pacer = pacer();
    let start = Instant::now();
    let throttled = [Err(status(429, Some(u64::MAX)))];
    for attempts_made in [1, 0] {
        let (ending, attempts) = run(&pacer, &open_gate(), Patience::USUAL, &throttled).await;
        let text = ending.result.expect_err("closed").to_string();
        assert!(text.starts_with("HTTP 429"), "{text}");
        assert_eq!(attempts, attempts_made);
    }
    assert!(start.elapsed().is_zero());
    // Even an absurd wish ends.
    tokio::time::advance(Duration::from_hours(1)).await;
    let (ending, _) = run(&pacer, &open_gate(), Patience::USUAL, &[Ok(())]).await;
    assert_eq!(ending.result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_a_wait_at_once_and_says_what_is_unknown() {
    let stop = CancellationToken::new();
    let gate = Gate::without_lease(stop.clone());
    let start = Instant::now();
    let pacer = pacer();
    let script = [Err(lost()), Err(status(429, None))];
    let stopper = async {
        sleep(Duration::from_secs(2)).await;
        stop.cancel();
    };
    let ((ending, _), ()) = tokio::join!(run(&pacer, &gate, Patience::USUAL, &script), stopper);
    assert_eq!((start.elapsed().as_secs(), ending.loss), (2, Loss::MayLand));
    let reason = "HTTP 429, too many requests; not tried again: the process is stopping";
    assert_eq!(ending.result, Err(Trouble::Unavailable(reason.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_wait_for_the_limiter() {
    let pacer = Pacer::new(TIMEOUT, NonZeroU32::MIN);
    let stop = CancellationToken::new();
    let gate = Gate::without_lease(stop.clone());
    run(&pacer, &gate, Patience::USUAL, &[Ok(())])
        .await
        .0
        .result
        .expect("the first may go");
    let ((ending, _), ()) = tokio::join!(run(&pacer, &gate, Patience::USUAL, &[Ok(())]), async {
        stop.cancel();
    });
    assert_eq!(ending.result, Err(Trouble::NotSent(NotSent::Stopping)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_must_cover_the_time_out_of_every_attempt() {
    let pacer = pacer();
    let start = Instant::now();
    let (lease, lease_until) = watch::channel(start + TIMEOUT.saturating_sub(Duration::from_millis(1)));
    let gate = Gate {
        stop: CancellationToken::new(),
        lease_until,
    };
    let script = [Err(status(429, None))];
    let (ending, attempts) = run(&pacer, &gate, Patience::USUAL, &script).await;
    assert_eq!(
        (ending.result, attempts),
        (Err(Trouble::NotSent(NotSent::LeaseTooShort)), 0)
    );

    // Enough for the first attempt, and for the second 5 s later; not for the third.
    lease.send_replace(start + TIMEOUT + Duration::from_secs(6));
    let (ending, attempts) = run(&pacer, &gate, Patience::USUAL, &script).await;
    let text = ending.result.expect_err("the lease ends").to_string();
    assert!(text.contains("the lease does not cover"), "{text}");
    assert_eq!(attempts, 2);
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
    play(&[Err(status(429, None))]).await;
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
    assert_eq!(
        (&second["status"], &second["reason"]),
        (&429.into(), &"HTTP 429, too many requests".into())
    );
}
