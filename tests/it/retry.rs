//! Back-off, and the operator's way around it.

use sandbox::{Named, What};

use crate::app::App;

/// Ten employees of whom `e003` and `e007` are refused as long as they have the name that they have.
async fn two_are_failing() -> App {
    let app = App::with_employees(10).await;
    app.wazzup
        .poison(["Employee 3", "Employee 7"], What::invalid(Named::Nobody, &[]));
    app.once_exits(3).await;
    app.wazzup.clear_log();
    assert_eq!(
        app.failing().await,
        ["e003 upsert INVALID_USERS_DATA", "e007 upsert INVALID_USERS_DATA"]
    );
    app
}

#[tokio::test]
async fn a_failing_employee_costs_nothing_until_the_row_is_mended() {
    let app = two_are_failing().await;
    app.quiet(3).await;
    app.rename("e003", "Mended").await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    app.quiet(3).await;
    app.fire(&["e007"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), [""; 0], "nobody needs to be removed");
    app.settled().await;
}

#[tokio::test]
async fn the_ladder_is_climbed() {
    let app = two_are_failing().await;
    let minutes = "SELECT round(extract(epoch FROM next_attempt_at - last_at) / 60)::bigint FROM wazzup_sync.failures \
                   WHERE user_id = 'e003'";
    for rung in [1, 5, 30, 120, 360, 1440, 1440] {
        let next = app.state_number(minutes).await;
        assert_eq!(next, rung);
        app.make_failures_due().await;
        app.once_exits(3).await;
        assert!(!app.take_writes().is_empty());
        app.quiet(3).await;
    }
    assert_eq!(
        app.state_number("SELECT attempts::bigint FROM wazzup_sync.failures WHERE user_id = 'e003'")
            .await,
        8
    );
    // A changed row begins anew.
    app.wazzup.poison(["Still Bad"], What::invalid(Named::Nobody, &[]));
    app.rename("e003", "Still Bad").await;
    app.once_exits(3).await;
    assert_eq!(app.state_number(minutes).await, 1);
    app.quiet(3).await;
}

#[tokio::test]
async fn retry_of_one_tries_exactly_that_one() {
    let app = two_are_failing().await;
    app.wazzup.clear_faults();
    app.quiet(3).await;
    let run = app.run_exits(0, &["retry", "e003", "e003"]).await;
    let answer = "The next cycle tries 1 employee again, as far as holds and the CRM's rows allow.";
    assert_eq!(run.stdout.replace('\n', " ").trim(), answer, "{run}");
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(app.failing().await, ["e007 upsert INVALID_USERS_DATA"]);
    app.quiet(3).await;

    // One who is in sync is sent again.
    app.run_exits(0, &["retry", "e001"]).await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    app.quiet(3).await;

    app.run_exits(0, &["retry"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    app.settled().await;
}

#[tokio::test]
async fn retry_of_somebody_unknown_changes_nothing() {
    let app = two_are_failing().await;
    app.wazzup.clear_faults();
    let run = app.run_exits(1, &["retry", "e003", "nobody"]).await;
    assert!(run.stderr.contains("nobody"), "{run}");
    app.quiet(3).await;
    let fresh = App::new().await;
    assert_eq!(fresh.run(&["retry", "e001"]).await.code, 1);
    assert_eq!(fresh.run(&["retry"]).await.code, 0);
    assert_eq!(
        fresh
            .state_number("SELECT count(*) FROM pg_namespace WHERE nspname = 'wazzup_sync'")
            .await,
        0
    );
    fresh.once_exits(0).await;
    fresh.settled().await;
}
