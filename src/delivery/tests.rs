//! Single rules of the delivery, against a service that is a closure.

use std::collections::BTreeSet;

use super::*;
use crate::{
    employee::{Employee, EmployeeId, FullName},
    plan::PlannedUpsert,
};

fn upsert(id: &str, phone: Option<u64>, takes_seat: bool) -> PlannedUpsert {
    let phone = phone.map(|digits| digits.to_string().parse().expect("a phone"));
    PlannedUpsert {
        entry: BatchEntry {
            employee: Employee {
                id: EmployeeId::parse(id).expect("an id"),
                name: FullName::parse("Somebody").expect("a name"),
                phone,
            },
            phone_spelling: None,
            change: if takes_seat { Change::Add } else { Change::Update },
        },
        wanted_phone: phone,
        before: None,
        name_in_wazzup: None,
        takes_seat,
        waits_for: Vec::new(),
        phone_waits_for: Vec::new(),
    }
}

const ACCEPTED: Verdict = Verdict::Accepted { absent: Vec::new() };

/// Delivers `plan` to a service that answers as `service` says. Returns what it came to, and all outcomes.
fn deliver(plan: &Plan, mut service: impl FnMut(&[BatchEntry]) -> Verdict) -> (Report, Vec<Outcome>) {
    let mut delivery = Delivery::new(plan, Failures::new());
    let mut outcomes = Vec::new();
    let mut next = delivery.start();
    while let Some(request) = next {
        let verdict = match &request {
            Request::Upsert { entries, .. } => service(entries),
            Request::Remove { .. } | Request::Ping => ACCEPTED,
        };
        let loss = Loss::None;
        let step = delivery.answered(Answer { verdict, loss });
        outcomes.extend(step.outcomes);
        next = step.next;
    }
    (delivery.finish(), outcomes)
}

#[test]
fn employees_whose_phones_all_belong_to_others_are_delivered_without_them() {
    for count in [20, 100, 300] {
        let mut plan = Plan::default();
        for number in 0..count {
            plan.upserts
                .push(upsert(&format!("n{number:03}"), Some(79_260_000_000 + number), true));
        }
        let (report, _) = deliver(&plan, |entries| {
            let phone = entries.iter().find_map(|entry| entry.employee.phone);
            let Some(phone) = phone else { return ACCEPTED };
            Verdict::Refused(Refusal {
                phone: Some(phone),
                ..RefusalCode::DuplicatePhoneNumber.into()
            })
        });
        assert!(report.delivered.len() >= 20, "{} of {count}", report.delivered.len());
        assert_eq!(report.failing.len(), report.delivered.len());
        assert!(report.requests <= 3 + EXTRA_REQUESTS, "{}", report.requests);
    }
}

#[test]
fn a_service_that_took_a_control_does_not_fail_on_everything() {
    let mut plan = Plan {
        control: Some(upsert("control", None, false).entry),
        ..Plan::default()
    };
    for number in 0..100 {
        plan.upserts.push(upsert(&format!("n{number:02}"), None, false));
    }
    let (report, _) = deliver(&plan, |entries| {
        if entries[0].employee.id.as_str() == "control" {
            ACCEPTED
        } else {
            Verdict::NoDecision(RefusalCode::Status(500).into())
        }
    });
    assert_eq!(report.interruption, None);
    assert!(report.failing.len() > 16, "{}", report.failing.len());
}

#[test]
fn an_account_with_more_users_than_its_limit_had_its_limit_raised_if_it_takes_one_more() {
    let mut plan = Plan::default();
    plan.seats.used = Some(5);
    plan.seats.limit = Some(3);
    plan.seats.tried_beyond = 100;
    plan.upserts.push(upsert("new", None, true));
    let (_, outcomes) = deliver(&plan, |_| ACCEPTED);
    assert!(
        outcomes.contains(&Outcome::SeatLimit {
            limit: None,
            used: None
        }),
        "{outcomes:?}"
    );
}

#[test]
fn entries_set_aside_are_not_forgotten_when_the_batch_is_too_large() {
    let mut plan = Plan::default();
    for id in ["a", "b", "c"] {
        plan.upserts.push(upsert(id, None, true));
    }
    let (report, _) = deliver(&plan, |entries| match entries.len() {
        3 => Verdict::Refused(Refusal {
            invalid: vec![InvalidEntry {
                index: Some(0),
                fields: Vec::new(),
            }],
            ..RefusalCode::InvalidUsersData.into()
        }),
        2 => Verdict::Refused(RefusalCode::TooManyEntities.into()),
        _ => ACCEPTED,
    });
    let delivered: BTreeSet<&str> = report.delivered.iter().map(|delivered| delivered.id.as_str()).collect();
    assert_eq!(delivered, BTreeSet::from(["a", "b", "c"]));
}

#[test]
fn whoever_is_accepted_as_the_control_is_not_charged_with_what_failed_before() {
    let resent = BatchEntry {
        change: Change::Resend,
        ..upsert("a", None, false).entry
    };
    let mut plan = Plan::default();
    plan.upserts.push(PlannedUpsert {
        entry: resent.clone(),
        ..upsert("a", None, false)
    });
    // After a lost request about everybody, nobody else is in sync.
    plan.control = Some(resent);
    let mut failures = 0;
    let (report, outcomes) = deliver(&plan, |_| {
        failures += 1;
        if failures == 1 {
            Verdict::NoDecision(RefusalCode::Status(500).into())
        } else {
            ACCEPTED
        }
    });
    assert_eq!(outcomes, [Outcome::Upserted]);
    assert_eq!((report.delivered.len(), report.failing.len()), (1, 0));
    assert!(report.pending.is_empty(), "{:?}", report.pending);
}
