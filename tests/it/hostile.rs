//! Answers that nobody should give: an error, never a panic, and the next cycle goes on.

use rstest::rstest;
use sandbox::{Fault, Wazzup, What, When};

use crate::app::App;

#[rstest]
#[tokio::test]
async fn hostile_answers_are_survived(
    #[values(
        What::answer(200, " ".repeat(30_000_000)),
        What::BrokenJson,
        What::Garbage,
        What::with_header(307, "location", "http://127.0.0.1:1/v3/users"),
        What::answer(400, "{\"error\":"),
        What::answer(400, r#"{"error":"INVALID_USERS_DATA","data":[{"index":-1},{"index":"x"},7,null]}"#),
        What::answer(400, r#"{"error":"TOO_MANY_ENTITIES","data":{"limit":0}}"#),
        What::answer(400, r#"{"error":"USER_LIMIT_EXCEEDED","data":{"limit":-5}}"#),
        What::answer(400, r#"{"error":"DUPLICATE_PHONE_NUMBER","data":{"phone":12}}"#),
        What::answer(400, "[".repeat(100_000)),
        What::act_then_answer(200, r#"[null,1,{"id":null},{"id":{}}]"#),
        What::with_header(429, "retry-after", "9999999999"),
        What::status(418),
        What::status(999)
    )]
    what: What,
    #[values(When::Post, When::Reads, When::BulkDelete)] when: When,
) {
    let app = App::synced(8).await;
    app.hire("new", "Lost At First", None).await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once_exits(1).await;
    app.wazzup.clear_faults();

    // Something for each call: a list, a lookup of one never acknowledged, a removal, an update.
    app.make_verification_due().await;
    app.fire(&["new", "e001"]).await;
    app.rename("e002", "Renamed").await;
    app.wazzup.order(Fault::new(when, what).always());
    let run = app.once().await;
    assert!(matches!(run.code, 0 | 1 | 3), "{run}");

    app.wazzup.clear_faults();
    for _ in 0..2 {
        app.run(&["retry"]).await;
        app.once().await;
    }
    assert_eq!(app.user_ids(), crate::app::ids(2..=8));
    assert_eq!(app.name_of("e002"), "Renamed");
    app.settled().await;
}

#[rstest]
#[tokio::test]
async fn redirects_are_not_followed_with_the_key(#[values(301, 302, 307, 308)] status: u16) {
    let app = App::new().await;
    let elsewhere = Wazzup::start().expect("another sandbox");
    app.hire_many(2).await;
    let to = format!("{}/users", elsewhere.base_url());
    app.wazzup
        .order(Fault::new(When::Any, What::with_header(status, "location", &to)).always());
    let run = app.once().await;
    assert!(matches!(run.code, 1 | 3), "{run}");
    assert_eq!(elsewhere.requests().len(), 0);
    app.wazzup.clear_faults();
    app.run(&["retry"]).await;
    app.once_exits(0).await;
    app.settled().await;
}
