//! `status`: how the account stands. Reads the state only.

use std::{collections::BTreeMap, io::Write};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    Error, Exit, Format, setup,
    text::{Mark, Page, ago, counted, counted_len, ids, in_words, until},
};
use crate::{
    config::Config,
    plan::printable,
    state::{Account, Counts, LastCycle, OpenFailure, Overview, PastCycle},
};

/// How many cycles are listed in JSON, and on the screen.
const CYCLES: u32 = 20;
const CYCLES_SHOWN: usize = 3;

/// How many kinds of failures and ids of each list are shown on the screen.
const KINDS_SHOWN: usize = 4;
const IDS_SHOWN: usize = 8;

pub(super) async fn status(config: &Config, format: Format) -> Result<Exit, Error> {
    let state = setup::state(config);
    let overview = if state.is_there().await? {
        state.overview(CYCLES).await?
    } else {
        Overview::default()
    };
    let mut out = std::io::stdout().lock();
    match format {
        Format::Text => {
            let unhealthy_after = setup::signed(config.schedule.unhealthy_after);
            let page = Page::for_stdout(13);
            write!(out, "{}", text(page, &config.account, &overview, unhealthy_after))?;
        }
        Format::Json => writeln!(out, "{:#}", to_json(&config.account, &overview))?,
    }
    Ok(Exit::Ok)
}

/// Everybody who waits for a seat: no failure of theirs.
fn is_seat(failure: &OpenFailure) -> bool {
    failure.operation == "seat"
}

fn to_json(name: &str, overview: &Overview) -> Value {
    let Overview {
        account,
        managed,
        leaving,
        failures,
        held,
        cycles,
    } = overview;
    let failing = failures.iter().filter(|it| !is_seat(it)).map(|it| {
        json!({
            "user_id": it.user_id,
            "operation": it.operation,
            "code": it.code,
            "detail": it.detail,
            "attempts": it.attempts,
            "request_id": it.request_id,
            "first_at": it.first_at,
            "next_attempt_at": it.next_attempt_at,
        })
    });
    let removals = |approved: bool| -> Vec<&str> {
        let removals = held.iter().filter(|it| it.approved == approved);
        removals.map(|it| it.user_id.as_str()).collect()
    };
    let counts = account.last_cycle.as_ref().map(|it| it.counts).unwrap_or_default();
    json!({
        "account": name,
        "eligible": counts.eligible,
        "in_sync": counts.in_sync,
        "pending": counts.pending,
        "counts": {
            "eligible": counts.eligible,
            "in_sync": counts.in_sync,
            "failing": counts.failing,
            "waiting_for_seat": counts.waiting_for_seat,
            "pending": counts.pending,
        },
        "missing_ids": counts.missing_ids,
        "managed": managed,
        "leaving": leaving,
        "failing": failing.collect::<Vec<_>>(),
        "waiting_for_seat": failures.iter().filter(|it| is_seat(it)).map(|it| &it.user_id).collect::<Vec<_>>(),
        "held_removals": removals(false),
        "approved_removals": removals(true),
        "last_cycle": account.last_cycle.as_ref().map(|it| json!({
            "id": it.id,
            "outcome": it.outcome,
            "started_at": it.started_at,
            "finished_at": it.finished_at,
            "error": it.error,
            "error_kind": it.error_kind,
        })),
        "last_success_at": account.last_success_at,
        "last_verified_at": account.last_verified_at,
        "seats": {
            "used": account.seats_used,
            "foreign": account.foreign_users,
            "limit": account.seats_limit,
            "counted_at": account.seats_counted_at,
        },
        "lease": account.lease.as_ref().map(|(holder, expires_at)| json!({
            "holder": holder.name,
            "host": holder.host,
            "expires_at": expires_at,
        })),
        "recent_cycles": cycles.iter().map(cycle_to_json).collect::<Vec<_>>(),
    })
}

