//! What every test starts from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use sandbox::{Request, User, Wazzup};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row as _, postgres::PgPoolOptions};
use tempfile::TempDir;
use test_postgres::Postgres;

use crate::{
    process::{Daemon, PATIENCE, Run, command, run},
    terminal::Terminal,
};

/// One account: a CRM database, a sandbox, a configuration file.
pub struct App {
    pub wazzup: Wazzup,
    /// The superuser's connections to the CRM's database, where the state is, too, unless a test moves it.
    pub crm: PgPool,
    /// Where the state is.
    pub state: PgPool,
    pub server: &'static Postgres,
    pub database: String,
    settings: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    directory: TempDir,
}

/// The employees' table that most tests use.
const TABLE: &str = "CREATE TABLE employees (id text, name text, phone text, is_active boolean DEFAULT true)";

/// A database of this test process that nobody else uses, on the shared server.
pub fn new_database() -> (&'static Postgres, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let server = Postgres::shared().expect("the throw-away Postgres starts");
    let name = format!("it_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name).expect("a database can be created");
    (server, name)
}

pub async fn connect(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(2).connect(url).await;
    pool.expect("the test's own connection")
}

impl App {
    /// An empty CRM, an empty Wazzup, no state yet.
    pub async fn new() -> Self {
        let (server, database) = new_database();
        Self::in_database(server, database).await
    }

    /// As [`Self::hire_many`] hires them; nobody is in Wazzup yet.
    pub async fn with_employees(count: usize) -> Self {
        let app = Self::new().await;
        app.hire_many(count).await;
        app
    }

    /// As [`Self::with_employees`], after their first sync.
    pub async fn synced(count: usize) -> Self {
        let app = Self::with_employees(count).await;
        app.once_exits(0).await;
        app
    }

    /// In a database that is there already, perhaps with the state of another account.
    pub async fn in_database(server: &'static Postgres, database: String) -> Self {
        let crm = connect(&server.url(&database)).await;
        sqlx::raw_sql(AssertSqlSafe(TABLE.replace("TABLE", "TABLE IF NOT EXISTS")))
            .execute(&crm)
            .await
            .expect("the employees' table");
        let wazzup = Wazzup::start().expect("the sandbox starts");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut app = Self {
            state: crm.clone(),
            settings: BTreeMap::new(),
            env: Vec::new(),
            wazzup,
            crm,
            server,
            database,
            directory,
        };
        app.write_key(&app.wazzup.key());
        let key_file = app.key_file();
        for (key, value) in [
            ("account", "main"),
            ("crm.url", &app.server.url(&app.database)),
            ("crm.table", "employees"),
            ("state.url", &app.server.url(&app.database)),
            ("crm.columns.phone", "phone"),
            ("crm.columns.active", "is_active"),
            ("wazzup.base_url", &app.wazzup.base_url()),
            ("wazzup.api_key_file", key_file.to_str().expect("a plain path")),
            ("wazzup.timeout", "5s"),
            ("removals.grace", "0s"),
            ("log.format", "json"),
        ] {
            app.settings.insert(key.into(), toml(value));
        }
        app.write_config();
        app
    }

    /// Sets a key of the configuration to a text.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.set_raw(key, &toml(value))
    }

    /// Sets a key of the configuration to a piece of TOML.
    pub fn set_raw(&mut self, key: &str, value: &str) -> &mut Self {
        self.settings.insert(key.into(), value.into());
        self.write_config();
        self
    }

    pub fn unset(&mut self, key: &str) -> &mut Self {
        self.settings.remove(key);
        self.write_config();
        self
    }

    /// Sets an environment variable of all processes to come.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn write_config(&self) {
        let lines = self.settings.iter().map(|(key, value)| format!("{key} = {value}\n"));
        fs::write(self.config_file(), lines.collect::<String>()).expect("the configuration can be written");
    }

    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("wazzup-sync.toml")
    }

    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// Replaces the content of the key's file.
    pub fn write_key(&self, key: &str) {
        fs::write(self.key_file(), key).expect("the key can be written");
    }

    /// Moves the state to a database of its own.
    pub async fn with_state_elsewhere(&mut self) {
        let (server, database) = new_database();
        self.state = connect(&server.url(&database)).await;
        self.set("state.url", &server.url(&database));
    }
}

