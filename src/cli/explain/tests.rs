use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    super::{invocation::Invocation, page::Page, tests::json_docs},
    *,
};
use crate::{
    delivery::Change,
    employee::{Employee, EmployeeId, FullName, Phone},
    plan::{
        Approval, BatchEntry, Hold, HoldKey, HoldKind, LostContent, PlannedRemoval, PlannedUpsert, StayReason,
        StayingUser, WaitingEmployee,
    },
    state::HistoryOperation,
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).unwrap()
}

fn acknowledged(name: &str, phone: Option<&str>) -> Acknowledged {
    Acknowledged {
        name: FullName::parse(name).unwrap(),
        phone: phone.map(|phone| phone.parse().unwrap()),
        phone_spelling: None,
    }
}

fn there(name: &str) -> Live {
    Live::There(RemoteUser {
        name: name.into(),
        phone: None,
    })
}

fn down() -> Live {
    Live::Unknown {
        reason: "Wazzup is unavailable: no answer".into(),
    }
}

/// Number 7, of whom nobody knows anything but what `live` says.
fn nobody(plan: Plan, live: Live) -> Findings {
    Findings {
        id: "7".into(),
        crm: Some(InCrm::default()),
        crm_error: None,
        to_send: None,
        snapshot: None,
        state_error: None,
        lost: Vec::new(),
        wazzup: live,
        failures: Vec::new(),
        held: Holds::new(),
        history: Vec::new(),
        plan: Some(plan),
        now: now(),
        is_running: true,
        is_other_account: false,
        grace: HOUR * 2,
        invocation: Invocation::default(),
    }
}

impl Findings {
    fn crm_mut(&mut self) -> &mut InCrm {
        self.crm.as_mut().unwrap()
    }

    fn with_row(mut self, is_active: bool) -> Self {
        self.crm_mut().rows = vec![CrmRow {
            id: Some("7".into()),
            name: Some("Anna".into()),
            phone: Some("8 926 123-45-67".into()),
            is_active,
        }];
        self.to_send = is_active.then(|| acknowledged("Anna", Some("79261234567")));
        self
    }

    /// One of our users, absent from the CRM since `minutes`.
    fn with_user(mut self, absent_minutes: Option<i64>) -> Self {
        self.snapshot = Some(User {
            acknowledged: Some(acknowledged("Anna", None)),
            absent_since: absent_minutes.map(|minutes| now() - SignedDuration::from_mins(minutes)),
            synced_at: Some(now() - HOUR),
        });
        self
    }

