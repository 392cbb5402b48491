//! The CRM in every form: types of ids, odd names, queries, time limits.

use rstest::rstest;

use crate::app::App;

#[rstest]
#[case("integer", &["1", "2", "30"])]
#[case("bigint", &["1", "9007199254740993", "9223372036854775807"])]
#[case("uuid", &["00000000-0000-0000-0000-00000000000a", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"])]
#[case("varchar(40)", &["x", "y"])]
#[tokio::test]
async fn ids_of_any_type(#[case] id_type: &str, #[case] ids: &[&str]) {
    let mut app = App::new().await;
    app.sql(&format!("CREATE TABLE people (id {id_type} PRIMARY KEY, name text)"))
        .await;
    app.unset("crm.columns.phone")
        .unset("crm.columns.active")
        .set("crm.table", "public.people");
    for id in ids {
        app.sql(&format!("INSERT INTO people VALUES ('{id}', 'A Name')")).await;
    }
    // A service that gives ids that look like numbers back as numbers.
    app.wazzup.vary(|variant| variant.numeric_ids = true);
    app.once_exits(0).await;
    let mut sorted: Vec<&str> = ids.to_vec();
    sorted.sort_unstable();
    assert_eq!(app.user_ids(), sorted);
    app.settled().await;

    app.sql(&format!("UPDATE people SET name = 'Another' WHERE id = '{}'", ids[0]))
        .await;
    app.sql(&format!("DELETE FROM people WHERE id = '{}'", ids[1])).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 1", "POST 1"]);
    assert_eq!(app.name_of(ids[0]), "Another");
    assert_eq!(app.users().len(), ids.len() - 1);
    app.settled().await;
}

#[tokio::test]
async fn odd_identifiers_are_quoted() {
    let mut app = App::new().await;
    app.sql(
        r#"CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."we""ird" ("ИД; DROP TABLE employees" int, "Full ""Name""" text,
           "select" text, "is.Active" boolean);
           INSERT INTO "My Schema"."we""ird" VALUES (1, 'One', '8 (926) 123-45-67', true), (2, 'Two', NULL, false)"#,
    )
    .await;
    app.set("crm.table", r#""My Schema"."we""ird""#)
        .set("crm.columns.id", "ИД; DROP TABLE employees")
        .set("crm.columns.name", r#"Full "Name""#)
        .set("crm.columns.phone", "select")
        .set("crm.columns.active", "is.Active");
    app.once_exits(0).await;
    assert_eq!(app.users(), [("1".into(), "One".into(), Some("79261234567".into()))]);
    app.sql("SELECT * FROM employees").await;
    app.settled().await;
}

#[tokio::test]
async fn a_query_instead_of_a_table() {
    let mut app = App::new().await;
    for key in ["crm.table", "crm.columns.phone", "crm.columns.active"] {
        app.unset(key);
    }
    app.sql("CREATE TABLE persons (number int, first text, last text, mobile text, on_duty boolean)")
        .await;
    app.sql(
        "INSERT INTO persons VALUES (1, 'Anna', 'Ivanova', '+7 926 000-00-01', true), (2, 'Boris', 'B', NULL, false)",
    )
    .await;
    app.set(
        "crm.query",
        "SELECT number AS id, first || ' ' || last AS name, mobile AS phone, on_duty AS active\nFROM persons;",
    );
    app.once_exits(0).await;
    assert_eq!(
        app.users(),
        [("1".into(), "Anna Ivanova".into(), Some("79260000001".into()))]
    );
    app.settled().await;

    app.set(
        "crm.query",
        "SELECT number::bigint AS id, first AS name FROM persons -- no phone, everybody",
    );
    app.once_exits(0).await;
    let expected = [("1".into(), "Anna".into(), None), ("2".into(), "Boris".into(), None)];
    assert_eq!(app.users(), expected);
    app.settled().await;

    // A query runs in the read-only transaction.
    app.sql("CREATE FUNCTION sack() RETURNS int LANGUAGE sql AS 'DELETE FROM persons RETURNING number'")
        .await;
    app.set("crm.query", "SELECT sack() AS id, 'x' AS name");
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "crm_query");
    let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM persons")
        .fetch_one(&app.crm)
        .await;
    assert_eq!((left.expect("a count"), app.users().len()), (2, 2));
}

