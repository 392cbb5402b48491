//! The plan as an operator reads it, and as JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Acknowledged, Plan, Upsert};
use crate::employee::Phone;

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
            newly_held: _,
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
        writeln!(
            f,
            "{eligible} employees: {additions} to add, {} to change, {unchanged} unchanged; {} to remove",
            upserts.len() - additions,
            removals.len()
        )?;
        writeln!(f, "{} requests that change something", self.requests())?;
        let people = upserts
            .iter()
            .map(|it| if it.addition { addition(it) } else { update(it) });
        list(f, people)?;
        list(
            f,
            releases
                .iter()
                .map(|it| format!("release  {}  gives up its phone first", it.id)),
        )?;
        list(
            f,
            removals.iter().map(|it| {
                format!(
                    "remove   {}{}",
                    it.id,
                    if it.lookup { "  if it is there and ours" } else { "" }
                )
            }),
        )?;
        list(f, held.iter().map(|it| format!("hold     {it}")))?;
        if let Some(reason) = hold_reason {
            writeln!(
                f,
                "         removals are held: {reason}; `wazzup-sync approve` lets them go"
            )?;
        }
        list(
            f,
            staying
                .iter()
                .map(|it| format!("keep     {it}  is not in the CRM, and stays for now")),
        )?;
        list(
            f,
            rejected
                .iter()
                .map(|it| format!("reject   {}  {}: {}", it.id, it.code, it.code.detail())),
        )?;
        let phones = local_failures
            .iter()
            .filter(|((id, _), _)| !rejected.iter().any(|it| it.id == *id));
        list(
            f,
            phones.map(|((id, _), code)| format!("no phone {id}  {code}: {}", code.detail())),
        )?;
        if *missing_ids > 0 {
            writeln!(
                f,
                "reject   {missing_ids} rows without an id  MISSING_ID: while there is one, nobody is removed"
            )?;
        }
        list(
            f,
            waiting
                .iter()
                .map(|it| format!("wait     {}  for a seat in the account", it.employee.id)),
        )?;
        list(
            f,
            backing_off
                .iter()
                .map(|it| format!("wait     {it}  failed lately; `wazzup-sync status` says why")),
        )
    }
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
    format!("add      {}  {}{phone}", upsert.employee.id, upsert.employee.name)
}

fn update(upsert: &Upsert) -> String {
    let shown = |value: Option<String>| value.map_or_else(|| "none".to_owned(), |it| format!("“{it}”"));
    let changes: Vec<_> = changes(upsert)
        .map(|(key, from, to)| format!("{key}: {} → {}", shown(from), shown(to)))
        .collect();
    let what = if changes.is_empty() {
        "sent once more: it is in doubt what Wazzup has".into()
    } else {
        changes.join(", ")
    };
    format!("change   {}  {what}", upsert.employee.id)
}
