//! Each behaviour that the service's documentation leaves open, against each promise of ours.
//!
//! A plain run plays the documented service and each single deviation from it. `make evidence` also plays every pair of
//! deviations, and writes the table for docs/reliability.md.

use std::{collections::BTreeMap, fmt::Write as _};

use futures_util::StreamExt as _;
use sandbox::{ErrorStyle, Fault, ListStyle, MalformedPhone, Named, OmittedPhone, PostAnswer, Variant, What, When};

use crate::{
    app::{App, phone},
    evidence,
};

/// One way in which the service may differ from what its documentation says first.
#[derive(Clone, Copy)]
struct Deviation {
    /// What is not documented. Two answers to the same question cannot hold at once.
    question: &'static str,
    answer: &'static str,
    apply: fn(&mut Variant),
}

const fn deviation(question: &'static str, answer: &'static str, apply: fn(&mut Variant)) -> Deviation {
    Deviation {
        question,
        answer,
        apply,
    }
}

/// Everything that the sandbox can play.
const DEVIATIONS: [Deviation; 26] = [
    deviation("list", "an array in pages", |variant| {
        variant.list = ListStyle::ArrayPaged;
    }),
    deviation("list", "an envelope in pages", |variant| {
        variant.list = ListStyle::Pages;
    }),
    deviation("list", "an envelope, count as text", |variant| {
        variant.list = ListStyle::PagesTextCount;
    }),
    deviation("list", "an envelope with a wrong count", |variant| {
        variant.list = ListStyle::Pages;
        variant.count_off_by = 3;
    }),
    deviation("offset", "ignored", |variant| variant.offset_ignored = true),
    deviation("phones in the list", "shown", |variant| variant.list_phones = true),
    deviation("numeric ids", "JSON numbers", |variant| variant.numeric_ids = true),
    deviation("answer to an upsert", "text", |variant| {
        variant.post_answer = PostAnswer::Text;
    }),
    deviation("answer to an upsert", "JSON", |variant| {
        variant.post_answer = PostAnswer::Json;
    }),
    deviation("absent ids of a removal", "not named", |variant| {
        variant.names_absent = false;
    }),
    deviation("a refused request", "valid entries carried out", |variant| {
        variant.atomic = false;
    }),
    deviation("a phone that another user has", "accepted", |variant| {
        variant.unique_phones = false;
    }),
    deviation("a phone that is left out", "kept", |variant| {
        variant.omitted_phone = OmittedPhone::Keeps;
    }),
    deviation("a malformed phone", "refused by name", |variant| {
        variant.malformed_phone = MalformedPhone::Refused;
    }),
    deviation("a malformed phone", "refused without a name", |variant| {
        variant.malformed_phone = MalformedPhone::RefusedSilently;
    }),
    deviation("user limit", "not named", |variant| variant.limit_named = false),
    deviation("updates above the user limit", "refused", |variant| {
        variant.full_refuses_updates = true;
    }),
    deviation("entries in one request", "at most 30", |variant| {
        variant.batch_limit = 30;
    }),
    deviation("errors", "with status and requestId", |variant| {
        variant.errors = ErrorStyle::WithRequestId;
    }),
    deviation("errors", "odd codes", |variant| variant.errors = ErrorStyle::OddCodes),
    deviation("errors", "empty", |variant| variant.errors = ErrorStyle::Empty),
    deviation("errors", "HTML", |variant| variant.errors = ErrorStyle::Html),
    deviation("errors", "an array", |variant| variant.errors = ErrorStyle::ErrorsArray),
    deviation("errors", "a nested code", |variant| {
        variant.errors = ErrorStyle::NestedCode;
    }),
    deviation("errors", "without data", |variant| variant.errors = ErrorStyle::NoData),
    deviation("errors", "indexes out of range", |variant| {
        variant.errors = ErrorStyle::WildIndexes;
    }),
];

/// What is promised, in the order in which the story comes to it.
const PROMISES: [&str; 8] = [
    "everybody deliverable arrives",
    "a refusal stays with its entry",
    "others' users stay untouched",
    "new names and phones arrive",
    "leavers go",
    "the user limit is used up exactly",
    "lost answers heal",
    "then silence",
];

const KEPT: &str = "kept";
/// Where a refusal has no code that can be read, who finds no seat counts as failing instead of waiting.
const AS_FAILURE: &str = "kept, counted as failing";
/// A refused request carried one of the hires out. A refusal counts as known, so only Wazzup's list shows that.
const AFTER_LIST: &str = "kept after the next list";
/// The name or the person is right; a phone that could not be moved is recorded as a failure of that phone alone.
const REPORTED: &str = "kept, phone reported";

