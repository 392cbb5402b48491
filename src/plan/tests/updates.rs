//! When updates are held.

use super::*;

const PHONE: u64 = 79_260_000_001;

/// A world of 40 users, of whom the first `count` get another name.
fn renaming(count: usize) -> World {
    let mut world = World::with_users(40);
    for number in 1..=count {
        world.wants(&format!("e{number}"), &format!("Renamed {number}"), None);
    }
    world
}

fn update(number: usize) -> (HoldKey, String) {
    let key = HoldKey::new(HoldKind::Update, &format!("e{number}"));
    (key, format!(r#"{{"name":"Renamed {number}","phone":null}}"#))
}

#[test]
fn more_updates_than_the_limit_are_held() {
    assert_eq!(renaming(5).plan().upserts.len(), 5);
    let plan = renaming(6).plan();
    assert_eq!((plan.upserts.len(), plan.holds.len(), plan.waiting.len()), (0, 6, 6));
    let (key, content) = update(1);
    let hold = &plan.holds[&key];
    assert_eq!(
        (hold.content.as_str(), hold.since, hold.sticky),
        (content.as_str(), NOW, true)
    );
    // The others are in sync, and new employees are no updates.
    assert_eq!(plan.unchanged, 34);
    let mut world = renaming(5);
    world.wants("new", "Newly Hired", None);
    world.list.add_look_up("new", None);
    assert_eq!(world.plan().upserts.len(), 6);
}

#[test]
fn a_held_update_waits_for_its_approval_even_when_the_others_are_gone() {
    let mut world = renaming(1);
    let (key, content) = update(1);
    world.snapshot.holds.insert(key.clone(), hold(&content, false));
    let plan = world.plan();
    assert!(plan.upserts.is_empty());
    assert_eq!(
        (plan.holds[&key].reason.as_str(), plan.holds[&key].since),
        ("held", NOW - SignedDuration::from_hours(1))
    );
    world.snapshot.holds.insert(key.clone(), hold(&content, true));
    let plan = world.plan();
    assert_eq!(ids(&plan.upserts), ["e1"]);
    assert!(plan.marks.is_empty(), "{:?}", plan.marks);
    // Other values are judged anew.
    world.wants("e1", "Renamed again", None);
    let plan = world.plan();
    assert_eq!(ids(&plan.upserts), ["e1"]);
    assert_eq!(plan.marks.closed_holds, [key]);
}

#[test]
fn approved_updates_do_not_count() {
    let mut world = renaming(6);
    let (key, content) = update(1);
    world.snapshot.holds.insert(key, hold(&content, true));
    let plan = world.plan();
    assert_eq!((plan.upserts.len(), plan.unapproved_holds().count()), (6, 0));
}

#[test]
fn a_user_whose_update_is_held_keeps_name_and_phone() {
    let mut world = renaming(6);
    world.has("e1", "Employee 1", Some(PHONE));
    world.wants("new", "Newly Hired", Some(PHONE));
    world.list.add_look_up("new", None);
    let plan = world.plan();
    assert_eq!(ids(&plan.upserts), ["new"]);
    assert_eq!(plan.upserts[0].entry.employee.phone, None);
    let problem = plan.row_problems().next();
    let key = FailureKey::new("new", Operation::Phone);
    assert_eq!(problem, Some((&key, RowProblem::DuplicatePhoneNumber)));
}

#[test]
fn what_was_refused_before_is_no_news() {
    let mut world = renaming(8);
    // Exactly these names were refused; of the last one, another was.
    for number in 1..=2 {
        world.refused(
            &format!("e{number}"),
            Operation::Upsert,
            &format!("Renamed {number}"),
            None,
            SignedDuration::ZERO,
        );
    }
    world.refused("e8", Operation::Upsert, "Renamed before", None, SignedDuration::ZERO);
    assert_eq!(world.plan().holds.len(), 6);
    let mut world = renaming(5);
    // A refused phone is no excuse for another name, nor for another phone.
    world.wants("e6", "Renamed 6", Some(PHONE));
    world.refused("e6", Operation::Phone, "Employee 6", Some(PHONE), SignedDuration::ZERO);
    assert_eq!(world.plan().holds.len(), 6);
    world.wants("e6", "Employee 6", Some(PHONE + 1));
    assert_eq!(world.plan().holds.len(), 6);
    world.wants("e6", "Employee 6", Some(PHONE));
    assert_eq!((world.plan().holds.len(), world.plan().upserts.len()), (0, 6));
}
