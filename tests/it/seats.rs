//! The account's user limit.

use sandbox::{Fault, What, When};

use crate::app::{App, id, ids};

#[tokio::test]
async fn of_180_employees_150_find_a_seat() {
    let app = App::new().await;
    app.wazzup.seed_foreigners(20);
    app.wazzup.vary(|variant| variant.seats = 170);
    app.hire_many(180).await;
    let run = app.once_exits(3).await;
    let requests = app.wazzup.requests().len();
    assert!(requests <= 12, "{requests}\n{}", app.requests_as_text());
    assert_eq!(app.user_ids()[..150], ids(1..=150), "the first in a stable order");
    assert_eq!(app.users().len(), 170);
    assert_eq!(run.events("employee.failing").len(), 0, "waiting is no failure: {run}");
    assert_eq!(app.failing().await, [""; 0]);
    assert_eq!(app.waiting_for_seat().await, ids(151..=180));
    assert_eq!(app.state_number("SELECT failing FROM wazzup_sync.accounts").await, 0);
    app.quiet(3).await;

    // Updates go on at the limit.
    app.rename("e001", "Renamed At The Limit").await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    app.quiet(3).await;

    // Two leavers let two in, in the same cycle.
    app.fire(&["e003", "e004"]).await;
    app.once_exits(3).await;
    let requests = app.wazzup.requests().len();
    assert!(requests <= 5, "{requests}\n{}", app.requests_as_text());
    assert!(app.user_ids().contains(&id(151)) && app.user_ids().contains(&id(152)));
    assert_eq!(app.users().len(), 170);
    app.quiet(3).await;

    // An update and a hire at once: the hire waits, too.
    app.rename("e002", "Also Renamed").await;
    app.hire("a-hire", "First In The Order", None).await;
    app.once_exits(3).await;
    assert_eq!(app.name_of("e002"), "Also Renamed");
    assert!(app.wazzup.user("a-hire").is_none());
    app.quiet(3).await;

    // More seats are booked: nobody asks before it is time, or before an operator wants it.
    app.wazzup.vary(|variant| variant.seats = 200);
    app.quiet(3).await;
    app.run_exits(0, &["retry"]).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 20 + 179);
    app.settled().await;
}

#[tokio::test]
async fn a_seat_that_a_verification_finds_free_is_taken_in_the_same_cycle() {
    let app = App::new().await;
    app.wazzup.seed_foreigners(5);
    app.wazzup.vary(|variant| variant.seats = 15);
    app.hire_many(12).await;
    app.once_exits(3).await;
    assert_eq!(app.waiting_for_seat().await, ids(11..=12));
    app.quiet(3).await;
    app.wazzup.remove("foreign-1");
    app.quiet(3).await;
    app.make_verification_due().await;
    app.once_exits(3).await;
    assert!(app.user_ids().contains(&id(11)));
    assert_eq!(app.waiting_for_seat().await, ["e012"]);
    app.quiet(3).await;
    app.wazzup.remove("foreign-2");
    app.make_verification_due().await;
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn who_no_longer_wants_a_seat_is_forgotten() {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.seats = 3);
    app.hire_many(5).await;
    app.once_exits(3).await;
    app.take_writes();
    app.fire(&["e004", "e005"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), [""; 0], "they never were in Wazzup");
    assert_eq!(app.failing().await, [""; 0]);
    assert_eq!(app.users().len(), 3);
    app.settled().await;
}

/// Deleted by hand, and without a seat since: nothing but the waiting itself shows that this user has to be sent.
#[tokio::test]
async fn who_waits_is_not_forgotten_by_a_cycle_that_fails() {
    let app = App::synced(10).await;
    app.wazzup.remove("e005");
    app.wazzup.seed_foreigners(1);
    app.wazzup.vary(|variant| variant.seats = 10);
    app.state_sql("UPDATE wazzup_sync.accounts SET list_read_at = NULL")
        .await;
    app.once_exits(3).await;
    assert_eq!(app.waiting_for_seat().await, ids(5..=5));
    app.fire(&["e001"]).await;
    app.wazzup.order(Fault::new(When::Any, What::status(503)).always());
    app.once_exits(1).await;
    assert_eq!(app.waiting_for_seat().await, ids(5..=5));
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    assert!(app.user_ids().contains(&id(5)));
    app.settled().await;
}
