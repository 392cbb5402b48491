//! The main job: a table in, an account in step.

use crate::app::{App, id};

#[tokio::test]
async fn a_first_sync_of_250_is_three_posts() {
    let app = App::new().await;
    app.hire_many(250).await;
    let run = app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 100", "POST 100", "POST 50"]);
    assert_eq!(app.users().len(), 250);
    assert_eq!(app.users()[41], ("e042".into(), "Employee 42".into(), Some("79260000042".into())));
    let finished = run.events("cycle.finished");
    assert_eq!(finished.len(), 1, "{run}");
    assert_eq!((&finished[0]["outcome"], &finished[0]["added"]), (&"in_sync".into(), &250.into()));
    assert_eq!(finished[0]["account"], "main");
    app.settled().await;
}

#[tokio::test]
async fn a_rename_a_hire_and_two_leavers_are_one_patch_and_one_post() {
    let app = App::new().await;
    app.wazzup.seed_foreigners(3);
    app.hire_many(100).await;
    app.once_exits(0).await;
    app.take_writes();

    app.rename("e007", "Anna Renamed").await;
    app.hire("new", "Just Hired", None).await;
    app.fire(&["e010", "e020"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 2", "POST 2"]);
    assert_eq!(app.name_of("e007"), "Anna Renamed");
    assert_eq!(app.name_of("new"), "Just Hired");
    assert_eq!(app.users().len(), 99 + 3);
    assert!(!app.user_ids().contains(&id(10)) && !app.user_ids().contains(&id(20)));
    app.settled().await;
}
