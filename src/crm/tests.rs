use std::{str::FromStr as _, time::Duration};

use test_postgres::Postgres;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    postgres::Identifier,
    proxy::{Behaviour, Proxy},
};

/// A database of its own, whose name is the test's.
struct Fixture {
    server: &'static Postgres,
    database: &'static str,
}

impl Fixture {
    fn new(database: &'static str, sql: &str) -> Self {
        Self::with_encoding(database, "UTF8", sql)
    }

    fn with_encoding(database: &'static str, encoding: &str, sql: &str) -> Self {
        let server = Postgres::shared().expect("a server");
        let create =
            format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        server.sql("postgres", &create).expect("a database");
        let fixture = Self { server, database };
        fixture.sql(sql);
        fixture
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.database, sql).expect("valid SQL")
    }

    fn crm_with(&self, port: u16, source: Source, query_timeout: Duration) -> Crm {
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}?sslmode=disable", self.database);
        Crm::new(PgConnectOptions::from_str(&url).expect("a URL"), source, query_timeout)
    }

    fn crm(&self, source: Source) -> Crm {
        self.crm_with(self.server.port(), source, Duration::from_secs(10))
    }
}

fn table(name: &str, phone: Option<&'static str>, active: Option<&'static str>) -> Source {
    Source::Table {
        name: name.parse().expect("a name"),
        columns: Columns {
            id: Identifier::known("id"),
            name: Identifier::known("name"),
            phone: phone.map(Identifier::known),
            active: active.map(Identifier::known),
        },
    }
}

fn query(sql: &str) -> Source {
    Source::Query(sql.into())
}

fn roster(rows: &CrmRows) -> Roster {
    rows.roster(&PhoneReader::new("RU").expect("a region"))
}

async fn ids(crm: &Crm) -> Vec<String> {
    let rows = crm.read().await.expect("rows");
    let roster = roster(&rows);
    roster
        .entries
        .iter()
        .map(|entry| entry.employee.id.to_string())
        .collect()
}

async fn refusal(crm: &Crm) -> String {
    match crm.read().await.expect_err("a refusal") {
        Error::Query(reason) => reason.to_string(),
        Error::Unavailable(reason) => panic!("unavailable: {reason}"),
    }
}

#[tokio::test]
async fn reads_active_rows_of_a_table_and_of_a_query() {
    let fixture = Fixture::new(
        "crm_reads",
        "CREATE TABLE employees (id bigint, name varchar(90), phone text, works bool);
         INSERT INTO employees VALUES (1, 'Anna', '89261234567', true), (2, 'Boris', NULL, false), (3, 'Vera', '', NULL)",
    );
    let of_table = fixture.crm(table("employees", Some("phone"), Some("works")));
    assert_eq!(ids(&of_table).await, ["1"]);
    let of_query = fixture.crm(query("SELECT id, name, works AS active FROM employees -- a comment"));
    assert_eq!(ids(&of_query).await, ["1"]);
    assert_eq!(
        ids(&fixture.crm(table("public.employees", None, None))).await,
        ["1", "2", "3"]
    );
    let boris = of_table.rows_of(" 2").await.expect("rows");
    assert!(boris.len() == 1 && boris[0].name.as_deref() == Some("Boris") && !boris[0].is_active);
}

#[tokio::test]
async fn a_query_is_one_statement_and_writes_nothing() {
    let fixture = Fixture::new(
        "crm_injection",
        "CREATE TABLE employees AS SELECT 1 AS id, 'Anna' AS name",
    );
    let two = refusal(&fixture.crm(query(
        "SELECT 1 AS id, 'x' AS name) AS a; COMMIT; DROP TABLE employees; --",
    )))
    .await;
    assert!(two.contains("42601"), "{two}");
    fixture.sql("CREATE SEQUENCE runs");
    let writes = refusal(&fixture.crm(query("SELECT nextval('runs') AS id, 'x' AS name"))).await;
    assert!(writes.contains("25006"), "{writes}");
    assert_eq!(fixture.sql("SELECT count(*) FROM employees"), "1");
}

