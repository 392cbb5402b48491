//! What looks like a mistake is held until somebody approves exactly that; everything else goes on.

use serde_json::json;

use crate::app::{App, ids};

async fn synced(count: usize) -> App {
    let app = App::synced(count).await;
    app.take_writes();
    app
}

impl App {
    /// The kinds of the open holds, each once.
    async fn held_kinds(&self) -> Vec<String> {
        let kinds = sqlx::query_scalar("SELECT DISTINCT kind FROM wazzup_sync.holds ORDER BY 1");
        kinds.fetch_all(&self.state).await.expect("the holds")
    }

    async fn approve(&self) {
        let run = self.run(&["approve", "--yes"]).await;
        assert_eq!(run.code, 0, "{run}");
    }
}

#[tokio::test]
async fn the_key_of_another_account_changes_nothing_there() {
    let app = synced(20).await;
    let other = app.wazzup.add_account("the-other-key");
    other.put("e001", "Somebody Of The Other Account", None);
    app.write_key("the-other-key");
    app.fire(&["e001"]).await;
    app.hire("new", "New Here", None).await;
    let run = app.once_exits(4).await;
    assert_eq!(run.events("account.doubted").len(), 1, "{run}");
    assert_eq!(app.wazzup.writing_requests().len(), 0, "{}", app.requests_as_text());
    let finished = &run.events("cycle.finished")[0];
    assert_eq!(
        (&finished["in_sync"], &finished["pending"]),
        (&0.into(), &20.into()),
        "{run}"
    );
    assert_eq!(
        app.once_exits(4).await.events("account.doubted").len(),
        0,
        "said once an hour"
    );
    // The right key is back.
    app.write_key(&app.wazzup.key());
    let run = app.once_exits(0).await;
    assert_eq!(run.events("holds.released").len(), 1, "{run}");
    assert_eq!(app.users().len(), 20);
    assert!(app.wazzup.user("new").is_some() && app.wazzup.user("e001").is_none());
    assert_eq!(
        other.user("e001").expect("untouched").name,
        "Somebody Of The Other Account"
    );
    app.settled().await;
}

#[tokio::test]
async fn another_account_is_taken_in_use_after_an_approval() {
    let app = synced(6).await;
    let production = app.wazzup.add_account("the-production-key");
    production.put("e001", "employee  1", None);
    app.write_key("the-production-key");
    app.once_exits(4).await;
    assert_eq!(app.held_kinds().await, ["account"]);
    app.approve().await;
    app.once_exits(0).await;
    assert_eq!(production.users().len(), 6);
    assert_eq!(app.held_kinds().await, [""; 0]);
    app.settled().await;
}

#[tokio::test]
async fn a_replaced_key_of_the_same_account_is_no_matter() {
    let app = synced(20).await;
    app.wazzup.set_key("a-new-key-of-the-same-account");
    app.write_key("a-new-key-of-the-same-account");
    app.rename("e001", "Renamed").await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    app.settled().await;
}

#[tokio::test]
async fn somebody_elses_users_are_not_renamed_before_an_approval() {
    let app = App::new().await;
    for (id, name) in [("10", "Their Ten"), ("11", "Their Eleven")] {
        app.wazzup.put(id, name, None);
    }
    app.hire("10", "Our Ten", None).await;
    app.hire("11", "THEIR  eleven", None).await;
    app.hire("12", "Our Twelve", None).await;
    let run = app.once_exits(4).await;
    assert_eq!(run.events("takeovers.held")[0]["ids"], "10", "{run}");
    assert_eq!(
        (app.name_of("10"), app.name_of("11")),
        ("Their Ten".into(), "THEIR  eleven".into())
    );
    assert!(app.wazzup.user("12").is_some());
    let plan = app.plan_json().await;
    assert_eq!(plan["held"][0]["kind"], "takeover");
    assert_eq!(plan["held"][0]["content"], "Their Ten");
    app.quiet(4).await;
    // An approval is for that name only.
    app.approve().await;
    app.wazzup.edit("10", |user| user.name = "Their New Ten".into());
    let run = app.once_exits(4).await;
    assert_eq!(run.events("order.dropped")[0]["ids"], "10", "{run}");
    assert_eq!(run.events("holds.released").len(), 0, "{run}");
    assert_eq!(app.name_of("10"), "Their New Ten");
    app.approve().await;
    app.once_exits(0).await;
    assert_eq!(app.name_of("10"), "Our Ten");
    assert_eq!(
        app.state_number("SELECT count(*) FROM wazzup_sync.history WHERE approved_by IS NOT NULL")
            .await,
        1
    );
    app.settled().await;
}

