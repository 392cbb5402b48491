//! Reading single keys, and collecting what is wrong with them.
//!
//! The `config` crate merges file and environment; the keys are then taken one by one instead of through `serde`, whose
//! first error ends everything and names neither the full key nor the source. So one run shows every mistake.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Environment, File, FileFormat, Source as _, Value, ValueKind};
use jiff::{Span, SpanRelativeTo};
use secrecy::SecretString;

use super::ConfigError;

/// What every variable that sets a key begins with. `WAZZUP_SYNC_CONFIG` has one `_` only and is none of them.
const PREFIX: &str = "wazzup_sync__";

/// The tables of the file.
const SECTIONS: &[&str] = &["crm", "crm.columns", "wazzup", "state", "schedule", "removals", "log"];

/// Every key, with a value that would be right. A key that is not here is refused.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("account", r#""main""#),
    ("crm.url", r#""postgres://crm_reader@db/crm""#),
    ("crm.url_file", r#""/run/secrets/crm_url""#),
    ("crm.table", r#""public.employees""#),
    ("crm.query", r#""SELECT id, full_name AS name FROM employees""#),
    ("crm.phone_region", r#""RU""#),
    ("crm.query_timeout", r#""30s""#),
    ("crm.columns.id", r#""id""#),
    ("crm.columns.name", r#""full_name""#),
    ("crm.columns.phone", r#""phone""#),
    ("crm.columns.active", r#""is_active""#),
    ("wazzup.base_url", r#""https://api.wazzup24.com/v3""#),
    ("wazzup.api_key", r#""…""#),
    ("wazzup.api_key_file", r#""/run/secrets/wazzup_api_key""#),
    ("wazzup.timeout", r#""30s""#),
    ("wazzup.requests_per_minute", "900"),
    ("state.url", r#""postgres://wazzup_sync@db/crm""#),
    ("state.url_file", r#""/run/secrets/state_url""#),
    ("state.schema", r#""wazzup_sync""#),
    ("state.lease", r#""90s""#),
    ("state.keep_history", r#""90d""#),
    ("schedule.every", r#""1m""#),
    ("schedule.verify_every", r#""24h""#),
    ("schedule.listen", r#""employees_changed""#),
    ("schedule.unhealthy_after", r#""15m""#),
    ("removals.policy", r#""remove""#),
    ("removals.hold_above", "5"),
    ("removals.hold_above_percent", "10"),
    ("removals.grace", r#""0s""#),
    ("log.format", r#""json""#),
    ("log.level", r#""info""#),
];

/// A secret as the configuration gives it.
pub(super) enum Secret {
    /// The value itself, trimmed.
    Text(String),
    /// The file that holds it.
    File(PathBuf),
}

/// The merged keys and the problems found so far.
pub(super) struct Reader<'a> {
    file: &'a Path,
    values: BTreeMap<String, Value>,
    /// Keys that the environment set, and the name of the variable.
    variables: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Merges the TOML in `text`, which was read from `file`, with the variables in `env`.
    pub(super) fn new(
        file: &'a Path,
        text: &str,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Self {
            file,
            values: BTreeMap::new(),
            variables: BTreeMap::new(),
            problems: Vec::new(),
        };
        let variables = reader.known_variables(env);
        let merged = config::Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            // Without `try_parsing`: it would turn the account "00123" into the number 123.
            .add_source(
                Environment::default()
                    .prefix("WAZZUP_SYNC")
                    .prefix_separator("__")
                    .separator("__")
                    .source(Some(variables)),
            )
            .build()
            .and_then(|merged| merged.collect())
            .map_err(|error| ConfigError::Syntax {
                path: file.into(),
                reason: position_and_reason(&error),
            })?;
        reader.flatten("", merged);
        Ok(reader)
    }

    /// The variables that set a key. One that sets none, or is not text, is a problem.
    fn known_variables(&mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> config::Map<String, String> {
        let mut known = config::Map::new();
        for (name, value) in env {
            let name = name.to_string_lossy().into_owned();
            let Some(key) = name
                .to_lowercase()
                .strip_prefix(PREFIX)
                .map(|key| key.replace("__", "."))
            else {
                continue;
            };
            self.variables.insert(key.clone(), name.clone());
            if example(&key).is_none() {
                self.problem(&key, unknown(&key));
            } else if let Ok(value) = value.into_string() {
                known.insert(name, value);
            } else {
                self.problem(&key, "is not valid UTF-8");
            }
        }
        known
    }

    fn flatten(&mut self, parent: &str, table: config::Map<String, Value>) {
        for (name, value) in table {
            let key = if parent.is_empty() {
                name
            } else {
                format!("{parent}.{name}")
            };
            let is_section = SECTIONS.contains(&key.as_str());
            match value.kind {
                ValueKind::Table(table) if is_section => self.flatten(&key, table),
                _ if is_section => self.problem(&key, format!("must be a table: [{key}] and its keys below it")),
                _ if example(&key).is_none() => self.problem(&key, unknown(&key)),
                ValueKind::Nil => {}
                _ => {
                    self.values.insert(key, value);
                }
            }
        }
    }

    /// Records that `key` is wrong. `text` follows the key's name and must not hold a secret.
    pub(super) fn problem(&mut self, key: &str, text: impl Display) {
        let origin = self.origin(key);
        self.problems.push(format!("`{key}` ({origin}) {text}"));
    }

    /// Where `key` was set, or where it would be.
    pub(super) fn origin(&self, key: &str) -> String {
        match self.variables.get(key) {
            Some(variable) => format!("environment variable {variable}"),
            None => self.file.display().to_string(),
        }
    }

    /// Whether `key` is given, rightly or wrongly.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Ends the reading with what is wrong, sorted by key.
    pub(super) fn finish(mut self) -> ConfigError {
        self.problems.sort();
        ConfigError::Invalid {
            problems: self.problems,
        }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// A text, which may not be blank.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.values.get(key)?.kind.clone() {
            ValueKind::String(text) if text.trim().is_empty() => {
                self.problem(key, format!("is empty; {}", such_as(key)));
                None
            }
            ValueKind::String(text) if text.contains('\0') => {
                self.problem(key, "holds a NUL character, which nothing can store");
                None
            }
            ValueKind::String(text) => Some(text),
            other => {
                self.problem(
                    key,
                    format!("must be a text in quotes and not {}; {}", kind(&other), such_as(key)),
                );
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.values.get(key) else {
            return default;
        };
        let found = match &value.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            // A variable has no type; a text in the file is a mistake.
            ValueKind::String(text) if self.variables.contains_key(key) => text.trim().parse().ok(),
            _ => None,
        };
        found.filter(|number| range.contains(number)).unwrap_or_else(|| {
            let (low, high) = range.into_inner();
            let limits = if high >= u64::from(u32::MAX) {
                format!("{low} or more")
            } else {
                format!("{low} to {high}")
            };
            self.problem(
                key,
                format!("must be a whole number, {limits}, without quotes; {}", such_as(key)),
            );
            default
        })
    }

    /// A length of time within `range`.
    pub(super) fn duration(&mut self, key: &str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let Some(text) = self.text(key) else { return default };
        let problem = match parse_duration(&text) {
            None => format!(
                "is {text:?}, which is no length of time; write numbers with units: \"30s\", \"1h 30m\", \"90d\"; {}",
                such_as(key)
            ),
            Some(found) if found < *range.start() => {
                format!(
                    "is {text:?}, but must be at least {}; {}",
                    human(*range.start()),
                    such_as(key)
                )
            }
            Some(found) if found > *range.end() => {
                format!(
                    "is {text:?}, but must be at most {}; {}",
                    human(*range.end()),
                    such_as(key)
                )
            }
            Some(found) => return found,
        };
        self.problem(key, problem);
        default
    }

    /// One word of a list.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|&(_, choice)| choice);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.problem(key, format!("is {text:?}, but must be one of {}", words.join(", ")));
        }
        found
    }

    /// A secret, given as `key` or as the file named by `{key}_file`.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}_file");
        if self.is_set(key) && self.is_set(&file_key) {
            let other = self.origin(&file_key);
            self.problem(
                key,
                format!("is given in two forms, the other is `{file_key}` ({other}); keep one of them"),
            );
            return None;
        }
        if !self.is_set(&file_key) {
            return self.text(key).map(|text| Secret::Text(text.trim().to_owned()));
        }
        let path = self.text(&file_key)?;
        if path.contains("://") {
            // Not shown: it may hold a password.
            self.problem(
                &file_key,
                format!("holds a URL, but must name a file; a URL itself belongs in `{key}`"),
            );
            return None;
        }
        Some(Secret::File(path.into()))
    }

    /// A secret that is read now.
    pub(super) fn secret_now(&mut self, key: &str) -> Option<SecretString> {
        match self.secret(key)? {
            Secret::Text(text) => Some(text.into()),
            Secret::File(path) => match super::read_secret(&path) {
                Ok(secret) => Some(secret),
                Err(error) => {
                    self.problem(&format!("{key}_file"), format!("is of no use: {error}"));
                    None
                }
            },
        }
    }

    /// Records that `key` must be given, in this form or as `other`.
    pub(super) fn missing(&mut self, key: &str, other: &str) {
        let variable = format!("{PREFIX}{}", key.replace('.', "__")).to_uppercase();
        self.problem(
            key,
            format!("is missing; give it or `{other}`, or set {variable}; {}", such_as(key)),
        );
    }
}

/// Every digit and unit of `text`, with days of 24 hours; `None` if it is not a length of time or is negative.
fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    // Not `SignedDuration`: it takes no days.
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok()
}

/// `duration` as the file would write it.
pub(super) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration {
        _ if duration.subsec_nanos() != 0 => format!("\"{}ms\"", duration.as_millis()),
        _ if seconds.is_multiple_of(86_400) && seconds > 0 => format!("\"{}d\"", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) && seconds > 0 => format!("\"{}h\"", seconds / 3_600),
        _ => format!("\"{seconds}s\""),
    }
}

fn example(key: &str) -> Option<&'static str> {
    KEYS.iter()
        .find(|(known, _)| *known == key)
        .map(|&(_, example)| example)
}

/// What a right value looks like.
fn such_as(key: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    format!("for example: {name} = {}", example(key).unwrap_or_default())
}

/// What to say about a key that does not exist: which ones do.
fn unknown(key: &str) -> String {
    let section = SECTIONS
        .iter()
        .filter(|section| key.starts_with(&format!("{section}.")))
        .max_by_key(|s| s.len());
    let prefix = section.map(|section| format!("{section}.")).unwrap_or_default();
    let mut names: Vec<_> = KEYS
        .iter()
        .filter_map(|(known, _)| known.strip_prefix(&prefix)?.split('.').next())
        .collect();
    names.dedup();
    let place = section.map_or_else(|| "the top level".to_owned(), |section| format!("[{section}]"));
    format!("is no known key; {place} has: {}", names.join(", "))
}

fn kind(value: &ValueKind) -> &'static str {
    match value {
        ValueKind::Boolean(_) => "true or false",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
        ValueKind::String(_) => "a text",
        ValueKind::Nil => "nothing",
        _ => "a number",
    }
}

/// The first and the last line of the TOML parser's report. Between them it quotes the file, secrets included.
fn position_and_reason(error: &config::ConfigError) -> String {
    let report = match error {
        config::ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let mut lines = report.lines().filter(|line| !line.trim().is_empty());
    match (lines.next(), lines.next_back()) {
        (Some(first), Some(last)) => format!("{first}: {last}"),
        (first, _) => first.unwrap_or_default().to_owned(),
    }
}
