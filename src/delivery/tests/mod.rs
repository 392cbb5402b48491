//! Single rules of the delivery, against a service that is a closure.

mod order;
mod refusals;
mod seats;

use std::collections::BTreeSet;

use super::*;
use crate::{
    employee::{Employee, EmployeeId, FullName, Phone},
    plan::{Failures, PlannedRemoval, PlannedUpsert, Seats, Waiting},
};

fn upsert(id: &str, phone: Option<u64>, takes_seat: bool) -> PlannedUpsert {
    let phone = phone.map(|digits| Phone::parse(&digits.to_string()).expect("a phone"));
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
        takes_seat,
        waits_for: Vec::new(),
        phone_waits_for: Vec::new(),
    }
}

fn release(user: &str) -> BatchEntry {
    BatchEntry {
        change: Change::Release,
        ..upsert(user, None, false).entry
    }
}

/// What the service refused twice in succession.
fn failure(id: &str, operation: Operation, name: Option<&str>, phone: Option<u64>) -> (FailureKey, Failure) {
    let failure = Failure {
        key: FailureKey::new(id, operation),
        code: "INVALID_USERS_DATA".to_owned(),
        detail: String::new(),
        request_id: None,
        attempts: 2,
        is_local: false,
        name: name.map(|name| FullName::parse(name).expect("a name")),
        phone: phone.map(|digits| Phone::parse(&digits.to_string()).expect("a phone")),
        spelling: None,
    };
    (FailureKey::new(id, operation), failure)
}

const ACCEPTED: Verdict = Verdict::Accepted { absent: Vec::new() };

/// Delivers `plan` to a service that answers as `service` says. Returns what it came to, and all that was recorded.
fn deliver(plan: &Plan, service: impl FnMut(&[BatchEntry]) -> Verdict) -> (Report, Step) {
    deliver_after(Failures::new(), plan, service)
}

/// The same where failures are open.
fn deliver_after(failures: Failures, plan: &Plan, mut service: impl FnMut(&[BatchEntry]) -> Verdict) -> (Report, Step) {
    deliver_requests(failures, plan, |request| match request {
        Request::Upsert { entries, .. } => service(entries),
        Request::Remove { .. } | Request::Ping => ACCEPTED,
    })
}

/// The same to a service that is shown all requests.
fn deliver_requests(failures: Failures, plan: &Plan, mut service: impl FnMut(&Request) -> Verdict) -> (Report, Step) {
    let mut delivery = Delivery::new(&Plan {
        open_failures: failures,
        ..plan.clone()
    });
    let mut recorded = Step::default();
    let mut next = delivery.start();
    while let Some(request) = next {
        let verdict = service(&request);
        let loss = Loss::None;
        let step = delivery.answered(Answer { verdict, loss });
        recorded.is_acknowledged |= step.is_acknowledged;
        recorded.absent.extend(step.absent);
        recorded.failed.extend(step.failed);
        recorded.newly_failing.extend(step.newly_failing);
        recorded.recovered.extend(step.recovered);
        recorded.seats_taken += step.seats_taken;
        recorded.seats = step.seats.or(recorded.seats);
        next = step.next;
    }
    (delivery.finish(), recorded)
}

/// Something was acknowledged, and nothing else has to be recorded.
fn acknowledged() -> Step {
    Step {
        is_acknowledged: true,
        ..Step::default()
    }
}

/// What is sent to a service that gives this answer to the first request and accepts all others, and what it comes to.
fn answered_first(plan: &Plan, first: Verdict) -> (Vec<String>, Report, Step) {
    let mut requests = Vec::new();
    let mut first = Some(first);
    let (report, recorded) = deliver_requests(Failures::new(), plan, |request| {
        requests.push(told(request));
        first.take().unwrap_or(ACCEPTED)
    });
    (requests, report, recorded)
}

fn server_error() -> Verdict {
    Verdict::NoDecision(RefusalCode::Status(500).into())
}

fn refused(code: RefusalCode) -> Verdict {
    Verdict::Refused(code.into())
}

/// A refusal that names entries: each with its place and the fields.
fn refused_naming(invalid: &[(usize, &[&str])]) -> Verdict {
    let named = invalid.iter().map(|(index, fields)| InvalidEntry {
        index: Some(*index),
        fields: fields.iter().map(ToString::to_string).collect(),
    });
    Verdict::Refused(Refusal {
        invalid: named.collect(),
        ..RefusalCode::InvalidUsersData.into()
    })
}

