//! The plan for people: who is concerned first, what is held next, the summary last.

use jiff::Timestamp;

use super::{
    super::{
        holds::{counted_holds, grouped, missing_ids, shown_name},
        invocation::Invocation,
        page::{ADDITION, CHANGE, Mark, PLAIN, Page, REMOVAL},
        text::{counted, listed_counts, listed_ids, natural_order, short_id, until},
    },
    PlanView,
    answer::{NewUser, PlanAnswer, SEAT, UserUpdate, WaitingUser},
};
use crate::{
    employee::EmployeeId,
    plan::{HoldKind, Operation, StayReason, StayingUser, backing_off},
};

pub(super) fn write(page: &mut Page, view: &PlanView, answer: &PlanAnswer<'_>, invocation: &Invocation) {
    write_deeds(page, answer);
    write_waiting(page, view, answer);
    for user in &answer.staying {
        let name = shown_name(user.name.as_deref());
        let text = format!("{name}; not in the CRM; {}", stay_reason(view, user));
        page.user(PLAIN, "stay", user.id.as_str(), &text);
    }
    let rejected = answer.rejected.iter().map(|bad| ("reject", REMOVAL, *bad));
    let without_phone = answer.without_phone.iter().map(|bad| ("no phone", CHANGE, bad));
    for (label, style, bad) in rejected.chain(without_phone) {
        let problem = bad.problem;
        let text = format!("{problem}: {}; {}", problem.reason(), problem.remedy());
        page.user(style, label, &bad.id, &text);
    }
    if answer.missing_ids > 0 {
        page.blank();
        page.advice("reject", &missing_ids(answer.missing_ids, invocation));
    }
    write_holds(page, view, invocation);
    page.blank();
    for sentence in summary(view, answer) {
        page.paragraph(&sentence);
    }
}

fn write_deeds(page: &mut Page, answer: &PlanAnswer<'_>) {
    for user in &answer.remove {
        let approved = if user.approved { " (approved)" } else { "" };
        let text = format!("{}{approved}", shown_name(user.name.as_deref()));
        page.user(REMOVAL, "remove", user.id.as_str(), &text);
    }
    for UserUpdate { id, changes, note } in &answer.update {
        let text = if changes.is_empty() {
            format!("sent again, since it is uncertain what Wazzup has{note}")
        } else {
            format!("{changes}{note}")
        };
        page.user(CHANGE, "change", id, &text);
    }
    for user in &answer.take_over {
        let in_wazzup = shown_name(user.name_in_wazzup);
        let text = format!("“{in_wazzup}” → “{}”{}", user.name, user.note);
        page.user(CHANGE, "take over", user.id, &text);
    }
    for user in &answer.adopt {
        let text = format!("{}; already in Wazzup under this name", person(user));
        page.user(ADDITION, "adopt", user.id, &text);
    }
    for user in &answer.add {
        let mut text = person(user);
        if !user.after.is_empty() {
            let leavers = listed_ids(user.after.iter().map(EmployeeId::as_str));
            text.push_str(&format!("; after the removal of {leavers}"));
        }
        page.user(ADDITION, "add", user.id, &text);
    }
}

fn person(user: &NewUser<'_>) -> String {
    let phone = user.phone.map(|phone| format!(", {phone}")).unwrap_or_default();
    format!("{}{phone}{}", user.name, user.note)
}

fn write_waiting(page: &mut Page, view: &PlanView, answer: &PlanAnswer<'_>) {
    let mut reasons: Vec<(&EmployeeId, String)> = Vec::new();
    for WaitingUser { id, waits_for } in &answer.waiting {
        let reason = if *waits_for == SEAT {
            "waits for a free seat in the Wazzup account".to_owned()
        } else {
            let leaver = short_id(waits_for);
            format!("looks like {leaver}, who is leaving: waits until {leaver} is removed or back in the CRM")
        };
        reasons.push((id, reason));
    }
    for id in &answer.backing_off {
        reasons.push((id, refused(view, id, Operation::Upsert)));
    }
    // Of another account, nothing is known about the users.
    let pending = answer.pending.iter().filter(|_| view.is_account_known());
    for id in pending {
        let user = view.snapshot.users.get(*id);
        let reason = if user.is_some_and(|user| user.acknowledged.is_some()) {
            "waits for the phone of somebody who is leaving"
        } else {
            "Wazzup has to say first whether it has this id already"
        };
        reasons.push((id, reason.to_owned()));
    }
    reasons.sort_by(|(left, _), (right, _)| natural_order(left.as_str(), right.as_str()));
    for (id, reason) in reasons {
        let entry = view.roster.get(id.as_str());
        let name = shown_name(entry.map(|entry| entry.employee.name.as_str()));
        page.user(PLAIN, "wait", id.as_str(), &format!("{name}; {reason}"));
    }
}

