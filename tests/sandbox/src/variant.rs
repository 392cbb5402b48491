//! Where the contract's pages disagree, or say nothing: how this service behaves today.

use serde::{Deserialize, Serialize};

/// The service's behaviour. Changeable while it runs; the default is what the vendor's page says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variant {
    /// The shape of `GET /v3/users`.
    pub list: ListStyle,
    /// A paged list answers its first page whatever `?offset=` says.
    pub offset_ignored: bool,
    /// The list's items carry `phone`, too.
    pub list_phones: bool,
    /// Ids that look like numbers come back as JSON numbers.
    pub numeric_ids: bool,
    /// What a successful `POST` is answered with.
    pub post_answer: PostAnswer,
    /// What an update without `phone` does to the phone that is there.
    pub omitted_phone: OmittedPhone,
    /// What a malformed `phone` does.
    pub malformed_phone: MalformedPhone,
    /// Users that the account may have; additions over it are `USER_LIMIT_EXCEEDED`.
    pub seats: usize,
    /// Entries that one `POST` or `bulk_delete` may have; more is `TOO_MANY_ENTITIES`.
    pub batch_limit: usize,
    /// How errors look.
    pub errors: ErrorStyle,
    /// More requests than this are answered with 429; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            list: ListStyle::default(),
            offset_ignored: false,
            list_phones: false,
            numeric_ids: false,
            post_answer: PostAnswer::default(),
            omitted_phone: OmittedPhone::default(),
            malformed_phone: MalformedPhone::default(),
            seats: 1000,
            batch_limit: 100,
            errors: ErrorStyle::default(),
            rate_limit: None,
        }
    }
}

/// The shape of the users' list. Always sorted by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListStyle {
    /// A bare array of everyone; `?offset=` is not known.
    #[default]
    Array,
    /// A bare array of at most 100, from `?offset=` on.
    ArrayPaged,
    /// `{"count": 1, "data": […]}`, at most 100 from `?offset=` on.
    Pages,
    /// The same with the count as text: `"1"`.
    PagesTextCount,
}

/// The answer to a successful `POST`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostAnswer {
    /// 200 without a body.
    #[default]
    Empty,
    /// 201 and the plain text `Created`.
    Text,
    /// 200 and `{"ok": true}`.
    Json,
}

/// What an update without `phone` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OmittedPhone {
    /// The old phone goes.
    #[default]
    Clears,
    /// The old phone stays.
    Keeps,
}

/// What a malformed (or null) `phone` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MalformedPhone {
    /// It is as if it had not been sent (what the vendor's page says).
    #[default]
    Dropped,
    /// The request is refused, naming the entry with `fields: ["phone"]`.
    Refused,
    /// The request is refused with 400 and an empty body (what one integrator saw).
    RefusedSilently,
}

/// How errors look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorStyle {
    /// `{"error", "description", "data"}`.
    #[default]
    Documented,
    /// The same with `status` and `requestId`.
    WithRequestId,
    /// Codes in lower case without underscores, and `TOO_MACH_ENTITIES`.
    OddCodes,
    /// No body.
    Empty,
    /// A proxy's HTML page.
    Html,
    /// `{"errors": [{"code", "message"}]}`.
    ErrorsArray,
    /// `{"error": {"code"}}`.
    NestedCode,
    /// As documented, without `data`.
    NoData,
    /// As documented, with indexes that are out of range.
    WildIndexes,
}

/// A limit on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// So many requests…
    pub requests: usize,
    /// …in so many milliseconds.
    pub per_ms: u64,
    /// Seconds for the `Retry-After` header of the 429; `None`: no such header.
    pub retry_after: Option<u64>,
}
