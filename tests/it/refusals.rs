//! What Wazzup refuses stays with whom it concerns.

use rstest::rstest;
use sandbox::{ErrorStyle, Fault, Named, PostAnswer, What, When};

use crate::app::{App, id};

fn named() -> What {
    What::invalid(Named::All, &["name"])
}

#[tokio::test]
async fn three_of_250_are_refused_by_index() {
    let app = App::with_employees(250).await;
    for number in [7, 93, 155] {
        app.rename(&id(number), &format!("Bad {number}")).await;
    }
    app.wazzup.poison(["Bad 7", "Bad 93", "Bad 155"], named());
    app.once_exits(3).await;
    let posts = app.take_writes();
    assert!(
        posts.len() <= 5 && posts.iter().all(|post| post.starts_with("POST")),
        "{posts:?}"
    );
    assert_eq!(app.users().len(), 247);
    let expected = ["e007", "e093", "e155"].map(|id| format!("{id} upsert INVALID_USERS_DATA"));
    assert_eq!(app.failing().await, expected);
    app.quiet(3).await;

    app.rename("e093", "Mended").await;
    app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 1"]);
    assert_eq!(app.name_of("e093"), "Mended");
    assert_eq!(app.failing().await.len(), 2);
    app.quiet(3).await;

    app.wazzup.clear_faults();
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 2"]);
    app.settled().await;
}

#[rstest]
#[case::without_data(What::invalid(Named::Nobody, &[]))]
#[case::wild_indexes(What::invalid(Named::Wild, &[]))]
#[case::empty_body(What::status(400))]
#[case::html(What::html(400))]
#[case::status_422(What::status(422))]
#[case::status_500(What::status(500))]
#[case::named(named())]
#[case::named_without_fields(What::invalid(Named::All, &[]))]
#[tokio::test]
async fn one_poison_entry_in_200_is_found(#[case] reply: What) {
    for number in [1, 137, 200] {
        let app = App::with_employees(200).await;
        app.wazzup.poison([id(number)], reply.clone());
        let run = app.once_exits(3).await;
        let requests = app.wazzup.requests().len();
        // The list, two batches and 16 more; what fails without a decision is retried three times, and one ping follows.
        let is_fault = matches!(&reply, What::Answer { answer, .. } if answer.status() == 500);
        let most = if is_fault { 23 } else { 19 };
        assert!(
            requests <= most,
            "{requests} requests: {run}\n{}",
            app.requests_as_text()
        );
        assert_eq!(app.users().len(), 199);
        assert!(app.wazzup.user(&id(number)).is_none());
        let failing = app.failing().await;
        assert_eq!(
            (failing.len(), failing[0].starts_with(&format!("{} upsert", id(number)))),
            (1, true),
            "{failing:?}"
        );
        assert_eq!(run.events("employee.failing").len(), 1, "{run}");
        app.quiet(3).await;

        app.wazzup.clear_faults();
        app.make_failures_due().await;
        let run = app.once_exits(0).await;
        assert_eq!(run.events("employee.recovered").len(), 1, "{run}");
        assert_eq!(app.take_writes(), ["POST 1"]);
        app.settled().await;
    }
}

#[rstest]
#[case::named_first(What::invalid(Named::First, &["id"]))]
#[case::off_by_one(What::invalid(Named::OffByOne, &["name"]))]
#[tokio::test]
async fn an_answer_that_misleads_costs_the_others_nothing_for_long(#[case] reply: What) {
    let app = App::with_employees(120).await;
    app.wazzup.poison(["e010", "e060"], reply);
    app.once_exits(3).await;
    assert!(app.users().len() >= 116, "{}", app.users().len());
    app.make_failures_due().await;
    app.once_exits(3).await;
    assert_eq!(app.users().len(), 118);
    assert!(app.wazzup.user("e010").is_none() && app.wazzup.user("e060").is_none());
    app.quiet(3).await;
}

#[rstest]
#[tokio::test]
async fn refusals_in_every_style_concern_only_those_refused(
    #[values(
        ErrorStyle::Documented,
        ErrorStyle::WithRequestId,
        ErrorStyle::OddCodes,
        ErrorStyle::Empty,
        ErrorStyle::Html,
        ErrorStyle::ErrorsArray,
        ErrorStyle::NestedCode,
        ErrorStyle::NoData,
        ErrorStyle::WildIndexes
    )]
    style: ErrorStyle,
) {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.errors = style);
    app.wazzup.seed_foreign("foreign", "Foreign", Some("79260000033"));
    app.hire_many(150).await;
    app.wazzup.poison(["e020", "e110"], named());
    app.once_exits(3).await;
    assert_eq!(app.users().len(), 149, "all but the two, and the foreign one");
    assert_eq!(app.name_of("e033"), "Employee 33");
    assert_eq!(
        (app.phone_of("e033"), app.phone_of("e034")),
        (None, Some("79260000034".into()))
    );
    let failing = app.failing().await;
    let who: Vec<_> = failing
        .iter()
        .map(|text| text.rsplit_once(' ').expect("three words").0)
        .collect();
    assert_eq!(who, ["e020 upsert", "e033 phone", "e110 upsert"], "{failing:?}");
    app.quiet(3).await;

    // While the phone fails, everything else of the person goes on.
    app.rename("e033", "Renamed Without Phone").await;
    app.once_exits(3).await;
    assert_eq!(app.name_of("e033"), "Renamed Without Phone");
    app.quiet(3).await;

    app.wazzup.clear_faults();
    app.set_phone("e033", None).await;
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 151);
    app.settled().await;
}

