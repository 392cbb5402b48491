//! The plan as an operator reads it, and as JSON.

use std::{borrow::Cow, fmt};

use serde_json::{Map, Value, json};

use super::{Acknowledged, Operation, Plan, Upsert};
use crate::employee::{Code, EmployeeId, Phone};

impl Plan {
    /// The plan as JSON; the keys are part of the contract (`plan --format json`).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let additions = self.upserts.iter().filter(|it| it.addition);
        let updates = self.upserts.iter().filter(|it| !it.addition);
        let update = |it: &Upsert| {
            let changes: Map<_, _> = changes(it)
                .map(|(key, from, to)| (key.into(), json!({"from": from, "to": to})))
                .collect();
            json!({"id": it.employee.id, "changes": changes})
        };
        // A release that is all there is to do about a user is an update of its own.
        let released = self
            .releases
            .iter()
            .filter(|it| !self.upserts.iter().any(|upsert| upsert.employee.id == it.id));
        let released = released.map(|it| json!({"id": it.id, "changes": {"phone": {"to": null}}}));
        json!({
            "eligible": self.eligible,
            "unchanged": self.unchanged,
            "requests": self.requests(),
            "add": additions.map(|it| &it.employee).collect::<Vec<_>>(),
            "update": updates.map(update).chain(released).collect::<Vec<_>>(),
            "remove": self.removals.iter().map(|it| &it.id).collect::<Vec<_>>(),
            "held": self.held,
            "hold_reason": self.hold_reason.map(|it| it.to_string()),
            "staying": self.staying,
            "rejected": self.rejected.iter().map(|it| json!({"id": it.id, "code": it.code.as_str()})).collect::<Vec<_>>(),
            "missing_ids": self.missing_ids,
            "waiting_for_seat": self.waiting.iter().map(|it| &it.employee.id).collect::<Vec<_>>(),
            "backing_off": self.backing_off,
        })
    }
}

/// What changes of a user that is already there: key, from, to.
fn changes(upsert: &Upsert) -> impl Iterator<Item = (&'static str, Option<String>, Option<String>)> {
    let before = |field: fn(&Acknowledged) -> Option<String>| upsert.before.as_ref().and_then(field);
    let text = |phone: Option<Phone>| phone.map(|it| it.to_string());
    let name = (
        before(|it| Some(it.name.to_string())),
        Some(upsert.employee.name.to_string()),
    );
    let phone = (
        before(|it| it.phone.map(|it| it.to_string())),
        text(upsert.employee.phone),
    );
    [("name", name.0, name.1), ("phone", phone.0, phone.1)]
        .into_iter()
        .filter(|(_, from, to)| from != to)
}

