//! Keys and variables that do not exist, and which ones may be meant.

use toml::{Table, Value};

/// The environment variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("WAZZUP_SYNC__{}", key.replace('.', "__").to_uppercase())
}

/// Whether a variable is probably meant to set a key.
pub(super) fn looks_like_ours(name: &str) -> bool {
    let has_other_purpose = matches!(name, "WAZZUP_SYNC_CONFIG" | "WAZZUP_SYNC_REVISION")
        || cfg!(debug_assertions) && name == "WAZZUP_SYNC_KILL_AT_STEP";
    // Kubernetes sets these for a Service whose name begins with `wazzup-sync`.
    let is_service_link =
        !name.contains("__") && (name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT"));
    name.to_uppercase().starts_with("WAZZUP_SYNC_") && !has_other_purpose && !is_service_link
}

/// What is wrong with the names in a table, with their paths. The path of the table itself is `parent`: empty, or ending
/// with a dot.
pub(super) fn in_table(table: &Table, parent: &str, keys: &[&str]) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (name, value) in table {
        let path = format!("{parent}{name}");
        let inner = format!("{path}.");
        let is_section = keys.iter().any(|key| key.starts_with(&inner));
        let problem = match value {
            _ if keys.contains(&path.as_str()) => continue,
            Value::Table(section) if is_section => {
                problems.extend(in_table(section, &inner, keys));
                continue;
            }
            _ if is_section => format!("must be a table: [{path}] with its keys below"),
            _ => unknown_key(&path, parent, keys),
        };
        problems.push((path, problem));
    }
    problems
}

fn unknown_key(path: &str, parent: &str, keys: &[&str]) -> String {
    let sections = keys.iter().flat_map(|key| sections(key));
    if let Some(suggestion) = nearest(path, keys.iter().copied().chain(sections)) {
        return format!("is not a known key; did you mean `{suggestion}`?");
    }
    let place = match parent.strip_suffix('.') {
        Some(section) => format!("[{section}]"),
        None => "the top level".to_owned(),
    };
    let siblings = keys
        .iter()
        .filter_map(|key| key.strip_prefix(parent)?.split('.').next());
    let mut names: Vec<&str> = siblings.collect();
    names.dedup();
    format!("is not a known key; {place} has: {}", names.join(", "))
}

/// What is wrong with a variable that looks like ours, unless it sets a key.
pub(super) fn in_environment(name: &str, keys: &[&str]) -> Option<String> {
    if keys.iter().any(|key| variable(key) == name) {
        return None;
    }
    let path = name.get("WAZZUP_SYNC".len()..).unwrap_or_default();
    Some(match nearest(path, keys.iter().copied()) {
        Some(suggestion) => format!("sets no key; did you mean {}?", variable(suggestion)),
        None => format!("sets no key; a variable is named like {}", variable("schedule.every")),
    })
}

/// `crm` and `crm.columns` of `crm.columns.id`.
fn sections(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').map(|(end, _)| &key[..end])
}

/// The candidate that differs from `text` by at most two letters. Case and separators do not count.
fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |text: &str| {
        text.to_lowercase()
            .replace(|character: char| !character.is_alphanumeric(), "")
    };
    let distance = |candidate: &str| strsim::osa_distance(&letters(text), &letters(candidate));
    let nearest = candidates.min_by_key(|candidate| distance(candidate))?;
    (distance(nearest) <= 2).then_some(nearest)
}
