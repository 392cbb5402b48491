//! The explanation for people. Each reason is told once: what a section says, the verdict does not repeat.

use super::{
    super::{
        page::{Mark, Page},
        status::operation_in_words,
        text::{ago, in_words, listed_ids, times, until},
    },
    Explanation, Findings, InCrm, KnownUser, Live, NameAndPhone, evidence,
};
use crate::{
    crm::CrmRow,
    plan::{Change, Failure, HoldKind, LostContent, LostEntry, Operation},
    state::{HistoryEntry, HistoryOperation, OpenHold},
};

/// Columns of the labels.
pub(super) const MARGIN: usize = 11;

/// How many other ids are named.
const OTHERS_SHOWN: usize = 5;

/// Writes the explanation.
pub(super) fn write(page: &mut Page, explanation: &Explanation) {
    let Explanation {
        version: _,
        findings,
        verdict,
    } = explanation;
    page.line("Id", &format!("“{}”", findings.id));
    if let Some(error) = &findings.crm_error {
        page.marked("CRM", Mark::Bad, error);
    }
    if let Some(crm) = &findings.crm {
        write_crm(page, crm);
        write_to_send(page, findings, crm);
    }
    if let Some(error) = &findings.state_error {
        page.marked("State", Mark::Bad, error);
    } else {
        write_known(page, findings);
    }
    let mut label = "Lost";
    for entry in &findings.lost {
        page.line(label, &lost_in_words(findings, entry));
        label = "";
    }
    if !findings.lost.is_empty() {
        page.more(
            "Nobody knows whether Wazzup did this, so the user is sent again until it is certain what Wazzup has.",
        );
    }
    match &findings.wazzup {
        Live::There(user) => {
            let phone = user.phone.as_deref().unwrap_or("not shown");
            page.line("Wazzup", &format!("{}, phone {phone} (asked now)", user.name));
        }
        Live::Absent => page.line("Wazzup", "no such user (asked now)"),
        Live::Unknown { reason } => page.marked("Wazzup", Mark::Warning, reason),
    }
    write_failures(page, findings);
    write_holds(page, findings);
    write_history(page, findings);
    page.advice("Verdict", verdict);
}

fn person(name: Option<&str>, phone: Option<&str>) -> String {
    let is_given = |text: &&str| !text.trim().is_empty();
    let name = name.filter(is_given).unwrap_or("(no name)");
    match phone.filter(is_given) {
        Some(phone) => format!("{name}, phone {phone}"),
        None => format!("{name}, no phone"),
    }
}

impl NameAndPhone {
    fn in_words(&self) -> String {
        person(Some(&self.name), self.phone.as_deref())
    }
}

fn write_crm(page: &mut Page, crm: &InCrm) {
    if crm.rows.is_empty() {
        page.line("CRM", "no row with this id");
    }
    let mut label = "CRM";
    for row in &crm.rows {
        page.line(label, &row_in_words(row));
        label = "";
    }
    let similar_ids = listed_ids(&crm.similar_ids, OTHERS_SHOWN);
    match crm.similar_ids.len() {
        0 => {}
        1 => page.more(&format!(
            "A similar id has a row: {similar_ids}. Case and blanks count in ids."
        )),
        _ => page.more(&format!(
            "Similar ids have rows: {similar_ids}. Case and blanks count in ids."
        )),
    }
}

fn row_in_words(row: &CrmRow) -> String {
    let row_is = if row.is_active {
        ""
    } else {
        " (not active, which counts as no row)"
    };
    // Quoted: it is shown as the CRM spells it, and that may be anything.
    let phone = row.phone.as_deref().filter(|phone| !phone.trim().is_empty());
    let phone = phone.map(|phone| format!("“{phone}”"));
    format!("{}{row_is}", person(row.name.as_deref(), phone.as_deref()))
}

fn write_to_send(page: &mut Page, findings: &Findings, crm: &InCrm) {
    if let Some(problem) = crm.rejected {
        page.line("To send", &format!("nothing ({problem})"));
    }
    let Some(to_send) = &findings.to_send else {
        return;
    };
    match findings.failure(Operation::Phone) {
        Some(failure) if to_send.phone.is_none() => {
            page.line(
                "To send",
                &format!("{}, without the phone ({})", to_send.name, failure.code),
            );
        }
        _ => page.line("To send", &to_send.in_words()),
    }
    if !crm.same_phone.is_empty() {
        page.more(&format!(
            "The phone is also that of {}.",
            listed_ids(&crm.same_phone, OTHERS_SHOWN)
        ));
    }
}

fn write_known(page: &mut Page, findings: &Findings) {
    let Some(KnownUser {
        acknowledged,
        synced_at,
        absent_since,
    }) = &findings.snapshot
    else {
        page.line("Known", "not one of our users");
        return;
    };
    match (acknowledged, synced_at) {
        (Some(user), Some(at)) => {
            let at = ago(findings.now, *at);
            page.line("Known", &format!("{} (acknowledged by Wazzup {at})", user.in_words()));
        }
        (Some(user), None) => page.line("Known", &user.in_words()),
        (None, _) => page.line("Known", "perhaps one of our users: Wazzup has not acknowledged that"),
    }
    if let Some(at) = absent_since {
        let absent_for = in_words(findings.now.duration_since(*at));
        page.more(&format!("missing from the CRM for {absent_for}"));
    }
}

