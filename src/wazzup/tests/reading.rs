//! The list, single users, and the key.

use std::{num::NonZeroU32, process::Command, time::Duration};

use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Client, Error, FetchedList, Gate, Settings},
    client, client_with, id, open, open_gate,
    server::{Reply, Server, answer, ok},
};
use crate::{
    delivery::{NotSent, Request},
    plan::Coverage,
    secret::SecretSource,
};

/// Reads the list with `replies` waiting. Returns the result and the number of requests.
async fn users(replies: Vec<Reply>) -> (Result<FetchedList, Error>, usize) {
    let server = Server::new(replies).await;
    let result = open(&client(&server)).users().await;
    (result, server.requests().len())
}

fn reason(list: &FetchedList) -> &str {
    match &list.coverage {
        Coverage::Incomplete(reason) | Coverage::Unavailable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pages_are_read_to_the_end() {
    let page = |users: std::ops::Range<usize>| {
        let data: Vec<Value> = users.map(|n| json!({"id": n, "name": "N"})).collect();
        ok(&json!({"count": "150", "data": data}).to_string())
    };
    let server = Server::new(vec![page(0..100), page(100..150)]).await;
    let list = open(&client(&server)).users().await.expect("a list");
    assert_eq!((list.names.len(), list.coverage), (150, Coverage::Complete));
    assert_eq!(server.lines(), ["GET /v3/users", "GET /v3/users?offset=100"]);
    // The service answers, and cannot page.
    for status in [400, 403, 404, 500] {
        let (result, _) = users(vec![page(0..100), answer(status, "", "")]).await;
        let list = result.expect("a list");
        assert_eq!(list.names.len(), 100);
        assert!(reason(&list).starts_with("a page cannot be had: "));
    }
    let (result, _) = users(vec![page(0..100), answer(401, "", "")]).await;
    assert!(matches!(result, Err(Error::Unauthorized)), "{result:?}");
}

#[tokio::test]
async fn a_list_that_cannot_be_had_for_key_or_address_is_an_error() {
    for (status, text) in [(401, "401"), (403, "sidecar"), (404, "wazzup.base_url")] {
        let (result, requests) = users(vec![answer(status, "", "")]).await;
        let error = result.expect_err("no list").to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(requests, 1);
    }
}

#[rstest]
#[case::refused(answer(400, "", ""), 1)]
#[case::not_allowed(answer(405, "", ""), 1)]
#[case::redirect(answer(302, "", ""), 1)]
#[case::fault(answer(500, "", ""), 4)]
#[case::gateway(answer(502, "", "<html>"), 4)]
#[case::throttled(answer(429, "", ""), 6)]
#[case::cut(Reply::Cut, 4)]
#[case::cut_body(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[".to_vec()), 4)]
#[case::page(ok("<html>"), 4)]
#[case::other_json(ok(r#"{"error":"FORBIDDEN"}"#), 1)]
#[case::text(ok("OK"), 1)]
#[case::endless_zeros(Reply::Flood("[", "0,"), 1)]
#[case::endless_user(Reply::Flood(r#"[{"id":1,"name":""#, "x"), 1)]
#[case::endless_envelope(Reply::Flood(r#"{"count":1,"note":""#, "x"), 1)]
#[case::one_user_again_and_again(Reply::Flood("[", r#"{"id":1,"name":"A"},"#), 1)]
#[tokio::test]
async fn every_other_list_is_incomplete(#[case] reply: Reply, #[case] attempts: usize) {
    let (result, requests) = users(vec![reply]).await;
    let list = result.expect("a list");
    assert!(!reason(&list).is_empty());
    assert_eq!(requests, attempts);
}

#[tokio::test]
async fn a_page_that_is_cut_is_read_again() {
    let cut = Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[{\"id\":1,\"name\":\"A\"},".to_vec());
    let (result, requests) = users(vec![cut, ok(r#"[{"id":2,"name":"B"}]"#)]).await;
    let list = result.expect("a list");
    assert_eq!((list.names.len(), list.coverage, requests), (1, Coverage::Complete, 2));
}

#[tokio::test]
async fn nothing_is_read_while_the_process_is_stopping() {
    let server = Server::new(vec![ok("[]")]).await;
    let client = client(&server);
    let stop = CancellationToken::new();
    stop.cancel();
    let session = client.session(Gate::without_lease(stop)).expect("a key");
    assert!(matches!(session.users().await, Err(Error::NotSent(NotSent::Stopping))));
    assert!(matches!(session.user(&id("a")).await, Err(Error::NotSent(_))));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_list_that_takes_too_long_is_given_up() {
    // Each page brings one user more, and comes after most of the time-out.
    let server = Server::slow(Duration::from_millis(60), |number| {
        ok(&json!({"count": 5_000, "data": [{"id": number, "name": "N"}]}).to_string())
    })
    .await;
    let client = client_with(&server.base, Duration::from_millis(100));
    let start = Instant::now();
    let list = open(&client).users().await.expect("a list");
    assert_eq!(reason(&list), "reading it takes too long");
    assert!(start.elapsed() < Duration::from_secs(5));
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
        assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_user_that_is_another_one_is_unreadable() {
    let flood = Reply::Flood(r#"{"id":"a","name":""#, "x");
    for reply in [ok(r#"{"id":"b","name":"Ben"}"#), ok("[]"), ok("OK"), ok(""), flood] {
        let server = Server::new(vec![reply]).await;
        let error = open(&client(&server)).user(&id("a")).await.expect_err("not Ann");
        assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
        assert!(!error.to_string().contains("Ben"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
    let server = Server::new(vec![ok(r#"{"id":"a","name":"Ann","phone":"79261234567"}"#)]).await;
    let user = open(&client(&server))
        .user(&id("a"))
        .await
        .expect("an answer")
        .expect("a user");
    assert_eq!(
        (user.name.as_str(), user.phone.as_deref()),
        ("Ann", Some("79261234567"))
    );
}

#[rstest]
#[case::web_page(ok("<html>"), 4)]
#[case::gateway(answer(502, "", ""), 4)]
#[case::fault(answer(500, "", r#"{"error":"BOOM"}"#), 4)]
#[case::cut(Reply::Cut, 4)]
#[case::cut_body(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()), 4)]
#[tokio::test]
async fn a_user_who_cannot_be_asked_for_is_unavailable(#[case] reply: Reply, #[case] attempts: usize) {
    let server = Server::new(vec![reply]).await;
    let error = open(&client(&server)).user(&id("a")).await.expect_err("no answer");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(server.requests().len(), attempts);
}

fn client_of(server: &Server, key: SecretSource) -> Client {
    Client::new(Settings {
        base_url: server.base.parse().expect("a URL"),
        timeout: Duration::from_secs(20),
        requests_per_minute: NonZeroU32::MAX,
        key,
    })
}

#[tokio::test]
async fn the_key_file_is_read_for_each_session() {
    let server = Server::new(vec![ok("[]")]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let client = client_of(&server, SecretSource::File(file.path().to_owned()));
    let long = vec![b'k'; 70_000];
    for unusable in [
        &b""[..],
        b" \n",
        b"two words",
        "ключ".as_bytes(),
        b"\xff",
        b"line\nline",
        &long,
    ] {
        std::fs::write(file.path(), unusable).expect("written");
        let error = client.session(open_gate()).err().expect("no key");
        let path = file.path().display().to_string();
        assert!(error.to_string().contains(&path), "{error}");
    }
    let mut fingerprints = Vec::new();
    for key in ["first", "second"] {
        std::fs::write(file.path(), format!(" {key}\n")).expect("written");
        let session = open(&client);
        session.send(&Request::Ping).await;
        fingerprints.push(session.fingerprint().to_owned());
    }
    assert_ne!(fingerprints[0], fingerprints[1]);
    let requests = server.requests();
    assert!(requests[0].contains("Bearer first\r\n") && requests[1].contains("Bearer second\r\n"));
    file.close().expect("removed");
    assert!(matches!(client.session(open_gate()), Err(Error::Key { .. })));
}

#[tokio::test]
async fn only_a_regular_file_is_read_as_a_key() {
    let server = Server::new(vec![ok("[]")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there");
    assert!(made.success());
    for path in [fifo, folder.path().to_owned(), "/dev/null".into()] {
        let client = client_of(&server, SecretSource::File(path));
        let opened = tokio::task::spawn_blocking(move || client.session(open_gate()).err());
        let error = timeout(Duration::from_secs(20), opened)
            .await
            .expect("it does not block");
        let error = error.expect("no panic").expect("no key");
        assert!(error.to_string().contains("is not a regular file"), "{error}");
    }
}

#[tokio::test]
async fn the_fingerprint_stands_for_address_and_key() {
    let fingerprint = |base: &str, key: &str| {
        let client = Client::new(Settings {
            base_url: base.parse().expect("a URL"),
            timeout: Duration::from_secs(20),
            requests_per_minute: NonZeroU32::MAX,
            key: SecretSource::Literal(key.into()),
        });
        let session = client.session(open_gate()).expect("a key");
        session.fingerprint().to_owned()
    };
    let usual = fingerprint("https://host/v3", "key");
    assert_eq!(usual.len(), 16);
    assert!(usual.bytes().all(|byte| byte.is_ascii_hexdigit()), "{usual}");
    assert_eq!(usual, fingerprint("https://host/v3/", " key\n"));
    assert_ne!(usual, fingerprint("https://host/v4", "key"));
    assert_ne!(usual, fingerprint("https://host/v3", "other"));
}
