//! The code's events are the README's, and its error kinds the run-book's, and the other way round.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// All of our own sources, without their unit tests.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && path.file_stem().is_some_and(|it| it != "tests") {
            let source = fs::read_to_string(&path).expect("a source");
            text.push_str(source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        }
    }
    text
}

/// What stands between `before` and the next quotation mark, wherever `before` occurs.
fn quoted_after(text: &str, before: &str) -> BTreeSet<String> {
    let pieces = text.split(before).skip(1);
    pieces
        .filter_map(|piece| piece.split('"').next())
        .map(ToOwned::to_owned)
        .collect()
}

/// The names in the first column of the README's tables, if `fits` says so of the rest of the row.
fn first_column(fits: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let rows = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.filter(|(_, rest)| fits(rest))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn the_readme_lists_exactly_the_events_of_the_code() {
    let code = quoted_after(&sources(&root().join("src")), "event = \"");
    assert!(code.len() > 15 && code.contains("cycle.finished"), "{code:?}");
    let is_event = |rest: &str| {
        ["DEBUG", "INFO", "WARN", "ERROR"]
            .iter()
            .any(|level| rest.starts_with(level))
    };
    assert_eq!(first_column(is_event), code);
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
    let named = column.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned));
    assert_eq!(named.collect::<BTreeSet<_>>(), code);
}