    fn with_failure(mut self, operation: Operation, code: &str, is_local: bool) -> Self {
        self.failures.push(Failure {
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
        self
    }

    fn removed(mut self) -> Self {
        self.history.push(HistoryEntry {
            name_after: None,
            phone_after: None,
            ..history(HistoryOperation::Remove)
        });
        self
    }
}

fn hold(kind: HoldKind, since: Timestamp) -> (HoldKey, Hold) {
    let hold = Hold {
        content: r#"{"name":"true","phone":null}"#.into(),
        reason: "39 of 40 users would get another name or phone in one cycle".into(),
        since,
        sticky: true,
        approved: None,
    };
    (HoldKey::new(kind, "7"), hold)
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

fn holding(kind: HoldKind, since: Timestamp) -> Plan {
    Plan {
        holds: [hold(kind, since)].into(),
        ..Plan::default()
    }
}

fn held(kind: HoldKind) -> Plan {
    holding(kind, now() - HOUR)
}

fn sending(change: Change) -> Plan {
    let employee = Employee {
        id: id("7"),
        name: FullName::parse("Anna").unwrap(),
        phone: None,
    };
    let upsert = PlannedUpsert {
        entry: BatchEntry {
            employee,
            phone_spelling: None,
            change,
        },
        wanted_phone: None,
        before: None,
        name_in_wazzup: None,
        takes_seat: false,
        waits_for: Vec::new(),
        phone_waits_for: Vec::new(),
    };
    Plan {
        upserts: vec![upsert],
        ..Plan::default()
    }
}

fn releasing() -> Plan {
    let sending = sending(Change::Release);
    Plan {
        releases: sending.upserts.into_iter().map(|upsert| upsert.entry).collect(),
        ..Plan::default()
    }
}

fn removing(approved: bool) -> Plan {
    let removal = PlannedRemoval {
        id: id("7"),
        name: None,
        approved,
    };
    Plan {
        removals: vec![removal],
        ..Plan::default()
    }
}

fn staying(reason: StayReason) -> Plan {
    let user = StayingUser {
        id: id("7"),
        name: None,
        reason,
    };
    Plan {
        staying: vec![user],
        ..Plan::default()
    }
}

fn waiting_for(leaver: &str) -> Plan {
    let waiting = WaitingEmployee {
        id: id("7"),
        leaver: id(leaver),
    };
    Plan {
        waiting_for_leavers: vec![waiting],
        ..Plan::default()
    }
}

/// Something in every section.
fn everything() -> Findings {
    let mut findings = nobody(held(HoldKind::Update), there("Anna\u{1b}[2J"))
        .with_row(true)
        .with_user(Some(3))
        .with_failure(Operation::Upsert, "INVALID_USERS_DATA", false)
        .with_failure(Operation::Phone, "INVALID_PHONE", true);
    findings.to_send = Some(acknowledged("Anna", None));
    findings.crm_mut().similar_ids = vec![" 7".into(), "7 ".into()];
    findings.crm_mut().same_phone = vec!["9".into(), "10".into()];
    let (key, mut hold) = hold(HoldKind::Update, now() - HOUR);
    hold.approved = Some(Approval {
        at: now(),
        by: "boris@crm-host".into(),
    });
    findings.held.insert(key, hold);
    findings.lost = vec![
        LostEntry {
            content: LostContent::Upsert {
                name: FullName::parse("Anne").unwrap(),
                phone: "79261234567".parse::<Phone>().ok(),
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
    findings.history = vec![
        history(HistoryOperation::Upsert(Change::Update)),
        history(HistoryOperation::Upsert(Change::Add)),
    ];
    findings
}

fn shown(findings: Findings, width: usize) -> String {
    let mut page = Page::with_width(width);
    text::write(&mut page, &Explanation::new(findings));
    let text = page.plain_text();
    let too_long = text.lines().find(|line| line.chars().count() > width);
    assert_eq!(too_long, None);
    text
}

#[test]
fn something_in_every_section() {
    insta::assert_snapshot!(shown(everything(), 60), @r"
    Id            “7”
    CRM           Anna, phone “8 926 123-45-67”
                  Rows with similar ids: “ 7”, “7 ”. Case and
                  blanks count in ids.
    To send       Anna, without the phone (INVALID_PHONE)
                  The phone is also that of 9, 10.
    Known         Anna, no phone (acknowledged by Wazzup 1 h
                  ago)
                  missing from the CRM for 3 min
    Lost          sent as Anne, phone 79261234567, no answer, 60
                  s ago; may still happen within 60 s
                  sent for removal, no answer, 1 h ago
                  Nobody knows whether Wazzup did this, so the
                  user is sent again until it is certain what
                  Wazzup has.
    Wazzup        Anna\u{1b}[2J, phone not shown (asked now)
    Failures      not synced, INVALID_USERS_DATA: our own words
                  for this code
                  for 1 h; tried 1 time; tried again in 5 min,
                  or when the CRM's row changes (request ab-1
                  for Wazzup's support)
                  without phone, INVALID_PHONE, for 1 h
    Held          the change: name: “Anna” → “true”
                  for 1 h: 39 of 40 users would get another name
                  or phone in one cycle
                  approved 0 s ago by boris@crm-host
    History       1 h ago, update: Ann, phone 79261234500 →
                  Anna, phone 79261234567 (approved by
                  boris@crm-host, cycle 41)
                  1 h ago, add: Ann, phone 79261234500 → Anna,
                  phone 79261234567 (approved by boris@crm-host,
                  cycle 41)
    Verdict       ✗ the change has to be approved; until then,
                  nothing changes in Wazzup
                  → if the CRM's values are right:
                    `wazzup-sync approve 7`; otherwise, correct
                    the CRM's rows or crm.columns
    ");
    insta::assert_snapshot!(shown(everything(), 80), @r"
    Id            “7”
    CRM           Anna, phone “8 926 123-45-67”
                  Rows with similar ids: “ 7”, “7 ”. Case and blanks count in ids.
    To send       Anna, without the phone (INVALID_PHONE)
                  The phone is also that of 9, 10.
    Known         Anna, no phone (acknowledged by Wazzup 1 h ago)
                  missing from the CRM for 3 min
    Lost          sent as Anne, phone 79261234567, no answer, 60 s ago; may still
                  happen within 60 s
                  sent for removal, no answer, 1 h ago
                  Nobody knows whether Wazzup did this, so the user is sent again
                  until it is certain what Wazzup has.
    Wazzup        Anna\u{1b}[2J, phone not shown (asked now)
    Failures      not synced, INVALID_USERS_DATA: our own words for this code
                  for 1 h; tried 1 time; tried again in 5 min, or when the CRM's row
                  changes (request ab-1 for Wazzup's support)
                  without phone, INVALID_PHONE, for 1 h
    Held          the change: name: “Anna” → “true”
                  for 1 h: 39 of 40 users would get another name or phone in one
                  cycle
                  approved 0 s ago by boris@crm-host
    History       1 h ago, update: Ann, phone 79261234500 → Anna, phone 79261234567
                  (approved by boris@crm-host, cycle 41)
                  1 h ago, add: Ann, phone 79261234500 → Anna, phone 79261234567
                  (approved by boris@crm-host, cycle 41)
    Verdict       ✗ the change has to be approved; until then, nothing changes in
                  Wazzup
                  → if the CRM's values are right: `wazzup-sync approve 7`;
                    otherwise, correct the CRM's rows or crm.columns
    ");
    insta::assert_snapshot!(shown(everything(), 120), @r"
    Id            “7”
    CRM           Anna, phone “8 926 123-45-67”
                  Rows with similar ids: “ 7”, “7 ”. Case and blanks count in ids.
    To send       Anna, without the phone (INVALID_PHONE)
                  The phone is also that of 9, 10.
    Known         Anna, no phone (acknowledged by Wazzup 1 h ago)
                  missing from the CRM for 3 min
    Lost          sent as Anne, phone 79261234567, no answer, 60 s ago; may still happen within 60 s
                  sent for removal, no answer, 1 h ago
                  Nobody knows whether Wazzup did this, so the user is sent again until it is certain what Wazzup has.
    Wazzup        Anna\u{1b}[2J, phone not shown (asked now)
    Failures      not synced, INVALID_USERS_DATA: our own words for this code
                  for 1 h; tried 1 time; tried again in 5 min, or when the CRM's row changes (request ab-1 for Wazzup's
                  support)
                  without phone, INVALID_PHONE, for 1 h
    Held          the change: name: “Anna” → “true”
                  for 1 h: 39 of 40 users would get another name or phone in one cycle
                  approved 0 s ago by boris@crm-host
    History       1 h ago, update: Ann, phone 79261234500 → Anna, phone 79261234567 (approved by boris@crm-host, cycle 41)
                  1 h ago, add: Ann, phone 79261234500 → Anna, phone 79261234567 (approved by boris@crm-host, cycle 41)
    Verdict       ✗ the change has to be approved; until then, nothing changes in Wazzup
                  → if the CRM's values are right: `wazzup-sync approve 7`; otherwise, correct the CRM's rows or crm.columns
    ");
}

#[test]
fn an_outage_of_everything() {
    let mut findings = nobody(Plan::default(), down());
    findings.crm = None;
    findings.plan = None;
    findings.crm_error = Some("the CRM database is unavailable: connection refused".into());
    findings.state_error = Some("the state database is unavailable: connection refused".into());
    insta::assert_snapshot!(shown(findings, 80), @r"
    Id            “7”
    CRM           ✗ the CRM database is unavailable: connection refused
    State         ✗ the state database is unavailable: connection refused
    Wazzup        ! Wazzup is unavailable: no answer
    Verdict       ✗ nothing can be told: neither the CRM nor the state can be read
                  → `wazzup-sync check` says what to do about that
    ");
}

#[test]
fn the_json_is_documented() {
    let with_phone = Live::There(RemoteUser {
        name: "Anna".into(),
        phone: Some("79261234567".into()),
    });
    let mut known = nobody(sending(Change::Update), with_phone)
        .with_row(true)
        .with_user(None);
    known.snapshot.as_mut().unwrap().acknowledged = Some(acknowledged("Anna", Some("79261234567")));
    let mut unknown = nobody(Plan::default(), down());
    unknown.crm = None;
    unknown.plan = None;
    unknown.crm_error = Some("no".into());
    unknown.state_error = Some("no".into());
    let mut rejected = nobody(Plan::default(), Live::Absent).with_row(true);
    rejected.to_send = None;
    rejected.crm_mut().rejected = Some(RowProblem::InvalidName);
    rejected.crm_mut().rows[0].name = None;
    rejected.crm_mut().rows[0].phone = None;
    let mut kept = nobody(staying(StayReason::Kept), down()).with_user(Some(3)).removed();
    kept.snapshot.as_mut().unwrap().synced_at = None;
    let (key, hold) = hold(HoldKind::Account, now());
    kept.held.insert(key, hold);
    let samples = [everything(), known, unknown, rejected, kept];
    let samples = samples.map(|findings| serde_json::to_value(Explanation::new(findings)).unwrap());
    let unapproved: &Value = &samples[4]["held"][0];
    assert_eq!(
        (&unapproved["user_id"], &unapproved["approved"]),
        (&Value::Null, &false.into())
    );
    json_docs::compare("explain", &samples);
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is a snapshot")]
fn each_way_ends_in_its_verdict() {
    let applicant = |plan, live| nobody(plan, live).with_row(true);
    let user = |plan, live| applicant(plan, live).with_user(None);
    let leaver = |plan| nobody(plan, there("Anna")).with_user(Some(30));
    let at_rest = Plan::default;
    let mut rejected = nobody(at_rest(), Live::Absent).with_row(false);
    rejected.crm_mut().rejected = Some(RowProblem::DuplicateId);
    let mut too_long = nobody(at_rest(), down()).with_row(true);
    too_long.id = "x".repeat(201);
    too_long.crm_mut().rejected = Some(RowProblem::InvalidId);
    let mut elsewhere = user(at_rest(), Live::Absent);
    elsewhere.is_other_account = true;
    let mut without_id = nobody(at_rest(), Live::Absent);
    without_id.crm_mut().missing_ids = 2;
    let (_, doubt) = hold(HoldKind::Account, now());
    let doubted = Plan {
        holds: [(HoldKey::account(), doubt)].into(),
        ..Plan::default()
    };
    let backing_off = || Plan {
        backing_off: vec![id("7")],
        ..Plan::default()
    };
    let seatless = Plan {
        waiting_for_seat: vec![id("7")],
        ..Plan::default()
    };
    let pending = Plan {
        pending: [id("7")].into(),
        ..Plan::default()
    };
    let mut stopped = applicant(sending(Change::Add), Live::Absent);
    stopped.is_running = false;
    let cases = vec![
        user(at_rest(), there("Anna")),
        user(at_rest(), down()),
        user(at_rest(), Live::Absent),
        user(at_rest(), there("Ann")),
        elsewhere,
        applicant(sending(Change::Add), Live::Absent),
        stopped,
        applicant(sending(Change::Adopt), there("anna")),
        user(sending(Change::Update), there("Anna")).with_failure(Operation::Upsert, "HTTP_500", false),
        user(backing_off(), there("Anna")).with_failure(Operation::Upsert, "HTTP_500", false),
        user(backing_off(), there("Anna")).with_failure(Operation::Upsert, "INVALID_USERS_DATA", false),
        user(at_rest(), there("Anna")).with_failure(Operation::Phone, "INVALID_PHONE", true),
        user(at_rest(), there("Anna")).with_failure(Operation::Phone, "DUPLICATE_PHONE_NUMBER", false),
        applicant(seatless, Live::Absent),
        applicant(waiting_for("3"), Live::Absent),
        user(pending, there("Anna")),
        applicant(held(HoldKind::Takeover), there("Olga")),
        user(held(HoldKind::Update), there("Anna")),
        user(doubted, there("Anna")),
        user(releasing(), there("Anna")),
        rejected,
        too_long,
        leaver(held(HoldKind::Remove)),
        leaver(holding(HoldKind::Remove, now())),
        leaver(removing(true)),
        leaver(removing(false)),
        leaver(staying(StayReason::InGrace)),
        leaver(staying(StayReason::Kept)),
        leaver(at_rest()),
        leaver(staying(StayReason::BackingOff)).with_failure(Operation::Remove, "HTTP_500", false),
        nobody(at_rest(), Live::Absent).removed(),
        nobody(at_rest(), there("Anna")).removed(),
        nobody(at_rest(), there("Anna")),
        nobody(at_rest(), Live::Absent),
        without_id,
        nobody(at_rest(), down()),
        nobody(at_rest(), Live::Absent).with_row(false),
    ];
    let mut page = Page::with_width(120);
    for findings in &cases {
        page.advice("", &verdict::of(findings));
    }
    insta::assert_snapshot!(page.plain_text(), @r#"
    ✓ in sync: Wazzup has what the CRM wants
    ✓ in sync as far as we know: Wazzup could not be asked
    ✗ somebody deleted the user in Wazzup
    → `wazzup-sync retry 7` corrects that in the next cycle; the next comparison with Wazzup's list does, too
    ! somebody renamed the user in Wazzup
    → `wazzup-sync retry 7` corrects that in the next cycle; the next comparison with Wazzup's list does, too
    ! the key or wazzup.base_url has changed since the last comparison: perhaps another account was asked
    → `wazzup-sync check` says whether this is the right account
    ! not in Wazzup yet; the next cycle adds the user
    ! not in Wazzup yet; the next cycle adds the user
    → no daemon is running: `wazzup-sync run` starts it, `wazzup-sync once` runs one cycle
    ! in Wazzup already under the same name; the next cycle adopts the user
    ! changed in the CRM; the next cycle sends the change; the last attempt failed (HTTP_500)
    ✗ not synced (HTTP_500; the next attempt is in 5 min)
    → `wazzup-sync retry 7` tries in the next cycle; Wazzup's support can look up the request
    ✗ not synced (INVALID_USERS_DATA; the next attempt is in 5 min)
    → correct the id and the name in the CRM: what changed is sent in the next cycle
    ! in Wazzup, but without the phone: the phone is not a valid number; the rest of the row is synced
    → correct the phone in the CRM: the next cycle sends it
    ! in Wazzup, but without the phone: DUPLICATE_PHONE_NUMBER
    → correct the phone in the CRM, or find who has the phone in Wazzup: none of our users has it
    ! waits for a seat: the Wazzup account has no room for another user
    → remove users in Wazzup or book more seats; `wazzup-sync retry 7` then tries in the next cycle
    ! waits for “3”, who has the same name or phone and is leaving: perhaps the same person under a new id
    → nothing: this goes on once “3” is removed or back in the CRM; `wazzup-sync explain 3` says what that
      takes
    ! waits for somebody who is leaving to give up the phone; everything else is synced
    → nothing: `wazzup-sync plan` shows who waits for whom
    ✗ the take-over has to be approved; until then, nothing changes in Wazzup
    → if this is the same person: `wazzup-sync approve 7`; otherwise, give the employee another id in the CRM
    ✗ the change has to be approved; until then, nothing changes in Wazzup
    → if the CRM's values are right: `wazzup-sync approve 7`; otherwise, correct the CRM's rows or crm.columns
    ✗ nothing is sent for anybody until it is certain that this is the right Wazzup account
    → `wazzup-sync status` says what was seen; if the account is the right one: `wazzup-sync approve`
    ! the next cycle takes the phone away, so that somebody else can have it
    ✗ not synced: several rows have this id and differ
    → keep one of the rows
    ✗ not synced: the id is longer than 200 characters
    → give the row a shorter id
    ✗ the removal has to be approved; until then, nothing changes in Wazzup
    → if the person has left: `wazzup-sync approve 7`; otherwise, correct the CRM's rows, crm.table or
      crm.columns
    ✗ the removal has to be approved; until then, nothing changes in Wazzup
    → if the person has left: `wazzup-sync approve 7`, once a cycle has held this; otherwise, correct the
      CRM's rows, crm.table or crm.columns
    ! not in the CRM; the next cycle removes the user, as was approved
    → to keep the user, add a row with exactly this id to the CRM
    ! not in the CRM; the next cycle removes the user
    → to keep the user, add a row with exactly this id to the CRM
    ! not in the CRM; removed once that has lasted 2 h (removals.grace), unless the person comes back
    → to keep the user, add a row with exactly this id to the CRM
    ! not in the CRM; the user stays in Wazzup, since removals.policy is "keep"
    ✓ removed; since a request got no answer, it is made certain that the user stays away
    ✗ not in the CRM, and the removal failed (HTTP_500; the next attempt is in 5 min)
    → remove the user in Wazzup by hand, or try now: `wazzup-sync retry 7`
    ✓ not in the CRM; removed from Wazzup 1 h ago
    → to have the person in Wazzup, add a row with exactly this id to the CRM
    ! not in the CRM; removed from Wazzup 1 h ago; somebody else created this user in Wazzup: not ours, left
    alone
    → remove the user in Wazzup by hand, if nobody needs it; with a row of this id in the CRM, it would be
      adopted if the name is the same, and held otherwise
    ! not in the CRM; somebody else created this user in Wazzup: not ours, left alone
    → remove the user in Wazzup by hand, if nobody needs it; with a row of this id in the CRM, it would be
      adopted if the name is the same, and held otherwise
    ! unknown: not in the CRM, not one of our users, not in Wazzup
    → check the id, character by character; to have the person in Wazzup, add a row with exactly this id to
      the CRM
    ! unknown: not in the CRM, not one of our users, not in Wazzup; 2 rows of the CRM without an id may be
    this person's
    → check the id, character by character; to have the person in Wazzup, add a row with exactly this id to
      the CRM
    ! not in the CRM, and not one of our users; Wazzup could not be asked
    → to have the person in Wazzup, add a row with exactly this id to the CRM
    ✓ not active in the CRM, and not in Wazzup
    → to have the person in Wazzup, make the row in the CRM active
    "#);
}
