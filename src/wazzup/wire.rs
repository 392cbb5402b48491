//! What the service writes, read with suspicion: no answer may panic, and a list is complete only if it proves it.
//!
//! Ids can be numbers. They are kept as they are written and never go through a float.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::error::{Code, InvalidEntry, Refusal, token};
use crate::employee::EmployeeId;

/// A user as Wazzup shows it. `Debug` hides what is personal.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUser {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The phone. That it is absent proves nothing: the service may leave it out.
    pub phone: Option<String>,
}

impl fmt::Debug for RemoteUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteUser")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    phone: Option<&'a RawValue>,
}

impl<'a> Item<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        object(body).and_then(|body| serde_json::from_slice(body).ok())
    }
}

/// `body` if it begins as an object does: serde takes the fields of a struct from an array too.
fn object(body: &[u8]) -> Option<&[u8]> {
    body.trim_ascii_start().starts_with(b"{").then_some(body)
}

/// Reads the answer of `GET /users/{id}`.
pub(super) fn remote_user(body: &[u8], asked: &EmployeeId) -> Result<RemoteUser, &'static str> {
    let item = Item::read(body).ok_or("it is not a user")?;
    if item.id.is_some_and(|id| text(id).is_none_or(|id| id != asked.as_str())) {
        return Err("it shows another user than asked for");
    }
    let name = item.name.and_then(string).ok_or("it has no name")?;
    Ok(RemoteUser {
        id: asked.as_str().to_owned(),
        name,
        phone: item.phone.and_then(text),
    })
}

/// Reads the answer of `PATCH /users/bulk_delete`: those of `asked` that were absent. `None` if it is no list of ids.
pub(super) fn absent(body: &[u8], asked: &[EmployeeId]) -> Option<Vec<EmployeeId>> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    let named = items.into_iter().map(text).collect::<Option<HashSet<String>>>()?;
    Some(asked.iter().filter(|id| named.contains(id.as_str())).cloned().collect())
}

/// A string, or a whole number as it is written.
fn text(raw: &RawValue) -> Option<String> {
    let written = raw.get();
    let digits = written.strip_prefix('-').unwrap_or(written);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(written.to_owned());
    }
    string(raw)
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The users that `GET /users` shows. `Debug` hides their names.
pub struct UserList {
    /// The names by id.
    pub users: BTreeMap<String, String>,
    /// `None`: the list proved to be complete. Otherwise why it did not: who is not in it may exist all the same.
    pub incomplete: Option<String>,
}

impl UserList {
    /// Whether the list proved to be complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_none()
    }
}

impl fmt::Debug for UserList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, incomplete } = self;
        f.debug_struct("UserList")
            .field("users", &users.len())
            .field("incomplete", incomplete)
            .finish()
    }
}

/// How many users a page has, and so a bare array that may be only a page.
const PAGE: usize = 100;
const MAX_PAGES: usize = 100;
const MAX_USERS: usize = 100_000;

/// Puts the pages of `GET /users` together.
#[derive(Default)]
pub(super) struct ListReader {
    users: BTreeMap<String, String>,
    received: usize,
    pages: usize,
    shape: Option<Shape>,
    incomplete: Option<String>,
}

/// The two forms in which deployments answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Array,
    /// Pages, with the number of all users.
    Envelope(usize),
}

impl ListReader {
    /// Takes the body of a page in. Returns the offset of the page to read next, if there is one.
    pub(super) fn take(&mut self, body: &[u8]) -> Option<usize> {
        self.digest(body).unwrap_or_else(|reason| {
            self.give_up(reason);
            None
        })
    }

    /// The rest cannot be read. The first reason stays.
    pub(super) fn give_up(&mut self, reason: String) {
        self.incomplete.get_or_insert(reason);
    }

    pub(super) fn finish(self) -> UserList {
        UserList {
            users: self.users,
            incomplete: self.incomplete,
        }
    }

