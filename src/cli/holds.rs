//! How holds are shown, in every verb alike: by kind and reason, with their share, and with names.

use serde::Deserialize;

use super::{
    changes::Changes,
    page::{CHANGE, REMOVAL, Row},
    text::{counted, natural_order, short_id},
};
use crate::{
    employee::Roster,
    plan::{Hold, HoldKey, HoldKind, LostContent, Snapshot},
};

/// Holds of one kind with the same reason.
#[derive(Debug)]
pub(super) struct HoldGroup<'a> {
    pub(super) kind: HoldKind,
    reason: &'a str,
    /// In the natural order of the ids.
    pub(super) holds: Vec<(&'a HoldKey, &'a Hold)>,
}

/// The names of held users, from where they can be had.
#[derive(Debug, Clone, Copy)]
pub(super) struct HoldNames<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// For the names of take-overs in the CRM; `None` if the CRM was not read.
    pub(super) roster: Option<&'a Roster>,
}

/// What an update's hold is for.
#[derive(Deserialize)]
struct UpdateContent {
    name: String,
    phone: Option<String>,
}

/// Groups `holds`, in the order of the kinds.
pub(super) fn grouped<'a>(holds: impl IntoIterator<Item = (&'a HoldKey, &'a Hold)>) -> Vec<HoldGroup<'a>> {
    let mut groups: Vec<HoldGroup<'a>> = Vec::new();
    for (key, hold) in holds {
        let same = |group: &&mut HoldGroup<'_>| group.kind == key.kind && group.reason == hold.reason;
        match groups.iter_mut().find(same) {
            Some(group) => group.holds.push((key, hold)),
            None => groups.push(HoldGroup {
                kind: key.kind,
                reason: &hold.reason,
                holds: vec![(key, hold)],
            }),
        }
    }
    for group in &mut groups {
        group
            .holds
            .sort_by(|(left, _), (right, _)| natural_order(&left.user_id, &right.user_id));
    }
    groups.sort_by_key(|group| group.kind);
    groups
}

/// `2 removals`, `1 change`, `3 take-overs`, `everything`.
pub(super) fn counted_holds(kind: HoldKind, count: usize) -> String {
    match kind {
        HoldKind::Account => "everything".to_owned(),
        HoldKind::Remove => counted(count, "removal"),
        HoldKind::Update => counted(count, "change"),
        HoldKind::Takeover => counted(count, "take-over"),
    }
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

    /// One line for each user.
    pub(super) fn rows(&self, names: HoldNames<'_>) -> Vec<Row> {
        if self.kind == HoldKind::Account {
            return Vec::new();
        }
        let style = if self.kind == HoldKind::Remove { REMOVAL } else { CHANGE };
        let mut rows = Vec::new();
        for (key, hold) in &self.holds {
            rows.push(Row {
                style,
                label: "hold",
                id: short_id(&key.user_id),
                text: names.describe(key, hold),
            });
        }
        rows
    }
}

fn share(count: usize, managed: usize) -> String {
    if count >= managed && managed > 1 {
        return format!("ALL {managed} users");
    }
    format!("{count} of {}", counted(managed, "user"))
}

impl HoldNames<'_> {
    /// What exactly is held about the user.
    pub(super) fn describe(&self, key: &HoldKey, hold: &Hold) -> String {
        match key.kind {
            HoldKind::Account => String::new(),
            HoldKind::Remove => shown_name(last_name(self.snapshot, &key.user_id)).to_owned(),
            HoldKind::Update => self.describe_update(key, hold),
            HoldKind::Takeover => {
                let in_wazzup = &hold.content;
                let entry = self.roster.and_then(|roster| roster.get(&key.user_id));
                match entry {
                    Some(entry) => format!("“{in_wazzup}” → “{}”", entry.employee.name),
                    None => format!("“{in_wazzup}” in Wazzup"),
                }
            }
        }
    }

    fn describe_update(&self, key: &HoldKey, hold: &Hold) -> String {
        let Ok(content) = serde_json::from_str::<UpdateContent>(&hold.content) else {
            return String::new();
        };
        let user = self.snapshot.users.get(&*key.user_id);
        let before = user.and_then(|user| user.acknowledged.as_ref());
        Changes::between(before, content.name, content.phone).to_string()
    }
}

/// The last name that is known of a managed user.
fn last_name<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s str> {
    let (id, user) = snapshot.users.get_key_value(id)?;
    if let Some(acknowledged) = &user.acknowledged {
        return Some(acknowledged.name.as_str());
    }
    let mut names = snapshot
        .lost_entries(id)
        .iter()
        .filter_map(|entry| match &entry.content {
            LostContent::Upsert { name, .. } => Some(name.as_str()),
            LostContent::Removal => None,
        });
    names.next_back()
}

/// A name as people see it.
pub(super) fn shown_name(name: Option<&str>) -> &str {
    name.unwrap_or("(no name known)")
}
