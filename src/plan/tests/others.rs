//! Seats, phones, the control, failures in the CRM's rows, and what differs from the list.

use rstest::rstest;

use super::*;

#[test]
fn what_differs_from_the_list_is_counted() {
    let mut world = World::with_users(5);
    world.shows(
        &[
            ("e1", " Employee 1 "),
            ("e2", "Renamed"),
            ("e3", "Employee 3"),
            ("e4", "Employee 4"),
            ("x", "Somebody Else"),
            ("y", "Somebody Else"),
        ],
        Coverage::Complete,
    );
    world.list.add_look_up("e5", None);
    let plan = world.plan();
    let drift = Drift {
        missing: 1,
        renamed: 1,
        foreign: 2,
    };
    assert_eq!(plan.drift, drift);
    assert_eq!((plan.unchanged, plan.managed, plan.eligible), (3, 5, 5));
    let changes: Vec<(&str, Change)> = plan
        .upserts
        .iter()
        .map(|upsert| (upsert.id().as_str(), upsert.entry.change))
        .collect();
    assert_eq!(changes, [("e2", Change::Resend), ("e5", Change::Resend)]);
}

#[test]
fn a_user_whom_a_lost_request_created_is_not_foreign() {
    for (shown, foreign) in [("ANNA", 0), ("Boris", 1)] {
        let mut world = World::with_users(5);
        world.snapshot.users.insert(employee_id("new"), User::default());
        let content = upsert_of("Anna", None);
        world.lost("new", content, SignedDuration::ZERO);
        world.shows_first(5, Coverage::Complete);
        world.shows(&[("new", shown)], Coverage::Complete);
        assert_eq!(world.plan().drift.foreign, foreign);
    }
}

#[test]
fn as_many_additions_are_sent_as_there_are_seats_and_a_batch_more_after_a_due_list() {
    let mut world = World::with_users(8);
    world.snapshot.account.seats.used = Some(20);
    world.snapshot.account.seats.limit = Some(10);
    // 8 are there, as the list shows, and one of them goes.
    world.shows_first(8, Coverage::Complete);
    world.lacks(1, SignedDuration::ZERO);
    for number in 1..=5 {
        world.wants(&format!("n{number}"), &format!("Newly Hired {number}"), None);
    }
    let plan = world.plan();
    assert_eq!(plan.seats.used, Some(8));
    assert_eq!(ids(&plan.upserts), ["n1", "n2", "n3"]);
    assert_eq!(waiting(&plan, &Waiting::ForSeat), ["n4", "n5"]);
    world.list.scheduled = true;
    assert_eq!(ids(&world.plan().upserts).len(), 5);
    world.list.scheduled = false;
    world.snapshot.account.retry_seats = true;
    assert_eq!(ids(&world.plan().upserts).len(), 5);
    // Without a list, the seats are those that were counted last.
    world.list = RemoteList::unread("ours");
    world.snapshot.account.retry_seats = false;
    let plan = world.plan();
    assert_eq!(
        (plan.seats.used, plan.tried_beyond_seats, plan.room()),
        (Some(20), 0, Some(0))
    );
}

#[test]
fn the_control_is_somebody_in_sync_as_acknowledged() {
    let mut world = World::with_users(3);
    world.has("e1", "Old Name", None);
    world.has("e2", "Employee 2", Some(79_260_000_002));
    world.wants("e2", "Employee 2", Some(79_260_000_002));
    let control = world.plan().control.expect("somebody is in sync");
    assert_eq!(control.employee.id, employee_id("e2"));
    assert_eq!(control.employee.phone, Some(phone_of(79_260_000_002)));
    assert_eq!(control.change, Change::Resend);
    // One who is sent again is not enough; two are.
    world.lost(
        "e2",
        upsert_of("Employee 2", Some(phone_of(79_260_000_002))),
        SignedDuration::ZERO,
    );
    let control = world.plan().control;
    assert_eq!(control.map(|control| control.employee.id), Some(employee_id("e3")));
    for number in 1..=3 {
        let content = upsert_of(&format!("Employee {number}"), None);
        world.lost(&format!("e{number}"), content, SignedDuration::ZERO);
    }
    let plan = world.plan();
    assert_eq!(plan.upserts.len(), 3);
    assert_eq!(plan.control.map(|control| control.employee.id), Some(employee_id("e2")));
}