/// How many of a kind are listed before the rest is only counted.
const LISTED: usize = 200;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            removals,
            releases,
            upserts,
            waiting,
            backing_off,
            held,
            hold_reason,
            newly_held,
            newly_absent: _,
            returned: _,
            released: _,
            staying,
            rejected,
            missing_ids,
            local_failures,
            opened_failures: _,
            closed_failures: _,
            unchanged,
            eligible,
        } = self;
        let additions = upserts.iter().filter(|it| it.addition).count();
        let employees = if *eligible == 1 { "employee" } else { "employees" };
        writeln!(
            f,
            "{eligible} {employees}: {additions} to add, {} to change, {unchanged} unchanged; {} to remove",
            upserts.len() - additions,
            removals.len()
        )?;
        match self.requests() {
            0 => writeln!(f, "nothing to send")?,
            1 => writeln!(f, "1 request that changes something")?,
            requests => writeln!(f, "{requests} requests that change something")?,
        }
        let people = upserts
            .iter()
            .map(|it| if it.addition { addition(it) } else { update(it) });
        list(f, people)?;
        let releases = releases.iter().map(|it| &it.id);
        list(
            f,
            lines("release", releases, "gives up its phone before somebody else takes it"),
        )?;
        let (certain, looked_up): (Vec<_>, Vec<_>) = removals.iter().partition(|it| !it.lookup);
        list(f, lines("remove", certain.iter().map(|it| &it.id), ""))?;
        let looked_up = looked_up.iter().map(|it| &it.id);
        list(f, lines("remove", looked_up, "if it is there and ours"))?;
        if let Some(reason) = hold_reason {
            // Before the list, which may be long.
            writeln!(f, "hold     {} in all, because:\n         {reason}", held.len())?;
            let when = if newly_held.is_empty() {
                ""
            } else {
                ", after the next cycle,"
            };
            writeln!(f, "         → `wazzup-sync approve`{when} lets them go")?;
        }
        list(f, lines("hold", held, ""))?;
        list(f, lines("keep", staying, "is not in the CRM, and stays for now"))?;
        for code in Code::ALL {
            let rejected = rejected.iter().filter(|it| it.code == code);
            let rejected = rejected.map(|it| entry("reject", &it.id, code.as_str()));
            let phones = local_failures
                .iter()
                .filter(|((_, operation), it)| **it == code && *operation == Operation::Phone);
            let phones = phones.map(|((id, _), _)| entry("no phone", id, code.as_str()));
            let found: Vec<_> = rejected.chain(phones).collect();
            if !found.is_empty() {
                list(f, found.into_iter())?;
                remedy(f, code.detail())?;
            }
        }
        if *missing_ids > 0 {
            let rows = if *missing_ids == 1 { "row" } else { "rows" };
            writeln!(f, "reject   {missing_ids} {rows} without an id  MISSING_ID")?;
            remedy(f, "it may be anybody's, so nobody is removed: give each row an id")?;
        }
        let waiting = waiting.iter().map(|it| &it.employee.id);
        list(f, lines("wait", waiting, "for a seat in the account"))?;
        list(f, lines("wait", backing_off, "failed lately: see `status`"))
    }
}

fn lines<'a>(
    what: &'a str,
    ids: impl IntoIterator<Item = &'a EmployeeId>,
    why: &'a str,
) -> impl Iterator<Item = String> {
    ids.into_iter().map(move |id| entry(what, id.as_str(), why))
}

fn entry(what: &str, id: &str, text: &str) -> String {
    format!("{what:8} {}  {text}", printable(id)).trim_end().to_owned()
}

/// A reason and, behind a colon, what to do: on lines of their own, so that they fit.
fn remedy(f: &mut fmt::Formatter<'_>, detail: &str) -> fmt::Result {
    let (reason, remedy) = detail.split_once(": ").unwrap_or((detail, ""));
    writeln!(f, "         {reason}")?;
    if remedy.is_empty() {
        return Ok(());
    }
    writeln!(f, "         → {remedy}")
}

fn list(f: &mut fmt::Formatter<'_>, mut lines: impl Iterator<Item = String>) -> fmt::Result {
    for line in lines.by_ref().take(LISTED) {
        writeln!(f, "{line}")?;
    }
    match lines.count() {
        0 => Ok(()),
        more => writeln!(f, "         … and {more} more"),
    }
}

fn addition(upsert: &Upsert) -> String {
    let phone = upsert
        .employee
        .phone
        .map(|phone| format!("  {phone}"))
        .unwrap_or_default();
    let name = printable(upsert.employee.name.as_str());
    entry("add", upsert.employee.id.as_str(), &format!("{name}{phone}"))
}

fn update(upsert: &Upsert) -> String {
    let shown = |value: Option<String>| value.map_or_else(|| "none".to_owned(), |it| format!("“{}”", printable(&it)));
    let changes: Vec<_> = changes(upsert)
        .map(|(key, from, to)| format!("{key}: {} → {}", shown(from), shown(to)))
        .collect();
    let what = if changes.is_empty() {
        "sent once more: it is in doubt what Wazzup has".into()
    } else {
        changes.join(", ")
    };
    entry("change", upsert.employee.id.as_str(), &what)
}

/// `text` without what would control a terminal or turn its writing around: escaped, so that it can still be told apart.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_harmful = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}
