//! Answers that are lost: what became of the request is unknown until the next cycle settles it.

use rstest::rstest;
use sandbox::{Fault, What, When};

use crate::app::App;

#[tokio::test]
async fn a_lost_creation_of_somebody_who_leaves_leaves_no_orphan() {
    let app = App::synced(3).await;
    app.hire("new", "Came And Went", Some("79261234567")).await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once_exits(1).await;
    assert!(app.wazzup.user("new").is_some(), "the sandbox did act");
    app.fire(&["new"]).await;
    app.wazzup.clear_faults();
    app.wazzup.clear_log();
    app.once_exits(0).await;
    assert!(app.wazzup.user("new").is_none());
    // The user who served as the control was lost, too.
    assert_eq!(app.take_writes(), ["PATCH 1", "POST 1"]);
    app.settled().await;
}

#[tokio::test]
async fn a_creation_that_lands_after_the_lookup_leaves_no_orphan() {
    let app = App::synced(3).await;
    app.hire("new", "Came And Went", None).await;
    app.fire_while_a_write_is_late("new").await;
    assert_eq!(
        app.wazzup.requests().first().map(|request| request.method.clone()),
        Some("GET".into())
    );
    app.what_lands_is_removed_again("new").await;
}

#[tokio::test]
async fn an_update_that_lands_after_the_removal_leaves_no_orphan() {
    let app = App::synced(3).await;
    app.rename("e001", "About To Go").await;
    app.fire_while_a_write_is_late("e001").await;
    assert_eq!(app.take_writes(), ["PATCH 1"]);
    app.what_lands_is_removed_again("e001").await;
}

/// A request that lands late.
impl App {
    /// Delivers a change of which the last attempt is under way for a long time, and removes the employee meanwhile.
    async fn fire_while_a_write_is_late(&self, id: &str) {
        // Four attempts: the first three never arrive.
        self.wazzup.order(Fault::new(When::Post, What::CutBefore).times(3));
        self.wazzup.order(Fault::new(When::Post, What::HoldBack));
        self.once_exits(3).await;
        self.fire(&[id]).await;
        self.wazzup.clear_log();
        self.once_exits(0).await;
        assert!(self.wazzup.user(id).is_none());
    }

    async fn what_lands_is_removed_again(&self, id: &str) {
        assert_eq!(self.wazzup.land_late(), 1);
        assert!(self.wazzup.user(id).is_some(), "the sandbox did act");
        // Twice the time-out of a request is over.
        self.expire_losses().await;
        let run = self.once_exits(0).await;
        assert!(self.wazzup.user(id).is_none(), "an orphan");
        assert!(run.events("removals.released").is_empty(), "nobody approved it: {run}");
        self.settled().await;
    }
}

#[rstest]
#[case::landed(What::CutAfter)]
#[case::never_landed(What::CutBefore)]
#[tokio::test]
async fn a_lost_update_that_is_reverted_ends_as_the_crm_says(#[case] what: What) {
    let app = App::synced(3).await;
    app.rename("e001", "For A Moment").await;
    app.set_phone("e002", Some("79267777777")).await;
    app.wazzup.order(Fault::new(When::Post, what).always());
    app.once_exits(1).await;
    app.rename("e001", "Employee 1").await;
    app.set_phone("e002", Some("79260000002")).await;
    app.wazzup.clear_faults();
    app.once_exits(0).await;
    assert_eq!(
        (app.name_of("e001"), app.phone_of("e002")),
        ("Employee 1".into(), Some("79260000002".into()))
    );
    app.settled().await;
}

#[tokio::test]
async fn a_phone_of_a_lost_update_counts_as_held() {
    let app = App::synced(3).await;
    app.set_phone("e002", Some("79267777777")).await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once_exits(1).await;
    app.wazzup.clear_faults();
    app.wazzup.clear_log();
    app.set_phone("e002", None).await;
    app.set_phone("e001", Some("79267777777")).await;
    app.once_exits(0).await;
    assert!(
        app.wazzup.requests().iter().all(|request| request.status == Some(200)),
        "{}",
        app.requests_as_text()
    );
    assert_eq!(
        (app.phone_of("e001"), app.phone_of("e002")),
        (Some("79267777777".into()), None)
    );
    app.settled().await;
}

#[tokio::test]
async fn somebody_elses_user_with_the_id_of_a_lost_creation_is_left_alone() {
    let app = App::synced(3).await;
    app.hire("new", "Came And Went", None).await;
    app.wazzup.order(Fault::new(When::Post, What::CutBefore).always());
    app.once_exits(1).await;
    app.fire(&["new"]).await;
    app.wazzup.clear_faults();
    app.wazzup.seed_foreign("new", "Made By Somebody Else", None);
    app.wazzup.clear_log();
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 1"], "only the lost control is sent again");
    assert_eq!(app.name_of("new"), "Made By Somebody Else");
    app.settled().await;
}

#[tokio::test]
async fn a_lost_removal_is_settled_by_the_next_cycle() {
    let app = App::synced(10).await;
    app.fire(&["e001", "e002"]).await;
    app.wazzup.order(Fault::new(When::BulkDelete, What::CutAfter).always());
    app.once_exits(3).await;
    app.wazzup.clear_faults();
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 8);
    app.settled().await;
    // And one who comes back meanwhile is created again.
    app.fire(&["e003"]).await;
    app.wazzup.order(Fault::new(When::BulkDelete, What::CutAfter).always());
    app.once_exits(3).await;
    app.wazzup.clear_faults();
    app.hire_range(3, 3).await;
    app.once_exits(0).await;
    assert_eq!((app.users().len(), app.name_of("e003")), (8, "Employee 3".into()));
    app.settled().await;
}

#[tokio::test]
async fn a_time_out_is_an_unknown_outcome() {
    let mut app = App::with_employees(3).await;
    app.set("wazzup.timeout", "300ms");
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 1_000 }).always());
    let run = app.once_exits(1).await;
    assert_eq!(run.error_kind(), "wazzup_unavailable");
    app.wazzup.clear_faults();
    app.wazzup_reaches(|wazzup| wazzup.in_flight() == 0).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 3);
    app.settled().await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_request_is_healed() {
    let mut app = App::with_employees(150).await;
    app.set("wazzup.timeout", "1s")
        .set("state.lease", "2s")
        .set("schedule.every", "200ms");
    app.wazzup
        .order(Fault::new(When::Post, What::DelayAnswer { ms: 500 }).skip(1));
    let mut daemon = app.daemon();
    app.wazzup_reaches(|wazzup| wazzup.users().len() == 150).await;
    daemon.signal("KILL").await;
    assert_eq!(daemon.ended().await, None);
    app.fire(&["e150"]).await;
    let mut daemon = app.daemon();
    daemon.wait_until_in_sync().await;
    daemon.stop().await;
    assert_eq!(app.users().len(), 149);
    app.wazzup_reaches(|wazzup| wazzup.in_flight() == 0).await;
    app.settled_but_for_overlaps().await;
}

#[rstest]
#[case::the_new_phone("79267777777")]
#[case::the_old_phone("79260000001")]
#[tokio::test]
async fn the_phone_of_a_leaver_with_a_lost_update_is_free(#[case] phone: &str) {
    let app = App::synced(10).await;
    app.set_phone("e001", Some("79267777777")).await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once_exits(1).await;
    app.wazzup.clear_faults();
    app.fire(&["e001"]).await;
    app.set_phone("e002", Some(phone)).await;
    app.once_exits(0).await;
    assert_eq!(app.phone_of("e002").as_deref(), Some(phone));
    app.settled().await;
}
