//! Requests of the delivery: what is sent, what each answer means, how often it is tried.

use std::time::Duration;

use rstest::rstest;
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::Gate,
    client, id, impatient, open,
    server::{Reply, Server, answer, beginning_of_success, ok},
};
use crate::{
    delivery::{Answer, Attempts, BatchEntry, Change, Interruption, Loss, NotSent, Request, Verdict},
    employee::{Employee, FullName, Phone},
};

/// An upsert of Ann.
fn upsert(attempts: Attempts) -> Request {
    let employee = Employee {
        id: id("a"),
        name: FullName::parse("Ann").expect("a valid name"),
        phone: Some(Phone::parse("79261234567").expect("a valid phone")),
    };
    let entry = BatchEntry {
        employee,
        phone_spelling: None,
        change: Change::Add,
    };
    Request::Upsert {
        entries: vec![entry],
        attempts,
    }
}

/// A removal of the users `a` and `b`.
fn removal() -> Request {
    Request::Remove {
        user_ids: vec![id("a"), id("b")],
        attempts: Attempts::Several,
    }
}

fn described(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted { absent } if absent.is_empty() => "accepted".to_owned(),
        Verdict::Accepted { absent } => format!("accepted without {absent:?}"),
        Verdict::Refused(refusal) => format!("refused: {refusal}"),
        Verdict::NoDecision(refusal) => format!("no decision: {refusal}"),
        Verdict::Interrupted(Interruption::Unavailable(_)) => "unavailable".to_owned(),
        Verdict::Interrupted(interruption) => format!("{interruption:?}"),
    }
}

/// Sends `request` with `replies` waiting. Returns the verdict, the loss and the number of requests.
async fn send(request: &Request, replies: Vec<Reply>) -> (String, Loss, usize) {
    let server = Server::new(replies).await;
    let Answer { verdict, loss } = open(&client(&server)).send(request).await;
    (described(&verdict), loss, server.requests().len())
}

fn result(verdict: &str, loss: Loss, requests: usize) -> (String, Loss, usize) {
    (verdict.to_owned(), loss, requests)
}

