use std::time::Duration;

use anyhow::Result;
use rstest::rstest;
use sandbox::{Fault, ListStyle, Named, Wazzup, What, When};
use tokio::time::timeout;

use crate::{ANN, PATIENCE, call};

const FOUR: &str = r#"[{"id":"0","name":"N0"},{"id":"1","name":"N1"},{"id":"2","name":"N2"},{"id":"3","name":"N3"}]"#;
const LINES: [&str; 4] = ["POST /users", "GET /users", "GET /users/1", "PATCH /users/bulk_delete"];

/// Which of four requests a fault strikes, sent twice in turn.
#[rstest]
#[case::once(Fault::new(When::Any, What::status(418)), "X.......")]
#[case::always(Fault::new(When::Any, What::status(418)).always(), "XXXXXXXX")]
#[case::twice_after_the_first(Fault::new(When::Any, What::status(418)).skip(1).times(2), ".XX.....")]
#[case::reads(Fault::new(When::Reads, What::status(418)).always(), ".XX..XX.")]
#[case::writes(Fault::new(When::Writes, What::status(418)).always(), "X..XX..X")]
#[case::list(Fault::new(When::List, What::status(418)).always(), ".X...X..")]
#[case::user(Fault::new(When::GetUser, What::status(418)).always(), "..X...X.")]
#[case::post(Fault::new(When::Post, What::status(418)).always(), "X...X...")]
#[case::removal(Fault::new(When::BulkDelete, What::status(418)).skip(1), ".......X")]
#[case::an_id(Fault::new(When::Any, What::status(418)).naming(["1"]).always(), "X.XXX.XX")]
#[case::a_name(Fault::new(When::Any, What::status(418)).naming(["Ann"]).always(), "X...X...")]
#[case::nobody_there(Fault::new(When::Any, What::status(418)).naming(["2"]).always(), "........")]
#[tokio::test]
async fn a_fault_strikes_the_requests_it_is_for(#[case] fault: Fault, #[case] expected: &str) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.order(Fault::new(When::Any, What::Delay { ms: 1 }).always());
    wazzup.order(fault);
    let mut struck = String::new();
    for line in LINES.repeat(2) {
        let body = if line.starts_with("POST") { ANN } else { r#"["1"]"# };
        let is_struck = call(&wazzup, line, body).await?.status == 418;
        struck.push(if is_struck { 'X' } else { '.' });
    }
    assert_eq!(struck, expected);
    Ok(())
}

#[rstest]
#[case(What::CutBefore, false, true)]
#[case(What::CutAfter, true, true)]
#[case(What::Delay { ms: 200 }, true, false)]
#[case(What::DelayAnswer { ms: 60_000 }, true, false)]
#[case(What::SilenceBefore, false, false)]
#[case(What::SilenceAfter, true, false)]
#[case(What::HoldBack, false, true)]
#[tokio::test]
async fn answers_are_lost(#[case] what: What, #[case] is_done: bool, #[case] is_reset: bool) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.order(Fault::new(When::Post, what));
    match timeout(Duration::from_millis(150), call(&wazzup, "POST /users", ANN)).await {
        Ok(answer) => {
            let error = format!("{:?}", answer.err());
            assert!(is_reset && error.contains("ConnectionReset"), "{error}");
        }
        Err(_) => assert!(!is_reset),
    }
    // What is done without an answer may be done after the client gave up.
    let is_over = |wazzup: &Wazzup| wazzup.in_flight() == 0 && wazzup.users().len() == usize::from(is_done);
    wazzup.wait_until(is_over, PATIENCE).await?;
    let request = wazzup.requests().remove(0);
    assert_eq!((request.status, request.applied), (None, is_done));
    Ok(())
}

#[tokio::test]
async fn requests_land_when_they_are_told_to() -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.order(Fault::new(When::Writes, What::HoldBack).times(2));
    assert!(call(&wazzup, "POST /users", FOUR).await.is_err());
    assert!(call(&wazzup, "PATCH /users/bulk_delete", r#"["1"]"#).await.is_err());
    assert!(wazzup.users().is_empty());
    assert_eq!(wazzup.land_late(), 2);
    assert_eq!(wazzup.users().into_keys().collect::<Vec<_>>(), ["0", "2", "3"]);
    assert!(wazzup.writing_requests().iter().all(|request| request.applied));
    let in_vain = wazzup.wait_until(|wazzup| wazzup.users().is_empty(), Duration::from_millis(10));
    assert!(
        in_vain
            .await
            .is_err_and(|error| error.to_string().contains("#2 PATCH /v3/users"))
    );
    Ok(())
}

#[rstest]
#[case(What::EmptyList, 200, r#"{"count":2,"data":[]}"#)]
#[case(What::ShortList { missing: 1 }, 200, r#"{"count":2,"data":[{"id":"foreign-1","name":"Foreign user 1"}]}"#)]
#[case(What::BrokenJson, 200, r#"{"count":2,"data":[{"id":"foreign-1","name":"Foreign "#)]
#[case(What::Garbage, 200, "\u{1}\u{2}{[<garbage")]
#[case(What::answer(999, "text"), 999, "text")]
#[case(What::act_then_answer(204, ""), 204, "")]
#[case(What::with_header(429, "retry-after", "3"), 429, "")]
#[case(What::invalid(Named::Nobody, &[]), 400, r#"{"error":"INVALID_USERS_DATA","description":"The request was refused."}"#)]
#[tokio::test]
async fn answers_are_of_no_use(#[case] what: What, #[case] status: u16, #[case] body: &str) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.seed_foreigners(2);
    wazzup.vary(|variant| variant.list = ListStyle::Pages);
    wazzup.order(Fault::new(When::List, what));
    let answer = call(&wazzup, "GET /users", "").await?;
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    assert_eq!(status == 429, answer.headers.contains_key("retry-after"));
    Ok(())
}

#[rstest]
#[case(What::invalid(Named::All, &["name"]), 400, r#"[{"index":1,"fields":["name"]},{"index":3,"fields":["name"]}]"#)]
#[case(What::invalid(Named::First, &[]), 400, r#""data":[{"index":1,"fields":[]}]"#)]
#[case(What::invalid(Named::OffByOne, &[]), 400, r#"[{"index":2,"fields":[]},{"index":4,"fields":[]}]"#)]
#[case(What::invalid(Named::Wild, &[]), 400, r#""index":4294967296"#)]
#[case(What::html(403), 403, "<html>")]
#[tokio::test]
async fn poisoned_entries_spoil_their_batch(#[case] what: What, #[case] status: u16, #[case] body: &str) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.poison(["1", "N3"], what);
    let answer = call(&wazzup, "POST /users", FOUR).await?;
    assert_eq!(answer.status, status);
    assert!(answer.body.contains(body), "{}", answer.body);
    assert!(wazzup.users().is_empty());
    wazzup.clear_faults();
    assert_eq!(call(&wazzup, "POST /users", FOUR).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_sandbox_stops_and_starts_again_with_its_users() -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    let wazzup = Wazzup::start_on(([127, 0, 0, 1], 0).into(), Some(&pem))?;
    assert!(wazzup.base_url().starts_with("https://127.0.0.1:"));
    assert_eq!(call(&wazzup, "POST /users", ANN).await?.status, 200);
    wazzup.stop();
    let stopped = call(&wazzup, "POST /users", ANN).await;
    assert!(stopped.is_err_and(|error| error.is_connect()));
    wazzup.start_again()?;
    for (page, expected) in [
        ("", "1   -                seller    Ann"),
        ("_sandbox/users", r#""name":"Ann""#),
        ("_sandbox/requests", r#""writing":true"#),
        ("_sandbox/violations", r#""violations":[]"#),
    ] {
        let body = call(&wazzup, &format!("GET /../{page}"), "").await?.body;
        assert!(body.contains(expected), "{body}");
    }
    assert_eq!((wazzup.requests().len(), wazzup.max_in_flight()), (1, 1));
    Ok(())
}
