use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::employee::{FullName, PhoneReader, RosterBuilder, Row};

const NOBODY_IS_HELD: Policy = Policy {
    remove: true,
    hold_above: 1_000,
    hold_above_percent: 100,
    grace: SignedDuration::ZERO,
};

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn phone(last: u8) -> String {
    format!("792612345{last:02}")
}

fn roster(rows: &[(Option<String>, String, Option<String>)]) -> Roster {
    let mut builder = RosterBuilder::new(PhoneReader::new("RU").expect("a region"));
    for (id, name, phone) in rows {
        builder.push(Row {
            id: id.as_deref(),
            name: Some(name),
            phone: phone.as_deref(),
        });
    }
    builder.finish()
}

fn employees(people: &[(&str, &str, Option<u8>)]) -> Roster {
    let row =
        |(id, name, number): &(&str, &str, Option<u8>)| (Some((*id).to_owned()), (*name).to_owned(), number.map(phone));
    roster(&people.iter().map(row).collect::<Vec<_>>())
}

fn user(id: &str, name: Option<&str>, number: Option<u8>) -> Managed {
    let id = EmployeeId::parse(id).expect("an id");
    let acknowledged = name.map(|name| Acknowledged {
        name: FullName::parse(name).expect("a name"),
        phone: number.map(|it| phone(it).parse().expect("a phone")),
    });
    Managed::new(id, acknowledged, None)
}

fn in_doubt(user: Managed, numbers: &[u8]) -> Managed {
    let phones = numbers.iter().map(|it| phone(*it).parse().expect("a phone")).collect();
    let marks = Marks {
        in_doubt: Some(InDoubt {
            since: now(),
            names: Vec::new(),
            phones,
        }),
        ..user.marks().clone()
    };
    user.with_marks(marks)
}

fn snapshot(users: Vec<Managed>) -> Snapshot {
    Snapshot {
        users,
        recent_removals: 0,
    }
}

fn plan(roster: &Roster, snapshot: &Snapshot) -> Plan {
    Plan::between(roster, snapshot, &Failures::new(), NOBODY_IS_HELD, now())
}

fn sent(plan: &Plan) -> Vec<(&str, Option<String>)> {
    plan.upserts
        .iter()
        .map(|it| (it.employee.id.as_str(), it.employee.phone.map(|it| it.to_string())))
        .collect()
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a EmployeeId>) -> Vec<&'a str> {
    ids.into_iter().map(EmployeeId::as_str).collect()
}

/// The users of Wazzup as a strict service has them: no phone may be claimed in a request while somebody else holds it.
type Service = BTreeMap<EmployeeId, (FullName, Option<Phone>)>;

fn apply(plan: &Plan, service: &mut Service) -> Result<(), String> {
    for removal in &plan.removals {
        service.remove(&removal.id);
    }
    let upserts: Vec<Employee> = plan.upserts.iter().map(|it| it.employee.clone()).collect();
    for request in plan.releases.chunks(BATCH).chain(upserts.chunks(BATCH)) {
        for employee in request {
            let holder = service
                .iter()
                .find(|(id, (_, held))| **id != employee.id && held.is_some() && *held == employee.phone);
            // Within one request nobody may give up what another one claims.
            if let Some((holder, _)) = holder {
                return Err(format!("{} claims what {holder} holds", employee.id));
            }
        }
        for employee in request {
            service.insert(employee.id.clone(), (employee.name.clone(), employee.phone));
        }
    }
    Ok(())
}

fn as_snapshot(service: &Service) -> Snapshot {
    let user = |(id, (name, phone)): (&EmployeeId, &(FullName, Option<Phone>))| {
        Managed::new(
            id.clone(),
            Some(Acknowledged {
                name: name.clone(),
                phone: *phone,
            }),
            None,
        )
    };
    snapshot(service.iter().map(user).collect())
}

