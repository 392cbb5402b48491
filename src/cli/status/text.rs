//! The status for people.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use super::{
    super::{
        holds::{counted_holds, grouped, missing_ids},
        page::{Advice, Mark, Page},
        text::{ago, counted, in_words, listed_counts, listed_ids, until},
    },
    StatusView,
};
use crate::{
    plan::{Failure, Operation},
    state::{Account, CycleOutcome, HeldLease, LastCycle, PastCycle},
};

const CYCLES_SHOWN: usize = 3;

pub(super) fn write(page: &mut Page, view: &StatusView) {
    let account = &view.overview.account;
    page.line("Account", &view.account);
    if !view.other_accounts.is_empty() {
        let others = listed_ids(&view.other_accounts);
        let unknown = Advice::warning(format!("The state does not know this account. It knows: {others}"))
            .with("correct `account` in the configuration, unless this is a new account");
        page.advice("", &unknown);
    }
    match &account.last_cycle {
        None => write_no_cycle(page, view),
        Some(cycle) => {
            write_last_cycle(page, view, cycle);
            write_employees(page, view, cycle);
        }
    }
    if !view.is_unknown() {
        write_users(page, view);
    }
    write_seats(page, account);
    page.line("Lease", &lease_in_words(account));
    write_holds(page, view);
    write_waiting(page, view);
    write_failing(page, view);
    let added = &view.overview.added_lately;
    if !added.is_empty() {
        let (users, ids) = (counted(added.len(), "user"), listed_ids(added));
        page.line("Added lately", &format!("{users} in 7 days: {ids}"));
        page.remedy("give each of them a role in Wazzup: without one, nobody sees a chat");
    }
    let cycles = &view.overview.recent_cycles;
    for cycle in cycles.iter().take(CYCLES_SHOWN) {
        let (when, deeds) = (ago(account.now, cycle.finished_at), deeds(cycle));
        page.line("Changes", &format!("{when}: {deeds} (cycle {})", cycle.id));
    }
    if account.last_cycle.is_some() && cycles.is_empty() {
        page.line("Changes", "none lately");
    }
}

fn write_no_cycle(page: &mut Page, view: &StatusView) {
    let account = &view.overview.account;
    let is_running = account
        .lease
        .as_ref()
        .is_some_and(|lease| lease.expires_at > account.now);
    let (run, once) = (view.invocation.command("run"), view.invocation.command("once"));
    let advice = Advice::warning("no cycle has ended yet").with(if is_running {
        "wait: a process has taken the lease, and its first cycle is not over yet".to_owned()
    } else {
        format!("{run} starts the daemon, {once} runs one cycle")
    });
    page.advice("Last cycle", &advice);
}

fn write_last_cycle(page: &mut Page, view: &StatusView, cycle: &LastCycle) {
    let account = &view.overview.account;
    let (mark, outcome) = match cycle.outcome {
        CycleOutcome::InSync => (Mark::Good, "in sync"),
        CycleOutcome::Incomplete => (Mark::Warning, "incomplete"),
        CycleOutcome::Failed => (Mark::Bad, "failed"),
    };
    let ended = ago(account.now, cycle.finished_at);
    page.marked("Last cycle", mark, &format!("{outcome}, ended {ended}"));
    let check = view.invocation.command("check");
    if let Some(error) = &cycle.error {
        page.more(error);
        page.remedy(&format!(
            "every cycle tries again by itself; {check} says whether something has to be corrected"
        ));
        page.more(&match account.last_success_at {
            Some(at) => format!("The last cycle that did not fail ended {}.", ago(account.now, at)),
            None => "No cycle has succeeded yet.".to_owned(),
        });
    }
    let quiet_for = account.now.duration_since(cycle.finished_at);
    if quiet_for > view.unhealthy_after {
        let silence = Advice::bad(format!("No cycle has run for {}.", in_words(quiet_for))).with(format!(
            "see whether the daemon is running, and its log; {check} tests what it needs"
        ));
        page.advice("", &silence);
    }
}

fn write_employees(page: &mut Page, view: &StatusView, cycle: &LastCycle) {
    let counts = view.counts;
    let mut parts = vec![format!("{} of {} in sync", counts.in_sync, counts.eligible)];
    parts.extend(listed_counts([
        (counts.failing, "failing"),
        (counts.waiting_for_seat, "waiting for a seat"),
        (counts.pending, "pending"),
    ]));
    if cycle.error.is_some() {
        parts.push("as last counted".to_owned());
    }
    page.line("Employees", &parts.join(", "));
    if counts.missing_ids > 0 {
        page.advice("", &missing_ids(counts.missing_ids, &view.invocation));
    }
}

