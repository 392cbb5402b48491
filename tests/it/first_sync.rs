//! The main job: a table in, an account in step.

use sandbox::{Fault, What, When};

use crate::{
    app::{App, id},
    process::PATIENCE,
};

#[tokio::test]
async fn a_first_sync_of_250_is_three_posts() {
    let app = App::with_employees(250).await;
    let run = app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 100", "POST 100", "POST 50"]);
    assert_eq!(app.users().len(), 250);
    assert_eq!(
        app.users()[41],
        ("e042".into(), "Employee 42".into(), Some("79260000042".into()))
    );
    let finished = run.events("cycle.finished");
    assert_eq!(finished.len(), 1, "{run}");
    assert_eq!(
        (&finished[0]["outcome"], &finished[0]["added"]),
        (&"in_sync".into(), &250.into())
    );
    assert_eq!(finished[0]["account"], "main");
    app.settled().await;
}

/// A planner without statistics is tempted to read all users for each batch, which makes a first sync quadratic.
#[tokio::test]
async fn recording_a_batch_reads_only_its_users() {
    const EMPLOYEES: i64 = 10_000;
    let mut app = App::new().await;
    app.wazzup.vary(|variant| variant.seats = 20_000);
    app.set_raw("wazzup.requests_per_minute", "100000");
    app.sql(&format!(
        "INSERT INTO employees (id, name) SELECT n, 'Employee ' || n FROM generate_series(1, {EMPLOYEES}) n"
    ))
    .await;
    app.once_exits(0).await;
    // The server counts when a connection ends.
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wazzup-sync' \
                     AND datname = current_database()";
    let ended = async {
        while app.state_number(connected).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the connections end");
    let count = async |column| {
        let sql = format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = 'users'");
        app.state_number(&sql).await
    };
    assert_eq!(count("n_tup_ins").await, EMPLOYEES);
    let read = count("seq_tup_read + idx_tup_fetch").await;
    assert!(read < 10 * EMPLOYEES, "{read} rows were read for 100 batches");
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

#[tokio::test]
async fn an_employee_who_is_there_already_is_adopted_and_keeps_the_role() {
    let app = App::new().await;
    app.wazzup.put("e001", " EMPLOYEE  1", None);
    app.wazzup.edit("e001", |user| user.role = "manager".into());
    app.hire_many(2).await;
    let run = app.once_exits(0).await;
    let finished = run.events("cycle.finished")[0];
    let counts = ["added", "adopted", "updated"].map(|field| finished[field].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(0)], "{run}");
    assert_eq!(app.take_writes(), ["POST 2"]);
    assert_eq!(app.name_of("e001"), "Employee 1");
    assert_eq!(app.wazzup.user("e001").expect("still there").role, "manager");
    assert_eq!(app.status_json().await["seats"]["foreign"], 0);
    app.settled().await;
}

#[tokio::test]
async fn invalid_rows_remove_nobody() {
    let app = App::synced(6).await;
    app.take_writes();

    app.rename("e001", "  ").await;
    app.sql("UPDATE employees SET name = NULL WHERE id = 'e002'").await;
    app.rename("e003", &"x".repeat(201)).await;
    app.hire("e004", "Somebody Else", None).await;
    app.hire(&"i".repeat(201), "Too Long", None).await;
    app.rename("e006", "Still Delivered").await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(app.user_ids(), ["e001", "e002", "e003", "e004", "e005", "e006"]);
    assert_eq!(
        (app.name_of("e001"), app.name_of("e006")),
        ("Employee 1".into(), "Still Delivered".into())
    );
    let expected = [
        "e001 upsert INVALID_NAME",
        "e002 upsert INVALID_NAME",
        "e003 upsert INVALID_NAME",
    ];
    let failing = app.failing().await;
    assert_eq!(failing[..3], expected);
    assert_eq!(failing[3], "e004 upsert DUPLICATE_ID");
    assert!(failing[4].ends_with("i upsert INVALID_ID"), "{failing:?}");
    app.quiet(3).await;

    // Mended, each goes by itself.
    app.rename("e001", "Mended").await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    app.sql("DELETE FROM employees WHERE length(id) > 200 OR name = 'Somebody Else'")
        .await;
    app.sql("UPDATE employees SET name = 'Named' WHERE id IN ('e002', 'e003')")
        .await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 2"]);
    assert_eq!(app.failing().await, [""; 0]);
    app.settled().await;
}

#[tokio::test]
async fn a_row_without_id_is_reported_and_holds_removals() {
    let app = App::synced(5).await;
    app.take_writes();
    app.sql("UPDATE employees SET id = NULL WHERE id = 'e003'").await;
    app.rename("e001", "Renamed All The Same").await;
    let run = app.once_exits(4).await;
    assert_eq!(run.events("removals.held").len(), 1, "{run}");
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(app.users().len(), 5);
    app.quiet(4).await;
    app.sql("UPDATE employees SET id = 'e003' WHERE id IS NULL").await;
    app.once_exits(0).await;
    app.settled().await;

    // With nobody missing, it is reported all the same: blank counts as none.
    app.hire("   ", "Nobody", None).await;
    app.quiet(3).await;
    app.sql("DELETE FROM employees WHERE id = '   '").await;
    app.settled().await;
}

#[tokio::test]
async fn rows_that_are_not_active_are_dropped_before_anything_else() {
    let app = App::with_employees(3).await;
    app.sql(
        "INSERT INTO employees (id, name, is_active) VALUES ('e001', 'An old row of the same person', false), \
         (NULL, 'no id', false), ('left', 'Long gone', NULL)",
    )
    .await;
    app.once_exits(0).await;
    assert_eq!(app.user_ids(), ["e001", "e002", "e003"]);
    app.settled().await;
    app.sql("UPDATE employees SET is_active = false WHERE id = 'e002'")
        .await;
    app.take_writes();
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 1"]);
    app.settled().await;
}

/// Ids that something on the way could take for something else.
fn odd_ids() -> Vec<String> {
    let odd = [
        "a/b",
        "100%",
        "%2F",
        "O'Brien",
        "say \"hi\"",
        "Анна",
        "👩‍👩‍👧😀",
        "back\\slash",
        " led by a blank",
        "a b?c=d#e&f",
        "007",
        "bulk_delete",
        "null",
        "line\nbreak",
        "{\"id\":1}",
        "..",
        ".",
    ];
    let mut ids: Vec<String> = odd.map(ToOwned::to_owned).into();
    ids.push("ж".repeat(200));
    ids.push("/".repeat(200));
    ids.sort();
    ids
}

#[tokio::test]
async fn odd_ids_travel_unharmed() {
    let mut app = App::new().await;
    app.set_raw("removals.hold_above", "100");
    app.set_raw("updates.hold_above", "100");
    app.wazzup.seed_foreigners(2);
    let ids = odd_ids();
    for id in &ids {
        app.hire(id, "First", None).await;
    }
    app.once_exits(0).await;
    let ours = || {
        app.user_ids()
            .into_iter()
            .filter(|id| !id.starts_with("foreign"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ours(), ids);
    app.settled().await;

    app.sql("UPDATE employees SET name = 'Second'").await;
    app.once_exits(0).await;
    assert_eq!(ours(), ids);
    assert!(ids.iter().all(|id| app.name_of(id) == "Second"));
    app.hire("one", "Stays", None).await;
    app.once_exits(0).await;
    app.settled().await;

    app.fire(&ids).await;
    app.once_exits(0).await;
    assert_eq!(ours(), ["one"]);
    app.settled().await;
}

#[tokio::test]
async fn an_id_that_is_a_step_up_in_a_path_harms_nobody() {
    let app = App::new().await;
    app.wazzup.seed_foreigners(2);
    app.hire_many(3).await;
    app.hire("..", "Two Dots", None).await;
    app.hire(".", "One Dot", None).await;
    app.once_exits(0).await;
    let refused = Fault::new(When::BulkDelete, What::status(400))
        .naming(["..", "."])
        .always();
    app.wazzup.order(refused);
    app.fire(&["..", "."]).await;
    let run = app.once().await;
    assert!(matches!(run.code, 0 | 3), "{run}");
    app.assert_unharmed();
    assert!(
        ["e001", "e002", "e003", "foreign-1", "foreign-2"]
            .iter()
            .all(|id| app.wazzup.user(id).is_some())
    );
    app.quiet(run.code).await;
    app.wazzup.clear_faults();
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 5);
    app.settled().await;
}

#[tokio::test]
async fn what_is_older_than_keep_history_is_forgotten() {
    let mut app = App::with_employees(2).await;
    app.set("state.keep_history", "30d");
    app.once_exits(0).await;
    let left = async |table: &str| {
        app.state_number(&format!("SELECT count(*) FROM wazzup_sync.{table}"))
            .await
    };
    assert_eq!((left("history").await, left("cycles").await), (2, 1));

    app.state_sql("UPDATE wazzup_sync.history SET at = at - interval '31 days' WHERE user_id = 'e001'")
        .await;
    app.state_sql("UPDATE wazzup_sync.cycles SET finished_at = finished_at - interval '31 days'")
        .await;
    app.state_sql("UPDATE wazzup_sync.accounts SET pruned_at = now() - interval '2 days'")
        .await;
    app.rename("e002", "Renamed").await;
    app.once_exits(0).await;
    assert_eq!((left("history").await, left("cycles").await), (2, 1));
    let kept = "SELECT count(*) FROM wazzup_sync.history WHERE user_id = 'e002'";
    assert_eq!(app.state_number(kept).await, 2);
}