fn row() -> impl Strategy<Value = (Option<String>, String, Option<String>)> {
    let id = prop_oneof![
        20 => (0..14_u8).prop_map(|it| Some(format!("id{it:02}"))),
        1 => Just(Some("x".repeat(201))),
    ];
    let name = prop_oneof![12 => (0..3_u8).prop_map(|it| format!("Name {it}")), 1 => Just(" ".to_owned())];
    let phone = prop_oneof![
        3 => Just(None),
        8 => (0..8_u8).prop_map(|it| Some(phone(it))),
        1 => Just(Some("no phone".to_owned())),
    ];
    (id, name, phone)
}

fn rows() -> impl Strategy<Value = Vec<(Option<String>, String, Option<String>)>> {
    prop::collection::vec(row(), 0..14)
}

/// A user: id, name, phone, and what it is in doubt about.
type Known = (u8, u8, Option<u8>, Option<Vec<u8>>);

/// Users of distinct phones, some in doubt about further phones.
fn users() -> impl Strategy<Value = Vec<Known>> {
    let user = (
        0..14_u8,
        0..3_u8,
        prop::option::of(0..8_u8),
        prop::option::weighted(0.3, prop::collection::vec(0..8_u8, 0..2)),
    );
    prop::collection::vec(user, 0..14)
}

proptest! {
    #[test]
    fn applying_a_plan_yields_the_roster_and_the_next_plan_is_empty(rows in rows(), users in users(), pick in any::<prop::sample::Index>()) {
        let roster = roster(&rows);
        let mut managed: BTreeMap<String, Managed> = BTreeMap::new();
        let mut service = Service::new();
        let mut taken = Vec::new();
        for (id, name, number, doubt) in users {
            let id = format!("id{id:02}");
            let number = number.filter(|it| !taken.contains(it) && !managed.contains_key(&id));
            taken.extend(number);
            let mut known = user(&id, Some(&format!("Name {name}")), number);
            // In truth it holds one of the phones that it may hold.
            let mut truth = number;
            if let Some(numbers) = &doubt {
                let numbers: Vec<u8> = numbers.iter().copied().filter(|it| !taken.contains(it)).collect();
                known = in_doubt(known, &numbers);
                if !numbers.is_empty() && !managed.contains_key(&id) {
                    let intended = *pick.get(&numbers);
                    taken.push(intended);
                    truth = Some(intended);
                }
            }
            if managed.contains_key(&id) { continue; }
            let acknowledged = known.acknowledged.clone().expect("acknowledged");
            let truth = truth.map(|it| phone(it).parse().expect("a phone"));
            service.insert(known.id.clone(), (acknowledged.name, truth));
            managed.insert(id, known);
        }
        let before = snapshot(managed.into_values().collect());
        let plan = plan(&roster, &before);

        let mut touched: Vec<&EmployeeId> = plan.upserts.iter().map(|it| &it.employee.id).collect();
        touched.extend(plan.removals.iter().map(|it| &it.id));
        let count = touched.len();
        touched.sort();
        touched.dedup();
        prop_assert_eq!(touched.len(), count, "adds, updates and removals are disjoint");

        apply(&plan, &mut service).map_err(TestCaseError::fail)?;

        for entry in &roster.entries {
            let (name, phone) = &service[&entry.employee.id];
            prop_assert_eq!(name, &entry.employee.name);
            let conflict = plan.local_failures.contains_key(&(entry.employee.id.as_str().into(), Operation::Phone));
            prop_assert_eq!(*phone, entry.employee.phone.filter(|_| !conflict));
        }
        for id in service.keys() {
            let stays = roster.get(id.as_str()).is_some() || roster.is_rejected(id.as_str()) || plan.held.contains(id);
            prop_assert!(stays, "{} is left behind", id);
        }
        let failures = plan.local_failures.iter().map(|(key, code)| (key.clone(), Failure {
            local: true, code: code.as_str().into(), name: None, phone: None, attempts: 0, next_attempt_at: None,
        })).collect();
        // Of users that were not touched no more is known than before.
        let mut after = as_snapshot(&service);
        for user in &mut after.users {
            if let Some(known) = before.get(user.id.as_str()).filter(|it| roster.get(it.id.as_str()).is_none()) {
                *user = known.clone();
            }
        }
        let again = Plan::between(&roster, &after, &failures, NOBODY_IS_HELD, now());
        prop_assert!(again.sends_nothing(), "{again}");
        prop_assert_eq!(again.requests(), 0);
    }

    #[test]
    fn nobody_is_lost_or_sent_twice(rows in rows(), users in users()) {
        let roster = roster(&rows);
        let mut known: BTreeMap<String, Managed> = BTreeMap::new();
        for (id, name, number, _) in users {
            let id = format!("id{id:02}");
            known.insert(id.clone(), user(&id, Some(&format!("Name {name}")), number));
        }
        let before = snapshot(known.into_values().collect());
        let plan = plan(&roster, &before);
        let released_for_good = plan.releases.iter().filter(|it| !plan.upserts.iter().any(|up| up.employee.id == it.id)).count();
        prop_assert_eq!(plan.eligible, plan.unchanged + plan.upserts.len() + released_for_good + plan.rejected.len());
        let gone = before.users.iter().filter(|it| roster.get(it.id.as_str()).is_none() && !roster.is_rejected(it.id.as_str()));
        prop_assert_eq!(plan.removals.len() + plan.held.len(), gone.count());
    }
}

