//! Whom a refusal concerns.

use rstest::rstest;

use super::*;

#[test]
fn an_entry_named_for_its_phone_goes_on_without_it() {
    let plan = changing(&["a+", "b+", "c"]);
    let (requests, report, recorded) = answered_first(&plan, refused_naming(&[(0, &["phone"])]));
    assert_eq!(requests, ["upsert a+ b+ c", "upsert a b+ c"]);
    assert_eq!(failed(&recorded), [("a", Operation::Phone)]);
    assert_eq!(delivered(&report), BTreeSet::from(["a", "b", "c"]));
    assert!(report.pending.is_empty());
}

/// Named for more than a phone that it has, an entry is set aside, and charged once the others are accepted.
#[rstest]
#[case(&[(0, &["phone", "name"][..])], "upsert b+ c", "a")]
#[case(&[(0, &["name"][..])], "upsert b+ c", "a")]
#[case(&[(0, &[][..])], "upsert b+ c", "a")]
#[case(&[(0, &["phone"][..]), (0, &["name"][..])], "upsert b+ c", "a")]
#[case(&[(0, &["name"][..]), (0, &["phone"][..])], "upsert b+ c", "a")]
#[case(&[(2, &["phone"][..])], "upsert a+ b+", "c")]
#[case(&[(2, &["name"][..]), (3, &["name"][..])], "upsert a+ b+", "c")]
fn an_entry_that_is_named_is_set_aside(
    #[case] named: &[(usize, &[&str])],
    #[case] second: &str,
    #[case] charged: &str,
) {
    let plan = changing(&["a+", "b+", "c"]);
    let (requests, report, recorded) = answered_first(&plan, refused_naming(named));
    assert_eq!(requests[1..], [second]);
    assert_eq!(failed(&recorded), [(charged, Operation::Upsert)]);
    assert!(report.pending.contains(charged) && report.pending.len() == 1);
}

/// Where the answer names nobody, or everybody, the group is halved; the second half is tried first.
#[rstest]
#[case(&[])]
#[case(&[(4, &["name"][..])])]
#[case(&[(0, &[][..]), (1, &[][..]), (2, &[][..]), (3, &[][..])])]
fn a_refusal_that_names_nothing_usable_halves_the_group(#[case] named: &[(usize, &[&str])]) {
    let plan = changing(&["a", "b", "c", "d"]);
    let (requests, _, recorded) = answered_first(&plan, refused_naming(named));
    assert_eq!(requests[1..], ["upsert c d", "upsert a b"]);
    assert_eq!(failed(&recorded), []);
}

#[test]
fn an_answer_that_names_the_wrong_entry_harms_nobody() {
    let plan = changing(&["a+", "b", "c", "d"]);
    for fields in [&["phone"][..], &["name"]] {
        let (report, recorded) = deliver(&plan, |entries| {
            let has_culprit = entries.iter().any(|entry| entry.employee.id.as_str() == "d");
            if has_culprit {
                refused_naming(&[(0, fields)])
            } else {
                ACCEPTED
            }
        });
        assert_eq!(failed(&recorded), [("d", Operation::Upsert)]);
        assert_eq!(delivered(&report), BTreeSet::from(["a", "b", "c"]));
        assert!(report.requests <= 10, "{}", report.requests);
    }
}

/// Nor does it cost more than 16 requests to find one culprit of 100; a phone, without which it is tried as well, one more.
#[rstest]
fn one_culprit_of_a_hundred_is_found_whatever_the_answers_name(
    #[values("000", "001", "050", "098", "099")] culprit: &str,
    #[values("the first", "the next", "nothing")] named: &str,
) {
    let ids: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let plan = changing(&ids);
    let (report, recorded) = deliver(&plan, |entries| {
        let mut entries = entries.iter();
        let Some(index) = entries.position(|entry| entry.employee.id.as_str() == culprit) else {
            return ACCEPTED;
        };
        match named {
            "the first" => refused_naming(&[(0, &["id"])]),
            "the next" => refused_naming(&[(index + 1, &["name"])]),
            _ => refused_naming(&[]),
        }
    });
    assert_eq!(failed(&recorded), [(culprit, Operation::Upsert)]);
    assert_eq!(report.delivered.len(), 99);
    assert!(report.requests <= 1 + 16, "{}", report.requests);
}

#[test]
fn a_single_entry_that_is_refused_is_tried_without_its_phone() {
    let mut plan = changing(&["a+"]);
    plan.upserts[0].wanted_phone = Phone::parse("79260000001");
    let (requests, report, recorded) = answered_first(&plan, refused(RefusalCode::Status(400)));
    assert_eq!(requests, ["upsert a+", "upsert a"]);
    assert_eq!(failed(&recorded), [("a", Operation::Phone)]);
    assert!(report.pending.is_empty());
    let (report, recorded) = deliver(&plan, |_| refused(RefusalCode::Status(400)));
    let attempt = only_failure(&recorded);
    assert_eq!(
        (attempt.key.operation, attempt.phone),
        (Operation::Upsert, plan.upserts[0].wanted_phone)
    );
    assert!(report.pending.contains("a") && report.delivered.is_empty());
}

