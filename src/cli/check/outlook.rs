//! What the next cycle would do, and whether everybody will fit.

use super::{
    super::{
        holds::{HoldGroup, grouped},
        page::Advice,
        plan::PlanView,
        text::{ago, counted},
    },
    Findings, Report, Setup, is_usable,
};
use crate::{
    plan::{Change, Coverage, HoldKind, Plan, PlannedUpsert},
    state::Account,
};

/// The seats of an account, where Wazzup has not said how many there are (its documentation).
const DOCUMENTED_SEATS: usize = 1_000;

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let Some(view) = &findings.plan else {
        let reason = "what the next cycle would do cannot be told yet";
        let advice = Advice::warning(reason).with("first correct the items above");
        report.add("Next cycle", advice);
        return;
    };
    let account = findings.state.account.as_ref();
    if view.list.is_complete() {
        report.add("Seats", seats(view, account));
    }
    let next_cycle = next_cycle(setup, view, account);
    let next_cycle = if is_usable(&findings.wazzup) {
        Advice::good(next_cycle)
    } else {
        Advice::warning(format!("once Wazzup can be used, it {next_cycle}")).with("first correct the items above")
    };
    report.add("Next cycle", next_cycle);
    for group in grouped(view.plan.unapproved_holds()) {
        report.add("Held", hold(setup, view, &group));
    }
}

fn seats(view: &PlanView, account: Option<&Account>) -> Advice {
    let plan = &view.plan;
    let used = view.list.len();
    // A limit that is exceeded has been raised since.
    let known = account.and_then(|account| account.seats.limit);
    let known = known.filter(|limit| *limit >= used);
    let limit = known.unwrap_or(DOCUMENTED_SEATS);
    let source = if known.is_some() { "" } else { " (documented)" };
    let mut reason = format!("{used} of {limit}{source} used");
    if plan.drift.foreign > 0 {
        reason.push_str(&format!(", {} of them by users that are not ours", plan.drift.foreign));
    }
    let additions = count_upserts(plan, |upsert| upsert.takes_seat) + plan.waiting_for_seat.len();
    let needed = (used + additions).saturating_sub(plan.removals.len());
    if needed <= limit || additions == 0 {
        return Advice::good(format!("{reason}; {needed} after the next cycle"));
    }
    let waiting = counted((needed - limit).min(additions), "employee");
    Advice::warning(format!(
        "{reason}; {needed} are needed: {waiting} will have to wait for a seat"
    ))
    .with("book more seats, or remove users in Wazzup whom nobody needs")
}

fn count_upserts(plan: &Plan, is_meant: impl Fn(&PlannedUpsert) -> bool) -> usize {
    plan.upserts.iter().filter(|upsert| is_meant(upsert)).count()
}

fn next_cycle(setup: Setup<'_>, view: &PlanView, account: Option<&Account>) -> String {
    let mut text = if view.plan.doubts_account() {
        "would send nothing, since this looks like another Wazzup account".to_owned()
    } else if view.plan.questions.for_account {
        "would send nothing before Wazzup's list shows that this is the right account".to_owned()
    } else {
        deeds(view)
    };
    if !matches!(view.list.coverage(), Coverage::Complete | Coverage::Incomplete(_)) {
        text.push_str("; without Wazzup's list, users who are there already are not recognised");
    }
    if !setup.config.policy.removes {
        text.push_str("; removals.policy is \"keep\", so nobody is ever removed");
    }
    if let Some(cycle) = account.and_then(|account| account.last_cycle.as_ref()) {
        text.push_str(&format!("; the last cycle ended {}", ago(view.now, cycle.finished_at)));
    }
    text
}

/// `would add 3, remove 2, in 10 requests; 60 unchanged`.
fn deeds(view: &PlanView) -> String {
    let plan = &view.plan;
    let count = |changes: &[Change]| count_upserts(plan, |upsert| changes.contains(&upsert.entry.change));
    let changed = count(&[Change::Update, Change::Release, Change::Resend]) + view.lone_releases().len();
    let counts = [
        ("add", count(&[Change::Add])),
        ("adopt", count(&[Change::Adopt])),
        ("take over", count(&[Change::TakeOver])),
        ("change", changed),
        ("remove", plan.removals.len()),
    ];
    let mut deeds = Vec::new();
    for (deed, count) in counts {
        if count > 0 {
            deeds.push(format!("{deed} {count}"));
        }
    }
    let mut text = if deeds.is_empty() {
        "would send nothing".to_owned()
    } else {
        format!("would {}, in {}", deeds.join(", "), counted(plan.requests(), "request"))
    };
    text.push_str(&format!("; {} unchanged", plan.unchanged));
    let waiting = plan.waiting_for_leavers.len() + plan.waiting_for_seat.len() + plan.backing_off.len();
    if waiting > 0 {
        text.push_str(&format!(", {waiting} waiting"));
    }
    text
}

fn hold(setup: Setup<'_>, view: &PlanView, group: &HoldGroup<'_>) -> Advice {
    let is_known = group.holds.iter().any(|(key, _)| view.snapshot.holds.contains_key(key));
    let title = group.title(view.plan.managed);
    let (plan, approve) = (setup.invocation.command("plan"), setup.invocation.command("approve"));
    let (reason, if_so) = if is_known {
        (title, format!("If so: {approve}"))
    } else {
        (
            format!("would be held: {title}"),
            format!("If so, once a cycle has held this: {approve}"),
        )
    };
    let question = match group.kind {
        HoldKind::Account => {
            "are the key and wazzup.base_url right, and shall this account be used from now on?".to_owned()
        }
        HoldKind::Remove => {
            format!("are crm.table, crm.columns.active and the rows right ({plan} names the users)?")
        }
        HoldKind::Update => format!("are crm.columns and the rows right ({plan} shows the old and new values)?"),
        HoldKind::Takeover => format!("are these users the same people ({plan} shows both names)?"),
    };
    Advice::warning(reason).with(format!("{question} {if_so}"))
}
