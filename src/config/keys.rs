//! Every key of the configuration: its path, its default or an example, and the environment variable that sets it.

use std::fmt;

use toml::Value;

#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    Text(&'static str),
    Number(i64),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) path: &'static str,
    /// The default, or else an example.
    pub(super) sample: Sample,
    pub(super) has_default: bool,
}

use Sample::{Number, Text};

const fn default(path: &'static str, sample: Sample) -> Key {
    let has_default = true;
    Key {
        path,
        sample,
        has_default,
    }
}

const fn example(path: &'static str, sample: Sample) -> Key {
    let has_default = false;
    Key {
        path,
        sample,
        has_default,
    }
}

/// A key that is not here is unknown.
pub(super) const KEYS: &[Key] = &[
    default("account", Text("default")),
    example("crm.url", Text("postgres://crm_reader@db/crm")),
    example("crm.url_file", Text("/run/secrets/crm_url")),
    example("crm.table", Text("public.employees")),
    example("crm.query", Text("SELECT id, full_name AS name FROM employees")),
    default("crm.columns.id", Text("id")),
    default("crm.columns.name", Text("name")),
    example("crm.columns.phone", Text("phone")),
    example("crm.columns.active", Text("is_active")),
    default("crm.phone_region", Text("RU")),
    default("crm.query_timeout", Text("30s")),
    default("wazzup.base_url", Text("https://api.wazzup24.com/v3")),
    example("wazzup.api_key", Text("0123456789abcdef")),
    example("wazzup.api_key_file", Text("/run/secrets/wazzup_api_key")),
    default("wazzup.timeout", Text("30s")),
    default("wazzup.requests_per_minute", Number(900)),
    example("state.url", Text("postgres://wazzup_sync@db/crm")),
    example("state.url_file", Text("/run/secrets/state_url")),
    default("state.schema", Text("wazzup_sync")),
    default("state.lease", Text("90s")),
    default("state.keep_history", Text("90d")),
    default("schedule.every", Text("1m")),
    default("schedule.verify_every", Text("1h")),
    example("schedule.listen", Text("employees_changed")),
    default("schedule.unhealthy_after", Text("15m")),
    default("removals.policy", Text("remove")),
    default("removals.hold_above", Number(5)),
    default("removals.hold_above_percent", Number(10)),
    default("removals.grace", Text("5m")),
    default("updates.hold_above", Number(20)),
    default("updates.hold_above_percent", Number(30)),
    default("takeovers.policy", Text("same_name")),
    example("log.format", Text("json")),
    default("log.level", Text("info")),
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
            Text(text) => Value::String(text.to_owned()),
            Number(number) => Value::Integer(number),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text(text) => write!(f, "{text:?}"),
            Number(number) => number.fmt(f),
        }
    }
}

impl Key {
    pub(super) fn variable(&self) -> String {
        variable(self.path)
    }
}

pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

pub(super) fn variable(path: &str) -> String {
    format!("WAZZUP_SYNC__{}", path.replace('.', "__").to_uppercase())
}

/// Whether `path` is a table, such as `crm.columns`.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| sections(key.path).any(|section| section == path))
}

/// What to say about a key that does not exist.
pub(super) fn unknown_key(path: &str) -> String {
    let paths = KEYS.iter().map(|key| key.path);
    if let Some(suggestion) = nearest(path, paths.clone().chain(paths.clone().flat_map(sections))) {
        return format!("is not a known key; did you mean `{suggestion}`?");
    }
    let section = path.rsplit_once('.').map_or("", |(section, _)| section);
    let mut names: Vec<&str> = paths.filter_map(|known| child_of(section, known)).collect();
    names.dedup();
    let names = names.join(", ");
    if section.is_empty() {
        format!("is not a known key; the top level has: {names}")
    } else {
        format!("is not a known key; [{section}] has: {names}")
    }
}

/// What to say about an environment variable that looks like ours and sets no key.
pub(super) fn unknown_variable(name: &str) -> String {
    let path = name.get("WAZZUP_SYNC".len()..).unwrap_or_default();
    match nearest(path, KEYS.iter().map(|key| key.path)) {
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

/// `crm` and `crm.columns` of `crm.columns.id`.
fn sections(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('.').map(|(end, _)| &path[..end])
}

/// The part of `path` that follows `section`; the section "" is the top level.
fn child_of<'a>(section: &str, path: &'a str) -> Option<&'a str> {
    let rest = if section.is_empty() {
        path
    } else {
        path.strip_prefix(section)?.strip_prefix('.')?
    };
    rest.split('.').next()
}
