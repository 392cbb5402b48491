//! What is wrong with a configuration is said with its key and its file, and ends with 2.

use std::fs;

use rstest::rstest;

use crate::app::App;

#[rstest]
#[case::unknown_key("wazzup.base_ulr", "\"https://x\"")]
#[case::unknown_section("wazup.api_key", "\"k\"")]
#[case::wrong_type("schedule.every", "60")]
#[case::wrong_type_number("removals.hold_above", "\"five\"")]
#[case::every_is_zero("schedule.every", "\"0s\"")]
#[case::plain_http("wazzup.base_url", "\"http://api.wazzup24.com/v3\"")]
#[case::percent("removals.hold_above_percent", "101")]
#[case::policy("removals.policy", "\"delete\"")]
#[case::lease_too_short("state.lease", "\"9s\"")]
#[case::both_keys("wazzup.api_key", "\"another\"")]
#[case::region("crm.phone_region", "\"Russia\"")]
#[case::table_and_query("crm.query", "\"SELECT 1 AS id, 'x' AS name\"")]
#[tokio::test]
async fn mistakes_end_with_2_and_name_key_and_file(#[case] key: &str, #[case] value: &str) {
    let mut app = App::new().await;
    app.set_raw(key, value);
    let named = if key == "wazup.api_key" { "wazup" } else { key };
    for verb in ["once", "run", "plan", "approve", "retry", "healthcheck"] {
        let run = app.run_exits(2, &[verb]).await;
        assert!(run.stderr.contains(named), "{run}");
        assert!(
            run.stderr.contains(app.config_file().to_str().expect("a plain path")),
            "{run}"
        );
        assert!(run.stdout.is_empty(), "{run}");
    }
    assert!(app.wazzup.requests().is_empty());
}

#[tokio::test]
async fn a_missing_file_a_broken_one_and_wrong_usage_end_with_2() {
    let app = App::new().await;
    fs::write(app.config_file(), "account = ").expect("written");
    let run = app.once_exits(2).await;
    assert!(run.stderr.contains("not valid TOML"), "{run}");
    fs::remove_file(app.config_file()).expect("removed");
    let run = app.once_exits(2).await;
    assert!(run.stderr.contains("--config"), "{run}");
    app.run_exits(2, &["sync-everything", "--help"]).await;
}

#[tokio::test]
async fn the_environment_takes_precedence_over_the_file() {
    let mut app = App::with_employees(2).await;
    app.set("crm.table", "wrong_table").set("account", "00123");
    app.env("WAZZUP_SYNC__CRM__TABLE", "employees")
        .env("WAZZUP_SYNC__REMOVALS__HOLD_ABOVE", "7");
    let run = app.once_exits(0).await;
    assert_eq!(run.events("cycle.finished")[0]["account"], "00123");
    assert_eq!(app.users().len(), 2);
    app.settled().await;
    app.env("WAZZUP_SYNC__SCHEDULE__EVERRY", "1s");
    let run = app.once_exits(2).await;
    assert!(run.stderr.contains("WAZZUP_SYNC__SCHEDULE__EVERRY"), "{run}");
}

#[tokio::test]
async fn secrets_from_files_are_trimmed_and_never_shown() {
    let mut app = App::with_employees(2).await;
    let url_file = app.key_file().with_file_name("crm_url");
    fs::write(&url_file, format!("\n {} \n\n", app.server.url(&app.database))).expect("written");
    app.unset("crm.url")
        .set("crm.url_file", url_file.to_str().expect("a plain path"));
    app.write_key(&format!("  {}\n\n", app.wazzup.key()));
    app.once_exits(0).await;
    app.settled().await;

    fs::write(&url_file, "mysql://user:verysecret@db/crm").expect("written");
    let run = app.once_exits(2).await;
    assert!(
        run.stderr.contains("crm.url_file") && !run.stderr.contains("verysecret"),
        "{run}"
    );
}
