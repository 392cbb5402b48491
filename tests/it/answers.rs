//! What a person sees on a terminal: questions, colours, widths.

use std::fs;

use rstest::rstest;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    app::{App, ids},
    terminal::Screen,
};

/// Twenty employees in Wazzup, of whom so many have left: their removals are held.
async fn held(leavers: usize) -> App {
    let app = App::synced(20).await;
    app.fire(&ids(1..=leavers)).await;
    app.once_exits(4).await;
    app.wazzup.clear_log();
    app
}

impl App {
    /// `approve` on a terminal, answered with `answer` once it asks; it must not ask if there is no answer.
    async fn approve_with(&self, arguments: &[&str], answer: &str) -> Screen {
        let arguments: Vec<&str> = ["approve"].into_iter().chain(arguments.iter().copied()).collect();
        let mut terminal = self.on_terminal(80, &arguments);
        if !answer.is_empty() {
            terminal.asks().await;
            terminal.types(answer);
        }
        terminal.ended().await
    }

    async fn orders(&self) -> i64 {
        self.state_number("SELECT count(*) FROM wazzup_sync.inbox").await
    }
}

#[tokio::test]
async fn approve_asks_with_reason_and_share_and_takes_only_a_yes() {
    let app = held(8).await;
    // Ctrl-D is an answer, too.
    for answer in ["n\n", "\n", "whatever\n", "8\n", "\u{4}"] {
        let screen = app.approve_with(&[], answer).await;
        assert_eq!(screen.code, 1, "{screen}");
        let words = screen.words();
        assert!(words.contains("8 removals (8 of 20 users): "), "{screen}");
        assert!(words.contains("Approve 8 removals? [y/N]"), "{screen}");
        assert!(words.contains("Employee 8"), "{screen}");
        let last = screen.text().lines().last().unwrap_or_default().to_owned();
        assert_eq!(
            last, "wazzup-sync: nothing was approved; everything stays held",
            "{screen}"
        );
        assert_eq!(app.orders().await, 0);
    }
    let screen = app.approve_with(&[], "y\n").await;
    assert_eq!(screen.code, 0, "{screen}");
    assert!(screen.words().contains("Approved by "), "{screen}");
    assert_eq!(app.orders().await, 8);
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 12);
    app.settled().await;
}

#[tokio::test]
async fn approve_takes_what_is_named_or_expected() {
    let app = held(8).await;
    let screen = app.approve_with(&["--expect", "7"], "").await;
    assert_eq!(screen.code, 1, "{screen}");
    let unexpected = "nothing was approved: expected 7 holds, found 8";
    assert!(screen.words().contains(unexpected), "{screen}");
    let screen = app.approve_with(&["e001", "e020"], "").await;
    assert_eq!(screen.code, 1, "{screen}");
    assert!(screen.words().contains("no hold concerns e020"), "{screen}");
    let screen = app.approve_with(&["e001", "e002"], "y\n").await;
    assert_eq!(screen.code, 0, "{screen}");
    assert!(screen.words().contains("Approve 2 removals? [y/N]"), "{screen}");
    assert!(!screen.words().contains("e003"), "{screen}");
    assert_eq!(app.orders().await, 2);
    app.once_exits(4).await;
    let screen = app.approve_with(&["--expect", "6"], "YES\n").await;
    assert_eq!(screen.code, 0, "{screen}");
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 12);
    app.settled().await;
}

#[tokio::test]
async fn removing_everybody_needs_the_number() {
    let app = held(20).await;
    for answer in ["y\n", "yes\n", "19\n", "\n"] {
        let screen = app.approve_with(&[], answer).await;
        assert_eq!(screen.code, 1, "{screen}");
        let words = screen.words();
        assert!(words.contains("ALL 20 users"), "{screen}");
        assert!(
            words.contains("This removes EVERY user that we manage in Wazzup (20)."),
            "{screen}"
        );
        assert!(words.contains("Type the number of users to approve:"), "{screen}");
        assert!(
            words.contains("nothing was approved, since the answer was not 20"),
            "{screen}"
        );
        assert_eq!(app.orders().await, 0);
    }
    // Half of them is not; but the other half after it is.
    let half = ids(1..=10);
    let half: Vec<&str> = half.iter().map(String::as_str).collect();
    assert_eq!(app.approve_with(&half, "y\n").await.code, 0);
    assert_eq!(app.approve_with(&[], "y\n").await.code, 1);
    let screen = app.approve_with(&[], "20\n").await;
    assert_eq!(screen.code, 0, "{screen}");
    app.once_exits(0).await;
    assert_eq!(app.users().len(), 0);
    app.settled().await;
}

#[tokio::test]
async fn a_question_is_asked_in_full_when_the_answer_goes_into_a_file() {
    let app = held(20).await;
    let file = app.config_file().with_file_name("answer");
    let mut terminal = app.on_terminal_into(&file, 80, &["approve"]);
    terminal.asks().await;
    terminal.types("n\n");
    let screen = terminal.ended().await;
    assert_eq!(screen.code, 1, "{screen}");
    let question = "Approve 20 removals? This removes EVERY user that we manage in Wazzup (20).";
    assert!(screen.words().contains(question), "{screen}");
    let answer = fs::read_to_string(file).expect("an answer");
    assert!(answer.contains("Employee 8") && !answer.contains("EVERY"), "{answer}");
}

