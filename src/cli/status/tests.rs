use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{page::Page, tests::json_docs},
    *,
};
use crate::{
    employee::EmployeeId,
    plan::{Approval, Failure, Hold, HoldKey, Operation},
    state::{Account, CycleOutcome, HeldLease, Holder, KnownSeats, LastCycle, PastCycle},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn failure(id: &str, operation: Operation, code: &str, minutes: Option<i64>) -> Failure {
    Failure {
        user_id: id.into(),
        operation,
        code: code.into(),
        detail: "our own words for this code".into(),
        request_id: None,
        attempts: u32::from(minutes.is_some()),
        is_local: minutes.is_none(),
        first_at: now() - HOUR,
        last_at: now() - HOUR,
        next_attempt_at: minutes.map(|minutes| now() + SignedDuration::from_mins(minutes)),
        name: None,
        phone: None,
        spelling: None,
    }
}

fn hold(kind: HoldKind, id: &str, reason: &str, approved: bool) -> (HoldKey, Hold) {
    let hold = Hold {
        content: "2026-03-02T11:00:00Z".into(),
        reason: reason.into(),
        since: now() - HOUR,
        sticky: true,
        approved: approved.then(|| Approval {
            at: now(),
            by: "anna@crm-host".into(),
        }),
    };
    (HoldKey::new(kind, id), hold)
}

fn ids(ids: &[&str]) -> BTreeSet<EmployeeId> {
    ids.iter().map(|id| EmployeeId::parse(id).unwrap()).collect()
}

fn overview(outcome: CycleOutcome, counts: Counts) -> Overview {
    Overview {
        account: Account {
            now: now(),
            lease: Some(HeldLease {
                holder: Holder {
                    name: "crm-host/7/0a1b".into(),
                    host: "crm-host".into(),
                },
                expires_at: now() + SignedDuration::from_secs(80),
            }),
            last_cycle: Some(LastCycle {
                id: 42,
                outcome,
                started_at: now() - SignedDuration::from_secs(13),
                finished_at: now() - SignedDuration::from_secs(12),
                error_kind: None,
                error: None,
                counts,
            }),
            last_success_at: Some(now() - HOUR),
            list_passed_at: Some(now() - HOUR / 2),
            seats: KnownSeats {
                used: Some(903),
                foreign: Some(3),
                limit: Some(1_000),
                counted_at: Some(now() - HOUR / 2),
            },
            ..Account::default()
        },
        managed: 900,
        recent_cycles: vec![PastCycle {
            id: 40,
            started_at: now() - HOUR,
            finished_at: now() - HOUR,
            outcome: CycleOutcome::InSync,
            error_kind: None,
            error: None,
            requests: 2,
            added: 2,
            adopted: 0,
            updated: 1,
            removed: 0,
            held: 0,
        }],
        ..Overview::default()
    }
}

fn view_of(overview: Overview) -> StatusView {
    StatusView::new(overview, "main", SignedDuration::from_mins(15), &Invocation::default())
}

fn in_sync() -> Overview {
    let counts = Counts {
        eligible: 900,
        in_sync: 900,
        ..Counts::default()
    };
    let mut overview = overview(CycleOutcome::InSync, counts);
    overview.added_lately = vec!["e10".into(), "e9".into()];
    overview
}

fn troubled() -> Overview {
    let counts = Counts {
        eligible: 1_000,
        in_sync: 989,
        failing: 8,
        waiting_for_seat: 2,
        pending: 1,
        missing_ids: 1,
    };
    let mut overview = overview(CycleOutcome::Incomplete, counts);
    overview.leaving = 4;
    overview.unsettled = 3;
    let phones = (0..12).map(|number| failure(&format!("e{number}"), Operation::Phone, "INVALID_PHONE", None));
    overview.failing = phones.collect();
    let failures = [
        failure("u1", Operation::Upsert, "INVALID_USERS_DATA", Some(5)),
        failure("u2", Operation::Remove, "HTTP_500\u{1b}[2J", Some(0)),
    ];
    overview.failing.extend(failures);
    overview.holds = [
        hold(
            HoldKind::Remove,
            "h1",
            "the CRM names nobody: this is ALL 900 users",
            false,
        ),
        hold(
            HoldKind::Remove,
            "h10",
            "the CRM names nobody: this is ALL 900 users",
            false,
        ),
        hold(HoldKind::Takeover, "h2", "this id is somebody else's", false),
        hold(HoldKind::Update, "h3", "too many", true),
    ]
    .into();
    overview.account.waiting_for_seat = ids(&["w2", "w10"]);
    overview.account.seats.used = Some(1_000);
    overview
}

fn shown(view: &StatusView, width: usize) -> String {
    let mut page = Page::with_width(width);
    text::write(&mut page, view);
    let text = page.plain_text();
    let too_long = text.lines().find(|line| line.chars().count() > width);
    assert_eq!(too_long, None);
    text
}

#[test]
fn everything_in_sync() {
    let view = view_of(in_sync());
    assert!(shown(&view, 60).lines().count() <= 24);
    insta::assert_snapshot!(shown(&view, 60), @r"
    Account       main
    Last cycle    ✓ in sync, ended 12 s ago
    Employees     900 of 900 in sync
    Users         900 managed
    Seats         903 of 1000 used, 3 of them by users that are
                  not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s
                  unless renewed
    Added lately  2 users in 7 days: e9, e10
                  → give each of them a role in Wazzup: without
                    one, nobody sees a chat
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
    insta::assert_snapshot!(shown(&view, 80), @r"
    Account       main
    Last cycle    ✓ in sync, ended 12 s ago
    Employees     900 of 900 in sync
    Users         900 managed
    Seats         903 of 1000 used, 3 of them by users that are not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s unless renewed
    Added lately  2 users in 7 days: e9, e10
                  → give each of them a role in Wazzup: without one, nobody sees a
                    chat
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
    insta::assert_snapshot!(shown(&view, 120), @r"
    Account       main
    Last cycle    ✓ in sync, ended 12 s ago
    Employees     900 of 900 in sync
    Users         900 managed
    Seats         903 of 1000 used, 3 of them by users that are not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s unless renewed
    Added lately  2 users in 7 days: e9, e10
                  → give each of them a role in Wazzup: without one, nobody sees a chat
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is a snapshot")]
fn a_screen_with_everything() {
    let view = view_of(troubled());
    insta::assert_snapshot!(shown(&view, 60), @r"
    Account       main
    Last cycle    ! incomplete, ended 12 s ago
    Employees     989 of 1000 in sync, 8 failing, 2 waiting for
                  a seat, 1 pending
                  ! 1 row without an id (MISSING_ID)
                  → give each row an id: until then, nobody is
                    removed without `wazzup-sync approve`
    Users         900 managed, 4 of them missing from the CRM, 3
                  unsettled
                  Unsettled: a request got no answer, so these
                  users are sent again until it is certain what
                  Wazzup has.
    Seats         1000 of 1000 used, 3 of them by users that are
                  not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s
                  unless renewed
    Held          ✗ 2 removals (2 of 900 users): the CRM names
                  nobody: this is ALL 900 users
                  h1, h10
                  ✗ 1 take-over: this id is somebody else's
                  h2
                  → `wazzup-sync approve` shows them with names
                    and approves exactly these
    Approved      1 change: the next cycle carries out what is
                  still due
                  h3
    Waiting       ! 2 employees for a seat: w2, w10
                  → remove users in Wazzup or book more seats;
                    `wazzup-sync retry` then tries in the next
                    cycle
    Failing       ✗ 12 without phone, INVALID_PHONE: our own
                  words for this code
                  e0, e1, e2, e3, e4, e5, e6, e7, … and 4 more;
                  synced as soon as the CRM is corrected
                  ✗ 1 not synced, INVALID_USERS_DATA: our own
                  words for this code
                  u1; tried 1 time; tried again in 5 min
                  ✗ 1 not removed, HTTP_500\u{1b}[2J: our own
                  words for this code
                  u2; tried 1 time; tried again in the next
                  cycle
                  → `wazzup-sync explain e0` says what to do
                    about one of them
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
    insta::assert_snapshot!(shown(&view, 80), @r"
    Account       main
    Last cycle    ! incomplete, ended 12 s ago
    Employees     989 of 1000 in sync, 8 failing, 2 waiting for a seat, 1 pending
                  ! 1 row without an id (MISSING_ID)
                  → give each row an id: until then, nobody is removed without
                    `wazzup-sync approve`
    Users         900 managed, 4 of them missing from the CRM, 3 unsettled
                  Unsettled: a request got no answer, so these users are sent again
                  until it is certain what Wazzup has.
    Seats         1000 of 1000 used, 3 of them by users that are not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s unless renewed
    Held          ✗ 2 removals (2 of 900 users): the CRM names nobody: this is ALL
                  900 users
                  h1, h10
                  ✗ 1 take-over: this id is somebody else's
                  h2
                  → `wazzup-sync approve` shows them with names and approves exactly
                    these
    Approved      1 change: the next cycle carries out what is still due
                  h3
    Waiting       ! 2 employees for a seat: w2, w10
                  → remove users in Wazzup or book more seats; `wazzup-sync retry`
                    then tries in the next cycle
    Failing       ✗ 12 without phone, INVALID_PHONE: our own words for this code
                  e0, e1, e2, e3, e4, e5, e6, e7, … and 4 more; synced as soon as
                  the CRM is corrected
                  ✗ 1 not synced, INVALID_USERS_DATA: our own words for this code
                  u1; tried 1 time; tried again in 5 min
                  ✗ 1 not removed, HTTP_500\u{1b}[2J: our own words for this code
                  u2; tried 1 time; tried again in the next cycle
                  → `wazzup-sync explain e0` says what to do about one of them
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
    insta::assert_snapshot!(shown(&view, 120), @r"
    Account       main
    Last cycle    ! incomplete, ended 12 s ago
    Employees     989 of 1000 in sync, 8 failing, 2 waiting for a seat, 1 pending
                  ! 1 row without an id (MISSING_ID)
                  → give each row an id: until then, nobody is removed without `wazzup-sync approve`
    Users         900 managed, 4 of them missing from the CRM, 3 unsettled
                  Unsettled: a request got no answer, so these users are sent again until it is certain what Wazzup has.
    Seats         1000 of 1000 used, 3 of them by users that are not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s unless renewed
    Held          ✗ 2 removals (2 of 900 users): the CRM names nobody: this is ALL 900 users
                  h1, h10
                  ✗ 1 take-over: this id is somebody else's
                  h2
                  → `wazzup-sync approve` shows them with names and approves exactly these
    Approved      1 change: the next cycle carries out what is still due
                  h3
    Waiting       ! 2 employees for a seat: w2, w10
                  → remove users in Wazzup or book more seats; `wazzup-sync retry` then tries in the next cycle
    Failing       ✗ 12 without phone, INVALID_PHONE: our own words for this code
                  e0, e1, e2, e3, e4, e5, e6, e7, … and 4 more; synced as soon as the CRM is corrected
                  ✗ 1 not synced, INVALID_USERS_DATA: our own words for this code
                  u1; tried 1 time; tried again in 5 min
                  ✗ 1 not removed, HTTP_500\u{1b}[2J: our own words for this code
                  u2; tried 1 time; tried again in the next cycle
                  → `wazzup-sync explain e0` says what to do about one of them
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
}

#[test]
fn a_cycle_that_failed_says_what_to_do() {
    let mut overview = in_sync();
    let cycle = overview.account.last_cycle.as_mut().unwrap();
    cycle.outcome = CycleOutcome::Failed;
    cycle.error = Some("Wazzup does not accept the API key (401)".into());
    cycle.error_kind = Some("wazzup_unauthorized".into());
    cycle.finished_at = now() - HOUR;
    insta::assert_snapshot!(shown(&view_of(overview), 80), @r"
    Account       main
    Last cycle    ✗ failed, ended 1 h ago
                  Wazzup does not accept the API key (401)
                  → every cycle tries again by itself; `wazzup-sync check` says
                    whether something has to be corrected
                  The last cycle that did not fail ended 1 h ago.
                  ✗ No cycle has run for 1 h.
                  → see whether the daemon is running, and its log;
                    `wazzup-sync check` tests what it needs
    Employees     900 of 900 in sync, as last counted
    Users         900 managed
    Seats         903 of 1000 used, 3 of them by users that are not ours
    Verified      against Wazzup's list 30 min ago
    Lease         held by crm-host/7/0a1b, expires in 80 s unless renewed
    Added lately  2 users in 7 days: e9, e10
                  → give each of them a role in Wazzup: without one, nobody sees a
                    chat
    Changes       1 h ago: 2 added, 1 changed (cycle 40)
    ");
}

#[test]
fn before_the_first_cycle() {
    let mut view = view_of(Overview::default());
    insta::assert_snapshot!(shown(&view, 80), @r"
    Account       main
    Last cycle    ! no cycle has ended yet
                  → `wazzup-sync run` starts the daemon, `wazzup-sync once` runs one
                    cycle
    Lease         free: no process is running for this account
    ");
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!((&json["last_cycle"], &json["lease"]), (&Value::Null, &Value::Null));
    view.other_accounts = vec!["pilot".into()];
    insta::assert_snapshot!(shown(&view, 80), @r"
    Account       main
                  ! The state does not know this account. It knows: pilot
                  → correct `account` in the configuration, unless this is a new
                    account
    Last cycle    ! no cycle has ended yet
                  → `wazzup-sync run` starts the daemon, `wazzup-sync once` runs one
                    cycle
    Lease         free: no process is running for this account
    ");
}

#[test]
fn a_seat_that_is_free_is_taken_by_the_next_cycle() {
    let mut overview = in_sync();
    overview.account.waiting_for_seat = ids(&["w1"]);
    overview.account.seats.used = Some(999);
    let text = shown(&view_of(overview), 80);
    assert!(
        text.contains("nothing: the next cycle tries to fill 1 free seat"),
        "{text}"
    );
}

#[test]
fn the_json_has_everything() {
    let json = serde_json::to_value(view_of(troubled())).unwrap();
    assert_eq!(json["failing"].as_array().map(Vec::len), Some(14));
    assert_eq!(json["waiting_for_seat"], json!(["w2", "w10"]));
    assert_eq!(json["held_removals"], json!(["h1", "h10"]));
    assert_eq!(json["held"][3]["approved"], json!(false));
    assert_eq!(json["held"][2]["approved_by"], json!("anna@crm-host"));
    let mut failed = in_sync();
    failed.account.failing_since = Some(now());
    failed.account.list_read_at = Some(now());
    let cycle = failed.account.last_cycle.as_mut().unwrap();
    cycle.error = Some("no answer".into());
    cycle.error_kind = Some("wazzup_unavailable".into());
    failed.recent_cycles[0].error = Some("no answer".into());
    failed.recent_cycles[0].error_kind = Some("wazzup_unavailable".into());
    failed.failing = vec![Failure {
        request_id: Some("ab-1".into()),
        ..failure("u1", Operation::Upsert, "INVALID_USERS_DATA", Some(5))
    }];
    let mut before = view_of(Overview {
        holds: [hold(HoldKind::Account, "", "another account", false)].into(),
        ..Overview::default()
    });
    before.other_accounts = vec!["pilot".into()];
    let [failed, before] = [view_of(failed), before].map(|view| serde_json::to_value(view).unwrap());
    json_docs::compare("status", &[json, failed, before]);
}
