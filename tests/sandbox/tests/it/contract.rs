use anyhow::Result;
use sandbox::{ErrorStyle, MalformedPhone, OmittedPhone, Origin, PostAnswer, RateLimit, Wazzup};
use serde_json::{Value, json};

use crate::client::{Answer, call, call_with_key, control};

async fn post(wazzup: &Wazzup, body: &Value) -> Result<Answer> {
    Ok(call(wazzup, "POST", "/users", &body.to_string()).await?)
}

fn many(count: usize) -> Value {
    (0..count)
        .map(|number| json!({"id": format!("{number}"), "name": "Ann"}))
        .collect()
}

#[tokio::test]
async fn a_user_lives_and_dies() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let ann = json!([{"id": "a/1", "name": "Ann", "phone": "79261234567"}]);
    let answer = post(&wazzup, &ann).await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let user = wazzup.user("a/1").expect("she was added");
    assert_eq!(
        (user.name.as_str(), user.role.as_str(), user.origin),
        ("Ann", "seller", Origin::Api)
    );

    wazzup.set_role("a/1", "auditor");
    post(&wazzup, &json!([{"id": "a/1", "name": "Anna", "phone": "79261234567"}])).await?;
    assert_eq!(wazzup.users()["a/1"].role, "auditor");

    let one = call(&wazzup, "GET", "/users/a%2F1", "").await?;
    assert_eq!(one.json(), json!({"id": "a/1", "name": "Anna", "phone": "79261234567"}));
    assert_eq!(call(&wazzup, "GET", "/users/a1", "").await?.status, 404);

    let gone = call(&wazzup, "PATCH", "/users/bulk_delete", r#"["x", "a/1", "y"]"#).await?;
    assert_eq!((gone.status, gone.json()), (200, json!(["x", "y"])));
    assert_eq!(call(&wazzup, "DELETE", "/users/a%2F1", "").await?.status, 404);
    post(&wazzup, &ann).await?;
    assert_eq!(wazzup.users()["a/1"].role, "seller");
    assert_eq!(call(&wazzup, "DELETE", "/users/a%2F1", "").await?.status, 200);
    assert!(wazzup.users().is_empty());

    assert_eq!(wazzup.violations(), [""; 0]);
    assert_eq!(
        (
            wazzup.count("POST"),
            wazzup.count("GET"),
            wazzup.writing_requests().len()
        ),
        (3, 2, 6)
    );
    let last = wazzup.requests().pop().expect("there are some");
    assert_eq!(
        (last.status, last.applied, last.ids()),
        (Some(200), true, vec!["a/1".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn keys() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.set_sidecar_key(Some("side"));
    for (key, status) in [
        (None, 401),
        (Some("wrong"), 401),
        (Some("side"), 403),
        (Some("sandbox-key"), 200),
    ] {
        let answer = call_with_key(&wazzup, "GET", "/users", "", key).await?;
        assert_eq!(answer.status, status, "{key:?}");
        if status == 403 {
            assert_eq!(answer.json(), json!({"error": "FORBIDDEN"}));
        }
    }
    wazzup.set_key("new");
    let old = call_with_key(&wazzup, "POST", "/users", "[]", Some("sandbox-key")).await?;
    assert_eq!(old.status, 401);
    assert!(wazzup.writing_requests().iter().all(|request| !request.applied));
    Ok(())
}

#[tokio::test]
async fn refusals_apply_nothing_and_say_why() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.put("old", "Old", Some("79260000001"));
    let before = wazzup.users();
    let long = "й".repeat(201);
    let new = json!({"id": "new", "name": "New"});
    let cases = [
        (json!([]), 400, json!({"error": "INVALID_USERS_DATA"})),
        (json!({"id": "1"}), 400, json!({"error": "INVALID_USERS_DATA"})),
        (
            json!([new, {"id": "", "name": long}, {"id": 7, "name": "N"}]),
            400,
            json!({"error": "INVALID_USERS_DATA", "data": [
                {"index": 1, "fields": ["id", "name"]}, {"index": 2, "fields": ["id"]},
            ]}),
        ),
        (
            many(101),
            400,
            json!({"error": "TOO_MANY_ENTITIES", "data": {"count": 101, "limit": 100}}),
        ),
        (json!([new, new]), 500, json!({"error": "INTERNAL_SERVER_ERROR"})),
        (
            json!([new, {"id": "b", "name": "B", "phone": "79260000001"}]),
            400,
            json!({"error": "DUPLICATE_PHONE_NUMBER", "status": 400, "data": {"phone": "79260000001"}}),
        ),
    ];
    for (body, status, expected) in cases {
        let answer = post(&wazzup, &body).await?;
        assert_eq!(answer.status, status, "{body}");
        for (field, value) in expected.as_object().expect("an object") {
            assert_eq!(&answer.json()[field], value, "{body}");
        }
        assert_eq!(
            expected.get("data").is_some(),
            answer.json().get("data").is_some(),
            "{body}"
        );
        assert_eq!(wazzup.users(), before, "{body}");
    }
    assert!(wazzup.requests().iter().all(|request| !request.applied));
    assert_eq!(
        call(&wazzup, "PATCH", "/users/bulk_delete", r#"["old", "old"]"#)
            .await?
            .status,
        500
    );
    assert_eq!(wazzup.users(), before);
    Ok(())
}

#[tokio::test]
async fn seats_are_for_additions() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.put("0", "Zero", None);
    wazzup.vary(|variant| variant.seats = 2);
    let refused = post(&wazzup, &many(3)).await?;
    assert_eq!((refused.status, &refused.json()["data"]), (400, &json!({"limit": 2})));
    assert_eq!(post(&wazzup, &many(2)).await?.status, 200);
    wazzup.vary(|variant| variant.seats = 1);
    assert_eq!(post(&wazzup, &many(2)).await?.status, 200, "updates need no seat");
    Ok(())
}

#[tokio::test]
async fn phones_change_hands_in_the_order_of_the_entries() -> Result<()> {
    for (omitted, after) in [(OmittedPhone::Clears, None), (OmittedPhone::Keeps, Some("79260000001"))] {
        let wazzup = Wazzup::start().await?;
        wazzup.vary(|variant| variant.omitted_phone = omitted);
        wazzup.put("a", "A", Some("79260000001"));
        let gives = json!({"id": "a", "name": "A", "phone": "79260000002"});
        let takes = json!({"id": "b", "name": "B", "phone": "79260000001"});
        assert_eq!(post(&wazzup, &json!([takes, gives])).await?.status, 400);
        assert_eq!(post(&wazzup, &json!([gives, takes])).await?.status, 200);
        assert_eq!(post(&wazzup, &json!([{"id": "b", "name": "Bea"}])).await?.status, 200);
        let bea = wazzup.user("b").expect("she is there");
        assert_eq!((bea.name.as_str(), bea.phone.as_deref()), ("Bea", after));
    }
    Ok(())
}

#[tokio::test]
async fn malformed_phones() -> Result<()> {
    let cases = [
        (MalformedPhone::Dropped, 200, ""),
        (MalformedPhone::Refused, 400, "[{\"fields\":[\"phone\"],\"index\":0}]"),
        (MalformedPhone::RefusedSilently, 400, ""),
    ];
    for (behaviour, status, data) in cases {
        let wazzup = Wazzup::start().await?;
        wazzup.vary(|variant| variant.malformed_phone = behaviour);
        let answer = post(&wazzup, &json!([{"id": "1", "name": "A", "phone": "+7 926"}])).await?;
        assert_eq!(answer.status, status);
        if data.is_empty() {
            assert_eq!(answer.body, "");
        } else {
            assert_eq!(answer.json()["data"].to_string(), data);
        }
        assert_eq!(wazzup.users().len(), usize::from(status == 200));
    }
    Ok(())
}

#[tokio::test]
async fn error_styles() -> Result<()> {
    type Look = fn(&Value) -> &Value;
    let wazzup = Wazzup::start().await?;
    let code = "INVALID_USERS_DATA";
    let cases: [(ErrorStyle, Look, Value); 7] = [
        (ErrorStyle::Documented, |body| &body["data"][0]["index"], json!(1)),
        (ErrorStyle::WithRequestId, |body| &body["status"], json!(400)),
        (ErrorStyle::OddCodes, |body| &body["error"], json!("invalidusersdata")),
        (ErrorStyle::ErrorsArray, |body| &body["errors"][0]["code"], json!(code)),
        (ErrorStyle::NestedCode, |body| &body["error"]["code"], json!(code)),
        (ErrorStyle::NoData, |body| &body["data"], Value::Null),
        (ErrorStyle::WildIndexes, |body| &body["data"][2]["index"], json!(-1)),
    ];
    let wrong = json!([{"id": "1", "name": "A"}, {"id": "2"}]);
    for (style, look, expected) in cases {
        wazzup.vary(|variant| variant.errors = style);
        let answer = post(&wazzup, &wrong).await?;
        assert_eq!((answer.status, look(&answer.json())), (400, &expected), "{style:?}");
    }
    wazzup.vary(|variant| variant.errors = ErrorStyle::Empty);
    assert_eq!(post(&wazzup, &wrong).await?.body, "");
    wazzup.vary(|variant| variant.errors = ErrorStyle::Html);
    assert!(post(&wazzup, &wrong).await?.body.starts_with("<html>"));
    wazzup.vary(|variant| variant.errors = ErrorStyle::OddCodes);
    assert_eq!(post(&wazzup, &many(101)).await?.json()["error"], "TOO_MACH_ENTITIES");
    Ok(())
}

#[tokio::test]
async fn successes_in_every_form_and_the_rate_limit() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let forms = [
        (PostAnswer::Empty, ""),
        (PostAnswer::Text, "Created"),
        (PostAnswer::Json, r#"{"ok":true}"#),
    ];
    for (form, body) in forms {
        wazzup.vary(|variant| variant.post_answer = form);
        let answer = post(&wazzup, &many(1)).await?;
        assert_eq!((answer.status / 100, answer.body.as_str()), (2, body));
    }
    let limit = RateLimit {
        requests: 2,
        per_ms: 60_000,
        retry_after: Some(7),
    };
    wazzup.vary(|variant| variant.rate_limit = Some(limit));
    assert_eq!(post(&wazzup, &many(1)).await?.status, 200);
    assert_eq!(post(&wazzup, &many(1)).await?.status, 200);
    let refused = post(&wazzup, &many(1)).await?;
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: 7"));
    Ok(())
}

#[tokio::test]
async fn a_client_that_breaks_the_contract_is_written_down() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.seed_foreigners(3);
    post(&wazzup, &json!([{"id": "foreign-1", "name": "Renamed"}])).await?;
    post(&wazzup, &json!([{"id": "foreign-3", "name": "Foreign user 3"}])).await?;
    call(&wazzup, "DELETE", "/users/foreign-2", "").await?;
    assert_eq!(
        wazzup.foreign_touched(),
        ["foreign-1", "foreign-2"],
        "adopting as is, is no change"
    );
    assert_eq!(wazzup.violations(), [""; 0]);

    post(&wazzup, &many(101)).await?;
    post(&wazzup, &json!([])).await?;
    post(
        &wazzup,
        &json!([
            {"id": "1", "name": "A", "phone": null}, {"id": "1", "name": "A", "phone": "8 926"},
            {"id": "2", "name": "A", "role": "seller"}, {"id": 3, "name": "A"}, {"id": "4"},
        ]),
    )
    .await?;
    call(&wazzup, "DELETE", "/users/", "").await?;
    wazzup.clear_log();
    let expected = [
        "101 entries",
        "an empty array",
        "null phone",
        "an id again",
        "malformed phone",
        "field `role`",
        "entry 3 has no id",
        "entry 4 has no name",
        "no such call",
    ];
    let violations = wazzup.violations();
    assert_eq!(violations.len(), expected.len(), "{violations:?}");
    for (violation, expected) in violations.iter().zip(expected) {
        assert!(violation.contains(expected), "{violation}");
    }
    Ok(())
}

#[tokio::test]
async fn everything_can_be_ordered_over_http() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let order = async |method: &str, path: &str, body: &str| {
        let answer = control(wazzup.port(), method, path, body)
            .await
            .expect("the sandbox answers");
        assert_eq!(answer.status / 100, 2, "{path}: {}", answer.body);
        answer
    };
    order(
        "PUT",
        "/_sandbox/users",
        r#"{"7": {"name": "Ann", "phone": "79261234567"}}"#,
    )
    .await;
    order("PATCH", "/_sandbox/variant", r#"{"seats": 5, "list": "pages"}"#).await;
    order(
        "POST",
        "/_sandbox/faults",
        r#"{"when": "list", "what": {"answer": {"status": 503}}}"#,
    )
    .await;
    order(
        "POST",
        "/_sandbox/poison",
        r#"{"ids": ["9"], "reply": {"status": 422}}"#,
    )
    .await;
    order("PUT", "/_sandbox/key", r#"{"key": "other"}"#).await;
    assert_eq!((wazzup.variant().seats, wazzup.key().as_str()), (5, "other"));
    assert_eq!(call(&wazzup, "GET", "/users", "").await?.status, 503);
    assert_eq!(call(&wazzup, "GET", "/users", "").await?.json()["count"], 1);
    assert_eq!(post(&wazzup, &json!([{"id": "9", "name": "N"}])).await?.status, 422);

    assert!(
        order("GET", "/", "")
            .await
            .body
            .contains("79261234567      seller    Ann")
    );
    assert_eq!(order("GET", "/_sandbox/requests", "").await.json()[2]["status"], 422);
    assert_eq!(order("GET", "/_sandbox/users", "").await.json()["7"]["name"], "Ann");
    assert_eq!(order("GET", "/_sandbox/faults", "").await.json(), json!([]));
    assert_eq!(
        order("GET", "/_sandbox/violations", "").await.json()["violations"],
        json!([])
    );
    order("DELETE", "/_sandbox/poison", "").await;
    order("DELETE", "/_sandbox/users/7", "").await;
    assert!(wazzup.users().is_empty());
    let wrong = control(wazzup.port(), "PATCH", "/_sandbox/variant", r#"{"seat": 5}"#).await?;
    assert_eq!(wrong.status, 422);
    Ok(())
}
