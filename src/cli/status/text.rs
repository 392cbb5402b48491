//! The status for people.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    super::{
        holds::{HoldGroup, counted_holds, grouped},
        page::{Mark, Page},
        text::{ago, counted, in_words, listed_ids, printable, until},
    },
    StatusView,
};
use crate::{
    employee::EmployeeId,
    plan::{Hold, HoldKey, HoldKind, Operation},
    state::{Account, Counts, CycleOutcome, LastCycle, OpenFailure, PastCycle},
};

/// Columns of the labels.
pub(super) const MARGIN: usize = 13;

/// How many cycles, kinds of failures, and ids of each list are shown.
const CYCLES_SHOWN: usize = 3;
const KINDS_SHOWN: usize = 4;
const IDS_SHOWN: usize = 8;

/// Writes the status.
pub(super) fn write(page: &mut Page, view: &StatusView) {
    page.line("Account", &printable(&view.account_name));
    write_other_accounts(page, view);
    match &view.account().last_cycle {
        None => write_no_cycle(page, view),
        Some(cycle) => {
            write_last_cycle(page, view, cycle);
            write_employees(page, view, cycle);
        }
    }
    write_users(page, view);
    write_seats(page, view);
    write_verified(page, view.account());
    write_lease(page, view.account());
    write_holds(page, view);
    write_waiting(page, view);
    write_failing(page, view);
    write_added_lately(page, view);
    write_recent_cycles(page, view);
}

fn write_other_accounts(page: &mut Page, view: &StatusView) {
    if view.other_accounts.is_empty() {
        return;
    }
    let others = listed_ids(view.other_accounts.iter().map(String::as_str), IDS_SHOWN);
    page.marked(
        "",
        Mark::Warning,
        &format!("The state does not know this account. It knows: {others}"),
    );
    page.remedy("correct `account` in the configuration, unless this is a new account");
}

fn write_no_cycle(page: &mut Page, view: &StatusView) {
    page.marked("Last cycle", Mark::Warning, "no cycle has ended yet");
    if is_lease_held(view.account()) {
        page.remedy("wait: a process has taken the lease, and its first cycle is not over yet");
    } else {
        let (run, once) = (view.invocation.command("run"), view.invocation.command("once"));
        page.remedy(&format!("{run} starts the daemon, {once} runs one cycle"));
    }
}

fn write_last_cycle(page: &mut Page, view: &StatusView, cycle: &LastCycle) {
    let account = view.account();
    let ended = ago(account.now, cycle.finished_at);
    match cycle.outcome {
        CycleOutcome::InSync => page.marked("Last cycle", Mark::Good, &format!("in sync, ended {ended}")),
        CycleOutcome::Incomplete => {
            page.marked("Last cycle", Mark::Warning, &format!("incomplete, ended {ended}"));
        }
        CycleOutcome::Failed => page.marked("Last cycle", Mark::Bad, &format!("failed, ended {ended}")),
    }
    if let Some(error) = &cycle.error {
        page.more(&printable(error));
        page.remedy(&advice(view, cycle.error_kind.as_deref().unwrap_or_default()));
        page.more(&match account.last_success_at {
            Some(at) => format!("The last cycle that did not fail ended {}.", ago(account.now, at)),
            None => "No cycle has succeeded yet.".to_owned(),
        });
    }
    let quiet_for = account.now.duration_since(cycle.finished_at);
    if quiet_for > view.unhealthy_after {
        let quiet_for = in_words(quiet_for);
        page.marked("", Mark::Bad, &format!("No cycle has run for {quiet_for}."));
        let check = view.invocation.command("check");
        page.remedy(&format!(
            "see whether the daemon is running, and its log; {check} tests what it needs"
        ));
    }
}