/// The CRM.
impl App {
    /// Runs SQL in the CRM's database.
    pub async fn sql(&self, sql: &str) {
        execute(&self.crm, sql).await;
    }

    /// Runs SQL in the state's database.
    pub async fn state_sql(&self, sql: &str) {
        execute(&self.state, sql).await;
    }

    /// One number from the state's database.
    pub async fn state_number(&self, sql: &str) -> i64 {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&self.state).await;
        row.expect(sql).try_get::<i64, _>(0).expect(sql)
    }

    /// Adds one employee.
    pub async fn hire(&self, id: &str, name: &str, phone: Option<&str>) {
        sqlx::query("INSERT INTO employees (id, name, phone) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(name)
            .bind(phone)
            .execute(&self.crm)
            .await
            .expect("an employee is hired");
    }

    /// Adds `e001`, `e002`… up to `e{count}`, each with the phone [`phone`].
    pub async fn hire_many(&self, count: usize) {
        self.hire_range(1, count).await;
    }

    /// Adds those numbered from `from` to `to`.
    pub async fn hire_range(&self, from: usize, to: usize) {
        self.sql(&format!(
            "INSERT INTO employees (id, name, phone) SELECT 'e' || lpad(n::text, greatest(3, length(n::text)), '0'), 'Employee ' || n, \
             '7926' || lpad(n::text, 7, '0') FROM generate_series({from}, {to}) AS n"
        ))
        .await;
    }

    pub async fn rename(&self, id: &str, name: &str) {
        self.update("name", id, Some(name)).await;
    }

    pub async fn set_phone(&self, id: &str, phone: Option<&str>) {
        self.update("phone", id, phone).await;
    }

    async fn update(&self, column: &str, id: &str, value: Option<&str>) {
        let done = sqlx::query(AssertSqlSafe(format!(
            "UPDATE employees SET {column} = $2 WHERE id = $1"
        )))
        .bind(id)
        .bind(value)
        .execute(&self.crm)
        .await
        .expect("an employee is changed");
        assert_eq!(done.rows_affected(), 1, "{id}");
    }

    /// Takes employees out of the CRM.
    pub async fn fire<S: AsRef<str>>(&self, ids: &[S]) {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let done = sqlx::query("DELETE FROM employees WHERE id = ANY($1)")
            .bind(&ids)
            .execute(&self.crm)
            .await
            .expect("employees leave");
        assert_eq!(done.rows_affected(), ids.len() as u64, "{ids:?}");
    }
}

/// The id with this number.
pub fn id(number: usize) -> String {
    format!("e{number:03}")
}

pub fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(id).collect()
}

/// The phone of the employee with this number.
pub fn phone(number: usize) -> String {
    format!("7926{number:07}")
}

