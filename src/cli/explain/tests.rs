use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    super::{
        page::{self, Page},
        plan::tests as plan_tests,
        tests::json_docs,
    },
    *,
};
use crate::{
    delivery::Change,
    employee::{Employee, EmployeeId, FullName, Phone, Roster, RosterEntry},
    plan::{
        Acknowledged, Approval, BatchEntry, FailureKey, HoldKind, LostContent, Plan, PlannedRemoval, PlannedUpsert,
        Snapshot, StayReason, StayingUser, User, Waiting,
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
        phone: phone.map(|phone| Phone::parse(phone).unwrap()),
        phone_spelling: None,
    }
}

type Live = Result<Option<RemoteUser>, String>;

const ABSENT: Live = Ok(None);

#[expect(clippy::unnecessary_wraps, reason = "one of the ways in which Wazzup answers")]
fn there(name: &str) -> Live {
    Ok(Some(RemoteUser {
        name: name.into(),
        phone: None,
    }))
}

fn down() -> Live {
    Err("Wazzup is unavailable: no answer".into())
}

/// Number 7, of whom nobody knows anything but what `live` says.
fn nobody(plan: Plan, live: Live) -> Findings {
    let empty = plan_tests::view(Roster::default(), Snapshot::default(), plan_tests::POLICY, &[]);
    Findings {
        id: "7".into(),
        crm: InCrm::default(),
        crm_error: None,
        state_error: None,
        wazzup: live,
        history: Vec::new(),
        view: PlanView {
            plan,
            now: now(),
            ..empty
        },
    }
}

impl Findings {
    fn with_row(mut self, is_active: bool) -> Self {
        self.crm.rows = vec![CrmRow {
            id: Some("7".into()),
            name: Some("Anna".into()),
            phone: Some("8 926 123-45-67".into()),
            is_active,
        }];
        if is_active {
            let employee = Employee {
                id: id("7"),
                name: FullName::parse("Anna").unwrap(),
                phone: Phone::parse("79261234567"),
            };
            self.view.roster.entries.push(RosterEntry {
                employee,
                phone_spelling: None,
                has_unreadable_phone: false,
            });
        }
        self
    }

    /// One of our users, absent from the CRM since `minutes`.
    fn with_user(mut self, absent_minutes: Option<i64>) -> Self {
        let user = User {
            acknowledged: Some(acknowledged("Anna", None)),
            absent_since: absent_minutes.map(|minutes| now() - SignedDuration::from_mins(minutes)),
            synced_at: Some(now() - HOUR),
            ..User::default()
        };
        self.view.snapshot.users.insert(id("7"), user);
        self
    }