#[test]
fn updates_come_before_additions_each_by_id() {
    let roster = employees(&[
        ("a", "A", None),
        ("b", "New", None),
        ("c", "C", None),
        ("d", "New", None),
    ]);
    let plan = plan(
        &roster,
        &snapshot(vec![user("b", Some("Old"), None), user("d", Some("Old"), None)]),
    );
    assert_eq!(
        sent(&plan).into_iter().map(|it| it.0).collect::<Vec<_>>(),
        ["b", "d", "a", "c"]
    );
    assert_eq!(plan.requests(), 1);
}

#[test]
fn a_swap_is_released_first_and_nothing_is_released_without_one() {
    let before = snapshot(vec![
        user("a", Some("A"), Some(1)),
        user("b", Some("B"), Some(2)),
        user("c", Some("C"), Some(3)),
    ]);
    let swap = plan(
        &employees(&[("a", "A", Some(2)), ("b", "B", Some(1)), ("c", "C", Some(3))]),
        &before,
    );
    assert_eq!(ids(swap.releases.iter().map(|it| &it.id)), ["a", "b"]);
    assert!(swap.releases.iter().all(|it| it.phone.is_none()));
    assert_eq!(sent(&swap), [("a", Some(phone(2))), ("b", Some(phone(1)))]);
    let renumbered = plan(
        &employees(&[("a", "A", Some(7)), ("b", "B", Some(2)), ("c", "C", Some(3))]),
        &before,
    );
    assert!(renumbered.releases.is_empty());
}

#[test]
fn who_only_gives_up_a_phone_is_sent_once() {
    let before = snapshot(vec![user("a", Some("A"), Some(1))]);
    let plan = plan(&employees(&[("a", "A", None), ("b", "B", Some(1))]), &before);
    assert_eq!(ids(plan.releases.iter().map(|it| &it.id)), ["a"]);
    assert_eq!(sent(&plan), [("b", Some(phone(1)))]);
    assert_eq!(plan.requests(), 2);
}

#[test]
fn a_leavers_phone_needs_no_release() {
    let before = snapshot(vec![user("a", Some("A"), Some(1))]);
    let plan = plan(&employees(&[("b", "B", Some(1))]), &before);
    assert_eq!(ids(plan.removals.iter().map(|it| &it.id)), ["a"]);
    assert!(plan.releases.is_empty());
    assert_eq!(sent(&plan), [("b", Some(phone(1)))]);
}

#[test]
fn a_shared_phone_stays_with_who_holds_it_else_goes_to_the_smallest_id() {
    let people = [("a", "A", Some(1)), ("b", "B", Some(1)), ("c", "C", Some(1))];
    let fresh = plan(&employees(&people), &Snapshot::default());
    assert_eq!(sent(&fresh), [("a", Some(phone(1))), ("b", None), ("c", None)]);
    let held = plan(&employees(&people), &snapshot(vec![user("b", Some("B"), Some(1))]));
    assert_eq!(sent(&held), [("a", None), ("c", None)]);
    let failing: Vec<&str> = held.local_failures.keys().map(|key| &*key.0).collect();
    assert_eq!(failing, ["a", "c"]);
}

