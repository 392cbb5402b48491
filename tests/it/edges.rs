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
    let failed = daemon
        .wait_for("cycle.failed", |line| line["error_kind"] == "crm_unavailable")
        .await;
    // It says what was waited for and how long; which limit fires depends on where the silence began.
    let error = failed["error"].as_str().expect("a message");
    assert!(error.contains("within ") && error.contains(" seconds"), "{error}");
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
    let mut app = App::with_employees(3).await;
    app.set("schedule.every", "200ms")
        .set("state.lease", "10s")
        .set("log.level", "debug");
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
    let app = App::synced(3).await;
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

#[tokio::test]
async fn a_state_that_goes_silent_under_the_leader_lets_the_standby_take_over() {
    let mut app = App::new().await;
    let proxy = Proxy::start(app.server.port());
    let url = through(&app, &proxy);
    app.set("schedule.every", "200ms")
        .set("wazzup.timeout", "1s")
        .set("state.lease", "3s")
        .set("log.level", "debug");
    app.hire_many(3).await;
    let mut leader = app.daemon_with(&[("WAZZUP_SYNC__STATE__URL", &url)]);
    leader.next_cycle().await;
    let mut standby = app.daemon();
    standby.wait_for("lease.standby", |_| true).await;
    proxy.behave(Behaviour::Silent);
    app.rename("e001", "Sent By The Standby").await;
    standby.wait_for("lease.acquired", |_| true).await;
    standby.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.name_of("e001"), "Sent By The Standby");
    // What was silent answers again: the old leader must not go on where it was.
    proxy.behave(Behaviour::Forward);
    leader.wait_for("lease.lost", |_| true).await;
    leader.wait_for("lease.standby", |_| true).await;
    standby.stop().await;
    leader.wait_for("lease.acquired", |_| true).await;
    leader.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_lease_in_the_far_future_makes_no_standby_healthy() {
    let app = App::synced(3).await;
    app.state_sql(
        "UPDATE wazzup_sync.accounts SET last_success_at = now() - interval '1 day', lease_holder = 'dead/1', \
         lease_host = 'dead', lease_expires_at = now() + interval '1 year'",
    )
    .await;
    app.run_exits(1, &["healthcheck"]).await;
    let mut daemon = app.daemon();
    daemon.wait_for("lease.acquired", |_| true).await;
    daemon.wait_for("cycle.finished", |_| true).await;
    daemon.stop().await;
    app.run_exits(0, &["healthcheck"]).await;
    app.settled().await;
}

/// A newer version stands by: the schema under an older leader is not its own yet.
#[tokio::test]
async fn a_standby_does_not_migrate_the_schema_of_the_leader() {
    let app = App::synced(3).await;
    app.state_sql(
        "UPDATE wazzup_sync._sqlx_migrations SET version = 0; \
         UPDATE wazzup_sync.accounts SET lease_holder = 'older/1', lease_host = 'older', \
         lease_expires_at = now() + interval '1 hour'",
    )
    .await;
    let mut standby = app.daemon();
    standby
        .wait_for("lease.standby", |line| line["holder"] == "older/1")
        .await;
    standby.stop().await;
    let older = "SELECT count(*) FROM wazzup_sync._sqlx_migrations WHERE version = 0";
    assert_eq!(app.state_number(older).await, 1, "the schema was migrated");
    app.state_sql(
        "UPDATE wazzup_sync._sqlx_migrations SET version = 1; \
         UPDATE wazzup_sync.accounts SET lease_expires_at = now()",
    )
    .await;
    app.settled().await;
}

#[tokio::test]
async fn the_query_runs_once_a_cycle() {
    let mut app = App::with_employees(3).await;
    for key in ["crm.table", "crm.columns.phone", "crm.columns.active"] {
        app.unset(key);
    }
    // Even a read-only transaction may notify. Equal notifications of one transaction are one, so each differs.
    app.set(
        "crm.query",
        "SELECT id, name FROM employees, \
         (SELECT pg_notify('read', clock_timestamp()::text || random()::text) OFFSET 0) AS notified",
    );
    let mut listener = sqlx::postgres::PgListener::connect_with(&app.crm)
        .await
        .expect("a listener");
    listener.listen("read").await.expect("it listens");
    for _ in 0..2 {
        app.once_exits(0).await;
    }
    app.sql("NOTIFY read, 'the end'").await;
    let mut reads = 0;
    while listener.recv().await.expect("a notification").payload() != "the end" {
        reads += 1;
    }
    assert_eq!(reads, 2);
    app.settled().await;
}

#[tokio::test]
async fn a_table_of_the_same_name_in_another_schema_is_told() {
    let app = App::with_employees(3).await;
    app.sql("CREATE SCHEMA archive; CREATE TABLE archive.employees (id text)")
        .await;
    let run = app.run(&["check"]).await;
    let told = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("public.employees is read"), "{run}");
    assert!(
        told.contains("archive") && told.contains("table = \"public.employees\""),
        "{run}"
    );
    app.once_exits(0).await;
    app.settled().await;
}

/// A branch of a UNION, and a plain table.
#[tokio::test]
async fn tables_that_are_reloaded_in_one_transaction_remove_nobody() {
    for query in [
        "SELECT id, name FROM employees UNION ALL SELECT id, name FROM others",
        "SELECT id, name FROM employees",
    ] {
        let mut app = App::with_employees(8).await;
        app.sql(
            "CREATE TABLE others AS SELECT 'o' || n AS id, 'Other ' || n AS name FROM generate_series(1, 100) AS n",
        )
        .await;
        for key in ["crm.table", "crm.columns.phone", "crm.columns.active"] {
            app.unset(key);
        }
        app.set("crm.query", query).set_raw("removals.hold_above", "100");
        app.once_exits(0).await;
        let users = app.user_ids();
        app.take_writes();
        let mut reload = app.crm.begin().await.expect("a transaction");
        sqlx::raw_sql("CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE employees; TRUNCATE employees")
            .execute(&mut *reload)
            .await
            .expect("emptied");
        let fill = async {
            while app
                .state_number("SELECT count(*) FROM pg_locks WHERE NOT granted")
                .await
                == 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sqlx::raw_sql("INSERT INTO employees TABLE kept")
                .execute(&mut *reload)
                .await
                .expect("filled");
            reload.commit().await.expect("committed");
        };
        let (run, ()) = tokio::join!(app.once(), fill);
        assert_eq!(run.code, 0, "{run}");
        assert!(run.events("removals.held").is_empty(), "{run}");
        assert_eq!(app.user_ids(), users);
        assert_eq!(app.take_writes(), Vec::<String>::new());
        app.settled().await;
    }
}