    fn with_failure(mut self, operation: Operation, code: &str, is_local: bool) -> Self {
        let failure = Failure {
            key: FailureKey::new("7", operation),
            code: code.into(),
            detail: "our own words for this code".into(),
            request_id: (!is_local).then(|| "ab-1".into()),
            attempts: u32::from(!is_local),
            is_local,
            name: None,
            phone: None,
            spelling: None,
        };
        let key = FailureKey::new("7", operation);
        let open = OpenFailure {
            next_attempt_at: (!is_local).then(|| now() + SignedDuration::from_mins(5)),
            ..OpenFailure::new(failure, now() - HOUR)
        };
        self.view.snapshot.failures.insert(key, open);
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
        crm_row: None,
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
        was_absent: false,
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
    Plan {
        waiting: [(id("7"), Waiting::ForLeaver(id(leaver)))].into(),
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
    findings.crm.similar_ids = vec![" 7".into(), "7 ".into()];
    findings.crm.same_phone = vec!["9".into(), "10".into()];
    let (key, mut hold) = hold(HoldKind::Update, now() - HOUR);
    hold.approved = Some(Approval {
        at: now(),
        by: "boris@crm-host".into(),
    });
    findings.view.snapshot.holds.insert(key, hold);
    let lost = vec![
        LostEntry {
            content: LostContent::Upsert {
                name: FullName::parse("Anne").unwrap(),
                phone: Phone::parse("79261234567"),
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
    findings.view.snapshot.lost.insert(id("7"), lost);
    findings.history = vec![history(HistoryOperation::Update), history(HistoryOperation::Add)];
    findings
}

fn shown(findings: &Findings) -> String {
    page::tests::shown(|page| findings.write(page))
}

#[test]
fn something_in_every_section() {
    insta::assert_snapshot!(shown(&everything()), @r"
    id              7
    rows            Anna, phone 8 926 123-45-67, active
    similar ids     “ 7”, “7 ”
    same phone      9, 10
    to send         Anna
    known           Anna, absent since 3 min ago, synced 1 h ago
    lost            upsert, Anne, phone 79261234567, lost 60 s ago, may land for 60
                    s
    lost            remove, lost 1 h ago
    wazzup          there, Anna\u{1b}[2J
    failures        user id 7, upsert, INVALID_USERS_DATA, our own words for this
                    code, request id ab-1, attempts 1, first 1 h ago, last 1 h ago,
                    next attempt in 5 min
    failures        user id 7, phone, INVALID_PHONE, our own words for this code, in
                    crm, first 1 h ago, last 1 h ago
    held            change, for 1 h; name “Anna” → “true”; 39 of 40 users would get
                    another name or phone in one cycle; approved by boris@crm-host 0
                    s ago
    history         1 h ago, cycle id 41, update, approved by boris@crm-host, name
                    before Ann, phone before 79261234500, name after Anna, phone
                    after 79261234567
    history         1 h ago, cycle id 41, add, approved by boris@crm-host, name
                    before Ann, phone before 79261234500, name after Anna, phone
                    after 79261234567
    verdict         ✗ the change has to be approved; until then, nothing changes in
                    Wazzup
                    → if the CRM's values are right: `wazzup-sync approve 7`;
                      otherwise, correct the CRM's rows or crm.columns
    ");
}

#[test]
fn an_outage_of_everything() {
    let mut findings = nobody(Plan::default(), down());
    findings.crm_error = Some("the CRM database is unavailable: connection refused".into());
    findings.state_error = Some("the state database is unavailable: connection refused".into());
    insta::assert_snapshot!(shown(&findings), @r"
    id              7
    crm error       the CRM database is unavailable: connection refused
    state error     the state database is unavailable: connection refused
    wazzup          unknown, Wazzup is unavailable: no answer
    verdict         ✗ the next step cannot be determined without both the CRM and
                    the state
                    → `wazzup-sync check` says what to do about that
    ");
}

#[test]
fn the_json_is_documented() {
    let with_phone = Ok(Some(RemoteUser {
        name: "Anna".into(),
        phone: Some("79261234567".into()),
    }));
    let mut known = nobody(sending(Change::Update), with_phone)
        .with_row(true)
        .with_user(None);
    let user = known.view.snapshot.users.get_mut("7").unwrap();
    user.acknowledged = Some(acknowledged("Anna", Some("79261234567")));
    let mut unknown = nobody(Plan::default(), down());
    unknown.crm_error = Some("no".into());
    unknown.state_error = Some("no".into());
    let mut rejected = nobody(Plan::default(), ABSENT).with_row(true);
    rejected.view.roster.entries.clear();
    rejected.crm.rejected = Some(RowProblem::InvalidName);
    rejected.crm.rows[0].name = None;
    rejected.crm.rows[0].phone = None;
    let mut kept = nobody(staying(StayReason::Kept), down()).with_user(Some(3)).removed();
    kept.view.snapshot.users.get_mut("7").unwrap().synced_at = None;
    let (key, hold) = hold(HoldKind::Account, now());
    kept.view.snapshot.holds.insert(key, hold);
    let samples = [everything(), known, unknown, rejected, kept];
    let samples = samples.map(|findings| findings.json());
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
    let mut rejected = nobody(at_rest(), ABSENT).with_row(false);
    rejected.crm.rejected = Some(RowProblem::DuplicateId);
    let mut too_long = nobody(at_rest(), down()).with_row(true);
    too_long.id = "x".repeat(201);
    too_long.crm.rejected = Some(RowProblem::InvalidId);
    let mut without_id = nobody(at_rest(), ABSENT);
    without_id.crm.missing_ids = 2;
    let (_, doubt) = hold(HoldKind::Account, now());
    let doubted = Plan {
        holds: [(HoldKey::account(), doubt)].into(),
        ..Plan::default()
    };
    let waiting = |reason| Plan {
        waiting: [(id("7"), reason)].into(),
        ..Plan::default()
    };
    let backing_off = || waiting(Waiting::BackingOff);
    let seatless = waiting(Waiting::ForSeat);
    let pending = waiting(Waiting::Pending);
    let cases = vec![
        user(at_rest(), there("Anna")),
        user(at_rest(), down()),
        user(at_rest(), ABSENT),
        user(at_rest(), there("Ann")),
        applicant(sending(Change::Add), ABSENT),
        applicant(sending(Change::Adopt), there("anna")),
        user(sending(Change::Update), there("Anna")).with_failure(Operation::Upsert, "HTTP_500", false),
        user(backing_off(), there("Anna")).with_failure(Operation::Upsert, "HTTP_500", false),
        user(backing_off(), there("Anna")).with_failure(Operation::Upsert, "INVALID_USERS_DATA", false),
        user(at_rest(), there("Anna")).with_failure(Operation::Phone, "INVALID_PHONE", true),
        user(at_rest(), there("Anna")).with_failure(Operation::Phone, "DUPLICATE_PHONE_NUMBER", false),
        applicant(seatless, ABSENT),
        applicant(waiting_for("3"), ABSENT),
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
        nobody(at_rest(), ABSENT).removed(),
        nobody(at_rest(), there("Anna")).removed(),
        nobody(at_rest(), there("Anna")),
        nobody(at_rest(), ABSENT),
        without_id,
        nobody(at_rest(), down()),
        nobody(at_rest(), ABSENT).with_row(false),
    ];
    let mut page = Page::with_width(120);
    for findings in &cases {
        page.advice("", &verdict::of(findings));
    }
    insta::assert_snapshot!(page.plain_text(), @r"
    ✓ in sync: Wazzup has what the CRM wants
    ✓ in sync as far as we know: Wazzup could not be asked
    ✗ Wazzup no longer has this user
    → the next comparison with Wazzup's list corrects this; `wazzup-sync retry 7` does so in the next cycle
    ✗ Wazzup has this user under another name
    → the next comparison with Wazzup's list corrects this; `wazzup-sync retry 7` does so in the next cycle
    ! not in Wazzup yet; the next cycle adds the user
    → nothing, if a daemon is running; otherwise, `wazzup-sync once` runs one cycle
    ! in Wazzup already under the same name; the next cycle adopts the user
    → nothing, if a daemon is running; otherwise, `wazzup-sync once` runs one cycle
    ! changed in the CRM; the next cycle sends the change
    → nothing, if a daemon is running; otherwise, `wazzup-sync once` runs one cycle
    ✗ refused (HTTP_500), tried again in 5 min
    → if the row is wrong, correct it in the CRM: the next cycle sends it; `wazzup-sync retry 7` sends it
      unchanged
    ✗ refused (INVALID_USERS_DATA), tried again in 5 min
    → if the row is wrong, correct it in the CRM: the next cycle sends it; `wazzup-sync retry 7` sends it
      unchanged
    ! in Wazzup, but not with the phone of the CRM (INVALID_PHONE)
    → correct the phone in the CRM; if it is right, see whether another user in Wazzup has it
    ! in Wazzup, but not with the phone of the CRM (DUPLICATE_PHONE_NUMBER)
    → correct the phone in the CRM; if it is right, see whether another user in Wazzup has it
    ! waits for a seat: the Wazzup account has no room for another user
    → remove users in Wazzup or book more seats; `wazzup-sync retry 7` then tries in the next cycle
    ! looks like 3, who is leaving: waits until 3 is removed or back in the CRM
    → nothing; perhaps this is the same person under a new id: see `wazzup-sync explain 3`
    ! waits for the phone of somebody who is leaving
    ✗ the take-over has to be approved; until then, nothing changes in Wazzup
    → if this is the same person: `wazzup-sync approve 7`; otherwise, give the employee another id in the
      CRM
    ✗ the change has to be approved; until then, nothing changes in Wazzup
    → if the CRM's values are right: `wazzup-sync approve 7`; otherwise, correct the CRM's rows or
      crm.columns
    ✗ the change of the Wazzup account has to be approved; until then, nothing changes in Wazzup
    → if this account is the right one from now on: `wazzup-sync approve` (after the next cycle); otherwise,
      correct the key or wazzup.base_url
    ! the next cycle takes the phone away, so that somebody else can have it
    → nothing, if a daemon is running; otherwise, `wazzup-sync once` runs one cycle
    ✗ nothing is sent: several rows have this id and differ
    → keep one of the rows
    ✗ nothing is sent: the id is longer than 200 characters
    → give the row a shorter id
    ✗ the removal has to be approved; until then, nothing changes in Wazzup
    → if the person has left: `wazzup-sync approve 7`; otherwise, correct the CRM's rows, crm.table or
      crm.columns
    ✗ the removal has to be approved; until then, nothing changes in Wazzup
    → if the person has left: `wazzup-sync approve 7` (after the next cycle); otherwise, correct the CRM's
      rows, crm.table or crm.columns
    ! no active row in the CRM; the next cycle removes the user
    → to keep the user, let the CRM have an active row with exactly this id
    ! no active row in the CRM; the next cycle removes the user
    → to keep the user, let the CRM have an active row with exactly this id
    ! no active row in the CRM; will be removed in the next cycle (removals.grace)
    → to keep the user, let the CRM have an active row with exactly this id
    ! no active row in the CRM; removals.policy says to keep everybody
    ✓ not in Wazzup as far as we know; a request got no answer, so the next cycles make certain of that
    ✗ no active row in the CRM; the removal was refused (HTTP_500), tried again in 5 min
    → remove the user in Wazzup by hand, or try now: `wazzup-sync retry 7`
    ✓ no active row in the CRM; removed from Wazzup 1 h ago; not in Wazzup
    → to have the person in Wazzup, let the CRM have an active row with exactly this id
    ! no active row in the CRM; removed from Wazzup 1 h ago; somebody else created this user in Wazzup: not
    ours, left alone
    → remove the user in Wazzup by hand, if nobody needs it
    ! no active row in the CRM; somebody else created this user in Wazzup: not ours, left alone
    → remove the user in Wazzup by hand, if nobody needs it
    ! no active row in the CRM; not in Wazzup
    → to have the person in Wazzup, let the CRM have an active row with exactly this id
    ! no active row in the CRM; not in Wazzup; 2 rows of the CRM without an id may be this person's
    → to have the person in Wazzup, let the CRM have an active row with exactly this id
    ! no active row in the CRM; not one of our users, and Wazzup could not be asked
    → to have the person in Wazzup, let the CRM have an active row with exactly this id
    ✓ no active row in the CRM; not in Wazzup
    → to have the person in Wazzup, let the CRM have an active row with exactly this id
    ");
}
