//! Who shares a state database, and who may do what in which.

use crate::app::App;

#[tokio::test]
async fn two_accounts_share_one_state_database() {
    let one = App::new().await;
    let mut two = App::new().await;
    two.set("account", "second")
        .set("state.url", &one.server.url(&one.database));
    two.state = one.state.clone();
    one.hire_many(3).await;
    two.hire_range(2, 5).await;
    one.once_exits(0).await;
    two.once_exits(0).await;
    assert_eq!(one.user_ids(), ["e001", "e002", "e003"]);
    assert_eq!(two.user_ids(), ["e002", "e003", "e004", "e005"]);
    one.settled().await;
    two.settled().await;

    one.fire(&["e002"]).await;
    two.rename("e002", "Of The Second").await;
    one.once_exits(0).await;
    assert_eq!(one.user_ids(), ["e001", "e003"]);
    assert_eq!(two.name_of("e002"), "Employee 2");
    two.once_exits(0).await;
    assert_eq!(two.name_of("e002"), "Of The Second");
    assert_eq!(one.state_number("SELECT count(*) FROM wazzup_sync.accounts").await, 2);
    one.settled().await;
    two.settled().await;
}

#[tokio::test]
async fn select_on_one_table_is_enough_for_the_crm_role() {
    let mut app = App::new().await;
    app.with_state_elsewhere().await;
    let role = format!("reader_{}", app.database);
    app.sql(&format!(
        "CREATE TABLE secrets (x text); CREATE ROLE {role} LOGIN; GRANT SELECT ON employees TO {role}"
    ))
    .await;
    app.set("crm.url", &app.server.url_as(&role, &app.database));
    app.hire_many(3).await;
    app.once_exits(0).await;
    assert_eq!(app.user_ids(), ["e001", "e002", "e003"]);
    app.settled().await;

    let schemas = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM pg_namespace WHERE nspname = 'wazzup_sync'");
    assert_eq!(
        schemas.fetch_one(&app.crm).await.expect("a count"),
        0,
        "the CRM's database is left alone"
    );
    assert_eq!(app.state_number("SELECT count(*) FROM wazzup_sync.users").await, 3);

    // Without that right, it is an error of the cycle, and nobody is removed.
    app.sql(&format!("REVOKE SELECT ON employees FROM {role}")).await;
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "crm_query");
    assert!(run.stderr.contains("permission denied"), "{run}");
    app.sql(&format!("GRANT SELECT ON employees TO {role}")).await;
    app.settled().await;
}

#[tokio::test]
async fn the_state_role_needs_no_more_than_its_schema() {
    let mut app = App::new().await;
    let role = format!("keeper_{}", app.database);
    app.sql(&format!(
        "CREATE ROLE {role} LOGIN; CREATE SCHEMA \"Our \"\"State\" AUTHORIZATION {role}"
    ))
    .await;
    app.set("state.url", &app.server.url_as(&role, &app.database))
        .set("state.schema", "Our \"State");
    app.hire_many(2).await;
    app.once_exits(0).await;
    assert_eq!(
        app.state_number("SELECT count(*) FROM \"Our \"\"State\".users").await,
        2
    );
    app.settled().await;

    // A schema that the role may not create is an error that says how to mend it.
    app.set("state.schema", "not_there");
    let run = app.once_exits(1).await;
    assert!(run.stderr.contains("CREATE SCHEMA"), "{run}");
    assert!(app.wazzup.requests().is_empty());
}
