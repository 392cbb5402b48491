use anyhow::Result;
use sandbox::{ErrorStyle, Kind, ListStyle, MalformedPhone, OmittedPhone, Origin, PostAnswer, Variant, Wazzup};
use serde_json::{Value, json};

use crate::{bulk_delete, call, call_with_key, get, post};

/// Entries with the ids 0, 1, 2…
fn many(count: usize) -> Value {
    let ids = 0..count;
    ids.map(|id| json!({"id": id.to_string(), "name": "Ann"})).collect()
}

/// A sandbox that behaves like this.
async fn sandbox(change: impl FnOnce(&mut Variant)) -> Result<Wazzup> {
    let wazzup = Wazzup::start().await?;
    wazzup.vary(change);
    Ok(wazzup)
}

#[tokio::test]
async fn users_are_created_updated_and_removed() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let ann = json!([{"id": "a/1", "name": "Ann", "phone": "79261234567"}]);
    assert_eq!(post(&wazzup, ann.clone()).await?.body, "");
    let user = wazzup.user("a/1").expect("she was added");
    assert_eq!((user.role.as_str(), user.origin), ("seller", Origin::Api));
    wazzup.set_role("a/1", "auditor");
    post(&wazzup, ann.clone()).await?;
    assert_eq!(wazzup.users()["a/1"].role, "auditor");
    assert_eq!(get(&wazzup, "/users/a%2F1").await?.json(), ann[0]);
    assert_eq!(get(&wazzup, "/users/a1").await?.status, 404);
    assert_eq!(bulk_delete(&wazzup, json!(["x", "a/1"])).await?.body, r#"["x"]"#);
    wazzup.vary(|variant| variant.names_absent = false);
    assert_eq!(bulk_delete(&wazzup, json!(["x"])).await?.body, "[]");
    assert_eq!(call(&wazzup, "DELETE", "/users/a%2F1", Value::Null).await?.status, 404);
    wazzup.put("a/1", "Ann", None);
    assert_eq!(call(&wazzup, "DELETE", "/users/a%2F1", Value::Null).await?.status, 200);
    assert!(wazzup.users().is_empty());

    assert_eq!(wazzup.violations(), [""; 0]);
    assert_eq!((wazzup.count_of(Kind::LookUp), wazzup.writing_requests().len()), (2, 6));
    let last = wazzup.requests().pop().expect("there are some");
    assert_eq!(
        (last.status, last.applied, last.ids()),
        (Some(200), true, vec!["a/1".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn each_key_has_its_own_users() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let other = wazzup.add_account("other");
    post(&other, many(1)).await?;
    assert_eq!((wazzup.users().len(), other.users().len()), (0, 1));
    assert_eq!(wazzup.requests()[0].key.as_deref(), Some("other"));
    other.set_key("swapped");
    wazzup.set_sidecar_key(Some("sidecar"));
    for (key, status, users) in [
        ("swapped", 200, 1),
        ("sandbox-key", 200, 0),
        ("other", 401, 0),
        ("sidecar", 403, 0),
    ] {
        let answer = call_with_key(&wazzup, key, "GET", "/users", Value::Null).await?;
        assert_eq!(
            (answer.status, answer.json().as_array().map_or(0, Vec::len)),
            (status, users)
        );
        assert_eq!(status == 403, answer.json() == json!({"error": "FORBIDDEN"}));
    }
    Ok(())
}

#[tokio::test]
async fn refusals_change_nothing_and_say_why() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.put("old", "Old", Some("79260000001"));
    let before = wazzup.users();
    let new = json!({"id": "new", "name": "New"});
    let invalid = json!([{"index": 1, "fields": ["id", "name"]}, {"index": 2, "fields": ["id"]}]);
    let taken = "79260000001";
    for (body, status, code, data) in [
        (json!([]), 400, "INVALID_USERS_DATA", Value::Null),
        (
            json!([new, {"id": "", "name": "й".repeat(201)}, {"id": 7, "name": "N"}]),
            400,
            "INVALID_USERS_DATA",
            invalid,
        ),
        (many(101), 400, "TOO_MANY_ENTITIES", json!({"count": 101, "limit": 100})),
        (json!([new, new]), 500, "INTERNAL_SERVER_ERROR", Value::Null),
        (
            json!([new, {"id": "b", "name": "B", "phone": taken}]),
            400,
            "DUPLICATE_PHONE_NUMBER",
            json!({"phone": taken}),
        ),
    ] {
        let answer = post(&wazzup, body).await?;
        let error = answer.json();
        assert_eq!(
            (answer.status, &error["error"], &error["data"]),
            (status, &json!(code), &data)
        );
        assert_eq!(wazzup.users(), before, "{code}");
    }
    assert!(wazzup.requests().iter().all(|request| !request.applied));

    wazzup.vary(|variant| (variant.atomic, variant.unique_phones) = (false, false));
    assert_eq!(post(&wazzup, json!([new, {"id": "b"}])).await?.status, 400);
    assert!(wazzup.user("new").is_some(), "the valid entry was carried out");
    assert_eq!(
        post(&wazzup, json!([{"id": "b", "name": "B", "phone": taken}]))
            .await?
            .status,
        200
    );
    Ok(())
}

#[tokio::test]
async fn seats_are_needed_for_additions_only_unless_the_account_is_over_its_limit() -> Result<()> {
    let wazzup = sandbox(|variant| variant.seats = 2).await?;
    assert_eq!(post(&wazzup, many(3)).await?.json()["data"], json!({"limit": 2}));
    wazzup.vary(|variant| variant.limit_named = false);
    assert_eq!(post(&wazzup, many(3)).await?.json().get("data"), None);
    assert_eq!(post(&wazzup, many(2)).await?.status, 200);
    wazzup.vary(|variant| variant.seats = 1);
    assert_eq!(post(&wazzup, many(2)).await?.status, 200);
    wazzup.vary(|variant| variant.full_refuses_updates = true);
    assert_eq!(post(&wazzup, many(1)).await?.status, 400);
    Ok(())
}

#[tokio::test]
async fn phones_change_hands_in_the_order_of_the_entries() -> Result<()> {
    for (omitted, after) in [(OmittedPhone::Clears, None), (OmittedPhone::Keeps, Some("79260000001"))] {
        let wazzup = sandbox(|variant| variant.omitted_phone = omitted).await?;
        wazzup.put("a", "A", Some("79260000001"));
        let gives = json!({"id": "a", "name": "A", "phone": "79260000002"});
        let takes = json!({"id": "b", "name": "B", "phone": "79260000001"});
        assert_eq!(post(&wazzup, json!([takes, gives])).await?.status, 400);
        assert_eq!(post(&wazzup, json!([gives, takes])).await?.status, 200);
        assert_eq!(post(&wazzup, json!([{"id": "b", "name": "Bea"}])).await?.status, 200);
        assert_eq!(wazzup.users()["b"].phone.as_deref(), after);
    }
    Ok(())
}

#[tokio::test]
async fn malformed_phones_are_dropped_or_refused() -> Result<()> {
    for (malformed_phone, status, body) in [
        (MalformedPhone::Dropped, 200, ""),
        (MalformedPhone::Refused, 400, r#"[{"fields":["phone"],"index":0}]"#),
        (MalformedPhone::RefusedSilently, 400, ""),
    ] {
        let wazzup = sandbox(|variant| variant.malformed_phone = malformed_phone).await?;
        let answer = post(&wazzup, json!([{"id": "1", "name": "A", "phone": "+7 926"}])).await?;
        assert_eq!((answer.status, answer.body.is_empty()), (status, body.is_empty()));
        assert!(answer.body.contains(body), "{}", answer.body);
        assert_eq!(wazzup.users().len(), usize::from(status == 200));
    }
    Ok(())
}

#[tokio::test]
async fn errors_and_successes_have_every_form() -> Result<()> {
    let wazzup = sandbox(|variant| variant.trace_id = Some("t-1".to_owned())).await?;
    for (errors, expected) in [
        (ErrorStyle::Documented, r#""index":1"#),
        (ErrorStyle::WithRequestId, r#""status":400"#),
        (ErrorStyle::OddCodes, r#""error":"invalidusersdata""#),
        (ErrorStyle::Html, "<html>"),
        (ErrorStyle::ErrorsArray, r#"{"errors":[{"code":"INVALID_USERS_DATA""#),
        (ErrorStyle::NestedCode, r#"{"error":{"code":"INVALID_USERS_DATA"}}"#),
        (ErrorStyle::NoData, r#""error":"INVALID_USERS_DATA"}"#),
        (ErrorStyle::WildIndexes, r#""index":-1"#),
        (ErrorStyle::Empty, ""),
    ] {
        wazzup.vary(|variant| variant.errors = errors);
        let answer = post(&wazzup, json!([{"id": "1", "name": "A"}, {"id": "2"}])).await?;
        assert!(answer.body.contains(expected), "{errors:?}: {}", answer.body);
        assert_eq!((answer.status, answer.headers["trace-id"].to_str()?), (400, "t-1"));
    }
    assert_eq!(wazzup.violations().len(), 9, "an entry has no name");
    for (form, body) in [
        (PostAnswer::Empty, ""),
        (PostAnswer::Text, "Created"),
        (PostAnswer::Json, r#"{"ok":true}"#),
    ] {
        wazzup.vary(|variant| variant.post_answer = form);
        let answer = post(&wazzup, many(1)).await?;
        assert_eq!((answer.status / 100, answer.body.as_str()), (2, body));
        assert!(!answer.headers.contains_key("trace-id"));
    }
    Ok(())
}

#[tokio::test]
async fn lists_have_every_shape() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    for number in 0..150 {
        wazzup.put(
            &format!("{}", 149 - number),
            &format!("Name {number:03}"),
            Some("79261234567"),
        );
    }
    let first = json!({"id": "149", "name": "Name 000"});
    let lengths_and_firsts = async || -> Result<_> {
        let (start, rest) = (
            get(&wazzup, "/users").await?.json(),
            get(&wazzup, "/users?offset=100").await?.json(),
        );
        let items = |page: &Value| page.get("data").unwrap_or(page).as_array().cloned().unwrap_or_default();
        assert_eq!(items(&start)[0], first);
        Ok((items(&start).len(), items(&rest).len(), start["count"].clone()))
    };
    for (list, expected) in [
        (ListStyle::Array, (150, 150, Value::Null)),
        (ListStyle::ArrayPaged, (100, 50, Value::Null)),
        (ListStyle::Pages, (100, 50, json!(150))),
        (ListStyle::PagesTextCount, (100, 50, json!("150"))),
    ] {
        wazzup.vary(|variant| variant.list = list);
        assert_eq!(lengths_and_firsts().await?, expected);
    }
    wazzup.vary(|variant| (variant.offset_ignored, variant.count_off_by) = (true, -2));
    wazzup.vary(|variant| variant.unlisted = ["7".to_owned()].into());
    assert_eq!(lengths_and_firsts().await?, (100, 100, json!("147")));
    assert_eq!(get(&wazzup, "/users/7").await?.status, 200);

    wazzup.vary(|variant| (variant.numeric_ids, variant.list_phones) = (true, true));
    let rich = json!({"id": 149, "name": "Name 000", "phone": "79261234567"});
    assert_eq!(get(&wazzup, "/users").await?.json()["data"][0], rich);
    wazzup.put("007", "Bond", None);
    assert_eq!(get(&wazzup, "/users/007").await?.json()["id"], "007");
    Ok(())
}

#[tokio::test]
async fn what_a_client_must_not_do_is_recorded() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.seed_foreigners(3);
    post(&wazzup, json!([{"id": "foreign-1", "name": "Renamed"}])).await?;
    post(&wazzup, json!([{"id": "foreign-3", "name": "Foreign user 3"}])).await?;
    call(&wazzup, "DELETE", "/users/foreign-2", Value::Null).await?;
    assert_eq!(
        wazzup.foreign_touched(),
        ["foreign-1", "foreign-2"],
        "who stays the same is not touched"
    );
    assert_eq!(wazzup.violations(), [""; 0]);

    post(&wazzup, many(101)).await?;
    post(&wazzup, Value::Null).await?;
    let wrong = json!([
        {"id": "1", "name": "A", "phone": null}, {"id": "1", "name": "A", "phone": "8 926"},
        {"id": "2", "name": "A", "role": "seller"}, {"id": 3, "name": "A"}, {"id": "4"},
    ]);
    post(&wazzup, wrong).await?;
    call(&wazzup, "DELETE", "/users/", Value::Null).await?;
    wazzup.clear_log();
    let violations = wazzup.violations();
    let expected = [
        "101 entries",
        "content type",
        "0 entries",
        "entry 0 has a phone that",
        "entry 1 repeats an id",
        "entry 1 has a phone that",
        "field `role`",
        "entry 3 has no id",
        "entry 4 has no name",
        "no such call",
    ];
    assert_eq!(violations.len(), expected.len(), "{violations:?}");
    for (violation, expected) in violations.iter().zip(expected) {
        assert!(violation.contains(expected), "{violation}");
    }
    Ok(())
}
