//! Phones change hands.

use rstest::rstest;
use sandbox::{Fault, MalformedPhone, OmittedPhone, What, When};

use crate::app::{App, phone};

/// 300 employees among whom phones move in every way at once; the leaver is `e020`.
async fn phones_move(app: &App) {
    app.hire_many(300).await;
    app.once_exits(0).await;
    app.take_writes();
    let moves = [
        // A swap across two batches, a ring of three, a chain that ends with a new phone, a leaver's.
        ("e050", phone(250)),
        ("e250", phone(50)),
        ("e001", phone(120)),
        ("e120", phone(290)),
        ("e290", phone(1)),
        ("e010", phone(11)),
        ("e011", phone(12)),
        ("e012", phone(999)),
        ("e021", phone(20)),
    ];
    for (id, phone) in moves {
        app.set_phone(id, Some(&phone)).await;
    }
    app.fire(&["e020"]).await;
}

async fn phones_in_crm(app: &App) -> Vec<(String, String, Option<String>)> {
    let rows = sqlx::query_as("SELECT id, name, phone FROM employees ORDER BY id COLLATE \"C\"");
    rows.fetch_all(&app.crm).await.expect("the employees")
}

#[tokio::test]
async fn swap_ring_chain_and_leaver_are_at_most_four_requests() {
    let app = App::new().await;
    phones_move(&app).await;
    app.once_exits(0).await;
    let requests = app.wazzup.requests();
    assert!(
        requests.iter().all(|request| request.status == Some(200)),
        "{}",
        app.requests_as_text()
    );
    let writes = app.take_writes();
    assert!(writes.len() <= 4, "{writes:?}");
    assert_eq!(app.users(), phones_in_crm(&app).await);
    assert_eq!(app.failing().await, [""; 0]);
    app.settled().await;
}

#[tokio::test]
async fn where_an_omitted_phone_stays_it_does_not_go_round_in_circles() {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.omitted_phone = OmittedPhone::Keeps);
    phones_move(&app).await;
    app.rename("e050", "Renamed With The Swap").await;
    app.once_exits(3).await;
    let names = |users: Vec<(String, String, Option<String>)>| -> Vec<_> {
        users.into_iter().map(|(id, name, _)| (id, name)).collect()
    };
    assert_eq!(
        names(app.users()),
        names(phones_in_crm(&app).await),
        "nothing but the phone may fail"
    );
    let failing = app.failing().await;
    assert!(
        !failing.is_empty() && failing.iter().all(|text| text.contains(" phone ")),
        "{failing:?}"
    );
    app.quiet(3).await;
    app.make_failures_due().await;
    app.once().await;
    let run = app.once().await;
    app.quiet(run.code).await;
}

/// Neither gives up the phone that the other wants, so that each is refused twice in one answer.
#[tokio::test]
async fn a_swap_whose_releases_fail_is_one_failure_of_each() {
    let app = App::synced(3).await;
    app.set_phone("e001", Some(&phone(2))).await;
    app.set_phone("e002", Some(&phone(1))).await;
    // Four attempts of both together, then each alone.
    app.wazzup.order(Fault::new(When::Post, What::status(500)).times(6));
    app.once_exits(3).await;
    assert_eq!(app.failing().await, ["e001 phone HTTP_500", "e002 phone HTTP_500"]);
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(
        (app.phone_of("e001"), app.phone_of("e002")),
        (Some(phone(2)), Some(phone(1)))
    );
    app.settled().await;
}

#[tokio::test]
async fn no_request_more_where_no_phone_moves() {
    let app = App::synced(10).await;
    app.take_writes();
    app.set_phone("e001", Some(&phone(901))).await;
    app.set_phone("e002", None).await;
    app.hire("new", "New", Some(&phone(902))).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 3"]);
    assert_eq!((app.phone_of("e001"), app.phone_of("e002")), (Some(phone(901)), None));
    app.settled().await;
}

#[tokio::test]
async fn a_phone_is_handed_to_a_new_hire() {
    let app = App::synced(3).await;
    app.take_writes();
    app.set_phone("e002", None).await;
    app.hire("a-new-one", "Sorted Before The Holder", Some(&phone(2))).await;
    app.once_exits(0).await;
    assert!(
        app.wazzup.requests().iter().all(|request| request.status == Some(200)),
        "{}",
        app.requests_as_text()
    );
    assert_eq!(app.take_writes().len(), 2);
    assert_eq!(
        (app.phone_of("a-new-one"), app.phone_of("e002")),
        (Some(phone(2)), None)
    );
    app.settled().await;
}

