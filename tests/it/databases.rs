//! Databases that are not up yet, or go and come back; polite stops of an idle daemon.

use sandbox::Postgres;

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
async fn it_waits_for_databases_that_are_not_up_yet() {
    let mut app = app().await;
    app.hire_many(3).await;
    let late = format!("{}_late", app.database);
    app.set("state.url", &app.server.url(&late));
    let run = app.once_exits(1).await;
    assert!(run.stderr.contains("state database is unavailable"), "{run}");
    let mut daemon = app.daemon();
    let failed = daemon.wait_for("cycle.failed", |_| true).await;
    assert_eq!(failed["error_kind"], "state_unavailable");
    app.server.create_database(&late).expect("created");
    daemon.wait_for("cycle.finished", |it| it["outcome"] == "in_sync").await;
    daemon.stop().await;
    app.state = connect(&app.server.url(&late)).await;
    app.settled().await;
}

#[tokio::test]
async fn the_state_database_goes_and_comes_back() {
    let mut app = app().await;
    let own = Postgres::start().expect("a server of its own");
    own.create_database("state").expect("created");
    app.set("state.url", &own.url("state"));
    app.hire_many(5).await;
    let mut daemon = app.daemon();
    daemon.wait_for("cycle.finished", |it| it["outcome"] == "in_sync").await;

    own.restart_immediate().expect("restarted");
    app.rename("e001", "After The Restart").await;
    daemon.wait_for("batch.delivered", |_| true).await;

    own.stop().expect("stopped");
    daemon
        .wait_for("cycle.failed", |it| it["error_kind"] == "state_unavailable")
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
    own.create_database("crm").expect("created");
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
        .wait_for("cycle.failed", |it| it["error_kind"] == "crm_unavailable")
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

/// Nobody has to ask `check` to learn of it.
#[tokio::test]
async fn a_certificate_that_nobody_verifies_is_told_at_the_start() {
    let mut app = app().await;
    app.set("crm.url", "postgres://reader@db.invalid/crm?sslmode=require");
    let run = app.once_exits(1).await;
    let told = run.events("tls.unverified");
    assert_eq!(told.len(), 1, "{run}");
    assert_eq!(
        (&told[0]["key"], &told[0]["level"]),
        (&"crm.url".into(), &"WARN".into()),
        "{run}"
    );
    assert_eq!(told[0]["address"], "db.invalid:5432");
    let mut daemon = app.daemon();
    daemon.wait_for("tls.unverified", |_| true).await;
    daemon.wait_for("cycle.failed", |_| true).await;
    daemon.stop().await;
    let check = app.run(&["check"]).await;
    assert!(check.stdout.contains("sslmode=require"), "{check}");
}
