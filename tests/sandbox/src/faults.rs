//! Faults to order: which requests they strike, and what happens to these.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::answer::{Answer, HTML, InvalidEntry, Refusal, WILD_INDEXES, answer};
use crate::request::{Kind, Request, id_of};
use crate::variant::ErrorStyle;

#[derive(Debug, Clone)]
pub struct Fault {
    when: When,
    /// Ids and names; none of them is every request.
    naming: BTreeSet<String>,
    skip: usize,
    times: usize,
    what: What,
}

impl Fault {
    /// A fault that strikes the next matching request, once.
    pub fn new(when: When, what: What) -> Self {
        Self {
            when,
            naming: BTreeSet::new(),
            skip: 0,
            times: 1,
            what,
        }
    }

    /// Strikes only requests that name a user with one of these ids or names.
    pub fn naming<S: Into<String>>(self, ids_or_names: impl IntoIterator<Item = S>) -> Self {
        let naming = ids_or_names.into_iter().map(Into::into).collect();
        Self { naming, ..self }
    }

    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Strikes every matching request until it is taken back.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// The indexes of the entries for which it strikes this request; `None` if it does not.
    fn struck_entries(&self, request: &Request) -> Option<Vec<i64>> {
        if !self.when.matches(request) {
            return None;
        }
        let is_named = |entry: &Value| {
            let mut texts = [id_of(entry), entry["name"].as_str()].into_iter().flatten();
            self.naming.is_empty() || texts.any(|text| self.naming.contains(text))
        };
        let named = (0..).zip(&request.entries).filter(|(_, entry)| is_named(entry));
        let struck: Vec<i64> = named.map(|(index, _)| index).collect();
        (self.naming.is_empty() || !struck.is_empty()).then_some(struck)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Any,
    /// `GET` of the list or of one user.
    Reads,
    /// `POST`, `bulk_delete` and `DELETE`.
    Writes,
    List,
    GetUser,
    Post,
    BulkDelete,
}

impl When {
    pub(crate) fn matches(self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => matches!(request.kind, Kind::List | Kind::GetUser),
            Self::Writes => request.writing,
            Self::List => request.kind == Kind::List,
            Self::GetUser => request.kind == Kind::GetUser,
            Self::Post => request.kind == Kind::Post,
            Self::BulkDelete => request.kind == Kind::BulkDelete,
        }
    }
}

/// What happens to a request. "Done" means that the request is treated as if nothing were wrong, which includes that
/// it may be refused.
#[derive(Debug, Clone)]
pub enum What {
    /// Done later, then answered. The next fault that matches strikes as well. A client that hangs up does not stop
    /// the request.
    Delay { ms: u64 },
    /// Done at once, answered later.
    DelayAnswer { ms: u64 },
    /// Answered like this, whether it is done or not.
    Answer { is_done: bool, answer: Answer },
    /// Not done, and refused with `INVALID_USERS_DATA`, naming entries for which the fault strikes.
    InvalidUsers { named: Named, fields: Vec<String> },
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
    /// The page of the list lacks so many items, while its count (if it has one) includes them. Other calls: no fault.
    ShortList { missing: usize },
    /// The list is empty. Other calls: no fault.
    EmptyList,
}

/// The entries that an `INVALID_USERS_DATA` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    All,
    /// The others show when that one is gone.
    First,
    /// All, but counted from 1: an innocent neighbour, or an index that is out of range.
    OffByOne,
    /// Indexes that are out of range.
    Wild,
    Nobody,
}

impl What {
    /// Not done, and answered by this status without a body.
    pub fn status(status: u16) -> Self {
        Self::answer(status, "")
    }

    /// Not done, and answered by the HTML page of a proxy or firewall; with 200 by a maintenance page.
    pub fn html(status: u16) -> Self {
        Self::answer(status, HTML)
    }

    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer {
            is_done: false,
            answer: answer(status, body),
        }
    }

    /// Done, and answered like this all the same.
    pub fn act_then_answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer {
            is_done: true,
            answer: answer(status, body),
        }
    }

    /// Not done, and answered by this status with a `location` or `retry-after`, and without a body.
    pub fn with_header(status: u16, name: &'static str, value: &str) -> Self {
        let mut answer = answer(status, "");
        answer
            .headers_mut()
            .insert(name, value.parse().expect("a header value"));
        Self::Answer { is_done: false, answer }
    }

    pub fn invalid(named: Named, fields: &[&str]) -> Self {
        let fields = fields.iter().map(ToString::to_string).collect();
        Self::InvalidUsers { named, fields }
    }

    /// Turns [`What::InvalidUsers`] into the answer for these entries.
    fn for_entries(&self, struck: &[i64], style: ErrorStyle) -> Self {
        let Self::InvalidUsers { named, fields } = self else {
            return self.clone();
        };
        let indexes: Vec<i64> = match named {
            Named::All => struck.to_vec(),
            Named::First => struck.iter().take(1).copied().collect(),
            Named::OffByOne => struck.iter().map(|index| index + 1).collect(),
            Named::Wild => WILD_INDEXES.to_vec(),
            Named::Nobody => Vec::new(),
        };
        let to_entry = |index| InvalidEntry {
            index,
            fields: fields.clone(),
        };
        let entries: Vec<InvalidEntry> = indexes.into_iter().map(to_entry).collect();
        Self::Answer {
            is_done: false,
            answer: Refusal::invalid_users(&entries).in_style(style),
        }
    }

    /// Whether the request is done when it comes in.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Answer { is_done, .. } => *is_done,
            Self::InvalidUsers { .. } | Self::CutBefore | Self::SilenceBefore | Self::HoldBack => false,
            _ => true,
        }
    }
}

/// Takes what happens to this request out of the faults: a wait, and the first other fault that strikes. The faults
/// behind that one do not see the request, so two faults strike two requests, one after the other.
pub(crate) fn take(faults: &mut Vec<Fault>, request: &Request, style: ErrorStyle) -> (Duration, Option<What>) {
    let mut delay = Duration::ZERO;
    let mut taken = None;
    for fault in faults.iter_mut() {
        let Some(struck) = fault.struck_entries(request) else {
            continue;
        };
        if fault.skip > 0 {
            fault.skip -= 1;
            continue;
        }
        fault.times = fault.times.saturating_sub(1);
        if let What::Delay { ms } = fault.what {
            delay += Duration::from_millis(ms);
            continue;
        }
        taken = Some(fault.what.for_entries(&struck, style));
        break;
    }
    faults.retain(|fault| fault.times > 0);
    (delay, taken)
}
