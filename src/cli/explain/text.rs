//! The explanation for people. Each reason is told once: what a section says, the verdict does not repeat.

use super::{
    super::{
        changes::{changes, described},
        page::{Mark, Page},
        text::{ago, counted, in_words, natural_order, printable, until},
    },
    facts::{Facts, HISTORY, InCrm, InState, Live, Planned},
    verdict,
};
use crate::{
    crm::CrmRow,
    delivery::Change,
    employee::RosterEntry,
    plan::{HoldKind, LostContent, LostEntry, Operation},
    state::{HistoryEntry, HistoryOperation, OpenFailure, OpenHold},
};

/// Columns of the labels.
pub(super) const MARGIN: usize = 11;

/// How many other ids are named.
const OTHERS_SHOWN: usize = 5;

/// Writes the explanation.
pub(super) fn write(page: &mut Page, facts: &Facts) {
    page.line("Id", &quoted(&facts.id));
    match &facts.crm {
        Ok(crm) => {
            write_crm(page, crm);
            write_to_send(page, facts, crm);
        }
        Err(error) => page.marked("CRM", Mark::Bad, &printable(error)),
    }
    match &facts.state {
        Ok(state) => {
            write_known(page, state);
            write_lost(page, state);
        }
        Err(error) => page.marked("State", Mark::Bad, &printable(error)),
    }
    write_live(page, &facts.live);
    if let Ok(state) = &facts.state {
        write_failures(page, state);
        write_holds(page, state);
        write_history(page, state);
    }
    let verdict = verdict::of(facts);
    page.marked("Verdict", verdict.mark, &verdict.reason);
    if let Some(remedy) = &verdict.remedy {
        page.remedy(remedy);
    }
}

fn quoted(text: &str) -> String {
    format!("“{}”", printable(text))
}

/// The first ids in natural order, each quoted: blanks in them would not be seen otherwise.
fn quoted_ids(ids: &[String]) -> String {
    let mut ids: Vec<&String> = ids.iter().collect();
    ids.sort_by(|left, right| natural_order(left, right));
    let more = ids.len().saturating_sub(OTHERS_SHOWN);
    let shown: Vec<String> = ids.iter().take(OTHERS_SHOWN).map(|id| quoted(id)).collect();
    let shown = shown.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown}, … and {more} more")
    }
}

fn person(name: Option<&str>, phone: Option<&str>) -> String {
    let is_given = |text: &&str| !text.trim().is_empty();
    let name = name.filter(is_given).unwrap_or("(no name)");
    match phone.filter(is_given) {
        Some(phone) => format!("{}, phone {}", printable(name), printable(phone)),
        None => format!("{}, no phone", printable(name)),
    }
}

fn write_crm(page: &mut Page, crm: &InCrm) {
    if crm.rows.is_empty() {
        page.line("CRM", "no row with this id");
    }
    for (number, row) in crm.rows.iter().enumerate() {
        page.line(if number == 0 { "CRM" } else { "" }, &row_in_words(row));
    }
    if !crm.similar_ids.is_empty() {
        let rows = if crm.similar_ids.len() == 1 { "has" } else { "have" };
        page.more(&format!(
            "A similar id {rows} a row: {}. Case and blanks count in ids.",
            quoted_ids(&crm.similar_ids)
        ));
    }
}

fn row_in_words(row: &CrmRow) -> String {
    let inactive = if row.is_active {
        ""
    } else {
        " (not active, which counts as no row)"
    };
    format!("{}{inactive}", person(row.name.as_deref(), row.phone.as_deref()))
}

/// The phone that is sent, if any.
pub(super) fn phone_to_send(facts: &Facts, entry: &RosterEntry) -> Option<String> {
    let planned = facts.state.as_ref().ok().and_then(|state| state.planned.as_ref());
    if let Some(Planned::Send { phone, .. }) = planned {
        return phone.clone();
    }
    let phone = entry
        .employee
        .phone
        .filter(|_| facts.failure(Operation::Phone).is_none());
    phone.map(|phone| phone.to_string())
}

