//! In which order what is sent, and who waits for whom.

use super::*;

const PHONE: u64 = 79_260_000_001;

/// `new` is added with a phone, once `waits_for` is gone and `phone_waits_for` gave up the phone.
fn newcomer(waits_for: &[&str], phone_waits_for: &[&str]) -> PlannedUpsert {
    PlannedUpsert {
        waits_for: waits_for.iter().map(|user| id(user)).collect(),
        phone_waits_for: phone_waits_for.iter().map(|user| id(user)).collect(),
        ..upsert("new", Some(PHONE), true)
    }
}

/// What is sent to a service that refuses whatever contains one of `refused`.
fn sent(plan: &Plan, refused_ids: &[&str]) -> (Vec<String>, Report, Step) {
    let mut requests = Vec::new();
    let (report, recorded) = deliver_requests(Failures::new(), plan, |request| {
        let request = told(request);
        let is_refused = request.split(' ').any(|word| refused_ids.contains(&word));
        requests.push(request);
        if is_refused {
            refused(RefusalCode::Status(400))
        } else {
            ACCEPTED
        }
    });
    (requests, report, recorded)
}

#[test]
fn removals_come_first_then_releases_then_upserts() {
    let mut plan = removing(&["x", "y"]);
    plan.releases.push(release("a"));
    plan.upserts.push(upsert("a", Some(PHONE + 1), false));
    plan.upserts.push(newcomer(&["x"], &["a"]));
    let (requests, report, _) = sent(&plan, &[]);
    assert_eq!(requests, ["remove x y", "upsert a", "upsert a+ new+"]);
    assert_eq!(report.count(&[Change::Add, Change::Update]), 2);
    assert_eq!(report.count(&[Change::Release, Change::Update]), 1);
    assert_eq!(report.count(&[Change::Adopt]), 0);
    assert!(report.pending.is_empty());
}

#[test]
fn a_request_has_at_most_100_entries() {
    let mut sizes = Vec::new();
    let (report, _) = deliver_requests(Failures::new(), &adding(201), |request| {
        sizes.push(request.entry_count());
        ACCEPTED
    });
    assert_eq!((sizes, report.requests), (vec![100, 100, 1], 3));
}

#[test]
fn a_smaller_limit_of_the_service_is_respected_from_then_on() {
    for (limit, expected) in [
        (Some(40), vec![100, 40, 40, 40, 30]),
        (None, vec![100, 50, 50, 50]),
        // Not a smaller one than what it got.
        (Some(100), vec![100, 50, 50, 50]),
    ] {
        let mut sizes = Vec::new();
        let (report, _) = deliver_requests(Failures::new(), &adding(150), |request| {
            sizes.push(request.entry_count());
            if sizes.len() == 1 {
                Verdict::Refused(Refusal {
                    limit,
                    ..RefusalCode::TooManyEntities.into()
                })
            } else {
                ACCEPTED
            }
        });
        assert_eq!((sizes, report.delivered.len()), (expected, 150));
    }
    // A single one is not too many: it is charged.
    let (report, recorded) = deliver(&adding(1), |_| refused(RefusalCode::TooManyEntities));
    assert_eq!(
        (failed(&recorded), report.requests),
        (vec![("n000", Operation::Upsert)], 1)
    );
}

#[test]
fn an_addition_is_not_sent_while_the_leaver_it_waits_for_stays() {
    let mut plan = removing(&["x", "y"]);
    plan.upserts.push(newcomer(&["x"], &[]));
    plan.upserts.push(upsert("other", None, true));
    let (requests, report, recorded) = sent(&plan, &["x"]);
    assert_eq!(requests, ["remove x y", "upsert other", "remove y", "remove x"]);
    assert_eq!(failed(&recorded), [("x", Operation::Remove)]);
    assert_eq!(report.pending, BTreeSet::from([id("new")]));
    assert_eq!(report.removed, 1);
    // Where the removal is accepted in a later request, the addition follows it.
    let (requests, report, _) = sent(&plan, &["y"]);
    assert_eq!(
        requests,
        ["remove x y", "upsert other", "remove y", "remove x", "upsert new+"]
    );
    assert!(report.pending.is_empty());
}

#[test]
fn a_phone_that_a_leaver_keeps_is_late_and_no_failure() {
    let mut plan = removing(&["x", "y"]);
    plan.upserts.push(newcomer(&[], &["x"]));
    let (requests, report, recorded) = sent(&plan, &["x"]);
    assert_eq!(requests.last().map(String::as_str), Some("upsert new"));
    assert_eq!(failed(&recorded), [("x", Operation::Remove)]);
    assert_eq!(report.pending, BTreeSet::from([id("new")]));
}

