//! The plan for people: who is concerned first, what is held next, the summary last.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    changes::{FieldChange, changes_of, described},
    holds::{HoldNames, counted_holds, grouped, shown_name},
    invocation::Invocation,
    page::{ADDITION, CHANGE, Mark, PLAIN, Page, REMOVAL, Row},
    plan::PlanView,
    text::{counted, natural_order, printable, short_id, until},
};
use crate::{
    employee::{EmployeeId, RowProblem},
    plan::{Change, Hold, HoldKey, HoldKind, Operation, Plan, PlannedUpsert, StayReason, StayingUser, backing_off},
};

/// Columns of the labels.
pub(super) const MARGIN: usize = 10;

/// How many lines of a kind are shown before the rest is only counted.
const LINES_SHOWN: usize = 200;

/// Writes the plan.
pub(super) fn write(page: &mut Page, view: &PlanView, invocation: &Invocation) {
    let mut rows = Vec::new();
    for section in [
        removals(view),
        changes(view),
        take_overs(view),
        adoptions(view),
        additions(view),
        waiting(view),
        staying(view),
    ] {
        add_section(&mut rows, section);
    }
    page.rows(&rows);
    write_row_problems(page, view);
    write_holds(page, view, invocation);
    page.blank();
    write_summary(page, view);
}

fn add_section(rows: &mut Vec<Row>, mut section: Vec<Row>) {
    section.sort_by(|left, right| natural_order(&left.id, &right.id));
    let more = section.len().saturating_sub(LINES_SHOWN);
    section.truncate(LINES_SHOWN);
    let last = section.last().map(|row| (row.style, row.label));
    rows.append(&mut section);
    if let Some((style, label)) = last.filter(|_| more > 0) {
        rows.push(Row {
            style,
            label,
            id: "…".to_owned(),
            text: format!("and {more} more: `--format json` has them all"),
        });
    }
}

fn row(label: &'static str, style: anstyle::Style, id: &str, text: String) -> Row {
    Row {
        style,
        label,
        id: short_id(id),
        text,
    }
}

fn removals(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for removal in &view.plan.removals {
        let mut text = shown_name(removal.name.as_deref());
        if removal.approved {
            text.push_str(" (approved)");
        }
        rows.push(row("remove", REMOVAL, removal.id.as_str(), text));
    }
    rows
}

fn changes(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for (id, change) in view.lone_releases() {
        let text = format!("{}, so that somebody else can have it", described(&[change]));
        rows.push(row("change", CHANGE, id.as_str(), text));
    }
    for upsert in upserts(view, &[Change::Update, Change::Release, Change::Resend]) {
        let changes = changes_of(upsert);
        let text = if changes.is_empty() {
            "sent again, since it is uncertain what Wazzup has".to_owned()
        } else {
            described(&changes)
        };
        rows.push(row("change", CHANGE, upsert.id().as_str(), text + &phone_note(upsert)));
    }
    rows
}

fn take_overs(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for upsert in upserts(view, &[Change::TakeOver]) {
        let in_wazzup = shown_name(upsert.name_in_wazzup.as_deref());
        let name = printable(upsert.entry.employee.name.as_str()).into_owned();
        let text = format!("“{in_wazzup}” → “{name}”{}", phone_note(upsert));
        rows.push(row("take over", CHANGE, upsert.id().as_str(), text));
    }
    rows
}

fn adoptions(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for upsert in upserts(view, &[Change::Adopt]) {
        let text = format!("{}; already in Wazzup under this name", person(upsert));
        rows.push(row("adopt", ADDITION, upsert.id().as_str(), text));
    }
    rows
}

fn additions(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for upsert in upserts(view, &[Change::Add]) {
        let mut text = person(upsert);
        if !upsert.waits_for.is_empty() {
            let leavers: Vec<String> = upsert.waits_for.iter().map(|id| short_id(id.as_str())).collect();
            text = format!("{text}; after the removal of {}", leavers.join(", "));
        }
        rows.push(row("add", ADDITION, upsert.id().as_str(), text));
    }
    rows
}

fn upserts<'v>(view: &'v PlanView, changes: &'static [Change]) -> impl Iterator<Item = &'v PlannedUpsert> {
    let upserts = view.plan.upserts.iter();
    upserts.filter(|upsert| changes.contains(&upsert.entry.change))
}

/// Name and phone.
fn person(upsert: &PlannedUpsert) -> String {
    let employee = &upsert.entry.employee;
    let name = printable(employee.name.as_str());
    match employee.phone {
        Some(phone) => format!("{name}, {phone}"),
        None => format!("{name}{}", phone_note(upsert)),
    }
}

fn phone_note(upsert: &PlannedUpsert) -> String {
    if upsert.wanted_phone.is_some() && upsert.entry.employee.phone.is_none() {
        "; without the phone for now".to_owned()
    } else {
        String::new()
    }
}

