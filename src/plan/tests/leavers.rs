//! Who is removed, and who stays for what reason.

use rstest::rstest;

use super::*;

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// More leavers than five, or a tenth of all, are held.
#[rstest]
#[case(40, 5, false)]
#[case(40, 6, true)]
#[case(80, 8, false)]
#[case(80, 9, true)]
fn too_many_removals_are_held(#[case] users: usize, #[case] leavers: usize, #[case] are_held: bool) {
    let mut world = World::with_users(users);
    world.lacks(leavers, MINUTE);
    let plan = world.plan();
    assert_eq!(plan.removals.len(), if are_held { 0 } else { leavers });
    assert_eq!(plan.holds.len(), if are_held { leavers } else { 0 });
    // Once the grace is over, the hold outlasts its reason.
    assert!(plan.holds.values().all(|hold| hold.sticky));
}

/// A wrong table names somebody, who is added: the others are missing all the same.
#[test]
fn a_newcomer_does_not_show_that_the_others_have_left() {
    let mut world = World::with_users(3);
    world.lacks(3, MINUTE);
    world.snapshot.holds = world.plan().holds;
    assert_eq!(world.snapshot.holds.len(), 3);
    world.wants("new", "Newly Hired", None);
    world.has("new", "Newly Hired", None);
    for (added_at, removals, holds) in [(NOW + MINUTE, 0, 3), (NOW - MINUTE, 3, 0)] {
        world.snapshot.users.get_mut("new").expect("a user").added_at = Some(added_at);
        let plan = world.plan();
        assert_eq!((plan.removals.len(), plan.holds.len()), (removals, holds));
        let reasons = plan.holds.values().map(|hold| hold.reason.as_str());
        assert!(
            reasons
                .into_iter()
                .all(|reason| reason == "ALL 3 users are missing from the CRM, but for 1 added since")
        );
    }
}

#[test]
fn removals_of_the_last_day_count_but_approved_ones_and_those_of_the_same_users() {
    let mut world = World::with_users(40);
    world.lacks(3, MINUTE);
    let recent = |approved| RecentRemoval { approved };
    for (id, approved) in [("x", false), ("y", false), ("approved", true), ("e1", false)] {
        world.snapshot.recent_removals.insert(employee_id(id), recent(approved));
    }
    assert_eq!(removed(&world.plan()), ["e1", "e2", "e3"]);
    world.snapshot.recent_removals.insert(employee_id("z"), recent(false));
    let plan = world.plan();
    assert_eq!(removed(&plan), Vec::<&str>::new());
    let reason = &plan.holds[&HoldKey::new(HoldKind::Remove, "e1")].reason;
    assert!(
        reason.starts_with("3 missing from the CRM and 3 removed in the last 24 hours"),
        "{reason}"
    );
}

#[test]
fn a_removal_that_passed_the_brake_is_not_counted_again() {
    let mut world = World::with_users(40);
    world.lacks(8, SignedDuration::from_hours(2));
    assert_eq!(world.plan().holds.len(), 8);
    // Two were refused, and the answer about another one was lost, since they are absent.
    for id in ["e1", "e2"] {
        world.refused(id, Operation::Remove, "Employee", None, SignedDuration::ZERO);
    }
    world.lost("e3", LostContent::Removal, SignedDuration::ZERO);
    let plan = world.plan();
    assert_eq!((plan.holds.len(), plan.removals.len()), (0, 8));
    // A removal that was lost before the user was absent tells nothing, and an upsert neither.
    let an_hour_and_a_half = SignedDuration::from_mins(90);
    let entries = world.snapshot.lost.get_mut("e3").expect("it is lost");
    entries[0].lost_at -= an_hour_and_a_half;
    assert_eq!(world.plan().holds.len(), 6);
    // Nor does it before it is written down since when the user is absent.
    world.snapshot.users.get_mut("e3").expect("a user").absent_since = None;
    assert!(world.plan().holds.contains_key(&HoldKey::new(HoldKind::Remove, "e3")));
}

