//! Requests of the delivery, and what is said about them.

use std::{sync::Arc, time::Duration};

use rstest::rstest;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::Gate,
    client, client_with, id, open, removal,
    server::{Reply, Server, answer, ok},
    upsert,
};
use crate::delivery::{Answer, Attempts, Loss, NotSent, RefusalCode, Request, Verdict};

/// Sends `request` with `replies` waiting. Returns the answer and the number of requests.
async fn send(request: Request, replies: Vec<Reply>) -> (Answer, usize) {
    let server = Server::new(replies).await;
    let answer = open(&client(&server)).send(&request).await;
    (answer, server.requests().len())
}

fn accepted(loss: Loss) -> Answer {
    let verdict = Verdict::Accepted { absent: Vec::new() };
    Answer { verdict, loss }
}

fn web_page(status: u16, content_type: &str, body: &str) -> Reply {
    answer(status, &format!("content-type: {content_type}\r\n"), body)
}

/// The code of an answer that is no decision.
fn undecided(answer: &Answer) -> RefusalCode {
    match &answer.verdict {
        Verdict::NoDecision(refusal) => refusal.code.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_are_as_the_contract_says() {
    let server = Server::new(vec![answer(204, "", ""), ok(r#"["b"]"#), ok("[]")]).await;
    // With a slash too many.
    let client = client_with(&format!("{}/", server.base), Duration::from_secs(20));
    let session = open(&client);
    assert_eq!(session.send(&upsert(Attempts::Several)).await, accepted(Loss::None));
    let removed = session.send(&removal()).await;
    assert_eq!(removed.verdict, Verdict::Accepted { absent: vec![id("b")] });
    assert_eq!(session.send(&Request::Ping).await, accepted(Loss::None));

    let lines = ["POST /v3/users", "PATCH /v3/users/bulk_delete", "GET /v3/users"];
    assert_eq!(server.lines(), lines);
    let requests = server.requests();
    for request in &requests {
        assert!(request.contains("authorization: Bearer the-key\r\n"), "{request}");
        let agent = concat!("user-agent: wazzup-sync/", env!("CARGO_PKG_VERSION"));
        assert!(request.contains(agent), "{request}");
    }
    for (request, body) in [
        (&requests[0], r#"[{"id":"a","name":"Ann","phone":"79261234567"}]"#),
        (&requests[1], r#"["a","b"]"#),
    ] {
        assert!(request.contains("content-type: application/json\r\n"));
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
}

#[tokio::test]
async fn nothing_is_sent_for_nobody() {
    let upsert = Request::Upsert {
        entries: Vec::new(),
        attempts: Attempts::Several,
    };
    let removal = Request::Remove {
        user_ids: Vec::new(),
        attempts: Attempts::Several,
    };
    for request in [upsert, removal] {
        assert_eq!(send(request, vec![Reply::Cut]).await, (accepted(Loss::None), 0));
    }
}

#[rstest]
#[case::cut(Reply::Cut, RefusalCode::NoAnswer)]
#[case::cut_in_the_head(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()), RefusalCode::NoAnswer)]
#[case::cut_before_the_body(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()), RefusalCode::NoAnswer)]
#[case::garbage(Reply::Raw(b"\x00\xff garbage\r\n\r\n".to_vec()), RefusalCode::NoAnswer)]
#[case::gateway(answer(502, "", "<html>"), RefusalCode::Status(502))]
#[case::overload(answer(503, "", ""), RefusalCode::Status(503))]
#[case::gateway_time_out(answer(504, "", ""), RefusalCode::Status(504))]
#[case::login_page(web_page(200, "text/html; charset=utf-8", "Log in"), RefusalCode::WebPage)]
#[case::empty_page(web_page(204, "TEXT/HTML", ""), RefusalCode::WebPage)]
#[case::page_of_no_type(ok(" \r\n<!DOCTYPE html>"), RefusalCode::WebPage)]
#[case::page_of_another_type(web_page(201, "text/plain", "\u{feff}<html>"), RefusalCode::WebPage)]
#[case::endless_blanks(Reply::Flood("", " "), RefusalCode::WebPage)]
#[tokio::test]
async fn a_lost_request_is_tried_again_and_may_land(#[case] lost: Reply, #[case] code: RefusalCode) {
    for request in [upsert(Attempts::Several), removal()] {
        let (answer, requests) = send(request.clone(), vec![lost.clone()]).await;
        assert_eq!(
            (undecided(&answer), answer.loss, requests),
            (code.clone(), Loss::MayLand, 4)
        );
        // That a later attempt is accepted does not undo the loss.
        let sent = send(request, vec![lost.clone(), ok("")]).await;
        assert_eq!(sent, (accepted(Loss::MayLand), 2));
    }
    let (answer, requests) = send(upsert(Attempts::One), vec![lost]).await;
    assert_eq!((undecided(&answer), answer.loss, requests), (code, Loss::MayLand, 1));
}

#[tokio::test]
async fn a_fault_is_an_answer_and_over() {
    let fault = answer(500, "trace-id: t-1\r\n", r#"{"error":"BOOM"}"#);
    let (answer, requests) = send(upsert(Attempts::Several), vec![fault.clone()]).await;
    let Verdict::NoDecision(refusal) = &answer.verdict else {
        panic!("{answer:?}")
    };
    assert_eq!(refusal.to_string(), "BOOM, request t-1");
    assert_eq!((answer.loss, requests), (Loss::Over, 4));
    let sent = send(upsert(Attempts::Several), vec![fault.clone(), ok("")]).await;
    assert_eq!(sent, (accepted(Loss::Over), 2));
    let sent = send(upsert(Attempts::Several), vec![Reply::Cut, fault, ok("")]).await;
    assert_eq!(sent, (accepted(Loss::MayLand), 3));
}

#[rstest]
#[case(403, r#"{"error":"FORBIDDEN"}"#)]
#[case(403, "<html>")]
#[case(404, "")]
#[case(405, "")]
#[tokio::test]
async fn what_a_firewall_says_is_no_decision_and_did_not_act(#[case] status: u16, #[case] body: &str) {
    let (answer, requests) = send(upsert(Attempts::Several), vec![answer(status, "", body)]).await;
    assert!(matches!(answer.verdict, Verdict::NoDecision(_)), "{answer:?}");
    assert_eq!((answer.loss, requests), (Loss::None, 1));
}

#[rstest]
#[case(408, 4)]
#[case(425, 4)]
#[case(429, 6)]
#[case(302, 1)]
#[tokio::test]
async fn who_turns_everybody_away_is_unavailable(#[case] status: u16, #[case] attempts: usize) {
    let reply = answer(status, "location: /v3/elsewhere\r\n", "");
    let (answer, requests) = send(upsert(Attempts::Several), vec![reply.clone()]).await;
    let Verdict::Unavailable(reason) = &answer.verdict else {
        panic!("{answer:?}")
    };
    assert!(reason.contains(&status.to_string()), "{reason}");
    assert_eq!((answer.loss, requests), (Loss::None, attempts));
    if attempts > 1 {
        let sent = send(upsert(Attempts::Several), vec![reply, ok("")]).await;
        assert_eq!(sent, (accepted(Loss::None), 2));
    }
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let other = Server::new(vec![ok("[]")]).await;
    let location = format!("location: {}/users\r\n", other.base);
    let (answer, requests) = send(Request::Ping, vec![answer(307, &location, "")]).await;
    assert!(matches!(answer.verdict, Verdict::Unavailable(_)), "{answer:?}");
    assert_eq!((requests, other.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_refused_connection_changed_nothing() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = unused.local_addr().expect("an address");
    drop(unused);
    let client = client_with(&format!("http://{address}/v3?token=hidden"), Duration::from_secs(20));
    let answer = open(&client).send(&upsert(Attempts::Several)).await;
    assert_eq!(answer.loss, Loss::None);
    let Verdict::Unavailable(reason) = answer.verdict else {
        panic!("{answer:?}")
    };
    assert!(reason.contains("refused") && !reason.contains("hidden"), "{reason}");
}

#[tokio::test]
async fn no_answer_ends_with_the_time_out() {
    let server = Server::new(vec![Reply::Hang(Vec::new())]).await;
    let client = client_with(&server.base, Duration::from_millis(200));
    let answer = open(&client).send(&upsert(Attempts::Several)).await;
    assert_eq!(
        (undecided(&answer), answer.loss),
        (RefusalCode::NoAnswer, Loss::MayLand)
    );
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn an_accepted_upsert_need_not_be_read_to_its_end() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[".to_vec();
    for reply in [
        Reply::Hang(head.clone()),
        Reply::Raw(head.clone()),
        Reply::Flood("OK", " "),
    ] {
        let sent = send(upsert(Attempts::Several), vec![reply]).await;
        assert_eq!(sent, (accepted(Loss::None), 1));
    }
    // A removal has to be.
    let (answer, requests) = send(removal(), vec![Reply::Raw(head)]).await;
    assert_eq!(
        (undecided(&answer), answer.loss, requests),
        (RefusalCode::NoAnswer, Loss::MayLand, 4)
    );
    let (answer, _) = send(removal(), vec![Reply::Flood("[", "0,")]).await;
    assert_eq!((undecided(&answer), answer.loss), (RefusalCode::WebPage, Loss::MayLand));
}

#[rstest]
#[case("", &[])]
#[case("null", &[])]
#[case("{}", &[])]
#[case("2", &[])]
#[case("[]", &[])]
#[case(r#"["b", "foreign"]"#, &["b"])]
#[tokio::test]
async fn a_removal_is_accepted_with_an_empty_body_or_json(#[case] body: &str, #[case] absent: &[&str]) {
    let (answer, requests) = send(removal(), vec![ok(body)]).await;
    let absent = absent.iter().map(|text| id(text)).collect();
    assert_eq!(
        (answer.verdict, answer.loss, requests),
        (Verdict::Accepted { absent }, Loss::None, 1)
    );
}

#[tokio::test]
async fn a_removal_answered_with_text_is_not_accepted() {
    let (answer, requests) = send(removal(), vec![ok("OK")]).await;
    assert_eq!(
        (undecided(&answer), answer.loss, requests),
        (RefusalCode::WebPage, Loss::MayLand, 4)
    );
    // The same text is fine for an upsert.
    assert_eq!(
        send(upsert(Attempts::Several), vec![ok("OK")]).await,
        (accepted(Loss::None), 1)
    );
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_not_tried_again() {
    let unauthorized = Verdict::Unauthorized { forbidden: false };
    let (answer_at_once, requests) = send(upsert(Attempts::Several), vec![answer(401, "", "")]).await;
    assert_eq!(
        (&answer_at_once.verdict, answer_at_once.loss, requests),
        (&unauthorized, Loss::None, 1)
    );
    let (answer_later, requests) = send(upsert(Attempts::Several), vec![Reply::Cut, answer(401, "", "")]).await;
    assert_eq!(
        (&answer_later.verdict, answer_later.loss, requests),
        (&unauthorized, Loss::MayLand, 2)
    );
}

#[rstest]
#[case::list(ok("[]"), "accepted")]
#[case::envelope(ok(" {\"count\""), "accepted")]
#[case::flood(Reply::Flood("[", "0,"), "accepted")]
#[case::empty(ok(""), "unavailable")]
#[case::text(ok("OK"), "unavailable")]
#[case::page(ok("<html>"), "unavailable")]
#[case::nothing(answer(204, "", ""), "unavailable")]
#[case::created(answer(201, "", "[]"), "unavailable")]
#[case::unauthorized(answer(401, "", ""), "unauthorized")]
#[case::forbidden(answer(403, "", "<html>"), "forbidden")]
#[case::wrong_address(answer(404, "", ""), "unavailable")]
#[case::bad_request(answer(400, "", ""), "unavailable")]
#[case::fault(answer(500, "", ""), "unavailable")]
#[case::throttled(answer(429, "", ""), "unavailable")]
#[case::cut(Reply::Cut, "unavailable")]
#[tokio::test]
async fn a_ping_is_one_attempt(#[case] reply: Reply, #[case] verdict: &str) {
    let (answer, requests) = send(Request::Ping, vec![reply]).await;
    let actual = match answer.verdict {
        Verdict::Accepted { .. } => "accepted",
        Verdict::Unavailable(_) => "unavailable",
        Verdict::Unauthorized { forbidden: false } => "unauthorized",
        Verdict::Unauthorized { forbidden: true } => "forbidden",
        other => panic!("{other:?}"),
    };
    assert_eq!((actual, answer.loss, requests), (verdict, Loss::None, 1));
}

#[rstest]
#[case(
    400,
    r#"{"error":"DUPLICATE_PHONE_NUMBER","description":"phone 79261234567 of Ann"}"#,
    "DUPLICATE_PHONE_NUMBER"
)]
#[case(400, "", "HTTP_400")]
#[case(402, "<html>", "HTTP_402")]
#[case(409, "", "HTTP_409")]
#[case(413, "", "HTTP_413")]
#[case(422, r#"{"errors":[{"code":"odd"}]}"#, "ODD")]
#[tokio::test]
async fn a_refusal_is_final(#[case] status: u16, #[case] body: &str, #[case] code: &str) {
    let (answer, requests) = send(upsert(Attempts::Several), vec![answer(status, "", body)]).await;
    let shown = format!("{answer:?}");
    assert!(!shown.contains("7926") && !shown.contains("Ann"), "{shown}");
    let Verdict::Refused(refusal) = answer.verdict else {
        panic!("{shown}")
    };
    assert_eq!(
        (refusal.code.as_str().as_ref(), answer.loss, requests),
        (code, Loss::None, 1)
    );
}

#[tokio::test]
async fn a_refusal_that_cannot_be_read_is_still_one() {
    let head = b"HTTP/1.1 400 X\r\ncontent-length: 99\r\n\r\n{".to_vec();
    let long = answer(400, "", &format!(r#"{{"x":"{}","error":"ODD"}}"#, "x".repeat(70_000)));
    for reply in [Reply::Hang(head.clone()), Reply::Raw(head), long] {
        let server = Server::new(vec![reply]).await;
        let client = client_with(&server.base, Duration::from_millis(300));
        let answer = open(&client).send(&upsert(Attempts::Several)).await;
        assert!(
            matches!(&answer.verdict, Verdict::Refused(refusal) if refusal.code == RefusalCode::Status(400)),
            "{answer:?}"
        );
        assert_eq!((answer.loss, server.requests().len()), (Loss::None, 1));
    }
}

#[tokio::test]
async fn retry_after_is_honoured() {
    for (status, loss) in [(429, Loss::None), (503, Loss::MayLand)] {
        let start = Instant::now();
        let replies = vec![answer(status, "retry-after: 1\r\n", ""), ok("")];
        let sent = send(upsert(Attempts::Several), replies).await;
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert_eq!(sent, (accepted(loss), 2));
    }
}

#[tokio::test]
async fn a_service_that_wants_to_be_left_alone_is() {
    let server = Server::new(vec![answer(429, "retry-after: 121\r\n", ""), ok("")]).await;
    let client = client(&server);
    for _ in 0..2 {
        let answer = open(&client).send(&upsert(Attempts::Several)).await;
        assert!(matches!(answer.verdict, Verdict::Unavailable(_)), "{answer:?}");
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn stop_ends_a_wait() {
    let server = Server::new(vec![answer(429, "retry-after: 100\r\n", "")]).await;
    let client = client(&server);
    let stop = CancellationToken::new();
    let session = client.session(Gate::without_lease(stop.clone())).expect("a key");
    let request = upsert(Attempts::Several);
    let stopper = async {
        while server.requests().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let call = async { tokio::join!(session.send(&request), stopper).0 };
    let answer = timeout(Duration::from_secs(50), call).await.expect("the wait ends");
    assert!(matches!(answer.verdict, Verdict::Unavailable(_)), "{answer:?}");
    assert_eq!((answer.loss, server.requests().len()), (Loss::None, 1));
}

#[tokio::test]
async fn stop_breaks_no_request_off() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n".to_vec();
    let server = Server::new(vec![Reply::Hang(head)]).await;
    let client = client_with(&server.base, Duration::from_millis(600));
    let stop = CancellationToken::new();
    let session = client.session(Gate::without_lease(stop.clone())).expect("a key");
    let request = upsert(Attempts::Several);
    let start = Instant::now();
    let stopper = async {
        while server.requests().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (answer, ()) = tokio::join!(session.send(&request), stopper);
    assert!(start.elapsed() >= Duration::from_millis(600));
    assert!(matches!(answer.verdict, Verdict::Unavailable(_)), "{answer:?}");
    assert_eq!((answer.loss, server.requests().len()), (Loss::MayLand, 1));
    // And nothing starts any more.
    let answer = session.send(&request).await;
    assert_eq!(
        (answer.verdict, answer.loss),
        (Verdict::NotSent(NotSent::Stopping), Loss::None)
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_short_lease_sends_nothing() {
    let server = Server::new(vec![ok("")]).await;
    let client = client(&server);
    let (_lease, lease_until) = watch::channel(Instant::now() + Duration::from_secs(19));
    let gate = Gate {
        stop: CancellationToken::new(),
        lease_until,
    };
    let session = client.session(gate).expect("a key");
    for request in [upsert(Attempts::Several), removal(), Request::Ping] {
        let answer = session.send(&request).await;
        assert_eq!(answer.verdict, Verdict::NotSent(NotSent::LeaseTooShort));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn calls_can_be_spawned() {
    let server = Server::new(vec![ok("[]")]).await;
    let client = Arc::new(client(&server));
    let calls = async move {
        let session = open(&client);
        session.users().await?;
        session.send(&upsert(Attempts::Several)).await;
        session.send(&removal()).await;
        session.user(&id("a")).await
    };
    assert!(tokio::spawn(calls).await.expect("no panic").is_err());
}