async fn execute(pool: &PgPool, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A text as TOML.
pub fn toml(text: &str) -> String {
    Value::from(text).to_string()
}

/// The verbs.
impl App {
    /// Runs a verb of the real binary to its end.
    pub async fn run(&self, arguments: &[&str]) -> Run {
        run(&self.config_file(), &self.env, arguments).await
    }

    /// Starts a verb on a terminal of so many columns.
    pub fn on_terminal(&self, columns: u16, arguments: &[&str]) -> Terminal {
        Terminal::start(&self.config_file(), &self.env, columns, arguments, None)
    }

    /// The same, with standard output in a file, as in `wazzup-sync approve >answer`.
    pub fn on_terminal_into(&self, answer: &Path, columns: u16, arguments: &[&str]) -> Terminal {
        let answer = File::create(answer).expect("a file");
        Terminal::start(&self.config_file(), &self.env, columns, arguments, Some(answer))
    }

    /// One cycle.
    pub async fn once(&self) -> Run {
        self.run(&["once"]).await
    }

    /// One cycle that dies at the numbered `step`, if it comes so far. Returns its exit code; `None` if it died.
    pub async fn once_killed_at(&self, step: Option<u32>) -> Option<i32> {
        let mut env = self.env.clone();
        env.extend(step.map(|step| ("WAZZUP_SYNC_KILL_AT_STEP".to_owned(), step.to_string())));
        let output = command(&self.config_file(), &env, &["once"]).output().await;
        let output = output.expect("the binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        output.status.code()
    }

    /// One cycle that must end with this exit code.
    pub async fn once_exits(&self, code: i32) -> Run {
        self.run_exits(code, &["once"]).await
    }

    /// Runs a verb that must end with this exit code.
    pub async fn run_exits(&self, code: i32, arguments: &[&str]) -> Run {
        let run = self.run(arguments).await;
        assert_eq!(run.code, code, "{run}\n{}", self.requests_as_text());
        run
    }

    pub async fn plan_json(&self) -> Value {
        self.json(&["plan", "--format", "json"]).await
    }

    pub async fn status_json(&self) -> Value {
        self.json(&["status", "--format", "json"]).await
    }

    pub async fn json(&self, arguments: &[&str]) -> Value {
        let run = self.run_exits(0, arguments).await;
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
    }

    /// Starts the daemon with these environment variables, too.
    pub fn daemon_with(&self, env: &[(&str, &str)]) -> Daemon {
        let more = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env: Vec<(String, String)> = self.env.iter().cloned().chain(more).collect();
        Daemon::start(&self.config_file(), &env)
    }

    /// Starts the daemon.
    pub fn daemon(&self) -> Daemon {
        Daemon::start(&self.config_file(), &self.env)
    }

    /// Runs a cycle with nothing to do, and looks at what must always hold.
    pub async fn settled(&self) {
        self.quiet(0).await;
    }

    /// As [`Self::settled`], where something stays undone, so that `once` ends with this exit code.
    pub async fn quiet(&self, code: i32) {
        self.quiet_but_for_overlaps(code).await;
        self.assert_unharmed();
    }

    /// As [`Self::settled`], after a process was killed: its last request may have overlapped with the next one's first.
    pub async fn settled_but_for_overlaps(&self) {
        self.quiet_but_for_overlaps(0).await;
    }

    async fn quiet_but_for_overlaps(&self, code: i32) {
        self.settle_losses().await;
        self.wazzup.clear_log();
        let run = self.once_exits(code).await;
        let requests = self.wazzup.requests();
        assert!(
            requests.is_empty(),
            "a cycle too many made requests: {run}\n{}",
            self.requests_as_text()
        );
        self.assert_nothing_forbidden();
        self.counts_balance().await;
    }

    /// Lets the time pass until no lost request can land any more, and settles them.
    async fn settle_losses(&self) {
        let has_table = "SELECT count(*) FROM pg_tables WHERE schemaname = 'wazzup_sync' AND tablename = 'lost'";
        if self.state_number(has_table).await == 0 {
            return;
        }
        if self.state_number("SELECT count(*) FROM wazzup_sync.lost").await > 0 {
            self.expire_losses().await;
            self.once().await;
        }
    }

    /// Lets twice the time-out of each lost request pass.
    pub async fn expire_losses(&self) {
        self.state_sql("UPDATE wazzup_sync.lost SET may_land_until = now()")
            .await;
    }

    /// Waits until this holds of Wazzup, which is asked after each request.
    pub async fn wazzup_reaches(&self, condition: impl Fn(&Wazzup) -> bool) {
        let reached = self.wazzup.wait_until(condition, PATIENCE).await;
        reached.expect("Wazzup reaches what is waited for");
    }

    /// Who waits for a seat.
    pub async fn waiting_for_seat(&self) -> Vec<String> {
        let ids = sqlx::query_scalar("SELECT unnest(waiting_ids) FROM wazzup_sync.accounts ORDER BY 1");
        ids.fetch_all(&self.state).await.expect("the account")
    }

    /// What no client may ever do.
    pub fn assert_unharmed(&self) {
        self.assert_nothing_forbidden();
        assert!(self.wazzup.max_in_flight() <= 1, "one request at a time");
    }

    fn assert_nothing_forbidden(&self) {
        assert_eq!(self.wazzup.violations(), Vec::<String>::new());
        assert_eq!(self.wazzup.foreign_touched(), Vec::<String>::new());
    }

    /// What `status` says adds up: each employee counts once.
    async fn counts_balance(&self) {
        let status = self.status_json().await;
        let number = |key: &str| status[key].as_u64().unwrap_or_else(|| panic!("no {key}: {status}"));
        let entries = |key: &str| status[key].as_array().unwrap_or_else(|| panic!("no {key}: {status}"));
        let waiting: BTreeSet<&str> = entries("waiting_for_seat").iter().filter_map(Value::as_str).collect();
        // A user whose removal fails is no longer an employee.
        let employees = entries("failing").iter().filter(|entry| entry["operation"] != "remove");
        let failing: BTreeSet<&str> = employees.filter_map(|entry| entry["user_id"].as_str()).collect();
        let rest = waiting.union(&failing).count() as u64;
        assert_eq!(
            number("eligible"),
            number("in_sync") + number("pending") + rest,
            "{status}"
        );
        let cycle = &status["last_cycle"];
        assert!(cycle["outcome"].is_string() && cycle["error"].is_null(), "{status}");
    }

    /// The writing requests since the last look, as `POST 3` or `PATCH 1`; forgets them.
    pub fn take_writes(&self) -> Vec<String> {
        let writes = self.wazzup.writing_requests();
        self.wazzup.clear_log();
        writes
            .iter()
            .map(|request| format!("{} {}", request.method, request.ids.len()))
            .collect()
    }

    pub fn requests_as_text(&self) -> String {
        let line = |request: &Request| {
            let Request {
                method,
                path,
                status,
                ids,
                ..
            } = request;
            format!("  {method} {path} -> {status:?} {}\n", ids.len())
        };
        self.wazzup.requests().iter().map(line).collect()
    }

    /// Who is in Wazzup: id, name and phone of each.
    pub fn users(&self) -> Vec<(String, String, Option<String>)> {
        let users = self.wazzup.users().into_iter();
        users.map(|(id, user)| (id, user.name, user.phone)).collect()
    }

    pub fn user_ids(&self) -> Vec<String> {
        self.wazzup.users().into_keys().collect()
    }

    pub fn name_of(&self, id: &str) -> String {
        self.user(id).name
    }

    pub fn phone_of(&self, id: &str) -> Option<String> {
        self.user(id).phone
    }

    fn user(&self, id: &str) -> User {
        let user = self.wazzup.user(id);
        user.unwrap_or_else(|| panic!("{id} is not in Wazzup"))
    }

    /// The open failures as `id operation code`.
    pub async fn failing(&self) -> Vec<String> {
        let rows = sqlx::query_scalar(
            "SELECT user_id || ' ' || operation || ' ' || code FROM wazzup_sync.failures ORDER BY user_id, operation",
        );
        rows.fetch_all(&self.state).await.expect("the failures")
    }

    /// Makes the comparison with Wazzup's list due, as time would.
    pub async fn make_verification_due(&self) {
        self.state_sql("UPDATE wazzup_sync.accounts SET list_read_at = NULL")
            .await;
    }

    /// Makes every failure due, as time would.
    pub async fn make_failures_due(&self) {
        self.state_sql("UPDATE wazzup_sync.failures SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL")
            .await;
    }
}
