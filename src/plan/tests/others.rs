//! Seats, phones, the control, failures in the CRM's rows, and what differs from the list.

use super::*;

#[test]
fn each_change_is_stored_by_its_name() {
    use Change::{Add, Adopt, Release, Resend, TakeOver, Update};
    for change in [Add, Adopt, TakeOver, Update, Release, Resend] {
        assert_eq!(change.as_str().parse(), Ok(change));
    }
    assert_eq!((Add.as_str(), TakeOver.as_str()), ("add", "take_over"));
}

#[test]
fn a_list_or_a_user_may_be_in_question() {
    let list = Questions {
        list: true,
        ..Questions::default()
    };
    let users = Questions {
        users: vec![employee_id("e1")],
        ..Questions::default()
    };
    assert!(Questions::default().is_empty() && !list.is_empty() && !users.is_empty());
}

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
fn as_many_additions_are_sent_as_there_are_seats_and_a_batch_more_after_a_due_list() {
    let mut world = World::with_users(8);
    world.snapshot.account.seats_used = Some(20);
    world.snapshot.account.seats_limit = Some(10);
    // 8 are there, as the list shows, and one of them goes.
    world.shows_first(8, Coverage::Complete);
    world.lacks(1, SignedDuration::ZERO);
    for number in 1..=5 {
        world.wants(&format!("n{number}"), &format!("Newly Hired {number}"), None);
    }
    let plan = world.plan();
    assert_eq!(plan.seats.used, Some(8));
    assert_eq!(ids(&plan.upserts), ["n1", "n2", "n3"]);
    assert_eq!(plan.waiting_for_seat, [employee_id("n4"), employee_id("n5")]);
    world.list.scheduled = true;
    assert_eq!(ids(&world.plan().upserts).len(), 5);
    world.list.scheduled = false;
    world.snapshot.account.retry_seats = true;
    assert_eq!(ids(&world.plan().upserts).len(), 5);
    // Without a list, the seats are those that were counted last.
    world.list = RemoteList::unread("ours");
    world.list.scheduled = true;
    world.snapshot.account.retry_seats = false;
    let seats = world.plan().seats;
    assert_eq!((seats.used, seats.tried_beyond, seats.free()), (Some(20), 0, Some(0)));
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
    // After a lost request about everybody, it is somebody who is sent again.
    for number in 1..=3 {
        let content = LostContent::Upsert {
            name: full_name(&format!("Employee {number}")),
            phone: None,
        };
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
    assert_eq!(opened.problem.as_str(), "INVALID_NAME");
    let stored = opened.opened(NOW);
    world.snapshot.failures.insert(opened.key.clone(), stored.clone());
    let plan = world.plan();
    assert!(plan.marks.is_empty(), "{:?}", plan.marks);
    assert_eq!(plan.unchanged, 4);
    // The row had another problem before, or the service refused it.
    for before in [
        Failure {
            code: "DUPLICATE_ID".to_owned(),
            ..stored.clone()
        },
        Failure {
            is_local: false,
            ..stored
        },
    ] {
        world.snapshot.failures.insert(opened.key.clone(), before);
        let marks = world.plan().marks;
        assert_eq!((marks.opened_failures.len(), marks.closed_failures.len()), (1, 0));
    }
    world.wants("e1", "Employee 1", None);
    world.snapshot.failures.insert(opened.key.clone(), opened.opened(NOW));
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
        let denied: Vec<String> = plan
            .local_failures
            .iter()
            .map(|failure| failure.key.user_id.to_string())
            .collect();
        (owners, denied)
    };
    let strings = |ids: &[&str]| -> Vec<String> { ids.iter().map(ToString::to_string).collect() };
    for id in ["e1", "e2", "e3"] {
        world.wants(id, &id.replace('e', "Employee "), Some(PHONE));
    }
    assert_eq!(owner(&world), (strings(&["e1"]), strings(&["e2", "e3"])));
    let content = LostContent::Upsert {
        name: full_name("Employee 2"),
        phone: Some(phone_of(PHONE)),
    };
    world.lost("e2", content, SignedDuration::from_secs(60));
    assert_eq!(owner(&world), (strings(&["e2"]), strings(&["e1", "e3"])));
    world.has("e3", "Employee 3", Some(PHONE));
    assert_eq!(owner(&world).1, strings(&["e1", "e2"]));
}