fn write_users(page: &mut Page, view: &StatusView) {
    let overview = &view.overview;
    let counts = listed_counts([
        (overview.leaving, "of them missing from the CRM"),
        (overview.unsettled, "unsettled"),
    ]);
    let mut parts = vec![format!("{} managed", overview.managed)];
    parts.extend(counts);
    page.line("Users", &parts.join(", "));
    if overview.unsettled > 0 {
        page.more(
            "Unsettled: a request got no answer, so these users are sent again until it is certain what Wazzup has.",
        );
    }
}

fn write_seats(page: &mut Page, account: &Account) {
    let seats = &account.seats;
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
        if account.list_passed_at != Some(counted_at) {
            text.push_str(&format!("; counted {}", ago(account.now, counted_at)));
        }
        page.line("Seats", &text);
    }
    if let Some(at) = account.list_passed_at {
        page.line("Verified", &format!("against Wazzup's list {}", ago(account.now, at)));
    }
}

pub(in super::super) fn lease_in_words(account: &Account) -> String {
    let now = account.now;
    let Some(HeldLease { holder, expires_at }) = &account.lease else {
        return "free: no process is running for this account".to_owned();
    };
    let name = &holder.name;
    if *expires_at <= now {
        format!("expired {}: {name} ended without giving it up", ago(now, *expires_at))
    } else {
        format!("held by {name}, expires {} unless renewed", until(now, *expires_at))
    }
}

fn write_holds(page: &mut Page, view: &StatusView) {
    let managed = usize::try_from(view.overview.managed).unwrap_or(usize::MAX);
    let (approved, waiting): (Vec<_>, Vec<_>) = view.held.iter().partition(|(_, hold)| hold.approved.is_some());
    let is_anything_held = !waiting.is_empty();
    for group in grouped(waiting) {
        page.marked("Held", Mark::Bad, &group.title(managed));
        page.more(&listed_ids(group.ids()));
    }
    if is_anything_held {
        let approve = view.invocation.command("approve");
        page.remedy(&format!("{approve} shows them with names and approves exactly these"));
    }
    for group in grouped(approved) {
        let what = counted_holds(group.kind, group.holds.len());
        page.line(
            "Approved",
            &format!("{what}: the next cycle carries out what is still due"),
        );
        page.more(&listed_ids(group.ids()));
    }
}

fn write_waiting(page: &mut Page, view: &StatusView) {
    if view.waiting_for_seat.is_empty() {
        return;
    }
    let employees = counted(view.waiting_for_seat.len(), "employee");
    let ids = listed_ids(&view.waiting_for_seat);
    let seats = &view.overview.account.seats;
    let used = seats.used.unwrap_or_default();
    let free = seats
        .limit
        .and_then(|limit| limit.checked_sub(used))
        .unwrap_or_default();
    let remedy = if free > 0 {
        let free = counted(free, "free seat");
        format!("nothing: the next cycle tries to fill {free}")
    } else {
        let retry = view.invocation.command("retry");
        format!("remove users in Wazzup or book more seats; {retry} then tries in the next cycle")
    };
    let waiting = Advice::warning(format!("{employees} for a seat: {ids}")).with(remedy);
    page.advice("Waiting", &waiting);
}

/// One paragraph for each kind of failure, the most frequent first.
fn write_failing(page: &mut Page, view: &StatusView) {
    let Some(example) = view.overview.failing.first() else {
        return;
    };
    let mut kinds: BTreeMap<(Operation, &str, &str), Vec<&Failure>> = BTreeMap::new();
    for failure in &view.overview.failing {
        let kind = (failure.operation, &*failure.code, &*failure.detail);
        kinds.entry(kind).or_default().push(failure);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, failures)| Reverse(failures.len()));
    for ((operation, code, detail), failures) in &kinds {
        let what = operation_in_words(*operation);
        let text = format!("{} {what}, {code}: {detail}", failures.len());
        page.marked("Failing", Mark::Bad, &text);
        page.more(&who_and_when(view.overview.account.now, failures));
    }
    let explain = view.invocation.command_for("explain", &example.user_id);
    page.remedy(&format!("{explain} says what to do about one of them"));
}

pub(in super::super) fn operation_in_words(operation: Operation) -> &'static str {
    match operation {
        Operation::Upsert => "not synced",
        Operation::Remove => "not removed",
        Operation::Phone => "without phone",
    }
}

/// `12, 13; tried twice, tried again in 5 min`.
fn who_and_when(now: Timestamp, failures: &[&Failure]) -> String {
    let mut text = listed_ids(failures.iter().map(|failure| &*failure.user_id));
    let attempts = failures.iter().map(|failure| failure.attempts).max();
    let attempts = attempts.unwrap_or_default();
    if attempts > 0 {
        text.push_str(&format!("; tried {}", counted(attempts, "time")));
    }
    match failures.iter().filter_map(|failure| failure.next_attempt_at).min() {
        Some(at) => text.push_str(&format!("; tried again {}", until(now, at))),
        None => text.push_str("; synced as soon as the CRM is corrected"),
    }
    text
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
