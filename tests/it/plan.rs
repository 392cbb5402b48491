//! `plan`: what a cycle would do, without doing any of it.

use sandbox::{Named, What};
use serde_json::{Value, json};

use crate::{
    app::{App, ids},
    process::Run,
};

#[tokio::test]
async fn it_writes_nothing_and_does_not_call_wazzup() {
    let app = App::with_employees(3).await;
    app.hire("bad", "", None).await;
    let plan = app.plan_json().await;
    let added: Vec<&str> = plan["add"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["id"].as_str())
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
    let app = App::with_employees(2).await;
    app.run_exits(5, &["plan", "--exit-code"]).await;
    app.run_exits(0, &["plan"]).await;
    app.once_exits(0).await;
    app.run_exits(0, &["plan", "--exit-code", "--format", "json"]).await;
    app.fire(&["e001"]).await;
    app.run_exits(5, &["plan", "--exit-code"]).await;
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn it_shows_what_is_held() {
    let app = App::synced(20).await;
    app.sql("DELETE FROM employees").await;
    let plan = app.plan_json().await;
    assert_eq!(plan["held"].as_array().map(Vec::len), Some(20));
    assert_eq!((&plan["remove"], &plan["requests"]), (&json!([]), &json!(0)));
    app.run_exits(0, &["plan", "--exit-code"]).await;
    app.wazzup.clear_log();
    app.once_exits(4).await;
    app.quiet(4).await;
}

/// The ids behind `label` in the answer for people, in its order.
fn shown(plan: &Run, label: &str) -> Vec<String> {
    const MARGIN: usize = 16;
    let mut ids = Vec::new();
    for line in plan.stdout.lines() {
        let is_labelled = line
            .get(..MARGIN)
            .is_some_and(|beginning| beginning.trim_end() == label);
        if is_labelled && let Some(id) = line[MARGIN..].split_whitespace().next() {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The ids of a list in the answer for programs, in its order.
fn listed(plan: &Value, key: &str) -> Vec<String> {
    let entries = plan[key].as_array().unwrap_or_else(|| panic!("no {key}: {plan}"));
    let ids = entries
        .iter()
        .filter_map(|entry| entry.as_str().or(entry["id"].as_str()));
    ids.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn people_and_programs_get_the_same_in_natural_order() {
    let mut app = App::new().await;
    app.wazzup.vary(|wazzup| wazzup.seats = 30);
    for number in 1..=20 {
        app.hire(&number.to_string(), &format!("Employee {number}"), None).await;
    }
    app.hire("99", "Poison", None).await;
    app.wazzup.poison(["Poison"], What::invalid(Named::Nobody, &[]));
    app.once_exits(3).await;
    app.wazzup.put("11x", "Somebody Else", None);
    app.wazzup.put("12x", "employee  twelve", None);
    app.wazzup.vary(|wazzup| wazzup.seats = 24);
    app.set("removals.grace", "1h");
    app.fire(&["1", "10"]).await;
    app.state_sql(
        "UPDATE wazzup_sync.users SET absent_since = now() - interval '2 hours' WHERE user_id IN ('2', '10')",
    )
    .await;
    app.sql("DELETE FROM employees WHERE id IN ('2')").await;
    app.rename("9", "Renamed").await;
    app.rename("20", "Renamed, Too").await;
    app.set_phone("3", Some("no phone")).await;
    for (id, name) in [
        ("11x", "Our Eleven"),
        ("12x", "Employee Twelve"),
        ("100", "Newcomer"),
        ("21", "Newcomer, Too"),
        ("22", "Employee 1"),
        ("30", ""),
        ("4x", ""),
    ] {
        app.hire(id, name, None).await;
    }
    let plan = app.plan_json().await;
    let text = app.run(&["plan"]).await;
    assert_eq!(text.code, 0, "{text}");
    for (key, expected) in [
        ("remove", &["2", "10"][..]),
        ("update", &["9", "20"]),
        ("adopt", &["12x"]),
        ("add", &["21", "100"]),
        ("waiting", &["22"]),
        ("backing_off", &["99"]),
        ("pending", &[]),
        ("staying", &["1"]),
        ("rejected", &["4x", "30"]),
        ("without_phone", &["3"]),
    ] {
        assert_eq!(shown(&text, &key.replace('_', " ")), expected, "{key}: {text}");
        assert_eq!(listed(&plan, key), expected, "{key}: {plan}");
    }
    assert_eq!(shown(&text, "hold"), ["11x"], "{text}");
    assert_eq!(listed(&plan, "held"), ["11x"], "{plan}");
    assert_eq!(plan["waiting"], json!([{"id": "22", "for": "1"}]));
    assert_eq!(plan["held"][0]["kind"], "takeover");
    assert_eq!(plan["requests"], 2);
    let last = text.stdout.lines().last().unwrap_or_default();
    assert_eq!(last, "2 requests to send.", "{text}");
    assert!(app.wazzup.writing_requests().len() < 20, "only the first cycle wrote");
}

#[tokio::test]
async fn without_the_list_it_says_so_and_plans_all_the_same() {
    let app = App::with_employees(3).await;
    app.wazzup.stop();
    for format in ["text", "json"] {
        let run = app.run_exits(5, &["plan", "--exit-code", "--format", format]).await;
        let note = "wazzup-sync: this plan is made without Wazzup's list: ";
        assert!(run.stderr.lines().any(|line| line.starts_with(note)), "{run}");
        assert!(run.stdout.contains("e003"), "{run}");
    }
    let plan = app.plan_json().await;
    assert_eq!((&plan["list"], &plan["foreign"]), (&json!("none"), &Value::Null));
    assert!(plan["list_problem"].is_string(), "{plan}");
    let run = app.run(&["plan", "--offline"]).await;
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (0, ""),
        "nobody asked for the list: {run}"
    );
    app.wazzup.start_again().expect("the port is free");
    app.write_key("another-key");
    let run = app.run(&["plan"]).await;
    assert!(run.code == 0 && run.stderr.contains("key"), "{run}");
    app.write_key(&app.wazzup.key());
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn a_hold_is_approved_once_a_cycle_has_held_it() {
    let app = App::synced(20).await;
    app.fire(&ids(1..=8)).await;
    let before = app.run(&["plan"]).await;
    let command = format!("`wazzup-sync --config {} approve`", app.config_file().display());
    let command = command.replace("--config", "-c");
    let words = |run: &Run| run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let later = format!("{command} (after the next cycle)");
    assert!(words(&before).contains(&later), "{before}");
    app.once_exits(4).await;
    let after = app.run(&["plan"]).await;
    assert!(
        words(&after).contains(&command) && !words(&after).contains(&later),
        "{after}"
    );
    app.fire(&ids(9..=9)).await;
    app.quiet(4).await;
}