#[test]
fn a_held_removal_stays_held_until_it_is_approved() {
    let mut world = World::with_users(40);
    world.lacks(1, MINUTE);
    let key = HoldKey::new(HoldKind::Remove, "e1");
    let since = (NOW - MINUTE).to_string();
    // Not sticky: it falls with its reason.
    world.snapshot.holds.insert(key.clone(), hold(&since, false));
    assert_eq!(removed(&world.plan()), ["e1"]);
    let sticky = Hold {
        sticky: true,
        ..hold(&since, false)
    };
    world.snapshot.holds.insert(key.clone(), sticky.clone());
    let plan = world.plan();
    assert_eq!((removed(&plan), plan.marks.is_empty()), (Vec::new(), true));
    // It was about an earlier absence.
    let earlier = Hold {
        content: NOW.to_string(),
        ..sticky
    };
    world.snapshot.holds.insert(key.clone(), earlier);
    assert_eq!(removed(&world.plan()), ["e1"]);
    // An approval skips the grace.
    world.policy.grace = SignedDuration::from_mins(5);
    world.snapshot.holds.insert(key, hold(&since, true));
    let plan = world.plan();
    assert_eq!(removed(&plan), ["e1"]);
    assert!(plan.removals[0].approved);
}

#[test]
fn nobody_is_removed_before_the_grace_is_over() {
    let mut world = World::with_users(40);
    world.policy.grace = SignedDuration::from_mins(5);
    world.rows.remove(0);
    let plan = world.plan();
    assert_eq!(plan.marks.newly_absent, [employee_id("e1")]);
    assert_eq!(plan.staying[0].reason, StayReason::InGrace);
    world.lacks(1, SignedDuration::from_secs(299));
    assert_eq!(world.plan().staying[0].reason, StayReason::InGrace);
    assert!(world.plan().marks.is_empty());
    world.lacks(1, SignedDuration::from_secs(300));
    let plan = world.plan();
    assert_eq!(removed(&plan), ["e1"]);
    assert_eq!(plan.removals[0].name, Some(full_name("Employee 1")));
    // A hold within the grace is not sticky yet.
    world.lacks(6, SignedDuration::from_secs(299));
    assert!(world.plan().holds.values().all(|hold| !hold.sticky));
    world.wants("e1", "Employee 1", None);
    assert_eq!(world.plan().marks.returned, [employee_id("e1")]);
}

#[test]
fn nobody_at_all_is_removed_where_the_table_looks_broken() {
    let reasons = |world: &World| -> BTreeSet<String> {
        let plan = world.plan();
        assert!(plan.removals.is_empty());
        plan.holds.values().map(|hold| hold.reason.clone()).collect()
    };
    let only = |reason: &str| BTreeSet::from([reason.to_owned()]);
    let mut world = World::with_users(2);
    world.lacks(2, MINUTE);
    assert_eq!(reasons(&world), only("the CRM names nobody: this is ALL 2 users"));
    world.wants("new", "Newly Hired", None);
    assert_eq!(reasons(&world), only("ALL 2 users are missing from the CRM"));
    // Of several, one may go; and a single one, where the CRM names somebody else.
    let mut world = World::with_users(2);
    world.lacks(1, MINUTE);
    assert_eq!(removed(&world.plan()), ["e1"]);
    let mut world = World::with_users(1);
    world.lacks(1, MINUTE);
    world.wants("new", "Newly Hired", None);
    assert_eq!(removed(&world.plan()), ["e1"]);
}

#[test]
fn a_row_without_id_may_be_anybodys() {
    let mut world = World::with_users(40);
    world.lacks(1, MINUTE);
    for (blank_rows, reason) in [
        (1, "a row of the CRM has no id, and may be anybody's"),
        (2, "2 rows of the CRM have no id, and may be anybody's"),
    ] {
        for _ in 0..blank_rows {
            world.rows.push((" ".repeat(blank_rows), "Somebody".to_owned(), None));
        }
        let plan = world.plan();
        let reasons: Vec<&str> = plan.holds.values().map(|hold| hold.reason.as_str()).collect();
        assert_eq!((reasons, plan.missing_ids), (vec![reason], blank_rows));
        world.rows.retain(|(id, ..)| !id.trim().is_empty());
    }
}

#[test]
fn a_leaver_whose_removal_was_refused_stays_until_the_next_attempt() {
    let mut world = World::with_users(40);
    world.lacks(1, MINUTE);
    world.refused("e1", Operation::Remove, "Employee 1", None, MINUTE);
    let plan = world.plan();
    assert_eq!(plan.staying[0].reason, StayReason::BackingOff);
    assert_eq!(plan.marks.closed_failures, []);
    // Nobody waits for somebody who may stay for good.
    world.wants("new", "Employee 1", None);
    world.list.add_look_up("new", None);
    assert!(world.plan().waiting.is_empty());
    world.refused("e1", Operation::Remove, "Employee 1", None, SignedDuration::ZERO);
    assert_eq!(removed(&world.plan()), ["e1"]);
    assert!(world.plan().upserts[0].waits_for.is_empty());
}

