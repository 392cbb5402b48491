//! The daemon's life: start, stop, NOTIFY, databases that come and go.

use std::time::{Duration, Instant};

use sandbox::{Fault, Postgres, What, When};

use crate::app::{App, connect};

async fn app() -> App {
    let mut app = App::new().await;
    app.set("schedule.every", "200ms").set("log.level", "debug");
    app
}

#[tokio::test]
async fn sigterm_and_sigint_end_an_idle_daemon_with_0() {
    let app = app().await;
    app.hire_many(2).await;
    for signal in ["TERM", "INT"] {
        let mut daemon = app.daemon();
        daemon.next_cycle().await;
        daemon.signal(signal).await;
        assert_eq!(daemon.ended().await, Some(0));
        assert_eq!(daemon.count("daemon.stopped"), 1);
    }
    app.settled().await;
}

#[tokio::test]
async fn a_polite_stop_in_the_middle_of_a_delivery_records_what_was_acknowledged() {
    let app = app().await;
    app.hire_many(250).await;
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 1_500 }).always());
    let mut daemon = app.daemon();
    app.wazzup
        .wait_until(
            |it| it.in_flight() == 1 && it.users().len() == 100,
            Duration::from_secs(20),
        )
        .await
        .expect("a request");
    let began = Instant::now();
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await, Some(0), "{}", daemon.text());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(app.take_writes(), ["POST 100"], "no new request");
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    assert_eq!(
        app.take_writes(),
        ["POST 100", "POST 50"],
        "what was acknowledged is recorded"
    );
    app.settled().await;
}

#[tokio::test]
async fn a_second_signal_ends_it_now() {
    let app = app().await;
    app.hire_many(3).await;
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 4_000 }));
    let mut daemon = app.daemon();
    app.wazzup
        .wait_until(|it| it.in_flight() == 1, Duration::from_secs(20))
        .await
        .expect("a request");
    let began = Instant::now();
    // A second signal counts once the first was seen, and nothing tells when that is: one after the other until it ends.
    let code = loop {
        daemon.signal("TERM").await;
        if let Ok(code) = tokio::time::timeout(Duration::from_millis(50), daemon.ended()).await {
            break code;
        }
    };
    assert!(code.is_some_and(|it| it != 0), "{code:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    app.wazzup.clear_faults();
    app.wazzup
        .wait_until(|it| it.in_flight() == 0, Duration::from_secs(20))
        .await
        .expect("the end of it");
    // Its lease is not given up.
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
        .await;
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_notify_starts_a_cycle_at_once_and_a_burst_only_one() {
    let mut app = app().await;
    app.set("schedule.every", "1h")
        .set("schedule.listen", "employees_changed");
    app.hire_many(3).await;
    let mut daemon = app.daemon();
    daemon.first_cycle().await;
    app.rename("e001", "Told By Notify").await;
    for _ in 0..10 {
        app.sql("NOTIFY employees_changed").await;
    }
    let delivered = daemon.wait_for("batch.delivered", |_| true).await;
    assert_eq!(delivered["entries"], 1);
    daemon.wait_for("cycle.finished", |_| true).await;
    app.rename("e002", "Told Again").await;
    app.sql("NOTIFY employees_changed").await;
    daemon.wait_for("batch.delivered", |_| true).await;
    assert_eq!(daemon.count("cycle.started"), 3, "{}", daemon.text());

    // The listener's connection is cut: it comes back, and looks at once whether something was missed.
    app.sql("UPDATE employees SET name = 'Missed' WHERE id = 'e003'").await;
    app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'")
        .await;
    daemon.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.name_of("e003"), "Missed");
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn it_waits_for_databases_that_are_not_up_yet() {
    let mut app = app().await;
    app.hire_many(3).await;
    let late = format!("{}_late", app.database);
    app.set("state.url", &app.server.url(&late));
    let run = app.once_exits(1).await;
    assert!(run.stderr.contains("state database is unavailable"), "{run}");
    let mut daemon = app.daemon();
    let failed = daemon.wait_for("cycle.failed", |_| true).await;
    assert_eq!(failed["error.kind"], "state_unavailable");
    app.server.create_database(&late, None).expect("created");
    daemon.wait_for("cycle.finished", |it| it["outcome"] == "in_sync").await;
    daemon.stop().await;
    app.state = connect(&app.server.url(&late)).await;
    app.settled().await;
}

#[tokio::test]
async fn the_state_database_goes_and_comes_back() {
    let mut app = app().await;
    let own = Postgres::start().expect("a server of its own");
    own.create_database("state", None).expect("created");
    app.set("state.url", &own.url("state"));
    app.hire_many(5).await;
    let mut daemon = app.daemon();
    daemon.wait_for("cycle.finished", |it| it["outcome"] == "in_sync").await;

    own.restart_immediate().expect("restarted");
    app.rename("e001", "After The Restart").await;
    daemon.wait_for("batch.delivered", |_| true).await;

    own.stop().expect("stopped");
    daemon
        .wait_for("cycle.failed", |it| it["error.kind"] == "state_unavailable")
        .await;
    app.rename("e001", "Without A Database").await;
    app.wazzup.clear_log();
    daemon.wait_for("cycle.failed", |_| true).await;
    assert!(
        app.wazzup.requests().is_empty(),
        "nothing is sent that cannot be recorded"
    );
    own.start_again().expect("started");
    daemon.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.name_of("e001"), "Without A Database");
    daemon.stop().await;
    app.state = connect(&own.url("state")).await;
    app.settled().await;
    app.state.close().await;
}

#[tokio::test]
async fn the_crm_goes_and_comes_back() {
    let mut app = app().await;
    let own = Postgres::start().expect("a server of its own");
    own.create_database("crm", None).expect("created");
    own.sql(
        "crm",
        "CREATE TABLE employees (id int, name text); INSERT INTO employees VALUES (1, 'One'), (2, 'Two')",
    )
    .expect("filled");
    app.set("state.url", &app.server.url(&app.database))
        .set("crm.url", &own.url("crm"));
    app.unset("crm.columns.phone").unset("crm.columns.active");
    let mut daemon = app.daemon();
    daemon.wait_for("cycle.finished", |it| it["outcome"] == "in_sync").await;
    own.stop().expect("stopped");
    daemon
        .wait_for("cycle.failed", |it| it["error.kind"] == "crm_unavailable")
        .await;
    assert_eq!(app.users().len(), 2, "an absent CRM removes nobody");
    own.start_again().expect("started");
    own.sql("crm", "UPDATE employees SET name = 'Changed' WHERE id = 1")
        .expect("changed");
    daemon.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.name_of("1"), "Changed");
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_backend_terminated_between_request_and_record() {
    let mut app = app().await;
    app.with_state_elsewhere().await;
    app.hire_many(150).await;
    app.once_exits(0).await;
    app.sql("UPDATE employees SET name = name || ' II'").await;
    app.wazzup.order(Fault::new(When::Post, What::DelayAnswer { ms: 700 }));
    let terminate = async {
        app.wazzup
            .wait_until(|it| it.in_flight() == 1, Duration::from_secs(20))
            .await
            .expect("a request");
        app.state_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'wazzup-sync'",
        )
        .await;
    };
    app.wazzup.clear_log();
    let (run, ()) = tokio::join!(app.once(), terminate);
    assert!(matches!(run.code, 0 | 1), "{run}");
    app.once_exits(0).await;
    assert!(app.users().iter().all(|it| it.1.ends_with(" II")));
    app.settled().await;
}
