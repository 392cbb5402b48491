//! Nothing waits for ever, and nobody leads twice.

use std::time::{Duration, Instant};

use crate::{
    app::App,
    proxy::{Behaviour, Proxy},
};

/// The URL of the app's database, through the proxy.
fn through(app: &App, proxy: &Proxy) -> String {
    let direct = app.server.url(&app.database);
    direct.replacen(&format!(":{}/", app.server.port()), &format!(":{}/", proxy.port()), 1)
}

#[tokio::test]
async fn a_crm_that_goes_silent_fails_the_cycle_and_the_next_one_connects_anew() {
    let mut app = App::new().await;
    let proxy = Proxy::start(app.server.port());
    let url = through(&app, &proxy);
    app.set("crm.url", &url)
        .set("crm.query_timeout", "1s")
        .set("schedule.every", "200ms")
        .set("log.level", "debug");
    app.hire_many(3).await;
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    proxy.behave(Behaviour::Silent);
    daemon
        .wait_for("cycle.failed", |line| line["error_kind"] == "crm_unavailable")
        .await;
    proxy.behave(Behaviour::Forward);
    app.rename("e001", "After The Silence").await;
    daemon.wait_for("batch.delivered", |_| true).await;
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn connections_that_are_reset_and_slow_are_survived() {
    let mut app = App::new().await;
    let proxy = Proxy::start(app.server.port());
    let url = through(&app, &proxy);
    app.set("crm.url", &url)
        .set("state.url", &url)
        .set("schedule.every", "100ms")
        .set("log.level", "debug");
    app.hire_many(3).await;
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    for round in 0..3 {
        proxy.behave(Behaviour::Reset);
        daemon.wait_for("cycle.failed", |_| true).await;
        proxy.behave(Behaviour::Delay(Duration::from_millis(5)));
        app.rename("e001", &format!("Round {round}")).await;
        daemon.wait_for("batch.delivered", |_| true).await;
    }
    daemon.stop().await;
    assert_eq!(app.name_of("e001"), "Round 2");
    app.settled().await;
}

#[tokio::test]
async fn a_restored_backup_makes_no_second_leader() {
    let mut app = App::new().await;
    app.set("schedule.every", "200ms")
        .set("state.lease", "10s")
        .set("log.level", "debug");
    app.hire_many(3).await;
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    // The backup was made when another process held the lease, with the same token.
    app.state_sql(
        "UPDATE wazzup_sync.accounts SET lease_holder = 'from/the/backup', lease_expires_at = now() + interval '5 s'",
    )
    .await;
    app.rename("e001", "Sent By One Leader Only").await;
    daemon.wait_for("lease.lost", |_| true).await;
    assert_eq!(app.name_of("e001"), "Employee 1");
    daemon.wait_for("batch.delivered", |_| true).await;
    daemon.stop().await;
    assert!(app.wazzup.max_in_flight() <= 1);
    app.settled().await;
}

#[tokio::test]
async fn a_lease_in_the_far_future_is_no_lease() {
    let app = App::new().await;
    app.hire_many(3).await;
    app.once_exits(0).await;
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_holder = 'dead/1', lease_host = 'dead', lease_expires_at = now() + interval '1 year'")
        .await;
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_partition_that_is_reloaded_in_one_transaction_removes_nobody() {
    let mut app = App::new().await;
    app.sql(
        "CREATE TABLE staff (id text, name text, phone text, is_active boolean DEFAULT true, part int) PARTITION BY LIST (part); \
         CREATE TABLE staff_1 PARTITION OF staff FOR VALUES IN (1); \
         CREATE TABLE staff_2 PARTITION OF staff FOR VALUES IN (2); \
         INSERT INTO staff SELECT 's' || n, 'Staff ' || n, NULL, true, 1 + n % 2 FROM generate_series(1, 12) AS n",
    )
    .await;
    app.set("crm.table", "staff").set_raw("removals.hold_above", "100");
    app.once_exits(0).await;
    let mut reload = app.crm.begin().await.expect("a transaction");
    sqlx::raw_sql("TRUNCATE staff_2")
        .execute(&mut *reload)
        .await
        .expect("emptied");
    let cycle = app.once();
    let finish = async {
        // The cycle's read waits for the lock of the partition.
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let began = Instant::now();
        while app.state_number(waiting).await == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody waits");
        }
        sqlx::raw_sql(
            "INSERT INTO staff_2 SELECT 's' || n, 'Staff ' || n, NULL, true, 2 FROM generate_series(1, 12, 2) AS n",
        )
        .execute(&mut *reload)
        .await
        .expect("filled");
        reload.commit().await.expect("committed");
    };
    let (run, ()) = tokio::join!(cycle, finish);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(app.users().len(), 12);
    assert_eq!(
        app.wazzup.writing_requests().len(),
        1,
        "only the first sync: {}",
        app.requests_as_text()
    );
    app.settled().await;
}
