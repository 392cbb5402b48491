//! Nobody is lost to a mistake in a table.

use crate::app::{App, ids};

/// So many employees, all in Wazzup.
async fn synced(count: usize) -> App {
    let app = App::synced(count).await;
    app.wazzup.clear_log();
    app
}

#[tokio::test]
async fn forty_of_a_hundred_are_held_and_exactly_the_approved_go() {
    let app = synced(100).await;
    app.fire(&ids(1..=40)).await;
    app.rename("e050", "Renamed Meanwhile").await;
    app.hire("new", "Hired Meanwhile", None).await;
    let run = app.once_exits(4).await;
    assert_eq!(app.take_writes(), ["POST 2"]);
    assert_eq!(
        (app.users().len(), app.name_of("e050")),
        (101, "Renamed Meanwhile".into())
    );
    let held = run.events("removals.held");
    assert_eq!(
        (held.len(), &held[0]["count"], &held[0]["level"]),
        (1, &40.into(), &"ERROR".into()),
        "{run}"
    );
    app.quiet(4).await;

    app.hire_range(1, 5).await;
    app.once_exits(4).await;
    assert_eq!(app.take_writes(), [""; 0]);
    let approve = app.run(&["approve", "--yes"]).await;
    assert_eq!(approve.code, 0, "{approve}");
    assert!(
        approve.stdout.contains("e006") && approve.stdout.contains("Employee 40"),
        "{approve}"
    );
    assert!(!approve.stdout.contains("e005"), "{approve}");
    app.fire(&ids(61..=80)).await;
    app.once_exits(4).await;
    assert_eq!(app.take_writes(), ["PATCH 35"]);
    let expected: Vec<String> = ids((1..=5).chain(41..=100)).into_iter().chain(["new".into()]).collect();
    assert_eq!(app.user_ids(), expected);
    app.quiet(4).await;

    app.hire_range(61, 80).await;
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn who_comes_back_after_the_approval_stays() {
    let app = synced(20).await;
    app.fire(&ids(1..=10)).await;
    app.once_exits(4).await;
    app.run_exits(0, &["approve", "--yes"]).await;
    app.hire_range(1, 4).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 6"]);
    app.settled().await;
    // The approval of those who came back is used up.
    app.hire_range(5, 10).await;
    app.once_exits(0).await;
    app.fire(&ids(1..=10)).await;
    app.once_exits(4).await;
    assert_eq!(app.users().len(), 20);
    app.quiet(4).await;
}

#[tokio::test]
async fn an_approval_during_an_outage_is_carried_out_and_logged_when_it_is_over() {
    let app = synced(20).await;
    app.fire(&ids(1..=10)).await;
    app.once_exits(4).await;
    app.sql("ALTER TABLE employees RENAME TO away").await;
    app.run_exits(0, &["approve", "--yes"]).await;
    for _ in 0..2 {
        let run = app.once_exits(1).await;
        assert_eq!(run.events("holds.released").len(), 0, "{run}");
    }
    app.sql("ALTER TABLE away RENAME TO employees").await;
    let run = app.once_exits(0).await;
    let released = run.events("holds.released");
    assert_eq!(
        (released.len(), &released[0]["reason"]),
        (1, &"approved".into()),
        "{run}"
    );
    assert!(released[0]["approved_by"].is_string(), "{run}");
    assert_eq!(app.users().len(), 10);
    app.settled().await;
}

#[tokio::test]
async fn held_is_sticky() {
    let app = synced(20).await;
    app.fire(&ids(1..=10)).await;
    app.once_exits(4).await;
    app.hire_range(1, 9).await;
    app.once_exits(4).await;
    app.fire(&["e020"]).await;
    app.once_exits(4).await;
    assert!(
        app.user_ids().contains(&"e010".to_owned()),
        "falling under the limit releases nobody"
    );
    assert!(
        !app.user_ids().contains(&"e020".to_owned()),
        "a later leaver under the limit goes"
    );
    app.quiet(4).await;
    app.run_exits(0, &["approve", "--yes"]).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 18);
    app.settled().await;
}

#[tokio::test]
async fn three_users_and_an_empty_table() {
    let app = synced(3).await;
    app.fire(&ids(1..=3)).await;
    let run = app.once_exits(4).await;
    assert_eq!(run.events("source.empty").len(), 1, "{run}");
    assert_eq!(app.users().len(), 3);
    app.quiet(4).await;
    // An approval passes whatever the roster looks like.
    app.run_exits(0, &["approve", "--yes"]).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 0);
    app.settled().await;
}

#[tokio::test]
async fn another_table_with_one_row_removes_nobody() {
    let mut app = synced(5).await;
    app.set("removals.grace", "1h");
    app.fire(&ids(1..=5)).await;
    app.hire("x", "Somebody Else", None).await;
    for _ in 0..2 {
        app.once_exits(4).await;
    }
    app.set("removals.grace", "0s");
    app.once_exits(4).await;
    assert_eq!(app.users().len(), 6);
    let mut approve = app.on_terminal(80, &["approve"]);
    approve.asks().await;
    approve.types("5\n");
    let screen = approve.ended().await;
    assert_eq!(screen.code, 0, "{screen}");
    app.once_exits(0).await;
    assert_eq!(app.user_ids(), ["x"]);
    app.settled().await;
}