fn id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).expect("an id")
}

/// A request as text: what it does, to whom (`+`: with a phone), and whether it is tried once only.
fn told(request: &Request) -> String {
    let attempts = |attempts: &Attempts| if *attempts == Attempts::One { " once" } else { "" };
    match request {
        Request::Ping => "ping".to_owned(),
        Request::Remove {
            user_ids,
            attempts: tried,
        } => {
            let ids: Vec<&str> = user_ids.iter().map(EmployeeId::as_str).collect();
            format!("remove {}{}", ids.join(" "), attempts(tried))
        }
        Request::Upsert {
            entries,
            attempts: tried,
        } => {
            let mut text = "upsert".to_owned();
            for entry in entries {
                let phone = entry.employee.phone.map_or("", |_| "+");
                text = format!("{text} {}{phone}", entry.employee.id);
            }
            text + attempts(tried)
        }
    }
}

/// Who failed at what.
fn failed(recorded: &Step) -> Vec<(&str, Operation)> {
    let keys = recorded.failed.keys();
    keys.map(|key| (&*key.user_id, key.operation)).collect()
}

fn only_failure(recorded: &Step) -> &Failure {
    assert_eq!(recorded.failed.len(), 1, "{recorded:?}");
    recorded.failed.values().next().expect("one failure")
}

fn delivered(report: &Report) -> BTreeSet<&str> {
    report
        .delivered
        .iter()
        .map(|entry| entry.employee.id.as_str())
        .collect()
}

/// A plan that adds nobody, and changes these users; a `+` gives one a phone.
fn changing(users: &[&str]) -> Plan {
    let mut plan = Plan::default();
    for (phone, user) in (79_260_000_001..).zip(users) {
        let id = user.trim_end_matches('+');
        plan.upserts
            .push(upsert(id, user.ends_with('+').then_some(phone), false));
    }
    plan
}

/// A plan that adds so many users.
fn adding(count: usize) -> Plan {
    let mut plan = Plan::default();
    for number in 0..count {
        plan.upserts.push(upsert(&format!("n{number:03}"), None, true));
    }
    plan
}

/// The users `ids` leave.
fn removing(ids: &[&str]) -> Plan {
    let mut plan = Plan::default();
    for removed in ids {
        plan.removals.push(PlannedRemoval {
            id: id(removed),
            name: None,
            approved: false,
        });
    }
    plan
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
            server_error()
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
    plan.tried_beyond_seats = 100;
    plan.upserts.push(upsert("new", None, true));
    let (_, recorded) = deliver(&plan, |_| ACCEPTED);
    assert_eq!(recorded.seats, Some(Seats::default()));
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
        2 => refused(RefusalCode::TooManyEntities),
        _ => ACCEPTED,
    });
    assert_eq!(delivered(&report), BTreeSet::from(["a", "b", "c"]));
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
    let (_, report, recorded) = answered_first(&plan, server_error());
    assert_eq!(recorded, acknowledged());
    assert_eq!((report.delivered.len(), report.failing.len()), (1, 0));
    assert!(report.pending.is_empty(), "{:?}", report.pending);
}

/// Without a decision, whoever is sent again is not tried without the phone: the request may have acted.
#[test]
fn an_accepted_control_ends_the_failure_of_its_phone() {
    const PHONE: u64 = 79_260_000_001;
    let resent = BatchEntry {
        change: Change::Resend,
        ..upsert("a", Some(PHONE), false).entry
    };
    let mut plan = Plan::default();
    plan.upserts.push(PlannedUpsert {
        entry: resent.clone(),
        ..upsert("a", Some(PHONE), false)
    });
    plan.control = Some(resent);
    let failures = Failures::from([failure("a", Operation::Phone, None, Some(PHONE))]);
    let mut requests = Vec::new();
    let (report, recorded) = deliver_requests(failures, &plan, |request| {
        requests.push(told(request));
        match requests.len() {
            1 => server_error(),
            _ => ACCEPTED,
        }
    });
    assert_eq!(requests, ["upsert a+", "ping", "upsert a+ once"]);
    let expected = Step {
        recovered: vec![FailureKey::new("a", Operation::Phone)],
        ..acknowledged()
    };
    assert_eq!(recorded, expected);
    assert!(report.failing.is_empty() && report.pending.is_empty());
}

