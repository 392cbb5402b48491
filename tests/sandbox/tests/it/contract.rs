use anyhow::Result;
use rstest::rstest;
use sandbox::{ErrorStyle, ListStyle, MalformedPhone, OmittedPhone, PostAnswer, Variant, Wazzup};
use serde_json::{Value, json};

use crate::{ANN, call, call_with_key};

/// A request and its body; the status, and what the answer's body contains. It is empty where that is.
type Step<'a> = (&'a str, &'a str, u16, &'a str);

const NEW_AND_NAMELESS: &str = r#"[{"id":"new","name":"New"},{"id":"2"}]"#;
const TAKES_A_PHONE: &str = r#"[{"id":"b","name":"B","phone":"79260000001"}]"#;
const MALFORMED: &str = r#"[{"id":"1","name":"A","phone":"+7 926"}]"#;
const THREE: &str = r#"[{"id":"1","name":"A"},{"id":"2","name":"B"},{"id":"3","name":"C"}]"#;

#[rstest]
#[case::life_of_a_user(|_: &mut Variant| {}, &[
    ("POST /users", r#"[{"id":"a/1","name":"Ann","phone":"79261234567"}]"#, 200, ""),
    ("GET /users/a%2F1", "", 200, r#"{"id":"a/1","name":"Ann","phone":"79261234567"}"#),
    ("POST /users", r#"[{"id":"a/1","name":"Anna"}]"#, 200, ""),
    ("GET /users/a%2F1", "", 200, r#"{"id":"a/1","name":"Anna"}"#),
    ("PATCH /users/bulk_delete", r#"["x","a/1"]"#, 200, r#"["x"]"#),
    ("GET /users/a%2F1", "", 404, "USER_NOT_FOUND"),
    ("DELETE /users/a%2F1", "", 404, "USER_NOT_FOUND"),
    ("DELETE /users/holder", "", 200, ""),
    ("GET /users", "", 200, "[]"),
])]
#[case::refused_for(|_: &mut Variant| {}, &[
    ("POST /users", "[]", 400, "INVALID_USERS_DATA"),
    ("POST /users", r#"[{"id":"new","name":"N"},{"id":"","name":7},{"id":7,"name":"N"}]"#, 400,
        r#"[{"index":1,"fields":["id","name"]},{"index":2,"fields":["id"]}]"#),
    ("POST /users", r#"[{"id":"1","name":"A"},{"id":"1","name":"A"}]"#, 500, "INTERNAL_SERVER_ERROR"),
    ("POST /users", TAKES_A_PHONE, 400, r#"{"phone":"79260000001"}"#),
    ("PATCH /users/bulk_delete", "[7]", 400, r#"[{"index":0,"fields":["id"]}]"#),
    ("GET /users", "", 200, r#"[{"id":"holder","name":"Holder"}]"#),
])]
#[case::batches_of_two(|variant: &mut Variant| variant.batch_limit = 2, &[
    ("POST /users", THREE, 400, r#"{"count":3,"limit":2}"#),
])]
#[case::not_atomic(|variant: &mut Variant| variant.atomic = false, &[
    ("POST /users", NEW_AND_NAMELESS, 400, "INVALID_USERS_DATA"),
    ("GET /users/new", "", 200, "New"),
])]
#[case::seats(|variant: &mut Variant| variant.seats = 2, &[
    ("POST /users", THREE, 400, r#"{"limit":2}"#),
    ("POST /users", ANN, 200, ""),
])]
#[case::limit_not_named(|variant: &mut Variant| (variant.seats, variant.limit_named) = (0, false), &[
    ("POST /users", ANN, 400, r#""error":"USER_LIMIT_EXCEEDED","description":"The request was refused."}"#),
])]
#[case::over_the_limit(|variant: &mut Variant| variant.seats = 0, &[("POST /users", r#"[{"id":"holder","name":"H"}]"#, 200, "")])]
#[case::over_the_limit_refuses_updates(|variant: &mut Variant| (variant.seats, variant.full_refuses_updates) = (0, true), &[
    ("POST /users", r#"[{"id":"holder","name":"H"}]"#, 400, "USER_LIMIT_EXCEEDED"),
])]
#[case::phones_change_hands_in_order(|_: &mut Variant| {}, &[
    ("POST /users", r#"[{"id":"b","name":"B","phone":"79260000001"},{"id":"holder","name":"H"}]"#, 400, "DUPLICATE"),
    ("POST /users", r#"[{"id":"holder","name":"H"},{"id":"b","name":"B","phone":"79260000001"}]"#, 200, ""),
])]
#[case::omitted_phone_keeps(|variant: &mut Variant| variant.omitted_phone = OmittedPhone::Keeps, &[
    ("POST /users", r#"[{"id":"holder","name":"H"}]"#, 200, ""),
    ("GET /users/holder", "", 200, "79260000001"),
])]
#[case::shared_phones(|variant: &mut Variant| variant.unique_phones = false, &[("POST /users", TAKES_A_PHONE, 200, "")])]
#[case::absent_not_named(|variant: &mut Variant| variant.names_absent = false, &[
    ("PATCH /users/bulk_delete", r#"["x"]"#, 200, "[]"),
])]
#[case::wrong_list(|variant: &mut Variant| {
    (variant.list, variant.offset_ignored, variant.count_off_by) = (ListStyle::Pages, true, -1);
}, &[
    ("GET /users?offset=100", "", 200, r#"{"count":0,"data":[{"id":"holder","name":"Holder"}]}"#),
])]
#[case::malformed_phone_dropped(|_: &mut Variant| {}, &[("POST /users", MALFORMED, 200, "")])]
#[case::malformed_phone_refused(|variant: &mut Variant| variant.malformed_phone = MalformedPhone::Refused, &[
    ("POST /users", MALFORMED, 400, r#"[{"index":0,"fields":["phone"]}]"#),
])]
#[case::malformed_phone_refused_silently(|variant: &mut Variant| variant.malformed_phone = MalformedPhone::RefusedSilently, &[
    ("POST /users", MALFORMED, 400, ""),
])]
#[case::text(|variant: &mut Variant| variant.post_answer = PostAnswer::Text, &[("POST /users", ANN, 201, "Created")])]
#[case::json(|variant: &mut Variant| variant.post_answer = PostAnswer::Json, &[("POST /users", ANN, 200, r#"{"ok":true}"#)])]
#[case::rich_list(|variant: &mut Variant| (variant.numeric_ids, variant.list_phones) = (true, true), &[
    ("POST /users", r#"[{"id":"7","name":"A"},{"id":"007","name":"B"}]"#, 200, ""),
    ("GET /users", "", 200, r#"{"id":7,"name":"A"},{"id":"007","name":"B"},{"id":"holder","name":"Holder","phone":"#),
])]
#[tokio::test]
async fn the_contract(#[case] change: fn(&mut Variant), #[case] steps: &[Step<'_>]) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.put("holder", "Holder", Some("79260000001"));
    wazzup.vary(change);
    for step in steps {
        let (line, body, status, expected) = *step;
        let answer = call(&wazzup, line, body).await?;
        assert_eq!(
            (answer.status, answer.body.is_empty()),
            (status, expected.is_empty()),
            "{step:?}"
        );
        assert!(answer.body.contains(expected), "{step:?}: {}", answer.body);
        assert_eq!(
            wazzup.requests().pop().map(|request| request.applied),
            Some(status < 300),
            "{step:?}"
        );
    }
    Ok(())
}