#[tokio::test]
async fn the_query_runs_once() {
    let fixture = Fixture::new("crm_once", "");
    // The transaction is read-only and refuses `nextval`, so the session counts.
    let counting = "SELECT set_config('test.runs', (coalesce(nullif(current_setting('test.runs', true), ''), '0')::int \
                    + 1)::text, false) AS id, 'Anna' AS name";
    let crm = fixture.crm(query(counting));
    assert_eq!(ids(&crm).await, ["1"]);
    assert_eq!(ids(&crm).await, ["2"]);
}

#[tokio::test]
async fn a_missing_or_wrong_column_is_explained() {
    let fixture = Fixture::new(
        "crm_columns",
        "CREATE TYPE mood AS ENUM ('sad');
         CREATE TABLE employees (id int, name text, phone_number text, works int, \"Phone\" text, mood mood)",
    );
    let missing = refusal(&fixture.crm(table("employees", Some("phone"), None))).await;
    let expected = "crm.columns.phone is \"phone\", but the table has no such column; \
                    did you mean \"phone_number\" or \"Phone\"?";
    assert_eq!(missing, expected);
    let far = refusal(&fixture.crm(table("employees", Some("xyz"), None))).await;
    assert!(
        far.ends_with("the columns are \"id\", \"name\", \"phone_number\", \"works\", \"Phone\", \"mood\""),
        "{far}"
    );
    let no_name = refusal(&fixture.crm(query("SELECT id, name AS full_name FROM employees"))).await;
    assert_eq!(
        no_name,
        "crm.query gives no column \"name\"; did you mean \"full_name\"?"
    );
    for source in [
        table("employees", None, Some("works")),
        query("SELECT id, name, 'yes' AS active FROM employees"),
    ] {
        let error = fixture.crm(source).read().await.expect_err("no boolean").to_string();
        assert!(error.contains("; the active column is not a boolean: "), "{error}");
    }
    assert!(
        refusal(&fixture.crm(table("nowhere", None, None)))
            .await
            .contains("42P01")
    );
}

#[tokio::test]
async fn long_values_are_cut_and_still_recognised() {
    let fixture = Fixture::new(
        "crm_long",
        "CREATE TABLE employees (id text, name text, phone text);
         INSERT INTO employees VALUES
             ('fits', repeat(' ', 3000) || repeat('Ж', 200) || repeat(E'\\n', 3000), repeat(' ', 400) || '89261234567'),
             (repeat('🙂', 200), 'Anna', NULL),
             (repeat('x', 20000000), 'x', NULL),
             ('name', repeat('x', 20000000), NULL),
             ('blanks', repeat(U&'\\00A0', 1500) || repeat('x', 250), NULL),
             ('phone', 'Boris', repeat('7', 20000000)),
             ('cut phone', 'Vera', repeat(U&'\\00A0', 240) || '89261234567' || repeat(' ', 50) || '8')",
    );
    let start = Instant::now();
    let rows = fixture
        .crm(table("employees", Some("phone"), None))
        .read()
        .await
        .expect("rows");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let read: usize = rows
        .rows
        .iter()
        .map(|row| format!("{:?}{:?}{:?}", row.id, row.name, row.phone).len())
        .sum();
    assert!(read < 20_000, "{read}");
    let roster = roster(&rows);
    let entry = |id: &str| roster.get(id).expect("an entry");
    assert_eq!(entry("fits").employee.name.as_str(), "Ж".repeat(200));
    assert!(entry("fits").employee.phone.is_some());
    assert!(roster.get(&"🙂".repeat(200)).is_some());
    assert!(entry("phone").has_unreadable_phone && entry("cut phone").has_unreadable_phone);
    let rejected: Vec<&str> = roster.rejected.values().map(AsRef::as_ref).collect();
    assert_eq!(rejected, ["INVALID_NAME", "INVALID_NAME", "INVALID_ID"]);
}

#[tokio::test]
async fn a_byte_that_is_no_utf8_stays_with_its_row() {
    let sql = "CREATE TABLE employees (id text, name text, phone text);
         INSERT INTO employees SELECT n, 'Anna', '8926123' || lpad(n::text, 4, '0') FROM generate_series(1, 500) n;
         INSERT INTO employees VALUES ('name', E'A\\x98', NULL), ('phone', 'Boris', E'\\x98'), (E'\\x98', 'Vera', NULL)";
    for (database, encoding) in [("crm_ascii", "SQL_ASCII"), ("crm_1251", "WIN1251")] {
        let fixture = Fixture::with_encoding(database, encoding, sql);
        let crm = fixture.crm(table("employees", Some("phone"), None));
        let rows = crm.read().await.expect("rows");
        let unconvertible = rows.unconvertible.as_ref().expect("bad bytes");
        assert_eq!(unconvertible.encoding, encoding);
        assert_eq!(unconvertible.ids, ["name", "phone"]);
        assert_eq!(unconvertible.unreadable_ids, 1);
        let shown = fixture.sql(&unconvertible.query);
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(
            shown.contains("name|A\\230|") && shown.contains("\\230|Vera|"),
            "{shown}"
        );
        let of_one = crm.rows_of("name").await.expect("the row");
        assert!(of_one.len() == 1 && of_one[0].name.is_none() && of_one[0].is_active);
        let roster = roster(&rows);
        assert_eq!(
            (roster.entries.len(), roster.rejected.len(), roster.missing_ids),
            (501, 1, 1)
        );
        assert!(roster.get("phone").expect("Boris").has_unreadable_phone);
        let reason = roster.rejected["name"].reason();
        assert!(reason.contains("cannot be converted to UTF-8"), "{reason}");
    }
}

#[tokio::test]
async fn very_many_bad_values_stay_with_their_rows() {
    let sql = "CREATE TABLE employees AS SELECT n AS id, E'\\x98'::text AS name FROM generate_series(1, 3000) n";
    let fixture = Fixture::with_encoding("crm_all_bad", "SQL_ASCII", sql);
    let rows = fixture.crm(table("employees", None, None)).read().await.expect("rows");
    assert_eq!(rows.unconvertible.as_ref().map(|values| values.ids.len()), Some(3_000));
    assert_eq!(roster(&rows).rejected.len(), 3_000);
}

/// A partition is reloaded in one transaction while the read waits for its lock: nobody may look absent.
#[tokio::test]
async fn a_reload_under_a_lock_is_read_completely() {
    let fixture = Fixture::new(
        "crm_reload",
        "CREATE TABLE employees (id int, name text, branch int) PARTITION BY LIST (branch);
         CREATE TABLE north PARTITION OF employees FOR VALUES IN (1);
         CREATE TABLE south PARTITION OF employees FOR VALUES IN (2);
         INSERT INTO employees SELECT n, 'Anna', 1 + n % 2 FROM generate_series(1, 100) n",
    );
    let options = PgConnectOptions::from_str(&fixture.server.url("crm_reload")).expect("a URL");
    for source in [
        table("employees", None, None),
        query("SELECT id, name FROM north UNION ALL SELECT id, name FROM south"),
    ] {
        let crm = fixture.crm(source);
        assert_eq!(ids(&crm).await.len(), 100);
        let mut reload = postgres::connect(&options).await.expect("a connection");
        sqlx::raw_sql("BEGIN; TRUNCATE south")
            .execute(&mut reload)
            .await
            .expect("emptied");
        let filling = async {
            while fixture.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0" {
                sleep(Duration::from_millis(20)).await;
            }
            let fill = "INSERT INTO south SELECT n, 'Anna', 2 FROM generate_series(1, 100, 2) n; COMMIT";
            sqlx::raw_sql(fill).execute(&mut reload).await.expect("filled");
        };
        let (read, ()) = tokio::join!(ids(&crm), filling);
        assert_eq!(read.len(), 100);
    }
}

