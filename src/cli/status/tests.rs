use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{page, tests::json_docs},
    *,
};
use crate::{
    plan::{AccountFacts, Approval, FailureKey, Hold, HoldKey, Seats},
    state::{Account, HeldLease, Holder, PastCycle},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn failure(id: &str, operation: Operation, code: &str, minutes: Option<i64>) -> OpenFailure {
    let failure = Failure {
        key: FailureKey::new(id, operation),
        code: code.into(),
        detail: "our own words for this code".into(),
        request_id: None,
        attempts: u32::from(minutes.is_some()),
        is_local: minutes.is_none(),
        name: None,
        phone: None,
        spelling: None,
    };
    OpenFailure {
        next_attempt_at: minutes.map(|minutes| now() + SignedDuration::from_mins(minutes)),
        ..OpenFailure::new(failure, now() - HOUR)
    }
}

fn hold(kind: HoldKind, id: &str, reason: &str, approved: bool) -> (HoldKey, Hold) {
    let hold = Hold {
        content: "2026-03-02T11:00:00Z".into(),
        crm_row: None,
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
            foreign_users: Some(3),
            seats_counted_at: Some(now() - HOUR / 2),
            facts: AccountFacts {
                seats: Seats {
                    used: Some(903),
                    limit: Some(1_000),
                },
                ..AccountFacts::default()
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

fn view<'o>(overview: &'o Overview, other_accounts: &[&str], invocation: &'o Invocation) -> StatusView<'o> {
    StatusView {
        account: "main",
        other_accounts: other_accounts.iter().map(ToString::to_string).collect(),
        overview,
        unhealthy_after: SignedDuration::from_mins(15),
        invocation,
    }
}

fn json_of(overview: &Overview, other_accounts: &[&str]) -> Value {
    view(overview, other_accounts, &Invocation::default()).json()
}

fn shown(overview: &Overview, other_accounts: &[&str]) -> String {
    let invocation = Invocation::default();
    let view = view(overview, other_accounts, &invocation);
    page::tests::shown(|page| view.write(page))
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
    overview.account.facts.waiting_for_seat = ids(&["w2", "w10"]);
    overview.account.facts.seats.used = Some(1_000);
    overview
}

#[test]
fn everything_in_sync() {
    let overview = in_sync();
    assert!(shown(&overview, &[]).lines().count() <= 24, "more than a screen");
    insta::assert_snapshot!(shown(&overview, &[]), @r"
    account         main
    last cycle      ✓ in sync, ended 12 s ago
    counts          eligible 900, in sync 900
    managed         900
    seats           used 903, foreign 3, limit 1000, counted 30 min ago
    list passed at  30 min ago
    lease           crm-host/7/0a1b, host crm-host, expires in 80 s
    added lately    2 users in 7 days: e9, e10
                    → give each of them a role in Wazzup: without a role, a user
                      sees no chats
    recent cycles   id 40, started 1 h ago, finished 1 h ago, in sync, requests 2,
                    added 2, updated 1
    ");
}

#[test]
fn a_screen_with_everything() {
    let overview = troubled();
    insta::assert_snapshot!(shown(&overview, &[]), @r"
    account         main
    last cycle      ! incomplete, ended 12 s ago
    counts          eligible 1000, in sync 989, failing 8, waiting for seat 2,
                    pending 1, missing ids 1
    managed         900
    leaving         4
    unsettled       3
    seats           used 1000, foreign 3, limit 1000, counted 30 min ago
    list passed at  30 min ago
    lease           crm-host/7/0a1b, host crm-host, expires in 80 s
    missing ids     ! 1 row without an id (MISSING_ID)
                    → give each row an id: until then, nobody is removed without
                      `wazzup-sync approve`
    held            ✗ 2 removals (2 of 900 users): the CRM names nobody: this is ALL
                    900 users
                    → if the person has left: `wazzup-sync approve`; otherwise,
                      correct the CRM's rows, crm.table or crm.columns
                    h1, h10
    held            ✗ 1 take-over: this id is somebody else's
                    → if this is the same person: `wazzup-sync approve`; otherwise,
                      give the employee another id in the CRM
                    h2
    held            ✓ 1 change (1 of 900 users): too many
                    → approved: carried out in the next cycle, if still due
                    h3
    waiting         ! 2 employees for a seat: w2, w10
                    → remove users in Wazzup or book more seats; `wazzup-sync retry`
                      then tries in the next cycle
    failing         ✗ 1 user (upsert), INVALID_USERS_DATA: our own words for this
                    code
                    u1; tried again in 5 min
    failing         ✗ 1 user (remove), HTTP_500\u{1b}[2J: our own words for this
                    code
                    u2; tried again in the next cycle
    failing         ✗ 12 users (phone), INVALID_PHONE: our own words for this code
                    e0, e1, e2, e3, e4, e5, e6, e7, … and 4 more; synced as soon as
                    the CRM is corrected
                    → `wazzup-sync explain e0` says what to do about one of them
    recent cycles   id 40, started 1 h ago, finished 1 h ago, in sync, requests 2,
                    added 2, updated 1
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
    let text = shown(&overview, &[]);
    let before_counts = text.split("counts").next().unwrap_or_default();
    insta::assert_snapshot!(before_counts, @r"
    account         main
    last cycle      ✗ failed, ended 1 h ago
                    Wazzup does not accept the API key (401)
                    → every cycle tries again by itself; `wazzup-sync check` says
                      whether something has to be corrected
    last success at 1 h ago
                    ✗ no cycle has ended for 1 h
                    → see whether the daemon is running, and its log;
                      `wazzup-sync check` tests what it needs
    ");
}

#[test]
fn before_the_first_cycle() {
    let overview = Overview::default();
    insta::assert_snapshot!(shown(&overview, &[]), @r"
    account         main
    last cycle      ! no cycle has ended yet
                    → unless one is running, `wazzup-sync run` starts the daemon,
                      `wazzup-sync once` runs one cycle
    ");
    let json = json_of(&overview, &[]);
    assert_eq!((&json["last_cycle"], &json["lease"]), (&Value::Null, &Value::Null));
    let mistyped = shown(&overview, &["pilot"]);
    assert!(
        mistyped.contains("! the state does not know the account \"main\"; it knows: pilot"),
        "{mistyped}"
    );
}

#[test]
fn the_json_has_everything() {
    let json = json_of(&troubled(), &[]);
    assert_eq!(json["failing"].as_array().map(Vec::len), Some(14));
    assert_eq!(json["waiting_for_seat"], json!(["w10", "w2"]));
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
    let mut refused = failure("u1", Operation::Upsert, "INVALID_USERS_DATA", Some(5));
    refused.failure.request_id = Some("ab-1".into());
    failed.failing = vec![refused];
    let before = Overview {
        holds: [hold(HoldKind::Account, "", "another account", false)].into(),
        ..Overview::default()
    };
    let before = json_of(&before, &["pilot"]);
    json_docs::compare("status", &[json, json_of(&failed, &[]), before]);
}
