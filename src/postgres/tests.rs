use std::{str::FromStr as _, time::Duration};

use sqlx::postgres::PgConnectOptions;
use test_postgres::Postgres;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    fake_postgres::FakePostgres,
    proxy::{Behaviour, Proxy},
};

const LIMIT: Duration = Duration::from_millis(500);

fn options(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url).expect("a URL")
}

fn server() -> &'static Postgres {
    Postgres::shared().expect("a server")
}

fn through(proxy: &Proxy) -> Database {
    let port = proxy.port();
    Database::new(options(&format!(
        "postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    )))
}

/// The server's process id for the connection: it differs when a new connection was made.
async fn backend(database: &Database, limit: Duration) -> Result<i32, Reason> {
    let work = async |tx: &mut sqlx::PgConnection| {
        let query = sqlx::query_scalar("SELECT pg_backend_pid()");
        Ok(query.fetch_one(unnamed(tx)).await?)
    };
    database.transaction(limit, "asking who it is", "BEGIN", work).await
}

async fn error_for(url: &str) -> String {
    let error = connect(&options(url)).await.expect_err("no connection");
    assert!(error.is_unavailable());
    error.to_string()
}

#[test]
fn a_full_disk_is_no_matter_of_connections() {
    let remedy = |code| Reason::new("", Some(code)).remedy("state.url");
    assert!(remedy("53300").contains("limit of connections"));
    for code in ["53000", "53100", "53200", "53400"] {
        assert!(remedy(code).contains("disk space, memory"), "{code}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_called_so() {
    let proxy = Proxy::start(server().port());
    proxy.behave(Behaviour::Refuse);
    sleep(Duration::from_millis(100)).await;
    let port = proxy.port();
    let text = error_for(&format!("postgres://x@127.0.0.1:{port}/x")).await;
    assert_eq!(text, format!("cannot connect to 127.0.0.1:{port}: connection refused"));
}

#[tokio::test]
async fn an_unknown_host_is_named_without_what_follows() {
    let text = error_for("postgres://x@no-such-host.invalid:5433/x").await;
    assert!(
        text.starts_with("the host name \"no-such-host.invalid\" is not known"),
        "{text}"
    );
    assert!(text.contains("percent-encoded") && !text.contains("5433"), "{text}");
}

#[tokio::test]
async fn a_refused_role_is_named() {
    let url = format!(
        "postgres://nobody@127.0.0.1:{}/postgres?sslmode=disable",
        server().port()
    );
    let reason = connect(&options(&url)).await.expect_err("no such role");
    assert_eq!(reason.sqlstate(), Some("28000"));
    assert!(reason.to_string().contains("refuses the role \"nobody\""), "{reason}");
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let url = server().url("nowhere");
    let error = connect(&options(&url)).await.expect_err("no such database");
    assert!(
        error.is_unavailable() && error.to_string().contains("\"nowhere\""),
        "{error}"
    );
}

#[tokio::test]
async fn no_password_without_tls_unless_it_is_disabled() {
    let fake = FakePostgres::start();
    let url = |mode: &str| format!("postgres://x:hunter2@127.0.0.1:{}/x?sslmode={mode}", fake.port());
    for mode in ["require", "verify-ca", "verify-full"] {
        let text = error_for(&url(mode)).await;
        assert!(
            text.contains("enable TLS on the server") && text.contains("`sslmode=disable`"),
            "{mode}: {text}"
        );
    }
    assert!(fake.passwords().is_empty());
    let text = error_for(&url("disable")).await;
    assert!(
        text.contains("refuses the role \"x\"") && !text.contains("hunter2"),
        "{text}"
    );
    assert_eq!(fake.passwords(), ["hunter2"]);
}

#[tokio::test]
async fn a_silent_server_is_no_connection() {
    let proxy = Proxy::start(server().port());
    proxy.behave(Behaviour::Silent);
    let text = error_for(&format!("postgres://x@127.0.0.1:{}/x?sslmode=disable", proxy.port())).await;
    assert!(text.contains("within 5 seconds"), "{text}");
}

#[tokio::test]
async fn one_connection_serves_one_transaction_after_the_other() {
    let database = Database::new(options(&server().url("postgres")));
    let clone = database.clone();
    let (one, two) = tokio::join!(backend(&database, LIMIT), backend(&clone, LIMIT));
    let one = one.expect("an answer");
    assert_eq!(one, two.expect("an answer"));
    let failed: Result<(), Reason> = database
        .transaction(LIMIT, "failing", "BEGIN", async |tx| {
            sqlx::query("SELECT 1/0").execute(unnamed(tx)).await?;
            Ok(())
        })
        .await;
    assert_eq!(failed.expect_err("a division").sqlstate(), Some("22012"));
    assert_eq!(one, backend(&database, LIMIT).await.expect("an answer"));
}

#[tokio::test]
async fn a_connection_on_which_the_limit_fired_is_not_used_again() {
    let proxy = Proxy::start(server().port());
    let database = through(&proxy);
    let before = backend(&database, LIMIT).await.expect("an answer");
    proxy.behave(Behaviour::Silent);
    let start = Instant::now();
    let error = backend(&database, LIMIT).await.expect_err("silence");
    assert_eq!(error.to_string(), "no answer within 0.5 seconds while asking who it is");
    assert!(error.is_unavailable() && start.elapsed() < LIMIT * 2);
    proxy.behave(Behaviour::Forward);
    assert_ne!(before, backend(&database, LIMIT).await.expect("an answer"));
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    let proxy = Proxy::start(server().port());
    let database = through(&proxy);
    let before = backend(&database, LIMIT).await.expect("an answer");
    proxy.behave(Behaviour::Reset);
    sleep(Duration::from_millis(1_100)).await;
    proxy.behave(Behaviour::Delay(Duration::from_millis(5)));
    assert_ne!(before, backend(&database, LIMIT).await.expect("an answer"));
}

#[tokio::test]
async fn whoever_stops_waiting_leaves_no_half_read_connection() {
    let database = Database::new(options(&server().url("postgres")));
    let before = backend(&database, LIMIT).await.expect("an answer");
    let sleeping = database.transaction(Duration::from_secs(9), "sleeping", "BEGIN", async |tx| {
        sqlx::query("SELECT pg_sleep(5)").execute(unnamed(tx)).await?;
        Ok::<_, Reason>(())
    });
    assert!(tokio::time::timeout(Duration::from_millis(50), sleeping).await.is_err());
    assert_ne!(before, backend(&database, LIMIT).await.expect("an answer"));
}

/// The lease is renewed in a task of its own.
#[tokio::test]
async fn a_transaction_can_run_in_a_task() {
    let database = Database::new(options(&server().url("postgres")));
    let task = tokio::spawn(async move { backend(&database, LIMIT).await });
    task.await.expect("no panic").expect("an answer");
}
