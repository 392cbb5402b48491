//! Answers: refusals in every style, and the list in every shape.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::users::User;
use crate::variant::{ErrorStyle, ListStyle, Variant};

/// The page size of every paged list.
const PAGE: usize = 100;

const HTML: &str = "<html><head><title>Error</title></head><body><h1>Error</h1><hr>nginx</body></html>";

/// What goes back over the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::typed(status, "text/plain; charset=utf-8", body.to_owned())
    }

    pub(crate) fn html(status: u16) -> Self {
        Self::typed(status, "text/html; charset=utf-8", HTML.to_owned())
    }

    fn typed(status: u16, content_type: &str, body: String) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body }
    }
}

/// A request that was not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Empty where the service says nothing at all.
    pub(crate) code: &'static str,
    pub(crate) description: String,
    pub(crate) data: Option<Value>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, description: &str) -> Self {
        Self {
            status,
            code,
            description: description.to_owned(),
            data: None,
        }
    }

    pub(crate) fn with_data(self, data: Value) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    pub(crate) fn invalid_users(entries: &[(usize, Vec<String>)]) -> Self {
        let plain = Self::new(
            400,
            "INVALID_USERS_DATA",
            "One or more of provided users are not valid.",
        );
        if entries.is_empty() {
            return plain;
        }
        let data = entries
            .iter()
            .map(|(index, fields)| json!({"index": index, "fields": fields}));
        plain.with_data(data.collect())
    }

    pub(crate) fn too_many(count: usize, limit: usize) -> Self {
        Self::new(400, "TOO_MANY_ENTITIES", "Too many entities per request.")
            .with_data(json!({"count": count, "limit": limit}))
    }

    pub(crate) fn seats(limit: usize) -> Self {
        Self::new(400, "USER_LIMIT_EXCEEDED", "User limit exceeded.").with_data(json!({"limit": limit}))
    }

    /// The one error that the vendor's page shows with `status` and `requestId`; the description
    /// quotes the phone, so a client that logs it has leaked it.
    pub(crate) fn duplicate_phone(phone: &str) -> Self {
        let text = format!("User with phone number {phone} already exists in the CRM.");
        Self::new(400, "DUPLICATE_PHONE_NUMBER", &text).with_data(json!({"phone": phone}))
    }

    pub(crate) fn server_fault() -> Self {
        Self::new(500, "INTERNAL_SERVER_ERROR", "Internal server error")
    }

    pub(crate) fn no_such_user() -> Self {
        Self::new(404, "USER_NOT_FOUND", "There is no such user.")
    }

    pub(crate) fn answer(&self, style: ErrorStyle) -> Answer {
        let status = self.status;
        if self.code.is_empty() {
            return Answer::empty(status);
        }
        let mut body = json!({"error": self.code, "description": self.description});
        if let Some(data) = &self.data {
            body["data"] = data.clone();
        }
        match style {
            ErrorStyle::Documented if self.code == "DUPLICATE_PHONE_NUMBER" => add_request_id(&mut body, status),
            // The contract gives this one's body in full.
            ErrorStyle::Documented if status == 403 => body = json!({"error": self.code}),
            ErrorStyle::Documented => {}
            ErrorStyle::WithRequestId => add_request_id(&mut body, status),
            ErrorStyle::OddCodes => body["error"] = json!(odd(self.code)),
            ErrorStyle::Empty => return Answer::empty(status),
            ErrorStyle::Html => return Answer::html(status),
            ErrorStyle::ErrorsArray => {
                body = json!({"errors": [{"code": self.code, "message": self.description}]});
            }
            ErrorStyle::NestedCode => body = json!({"error": {"code": self.code}}),
            ErrorStyle::NoData => body["data"] = Value::Null,
            ErrorStyle::WildIndexes => {
                if self.code == "INVALID_USERS_DATA" {
                    body["data"] = wild_indexes();
                }
            }
        }
        if body["data"].is_null()
            && let Some(object) = body.as_object_mut()
        {
            object.remove("data");
        }
        Answer::json(status, &body)
    }
}

fn add_request_id(body: &mut Value, status: u16) {
    body["status"] = json!(status);
    body["requestId"] = json!("594101c6e81a1cace2646eee1edd5e66");
}

fn odd(code: &str) -> String {
    if code == "TOO_MANY_ENTITIES" {
        return "TOO_MACH_ENTITIES".to_owned();
    }
    code.replace('_', "").to_lowercase()
}

/// Indexes that no request of at most 100 entries has.
pub(crate) fn wild_indexes() -> Value {
    json!([
        {"index": 100, "fields": ["id"]},
        {"index": 4_294_967_296_u64, "fields": ["name"]},
        {"index": -1, "fields": []},
    ])
}

/// How a fault cripples a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mangle {
    /// The last so many items of the page are missing; the count is not.
    Short(usize),
    /// Nobody is there, and the count agrees.
    Empty,
}

/// One answer to `GET /v3/users`.
pub(crate) fn list(users: &BTreeMap<String, User>, variant: &Variant, offset: usize, mangle: Option<Mangle>) -> Answer {
    let mut sorted: Vec<_> = users.iter().collect();
    sorted.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
    let mut count = sorted.len();

    let offset = if variant.offset_ignored { 0 } else { offset };
    let (from, upto) = match variant.list {
        ListStyle::Array => (0, count),
        ListStyle::ArrayPaged | ListStyle::Pages | ListStyle::PagesTextCount => {
            let from = offset.min(count);
            (from, count.min(from + PAGE))
        }
    };
    let page = &sorted[from..upto];
    let items = page
        .iter()
        .map(|(id, user)| item(id, user, variant, variant.list_phones));
    let mut items: Vec<Value> = items.collect();
    match mangle {
        None => {}
        Some(Mangle::Short(missing)) => items.truncate(items.len().saturating_sub(missing)),
        Some(Mangle::Empty) => (items, count) = (Vec::new(), 0),
    }

    let body = match variant.list {
        ListStyle::Array | ListStyle::ArrayPaged => Value::Array(items),
        ListStyle::Pages => json!({"count": count, "data": items}),
        ListStyle::PagesTextCount => json!({"count": count.to_string(), "data": items}),
    };
    Answer::json(200, &body)
}

/// One user as JSON.
pub(crate) fn item(id: &str, user: &User, variant: &Variant, with_phone: bool) -> Value {
    let mut item = json!({"id": id_value(id, variant), "name": user.name});
    if with_phone && let Some(phone) = &user.phone {
        item["phone"] = json!(phone);
    }
    item
}

/// An id as the service renders it: numbers keep their digits, so `007` stays text.
pub(crate) fn id_value(id: &str, variant: &Variant) -> Value {
    match id.parse::<u64>() {
        Ok(number) if variant.numeric_ids && number.to_string() == id => json!(number),
        _ => json!(id),
    }
}
