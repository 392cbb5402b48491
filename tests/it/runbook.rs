//! The code's events are the README's, with their levels and fields, and its error kinds the run-book's, and the other way
//! round.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde_json::Value;

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
            fields: between_backticks(fields).collect(),
        };
        let name = between_backticks(name).next().expect("the name of an event");
        assert!(events.insert(name, shape).is_none(), "twice: {row}");
    }
    events
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

/// The events that the sources log: every `tracing::info!(event = "…", field, field = …, "…")`.
fn logged_events(source: &str) -> Events {
    let mut events = Events::new();
    for call in source.split("tracing::").skip(1) {
        let Some((level, rest)) = call.split_once("!(") else {
            continue;
        };
        let level = level.to_uppercase();
        let arguments = arguments(rest);
        let name = arguments.first().and_then(|first| first.strip_prefix("event = "));
        let (true, Some(name)) = (LEVELS.contains(&level.as_str()), name) else {
            continue;
        };
        let shape = events.entry(name.trim_matches('"').to_owned()).or_default();
        shape.levels.insert(level);
        for argument in arguments.iter().skip(1).filter(|argument| !argument.starts_with('"')) {
            let field = argument.split(" = ").next().unwrap_or_default();
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
        assert_eq!(&DOCUMENTED[name], shape, "left the README, right the code: {name}");
    }
}

#[test]
fn the_run_book_lists_exactly_the_kinds_of_errors() {
    let source = fs::read_to_string(root().join("src/cycle/error.rs")).expect("a source");
    let kinds = source.split("pub fn kind(&self)").nth(1).expect("the kinds");
    let kinds = kinds.split("fn class_of").next().unwrap_or_default();
    let mut code = quoted_after(kinds, "=> \"");
    code.extend(quoted_after(kinds, "=> {\n                    \""));
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
