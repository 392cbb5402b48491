//! Faults to order: which requests they strike, and what happens to these.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::answer::{Answer, HTML, named_entries, wild_indexes};
use crate::log::{Kind, Request, id_of};
use crate::variant::ErrorStyle;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    when: When,
    times: usize,
    skip: usize,
    what: What,
}

impl Fault {
    /// A fault that strikes the next matching request, once.
    pub fn new(when: When, what: What) -> Self {
        let (times, skip) = (1, 0);
        Self {
            when,
            times,
            skip,
            what,
        }
    }

    /// Strikes so many matching requests.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Strikes every matching request until it is taken back.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Lets so many matching requests pass first.
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }
}

/// Which requests are struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Any,
    /// `GET` of the list or of one user.
    Reads,
    /// `POST`, `bulk_delete` and `DELETE`.
    Writes,
    /// `bulk_delete` and `DELETE`.
    Removals,
    List,
    GetUser,
    Post,
    BulkDelete,
    Delete,
    /// The raw path with its query contains this.
    Path(String),
    /// The body or the path names exactly this id.
    User(String),
    /// All of these hold: `When::All(vec![When::Post, When::User("7".into())])`.
    All(Vec<When>),
}

impl When {
    fn matches(&self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => matches!(request.kind, Kind::List | Kind::LookUp),
            Self::Writes => request.writing,
            Self::Removals => matches!(request.kind, Kind::BulkDelete | Kind::Delete),
            Self::List => request.kind == Kind::List,
            Self::GetUser => request.kind == Kind::LookUp,
            Self::Post => request.kind == Kind::Upsert,
            Self::BulkDelete => request.kind == Kind::BulkDelete,
            Self::Delete => request.kind == Kind::Delete,
            Self::Path(part) => request.path.contains(part),
            Self::User(id) => request.ids().contains(id),
            Self::All(conditions) => conditions.iter().all(|condition| condition.matches(request)),
        }
    }
}

/// What happens to a request. "Done" means that the request is treated as if nothing were wrong, which includes that
/// it may be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Done later, then answered. The next fault that matches strikes as well. A client that hangs up does not stop
    /// the request.
    Delay { ms: u64 },
    /// Done at once, answered later.
    DelayAnswer { ms: u64 },
    /// Not done, and answered like this. The body's first character decides its type: HTML, JSON or text.
    Answer {
        status: u16,
        body: String,
        headers: Vec<(String, String)>,
    },
    /// Done, and answered like this all the same.
    ActThenAnswer { status: u16, body: String },
    /// Not done, and answered by a redirect.
    Redirect { status: u16, to: String },
    /// Not done, and the connection is reset.
    CutBefore,
    /// Done, and the connection is reset: the answer is lost.
    CutAfter,
    /// Not done, and not answered until the client gives up.
    SilenceBefore,
    /// Done, and not answered until the client gives up.
    SilenceAfter,
    /// The connection is reset. The request is done when the test says so ([`Wazzup::land_late`]), or never.
    ///
    /// [`Wazzup::land_late`]: crate::Wazzup::land_late
    HoldBack,
    /// Done, and answered by 200 with bytes that are no JSON.
    Garbage,
    /// Done, and answered by the first half of the body, as if that were all.
    BrokenJson,
    /// Answered by `start`, so many times `repeat`, and `end`, streamed. Done if the status is a success.
    Flood {
        status: u16,
        start: String,
        repeat: String,
        times: usize,
        end: String,
    },
    /// The page of the list lacks so many items, while its count (if it has one) includes them. Other calls: no fault.
    ShortList { missing: usize },
    /// The list is empty. Other calls: no fault.
    EmptyList,
}

impl What {
    /// Not done, and answered by this status without a body.
    pub fn status(status: u16) -> Self {
        Self::answer(status, "")
    }

    /// Not done, and answered by this status and code in the documented form.
    pub fn error(status: u16, code: &str) -> Self {
        let refusal = ErrorStyle::Documented.refusal(status, code, &Value::Null);
        Self::answer(status, &refusal.body)
    }

    /// Not done, and answered by the HTML page of a proxy or firewall; with 200 by a maintenance page.
    pub fn html(status: u16) -> Self {
        Self::answer(status, HTML)
    }

    fn answer(status: u16, body: &str) -> Self {
        let (body, headers) = (body.to_owned(), Vec::new());
        Self::Answer { status, body, headers }
    }

    /// Done, and answered by an HTML page all the same.
    pub fn act_then_html(status: u16) -> Self {
        let body = HTML.to_owned();
        Self::ActThenAnswer { status, body }
    }

    /// 429, with the seconds of `Retry-After` if there are some.
    pub fn too_many_requests(retry_after: Option<u64>) -> Self {
        let header = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        Self::Answer {
            status: 429,
            body: String::new(),
            headers: header.into_iter().collect(),
        }
    }

    /// 200 and so many blanks.
    pub fn huge_body(bytes: usize) -> Self {
        Self::flood(200, "", " ", bytes, "")
    }

    /// 200 and an array of a million zeros.
    pub fn million_zeros() -> Self {
        Self::flood(200, "[0", ",0", 999_999, "]")
    }

