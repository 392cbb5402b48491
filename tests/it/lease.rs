//! Two copies: the work of one.

use std::time::{Duration, Instant};

use sandbox::{Fault, What, When};

use crate::app::App;

async fn app() -> App {
    let mut app = App::with_employees(5).await;
    app.set("schedule.every", "200ms").set("log.level", "debug");
    app
}

#[tokio::test]
async fn once_beside_a_daemon_exits_1_and_says_by_whom() {
    let app = app().await;
    let mut daemon = app.daemon();
    let holder = daemon.wait_for("daemon.started", |_| true).await["holder"].clone();
    daemon.next_cycle().await;
    let run = app.once_exits(1).await;
    assert_eq!(run.events("lease.standby")[0]["holder"], holder, "{run}");
    assert!(run.events("cycle.started").is_empty(), "{run}");
    // What changes nothing needs no lease.
    app.run_exits(0, &["plan"]).await;
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_standby_takes_over_at_once_after_a_polite_stop() {
    let app = app().await;
    let mut one = app.daemon();
    one.next_cycle().await;
    let mut two = app.daemon();
    two.wait_for("lease.standby", |_| true).await;
    app.wazzup.clear_log();
    app.rename("e001", "By The First").await;
    one.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.take_writes(), ["POST 1"], "the writing requests of one");

    one.stop().await;
    let stopped = Instant::now();
    two.wait_for("lease.acquired", |_| true).await;
    assert!(
        stopped.elapsed() < Duration::from_secs(10),
        "the lease lasts 90 s: {:?}",
        stopped.elapsed()
    );
    app.rename("e001", "By The Second").await;
    two.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.name_of("e001"), "By The Second");
    two.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_standby_takes_over_after_the_hard_death_of_the_holder() {
    let mut app = app().await;
    app.set("wazzup.timeout", "1s").set("state.lease", "3s");
    let mut one = app.daemon();
    one.next_cycle().await;
    let mut two = app.daemon();
    two.wait_for("lease.standby", |_| true).await;
    one.signal("KILL").await;
    assert_eq!(one.ended().await, None);
    app.rename("e001", "After The Death").await;
    assert_eq!(
        app.once_exits(1).await.events("lease.standby").len(),
        1,
        "the lease has not ended yet"
    );
    two.wait_for("batch.delivered", |_| true).await;
    assert_eq!(app.name_of("e001"), "After The Death");
    two.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn a_lease_that_was_taken_over_ends_the_work_of_its_old_holder() {
    let app = app().await;
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    app.state_sql(
        "UPDATE wazzup_sync.accounts SET lease_holder = 'somebody/else', lease_host = 'else', \
         lease_token = lease_token + 1, lease_expires_at = now() + interval '1 hour'",
    )
    .await;
    app.rename("e001", "Nobody May Send This").await;
    daemon
        .wait_for("lease.standby", |event| event["holder"] == "somebody/else")
        .await;
    assert_eq!(app.name_of("e001"), "Employee 1");
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
        .await;
    daemon.wait_for("lease.acquired", |_| true).await;
    daemon.wait_for("batch.delivered", |_| true).await;
    daemon.stop().await;
    app.settled().await;
}

/// The request under way ends; nothing is recorded, and nothing more is sent.
#[tokio::test]
async fn a_once_whose_lease_is_taken_over_says_so() {
    let mut app = App::with_employees(200).await;
    app.set("wazzup.timeout", "5s");
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 1_000 }).always());
    let taken_over = async {
        app.wazzup_reaches(|wazzup| wazzup.writing_requests().len() == 1).await;
        app.state_sql("UPDATE wazzup_sync.accounts SET lease_token = lease_token + 1, lease_holder = 'other/1'")
            .await;
    };
    let (run, ()) = tokio::join!(app.once(), taken_over);
    assert_eq!((run.code, run.error_kind()), (1, "lease_lost"), "{run}");
    assert_eq!(run.events("lease.lost").len(), 1, "{run}");
    assert_eq!(app.wazzup.writing_requests().len(), 1);
    app.wazzup.clear_faults();
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
        .await;
    app.once_exits(0).await;
    app.expire_losses().await;
    app.once_exits(0).await;
    app.settled().await;
}