fn cycle_to_json(cycle: &PastCycle) -> Value {
    let PastCycle {
        id,
        started_at,
        finished_at,
        outcome,
        error_kind,
        requests,
        added,
        updated,
        removed,
        held,
    } = cycle;
    json!({
        "id": id, "started_at": started_at, "finished_at": finished_at, "outcome": outcome, "error_kind": error_kind,
        "requests": requests, "added": added, "updated": updated, "removed": removed, "held": held,
    })
}

fn text(mut page: Page, name: &str, overview: &Overview, unhealthy_after: SignedDuration) -> String {
    let account = &overview.account;
    page.line("Account", &printable(name));
    match &account.last_cycle {
        None => {
            page.marked("Last cycle", Mark::Warning, "no cycle has ended yet");
            page.remedy("`wazzup-sync run` starts the daemon, `wazzup-sync once` runs one cycle");
        }
        Some(cycle) => {
            last_cycle(&mut page, account, cycle, unhealthy_after);
            employees(&mut page, &cycle.counts, overview);
        }
    }
    seats(&mut page, account);
    lease(&mut page, account);
    held(&mut page, overview);
    waiting(&mut page, overview);
    failing(&mut page, overview);
    recent(&mut page, overview);
    page.into_text()
}

fn last_cycle(page: &mut Page, account: &Account, cycle: &LastCycle, unhealthy_after: SignedDuration) {
    let ended = ago(account.now, cycle.finished_at);
    let (mark, outcome) = match cycle.outcome.as_str() {
        "in_sync" => (Mark::Good, "in sync"),
        "incomplete" => (Mark::Warning, "incomplete: see below"),
        _ => (Mark::Bad, "failed"),
    };
    page.marked("Last cycle", mark, &format!("{outcome}; ended {ended}"));
    if let Some(error) = &cycle.error {
        page.more(&printable(error));
        page.remedy(advice(cycle.error_kind.as_deref().unwrap_or_default()));
        page.more(&match account.last_success_at {
            Some(at) => format!("The last one that did not fail ended {}.", ago(account.now, at)),
            None => "None has succeeded yet.".to_owned(),
        });
    }
    if account.now.duration_since(cycle.finished_at) > unhealthy_after {
        page.marked("", Mark::Bad, "nothing has happened since: is the daemon running?");
        page.remedy("look at its log; `wazzup-sync check` says whether everything it needs is there");
    }
}

/// What an operator does about a cycle that failed.
fn advice(error_kind: &str) -> &'static str {
    match error_kind {
        "crm_unavailable" => "bring the CRM's database up, or correct crm.url; then it goes on by itself",
        "crm_query" => "`wazzup-sync check` names the table, column or right that is wrong",
        "state_unavailable" => "bring the state database up, or correct state.url; then it goes on by itself",
        "state_refused" => "`wazzup-sync check` says what the role of state.url lacks",
        "wazzup_unauthorized" => "put a valid API key in place: the next cycle reads it, without a restart",
        "wazzup_unavailable" => "nothing, unless it lasts: every cycle tries again. `wazzup-sync check` tries now",
        "lease_lost" => "nothing: another copy has taken over, and goes on",
        "lease_too_short" => "make state.lease longer, or wazzup.timeout shorter, if this comes again",
        "interrupted" => "nothing: it was stopped, and the next cycle goes on where it was",
        _ => "see the log",
    }
}

fn employees(page: &mut Page, counts: &Counts, overview: &Overview) {
    let Counts {
        eligible,
        in_sync,
        failing,
        waiting_for_seat,
        pending,
        missing_ids,
    } = counts;
    page.line(
        "Employees",
        &format!(
            "{eligible} = {in_sync} in sync + {failing} failing + {waiting_for_seat} waiting for a seat + {pending} pending"
        ),
    );
    if overview
        .account
        .last_cycle
        .as_ref()
        .is_some_and(|it| it.error.is_some())
    {
        page.more("as counted by the last cycle that could");
    }
    if *missing_ids > 0 {
        let rows = counted_len(*missing_ids, "row");
        page.marked("", Mark::Warning, &format!("{rows} without an id (MISSING_ID) besides"));
        page.remedy("give them ids in the CRM: until then nobody is removed without `approve`");
    }
    let leaving = match overview.leaving {
        0 => String::new(),
        leaving => format!("; {leaving} of them left the CRM and stay for now"),
    };
    page.line("Users", &format!("{} managed{leaving}", overview.managed));
}