fn waiting(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for waiting in &view.plan.waiting_for_leavers {
        let leaver = short_id(waiting.leaver.as_str());
        let text = format!(
            "{}; looks like {leaver}, who is leaving: waits until {leaver} is removed or back in the CRM",
            crm_name(view, &waiting.id)
        );
        rows.push(row("wait", PLAIN, waiting.id.as_str(), text));
    }
    for id in &view.plan.waiting_for_seat {
        let text = format!("{}; waits for a free seat in the Wazzup account", crm_name(view, id));
        rows.push(row("wait", PLAIN, id.as_str(), text));
    }
    for id in &view.plan.backing_off {
        let text = format!("{}; {}", crm_name(view, id), refused(view, id, Operation::Upsert));
        rows.push(row("wait", PLAIN, id.as_str(), text));
    }
    if !view.is_account_known() {
        return rows;
    }
    for id in view.pending_for_other_reasons() {
        let is_managed = view
            .snapshot
            .users
            .get(id)
            .is_some_and(|user| user.acknowledged.is_some());
        let reason = if is_managed {
            "waits for the phone of somebody who is leaving"
        } else {
            "Wazzup has to say first whether it has this id already"
        };
        rows.push(row(
            "wait",
            PLAIN,
            id.as_str(),
            format!("{}; {reason}", crm_name(view, id)),
        ));
    }
    rows
}

fn crm_name(view: &PlanView, id: &EmployeeId) -> String {
    let entry = view.roster.get(id.as_str());
    shown_name(entry.map(|entry| entry.employee.name.as_str()))
}

/// `refused lately (INVALID_USERS_DATA), tried again in 5 min`.
fn refused(view: &PlanView, id: &EmployeeId, operation: Operation) -> String {
    match backing_off(&view.snapshot.failures, id, operation, view.now) {
        Some(failure) => format!(
            "refused lately ({}), tried again {}",
            printable(&failure.code),
            until(view.now, failure.next_attempt_at.unwrap_or(view.now))
        ),
        None => "refused lately".to_owned(),
    }
}

fn staying(view: &PlanView) -> Vec<Row> {
    let mut rows = Vec::new();
    for user in &view.plan.staying {
        let text = format!("{}; {}", shown_name(user.name.as_deref()), stay_reason(view, user));
        rows.push(row("stay", PLAIN, user.id.as_str(), text));
    }
    rows
}

fn stay_reason(view: &PlanView, user: &StayingUser) -> String {
    match user.reason {
        StayReason::InGrace => {
            let managed = view.snapshot.users.get(&user.id);
            let absent_since = managed.and_then(|user| user.absent_since).unwrap_or(view.now);
            let ends: Timestamp = absent_since.checked_add(view.policy.grace).unwrap_or(Timestamp::MAX);
            format!("not in the CRM, will be removed {}", until(view.now, ends))
        }
        StayReason::Kept => "not in the CRM; `removals.policy` says to keep everybody".to_owned(),
        StayReason::BackingOff => format!(
            "not in the CRM; the removal was {}",
            refused(view, &user.id, Operation::Remove)
        ),
        StayReason::Unknown => "not in the CRM; Wazzup has to say first whether this user is there".to_owned(),
    }
}

/// What is wrong in the CRM's own rows, one block for each problem.
fn write_row_problems(page: &mut Page, view: &PlanView) {
    for problem in RowProblem::ALL {
        let mut section = Vec::new();
        for rejected in view.plan.rejected.iter().filter(|row| row.problem == problem) {
            section.push(row("reject", REMOVAL, &rejected.id, problem.as_str().to_owned()));
        }
        for failure in &view.plan.local_failures {
            if failure.problem == problem && failure.key.operation == Operation::Phone {
                let id = &failure.key.user_id;
                section.push(row("no phone", CHANGE, id, problem.as_str().to_owned()));
            }
        }
        if section.is_empty() {
            continue;
        }
        let mut rows = Vec::new();
        add_section(&mut rows, section);
        page.blank();
        page.rows(&rows);
        page.more(problem.reason());
        page.remedy(problem.remedy());
    }
    let missing_ids = view.plan.missing_ids;
    if missing_ids > 0 {
        let rows = counted(missing_ids, "row");
        page.blank();
        page.marked("reject", Mark::Warning, &format!("{rows} without an id (MISSING_ID)"));
        page.remedy("give each row an id: until then nobody is removed without approval");
    }
}