#[test]
fn a_failure_in_the_rows_is_opened_once_and_anew_when_the_rows_have_another() {
    let mut world = World::with_users(5);
    world.wants("e1", "", None);
    let plan = world.plan();
    let [opened] = &*plan.marks.opened_failures else {
        panic!("{:?}", plan.marks);
    };
    assert_eq!(opened.code, "INVALID_NAME");
    let stored = OpenFailure::new(opened.clone(), NOW);
    world.snapshot.failures.insert(opened.key.clone(), stored.clone());
    let plan = world.plan();
    assert!(plan.marks.is_empty(), "{:?}", plan.marks);
    assert_eq!(plan.unchanged, 4);
    // The row had another problem before, or the service refused it.
    for before in [
        Failure {
            code: "DUPLICATE_ID".to_owned(),
            ..opened.clone()
        },
        Failure {
            is_local: false,
            ..opened.clone()
        },
    ] {
        let before = OpenFailure::new(before, NOW);
        world.snapshot.failures.insert(opened.key.clone(), before);
        let Plan {
            marks, open_failures, ..
        } = world.plan();
        assert_eq!((marks.opened_failures.len(), marks.closed_failures.len()), (1, 0));
        // What is wrong in the row takes the place of what was refused.
        assert_eq!(open_failures.get(&opened.key), Some(opened));
    }
    world.wants("e1", "Employee 1", None);
    world.snapshot.failures.insert(opened.key.clone(), stored);
    let marks = world.plan().marks;
    assert_eq!(marks.closed_failures.as_slice(), std::slice::from_ref(&opened.key));
}

#[test]
fn of_two_who_want_a_phone_it_goes_to_who_has_it_or_may_have_it_or_comes_first() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(3);
    let owner = |world: &World| {
        let plan = world.plan();
        let owners: Vec<String> = plan
            .upserts
            .iter()
            .filter(|upsert| upsert.wanted_phone.is_some())
            .map(|upsert| upsert.id().to_string())
            .collect();
        let denied: Vec<String> = plan.row_problems().map(|(key, _)| key.user_id.to_string()).collect();
        (owners, denied)
    };
    let strings = |ids: &[&str]| -> Vec<String> { ids.iter().map(ToString::to_string).collect() };
    for id in ["e1", "e2", "e3"] {
        world.wants(id, &id.replace('e', "Employee "), Some(PHONE));
    }
    assert_eq!(owner(&world), (strings(&["e1"]), strings(&["e2", "e3"])));
    let content = upsert_of("Employee 2", Some(phone_of(PHONE)));
    world.lost("e2", content, SignedDuration::from_secs(60));
    assert_eq!(owner(&world), (strings(&["e2"]), strings(&["e1", "e3"])));
    world.has("e3", "Employee 3", Some(PHONE));
    assert_eq!(owner(&world).1, strings(&["e1", "e2"]));
}

#[test]
fn an_approved_take_over_stays_approved_until_it_is_carried_out() {
    let mut world = World::with_users(5);
    world.wants("x", "Our Name", None);
    let key = HoldKey::new(HoldKind::Takeover, "x");
    let approved = takeover_hold("Our Name", true);
    world.snapshot.holds.insert(key.clone(), approved.clone());
    world.list.add_look_up("x", Some("Their Name".to_owned()));
    let plan = world.plan();
    assert_eq!(plan.upserts[0].entry.change, Change::TakeOver);
    assert_eq!(plan.holds.get(&key), Some(&approved));
    assert!(plan.marks.is_empty(), "{:?}", plan.marks);
}

#[test]
fn an_unreadable_phone_is_a_failure_with_its_spelling_and_a_shared_one_without() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(5);
    world.wants("e1", "Employee 1", Some(12_345));
    world.wants("e2", "Employee 2", Some(PHONE));
    world.wants("e3", "Employee 3", Some(PHONE));
    let failures = world.plan().open_failures;
    let told: Vec<_> = failures
        .values()
        .map(|failure| (&*failure.key.user_id, &*failure.code, failure.spelling.is_some()))
        .collect();
    assert_eq!(
        told,
        [("e1", "INVALID_PHONE", true), ("e3", "DUPLICATE_PHONE_NUMBER", false)]
    );
}

#[test]
fn a_refused_release_is_an_open_failure_while_the_user_is_to_have_another_phone() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(5);
    world.has("e1", "Employee 1", Some(PHONE));
    world.refused(
        "e1",
        Operation::Phone,
        "Employee 1",
        None,
        SignedDuration::from_hours(1),
    );
    let plan = world.plan();
    assert_eq!((plan.marks.closed_failures.len(), plan.open_failures.len()), (0, 1));
    world.wants("e1", "Employee 1", Some(PHONE));
    let plan = world.plan();
    assert_eq!((plan.marks.closed_failures.len(), plan.open_failures.len()), (1, 0));
}

