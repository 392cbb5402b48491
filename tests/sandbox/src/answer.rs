//! What the sandbox answers, and refusals in every style.

use axum::http::{Response, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::variant::ErrorStyle;

pub type Answer = Response<String>;

/// The page of a proxy or firewall.
pub(crate) const HTML: &str = "<html><head><title>Error</title></head><body><h1>Error</h1><hr>nginx</body></html>";

/// Indexes that no request of at most 100 entries has.
pub(crate) const WILD_INDEXES: [i64; 3] = [100, 1 << 32, -1];

/// The body's first character decides the content type: HTML, JSON or text.
pub(crate) fn answer(status: u16, body: impl Into<String>) -> Answer {
    let body = body.into();
    let content_type = match body.as_bytes().first() {
        Some(b'<') => "text/html; charset=utf-8",
        Some(b'{' | b'[') => "application/json; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let answer = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type);
    answer.body(body).expect("a status from 100 to 999")
}

/// An entry that `INVALID_USERS_DATA` names.
#[derive(Debug, Serialize)]
pub(crate) struct InvalidEntry {
    /// From 0; negative only where the index is wrong on purpose.
    pub(crate) index: i64,
    pub(crate) fields: Vec<String>,
}

/// A refusal that no style has given its form yet.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Without one, the answer has no body in any style.
    pub(crate) code: &'static str,
    pub(crate) data: Value,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, data: Value) -> Self {
        Self { status, code, data }
    }

    pub(crate) fn invalid_users(entries: &[InvalidEntry]) -> Self {
        let data = if entries.is_empty() {
            Value::Null
        } else {
            json!(entries)
        };
        Self::new(400, "INVALID_USERS_DATA", data)
    }

    pub(crate) fn in_style(self, style: ErrorStyle) -> Answer {
        let Self { status, code, mut data } = self;
        // The vendor's own description quotes the phone, so a client that logs it has leaked it.
        let description = match data["phone"].as_str() {
            Some(phone) => format!("User with phone number {phone} already exists in the CRM."),
            None => "The request was refused.".to_owned(),
        };
        let mut body = json!({"error": code, "description": description});
        match style {
            ErrorStyle::Empty => return answer(status, ""),
            _ if code.is_empty() => return answer(status, ""),
            ErrorStyle::Html => return answer(status, HTML),
            ErrorStyle::ErrorsArray => {
                let errors = json!({"errors": [{"code": code, "message": description}]});
                return answer(status, errors.to_string());
            }
            ErrorStyle::NestedCode => return answer(status, json!({"error": {"code": code}}).to_string()),
            ErrorStyle::Documented if status == 403 => return answer(status, json!({"error": code}).to_string()),
            ErrorStyle::OddCodes if code == "TOO_MANY_ENTITIES" => body["error"] = json!("TOO_MACH_ENTITIES"),
            ErrorStyle::OddCodes => body["error"] = json!(code.replace('_', "").to_lowercase()),
            ErrorStyle::NoData => data = Value::Null,
            ErrorStyle::WildIndexes if code == "INVALID_USERS_DATA" => {
                let wild = WILD_INDEXES.map(|index| json!({"index": index, "fields": []}));
                data = json!(wild);
            }
            ErrorStyle::Documented | ErrorStyle::WithRequestId | ErrorStyle::WildIndexes => {}
        }
        // The vendor's page shows these two fields with one error only.
        let is_documented_with_id = style == ErrorStyle::Documented && code == "DUPLICATE_PHONE_NUMBER";
        if style == ErrorStyle::WithRequestId || is_documented_with_id {
            body["status"] = json!(status);
            body["requestId"] = json!("594101c6e81a1cace2646eee1edd5e66");
        }
        if !data.is_null() {
            body["data"] = data;
        }
        answer(status, body.to_string())
    }
}
