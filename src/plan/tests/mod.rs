//! Single rules of the plan.

mod account;
mod leavers;
mod others;
mod updates;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::employee::{FullName, Phone, PhoneReader, Roster, Row};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const LIMIT: Limit = Limit {
    above: 5,
    above_percent: 10,
};
const POLICY: Policy = Policy {
    removes: true,
    removals: LIMIT,
    grace: SignedDuration::ZERO,
    updates: LIMIT,
    always_takes_over: false,
};

/// What a plan is made from: at first an account without users, whose list was not read.
struct World {
    rows: Vec<(String, String, Option<String>)>,
    snapshot: Snapshot,
    list: RemoteList,
    policy: Policy,
}

impl World {
    fn new() -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.account.fingerprint = Some("ours".to_owned());
        Self {
            rows: Vec::new(),
            snapshot,
            list: RemoteList::unread("ours"),
            policy: POLICY,
        }
    }

    /// Employees `e1`… with names of their own and without phones, all in sync.
    fn with_users(count: usize) -> Self {
        let mut world = Self::new();
        for number in 1..=count {
            let name = format!("Employee {number}");
            world.wants(&format!("e{number}"), &name, None);
            world.has(&format!("e{number}"), &name, None);
        }
        world
    }

    /// The CRM wants this employee.
    fn wants(&mut self, id: &str, name: &str, phone: Option<u64>) {
        self.rows.retain(|(known, ..)| known != id);
        let phone = phone.map(|digits| digits.to_string());
        self.rows.push((id.to_owned(), name.to_owned(), phone));
    }

    /// Wazzup acknowledged this user.
    fn has(&mut self, id: &str, name: &str, phone: Option<u64>) {
        let user = User {
            acknowledged: Some(Acknowledged {
                name: full_name(name),
                phone: phone.map(phone_of),
                phone_spelling: None,
            }),
            synced_at: Some(NOW - SignedDuration::from_hours(1)),
            ..User::default()
        };
        self.snapshot.users.insert(employee_id(id), user);
    }

    /// The service refused this attempt an hour ago. It is tried again `due_in` from now.
    fn refused(&mut self, id: &str, operation: Operation, name: &str, phone: Option<u64>, due_in: SignedDuration) {
        let failure = Failure {
            key: FailureKey::new(id, operation),
            code: "DUPLICATE_PHONE_NUMBER".to_owned(),
            detail: String::new(),
            request_id: None,
            attempts: 1,
            is_local: false,
            name: Some(full_name(name)),
            phone: phone.map(phone_of),
            spelling: None,
        };
        let open = OpenFailure {
            next_attempt_at: Some(NOW + due_in),
            ..OpenFailure::new(failure, NOW - SignedDuration::from_hours(1))
        };
        let failures = &mut self.snapshot.failures;
        failures.insert(FailureKey::new(id, operation), open);
    }

    /// The first `count` of the users `e1`… are not named by the CRM any more, since so long ago.
    fn lacks(&mut self, count: usize, since: SignedDuration) {
        for number in 1..=count {
            let id = format!("e{number}");
            self.rows.retain(|(known, ..)| *known != id);
            let user = self.snapshot.users.get_mut(id.as_str()).expect("a user");
            user.absent_since = Some(NOW - since);
        }
    }

    /// The answer to this request was lost an hour ago; it may act until so long from now.
    fn lost(&mut self, id: &str, content: LostContent, lands_in: SignedDuration) {
        let entry = LostEntry {
            content,
            lost_at: NOW - SignedDuration::from_hours(1),
            may_land_until: NOW + lands_in,
        };
        let entries = self.snapshot.lost.entry(employee_id(id)).or_default();
        entries.push(entry);
    }

    /// Wazzup's list shows the first `count` of the users `e1`….
    fn shows_first(&mut self, count: usize, coverage: Coverage) {
        let mut names = BTreeMap::new();
        for number in 1..=count {
            names.insert(format!("e{number}"), format!("Employee {number}"));
        }
        self.list.add_list(names, coverage);
    }

    /// Wazzup's list shows these users.
    fn shows(&mut self, users: &[(&str, &str)], coverage: Coverage) {
        let mut names = BTreeMap::new();
        for (id, name) in users {
            names.insert((*id).to_owned(), (*name).to_owned());
        }
        self.list.add_list(names, coverage);
    }

    fn plan(&self) -> Plan {
        let rows = self.rows.iter().map(|(id, name, phone)| Row {
            id: Some(id),
            name: Some(name),
            phone: phone.as_deref(),
        });
        let roster = Roster::from_rows(rows, &PhoneReader::new("RU").expect("a region"));
        Plan::between(&roster, &self.snapshot, &self.list, &self.policy, NOW)
    }
}

fn employee_id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).expect("an id")
}

fn full_name(text: &str) -> FullName {
    FullName::parse(text).expect("a name")
}

fn phone_of(digits: u64) -> Phone {
    Phone::parse(&digits.to_string()).expect("a phone")
}

/// Who waits for this.
fn waiting<'a>(plan: &'a Plan, reason: &Waiting) -> Vec<&'a str> {
    let waiting = plan.waiting.iter().filter(|(_, waiting)| *waiting == reason);
    waiting.map(|(id, _)| id.as_str()).collect()
}

fn removed(plan: &Plan) -> Vec<&str> {
    plan.removals.iter().map(|removal| removal.id.as_str()).collect()
}