#[rstest]
#[case::no_such_table("crm.table", "nobody", "nobody")]
#[case::no_such_column("crm.columns.name", "nmae", "nmae")]
#[case::not_boolean("crm.columns.active", "name", "is not a boolean")]
#[tokio::test]
async fn a_source_that_cannot_be_read_fails_the_cycle_and_changes_nothing(
    #[case] key: &str,
    #[case] value: &str,
    #[case] named: &str,
) {
    let mut app = App::synced(3).await;
    app.take_writes();
    app.set(key, value);
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "crm_query", "{run}");
    assert!(run.stderr.contains(named), "{run}");
    assert!(app.wazzup.requests().is_empty());
    assert_eq!(app.users().len(), 3);
    if key == "crm.table" {
        app.set(key, "employees");
    } else {
        app.set(key, if key.ends_with("name") { "name" } else { "is_active" });
    }
    app.settled().await;
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_broken_off() {
    let mut app = App::synced(3).await;
    for key in ["crm.table", "crm.columns.phone", "crm.columns.active"] {
        app.unset(key);
    }
    app.set("crm.query", "SELECT id, name, phone FROM employees, pg_sleep(60)")
        .set("crm.query_timeout", "200ms");
    let began = std::time::Instant::now();
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "crm_query");
    assert!(run.stderr.contains("crm.query_timeout (0.2 seconds)"), "{run}");
    assert!(began.elapsed().as_secs() < 20);
    app.set("crm.query", "SELECT id, name, phone FROM employees");
    app.settled().await;
}

#[tokio::test]
async fn a_crm_that_is_not_there_fails_the_cycle() {
    let mut app = App::new().await;
    app.with_state_elsewhere().await;
    app.hire_many(3).await;
    app.once_exits(0).await;
    let right = app.server.url(&app.database);
    app.set("crm.url", &app.server.url("no_such_database"));
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "crm_unavailable");
    app.set("crm.url", "postgres://nobody@127.0.0.1:1/crm");
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "crm_unavailable");
    app.set("crm.url", &right);
    app.settled().await;
}

#[rstest]
#[case("WIN1251")]
#[case("SQL_ASCII")]
#[tokio::test]
async fn values_that_are_no_text_stay_with_their_rows_and_are_named_once(#[case] encoding: &str) {
    let mut app = App::new().await;
    let crm = format!("{}_{}", app.database, encoding.to_lowercase());
    let create = format!("CREATE DATABASE {crm} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
    app.server.sql("postgres", &create).expect("created");
    app.server
        .sql(
            &crm,
            "CREATE TABLE employees (id text, name text, phone text, is_active boolean DEFAULT true); \
             INSERT INTO employees SELECT n, 'Employee ' || n FROM generate_series(1, 8) AS n; \
             INSERT INTO employees VALUES ('bad name', E'A\\x98', NULL), ('bad phone', 'Boris', E'\\x98'), (E'\\x98', 'Vera', NULL)",
        )
        .expect("filled");
    app.set("crm.url", &app.server.url(&crm));
    let run = app.once_exits(3).await;
    assert_eq!(app.users().len(), 9, "{run}");
    let events = run.events("employee.rejected");
    let left_out = events.iter().find(|event| event["code"] == "UNCONVERTIBLE");
    let left_out = left_out.unwrap_or_else(|| panic!("nothing is said: {run}"));
    assert_eq!(
        (&left_out["encoding"], &left_out["count"]),
        (&encoding.into(), &3.into())
    );
    assert_eq!(left_out["ids"], "bad name,bad phone");
    let query = left_out["query"].as_str().expect("a query");
    let found = app.server.sql(&crm, query).expect("the query runs");
    assert_eq!(found.lines().count(), 3, "{query}: {found}");
    let check = app.run(&["check"]).await;
    assert!(check.stdout.contains(encoding), "{check}");

    let again = app.once_exits(3).await;
    assert!(again.events("employee.rejected").is_empty(), "said once: {again}");
    app.quiet(3).await;
}
