use std::time::{Duration, Instant};

use anyhow::Result;
use sandbox::{Fault, ListStyle, Poison, PoisonReply, Wazzup, What, When};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{PATIENCE, bulk_delete, call, get, post};

fn ann() -> Value {
    json!([{"id": "1", "name": "Ann"}])
}

#[tokio::test]
async fn a_fault_strikes_the_requests_it_is_for() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.order(Fault::new(When::Post, What::status(500)).skip(1));
    wazzup.order(Fault::new(When::Path("/users/".into()), What::error(405, "NO")).times(2));
    wazzup.order(Fault::new(When::All(vec![When::Writes, When::User("7".into())]), What::html(403)).always());
    wazzup.order(Fault::new(When::List, What::Delay { ms: 50 }));
    wazzup.order(Fault::new(When::Reads, What::too_many_requests(Some(3))).skip(1));
    assert_eq!(post(&wazzup, ann()).await?.status, 200);
    assert_eq!(post(&wazzup, ann()).await?.status, 500);
    assert_eq!(get(&wazzup, "/users/1").await?.json()["error"], "NO");
    assert_eq!(bulk_delete(&wazzup, json!(["77"])).await?.status, 405);
    for _ in 0..3 {
        assert_eq!(
            bulk_delete(&wazzup, json!(["7"])).await?.headers["content-type"],
            "text/html; charset=utf-8"
        );
    }
    let start = Instant::now();
    assert_eq!(get(&wazzup, "/users").await?.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(get(&wazzup, "/users/7").await?.headers["retry-after"], "3");
    wazzup.clear_faults();
    assert_eq!(bulk_delete(&wazzup, json!(["7"])).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn answers_are_lost_before_or_after_the_request_is_done() -> Result<()> {
    for (what, is_done, is_reset) in [
        (What::CutBefore, false, true),
        (What::CutAfter, true, true),
        (What::SilenceBefore, false, false),
        (What::SilenceAfter, true, false),
        (What::Delay { ms: 200 }, true, false),
        (What::DelayAnswer { ms: 60_000 }, true, false),
        (What::HoldBack, false, true),
    ] {
        let wazzup = Wazzup::start().await?;
        wazzup.order(Fault::new(When::Post, what.clone()));
        let answer = timeout(Duration::from_millis(150), post(&wazzup, ann())).await;
        match answer {
            Ok(Err(error)) => assert!(
                is_reset && format!("{error:?}").contains("ConnectionReset"),
                "{error:?}"
            ),
            Ok(Ok(answer)) => panic!("{what:?} was answered: {}", answer.status),
            Err(_) => assert!(!is_reset, "{what:?}"),
        }
        // What is done without an answer may be done after the client gave up.
        let is_over = |state: &sandbox::State| state.in_flight() == 0 && state.users().len() == usize::from(is_done);
        wazzup.wait_until(is_over, PATIENCE).await?;
        let request = wazzup.requests().remove(0);
        assert_eq!((request.status, request.applied), (None, is_done), "{what:?}");
    }
    Ok(())
}

#[tokio::test]
async fn requests_land_when_they_are_told_to() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.order(Fault::new(When::Writes, What::HoldBack).times(3));
    assert!(post(&wazzup, ann()).await.is_err());
    assert!(bulk_delete(&wazzup, json!(["1"])).await.is_err());
    assert!(post(&wazzup, json!([{"id": "2", "name": "Bea"}])).await.is_err());
    wazzup.wait_until(|state| state.late() == 3, PATIENCE).await?;
    assert!(wazzup.users().is_empty());
    assert_eq!(
        wazzup.land_next_late().map(|request| request.method),
        Some("POST".into())
    );
    assert!(wazzup.user("1").is_some());
    assert_eq!(wazzup.land_late(), 2);
    assert_eq!(wazzup.users().into_keys().collect::<Vec<_>>(), ["2"]);
    assert!(wazzup.requests().iter().all(|request| request.applied));
    let in_vain = wazzup
        .wait_until(|state| state.late() > 0, Duration::from_millis(10))
        .await;
    assert!(in_vain.is_err_and(|error| error.to_string().contains("#3 POST /v3/users")));
    Ok(())
}

#[tokio::test]
async fn bodies_are_of_no_use() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.seed_foreigners(10);
    wazzup.vary(|variant| variant.list = ListStyle::Pages);
    let list = async |what| {
        wazzup.order(Fault::new(When::Any, what));
        get(&wazzup, "/users").await
    };
    assert_eq!(list(What::EmptyList).await?.json()["data"], json!([]));
    let short = list(What::ShortList { missing: 3 }).await?.json();
    assert_eq!(
        (&short["count"], short["data"].as_array().map(Vec::len)),
        (&json!(10), Some(7))
    );
    for what in [What::BrokenJson, What::Garbage, What::html(200)] {
        let answer = list(what).await?;
        assert_eq!(answer.status, 200);
        assert!(serde_json::from_str::<Value>(&answer.body).is_err());
    }
    assert_eq!(list(What::huge_body(3_000_001)).await?.body.len(), 3_000_001);
    assert_eq!(
        list(What::million_zeros()).await?.json().as_array().map(Vec::len),
        Some(1_000_000)
    );
    let error = list(What::long_error(500)).await?;
    assert_eq!((error.status, error.json()["error"].as_str()), (500, Some("LONG")));
    assert!(
        timeout(Duration::from_millis(100), list(What::endless_user()))
            .await
            .is_err()
    );

    let to = "http://127.0.0.1:1/elsewhere".to_owned();
    let redirect = list(What::Redirect {
        status: 307,
        to: to.clone(),
    })
    .await?;
    assert_eq!(
        (redirect.status, redirect.headers["location"].to_str()?),
        (307, to.as_str())
    );
    for body in ["", "[]", r#"["foreign-1"]"#, "garbage", "<html>"] {
        let body = body.to_owned();
        wazzup.order(Fault::new(
            When::BulkDelete,
            What::ActThenAnswer {
                status: 200,
                body: body.clone(),
            },
        ));
        assert_eq!(bulk_delete(&wazzup, json!(["foreign-1"])).await?.body, body);
    }
    wazzup.order(Fault::new(When::Any, What::act_then_html(502)));
    assert_eq!(bulk_delete(&wazzup, json!(["foreign-2"])).await?.status, 502);
    assert_eq!(wazzup.users().len(), 8);
    Ok(())
}