    /// 200 and a list whose first user has a name without end.
    pub fn endless_user() -> Self {
        Self::flood(200, r#"[{"id":"1","name":""#, "endless ", usize::MAX, "")
    }

    /// This status and an error in the documented form whose description is 1 MiB long.
    pub fn long_error(status: u16) -> Self {
        Self::flood(status, r#"{"error":"LONG","description":""#, "x", 1 << 20, r#""}"#)
    }

    fn flood(status: u16, start: &str, repeat: &str, times: usize, end: &str) -> Self {
        Self::Flood {
            status,
            start: start.to_owned(),
            repeat: repeat.to_owned(),
            times,
            end: end.to_owned(),
        }
    }
}

/// Takes what happens to this request out of the faults: a wait, and the first other fault that strikes. The faults
/// behind that one do not see the request, so two faults strike two requests, one after the other.
pub(crate) fn take(faults: &mut Vec<Fault>, request: &Request) -> (Duration, Option<What>) {
    let mut delay = Duration::ZERO;
    let mut taken = None;
    for fault in faults.iter_mut() {
        if taken.is_some() || !fault.when.matches(request) {
            continue;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            continue;
        }
        fault.times = fault.times.saturating_sub(1);
        match &fault.what {
            What::Delay { ms } => delay += Duration::from_millis(*ms),
            what => taken = Some(what.clone()),
        }
    }
    faults.retain(|fault| fault.times > 0);
    (delay, taken)
}

/// Users that are refused until the rule is taken back. One of them spoils its whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Refused by these ids…
    pub ids: BTreeSet<String>,
    /// …or by these names, in a `POST`.
    pub names: BTreeSet<String>,
    when: When,
    reply: PoisonReply,
}

/// The answer to a poisoned request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoisonReply {
    /// `INVALID_USERS_DATA` with the index of every poisoned entry and these fields.
    Named(Vec<String>),
    /// The same for the first one only: the others show when that one is gone.
    NamedFirst(Vec<String>),
    /// The same counted from 1: an innocent neighbour, or an index that is out of range.
    OffByOne(Vec<String>),
    /// `INVALID_USERS_DATA` without `data`.
    NoData,
    /// `INVALID_USERS_DATA` with indexes that are out of range.
    WildIndexes,
    /// 400 without a body.
    EmptyBody,
    /// 400 and the HTML page of a proxy.
    Html,
    /// This status without a body: 422, 500…
    Status(u16),
    /// Anything else that can happen to a request: a reset, silence, the HTML page of a firewall, 502…
    Do(What),
}

impl Poison {
    /// `POST` refuses these ids.
    pub fn ids<S: Into<String>>(ids: impl IntoIterator<Item = S>, reply: PoisonReply) -> Self {
        Self {
            ids: ids.into_iter().map(Into::into).collect(),
            names: BTreeSet::new(),
            when: When::Post,
            reply,
        }
    }

    /// `POST` refuses these names.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>, reply: PoisonReply) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            ..Self::ids([""; 0], reply)
        }
    }

    /// These requests are refused instead.
    pub fn on(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// The indexes of the poisoned entries. The id of a path counts as one entry.
    pub(crate) fn poisoned_entries(&self, request: &Request) -> Vec<usize> {
        let mut poisoned = Vec::new();
        if !self.when.matches(request) {
            return poisoned;
        }
        for (index, entry) in request.entries().iter().enumerate() {
            let by_id = id_of(entry).is_some_and(|id| self.ids.contains(id));
            let by_name = entry["name"].as_str().is_some_and(|name| self.names.contains(name));
            if by_id || by_name {
                poisoned.push(index);
            }
        }
        if request.path_id().is_some_and(|id| self.ids.contains(&id)) {
            poisoned.push(0);
        }
        poisoned
    }

    /// What strikes a request with poisoned entries at its arrival, instead of a refusal.
    pub(crate) fn what(&self) -> Option<What> {
        match &self.reply {
            PoisonReply::Do(what) => Some(what.clone()),
            _ => None,
        }
    }

    /// The refusal of a request with these poisoned entries, of which there is at least one.
    pub(crate) fn refusal(&self, poisoned: &[usize], style: ErrorStyle) -> Option<Answer> {
        let named = |indexes: &[usize], first: usize, fields: &[String]| {
            let entries = indexes.iter().map(|index| (index + first, fields.to_vec()));
            named_entries(&entries.collect::<Vec<_>>())
        };
        let data = match &self.reply {
            PoisonReply::Named(fields) => named(poisoned, 0, fields),
            PoisonReply::NamedFirst(fields) => named(&poisoned[..1], 0, fields),
            PoisonReply::OffByOne(fields) => named(poisoned, 1, fields),
            PoisonReply::NoData => Value::Null,
            PoisonReply::WildIndexes => wild_indexes(),
            PoisonReply::EmptyBody => return Some(Answer::new(400, "")),
            PoisonReply::Html => return Some(Answer::new(400, HTML)),
            PoisonReply::Status(status) => return Some(Answer::new(*status, "")),
            PoisonReply::Do(_) => return None,
        };
        Some(style.refusal(400, "INVALID_USERS_DATA", &data))
    }
}
