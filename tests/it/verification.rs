//! Comparing with Wazzup's own list: it heals, and a list that proves nothing changes nothing.

use rstest::rstest;
use sandbox::{Fault, ListStyle, What, When};

use crate::app::{App, id};

#[rstest]
#[tokio::test]
async fn what_was_deleted_or_renamed_by_hand_is_healed(
    #[values(ListStyle::Array, ListStyle::ArrayPaged, ListStyle::Pages, ListStyle::PagesTextCount)] style: ListStyle,
    #[values(3, 100, 250)] count: usize,
) {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.list = style);
    app.hire_many(count).await;
    app.once_exits(0).await;
    app.wazzup.remove("e001");
    app.wazzup.edit("e002", |user| user.name = "Renamed By Hand".into());
    app.settled().await;
    app.make_verification_due().await;
    let run = app.once_exits(0).await;
    // An array of fewer pages than there are users cannot prove that it is whole.
    if style == ListStyle::ArrayPaged && count == 250 && app.wazzup.user("e001").is_none() {
        assert_eq!(run.events("verify.finished")[0]["complete"], false, "{run}");
        return;
    }
    assert_eq!(app.take_writes(), ["POST 2"], "{run}");
    assert_eq!(
        (app.name_of("e001"), app.name_of("e002")),
        ("Employee 1".into(), "Employee 2".into())
    );
    assert_eq!(run.events("verify.finished").len(), 1, "{run}");
    app.settled().await;
    app.make_verification_due().await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), [""; 0]);
    app.settled().await;
}

#[rstest]
#[case::empty(What::EmptyList)]
#[case::short(What::ShortList { missing: 5 })]
#[case::cut(What::BrokenJson)]
#[case::garbled(What::Garbage)]
#[case::huge(What::answer(200, " ".repeat(30_000_000)))]
#[case::failing(What::status(500))]
#[case::proxy(What::answer(200, "<html>log in</html>"))]
#[case::object(What::answer(200, r#"{"count": 0}"#))]
#[case::count_only_fits(What::answer(200, r#"{"count": 1, "data": [{"id": "e001", "name": "Employee 1"}]}"#))]
#[case::redirect(What::with_header(302, "location", "http://127.0.0.1:1/"))]
#[tokio::test]
async fn a_list_that_proves_nothing_changes_nothing(
    #[case] what: What,
    #[values(ListStyle::Array, ListStyle::Pages)] style: ListStyle,
) {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.list = style);
    app.wazzup.seed_foreigners(3);
    app.hire_many(120).await;
    app.once_exits(0).await;
    app.wazzup.clear_log();
    app.make_verification_due().await;
    app.wazzup.order(Fault::new(When::List, what).always());
    app.rename("e050", "Delivered All The Same").await;
    let run = app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 1"], "{run}");
    assert_eq!(run.events("verify.finished").len(), 1, "{run}");
    assert_eq!(run.events("verify.finished")[0]["complete"], false, "{run}");
    assert_eq!(app.users().len(), 123);
    app.wazzup.clear_faults();
    // A list that could not be had stays due.
    app.once_exits(0).await;
    app.settled().await;
}

/// Ids with a slash cannot be looked up, so the list alone can show whose account it is.
#[tokio::test]
async fn a_new_key_is_not_judged_before_there_is_a_list() {
    let app = App::new().await;
    for id in ["a/1", "a/2", "a/3"] {
        app.hire(id, &format!("Employee {id}"), None).await;
    }
    app.once_exits(0).await;
    app.wazzup.set_key("a-new-key-of-the-same-account");
    app.write_key("a-new-key-of-the-same-account");
    app.wazzup.order(Fault::new(When::List, What::status(500)).always());
    app.rename("a/1", "Renamed").await;
    app.take_writes();
    let run = app.once_exits(1).await;
    assert_eq!((run.error_kind(), app.take_writes().len()), ("wazzup_unavailable", 0));
    assert_eq!(app.state_number("SELECT count(*) FROM wazzup_sync.holds").await, 0);
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_list_that_does_not_exist_ends_the_cycle() {
    let app = App::synced(3).await;
    app.make_verification_due().await;
    app.rename("e001", "Not Sent To A Wrong Address").await;
    app.wazzup.order(Fault::new(When::List, What::status(404)).always());
    app.wazzup.clear_log();
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_not_found");
    assert_eq!(app.wazzup.requests().len(), 1);
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_starting_daemon_heals_and_does_not_ask_again() {
    let mut app = App::new().await;
    app.set("schedule.every", "200ms").set("log.level", "debug");
    app.wazzup.seed_foreigners(2);
    app.hire_many(10).await;
    app.once_exits(0).await;
    app.wazzup.remove("e001");
    app.wazzup.edit("e002", |user| user.name = "Renamed By Hand".into());
    app.wazzup.clear_log();
    let mut daemon = app.daemon();
    let finished = daemon.wait_for("verify.finished", |_| true).await;
    assert_eq!(
        (&finished["missing"], &finished["renamed"], &finished["foreign"]),
        (&1.into(), &1.into(), &2.into())
    );
    daemon.wait_for("batch.delivered", |event| event["entries"] == 2).await;
    for _ in 0..3 {
        daemon.next_cycle().await;
    }
    assert_eq!(daemon.count("verify.finished"), 1);
    daemon.stop().await;
    assert_eq!(
        (app.name_of("e001"), app.name_of("e002")),
        ("Employee 1".into(), "Employee 2".into())
    );
    app.settled().await;
}

#[tokio::test]
async fn verify_every_is_remembered_and_kept() {
    let mut app = App::synced(3).await;
    app.wazzup.clear_log();
    app.set("schedule.verify_every", "1s");
    app.state_sql("UPDATE wazzup_sync.accounts SET list_read_at = now() - interval '2 s'")
        .await;
    app.once_exits(0).await;
    assert_eq!(app.wazzup.count_of(When::List), 1);
    app.set("schedule.verify_every", "1h");
    app.settled().await;
}

/// More are renamed than the requests of a cycle reach to find whom the service refuses.
#[tokio::test]
async fn what_a_list_showed_is_not_forgotten_when_the_requests_run_out() {
    let app = App::synced(60).await;
    for number in 1..=25 {
        app.wazzup.edit(&id(number), |user| user.name = "By Hand".into());
    }
    app.state_sql("UPDATE wazzup_sync.accounts SET list_read_at = NULL")
        .await;
    app.wazzup.order(Fault::new(When::Post, What::status(400)).always());
    app.once_exits(3).await;
    app.wazzup.clear_faults();
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert!(app.users().iter().all(|(_, name, _)| name != "By Hand"));
    app.settled().await;
}