#[tokio::test]
async fn poisoned_entries_spoil_their_batch() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let batch: Value = (0..4)
        .map(|id| json!({"id": id.to_string(), "name": format!("N{id}")}))
        .collect();
    let fields = vec!["name".to_owned()];
    for (reply, status, indexes) in [
        (PoisonReply::Named(fields.clone()), 400, vec![1, 3]),
        (PoisonReply::NamedFirst(fields.clone()), 400, vec![1]),
        (PoisonReply::OffByOne(fields), 400, vec![2, 4]),
        (PoisonReply::WildIndexes, 400, vec![100, 4_294_967_296, -1]),
        (PoisonReply::NoData, 400, vec![]),
        (PoisonReply::EmptyBody, 400, vec![]),
        (PoisonReply::Html, 400, vec![]),
        (PoisonReply::Status(504), 504, vec![]),
        (PoisonReply::Do(What::html(403)), 403, vec![]),
    ] {
        let mut poison = Poison::ids(["1"], reply);
        poison.names.insert("N3".to_owned());
        wazzup.poison(poison);
        let answer = post(&wazzup, batch.clone()).await?;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let named = body["data"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = named.iter().filter_map(|entry| entry["index"].as_i64()).collect();
        assert_eq!((answer.status, named), (status, indexes));
        wazzup.cure();
    }
    assert!(wazzup.users().is_empty());
    wazzup.poison(Poison::names(["N1"], PoisonReply::Do(What::CutBefore)));
    assert!(post(&wazzup, batch.clone()).await.is_err());
    wazzup.cure();

    wazzup.refuse_removal(["1"], PoisonReply::NoData);
    wazzup.vary(|variant| variant.atomic = false);
    assert_eq!(post(&wazzup, batch).await?.status, 200);
    assert_eq!(bulk_delete(&wazzup, json!(["1", "2"])).await?.status, 400);
    assert_eq!(call(&wazzup, "DELETE", "/users/1", Value::Null).await?.status, 400);
    assert_eq!(wazzup.users().into_keys().collect::<Vec<_>>(), ["0", "1", "3"]);
    Ok(())
}

#[tokio::test]
async fn a_sandbox_stops_and_starts_again_with_its_users() -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let pem = (made.cert.pem(), made.signing_key.serialize_pem());
    let wazzup = Wazzup::start_on(([127, 0, 0, 1], 0).into(), Some((&pem.0, &pem.1))).await?;
    assert!(wazzup.base_url().starts_with("https://127.0.0.1:"));
    assert_eq!(post(&wazzup, ann()).await?.status, 200);
    wazzup.stop();
    assert!(post(&wazzup, ann()).await.is_err_and(|error| error.is_connect()));
    wazzup.start_again().await?;
    assert_eq!(get(&wazzup, "/users/1").await?.status, 200);
    for (page, expected) in [
        ("", "1   -                seller    Ann"),
        ("_sandbox/users", r#""name":"Ann""#),
        ("_sandbox/requests", r#""writing":true"#),
        ("_sandbox/violations", r#""violations":[]"#),
    ] {
        let body = get(&wazzup, &format!("/../{page}")).await?.body;
        assert!(body.contains(expected), "{body}");
    }
    assert_eq!((wazzup.requests().len(), wazzup.max_in_flight()), (2, 1));
    Ok(())
}