#[test]
fn only_a_duplicate_phone_is_taken_off_whoever_has_it() {
    let plan = changing(&["a+", "b"]);
    for (code, second) in [
        (RefusalCode::DuplicatePhoneNumber, "upsert a b"),
        (RefusalCode::InvalidUsersData, "upsert b"),
    ] {
        let (requests, _, _) = answered_first(
            &plan,
            Verdict::Refused(Refusal {
                phone: Phone::parse("79260000001"),
                ..code.clone().into()
            }),
        );
        assert_eq!(requests[1], second);
    }
}

#[test]
fn attempts_with_the_same_values_are_counted_on() {
    let attempts = |failures: Failures, plan: &Plan| {
        let (_, recorded) = deliver_after(failures, plan, |_| refused(RefusalCode::Status(400)));
        only_failure(&recorded).attempts
    };
    let plan = changing(&["a"]);
    let upsert = |name, phone| Failures::from([failure("a", Operation::Upsert, Some(name), phone)]);
    assert_eq!(attempts(upsert("Somebody", None), &plan), 3);
    assert_eq!(attempts(upsert("Another Name", None), &plan), 1);
    assert_eq!(attempts(upsert("Somebody", Some(79_260_000_001)), &plan), 1);
}

#[test]
fn a_phone_that_is_refused_again_is_counted_on_whatever_the_name() {
    let plan = changing(&["a+"]);
    for (phone, attempts) in [(79_260_000_001, 3), (79_260_000_002, 1)] {
        let failures = Failures::from([failure("a", Operation::Phone, Some("Another Name"), Some(phone))]);
        let (_, recorded) = deliver_after(failures, &plan, |entries| match entries[0].employee.phone {
            Some(_) => refused(RefusalCode::DuplicatePhoneNumber),
            None => ACCEPTED,
        });
        let attempt = only_failure(&recorded);
        assert_eq!((attempt.key.operation, attempt.attempts), (Operation::Phone, attempts));
    }
}

#[test]
fn an_acceptance_ends_the_failures_that_it_settles() {
    let failures = || {
        Failures::from([
            failure("a", Operation::Upsert, Some("Somebody"), None),
            failure("a", Operation::Phone, Some("Somebody"), Some(79_260_000_001)),
        ])
    };
    let upsert_key = FailureKey::new("a", Operation::Upsert);
    let phone_key = FailureKey::new("a", Operation::Phone);
    let (report, _) = deliver_after(failures(), &changing(&["a+"]), |_| ACCEPTED);
    assert_eq!(report.recovered, [upsert_key.clone(), phone_key.clone()]);
    // Without its phone, only the upsert is settled.
    let (report, _) = deliver_after(failures(), &changing(&["a"]), |_| ACCEPTED);
    assert_eq!(report.recovered, [upsert_key]);
    assert_eq!(report.failing.into_keys().collect::<Vec<_>>(), [phone_key]);
    // A failure without a phone is about giving one up: a release settles it, and nothing else.
    let failures_of_release = || Failures::from([failure("a", Operation::Phone, Some("Somebody"), None)]);
    let mut plan = Plan::default();
    plan.releases.push(release("a"));
    let (report, _) = deliver_after(failures_of_release(), &plan, |_| ACCEPTED);
    assert_eq!(report.recovered, [FailureKey::new("a", Operation::Phone)]);
    let (report, _) = deliver_after(failures_of_release(), &changing(&["a+"]), |_| ACCEPTED);
    assert_eq!(report.recovered, []);
    let mut plan = removing(&["a", "b"]);
    plan.upserts = changing(&["c"]).upserts;
    let (report, _) = deliver_after(failures(), &plan, |_| ACCEPTED);
    assert!(report.failing.is_empty());
    assert_eq!(report.removed, 2);
}

#[rstest]
#[case(refused(RefusalCode::Status(503)))]
#[case(Verdict::Interrupted(Interruption::Unavailable("HTTP_503".to_owned())))]
fn a_group_without_a_decision_is_split_only_if_the_service_answers_a_read(#[case] ping: Verdict) {
    let plan = changing(&["a", "b"]);
    let mut requests = Vec::new();
    let (report, recorded) = deliver_requests(Failures::new(), &plan, |request| {
        requests.push(told(request));
        match request {
            Request::Ping => ping.clone(),
            _ => Verdict::NoDecision(RefusalCode::Status(502).into()),
        }
    });
    assert_eq!(requests, ["upsert a b", "ping"]);
    let reason = "it fails (HTTP_502), and does not answer a read (HTTP_503)";
    assert_eq!(report.interruption, Some(Interruption::Unavailable(reason.to_owned())));
    assert_eq!(
        (recorded, report.requests, report.pending.len()),
        (Step::default(), 1, 2)
    );
}

