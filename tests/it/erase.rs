//! `erase`: nothing of a departed person's name or phone is left in the state.

use sandbox::{Fault, What, When};

use crate::{app::App, process::Run};

const NAME: &str = "Wilhelmina Vogelsang";
const PHONE: &str = "79265550017";

impl App {
    async fn erase(&self, id: &str) -> Run {
        self.run(&["erase", id]).await
    }

    /// The tables of the state of which a row contains `text`, in whatever column.
    async fn tables_with(&self, text: &str) -> Vec<String> {
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'wazzup_sync' ORDER BY 1";
        let tables: Vec<String> = sqlx::query_scalar(tables)
            .fetch_all(&self.state)
            .await
            .expect("the tables");
        assert!(tables.len() >= 9, "{tables:?}");
        let mut found = Vec::new();
        for table in tables {
            let rows =
                format!("SELECT count(*) FROM wazzup_sync.{table} AS entry WHERE strpos(entry::text, '{text}') > 0");
            if self.state_number(&rows).await > 0 {
                found.push(table);
            }
        }
        found
    }
}

#[tokio::test]
async fn nothing_is_left_but_bare_rows() {
    let app = App::with_employees(8).await;
    app.hire("17", "Wilhelmina Maiden-Name", Some(PHONE)).await;
    app.once_exits(0).await;
    app.rename("17", NAME).await;
    app.once_exits(0).await;
    app.fire(&["17"]).await;
    app.once_exits(0).await;
    // What an earlier life, a refusal and a hold can leave behind.
    app.state_sql(&format!(
        "INSERT INTO wazzup_sync.failures (account, user_id, operation, local, code, detail, attempted_name, \
             attempted_phone, spelling, attempts, first_at, last_at) \
         VALUES ('main', '17', 'upsert', false, 'X', 'x', '{NAME}', '{PHONE}', '{PHONE}', 1, now(), now()); \
         INSERT INTO wazzup_sync.holds (account, user_id, kind, content, crm_row, reason, since, sticky) \
         VALUES ('main', '17', 'takeover', '{NAME}', '{PHONE}', 'x', now(), false); \
         INSERT INTO wazzup_sync.inbox (account, user_id, kind, content, given_by) \
         VALUES ('main', '17', 'takeover', '{NAME}', 'x')"
    ))
    .await;
    assert_eq!(app.tables_with(NAME).await, ["failures", "history", "holds", "inbox"]);
    assert_eq!(app.tables_with(PHONE).await, ["failures", "history", "holds"]);
    let others = "SELECT count(*) FROM wazzup_sync.history WHERE name_after LIKE 'Employee %'";
    let before = app.state_number(others).await;

    let run = app.erase("17").await;
    assert_eq!(run.code, 0, "{run}");
    assert!(
        run.stdout
            .starts_with("Erased the name and phone of 17 from 6 rows of the state."),
        "{run}"
    );
    for text in [NAME, PHONE, "Maiden-Name"] {
        assert_eq!(app.tables_with(text).await, [""; 0], "{text}");
    }
    assert_eq!(app.state_number(others).await, before, "nobody else's");
    let bare = "SELECT count(*) FROM wazzup_sync.history WHERE user_id = '17'";
    assert_eq!(app.state_number(bare).await, 3, "added, changed and removed");
    let again = app.erase("17").await;
    assert!(
        again.code == 0 && again.stdout.starts_with("Nothing had to be erased"),
        "{again}"
    );
    assert_eq!(app.erase("").await.code, 2);
    app.settled().await;
}

#[tokio::test]
async fn the_brake_still_counts_who_was_erased() {
    let app = App::synced(20).await;
    for id in ["e001", "e002", "e003", "e004"] {
        app.fire(&[id]).await;
        app.once_exits(0).await;
        assert_eq!(app.erase(id).await.code, 0);
    }
    app.fire(&["e005", "e006"]).await;
    let run = app.once_exits(4).await;
    assert_eq!(run.events("removals.held")[0]["count"], 2, "{run}");
    app.quiet(4).await;
}

#[tokio::test]
async fn whoever_has_not_left_is_refused() {
    let mut app = App::with_employees(8).await;
    app.hire("17", NAME, Some(PHONE)).await;
    let refused = async |app: &App, words: &str| {
        let run = app.erase("17").await;
        assert_eq!(run.code, 1, "{run}");
        let text = run.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.starts_with("wazzup-sync: nothing was erased: 17 "), "{run}");
        assert!(text.contains(words), "no {words:?}: {run}");
    };
    refused(&app, "is an employee").await;
    app.once_exits(0).await;
    refused(&app, "is an employee").await;
    let before = app.tables_with(NAME).await;
    // Not an employee any more, and still in Wazzup.
    app.set("removals.grace", "1h");
    app.sql("UPDATE employees SET is_active = false WHERE id = '17'").await;
    app.settled().await;
    refused(&app, "is still a user in Wazzup").await;
    // The removal is sent, and nobody knows what came of it.
    app.set("removals.grace", "0s");
    app.wazzup.order(Fault::new(When::Writes, What::CutAfter).always());
    app.once_exits(1).await;
    refused(&app, "is part of a request that got no answer").await;
    assert_eq!(app.tables_with(NAME).await, before, "nothing was changed");
    app.wazzup.clear_faults();
    app.expire_losses().await;
    app.once_exits(0).await;
    assert_eq!(app.erase("17").await.code, 0);
    assert_eq!(app.tables_with(NAME).await, [""; 0]);
    // Without the CRM nobody can tell who is an employee.
    app.set("crm.table", "nobody");
    assert_eq!(app.erase("17").await.code, 1);
    app.set("crm.table", "employees");
    app.settled().await;
}
