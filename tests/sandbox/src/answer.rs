//! What the sandbox answers: status, headers, body, and refusals in every style.

use serde_json::{Value, json};

use crate::variant::ErrorStyle;

/// The page of a proxy or firewall.
pub(crate) const HTML: &str = "<html><head><title>Error</title></head><body><h1>Error</h1><hr>nginx</body></html>";

/// One answer. The content type follows from the body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
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
        let Ok(mut body) = serde_json::from_str::<Value>(&self.body) else {
            return;
        };
        let list = if body.is_array() { &mut body } else { &mut body["data"] };
        if let Value::Array(items) = list {
            edit(items);
            self.body = body.to_string();
        }
    }
}

/// Names invalid entries by their index, counted from 0.
pub(crate) fn named_entries(entries: &[(usize, Vec<String>)]) -> Value {
    let named = entries
        .iter()
        .map(|(index, fields)| json!({"index": index, "fields": fields}));
    if entries.is_empty() {
        Value::Null
    } else {
        named.collect()
    }
}

/// Indexes that no request of at most 100 entries has.
pub(crate) fn wild_indexes() -> Value {
    json!([
        {"index": 100, "fields": ["id"]},
        {"index": 4_294_967_296_u64, "fields": ["name"]},
        {"index": -1, "fields": []},
    ])
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
        match self {
            // The only error that the vendor's page shows with these two fields.
            Self::Documented if code == "DUPLICATE_PHONE_NUMBER" => add_request_id(&mut body, status),
            Self::Documented if status == 403 => body = json!({"error": code}),
            Self::WithRequestId => add_request_id(&mut body, status),
            Self::OddCodes if code == "TOO_MANY_ENTITIES" => body["error"] = json!("TOO_MACH_ENTITIES"),
            Self::OddCodes => body["error"] = json!(code.replace('_', "").to_lowercase()),
            Self::Empty => return Answer::new(status, ""),
            Self::Html => return Answer::new(status, HTML),
            Self::ErrorsArray => body = json!({"errors": [{"code": code, "message": description}]}),
            Self::NestedCode => body = json!({"error": {"code": code}}),
            Self::NoData => body["data"] = Value::Null,
            Self::WildIndexes if code == "INVALID_USERS_DATA" => body["data"] = wild_indexes(),
            Self::Documented | Self::WildIndexes => {}
        }
        if let Some(object) = body.as_object_mut() {
            object.retain(|_, value| !value.is_null());
        }
        Answer::new(status, body.to_string())
    }
}

fn add_request_id(body: &mut Value, status: u16) {
    body["status"] = json!(status);
    body["requestId"] = json!("594101c6e81a1cace2646eee1edd5e66");
}
