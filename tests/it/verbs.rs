//! What an operator asks: `check`, `status`, `explain`.

use rstest::rstest;
use sandbox::{Named, What};

use crate::app::{App, ids};

#[tokio::test]
async fn check_finds_nothing_wrong_and_writes_nothing() {
    let app = App::with_employees(3).await;
    let run = app.run_exits(0, &["check"]).await;
    assert!(run.stdout.contains('✓') && !run.stdout.contains('✗'), "{run}");
    let schemas = app
        .state_number("SELECT count(*) FROM pg_namespace WHERE nspname = 'wazzup_sync'")
        .await;
    assert_eq!(schemas, 0, "a schema not yet created is fine, and stays so");
    assert!(app.wazzup.writing_requests().is_empty());
    app.once_exits(0).await;
    app.run_exits(0, &["check"]).await;
    app.settled().await;
}

#[rstest]
#[case::misspelt_column("crm.columns.name", "nmae", "nmae")]
#[case::missing_table("crm.table", "emploiees", "emploiees")]
#[case::no_crm("crm.url", "postgres://nobody@127.0.0.1:1/crm", "crm.url")]
#[case::no_state("state.url", "postgres://nobody@127.0.0.1:1/state", "state.url")]
#[case::unreachable_service("wazzup.base_url", "http://127.0.0.1:1/v3", "Wazzup")]
#[case::wrong_path("wazzup.base_url", "http://127.0.0.1:PORT/v4", "base_url")]
#[tokio::test]
async fn check_names_what_fails_and_how_to_mend_it(#[case] key: &str, #[case] value: &str, #[case] named: &str) {
    let mut app = App::with_employees(3).await;
    app.set("state.url", &app.server.url(&app.database));
    app.set(key, &value.replace("PORT", &app.wazzup.port().to_string()));
    let run = app.run_exits(1, &["check"]).await;
    let items: Vec<&str> = run.stdout.lines().collect();
    let bad = items
        .iter()
        .position(|line| line.contains('✗'))
        .expect("what fails is marked");
    let told = items[bad..].join("\n");
    assert!(told.contains(named), "{run}");
    assert!(run.stdout.contains('✓'), "the rest is tried all the same: {run}");
    assert!(app.wazzup.writing_requests().is_empty());
}

#[rstest]
#[case(401)]
#[case(403)]
#[tokio::test]
async fn check_finds_a_refused_key(#[case] status: u16) {
    let app = App::with_employees(3).await;
    app.write_key("another-key");
    if status == 403 {
        app.wazzup.set_sidecar_key(Some("another-key"));
    }
    let run = app.run_exits(1, &["check"]).await;
    let bad = run
        .stdout
        .lines()
        .skip_while(|line| !line.contains('✗'))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(bad.to_lowercase().contains("key"), "{run}");
    assert!(
        !run.stdout.contains("another-key") && !run.stderr.contains("another-key"),
        "{run}"
    );
    assert!(app.wazzup.writing_requests().is_empty());
}

#[tokio::test]
async fn check_warns_of_a_crm_role_that_may_write() {
    let mut app = App::new().await;
    app.with_state_elsewhere().await;
    app.hire_many(3).await;
    let role = format!("checker_{}", app.database);
    app.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON employees TO {role}"
    ))
    .await;
    app.set("crm.url", &app.server.url_as(&role, &app.database));
    let reader = app.run(&["check"]).await;
    app.sql(&format!("GRANT UPDATE ON employees TO {role}")).await;
    let writer = app.run(&["check"]).await;
    assert_eq!((reader.code, writer.code), (0, 0), "{reader}\n{writer}");
    assert_ne!(reader.stdout, writer.stdout);
}

#[tokio::test]
async fn status_tells_how_everybody_stands() {
    let mut app = App::new().await;
    let before = app.json(&["status", "--format", "json"]).await;
    assert_eq!((&before["account"], &before["eligible"]), (&"main".into(), &0.into()));
    app.set_raw("removals.hold_above", "2");
    app.wazzup.vary(|variant| variant.seats = 21);
    app.hire_many(20).await;
    app.once_exits(0).await;
    app.wazzup.poison(["Poison"], What::invalid(Named::Nobody, &[]));
    app.rename("e001", "Poison").await;
    app.rename("e002", "").await;
    app.set_phone("e003", Some("no phone")).await;
    app.fire(&ids(11..=15)).await;
    app.hire_range(30, 32).await;
    app.once_exits(4).await;

    let status = app.status_json().await;
    let failing = status["failing"].as_array().expect("a list");
    let failing: Vec<_> = failing
        .iter()
        .map(|entry| format!("{} {} {}", entry["user_id"], entry["operation"], entry["code"]).replace('"', ""))
        .collect();
    assert_eq!(
        failing,
        [
            "e001 upsert INVALID_USERS_DATA",
            "e002 upsert INVALID_NAME",
            "e003 phone INVALID_PHONE"
        ]
    );
    assert_eq!(status["waiting_for_seat"], serde_json::json!(["e031", "e032"]));
    assert_eq!(status["held_removals"], serde_json::json!(ids(11..=15)));
    assert_eq!(
        (&status["eligible"], &status["in_sync"], &status["pending"]),
        (&18.into(), &13.into(), &0.into())
    );
    assert_eq!(status["last_cycle"]["outcome"], "incomplete");
    assert!(
        status["failing"][0]["next_attempt_at"].is_string() && status["failing"][0]["attempts"] == 1,
        "{status}"
    );
    let text = app.run(&["status"]).await;
    assert_eq!(text.code, 0);
    for word in ["e001", "e002", "e003", "e031", "e011"] {
        assert!(text.stdout.contains(word), "no {word}: {text}");
    }
    app.quiet(4).await;

    // A quiet cycle is the last cycle, too, and a failed one says why.
    let quiet = app.status_json().await;
    assert_ne!(quiet["last_cycle"]["finished_at"], status["last_cycle"]["finished_at"]);
    app.set("crm.table", "nobody");
    app.once_exits(1).await;
    let failed = app.status_json().await;
    assert_eq!(failed["last_cycle"]["outcome"], "failed");
    assert!(
        failed["last_cycle"]["error"]
            .as_str()
            .is_some_and(|text| text.contains("nobody")),
        "{failed}"
    );
    assert_eq!(failed["eligible"], 18);
}

#[tokio::test]
async fn explain_follows_one_person_all_the_way() {
    let mut app = App::new().await;
    app.wazzup.seed_foreign("boss", "The Boss", None);
    app.hire_many(20).await;
    app.hire("bad", &"x".repeat(201), None).await;
    app.once_exits(3).await;
    app.fire(&["e009"]).await;
    app.once_exits(3).await;
    app.wazzup.clear_log();
    let explain = async |id: &str| {
        let run = app.run_exits(0, &["explain", id]).await;
        run.stdout
    };
    let fine = explain("e001").await;
    assert!(fine.contains("Employee 1") && fine.contains("79260000001"), "{fine}");
    assert!(explain("bad").await.contains("INVALID_NAME"));
    assert!(
        explain("e009").await.to_lowercase().contains("removed"),
        "{}",
        explain("e009").await
    );
    assert!(explain("boss").await.contains("The Boss"));
    let unknown = explain("nobody").await;
    assert!(!unknown.is_empty());
    assert!(app.wazzup.writing_requests().is_empty());
    app.quiet(3).await;
    // Without the service, the rest is told all the same.
    app.wazzup.stop();
    assert!(app.run(&["explain", "e001"]).await.stdout.contains("Employee 1"));
    app.set("account", "another");
    app.run_exits(0, &["explain", "e001"]).await;
}
