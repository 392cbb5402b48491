//! The pure core: reading phones, rows into a roster, and planning. `cargo bench --package benches`

use divan::{Bencher, black_box};
use jiff::Timestamp;
use wazzup_sync::employee::{PhoneReader, Roster, RosterBuilder, Row, Spelling};
use wazzup_sync::plan::{Acknowledged, Failures, Managed, Plan, Policy, Snapshot};

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

fn roster(rows: &[[String; 3]], phones: PhoneReader) -> Roster {
    let mut builder = RosterBuilder::new(phones);
    for [id, name, phone] in rows {
        builder.push(Row {
            id: Some(id),
            name: Some(name),
            phone: Some(phone),
        });
    }
    builder.finish()
}

/// What the state holds after this roster was delivered.
fn snapshot(roster: &Roster) -> Snapshot {
    let user = |entry: &wazzup_sync::employee::Entry| {
        let acknowledged = Acknowledged {
            name: entry.employee.name.clone(),
            phone: entry.employee.phone,
        };
        Managed::new(entry.employee.id.clone(), Some(acknowledged), entry.spelling)
    };
    Snapshot {
        users: roster.entries.iter().map(user).collect(),
        recent_removals: 0,
    }
}

fn known(snapshot: &Snapshot) -> impl Iterator<Item = (Spelling, wazzup_sync::employee::Phone)> {
    let phone = |user: &Managed| Some((user.spelling?, user.acknowledged.as_ref()?.phone?));
    snapshot.users.iter().filter_map(phone)
}

const POLICY: Policy = Policy {
    remove: true,
    hold_above: 5,
    hold_above_percent: 10,
    grace: jiff::SignedDuration::ZERO,
};

#[divan::bench]
fn phone_never_seen(bencher: Bencher<'_, '_>) {
    let reader = reader();
    let _ = reader.read("8 926 123-45-67");
    bencher.bench_local(|| reader.read(black_box("+7 (926) 123-45-67")));
}

#[divan::bench]
fn phone_known(bencher: Bencher<'_, '_>) {
    let read = reader().read("+7 (926) 123-45-67").ok().flatten();
    let reader = reader().knowing(read.map(|(phone, spelling)| (spelling, phone)));
    bencher.bench_local(|| reader.read(black_box("+7 (926) 123-45-67")));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn roster_of_new_phones(bencher: Bencher<'_, '_>, count: usize) {
    let rows = rows(count, None);
    let _ = reader().read("8 926 123-45-67");
    bencher.bench_local(|| roster(&rows, reader()));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn roster_of_known_phones(bencher: Bencher<'_, '_>, count: usize) {
    let rows = rows(count, None);
    let snapshot = snapshot(&roster(&rows, reader()));
    bencher.bench_local(|| roster(&rows, reader().knowing(known(&snapshot))));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn plan_without_change(bencher: Bencher<'_, '_>, count: usize) {
    let roster = roster(&rows(count, None), reader());
    let snapshot = snapshot(&roster);
    bencher.bench_local(|| Plan::between(&roster, &snapshot, &Failures::new(), POLICY, Timestamp::UNIX_EPOCH));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn plan_of_one_percent_churn(bencher: Bencher<'_, '_>, count: usize) {
    let snapshot = snapshot(&roster(&rows(count, None), reader()));
    let roster = roster(&rows(count, Some(100)), reader());
    bencher.bench_local(|| Plan::between(&roster, &snapshot, &Failures::new(), POLICY, Timestamp::UNIX_EPOCH));
}

#[divan::bench(args = ROWS, sample_count = 20)]
fn plan_of_a_first_sync(bencher: Bencher<'_, '_>, count: usize) {
    let roster = roster(&rows(count, None), reader());
    let nobody = Snapshot::default();
    bencher.bench_local(|| Plan::between(&roster, &nobody, &Failures::new(), POLICY, Timestamp::UNIX_EPOCH));
}
