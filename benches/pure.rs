//! The pure core: reading phones, rows into a roster, and planning. `cargo bench --package benches`

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use jiff::Timestamp;
use wazzup_sync::employee::{PhoneReader, Roster, RosterEntry, Row};
use wazzup_sync::plan::{Acknowledged, Coverage, Limit, Plan, Policy, RemoteList, Snapshot, User};

const ROWS: [usize; 2] = [1_000, 100_000];

fn main() {
    divan::main();
}

/// Names and phones as a CRM has them; one in `renamed` (if any) is called otherwise.
fn rows(count: usize, renamed: Option<usize>) -> Vec<[String; 3]> {
    let row = |number: usize| {
        let other = renamed.is_some_and(|every| number.is_multiple_of(every));
        [
            number.to_string(),
            format!("Сотрудник Номер {number}{}", if other { ", новый" } else { "" }),
            format!(
                "+7 (926) {:03}-{:02}-{:02}",
                number / 10_000 % 1_000,
                number / 100 % 100,
                number % 100
            ),
        ]
    };
    (1..=count).map(row).collect()
}

fn reader() -> PhoneReader {
    PhoneReader::new("RU").expect("a region")
}

fn roster(rows: &[[String; 3]], phones: &PhoneReader) -> Roster {
    let rows = rows.iter().map(|[id, name, phone]| Row {
        id: Some(id),
        name: Some(name),
        phone: Some(phone),
    });
    Roster::from_rows(rows, phones)
}

/// What the state holds after this roster was delivered.
fn snapshot(roster: &Roster) -> Snapshot {
    let user = |entry: &RosterEntry| {
        let acknowledged = Acknowledged {
            name: entry.employee.name.clone(),
            phone: entry.employee.phone,
            phone_spelling: entry.phone_spelling.clone(),
        };
        let user = User {
            acknowledged: Some(acknowledged),
            synced_at: Some(Timestamp::UNIX_EPOCH),
            ..User::default()
        };
        (entry.employee.id.clone(), user)
    };
    Snapshot {
        users: roster.entries.iter().map(user).collect(),
        ..Snapshot::default()
    }
}

/// What Wazzup shows: nobody, and that for sure.
fn empty_list() -> RemoteList {
    let mut list = RemoteList::unread("");
    list.add_list(BTreeMap::new(), Coverage::Complete);
    list
}

const LIMIT: Limit = Limit {
    above: 5,
    above_percent: 10,
};
const POLICY: Policy = Policy {
    removes: true,
    removals: LIMIT,
    grace: jiff::SignedDuration::ZERO,
    updates: LIMIT,
    always_takes_over: false,
};

#[divan::bench]
fn phone_never_seen(bencher: Bencher<'_, '_>) {
    let reader = reader();
    let _ = reader.read("8 926 123-45-67");
    bencher.bench_local(|| reader.read(black_box("+7 (926) 123-45-67")));
}

#[divan::bench]
fn phone_known(bencher: Bencher<'_, '_>) {
    let known = snapshot(&roster(&rows(1_000, None), &reader())).known_phones();
    let reader = reader().knowing(known);
    bencher.bench_local(|| reader.read(black_box("+7 (926) 000-01-23")));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn roster_of_new_phones(bencher: Bencher<'_, '_>, count: usize) {
    let rows = rows(count, None);
    let _ = reader().read("8 926 123-45-67");
    bencher.bench_local(|| roster(&rows, &reader()));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn roster_of_known_phones(bencher: Bencher<'_, '_>, count: usize) {
    let rows = rows(count, None);
    let snapshot = snapshot(&roster(&rows, &reader()));
    bencher.bench_local(|| roster(&rows, &reader().knowing(snapshot.known_phones())));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn plan_without_change(bencher: Bencher<'_, '_>, count: usize) {
    let roster = roster(&rows(count, None), &reader());
    let mut snapshot = snapshot(&roster);
    snapshot.account.fingerprint = Some(String::new());
    let list = RemoteList::unread("");
    bencher.bench_local(|| Plan::between(&roster, &snapshot, &list, &POLICY, Timestamp::UNIX_EPOCH));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn plan_of_one_percent_churn(bencher: Bencher<'_, '_>, count: usize) {
    let mut snapshot = snapshot(&roster(&rows(count, None), &reader()));
    snapshot.account.fingerprint = Some(String::new());
    let roster = roster(&rows(count, Some(100)), &reader());
    let list = RemoteList::unread("");
    bencher.bench_local(|| Plan::between(&roster, &snapshot, &list, &POLICY, Timestamp::UNIX_EPOCH));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn plan_of_a_first_sync(bencher: Bencher<'_, '_>, count: usize) {
    let roster = roster(&rows(count, None), &reader());
    let nobody = Snapshot::default();
    let list = empty_list();
    bencher.bench_local(|| Plan::between(&roster, &nobody, &list, &POLICY, Timestamp::UNIX_EPOCH));
}
