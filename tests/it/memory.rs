//! What others write does not decide how much memory the daemon takes.

use rstest::rstest;
use sandbox::{Fault, What, When};
use serde_json::{Value, json};

use crate::app::{App, ids};

/// Of a debug build, which takes 24 MB for a normal cycle; a release build takes 10 MB less.
const MOST_KB: u64 = 40_000;
/// Who held it in memory would take more than that.
const ANSWER_BYTES: usize = 20 << 20;

/// `start`, and `repeat` until the answer is long enough. It ends in the middle, as an endless one would be cut.
fn long(status: u16, start: &str, repeat: &str) -> What {
    let mut body = start.to_owned();
    body.push_str(&repeat.repeat(ANSWER_BYTES / repeat.len()));
    What::answer(status, body)
}

/// A list of so many users with names of this length.
fn users(count: usize, name_length: usize) -> What {
    let name = "x".repeat(name_length);
    let users: Value = (0..count).map(|number| json!({"id": number, "name": name})).collect();
    What::answer(200, users.to_string())
}

#[rstest]
#[case::zeros(long(200, "[0", ",0"))]
#[case::fat_user(long(200, r#"{"count":100,"data":[{"id":"1","name":""#, "x"))]
#[case::fat_count(long(200, r#"{"count":""#, "9"))]
#[case::one_user_again_and_again(long(200, r#"[{"id":"1","name":"A"}"#, r#",{"id":"1","name":"A"}"#))]
#[case::many_users(users(300_000, 1))]
#[case::many_fat_users(users(20_000, 2_000))]
#[case::deep(long(200, "[", "["))]
#[case::blanks(long(200, "[", " "))]
#[case::blanks_first(long(200, "", " "))]
#[case::text(long(200, "O", "K"))]
#[case::fault(long(500, r#"{"error":"LONG","description":""#, "x"))]
#[case::refusal(long(400, r#"{"error":"LONG","description":""#, "x"))]
#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "asks /proc")]
async fn no_answer_of_wazzup_fills_the_memory(#[case] answer: What) {
    let mut app = App::new().await;
    // Time enough to take everything in.
    app.set("log.level", "debug").set("wazzup.timeout", "30s");
    app.hire_many(999).await;
    app.once_exits(0).await;
    // Something for each call: the list, a removal, an update.
    app.rename("e001", "Renamed").await;
    app.fire(&["e002"]).await;
    app.make_verification_due().await;
    app.wazzup.order(Fault::new(When::Any, answer).always());
    let mut daemon = app.daemon();
    daemon.end_of_cycle().await;
    let peak = daemon.peak_kb();
    daemon.stop().await;
    assert!(peak < MOST_KB, "{peak} kB");
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "asks /proc")]
async fn no_value_of_the_crm_fills_the_memory_or_holds_anybody_up() {
    let mut app = App::with_employees(3).await;
    app.set("log.level", "debug");
    app.sql(
        "INSERT INTO employees VALUES (repeat('x', 20000000), 'Long Id', NULL), \
         ('name', repeat('x', 20000000), NULL), ('phone', 'Long Phone', repeat('7', 20000000)), \
         ('blanks', 'Long Blanks' || repeat(' ', 20000000), repeat(' ', 20000000))",
    )
    .await;
    let mut daemon = app.daemon();
    let cycle = daemon.end_of_cycle().await;
    let peak = daemon.peak_kb();
    daemon.stop().await;
    assert!(peak < MOST_KB, "{peak} kB");
    let took = cycle["duration_ms"].as_u64().expect("a number");
    // A debug build on a busy machine says little about speed.
    assert!(took < 5_000 || cfg!(debug_assertions), "{took} ms");
    let mut expected = vec!["blanks".to_owned()];
    expected.extend(ids(1..=3));
    expected.push("phone".to_owned());
    assert_eq!(app.user_ids(), expected);
    assert_eq!(app.phone_of("phone"), None);
    // The id, the name and the phone that are too long.
    assert_eq!(app.failing().await.len(), 3, "{:?}", app.failing().await);
    app.quiet(3).await;
}
