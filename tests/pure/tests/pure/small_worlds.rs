//! The small worlds that are explored, in a test run with few faults, and by `make model` with more.

use std::{thread, time::Instant};

use crate::{
    search::{Budget, Search, SmallWorld},
    story::Story,
    world::{
        Crm, EASY_POLICY, Person, World,
        service::{RemoteUser, Service, Variant},
    },
};

const PHONE: u64 = 79_260_000_001;

/// What the CRM may say of one employee.
const ROWS: [Option<(&str, Option<u64>)>; 3] = [None, Some(("Anna", Some(PHONE))), Some(("Boris", None))];

/// All that the CRM may say of the employees 1 and 2.
fn tables() -> Vec<Crm> {
    let mut tables = Vec::new();
    for first in ROWS {
        for second in ROWS {
            let mut crm = Crm::default();
            for (id, row) in [("1", first), ("2", second)] {
                if let Some((name, phone)) = row {
                    let name = name.to_owned();
                    crm.people.insert(id.to_owned(), Person { name, phone });
                }
            }
            tables.push(crm);
        }
    }
    tables
}

fn service(foreign: &str, name: &str, seat_limit: Option<usize>) -> Service {
    let mut service = Service::new(Variant::USUAL);
    service
        .users
        .insert(foreign.to_owned(), RemoteUser::foreign(name, None));
    service.seat_limit = seat_limit;
    service
}

/// The world after a first cycle in which everything worked.
fn synced(service: Service, crm: Crm) -> World {
    let mut story = Story::new(World::new(service, crm, EASY_POLICY));
    story.run_quiet_cycle().unwrap_or_else(|told| panic!("{told}"));
    story.world
}

fn small_worlds() -> Vec<SmallWorld> {
    let tables = tables();
    // 1 is Anna with the phone, 2 is Boris.
    let both = tables[3 + 2].clone();
    let nobody = Crm::default();
    let world = |name, world: World| SmallWorld {
        name,
        world,
        tables: tables.clone(),
    };
    vec![
        world("both in sync", synced(service("f", "Vera", None), both.clone())),
        world(
            "nobody yet",
            World::new(service("f", "Vera", None), nobody.clone(), EASY_POLICY),
        ),
        world(
            "2 is somebody else's",
            World::new(service("2", "Boris", None), nobody, EASY_POLICY),
        ),
        world(
            "two seats, one of them taken",
            synced(service("f", "Vera", Some(2)), both),
        ),
    ]
}

/// Explores the small worlds whose name contains `part`, two at a time, and prints a table in Markdown.
fn explore(budget: Budget, part: &str) {
    let names: Vec<&str> = small_worlds().iter().map(|small_world| small_world.name).collect();
    let chosen: Vec<usize> = (0..names.len()).filter(|index| names[*index].contains(part)).collect();
    let began = Instant::now();
    let mut states = 0;
    println!("| world | states | depth | put right within |\n|---|--:|--:|---|");
    for pair in chosen.chunks(2) {
        let mut results = Vec::new();
        thread::scope(|scope| {
            let threads: Vec<_> = pair
                .iter()
                .map(|index| scope.spawn(|| Search::new(&small_worlds()[*index], budget).run()))
                .collect();
            for thread in threads {
                results.push(thread.join().expect("a search does not panic"));
            }
        });
        for (index, result) in pair.iter().zip(results) {
            let explored = result.unwrap_or_else(|told| panic!("{}: {told}", names[*index]));
            println!(
                "| {} | {} | {} | {} cycles |",
                names[*index], explored.states, explored.depth, explored.cycles_to_heal
            );
            states += explored.states;
        }
    }
    let Budget { edits, faults } = budget;
    let took = began.elapsed();
    println!("| all, with {edits} edits and {faults} faults, in {took:.0?} | {states} | | |");
}

fn number(variable: &str, usual: u8) -> u8 {
    match std::env::var(variable) {
        Ok(text) => text.trim().parse().unwrap_or_else(|_| panic!("{variable} is a number")),
        Err(_) => usual,
    }
}

/// Everything that can happen with two changes of the CRM, or as many as `MODEL_EDITS` says, and one fault.
#[test]
fn one_fault() {
    let budget = Budget {
        edits: number("MODEL_EDITS", 2),
        faults: 1,
    };
    explore(budget, "");
}

/// The whole search: `make model`. `MODEL_WORLD` chooses worlds by a part of their name.
#[test]
#[ignore = "takes minutes: make model"]
fn model() {
    let budget = Budget {
        edits: number("MODEL_EDITS", 2),
        faults: number("MODEL_FAULTS", 2),
    };
    explore(budget, &std::env::var("MODEL_WORLD").unwrap_or_default());
}
