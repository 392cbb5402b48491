//! Random worlds. `PURE_PERCENT=1000` plays ten times as many as usual; a failing one is shrunk, and prints its story.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner},
};
use pure_core::{
    delivery::Request,
    plan::{BATCH, Limit, Policy},
};

use crate::{
    choices::Choices,
    story::Story,
    world::{
        Action, Acts, Crm, EASY_POLICY, Fate, Outcome, Person, World,
        cycle::{ListReading, Reading},
        invariants::results::{differences, errors_in_the_books},
        service::{Naming, Poison, RemoteUser, Service, Variant},
    },
};

/// How many worlds to play where a plain test run plays `usual`.
fn cases(usual: u32) -> u32 {
    let percent = match std::env::var("PURE_PERCENT") {
        Ok(text) => text.trim().parse().expect("PURE_PERCENT is a number"),
        Err(_) => 100,
    };
    usual * percent / 100
}

/// Plays worlds that are made of random bytes; zeros are what is most harmless.
fn play(usual: u32, length: usize, world: impl Fn(&mut Choices) -> Result<(), String>) {
    let mut config = Config {
        cases: cases(usual),
        failure_persistence: None,
        ..Config::default()
    };
    config.max_shrink_iters = config.max_shrink_iters.min(20_000);
    // A plain run always plays the same worlds, so that what it says is about the change; PURE_PERCENT plays new ones.
    let mut runner = if std::env::var_os("PURE_PERCENT").is_some() {
        TestRunner::new(config)
    } else {
        let same_worlds = TestRng::deterministic_rng(config.rng_algorithm);
        TestRunner::new_with_rng(config, same_worlds)
    };
    let result = runner.run(&vec(any::<u8>(), 0..length), |bytes| {
        world(&mut Choices::new(&bytes)).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, bytes)) => panic!("{reason}\nmade of {bytes:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

const NAMES: [&str; 4] = ["Anna Petrova", "Boris", "Vera", "anna  PETROVA"];
const PHONES: [u64; 3] = [79_260_000_001, 79_260_000_002, 79_260_000_003];

fn variant(choices: &mut Choices) -> Variant {
    Variant {
        is_atomic: !choices.chance(30),
        keeps_omitted_phone: choices.chance(30),
        naming: choices.one_of(&[Naming::Right, Naming::Nothing, Naming::Wrong]),
        names_duplicate_phone: !choices.chance(40),
    }
}

fn person(choices: &mut Choices) -> Person {
    Person {
        name: choices.one_of(&NAMES).to_owned(),
        phone: choices.one_of(&[None, Some(PHONES[0]), Some(PHONES[1]), Some(PHONES[2])]),
    }
}

/// A CRM with some of the ids `1` to `most`.
fn crm(choices: &mut Choices, most: usize) -> Crm {
    let mut crm = Crm::default();
    for number in 1..=most {
        if choices.chance(70) {
            crm.people.insert(number.to_string(), person(choices));
        }
    }
    crm
}

fn edited(crm: &Crm, choices: &mut Choices, most: usize) -> Crm {
    let mut crm = crm.clone();
    for _ in 0..=choices.below(3) {
        let id = (choices.below(most) + 1).to_string();
        match choices.below(10) {
            0..=4 => {
                crm.people.insert(id, person(choices));
            }
            5..=8 => {
                crm.people.remove(&id);
            }
            _ => {
                let was_rejected = crm.rejected.remove(&id);
                if !was_rejected {
                    crm.people.entry(id.clone()).or_insert_with(|| person(choices));
                    crm.rejected.insert(id);
                }
            }
        }
    }
    if choices.chance(5) {
        crm.people.clear();
        crm.rejected.clear();
    }
    crm.missing_ids = usize::from(choices.chance(5));
    crm
}

fn policy(choices: &mut Choices) -> Policy {
    let mut policy = EASY_POLICY;
    if choices.chance(40) {
        let limit = |choices: &mut Choices| Limit {
            above: choices.below(3) as u64,
            above_percent: choices.below(50) as u64,
        };
        policy.removals = limit(choices);
        policy.updates = limit(choices);
    }
    if choices.chance(30) {
        policy.grace = SignedDuration::from_mins(5);
    }
    policy.removes = !choices.chance(10);
    policy.always_takes_over = choices.chance(10);
    policy
}

fn service(choices: &mut Choices, most: usize) -> Service {
    let mut service = Service::new(variant(choices));
    service.seat_limit = choices.chance(25).then(|| 1 + choices.below(most + 1));
    for number in 1..=most {
        if choices.chance(15) {
            add_foreign_user(&mut service, number.to_string(), choices);
        }
    }
    if choices.chance(30) {
        add_foreign_user(&mut service, "foreign".to_owned(), choices);
    }
    service
}

fn add_foreign_user(service: &mut Service, id: String, choices: &mut Choices) {
    let Person { name, phone } = person(choices);
    let is_free = phone.is_none_or(|phone| service.users.values().all(|user| user.phone != Some(phone)));
    let user = RemoteUser::foreign(&name, phone.filter(|_| is_free));
    service.users.insert(id, user);
}

const POISONS: [Poison; 6] = [
    Poison::Invalid,
    Poison::InvalidPhone,
    Poison::Forbidden,
    Poison::Fails,
    Poison::Dies,
    Poison::Silence,
];

fn reading(choices: &mut Choices) -> Reading {
    Reading {
        list: match choices.below(10) {
            0..=5 => ListReading::Complete,
            6 => ListReading::Unavailable,
            7 => ListReading::Lying,
            _ => ListReading::Incomplete {
                lacking: choices.below(4),
            },
        },
        answers_look_ups: !choices.chance(30),
    }
}

fn acts(choices: &mut Choices) -> Acts {
    choices.one_of(&[Acts::Never, Acts::AtOnce, Acts::Later])
}

fn fate(choices: &mut Choices) -> Fate {
    if !choices.chance(30) {
        return Fate::Answered;
    }
    match choices.below(11) {
        0 => Fate::Refused {
            named: choices.one_of(&[None, Some(0), Some(1), Some(200)]),
        },
        1 => Fate::Fails {
            acted: choices.chance(50),
        },
        2 | 3 => Fate::Lost(acts(choices)),
        4 | 5 => Fate::LostThenAnswered(acts(choices)),
        6 | 7 => Fate::Abandoned(acts(choices)),
        8 => Fate::Unreachable,
        9 => Fate::Unauthorized,
        _ => Fate::Forbidden,
    }
}

fn wait(choices: &mut Choices) -> Action {
    Action::Wait(choices.one_of(&[
        SignedDuration::from_secs(1),
        SignedDuration::from_secs(61),
        SignedDuration::from_mins(6),
        SignedDuration::from_hours(3),
        SignedDuration::from_hours(25),
    ]))
}

/// One thing that may happen at any time, also between two steps of a cycle.
fn land_something(story: &mut Story, choices: &mut Choices) -> Result<(), String> {
    let waiting = story.world.lost_requests.len();
    if waiting > 0 && choices.chance(30) {
        let index = choices.below(waiting);
        story.act(&Action::Land(index))?;
    }
    Ok(())
}

fn run_disturbed_cycle(story: &mut Story, choices: &mut Choices) -> Result<(), String> {
    let reading = reading(choices);
    story.act(&Action::StartCycle(reading))?;
    while story.world.cycle.is_some() {
        land_something(story, choices)?;
        if choices.chance(5) {
            story.act(&Action::Wait(SignedDuration::from_secs(61)))?;
        }
        let action = if choices.chance(3) {
            Action::Abandon
        } else {
            Action::Send(fate(choices))
        };
        story.act(&action)?;
    }
    Ok(())
}

/// When everything works again, and an operator approves what is held: how many cycles a day apart until Wazzup is what
/// the CRM says and the journal is empty.
fn heal(story: &mut Story) -> Result<usize, String> {
    const MOST: usize = 8;
    let service = &mut story.world.service;
    service.poisonous_upserts.clear();
    service.poisonous_removals.clear();
    let mut crm = story.world.crm.clone();
    crm.rejected.clear();
    crm.missing_ids = 0;
    story.act(&Action::Edit(crm))?;
    let mut last = Vec::new();
    for cycles in 1..=MOST {
        story.act(&Action::Wait(SignedDuration::from_hours(25)))?;
        story.act(&Action::ApproveAll)?;
        story.run_quiet_cycle()?;
        last = differences(&story.world);
        last.extend(errors_in_the_books(&story.world));
        if last.is_empty() && story.world.state.has_empty_journal() && !story.has_open_holds() {
            silence(story)?;
            return Ok(cycles);
        }
    }
    Err(story.told(&format!(
        "when faults end, Wazzup becomes what the CRM says within {MOST} cycles: {last:?}; journal empty: {}; holds: {:?}",
        story.world.state.has_empty_journal(),
        story.world.state.tables.holds.keys().collect::<Vec<_>>()
    )))
}

/// A cycle with nothing to do sends nothing. One before may still settle which of two employees gets a phone.
fn silence(story: &mut Story) -> Result<(), String> {
    story.act(&Action::Wait(SignedDuration::from_secs(1)))?;
    story.run_quiet_cycle()?;
    for _ in 0..2 {
        story.act(&Action::Wait(SignedDuration::from_secs(1)))?;
        story.run_quiet_cycle()?;
        let is_silent = story.ended().requests == 0;
        story.ensure(is_silent, "a cycle with nothing to do sends nothing")?;
    }
    Ok(())
}

/// Whatever happens, no invariant breaks; and when it stops happening, everything is put right.
#[test]
fn chaos() {
    play(40_000, 300, |choices| {
        let most = 1 + choices.below(5);
        let policy = policy(choices);
        let service = service(choices, most);
        let crm = crm(choices, most);
        let mut story = Story::new(World::new(service, crm, policy));
        story.world.is_daemon = !choices.chance(30);
        for _ in 0..choices.below(10) {
            match choices.below(13) {
                12 => {
                    let id = (1 + choices.below(most)).to_string();
                    if !story.world.service.users.contains_key(&id) {
                        story.act(&Action::SomebodyAdds(id))?;
                    }
                }
                0..=4 => run_disturbed_cycle(&mut story, choices)?,
                5..=7 => {
                    let crm = edited(&story.world.crm, choices, most);
                    story.act(&Action::Edit(crm))?;
                }
                8 | 9 => story.act(&wait(choices))?,
                10 => story.act(&choices.one_of(&[Action::ApproveAll, Action::RetryAll, Action::StartAndDie]))?,
                _ => {
                    let id = (1 + choices.below(most)).to_string();
                    let poison = choices.one_of(&POISONS);
                    if choices.chance(70) {
                        story.world.service.poisonous_upserts.insert(id, poison);
                    } else {
                        story.world.service.poisonous_removals.insert(id, poison);
                    }
                }
            }
            land_something(&mut story, choices)?;
        }
        heal(&mut story).map(|_| ())
    });
}

/// Without any fault a first sync needs one list and ⌈employees/100⌉ requests, and the next cycle nothing.
#[test]
fn first_sync() {
    play(200, 40, |choices| {
        let count = 1 + choices.below(350);
        let mut story = Story::new(World::new(
            Service::new(variant(choices)),
            distinct_people(count, choices),
            EASY_POLICY,
        ));
        story.run_quiet_cycle()?;
        let ended = story.ended();
        let is_in_sync = ended.outcome == Outcome::InSync && ended.requests == count.div_ceil(BATCH);
        let claim = format!("a first sync of {count} is in sync after {} requests", ended.requests);
        story.ensure(is_in_sync, &claim)?;
        silence(&mut story)
    });
}

/// People who have nothing in common; about half of them have a phone.
fn distinct_people(count: usize, choices: &mut Choices) -> Crm {
    let every_other = choices.chance(50);
    let mut crm = Crm::default();
    for number in 0..count {
        let phone = 79_261_000_000 + number as u64;
        crm.people.insert(
            format!("{number:04}"),
            Person {
                name: format!("Person {number}"),
                phone: (every_other && number % 2 == 0).then_some(phone),
            },
        );
    }
    crm
}

/// Poisonous entries concern only themselves: everybody else is delivered within the bound of requests, nobody else is
/// charged, and after some cycles everybody poisonous is.
#[test]
fn poison() {
    play(600, 120, |choices| {
        let count = 1 + choices.below(260);
        let crm = distinct_people(count, choices);
        let mut service = Service::new(variant(choices));
        for _ in 0..choices.below(9) {
            let id = format!("{:04}", choices.below(count));
            service.poisonous_upserts.insert(id, choices.one_of(&POISONS));
        }
        let mut story = Story::new(World::new(service, crm, EASY_POLICY));
        for cycle in 1..=4 {
            story.run_quiet_cycle()?;
            nobody_innocent_is_charged(&story)?;
            the_others_are_delivered(&story, cycle)?;
            story.act(&Action::Wait(SignedDuration::from_hours(25)))?;
        }
        heal(&mut story).map(|_| ())
    });
}

/// Many entries in a row on which the service fails: everybody else is delivered in the first cycle all the same, also when
/// everybody's request was lost before.
#[test]
fn a_cluster_of_poison() {
    play(400, 40, |choices| {
        let count = 30 + choices.below(220);
        let crm = distinct_people(count, choices);
        let mut service = Service::new(variant(choices));
        let first = choices.below(count);
        for number in first..count.min(first + 1 + choices.below(10)) {
            let poison = choices.one_of(&[Poison::Fails, Poison::Dies, Poison::Forbidden, Poison::Silence]);
            service.poisonous_upserts.insert(format!("{number:04}"), poison);
        }
        let mut story = Story::new(World::new(service, crm, EASY_POLICY));
        for cycle in 1..=3 {
            story.run_quiet_cycle()?;
            nobody_innocent_is_charged(&story)?;
            let ended = story.ended();
            let extra = ended.requests.saturating_sub(ended.planned_requests);
            let poisonous = &story.world.service.poisonous_upserts;
            let missing = ended
                .undelivered
                .iter()
                .filter(|id| !poisonous.contains_key(*id))
                .count();
            if missing > 0 && extra < 110 {
                return Err(story.told(&format!(
                    "a cluster of poison keeps nobody else waiting: in cycle {cycle} {missing} after {extra} extra requests"
                )));
            }
            story.act(&Action::Wait(SignedDuration::from_hours(25)))?;
        }
        heal(&mut story).map(|_| ())
    });
}

fn nobody_innocent_is_charged(story: &Story) -> Result<(), String> {
    let service = &story.world.service;
    for (key, open) in &story.world.state.tables.failures {
        let is_guilty = service.poisonous_upserts.contains_key(&*key.user_id)
            || service.poisonous_removals.contains_key(&*key.user_id);
        if !open.failure.is_local && !is_guilty {
            return Err(story.told(&format!("nobody innocent is charged: {}", key.user_id)));
        }
    }
    Ok(())
}

/// Everybody deliverable is delivered in the first cycle, unless so many are poisonous that its requests run out.
fn the_others_are_delivered(story: &Story, cycle: usize) -> Result<(), String> {
    let world = &story.world;
    let ended = story.ended();
    let poisonous: BTreeSet<&String> = world.service.poisonous_upserts.keys().collect();
    let missing: Vec<&String> = ended.undelivered.iter().filter(|id| !poisonous.contains(id)).collect();
    let extra = ended.requests.saturating_sub(ended.planned_requests);
    let is_misled = world.service.variant.naming == Naming::Wrong;
    let is_within_bound = extra < 115 && poisonous.len() <= 4;
    // Where so many fail it is more likely the service that does, and a cycle gives up soon.
    let are_too_many = poisonous.len() * 10 > world.crm.people.len() && poisonous.len() > 1;
    let everybody_is_poisonous = poisonous.len() == world.crm.people.len();
    if !missing.is_empty() && (is_within_bound || cycle > 3) && !is_misled && !are_too_many && !everybody_is_poisonous {
        return Err(story.told(&format!(
            "everybody deliverable is delivered: in cycle {cycle} {missing:?} are not, after {extra} extra requests"
        )));
    }
    Ok(())
}

/// One poisonous entry in 100 costs at most 16 extra requests; at most 30 if the service always names another one.
#[test]
fn one_poisonous_entry() {
    play(600, 40, |choices| {
        let count = 2 + choices.below(99);
        let crm = distinct_people(count, choices);
        let mut service = Service::new(variant(choices));
        let id = format!("{:04}", choices.below(count));
        service.poisonous_upserts.insert(id, choices.one_of(&POISONS));
        let mut story = Story::new(World::new(service, crm, EASY_POLICY));
        story.run_quiet_cycle()?;
        nobody_innocent_is_charged(&story)?;
        the_others_are_delivered(&story, 1)?;
        let ended = story.ended();
        let extra = ended.requests - ended.planned_requests;
        let most = if story.world.service.variant.naming == Naming::Wrong {
            30
        } else {
            16
        };
        let claim = format!("one poisonous entry costs at most {most} requests, not {extra}");
        story.ensure(extra <= most, &claim)
    });
}

/// Many leave, some of whom cannot be removed: the others are, in few requests, and whoever is to be added is.
#[test]
fn poisonous_removals() {
    play(300, 80, |choices| {
        let count = 2 + choices.below(240);
        let crm = distinct_people(count, choices);
        let mut story = Story::new(World::new(Service::new(variant(choices)), crm.clone(), EASY_POLICY));
        story.run_quiet_cycle()?;
        let mut fewer = crm;
        let leaving = 1 + choices.below(count - 1);
        for number in 0..leaving {
            fewer.people.remove(&format!("{number:04}"));
        }
        fewer.people.insert(
            "new".to_owned(),
            Person {
                name: "Newcomer".to_owned(),
                phone: None,
            },
        );
        for _ in 0..choices.below(4) {
            let id = format!("{:04}", choices.below(leaving));
            let poison = choices.one_of(&[Poison::Invalid, Poison::Forbidden, Poison::Fails, Poison::Silence]);
            story.world.service.poisonous_removals.insert(id, poison);
        }
        story.act(&Action::Edit(fewer))?;
        story.run_quiet_cycle()?;
        nobody_innocent_is_charged(&story)?;
        let world = &story.world;
        let is_added = world.service.users.contains_key("new");
        story.ensure(is_added, "removals that fail keep nobody from being added")?;
        let users = world.service.users.keys();
        let left: Vec<&String> = users.filter(|id| !world.crm.people.contains_key(*id)).collect();
        let are_others_removed = left.len() == world.service.poisonous_removals.len();
        let claim = format!("everybody who can be removed is removed; left: {left:?}");
        story.ensure(are_others_removed, &claim)?;
        heal(&mut story).map(|_| ())
    });
}

/// Holds: what exceeds the limits is never sent without approval, and is sent once after it.
#[test]
fn holds() {
    play(2_000, 120, |choices| {
        let count = 2 + choices.below(12);
        let crm = distinct_people(count, choices);
        let limit = |choices: &mut Choices| Limit {
            above: choices.below(4) as u64,
            above_percent: choices.below(60) as u64,
        };
        let policy = Policy {
            removals: limit(choices),
            updates: limit(choices),
            ..EASY_POLICY
        };
        let mut story = Story::new(World::new(Service::new(variant(choices)), crm, policy));
        story.run_quiet_cycle()?;
        for _ in 0..=choices.below(4) {
            let mut crm = story.world.crm.clone();
            for number in 0..count {
                let id = format!("{number:04}");
                match choices.below(6) {
                    4 => drop(crm.people.remove(&id)),
                    5 => {
                        let name = format!("Renamed {number} {}", choices.below(3));
                        crm.people.insert(id, Person { name, phone: None });
                    }
                    _ => {}
                }
            }
            story.act(&Action::Edit(crm))?;
            story.act(&Action::Wait(SignedDuration::from_secs(60)))?;
            story.run_quiet_cycle()?;
            let holds = &story.world.state.tables.holds;
            let held = holds.len();
            // Others are judged afresh: when all users were absent, and somebody came.
            let are_sticky = holds.values().all(|hold| hold.sticky);
            story.act(&Action::Wait(SignedDuration::from_secs(60)))?;
            story.run_quiet_cycle()?;
            let is_silent = story.ended().requests == 0;
            story.ensure(is_silent || !are_sticky, "what is held stays held")?;
            if held > 0 && choices.chance(60) {
                story.act(&Action::ApproveAll)?;
                story.run_quiet_cycle()?;
                let is_sent = !story.has_open_holds() && differences(&story.world).is_empty();
                story.ensure(is_sent, "what is approved is sent")?;
                silence(&mut story)?;
            }
        }
        heal(&mut story).map(|_| ())
    });
}

/// Phones that swap, rotate and move arrive in two rounds of requests, unless the service keeps a phone that is left out.
#[test]
fn phones_change_hands() {
    play(3_000, 60, |choices| {
        let count = 2 + choices.below(5);
        let mut crm = Crm::default();
        let assign = |crm: &mut Crm, choices: &mut Choices| {
            let mut free: Vec<u64> = (0..7).map(|number| 79_261_111_110 + number).collect();
            for number in 0..count {
                let phone = (!choices.chance(25)).then(|| free.remove(choices.below(free.len())));
                let name = format!("Person {number}");
                crm.people.insert(number.to_string(), Person { name, phone });
            }
        };
        assign(&mut crm, choices);
        let mut service = Service::new(variant(choices));
        service.variant.keeps_omitted_phone = false;
        let mut story = Story::new(World::new(service, crm.clone(), EASY_POLICY));
        story.run_quiet_cycle()?;
        for _ in 0..3 {
            assign(&mut crm, choices);
            story.act(&Action::Edit(crm.clone()))?;
            story.act(&Action::Wait(SignedDuration::from_secs(60)))?;
            story.run_quiet_cycle()?;
            let ended = story.ended();
            let is_done = ended.outcome == Outcome::InSync && ended.requests <= 2;
            let claim = "phones change hands within one cycle, in at most two requests";
            story.ensure(is_done && differences(&story.world).is_empty(), claim)?;
        }
        silence(&mut story)
    });
}

/// A service that takes no change, and answers reads, charges nobody, and costs at most 16 requests a cycle.
#[test]
fn a_service_that_fails_on_every_write() {
    play(300, 60, |choices| {
        let count = 2 + choices.below(240);
        let crm = distinct_people(count, choices);
        let mut story = Story::new(World::new(Service::new(variant(choices)), crm.clone(), EASY_POLICY));
        let is_synced = choices.chance(50);
        if is_synced {
            story.run_quiet_cycle()?;
            let mut changed = crm;
            for person in changed.people.values_mut() {
                person.name.push('!');
            }
            changed.people.pop_first();
            story.act(&Action::Edit(changed))?;
        }
        let failing = choices.one_of(&[
            Fate::Forbidden,
            Fate::Fails { acted: false },
            Fate::Fails { acted: true },
            Fate::Lost(Acts::Never),
        ]);
        story.act(&Action::StartCycle(Reading::GOOD))?;
        while let Some(cycle) = &story.world.cycle {
            let is_ping = matches!(cycle.request, Some(Request::Ping));
            story.act(&Action::Send(if is_ping { Fate::Answered } else { failing }))?;
        }
        let ended = story.ended().clone();
        let most = ended.planned_requests + 16;
        if !story.world.state.tables.failures.is_empty() || ended.requests > most || ended.outcome != Outcome::Failed {
            return Err(story.told(&format!(
                "a service that fails on every write charges nobody and costs few requests: {} of {most}",
                ended.requests
            )));
        }
        heal(&mut story).map(|_| ())
    });
}