#[rstest]
#[case(ErrorStyle::Documented, r#""index":1"#)]
#[case(ErrorStyle::WithRequestId, r#""status":400"#)]
#[case(ErrorStyle::OddCodes, r#""error":"invalidusersdata""#)]
#[case(ErrorStyle::Html, "<html>")]
#[case(ErrorStyle::ErrorsArray, r#"{"errors":[{"code":"INVALID_USERS_DATA""#)]
#[case(ErrorStyle::NestedCode, r#"{"error":{"code":"INVALID_USERS_DATA"}}"#)]
#[case(
    ErrorStyle::NoData,
    r#""error":"INVALID_USERS_DATA","description":"The request was refused."}"#
)]
#[case(ErrorStyle::WildIndexes, r#""index":-1"#)]
#[case(ErrorStyle::Empty, "")]
#[tokio::test]
async fn errors(#[case] style: ErrorStyle, #[case] expected: &str) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.vary(|variant| (variant.errors, variant.trace_id) = (style, Some("t-1".to_owned())));
    let answer = call(&wazzup, "POST /users", NEW_AND_NAMELESS).await?;
    assert_eq!((answer.status, answer.body.is_empty()), (400, expected.is_empty()));
    assert!(answer.body.contains(expected), "{}", answer.body);
    assert_eq!(answer.headers["trace-id"], "t-1");
    Ok(())
}