fn seats(page: &mut Page, account: &Account) {
    let Some((used, counted_at)) = account.seats_used.zip(account.seats_counted_at) else {
        return;
    };
    let (now, foreign) = (account.now, account.foreign_users.unwrap_or_default());
    let of = match account.seats_limit {
        Some(limit) if limit >= used => format!("{used} of {limit} used"),
        Some(limit) => format!("{used} used, more than the limit of {limit} that Wazzup named earlier"),
        None => format!("{used} used"),
    };
    let foreign = match foreign {
        0 => String::new(),
        foreign => format!(", {foreign} by foreign users, which are left alone"),
    };
    page.line("Seats", &format!("{of}{foreign}; counted {}", ago(now, counted_at)));
    if let Some(at) = account.last_verified_at {
        let text = format!("{}: our users compared with Wazzup's own list", ago(now, at));
        page.line("Verified", &text);
    }
}

fn lease(page: &mut Page, account: &Account) {
    let text = match &account.lease {
        None => "held by nobody: no daemon is running for this account".to_owned(),
        Some((holder, expires_at)) if *expires_at <= account.now => format!(
            "run out {}: {} ended without giving it up",
            ago(account.now, *expires_at),
            printable(&holder.name)
        ),
        Some((holder, expires_at)) => {
            let left = in_words(expires_at.duration_since(account.now));
            format!("held by {}, for {left} if not renewed", printable(&holder.name))
        }
    };
    page.line("Lease", &text);
}

fn held(page: &mut Page, overview: &Overview) {
    let removals = |approved: bool| overview.held.iter().filter(move |it| it.approved == approved);
    let count = removals(false).count();
    if count > 0 {
        let shown = ids(removals(false).map(|it| it.user_id.as_str()), IDS_SHOWN);
        let removals = counted_len(count, "removal");
        page.marked("Held", Mark::Bad, &format!("{removals}: {shown}"));
        page.remedy("`wazzup-sync approve` lists them by name and lets them go; who comes back to the CRM stays");
    }
    let count = removals(true).count();
    if count > 0 {
        let shown = ids(removals(true).map(|it| it.user_id.as_str()), IDS_SHOWN);
        let removals = counted_len(count, "held removal");
        page.line(
            "Approved",
            &format!("{removals}, which the next cycle carries out: {shown}"),
        );
    }
}

fn waiting(page: &mut Page, overview: &Overview) {
    let waiting: Vec<_> = overview.failures.iter().filter(|it| is_seat(it)).collect();
    if waiting.is_empty() {
        return;
    }
    let shown = ids(waiting.iter().map(|it| it.user_id.as_str()), IDS_SHOWN);
    let text = format!("{} for a seat: {shown}", waiting.len());
    page.marked("Waiting", Mark::Warning, &text);
    page.remedy("remove users in Wazzup or book more seats; `wazzup-sync retry` then tries at once");
}

