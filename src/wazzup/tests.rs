//! The client against a socket that answers as ordered, byte for byte.

mod server;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use rstest::rstest;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::server::{Reply, Server, answer, ok};
use super::{retry::Patience, *};
use crate::employee::{Employee, EmployeeId, FullName};

fn client(server: &Server) -> Client {
    client_with(&server.base, Duration::from_secs(20))
}

fn client_with(base: &str, timeout: Duration) -> Client {
    let mut client = Client::new(Settings {
        base_url: base.parse().expect("a URL"),
        timeout,
        requests_per_minute: NonZeroU32::MAX,
        key: KeySource::Literal("the-key".into()),
    });
    client.patience = Patience {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
        throttled: const { &[Duration::from_millis(1); 5] },
        ..Patience::USUAL
    };
    client
}

fn gate() -> Gate {
    Gate::without_lease(CancellationToken::new())
}

fn open(client: &Client) -> Session<'_> {
    client.session(gate()).expect("a key")
}

fn id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).expect("a valid id")
}

fn ann() -> [Employee; 1] {
    [Employee {
        id: id("a"),
        name: FullName::parse("Ann").expect("a valid name"),
        phone: Some("79261234567".parse().expect("a valid phone")),
    }]
}

/// Upserts Ann with `replies` waiting. Returns the outcome and the number of requests.
async fn upsert(replies: Vec<Reply>) -> (Result<Ack, Error>, usize) {
    let server = Server::new(replies).await;
    let outcome = open(&client(&server)).upsert(&ann(), OnFault::Retry).await;
    (outcome, server.requests().len())
}