#[rstest]
#[case(ListStyle::Array, [150, 150], Value::Null)]
#[case(ListStyle::ArrayPaged, [100, 50], Value::Null)]
#[case(ListStyle::Pages, [100, 50], json!(150))]
#[case(ListStyle::PagesTextCount, [100, 50], json!("150"))]
#[tokio::test]
async fn lists(#[case] style: ListStyle, #[case] lengths: [usize; 2], #[case] count: Value) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.vary(|variant| variant.list = style);
    wazzup.seed_foreigners(149);
    wazzup.put("z", "A", None);
    for (line, length) in ["GET /users", "GET /users?offset=100"].into_iter().zip(lengths) {
        let page: Value = serde_json::from_str(&call(&wazzup, line, "").await?.body)?;
        let items = page.get("data").unwrap_or(&page);
        assert_eq!(items.as_array().map(Vec::len), Some(length));
        assert_eq!(items[0]["id"] == "z", length >= 100, "the list is sorted by name");
        assert_eq!(page["count"], count);
    }
    Ok(())
}

#[rstest]
#[case("swapped", 200, 1)]
#[case("sandbox-key", 200, 0)]
#[case("other", 401, 0)]
#[case("sidecar", 403, 0)]
#[tokio::test]
async fn each_key_has_its_own_users(#[case] key: &str, #[case] status: u16, #[case] users: usize) -> Result<()> {
    let wazzup = Wazzup::start()?;
    let other = wazzup.add_account("other");
    call(&other, "POST /users", ANN).await?;
    other.set_key("swapped");
    wazzup.set_sidecar_key(Some("sidecar"));
    let answer = call_with_key(&wazzup, key, "GET /users", "").await?;
    assert_eq!((answer.status, answer.body.matches("Ann").count()), (status, users));
    assert_eq!(status == 403, answer.body == r#"{"error":"FORBIDDEN"}"#);
    Ok(())
}

#[rstest]
#[case("POST /users", ANN, "")]
#[case("POST /users", "[]", "0 entries")]
#[case(
    "POST /users",
    r#"[{"id":"1","name":"A","phone":null}]"#,
    "entry 0 has a phone that is not bare digits"
)]
#[case(
    "POST /users",
    r#"[{"id":"1","name":"A","role":"seller"}]"#,
    "entry 0 has a field `role`"
)]
#[case("POST /users", r#"[{"id":3,"name":"A"}]"#, "entry 0 has no id")]
#[case("POST /users", r#"[{"id":"4"}]"#, "entry 0 has no name")]
#[case("PATCH /users/bulk_delete", r#"["1","1"]"#, "entry 1 repeats an id")]
#[case("PATCH /users/bulk_delete", format!("[{}1]", "1,".repeat(100)), "101 entries")]
#[case("DELETE /users/", "", "no such call")]
#[tokio::test]
async fn violations(#[case] line: &str, #[case] body: impl Into<String>, #[case] expected: &str) -> Result<()> {
    let wazzup = Wazzup::start()?;
    call(&wazzup, line, body).await?;
    wazzup.clear_log();
    let violations = wazzup.violations();
    assert_eq!(violations.is_empty(), expected.is_empty());
    assert!(violations.concat().contains(expected), "{violations:?}");
    Ok(())
}

#[rstest]
#[case("POST /users", r#"[{"id":"foreign-1","name":"Renamed"}]"#, &["foreign-1"])]
#[case("POST /users", r#"[{"id":"foreign-1","name":"Foreign user 1"}]"#, &[])]
#[case("DELETE /users/foreign-2", "", &["foreign-2"])]
#[tokio::test]
async fn foreign_users(#[case] line: &str, #[case] body: &str, #[case] touched: &[&str]) -> Result<()> {
    let wazzup = Wazzup::start()?;
    wazzup.seed_foreigners(2);
    wazzup.edit("foreign-1", |user| user.role = "auditor".into());
    call(&wazzup, line, body).await?;
    assert_eq!(wazzup.foreign_touched(), touched);
    assert_eq!(
        wazzup.user("foreign-1").map(|user| user.role),
        Some("auditor".to_owned())
    );
    Ok(())
}
