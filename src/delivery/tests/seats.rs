//! Additions and the seats of the account.

use super::*;

fn adding_with(count: usize, used: Option<usize>, limit: Option<usize>, tried_beyond: usize) -> Plan {
    let mut plan = adding(count);
    plan.seats = Seats { used, limit };
    plan.tried_beyond_seats = tried_beyond;
    plan
}

/// A service with so many free seats, which names its limit.
fn full_after(free: usize, limit: Option<usize>) -> impl FnMut(&[BatchEntry]) -> Verdict {
    let mut left = free;
    move |entries| {
        let additions = entries.iter().filter(|entry| entry.change == Change::Add).count();
        if additions > left {
            return Verdict::Refused(Refusal {
                limit,
                ..RefusalCode::UserLimitExceeded.into()
            });
        }
        left -= additions;
        ACCEPTED
    }
}

#[test]
fn seats_that_are_taken_and_freed_are_counted() {
    let mut plan = adding_with(3, Some(5), Some(10), 0);
    plan.removals = removing(&["x", "y", "z"]).removals;
    let (report, recorded) = deliver_requests(Failures::new(), &plan, |request| match request {
        Request::Remove { .. } => Verdict::Accepted { absent: vec![id("y")] },
        _ => ACCEPTED,
    });
    assert_eq!((recorded.absent, recorded.seats_taken), (vec![id("y")], 3 - 2));
    assert_eq!((report.seats_used, report.removed), (Some(6), 3));
}

#[test]
fn only_additions_take_a_seat() {
    let mut plan = changing(&["a", "b"]);
    plan.seats.used = Some(5);
    let (report, recorded) = deliver(&plan, |_| ACCEPTED);
    assert_eq!((recorded, report.seats_used), (acknowledged(), Some(5)));
}

#[test]
fn as_many_additions_are_sent_as_seats_are_free() {
    let plan = adding_with(5, Some(7), Some(10), 0);
    let (report, _) = deliver(&plan, full_after(3, Some(10)));
    assert_eq!((report.requests, report.delivered.len()), (1, 3));
    assert_eq!(report.waiting_for_seat, BTreeSet::from([id("n003"), id("n004")]));
    assert!(report.pending.is_empty());
    // A removal of the same cycle frees one more, unless the user had been gone before.
    for (absent, sent) in [(Vec::new(), 4), (vec![id("x")], 3)] {
        let mut plan = adding_with(5, Some(7), Some(10), 0);
        plan.removals = removing(&["x"]).removals;
        let (report, _) = deliver_requests(Failures::new(), &plan, |request| match request {
            Request::Remove { .. } => Verdict::Accepted { absent: absent.clone() },
            _ => ACCEPTED,
        });
        assert_eq!(report.delivered.len(), sent);
    }
}

#[test]
fn a_full_account_that_names_its_limit_gets_as_many_as_fit() {
    let mut plan = adding_with(5, Some(8), Some(9), 100);
    plan.upserts.insert(0, upsert("a", None, false));
    let mut requests = Vec::new();
    let mut service = full_after(2, Some(10));
    let (report, recorded) = deliver(&plan, |entries| {
        requests.push(entries.len());
        service(entries)
    });
    assert_eq!(requests, [6, 3]);
    assert_eq!(
        report.waiting_for_seat,
        BTreeSet::from([id("n002"), id("n003"), id("n004")])
    );
    let named = Seats {
        used: None,
        limit: Some(10),
    };
    assert_eq!(recorded.seats, Some(named));
    assert!(report.seats_exhausted);
    assert_eq!((report.seats_limit, report.seats_used), (Some(10), Some(10)));
}

#[test]
fn where_the_limit_is_unknown_additions_are_halved_until_one_is_refused() {
    // Where nobody counted them, there are at least as many users as we manage.
    for (counted, remembered) in [(Some(7), 10), (None, 5)] {
        let mut plan = adding_with(6, counted, None, 0);
        plan.managed = 2;
        plan.upserts.insert(0, upsert("a", None, false));
        let (report, recorded) = deliver(&plan, full_after(3, None));
        assert_eq!(report.delivered.len(), 4);
        assert_eq!(report.waiting_for_seat.len(), 3);
        assert!(report.failing.is_empty() && report.pending.is_empty());
        // There are as many users as the account may have: that is remembered.
        let limit = Some(remembered);
        assert_eq!(recorded.seats, Some(Seats { used: limit, limit }));
        assert_eq!(report.seats_used, limit);
    }
}

#[test]
fn a_refusal_that_contradicts_the_known_seats_is_searched_too() {
    // Two seats are free, as far as is known.
    let mut plan = adding_with(2, Some(8), Some(10), 0);
    plan.upserts.insert(0, upsert("a", None, false));
    let mut requests = Vec::new();
    let mut service = full_after(1, Some(10));
    let (report, _) = deliver_requests(Failures::new(), &plan, |request| {
        requests.push(told(request));
        assert!(requests.len() < 10, "{requests:?}");
        match request {
            Request::Upsert { entries, .. } => service(entries),
            _ => ACCEPTED,
        }
    });
    assert_eq!(
        requests,
        ["upsert a n000 n001", "upsert a", "upsert n000", "upsert n001"]
    );
    assert_eq!(report.waiting_for_seat, BTreeSet::from([id("n001")]));
    assert_eq!(report.seats_used, Some(10));
}

#[test]
fn once_the_account_is_full_no_further_addition_is_tried() {
    let plan = adding_with(250, Some(10), None, 0);
    let (report, _) = deliver(&plan, full_after(0, None));
    assert_eq!((report.waiting_for_seat.len(), report.delivered.len()), (250, 0));
    assert!(report.requests <= 10, "{}", report.requests);
}

#[test]
fn a_limit_that_is_reached_exactly_stays_known() {
    let plan = adding_with(2, Some(8), Some(10), 100);
    let (_, recorded) = deliver(&plan, |_| ACCEPTED);
    assert_eq!((recorded.seats_taken, recorded.seats), (2, None));
}