/// A hold since an hour ago.
fn hold(content: &str, is_approved: bool) -> Hold {
    let an_hour_ago = NOW - SignedDuration::from_hours(1);
    let approval = Approval {
        at: an_hour_ago,
        by: "operator@host".to_owned(),
    };
    Hold {
        content: content.to_owned(),
        crm_row: None,
        reason: "held".to_owned(),
        since: an_hour_ago,
        sticky: false,
        approved: is_approved.then_some(approval),
    }
}

/// The hold on the take-over of "Their Name" by the row of `crm_name`, who has no phone.
fn takeover_hold(crm_name: &str, is_approved: bool) -> Hold {
    Hold {
        crm_row: Some(format!(r#"{{"name":"{crm_name}","phone":null}}"#)),
        ..hold("Their Name", is_approved)
    }
}

fn upsert_of(name: &str, phone: Option<Phone>) -> LostContent {
    LostContent::Upsert {
        name: full_name(name),
        phone,
    }
}

fn ids(upserts: &[PlannedUpsert]) -> Vec<&str> {
    upserts.iter().map(|upsert| upsert.id().as_str()).collect()
}

#[test]
fn refused_phones_that_are_tried_again_are_not_held_as_updates() {
    let mut world = World::with_users(40);
    for number in 1..=20 {
        let (id, name) = (format!("e{number}"), format!("Employee {number}"));
        let phone = 79_260_000_000 + number;
        world.wants(&id, &name, Some(phone));
        world.refused(&id, Operation::Phone, &name, Some(phone), SignedDuration::ZERO);
    }
    let plan = world.plan();
    assert!(plan.holds.is_empty(), "{:?}", plan.holds);
    assert_eq!(plan.upserts.len(), 20);
}

#[test]
fn an_account_with_more_users_than_seats_is_not_asked_in_every_cycle() {
    let mut world = World::with_users(5);
    world.snapshot.account.seats.used = Some(5);
    world.snapshot.account.seats.limit = Some(3);
    world.wants("new", "Newly Hired", None);
    let plan = world.plan();
    assert_eq!(plan.questions, Questions::default());
    assert_eq!(waiting(&plan, &Waiting::ForSeat), ["new"]);
}

#[test]
fn a_look_up_without_an_answer_leaves_a_held_take_over_as_it_is() {
    let mut world = World::with_users(5);
    world.wants("x", "Our Name", None);
    let hold = takeover_hold("Our Name", false);
    let key = HoldKey::new(HoldKind::Takeover, "x");
    world.snapshot.holds.insert(key.clone(), hold.clone());
    world.shows(&[], Coverage::Unavailable("no answer".to_owned()));
    world.list.add_unanswered("x");
    let plan = world.plan();
    assert_eq!(plan.holds.get(&key), Some(&hold));
    assert!(plan.marks.is_empty(), "{:?}", plan.marks);
    assert!(plan.upserts.is_empty());
}

#[test]
fn a_user_who_could_not_be_put_right_is_not_in_sync_without_a_list() {
    let mut world = World::with_users(5);
    // An earlier list showed another name, and the service refused to put it right.
    let in_an_hour = SignedDuration::from_hours(1);
    world.refused("e1", Operation::Upsert, "Employee 1", None, in_an_hour);
    let plan = world.plan();
    assert_eq!(plan.marks.closed_failures, []);
    assert_eq!((plan.unchanged, ids(&plan.upserts)), (4, Vec::new()));
    world.refused("e1", Operation::Upsert, "Employee 1", None, SignedDuration::ZERO);
    assert_eq!(ids(&world.plan().upserts), ["e1"]);
}

#[test]
fn a_user_whom_an_earlier_list_lacked_goes_on_waiting_for_a_seat() {
    let mut world = World::with_users(5);
    world.snapshot.account.seats.used = Some(4);
    world.snapshot.account.seats.limit = Some(4);
    world.snapshot.account.waiting_for_seat.insert(employee_id("e1"));
    let plan = world.plan();
    assert_eq!(waiting(&plan, &Waiting::ForSeat), ["e1"]);
    assert_eq!(plan.unchanged, 4);
    world.snapshot.account.seats.used = Some(3);
    assert_eq!(ids(&world.plan().upserts), ["e1"]);
}

#[test]
fn a_lost_creation_that_is_found_counts_as_an_addition_without_a_further_seat() {
    let mut world = World::with_users(5);
    world.wants("new", "Newly Hired", None);
    let new = employee_id("new");
    world.snapshot.users.insert(new, User::default());
    let content = upsert_of("Newly Hired", None);
    world.lost("new", content, -SignedDuration::from_hours(1));
    world.shows_first(5, Coverage::Complete);
    world.shows(&[("new", "Newly Hired")], Coverage::Complete);
    let plan = world.plan();
    assert_eq!(ids(&plan.upserts), ["new"]);
    assert_eq!(
        (plan.upserts[0].entry.change, plan.upserts[0].takes_seat),
        (Change::Add, false)
    );
}

#[test]
fn the_list_is_read_before_an_addition_even_if_no_proof_is_needed() {
    let mut world = World::with_users(5);
    world.policy.always_takes_over = true;
    world.wants("new", "Newly Hired", None);
    assert!(world.plan().questions.list);
    world.shows(&[], Coverage::Unavailable("no answer".to_owned()));
    let plan = world.plan();
    assert_eq!(plan.questions, Questions::default());
    assert_eq!(ids(&plan.upserts), ["new"]);
}
