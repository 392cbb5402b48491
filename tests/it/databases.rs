//! Databases that are not up yet, or go and come back; polite stops of an idle daemon.

use rstest::rstest;
use test_postgres::Postgres;

use crate::{
    app::{App, connect},
    fake_postgres::FakePostgres,
};

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
    daemon.wait_until_in_sync().await;
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
    daemon.wait_until_in_sync().await;

    own.restart_immediate().expect("restarted");
    app.rename("e001", "After The Restart").await;
    daemon.wait_for("batch.delivered", |_| true).await;

    own.stop().expect("stopped");
    daemon
        .wait_for("cycle.failed", |event| event["error_kind"] == "state_unavailable")
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

/// The end of the lease in the middle of it changes nothing: it is one outage.
#[tokio::test]
async fn an_outage_of_the_state_outlasts_the_lease() {
    let mut app = app().await;
    let own = Postgres::start().expect("a server of its own");
    own.create_database("state").expect("created");
    app.set("state.url", &own.url("state"))
        .set("wazzup.timeout", "1s")
        .set("state.lease", "3s");
    app.hire_many(1).await;
    let mut daemon = app.daemon();
    daemon.wait_until_in_sync().await;
    own.stop().expect("stopped");
    daemon.wait_for("lease.lost", |_| true).await;
    let failed = daemon.wait_for("cycle.failed", |_| true).await;
    assert!(failed["failing_for_s"].as_i64() >= Some(1), "{failed}");
    own.start_again().expect("started");
    daemon.wait_until_in_sync().await;
    daemon.stop().await;
    app.state = connect(&own.url("state")).await;
    app.settled().await;
    app.state.close().await;
}

#[tokio::test]
async fn a_cycle_that_cannot_be_recorded_is_logged_once() {
    let app = App::synced(3).await;
    app.state_sql(
        "CREATE FUNCTION public.refuse_the_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.last_finished_at IS DISTINCT FROM OLD.last_finished_at THEN \
                 RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; \
             END IF; \
             RETURN NEW; END $$; \
         CREATE TRIGGER refuse_the_end BEFORE UPDATE ON wazzup_sync.accounts \
             FOR EACH ROW EXECUTE FUNCTION public.refuse_the_end()",
    )
    .await;
    let run = app.once_exits(1).await;
    let failed = run.events("cycle.failed");
    assert_eq!(
        (failed.len(), &failed[0]["error_kind"]),
        (1, &"state_unavailable".into()),
        "{run}"
    );
    assert_eq!(run.events("cycle.finished").len(), 0, "{run}");
    // What failed before that is what the log names.
    app.sql("ALTER TABLE employees RENAME TO away").await;
    let run = app.once_exits(1).await;
    let failed = run.events("cycle.failed");
    assert_eq!(
        (failed.len(), &failed[0]["error_kind"]),
        (1, &"crm_query".into()),
        "{run}"
    );
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
    daemon.wait_until_in_sync().await;
    own.stop().expect("stopped");
    daemon
        .wait_for("cycle.failed", |event| event["error_kind"] == "crm_unavailable")
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

#[rstest]
#[case::refused_port(
    "postgres://reader@127.0.0.1:1/crm",
    "crm_unavailable",
    "cannot connect to 127.0.0.1:1: connection refused; check that the database is running and that crm.url is right"
)]
#[case::unknown_host(
    "postgres://reader@no-such-host.invalid/crm",
    "crm_unavailable",
    "the host name \"no-such-host.invalid\" is not known"
)]
#[case::wrong_password(
    "postgres://reader:secret@127.0.0.1:FAKE/crm?sslmode=disable",
    "crm_unavailable",
    "refuses the role \"reader\": no such password (SQLSTATE 28P01); correct the role and the password in crm.url, or allow the role in pg_hba.conf"
)]
#[case::no_tls(
    "postgres://reader:secret@127.0.0.1:FAKE/crm?sslmode=verify-full",
    "crm_unavailable",
    "enable TLS on the server or, only on a trusted private network, add `sslmode=disable` to the URL"
)]
#[case::no_database(
    "postgres://postgres@127.0.0.1:REAL/nowhere?sslmode=disable",
    "crm_unavailable",
    "database \"nowhere\" does not exist (SQLSTATE 3D000); name a database that exists at the end of crm.url"
)]
#[case::no_role(
    "postgres://nobody@127.0.0.1:REAL/postgres?sslmode=disable",
    "crm_unavailable",
    "refuses the role \"nobody\""
)]
#[tokio::test]
async fn a_database_that_cannot_be_used_is_explained(#[case] url: &str, #[case] kind: &str, #[case] said: &str) {
    let fake = FakePostgres::start();
    let mut app = App::new().await;
    let url = url
        .replace("FAKE", &fake.port().to_string())
        .replace("REAL", &app.server.port().to_string());
    app.set("crm.url", &url);
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), kind);
    let error = run.events("cycle.failed")[0]["error"]
        .as_str()
        .expect("a message")
        .to_owned();
    assert!(!run.stderr.contains("secret"), "{run}");
    assert!(
        error.contains("the CRM database is unavailable") && error.contains(said),
        "{error}"
    );
    // The server without TLS gets a password only where the URL allows that.
    let gives_password = url.contains("secret") && !url.contains("verify-full");
    assert_eq!(!fake.passwords().is_empty(), gives_password, "{url}");
}

#[rstest]
#[case("postgres://reader:pass@word@db.invalid/crm")]
#[case("postgres://reader:pass/word@db.invalid/crm")]
#[case("postgres://reader:pass#word@db.invalid/crm")]
#[case("postgres://reader:pass?word@db.invalid/crm")]
#[case("postgres://reader:12@34/56@db.invalid/crm")]
#[tokio::test]
async fn a_password_that_breaks_the_url_is_called_so(#[case] url: &str) {
    for key in ["crm.url", "state.url"] {
        let mut app = App::new().await;
        app.set(key, url);
        for verb in ["once", "run", "check"] {
            let run = app.run_exits(2, &[verb]).await;
            assert!(
                run.stderr.contains(key) && run.stderr.contains("%40 for @, %2F for /"),
                "{run}"
            );
            assert!(
                !run.stderr.contains("word") || run.stderr.contains("the password,"),
                "{run}"
            );
            assert!(!run.stderr.contains("pass/") && !run.stderr.contains("pass@"), "{run}");
        }
    }
}
