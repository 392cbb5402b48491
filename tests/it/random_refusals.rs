//! Delivery under random refusals: by index, silent, of a phone, for want of a seat. After each cycle everyone whom they do
//! not concern is delivered.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use futures_util::StreamExt as _;
use sandbox::{Named, What};

use crate::app::{App, id, ids, phone};

const EMPLOYEES: usize = 130;

#[tokio::test]
async fn a_refusal_stays_with_whom_it_concerns() {
    futures_util::stream::iter(0..24)
        .map(refuse)
        .buffered(3)
        .collect::<Vec<()>>()
        .await;
}

async fn refuse(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut app = App::new().await;
    app.set_raw("wazzup.requests_per_minute", "100000");
    app.hire_many(EMPLOYEES).await;
    app.wazzup.seed_foreign("foreign", "Somebody Else", Some(&phone(7)));
    let mut poison: BTreeMap<String, What> = BTreeMap::new();
    for _ in 0..rng.usize(..4) {
        let reply = match rng.u8(..7) {
            0 => What::invalid(Named::All, &["name"]),
            1 => What::invalid(Named::All, &["id", "phone"]),
            2 => What::invalid(Named::Nobody, &[]),
            3 => What::invalid(Named::Wild, &[]),
            4 => What::status(400),
            5 => What::html(400),
            _ => What::status([422, 409, 500][rng.usize(..3)]),
        };
        poison.insert(id(rng.usize(1..=EMPLOYEES)), reply);
    }
    for (id, reply) in &poison {
        app.wazzup.poison([id.clone()], reply.clone());
    }
    // Some have enough seats, some not.
    let seats = if rng.bool() { 1_000 } else { rng.usize(2..EMPLOYEES) };
    app.wazzup.vary(|variant| variant.seats = seats);

    app.once().await;
    check(&app, &poison, seats, seed).await;
    // A second cycle, with changes of its own, finds the failures of the first in back-off.
    for number in [3, 60, 111] {
        app.rename(&id(number), "Renamed").await;
    }
    app.once().await;
    check(&app, &poison, seats, seed).await;
}

async fn check(app: &App, poison: &BTreeMap<String, What>, seats: usize, seed: u64) {
    let (users, context) = (
        app.wazzup.users(),
        format!("seed {seed}, {seats} seats, {poison:?}\n{}", app.requests_as_text()),
    );
    let delivered: BTreeSet<&String> = users.keys().filter(|id| *id != "foreign").collect();
    let healthy: Vec<String> = ids(1..=EMPLOYEES)
        .into_iter()
        .filter(|id| !poison.contains_key(id))
        .collect();
    assert_eq!(delivered.len(), healthy.len().min(seats - 1), "{context}");
    assert!(delivered.iter().all(|id| !poison.contains_key(*id)), "{context}");
    for (id, user) in users.iter().filter(|(id, _)| *id != "foreign") {
        let number: usize = id[1..].parse().expect("a number");
        // The foreign user's phone is somebody else's for good.
        assert_eq!(user.phone, (number != 7).then(|| phone(number)), "{id}; {context}");
        let name = sqlx::query_scalar::<_, String>("SELECT name FROM employees WHERE id = $1").bind(id);
        assert_eq!(
            user.name,
            name.fetch_one(&app.crm).await.expect("an employee"),
            "{context}"
        );
    }
    // Each counts once.
    let row = "SELECT eligible - in_sync - failing - waiting_for_seat - pending FROM wazzup_sync.accounts";
    assert_eq!(app.state_number(row).await, 0, "{context}");
    let pending = app.state_number("SELECT pending FROM wazzup_sync.accounts").await;
    assert_eq!(pending, 0, "{context}");
    let waiting = app.waiting_for_seat().await;
    assert!(seats < 1_000 || waiting.is_empty(), "{context}");
    app.assert_unharmed();
}
