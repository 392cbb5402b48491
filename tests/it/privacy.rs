//! No key, name, phone or body is in the log of any verb, whatever the level.

use sandbox::{Fault, Named, What, When};

use crate::app::App;

const KEY: &str = "sk-very-secret-key-0815";
const PASSWORD: &str = "Pa55wordOfTheDatabase";

/// What must not be found: names, phones in every spelling, secrets, and pieces of bodies.
const SECRETS: &[&str] = &[
    KEY,
    PASSWORD,
    "Zyxomorph",
    "Quellwasser",
    "Vogelfrei",
    "9265550",
    "926 555",
    "926) 555",
    "926-555",
    "askludmila",
    "already exists in the CRM",
    "not valid.",
    "Bearer",
    "\\\"name\\\"",
];

/// Collects the log of verbs, and looks through all of it.
#[derive(Default)]
struct Ears(String);

impl Ears {
    async fn verb(&mut self, app: &App, arguments: &[&str]) {
        let run = app.run(arguments).await;
        self.0.push_str(&run.stderr);
    }

    async fn every_verb(&mut self, app: &App) {
        for arguments in [
            &["plan"][..],
            &["once"],
            &["plan", "--format", "json"],
            &["approve"],
            &["retry", "nobody"],
            &["healthcheck"],
            &["status"],
            &["explain", "e1"],
            &["explain", "nobody"],
            &["check"],
        ] {
            self.verb(app, arguments).await;
        }
    }
}

#[tokio::test]
async fn a_busy_day_at_trace_level_tells_nothing_about_anybody() {
    let mut app = App::new().await;
    let mut ears = Ears::default();
    app.env("RUST_LOG", "trace");
    app.wazzup.set_key(KEY);
    app.write_key(KEY);
    let url = app
        .server
        .url(&app.database)
        .replace("postgres@", &format!("postgres:{PASSWORD}@"));
    assert!(url.contains(PASSWORD));
    app.set("crm.url", &url);
    app.wazzup
        .seed_foreign("boss", "Vogelfrei the Boss", Some("79265550009"));
    app.wazzup.vary(|variant| variant.seats = 10);
    for number in 1..=9 {
        let phone = format!("+7 (926) 555-00-0{number}");
        app.hire(&format!("e{number}"), &format!("Zyxomorph {number}"), Some(&phone))
            .await;
    }
    app.hire("bad", &"Quellwasser ".repeat(20), None).await;
    app.hire("twice", "Zyxomorph A", None).await;
    app.hire("twice", "Quellwasser B", None).await;
    app.hire("unreadable", "Quellwasser", Some("askludmila")).await;
    app.hire("same", "Quellwasser", Some("8 926 555-00-01")).await;
    app.wazzup.poison(["e3"], What::invalid(Named::All, &["name"]));
    ears.every_verb(&app).await;

    app.sql(
        "UPDATE employees SET name = name || ' Quellwasser', phone = replace(phone, '555', '5550') WHERE id < 'e5'",
    )
    .await;
    for what in [
        What::status(503),
        What::CutAfter,
        What::Garbage,
        What::BrokenJson,
        What::status(500),
    ] {
        app.wazzup.order(Fault::new(When::Any, what));
    }
    ears.every_verb(&app).await;
    app.make_verification_due().await;
    app.make_failures_due().await;
    ears.every_verb(&app).await;

    // The key is refused; the service is away.
    app.sql("UPDATE employees SET name = 'Zyxomorph ' || id").await;
    app.write_key("sk-very-secret-key-0815-wrong");
    ears.every_verb(&app).await;
    app.write_key(KEY);
    app.wazzup.stop();
    ears.every_verb(&app).await;
    app.wazzup.start_again().expect("the port is free");

    // The brake, the daemon, and the CRM's own errors, which quote what they stumble on.
    app.wazzup.clear_faults();
    app.sql("DELETE FROM employees WHERE id <> 'e1'").await;
    ears.every_verb(&app).await;
    app.set("schedule.every", "200ms");
    let mut daemon = app.daemon();
    daemon.next_cycle().await;
    app.sql("UPDATE employees SET name = 'Quellwasser Again', phone = '8 (926) 555-77-77'")
        .await;
    daemon.wait_for("batch.delivered", |_| true).await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await, Some(0));
    ears.0.push_str(&daemon.text());
    app.set("crm.columns.active", "id");
    ears.every_verb(&app).await;
    app.unset("crm.columns.active")
        .set("crm.columns.phone", "nobodys_phone");
    ears.every_verb(&app).await;
    app.set("crm.columns.phone", "phone")
        .set("state.url", &format!("postgres://x:{PASSWORD}@127.0.0.1:1/none"));
    ears.every_verb(&app).await;

    for event in [
        "batch.delivered",
        "batch.refused",
        "employee.failing",
        "employee.rejected",
        "request.retried",
        "removals.held",
        "cycle.failed",
        "cycle.started",
        "daemon.started",
        "seats.exhausted",
        "verify.finished",
    ] {
        assert!(
            ears.0.contains(&format!("\"{event}\"")),
            "the day was not busy enough: no {event}"
        );
    }
    for secret in SECRETS {
        let found = ears.0.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
}