#[test]
fn a_refusal_stays_open_while_the_employee_waits_for_a_seat_or_only_gives_up_a_phone() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(5);
    world.snapshot.account.seats.used = Some(5);
    world.snapshot.account.seats.limit = Some(5);
    world.wants("new", "Newly Hired", None);
    world.refused("new", Operation::Upsert, "Newly Hired", None, SignedDuration::ZERO);
    world.has("e1", "Employee 1", Some(PHONE));
    world.refused(
        "e1",
        Operation::Upsert,
        "Employee 1",
        None,
        SignedDuration::from_hours(1),
    );
    world.wants("e2", "Employee 2", Some(PHONE));
    let plan = world.plan();
    assert_eq!(waiting(&plan, &Waiting::ForSeat), ["new"]);
    assert_eq!((plan.releases.len(), ids(&plan.upserts)), (1, vec!["e2"]));
    assert_eq!((plan.marks.closed_failures.len(), plan.open_failures.len()), (0, 2));
}

#[test]
fn whoever_only_gives_up_a_phone_is_sent_once() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(5);
    world.has("e1", "Employee 1", Some(PHONE));
    world.wants("e2", "Employee 2", Some(PHONE));
    let plan = world.plan();
    let released = |plan: &Plan| {
        plan.releases
            .iter()
            .map(|release| release.employee.id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (released(&plan), ids(&plan.upserts)),
        (vec!["e1".to_owned()], vec!["e2"])
    );
    // Whom Wazzup shows under another name is put right as well.
    world.shows_first(5, Coverage::Complete);
    world.shows(&[("e1", "Renamed")], Coverage::Complete);
    let plan = world.plan();
    assert_eq!(
        (released(&plan), ids(&plan.upserts)),
        (vec!["e1".to_owned()], vec!["e1", "e2"])
    );
}

#[test]
fn nobody_is_looked_up_whom_no_url_can_name() {
    let mut world = World::with_users(5);
    world.wants("a/b", "Newly Hired", None);
    assert!(world.plan().questions.list);
    world.shows(&[], Coverage::Unavailable("no answer".to_owned()));
    let plan = world.plan();
    assert!(plan.questions == Questions::default() && plan.upserts.is_empty());
    assert!(waiting(&plan, &Waiting::Pending).contains(&"a/b"));
}

#[test]
fn the_spelling_of_a_phone_is_kept_beside_it() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(5);
    world.wants("e1", "Employee 1", Some(PHONE));
    let spelling = |world: &World| {
        let upsert = world.plan().upserts[0].entry.clone();
        upsert.phone_spelling.map(|spelling| spelling.as_str().to_owned())
    };
    assert_eq!(spelling(&world), Some(format!("RU {PHONE}")));
    // Without the phone there is none.
    world.refused(
        "e1",
        Operation::Phone,
        "Employee 1",
        Some(PHONE),
        SignedDuration::from_hours(1),
    );
    world.wants("e1", "Renamed", Some(PHONE));
    assert_eq!(spelling(&world), None);
}

/// A leaver who stays for good keeps the phone from everybody else, but not from whom a held update leaves as acknowledged.
#[test]
fn whoever_is_kept_as_acknowledged_keeps_the_phone() {
    const PHONE: u64 = 79_260_000_001;
    let mut world = World::with_users(40);
    world.policy.removes = false;
    world.lacks(1, SignedDuration::ZERO);
    world.has("e1", "Employee 1", Some(PHONE));
    world.has("e2", "Employee 2", Some(PHONE));
    // The row of e2 is rejected.
    world.wants("e2", "", None);
    let plan = world.plan();
    assert!(plan.requests() == 0, "{:?}", plan.upserts);
    world.wants("e2", "Employee 2", Some(PHONE));
    let plan = world.plan();
    let problem = plan.row_problems().next();
    let key = FailureKey::new("e2", Operation::Phone);
    assert_eq!(problem, Some((&key, RowProblem::DuplicatePhoneNumber)));
}

#[test]
fn with_the_policy_always_another_name_is_taken_over_without_a_question() {
    let mut world = World::with_users(5);
    world.policy.always_takes_over = true;
    world.wants("x", "Our Name", None);
    world.list.add_look_up("x", Some("Their Name".to_owned()));
    let plan = world.plan();
    assert_eq!((plan.upserts[0].entry.change, plan.holds.len()), (Change::TakeOver, 0));
}

