//! The daemon for an hour: it neither grows, nor says anything to Wazzup in quiet time, nor misses a change.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use sandbox::{Wazzup, When};

use crate::{app::App, evidence, process::PATIENCE};

/// How long nothing changes after each change.
const QUIET: Duration = Duration::from_secs(10);
const EMPLOYEES: usize = 1_000;
/// What the allocator may still take after the first quarter, in kB.
const MOST_GROWTH: u64 = 2_000;

#[tokio::test]
#[ignore = "takes as long as SOAK_MINUTES says: make soak MINUTES=60"]
async fn an_hour_of_small_changes() {
    let minutes: u64 = std::env::var("SOAK_MINUTES").map_or(60, |text| text.parse().expect("SOAK_MINUTES is a number"));
    let mut app = App::new().await;
    app.set("schedule.every", "1s").set("schedule.verify_every", "5m");
    app.sql(&format!(
        "INSERT INTO employees SELECT n::text, 'Employee ' || n, '7926' || lpad(n::text, 7, '0'), true \
         FROM generate_series(1, {EMPLOYEES}) AS n"
    ))
    .await;
    let mut daemon = app.daemon();
    daemon.wait_for("cycle.finished", |_| true).await;
    assert_eq!(app.users().len(), EMPLOYEES);

    let began = Instant::now();
    let mut memory = Vec::new();
    let mut requests_in_quiet_time = 0;
    let mut lists = 0;
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        let round = memory.len();
        let changed = (round % EMPLOYEES + 1).to_string();
        let name = format!("Renamed In Round {round}");
        app.rename(&changed, &name).await;
        let has_arrived = |wazzup: &Wazzup| wazzup.user(&changed).is_some_and(|user| user.name == name);
        let arrived = app.wazzup.wait_until(has_arrived, PATIENCE).await;
        arrived.unwrap_or_else(|error| panic!("{changed}: {error}\n{}", daemon.text()));
        app.wazzup.clear_log();
        tokio::time::sleep(QUIET).await;
        lists += app.wazzup.count_of(When::List);
        requests_in_quiet_time += app.wazzup.requests().len() - app.wazzup.count_of(When::List);
        memory.push(daemon.resident_kb());
    }
    let cycles = app.state_number("SELECT last_cycle_id FROM wazzup_sync.accounts").await;
    daemon.stop().await;
    app.settled().await;

    assert_eq!(requests_in_quiet_time, 0);
    let settled = &memory[memory.len() / 4..];
    let growth = settled[settled.len() - 1].saturating_sub(settled[0]);
    assert!(growth <= MOST_GROWTH, "grew by {growth} kB: {settled:?}");
    let mut text = "| | |\n|---|---|\n".to_owned();
    for (what, figure) in [
        ("employees", EMPLOYEES.to_string()),
        ("minutes", minutes.to_string()),
        ("cycles", cycles.to_string()),
        ("changes, each arrived", memory.len().to_string()),
        (
            "requests in quiet time, without the list every 5 minutes",
            requests_in_quiet_time.to_string(),
        ),
        ("lists read", lists.to_string()),
        (
            "resident memory after a quarter of the time, kB",
            settled[0].to_string(),
        ),
        ("resident memory at the end, kB", settled[settled.len() - 1].to_string()),
        (
            "slope of resident memory after the first quarter, kB per hour",
            slope_per_hour(settled).to_string(),
        ),
    ] {
        writeln!(text, "| {what} | {figure} |").expect("a text grows");
    }
    evidence::publish("soak", &text);
}

/// The slope of the regression line through samples that lie about [`QUIET`] apart.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a figure for people"
)]
fn slope_per_hour(samples: &[u64]) -> i64 {
    let count = samples.len() as f64;
    let mean_of_places = (count - 1.0) / 2.0;
    let mean = samples.iter().sum::<u64>() as f64 / count;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (place, sample) in samples.iter().enumerate() {
        let distance = place as f64 - mean_of_places;
        covariance += distance * (*sample as f64 - mean);
        variance += distance * distance;
    }
    let samples_per_hour = 3600.0 / QUIET.as_secs_f64();
    (covariance / variance * samples_per_hour).round() as i64
}
