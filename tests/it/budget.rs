//! What a cycle costs where no machine's speed matters. More is a decision; it is made here, in the open.

use std::fs;

use sandbox::When;
use test_postgres::Postgres;

use crate::app::App;

/// What one run of `once` costs.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    /// Sent to both databases, with `BEGIN`, `COMMIT` and what takes the lease and gives it back.
    statements: usize,
    /// From the tables, by scans and by indexes.
    rows_read: i64,
    lists: usize,
    writing_requests: usize,
}

/// Nothing changed among 1,000 employees.
const QUIET: Cost = Cost {
    statements: 21,
    rows_read: 2_006,
    lists: 0,
    writing_requests: 0,
};

/// 1,000 employees, of whom Wazzup has none.
const FIRST_SYNC: Cost = Cost {
    statements: 55,
    rows_read: 1_047,
    lists: 1,
    writing_requests: 10,
};

/// Of 1,000 employees eight are renamed, one joins, one leaves.
const CHURN: Cost = Cost {
    statements: 32,
    rows_read: 2_035,
    lists: 1,
    writing_requests: 2,
};

#[tokio::test]
async fn a_cycle_costs_exactly_so_much() {
    let metered = Metered::new().await;
    let app = &metered.app;
    let version = "SELECT current_setting('server_version_num')::bigint";
    if app.state_number(version).await < 150_000 {
        // Figures travel through a collector there, and come late.
        return;
    }
    app.hire_many(1_000).await;
    let (first_sync, quiet) = (metered.once().await, metered.once().await);
    metered.psql(
        "UPDATE employees SET name = 'Renamed' WHERE id BETWEEN 'e001' AND 'e008'; \
         DELETE FROM employees WHERE id = 'e009'; \
         INSERT INTO employees (id, name) VALUES ('new', 'Joins')",
    );
    let churn = metered.once().await;
    assert_eq!([first_sync, quiet, churn], [FIRST_SYNC, QUIET, CHURN]);
    app.settled().await;
}

/// An app on a server of its own, which logs every statement, and plans them always alike.
struct Metered {
    app: App,
}

impl Metered {
    /// The schema is there already, and nobody is employed.
    async fn new() -> Self {
        let server: &Postgres = Box::leak(Box::new(Postgres::start().expect("a server of its own")));
        for setting in ["log_statement = 'all'", "log_line_prefix = '%a '", "autovacuum = off"] {
            let sql = format!("ALTER SYSTEM SET {setting}");
            server.sql("postgres", &sql).expect("a setting is changed");
        }
        server.restart_immediate().expect("the server starts with its settings");
        server.create_database("metered").expect("a database can be created");
        let app = App::in_database(server, "metered".into()).await;
        app.once_exits(0).await;
        Self { app }
    }

    async fn once(&self) -> Cost {
        let app = &self.app;
        let _ = self.rows_read().await;
        app.sql("SELECT pg_stat_reset()").await;
        app.wazzup.clear_log();
        let before = self.statements();
        app.once_exits(0).await;
        Cost {
            statements: self.statements() - before,
            rows_read: self.rows_read().await,
            lists: app.wazzup.count_of(When::List),
            writing_requests: app.wazzup.count_of(When::Writes),
        }
    }

    /// How many statements the product has run so far.
    fn statements(&self) -> usize {
        let log = self.app.server.data_dir().with_file_name("log");
        let log = fs::read_to_string(log).expect("the server's log");
        let of_ours = log.lines().filter_map(|line| line.strip_prefix("wazzup-sync LOG:  "));
        of_ours
            .filter(|line| line.starts_with("statement: ") || line.starts_with("execute "))
            .count()
    }

    /// By a connection that ends at once, or what it read would show some time later.
    fn psql(&self, sql: &str) {
        self.app.server.sql(&self.app.database, sql).expect(sql);
    }

    /// A connection reports what it read when it ends, which may be a moment after the process that held it.
    async fn rows_read(&self) -> i64 {
        let connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('wazzup-sync', 'psql')";
        while self.app.state_number(connected).await > 0 {
            tokio::task::yield_now().await;
        }
        let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables";
        self.app.state_number(read).await
    }
}