/// What an operator does about a cycle that failed.
fn advice(view: &StatusView, error_kind: &str) -> String {
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
    } = cycle.counts;
    let mut parts = vec![format!("{in_sync} of {eligible} in sync")];
    for (count, what) in [
        (failing, "failing"),
        (waiting_for_seat, "waiting for a seat"),
        (pending, "pending"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let mut text = parts.join(", ");
    if cycle.error.is_some() {
        text.push_str(", as last counted");
    }
    page.line("Employees", &text);
    if missing_ids > 0 {
        let rows = counted(missing_ids, "row");
        page.marked(
            "",
            Mark::Warning,
            &format!("{rows} of the CRM without an id (MISSING_ID)"),
        );
        let approve = view.invocation.command("approve");
        page.remedy(&format!(
            "give each row an id: until then, nobody is removed without {approve}"
        ));
    }
}

fn write_users(page: &mut Page, view: &StatusView) {
    let overview = &view.overview;
    if view.is_unknown() {
        return;
    }
    let mut text = format!("{} managed", overview.managed);
    if overview.leaving > 0 {
        text.push_str(&format!(", {} of them missing from the CRM", overview.leaving));
    }
    if overview.unsettled > 0 {
        text.push_str(&format!(", {} unsettled", overview.unsettled));
    }
    page.line("Users", &text);
    if overview.unsettled > 0 {
        page.more(
            "Unsettled: a request got no answer, so these users are sent again until it is certain what Wazzup has.",
        );
    }
}

fn write_seats(page: &mut Page, view: &StatusView) {
    let account = view.account();
    let Some((used, counted_at)) = account.seats_used.zip(account.seats_counted_at) else {
        return;
    };
    let mut text = match account.seats_limit {
        Some(limit) if limit >= used => format!("{used} of {limit} used"),
        Some(limit) => format!("{used} used, more than the limit of {limit} that Wazzup named earlier"),
        None => format!("{used} used"),
    };
    let foreign = account.foreign_users.unwrap_or_default();
    if foreign > 0 {
        text.push_str(&format!(", {foreign} of them by users that are not ours"));
    }
    let counted = ago(account.now, counted_at);
    page.line("Seats", &format!("{text}; Wazzup's list was counted {counted}"));
}

fn write_verified(page: &mut Page, account: &Account) {
    if let Some(at) = account.list_passed_at {
        let ago = ago(account.now, at);
        page.line("Verified", &format!("against Wazzup {ago}"));
    }
}

fn is_lease_held(account: &Account) -> bool {
    account.lease.as_ref().is_some_and(|(_, until)| *until > account.now)
}

/// Who holds the lease.
pub(in super::super) fn lease_in_words(account: &Account) -> String {
    match &account.lease {
        None => "free: no process is running for this account".to_owned(),
        Some((holder, until)) if *until <= account.now => format!(
            "expired {}: {} ended without giving it up",
            ago(account.now, *until),
            printable(&holder.name)
        ),
        Some((holder, expires_at)) => format!(
            "held by {}, expires {} unless renewed",
            printable(&holder.name),
            until(account.now, *expires_at)
        ),
    }
}

fn write_lease(page: &mut Page, account: &Account) {
    page.line("Lease", &lease_in_words(account));
}

fn write_holds(page: &mut Page, view: &StatusView) {
    let managed = usize::try_from(view.overview.managed).unwrap_or(usize::MAX);
    let holds = |approved: bool| {
        let holds = view.overview.holds.iter();
        let holds = holds.filter(move |open| open.hold.approved.is_some() == approved);
        holds.map(|open| (&open.key, &open.hold))
    };
    let waiting: Vec<(&HoldKey, &Hold)> = holds(false).collect();
    let groups = grouped(waiting.iter().copied());
    for (number, group) in groups.iter().enumerate() {
        let label = if number == 0 { "Held" } else { "" };
        page.marked(label, Mark::Bad, &group.title(managed));
        write_held_ids(page, group);
    }
    if !waiting.is_empty() {
        let approve = view.invocation.command("approve");
        page.remedy(&format!("{approve} shows them with names and approves exactly these"));
    }
    let groups = grouped(holds(true));
    for (number, group) in groups.iter().enumerate() {
        let label = if number == 0 { "Approved" } else { "" };
        let what = counted_holds(group.kind, group.holds.len());
        page.line(label, &format!("{what}: the next cycle carries out what is still due"));
        write_held_ids(page, group);
    }
}

fn write_held_ids(page: &mut Page, group: &HoldGroup<'_>) {
    if group.kind != HoldKind::Account {
        let ids = group.holds.iter().map(|(key, _)| &*key.user_id);
        page.more(&listed_ids(ids, IDS_SHOWN));
    }
}

fn write_waiting(page: &mut Page, view: &StatusView) {
    let account = view.account();
    let waiting = &account.waiting_for_seat;
    if waiting.is_empty() {
        return;
    }
    let ids = listed_ids(waiting.iter().map(EmployeeId::as_str), IDS_SHOWN);
    let text = format!("{} for a seat: {ids}", counted(waiting.len(), "employee"));
    page.marked("Waiting", Mark::Warning, &text);
    let used = account.seats_used.unwrap_or_default();
    let free = account.seats_limit.and_then(|limit| limit.checked_sub(used));
    match free {
        Some(free) if free > 0 => {
            page.remedy(&format!(
                "{} free now: the next cycle tries to add as many of them",
                seats_are(free)
            ));
        }
        _ => {
            let retry = view.invocation.command("retry");
            page.remedy(&format!(
                "remove users in Wazzup or book more seats; {retry} then tries in the next cycle"
            ));
        }
    }
}

fn seats_are(count: usize) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", counted(count, "seat"))
}