/// Who is to be the control is sent in the same cycle, and loses the phone; or has given it up.
#[test]
fn a_control_is_sent_as_acknowledged_last() {
    const PHONE: u64 = 79_260_000_001;
    let failing = |entries: &[BatchEntry]| entries.iter().any(|entry| entry.employee.id.as_str() == "0");
    let mut plan = changing(&["0", "a+"]);
    plan.control = Some(upsert("a", Some(PHONE), false).entry);
    let mut requests = Vec::new();
    let (report, recorded) = deliver(&plan, |entries| {
        requests.push(entries.to_vec());
        match entries {
            _ if failing(entries) => server_error(),
            [entry] if entry.employee.phone.is_some() => refused(RefusalCode::Status(400)),
            _ => ACCEPTED,
        }
    });
    let control = requests.last().expect("a control");
    assert_eq!(
        (control.len(), control[0].employee.phone, control[0].change),
        (1, None, Change::Resend)
    );
    assert_eq!(failed(&recorded), [("0", Operation::Upsert), ("a", Operation::Phone)]);
    assert_eq!(report.interruption, None);

    let mut plan = changing(&["0"]);
    plan.releases.push(release("a"));
    plan.control = Some(upsert("a", Some(PHONE), false).entry);
    let (report, _) = deliver(&plan, |entries| match entries {
        _ if failing(entries) => server_error(),
        [entry] if entry.employee.phone.is_some() => refused(RefusalCode::DuplicatePhoneNumber),
        _ => ACCEPTED,
    });
    assert_eq!((report.interruption, report.failing.len()), (None, 1));
}

/// Whoever gave up a phone for others and is not delivered yet is not in sync.
#[test]
fn a_user_who_only_gave_up_a_phone_is_no_control() {
    let mut plan = changing(&["0"]);
    plan.releases.push(release("a"));
    let (report, recorded) = deliver(&plan, |entries| match entries[0].change {
        Change::Release => ACCEPTED,
        _ => server_error(),
    });
    assert!(matches!(report.interruption, Some(Interruption::Unavailable(_))));
    assert_eq!((recorded, report.requests), (acknowledged(), 2));
}

/// What the control gives is another name than the one that failed, or not the phone.
#[test]
fn an_accepted_control_settles_only_what_it_says() {
    let mut plan = changing(&["a"]);
    let mut other_name = upsert("a", None, false).entry;
    other_name.employee.name = FullName::parse("Another Name").expect("a name");
    let other_phone = upsert("a", Some(79_260_000_009), false).entry;
    for control in [other_name, other_phone, upsert("b", None, false).entry] {
        plan.control = Some(control);
        let (_, report, recorded) = answered_first(&plan, server_error());
        assert_eq!(failed(&recorded), [("a", Operation::Upsert)]);
        assert!(report.pending.contains("a") && report.delivered.is_empty());
    }
    let mut plan = changing(&["a+"]);
    plan.control = Some(upsert("a", None, false).entry);
    let mut requests = 0;
    let (report, recorded) = deliver(&plan, |_| {
        requests += 1;
        if requests < 3 { server_error() } else { ACCEPTED }
    });
    assert_eq!(
        (failed(&recorded), report.pending.len()),
        (vec![("a", Operation::Phone)], 0)
    );
}

#[test]
fn what_waits_for_longest_is_tried_after_two_failed_alone() {
    let plan = adding(64);
    // Where the search begins, a quarter of all fail.
    let fails = |entry: &BatchEntry| entry.employee.id.as_str() >= "n048";
    let (report, _) = deliver(&plan, |entries| {
        if entries.iter().any(fails) {
            server_error()
        } else {
            ACCEPTED
        }
    });
    assert_eq!(report.interruption, None);
    assert_eq!((report.delivered.len(), report.failing.len()), (48, 16));
}

#[test]
fn a_service_that_fails_on_everything_costs_16_requests_more_than_planned() {
    let mut plan = Plan {
        control: Some(upsert("control", None, false).entry),
        ..Plan::default()
    };
    for number in 0..100 {
        plan.upserts.push(upsert(&format!("n{number:02}"), None, true));
    }
    let (report, recorded) = deliver(&plan, |_| server_error());
    assert_eq!(report.requests, 2 + EXTRA_REQUESTS_BEFORE_ACCEPTANCE);
    assert!(matches!(report.interruption, Some(Interruption::Unavailable(_))));
    assert_eq!(recorded, Step::default());
}
