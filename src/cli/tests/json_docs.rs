//! For tests: whether `docs/json.md` and what a verb prints say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/json.md");

/// Compares the table of `verb` with `samples`, which together have to have every key: each key that one of them has is in
/// the table, each key of the table is in one of them, and the types are the ones that the table names.
pub(in super::super) fn compare(verb: &str, samples: &[Value]) {
    let documented = documented_keys(verb);
    let mut found = BTreeMap::new();
    for sample in samples {
        collect(sample, "", &mut found);
    }
    let mut problems = String::new();
    for (key, types) in &found {
        let Some(names) = documented.get(key) else {
            _ = writeln!(problems, "`{key}` is printed, but not documented");
            continue;
        };
        for name in types {
            if !names.contains(*name) {
                _ = writeln!(problems, "`{key}` is {name}, but documented as {names:?}");
            }
        }
    }
    for key in documented.keys() {
        if !found.contains_key(key) {
            _ = writeln!(problems, "`{key}` is documented, but in no sample");
        }
    }
    assert!(problems.is_empty(), "`{verb}` and docs/json.md differ:\n{problems}");
}

/// The keys in the table of `verb`, with the types that each may have.
fn documented_keys(verb: &str) -> BTreeMap<String, BTreeSet<String>> {
    let heading = format!("\n## `{verb} --format json`\n");
    let section = DOCUMENT.split_once(&heading).expect("a section for each verb").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut keys = BTreeMap::new();
    for line in section.lines() {
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let (key, rest) = row.split_once("` | ").expect("a key and a type");
        let (types, _) = rest.split_once(" | ").expect("a type and a meaning");
        let types = types.split(" or ").map(type_of_name).collect();
        assert!(keys.insert(key.to_owned(), types).is_none(), "`{key}` twice");
    }
    keys
}

/// What JSON knows of the types that the document names.
fn type_of_name(name: &str) -> String {
    match name {
        "time" => "string".to_owned(),
        _ if name.starts_with("array of ") => "array".to_owned(),
        _ => name.to_owned(),
    }
}

fn collect(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    if !path.is_empty() && !path.ends_with("[]") {
        found.entry(path.to_owned()).or_default().insert(type_of(value));
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(field, &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, &format!("{path}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
