//! `check --probe`: two marked users tell how a live account behaves where its documentation is silent.

use std::fs;

use sandbox::{ErrorStyle, Fault, ListStyle, OmittedPhone, PostAnswer, Variant, What, When};
use serde_json::Value;

use crate::app::App;

const PHONE: &str = "79265550000";

/// An account with somebody else's users in it.
async fn account(vary: impl FnOnce(&mut Variant)) -> App {
    let app = App::new().await;
    app.wazzup.vary(vary);
    app.wazzup.seed_foreigners(3);
    app
}

async fn probe(app: &App) -> Value {
    let arguments = ["check", "--probe", "--yes", "--phone", PHONE, "--format", "json"];
    let answer = app.json(&arguments).await;
    assert_eq!(app.wazzup.foreign_touched(), Vec::<String>::new());
    assert_eq!(app.users().len(), 3, "the two users are removed again");
    answer
}

fn answer_about<'a>(findings: &'a Value, question: &str) -> &'a str {
    let findings = findings["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["question"] == question);
    let finding = finding.unwrap_or_else(|| panic!("no answer about {question}: {findings:#?}"));
    finding["answer"].as_str().expect("an answer is text")
}

/// How the probe must answer a question where the service behaves like this.
struct Case {
    question: &'static str,
    answer: &'static str,
    vary: fn(&mut Variant),
}

const fn case(question: &'static str, answer: &'static str, vary: fn(&mut Variant)) -> Case {
    Case { question, answer, vary }
}

const CASES: [Case; 26] = [
    case("list", "an array of 5", |_| {}),
    case("offset of the list", "heeded", |variant| {
        variant.list = ListStyle::ArrayPaged;
    }),
    case("offset of the list", "ignored", |_| {}),
    case(
        "list",
        "an envelope with a count that is a number, 5 in the first page",
        |variant| variant.list = ListStyle::Pages,
    ),
    case(
        "list",
        "an envelope with a count that is text, 5 in the first page",
        |variant| variant.list = ListStyle::PagesTextCount,
    ),
    case("answer to an upsert", "HTTP 200, empty", |_| {}),
    case("answer to an upsert", "HTTP 201, text", |variant| {
        variant.post_answer = PostAnswer::Text;
    }),
    case("answer to an upsert", "HTTP 200, JSON", |variant| {
        variant.post_answer = PostAnswer::Json;
    }),
    case("other entries of a refusal", "refused with it", |_| {}),
    case("other entries of a refusal", "carried out", |variant| {
        variant.atomic = false;
    }),
    case("phone that is left out", "cleared", |_| {}),
    case("phone that is left out", "kept", |variant| {
        variant.omitted_phone = OmittedPhone::Keeps;
    }),
    case("phones in the list", "not shown", |_| {}),
    case("phones in the list", "shown", |variant| variant.list_phones = true),
    case("removal", "HTTP 200, JSON, absent ids are named", |_| {}),
    case("removal", "HTTP 200, JSON, absent ids are not named", |variant| {
        variant.names_absent = false;
    }),
    case("phone of another user", "accepted", |variant| {
        variant.unique_phones = false;
    }),
    case("user who is not there", "HTTP 404", |_| {}),
    case(
        "errors",
        "HTTP 400, a code INVALID_USERS_DATA, names the entry, from 0",
        |_| {},
    ),
    case(
        "errors",
        "HTTP 400, a code INVALID_USERS_DATA, names the entry, from 0, a requestId",
        |variant| variant.errors = ErrorStyle::WithRequestId,
    ),
    case("errors", "HTTP 400, empty", |variant| {
        variant.errors = ErrorStyle::Empty;
    }),
    case("errors", "HTTP 400, a web page", |variant| {
        variant.errors = ErrorStyle::Html;
    }),
    case(
        "errors",
        "HTTP 400, an array of errors INVALID_USERS_DATA, names no entry",
        |variant| variant.errors = ErrorStyle::ErrorsArray,
    ),
    case(
        "errors",
        "HTTP 400, a nested code INVALID_USERS_DATA, names no entry",
        |variant| variant.errors = ErrorStyle::NestedCode,
    ),
    case(
        "errors",
        "HTTP 400, a code INVALID_USERS_DATA, names no entry",
        |variant| variant.errors = ErrorStyle::NoData,
    ),
    case(
        "errors",
        "HTTP 400, a code INVALID_USERS_DATA, names another entry",
        |variant| variant.errors = ErrorStyle::WildIndexes,
    ),
];

