//! The status for people.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use super::{
    super::{
        holds::{HoldGroup, counted_holds, grouped},
        page::{Advice, Mark, Page},
        text::{ago, counted, in_words, listed_counts, listed_ids, times, until},
    },
    LeaseView, StatusView,
};
use crate::{
    plan::{Failure, HoldKind, Operation},
    state::{Counts, CycleOutcome, LastCycle, PastCycle},
};

/// Columns of the labels.
pub(super) const MARGIN: usize = 13;

/// How many cycles, kinds of failures, and ids of each list are shown.
const CYCLES_SHOWN: usize = 3;
const KINDS_SHOWN: usize = 4;
const IDS_SHOWN: usize = 8;

/// Writes the status.
pub(super) fn write(page: &mut Page, view: &StatusView) {
    page.line("Account", &view.account);
    if !view.other_accounts.is_empty() {
        let others = listed_ids(&view.other_accounts, IDS_SHOWN);
        let unknown = Advice::warning(format!("The state does not know this account. It knows: {others}"))
            .with("correct `account` in the configuration, unless this is a new account");
        page.advice("", &unknown);
    }
    match &view.last_cycle {
        None => write_no_cycle(page, view),
        Some(cycle) => {
            write_last_cycle(page, view, cycle);
            write_employees(page, view, cycle);
        }
    }
    if !view.is_unknown() {
        write_users(page, view);
    }
    write_seats(page, view);
    page.line("Lease", &lease_in_words(view.lease.as_ref(), view.now));
    write_holds(page, view);
    write_waiting(page, view);
    write_failing(page, view);
    if !view.added_lately.is_empty() {
        let users = counted(view.added_lately.len(), "user");
        let ids = listed_ids(&view.added_lately, IDS_SHOWN);
        page.line("Added lately", &format!("{users} in 7 days: {ids}"));
        page.remedy("give each of them a role in Wazzup: without one, nobody sees a chat");
    }
    write_recent_cycles(page, view);
}

fn write_no_cycle(page: &mut Page, view: &StatusView) {
    let is_running = view.lease.as_ref().is_some_and(|lease| lease.expires_at > view.now);
    let (run, once) = (view.invocation.command("run"), view.invocation.command("once"));
    let advice = Advice::warning("no cycle has ended yet").with(if is_running {
        "wait: a process has taken the lease, and its first cycle is not over yet".to_owned()
    } else {
        format!("{run} starts the daemon, {once} runs one cycle")
    });
    page.advice("Last cycle", &advice);
}

fn write_last_cycle(page: &mut Page, view: &StatusView, cycle: &LastCycle) {
    let (mark, outcome) = match cycle.outcome {
        CycleOutcome::InSync => (Mark::Good, "in sync"),
        CycleOutcome::Incomplete => (Mark::Warning, "incomplete"),
        CycleOutcome::Failed => (Mark::Bad, "failed"),
    };
    let ended = ago(view.now, cycle.finished_at);
    page.marked("Last cycle", mark, &format!("{outcome}, ended {ended}"));
    if let Some(error) = &cycle.error {
        page.more(error);
        page.remedy(&remedy_for_error(view, cycle.error_kind.as_deref().unwrap_or_default()));
        page.more(&match view.last_success_at {
            Some(at) => format!("The last cycle that did not fail ended {}.", ago(view.now, at)),
            None => "No cycle has succeeded yet.".to_owned(),
        });
    }
    let quiet_for = view.now.duration_since(cycle.finished_at);
    if quiet_for > view.unhealthy_after {
        let check = view.invocation.command("check");
        let silence = Advice::bad(format!("No cycle has run for {}.", in_words(quiet_for))).with(format!(
            "see whether the daemon is running, and its log; {check} tests what it needs"
        ));
        page.advice("", &silence);
    }
}

/// What an operator does about a cycle that failed.
fn remedy_for_error(view: &StatusView, error_kind: &str) -> String {
    let check = view.invocation.command("check");
    match error_kind {
        "crm_unavailable" => {
            "start the CRM's database, or correct crm.url; the next cycle then works by itself".to_owned()
        }
        "crm_query" => format!("{check} names the table, column or right that is wrong"),
        "state_unavailable" => {
            "start the state database, or correct state.url; the next cycle then works by itself".to_owned()
        }
        "state_refused" => format!("{check} says what the role of state.url lacks"),
        "wazzup_unauthorized" => "put a valid API key in place: the next cycle reads it, without a restart".to_owned(),
        "wazzup_not_found" => format!("correct wazzup.base_url; {check} tests it"),
        "wazzup_unavailable" => {
            format!("nothing, unless this lasts: every cycle tries again; {check} tries now")
        }
        "lease_lost" => "nothing: another copy has taken over".to_owned(),
        "lease_too_short" => "if this happens again, make state.lease longer or wazzup.timeout shorter".to_owned(),
        "interrupted" => "nothing: the cycle was stopped, and the next one continues".to_owned(),
        _ => "the log says more".to_owned(),
    }
}