/// One paragraph for each kind of failure, the most frequent first.
fn failing(page: &mut Page, overview: &Overview) {
    let mut kinds: BTreeMap<(&str, &str, &str), Vec<&OpenFailure>> = BTreeMap::new();
    for it in overview.failures.iter().filter(|it| !is_seat(it)) {
        kinds.entry((&it.operation, &it.code, &it.detail)).or_default().push(it);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, failures)| std::cmp::Reverse(failures.len()));
    for (number, ((operation, code, detail), failures)) in kinds.iter().take(KINDS_SHOWN).enumerate() {
        let label = if number == 0 { "Failing" } else { "" };
        let operation = match *operation {
            "remove" => "not removed",
            "phone" => "without their phone",
            _ => "not synced",
        };
        let text = format!("{} {operation}, {code}: {}", failures.len(), printable(detail));
        page.marked(label, Mark::Bad, &text);
        let next = failures.iter().filter_map(|it| it.next_attempt_at).min();
        let attempts = failures.iter().map(|it| it.attempts).max().unwrap_or_default();
        let tried = match u64::try_from(attempts).unwrap_or_default() {
            0 => String::new(),
            attempts => format!("; tried {}", counted(attempts, "time")),
        };
        let again = match next {
            None => "; next when the CRM's row changes".to_owned(),
            Some(at) => format!(", next {}", until(overview.account.now, at)),
        };
        let shown = ids(failures.iter().map(|it| it.user_id.as_str()), IDS_SHOWN);
        page.more(&format!("{shown}{tried}{again}"));
    }
    if kinds.len() > KINDS_SHOWN {
        let more: usize = kinds.iter().skip(KINDS_SHOWN).map(|it| it.1.len()).sum();
        page.more(&format!(
            "… and {more} more of {}: `wazzup-sync status --format json` has them all",
            counted_len(kinds.len() - KINDS_SHOWN, "kind")
        ));
    }
    if !kinds.is_empty() {
        page.remedy("`wazzup-sync explain ID` tells all about one of them");
    }
}