#[test]
fn parts_of_a_group_without_a_decision_are_tried_once() {
    let plan = changing(&["a", "b", "c", "d"]);
    let parts = ["upsert c d once", "upsert a b once", "upsert b once", "upsert a once"];
    for (code, pings) in [
        (RefusalCode::Status(500), [1].as_slice()),
        (RefusalCode::NoAnswer, &[1, 4, 7]),
    ] {
        let mut requests = Vec::new();
        let (_, recorded) = deliver_requests(Failures::new(), &plan, |request| {
            requests.push(told(request));
            if told(request).contains(" a") {
                Verdict::NoDecision(code.clone().into())
            } else {
                ACCEPTED
            }
        });
        assert_eq!(failed(&recorded), [("a", Operation::Upsert)]);
        // Where there is no answer at all, the service may be gone meanwhile: it is asked each time.
        let positions = requests.iter().enumerate().filter(|(_, request)| *request == "ping");
        assert_eq!(positions.map(|(position, _)| position).collect::<Vec<_>>(), pings);
        requests.retain(|request| request != "ping");
        assert_eq!(requests[1..5], parts);
        // A control, since nothing was accepted after `a` failed.
        assert_eq!(requests[5..], ["upsert c once"]);
    }
}

#[test]
fn after_a_group_without_a_decision_the_next_ones_are_tried_once_until_one_is_accepted() {
    let plan = adding(300);
    let mut requests = Vec::new();
    deliver_requests(Failures::new(), &plan, |request| {
        requests.push(match request {
            Request::Upsert { attempts, .. } => Some(*attempts),
            _ => None,
        });
        if requests.len() == 1 { server_error() } else { ACCEPTED }
    });
    let expected = [
        Some(Attempts::Several),
        None,
        Some(Attempts::One),
        Some(Attempts::Several),
    ];
    assert_eq!(requests[..4], expected);
}

#[test]
fn an_account_over_its_limit_is_searched_sixteen_times() {
    let mut plan = removing(&["gone"]);
    for number in 0..100 {
        plan.upserts.push(upsert(&format!("n{number:02}"), None, false));
    }
    let (report, _) = deliver(&plan, |_| refused(RefusalCode::UserLimitExceeded));
    // The removal, the updates as planned, and sixteen parts of them.
    assert_eq!(report.requests, 1 + 1 + 16);
    assert!(report.pending.len() == 100 && report.failing.len() < 16);
    assert_eq!(report.interruption, None);
}

/// Our own words: the service's could contain a phone.
#[rstest]
#[case(
    RefusalCode::DuplicatePhoneNumber,
    Operation::Phone,
    "another user in Wazzup has this phone; everything else is synced"
)]
#[case(
    RefusalCode::InvalidUsersData,
    Operation::Phone,
    "Wazzup refuses this change of the phone; everything else is synced"
)]
#[case(
    RefusalCode::UserLimitExceeded,
    Operation::Upsert,
    "the account has more users than seats"
)]
#[case(RefusalCode::InvalidUsersData, Operation::Upsert, "Wazzup finds this entry invalid")]
#[case(
    RefusalCode::NoAnswer,
    Operation::Remove,
    "Wazzup does not answer when this user is to be removed"
)]
#[case(
    RefusalCode::NoAnswer,
    Operation::Upsert,
    "Wazzup does not answer to this entry, but answers to others"
)]
#[case(RefusalCode::Status(403), Operation::Remove, "Wazzup refuses to remove this user")]
#[case(
    RefusalCode::Status(502),
    Operation::Upsert,
    "Wazzup fails on this entry, but not on others"
)]
#[case(RefusalCode::Status(403), Operation::Upsert, "Wazzup refuses this entry")]
#[case(RefusalCode::Other("NEW".to_owned()), Operation::Upsert, "Wazzup refuses this entry")]
fn a_failure_is_explained(#[case] code: RefusalCode, #[case] operation: Operation, #[case] detail: &str) {
    assert_eq!(code.detail(operation), detail);
}

#[test]
fn a_refusal_is_told_by_its_code_and_the_request() {
    let mut refusal = Refusal::from(RefusalCode::Status(502));
    assert_eq!(refusal.to_string(), "HTTP_502");
    refusal.request_id = Some("r1".to_owned());
    assert_eq!(refusal.to_string(), "HTTP_502, request r1");
    let codes = [
        (RefusalCode::InvalidUsersData, "INVALID_USERS_DATA"),
        (RefusalCode::TooManyEntities, "TOO_MANY_ENTITIES"),
        (RefusalCode::UserLimitExceeded, "USER_LIMIT_EXCEEDED"),
        (RefusalCode::DuplicatePhoneNumber, "DUPLICATE_PHONE_NUMBER"),
        (RefusalCode::Other("NEW".to_owned()), "NEW"),
        (RefusalCode::NoAnswer, "NO_ANSWER"),
        (RefusalCode::WebPage, "WEB_PAGE"),
    ];
    for (code, text) in codes {
        assert_eq!(code.to_string(), text);
    }
}
