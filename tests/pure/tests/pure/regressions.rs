//! What random worlds found, as the shortest stories that show it.

use jiff::SignedDuration;
use pure_core::plan::{Limit, Policy};

use crate::{
    story::Story,
    world::{
        Action, Acts, Crm, EASY_POLICY, Fate, Outcome, Person, World,
        cycle::{ListReading, Reading},
        service::{Poison, RemoteUser, Service, Variant},
    },
};

fn crm(people: &[(&str, &str, Option<u64>)]) -> Crm {
    let mut crm = Crm::default();
    for (id, name, phone) in people {
        let person = Person {
            name: (*name).to_owned(),
            phone: *phone,
        };
        crm.people.insert((*id).to_owned(), person);
    }
    crm
}

/// Sends what is under way, with these fates, and then lets everything work.
fn run(story: &mut Story, reading: Reading, fates: &[Fate]) {
    act(story, &Action::StartCycle(reading));
    for fate in fates {
        act(story, &Action::Send(*fate));
    }
    while story.world.cycle.is_some() {
        act(story, &Action::Send(Fate::Answered));
    }
}

fn act(story: &mut Story, action: &Action) {
    story.act(action).unwrap_or_else(|told| panic!("{told}"));
}

fn wait(story: &mut Story, duration: SignedDuration) {
    act(story, &Action::Wait(duration));
}

fn ended(story: &Story) -> (Outcome, usize) {
    let ended = story.ended();
    (ended.outcome, ended.requests)
}

const DAY: SignedDuration = SignedDuration::from_hours(25);
const PHONE: u64 = 79_260_000_001;

/// An account with more users than its limit cost a request in every cycle.
#[test]
fn whoever_waits_in_an_account_over_its_limit_costs_nothing() {
    let mut service = Service::new(Variant::USUAL);
    service.users.insert("f".to_owned(), RemoteUser::foreign("Vera", None));
    service.users.insert("g".to_owned(), RemoteUser::foreign("Boris", None));
    service.seat_limit = Some(1);
    let mut story = Story::new(World::new(service, crm(&[("1", "Anna", None)]), EASY_POLICY));
    run(&mut story, Reading::GOOD, &[]);
    wait(&mut story, SignedDuration::from_secs(60));
    run(&mut story, Reading::GOOD, &[]);
    assert_eq!(ended(&story), (Outcome::Incomplete, 0));
}

/// After more were accepted than the limit said, the next addition waited for a verification.
#[test]
fn a_limit_that_was_exceeded_is_none() {
    let mut service = Service::new(Variant::USUAL);
    service.seat_limit = Some(1);
    let people = [("1", "Anna", None), ("2", "Boris", None), ("3", "Vera", None)];
    let mut story = Story::new(World::new(service, crm(&people[..2]), EASY_POLICY));
    run(&mut story, Reading::GOOD, &[]);
    story.world.service.seat_limit = Some(10);
    act(&mut story, &Action::RetryAll);
    run(&mut story, Reading::GOOD, &[]);
    act(&mut story, &Action::Edit(crm(&people)));
    run(&mut story, Reading::GOOD, &[]);
    assert_eq!(ended(&story), (Outcome::InSync, 1));
}

/// Thirty people whose phones another integration holds: the first request was refused thirty times, so nobody was ever
/// delivered; and later their next attempts were held as thirty updates.
#[test]
fn a_phone_that_is_tried_again_is_no_update_of_the_crm() {
    let mut service = Service::new(Variant::USUAL);
    let mut people = Crm::default();
    for number in 0..30 {
        let phone = Some(PHONE + number);
        service
            .users
            .insert(format!("foreign {number}"), RemoteUser::foreign("Somebody", phone));
        let name = format!("Person {number}");
        people.people.insert(format!("{number:02}"), Person { name, phone });
    }
    let policy = Policy {
        updates: Limit {
            above: 20,
            above_percent: 30,
        },
        ..EASY_POLICY
    };
    let mut story = Story::new(World::new(service, people, policy));
    for _ in 0..6 {
        run(&mut story, Reading::GOOD, &[]);
        assert_eq!(story.world.service.users.len(), 60);
        assert!(story.world.state.tables.holds.is_empty());
        wait(&mut story, SignedDuration::from_mins(6));
    }
}