/// Who is in Wazzup already under the same name, who under another one, and whom the service refuses.
const ADOPTED: &str = "e005";
const FOREIGN: &str = "e006";
const POISONED: &str = "e050";
const EMPLOYEES: usize = 110;

/// Plays a company's first weeks against a service that deviates like this, and returns how each promise was kept.
async fn story(deviations: Vec<Deviation>) -> [&'static str; PROMISES.len()] {
    let mut app = App::new().await;
    app.set("wazzup.timeout", "2s").set("state.lease", "30s");
    app.set_raw("wazzup.requests_per_minute", "100000");
    app.wazzup.vary(|variant| {
        for deviation in &deviations {
            (deviation.apply)(variant);
        }
    });
    app.wazzup.seed_foreign("7", "Somebody Else", None);
    app.wazzup.put(ADOPTED, "EMPLOYEE  5", None);
    app.wazzup.seed_foreign(FOREIGN, "Another Person", None);
    app.hire_many(EMPLOYEES).await;
    app.hire("1001", "Number One", None).await;
    app.rename(POISONED, "Poison").await;
    app.wazzup.poison(["Poison"], What::invalid(Named::Nobody, &[]));
    settle(&app).await;
    everybody_but_the_refused_arrived(&app).await;
    let phones = changes_arrive(&app).await;
    let seats = the_limit_is_used_up(&app).await;
    lost_answers_heal(&app).await;
    app.quiet(4).await;
    [KEPT, KEPT, KEPT, phones, KEPT, seats, KEPT, KEPT]
}

/// Runs cycles until one sends nothing.
async fn settle(app: &App) {
    for _ in 0..8 {
        app.wazzup.clear_log();
        let run = app.once().await;
        assert!(run.code != 1 && run.code != 2, "{run}");
        if app.wazzup.writing_requests().is_empty() {
            return;
        }
    }
    panic!("requests go on and on:\n{}", app.requests_as_text());
}

async fn everybody_but_the_refused_arrived(app: &App) {
    let users = app.wazzup.users();
    assert_eq!(
        users.len(),
        EMPLOYEES + 1,
        "all but the poisoned one, and a foreign user"
    );
    assert!(!users.contains_key(POISONED));
    let failing = app.failing().await;
    assert!(
        failing.len() == 1 && failing[0].starts_with(&format!("{POISONED} upsert ")),
        "{failing:?}"
    );
    assert_eq!(users[FOREIGN].name, "Another Person");
    assert_eq!(users["7"].name, "Somebody Else");
    assert_eq!(users[ADOPTED].name, "Employee 5", "the CRM's writing of the same name");
}

/// A rename, a swap of phones, a phone that a leaver gives up, two leavers, a corrected entry.
async fn changes_arrive(app: &App) -> &'static str {
    app.rename(POISONED, "Employee 50").await;
    app.rename("e001", "Renamed").await;
    app.set_phone("e002", Some(&phone(3))).await;
    app.set_phone("e003", Some(&phone(2))).await;
    app.set_phone("e004", Some(&phone(EMPLOYEES))).await;
    app.fire(&["e109", "e110"]).await;
    settle(app).await;
    assert_eq!(app.name_of(POISONED), "Employee 50");
    assert_eq!(app.name_of("e001"), "Renamed");
    assert!(app.wazzup.user("e109").is_none() && app.wazzup.user("e110").is_none());
    let wanted = BTreeMap::from([("e002", phone(3)), ("e003", phone(2)), ("e004", phone(EMPLOYEES))]);
    let failing = app.failing().await;
    let mut result = KEPT;
    for (id, phone) in wanted {
        if app.phone_of(id).as_ref() != Some(&phone) {
            let is_reported = failing
                .iter()
                .any(|failure| failure.starts_with(&format!("{id} phone ")));
            assert!(
                is_reported,
                "the phone of {id} is wrong, and nobody says so: {failing:?}"
            );
            result = REPORTED;
        }
    }
    assert!(failing.iter().all(|failure| failure.contains(" phone ")), "{failing:?}");
    result
}