/// One paragraph for each kind of failure, the most frequent first.
fn write_failing(page: &mut Page, view: &StatusView) {
    let mut kinds: BTreeMap<(Operation, &str, &str), Vec<&OpenFailure>> = BTreeMap::new();
    for failure in &view.overview.failures {
        let kind = (failure.operation, &*failure.code, &*failure.detail);
        kinds.entry(kind).or_default().push(failure);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, failures)| Reverse(failures.len()));
    for (number, ((operation, code, detail), failures)) in kinds.iter().take(KINDS_SHOWN).enumerate() {
        let label = if number == 0 { "Failing" } else { "" };
        let text = format!(
            "{} {}, {}: {}",
            failures.len(),
            operation_in_words(*operation),
            printable(code),
            printable(detail)
        );
        page.marked(label, Mark::Bad, &text);
        page.more(&who_and_when(view.account(), failures));
    }
    if kinds.len() > KINDS_SHOWN {
        let rest = &kinds[KINDS_SHOWN..];
        let more: usize = rest.iter().map(|(_, failures)| failures.len()).sum();
        let kinds = counted(rest.len(), "other kind");
        let all = view.invocation.command("status --format json");
        page.more(&format!("… and {more} more of {kinds}: {all} has them all"));
    }
    if let Some((_, failures)) = kinds.first()
        && let Some(example) = failures.first()
    {
        let explain = view.invocation.command_for("explain", &example.user_id);
        page.remedy(&format!(
            "for each of them, as in {explain}: what is wrong and what to do"
        ));
    }
}

fn operation_in_words(operation: Operation) -> &'static str {
    match operation {
        Operation::Upsert => "not synced",
        Operation::Remove => "not removed",
        Operation::Phone => "without phone",
    }
}

/// `12, 13; tried twice, tried again in 5 min`.
fn who_and_when(account: &Account, failures: &[&OpenFailure]) -> String {
    let mut text = listed_ids(failures.iter().map(|failure| &*failure.user_id), IDS_SHOWN);
    let attempts = failures.iter().map(|failure| failure.attempts).max();
    let attempts = attempts.unwrap_or_default();
    if attempts > 0 {
        let attempts = usize::try_from(attempts).unwrap_or(usize::MAX);
        text.push_str(&format!("; tried {}", counted(attempts, "time")));
    }
    match failures.iter().filter_map(|failure| failure.next_attempt_at).min() {
        Some(at) if at <= account.now => text.push_str("; tried again in the next cycle"),
        Some(at) => text.push_str(&format!("; tried again {}", until(account.now, at))),
        None => text.push_str("; synced as soon as the CRM is corrected"),
    }
    text
}

fn write_added_lately(page: &mut Page, view: &StatusView) {
    let added = &view.overview.added_lately;
    if added.is_empty() {
        return;
    }
    let ids = listed_ids(added.iter().map(String::as_str), IDS_SHOWN);
    page.line(
        "Added lately",
        &format!("{} in 7 days: {ids}", counted(added.len(), "user")),
    );
    page.remedy("give each of them a role in Wazzup: without one, nobody sees a chat");
}

fn write_recent_cycles(page: &mut Page, view: &StatusView) {
    let account = view.account();
    for (number, cycle) in view.overview.cycles.iter().take(CYCLES_SHOWN).enumerate() {
        let label = if number == 0 { "Changes" } else { "" };
        let when = ago(account.now, cycle.finished_at);
        page.line(label, &format!("{when}: {} (cycle {})", deeds(cycle), cycle.id));
    }
    if account.last_cycle.is_some() && view.overview.cycles.is_empty() {
        page.line("Changes", "none lately");
    }
}

/// `3 added, 1 removed`.
fn deeds(cycle: &PastCycle) -> String {
    let counts = [
        (cycle.added, "added"),
        (cycle.adopted, "adopted"),
        (cycle.updated, "changed"),
        (cycle.removed, "removed"),
        (cycle.held, "held"),
    ];
    let mut deeds: Vec<String> = Vec::new();
    for (count, what) in counts {
        if count > 0 {
            deeds.push(format!("{count} {what}"));
        }
    }
    if deeds.is_empty() {
        deeds.push("nobody changed".to_owned());
    }
    if let Some(kind) = &cycle.error_kind {
        deeds.push(format!("failed ({})", printable(kind)));
    }
    deeds.join(", ")
}