#[test]
fn who_stays_without_being_an_employee_keeps_its_phone() {
    let hold = Policy {
        hold_above: 0,
        hold_above_percent: 0,
        ..NOBODY_IS_HELD
    };
    let keep = Policy {
        remove: false,
        ..NOBODY_IS_HELD
    };
    let grace = Policy {
        grace: SignedDuration::from_hours(1),
        ..NOBODY_IS_HELD
    };
    let before = snapshot(vec![user("a", Some("A"), Some(1))]);
    for policy in [hold, keep, grace] {
        let plan = Plan::between(
            &employees(&[("b", "B", Some(1))]),
            &before,
            &Failures::new(),
            policy,
            now(),
        );
        assert_eq!(sent(&plan), [("b", None)], "{policy:?}");
        assert_eq!(plan.local_failures.len(), 1);
    }
    let mut rejected = employees(&[("b", "B", Some(1))]);
    rejected.rejected.push(Rejected {
        id: "a".into(),
        code: Code::InvalidName,
    });
    assert_eq!(sent(&plan(&rejected, &before)), [("b", None)]);
}

#[test]
fn a_user_in_doubt_is_sent_again_and_may_hold_each_intended_phone() {
    let before = snapshot(vec![in_doubt(user("a", Some("A"), Some(1)), &[2])]);
    let plan = plan(&employees(&[("a", "A", Some(1)), ("b", "B", Some(2))]), &before);
    assert_eq!(ids(plan.releases.iter().map(|it| &it.id)), ["a"]);
    assert_eq!(sent(&plan), [("a", Some(phone(1))), ("b", Some(phone(2)))]);
}

fn failing(id: &str, operation: Operation, name: &str, number: Option<u8>, next: i64) -> Failures {
    let failure = Failure {
        local: false,
        code: "HTTP_400".into(),
        name: Some(FullName::parse(name).expect("a name")),
        phone: number.map(|it| phone(it).parse().expect("a phone")),
        attempts: 1,
        next_attempt_at: Some(now() + SignedDuration::from_secs(next)),
    };
    Failures::from([((id.into(), operation), failure)])
}

#[rstest]
#[case::backs_off("Bad", 60, 0, 1)]
#[case::due("Bad", 0, 1, 0)]
#[case::changed("Good", 60, 1, 0)]
fn a_refused_user_is_left_alone_until_it_is_due_or_changes(
    #[case] name: &str,
    #[case] next: i64,
    #[case] upserts: usize,
    #[case] backing_off: usize,
) {
    let failures = failing("a", Operation::Upsert, "Bad", None, next);
    let before = snapshot(vec![in_doubt(user("a", Some("A"), None), &[])]);
    let plan = Plan::between(
        &employees(&[("a", name, None)]),
        &before,
        &failures,
        NOBODY_IS_HELD,
        now(),
    );
    assert_eq!((plan.upserts.len(), plan.backing_off.len()), (upserts, backing_off));
    assert!(plan.closed_failures.is_empty());
}

#[test]
fn a_failing_phone_is_left_out_but_a_rename_is_delivered() {
    let failures = failing("a", Operation::Phone, "A", Some(1), 60);
    let before = snapshot(vec![user("a", Some("A"), None)]);
    let at = |roster: &Roster, failures: &Failures| Plan::between(roster, &before, failures, NOBODY_IS_HELD, now());
    let quiet = at(&employees(&[("a", "A", Some(1))]), &failures);
    assert!(quiet.sends_nothing() && quiet.closed_failures.is_empty());
    assert_eq!(sent(&at(&employees(&[("a", "B", Some(1))]), &failures)), [("a", None)]);
    assert_eq!(
        sent(&at(&employees(&[("a", "A", Some(2))]), &failures)),
        [("a", Some(phone(2)))]
    );
    let due = failing("a", Operation::Phone, "A", Some(1), 0);
    assert_eq!(
        sent(&at(&employees(&[("a", "A", Some(1))]), &due)),
        [("a", Some(phone(1)))]
    );
    let gone = at(&employees(&[("a", "A", None)]), &failures);
    assert_eq!(gone.closed_failures.len(), 1);
}