/// Three are hired where one seat is free; then seats are booked.
async fn the_limit_is_used_up(app: &App) -> &'static str {
    let seats = app.wazzup.users().len() + 1;
    app.wazzup.vary(|variant| variant.seats = seats);
    for id in ["n1", "n2", "n3"] {
        app.hire(id, &format!("Newcomer {id}"), None).await;
    }
    settle(app).await;
    assert_eq!(app.wazzup.users().len(), seats);
    let (mut waiting, mut failing) = without_seat(app).await;
    let mut result = if failing == 0 { KEPT } else { AS_FAILURE };
    if waiting + failing == 3 {
        app.state_sql("UPDATE wazzup_sync.accounts SET list_read_at = NULL")
            .await;
        settle(app).await;
        (waiting, failing) = without_seat(app).await;
        result = AFTER_LIST;
    }
    assert_eq!(waiting + failing, 2, "{waiting} wait, {failing} fail");
    app.wazzup.vary(|variant| variant.seats = 1_000);
    app.run_exits(0, &["retry"]).await;
    settle(app).await;
    assert_eq!(app.wazzup.users().len(), seats + 2);
    result
}

/// How many wait for a seat, and how many fail.
async fn without_seat(app: &App) -> (usize, usize) {
    let failing = app.failing().await;
    let failing = failing.iter().filter(|failure| failure.contains(" upsert ")).count();
    (app.waiting_for_seat().await.len(), failing)
}

/// An update of which the answer is lost, and a removal that lands when the person is back.
async fn lost_answers_heal(app: &App) {
    app.rename("e010", "Renamed Unheard").await;
    app.wazzup.order(Fault::new(When::Post, What::CutAfter).always());
    app.once().await;
    app.wazzup.clear_faults();
    app.fire(&["e020"]).await;
    app.wazzup.order(Fault::new(When::BulkDelete, What::HoldBack).always());
    app.once().await;
    app.wazzup.clear_faults();
    app.hire("e020", "Employee 20", None).await;
    app.once().await;
    app.wazzup.land_late();
    app.expire_losses().await;
    app.make_verification_due().await;
    settle(app).await;
    assert_eq!(app.name_of("e010"), "Renamed Unheard");
    assert_eq!(app.name_of("e020"), "Employee 20");
}

fn named(deviations: &[Deviation]) -> String {
    let texts: Vec<String> = deviations
        .iter()
        .map(|deviation| format!("{}: {}", deviation.question, deviation.answer))
        .collect();
    if texts.is_empty() {
        "as documented".to_owned()
    } else {
        texts.join("; ")
    }
}

/// The documented service and each deviation alone; with evidence wanted, each pair of them, too.
fn combinations() -> Vec<Vec<Deviation>> {
    let mut combinations = vec![Vec::new()];
    combinations.extend(DEVIATIONS.map(|deviation| vec![deviation]));
    if !evidence::is_wanted() {
        return combinations;
    }
    for (index, first) in DEVIATIONS.iter().enumerate() {
        for second in &DEVIATIONS[index + 1..] {
            if first.question != second.question {
                combinations.push(vec![*first, *second]);
            }
        }
    }
    combinations
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_promise_is_kept_whatever_the_service_does_where_it_is_not_documented() {
    let played = futures_util::stream::iter(combinations()).map(|deviations| async move {
        let story = tokio::spawn(story(deviations.clone())).await;
        (deviations, story.ok())
    });
    let played: Vec<_> = played.buffered(3).collect().await;
    let broken: Vec<String> = played
        .iter()
        .filter(|(_, result)| result.is_none())
        .map(|(deviations, _)| named(deviations))
        .collect();
    assert!(
        broken.is_empty(),
        "a promise is broken where the service is {broken:#?}"
    );
    evidence::publish("variants", &table(&played));
}

type Played = (Vec<Deviation>, Option<[&'static str; PROMISES.len()]>);

/// A row for the documented service and each single deviation, a sentence about the pairs.
fn table(played: &[Played]) -> String {
    let mut text = format!("| the service | {} |\n", PROMISES.join(" | "));
    writeln!(text, "|---|{}", "---|".repeat(PROMISES.len())).expect("a text grows");
    let mut pairs = 0;
    let mut pairs_with_reported_phones = 0;
    let mut pairs_after_list = 0;
    for (deviations, result) in played {
        let Some(result) = result else { continue };
        if deviations.len() < 2 {
            writeln!(text, "| {} | {} |", named(deviations), result.join(" | ")).expect("a text grows");
        } else {
            pairs += 1;
            pairs_with_reported_phones += usize::from(result.contains(&REPORTED));
            pairs_after_list += usize::from(result.contains(&AFTER_LIST));
        }
    }
    write!(
        text,
        "\nOf the {pairs} pairs of these deviations, all kept all promises; in {pairs_with_reported_phones} of them a phone \
         could not be moved, which was recorded as a failure of that phone alone; in {pairs_after_list} a refused request carried one \
         of three hires out, who counted as waiting for a seat until Wazzup's list was read again.\n"
    )
    .expect("a text grows");
    text
}