#[tokio::test]
async fn a_column_mapped_wrongly_renames_nobody() {
    let mut app = synced(40).await;
    app.set("crm.columns.name", "is_active");
    app.hire("new", "Not Sent Wrongly Either", None).await;
    let run = app.once_exits(4).await;
    assert_eq!(run.events("updates.held")[0]["count"], 40, "{run}");
    assert_eq!(app.name_of("e001"), "Employee 1");
    let status = app.status_json().await;
    assert_eq!(status["held"].as_array().map(Vec::len), Some(40));
    assert_eq!(status["held"][0]["kind"], "update");
    app.set("crm.columns.name", "name");
    app.once_exits(0).await;
    assert_eq!(app.held_kinds().await, [""; 0]);
    assert_eq!(app.name_of("new"), "Not Sent Wrongly Either");
    app.settled().await;
}

#[tokio::test]
async fn an_approved_update_goes_and_only_with_the_approved_values() {
    let app = synced(30).await;
    app.sql("UPDATE employees SET name = name || ' II'").await;
    app.once_exits(4).await;
    app.approve().await;
    app.rename("e001", "Changed After The Approval").await;
    let run = app.once().await;
    assert!(matches!(run.code, 0 | 4), "{run}");
    assert_eq!(run.events("order.dropped")[0]["ids"], "e001", "{run}");
    let released = run.events("holds.released");
    let approved: Vec<_> = released.iter().filter(|event| event["reason"] == "approved").collect();
    assert_eq!(approved[0]["count"], 29, "{run}");
    assert_eq!(app.name_of("e002"), "Employee 2 II");
    app.once_exits(0).await;
    assert_eq!(app.name_of("e001"), "Changed After The Approval");
    app.settled().await;
}

#[tokio::test]
async fn rewritten_ids_make_no_twins() {
    let app = synced(60).await;
    app.sql("UPDATE employees SET id = 'x' || id").await;
    app.once_exits(4).await;
    assert_eq!(app.take_writes(), [""; 0]);
    let plan = app.plan_json().await;
    assert_eq!(plan["waiting"].as_array().map(Vec::len), Some(60));
    assert!(
        plan["waiting"]
            .as_array()
            .is_some_and(|waiting| waiting.contains(&json!({"id": "xe001", "for": "e001"})))
    );
    // Approved: the old ones go first, and phones are free for the same people in the same cycle.
    app.approve().await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 60);
    assert_eq!(app.phone_of("xe001").as_deref(), Some("79260000001"));
    app.settled().await;
}

#[tokio::test]
async fn five_rewritten_ids_are_held_too() {
    let app = synced(5).await;
    app.sql("UPDATE employees SET id = 'x' || id").await;
    app.once_exits(4).await;
    assert_eq!(app.user_ids(), ids(1..=5));
    app.quiet(4).await;
}

#[tokio::test]
async fn a_row_that_is_away_for_a_moment_costs_nobody_the_role() {
    let mut app = synced(5).await;
    app.set("removals.grace", "5m");
    app.wazzup.edit("e003", |user| user.role = "manager".into());
    app.fire(&["e003"]).await;
    app.once_exits(0).await;
    app.hire_range(3, 3).await;
    app.once_exits(0).await;
    assert_eq!(app.wazzup.user("e003").expect("still there").role, "manager");
    app.settled().await;
}

#[tokio::test]
async fn approve_takes_only_what_is_named_and_expected() {
    let app = synced(20).await;
    app.fire(&ids(1..=8)).await;
    app.once_exits(4).await;
    app.run_exits(1, &["approve", "--yes", "--expect", "7"]).await;
    assert_eq!(app.run(&["approve"]).await.code, 2, "there is no terminal to ask on");
    app.run_exits(0, &["approve", "--yes", "e001", "e002"]).await;
    app.once_exits(4).await;
    assert_eq!(app.users().len(), 18);
    app.run_exits(0, &["approve", "--yes", "--expect", "6"]).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 12);
    app.settled().await;
}
