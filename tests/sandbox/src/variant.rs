//! How the service behaves where its documentation is silent or contradicts itself.

/// The service's behaviour, which can change while it runs. The default is what the vendor's page says.
#[derive(Debug, Clone, PartialEq, Eq, smart_default::SmartDefault)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each one is a behaviour of its own, on or off"
)]
pub struct Variant {
    pub list: ListStyle,
    /// A paged list answers its first page whatever `?offset=` says.
    pub offset_ignored: bool,
    /// Added to the `count` of a list that has one.
    pub count_off_by: i64,
    /// The items of the list carry `phone`.
    pub list_phones: bool,
    /// Ids that look like numbers come back as JSON numbers.
    pub numeric_ids: bool,
    pub post_answer: PostAnswer,
    /// `bulk_delete` answers the ids that were absent; otherwise always `[]`.
    #[default = true]
    pub names_absent: bool,
    /// A refused request changes nothing; otherwise its valid entries are carried out.
    #[default = true]
    pub atomic: bool,
    /// A phone that another user has is `DUPLICATE_PHONE_NUMBER`.
    #[default = true]
    pub unique_phones: bool,
    pub omitted_phone: OmittedPhone,
    pub malformed_phone: MalformedPhone,
    /// Users that the account may have; additions above are `USER_LIMIT_EXCEEDED`.
    #[default = 1000]
    pub seats: usize,
    /// `USER_LIMIT_EXCEEDED` tells the limit in `data`.
    #[default = true]
    pub limit_named: bool,
    /// An account that has more users than seats refuses updates too.
    pub full_refuses_updates: bool,
    /// Entries that one `POST` or `bulk_delete` may have; more are `TOO_MANY_ENTITIES`.
    #[default = 100]
    pub batch_limit: usize,
    pub errors: ErrorStyle,
    /// The `trace-id` header of every answer with an error status.
    pub trace_id: Option<String>,
}

/// The shape of `GET /v3/users`, which is sorted by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListStyle {
    /// A bare array of all users; `?offset=` has no effect.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PostAnswer {
    #[default]
    Empty,
    /// 201 and the plain text `Created`.
    Text,
    /// 200 and `{"ok": true}`.
    Json,
}

/// The effect of an update without `phone` on the phone that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OmittedPhone {
    #[default]
    Clears,
    Keeps,
}

/// The effect of a malformed or null `phone`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MalformedPhone {
    /// As if it had not been sent: what the vendor's page says.
    #[default]
    Dropped,
    /// The request is refused, naming the entry with `fields: ["phone"]`.
    Refused,
    /// The request is refused with 400 and an empty body: what one integrator saw.
    RefusedSilently,
}

/// The shape of errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorStyle {
    /// `{"error", "description", "data"}`.
    #[default]
    Documented,
    /// The same with `status` and `requestId`.
    WithRequestId,
    /// Codes in lower case without underscores, and `TOO_MACH_ENTITIES`.
    OddCodes,
    Empty,
    /// The HTML page of a proxy.
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