fn lost_in_words(findings: &Findings, entry: &LostEntry) -> String {
    let what = match &entry.content {
        LostContent::Upsert { name, phone } => {
            let phone = phone.map(|phone| phone.to_string());
            format!("sent as {}", person(Some(name.as_str()), phone.as_deref()))
        }
        LostContent::Removal => "sent for removal".to_owned(),
    };
    let mut text = format!("{what}, no answer, {}", ago(findings.now, entry.lost_at));
    if entry.may_land_until > findings.now {
        let left = in_words(entry.may_land_until.duration_since(findings.now));
        text.push_str(&format!("; may still happen within {left}"));
    }
    text
}

fn write_failures(page: &mut Page, findings: &Findings) {
    let mut label = "Failures";
    for failure in &findings.failures {
        let what = operation_in_words(failure.operation);
        let for_so_long = in_words(findings.now.duration_since(failure.first_at));
        let text = if !failure.is_local {
            format!("{what}, {}: {}", failure.code, failure.detail)
        } else if failure.first_at < findings.now {
            format!("{what}, {}, for {for_so_long}", failure.code)
        } else {
            format!("{what}, {}", failure.code)
        };
        page.line(label, &text);
        label = "";
        // What is wrong in the CRM's own row, and what to do, is the verdict.
        if !failure.is_local {
            page.more(&format!("for {for_so_long}; {}", attempts_in_words(findings, failure)));
        }
    }
}

fn attempts_in_words(findings: &Findings, failure: &Failure) -> String {
    let next = match failure.next_attempt_at {
        Some(at) if at > findings.now => {
            format!("tried again {}, or when the CRM's row changes", until(findings.now, at))
        }
        Some(_) => "tried again in the next cycle".to_owned(),
        None => "tried again when the CRM's row changes".to_owned(),
    };
    let request = match &failure.request_id {
        Some(id) => format!(" (request {id} for Wazzup's support)"),
        None => String::new(),
    };
    format!("tried {}; {next}{request}", times(failure.attempts))
}

fn write_holds(page: &mut Page, findings: &Findings) {
    let mut label = "Held";
    for (open, content) in findings.held.iter().zip(&findings.held_in_words) {
        let OpenHold { key, hold, .. } = open;
        let what = match key.kind {
            HoldKind::Account => "everything".to_owned(),
            HoldKind::Remove => format!("the removal of {content}"),
            HoldKind::Update => format!("the change of {content}"),
            HoldKind::Takeover => format!("the take-over: {content}"),
        };
        page.line(label, &what);
        label = "";
        let when = if hold.since < findings.now {
            format!("for {}", in_words(findings.now.duration_since(hold.since)))
        } else {
            "by the next cycle".to_owned()
        };
        page.more(&format!("{when}: {}", hold.reason));
        if let Some(approval) = &hold.approved {
            let at = ago(findings.now, approval.at);
            page.more(&format!("approved {at} by {}", approval.by));
        }
    }
}

fn write_history(page: &mut Page, findings: &Findings) {
    let mut label = "History";
    for entry in &findings.history {
        let when = ago(findings.now, entry.at);
        page.line(label, &format!("{when}, {}", delivered(entry)));
        label = "";
    }
    if findings.history.len() == evidence::HISTORY as usize {
        page.more(&format!("Only the newest {} are shown.", findings.history.len()));
    }
}

/// `changed: Ann, no phone → Anna, no phone (cycle 7)`. Values that were erased or have expired are left out.
fn delivered(entry: &HistoryEntry) -> String {
    let deed = match entry.operation {
        HistoryOperation::Upsert(Change::Add) => "added",
        HistoryOperation::Upsert(Change::Adopt) => "adopted",
        HistoryOperation::Upsert(Change::TakeOver) => "taken over",
        HistoryOperation::Upsert(Change::Resend) => "sent again",
        HistoryOperation::Upsert(Change::Release) => "gave up the phone so that somebody else can have it",
        HistoryOperation::Upsert(Change::Update) => "changed",
        HistoryOperation::Remove if entry.absent => "to be removed, but was not there any more",
        HistoryOperation::Remove => "removed",
    };
    let before = entry.name_before.as_deref();
    let after = entry.name_after.as_deref();
    let after = after.map(|name| person(Some(name), entry.phone_after.as_deref()));
    let values = match (entry.operation, before, after) {
        (HistoryOperation::Upsert(Change::Release), _, _) => None,
        (HistoryOperation::Upsert(Change::Update), Some(before), Some(after)) => {
            let before = person(Some(before), entry.phone_before.as_deref());
            Some(format!("{before} → {after}"))
        }
        (HistoryOperation::Upsert(_), _, after) => after,
        // The phone is not kept.
        (HistoryOperation::Remove, before, _) => before.map(ToOwned::to_owned),
    };
    let mut text = deed.to_owned();
    if let Some(values) = values {
        text.push_str(&format!(": {values}"));
    }
    let approved = entry.approved_by.as_ref().map(|by| format!("approved by {by}, "));
    text.push_str(&format!(" ({}cycle {})", approved.unwrap_or_default(), entry.cycle_id));
    text
}