#[test]
fn a_failure_whose_attempt_nobody_wants_is_closed() {
    let before = snapshot(vec![user("a", Some("A"), None)]);
    for operation in [Operation::Upsert, Operation::Remove, Operation::Seat] {
        let failures = failing("a", operation, "B", None, 60);
        let plan = Plan::between(
            &employees(&[("a", "A", None)]),
            &before,
            &failures,
            NOBODY_IS_HELD,
            now(),
        );
        assert_eq!(plan.closed_failures, [("a".into(), operation)]);
    }
}

#[test]
fn who_waits_for_a_seat_is_not_sent_before_it_is_due() {
    let roster = employees(&[("a", "A", None), ("b", "B", None)]);
    let at = |next| {
        let failures = failing("a", Operation::Seat, "A", None, next);
        Plan::between(&roster, &Snapshot::default(), &failures, NOBODY_IS_HELD, now())
    };
    let waiting = at(60);
    assert_eq!(
        (
            ids(waiting.waiting.iter().map(|it| &it.employee.id)),
            waiting.upserts.len()
        ),
        (vec!["a"], 1)
    );
    let due = at(0);
    assert_eq!((due.waiting.len(), due.upserts.len()), (0, 2));
}

fn many(count: usize) -> Vec<Managed> {
    (0..count)
        .map(|it| user(&format!("u{it:03}"), Some("A"), None))
        .collect()
}

fn staying(count: usize) -> Roster {
    let people: Vec<(String, String)> = (0..count).map(|it| (format!("u{it:03}"), "A".to_owned())).collect();
    employees(
        &people
            .iter()
            .map(|(id, name)| (id.as_str(), name.as_str(), None))
            .collect::<Vec<_>>(),
    )
}

#[rstest]
#[case::within_the_percentage(100, 90, 0, 10, 0)]
#[case::above_it(100, 89, 0, 0, 11)]
#[case::with_those_of_the_day(100, 95, 6, 0, 5)]
#[case::within_with_those_of_the_day(100, 95, 5, 5, 0)]
#[case::few_users(20, 15, 0, 5, 0)]
#[case::few_users_above(20, 14, 0, 0, 6)]
#[case::an_empty_roster(3, 0, 0, 0, 3)]
fn the_brake(
    #[case] managed: usize,
    #[case] stay: usize,
    #[case] recent_removals: usize,
    #[case] removed: usize,
    #[case] held: usize,
) {
    let policy = Policy {
        hold_above: 5,
        hold_above_percent: 10,
        ..NOBODY_IS_HELD
    };
    let snapshot = Snapshot {
        users: many(managed),
        recent_removals,
    };
    let plan = Plan::between(&staying(stay), &snapshot, &Failures::new(), policy, now());
    assert_eq!((plan.removals.len(), plan.held.len()), (removed, held));
    assert_eq!(plan.hold_reason.is_some(), held > 0);
    assert_eq!(plan.newly_held, plan.held);
}

#[test]
fn a_row_without_id_holds_every_removal() {
    let mut roster = staying(9);
    roster.missing_ids = 1;
    let plan = plan(&roster, &snapshot(many(10)));
    assert_eq!((plan.removals.len(), plan.held.len()), (0, 1));
}

#[test]
fn held_is_sticky_until_approved_or_back() {
    let held = |user: Managed, approved: bool| {
        let marks = Marks {
            held_since: Some(now()),
            absent_since: Some(now()),
            approved_at: approved.then(now),
            ..Marks::default()
        };
        user.with_marks(marks)
    };
    let mut users = many(10);
    users[8] = held(users[8].clone(), false);
    users[9] = held(users[9].clone(), true);
    let before = snapshot(users);
    let gone = plan(&staying(8), &before);
    assert_eq!(ids(&gone.held), ["u008"]);
    assert_eq!(gone.hold_reason, Some(HoldReason::Earlier));
    assert_eq!(
        gone.removals,
        [Removal {
            id: before.users[9].id.clone(),
            lookup: false,
            approved: true,
            again: false,
        }]
    );
    let back = plan(&staying(10), &before);
    assert_eq!(
        (ids(&back.returned), ids(&back.released)),
        (vec!["u008", "u009"], vec!["u008", "u009"])
    );
    assert!(back.removals.is_empty() && back.held.is_empty());
    // Whoever was approved goes even when the CRM names nobody.
    let empty = plan(&Roster::default(), &before);
    assert_eq!((empty.removals.len(), empty.held.len()), (1, 9));
}