fn write_to_send(page: &mut Page, facts: &Facts, crm: &InCrm) {
    if let Some(problem) = crm.rejected {
        page.line("To send", &format!("nothing ({problem})"));
    }
    let Some(entry) = &crm.entry else {
        return;
    };
    let phone = phone_to_send(facts, entry);
    page.line("To send", &person(Some(entry.employee.name.as_str()), phone.as_deref()));
    let failure = facts.failure(Operation::Phone).filter(|_| phone.is_none());
    if let Some(failure) = failure {
        page.more(&format!("without the phone ({})", printable(&failure.code)));
    }
    if !crm.same_phone.is_empty() {
        page.more(&format!("The phone is also that of {}.", quoted_ids(&crm.same_phone)));
    }
}

fn write_known(page: &mut Page, state: &InState) {
    let Some(user) = &state.user else {
        page.line("Known", "not one of our users");
        return;
    };
    match &user.acknowledged {
        Some(acknowledged) => {
            let phone = acknowledged.phone.map(|phone| phone.to_string());
            let known = person(Some(acknowledged.name.as_str()), phone.as_deref());
            let at = state.person.synced_at.map(|at| ago(state.now, at));
            let at = at.map_or_else(String::new, |at| format!(" {at}"));
            page.line("Known", &format!("{known} (acknowledged by Wazzup{at})"));
        }
        None => page.line("Known", "perhaps one of our users: Wazzup has not acknowledged that"),
    }
    if let Some(at) = user.absent_since {
        page.more(&format!(
            "missing from the CRM for {}",
            in_words(state.now.duration_since(at))
        ));
    }
}

fn write_lost(page: &mut Page, state: &InState) {
    for (number, entry) in state.person.lost.iter().enumerate() {
        page.line(if number == 0 { "Lost" } else { "" }, &lost_in_words(state, entry));
    }
    if !state.person.lost.is_empty() {
        page.more(
            "Nobody knows whether Wazzup did this, so the user is sent again until it is certain what Wazzup has.",
        );
    }
}

fn lost_in_words(state: &InState, entry: &LostEntry) -> String {
    let what = match &entry.content {
        LostContent::Upsert { name, phone } => {
            let phone = phone.map(|phone| phone.to_string());
            format!("sent as {}", person(Some(name.as_str()), phone.as_deref()))
        }
        LostContent::Removal => "sent for removal".to_owned(),
    };
    let until = if entry.may_land_until > state.now {
        let left = in_words(entry.may_land_until.duration_since(state.now));
        format!(", may still happen within {left}")
    } else {
        String::new()
    };
    format!("{what} without an answer {}{until}", ago(state.now, entry.lost_at))
}

fn write_live(page: &mut Page, live: &Live) {
    match live {
        Live::There(user) => {
            let phone = match &user.phone {
                Some(phone) => format!("phone {}", printable(phone)),
                None => "no phone shown".to_owned(),
            };
            page.line("Wazzup", &format!("{}, {phone} (asked now)", printable(&user.name)));
        }
        Live::Absent => page.line("Wazzup", "no such user (asked now)"),
        Live::Unknown(reason) => page.marked("Wazzup", Mark::Warning, &printable(reason)),
    }
}

fn write_failures(page: &mut Page, state: &InState) {
    for (number, failure) in state.person.failures.iter().enumerate() {
        let label = if number == 0 { "Failures" } else { "" };
        let what = match failure.operation {
            Operation::Upsert => "not synced",
            Operation::Remove => "not removed",
            Operation::Phone => "without phone",
        };
        let code = printable(&failure.code);
        // Of a row in the CRM, the verdict tells the reason.
        if failure.is_local {
            let for_so_long = if failure.first_at < state.now {
                format!(", for {}", failing_for(state, failure))
            } else {
                String::new()
            };
            page.line(label, &format!("{what}, {code}{for_so_long}"));
        } else {
            page.line(label, &format!("{what}, {code}: {}", printable(&failure.detail)));
            page.more(&attempts_in_words(state, failure));
        }
    }
}

fn failing_for(state: &InState, failure: &OpenFailure) -> String {
    in_words(state.now.duration_since(failure.first_at))
}

