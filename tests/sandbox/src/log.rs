//! Every request as it came in, and what a client of the contract must never send.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::call::Call;
use crate::users::is_phone;

/// The most entries that the contract allows in one request.
const BATCH: usize = 100;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Counts from 1 over the sandbox's whole life.
    pub seq: u64,
    /// When it came in.
    #[serde(serialize_with = "unix_millis")]
    pub at: SystemTime,
    /// The method, in upper case.
    pub method: String,
    /// The raw path with the raw query.
    pub path: String,
    /// The raw body.
    pub body: String,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// The status answered; `None` while it is in work, or if the connection was cut.
    pub status: Option<u16>,
    /// Whether it was carried out: the key was right and the contract refused nothing. True for a
    /// lost answer, too, and true at last for an act that came late.
    pub applied: bool,
    /// Whether it may change users: a `POST`, `DELETE` or `bulk_delete`.
    pub writing: bool,
}

impl Request {
    /// The ids that the body or the path is about, in their order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        if let Some(Value::Array(entries)) = &self.json {
            let id = |entry: &Value| entry.as_str().or(entry["id"].as_str()).map(ToOwned::to_owned);
            return entries.iter().filter_map(id).collect();
        }
        let id = self
            .path
            .split('?')
            .next()
            .and_then(|path| path.strip_prefix("/v3/users/"));
        let decode = |id| {
            percent_encoding::percent_decode_str(id)
                .decode_utf8_lossy()
                .into_owned()
        };
        id.map(decode).into_iter().collect()
    }

    /// Seconds since 1970, with milliseconds.
    #[must_use]
    pub fn unix_millis(&self) -> u128 {
        self.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
    }
}

fn unix_millis<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    serializer.serialize_u64(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The requests, and what was wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<String>,
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    last: u64,
}

impl Log {
    /// Writes a request down as being in work.
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is a service with a clock of its own"
    )]
    pub(crate) fn begin(&mut self, call: &Call, method: &str, path: &str, body: &str, json_type: bool) -> u64 {
        self.last += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        let request = Request {
            seq: self.last,
            at: SystemTime::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            body: body.to_owned(),
            json: serde_json::from_str(body).ok(),
            status: None,
            applied: false,
            writing: call.writes(),
        };
        let wrong = violations(call, request.json.as_ref(), json_type);
        let named = wrong
            .into_iter()
            .map(|wrong| format!("#{} {method} {path}: {wrong}", request.seq));
        self.violations.extend(named);
        self.requests.push(request);
        self.last
    }

    /// The request, unless the log was cleared since.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Request> {
        self.requests.iter_mut().rev().find(|request| request.seq == seq)
    }
}

/// What the contract forbids, whatever the service may answer to it.
fn violations(call: &Call, json: Option<&Value>, json_type: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    match call {
        Call::Unknown => wrong.push("no such call".to_owned()),
        Call::List { .. } | Call::GetUser(_) | Call::Delete(_) => {}
        Call::Post | Call::BulkDelete => {
            if !json_type {
                wrong.push("content type is not application/json".to_owned());
            }
            let Some(Value::Array(entries)) = json else {
                wrong.push("the body is no array".to_owned());
                return wrong;
            };
            if entries.is_empty() {
                wrong.push("an empty array".to_owned());
            }
            if entries.len() > BATCH {
                wrong.push(format!("{} entries", entries.len()));
            }
            let mut seen = BTreeSet::new();
            for (index, entry) in entries.iter().enumerate() {
                let id = if *call == Call::Post { &entry["id"] } else { entry };
                match id.as_str() {
                    None | Some("") => wrong.push(format!("entry {index} has no id")),
                    Some(id) if !seen.insert(id) => wrong.push(format!("entry {index} has an id again")),
                    Some(_) => {}
                }
                if *call == Call::Post {
                    wrong.extend(wrong_fields(index, entry));
                }
            }
        }
    }
    wrong
}

fn wrong_fields(index: usize, entry: &Value) -> Vec<String> {
    let Some(fields) = entry.as_object() else {
        return vec![format!("entry {index} is no object")];
    };
    let mut wrong = Vec::new();
    if !fields.get("name").is_some_and(Value::is_string) {
        wrong.push(format!("entry {index} has no name"));
    }
    for (field, value) in fields {
        match field.as_str() {
            "id" | "name" => {}
            "phone" if value.as_str().is_some_and(is_phone) => {}
            "phone" if value.is_null() => wrong.push(format!("entry {index} has a null phone")),
            "phone" => wrong.push(format!("entry {index} has a malformed phone")),
            other => wrong.push(format!("entry {index} has a field `{other}`")),
        }
    }
    wrong
}
