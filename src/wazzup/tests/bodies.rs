//! What the service writes besides lists: no answer may panic, and nothing personal may show.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    super::{
        list::ListBuilder,
        refusal::{parse_code, read_refusal},
        user::{parse_absent, parse_user},
    },
    id,
};
use crate::{
    delivery::{InvalidEntry, RefusalCode},
    employee::Phone,
};

#[test]
fn a_user_is_read() {
    let user = parse_user(br#"{"id":42,"name":"Ann","phone":79261234567,"x":[]}"#, &id("42")).expect("a user");
    assert_eq!(
        (user.name.as_str(), user.phone.as_deref()),
        ("Ann", Some("79261234567"))
    );
    let bare = parse_user(br#"{"name":"Ann","phone":null}"#, &id("a")).expect("a user");
    assert_eq!((bare.name.as_str(), bare.phone), ("Ann", None));
}

#[rstest]
#[case(r#"{"id":"b","name":"Ann"}"#)]
#[case(r#"{"id":"a"}"#)]
#[case(r#"{"id":"a","name":null}"#)]
#[case(r#"{"id":{},"name":"Ann"}"#)]
#[case(r#"[{"id":"a","name":"Ann"}]"#)]
#[case(r#"["a","Ann",null]"#)]
#[case("{}")]
#[case("")]
#[case("<html>")]
fn what_is_not_the_user_is_not_read(#[case] body: &str) {
    assert!(parse_user(body.as_bytes(), &id("a")).is_err());
}

#[test]
fn absent_ids_are_those_asked_for() {
    let asked = [id("1"), id("b"), id("c")];
    let cases = [
        (r#"["c", 1, "foreign"]"#, vec![id("1"), id("c")]),
        (r#"[null, {"id":"c"}, "b"]"#, vec![id("b")]),
    ];
    for (body, absent) in cases {
        assert_eq!(parse_absent(body.as_bytes(), &asked), Some(absent), "{body}");
    }
    for nobody in ["", " \n", "[]", "{}", "null", "7", "\"OK\"", r#"{"deleted":["b"]}"#] {
        assert_eq!(parse_absent(nobody.as_bytes(), &asked), Some(vec![]), "{nobody}");
    }
    for no_answer in ["OK", "<html>", "[\"b\"", "{} x"] {
        assert_eq!(parse_absent(no_answer.as_bytes(), &asked), None, "{no_answer}");
    }
}

#[test]
fn invalid_entries_are_read() {
    let body = json!({"error": "INVALID_USERS_DATA", "description": "secret", "data": [
        {"index": 12, "fields": ["id", "name"]}, {"index": "3", "fields": "phone"}, {"fields": null}, 7,
    ]});
    let refusal = read_refusal(400, body.to_string().as_bytes(), None);
    let read: Vec<_> = refusal
        .invalid
        .iter()
        .map(|entry| (entry.index, entry.fields.join(",")))
        .collect();
    let expected = [(Some(12), "id,name"), (Some(3), "phone"), (None, ""), (None, "")];
    assert_eq!(read, expected.map(|(index, fields)| (index, fields.to_owned())));
    assert!(!format!("{refusal:?} {refusal}").contains("secret"));
}

#[test]
fn one_invalid_entry_may_stand_alone() {
    let refusal = read_refusal(
        400,
        br#"{"error":"INVALID_USERS_DATA","data":{"index":0,"fields":["phone"]}}"#,
        None,
    );
    assert_eq!(
        refusal.invalid,
        [InvalidEntry {
            index: Some(0),
            fields: vec!["phone".to_owned()]
        }]
    );
}

#[test]
fn limits_are_read() {
    for (body, limit) in [
        (
            r#"{"error":"TOO_MANY_ENTITIES","data":{"count":123,"limit":100}}"#,
            Some(100),
        ),
        (
            r#"{"error":"TOO_MACH_ENTITIES","data":{"count":"123","limit":"50"}}"#,
            Some(50),
        ),
        (r#"{"error":"TOO_MANY_ENTITIES","data":{"limit":0}}"#, None),
        (r#"{"error":"TOO_MANY_ENTITIES","data":{"limit":-1}}"#, None),
        (r#"{"error":"TOO_MANY_ENTITIES"}"#, None),
    ] {
        let refusal = read_refusal(400, body.as_bytes(), None);
        assert_eq!(
            (refusal.code, refusal.limit),
            (RefusalCode::TooManyEntities, limit),
            "{body}"
        );
    }
}

#[test]
fn a_taken_phone_is_read_and_hidden() {
    for phone in [
        json!("79999999999"),
        json!("+7 999 999-99-99"),
        json!(79_999_999_999_u64),
    ] {
        let body = json!({"status": 400, "requestId": "594101c6e81a1cace2646eee1edd5e66", "error": "DUPLICATE_PHONE_NUMBER",
            "description": "User with phone 79999999999 already exists in the CRM.", "data": {"phone": phone}});
        let refusal = read_refusal(400, body.to_string().as_bytes(), None);
        assert_eq!(refusal.code, RefusalCode::DuplicatePhoneNumber);
        assert_eq!(refusal.phone.map(Phone::digits), Some(79_999_999_999));
        let shown = format!("{refusal:?} {refusal}");
        assert!(
            shown.contains("594101c6e81a1cace2646eee1edd5e66") && !shown.contains("9999999"),
            "{shown}"
        );
    }
}

#[rstest]
#[case(
    r#"{"errors":[{"code":"USER_LIMIT_EXCEEDED","message":"m","data":{"limit":1000}}]}"#,
    RefusalCode::UserLimitExceeded
)]
#[case(
    r#"{"error":{"code":"USER_LIMIT_EXCEEDED"},"data":{"limit":1000}}"#,
    RefusalCode::UserLimitExceeded
)]
#[case(
    r#"{"error":"Bad Request, Ann","code":"user_limit_exceeded"}"#,
    RefusalCode::UserLimitExceeded
)]
#[case(r#"{"error":7}"#, RefusalCode::Status(400))]
#[case(r#"{"error":"User Ann exists"}"#, RefusalCode::Status(400))]
#[case("[]", RefusalCode::Status(400))]
#[case("", RefusalCode::Status(400))]
#[case("<html>502</html>", RefusalCode::Status(400))]
fn codes_are_found_in_every_form(#[case] body: &str, #[case] code: RefusalCode) {
    assert_eq!(read_refusal(400, body.as_bytes(), None).code, code);
}

#[rstest]
#[case("INVALID_USERS_DATA", Some(RefusalCode::InvalidUsersData))]
#[case("invalidUsersData", Some(RefusalCode::InvalidUsersData))]
#[case("TOO_MANY_ENTITIES", Some(RefusalCode::TooManyEntities))]
#[case("TOO_MACH_ENTITIES", Some(RefusalCode::TooManyEntities))]
#[case("USER_LIMIT_EXCEEDED", Some(RefusalCode::UserLimitExceeded))]
#[case("DUPLICATEPHONENUMBER", Some(RefusalCode::DuplicatePhoneNumber))]
#[case("sidecar_Denied", Some(RefusalCode::Other("SIDECAR_DENIED".to_owned())))]
#[case("User with phone 79999999999 already exists", None)]
#[case("PHONE_79999999999", None)]
#[case("Анна", None)]
#[case("", None)]
fn codes_are_normalised(#[case] text: &str, #[case] code: Option<RefusalCode>) {
    assert_eq!(parse_code(text), code);
}

#[rstest]
#[case::body(r#"{"requestId":"abc-1"}"#, Some("trace-2"), Some("abc-1"))]
#[case::header("", Some("trace-2"), Some("trace-2"))]
#[case::in_the_error(r#"{"error":{"requestId":"abc-1"}}"#, None, Some("abc-1"))]
#[case::phone_then_header(r#"{"requestId":"79261234567"}"#, Some("trace-2"), Some("trace-2"))]
#[case::seven_digits(r#"{"requestId":"a-9261234"}"#, None, None)]
#[case::digits_and_dashes(r#"{"requestId":"926-123-45-67"}"#, None, None)]
#[case::short_number(r#"{"requestId":"12345"}"#, None, Some("12345"))]
#[case::sentence("", Some("user Ann"), None)]
#[case::empty("", Some(""), None)]
fn request_ids_are_kept_unless_they_could_be_a_phone(
    #[case] body: &str,
    #[case] trace_id: Option<&str>,
    #[case] request_id: Option<&str>,
) {
    let refusal = read_refusal(400, body.as_bytes(), trace_id);
    assert_eq!(refusal.request_id.as_deref(), request_id);
}

/// JSON such as a service gone wrong may send, with the keys that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        proptest::sample::select(vec![
            "id",
            "name",
            "phone",
            "count",
            "data",
            "error",
            "errors",
            "code",
            "index",
            "fields",
            "limit",
            "requestId"
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn read_all(body: &[u8]) {
    let asked = [id("a"), id("7")];
    let _ = parse_user(body, &asked[0]);
    let _ = parse_absent(body, &asked);
    let _ = read_refusal(400, body, None);
    // No page is accepted that is not JSON as a whole.
    if ListBuilder::new(0).add(body).is_ok() {
        assert!(serde_json::from_slice::<Value>(body).is_ok());
    }
}

/// Bytes that are nearly a page of users.
fn any_page() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "{\"id\":1,\"name\":\"A\"}",
        "{\"id\":\"b\",\"name\":\"B\"}",
        "\"count\":1",
        "\"count\":2",
        "\"data\":[",
        "{\"count\":1,\"data\":[",
        "0",
        "null",
    ];
    let piece = proptest::sample::select(pieces);
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&body);
    }

    #[test]
    fn no_page_is_misread(body in any_page()) {
        read_all(&body);
    }

    #[test]
    fn no_json_panics(body in any_json()) {
        read_all(body.to_string().as_bytes());
    }
}
