//! The plan as it is shown: one with everything in it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{invocation::Invocation, page, tests::json_docs},
    *,
};
use crate::{
    employee::{EmployeeId, FullName, Phone, PhoneReader, Roster, Row},
    plan::{
        AccountFacts, Acknowledged, Failure, FailureKey, Hold, Limit, LostContent, LostEntry, OpenFailure, Operation,
        User,
    },
};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub(in super::super) const POLICY: Policy = Policy {
    removes: true,
    removals: Limit {
        above: 5,
        above_percent: 10,
    },
    grace: SignedDuration::from_mins(5),
    updates: Limit {
        above: 20,
        above_percent: 30,
    },
    always_takes_over: false,
};

fn id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).unwrap()
}

/// Rows as `id, name, phone`.
fn roster(rows: &[(&str, &str, &str)]) -> Roster {
    let rows = rows.iter().map(|(id, name, phone)| Row {
        id: Some(id),
        name: Some(name),
        phone: Some(phone),
    });
    Roster::from_rows(rows, &PhoneReader::new("RU").unwrap())
}

/// Users as `id, name, phone, minutes since when they are absent`.
fn snapshot(users: &[(&str, &str, Option<&str>, Option<i64>)]) -> Snapshot {
    let mut snapshot = Snapshot {
        account: AccountFacts {
            fingerprint: Some("0123456789abcdef".to_owned()),
            ..AccountFacts::default()
        },
        ..Snapshot::default()
    };
    for (user_id, name, phone, absent_minutes) in users {
        let user = User {
            acknowledged: Some(Acknowledged {
                name: FullName::parse(name).unwrap(),
                phone: phone.map(|phone| Phone::parse(phone).unwrap()),
                phone_spelling: None,
            }),
            absent_since: absent_minutes.map(|minutes| now() - SignedDuration::from_mins(minutes)),
            synced_at: Some(now() - SignedDuration::from_hours(1)),
            ..User::default()
        };
        snapshot.users.insert(id(user_id), user);
    }
    snapshot
}

pub(in super::super) fn view(roster: Roster, snapshot: Snapshot, policy: Policy, users: &[(&str, &str)]) -> PlanView {
    let mut list = RemoteList::unread("0123456789abcdef");
    let names = users.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned()));
    list.add_list(names.collect(), Coverage::Complete);
    PlanView {
        plan: Plan::between(&roster, &snapshot, &list, &policy, now()),
        roster,
        snapshot,
        policy,
        now: now(),
        list,
        list_problem: None,
        invocation: Invocation::default(),
    }
}

fn shown(view: &PlanView) -> String {
    page::tests::shown(|page| view.write(page))
}

fn json_of(view: &PlanView) -> Value {
    view.json()
}

/// Somebody in every situation that a plan knows, but for a doubted account.
pub(in super::super) fn everything() -> PlanView {
    let mut snapshot = snapshot(&[
        ("1", "Anna", Some("79261234501"), None),
        ("2", "Boris", Some("79261234502"), None),
        ("3", "Clara", Some("79261234503"), None),
        ("4", "Dmitri", None, Some(30)),
        ("10", "Elena", None, Some(20)),
        ("11", "Fyodor", None, Some(2)),
        ("12", "Galina", None, None),
    ]);
    let failure = Failure {
        key: FailureKey::new("13", Operation::Upsert),
        code: "INVALID_USERS_DATA\u{1b}[2J".to_owned(),
        detail: "Wazzup finds this entry invalid".to_owned(),
        request_id: None,
        attempts: 2,
        is_local: false,
        name: Some(FullName::parse("Hanna").unwrap()),
        phone: None,
        spelling: None,
    };
    let key = failure.key.clone();
    let open = OpenFailure::new(failure, now() - SignedDuration::from_mins(1));
    snapshot.failures.insert(key, open);
    let roster = roster(&[
        ("1", "Anna", "+7 926 123-45-03"),
        ("2", "Boris B.", "+7 926 123-45-02"),
        ("3", "Clara", "+7 926 123-45-01"),
        ("12", "Galina", "no phone"),
        ("13", "Hanna", ""),
        ("20", "Igor", "+7 926 123-45-20"),
        ("21", "  julia  PETROVA ", ""),
        ("22", "Kirill", ""),
        ("23", "Fyodor", ""),
        ("24", "", ""),
        ("25", "Elena", ""),
    ]);
    let users = [
        ("1", "Anna"),
        ("2", "Boris"),
        ("3", "Clara"),
        ("4", "Dmitri"),
        ("10", "Elena"),
        ("11", "Fyodor"),
        ("12", "Galina"),
        ("21", "Julia Petrova"),
        ("22", "Somebody Else\u{202e}"),
        ("stranger", "Stranger"),
    ];
    view(roster, snapshot, POLICY, &users)
}