#[tokio::test]
async fn requests_are_as_the_contract_says() {
    let server = Server::new(vec![ok("[]"), answer(204, "", ""), ok(r#"["b"]"#), ok(""), ok("[]")]).await;
    // With a slash too many.
    let client = client_with(&format!("{}/", server.base), Duration::from_secs(20));
    let session = open(&client);
    assert!(session.users().await.expect("a list").is_complete());
    assert_eq!(
        session.upsert(&ann(), OnFault::Retry).await.expect("done"),
        Ack { late: false }
    );
    let deleted = session
        .bulk_delete(&[id("a"), id("b")], OnFault::Retry)
        .await
        .expect("done");
    assert_eq!(
        deleted,
        BulkDeleted {
            absent: Some(vec![id("b")]),
            late: false
        }
    );
    let deleted = session.delete(&id("a"), OnFault::Retry).await.expect("done");
    assert_eq!(
        deleted,
        Deleted {
            was_absent: false,
            late: false
        }
    );
    session.ping().await.expect("up");

    let lines = [
        "GET /v3/users",
        "POST /v3/users",
        "PATCH /v3/users/bulk_delete",
        "DELETE /v3/users/a",
        "GET /v3/users",
    ];
    assert_eq!(server.lines(), lines);
    let requests = server.requests();
    for request in &requests {
        assert!(request.contains("authorization: Bearer the-key\r\n"), "{request}");
        assert!(
            request.contains(concat!("user-agent: wazzup-sync/", env!("CARGO_PKG_VERSION"))),
            "{request}"
        );
    }
    for (request, body) in [
        (1, r#"[{"id":"a","name":"Ann","phone":"79261234567"}]"#),
        (2, r#"["a","b"]"#),
    ] {
        assert!(requests[request].contains("content-type: application/json\r\n"));
        assert!(
            requests[request].ends_with(&format!("\r\n\r\n{body}")),
            "{}",
            requests[request]
        );
    }
}

#[tokio::test]
async fn nothing_is_sent_for_nobody() {
    let server = Server::new(vec![Reply::Cut]).await;
    let client = client(&server);
    open(&client).upsert(&[], OnFault::Retry).await.expect("nothing to do");
    open(&client)
        .bulk_delete(&[], OnFault::Retry)
        .await
        .expect("nothing to do");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn ids_arrive_unharmed() {
    let odd = [
        "a/b%?#Ж🙂",
        "a b+c&d=e;f",
        "..a",
        "a/../b",
        "%2F",
        "\\",
        "\u{0}\n",
        "x~-_.",
        "\u{200b}",
    ];
    let server = Server::new(vec![answer(404, "", "")]).await;
    let client = client(&server);
    for id in odd.map(id) {
        assert!(open(&client).user(&id).await.expect("an answer").is_none());
    }
    let arrived: Vec<_> = server
        .lines()
        .iter()
        .map(|line| {
            let path = line.strip_prefix("GET /v3/users/").expect("the path of a user");
            assert!(!path.contains(['/', '?', '#', '\\']), "{path}");
            percent_encoding::percent_decode_str(path)
                .decode_utf8()
                .expect("UTF-8")
                .into_owned()
        })
        .collect();
    assert_eq!(arrived, odd);
}

#[rstest]
#[case::cut(Reply::Cut)]
#[case::cut_in_the_head(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()))]
#[case::garbage(Reply::Raw(b"\x00\xff garbage\r\n\r\n".to_vec()))]
#[case::gateway(answer(502, "", "<html>"))]
#[case::gateway_time_out(answer(504, "", ""))]
#[tokio::test]
async fn a_lost_answer_is_tried_again_and_may_land_late(#[case] lost: Reply) {
    let (outcome, requests) = upsert(vec![lost.clone()]).await;
    assert!(
        matches!(outcome, Err(Error::Unavailable { late: true, .. })),
        "{outcome:?}"
    );
    assert_eq!(requests, 4);
    let (outcome, requests) = upsert(vec![lost, ok("")]).await;
    assert_eq!((outcome.expect("done").late, requests), (true, 2));
}

#[rstest]
#[case(408, true, false)]
#[case(425, true, false)]
#[case(429, true, false)]
#[case(503, true, true)]
#[case(302, false, false)]
#[tokio::test]
async fn an_answer_that_is_no_decision(#[case] status: u16, #[case] retried: bool, #[case] may_have_acted: bool) {
    let reply = answer(status, "location: /v3/elsewhere\r\n", "");
    let (outcome, requests) = upsert(vec![reply.clone()]).await;
    let error = outcome.expect_err("unavailable");
    assert!(
        matches!(error, Error::Unavailable { late, .. } if late == may_have_acted),
        "{error:?}"
    );
    assert!(error.to_string().contains(&status.to_string()), "{error}");
    assert_eq!(
        requests,
        if !retried {
            1
        } else if status == 429 {
            6
        } else {
            4
        }
    );
    if retried {
        let (outcome, requests) = upsert(vec![reply, ok("")]).await;
        assert_eq!((outcome.expect("done").late, requests), (false, 2));
    }
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let other = Server::new(vec![ok("[]")]).await;
    let server = Server::new(vec![answer(307, &format!("location: {}/users\r\n", other.base), "")]).await;
    let error = open(&client(&server)).users().await.expect_err("a redirect");
    assert!(matches!(error, Error::Unavailable { late: false, .. }), "{error:?}");
    assert_eq!((server.requests().len(), other.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_refused_connection_changed_nothing() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("an address");
    let client = client_with(&format!("http://{unused}/v3?token=hidden"), Duration::from_secs(20));
    let error = open(&client)
        .upsert(&ann(), OnFault::Retry)
        .await
        .expect_err("nobody listens");
    assert!(matches!(error, Error::Unavailable { late: false, .. }), "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("refused") && !shown.contains("hidden") && !shown.contains("the-key"),
        "{shown}"
    );
}

#[tokio::test]
async fn no_answer_ends_with_the_time_out() {
    let server = Server::new(vec![Reply::Hang(Vec::new())]).await;
    let client = client_with(&server.base, Duration::from_millis(300));
    let error = open(&client)
        .upsert(&ann(), OnFault::Retry)
        .await
        .expect_err("no answer");
    assert!(matches!(error, Error::Unavailable { late: true, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 4);
    // Reading leaves nothing behind.
    let error = open(&client).user(&id("a")).await.expect_err("no answer");
    assert!(matches!(error, Error::Unavailable { late: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_success_counts_even_if_its_body_never_ends() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[".to_vec();
    for reply in [Reply::Hang(head.clone()), Reply::Raw(head), Reply::Flood(30 << 20)] {
        let server = Server::new(vec![reply]).await;
        let client = client_with(&server.base, Duration::from_secs(2));
        let session = open(&client);
        assert!(session.upsert(&ann(), OnFault::Retry).await.is_ok());
        let deleted = session.bulk_delete(&[id("a")], OnFault::Retry).await.expect("deleted");
        assert_eq!(
            deleted,
            BulkDeleted {
                absent: None,
                late: false
            }
        );
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_needed_body_that_is_cut_is_read_again() {
    let cut = Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[".to_vec());
    let server = Server::new(vec![cut.clone(), ok("[]"), cut]).await;
    let client = client(&server);
    assert!(open(&client).users().await.expect("a list").is_complete());
    let error = open(&client).user(&id("a")).await.expect_err("always cut");
    assert!(matches!(error, Error::Unavailable { late: false, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_body_too_big_is_not_taken_in() {
    let server = Server::new(vec![Reply::Flood(30 << 20)]).await;
    let client = client(&server);
    assert!(!open(&client).users().await.expect("a list").is_complete());
    let error = open(&client).user(&id("a")).await.expect_err("too big");
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_user_that_is_another_one_is_unreadable() {
    let server = Server::new(vec![
        ok(r#"{"id":"b","name":"Ben"}"#),
        ok("<html>"),
        ok(r#"{"id":"a","name":"Ann"}"#),
    ])
    .await;
    let client = client(&server);
    for _ in 0..2 {
        let error = open(&client).user(&id("a")).await.expect_err("not Ann");
        assert!(
            matches!(error, Error::Unreadable { .. }) && !error.to_string().contains("Ben"),
            "{error:?}"
        );
    }
    assert_eq!(
        open(&client)
            .user(&id("a"))
            .await
            .expect("an answer")
            .map(|user| user.name)
            .as_deref(),
        Some("Ann")
    );
}

#[tokio::test]
async fn pages_are_read_to_the_end() {
    let page = |users: std::ops::Range<usize>| {
        let data: Vec<_> = users.map(|n| serde_json::json!({"id": n, "name": "N"})).collect();
        ok(&serde_json::json!({"count": "150", "data": data}).to_string())
    };
    let server = Server::new(vec![page(0..100), page(100..150), page(0..100), answer(400, "", "")]).await;
    let client = client(&server);
    let list = open(&client).users().await.expect("a list");
    assert_eq!((list.users.len(), list.incomplete), (150, None));
    let list = open(&client).users().await.expect("a list");
    assert_eq!(
        (list.users.len(), list.incomplete.as_deref()),
        (100, Some("its next page is refused: HTTP 400, HTTP_400"))
    );
    assert_eq!(server.lines()[..2], ["GET /v3/users", "GET /v3/users?offset=100"]);
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_not_tried_again() {
    let (outcome, requests) = upsert(vec![answer(401, "", "")]).await;
    assert!(
        matches!(outcome, Err(Error::Unauthorized { late: false })),
        "{outcome:?}"
    );
    assert_eq!(requests, 1);
    let (outcome, requests) = upsert(vec![answer(403, "", r#"{"error":"FORBIDDEN"}"#)]).await;
    assert!(matches!(outcome, Err(Error::Forbidden { late: false })), "{outcome:?}");
    assert_eq!(requests, 1);
    let (outcome, requests) = upsert(vec![Reply::Cut, answer(401, "", "")]).await;
    assert!(
        matches!(outcome, Err(Error::Unauthorized { late: true })),
        "{outcome:?}"
    );
    assert_eq!(requests, 2);
}

#[rstest]
#[case(
    400,
    r#"{"error":"DUPLICATE_PHONE_NUMBER","description":"phone 79261234567 of Ann"}"#,
    "DUPLICATE_PHONE_NUMBER"
)]
#[case(400, "", "HTTP_400")]
#[case(404, "<html>", "HTTP_404")]
#[case(405, "", "HTTP_405")]
#[case(413, "", "HTTP_413")]
#[case(422, r#"{"errors":[{"code":"odd"}]}"#, "ODD")]
#[tokio::test]
async fn a_refusal_is_final(#[case] status: u16, #[case] body: &str, #[case] code: &str) {
    let (outcome, requests) = upsert(vec![answer(status, "", body)]).await;
    let error = outcome.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("7926") && !shown.contains("Ann"), "{shown}");
    let Error::Refused(refusal) = error else {
        panic!("{shown}")
    };
    assert_eq!(
        (refusal.status, refusal.code.as_str().as_ref(), refusal.late, requests),
        (status, code, false, 1)
    );
}

#[tokio::test]
async fn a_refusal_that_never_ends_is_still_one() {
    let head = b"HTTP/1.1 400 X\r\ncontent-length: 99\r\n\r\n{".to_vec();
    for reply in [Reply::Hang(head.clone()), Reply::Raw(head)] {
        let server = Server::new(vec![reply]).await;
        let client = client_with(&server.base, Duration::from_millis(300));
        let outcome = open(&client).upsert(&ann(), OnFault::Retry).await;
        assert!(
            matches!(&outcome, Err(Error::Refused(refusal)) if refusal.code == Code::Missing(400)),
            "{outcome:?}"
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_fault_is_retried_unless_the_caller_wants_to_know() {
    let fault = answer(500, "", r#"{"error":"BOOM"}"#);
    let (outcome, requests) = upsert(vec![fault.clone()]).await;
    assert!(
        matches!(&outcome, Err(Error::Fault(refusal)) if !refusal.late),
        "{outcome:?}"
    );
    assert_eq!(requests, 4);
    let (outcome, requests) = upsert(vec![fault.clone(), ok("")]).await;
    assert_eq!((outcome.expect("done").late, requests), (false, 2));

    let server = Server::new(vec![fault]).await;
    let outcome = open(&client(&server)).upsert(&ann(), OnFault::Report).await;
    assert!(matches!(outcome, Err(Error::Fault(_))), "{outcome:?}");
    assert_eq!(server.requests().len(), 1);
    assert!(open(&client(&server)).ping().await.is_err());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn deleting_who_is_gone_is_done() {
    let server = Server::new(vec![answer(404, "", ""), Reply::Cut, answer(404, "", "")]).await;
    let client = client(&server);
    for late in [false, true] {
        let deleted = open(&client).delete(&id("a"), OnFault::Retry).await.expect("done");
        assert_eq!(deleted, Deleted { was_absent: true, late });
    }
    let outcome = open(&client).bulk_delete(&[id("a")], OnFault::Retry).await;
    assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
}

#[tokio::test]
async fn retry_after_is_honoured() {
    for status in [429, 503] {
        let server = Server::new(vec![answer(status, "retry-after: 1\r\n", ""), ok("")]).await;
        let start = Instant::now();
        open(&client(&server))
            .upsert(&ann(), OnFault::Retry)
            .await
            .expect("done");
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_service_that_wants_to_be_left_alone_is() {
    let server = Server::new(vec![answer(429, "retry-after: 121\r\n", ""), ok("")]).await;
    let client = client(&server);
    for _ in 0..2 {
        let outcome = open(&client).upsert(&ann(), OnFault::Retry).await;
        assert!(
            matches!(outcome, Err(Error::Unavailable { late: false, .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn stop_ends_a_wait_and_not_a_request() {
    let server = Server::new(vec![answer(429, "retry-after: 100\r\n", "")]).await;
    let client = client(&server);
    let stop = CancellationToken::new();
    let session = client.session(Gate::without_lease(stop.clone())).expect("a key");
    let entries = ann();
    let stopper = async {
        while server.requests().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let call = async { tokio::join!(session.upsert(&entries, OnFault::Retry), stopper).0 };
    let outcome = timeout(Duration::from_secs(50), call).await.expect("the wait ends");
    assert!(
        matches!(outcome, Err(Error::Unavailable { late: false, .. })),
        "{outcome:?}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_short_lease_sends_nothing() {
    let server = Server::new(vec![ok("")]).await;
    let client = client(&server);
    let (_lease, lease_until) = watch::channel(Instant::now() + Duration::from_secs(19));
    let session = client
        .session(Gate {
            stop: CancellationToken::new(),
            lease_until,
        })
        .expect("a key");
    let outcome = session.upsert(&ann(), OnFault::Retry).await;
    assert!(
        matches!(outcome, Err(Error::NotSent(Hindrance::LeaseTooShort))),
        "{outcome:?}"
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_key_file_is_read_for_each_session() {
    let server = Server::new(vec![ok("")]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let client = Client::new(Settings {
        base_url: server.base.parse().expect("a URL"),
        timeout: Duration::from_secs(20),
        requests_per_minute: NonZeroU32::MAX,
        key: KeySource::File(file.path().to_owned()),
    });
    for unusable in [
        &b""[..],
        b" \n",
        b"two words",
        "ключ".as_bytes(),
        b"\xff",
        b"line\nline",
    ] {
        std::fs::write(file.path(), unusable).expect("written");
        let error = client.session(gate()).err().expect("no key");
        assert!(
            error.to_string().contains(&file.path().display().to_string()),
            "{error}"
        );
    }
    for key in ["first", "second"] {
        std::fs::write(file.path(), format!(" {key}\n")).expect("written");
        open(&client).ping().await.expect("up");
    }
    let requests = server.requests();
    assert!(requests[0].contains("Bearer first\r\n") && requests[1].contains("Bearer second\r\n"));
    file.close().expect("removed");
    assert!(matches!(client.session(gate()), Err(Error::Key { .. })));
}

#[tokio::test]
async fn calls_can_be_spawned() {
    let server = Server::new(vec![ok("[]")]).await;
    let client = Arc::new(client(&server));
    let calls = async move {
        let session = open(&client);
        session.users().await?;
        session.upsert(&ann(), OnFault::Retry).await?;
        session.bulk_delete(&[id("a")], OnFault::Retry).await?;
        session.delete(&id("a"), OnFault::Retry).await?;
        session.ping().await
    };
    tokio::spawn(calls).await.expect("no panic").expect("done");
}