fn write_employees(page: &mut Page, view: &StatusView, cycle: &LastCycle) {
    let Counts {
        eligible,
        in_sync,
        failing,
        waiting_for_seat,
        pending,
        missing_ids,
    } = view.counts;
    let others = listed_counts([
        (failing, "failing"),
        (waiting_for_seat, "waiting for a seat"),
        (pending, "pending"),
    ]);
    let mut text = format!("{in_sync} of {eligible} in sync");
    for count in others {
        text.push_str(&format!(", {count}"));
    }
    if cycle.error.is_some() {
        text.push_str(", as last counted");
    }
    page.line("Employees", &text);
    if missing_ids > 0 {
        let approve = view.invocation.command("approve");
        let rows = counted(missing_ids, "row");
        let missing = Advice::warning(format!("{rows} of the CRM without an id (MISSING_ID)")).with(format!(
            "give each row an id: until then, nobody is removed without {approve}"
        ));
        page.advice("", &missing);
    }
}

fn write_users(page: &mut Page, view: &StatusView) {
    let mut text = format!("{} managed", view.managed);
    if view.leaving > 0 {
        text.push_str(&format!(", {} of them missing from the CRM", view.leaving));
    }
    if view.unsettled > 0 {
        text.push_str(&format!(", {} unsettled", view.unsettled));
    }
    page.line("Users", &text);
    if view.unsettled > 0 {
        page.more(
            "Unsettled: a request got no answer, so these users are sent again until it is certain what Wazzup has.",
        );
    }
}

fn write_seats(page: &mut Page, view: &StatusView) {
    let seats = &view.seats;
    if let Some((used, counted_at)) = seats.used.zip(seats.counted_at) {
        let mut text = match seats.limit {
            Some(limit) if limit >= used => format!("{used} of {limit} used"),
            Some(limit) => format!("{used} used, more than the limit of {limit} that Wazzup named earlier"),
            None => format!("{used} used"),
        };
        let foreign = seats.foreign.unwrap_or_default();
        if foreign > 0 {
            text.push_str(&format!(", {foreign} of them by users that are not ours"));
        }
        // Mostly, the line below tells this time.
        if view.list_passed_at != Some(counted_at) {
            text.push_str(&format!("; counted {}", ago(view.now, counted_at)));
        }
        page.line("Seats", &text);
    }
    if let Some(at) = view.list_passed_at {
        page.line("Verified", &format!("against Wazzup's list {}", ago(view.now, at)));
    }
}

/// Who holds the lease.
pub(in super::super) fn lease_in_words(lease: Option<&LeaseView>, now: Timestamp) -> String {
    let Some(LeaseView { holder, expires_at, .. }) = lease else {
        return "free: no process is running for this account".to_owned();
    };
    if *expires_at <= now {
        format!("expired {}: {holder} ended without giving it up", ago(now, *expires_at))
    } else {
        format!("held by {holder}, expires {} unless renewed", until(now, *expires_at))
    }
}

fn write_holds(page: &mut Page, view: &StatusView) {
    let managed = usize::try_from(view.managed).unwrap_or(usize::MAX);
    let groups = |approved: bool| {
        let holds = view.held.iter();
        let holds = holds.filter(|open| open.hold.approved.is_some() == approved);
        grouped(holds.map(|open| (&open.key, &open.hold)))
    };
    let waiting = groups(false);
    for (number, group) in waiting.iter().enumerate() {
        page.marked(label_of(number, "Held"), Mark::Bad, &group.title(managed));
        write_held_ids(page, group);
    }
    if !waiting.is_empty() {
        let approve = view.invocation.command("approve");
        page.remedy(&format!("{approve} shows them with names and approves exactly these"));
    }
    for (number, group) in groups(true).iter().enumerate() {
        let what = counted_holds(group.kind, group.holds.len());
        let text = format!("{what}: the next cycle carries out what is still due");
        page.line(label_of(number, "Approved"), &text);
        write_held_ids(page, group);
    }
}

/// Only the first of several paragraphs has the label.
fn label_of(number: usize, label: &str) -> &str {
    if number == 0 { label } else { "" }
}