#[tokio::test]
async fn a_phone_shared_in_the_crm_stays_with_its_holder() {
    let app = App::synced(3).await;
    app.take_writes();
    app.set_phone("e001", Some(&phone(3))).await;
    app.once_exits(3).await;
    assert_eq!((app.phone_of("e001"), app.phone_of("e003")), (None, Some(phone(3))));
    assert_eq!(app.failing().await, ["e001 phone DUPLICATE_PHONE_NUMBER"]);
    app.quiet(3).await;

    // New ones: the smallest id has it.
    app.hire("x2", "X 2", Some("8 926 555-55-55")).await;
    app.hire("x1", "X 1", Some("+7 926 5555555")).await;
    app.once_exits(3).await;
    assert_eq!(
        (app.phone_of("x1"), app.phone_of("x2")),
        (Some("79265555555".into()), None)
    );
    app.quiet(3).await;

    app.set_phone("e003", None).await;
    app.fire(&["x1"]).await;
    app.once_exits(0).await;
    assert_eq!((app.phone_of("e001"), app.phone_of("e003")), (Some(phone(3)), None));
    assert_eq!(app.phone_of("x2"), Some("79265555555".into()));
    app.settled().await;
}

#[tokio::test]
async fn who_stays_in_wazzup_keeps_the_phone() {
    let app = App::synced(20).await;
    // Ten leave at once and are held; one of their phones is given to somebody else.
    app.fire(&crate::app::ids(1..=10)).await;
    app.set_phone("e020", Some(&phone(5))).await;
    app.once_exits(4).await;
    assert_eq!((app.phone_of("e005"), app.phone_of("e020")), (Some(phone(5)), None));
    assert_eq!(app.failing().await, [""; 0], "waiting for a leaver is no failure");
    app.quiet(4).await;
    app.run_exits(0, &["approve", "--yes"]).await;
    app.once().await;
    app.once().await;
    assert_eq!(app.phone_of("e020"), Some(phone(5)));
    app.settled().await;
}

#[rstest]
#[case(OmittedPhone::Clears)]
#[case(OmittedPhone::Keeps)]
#[tokio::test]
async fn a_phone_that_a_foreign_user_has(#[case] omitted: OmittedPhone) {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.omitted_phone = omitted);
    app.wazzup.seed_foreign("boss", "The Boss", Some(&phone(2)));
    app.hire_many(3).await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 3", "POST 3"]);
    assert_eq!((app.name_of("e002"), app.phone_of("e002")), ("Employee 2".into(), None));
    assert_eq!(app.failing().await, ["e002 phone DUPLICATE_PHONE_NUMBER"]);
    app.quiet(3).await;

    app.rename("e002", "Renamed").await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(app.name_of("e002"), "Renamed");
    app.quiet(3).await;

    // Somebody who had a phone wants the foreign one: the person stays with what Wazzup has.
    app.set_phone("e003", Some(&phone(2))).await;
    app.set_phone("e002", None).await;
    app.once_exits(3).await;
    assert_eq!(app.failing().await, ["e003 phone DUPLICATE_PHONE_NUMBER"]);
    app.quiet(3).await;

    app.wazzup.remove("boss");
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(app.phone_of("e003"), Some(phone(2)));
    app.settled().await;
}

#[rstest]
#[case(MalformedPhone::Dropped)]
#[case(MalformedPhone::Refused)]
#[case(MalformedPhone::RefusedSilently)]
#[tokio::test]
async fn phones_are_read_and_malformed_ones_left_out(#[case] malformed: MalformedPhone) {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.malformed_phone = malformed);
    for (id, phone) in [
        ("a", "+7 (926) 123-45-67"),
        ("b", "8 926 765-43-21"),
        ("c", "79261112233"),
        ("d", "  "),
        ("e", "12-34"),
        ("f", "ask Anna"),
        ("g", "+380 50 123 4567"),
        ("h", "8 800 2000 600 ext. 5x"),
        ("i", "+1 23"),
    ] {
        app.hire(id, "Name", Some(phone)).await;
    }
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 9"]);
    let phones: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].map(|id| app.phone_of(id)).into();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        some("79261234567"),
        some("79267654321"),
        some("79261112233"),
        None,
        None,
        None,
        some("380501234567"),
    ];
    assert_eq!(phones, expected);
    let failing = app.failing().await;
    for id in ["e", "f", "i"] {
        assert!(failing.contains(&format!("{id} phone INVALID_PHONE")), "{failing:?}");
    }
    app.quiet(3).await;
    for id in ["e", "f", "h", "i"] {
        app.set_phone(id, None).await;
    }
    app.once_exits(0).await;
    app.settled().await;
}

/// Its first time stays, too.
#[tokio::test]
async fn a_phone_that_is_spelled_anew_and_still_unreadable_is_no_news() {
    let app = App::synced(2).await;
    app.set_phone("e001", Some("nonsense")).await;
    let run = app.once_exits(3).await;
    assert_eq!(run.events("employee.failing").len(), 1, "{run}");
    let first_at = app.status_json().await["failing"][0]["first_at"].clone();
    app.set_phone("e001", Some("other nonsense")).await;
    let run = app.once_exits(3).await;
    assert_eq!(run.events("employee.failing").len(), 0, "{run}");
    assert_eq!(app.status_json().await["failing"][0]["first_at"], first_at);
    app.quiet(3).await;
}
