//! The explanation for people. Each reason is told once: what a section says, the verdict does not repeat.

use super::{
    super::{
        holds::{hold_in_words, noun_for_hold},
        page::{Mark, Page},
        status::operation_in_words,
        text::{ago, counted, in_words, listed_ids, until},
    },
    Explanation, Findings, InCrm, Live, evidence,
};
use crate::{
    crm::CrmRow,
    employee::{FullName, Phone},
    plan::{Failure, LostContent, LostEntry, Operation, User},
    state::{HistoryEntry, HistoryOperation},
};

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
    match (&findings.state_error, &findings.snapshot) {
        (Some(error), _) => page.marked("State", Mark::Bad, error),
        (None, Some(user)) => write_known(page, findings, user),
        (None, None) => page.line("Known", "not one of our users"),
    }
    for entry in &findings.lost {
        page.line("Lost", &lost_in_words(findings, entry));
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
    for failure in &findings.failures {
        write_failure(page, findings, failure);
    }
    write_holds(page, findings);
    for entry in &findings.history {
        let when = ago(findings.now, entry.at);
        page.line("History", &format!("{when}, {}", delivered(entry)));
    }
    if findings.history.len() == evidence::HISTORY as usize {
        page.more(&format!("Only the newest {} are shown.", findings.history.len()));
    }
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

fn sent_person(name: &FullName, phone: Option<Phone>) -> String {
    person(Some(name.as_str()), phone.map(|phone| phone.to_string()).as_deref())
}

fn write_crm(page: &mut Page, crm: &InCrm) {
    if crm.rows.is_empty() {
        page.line("CRM", "no row with this id");
    }
    for CrmRow {
        name, phone, is_active, ..
    } in &crm.rows
    {
        // Quoted: it is shown as the CRM spells it, and that may be anything.
        let phone = phone.as_ref().filter(|phone| !phone.trim().is_empty());
        let phone = phone.map(|phone| format!("“{phone}”"));
        let mut text = person(name.as_deref(), phone.as_deref());
        if !is_active {
            text.push_str(" (not active, which counts as no row)");
        }
        page.line("CRM", &text);
    }
    if !crm.similar_ids.is_empty() {
        let similar_ids = listed_ids(&crm.similar_ids);
        page.more(&format!(
            "Rows with similar ids: {similar_ids}. Case and blanks count in ids."
        ));
    }
}

fn write_to_send(page: &mut Page, findings: &Findings, crm: &InCrm) {
    if let Some(problem) = crm.rejected {
        page.line("To send", &format!("nothing ({problem})"));
    }
    let Some(to_send) = &findings.to_send else {
        return;
    };
    let text = match findings.failure(Operation::Phone) {
        Some(failure) if to_send.phone.is_none() => {
            format!("{}, without the phone ({})", to_send.name, failure.code)
        }
        _ => sent_person(&to_send.name, to_send.phone),
    };
    page.line("To send", &text);
    if !crm.same_phone.is_empty() {
        let others = listed_ids(&crm.same_phone);
        page.more(&format!("The phone is also that of {others}."));
    }
}

fn write_known(page: &mut Page, findings: &Findings, user: &User) {
    let mut text = match &user.acknowledged {
        Some(acknowledged) => sent_person(&acknowledged.name, acknowledged.phone),
        None => "perhaps one of our users: Wazzup has not acknowledged that".to_owned(),
    };
    if let Some(at) = user.synced_at.filter(|_| user.acknowledged.is_some()) {
        text.push_str(&format!(" (acknowledged by Wazzup {})", ago(findings.now, at)));
    }
    page.line("Known", &text);
    if let Some(at) = user.absent_since {
        let absent_for = in_words(findings.now.duration_since(at));
        page.more(&format!("missing from the CRM for {absent_for}"));
    }
}

fn lost_in_words(findings: &Findings, entry: &LostEntry) -> String {
    let what = match &entry.content {
        LostContent::Upsert { name, phone } => format!("sent as {}", sent_person(name, *phone)),
        LostContent::Removal => "sent for removal".to_owned(),
    };
    let mut text = format!("{what}, no answer, {}", ago(findings.now, entry.lost_at));
    if entry.may_land_until > findings.now {
        let left = in_words(entry.may_land_until.duration_since(findings.now));
        text.push_str(&format!("; may still happen within {left}"));
    }
    text
}

fn write_failure(page: &mut Page, findings: &Findings, failure: &Failure) {
    let (now, what) = (findings.now, operation_in_words(failure.operation));
    let for_so_long = in_words(now.duration_since(failure.first_at));
    // What is wrong in the CRM's own row, and what to do, is the verdict.
    if failure.is_local {
        page.line("Failures", &format!("{what}, {}, for {for_so_long}", failure.code));
        return;
    }
    page.line("Failures", &format!("{what}, {}: {}", failure.code, failure.detail));
    let next = match failure.next_attempt_at {
        Some(at) => format!("{}, or when the CRM's row changes", until(now, at)),
        None => "when the CRM's row changes".to_owned(),
    };
    let mut text = format!(
        "for {for_so_long}; tried {}; tried again {next}",
        counted(failure.attempts, "time")
    );
    if let Some(id) = &failure.request_id {
        text.push_str(&format!(" (request {id} for Wazzup's support)"));
    }
    page.more(&text);
}

fn write_holds(page: &mut Page, findings: &Findings) {
    let name = findings.to_send.as_ref().map(|wanted| wanted.name.as_str());
    for (key, hold) in &findings.held {
        let content = hold_in_words(key.kind, hold, findings.snapshot.as_ref(), &findings.lost, name);
        page.line("Held", &format!("the {}: {content}", noun_for_hold(key.kind)));
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

/// `update: Ann, no phone → Anna, no phone (cycle 7)`. Values that were erased or have expired are left out.
fn delivered(entry: &HistoryEntry) -> String {
    let mut text = entry.operation.as_str().replace('_', " ");
    if entry.absent {
        text.push_str(" (was not there any more)");
    }
    let is_removal = entry.operation == HistoryOperation::Remove;
    let person_of = |name: &Option<String>, phone: &Option<String>| match name {
        // The phone of somebody who was removed is not kept.
        Some(name) if is_removal => Some(name.clone()),
        Some(name) => Some(person(Some(name), phone.as_deref())),
        None => None,
    };
    let before = person_of(&entry.name_before, &entry.phone_before);
    let after = person_of(&entry.name_after, &entry.phone_after);
    match (before, after) {
        (Some(before), Some(after)) if before != after => text.push_str(&format!(": {before} → {after}")),
        (Some(person), _) | (None, Some(person)) => text.push_str(&format!(": {person}")),
        (None, None) => {}
    }
    let approved = entry.approved_by.as_ref().map(|by| format!("approved by {by}, "));
    let approved = approved.unwrap_or_default();
    format!("{text} ({approved}cycle {})", entry.cycle_id)
}
