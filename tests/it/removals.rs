//! Removals that the service makes difficult.

use rstest::rstest;
use sandbox::{Fault, PoisonReply, What, When};

use crate::app::App;

#[rstest]
#[case(PoisonReply::NoData)]
#[case(PoisonReply::Named(vec!["id".into()]))]
#[case(PoisonReply::Status(422))]
#[case(PoisonReply::Status(500))]
#[tokio::test]
async fn a_batch_that_is_refused_for_one_id_is_isolated(#[case] reply: PoisonReply) {
    let mut app = App::new().await;
    app.set_raw("removals.hold_above", "100");
    app.hire_many(20).await;
    app.once_exits(0).await;
    app.wazzup.clear_log();
    app.wazzup.refuse_removal(["e003"], reply);
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

    app.wazzup.cure();
    assert_eq!(app.run(&["retry", "e003"]).await.code, 0);
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 1"]);
    assert_eq!(app.users().len(), 16);
    app.settled().await;
}

#[tokio::test]
async fn ids_that_are_absent_are_gone_as_we_wanted() {
    let app = App::new().await;
    app.hire_many(10).await;
    app.once_exits(0).await;
    app.wazzup.clear_log();
    app.wazzup.remove("e001");
    app.fire(&["e001", "e002"]).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["PATCH 2"]);
    assert_eq!(app.users().len(), 8);
    app.settled().await;
}

#[rstest]
#[case(What::ActThenAnswer { status: 204, body: String::new() })]
#[case(What::ActThenAnswer { status: 200, body: "{\"ok\":true}".into() })]
#[tokio::test]
async fn an_answer_that_cannot_be_read_is_success_all_the_same(#[case] what: What) {
    let app = App::new().await;
    app.hire_many(10).await;
    app.once_exits(0).await;
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
    let app = App::new().await;
    app.hire_many(10).await;
    app.once_exits(0).await;
    app.wazzup.refuse_removal(["e003"], PoisonReply::NoData);
    app.fire(&["e003"]).await;
    app.once_exits(3).await;
    app.hire_range(3, 3).await;
    app.once_exits(0).await;
    assert_eq!(app.failing().await, [""; 0]);
    app.settled().await;
}
