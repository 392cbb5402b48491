//! When the account is doubted, and what follows.

use rstest::rstest;

use super::*;

/// Fewer than half of at least five users, or none of two to four, are shown: that may be somebody else's account.
#[rstest]
#[case(1, 0, false)]
#[case(2, 0, true)]
#[case(2, 1, false)]
#[case(4, 0, true)]
#[case(4, 1, false)]
#[case(5, 2, true)]
#[case(5, 3, false)]
#[case(6, 2, true)]
#[case(6, 3, false)]
#[case(10, 4, true)]
#[case(10, 5, false)]
fn a_complete_list_must_show_enough_of_our_users(#[case] users: usize, #[case] shown: usize, #[case] is_doubted: bool) {
    let mut world = World::with_users(users);
    world.shows_first(shown, Coverage::Complete);
    let plan = world.plan();
    // Before anybody counts as missing, one of them must be answered with 404.
    let [asked] = &*plan.questions.users else {
        panic!("{:?}", plan.questions);
    };
    assert!(!plan.doubts_account() && plan.upserts.is_empty());
    assert_eq!(plan.questions.for_account, is_doubted);
    world.list.add_look_up(asked.as_str(), None);
    let plan = world.plan();
    assert_eq!((plan.doubts_account(), plan.account_proven), (is_doubted, !is_doubted));
    assert_eq!(plan.upserts.len(), if is_doubted { 0 } else { users - shown });
    assert_eq!(plan.questions, Questions::default());
}

#[test]
fn another_key_is_judged_by_a_list_or_by_five_users() {
    let mut world = World::with_users(7);
    world.snapshot.account.fingerprint = Some("before".to_owned());
    let plan = world.plan();
    assert!(plan.questions.list && plan.questions.for_account);
    assert!(!plan.account_proven);
    world.shows(&[("x", "Somebody")], Coverage::Incomplete("cut short".to_owned()));
    let asked: Vec<String> = world.plan().questions.users.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["e1", "e2", "e3", "e4", "e5"]);
    for id in &asked[1..] {
        world.list.add_look_up(id, None);
    }
    assert_eq!(world.plan().questions.users, [employee_id("e1")]);
    let mut ours = world.list.clone();
    world.list.add_look_up("e1", Some("Somebody Else".to_owned()));
    let plan = world.plan();
    assert!(plan.doubts_account() && plan.requests() == 0);
    let hold = &plan.holds[&HoldKey::account()];
    assert_eq!((hold.content.as_str(), hold.since), ("ours", NOW));
    // One under the acknowledged name is enough.
    ours.add_look_up("e1", Some("Employee 1".to_owned()));
    world.list = ours;
    let plan = world.plan();
    assert!(!plan.doubts_account() && plan.account_proven);
}

#[test]
fn where_nobody_can_be_looked_up_the_list_is_waited_for() {
    let mut world = World::new();
    world.snapshot.account.fingerprint = Some("before".to_owned());
    for id in ["a/1", "a/2"] {
        world.wants(id, "Employee", None);
        world.has(id, "Employee", None);
    }
    world.shows(&[], Coverage::Unavailable("no answer".to_owned()));
    let plan = world.plan();
    assert!(plan.questions.for_account && !plan.doubts_account());
    world.shows(&[("x", "Somebody")], Coverage::Incomplete("cut short".to_owned()));
    let hold = &world.plan().holds[&HoldKey::account()];
    assert!(hold.reason.starts_with("none of our users"), "{}", hold.reason);
}

#[test]
fn a_known_key_needs_no_proof_where_there_is_no_list() {
    let mut world = World::with_users(5);
    assert!(world.plan().questions == Questions::default() && !world.plan().account_proven);
    world.shows_first(0, Coverage::Unavailable("no answer".to_owned()));
    let plan = world.plan();
    assert!(plan.questions == Questions::default() && !plan.doubts_account() && !plan.account_proven);
}