    fn digest(&mut self, body: &[u8]) -> Result<Option<usize>, String> {
        let (shape, items) = page(body)?;
        let before = self.users.len();
        let distinct = self.add(&items)?;
        let fresh = self.users.len() - before;
        self.received += items.len();
        self.pages += 1;
        if *self.shape.get_or_insert(shape) != shape {
            return Err("its pages contradict each other: it changed while it was read".to_owned());
        }
        let more = match shape {
            Shape::Array => self.array_goes_on(items.len(), distinct, fresh)?,
            Shape::Envelope(count) => self.envelope_goes_on(count, fresh)?,
        };
        if more && (self.pages == MAX_PAGES || self.users.len() > MAX_USERS) {
            return Err(format!(
                "it is too long: {} users on {} pages, and more",
                self.users.len(),
                self.pages
            ));
        }
        Ok(more.then_some(self.received))
    }

    /// A bare array is the whole list. One of exactly a page's length may be the first of several: then what comes
    /// behind it has to show that nothing is left.
    fn array_goes_on(&self, items: usize, distinct: usize, fresh: usize) -> Result<bool, String> {
        match (self.pages, items) {
            (1, _) => Ok(items == PAGE),
            (_, 0) => Ok(false),
            // The offset means nothing to this deployment: it shows the same array again.
            (2, PAGE) if fresh == 0 && distinct == self.users.len() => Ok(false),
            _ if fresh == items => Ok(true),
            _ => Err("its pages overlap: it changed while it was read".to_owned()),
        }
    }

    fn envelope_goes_on(&self, count: usize, fresh: usize) -> Result<bool, String> {
        let read = self.users.len();
        if read == count {
            Ok(false)
        } else if read > count || fresh == 0 {
            Err(format!("it announces {count} users and shows {read}"))
        } else {
            Ok(true)
        }
    }

    /// Adds the users of a page, and says how many different ones it has. Those that can be read are added even if
    /// others cannot.
    fn add(&mut self, items: &[&RawValue]) -> Result<usize, String> {
        let mut ids = HashSet::new();
        let (mut unreadable, mut contradictory) = (0, 0);
        for item in items {
            let Some((id, name)) = entry(item) else {
                unreadable += 1;
                continue;
            };
            ids.insert(id.clone());
            let kept = self.users.entry(id).or_insert_with(|| name.clone());
            contradictory += usize::from(*kept != name);
        }
        match (unreadable, contradictory) {
            (0, 0) => Ok(ids.len()),
            (0, n) => Err(format!("{n} of its entries repeat an id with another name")),
            (n, _) => Err(format!("{n} of its entries have no readable id and name")),
        }
    }
}

fn entry(raw: &RawValue) -> Option<(String, String)> {
    let item = Item::read(raw.get().as_bytes())?;
    let id = item.id.and_then(text).filter(|id| !id.is_empty())?;
    Some((id, item.name.and_then(string)?))
}

fn page(body: &[u8]) -> Result<(Shape, Vec<&RawValue>), String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        count: Option<&'a RawValue>,
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }
    if let Ok(items) = serde_json::from_slice(body) {
        return Ok((Shape::Array, items));
    }
    let envelope: Option<Envelope> = object(body).and_then(|body| serde_json::from_slice(body).ok());
    let Envelope { count, data } = envelope.ok_or("it is neither an array of users nor a page of them")?;
    let count = count.and_then(text).and_then(|count| count.parse().ok());
    Ok((Shape::Envelope(count.ok_or("it has no readable count")?), data))
}

/// Reads the body of a refusal or a fault, in any of the forms that were seen; from one that cannot be read only the
/// status is left.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [&body, &body["error"], &body["errors"][0]];
    let data = places
        .map(|place| &place["data"])
        .into_iter()
        .find(|data| !data.is_null())
        .unwrap_or(&Value::Null);
    let code = [
        &body["error"],
        &body["error"]["code"],
        &body["errors"][0]["code"],
        &body["code"],
    ]
    .into_iter()
    .find_map(|code| Code::read(code.as_str()?));
    Refusal {
        status,
        code: code.unwrap_or(Code::Missing(status)),
        request_id: places.into_iter().find_map(|place| request_id(&place["requestId"])),
        invalid: invalid_entries(data),
        phone: phone(&data["phone"]),
        limit: whole(&data["limit"]).filter(|limit| *limit > 0),
        late: false,
    }
}