#[tokio::test]
async fn requests_are_as_the_contract_says_and_share_a_connection() {
    let server = Server::new(vec![answer(204, "", ""), ok(r#"["b"]"#), ok("[]")]).await;
    // With a slash too many.
    let client = impatient(&format!("{}/", server.base), Duration::from_secs(20));
    let session = open(&client);
    let mut verdicts = Vec::new();
    for request in [upsert(Attempts::Several), removal(), Request::Ping] {
        verdicts.push(described(&session.send(&request).await.verdict));
    }
    assert_eq!(
        verdicts,
        ["accepted", "accepted without [EmployeeId(\"b\")]", "accepted"]
    );
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
    assert_eq!(server.connection_count(), 1);
}

#[rstest]
#[case(302, "", "unavailable", Loss::None, 1)]
#[case(304, "", "unavailable", Loss::None, 1)]
#[case(400, "", "refused: HTTP_400", Loss::None, 1)]
#[case(
    400,
    r#"{"error":"DUPLICATE_PHONE_NUMBER"}"#,
    "refused: DUPLICATE_PHONE_NUMBER",
    Loss::None,
    1
)]
#[case(401, "", "Unauthorized", Loss::None, 1)]
#[case(402, "<html>", "refused: HTTP_402", Loss::None, 1)]
#[case(403, r#"{"error":"FORBIDDEN"}"#, "no decision: FORBIDDEN", Loss::None, 1)]
#[case(403, "<html>", "no decision: HTTP_403", Loss::None, 1)]
#[case(404, "", "no decision: HTTP_404", Loss::None, 1)]
#[case(405, "", "no decision: HTTP_405", Loss::None, 1)]
#[case(408, "", "unavailable", Loss::None, 4)]
#[case(409, "", "refused: HTTP_409", Loss::None, 1)]
#[case(413, "", "refused: HTTP_413", Loss::None, 1)]
#[case(418, "", "refused: HTTP_418", Loss::None, 1)]
#[case(422, r#"{"errors":[{"code":"odd"}]}"#, "refused: ODD", Loss::None, 1)]
#[case(425, "", "unavailable", Loss::None, 4)]
#[case(429, "", "unavailable", Loss::None, 6)]
#[case(500, r#"{"error":"BOOM"}"#, "no decision: BOOM", Loss::Over, 4)]
#[case(501, "", "no decision: HTTP_501", Loss::MayLand, 4)]
#[case(502, "<html>", "no decision: HTTP_502", Loss::MayLand, 4)]
#[case(503, "", "no decision: HTTP_503", Loss::MayLand, 4)]
#[case(504, "", "no decision: HTTP_504", Loss::MayLand, 4)]
#[case(524, "", "no decision: HTTP_524", Loss::MayLand, 4)]
#[case(999, "", "no decision: HTTP_999", Loss::MayLand, 4)]
#[tokio::test]
async fn each_status_has_its_meaning(
    #[case] status: u16,
    #[case] body: &str,
    #[case] verdict: &str,
    #[case] loss: Loss,
    #[case] requests: usize,
) {
    let reply = answer(status, "location: /v3/elsewhere\r\n", body);
    let sent = send(&upsert(Attempts::Several), vec![reply.clone()]).await;
    assert_eq!(sent, result(verdict, loss, requests));
    if requests > 1 {
        // That a later attempt is accepted does not undo the loss.
        let sent = send(&removal(), vec![reply, ok("")]).await;
        assert_eq!(sent, result("accepted", loss, 2));
    }
}

fn typed(status: u16, content_type: &str, body: &str) -> Reply {
    answer(status, &format!("content-type: {content_type}\r\n"), body)
}

#[rstest]
#[case::cut(Reply::Cut(Vec::new()), "NO_ANSWER")]
#[case::cut_in_the_head(Reply::Cut(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()), "NO_ANSWER")]
#[case::cut_before_the_body(Reply::Cut(beginning_of_success("")), "NO_ANSWER")]
#[case::garbage(Reply::Cut(b"\x00\xff garbage\r\n\r\n".to_vec()), "NO_ANSWER")]
#[case::login_page(typed(200, "text/html; charset=utf-8", "Log in"), "WEB_PAGE")]
#[case::empty_page(typed(204, "TEXT/HTML", ""), "WEB_PAGE")]
#[case::page_of_no_type(ok(" \r\n<!DOCTYPE html>"), "WEB_PAGE")]
#[case::page_of_another_type(typed(201, "text/plain", "\u{feff}<html>"), "WEB_PAGE")]
#[case::endless_blanks(Reply::Flood("", " "), "WEB_PAGE")]
#[tokio::test]
async fn what_is_no_answer_may_land_and_is_tried_again(#[case] reply: Reply, #[case] code: &str) {
    let no_decision = format!("no decision: {code}");
    for request in [upsert(Attempts::Several), removal()] {
        let sent = send(&request, vec![reply.clone()]).await;
        assert_eq!(sent, result(&no_decision, Loss::MayLand, 4));
    }
    let sent = send(&upsert(Attempts::One), vec![reply]).await;
    assert_eq!(sent, result(&no_decision, Loss::MayLand, 1));
}

#[rstest]
#[case::cut(Reply::Cut(beginning_of_success("[")), "no decision: NO_ANSWER")]
#[case::text(ok("OK"), "no decision: WEB_PAGE")]
#[case::endless(Reply::Flood("[", "0,"), "no decision: WEB_PAGE")]
#[tokio::test]
async fn a_removal_is_read_to_its_end_and_an_upsert_need_not_be(#[case] reply: Reply, #[case] removed: &str) {
    let sent = send(&upsert(Attempts::Several), vec![reply.clone()]).await;
    assert_eq!(sent, result("accepted", Loss::None, 1));
    let sent = send(&removal(), vec![reply]).await;
    assert_eq!(sent, result(removed, Loss::MayLand, 4));
}

#[tokio::test]
async fn no_answer_ends_with_the_time_out() {
    for beginning in [Vec::new(), beginning_of_success("")] {
        let server = Server::new(vec![Reply::Hang(beginning)]).await;
        let client = impatient(&server.base, Duration::from_millis(200));
        let answer = open(&client).send(&upsert(Attempts::Several)).await;
        assert_eq!(described(&answer.verdict), "no decision: NO_ANSWER");
        assert_eq!((answer.loss, server.requests().len()), (Loss::MayLand, 4));
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_read_is_still_one() {
    let head = b"HTTP/1.1 400 X\r\ncontent-length: 99\r\n\r\n{".to_vec();
    let long = format!(r#"{{"x":"{}","error":"ODD"}}"#, "x".repeat(1_000_000));
    for reply in [Reply::Hang(head.clone()), Reply::Cut(head), answer(400, "", &long)] {
        let server = Server::new(vec![reply]).await;
        let client = impatient(&server.base, Duration::from_millis(300));
        let answer = open(&client).send(&upsert(Attempts::Several)).await;
        assert_eq!(described(&answer.verdict), "refused: HTTP_400");
        assert_eq!((answer.loss, server.requests().len()), (Loss::None, 1));
    }
}

#[tokio::test]
async fn a_refused_connection_changed_nothing() {
    // Bound, so that no other process gets the port, and not listening.
    let unused = TcpSocket::new_v4().expect("a socket");
    unused.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = unused.local_addr().expect("an address");
    let client = impatient(&format!("http://{address}/hidden"), Duration::from_secs(20));
    let answer = open(&client).send(&upsert(Attempts::Several)).await;
    assert_eq!(answer.loss, Loss::None);
    let reason = format!("{:?}", answer.verdict);
    assert!(
        reason.contains("Unavailable") && reason.contains("refused") && !reason.contains("hidden"),
        "{reason}"
    );
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let other = Server::new(vec![ok("[]")]).await;
    let location = format!("location: {}/users\r\n", other.base);
    let sent = send(&Request::Ping, vec![answer(307, &location, "")]).await;
    assert_eq!(sent, result("unavailable", Loss::None, 1));
    assert_eq!(other.requests().len(), 0);
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
#[case::unauthorized(answer(401, "", ""), "Unauthorized")]
#[case::forbidden(answer(403, "", "<html>"), "Forbidden")]
#[case::wrong_address(answer(404, "", ""), "unavailable")]
#[case::bad_request(answer(400, "", ""), "unavailable")]
#[case::fault(answer(500, "", ""), "unavailable")]
#[case::throttled(answer(429, "", ""), "unavailable")]
#[case::cut(Reply::Cut(Vec::new()), "unavailable")]
#[tokio::test]
async fn a_ping_is_one_attempt(#[case] reply: Reply, #[case] verdict: &str) {
    let sent = send(&Request::Ping, vec![reply]).await;
    assert_eq!(sent, result(verdict, Loss::None, 1));
}

#[tokio::test]
async fn the_header_retry_after_is_read() {
    let start = Instant::now();
    let replies = vec![answer(429, "retry-after: 1\r\n", ""), ok("")];
    let sent = send(&upsert(Attempts::Several), replies).await;
    assert_eq!(sent, result("accepted", Loss::None, 2));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn stop_breaks_no_request_off() {
    let server = Server::new(vec![Reply::Hang(beginning_of_success(""))]).await;
    let timeout = Duration::from_millis(600);
    let client = impatient(&server.base, timeout);
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
    assert!(start.elapsed() >= timeout);
    assert_eq!(described(&answer.verdict), "unavailable");
    assert_eq!(answer.loss, Loss::MayLand);
    // And nothing starts any more.
    let answer = session.send(&request).await;
    let not_sent = Verdict::Interrupted(Interruption::NotSent(NotSent::Stopping));
    assert_eq!((answer.verdict, answer.loss), (not_sent, Loss::None));
    assert_eq!(server.requests().len(), 1);
}
