//! The code's events are the README's, with their levels and fields, and its error kinds the run-book's, and the other way
//! round.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sandbox::{Fault, What, When};
use serde_json::Value;

use crate::app::App;

const LEVELS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/// What every line has, or that comes from the spans around it.
const COMMON_FIELDS: [&str; 6] = ["timestamp", "level", "event", "account", "cycle_id", "message"];

/// What one event can look like.
#[derive(Debug, Default, PartialEq, Eq)]
struct EventShape {
    levels: BTreeSet<String>,
    fields: BTreeSet<String>,
}

type Events = BTreeMap<String, EventShape>;

static DOCUMENTED: LazyLock<Events> = LazyLock::new(documented_events);

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// Looks whether the README says that this line of a log can be.
pub fn is_documented(line: &Value) {
    let name = line["event"].as_str().unwrap_or_default();
    let event = DOCUMENTED.get(name);
    let event = event.unwrap_or_else(|| panic!("the README has no event {name}: {line}"));
    let level = line["level"].as_str().unwrap_or_default();
    assert!(
        event.levels.contains(level),
        "the README has {name} at {:?}: {line}",
        event.levels
    );
    for field in line.as_object().into_iter().flat_map(|fields| fields.keys()) {
        let is_known = COMMON_FIELDS.contains(&field.as_str()) || event.fields.contains(field);
        assert!(is_known, "the README has no field {field} of {name}: {line}");
    }
}

/// The table of events: `| event | level | fields | what to do |`.
fn documented_events() -> Events {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let table = readme
        .split("| event | level | fields |")
        .nth(1)
        .expect("the table of events");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut events = Events::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [name, levels, fields, _] = cells.as_slice() else {
            panic!("four cells in {row}");
        };
        let words = levels.split(|character: char| !character.is_alphanumeric());
        let shape = EventShape {
            levels: words
                .filter(|word| LEVELS.contains(word))
                .map(ToOwned::to_owned)
                .collect(),
            fields: between_backticks(fields).filter(|word| !is_code(word)).collect(),
        };
        let name = between_backticks(name).next().expect("the name of an event");
        assert!(events.insert(name, shape).is_none(), "twice: {row}");
    }
    events
}

/// Whether it is a value, as in `UNCONVERTIBLE`, and no field.
fn is_code(word: &str) -> bool {
    word.chars()
        .all(|character| character.is_uppercase() || character == '_')
}

fn between_backticks(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(ToOwned::to_owned)
}

/// All of our own sources, without their unit tests.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                text.push_str(&sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let source = fs::read_to_string(&path).expect("a source");
            text.push_str(source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        }
    }
    text
}

/// The events that the sources log, as in `tracing::info!(event = "…", field, field = …, "…")`. A call of our own `log!`
/// begins with a level that is known only when it happens.
fn logged_events(source: &str) -> Events {
    let mut events = Events::new();
    for (start, call) in source.match_indices("!(") {
        let arguments = arguments(&source[start + call.len()..]);
        let position = arguments.iter().position(|argument| argument.starts_with("event = \""));
        let Some(position) = position else {
            continue;
        };
        let name = arguments[position].trim_start_matches("event = ").trim_matches('"');
        let shape = events.entry(name.to_owned()).or_default();
        let macro_name = source[..start]
            .rsplit(|character: char| !character.is_alphanumeric())
            .next();
        let level = macro_name.unwrap_or_default().to_uppercase();
        if LEVELS.contains(&level.as_str()) {
            shape.levels.insert(level);
        }
        let fields = arguments[position + 1..]
            .iter()
            .filter(|argument| !argument.starts_with('"'));
        for field in fields {
            let field = field.split(" = ").next().unwrap_or_default();
            shape
                .fields
                .insert(field.trim_start_matches(['%', '?', '*']).to_owned());
        }
    }
    events
}