fn recent(page: &mut Page, overview: &Overview) {
    for (number, cycle) in overview.cycles.iter().take(CYCLES_SHOWN).enumerate() {
        let did = [
            (cycle.added, "added"),
            (cycle.updated, "changed"),
            (cycle.removed, "removed"),
            (cycle.held, "held"),
        ];
        let did: Vec<String> = did
            .iter()
            .filter(|it| it.0 > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let mut did = did.join(", ");
        if did.is_empty() {
            did = "nobody changed".into();
        }
        if let Some(kind) = &cycle.error_kind {
            did = format!("{did}; failed: {kind}");
        }
        let label = if number == 0 { "Changes" } else { "" };
        let when = ago(overview.account.now, cycle.finished_at);
        page.line(label, &format!("cycle {}, {when}: {did}", cycle.id));
    }
    if overview.account.last_cycle.is_some() && overview.cycles.is_empty() {
        page.line("Changes", "none lately");
    }
}

/// Who holds the lease; `None` if nobody does.
pub(super) fn lease_in_words(account: &Account) -> Option<String> {
    let (holder, expires_at) = account.lease.as_ref().filter(|it| it.1 > account.now)?;
    Some(format!(
        "{} holds it; it runs out {} unless renewed",
        printable(&holder.name),
        until(account.now, *expires_at)
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::state::{Held, Holder};

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("a time")
    }

    fn failure(id: &str, operation: &str, code: &str, minutes: Option<i64>) -> OpenFailure {
        OpenFailure {
            user_id: id.into(),
            operation: operation.into(),
            code: code.into(),
            detail: "our own words: what to do".into(),
            request_id: None,
            attempts: i32::from(minutes.is_some()),
            first_at: now() - HOUR,
            next_attempt_at: minutes.map(|it| now() + SignedDuration::from_mins(it)),
        }
    }

    fn overview(outcome: &str, error: Option<&str>) -> Overview {
        Overview {
            account: Account {
                now: now(),
                lease: Some((
                    Holder {
                        name: "crm-host/7/0a1b".into(),
                        host: "crm-host".into(),
                    },
                    now() + SignedDuration::from_secs(80),
                )),
                last_cycle: Some(LastCycle {
                    id: 42,
                    outcome: outcome.into(),
                    started_at: now() - HOUR,
                    finished_at: now() - SignedDuration::from_secs(12),
                    error_kind: error.map(|_| "wazzup_unauthorized".into()),
                    error: error.map(Into::into),
                    counts: Counts {
                        eligible: 1_000,
                        in_sync: 990,
                        failing: 7,
                        waiting_for_seat: 2,
                        pending: 1,
                        missing_ids: 1,
                    },
                }),
                last_success_at: Some(now() - HOUR),
                seats_used: Some(1_000),
                foreign_users: Some(3),
                seats_limit: Some(1_000),
                seats_counted_at: Some(now() - HOUR),
                ..Account::default()
            },
            managed: 1_000,
            leaving: 4,
            ..Overview::default()
        }
    }

    fn shown(overview: &Overview) -> String {
        text(Page::plain(13), "main", overview, SignedDuration::from_mins(15))
    }

    #[test]
    fn a_screen_with_everything() {
        let mut overview = overview("incomplete", None);
        let many = (0..1_000).map(|number| failure(&format!("e{number:03}"), "phone", "INVALID_PHONE", None));
        overview.failures = many.collect();
        overview
            .failures
            .push(failure("u1", "upsert", "INVALID_USERS_DATA", Some(5)));
        overview
            .failures
            .push(failure("w1", "seat", "USER_LIMIT_EXCEEDED", Some(1)));
        overview.held = ["h1", "h2"]
            .map(|id| Held {
                user_id: id.into(),
                name: None,
                approved: id == "h2",
            })
            .into();
        insta::assert_snapshot!(shown(&overview), @r#"
        Account      main
        Last cycle   ! incomplete: see below; ended 12 s ago
        Employees    1000 = 990 in sync + 7 failing + 2 waiting for a seat + 1 pending
                     ! 1 row without an id (MISSING_ID) besides
                     → give them ids in the CRM: until then nobody is removed without
                       `approve`
        Users        1000 managed; 4 of them left the CRM and stay for now
        Seats        1000 of 1000 used, 3 by foreign users, which are left alone;
                     counted 1 h ago
        Lease        held by crm-host/7/0a1b, for 80 s if not renewed
        Held         ✗ 1 removal: h1
                     → `wazzup-sync approve` lists them by name and lets them go; who
                       comes back to the CRM stays
        Approved     1 held removal, which the next cycle carries out: h2
        Waiting      ! 1 for a seat: w1
                     → remove users in Wazzup or book more seats; `wazzup-sync retry`
                       then tries at once
        Failing      ✗ 1000 without their phone, INVALID_PHONE: our own words: what to
                     do
                     e000, e001, e002, e003, e004, e005, e006, e007, … and 992 more;
                     next when the CRM's row changes
                     ✗ 1 not synced, INVALID_USERS_DATA: our own words: what to do
                     u1; tried 1 time, next in 5 min
                     → `wazzup-sync explain ID` tells all about one of them
        Changes      none lately
        "#);
        let json = to_json("main", &overview);
        assert_eq!(json["failing"].as_array().map(Vec::len), Some(1_001));
        assert_eq!(json["waiting_for_seat"], json!(["w1"]));
        assert_eq!(
            (&json["held_removals"], &json["approved_removals"]),
            (&json!(["h1"]), &json!(["h2"]))
        );
    }

    #[test]
    fn a_cycle_that_failed_says_what_to_do() {
        let overview = overview("failed", Some("Wazzup does not accept the API key (401)"));
        insta::assert_snapshot!(shown(&overview), @r#"
        Account      main
        Last cycle   ✗ failed; ended 12 s ago
                     Wazzup does not accept the API key (401)
                     → put a valid API key in place: the next cycle reads it, without a
                       restart
                     The last one that did not fail ended 1 h ago.
        Employees    1000 = 990 in sync + 7 failing + 2 waiting for a seat + 1 pending
                     as counted by the last cycle that could
                     ! 1 row without an id (MISSING_ID) besides
                     → give them ids in the CRM: until then nobody is removed without
                       `approve`
        Users        1000 managed; 4 of them left the CRM and stay for now
        Seats        1000 of 1000 used, 3 by foreign users, which are left alone;
                     counted 1 h ago
        Lease        held by crm-host/7/0a1b, for 80 s if not renewed
        Changes      none lately
        "#);
    }

    #[test]
    fn before_the_first_cycle() {
        insta::assert_snapshot!(shown(&Overview::default()), @r#"
        Account      main
        Last cycle   ! no cycle has ended yet
                     → `wazzup-sync run` starts the daemon, `wazzup-sync once` runs one
                       cycle
        Lease        held by nobody: no daemon is running for this account
        "#);
        assert_eq!(to_json("main", &Overview::default())["last_cycle"], Value::Null);
    }
}
