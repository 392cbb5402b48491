//! Removals that the service makes difficult.

use rstest::rstest;
use sandbox::{Fault, Named, What, When};

use crate::app::App;

#[rstest]
#[case(What::invalid(Named::Nobody, &[]))]
#[case(What::invalid(Named::All, &["id"]))]
#[case(What::status(422))]
#[case(What::status(500))]
#[tokio::test]
async fn a_batch_that_is_refused_for_one_id_is_isolated(#[case] reply: What) {
    let mut app = App::with_employees(20).await;
    app.set_raw("removals.hold_above", "100");
    app.once_exits(0).await;
    app.wazzup.clear_log();
    app.wazzup
        .order(Fault::new(When::BulkDelete, reply).naming(["e003"]).always());
    app.fire(&["e001", "e002", "e003", "e004"]).await;
    app.rename("e020", "Goes On").await;
    app.once_exits(3).await;
    assert_eq!(app.user_ids()[..2], ["e003", "e005"]);
    assert_eq!(app.name_of("e020"), "Goes On");
    let failing = app.failing().await;
    assert_eq!(
        (failing.len(), failing[0].starts_with("e003 remove ")),
        (1, true),
        "{failing:?}"
    );
    app.quiet(3).await;

    app.wazzup.clear_faults();
    app.run_exits(0, &["retry", "e003"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 1"]);
    assert_eq!(app.users().len(), 16);
    app.settled().await;
}

#[tokio::test]
async fn ids_that_are_absent_are_gone_as_we_wanted() {
    let app = App::synced(10).await;
    app.wazzup.clear_log();
    app.wazzup.remove("e001");
    app.fire(&["e001", "e002"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 2"]);
    assert_eq!(app.users().len(), 8);
    app.settled().await;
}

#[rstest]
#[case(What::act_then_answer(204, ""))]
#[case(What::act_then_answer(200, "{\"ok\":true}"))]
#[tokio::test]
async fn an_answer_that_cannot_be_read_is_success_all_the_same(#[case] what: What) {
    let app = App::synced(10).await;
    app.wazzup.clear_log();
    app.wazzup.order(Fault::new(When::BulkDelete, what));
    app.fire(&["e001", "e002"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 2"]);
    assert_eq!(app.users().len(), 8);
    app.settled().await;
}

#[tokio::test]
async fn who_comes_back_after_a_refused_removal_is_no_failure() {
    let app = App::synced(10).await;
    app.wazzup.order(
        Fault::new(When::BulkDelete, What::invalid(Named::Nobody, &[]))
            .naming(["e003"])
            .always(),
    );
    app.fire(&["e003"]).await;
    app.once_exits(3).await;
    app.hire_range(3, 3).await;
    app.once_exits(0).await;
    assert_eq!(app.failing().await, [""; 0]);
    app.settled().await;
}
