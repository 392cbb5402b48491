//! What the service says when it refuses a request or fails on it, in every form that was seen.

use serde_json::Value;

use crate::{
    delivery::{InvalidEntry, Refusal, RefusalCode},
    employee::Phone,
};

/// Reads the body of a refusal or a fault. Of one that cannot be read, the status and `trace_id`, which is the header
/// of that name, are left.
pub(super) fn read_refusal(status: u16, body: &[u8], trace_id: Option<&str>) -> Refusal {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let first_error = &body["errors"][0];
    let places = [&body, &body["error"], first_error];
    let codes = [
        &body["error"],
        &body["error"]["code"],
        &first_error["code"],
        &body["code"],
    ];
    let code = codes.into_iter().find_map(|code| parse_code(code.as_str()?));
    let request_id = places
        .into_iter()
        .filter_map(|place| place["requestId"].as_str())
        .chain(trace_id)
        .find(|id| is_request_id(id));
    let data = places
        .into_iter()
        .map(|place| &place["data"])
        .find(|data| !data.is_null())
        .unwrap_or(&Value::Null);
    Refusal {
        code: code.unwrap_or(RefusalCode::Status(status)),
        request_id: request_id.map(str::to_owned),
        invalid: invalid_entries(data),
        phone: phone(&data["phone"]),
        limit: whole_number(&data["limit"]).filter(|limit| *limit > 0),
    }
}

/// Reads a code, whatever its case and underscores. `None` if `text` is no code: it may be a sentence then, and contain
/// what must not be logged.
pub(super) fn parse_code(text: &str) -> Option<RefusalCode> {
    if !is_token(text) {
        return None;
    }
    let code = text.to_ascii_uppercase();
    Some(match code.replace('_', "").as_str() {
        "INVALIDUSERSDATA" => RefusalCode::InvalidUsersData,
        // The second is how the service itself writes it at times.
        "TOOMANYENTITIES" | "TOOMACHENTITIES" => RefusalCode::TooManyEntities,
        "USERLIMITEXCEEDED" => RefusalCode::UserLimitExceeded,
        "DUPLICATEPHONENUMBER" => RefusalCode::DuplicatePhoneNumber,
        _ => RefusalCode::Other(code),
    })
}

/// Whether `text` is one short word of a program, such as a code or the name of a field, and so can hold neither a
/// person's full name nor a phone.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && longest_digit_run(text) < 5
}

/// Whether `text` can only name a request. Seven digits in a row could be a phone, and so could digits and dashes alone.
fn is_request_id(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let has_letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && longest_digit_run(text) < 7
        && (has_letter || digits < 7)
}

fn longest_digit_run(text: &str) -> usize {
    let runs = text.split(|character: char| !character.is_ascii_digit());
    runs.map(str::len).max().unwrap_or(0)
}

fn invalid_entries(data: &Value) -> Vec<InvalidEntry> {
    match data {
        Value::Array(entries) => entries.iter().map(invalid_entry).collect(),
        Value::Object(entry) if entry.contains_key("index") => vec![invalid_entry(data)],
        _ => Vec::new(),
    }
}

fn invalid_entry(value: &Value) -> InvalidEntry {
    let fields = match &value["fields"] {
        Value::Array(fields) => fields.iter().filter_map(field_name).collect(),
        field => field_name(field).into_iter().collect(),
    };
    InvalidEntry {
        index: whole_number(&value["index"]),
        fields,
    }
}

fn field_name(value: &Value) -> Option<String> {
    value.as_str().filter(|name| is_token(name)).map(str::to_owned)
}

fn whole_number(value: &Value) -> Option<usize> {
    written_value(value)?.trim().parse().ok()
}

fn phone(value: &Value) -> Option<Phone> {
    let mut written = written_value(value)?;
    written.retain(|character| character.is_ascii_digit());
    Phone::parse(&written)
}

fn written_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