fn write_held_ids(page: &mut Page, group: &HoldGroup<'_>) {
    if group.kind != HoldKind::Account {
        let ids = group.holds.iter().map(|(key, _)| &*key.user_id);
        page.more(&listed_ids(ids, IDS_SHOWN));
    }
}

fn write_waiting(page: &mut Page, view: &StatusView) {
    if view.waiting_for_seat.is_empty() {
        return;
    }
    let employees = counted(view.waiting_for_seat.len(), "employee");
    let ids = listed_ids(&view.waiting_for_seat, IDS_SHOWN);
    let retry = view.invocation.command("retry");
    let used = view.seats.used.unwrap_or_default();
    let free = view.seats.limit.and_then(|limit| limit.checked_sub(used));
    let remedy = match free {
        None | Some(0) => {
            format!("remove users in Wazzup or book more seats; {retry} then tries in the next cycle")
        }
        Some(1) => "1 seat is free now: the next cycle tries to add one of them".to_owned(),
        Some(free) => format!("{free} seats are free now: the next cycle tries to add as many of them"),
    };
    let waiting = Advice::warning(format!("{employees} for a seat: {ids}")).with(remedy);
    page.advice("Waiting", &waiting);
}

/// One paragraph for each kind of failure, the most frequent first.
fn write_failing(page: &mut Page, view: &StatusView) {
    let Some(example) = view.failing.first() else {
        return;
    };
    let mut kinds: BTreeMap<(Operation, &str, &str), Vec<&Failure>> = BTreeMap::new();
    for failure in &view.failing {
        let kind = (failure.operation, &*failure.code, &*failure.detail);
        kinds.entry(kind).or_default().push(failure);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, failures)| Reverse(failures.len()));
    for (number, ((operation, code, detail), failures)) in kinds.iter().take(KINDS_SHOWN).enumerate() {
        let what = operation_in_words(*operation);
        let text = format!("{} {what}, {code}: {detail}", failures.len());
        page.marked(label_of(number, "Failing"), Mark::Bad, &text);
        page.more(&who_and_when(view.now, failures));
    }
    if kinds.len() > KINDS_SHOWN {
        let rest = &kinds[KINDS_SHOWN..];
        let more: usize = rest.iter().map(|(_, failures)| failures.len()).sum();
        let kinds = counted(rest.len(), "other kind");
        let all = view.invocation.command("status --format json");
        page.more(&format!("… and {more} more of {kinds}: {all} has them all"));
    }
    let explain = view.invocation.command_for("explain", &example.user_id);
    page.remedy(&format!("{explain} says what to do about one of them"));
}

/// What a failure means for the user.
pub(in super::super) fn operation_in_words(operation: Operation) -> &'static str {
    match operation {
        Operation::Upsert => "not synced",
        Operation::Remove => "not removed",
        Operation::Phone => "without phone",
    }
}

/// `12, 13; tried twice, tried again in 5 min`.
fn who_and_when(now: Timestamp, failures: &[&Failure]) -> String {
    let mut text = listed_ids(failures.iter().map(|failure| &*failure.user_id), IDS_SHOWN);
    let attempts = failures.iter().map(|failure| failure.attempts).max();
    let attempts = attempts.unwrap_or_default();
    if attempts > 0 {
        text.push_str(&format!("; tried {}", times(attempts)));
    }
    match failures.iter().filter_map(|failure| failure.next_attempt_at).min() {
        Some(at) if at <= now => text.push_str("; tried again in the next cycle"),
        Some(at) => text.push_str(&format!("; tried again {}", until(now, at))),
        None => text.push_str("; synced as soon as the CRM is corrected"),
    }
    text
}

fn write_recent_cycles(page: &mut Page, view: &StatusView) {
    for (number, cycle) in view.recent_cycles.iter().take(CYCLES_SHOWN).enumerate() {
        let when = ago(view.now, cycle.finished_at);
        let text = format!("{when}: {} (cycle {})", deeds(cycle), cycle.id);
        page.line(label_of(number, "Changes"), &text);
    }
    if view.last_cycle.is_some() && view.recent_cycles.is_empty() {
        page.line("Changes", "none lately");
    }
}

/// `3 added, 1 removed`.
fn deeds(cycle: &PastCycle) -> String {
    let mut deeds = listed_counts([
        (cycle.added, "added"),
        (cycle.adopted, "adopted"),
        (cycle.updated, "changed"),
        (cycle.removed, "removed"),
        (cycle.held, "held"),
    ]);
    if deeds.is_empty() {
        deeds.push("nobody changed".to_owned());
    }
    if let Some(kind) = &cycle.error_kind {
        deeds.push(format!("failed ({kind})"));
    }
    deeds.join(", ")
}
