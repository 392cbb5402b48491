//! Wazzup is away, refuses the key, or wants us to slow down: nobody is charged, and the next cycle goes on.

use std::time::{Duration, Instant};

use rstest::rstest;
use sandbox::{Fault, What, When};

use crate::app::App;

#[rstest]
#[case::status_503(What::status(503))]
#[case::status_502(What::status(502))]
#[case::status_500(What::status(500))]
#[case::reset(What::CutBefore)]
#[case::lost_answers(What::CutAfter)]
#[tokio::test]
async fn an_outage_in_the_middle(#[case] what: What) {
    let mut app = App::with_employees(250).await;
    app.set_raw("updates.hold_above", "1000");
    app.once_exits(0).await;
    app.sql("UPDATE employees SET name = name || ' II'").await;
    app.fire(&["e001", "e002"]).await;
    app.wazzup.clear_log();
    app.wazzup.order(Fault::new(When::Any, what).skip(2).always());
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unavailable");
    let requests = app.wazzup.requests().len();
    assert!(requests < 30, "{requests}");
    assert_eq!(app.failing().await, [""; 0], "nobody is charged");

    app.wazzup.clear_faults();
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 248);
    assert!(app.users().iter().all(|(_, name, _)| name.ends_with(" II")));
    app.settled().await;
}

/// While the service fails on every change, the journal does not grow from cycle to cycle, and nobody loses a phone.
#[rstest]
#[case::not_done(What::status(500))]
#[case::done(What::CutAfter)]
#[tokio::test]
async fn an_outage_of_hours(#[case] what: What) {
    let app = App::synced(30).await;
    let before = app.users();
    app.rename("e030", "Renamed").await;
    app.wazzup.order(Fault::new(When::Writes, what).always());
    let lost = "SELECT count(*) FROM wazzup_sync.lost";
    let mut rows = Vec::new();
    for _ in 0..6 {
        let run = app.once_exits(1).await;
        assert_eq!(run.error_kind(), "wazzup_unavailable");
        rows.push(app.state_number(lost).await);
        assert_eq!(app.users()[..29], before[..29]);
    }
    assert_eq!(rows[2..], [rows[2]; 4], "{rows:?}");
    assert!(rows[2] <= 4, "{rows:?}");
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn nobody_listens() {
    let app = App::with_employees(3).await;
    app.wazzup.stop();
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unavailable");
    app.wazzup.start_again().expect("the port is free");
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 3);
    app.settled().await;
}

#[tokio::test]
async fn only_https_needs_a_ca_store() {
    let mut app = App::with_employees(3).await;
    app.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    app.once_exits(0).await;
    app.settled().await;

    let https = app.wazzup.base_url().replace("http:", "https:");
    app.set("wazzup.base_url", &https);
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unavailable");
    let failed = run.events("cycle.failed")[0]["error"].to_string();
    assert!(failed.contains("is there a CA store, or SSL_CERT_FILE?"), "{run}");
    assert_eq!(run.events("request.retried").len(), 0, "{run}");
}

#[tokio::test]
async fn a_passing_trouble_is_retried_within_the_cycle() {
    let app = App::with_employees(3).await;
    app.wazzup.order(Fault::new(When::Post, What::status(503)));
    app.wazzup.order(Fault::new(When::Post, What::CutAfter));
    let run = app.once_exits(0).await;
    assert_eq!(run.events("request.retried").len(), 2, "{run}");
    assert_eq!(app.take_writes(), ["POST 3"; 3]);
    app.settled().await;
}

#[rstest]
#[case::wrong(401)]
#[case::sidecar(403)]
#[tokio::test]
async fn a_refused_key_costs_at_most_two_requests_and_a_new_file_heals_it(#[case] status: u16) {
    let mut app = App::with_employees(150).await;
    app.set("schedule.every", "300ms").set("log.level", "debug");
    app.write_key("another-key");
    if status == 403 {
        app.wazzup.set_sidecar_key(Some("another-key"));
    }
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unauthorized");
    let requests = app.wazzup.requests();
    assert!(
        requests.len() <= 2 && requests[0].status == Some(status),
        "{}",
        app.requests_as_text()
    );
    assert!(!run.stderr.contains("another-key"), "{run}");
    assert_eq!(app.failing().await, [""; 0]);

    let mut daemon = app.daemon();
    let failed = daemon.wait_for("cycle.failed", |_| true).await;
    assert_eq!(failed["error_kind"], "wazzup_unauthorized");
    app.write_key(&app.wazzup.key());
    daemon.wait_until_in_sync().await;
    daemon.stop().await;
    assert_eq!(app.users().len(), 150);
    app.settled().await;
}

#[tokio::test]
async fn a_key_that_is_no_key_is_an_error_of_the_cycle() {
    let app = App::with_employees(2).await;
    for content in ["", "two words", "ключ"] {
        app.write_key(content);
        let run = app.once_exits(1).await;
        assert_eq!(run.error_kind(), "wazzup_unauthorized", "{run}");
        assert!(
            run.stderr.contains(app.key_file().to_str().expect("a plain path")),
            "{run}"
        );
    }
    assert!(app.wazzup.requests().is_empty());
    app.write_key(&app.wazzup.key());
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let app = App::with_employees(150).await;
    app.wazzup
        .order(Fault::new(When::Post, What::with_header(429, "retry-after", "2")).skip(1));
    let began = Instant::now();
    app.once_exits(0).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    let writes = app.wazzup.writing_requests();
    let waited_ms = writes[2].at - writes[1].at;
    assert!(waited_ms >= 2000, "{waited_ms}");
    assert_eq!(app.take_writes(), ["POST 100", "POST 50", "POST 50"]);
    app.settled().await;
}

#[tokio::test]
async fn a_long_retry_after_ends_the_cycle_and_charges_nobody() {
    let app = App::with_employees(150).await;
    app.wazzup
        .order(Fault::new(When::Any, What::with_header(429, "retry-after", "7200")));
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unavailable");
    assert_eq!(app.wazzup.requests().len(), 1);
    assert_eq!(app.failing().await, [""; 0]);
    app.once_exits(0).await;
    app.settled().await;
}