#[test]
fn people_see_everything_and_the_summary_last() {
    insta::assert_snapshot!(shown(&everything()), @r"
    remove          4  Dmitri
    remove          10  Elena
    update          1  phone “79261234501” → “79261234503”
    update          2  name “Boris” → “Boris B.”
    update          3  phone “79261234503” → “79261234501”
    adopt           21  julia  PETROVA
    add             20  Igor, phone 79261234520
    add             25  Elena
    waiting         23  Fyodor; looks like 11, who is leaving: waits until 11 is
                    removed or back in the CRM
    backing off     13  Hanna; refused (INVALID_USERS_DATA\u{1b}[2J), tried again in
                    4 min
    staying         11  Fyodor; no active row in the CRM; will be removed in 3 min
                    (removals.grace)
    rejected        24  INVALID_NAME: the name is blank, longer than 200 characters,
                    or cannot be converted to UTF-8; correct it in the CRM
    without phone   12  INVALID_PHONE: the phone is not a valid number; the rest of
                    the row is synced; correct it in the CRM

    hold            22  “Somebody Else\u{202e}” → “Kirill”
    held            ✗ 1 take-over: this id belongs to a user in Wazzup with another
                    name, whom we did not create
                    → if this is the same person: `wazzup-sync approve` (after the
                      next cycle); otherwise, give the employee another id in the
                      CRM

    11 employees in the CRM: unchanged 0, remove 2, update 3, adopt 1, add 2,
    waiting 1, backing off 1, staying 1, rejected 1, without phone 1.
    Held: 1 take-over.
    In Wazzup and not ours: 3 users.
    3 requests to send.
    ");
}

#[test]
fn programs_get_the_same() {
    let plan = json_of(&everything());
    let expected = json!({
        "version": 1, "list": "complete", "list_problem": null,
        "eligible": 11, "missing_ids": 0, "managed": 7, "foreign": 3, "unchanged": 0, "requests": 3,
        "add": [
            {"id": "20", "name": "Igor", "phone": "79261234520"},
            {"id": "25", "name": "Elena", "phone": null},
        ],
        "adopt": [{"id": "21", "name": "julia  PETROVA", "phone": null}],
        "take_over": [],
        "update": [
            {"id": "1", "changes": {"phone": {"from": "79261234501", "to": "79261234503"}}},
            {"id": "2", "changes": {"name": {"from": "Boris", "to": "Boris B."}}},
            {"id": "3", "changes": {"phone": {"from": "79261234503", "to": "79261234501"}}},
        ],
        "remove": [
            {"id": "4", "name": "Dmitri"},
            {"id": "10", "name": "Elena"},
        ],
        "held": [{
            "id": "22",
            "kind": "takeover",
            "content": "Somebody Else\u{202e}",
            "reason": "this id belongs to a user in Wazzup with another name, whom we did not create",
        }],
        "waiting": [{"id": "23", "for": "11"}],
        "backing_off": ["13"],
        "pending": [],
        "staying": [{"id": "11", "name": "Fyodor", "reason": "in_grace"}],
        "rejected": [{"id": "24", "code": "INVALID_NAME"}],
        "without_phone": [{"id": "12", "code": "INVALID_PHONE"}],
    });
    assert_eq!(plan, expected, "{plan:#}");
}

#[test]
fn the_document_and_the_answer_say_the_same() {
    let always = Policy {
        always_takes_over: true,
        ..POLICY
    };
    let taken_over = view(
        roster(&[("1", "Anna", "")]),
        snapshot(&[]),
        always,
        &[("1", "Somebody")],
    );
    let mut without_list = view(roster(&[]), snapshot(&[]), POLICY, &[]);
    without_list.list = RemoteList::unread("0123456789abcdef");
    without_list.list_problem = Some("Wazzup does not answer".to_owned());
    json_docs::compare(
        "plan",
        &[everything(), taken_over, without_list, doubted()].map(|view| json_of(&view)),
    );
}

#[test]
fn seats_are_waited_for() {
    let mut snapshot = snapshot(&[("1", "Anna", None, None)]);
    snapshot.account.seats.limit = Some(2);
    let roster = roster(&[("1", "Anna", ""), ("2", "Boris", ""), ("3", "Clara", "")]);
    let view = view(roster, snapshot, POLICY, &[("1", "Anna")]);
    assert_eq!(json_of(&view)["waiting"], json!([{"id": "3", "for": "seat"}]));
    insta::assert_snapshot!(shown(&view), @r"
    add             2  Boris
    waiting         3  Clara; waits for a seat: the Wazzup account has no room for
                    another user

    3 employees in the CRM: unchanged 1, add 1, waiting 1.
    1 request to send.
    ");
}

/// The state alone does not say why nothing changes and something is sent.
#[test]
fn what_the_list_shows_is_said() {
    let mut snapshot = snapshot(&[
        ("1", "Anna", None, None),
        ("2", "Boris", None, None),
        ("3", "Clara", None, None),
        ("4", "Dmitri", None, None),
    ]);
    let lost = LostEntry {
        content: LostContent::Upsert {
            name: FullName::parse("Clara").unwrap(),
            phone: None,
        },
        lost_at: now() - SignedDuration::from_hours(2),
        may_land_until: now() - SignedDuration::from_hours(1),
    };
    snapshot.lost.insert(id("3"), vec![lost]);
    let roster = roster(&[
        ("1", "Anna", ""),
        ("2", "Boris", ""),
        ("3", "Clara", ""),
        ("4", "Dmitri", ""),
    ]);
    let users = [("1", "Renamed\u{202e}"), ("3", "Clara"), ("4", "Dmitri")];
    let mut view = view(roster, snapshot, POLICY, &users);
    view.list.add_look_up("2", None);
    view.plan = Plan::between(&view.roster, &view.snapshot, &view.list, &view.policy, now());
    insta::assert_snapshot!(shown(&view), @r"
    update          1  sent again, since the user is called “Renamed\u{202e}” in
                    Wazzup
    update          2  sent again, since Wazzup no longer has the user
    update          3  sent again, since it is uncertain what Wazzup has

    4 employees in the CRM: unchanged 1, update 3.
    1 request to send.
    ");
    assert_eq!(json_of(&view)["update"][0], json!({"id": "1", "changes": {}}));
}

#[test]
fn a_hold_shows_names_reason_and_share() {
    let users: Vec<(String, String)> = (1..=46)
        .map(|number| (number.to_string(), format!("User {number}")))
        .collect();
    let managed: Vec<(&str, &str, Option<&str>, Option<i64>)> = users
        .iter()
        .map(|(id, name)| (id.as_str(), name.as_str(), None, Some(10)))
        .collect();
    let listed: Vec<(&str, &str)> = users.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect();
    let view = view(roster(&[]), snapshot(&managed), POLICY, &listed);
    let text = shown(&view);
    let end: Vec<&str> = text.lines().skip(44).collect();
    insta::assert_snapshot!(end.join("\n"), @r"
    hold            45  User 45
    hold            46  User 46
    held            ✗ 46 removals: the CRM names nobody: this is ALL 46 users
                    → if the person has left: `wazzup-sync approve` (after the next
                      cycle); otherwise, correct the CRM's rows, crm.table or
                      crm.columns

    0 employees in the CRM: unchanged 0.
    Held: 46 removals.
    Nothing to send.
    ");
    assert_eq!(json_of(&view)["held"].as_array().map(Vec::len), Some(46));
}

fn doubted() -> PlanView {
    let mut snapshot = snapshot(&[("1", "Anna", None, None), ("2", "Boris", None, None)]);
    let known = Hold {
        content: "0123456789abcdef".to_owned(),
        crm_row: None,
        reason: "seen before".to_owned(),
        since: now() - SignedDuration::from_hours(1),
        sticky: false,
        approved: None,
    };
    snapshot.holds.insert(HoldKey::new(HoldKind::Account, ""), known);
    let roster = roster(&[("1", "Anna", ""), ("2", "Boris", ""), ("3", "Clara", "")]);
    view(roster, snapshot, POLICY, &[("1", "Somebody"), ("2", "Else")])
}

#[test]
fn a_doubted_account_says_nothing_about_users() {
    let view = doubted();
    assert!(view.plan.doubts_account());
    insta::assert_snapshot!(shown(&view), @r"
    held            ✗ 1 change of the Wazzup account: Wazzup shows 0 of our 2 users
                    under their names: this looks like another Wazzup account
                    → if this account is the right one from now on:
                      `wazzup-sync approve`; otherwise, correct the key or
                      wazzup.base_url

    3 employees in the CRM. Nothing is sent until it is certain that this is the
    right Wazzup account.
    ");
    let json = json_of(&view);
    assert_eq!((&json["unchanged"], &json["requests"]), (&json!(0), &json!(0)));
    assert_eq!(json["held"][0]["id"], json!(null));
}

#[test]
fn everybody_stays_by_policy() {
    let keep = Policy {
        removes: false,
        ..POLICY
    };
    let snapshot = snapshot(&[("1", "Anna", None, None), ("2", "Boris", None, Some(9))]);
    let view = view(
        roster(&[("1", "Anna", "")]),
        snapshot,
        keep,
        &[("1", "Anna"), ("2", "Boris")],
    );
    insta::assert_snapshot!(shown(&view), @r"
    staying         2  Boris; no active row in the CRM; removals.policy says to keep
                    everybody

    1 employee in the CRM: unchanged 1, staying 1.
    Nothing to send.
    ");
}