/// The arguments of a call, whose opening parenthesis is just before `text`.
fn arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut depth = 0;
    let mut is_quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_quoted => {
                characters.next();
                continue;
            }
            '"' => is_quoted = !is_quoted,
            '(' | '[' | '{' if !is_quoted => depth += 1,
            ')' if !is_quoted && depth == 0 => break,
            ')' | ']' | '}' if !is_quoted => depth -= 1,
            ',' if !is_quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(argument) = arguments.last_mut() {
            argument.push(character);
        }
    }
    let arguments = arguments.iter().map(|argument| argument.trim());
    arguments
        .filter(|argument| !argument.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_readme_lists_exactly_the_events_of_the_code() {
    let logged = logged_events(&sources(&root().join("src")));
    assert!(logged.len() > 15 && logged.contains_key("cycle.finished"), "{logged:?}");
    let names = |events: &Events| events.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&DOCUMENTED), names(&logged));
    for (name, shape) in &logged {
        let documented = &DOCUMENTED[name];
        assert_eq!(
            documented.fields, shape.fields,
            "fields of {name}: the README's, the code's"
        );
        if !shape.levels.is_empty() {
            assert_eq!(
                documented.levels, shape.levels,
                "levels of {name}: the README's, the code's"
            );
        }
    }
}

#[tokio::test]
async fn cycles_end_at_every_level_that_the_readme_lists() {
    let mut app = App::with_employees(200).await;
    app.set("log.level", "debug").set("schedule.every", "1h");
    let mut log = Vec::new();
    // Interrupted; with changes; quiet.
    app.wazzup.order(Fault::new(When::Post, What::DelayAnswer { ms: 500 }));
    let mut daemon = app.daemon();
    app.wazzup_reaches(|wazzup| wazzup.writing_requests().len() == 1).await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await, Some(0), "{}", daemon.text());
    log.extend(daemon.log());
    app.set("schedule.every", "200ms");
    let mut daemon = app.daemon();
    daemon.wait_for("cycle.finished", |line| line["level"] == "INFO").await;
    daemon.wait_for("cycle.finished", |line| line["level"] == "DEBUG").await;
    log.extend(daemon.log());
    daemon.stop().await;
    // An outage passes by itself; a refused key does not.
    app.write_key("another-key");
    log.extend(app.once_exits(1).await.log);
    app.write_key(&app.wazzup.key());
    app.set("crm.url", "postgres://nobody@127.0.0.1:1/crm");
    log.extend(app.once_exits(1).await.log);
    for event in ["cycle.finished", "cycle.failed"] {
        let lines = log.iter().filter(|line| line["event"] == event);
        let levels: BTreeSet<String> = lines
            .filter_map(|line| Some(line["level"].as_str()?.to_owned()))
            .collect();
        assert_eq!(levels, DOCUMENTED[event].levels, "{event}");
    }
}

#[test]
fn the_run_book_lists_exactly_the_kinds_of_errors() {
    let source = fs::read_to_string(root().join("src/cycle/error.rs")).expect("a source");
    let kinds = source.split("fn kind_and_class(&self)").nth(1).expect("the kinds");
    let code = quoted_after(kinds, "=> (\"");
    assert!(code.contains("crm_query") && code.len() > 5, "{code:?}");
    let run_book = fs::read_to_string(root().join("docs/operations.md")).expect("the run-book");
    let table = run_book.split("| `error_kind` |").nth(1).expect("the table of kinds");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let column = rows.filter_map(|line| line.split('|').nth(1));
    let named = column.flat_map(between_backticks);
    assert_eq!(named.collect::<BTreeSet<_>>(), code);
}

/// What stands between `before` and the next quotation mark, wherever `before` occurs.
fn quoted_after(text: &str, before: &str) -> BTreeSet<String> {
    let pieces = text.split(before).skip(1);
    pieces
        .filter_map(|piece| piece.split('"').next())
        .map(ToOwned::to_owned)
        .collect()
}