#[test]
fn a_held_take_over_is_no_reason_to_ask() {
    let mut world = World::with_users(5);
    world.wants("x", "Our Name", None);
    let key = HoldKey::new(HoldKind::Takeover, "x");
    let held = takeover_hold("Our Name", false);
    world.snapshot.holds.insert(key.clone(), held.clone());
    let plan = world.plan();
    assert!(
        plan.questions == Questions::default()
            && plan.upserts.is_empty()
            && waiting(&plan, &Waiting::Pending).contains(&"x")
    );
    assert_eq!(plan.holds[&key].since, held.since);
}

/// Whatever Wazzup shows in the cycle in which the row changed: the approval was for the row that was shown.
#[rstest]
#[case::another_name("Wrong Person", None)]
#[case::another_phone("Our Name", Some(79_260_000_001))]
fn an_approved_take_over_by_another_row_is_held_anew(#[case] name: &str, #[case] phone: Option<u64>) {
    let key = HoldKey::new(HoldKind::Takeover, "x");
    let mut world = World::with_users(5);
    world.wants("x", name, phone);
    let without_list = world.list.clone();
    for is_approved in [true, false] {
        let stored = takeover_hold("Our Name", is_approved);
        world.snapshot.holds.insert(key.clone(), stored);
        let mut plans = Vec::new();
        world.list = without_list.clone();
        plans.push(world.plan());
        world.list.add_look_up("x", Some("Their Name".to_owned()));
        plans.push(world.plan());
        world.list = without_list.clone();
        world.shows(&[], Coverage::Unavailable("no answer".to_owned()));
        world.list.add_unanswered("x");
        plans.push(world.plan());
        for plan in plans {
            assert!(
                plan.requests() == 0 && waiting(&plan, &Waiting::Pending).contains(&"x"),
                "{:?}",
                plan.upserts
            );
            assert_eq!(plan.questions, Questions::default());
            let held = &plan.marks.opened_holds[&key];
            assert_eq!((&*held.content, held.crm_name().as_deref()), ("Their Name", Some(name)));
            assert_eq!((held.since, &held.approved), (NOW, &None));
        }
    }
}

#[test]
fn a_take_over_held_for_another_row_can_be_approved_for_the_new_one() {
    let key = HoldKey::new(HoldKind::Takeover, "x");
    let mut world = World::with_users(5);
    world.wants("x", "New Name", None);
    world.list.add_look_up("x", Some("Their Name".to_owned()));
    world
        .snapshot
        .holds
        .insert(key.clone(), takeover_hold("Our Name", false));
    let mut held = world.plan().holds[&key].clone();
    held.approved = takeover_hold("New Name", true).approved;
    world.snapshot.holds.insert(key.clone(), held.clone());
    let plan = world.plan();
    assert_eq!(plan.upserts[0].entry.change, Change::TakeOver);
    assert_eq!(plan.holds.get(&key), Some(&held));
    // The name there is another one.
    world.list = RemoteList::unread("ours");
    world.list.add_look_up("x", Some("Their New Name".to_owned()));
    let plan = world.plan();
    assert_eq!((plan.requests(), &*plan.holds[&key].content), (0, "Their New Name"));
}

#[test]
fn an_approval_for_another_row_has_no_part_in_a_take_over_without_a_question() {
    let key = HoldKey::new(HoldKind::Takeover, "x");
    let mut world = World::with_users(5);
    world.policy.always_takes_over = true;
    world.wants("x", "New Name", None);
    world.list.add_look_up("x", Some("Their Name".to_owned()));
    world
        .snapshot
        .holds
        .insert(key.clone(), takeover_hold("Our Name", true));
    let plan = world.plan();
    assert_eq!(plan.upserts[0].entry.change, Change::TakeOver);
    assert_eq!(plan.marks.closed_holds, [key]);
}

/// One attempt of a call was lost, and the next one accepted: both are noted at the same time.
#[test]
fn what_was_acknowledged_with_its_loss_is_not_sent_again_at_once() {
    let mut world = World::with_users(5);
    let content = upsert_of("Employee 1", None);
    world.lost("e1", content, SignedDuration::from_secs(60));
    let lost_at = world.snapshot.lost["e1"][0].lost_at;
    let synced = |at| {
        let mut snapshot = world.snapshot.clone();
        snapshot.users.get_mut("e1").expect("a user").synced_at = Some(at);
        snapshot
    };
    let (at_once, before) = (synced(lost_at), synced(lost_at - SignedDuration::from_secs(1)));
    world.snapshot = at_once;
    assert!(world.plan().requests() == 0);
    world.snapshot = before;
    assert_eq!(ids(&world.plan().upserts), ["e1"]);
}
