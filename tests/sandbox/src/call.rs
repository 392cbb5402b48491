//! Which of the five calls a request is, and the matcher that faults are ordered with.

use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// A request's place in the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// `GET /v3/users`
    List { offset: usize },
    /// `GET /v3/users/:id`
    GetUser(String),
    /// `POST /v3/users`
    Post,
    /// `PATCH /v3/users/bulk_delete`
    BulkDelete,
    /// `DELETE /v3/users/:id`
    Delete(String),
    /// Nothing that the contract knows.
    Unknown,
}

impl Call {
    pub(crate) fn parse(method: &Method, uri: &Uri) -> Self {
        // Split before decoding: an id may well hold an encoded slash.
        match (method.as_str(), uri.path().strip_prefix("/v3/users")) {
            ("GET", Some("")) => Self::List {
                offset: offset(uri.query().unwrap_or_default()),
            },
            ("POST", Some("")) => Self::Post,
            ("PATCH", Some("/bulk_delete")) => Self::BulkDelete,
            ("GET", Some(rest)) => id(rest).map_or(Self::Unknown, Self::GetUser),
            ("DELETE", Some(rest)) => id(rest).map_or(Self::Unknown, Self::Delete),
            _ => Self::Unknown,
        }
    }

    /// Whether the call may change users.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Post | Self::BulkDelete | Self::Delete(_))
    }
}

fn id(rest: &str) -> Option<String> {
    let segment = rest.strip_prefix('/')?;
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    let id = percent_decode_str(segment).decode_utf8().ok()?;
    Some(id.into_owned())
}

fn offset(query: &str) -> usize {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("offset="))
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

/// Which requests a fault is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Every request.
    #[default]
    Any,
    /// `GET` of the list or of one user.
    Reads,
    /// `POST`, `bulk_delete` and `DELETE`.
    Writes,
    /// `GET /v3/users`
    List,
    /// `GET /v3/users/:id`
    GetUser,
    /// `POST /v3/users`
    Post,
    /// `PATCH /v3/users/bulk_delete`
    BulkDelete,
    /// `DELETE /v3/users/:id`
    Delete,
    /// The raw path with its query contains this.
    Path(String),
    /// The raw body contains this.
    Body(String),
}

impl When {
    pub(crate) fn matches(&self, call: &Call, path: &str, body: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => matches!(call, Call::List { .. } | Call::GetUser(_)),
            Self::Writes => call.writes(),
            Self::List => matches!(call, Call::List { .. }),
            Self::GetUser => matches!(call, Call::GetUser(_)),
            Self::Post => *call == Call::Post,
            Self::BulkDelete => *call == Call::BulkDelete,
            Self::Delete => matches!(call, Call::Delete(_)),
            Self::Path(part) => path.contains(part),
            Self::Body(part) => body.contains(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &Method, uri: &'static str) -> Call {
        Call::parse(method, &Uri::from_static(uri))
    }

    #[test]
    fn the_five_calls_and_nothing_else() {
        assert_eq!(call(&Method::GET, "/v3/users"), Call::List { offset: 0 });
        let paged = Call::List { offset: 100 };
        assert_eq!(call(&Method::GET, "/v3/users?a=1&offset=100"), paged);
        let odd = Call::GetUser("a/b 1".to_owned());
        assert_eq!(call(&Method::GET, "/v3/users/a%2Fb%201"), odd);
        assert_eq!(call(&Method::POST, "/v3/users"), Call::Post);
        assert_eq!(call(&Method::PATCH, "/v3/users/bulk_delete"), Call::BulkDelete);
        let one = Call::Delete("7".to_owned());
        assert_eq!(call(&Method::DELETE, "/v3/users/7"), one);
        for lost in [
            "/v3/users",
            "/v3/users/",
            "/v3/users/a/b",
            "/v3/",
            "/users/7",
            "/v3/usersX",
        ] {
            assert_eq!(call(&Method::DELETE, lost), Call::Unknown, "{lost}");
        }
    }
}
