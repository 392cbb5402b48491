//! Dying by SIGKILL at each numbered step of a cycle: whatever was in flight, the next cycles heal it.

use futures_util::StreamExt as _;
use sandbox::{Fault, What, When};

use crate::{
    app::{App, ids, phone},
    evidence,
};

/// A cycle with everything in it: leavers, a swap of phones, a rename, hires, a row that cannot be taken, a refused entry.
async fn eventful_day() -> App {
    let mut app = App::with_employees(20).await;
    app.set("wazzup.timeout", "2s").set("state.lease", "30s");
    app.wazzup.seed_foreign("foreign", "Somebody Else", None);
    app.once_exits(0).await;
    app.fire(&ids([19, 20])).await;
    app.set_phone("e001", Some(&phone(2))).await;
    app.set_phone("e002", Some(&phone(1))).await;
    app.set_phone("e003", Some(&phone(20))).await;
    app.rename("e004", "Renamed").await;
    app.rename("e005", " ").await;
    app.hire("new", "New", Some("+7 926 555-00-01")).await;
    app
}

async fn dies_and_heals(step: u32) -> bool {
    let app = eventful_day().await;
    // A verification is a part of the cycle, too.
    app.state_sql("UPDATE wazzup_sync.accounts SET list_read_at = NULL")
        .await;
    app.wazzup.remove("e006");
    let died = app.once_killed_at(Some(step)).await.is_none();
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
        .await;
    app.once_exits(3).await;
    assert_eq!(app.name_of("e004"), "Renamed", "step {step}");
    assert_eq!(app.name_of("e005"), "Employee 5", "step {step}");
    assert_eq!(app.name_of("e006"), "Employee 6", "step {step}");
    let phones = ["e001", "e002", "e003", "new"].map(|id| app.phone_of(id));
    let expected = [phone(2), phone(1), phone(20), "79265550001".to_owned()].map(Some);
    assert_eq!(phones, expected, "step {step}");
    let present = app.user_ids();
    assert!(
        !present.contains(&"e019".to_owned()) && !present.contains(&"e020".to_owned()),
        "step {step}"
    );
    assert_eq!(
        present.len(),
        20,
        "18 employees, the new one and a foreign user; step {step}"
    );
    app.quiet(3).await;
    died
}

#[tokio::test]
async fn a_death_at_any_step_heals() {
    let steps = futures_util::stream::iter(1..=60).map(dies_and_heals).buffered(3);
    let died: Vec<bool> = steps.collect().await;
    let last = died.iter().rposition(|died| *died).expect("it dies at the first step");
    assert!(died[..=last].iter().all(|died| *died), "each step is there");
    assert!(last + 1 < died.len(), "the cycle has more steps than were tried");
    assert!(last > 20, "a cycle with everything in it has more than {last} steps");
    let steps = last + 1;
    evidence::publish(
        "crash",
        &format!(
            "Killed at each of {steps} steps of a cycle, of {steps} that there are: all healed in the next cycle.\n"
        ),
    );
}

#[tokio::test]
async fn a_creation_without_answer_of_somebody_who_leaves_leaves_no_orphan() {
    let mut app = App::with_employees(3).await;
    app.set("wazzup.timeout", "1s").set("state.lease", "10s");
    app.once_exits(0).await;
    app.hire("ghost", "Ghost", None).await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once_exits(1).await;
    assert!(app.wazzup.user("ghost").is_some(), "it was created all the same");
    app.wazzup.clear_faults();
    app.fire(&["ghost"]).await;
    app.once_exits(0).await;
    assert!(app.wazzup.user("ghost").is_none());
    app.settled().await;
}

#[tokio::test]
async fn an_update_without_answer_that_is_reverted_ends_as_the_crm_says() {
    let app = App::synced(3).await;
    app.rename("e002", "Never Mind").await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once_exits(1).await;
    assert_eq!(app.name_of("e002"), "Never Mind");
    app.wazzup.clear_faults();
    app.rename("e002", "Employee 2").await;
    app.once_exits(0).await;
    assert_eq!(app.name_of("e002"), "Employee 2");
    app.settled().await;
}