#[test]
fn a_newcomer_who_looks_like_a_leaver_waits_for_that_one() {
    const PHONE: u64 = 79_260_000_001;
    for (name, phone) in [("employee  1", None), ("Somebody", Some(PHONE))] {
        let mut world = World::with_users(40);
        world.policy.grace = SignedDuration::from_mins(5);
        world.has("e1", "Employee 1", Some(PHONE));
        world.lacks(1, MINUTE);
        world.wants("new", name, phone);
        world.list.add_look_up("new", None);
        let plan = world.plan();
        let for_leaver = Waiting::ForLeaver(employee_id("e1"));
        assert_eq!((waiting(&plan, &for_leaver), plan.upserts.len()), (vec!["new"], 0));
        // A removal in the same cycle frees the newcomer.
        world.policy.grace = SignedDuration::ZERO;
        let plan = world.plan();
        assert_eq!(plan.upserts[0].waits_for, [employee_id("e1")]);
        // Whoever is kept for good is not waited for.
        world.policy.removes = false;
        let plan = world.plan();
        assert!(plan.upserts[0].waits_for.is_empty() && plan.waiting.is_empty());
        assert_eq!(plan.staying[0].reason, StayReason::Kept);
    }
}

#[test]
fn where_nobody_is_removed_nothing_is_held_or_settled() {
    let mut world = World::with_users(2);
    world.policy.removes = false;
    world.lacks(2, MINUTE);
    world.lost("e1", LostContent::Removal, MINUTE);
    world.lost("e2", LostContent::Removal, SignedDuration::ZERO);
    let plan = world.plan();
    assert!(plan.holds.is_empty());
    // What was lost is forgotten once it cannot act any more.
    assert_eq!(plan.marks.dropped_losses, [employee_id("e2")]);
    assert_eq!(plan.marks.forgotten, []);
    world.snapshot.users.insert(employee_id("nobody"), User::default());
    assert_eq!(world.plan().marks.forgotten, [employee_id("nobody")]);
}

/// A creation of somebody who left meanwhile was lost, and Wazzup never acknowledged the user.
#[test]
fn whom_only_a_lost_request_may_have_created_is_looked_up_before_the_removal() {
    let creation = |lands_in| {
        let mut world = World::with_users(40);
        let gone = User {
            absent_since: Some(NOW - MINUTE),
            ..User::default()
        };
        world.snapshot.users.insert(employee_id("gone"), gone);
        let content = upsert_of("Anna", None);
        world.lost("gone", content, lands_in);
        world
    };
    let mut over = creation(SignedDuration::ZERO);
    let plan = over.plan();
    assert_eq!(plan.questions.users, [employee_id("gone")]);
    let staying = &plan.staying[0];
    assert_eq!(
        (staying.reason, staying.name.as_ref().map(FullName::as_str)),
        (StayReason::Unknown, Some("Anna"))
    );
    // A list that says to be complete is not believed alone.
    let mut listed = creation(SignedDuration::ZERO);
    listed.shows_first(40, Coverage::Complete);
    let plan = listed.plan();
    assert_eq!((plan.questions.users.len(), plan.marks.forgotten.len()), (1, 0));
    // Nothing can act any more, and Wazzup does not have the user, or has another one.
    over.list.add_look_up("gone", None);
    assert_eq!(over.plan().marks.forgotten, [employee_id("gone")]);
    let mut others = creation(SignedDuration::ZERO);
    others.list.add_look_up("gone", Some("Boris".to_owned()));
    assert_eq!(others.plan().marks.forgotten, [employee_id("gone")]);
    let mut ours = creation(SignedDuration::ZERO);
    ours.list.add_look_up("gone", Some("ANNA".to_owned()));
    assert_eq!(removed(&ours.plan()), ["gone"]);
    // Whoever was removed after the loss need not be looked up before the request can no longer act.
    let mut removed_since = creation(MINUTE);
    assert_eq!(removed_since.plan().questions.users, [employee_id("gone")]);
    let user = removed_since.snapshot.users.get_mut("gone").expect("a user");
    user.synced_at = Some(NOW - MINUTE);
    let plan = removed_since.plan();
    assert!(plan.questions == Questions::default() && plan.requests() == 0 && plan.staying.is_empty());
    // While the request may act, the user is not forgotten.
    let mut open = creation(MINUTE);
    open.list.add_look_up("gone", None);
    let plan = open.plan();
    assert!(plan.marks.is_empty() && plan.requests() == 0 && plan.staying.is_empty());
}