#[tokio::test]
async fn each_variant_is_named() {
    for Case { question, answer, vary } in CASES {
        let app = account(vary).await;
        assert_eq!(answer_about(&probe(&app).await, question), answer, "{question}");
    }
}

#[tokio::test]
async fn a_killed_probe_is_cleaned_up_by_the_next_one() {
    let app = account(|_| {}).await;
    app.wazzup
        .put("wazzup-sync-probe-2", "wazzup-sync probe, changed", None);
    probe(&app).await;
}

#[tokio::test]
async fn what_is_created_is_removed_when_the_service_fails_in_the_middle() {
    let app = account(|_| {}).await;
    app.wazzup.order(Fault::new(When::List, What::CutBefore).always());
    app.run_exits(1, &["check", "--probe", "--yes"]).await;
    assert_eq!(app.users().len(), 3);
}

#[tokio::test]
async fn a_user_of_that_id_who_is_not_the_probes_stays_untouched() {
    let app = account(|_| {}).await;
    app.wazzup.seed_foreign("wazzup-sync-probe-1", "Somebody Else", None);
    let run = app.run_exits(1, &["check", "--probe", "--yes"]).await;
    assert!(run.stderr.contains("who is not the probe's"), "{run}");
    assert_eq!(app.wazzup.writing_requests().len(), 0);
}

#[tokio::test]
async fn nothing_is_changed_where_it_is_uncertain_whose_the_user_is() {
    let app = account(|_| {}).await;
    app.wazzup.seed_foreign("wazzup-sync-probe-1", "Somebody Else", None);
    app.wazzup.order(Fault::new(When::GetUser, What::status(403)).always());
    let run = app.run_exits(1, &["check", "--probe", "--yes"]).await;
    assert!(run.stderr.contains("nothing was probed"), "{run}");
    assert_eq!(app.wazzup.writing_requests().len(), 0);
}

#[tokio::test]
async fn whoever_may_be_left_behind_is_named() {
    let app = account(|_| {}).await;
    app.wazzup
        .order(Fault::new(When::GetUser, What::status(500)).skip(2).always());
    app.wazzup
        .order(Fault::new(When::BulkDelete, What::status(503)).always());
    let run = app.run_exits(1, &["check", "--probe", "--yes"]).await;
    assert_eq!(app.users().len(), 5, "both are still there");
    let named = "wazzup-sync-probe-1 and wazzup-sync-probe-2 may remain in Wazzup";
    assert!(run.stderr.contains(named), "{run}");
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_looked_up() {
    let app = account(|_| {}).await;
    app.wazzup
        .order(Fault::new(When::BulkDelete, What::CutAfter).skip(1).always());
    app.run_exits(0, &["check", "--probe", "--yes"]).await;
    assert_eq!(app.users().len(), 3);
}

#[tokio::test]
async fn only_the_answer_goes_into_a_file() {
    let app = account(|_| {}).await;
    let file = app.config_file().with_file_name("answer");
    let mut terminal = app.on_terminal_into(&file, 80, &["check", "--probe", "--format", "json"]);
    terminal.asks().await;
    terminal.types("y\n");
    let screen = terminal.ended().await;
    assert_eq!(screen.code, 0, "{screen}");
    let consent = "wazzup-sync-probe-1 and wazzup-sync-probe-2, both with a name";
    assert!(screen.words().contains(consent), "{screen}");
    let answer = fs::read_to_string(file).expect("an answer");
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(answer["version"], 1);
}

#[tokio::test]
async fn without_two_free_seats_nothing_is_created() {
    let app = account(|variant| variant.seats = 4).await;
    app.hire_many(3).await;
    app.once_exits(3).await;
    app.take_writes();
    let run = app.run_exits(1, &["check", "--probe", "--yes"]).await;
    assert!(run.stderr.contains("two free seats"), "{run}");
    assert_eq!(app.take_writes(), [""; 0]);
}

#[tokio::test]
async fn a_limit_that_only_the_service_knows_leaves_nobody_behind() {
    let app = account(|variant| variant.seats = 4).await;
    app.run_exits(1, &["check", "--probe", "--yes"]).await;
    assert_eq!(app.users().len(), 3);
}

#[tokio::test]
async fn nothing_is_done_without_consent() {
    let app = account(|_| {}).await;
    let run = app.run_exits(2, &["check", "--probe"]).await;
    assert!(
        run.stderr.contains("wazzup-sync-probe-1"),
        "it says what it would do: {run}"
    );
    assert_eq!(run.stdout, "");
    assert_eq!(app.wazzup.requests().len(), 0);
}
