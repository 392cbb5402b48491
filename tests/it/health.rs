//! `healthcheck`: bad when cycles fail for too long, good again by itself.

use crate::app::App;

async fn health(app: &App) -> i32 {
    app.run(&["healthcheck"]).await.code
}

#[tokio::test]
async fn it_turns_bad_and_good_again_with_the_cycles() {
    let mut app = App::with_employees(2).await;
    app.set("schedule.every", "200ms").set("log.level", "debug");
    assert_eq!(health(&app).await, 1, "no cycle has succeeded yet");
    let mut daemon = app.daemon();
    // A cycle is logged before it is recorded: once the next one is, the record is there.
    daemon.next_cycle().await;
    daemon.next_cycle().await;
    assert_eq!(health(&app).await, 0);

    app.sql("ALTER TABLE employees RENAME TO gone").await;
    daemon
        .wait_for("cycle.failed", |event| event["error_kind"] == "crm_query")
        .await;
    assert_eq!(health(&app).await, 0, "it may pass by itself");
    app.state_sql("UPDATE wazzup_sync.accounts SET last_success_at = now() - interval '16 minutes'")
        .await;
    assert_eq!(health(&app).await, 1);
    app.sql("ALTER TABLE gone RENAME TO employees").await;
    daemon.next_cycle().await;
    daemon.next_cycle().await;
    assert_eq!(health(&app).await, 0);
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_standby_of_a_live_holder_elsewhere_is_healthy() {
    let app = App::synced(2).await;
    let held = |host: &str, expires: &str| {
        format!(
            "UPDATE wazzup_sync.accounts SET last_success_at = now() - interval '1 day', lease_holder = 'elsewhere/1/a', \
             lease_host = {host}, lease_expires_at = now() + interval '{expires}'"
        )
    };
    app.state_sql(&held("'another-host'", "1 minute")).await;
    assert_eq!(health(&app).await, 0);
    app.state_sql(&held("'another-host'", "-1 second")).await;
    assert_eq!(health(&app).await, 1, "that holder is dead");
    app.once_exits(0).await;
    assert_eq!(health(&app).await, 0);
    app.settled().await;
}

#[tokio::test]
async fn no_database_is_no_health() {
    let mut app = App::new().await;
    app.set("state.url", "postgres://nobody@127.0.0.1:1/none");
    assert_eq!(health(&app).await, 1);
}