#[rstest]
#[case(PostAnswer::Empty)]
#[case(PostAnswer::Text)]
#[case(PostAnswer::Json)]
#[tokio::test]
async fn success_is_success_whatever_its_body(#[case] answer: PostAnswer) {
    let app = App::new().await;
    app.wazzup.vary(|variant| variant.post_answer = answer);
    app.hire_many(3).await;
    app.once_exits(0).await;
    assert_eq!(app.take_writes(), ["POST 3"]);
    app.settled().await;
}

#[rstest]
#[case(ErrorStyle::Documented)]
#[case(ErrorStyle::OddCodes)]
#[case(ErrorStyle::NoData)]
#[tokio::test]
async fn a_smaller_batch_limit_is_learnt(#[case] style: ErrorStyle) {
    let mut app = App::new().await;
    app.set_raw("removals.hold_above", "1000");
    app.wazzup
        .vary(|variant| (variant.batch_limit, variant.errors) = (40, style));
    app.hire_many(150).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 150);
    // The limit that the answer names is the new size; where it names none, halves find one that fits.
    let named = style != ErrorStyle::NoData;
    let posts = app.take_writes();
    assert!(posts.len() <= if named { 6 } else { 9 }, "{posts:?}");
    app.settled().await;

    app.fire(&crate::app::ids(1..=100)).await;
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 50);
    let removals = app.take_writes();
    assert!(
        removals.len() <= if named { 5 } else { 8 },
        "{} requests for 100 removals",
        removals.len()
    );
    app.settled().await;
}

#[tokio::test]
async fn where_only_the_phone_is_named_the_employee_goes_without() {
    let app = App::with_employees(5).await;
    let refusal =
        r#"{"error":"INVALID_USERS_DATA","description":"79260000002","data":[{"index":1,"fields":["phone"]}]}"#;
    app.wazzup.order(Fault::new(When::Post, What::answer(400, refusal)));
    let run = app.once_exits(3).await;
    assert_eq!(app.take_writes(), ["POST 5", "POST 5"]);
    assert_eq!(
        (app.phone_of("e001"), app.phone_of("e002")),
        (Some("79260000001".into()), None)
    );
    assert_eq!(app.failing().await, ["e002 phone INVALID_USERS_DATA"]);
    assert!(!run.stderr.contains("7926"), "{run}");
    app.quiet(3).await;
    app.make_failures_due().await;
    app.once_exits(0).await;
    assert_eq!(app.phone_of("e002"), Some("79260000002".into()));
    app.settled().await;
}

#[tokio::test]
async fn a_hopeless_account_is_not_asked_thousands_of_times() {
    let app = App::with_employees(240).await;
    app.wazzup
        .poison(crate::app::ids((1..=240).step_by(2)), What::invalid(Named::Nobody, &[]));
    app.once_exits(3).await;
    let requests = app.wazzup.requests().len();
    assert!(requests < 200, "{requests}");
    let (pending, failing) = (
        app.state_number("SELECT pending FROM wazzup_sync.accounts").await,
        app.state_number("SELECT failing FROM wazzup_sync.accounts").await,
    );
    let delivered = i64::try_from(app.users().len()).expect("few");
    assert_eq!(240, delivered + failing + pending);
    assert!(
        pending > 0 && failing > 0,
        "what is left over is pending: {pending}, {failing}"
    );
    // It is not lost: the next cycles go on with it.
    let not_due = "UPDATE wazzup_sync.failures SET next_attempt_at = now() + interval '1 hour'";
    for _ in 0..30 {
        if app.users().len() == 120 {
            break;
        }
        app.state_sql(not_due).await;
        app.once_exits(3).await;
    }
    assert_eq!(app.users().len(), 120);
    while app.state_number("SELECT pending FROM wazzup_sync.accounts").await > 0 {
        app.state_sql(not_due).await;
        app.once_exits(3).await;
    }
    assert_eq!(app.failing().await.len(), 120);
    app.state_sql(not_due).await;
    app.quiet(3).await;
}
