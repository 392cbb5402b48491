//! Every request as it came in, and what a client of the contract must never send.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use axum::http::{HeaderMap, HeaderName, Method, Uri, header};
use percent_encoding::percent_decode_str;
use serde::Serialize;
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
    /// When it came in, in milliseconds since 1970.
    pub at: u128,
    pub method: String,
    /// The raw path with the raw query.
    pub path: String,
    /// The ids that the body or the path names, in their order.
    pub ids: Vec<String>,
    /// Whether it may change users: a `POST`, `DELETE` or `bulk_delete`.
    pub writing: bool,
    /// The status answered; stays `None` if there was no answer.
    pub status: Option<u16>,
    /// Whether it was carried out: the key was right and nothing was refused. Also true if the answer was lost, and
    /// for a request that was held back once it landed.
    pub applied: bool,
    #[serde(skip)]
    pub body: String,
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

impl Request {
    pub(crate) fn new(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let key = header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let content_type = header(header::CONTENT_TYPE).unwrap_or_default();
        let items = || serde_json::from_slice(body).unwrap_or_default();
        let (kind, entries) = match (method.as_str(), uri.path(), id_in(uri.path())) {
            ("GET", "/v3/users", _) => (Kind::List, Vec::new()),
            ("POST", "/v3/users", _) => (Kind::Post, items()),
            ("PATCH", "/v3/users/bulk_delete", _) => (Kind::BulkDelete, items()),
            ("GET", _, Some(id)) => (Kind::GetUser, vec![id.into()]),
            ("DELETE", _, Some(id)) => (Kind::Delete, vec![id.into()]),
            _ => (Kind::Unknown, Vec::new()),
        };
        Self {
            seq: 0,
            at: UNIX_EPOCH.elapsed().unwrap_or_default().as_millis(),
            method: method.to_string(),
            path: uri.to_string(),
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

    pub(crate) fn offset(&self) -> usize {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let offset = query.split('&').find_map(|pair| pair.strip_prefix("offset="));
        offset.and_then(|offset| offset.parse().ok()).unwrap_or(0)
    }

    /// What the contract forbids, whatever the service may answer.
    pub(crate) fn violations(&self) -> Vec<String> {
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
