//! The life of the daemon: NOTIFY, stops, deaths, second copies.

use std::time::Duration;

use sandbox::{Fault, Wazzup, What, When};
use serde_json::Value;

use crate::{
    app::{App, phone},
    process::log_line,
};

async fn arrives(app: &App, id: &str, name: &str) {
    app.wazzup_reaches(|wazzup| wazzup.user(id).is_some_and(|user| user.name == name))
        .await;
}

#[tokio::test]
async fn a_burst_of_notifications_makes_one_cycle_at_once() {
    let mut app = App::with_employees(5).await;
    app.set("schedule.every", "1h")
        .set("schedule.listen", "employees_changed")
        .set("log.level", "debug");
    let mut daemon = app.daemon();
    daemon.wait_for("cycle.finished", |_| true).await;
    for number in 1..=5 {
        app.rename(&format!("e00{number}"), "At Once").await;
        app.sql("NOTIFY employees_changed").await;
    }
    for number in 1..=5 {
        arrives(&app, &format!("e00{number}"), "At Once").await;
    }
    daemon.wait_for("cycle.finished", |_| true).await;
    assert_eq!(daemon.count("cycle.started"), 2, "{}", daemon.text());
    // The listener's connection is cut: it comes back by itself, and what was missed meanwhile is synced.
    app.rename("e001", "Missed").await;
    app.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'wazzup-sync' AND datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .await;
    arrives(&app, "e001", "Missed").await;
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_delivery_is_polite() {
    let mut app = App::with_employees(300).await;
    app.set("wazzup.timeout", "5s").set("schedule.every", "1h");
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 500 }).always());
    let mut daemon = app.daemon();
    let first = |wazzup: &Wazzup| wazzup.writing_requests().len() == 1;
    app.wazzup_reaches(first).await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await, Some(0), "{}", daemon.text());
    // The request in flight was finished and recorded; the next was not started; the lease was given up.
    assert_eq!(app.wazzup.writing_requests().len(), 1);
    assert_eq!(
        app.state_number("SELECT count(*) FROM wazzup_sync.users WHERE name IS NOT NULL")
            .await,
        100
    );
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    assert_eq!(app.user_ids().len(), 300);
    app.settled().await;
}

/// The log says it. Only somebody who looks gets a sentence as well.
#[tokio::test]
async fn an_interrupted_once_leaves_nothing_but_its_log_on_stderr() {
    let app = App::with_employees(300).await;
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 500 }).always());
    let folder = tempfile::tempdir().expect("a folder");
    let to_file = app.on_terminal_into(&folder.path().join("answer"), 80, &["once"]);
    app.wazzup_reaches(|wazzup| wazzup.writing_requests().len() == 1).await;
    to_file.signal("TERM").await;
    let screen = to_file.ended().await;
    let log: Vec<Value> = screen.text().lines().map(log_line).collect();
    let failed = log.iter().find(|line| line["event"] == "cycle.failed");
    let said = "no further request was sent to Wazzup: the process is stopping; the next cycle continues";
    assert_eq!(failed.expect("an end")["error"], said, "{screen}");
    assert_eq!(screen.code, 1);

    let seen = app.on_terminal(80, &["once"]);
    app.wazzup_reaches(|wazzup| wazzup.writing_requests().len() == 2).await;
    seen.signal("TERM").await;
    let screen = seen.ended().await;
    let text = screen.text();
    let prose: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    let sentence = "The cycle was interrupted; nothing is lost, and the next one continues.";
    assert_eq!((prose, screen.code), (vec![sentence], 1));
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_the_request_counts_as_unknown() {
    let mut app = App::with_employees(2).await;
    app.set("wazzup.timeout", "20s").set("state.lease", "40s");
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 15_000 }));
    let mut daemon = app.daemon();
    let first = |wazzup: &Wazzup| wazzup.writing_requests().len() == 1;
    app.wazzup_reaches(first).await;
    // Two kinds: the kernel merges a signal with an earlier one of its kind that the daemon has not taken yet.
    daemon.signal("TERM").await;
    daemon.signal("INT").await;
    assert_eq!(daemon.ended().await, Some(130), "{}", daemon.text());
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
        .await;
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    app.settled_but_for_overlaps().await;
}

