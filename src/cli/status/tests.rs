use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    employee::EmployeeId,
    plan::{Approval, Hold, HoldKey, HoldKind, Operation},
    state::{Counts, CycleOutcome, Holder, LastCycle, OpenFailure, OpenHold, PastCycle},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn failure(id: &str, operation: Operation, code: &str, minutes: Option<i64>) -> OpenFailure {
    OpenFailure {
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
    }
}

fn hold(kind: HoldKind, id: &str, reason: &str, approved: bool) -> OpenHold {
    OpenHold {
        key: HoldKey::new(kind, id),
        hold: Hold {
            content: "2026-03-02T11:00:00Z".into(),
            reason: reason.into(),
            since: now() - HOUR,
            sticky: true,
            approved: approved.then(|| Approval {
                at: now(),
                by: "anna@crm-host".into(),
            }),
        },
        name: None,
    }
}

fn ids(ids: &[&str]) -> BTreeSet<EmployeeId> {
    ids.iter().map(|id| EmployeeId::parse(id).unwrap()).collect()
}

fn view(outcome: CycleOutcome, counts: Counts) -> StatusView {
    StatusView {
        account_name: "main".into(),
        overview: Overview {
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
                    outcome,
                    started_at: now() - SignedDuration::from_secs(13),
                    finished_at: now() - SignedDuration::from_secs(12),
                    error_kind: None,
                    error: None,
                    counts,
                }),
                last_success_at: Some(now() - HOUR),
                list_passed_at: Some(now() - HOUR / 2),
                seats_used: Some(903),
                foreign_users: Some(3),
                seats_limit: Some(1_000),
                seats_counted_at: Some(now() - HOUR / 2),
                ..Account::default()
            },
            managed: 900,
            cycles: vec![PastCycle {
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
        },
        other_accounts: Vec::new(),
        unhealthy_after: SignedDuration::from_mins(15),
        invocation: Invocation::default(),
    }
}

fn in_sync() -> StatusView {
    let counts = Counts {
        eligible: 900,
        in_sync: 900,
        ..Counts::default()
    };
    let mut view = view(CycleOutcome::InSync, counts);
    view.overview.added_lately = vec!["e10".into(), "e9".into()];
    view
}

fn troubled() -> StatusView {
    let counts = Counts {
        eligible: 1_000,
        in_sync: 989,
        failing: 8,
        waiting_for_seat: 2,
        pending: 1,
        missing_ids: 1,
    };
    let mut view = view(CycleOutcome::Incomplete, counts);
    let overview = &mut view.overview;
    overview.leaving = 4;
    overview.unsettled = 3;
    let phones = (0..12).map(|number| failure(&format!("e{number}"), Operation::Phone, "INVALID_PHONE", None));
    overview.failures = phones.collect();
    let failures = [
        failure("u1", Operation::Upsert, "INVALID_USERS_DATA", Some(5)),
        failure("u2", Operation::Remove, "HTTP_500\u{1b}[2J", Some(0)),
    ];
    overview.failures.extend(failures);
    overview.holds = vec![
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
    ];
    overview.account.waiting_for_seat = ids(&["w2", "w10"]);
    overview.account.seats_used = Some(1_000);
    view
}

fn shown(view: &StatusView, width: usize) -> String {
    let mut page = Page::with_width(text::MARGIN, width);
    text::write(&mut page, view);
    let text = page.plain_text();
    let too_long = text.lines().find(|line| line.chars().count() > width);
    assert_eq!(too_long, None);
    text
}

#[rstest]
#[case(60)]
#[case(80)]
#[case(120)]
fn everything_in_sync(#[case] width: usize) {
    let text = shown(&in_sync(), width);
    assert!(text.lines().count() <= 24);
    insta::assert_snapshot!(format!("in_sync_{width}"), text);
}

#[rstest]
#[case(60)]
#[case(80)]
#[case(120)]
fn a_screen_with_everything(#[case] width: usize) {
    insta::assert_snapshot!(format!("troubled_{width}"), shown(&troubled(), width));
}

#[test]
fn a_cycle_that_failed_says_what_to_do() {
    let mut view = in_sync();
    let cycle = view.overview.account.last_cycle.as_mut().unwrap();
    cycle.outcome = CycleOutcome::Failed;
    cycle.error = Some("Wazzup does not accept the API key (401)".into());
    cycle.error_kind = Some("wazzup_unauthorized".into());
    cycle.finished_at = now() - HOUR;
    insta::assert_snapshot!(shown(&view, 80));
}

#[test]
fn before_the_first_cycle() {
    let mut view = in_sync();
    view.overview = Overview::default();
    insta::assert_snapshot!(shown(&view, 80), @"");
    let json = json::to_json(&view);
    assert_eq!((&json["last_cycle"], &json["lease"]), (&Value::Null, &Value::Null));
    view.other_accounts = vec!["pilot".into()];
    insta::assert_snapshot!(shown(&view, 80), @"");
}

#[test]
fn a_seat_that_is_free_is_taken_by_the_next_cycle() {
    let mut view = in_sync();
    view.overview.account.waiting_for_seat = ids(&["w1"]);
    view.overview.account.seats_used = Some(999);
    let text = shown(&view, 80);
    assert!(text.contains("1 seat is free now: the next cycle tries"), "{text}");
}

#[test]
fn the_json_has_everything() {
    let json = json::to_json(&troubled());
    assert_eq!(json["failing"].as_array().map(Vec::len), Some(14));
    assert_eq!(json["waiting_for_seat"], json!(["w2", "w10"]));
    assert_eq!(json["held_removals"], json!(["h1", "h10"]));
    assert_eq!(json["held"][3]["approved"], json!(false));
    assert_eq!(json["held"][2]["approved_by"], json!("anna@crm-host"));
    super::super::json_docs::compare("status", &json);
}
