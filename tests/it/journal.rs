//! The journal's one rule, and who is charged when the service makes no decision.

use sandbox::{Fault, What, When};

use crate::app::{App, ids};

async fn synced(count: usize) -> App {
    let app = App::synced(count).await;
    app.take_writes();
    app
}

#[tokio::test]
async fn a_late_removal_of_somebody_who_came_back_is_healed() {
    let app = synced(10).await;
    app.fire(&["e001"]).await;
    app.wazzup.order(Fault::new(When::BulkDelete, What::HoldBack).times(1));
    app.once_exits(0).await;
    app.hire_range(1, 1).await;
    app.once_exits(0).await;
    assert!(app.wazzup.user("e001").is_some());
    app.wazzup.land_late();
    assert!(app.wazzup.user("e001").is_none(), "the sandbox did act");
    app.expire_losses().await;
    app.once_exits(0).await;
    assert_eq!(app.name_of("e001"), "Employee 1");
    app.settled().await;
    assert_eq!(app.state_number("SELECT count(*) FROM wazzup_sync.lost").await, 0);
}

#[tokio::test]
async fn a_late_update_does_not_beat_a_newer_one() {
    let app = synced(3).await;
    app.rename("e001", "Older").await;
    app.wazzup.order(Fault::new(When::Post, What::HoldBack).times(1));
    app.once_exits(0).await;
    app.rename("e001", "Newer").await;
    app.set_phone("e001", None).await;
    app.once_exits(0).await;
    app.wazzup.land_late();
    assert_eq!(app.name_of("e001"), "Older", "the sandbox did act");
    app.expire_losses().await;
    app.once_exits(0).await;
    assert_eq!((app.name_of("e001"), app.phone_of("e001")), ("Newer".into(), None));
    app.settled().await;
}

#[tokio::test]
async fn removals_that_fail_do_not_stop_the_upserts_and_are_charged() {
    for status in [500, 405] {
        let app = synced(10).await;
        app.fire(&["e001", "e002"]).await;
        app.rename("e003", "Sent All The Same").await;
        app.wazzup
            .order(Fault::new(When::BulkDelete, What::status(status)).always());
        app.once_exits(3).await;
        assert_eq!(app.name_of("e003"), "Sent All The Same");
        let code = format!("HTTP_{status}");
        assert_eq!(
            app.failing().await,
            [format!("e001 remove {code}"), format!("e002 remove {code}")]
        );
        app.wazzup.clear_faults();
        app.make_failures_due().await;
        app.once_exits(0).await;
        app.settled().await;
    }
}

#[tokio::test]
async fn two_entries_that_fail_alone_are_charged_and_not_an_outage() {
    let app = synced(10).await;
    app.sql("UPDATE employees SET name = name || ' II' WHERE id IN ('e001', 'e002')")
        .await;
    app.wazzup.poison(ids(1..=2), What::status(500));
    app.once_exits(3).await;
    assert_eq!(app.failing().await, ["e001 upsert HTTP_500", "e002 upsert HTTP_500"]);
    app.quiet(3).await;
}

#[tokio::test]
async fn a_service_that_fails_on_every_write_charges_nobody() {
    let app = synced(10).await;
    app.rename("e001", "Not Delivered").await;
    app.wazzup.order(Fault::new(When::Writes, What::status(500)).always());
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unavailable");
    assert_eq!(app.failing().await, [""; 0]);
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn the_good_ones_behind_a_hundred_poisonous_entries_are_delivered() {
    let app = App::with_employees(300).await;
    app.wazzup.poison(ids(1..=100), What::status(500));
    app.once_exits(3).await;
    assert_eq!(app.users().len(), 200);
}

#[tokio::test]
async fn a_firewall_that_forbids_one_entry_holds_nobody_else_up() {
    for reply in [What::html(403), What::status(502)] {
        let app = App::with_employees(120).await;
        app.wazzup.poison(ids(50..=50), reply);
        app.once_exits(3).await;
        assert_eq!(app.users().len(), 119);
        assert_eq!(app.failing().await.len(), 1);
    }
}

#[tokio::test]
async fn a_web_page_is_no_removal() {
    let app = synced(10).await;
    app.fire(&["e001"]).await;
    app.wazzup.order(Fault::new(When::BulkDelete, What::html(200)).always());
    let run = app.once().await;
    assert!(matches!(run.code, 1 | 3), "{run}");
    assert!(app.wazzup.user("e001").is_some());
    app.wazzup.clear_faults();
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert!(app.wazzup.user("e001").is_none());
    app.settled().await;
}

#[tokio::test]
async fn updates_over_the_user_limit_cost_few_requests_and_nobody_waits_for_a_seat() {
    let mut app = synced(60).await;
    app.set_raw("updates.hold_above", "100");
    app.wazzup.vary(|variant| {
        variant.seats = 40;
        variant.full_refuses_updates = true;
    });
    app.sql("UPDATE employees SET name = name || ' II'").await;
    let run = app.once().await;
    assert!(matches!(run.code, 1 | 3), "{run}");
    assert!(app.wazzup.writing_requests().len() <= 40, "{}", app.requests_as_text());
    assert_eq!(app.waiting_for_seat().await, [""; 0]);
    app.wazzup.vary(|variant| variant.seats = 1_000);
    app.make_failures_due().await;
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_first_sync_of_1000_is_one_list_and_ten_writes_and_a_quiet_cycle_asks_nothing() {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.seats = 2_000);
    app.sql("INSERT INTO employees (id, name) SELECT 'n' || n, 'Name ' || n FROM generate_series(1, 1000) AS n")
        .await;
    app.once_exits(0).await;
    assert_eq!(app.wazzup.count_of(When::List), 1);
    assert_eq!(app.take_writes(), ["POST 100"; 10]);
    assert_eq!(app.state_number("SELECT count(*) FROM wazzup_sync.in_flight").await, 0);
    app.settled().await;
}

#[tokio::test]
async fn an_id_that_no_url_can_name_does_not_stop_the_healing_of_others() {
    let app = App::new().await;
    for id in [".", "a/b", "bulk_delete", "plain"] {
        app.hire(id, "Somebody", None).await;
    }
    app.hire_many(10).await;
    app.once_exits(0).await;
    app.wazzup.remove(".");
    app.wazzup.remove("plain");
    app.make_verification_due().await;
    app.once_exits(0).await;
    assert!(app.wazzup.user(".").is_some() && app.wazzup.user("plain").is_some());
    app.settled().await;
}