#[tokio::test]
async fn a_server_that_goes_silent_ends_the_read_and_the_next_one_connects_anew() {
    let fixture = Fixture::new(
        "crm_silent",
        "CREATE TABLE employees AS SELECT 1 AS id, 'Anna'::text AS name",
    );
    let proxy = Proxy::start(fixture.server.port());
    let slow = query("SELECT id, name FROM employees, pg_sleep(0.5)");
    let crm = fixture.crm_with(proxy.port(), slow, Duration::from_secs(1));
    assert_eq!(ids(&crm).await, ["1"]);
    let silence = async {
        sleep(Duration::from_millis(200)).await;
        proxy.behave(Behaviour::Silent);
    };
    let start = Instant::now();
    let (read, ()) = tokio::join!(crm.read(), silence);
    let Err(Error::Unavailable(reason)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(
        reason.to_string(),
        "no answer within 6 seconds while reading the employees"
    );
    assert!(start.elapsed() < Duration::from_millis(6_500));
    proxy.behave(Behaviour::Forward);
    assert_eq!(ids(&crm).await, ["1"]);
}

#[tokio::test]
async fn a_slow_query_names_the_setting() {
    let fixture = Fixture::new("crm_slow", "");
    let slow = query("SELECT 1 AS id, 'Anna' AS name FROM pg_sleep(5)");
    let crm = fixture.crm_with(fixture.server.port(), slow, Duration::from_millis(100));
    let text = refusal(&crm).await;
    assert!(text.contains("crm.query_timeout (0.1 seconds)"), "{text}");
}

#[tokio::test]
async fn says_which_of_several_tables_is_read() {
    let fixture = Fixture::new("crm_schemas", "CREATE TABLE employees (id int, name text)");
    let crm = fixture.crm(table("employees", None, None));
    fixture.sql("CREATE SCHEMA postgres; CREATE TABLE postgres.employees (id int, name text)");
    let read = async |name: &str| {
        let tables = crm.tables(&name.parse().expect("a name")).await.expect("an answer");
        let found: Vec<_> = tables
            .into_iter()
            .map(|table| (table.as_configured(), table.is_read))
            .collect();
        found
    };
    let found = |in_postgres, in_public| {
        [
            ("postgres.employees".to_owned(), in_postgres),
            ("public.employees".to_owned(), in_public),
        ]
    };
    assert_eq!(read("employees").await, found(true, false));
    assert_eq!(read("public.employees").await, found(false, true));
    assert_eq!(read("staff").await, found(false, false));
}

#[tokio::test]
async fn says_what_the_role_may_do() {
    let fixture = Fixture::new(
        "crm_role",
        "CREATE TABLE employees (id int, name text); CREATE ROLE crm_reader LOGIN; GRANT SELECT ON employees TO crm_reader",
    );
    let role = fixture
        .crm(table("employees", None, None))
        .role("wazzup_sync")
        .await
        .expect("a role");
    assert!(role.can_write);
    let url = fixture.server.url_as("crm_reader", fixture.database);
    let options = PgConnectOptions::from_str(&url).expect("a URL");
    let reader = Crm::new(options, table("employees", None, None), Duration::from_secs(5));
    let role = reader.role("wazzup_sync").await.expect("a role");
    assert!(role.name == "crm_reader" && !role.can_write);
}

#[tokio::test]
async fn a_missing_right_says_what_to_grant() {
    let fixture = Fixture::new(
        "crm_grant",
        "CREATE TABLE employees (id int, name text); CREATE ROLE crm_stranger LOGIN",
    );
    let url = fixture.server.url_as("crm_stranger", fixture.database);
    let options = PgConnectOptions::from_str(&url).expect("a URL");
    let stranger = Crm::new(options, table("employees", None, None), Duration::from_secs(5));
    let text = stranger.read().await.expect_err("a refusal").to_string();
    assert!(
        text.ends_with("(SQLSTATE 42501); GRANT SELECT to the role of crm.url"),
        "{text}"
    );
}

/// The daemon reads in the task that the signals end.
#[test]
fn a_read_may_run_in_any_task() {
    fn is_send(_: impl Send) {}
    let options = PgConnectOptions::new_without_pgpass();
    let crm = Crm::new(options, query("SELECT 1"), Duration::from_secs(1));
    is_send(crm.read());
    is_send(crm.rows_of("1"));
}
