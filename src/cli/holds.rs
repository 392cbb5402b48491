//! How holds are shown, in every verb alike: by kind and reason, with their share, and with names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    changes::Changes,
    invocation::Invocation,
    page::{Advice, CHANGE, Page, REMOVAL},
    text::{counted, natural_order},
};
use crate::{
    employee::{FullName, Roster},
    plan::{Hold, HoldKey, HoldKind, Holds, LostContent, LostEntry, Snapshot, User},
};

/// Holds of one kind with the same reason.
#[derive(Debug)]
pub(super) struct HoldGroup<'a> {
    pub(super) kind: HoldKind,
    reason: &'a str,
    /// In the natural order of the ids.
    pub(super) holds: Vec<(&'a HoldKey, &'a Hold)>,
}

/// What an update's hold is for.
#[derive(Deserialize)]
struct UpdateContent {
    name: String,
    phone: Option<String>,
}

/// An open hold, as `status` and `explain` serialise it.
#[derive(Serialize)]
struct HoldView<'a> {
    /// `None`: the hold is on the whole account.
    user_id: Option<&'a str>,
    kind: HoldKind,
    content: &'a str,
    reason: &'a str,
    since: Timestamp,
    approved: bool,
    approved_by: Option<&'a str>,
    approved_at: Option<Timestamp>,
}

/// Serialises `holds` in the order of their kinds, and in the natural order of the ids.
pub(super) fn serialize_holds<S: Serializer>(holds: &Holds, serializer: S) -> Result<S::Ok, S::Error> {
    let mut holds: Vec<_> = holds.iter().collect();
    holds.sort_by(|(left, _), (right, _)| {
        let kinds = left.kind.cmp(&right.kind);
        kinds.then_with(|| natural_order(&left.user_id, &right.user_id))
    });
    serializer.collect_seq(holds.into_iter().map(|(key, hold)| {
        let approval = hold.approved.as_ref();
        HoldView {
            user_id: key.concerned_user(),
            kind: key.kind,
            content: &hold.content,
            reason: &hold.reason,
            since: hold.since,
            approved: approval.is_some(),
            approved_by: approval.map(|approval| approval.by.as_str()),
            approved_at: approval.map(|approval| approval.at),
        }
    }))
}

/// Rows without an id may be anybody's, so they hold removals.
pub(super) fn missing_ids(count: usize, invocation: &Invocation) -> Advice {
    let (rows, approve) = (counted(count, "row"), invocation.command("approve"));
    Advice::warning(format!("{rows} without an id (MISSING_ID)")).with(format!(
        "give each row an id: until then, nobody is removed without {approve}"
    ))
}

/// Groups `holds`, in the order of the kinds.
pub(super) fn grouped<'a>(holds: impl IntoIterator<Item = (&'a HoldKey, &'a Hold)>) -> Vec<HoldGroup<'a>> {
    let mut groups: BTreeMap<(HoldKind, &str), Vec<_>> = BTreeMap::new();
    for (key, hold) in holds {
        groups.entry((key.kind, &*hold.reason)).or_default().push((key, hold));
    }
    let groups = groups.into_iter().map(|((kind, reason), mut holds)| {
        holds.sort_by(|(left, _), (right, _)| natural_order(&left.user_id, &right.user_id));
        HoldGroup { kind, reason, holds }
    });
    groups.collect()
}

/// `removal`, `change`, `take-over`.
pub(super) fn noun_for_hold(kind: HoldKind) -> &'static str {
    match kind {
        HoldKind::Account => "change to another Wazzup account",
        HoldKind::Remove => "removal",
        HoldKind::Update => "change",
        HoldKind::Takeover => "take-over",
    }
}

/// `2 removals`, `1 change`, `3 take-overs`, `everything`.
pub(super) fn counted_holds(kind: HoldKind, count: usize) -> String {
    match kind {
        HoldKind::Account => "everything".to_owned(),
        _ => counted(count, noun_for_hold(kind)),
    }
}

/// When a hold is to be approved, by the command `approve`, and what to do otherwise.
pub(super) fn remedy_for_hold(kind: HoldKind, approve: &str) -> String {
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
    format!("if {condition}: {approve}; otherwise, {otherwise}")
}

impl HoldGroup<'_> {
    /// What is held, its share of the `managed` users, and why: `46 removals (ALL 46 users): the CRM names nobody…`.
    pub(super) fn title(&self, managed: usize) -> String {
        let count = self.holds.len();
        let held = counted_holds(self.kind, count);
        let reason = self.reason;
        let share = share(count, managed);
        match self.kind {
            HoldKind::Remove | HoldKind::Update if !reason.contains(&share) => {
                format!("{held} ({share}): {reason}")
            }
            _ => format!("{held}: {reason}"),
        }
    }

    /// The users concerned; nobody for the whole account.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.holds.iter().filter_map(|(key, _)| key.concerned_user())
    }

    /// One line for each user. The `roster` has the names of take-overs in the CRM, if the CRM was read.
    pub(super) fn write_users(&self, page: &mut Page, snapshot: &Snapshot, roster: Option<&Roster>) {
        let style = if self.kind == HoldKind::Remove { REMOVAL } else { CHANGE };
        for (key, hold) in &self.holds {
            let Some(id) = key.concerned_user() else { continue };
            let lost = snapshot.lost.get(id).map_or(&[][..], Vec::as_slice);
            let entry = roster.and_then(|roster| roster.get(id));
            let crm_name = entry.map(|entry| entry.employee.name.as_str());
            let text = hold_in_words(key.kind, hold, snapshot.users.get(id), lost, crm_name);
            page.user(style, "hold", id, &text);
        }
    }
}

fn share(count: usize, managed: usize) -> String {
    if count >= managed && managed > 1 {
        return format!("ALL {managed} users");
    }
    format!("{count} of {}", counted(managed, "user"))
}

/// What exactly is held about somebody: a managed `user`, of whom entries may be `lost`, and whom the CRM calls `crm_name`.
pub(super) fn hold_in_words(
    kind: HoldKind,
    hold: &Hold,
    user: Option<&User>,
    lost: &[LostEntry],
    crm_name: Option<&str>,
) -> String {
    let acknowledged = user.and_then(|user| user.acknowledged.as_ref());
    match kind {
        HoldKind::Account => String::new(),
        HoldKind::Remove => {
            let sent = lost.iter().rev().find_map(|entry| match &entry.content {
                LostContent::Upsert { name, .. } => Some(name),
                LostContent::Removal => None,
            });
            let name = acknowledged.map(|user| &user.name).or(sent);
            shown_name(name.map(FullName::as_str)).to_owned()
        }
        HoldKind::Update => match serde_json::from_str::<UpdateContent>(&hold.content) {
            Ok(UpdateContent { name, phone }) => Changes::between(acknowledged, name, phone).to_string(),
            Err(_) => String::new(),
        },
        HoldKind::Takeover => match crm_name {
            Some(name) => format!("“{}” → “{name}”", hold.content),
            None => format!("“{}” in Wazzup", hold.content),
        },
    }
}

/// A name as people see it.
pub(super) fn shown_name(name: Option<&str>) -> &str {
    name.unwrap_or("(no name known)")
}