/// A held update left its phone to somebody else, whose update was not counted.
#[test]
fn an_update_that_a_held_one_makes_room_for_is_held_too() {
    let before = crm(&[
        ("1", "Anna", Some(PHONE + 1)),
        ("2", "Boris", Some(PHONE)),
        ("3", "Vera", None),
        ("4", "Gleb", None),
    ]);
    let policy = Policy {
        removals: Limit {
            above: 1,
            above_percent: 0,
        },
        updates: Limit {
            above: 0,
            above_percent: 0,
        },
        ..EASY_POLICY
    };
    let mut story = Story::new(World::new(Service::new(Variant::USUAL), before, policy));
    run(&mut story, Reading::GOOD, &[]);
    let after = crm(&[
        ("1", "Anna", Some(PHONE)),
        ("3", "Vera", Some(PHONE)),
        ("4", "Gleb", None),
    ]);
    act(&mut story, &Action::Edit(after));
    run(&mut story, Reading::GOOD, &[]);
    // The removal of 2.
    assert_eq!(ended(&story).1, 1);
}

/// What this edit makes of the CRM is sent, and the answer is lost. Then everything works.
fn lose_an_edit(before: &[(&str, &str, Option<u64>)], after: &[(&str, &str, Option<u64>)]) -> Story {
    let mut story = Story::new(World::new(Service::new(Variant::USUAL), crm(before), EASY_POLICY));
    run(&mut story, Reading::GOOD, &[]);
    act(&mut story, &Action::Edit(crm(after)));
    act(&mut story, &Action::StartCycle(Reading::GOOD));
    act(&mut story, &Action::Send(Fate::Abandoned(Acts::AtOnce)));
    wait(&mut story, DAY);
    run(&mut story, Reading::GOOD, &[]);
    story
}

/// Two swapped names, and the answer was lost: the list showed nobody under the acknowledged name, so the account was doubted.
#[test]
fn a_lost_update_of_everybody_raises_no_doubt_about_the_account() {
    let before = [("1", "Anna", None), ("2", "Boris", None)];
    let after = [("1", "Boris", None), ("2", "Anna", None)];
    let (outcome, _) = ended(&lose_an_edit(&before, &after));
    assert!(
        outcome == Outcome::InSync,
        "a lost update raises no doubt about the account"
    );
}

/// The same for a lost removal of most.
#[test]
fn a_lost_removal_of_most_raises_no_doubt_about_the_account() {
    let people = ["1", "2", "3", "4", "5"].map(|id| (id, id, None));
    let (outcome, _) = ended(&lose_an_edit(&people, &people[..2]));
    assert!(
        outcome == Outcome::InSync,
        "a lost removal raises no doubt about the account"
    );
}

/// A lost take-over of somebody who left meanwhile was forgotten before it could no longer act.
#[test]
fn a_lost_takeover_of_a_leaver_stays_in_the_journal() {
    let mut service = Service::new(Variant::USUAL);
    service.users.insert("1".to_owned(), RemoteUser::foreign("Anna", None));
    let policy = Policy {
        always_takes_over: true,
        ..EASY_POLICY
    };
    let people = [("1", "Boris", None), ("2", "Vera", None)];
    let mut story = Story::new(World::new(service, crm(&people), policy));
    act(&mut story, &Action::StartCycle(Reading::GOOD));
    act(&mut story, &Action::Send(Fate::Abandoned(Acts::Later)));
    act(&mut story, &Action::Edit(crm(&people[1..])));
    run(&mut story, Reading::GOOD, &[]);
}

/// A leaver whom a late creation brought back, and whom the list showed, was taken for absent.
#[test]
fn a_leaver_whom_the_list_shows_goes_at_once() {
    let mut story = Story::new(World::new(
        Service::new(Variant::USUAL),
        crm(&[("1", "Anna", Some(PHONE)), ("2", "Boris", None)]),
        EASY_POLICY,
    ));
    run(&mut story, Reading::GOOD, &[Fate::LostThenAnswered(Acts::Later)]);
    act(&mut story, &Action::Edit(crm(&[("2", "Boris", None)])));
    let without_list = Reading {
        list: ListReading::Unavailable,
        answers_look_ups: true,
    };
    run(&mut story, without_list, &[]);
    act(&mut story, &Action::Land(0));
    story.world.reads_list_at_start = true;
    run(&mut story, Reading::GOOD, &[]);
    assert!(!story.world.service.users.contains_key("1"));
}

/// A release that was refused before was accepted, and closed the failure that had just been opened for the CRM's own rows.
#[test]
fn an_accepted_release_does_not_hide_that_a_phone_is_wanted_twice() {
    let people = |phone_of_1, phone_of_2| {
        crm(&[
            ("1", "Anna", phone_of_1),
            ("2", "Boris", phone_of_2),
            ("3", "Vera", Some(PHONE)),
        ])
    };
    let before = people(None, Some(PHONE + 1));
    let mut story = Story::new(World::new(Service::new(Variant::USUAL), before, EASY_POLICY));
    run(&mut story, Reading::GOOD, &[]);
    act(&mut story, &Action::Edit(people(Some(PHONE + 1), Some(PHONE + 2))));
    let poisonous = &mut story.world.service.poisonous_upserts;
    poisonous.insert("2".to_owned(), Poison::Invalid);
    run(&mut story, Reading::GOOD, &[]);
    story.world.service.poisonous_upserts.clear();
    wait(&mut story, DAY);
    act(&mut story, &Action::Edit(people(Some(PHONE + 1), Some(PHONE))));
    run(&mut story, Reading::GOOD, &[]);
    assert_eq!(ended(&story).0, Outcome::Incomplete);
}

