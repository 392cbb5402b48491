//! What the sandbox answers: status, headers and body, and refusals in every style.

use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::{Value, json};

use crate::variant::ErrorStyle;

/// The page of a proxy or firewall.
pub(crate) const HTML: &str = "<html><head><title>Error</title></head><body><h1>Error</h1><hr>nginx</body></html>";

/// Indexes that no request of at most 100 entries has.
pub(crate) const WILD_INDEXES: [i64; 3] = [100, 1 << 32, -1];

/// The body's first character decides the content type: HTML, JSON or text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Changes the items of a list, be it a bare array or in an envelope. Any other answer stays as it is.
    pub(crate) fn edit_list(&mut self, edit: impl FnOnce(&mut Vec<Value>)) {
        let mut body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let list = if body.is_object() { &mut body["data"] } else { &mut body };
        if let Value::Array(items) = list {
            edit(items);
            self.body = body.to_string();
        }
    }
}

impl IntoResponse for Answer {
    /// A status that HTTP does not have, which a fault may have ordered, becomes 500.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = match self.body.as_bytes().first() {
            Some(b'<') => "text/html; charset=utf-8",
            Some(b'{' | b'[') => "application/json; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        let content_type = [(header::CONTENT_TYPE, content_type)];
        (status, content_type, AppendHeaders(self.headers), self.body).into_response()
    }
}

/// The `data` of `INVALID_USERS_DATA`: the index of each invalid entry, from 0, with its invalid fields. Null for none.
pub(crate) fn named_entries<S: AsRef<[String]>>(entries: impl IntoIterator<Item = (i64, S)>) -> Value {
    let mut named = Vec::new();
    for (index, fields) in entries {
        named.push(json!({"index": index, "fields": fields.as_ref()}));
    }
    if named.is_empty() {
        Value::Null
    } else {
        Value::Array(named)
    }
}

impl ErrorStyle {
    /// A refusal with this code; `data` may be null.
    pub(crate) fn refusal(self, status: u16, code: &str, data: &Value) -> Answer {
        // The vendor's own description quotes the phone, so a client that logs it has leaked it.
        let description = match data["phone"].as_str() {
            Some(phone) => format!("User with phone number {phone} already exists in the CRM."),
            None => "The request was refused.".to_owned(),
        };
        let mut body = json!({"error": code, "description": description, "data": data});
        // The vendor's page shows these two fields with one error only.
        if self == Self::WithRequestId || self == Self::Documented && code == "DUPLICATE_PHONE_NUMBER" {
            body["status"] = json!(status);
            body["requestId"] = json!("594101c6e81a1cace2646eee1edd5e66");
        }
        match self {
            Self::Documented if status == 403 => body = json!({"error": code}),
            Self::OddCodes if code == "TOO_MANY_ENTITIES" => body["error"] = json!("TOO_MACH_ENTITIES"),
            Self::OddCodes => body["error"] = json!(code.replace('_', "").to_lowercase()),
            Self::Empty => return Answer::new(status, ""),
            Self::Html => return Answer::new(status, HTML),
            Self::ErrorsArray => body = json!({"errors": [{"code": code, "message": description}]}),
            Self::NestedCode => body = json!({"error": {"code": code}}),
            Self::NoData => body["data"] = Value::Null,
            Self::WildIndexes if code == "INVALID_USERS_DATA" => {
                body["data"] = named_entries(WILD_INDEXES.map(|index| (index, [])));
            }
            Self::Documented | Self::WithRequestId | Self::WildIndexes => {}
        }
        if body["data"].is_null() {
            body.as_object_mut().map(|object| object.remove("data"));
        }
        Answer::new(status, body.to_string())
    }
}
