//! The list and single users, over HTTP.

use std::{ops::Range, time::Duration};

use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Error, Gate, Session, user::RemoteUser},
    client, id, impatient, open,
    server::{Reply, Server, answer, beginning_of_success, ok},
};
use crate::{
    delivery::{Interruption, NotSent},
    plan::{Coverage, RemoteList},
};

async fn read_list(session: &Session<'_>) -> Result<RemoteList, Error> {
    let mut list = RemoteList::unread("");
    session.read_list(0, &mut list).await?;
    Ok(list)
}

/// Reads the list with `replies` waiting. Returns the result and the number of requests.
async fn users(replies: Vec<Reply>) -> (Result<RemoteList, Error>, usize) {
    let server = Server::new(replies).await;
    let result = read_list(&open(&client(&server))).await;
    (result, server.requests().len())
}

/// Asks for the user `a` in the same way.
async fn user(reply: Reply) -> (Result<Option<RemoteUser>, Error>, usize) {
    let server = Server::new(vec![reply]).await;
    let result = open(&client(&server)).user(&id("a")).await;
    (result, server.requests().len())
}

fn reason(list: &RemoteList) -> &str {
    match list.coverage() {
        Coverage::Incomplete(reason) | Coverage::Unavailable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn page(users: Range<usize>) -> Reply {
    let data: Vec<Value> = users.map(|n| json!({"id": n, "name": "N"})).collect();
    ok(&json!({"count": "150", "data": data}).to_string())
}

#[tokio::test]
async fn pages_are_read_to_the_end() {
    let server = Server::new(vec![page(0..100), page(100..150)]).await;
    let list = read_list(&open(&client(&server))).await.expect("a list");
    assert_eq!((list.users().count(), list.coverage()), (150, &Coverage::Complete));
    assert_eq!(server.lines(), ["GET /v3/users", "GET /v3/users?offset=100"]);
}

#[tokio::test]
async fn a_service_that_answers_and_cannot_page_shows_an_incomplete_list() {
    for status in [400, 403, 404, 500] {
        let (result, _) = users(vec![page(0..100), answer(status, "", "")]).await;
        let list = result.expect("a list");
        assert_eq!(list.users().count(), 100);
        assert!(reason(&list).starts_with("a page cannot be had: "));
    }
    let (result, _) = users(vec![page(0..100), answer(401, "", "")]).await;
    let error = result.expect_err("the key is refused");
    assert!(
        matches!(error, Error::Interrupted(Interruption::Unauthorized)),
        "{error:?}"
    );
}

#[rstest]
#[case(401, "does not accept the API key (401): replace it", 1)]
#[case(403, "the key is probably of the wrong type (\"sidecar\")", 1)]
#[case(404, "does not know GET /users (404): check wazzup.base_url", 1)]
#[case(400, "GET /users is of no use: HTTP_400; check wazzup.base_url", 1)]
#[case(405, "GET /users is of no use: HTTP_405; check wazzup.base_url", 1)]
#[case(302, "is unavailable: HTTP 302, a redirect", 1)]
#[case(429, "is unavailable: HTTP 429, too many requests; if this lasts, check", 6)]
#[case(500, "is unavailable: HTTP_500; if this lasts, check the network", 4)]
#[case(502, "is unavailable: HTTP_502; if this lasts, check the network", 4)]
#[tokio::test]
async fn each_error_says_what_failed_and_what_to_do(#[case] status: u16, #[case] text: &str, #[case] attempts: usize) {
    let (list, requests) = users(vec![answer(status, "", "")]).await;
    let shown = match &list {
        Ok(list) => reason(list).to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(shown.contains(text), "{shown}");
    assert_eq!((list.is_err(), requests), (matches!(status, 401 | 403 | 404), attempts));

    let (user, requests) = user(answer(status, "", "")).await;
    assert_eq!(requests, attempts);
    match user {
        Ok(user) => assert_eq!((status, user), (404, None)),
        Err(error) => {
            let text = text.replace("GET /users", "GET /users/{id}");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }
}

#[rstest]
#[case::cut(Reply::Cut(Vec::new()), 4)]
#[case::cut_body(Reply::Cut(beginning_of_success("[")), 4)]
#[case::page(ok("<html>"), 4)]
#[case::other_json(ok(r#"{"error":"FORBIDDEN"}"#), 1)]
#[case::text(ok("OK"), 1)]
#[case::endless_zeros(Reply::Flood("[", "0,"), 1)]
#[case::endless_user(Reply::Flood(r#"[{"id":1,"name":""#, "x"), 1)]
#[case::endless_envelope(Reply::Flood(r#"{"count":1,"note":""#, "x"), 1)]
#[case::one_user_again_and_again(Reply::Flood("[", r#"{"id":1,"name":"A"},"#), 1)]
#[tokio::test]
async fn what_is_no_list_proves_nothing(#[case] reply: Reply, #[case] attempts: usize) {
    let (result, requests) = users(vec![reply]).await;
    let list = result.expect("a list");
    assert!(!reason(&list).is_empty());
    assert_eq!(requests, attempts);
}

#[tokio::test]
async fn a_page_that_is_cut_is_read_again() {
    let cut = Reply::Cut(beginning_of_success(r#"[{"id":1,"name":"A"},"#));
    let (result, requests) = users(vec![cut, ok(r#"[{"id":2,"name":"B"}]"#)]).await;
    let list = result.expect("a list");
    assert_eq!(
        (list.users().count(), list.coverage(), requests),
        (1, &Coverage::Complete, 2)
    );
}

#[tokio::test]
async fn a_list_that_takes_too_long_is_given_up() {
    // Each page brings one user more, and comes after most of the time-out.
    let server = Server::slow(Duration::from_millis(60), |number| {
        ok(&json!({"count": 5_000, "data": [{"id": number, "name": "N"}]}).to_string())
    })
    .await;
    let client = impatient(&server.base, Duration::from_millis(100));
    let list = read_list(&open(&client)).await.expect("a list");
    assert_eq!(reason(&list), "reading it takes too long");
    assert!(list.users().count() < 100);
}

#[tokio::test]
async fn nothing_is_read_while_the_process_is_stopping() {
    let server = Server::new(vec![ok("[]")]).await;
    let client = client(&server);
    let stop = CancellationToken::new();
    stop.cancel();
    let session = client.session(Gate::without_lease(stop)).expect("a key");
    let errors = [
        read_list(&session).await.expect_err("no list"),
        session.user(&id("a")).await.expect_err("no user"),
    ];
    for error in errors {
        let not_sent = matches!(&error, Error::Interrupted(Interruption::NotSent(NotSent::Stopping)));
        assert!(not_sent, "{error:?}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn ids_arrive_unharmed() {
    let odd = ["a%?#Ж🙂", "a b+c&d=e;f", "..a", "%2F", "\u{0}\n", "x~-_.", "\u{200b}"];
    let server = Server::new(vec![answer(404, "", "")]).await;
    let client = client(&server);
    for id in odd.map(id) {
        assert!(open(&client).user(&id).await.expect("an answer").is_none());
    }
    let decode = |line: &String| {
        let path = line.strip_prefix("GET /v3/users/").expect("the path of a user");
        assert!(!path.contains(['/', '?', '#', '\\']), "{path}");
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
        decoded.expect("UTF-8").into_owned()
    };
    let arrived: Vec<String> = server.lines().iter().map(decode).collect();
    assert_eq!(arrived, odd);
}

#[tokio::test]
async fn an_id_without_a_url_is_not_asked_for() {
    let server = Server::new(vec![ok("[]")]).await;
    let client = client(&server);
    for text in [".", "..", "bulk_delete", "a/b", "a\\b"] {
        let error = open(&client).user(&id(text)).await.expect_err("no URL");
        assert!(matches!(error, Error::Useless { .. }), "{error:?}");
    }
    assert!(server.requests().is_empty());
}

#[rstest]
#[case::another(ok(r#"{"id":"b","name":"Ben"}"#))]
#[case::list(ok("[]"))]
#[case::text(ok("OK"))]
#[case::empty(ok(""))]
#[case::endless(Reply::Flood(r#"{"id":"a","name":""#, "x"))]
#[tokio::test]
async fn what_is_not_the_user_is_of_no_use(#[case] reply: Reply) {
    let (result, requests) = user(reply).await;
    let error = result.expect_err("not Ann");
    assert!(matches!(error, Error::Useless { .. }), "{error:?}");
    assert!(!error.to_string().contains("Ben"), "{error}");
    assert_eq!(requests, 1);
}

#[rstest]
#[case::web_page(ok("<html>"))]
#[case::cut(Reply::Cut(Vec::new()))]
#[case::cut_body(Reply::Cut(beginning_of_success("{")))]
#[tokio::test]
async fn a_user_who_cannot_be_asked_for_is_unavailable(#[case] reply: Reply) {
    let (result, requests) = user(reply).await;
    let error = result.expect_err("no answer");
    let unavailable = matches!(error, Error::Interrupted(Interruption::Unavailable(_)));
    assert!(unavailable, "{error:?}");
    assert_eq!(requests, 4);
}