/// Everybody's request was lost, and six entries in a row fail: nobody was in sync to show that the service takes anything.
#[test]
fn a_cluster_of_poison_after_a_loss_is_no_outage() {
    let mut service = Service::new(Variant::USUAL);
    let mut people = Crm::default();
    for number in 0..66 {
        let name = format!("Person {number}");
        people
            .people
            .insert(format!("{number:02}"), Person { name, phone: None });
    }
    for number in 0..6 {
        service.poisonous_upserts.insert(format!("{number:02}"), Poison::Dies);
    }
    let mut story = Story::new(World::new(service, people, EASY_POLICY));
    for _ in 0..3 {
        run(&mut story, Reading::GOOD, &[]);
        assert_eq!(ended(&story).0, Outcome::Incomplete);
        wait(&mut story, DAY);
    }
}

/// Four poisonous entries were tried again among a hundred others: the search for them took all requests that a cycle has before
/// something is accepted.
#[test]
fn whoever_failed_before_is_suspected_first() {
    let mut service = Service::new(Variant::USUAL);
    let mut people = Crm::default();
    for number in 0..129 {
        let name = format!("Person {number}");
        let phone = (number % 2 == 0).then_some(PHONE + number);
        people.people.insert(format!("{number:04}"), Person { name, phone });
    }
    for (id, poison) in [
        ("0000", Poison::Invalid),
        ("0004", Poison::Dies),
        ("0016", Poison::Invalid),
        ("0104", Poison::InvalidPhone),
    ] {
        service.poisonous_upserts.insert(id.to_owned(), poison);
    }
    let mut story = Story::new(World::new(service, people, EASY_POLICY));
    run(&mut story, Reading::GOOD, &[]);
    wait(&mut story, DAY);
    run(&mut story, Reading::GOOD, &[]);
    let undelivered = &story.ended().undelivered;
    assert_eq!(undelivered.iter().collect::<Vec<_>>(), ["0000", "0004", "0016"]);
}

/// A creation was lost, its employee left, and a list lacked the user who was there all the same: the user was forgotten.
#[test]
fn a_list_alone_makes_nobody_forgotten() {
    let people = [("1", "Anna", None), ("2", "Boris", None)];
    let mut story = Story::new(World::new(Service::new(Variant::USUAL), crm(&people), EASY_POLICY));
    act(&mut story, &Action::StartCycle(Reading::GOOD));
    act(&mut story, &Action::Send(Fate::Abandoned(Acts::AtOnce)));
    act(&mut story, &Action::Edit(crm(&people[1..])));
    wait(&mut story, DAY);
    let lying = Reading {
        list: ListReading::Lying,
        answers_look_ups: true,
    };
    run(&mut story, lying, &[]);
    wait(&mut story, DAY);
    run(&mut story, Reading::GOOD, &[]);
    assert!(!story.world.service.users.contains_key("1"));
}

/// An update was refused since the account was full, and the same user was sent again to show that the service takes anything. A
/// lost removal had made room meanwhile, so that was accepted, and the failure stayed open.
#[test]
fn who_was_refused_does_not_show_whether_the_service_takes_anything() {
    let people = [("1", "Anna", Some(PHONE)), ("2", "Boris", None)];
    let mut service = Service::new(Variant::USUAL);
    service.seat_limit = Some(2);
    service.users.insert("f".to_owned(), RemoteUser::foreign("Vera", None));
    let mut story = Story::new(World::new(service, crm(&people), EASY_POLICY));
    run(&mut story, Reading::GOOD, &[]);
    wait(&mut story, DAY);
    act(&mut story, &Action::Edit(crm(&people[1..])));
    run(&mut story, Reading::GOOD, &[Fate::Fails { acted: true }]);
    act(&mut story, &Action::Edit(crm(&people[..1])));
    act(&mut story, &Action::StartCycle(Reading::GOOD));
    act(&mut story, &Action::Send(Fate::Lost(Acts::Later)));
    for _ in 0..3 {
        act(&mut story, &Action::Send(Fate::Answered));
    }
    act(&mut story, &Action::Land(0));
    while story.world.cycle.is_some() {
        act(&mut story, &Action::Send(Fate::Answered));
    }
    assert_eq!(ended(&story).0, Outcome::Failed);
}
