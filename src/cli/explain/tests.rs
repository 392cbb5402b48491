use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    super::{invocation::Invocation, json_docs},
    facts::{Facts, InCrm, InState, Live, Planned},
    *,
};
use crate::{
    crm::CrmRow,
    delivery::Change,
    employee::{Employee, EmployeeId, FullName, RosterEntry, RowProblem},
    plan::{
        Acknowledged, Approval, Hold, HoldKey, HoldKind, Limit, LostContent, LostEntry, Operation, Policy, StayReason,
        User,
    },
    state::{HistoryEntry, HistoryOperation, OpenFailure, OpenHold, Person},
    wazzup::RemoteUser,
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn name(text: &str) -> FullName {
    FullName::parse(text).unwrap()
}

fn there(text: &str) -> Live {
    Live::There(RemoteUser {
        id: "7".into(),
        name: text.into(),
        phone: None,
    })
}

fn down() -> Live {
    Live::Unknown("Wazzup is unavailable: no answer".into())
}

/// Number 7, of whom nobody knows anything but what `live` says.
fn facts(planned: Planned, live: Live) -> Facts {
    Facts {
        id: "7".into(),
        crm: Ok(InCrm::default()),
        state: Ok(InState {
            now: now(),
            planned: Some(planned),
            is_running: true,
            ..InState::default()
        }),
        live,
        is_other_account: false,
        policy: Policy {
            removes: true,
            removals: Limit {
                above: 5,
                above_percent: 10,
            },
            grace: HOUR * 2,
            updates: Limit {
                above: 20,
                above_percent: 30,
            },
            always_takes_over: false,
        },
        invocation: Invocation::default(),
    }
}

fn crm(facts: &mut Facts) -> &mut InCrm {
    facts.crm.as_mut().unwrap()
}

fn state(facts: &mut Facts) -> &mut InState {
    facts.state.as_mut().unwrap()
}

fn with_row(mut facts: Facts, is_active: bool) -> Facts {
    let crm = crm(&mut facts);
    crm.rows = vec![CrmRow {
        id: Some("7".into()),
        name: Some("Anna".into()),
        phone: Some("8 926 123-45-67".into()),
        is_active,
    }];
    crm.entry = is_active.then(|| RosterEntry {
        employee: Employee {
            id: EmployeeId::parse("7").unwrap(),
            name: name("Anna"),
            phone: "79261234567".parse().ok(),
        },
        phone_spelling: None,
        has_unreadable_phone: false,
    });
    facts
}

/// One of our users, absent from the CRM since `minutes`.
fn with_user(mut facts: Facts, absent_minutes: Option<i64>) -> Facts {
    state(&mut facts).user = Some(User {
        acknowledged: Some(Acknowledged {
            name: name("Anna"),
            phone: None,
            phone_spelling: None,
        }),
        absent_since: absent_minutes.map(|minutes| now() - SignedDuration::from_mins(minutes)),
        synced_at: Some(now() - HOUR),
    });
    facts
}

fn with_failure(mut facts: Facts, operation: Operation, code: &str, is_local: bool) -> Facts {
    state(&mut facts).person.failures.push(OpenFailure {
        user_id: "7".into(),
        operation,
        code: code.into(),
        detail: "our own words for this code".into(),
        request_id: (!is_local).then(|| "ab-1".into()),
        attempts: u32::from(!is_local),
        is_local,
        first_at: now() - HOUR,
        last_at: now() - HOUR,
        next_attempt_at: (!is_local).then(|| now() + SignedDuration::from_mins(5)),
        name: None,
        phone: None,
        spelling: None,
    });
    facts
}

fn with_hold(mut facts: Facts, kind: HoldKind, content: &str, approved: bool) -> Facts {
    state(&mut facts).person.holds.push(OpenHold {
        key: HoldKey::new(kind, "7"),
        hold: Hold {
            content: content.into(),
            reason: "39 of 40 users would get another name or phone in one cycle".into(),
            since: now() - HOUR,
            sticky: true,
            approved: approved.then(|| Approval {
                at: now(),
                by: "boris@crm-host".into(),
            }),
        },
    });
    facts
}

fn history(operation: HistoryOperation) -> HistoryEntry {
    HistoryEntry {
        at: now() - HOUR,
        cycle_id: 41,
        operation,
        absent: false,
        approved_by: Some("boris@crm-host".into()),
        name_before: Some("Ann".into()),
        phone_before: Some("79261234500".into()),
        name_after: Some("Anna".into()),
        phone_after: Some("79261234567".into()),
    }
}

fn removed(mut facts: Facts) -> Facts {
    let entry = HistoryEntry {
        name_after: None,
        phone_after: None,
        ..history(HistoryOperation::Remove)
    };
    state(&mut facts).person.history.push(entry);
    facts
}

/// Something in every section.
fn everything() -> Facts {
    let hold = Planned::Hold {
        kind: HoldKind::Update,
        is_new: false,
    };
    let facts = with_user(with_row(facts(hold, there("Anna\u{1b}[2J")), true), Some(3));
    let facts = with_failure(facts, Operation::Upsert, "INVALID_USERS_DATA", false);
    let facts = with_failure(facts, Operation::Phone, "INVALID_PHONE", true);
    let mut facts = with_hold(facts, HoldKind::Update, r#"{"name":"true","phone":null}"#, true);
    crm(&mut facts).similar_ids = vec!["7 ".into(), " 7".into()];
    crm(&mut facts).same_phone = vec!["10".into(), "9".into()];
    let person: &mut Person = &mut state(&mut facts).person;
    person.synced_at = Some(now() - HOUR);
    person.lost = vec![
        LostEntry {
            content: LostContent::Upsert {
                name: name("Anne"),
                phone: "79261234567".parse().ok(),
            },
            lost_at: now() - SignedDuration::from_mins(1),
            may_land_until: now() + SignedDuration::from_mins(1),
        },
        LostEntry {
            content: LostContent::Removal,
            lost_at: now() - HOUR,
            may_land_until: now() - HOUR,
        },
    ];
    person.history = vec![
        history(HistoryOperation::Upsert(Change::Update)),
        history(HistoryOperation::Upsert(Change::Add)),
    ];
    facts
}

fn shown(facts: &Facts, width: usize) -> String {
    let mut page = Page::with_width(text::MARGIN, width);
    text::write(&mut page, facts);
    let text = page.plain_text();
    let too_long = text.lines().find(|line| line.chars().count() > width);
    assert_eq!(too_long, None);
    text
}

#[test]
fn something_in_every_section() {
    let facts = everything();
    insta::assert_snapshot!(shown(&facts, 60), @r"
    Id         “7”
    CRM        Anna, phone 8 926 123-45-67
               A similar id have a row: “ 7”, “7 ”. Case and
               blanks count in ids.
    To send    Anna, no phone
               without the phone (INVALID_PHONE)
               The phone is also that of “9”, “10”.
    Known      Anna, no phone (acknowledged by Wazzup 1 h ago)
               missing from the CRM for 3 min
    Lost       sent as Anne, phone 79261234567 without an answer
               60 s ago, may still happen within 60 s
               sent for removal without an answer 1 h ago
               Nobody knows whether Wazzup did this, so the user
               is sent again until it is certain what Wazzup
               has.
    Wazzup     Anna\u{1b}[2J, no phone shown (asked now)
    Failures   not synced, INVALID_USERS_DATA: our own words for
               this code
               for 1 h; tried 1 time; tried again in 5 min, or
               when the CRM's row changes (request ab-1 for
               Wazzup's support)
               without phone, INVALID_PHONE, for 1 h
    Held       the change of name: “Anna” → “true”, for 1 h: 39
               of 40 users would get another name or phone in
               one cycle
               approved 0 s ago by boris@crm-host
    History    1 h ago: changed from Ann, phone 79261234500 to
               Anna, phone 79261234567, approved by
               boris@crm-host (cycle 41)
               1 h ago: added as Anna, phone 79261234567,
               approved by boris@crm-host (cycle 41)
    Verdict    ✗ the change has to be approved; until then,
               Wazzup keeps the old values
               → if the CRM's values are right:
                 `wazzup-sync approve 7`; otherwise, correct
                 them in the CRM
    ");
    insta::assert_snapshot!(shown(&facts, 80), @r"
    Id         “7”
    CRM        Anna, phone 8 926 123-45-67
               A similar id have a row: “ 7”, “7 ”. Case and blanks count in ids.
    To send    Anna, no phone
               without the phone (INVALID_PHONE)
               The phone is also that of “9”, “10”.
    Known      Anna, no phone (acknowledged by Wazzup 1 h ago)
               missing from the CRM for 3 min
    Lost       sent as Anne, phone 79261234567 without an answer 60 s ago, may still
               happen within 60 s
               sent for removal without an answer 1 h ago
               Nobody knows whether Wazzup did this, so the user is sent again until
               it is certain what Wazzup has.
    Wazzup     Anna\u{1b}[2J, no phone shown (asked now)
    Failures   not synced, INVALID_USERS_DATA: our own words for this code
               for 1 h; tried 1 time; tried again in 5 min, or when the CRM's row
               changes (request ab-1 for Wazzup's support)
               without phone, INVALID_PHONE, for 1 h
    Held       the change of name: “Anna” → “true”, for 1 h: 39 of 40 users would
               get another name or phone in one cycle
               approved 0 s ago by boris@crm-host
    History    1 h ago: changed from Ann, phone 79261234500 to Anna, phone
               79261234567, approved by boris@crm-host (cycle 41)
               1 h ago: added as Anna, phone 79261234567, approved by boris@crm-host
               (cycle 41)
    Verdict    ✗ the change has to be approved; until then, Wazzup keeps the old
               values
               → if the CRM's values are right: `wazzup-sync approve 7`; otherwise,
                 correct them in the CRM
    ");
    insta::assert_snapshot!(shown(&facts, 120), @r"
    Id         “7”
    CRM        Anna, phone 8 926 123-45-67
               A similar id have a row: “ 7”, “7 ”. Case and blanks count in ids.
    To send    Anna, no phone
               without the phone (INVALID_PHONE)
               The phone is also that of “9”, “10”.
    Known      Anna, no phone (acknowledged by Wazzup 1 h ago)
               missing from the CRM for 3 min
    Lost       sent as Anne, phone 79261234567 without an answer 60 s ago, may still happen within 60 s
               sent for removal without an answer 1 h ago
               Nobody knows whether Wazzup did this, so the user is sent again until it is certain what Wazzup has.
    Wazzup     Anna\u{1b}[2J, no phone shown (asked now)
    Failures   not synced, INVALID_USERS_DATA: our own words for this code
               for 1 h; tried 1 time; tried again in 5 min, or when the CRM's row changes (request ab-1 for Wazzup's
               support)
               without phone, INVALID_PHONE, for 1 h
    Held       the change of name: “Anna” → “true”, for 1 h: 39 of 40 users would get another name or phone in one cycle
               approved 0 s ago by boris@crm-host
    History    1 h ago: changed from Ann, phone 79261234500 to Anna, phone 79261234567, approved by boris@crm-host (cycle
               41)
               1 h ago: added as Anna, phone 79261234567, approved by boris@crm-host (cycle 41)
    Verdict    ✗ the change has to be approved; until then, Wazzup keeps the old values
               → if the CRM's values are right: `wazzup-sync approve 7`; otherwise, correct them in the CRM
    ");
}

#[test]
fn an_outage_of_everything() {
    let mut facts = facts(Planned::Nothing, down());
    facts.crm = Err("the CRM database is unavailable: connection refused".into());
    facts.state = Err("the state database is unavailable: connection refused".into());
    insta::assert_snapshot!(shown(&facts, 80), @r"
    Id         “7”
    CRM        ✗ the CRM database is unavailable: connection refused
    State      ✗ the state database is unavailable: connection refused
    Wazzup     ! Wazzup is unavailable: no answer
    Verdict    ✗ nothing can be told: neither the CRM nor the state can be read
               → `wazzup-sync check` says what is wrong with them
    ");
}

#[test]
fn the_json_is_documented() {
    let send = Planned::Send {
        change: Change::Add,
        phone: Some("79261234567".into()),
    };
    let with_phone = Live::There(RemoteUser {
        id: "7".into(),
        name: "Anna".into(),
        phone: Some("79261234567".into()),
    });
    let mut known = with_user(with_row(facts(send, with_phone), true), None);
    let acknowledged = state(&mut known)
        .user
        .as_mut()
        .and_then(|user| user.acknowledged.as_mut());
    acknowledged.unwrap().phone = "79261234567".parse().ok();
    let mut unknown = facts(Planned::Nothing, down());
    unknown.crm = Err("no".into());
    unknown.state = Err("no".into());
    let mut rejected = with_row(facts(Planned::Reject, Live::Absent), true);
    crm(&mut rejected).entry = None;
    crm(&mut rejected).rejected = Some(RowProblem::InvalidName);
    crm(&mut rejected).rows[0].name = None;
    crm(&mut rejected).rows[0].phone = None;
    let kept = with_user(facts(Planned::Stay(StayReason::Kept), down()), Some(3));
    let samples: Vec<Value> = [everything(), known, unknown, rejected, removed(kept)]
        .iter()
        .map(json::to_json)
        .collect();
    json_docs::compare("explain", &samples);
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is a snapshot")]
fn each_way_ends_in_its_verdict() {
    use Planned::{BackOff, Nothing, Reject, Remove, Settle, Stay, Unchanged, WaitForLeaver, WaitForSeat};

    let hold = |kind| Planned::Hold { kind, is_new: false };
    let send = |change| Planned::Send { change, phone: None };
    let employee = |planned, live| with_row(facts(planned, live), true);
    let user = |planned, live| with_user(employee(planned, live), None);
    let leaver = |planned| with_user(facts(planned, there("Anna")), Some(30));
    let mut rejected = with_row(facts(Reject, Live::Absent), false);
    crm(&mut rejected).rejected = Some(RowProblem::DuplicateId);
    let mut too_long = facts(Nothing, down());
    too_long.id = "x".repeat(201);
    let mut elsewhere = user(Unchanged, Live::Absent);
    elsewhere.is_other_account = true;
    let mut without_id = facts(Nothing, Live::Absent);
    crm(&mut without_id).missing_ids = 2;
    let new_hold = Planned::Hold {
        kind: HoldKind::Remove,
        is_new: true,
    };
    let cases = vec![
        user(Unchanged, there("Anna")),
        user(Unchanged, down()),
        user(Unchanged, Live::Absent),
        user(Unchanged, there("Ann")),
        elsewhere,
        employee(send(Change::Add), Live::Absent),
        employee(send(Change::Adopt), there("anna")),
        with_failure(
            user(send(Change::Update), there("Anna")),
            Operation::Upsert,
            "HTTP_500",
            false,
        ),
        with_failure(user(BackOff, there("Anna")), Operation::Upsert, "HTTP_500", false),
        with_failure(user(Unchanged, there("Anna")), Operation::Phone, "INVALID_PHONE", true),
        with_failure(
            user(Unchanged, there("Anna")),
            Operation::Phone,
            "DUPLICATE_PHONE_NUMBER",
            false,
        ),
        employee(WaitForSeat, Live::Absent),
        employee(WaitForLeaver("3".into()), Live::Absent),
        employee(hold(HoldKind::Takeover), there("Olga")),
        user(hold(HoldKind::Update), there("Anna")),
        user(Planned::Stop, there("Anna")),
        user(Planned::Release, there("Anna")),
        rejected,
        too_long,
        leaver(hold(HoldKind::Remove)),
        leaver(new_hold),
        leaver(Remove { approved: true }),
        leaver(Remove { approved: false }),
        leaver(Stay(StayReason::InGrace)),
        leaver(Stay(StayReason::Kept)),
        leaver(Settle),
        with_failure(
            leaver(Stay(StayReason::BackingOff)),
            Operation::Remove,
            "HTTP_500",
            false,
        ),
        removed(facts(Nothing, Live::Absent)),
        removed(facts(Nothing, there("Anna"))),
        facts(Nothing, there("Anna")),
        facts(Nothing, Live::Absent),
        without_id,
        facts(Nothing, down()),
        with_row(facts(Nothing, Live::Absent), false),
    ];
    let mut page = Page::with_width(2, 120);
    for facts in &cases {
        let verdict = verdict::of(facts);
        page.marked("", verdict.mark, &verdict.reason);
        if let Some(remedy) = &verdict.remedy {
            page.remedy(remedy);
        }
    }
    insta::assert_snapshot!(page.plain_text(), @r#"
    ✓ in sync: Wazzup has what the CRM wants
    ✓ in sync as far as we know: Wazzup could not be asked
    ✗ added to Wazzup earlier, but not there any more: somebody deleted the user there
    → `wazzup-sync retry 7` adds the user again in the next cycle; the next comparison with Wazzup's list does, too
    ! somebody renamed the user in Wazzup
    → `wazzup-sync retry 7` restores the CRM's name in the next cycle; the next comparison with Wazzup's list does, too
    ! the key or wazzup.base_url has changed since the last comparison: perhaps another account was asked
    → `wazzup-sync check` says whether this is the right account
    ! not in Wazzup yet; the next cycle adds the user
    → nothing: the daemon's next cycle does this
    ! in Wazzup already under the same name; the next cycle adopts the user
    → nothing: the daemon's next cycle does this
    ! changed in the CRM; the next cycle sends the change; the last attempt failed (HTTP_500)
    → nothing: the daemon's next cycle does this
    ✗ not synced (HTTP_500); the next attempt is in 5 min
    → `wazzup-sync retry 7` tries in the next cycle; Wazzup's support can look up the request
    ! in Wazzup, but without the phone: the phone is not a valid number; the rest of the row is synced
    → correct the phone in the CRM: the next cycle sends it
    ! in Wazzup, but without the phone (DUPLICATE_PHONE_NUMBER)
    → correct the phone in the CRM, or find who has the phone in Wazzup: none of our users has it
    ! waits for a seat: the Wazzup account has no room for another user
    → remove users in Wazzup or book more seats; `wazzup-sync retry 7` then tries in the next cycle
    ! waits for “3”, who has the same name or phone and is leaving: perhaps the same person under a new id
    → nothing: once “3” is removed or back in the CRM, the next cycle goes on; `wazzup-sync approve` lists what is held
    ✗ not synced: the take-over has to be approved
    → if this is the same person: `wazzup-sync approve 7`; otherwise, give the employee another id in the CRM
    ✗ the change has to be approved; until then, Wazzup keeps the old values
    → if the CRM's values are right: `wazzup-sync approve 7`; otherwise, correct them in the CRM
    ✗ nothing is sent for anybody until it is certain that this is the right Wazzup account
    → `wazzup-sync status` says what was seen; `wazzup-sync approve` says that the account is the right one
    ! gives up the phone in the next cycle, so that somebody else can have it
    → nothing: the daemon's next cycle does this
    ✗ not synced: several rows have this id and differ
    → keep one of the rows
    ! no user can have this id: it has 201 characters, and 200 is the most
    → check the id
    ✗ not in the CRM, and the removal has to be approved
    → if the person has left: `wazzup-sync approve 7`; to keep the user, add a row with exactly this id to the CRM
    ✗ not in the CRM, and the removal has to be approved
    → if the person has left: `wazzup-sync approve 7`, once a cycle has held this; to keep the user, add a row with
      exactly this id to the CRM
    ! not in the CRM; the removal is approved, and the next cycle carries it out
    → to keep the user, add a row with exactly this id to the CRM
    ! not in the CRM; the next cycle removes the user
    → to keep the user, add a row with exactly this id to the CRM
    ! not in the CRM; in grace: removed in 1 h 30 min, unless the person comes back
    → to keep the user, add a row with exactly this id to the CRM
    ! not in the CRM; the user stays in Wazzup, since removals.policy is "keep"
    ✓ removed; since a request got no answer, it is made certain that the user stays away
    ✗ not in the CRM, and the removal failed (HTTP_500); the next attempt is in 5 min
    → remove the user in Wazzup by hand, or try now: `wazzup-sync retry 7`
    ✓ not in the CRM; removed from Wazzup 1 h ago
    → to have the person in Wazzup, add a row with exactly this id to the CRM
    ! not in the CRM; we removed the user 1 h ago, and somebody created it again in Wazzup: not ours, left alone
    → remove the user in Wazzup by hand, if nobody needs it
    ! not in the CRM; somebody else created this user in Wazzup: not ours, left alone
    → nothing; with a row of this id in the CRM, the user would be adopted if the name is the same, and held otherwise
    ! unknown: not in the CRM, not one of our users, not in Wazzup
    → check the id, character by character; to have the person in Wazzup, add a row with exactly this id to the CRM
    ! unknown: not in the CRM, not one of our users, not in Wazzup; 2 rows of the CRM without an id may be this person's
    → check the id, character by character; to have the person in Wazzup, add a row with exactly this id to the CRM
    ! not in the CRM, and not one of our users; Wazzup could not be asked
    → to have the person in Wazzup, add a row with exactly this id to the CRM
    ✓ not active in the CRM, and not in Wazzup
    → to have the person in Wazzup, make the row in the CRM active
    "#);
}
