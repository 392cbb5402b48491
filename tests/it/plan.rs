//! `plan`: what a cycle would do, without doing any of it.

use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn it_writes_nothing_and_does_not_call_wazzup() {
    let app = App::new().await;
    app.hire_many(3).await;
    app.hire("bad", "", None).await;
    let plan = app.plan_json().await;
    let added: Vec<&str> = plan["add"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["id"].as_str())
        .collect();
    assert_eq!(added, ["e001", "e002", "e003"]);
    assert_eq!(plan["rejected"], json!([{"id": "bad", "code": "INVALID_NAME"}]));
    assert_eq!((&plan["requests"], &plan["unchanged"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&plan["update"], &plan["remove"], &plan["held"]),
        (&json!([]), &json!([]), &json!([]))
    );
    let text = app.run(&["plan"]).await;
    assert!(
        text.code == 0 && text.stdout.contains("e002") && text.stdout.contains("Employee 2"),
        "{text}"
    );
    let schemas = app
        .state_number("SELECT count(*) FROM pg_namespace WHERE nspname = 'wazzup_sync'")
        .await;
    assert_eq!((schemas, app.wazzup.writing_requests().len()), (0, 0));
    app.wazzup.clear_log();
    let offline = app.run(&["plan", "--offline"]).await;
    assert_eq!((offline.code, app.wazzup.requests().len()), (0, 0), "{offline}");
    app.sql("DELETE FROM employees WHERE id = 'bad'").await;

    app.once_exits(0).await;
    app.wazzup.clear_log();
    let tables = "SELECT sum(n)::bigint FROM (SELECT count(*) AS n FROM wazzup_sync.cycles UNION ALL \
                  SELECT count(*) FROM wazzup_sync.history UNION ALL SELECT cycle_id FROM wazzup_sync.accounts) AS it";
    let before = app.state_number(tables).await;
    app.rename("e001", "Another Name").await;
    app.fire(&["e002"]).await;
    let plan = app.plan_json().await;
    assert_eq!(
        plan["update"],
        json!([{"id": "e001", "changes": {"name": {"from": "Employee 1", "to": "Another Name"}}}])
    );
    assert_eq!(
        (&plan["remove"], &plan["requests"]),
        (&json!([{"id": "e002", "name": "Employee 2"}]), &json!(2))
    );
    assert_eq!((&plan["add"], &plan["unchanged"]), (&json!([]), &json!(1)));
    assert_eq!(app.state_number(tables).await, before);
    assert!(app.wazzup.writing_requests().is_empty());
    app.once_exits(0).await;
    assert_eq!(
        app.take_writes(),
        ["PATCH 1", "POST 1"],
        "the cycle does what the plan said"
    );
    app.settled().await;
}

#[tokio::test]
async fn its_exit_code_tells_whether_there_is_something_to_do() {
    let app = App::new().await;
    app.hire_many(2).await;
    assert_eq!(app.run(&["plan", "--exit-code"]).await.code, 5);
    assert_eq!(app.run(&["plan"]).await.code, 0);
    app.once_exits(0).await;
    assert_eq!(app.run(&["plan", "--exit-code", "--format", "json"]).await.code, 0);
    app.fire(&["e001"]).await;
    assert_eq!(app.run(&["plan", "--exit-code"]).await.code, 5);
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn it_shows_what_is_held() {
    let app = App::new().await;
    app.hire_many(20).await;
    app.once_exits(0).await;
    app.sql("DELETE FROM employees").await;
    let plan = app.plan_json().await;
    assert_eq!(plan["held"].as_array().map(Vec::len), Some(20));
    assert_eq!((&plan["remove"], &plan["requests"]), (&json!([]), &json!(0)));
    assert_eq!(app.run(&["plan", "--exit-code"]).await.code, 0);
    app.wazzup.clear_log();
    app.once_exits(4).await;
    app.quiet(4).await;
}