#[test]
fn within_the_grace_a_user_stays() {
    let policy = Policy {
        grace: SignedDuration::from_mins(10),
        ..NOBODY_IS_HELD
    };
    let mut users = many(3);
    let absent = |user: &Managed, minutes| {
        let absent_since = Some(now() - SignedDuration::from_mins(minutes));
        user.clone().with_marks(Marks {
            absent_since,
            ..Marks::default()
        })
    };
    (users[1], users[2]) = (absent(&users[1], 9), absent(&users[2], 10));
    let before = snapshot(users);
    let plan = Plan::between(&staying(0), &before, &Failures::new(), policy, now());
    assert_eq!(
        (ids(&plan.staying), ids(&plan.held)),
        (vec!["u000", "u001"], vec!["u002"])
    );
    assert_eq!(ids(&plan.newly_absent), ["u000"]);
    let back = Plan::between(&staying(3), &before, &Failures::new(), policy, now());
    assert_eq!(ids(&back.returned), ["u001", "u002"]);
}

#[test]
fn nobody_is_removed_where_the_policy_says_keep() {
    let policy = Policy {
        remove: false,
        ..NOBODY_IS_HELD
    };
    let plan = Plan::between(&staying(1), &snapshot(many(3)), &Failures::new(), policy, now());
    assert!(plan.removals.is_empty() && plan.held.is_empty() && !plan.needs_intent());
    assert_eq!(ids(&plan.staying), ["u001", "u002"]);
}

#[test]
fn a_user_never_acknowledged_is_looked_up_before_it_is_removed() {
    let before = snapshot(vec![in_doubt(user("a", None, None), &[])]);
    let plan = plan(&employees(&[("b", "B", None)]), &before);
    assert_eq!(
        plan.removals,
        [Removal {
            id: before.users[0].id.clone(),
            lookup: true,
            approved: false,
            again: false,
        }]
    );
}

#[test]
fn the_plan_as_people_and_programs_read_it() {
    let mut roster = employees(&[("a", "Anna", Some(1)), ("b", "Bella", Some(2)), ("c", "Cleo", None)]);
    roster.rejected.push(Rejected {
        id: "r".into(),
        code: Code::InvalidName,
    });
    let before = snapshot(vec![
        user("b", Some("Bela"), Some(3)),
        user("c", Some("Cleo"), None),
        user("z", Some("Zoe"), None),
    ]);
    let plan = plan(&roster, &before);
    insta::assert_snapshot!(plan, @r"
    4 employees: 1 to add, 1 to change, 1 unchanged; 1 to remove
    2 requests that change something
    change   b  name: “Bela” → “Bella”, phone: “79261234503” → “79261234502”
    add      a  Anna  79261234501
    remove   z
    reject   r  INVALID_NAME
             the name is blank or longer than 200 characters
             → correct it in the CRM
    ");
    let json = plan.to_json();
    assert_eq!(
        json["add"],
        serde_json::json!([{"id": "a", "name": "Anna", "phone": "79261234501"}])
    );
    let changes = serde_json::json!({
        "name": {"from": "Bela", "to": "Bella"},
        "phone": {"from": "79261234503", "to": "79261234502"},
    });
    assert_eq!(json["update"], serde_json::json!([{"id": "b", "changes": changes}]));
    assert_eq!(
        json["rejected"],
        serde_json::json!([{"id": "r", "code": "INVALID_NAME"}])
    );
    assert_eq!(
        (&json["remove"], &json["held"]),
        (&serde_json::json!(["z"]), &serde_json::json!([]))
    );
    assert_eq!(
        (&json["unchanged"], &json["requests"]),
        (&serde_json::json!(1), &serde_json::json!(2))
    );
}
