//! Upgrades: what an earlier version left in the state is taken over. A new version adds its own dump beside the others.

use rstest::rstest;

use crate::app::App;

/// Dumped with `pg_dump --schema wazzup_sync --inserts --no-owner` after a day with failures and held removals.
#[rstest]
#[case::version_0_1_0(include_str!("fixtures/state-0.1.0.sql"))]
#[tokio::test]
async fn the_state_of_an_earlier_version_is_taken_over(#[case] dump: &str) {
    let app = App::new().await;
    app.state_sql(dump).await;
    let acknowledged = "SELECT user_id, name, phone FROM wazzup_sync.users WHERE name IS NOT NULL";
    let acknowledged = sqlx::query_as::<_, (String, String, Option<String>)>(acknowledged);
    for (id, name, phone) in acknowledged.fetch_all(&app.state).await.expect("the snapshot") {
        app.wazzup.put(&id, &name, phone.as_deref());
    }
    app.hire("5", "Renamed", None).await;
    app.hire("6", " ", None).await;
    app.hire("7", "Poison", None).await;
    app.hire("8", "User 8", Some("none")).await;

    // Its failures and its held removals stand; what was refused then is tried again by now.
    let run = app.once_exits(4).await;
    assert!(run.events("employee.rejected").is_empty(), "it was known: {run}");
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(app.name_of("7"), "Poison");
    assert_eq!(
        app.state_number("SELECT count(*) FROM wazzup_sync.users WHERE held_since IS NOT NULL")
            .await,
        7
    );
    assert_eq!(app.run(&["approve", "--yes"]).await.code, 0);
    app.once_exits(3).await;
    assert_eq!(app.user_ids(), ["5", "6", "7", "8"]);
    app.quiet(3).await;
}