#[tokio::test]
async fn a_doubted_account_needs_the_number() {
    let app = App::synced(6).await;
    app.wazzup.add_account("the-other-key").put("x", "Somebody Else", None);
    app.write_key("the-other-key");
    app.once_exits(4).await;
    let screen = app.approve_with(&[], "y\n").await;
    assert_eq!(screen.code, 1, "{screen}");
    let words = screen.words();
    assert!(words.contains("this looks like another Wazzup account"), "{screen}");
    assert!(
        words.contains("6 users of the old account will be forgotten"),
        "{screen}"
    );
    let screen = app.approve_with(&[], "6\n").await;
    assert_eq!(screen.code, 0, "{screen}");
    app.once_exits(0).await;
    app.settled().await;
}

#[tokio::test]
async fn once_ends_with_a_sentence() {
    let mut app = App::with_employees(90).await;
    app.unset("log.format");
    let screen = app.on_terminal(80, &["once"]).ended().await;
    assert_eq!(screen.code, 0, "{screen}");
    let text = screen.text();
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(last, "90 added, 0 adopted, 0 changed, 0 removed; 90 of 90 in sync.");
    assert!(text.lines().all(|line| !line.starts_with('{')), "{screen}");
    // Who has the lease is said in plain words, too.
    app.state_sql(
        "UPDATE wazzup_sync.accounts SET lease_holder = 'elsewhere/1/a', lease_host = 'elsewhere', \
         lease_expires_at = now() + interval '1 minute'",
    )
    .await;
    let screen = app.on_terminal(80, &["once"]).ended().await;
    assert_eq!(screen.code, 1, "{screen}");
    let text = screen.text();
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        "Nothing was done: elsewhere/1/a holds the lease and runs the cycles."
    );
    app.state_sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
        .await;
    app.set("log.format", "json");
    app.settled().await;
}

#[tokio::test]
async fn once_says_that_the_end_of_the_cycle_could_not_be_recorded() {
    let mut app = App::synced(3).await;
    app.state_sql(
        "CREATE FUNCTION wazzup_sync.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$; \
         CREATE TRIGGER refuse BEFORE UPDATE OF last_outcome ON wazzup_sync.accounts \
         FOR EACH ROW EXECUTE FUNCTION wazzup_sync.refuse()",
    )
    .await;
    app.unset("log.format");
    let screen = app.on_terminal(80, &["once"]).ended().await;
    assert_eq!(screen.code, 1, "{screen}");
    let words = screen.words();
    assert!(
        words.contains("The cycle failed: the state database refuses"),
        "{screen}"
    );
    assert!(!words.contains("in sync."), "{screen}");
    app.state_sql("DROP FUNCTION wazzup_sync.refuse() CASCADE").await;
    app.set("log.format", "json");
    app.settled().await;
}

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";

/// Somebody to add, to change and to remove.
async fn one_of_each() -> App {
    let mut app = App::synced(20).await;
    app.hire("e030", "Newcomer", None).await;
    app.rename("e002", "Renamed").await;
    app.fire(&["e001"]).await;
    app.unset("log.format");
    app
}

#[tokio::test]
async fn a_terminal_is_coloured() {
    let app = one_of_each().await;
    let screen = app.on_terminal(80, &["plan"]).ended().await;
    for coloured in [format!("{RED}remove"), format!("{YELLOW}update"), format!("{GREEN}add")] {
        assert!(screen.raw.contains(&coloured), "no {coloured:?} in {}", screen.raw);
    }
    assert!(!app.run(&["plan"]).await.stdout.contains('\u{1b}'));
    let screen = app.on_terminal(80, &["once"]).ended().await;
    assert!(screen.raw.contains(&format!("{GREEN}INFO")), "{}", screen.raw);
}

#[rstest]
#[case("NO_COLOR", "1")]
#[case("TERM", "dumb")]
#[tokio::test]
async fn nobody_gets_colours_who_wants_none(#[case] name: &str, #[case] value: &str) {
    let mut app = one_of_each().await;
    app.env(name, value);
    for verb in [&["plan"][..], &["status"], &["check"], &["explain", "e001"], &["once"]] {
        let screen = app.on_terminal(80, verb).ended().await;
        assert!(!screen.raw.contains('\u{1b}'), "{verb:?}: {:?}", screen.raw);
    }
}

#[rstest]
#[case(60)]
#[case(80)]
#[case(120)]
#[tokio::test]
async fn answers_fit_the_terminal(#[case] columns: u16) {
    let mut app = held(8).await;
    app.unset("log.format");
    app.rename(
        "e015",
        "Somebody Whose Name Is So Long That It Has To Be Broken Somewhere",
    )
    .await;
    app.hire("e030", "", None).await;
    app.hire("e031", "Elena", Some("no phone")).await;
    for verb in [
        &["plan"][..],
        &["status"],
        &["check"],
        &["explain", "e001"],
        &["approve", "--expect", "3"],
        &["approve", "nobody"],
        &["retry", "nobody"],
        &["retry"],
        &["erase", "e001"],
        &["erase", "e015"],
        &["healthcheck"],
        &["help"],
        &["help", "plan"],
    ] {
        let screen = app.on_terminal(columns, verb).ended().await;
        fits(columns, verb, &screen);
    }
    let mut asking = app.on_terminal(columns, &["approve"]);
    asking.asks().await;
    asking.types("n\n");
    fits(columns, &["approve"], &asking.ended().await);
    // The log of a cycle is not wrapped; its last sentence is.
    let screen = app.on_terminal(columns, &["once"]).ended().await;
    let text = screen.text();
    assert!(
        text.lines().last().is_some_and(|line| line.width() <= columns.into()),
        "{screen}"
    );
}

fn fits(columns: u16, verb: &[&str], screen: &Screen) {
    for line in screen.text().lines() {
        assert!(line.width() <= columns.into(), "{verb:?} at {columns}: {line}");
    }
}
