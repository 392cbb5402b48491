//! How holds are shown, in every verb alike: by kind and reason, with their share, and with names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    invocation::Invocation,
    page::{Advice, CHANGE, Page, REMOVAL},
    text::{counted, natural_order, value_in_words},
};
use crate::plan::{Acknowledged, Hold, HoldKey, HoldKind, Snapshot};

/// Holds that differ only in whom they concern.
#[derive(Debug)]
pub(super) struct HoldGroup<'a> {
    is_approved: bool,
    kind: HoldKind,
    reason: &'a str,
    /// In the natural order of the ids.
    pub(super) holds: Vec<(&'a HoldKey, &'a Hold)>,
}

/// What `status` and `explain` say of a hold to programs.
pub(super) fn hold_as_json((key, hold): (&HoldKey, &Hold)) -> Value {
    let approval = hold.approved.as_ref();
    json!({
        "user_id": key.concerned_user(),
        "kind": key.kind,
        "content": hold.content,
        "reason": hold.reason,
        "since": hold.since,
        "approved": approval.is_some(),
        "approved_by": approval.map(|approval| &approval.by),
        "approved_at": approval.map(|approval| approval.at),
    })
}

/// Groups `holds`, in the order of the kinds; those that are approved last.
pub(super) fn grouped<'a>(holds: impl IntoIterator<Item = (&'a HoldKey, &'a Hold)>) -> Vec<HoldGroup<'a>> {
    let mut groups: BTreeMap<(bool, HoldKind, &str), Vec<_>> = BTreeMap::new();
    for (key, hold) in holds {
        let group = (hold.approved.is_some(), key.kind, hold.reason.as_str());
        groups.entry(group).or_default().push((key, hold));
    }
    let groups = groups.into_iter().map(|((is_approved, kind, reason), mut holds)| {
        holds.sort_by(|(left, _), (right, _)| natural_order(&left.user_id, &right.user_id));
        HoldGroup {
            is_approved,
            kind,
            reason,
            holds,
        }
    });
    groups.collect()
}

pub(super) fn noun_for_hold(kind: HoldKind) -> &'static str {
    match kind {
        HoldKind::Account => "change of the Wazzup account",
        HoldKind::Remove => "removal",
        HoldKind::Update => "change",
        HoldKind::Takeover => "take-over",
    }
}

/// `46 removals, 1 change`.
pub(super) fn counted_holds<'a>(keys: impl IntoIterator<Item = &'a HoldKey>) -> String {
    let mut counts: BTreeMap<HoldKind, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key.kind).or_default() += 1;
    }
    let counts = counts.into_iter();
    let counts: Vec<String> = counts
        .map(|(kind, count)| counted(count, noun_for_hold(kind)))
        .collect();
    counts.join(", ")
}

/// When a hold is to be approved, by `command`, and what to do otherwise. What no cycle has held yet cannot be approved yet.
pub(super) fn remedy_for_hold(kind: HoldKind, since: Timestamp, command: &str, now: Timestamp) -> String {
    let (condition, otherwise) = match kind {
        HoldKind::Account => (
            "this account is the right one from now on",
            "correct the key or wazzup.base_url",
        ),
        HoldKind::Remove => (
            "the person has left",
            "correct the CRM's rows, crm.table or crm.columns",
        ),
        HoldKind::Update => ("the CRM's values are right", "correct the CRM's rows or crm.columns"),
        HoldKind::Takeover => ("this is the same person", "give the employee another id in the CRM"),
    };
    let when = if since < now { "" } else { " (after the next cycle)" };
    format!("if {condition}: {command}{when}; otherwise, {otherwise}")
}

impl HoldGroup<'_> {
    /// What is held, its share of the `managed` users, and why: `46 removals (ALL 46 users): the CRM names nobody…`.
    pub(super) fn title(&self, managed: usize) -> String {
        let count = self.holds.len();
        let held = counted(count, noun_for_hold(self.kind));
        let share = if count >= managed && managed > 1 {
            format!("ALL {managed} users")
        } else {
            format!("{count} of {}", counted(managed, "user"))
        };
        match self.kind {
            HoldKind::Remove | HoldKind::Update if !self.reason.contains(&share) => {
                format!("{held} ({share}): {}", self.reason)
            }
            _ => format!("{held}: {}", self.reason),
        }
    }

    /// The same, with what to do about it.
    pub(super) fn advice(&self, managed: usize, invocation: &Invocation, now: Timestamp) -> Advice {
        if self.is_approved {
            return Advice::good(self.title(managed)).with("approved: carried out in the next cycle, if still due");
        }
        let first = self.holds.iter().map(|(_, hold)| hold.since).min();
        let command = invocation.command("approve");
        let remedy = remedy_for_hold(self.kind, first.unwrap_or(now), &command, now);
        Advice::bad(self.title(managed)).with(remedy)
    }

    /// The users concerned; nobody for the whole account.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.holds.iter().filter_map(|(key, _)| key.concerned_user())
    }

    /// One line for each user.
    pub(super) fn write_users(&self, page: &mut Page, snapshot: &Snapshot) {
        let style = if self.kind == HoldKind::Remove { REMOVAL } else { CHANGE };
        for (key, hold) in &self.holds {
            if let Some(id) = key.concerned_user() {
                page.user(style, "hold", id, &hold_in_words(key, hold, snapshot));
            }
        }
    }
}

/// What exactly is held about a user of the `snapshot`; nothing of the whole account.
pub(super) fn hold_in_words(key: &HoldKey, hold: &Hold, snapshot: &Snapshot) -> String {
    let acknowledged = snapshot.acknowledged(&key.user_id);
    match key.kind {
        HoldKind::Account => String::new(),
        HoldKind::Remove => shown_name(acknowledged.map(|user| user.name.as_str())).to_owned(),
        HoldKind::Update => {
            let wanted: Value = serde_json::from_str(&hold.content).unwrap_or_default();
            value_in_words(&changes(acknowledged, &wanted), hold.since)
        }
        HoldKind::Takeover => {
            let crm_name = hold.crm_name();
            format!("“{}” → “{}”", hold.content, shown_name(crm_name.as_deref()))
        }
    }
}

/// What differs between what Wazzup acknowledged and the name and phone that are `wanted`.
pub(super) fn changes(acknowledged: Option<&Acknowledged>, wanted: &Value) -> Value {
    let before = json!(acknowledged);
    let mut changes = json!({});
    for field in ["name", "phone"] {
        if before[field] != wanted[field] {
            changes[field] = json!({"from": before[field], "to": wanted[field]});
        }
    }
    changes
}

/// A name as people see it.
pub(super) fn shown_name(name: Option<&str>) -> &str {
    name.unwrap_or("(no name known)")
}