fn write_holds(page: &mut Page, view: &PlanView, invocation: &Invocation) {
    let names = HoldNames {
        snapshot: &view.snapshot,
        roster: Some(&view.roster),
    };
    let groups = grouped(view.plan.unapproved_holds());
    for group in &groups {
        let mut rows = Vec::new();
        add_section(&mut rows, group.rows(names));
        page.blank();
        page.rows(&rows);
        page.marked("Held", Mark::Bad, &group.title(view.plan.managed));
    }
    if groups.is_empty() {
        return;
    }
    let mut holds = view.plan.unapproved_holds();
    let when = if holds.any(|(key, hold)| is_held_already(view, key, hold)) {
        ""
    } else {
        ", after the next cycle,"
    };
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

/// Whether the state has the hold already, so that it can be approved.
fn is_held_already(view: &PlanView, key: &HoldKey, hold: &Hold) -> bool {
    let known = view.snapshot.holds.get(key);
    known.is_some_and(|known| known.content == hold.content)
}

fn write_summary(page: &mut Page, view: &PlanView) {
    let plan = &view.plan;
    let employees = counted(plan.eligible, "employee");
    if !view.is_account_known() {
        page.paragraph(&format!("{employees} in the CRM. {}", last_sentence(plan)));
        return;
    }
    let counts = Counts::of(view);
    let mut parts = vec![format!("{} to add", counts.added)];
    for (count, what) in [(counts.adopted, "to adopt"), (counts.taken_over, "to take over")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.push(format!("{} to change", counts.changed));
    parts.push(format!("{} unchanged", plan.unchanged));
    if counts.others > 0 {
        parts.push(format!("{} held, waiting or failing", counts.others));
    }
    let leavers = counted(plan.removals.len(), "user");
    page.paragraph(&format!(
        "{employees} in the CRM: {}; {leavers} to remove.",
        parts.join(", ")
    ));
    for group in grouped(plan.unapproved_holds()) {
        let held = counted_holds(group.kind, group.holds.len());
        page.paragraph(&format!("{held} held."));
    }
    let held_take_overs = plan
        .unapproved_holds()
        .filter(|(key, _)| key.kind == HoldKind::Takeover);
    let concerned = counts.adopted + counts.taken_over + held_take_overs.count();
    let left_alone = plan.drift.foreign.saturating_sub(concerned);
    if view.list.is_complete() && left_alone > 0 {
        let users = counted(left_alone, "other user");
        page.paragraph(&format!("{users} in Wazzup, left alone."));
    }
    page.paragraph(&last_sentence(plan));
}

fn last_sentence(plan: &Plan) -> String {
    if plan.doubts_account() {
        return "Nothing is sent: this looks like another Wazzup account.".to_owned();
    }
    if plan.questions.for_account {
        return "Nothing can be planned before Wazzup's list shows that this is the right account.".to_owned();
    }
    match plan.requests() {
        0 => "Nothing to send.".to_owned(),
        requests => format!("{} to send.", counted(requests, "request")),
    }
}

/// How many employees are concerned by what.
struct Counts {
    added: usize,
    adopted: usize,
    taken_over: usize,
    changed: usize,
    others: usize,
}

impl Counts {
    fn of(view: &PlanView) -> Self {
        let count = |changes| upserts(view, changes).count();
        let added = count(&[Change::Add]);
        let adopted = count(&[Change::Adopt]);
        let taken_over = count(&[Change::TakeOver]);
        let sent_again = count(&[Change::Update, Change::Release, Change::Resend]);
        let changed = sent_again + view.lone_releases().len();
        let accounted = added + adopted + taken_over + changed + view.plan.unchanged;
        Self {
            added,
            adopted,
            taken_over,
            changed,
            others: view.plan.eligible.saturating_sub(accounted),
        }
    }
}

impl PlanView {
    /// Whether nothing speaks against this being the right Wazzup account. If not, nothing is sent, and what is known of
    /// the users says nothing about this account.
    pub(super) fn is_account_known(&self) -> bool {
        !self.plan.doubts_account() && !self.plan.questions.for_account
    }

    /// Releases that are all there is to do about a user: whose phone changes, and how.
    pub(super) fn lone_releases(&self) -> Vec<(&EmployeeId, FieldChange)> {
        let upserted: BTreeSet<&EmployeeId> = self.plan.upserts.iter().map(PlannedUpsert::id).collect();
        let mut releases = Vec::new();
        for release in &self.plan.releases {
            let id = &release.employee.id;
            if upserted.contains(id) {
                continue;
            }
            let user = self.snapshot.users.get(id);
            let phone = user.and_then(|user| user.acknowledged.as_ref()?.phone);
            let change = FieldChange {
                field: "phone",
                from: phone.map(|phone| phone.to_string()),
                to: None,
            };
            releases.push((id, change));
        }
        releases
    }

    /// Employees who are pending for a reason that no other list of the plan shows.
    pub(super) fn pending_for_other_reasons(&self) -> Vec<&EmployeeId> {
        let plan = &self.plan;
        let mut shown: BTreeSet<&str> = plan.unapproved_holds().map(|(key, _)| &*key.user_id).collect();
        shown.extend(plan.waiting_for_leavers.iter().map(|waiting| waiting.id.as_str()));
        shown.extend(plan.upserts.iter().map(|upsert| upsert.id().as_str()));
        shown.extend(plan.backing_off.iter().map(EmployeeId::as_str));
        let pending = plan.pending.iter().filter(|id| !shown.contains(id.as_str()));
        pending.collect()
    }
}