/// `refused lately (INVALID_USERS_DATA), tried again in 5 min`.
fn refused(view: &PlanView, id: &EmployeeId, operation: Operation) -> String {
    let Some(failure) = backing_off(&view.snapshot.failures, id, operation, view.now) else {
        return "refused lately".to_owned();
    };
    let next = until(view.now, failure.next_attempt_at.unwrap_or(view.now));
    format!("refused lately ({}), tried again {next}", failure.code)
}

fn stay_reason(view: &PlanView, user: &StayingUser) -> String {
    match user.reason {
        StayReason::InGrace => {
            let managed = view.snapshot.users.get(&user.id);
            let absent_since = managed.and_then(|user| user.absent_since).unwrap_or(view.now);
            let ends = absent_since.saturating_add(view.policy.grace).unwrap_or(Timestamp::MAX);
            format!("will be removed {}", until(view.now, ends))
        }
        StayReason::Kept => "`removals.policy` says to keep everybody".to_owned(),
        StayReason::BackingOff => format!("the removal was {}", refused(view, &user.id, Operation::Remove)),
        StayReason::Unknown => "Wazzup has to say first whether this user is there".to_owned(),
    }
}

fn write_holds(page: &mut Page, view: &PlanView, invocation: &Invocation) {
    let groups = grouped(view.plan.unapproved_holds());
    for group in &groups {
        page.blank();
        group.write_users(page, &view.snapshot, Some(&view.roster));
        page.marked("Held", Mark::Bad, &group.title(view.plan.managed));
    }
    if groups.is_empty() {
        return;
    }
    // What the state does not have yet cannot be approved yet.
    let mut holds = view.plan.unapproved_holds();
    let known = &view.snapshot.holds;
    let can_be_approved = holds.any(|(key, hold)| known.get(key).is_some_and(|known| known.content == hold.content));
    let when = if can_be_approved { "" } else { ", after the next cycle," };
    let approve = invocation.command("approve");
    if view.plan.doubts_account() {
        page.remedy("check `wazzup.base_url` and the API key: nothing is sent");
        page.remedy(&format!(
            "if the other account is the right one from now on, {approve}{when} says so"
        ));
    } else {
        page.remedy(&format!("{approve}{when} lists what is held and approves exactly that"));
    }
}

/// What it comes to, in sentences. The last one says how much is sent.
pub(super) fn summary(view: &PlanView, answer: &PlanAnswer<'_>) -> Vec<String> {
    let plan = &view.plan;
    let employees = counted(answer.eligible, "employee");
    if plan.doubts_account() {
        let nothing = "Nothing is sent: this looks like another Wazzup account.";
        return vec![format!("{employees} in the CRM. {nothing}")];
    }
    if plan.questions.for_account {
        let nothing = "Nothing can be planned before Wazzup's list shows that this is the right account.";
        return vec![format!("{employees} in the CRM. {nothing}")];
    }
    let (adopted, taken_over) = (answer.adopt.len(), answer.take_over.len());
    let accounted = answer.add.len() + adopted + taken_over + answer.update.len() + answer.unchanged;
    let parts = listed_counts([
        (answer.add.len(), "to add"),
        (adopted, "to adopt"),
        (taken_over, "to take over"),
        (answer.update.len(), "to change"),
        (answer.unchanged, "unchanged"),
        (answer.eligible.saturating_sub(accounted), "held, waiting or failing"),
    ]);
    let colon = if parts.is_empty() { "" } else { ": " };
    let mut sentences = vec![format!("{employees} in the CRM{colon}{}.", parts.join(", "))];
    if !answer.remove.is_empty() {
        sentences.push(format!("{} to remove.", counted(answer.remove.len(), "user")));
    }
    let held = |kind| plan.unapproved_holds().filter(|(key, _)| key.kind == kind).count();
    for kind in HoldKind::ALL {
        let count = held(kind);
        if count > 0 {
            sentences.push(format!("{} held.", counted_holds(kind, count)));
        }
    }
    let concerned = adopted + taken_over + held(HoldKind::Takeover);
    let left_alone = answer.foreign.unwrap_or_default().saturating_sub(concerned);
    if left_alone > 0 {
        let users = counted(left_alone, "other user");
        sentences.push(format!("{users} in Wazzup, left alone."));
    }
    sentences.push(match plan.requests() {
        0 => "Nothing to send.".to_owned(),
        requests => format!("{} to send.", counted(requests, "request")),
    });
    sentences
}