fn request_id(value: &Value) -> Option<String> {
    let id = value.as_str()?;
    let plain = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain.then(|| id.to_owned())
}

fn invalid_entries(data: &Value) -> Vec<InvalidEntry> {
    let entry = |value: &Value| {
        let fields = match &value["fields"] {
            Value::Array(fields) => fields.iter().filter_map(field).collect(),
            one => field(one).into_iter().collect(),
        };
        InvalidEntry {
            index: whole(&value["index"]),
            fields,
        }
    };
    match data {
        Value::Array(entries) => entries.iter().map(entry).collect(),
        Value::Object(one) if one.contains_key("index") => vec![entry(data)],
        _ => Vec::new(),
    }
}

fn field(value: &Value) -> Option<String> {
    token(value.as_str()?).map(str::to_owned)
}

/// A whole number, also one that is written as a string.
fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn phone(value: &Value) -> Option<crate::employee::Phone> {
    let written = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    written
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn id(text: &str) -> EmployeeId {
        EmployeeId::parse(text).expect("a valid id")
    }

    /// An array of the users `from..to`.
    fn users(from: usize, to: usize) -> Value {
        (from..to)
            .map(|n| json!({"id": format!("u{n}"), "name": format!("Name {n}"), "role": "seller"}))
            .collect()
    }

    /// Reads as many of `pages` as the reader asks for. Returns the offsets it asked for, too.
    fn read(pages: &[Value]) -> (UserList, Vec<usize>) {
        let mut reader = ListReader::default();
        let mut offsets = Vec::new();
        for page in pages {
            let Some(offset) = reader.take(page.to_string().as_bytes()) else {
                break;
            };
            offsets.push(offset);
        }
        (reader.finish(), offsets)
    }

    #[test]
    fn a_bare_array_is_complete() {
        for n in [0, 1, 99, 101, 1000] {
            let (list, offsets) = read(&[users(0, n)]);
            assert_eq!((list.users.len(), list.incomplete, offsets), (n, None, vec![]));
        }
    }

    #[rstest]
    #[case::nothing_behind_it(&[users(0, 100), json!([])], 100, &[100])]
    #[case::the_offset_is_ignored(&[users(0, 100), users(0, 100)], 100, &[100])]
    #[case::pages_after_all(&[users(0, 100), users(100, 150), json!([])], 150, &[100, 150])]
    #[case::full_pages(&[users(0, 100), users(100, 200), json!([])], 200, &[100, 200])]
    fn an_array_of_a_page_s_length_has_to_prove_it(
        #[case] pages: &[Value],
        #[case] count: usize,
        #[case] offsets: &[usize],
    ) {
        let (list, asked) = read(pages);
        assert_eq!(
            (list.users.len(), list.incomplete, asked.as_slice()),
            (count, None, offsets)
        );
    }

    #[rstest]
    #[case::shifted(&[users(0, 100), users(99, 150)])]
    #[case::part_of_the_first(&[users(0, 100), users(0, 50)])]
    #[case::repeats_later(&[users(0, 100), users(100, 200), users(100, 200)])]
    #[case::another_shape(&[users(0, 100), json!({"count": 100, "data": []})])]
    #[case::garbage(&[users(0, 100), json!("oops")])]
    fn pages_that_do_not_fit_together_prove_nothing(#[case] pages: &[Value]) {
        let (list, _) = read(pages);
        assert!(!list.is_complete() && list.users.len() >= 100, "{list:?}");
    }

    #[rstest]
    #[case::count_as_a_number(&[json!({"count": 2, "data": users(0, 2)})], 2, &[])]
    #[case::count_as_a_string(&[json!({"count": "2", "data": users(0, 2)})], 2, &[])]
    #[case::nobody(&[json!({"count": 0, "data": []})], 0, &[])]
    #[case::pages(
        &[json!({"count": 250, "data": users(0, 100)}), json!({"count": 250, "data": users(100, 200)}), json!({"count": 250, "data": users(200, 250)})],
        250, &[100, 200]
    )]
    #[case::exactly_one_page(&[json!({"count": "100", "data": users(0, 100)})], 100, &[])]
    fn an_envelope_is_complete_if_its_count_says_so(
        #[case] pages: &[Value],
        #[case] count: usize,
        #[case] offsets: &[usize],
    ) {
        let (list, asked) = read(pages);
        assert_eq!(
            (list.users.len(), list.incomplete, asked.as_slice()),
            (count, None, offsets)
        );
    }

    #[rstest]
    #[case::fewer(&[json!({"count": 3, "data": users(0, 2)}), json!({"count": 3, "data": []})])]
    #[case::more(&[json!({"count": 1, "data": users(0, 2)})])]
    #[case::the_same_page_again(&[json!({"count": 150, "data": users(0, 100)}), json!({"count": 150, "data": users(0, 100)})])]
    #[case::count_changes(&[json!({"count": 150, "data": users(0, 100)}), json!({"count": 149, "data": users(100, 149)})])]
    #[case::no_count(&[json!({"data": users(0, 2)})])]
    #[case::odd_count(&[json!({"count": 2.5, "data": users(0, 2)})])]
    #[case::negative_count(&[json!({"count": -2, "data": users(0, 2)})])]
    #[case::no_data(&[json!({"count": 0})])]
    #[case::data_of_another_type(&[json!({"count": 0, "data": {}})])]
    #[case::error_with_success(&[json!({"error": "FORBIDDEN"})])]
    #[case::null(&[json!(null)])]
    #[case::text(&[json!("ok")])]
    #[case::no_id(&[json!([{"name": "A"}])])]
    #[case::id_null(&[json!([{"id": null, "name": "A"}])])]
    #[case::id_empty(&[json!([{"id": "", "name": "A"}])])]
    #[case::id_object(&[json!([{"id": {}, "name": "A"}])])]
    #[case::id_float(&[json!([{"id": 1.5, "name": "A"}])])]
    #[case::no_name(&[json!([{"id": "1"}])])]
    #[case::name_number(&[json!([{"id": "1", "name": 7}])])]
    #[case::entry_as_array(&[json!([["1", "A", null]])])]
    #[case::two_names(&[json!([{"id": "1", "name": "A"}, {"id": 1, "name": "B"}])])]
    fn what_proves_nothing_is_incomplete(#[case] pages: &[Value]) {
        let (list, _) = read(pages);
        assert!(!list.is_complete());
    }

    #[test]
    fn bytes_that_are_no_json_are_incomplete() {
        for body in [
            &b""[..],
            b"<html>",
            b"[{\"id\":\"1\",\"name\":\"A\"}",
            b"\xff\xfe",
            b"[{\"id\":\"\\ud800\",\"name\":\"A\"}]",
        ] {
            let mut reader = ListReader::default();
            assert_eq!(reader.take(body), None);
            assert!(!reader.finish().is_complete());
        }
    }

    #[test]
    fn endless_pages_end() {
        let mut reader = ListReader::default();
        let mut n = 0;
        while reader.take(users(n, n + 100).to_string().as_bytes()).is_some() {
            n += 100;
        }
        assert!(n < 20_000);
        assert!(!reader.finish().is_complete());
    }

    #[test]
    fn ids_keep_their_exact_text() {
        let mut reader = ListReader::default();
        let body = r#"[{"id":123456789012345678901234567890,"name":"A"},{"id":"007","name":"B"},{"id":-7,"name":"C"},
            {"id":9007199254740993,"name":"\u0416"}, {"id":"dup","name":"D"}, {"id":"dup","name":"D"}]"#;
        assert_eq!(reader.take(body.as_bytes()), None);
        let list = reader.finish();
        assert!(list.is_complete());
        let ids: Vec<_> = list.users.keys().map(String::as_str).collect();
        assert_eq!(
            ids,
            ["-7", "007", "123456789012345678901234567890", "9007199254740993", "dup"]
        );
        assert_eq!(format!("{list:?}"), "UserList { users: 5, incomplete: None }");
    }

    #[test]
    fn a_user_is_read() {
        let user = remote_user(br#"{"id":42,"name":"Ann","phone":79261234567,"x":[]}"#, &id("42")).expect("a user");
        assert_eq!(
            (user.id.as_str(), user.name.as_str(), user.phone.as_deref()),
            ("42", "Ann", Some("79261234567"))
        );
        assert_eq!(format!("{user:?}"), "RemoteUser { id: \"42\", .. }");
        let bare = remote_user(br#"{"name":"Ann","phone":null}"#, &id("a")).expect("a user");
        assert_eq!((bare.id.as_str(), bare.phone), ("a", None));
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
        assert!(remote_user(body.as_bytes(), &id("a")).is_err());
    }

    #[test]
    fn absent_ids_are_those_asked_for() {
        let asked = [id("1"), id("b"), id("c")];
        assert_eq!(absent(b"[]", &asked), Some(vec![]));
        assert_eq!(absent(br#"["c", 1, "foreign"]"#, &asked), Some(vec![id("1"), id("c")]));
        for odd in [&b""[..], b"OK", b"{}", b"[null]", b"[{\"id\":\"b\"}]"] {
            assert_eq!(absent(odd, &asked), None);
        }
    }

    #[test]
    fn invalid_entries_are_read() {
        let body = json!({"error": "INVALID_USERS_DATA", "description": "secret", "data": [
            {"index": 12, "fields": ["id", "name"]}, {"index": "3", "fields": "phone"}, {"fields": null}, 7,
        ]});
        let refusal = refusal(400, body.to_string().as_bytes());
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
        let refusal = refusal(
            400,
            br#"{"error":"INVALID_USERS_DATA","data":{"index":0,"fields":["phone"]}}"#,
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
            let refusal = refusal(400, body.as_bytes());
            assert_eq!((refusal.code, refusal.limit), (Code::TooManyEntities, limit), "{body}");
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
            let refusal = refusal(400, body.to_string().as_bytes());
            assert_eq!(refusal.code, Code::DuplicatePhoneNumber);
            assert_eq!(refusal.phone.map(crate::employee::Phone::digits), Some(79_999_999_999));
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
        Code::UserLimitExceeded
    )]
    #[case(
        r#"{"error":{"code":"USER_LIMIT_EXCEEDED"},"data":{"limit":1000}}"#,
        Code::UserLimitExceeded
    )]
    #[case(
        r#"{"error":"Bad Request, Ann","code":"user_limit_exceeded"}"#,
        Code::UserLimitExceeded
    )]
    #[case(r#"{"error":7}"#, Code::Missing(400))]
    #[case(r#"{"error":"User Ann exists"}"#, Code::Missing(400))]
    #[case("[]", Code::Missing(400))]
    #[case("", Code::Missing(400))]
    #[case("<html>502</html>", Code::Missing(400))]
    fn codes_are_found_in_every_form(#[case] body: &str, #[case] code: Code) {
        assert_eq!(refusal(400, body.as_bytes()).code, code);
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
        let _ = remote_user(body, &asked[0]);
        let _ = absent(body, &asked);
        let _ = refusal(400, body);
        let mut reader = ListReader::default();
        if reader.take(body).is_some() {
            reader.take(body);
        }
        reader.finish();
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            read_all(&body);
        }

        #[test]
        fn no_json_panics(body in any_json()) {
            read_all(body.to_string().as_bytes());
        }
    }
}