#[test]
fn while_the_account_is_doubted_the_list_is_read_in_every_cycle() {
    for users in [1, 5] {
        let mut world = World::with_users(users);
        world.wants("new", "Newly Hired", None);
        world.snapshot.holds.insert(HoldKey::account(), hold("ours", false));
        let plan = world.plan();
        assert!(plan.questions.list && plan.questions.for_account && plan.requests() == 0);
        assert_eq!(plan.marks.closed_holds, []);
        // A list that passes ends the hold.
        world.shows_first(users, Coverage::Complete);
        let plan = world.plan();
        assert_eq!(plan.marks.closed_holds, [HoldKey::account()]);
        assert_eq!(ids(&plan.upserts), ["new"]);
    }
}

#[test]
fn everybody_waits_while_the_account_is_doubted() {
    let mut world = World::with_users(8);
    world.snapshot.holds.insert(HoldKey::account(), hold("ours", false));
    world.lacks(1, SignedDuration::from_hours(1));
    world.wants("e2", "Renamed", Some(79_260_000_001));
    world.has("e3", "Employee 3", Some(79_260_000_001));
    world.shows_first(0, Coverage::Complete);
    world.list.add_look_up("e1", None);
    let plan = world.plan();
    assert!(plan.doubts_account() && plan.requests() == 0 && plan.control.is_none());
    let employees = (2..=8).map(|number| employee_id(&format!("e{number}")));
    assert_eq!(
        (plan.waiting.into_keys().collect::<Vec<_>>(), plan.unchanged),
        (employees.collect(), 0)
    );
    let staying: Vec<_> = plan
        .staying
        .iter()
        .map(|user| (user.id.as_str(), user.reason))
        .collect();
    assert_eq!(staying, [("e1", StayReason::Unknown)]);
    // The hold is as old as before, and nothing else is judged by that list.
    assert_eq!(
        plan.holds[&HoldKey::account()].since,
        NOW - SignedDuration::from_hours(1)
    );
    assert_eq!((plan.drift.missing, plan.drift.foreign), (0, 0));
}

#[test]
fn an_approved_account_is_begun_anew_but_only_that_one() {
    let mut world = World::with_users(5);
    world.shows(&[("e1", "Employee 1"), ("x", "Somebody")], Coverage::Complete);
    world.list.add_look_up("e2", None);
    world.refused("e3", Operation::Upsert, "Employee 3", None, SignedDuration::ZERO);
    world.snapshot.holds.insert(HoldKey::account(), hold("another", true));
    assert!(world.plan().doubts_account());
    world.snapshot.holds.insert(HoldKey::account(), hold("ours", true));
    let plan = world.plan();
    assert!(plan.marks.forgets_account && plan.account_proven && plan.open_failures.is_empty());
    assert_eq!((plan.upserts.len(), plan.managed, plan.drift.foreign), (5, 0, 2));
    assert_eq!(plan.upserts[0].entry.change, Change::Adopt);
    assert_eq!(plan.upserts[1].entry.change, Change::Add);
}

#[test]
fn a_lost_removal_of_ours_explains_why_a_user_is_absent() {
    let mut world = World::with_users(5);
    // All but two were removed, perhaps: those two decide.
    for id in ["e3", "e4", "e5"] {
        world.lost(id, LostContent::Removal, SignedDuration::ZERO);
    }
    world.shows_first(1, Coverage::Complete);
    world.list.add_look_up("e2", None);
    assert!(!world.plan().doubts_account());
    // A lost upsert explains another name, but no absence.
    let mut world = World::with_users(2);
    for number in 1..=2 {
        let content = upsert_of("Lately", None);
        world.lost(&format!("e{number}"), content, SignedDuration::ZERO);
    }
    world.shows(&[("e1", "lately")], Coverage::Complete);
    world.list.add_look_up("e2", None);
    assert!(!world.plan().doubts_account());
    world.list = RemoteList::unread("ours");
    world.shows(&[("e1", "Somebody Else")], Coverage::Complete);
    world.list.add_look_up("e2", None);
    assert!(world.plan().doubts_account());
}