fn attempts_in_words(state: &InState, failure: &OpenFailure) -> String {
    let attempts = usize::try_from(failure.attempts).unwrap_or(usize::MAX);
    let next = match failure.next_attempt_at {
        Some(at) if at > state.now => format!("tried again {}, or when the CRM's row changes", until(state.now, at)),
        Some(_) => "tried again in the next cycle".to_owned(),
        None => "tried again when the CRM's row changes".to_owned(),
    };
    let request = match &failure.request_id {
        Some(id) => format!(" (request {} for Wazzup's support)", printable(id)),
        None => String::new(),
    };
    format!(
        "for {}; tried {}; {next}{request}",
        failing_for(state, failure),
        counted(attempts, "time")
    )
}

fn write_holds(page: &mut Page, state: &InState) {
    for (number, open) in state.person.holds.iter().enumerate() {
        let label = if number == 0 { "Held" } else { "" };
        let what = held_in_words(state, open);
        let when = if open.hold.since < state.now {
            format!("for {}", in_words(state.now.duration_since(open.hold.since)))
        } else {
            "by the next cycle".to_owned()
        };
        page.line(label, &format!("{what}, {when}: {}", printable(&open.hold.reason)));
        if let Some(approval) = &open.hold.approved {
            let at = ago(state.now, approval.at);
            page.more(&format!("approved {at} by {}", printable(&approval.by)));
        }
    }
}

/// `the change name: “Anna” → “true”`.
fn held_in_words(state: &InState, open: &OpenHold) -> String {
    match open.key.kind {
        HoldKind::Account => "everything".to_owned(),
        HoldKind::Remove => "the removal".to_owned(),
        HoldKind::Takeover => format!("the take-over of {} in Wazzup", quoted(&open.hold.content)),
        HoldKind::Update => {
            let acknowledged = state.user.as_ref().and_then(|user| user.acknowledged.as_ref());
            let content: serde_json::Value = serde_json::from_str(&open.hold.content).unwrap_or_default();
            let text = |key: &str| content[key].as_str().map(str::to_owned);
            match text("name") {
                Some(name) => {
                    let changes = changes(acknowledged, name, text("phone"));
                    format!("the change of {}", described(&changes))
                }
                None => "the change".to_owned(),
            }
        }
    }
}

fn write_history(page: &mut Page, state: &InState) {
    let history = &state.person.history;
    for (number, entry) in history.iter().enumerate() {
        let label = if number == 0 { "History" } else { "" };
        let approved = match &entry.approved_by {
            Some(by) => format!(", approved by {}", printable(by)),
            None => String::new(),
        };
        page.line(
            label,
            &format!(
                "{}: {}{approved} (cycle {})",
                ago(state.now, entry.at),
                delivered(entry),
                entry.cycle_id
            ),
        );
    }
    if history.len() == HISTORY as usize {
        page.more(&format!("Only the newest {} are shown.", history.len()));
    }
}

/// What was done. Values that were erased or have expired are left out.
fn delivered(entry: &HistoryEntry) -> String {
    let HistoryEntry {
        operation,
        absent,
        name_before,
        phone_before,
        name_after,
        phone_after,
        ..
    } = entry;
    let after = name_after
        .as_ref()
        .map(|name| person(Some(name), phone_after.as_deref()));
    let with = |deed: &str| match &after {
        Some(after) => format!("{deed} as {after}"),
        None => deed.to_owned(),
    };
    match operation {
        HistoryOperation::Upsert(Change::Add) => with("added"),
        HistoryOperation::Upsert(Change::Adopt) => with("adopted"),
        HistoryOperation::Upsert(Change::TakeOver) => with("taken over"),
        HistoryOperation::Upsert(Change::Resend) => with("sent again"),
        HistoryOperation::Upsert(Change::Release) => "gave up the phone so that somebody else can have it".to_owned(),
        HistoryOperation::Upsert(Change::Update) => match (name_before, &after) {
            (Some(before), Some(after)) => {
                format!(
                    "changed from {} to {after}",
                    person(Some(before), phone_before.as_deref())
                )
            }
            _ => with("changed"),
        },
        HistoryOperation::Remove => {
            let name = match name_before {
                Some(name) => format!(" ({})", printable(name)),
                None => String::new(),
            };
            if *absent {
                format!("to be removed, but was not there any more{name}")
            } else {
                format!("removed{name}")
            }
        }
    }
}