#[tokio::test]
async fn trickling_does_not_slip_under_it() {
    let app = synced(100).await;
    for step in 0..12 {
        app.fire(&ids(step * 4 + 1..=step * 4 + 4)).await;
        app.once().await;
    }
    assert!(app.users().len() >= 88, "{} are left", app.users().len());
    assert!(app.users().len() < 100, "a few may go");
    app.quiet(4).await;
    // A day later, what was removed then no longer counts, but all that is held does, and it stays held.
    let left = app.users().len();
    app.state_sql("UPDATE wazzup_sync.history SET at = at - interval '25 hours'")
        .await;
    app.quiet(4).await;
    assert_eq!(app.users().len(), left);
    app.run_exits(0, &["approve", "--yes"]).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 52);
    // What was approved does not count either.
    app.fire(&["e100", "e099"]).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 50);
    app.settled().await;
}

#[tokio::test]
async fn the_policy_keep_never_removes_anybody() {
    let mut app = synced(30).await;
    app.set("removals.policy", "keep");
    app.fire(&ids(1..=29)).await;
    app.once_exits(0).await;
    assert_eq!((app.users().len(), app.take_writes().len()), (30, 0));
    app.settled().await;
    // One who comes back under another name is updated, not created.
    app.wazzup.edit("e001", |user| user.role = "manager".into());
    app.hire("e001", "Came Back", None).await;
    app.once_exits(0).await;
    assert_eq!(
        (app.take_writes(), app.name_of("e001")),
        (vec!["POST 1".into()], "Came Back".into())
    );
    assert_eq!(app.wazzup.user("e001").expect("there").role, "manager");
    app.settled().await;
    // An empty table holds nothing here. It is reported at once, and then once an hour.
    app.sql("DELETE FROM employees").await;
    for reports in [1, 0] {
        let run = app.once_exits(0).await;
        assert_eq!(run.events("source.empty").len(), reports, "{run}");
    }
}

#[tokio::test]
async fn grace_is_waited_for_and_cancelled_by_coming_back() {
    let mut app = synced(10).await;
    app.set("removals.grace", "3s")
        .set("schedule.every", "200ms")
        .set("log.level", "debug");
    app.wazzup.edit("e001", |user| user.role = "manager".into());
    app.fire(&["e001", "e002"]).await;
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    let began = std::time::Instant::now();
    app.hire("e001", "Employee 1", Some("79260000001")).await;
    let removed = daemon
        .wait_for("batch.delivered", |event| event["operation"] == "remove")
        .await;
    assert_eq!(removed["entries"], 1, "{}", daemon.text());
    assert!(began.elapsed().as_millis() >= 2_000, "{:?}", began.elapsed());
    daemon.next_cycle().await;
    assert!(app.wazzup.user("e002").is_none());
    assert_eq!(app.wazzup.user("e001").expect("there").role, "manager");
    let about_e001 = app
        .wazzup
        .writing_requests()
        .iter()
        .any(|request| request.ids.contains(&"e001".to_owned()));
    assert!(!about_e001, "{}", app.requests_as_text());
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn approving_needs_a_terminal_or_yes() {
    let app = synced(10).await;
    app.fire(&ids(1..=9)).await;
    app.once_exits(4).await;
    let run = app.run_exits(2, &["approve"]).await;
    assert!(run.stdout.contains("e009") && run.stderr.contains("--yes"), "{run}");
    app.quiet(4).await;
    assert_eq!(app.users().len(), 10);
    app.run_exits(0, &["approve", "--yes"]).await;
    app.once_exits(0).await;
    app.settled().await;
    let run = app.run(&["approve"]).await;
    assert_eq!(run.code, 0, "nothing is held: {run}");
}

#[tokio::test]
async fn the_daemon_acts_on_an_approval_at_its_next_cycle() {
    let mut app = synced(10).await;
    app.set("schedule.every", "200ms").set("log.level", "debug");
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    app.fire(&ids(1..=9)).await;
    daemon.wait_for("removals.held", |event| event["count"] == 9).await;
    daemon.next_cycle().await;
    daemon.next_cycle().await;
    assert_eq!(daemon.count("removals.held"), 1, "once for each change of the set");
    app.run_exits(0, &["approve", "--yes"]).await;
    daemon
        .wait_for("batch.delivered", |event| {
            event["operation"] == "remove" && event["entries"] == 9
        })
        .await;
    daemon.stop().await;
    app.settled().await;
}

#[tokio::test]
async fn after_the_loss_of_the_state_everyone_is_adopted_and_nobody_removed() {
    let app = synced(250).await;
    app.wazzup.seed_foreigners(2);
    app.wazzup.edit("e001", |user| user.role = "manager".into());
    app.fire(&["e007"]).await;
    app.state_sql("DROP SCHEMA wazzup_sync CASCADE").await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 100", "POST 100", "POST 49"]);
    assert_eq!(app.users().len(), 252, "who left in between is nobody's now, and stays");
    assert_eq!(app.wazzup.user("e001").expect("there").role, "manager");
    app.settled().await;
}