#[test]
fn a_phone_that_its_holder_does_not_give_up_is_a_conflict() {
    let mut plan = Plan::default();
    plan.releases.extend([release("a"), release("b")]);
    plan.upserts.push(newcomer(&[], &["a"]));
    plan.upserts.push(upsert("z", Some(PHONE + 1), true));
    let (requests, report, recorded) = sent(&plan, &["a"]);
    assert_eq!(
        requests,
        ["upsert a b", "upsert z+", "upsert b", "upsert a", "upsert new"]
    );
    assert_eq!(failed(&recorded), [("a", Operation::Phone), ("new", Operation::Phone)]);
    assert_eq!(report.pending, BTreeSet::from([id("a")]));
}

#[test]
fn whoever_waits_for_a_release_that_was_not_tried_to_the_end_goes_without_the_phone() {
    let mut plan = removing(&["x"]);
    for number in 0..100 {
        plan.releases.push(release(&format!("a{number:02}")));
    }
    plan.upserts.push(newcomer(&[], &["a00"]));
    let (report, recorded) = deliver(&plan, |entries| {
        if entries[0].change == Change::Release {
            refused(RefusalCode::UserLimitExceeded)
        } else {
            ACCEPTED
        }
    });
    assert!(report.pending.contains("a00"));
    assert_eq!(delivered(&report), BTreeSet::from(["new"]));
    assert!(failed(&recorded).contains(&("new", Operation::Phone)));
}

#[test]
fn whoever_waits_only_for_the_own_release_is_sent_all_the_same() {
    let mut plan = Plan::default();
    plan.releases.push(release("a"));
    plan.upserts.push(PlannedUpsert {
        phone_waits_for: vec![id("a")],
        ..upsert("a", Some(PHONE), false)
    });
    let (requests, report, _) = answered_first(&plan, refused(RefusalCode::Status(400)));
    assert_eq!(requests, ["upsert a", "upsert a+"]);
    assert!(report.pending.is_empty());
}

/// Each keeps the phone that the other wants: the release that was refused and the phone that is left out are one failure.
#[test]
fn whoever_is_charged_twice_with_the_phone_has_one_failure() {
    let mut plan = Plan::default();
    for (user, other, phone) in [("a", "b", PHONE), ("b", "a", PHONE + 1)] {
        plan.releases.push(release(user));
        plan.upserts.push(PlannedUpsert {
            phone_waits_for: vec![id(other), id(user)],
            ..upsert(user, Some(phone), false)
        });
    }
    let (_, recorded) = deliver(&plan, |entries| {
        if entries.iter().all(|entry| entry.change == Change::Release) {
            server_error()
        } else {
            ACCEPTED
        }
    });
    assert_eq!(failed(&recorded), [("a", Operation::Phone), ("b", Operation::Phone)]);
    assert!(recorded.failed.values().all(|failure| failure.code == "HTTP_500"));
}

#[test]
fn whoever_is_pending_for_another_reason_stays_so() {
    let mut plan = changing(&["a"]);
    plan.releases.push(release("b"));
    for pending in ["a", "b", "held"] {
        plan.waiting.insert(id(pending), Waiting::Pending);
    }
    plan.waiting.insert(id("failing"), Waiting::BackingOff);
    plan.waiting.insert(id("waiting"), Waiting::ForSeat);
    let (report, _) = deliver(&plan, |_| ACCEPTED);
    assert_eq!(
        report.pending,
        BTreeSet::from([id("a"), id("b"), id("failing"), id("held")])
    );
    assert_eq!(report.waiting_for_seat, BTreeSet::from([id("waiting")]));
}

#[test]
fn an_interruption_ends_the_delivery_and_charges_nobody() {
    let plan = changing(&["a", "b"]);
    for (interruption, requests) in [
        (Interruption::Unauthorized, 1),
        (Interruption::NotSent(NotSent::Stopping), 0),
    ] {
        let (report, recorded) = deliver(&plan, |_| Verdict::Interrupted(interruption.clone()));
        assert_eq!((recorded, report.requests), (Step::default(), requests));
        assert_eq!((report.interruption, report.pending.len()), (Some(interruption), 2));
    }
}

#[test]
fn only_what_may_change_something_is_a_writing_request() {
    let attempts = Attempts::One;
    let entries = vec![release("a"), release("b")];
    let user_ids = vec![id("a"), id("b"), id("c")];
    let upsert = Request::Upsert { entries, attempts };
    let remove = Request::Remove { user_ids, attempts };
    assert_eq!((upsert.is_writing(), upsert.entry_count()), (true, 2));
    assert_eq!((remove.is_writing(), remove.entry_count()), (true, 3));
    assert_eq!((Request::Ping.is_writing(), Request::Ping.entry_count()), (false, 0));
}
