//! Every request as it came in, and what a client of the contract must never send.

use std::collections::BTreeSet;
use std::time::SystemTime;

use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::users::is_phone;

/// The most entries that the contract allows in one request.
const LARGEST_BATCH: usize = 100;

/// The five calls of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    LookUp,
    Upsert,
    BulkDelete,
    Delete,
    /// Nothing that the contract knows.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Request {
    /// Counts from 1 over the whole life of the sandbox.
    pub seq: u64,
    pub at: SystemTime,
    pub method: String,
    /// The raw path with the raw query.
    pub path: String,
    pub body: String,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// The key that it came with.
    pub key: Option<String>,
    pub kind: Kind,
    /// Whether it may change users: a `POST`, `DELETE` or `bulk_delete`.
    pub writing: bool,
    /// The status answered; `None` for good if there was no answer.
    pub status: Option<u16>,
    /// Whether it was carried out: the key was right and nothing was refused. Also true if the answer was lost, and
    /// for a request that was held back once it landed.
    pub applied: bool,
    json_content_type: bool,
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
        let kind = Kind::of(parts.method.as_str(), parts.uri.path());
        Self {
            seq: 0,
            at: SystemTime::now(),
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            body: String::from_utf8_lossy(body).into_owned(),
            json: serde_json::from_slice(body).ok(),
            key: key.map(ToOwned::to_owned),
            kind,
            writing: matches!(kind, Kind::Upsert | Kind::BulkDelete | Kind::Delete),
            status: None,
            applied: false,
            json_content_type: content_type.starts_with("application/json"),
        }
    }

    /// The ids that the body or the path names, in their order.
    pub fn ids(&self) -> Vec<String> {
        let from_body = self.entries().iter().filter_map(id_of).map(ToOwned::to_owned);
        self.path_id().into_iter().chain(from_body).collect()
    }

    /// The id that the path names.
    pub(crate) fn path_id(&self) -> Option<String> {
        let path = self.path.split('?').next()?;
        let is_about_one = matches!(self.kind, Kind::LookUp | Kind::Delete);
        let segment = id_segment(path).filter(|_| is_about_one)?;
        Some(percent_decode_str(segment).decode_utf8_lossy().into_owned())
    }

    pub(crate) fn entries(&self) -> &[Value] {
        match &self.json {
            Some(Value::Array(entries)) if self.writing => entries,
            _ => &[],
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
        if !matches!(self.kind, Kind::Upsert | Kind::BulkDelete) {
            return found;
        }
        if !self.json_content_type {
            found.push("the content type is not application/json".to_owned());
        }
        let entries = self.entries();
        if entries.is_empty() || entries.len() > LARGEST_BATCH {
            found.push(format!("{} entries", entries.len()));
        }
        let mut seen = BTreeSet::new();
        for (index, entry) in entries.iter().enumerate() {
            match id_of(entry) {
                None | Some("") => found.push(format!("entry {index} has no id")),
                Some(id) if !seen.insert(id) => found.push(format!("entry {index} repeats an id")),
                Some(_) => {}
            }
            if self.kind == Kind::Upsert {
                let wrong = wrong_fields(entry).into_iter();
                found.extend(wrong.map(|wrong| format!("entry {index} has {wrong}")));
            }
        }
        found
    }
}

impl Kind {
    fn of(method: &str, path: &str) -> Self {
        match (method, path, id_segment(path)) {
            ("GET", "/v3/users", _) => Self::List,
            ("POST", "/v3/users", _) => Self::Upsert,
            ("PATCH", "/v3/users/bulk_delete", _) => Self::BulkDelete,
            ("GET", _, Some(_)) => Self::LookUp,
            ("DELETE", _, Some(_)) => Self::Delete,
            _ => Self::Unknown,
        }
    }
}

/// The raw id in a path. It is found before it is decoded, since an id may hold an encoded slash.
fn id_segment(path: &str) -> Option<&str> {
    let segment = path.strip_prefix("/v3/users/")?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// The id of an entry, which is an object in a `POST` and a text in a `bulk_delete`.
pub(crate) fn id_of(entry: &Value) -> Option<&str> {
    entry.as_str().or(entry["id"].as_str())
}

fn wrong_fields(entry: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if !entry["name"].is_string() {
        wrong.push("no name".to_owned());
    }
    for (field, value) in entry.as_object().into_iter().flatten() {
        match field.as_str() {
            "id" | "name" => {}
            "phone" if value.as_str().is_some_and(is_phone) => {}
            "phone" => wrong.push("a phone that is not bare digits".to_owned()),
            other => wrong.push(format!("a field `{other}`")),
        }
    }
    wrong
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
        let violations = request.violations().into_iter();
        self.violations
            .extend(violations.map(|violation| format!("#{seq} {method} {path}: {violation}")));
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