#[tokio::test]
async fn fourteen_deaths_at_random_moments_converge() {
    let mut app = App::with_employees(150).await;
    app.set("wazzup.timeout", "500ms")
        .set("state.lease", "1s")
        .set("schedule.every", "50ms");
    app.set_raw("removals.hold_above", "1000");
    app.wazzup.seed_foreigners(3);
    let mut rng = fastrand::Rng::with_seed(14);
    for death in 0..14 {
        let daemon = app.daemon();
        // A moment of the company's life, some of it while the daemon works.
        for _ in 0..rng.usize(1..6) {
            let id = format!("e{:03}", rng.usize(1..=150));
            app.sql(&format!(
                "UPDATE employees SET name = 'Death {death}' WHERE id = '{id}'"
            ))
            .await;
            app.sql(&format!(
                "DELETE FROM employees WHERE id = 'e{:03}'",
                rng.usize(1..=150)
            ))
            .await;
            app.sql(&format!(
                "INSERT INTO employees VALUES ('n{death}-{}', 'New')",
                rng.usize(..1000)
            ))
            .await;
            tokio::time::sleep(Duration::from_millis(rng.u64(..80))).await;
        }
        // SIGKILL.
        drop(daemon);
    }
    let mut daemon = app.daemon();
    daemon.wait_until_in_sync().await;
    daemon.stop().await;
    app.once_exits(0).await;
    let employees: Vec<String> = sqlx::query_scalar("SELECT id FROM employees ORDER BY id COLLATE \"C\"")
        .fetch_all(&app.crm)
        .await
        .expect("rows");
    let ours: Vec<String> = app
        .user_ids()
        .into_iter()
        .filter(|id| !id.starts_with("foreign"))
        .collect();
    assert_eq!(ours, employees);
    app.settled_but_for_overlaps().await;
}

#[tokio::test]
async fn of_two_copies_one_writes_and_its_hard_death_is_taken_over() {
    let mut app = App::with_employees(120).await;
    app.set("wazzup.timeout", "500ms")
        .set("state.lease", "1s")
        .set("schedule.every", "100ms");
    let mut first = app.daemon();
    first.wait_for("lease.acquired", |_| true).await;
    first.wait_for("cycle.finished", |_| true).await;
    let mut second = app.daemon();
    second.wait_for("lease.standby", |_| true).await;
    assert_eq!(app.take_writes(), ["POST 100", "POST 20"]);
    app.set_phone("e001", Some(&phone(500))).await;
    let moved = |wazzup: &Wazzup| wazzup.user("e001").is_some_and(|user| user.phone == Some(phone(500)));
    app.wazzup_reaches(moved).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(second.count("cycle.started"), 0);
    drop(first);
    app.rename("e002", "After The Death").await;
    second.wait_for("lease.acquired", |_| true).await;
    arrives(&app, "e002", "After The Death").await;
    second.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_connection_cut_between_request_and_record_is_settled_by_the_next_cycle() {
    let mut app = App::with_employees(5).await;
    app.set("wazzup.timeout", "3s");
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 1_000 }));
    let once = app.once();
    let cut = async {
        let first = |wazzup: &Wazzup| wazzup.in_flight() == 1;
        app.wazzup_reaches(first).await;
        app.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'wazzup-sync' AND datname = current_database()",
        )
        .await;
    };
    let (run, ()) = tokio::join!(once, cut);
    // It may have got a new connection in time; if not, the next cycle settles it.
    assert!([0, 1].contains(&run.code), "{run}");
    app.once_exits(0).await;
    assert_eq!(app.user_ids().len(), 5);
    app.settled().await;
}
