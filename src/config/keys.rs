//! Every key of the configuration: its path, its default or an example, and the environment variable that sets it.

use std::fmt;

use toml::Value;

/// What a key is set to by default or, as an example, could be set to. Its type is that of the key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    Text(&'static str),
    Number(u32),
    Example(&'static str),
}

use Sample::{Example, Number, Text};

/// A key that is not here is unknown.
pub(super) const KEYS: &[(&str, Sample)] = &[
    ("account", Text("default")),
    ("crm.url", Example("postgres://crm_reader@db/crm")),
    ("crm.url_file", Example("/run/secrets/crm_url")),
    ("crm.table", Example("public.employees")),
    ("crm.query", Example("SELECT id, full_name AS name FROM employees")),
    ("crm.columns.id", Text("id")),
    ("crm.columns.name", Text("name")),
    ("crm.columns.phone", Example("phone")),
    ("crm.columns.active", Example("is_active")),
    ("crm.phone_region", Text("RU")),
    ("crm.query_timeout", Text("30s")),
    ("wazzup.base_url", Text("https://api.wazzup24.com/v3")),
    ("wazzup.api_key", Example("0123456789abcdef")),
    ("wazzup.api_key_file", Example("/run/secrets/wazzup_api_key")),
    ("wazzup.timeout", Text("30s")),
    ("wazzup.requests_per_minute", Number(900)),
    ("state.url", Example("postgres://wazzup_sync@db/crm")),
    ("state.url_file", Example("/run/secrets/state_url")),
    ("state.schema", Text("wazzup_sync")),
    ("state.lease", Text("90s")),
    ("state.keep_history", Text("90d")),
    ("schedule.every", Text("1m")),
    ("schedule.verify_every", Text("1h")),
    ("schedule.listen", Example("employees_changed")),
    ("schedule.unhealthy_after", Text("15m")),
    ("removals.policy", Text("remove")),
    ("removals.hold_above", Number(5)),
    ("removals.hold_above_percent", Number(10)),
    ("removals.grace", Text("5m")),
    ("updates.hold_above", Number(20)),
    ("updates.hold_above_percent", Number(30)),
    ("takeovers.policy", Text("same_name")),
    ("log.format", Example("json")),
    ("log.level", Text("info")),
];

/// Two forms of one setting: exactly one of them must be given.
pub(super) const ALTERNATIVES: &[(&str, &str)] = &[
    ("crm.url", "crm.url_file"),
    ("crm.table", "crm.query"),
    ("wazzup.api_key", "wazzup.api_key_file"),
    ("state.url", "state.url_file"),
];

impl Sample {
    pub(super) fn value(self) -> Value {
        match self {
            Text(text) | Example(text) => Value::String(text.to_owned()),
            Number(number) => Value::Integer(number.into()),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text(text) | Example(text) => write!(f, "{text:?}"),
            Number(number) => number.fmt(f),
        }
    }
}

/// The known key of this path.
pub(super) fn find(path: &str) -> Option<(&'static str, Sample)> {
    KEYS.iter().copied().find(|(known, _)| *known == path)
}

pub(super) fn variable(path: &str) -> String {
    format!("WAZZUP_SYNC__{}", path.replace('.', "__").to_uppercase())
}

/// Whether `path` is a table, such as `crm.columns`.
pub(super) fn is_section(path: &str) -> bool {
    paths().flat_map(sections).any(|section| section == path)
}

fn paths() -> impl Iterator<Item = &'static str> + Clone {
    KEYS.iter().map(|(path, _)| *path)
}

/// `crm` and `crm.columns` of `crm.columns.id`.
fn sections(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('.').map(|(end, _)| &path[..end])
}

/// What to say about a key that does not exist.
pub(super) fn unknown_key(path: &str) -> String {
    if let Some(suggestion) = nearest(path, paths().chain(paths().flat_map(sections))) {
        return format!("is not a known key; did you mean `{suggestion}`?");
    }
    let (parent, place) = match path.rsplit_once('.') {
        Some((section, _)) => (format!("{section}."), format!("[{section}]")),
        None => (String::new(), "the top level".to_owned()),
    };
    let siblings = paths().filter_map(|known| known.strip_prefix(&parent)?.split('.').next());
    let mut names: Vec<&str> = siblings.collect();
    names.dedup();
    format!("is not a known key; {place} has: {}", names.join(", "))
}

/// What to say about an environment variable that looks like ours and sets no key.
pub(super) fn unknown_variable(name: &str) -> String {
    let path = name.get("WAZZUP_SYNC".len()..).unwrap_or_default();
    match nearest(path, paths()) {
        Some(suggestion) => format!("sets no key; did you mean {}?", variable(suggestion)),
        None => format!("sets no key; a variable is named like {}", variable("schedule.every")),
    }
}

/// The candidate that differs from `text` by at most two letters. Case and separators do not count.
fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = without_separators(text);
    let distance = |candidate: &str| strsim::osa_distance(&text, &without_separators(candidate));
    let nearest = candidates.min_by_key(|candidate| distance(candidate))?;
    (distance(nearest) <= 2).then_some(nearest)
}

fn without_separators(text: &str) -> String {
    let letters = text.chars().filter(|character| character.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}
