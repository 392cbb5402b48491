//! What the next cycle would do, and whether everybody will fit.

use super::{
    super::{
        Context,
        holds::{grouped, remedy_for_hold},
        page::Advice,
        plan::PlanView,
        text::{ago, counted},
    },
    Findings, Report,
};
use crate::{plan::Coverage, state::Account};

/// The seats of an account, where Wazzup has not said how many there are (its documentation).
const DOCUMENTED_SEATS: usize = 1_000;

pub(super) fn report(report: &mut Report, context: &Context, findings: &Findings) {
    let Some(view) = &findings.plan else {
        let reason = "what the next cycle would do cannot be told yet";
        let advice = Advice::warning(reason).with("first correct the items above");
        report.add("Next cycle", advice);
        return;
    };
    let account = findings.state.account.as_ref();
    if findings.wazzup.is_ok() {
        report_list(report, context, view);
    }
    if view.list.is_complete() {
        report.add("Seats", seats(view, account));
    }
    let next_cycle = next_cycle(context, view, account);
    report.add(
        "Next cycle",
        match findings.wazzup {
            Ok(()) => Advice::good(next_cycle),
            Err(_) => Advice::warning(next_cycle).with("first correct the items above"),
        },
    );
    let (plan, approve) = (
        context.invocation.command("plan"),
        context.invocation.command("approve"),
    );
    for group in grouped(view.plan.unapproved_holds()) {
        let is_known = group.holds.iter().any(|(key, _)| view.snapshot.holds.contains_key(key));
        let once = if is_known { "" } else { ", once a cycle has held this" };
        let remedy = remedy_for_hold(group.kind, &format!("{approve}{once}"));
        let held = Advice::warning(group.title(view.plan.managed));
        report.add("Held", held.with(format!("{plan} names the users; {remedy}")));
    }
}

fn report_list(report: &mut Report, context: &Context, view: &PlanView) {
    let check = context.invocation.command("check");
    let advice = match (view.list.coverage(), &view.list_problem) {
        (Coverage::Complete, _) => Advice::good(format!("complete: {}", counted(view.list.len(), "user"))),
        (Coverage::Incomplete(reason), _) => Advice::warning(format!("it does not prove to be complete: {reason}"))
            .with(format!(
                "run {check} again later; meanwhile, users who were deleted by hand are not noticed"
            )),
        (Coverage::Unavailable(reason), _) | (Coverage::Unread, Some(reason)) => {
            Advice::bad(reason).with(format!("run {check} again: Wazzup answered a moment ago"))
        }
        (Coverage::Unread, None) => return,
    };
    report.add("User list", advice);
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
    let additions = plan.upserts.iter().filter(|upsert| upsert.takes_seat).count() + plan.waiting_for_seat.len();
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

fn next_cycle(context: &Context, view: &PlanView, account: Option<&Account>) -> String {
    let mut sentences = view.summary();
    if !matches!(view.list.coverage(), Coverage::Complete | Coverage::Incomplete(_)) {
        sentences.push("Without Wazzup's list, users who are there already are not recognised.".to_owned());
    }
    if !context.config.policy.removes {
        sentences.push("Nobody is ever removed, since removals.policy is \"keep\".".to_owned());
    }
    if let Some(cycle) = account.and_then(|account| account.last_cycle.as_ref()) {
        sentences.push(format!("The last cycle ended {}.", ago(view.now, cycle.finished_at)));
    }
    sentences.join(" ")
}
