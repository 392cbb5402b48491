//! Every request as it came in, and what a client of the contract must never send.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::users::is_phone;

/// The most entries that the contract allows in one request.
const LARGEST_BATCH: usize = 100;

/// The five calls of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    List,
    GetUser,
    Post,
    BulkDelete,
    Delete,
    /// Nothing that the contract knows.
    Unknown,
}

#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Counts from 1 over the whole life of the sandbox.
    pub seq: u64,
    /// When it came in; in JSON milliseconds since 1970.
    #[serde(serialize_with = "as_milliseconds")]
    pub at: SystemTime,
    pub method: String,
    /// The raw path with the raw query.
    pub path: String,
    /// The ids that the body or the path names, in their order.
    pub ids: Vec<String>,
    /// Whether it may change users: a `POST`, `DELETE` or `bulk_delete`.
    pub writing: bool,
    /// The status answered; `None` for good if there was no answer.
    pub status: Option<u16>,
    /// Whether it was carried out: the key was right and nothing was refused. Also true if the answer was lost, and
    /// for a request that was held back once it landed.
    pub applied: bool,
    #[serde(skip)]
    pub body: String,
    /// The key that it came with.
    #[serde(skip)]
    pub key: Option<String>,
    #[serde(skip)]
    pub(crate) kind: Kind,
    /// What the request is about: the items of its body, or the id that its path names.
    #[serde(skip)]
    pub(crate) entries: Vec<Value>,
    #[serde(skip)]
    is_json: bool,
}

fn as_milliseconds<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis().serialize(serializer)
}

impl Request {
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is a service with a clock of its own"
    )]
    pub(crate) fn new(parts: &Parts, body: &[u8]) -> Self {
        let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let key = header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let content_type = header(header::CONTENT_TYPE).unwrap_or_default();
        let path_id = id_in(parts.uri.path());
        let kind = match (parts.method.as_str(), parts.uri.path()) {
            ("GET", "/v3/users") => Kind::List,
            ("POST", "/v3/users") => Kind::Post,
            ("PATCH", "/v3/users/bulk_delete") => Kind::BulkDelete,
            ("GET", _) if path_id.is_some() => Kind::GetUser,
            ("DELETE", _) if path_id.is_some() => Kind::Delete,
            _ => Kind::Unknown,
        };
        let entries = match kind {
            Kind::Post | Kind::BulkDelete => serde_json::from_slice(body).unwrap_or_default(),
            Kind::GetUser | Kind::Delete => path_id.map(Value::String).into_iter().collect(),
            Kind::List | Kind::Unknown => Vec::new(),
        };
        Self {
            seq: 0,
            at: SystemTime::now(),
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            ids: entries.iter().filter_map(id_of).map(ToOwned::to_owned).collect(),
            writing: matches!(kind, Kind::Post | Kind::BulkDelete | Kind::Delete),
            status: None,
            applied: false,
            body: String::from_utf8_lossy(body).into_owned(),
            key: key.map(ToOwned::to_owned),
            kind,
            entries,
            is_json: content_type.starts_with("application/json"),
        }
    }

    /// The `?offset=` of a list.
    pub(crate) fn offset(&self) -> usize {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let offset = query.split('&').find_map(|pair| pair.strip_prefix("offset="));
        offset.and_then(|offset| offset.parse().ok()).unwrap_or(0)
    }

    /// What the contract forbids, whatever the service may answer.
    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.kind == Kind::Unknown {
            found.push("no such call".to_owned());
        }
        if !matches!(self.kind, Kind::Post | Kind::BulkDelete) {
            return found;
        }
        if !self.is_json {
            found.push("the content type is not application/json".to_owned());
        }
        if self.entries.is_empty() || self.entries.len() > LARGEST_BATCH {
            found.push(format!("{} entries", self.entries.len()));
        }
        let mut seen = BTreeSet::new();
        for (index, entry) in self.entries.iter().enumerate() {
            match id_of(entry) {
                None | Some("") => found.push(format!("entry {index} has no id")),
                Some(id) if !seen.insert(id) => found.push(format!("entry {index} repeats an id")),
                Some(_) => {}
            }
            if self.kind == Kind::Post && !entry["name"].is_string() {
                found.push(format!("entry {index} has no name"));
            }
            for (field, value) in entry.as_object().into_iter().flatten() {
                match field.as_str() {
                    "id" | "name" => {}
                    "phone" if value.as_str().is_some_and(is_phone) => {}
                    "phone" => found.push(format!("entry {index} has a phone that is not bare digits")),
                    other => found.push(format!("entry {index} has a field `{other}`")),
                }
            }
        }
        found
    }
}

/// The id in a path. It is found before it is decoded, since an id may hold an encoded slash.
fn id_in(path: &str) -> Option<String> {
    let segment = path.strip_prefix("/v3/users/")?;
    let is_id = !segment.is_empty() && !segment.contains('/');
    is_id.then(|| percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

/// The id of an entry, which is an object in a `POST` and a text elsewhere.
pub(crate) fn id_of(entry: &Value) -> Option<&str> {
    entry.as_str().or(entry["id"].as_str())
}

/// The requests, and what was wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<String>,
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    last_seq: u64,
}

impl Log {
    /// Gives the request its number and writes it down as being in flight.
    pub(crate) fn begin(&mut self, request: &mut Request) {
        self.last_seq += 1;
        request.seq = self.last_seq;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        let Request { seq, method, path, .. } = &*request;
        for violation in request.violations() {
            self.violations.push(format!("#{seq} {method} {path}: {violation}"));
        }
        self.requests.push(request.clone());
    }

    pub(crate) fn end(&mut self, seq: u64, status: Option<u16>) {
        self.in_flight -= 1;
        if let Some(request) = self.get_mut(seq) {
            request.status = status;
        }
    }

    /// The request, unless the log was cleared since.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Request> {
        self.requests.iter_mut().rev().find(|request| request.seq == seq)
    }
}
