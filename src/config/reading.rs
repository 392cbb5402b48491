//! Merging the file and the environment, and collecting what is wrong with them.
//!
//! The values are kept flat, by key. Those that are wrong are reported and replaced by the key's sample, so that serde,
//! which stops at its first error, can be asked again and the rest is examined too.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::Path,
};

use jiff::SignedDuration;
use toml::{Table, Value};

use super::{
    Config, ConfigError,
    keys::{self, ALTERNATIVES, KEYS, Sample},
};

pub(super) struct Reading<'a> {
    file: &'a Path,
    /// By the path of the key.
    values: BTreeMap<&'static str, Value>,
    set_by_environment: BTreeSet<&'static str>,
    /// One line for each key or variable that is wrong.
    problems: BTreeMap<String, String>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Self {
            file,
            values: BTreeMap::new(),
            set_by_environment: BTreeSet::new(),
            problems: BTreeMap::new(),
        }
    }

    pub(super) fn add_file(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            // Not the whole error: it quotes the line, which may hold a secret.
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            ConfigError::Syntax {
                path: self.file.into(),
                reason: format!("line {line}: {}", error.message()),
            }
        })?;
        self.add_table("", table);
        Ok(())
    }

    /// Adds the keys of a table whose own path is `parent`: "", or one that ends with a dot.
    fn add_table(&mut self, parent: &str, table: Table) {
        for (name, value) in table {
            let path = format!("{parent}{name}");
            match (value, keys::find(&path)) {
                (value, Some((key, _))) => {
                    self.values.insert(key, value);
                }
                (Value::Table(table), None) if keys::is_section(&path) => self.add_table(&format!("{path}."), table),
                (_, None) if keys::is_section(&path) => {
                    self.problem(&path, &format!("must be a table: [{path}] with its keys below"));
                }
                (_, None) => self.problem(&path, &keys::unknown_key(&path)),
            }
        }
    }

    pub(super) fn add_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in environment {
            let name = name.to_string_lossy();
            if name.to_uppercase().starts_with("WAZZUP_SYNC_") && !is_other_variable(&name) {
                self.add_variable(&name, &value);
            }
        }
    }

    fn add_variable(&mut self, name: &str, value: &OsStr) {
        let Some((key, sample)) = KEYS.iter().find(|(path, _)| keys::variable(path) == name) else {
            let problem = keys::unknown_variable(name);
            let line = format!("environment variable {} {problem}", name.escape_debug());
            self.problems.insert(name.to_owned(), line);
            return;
        };
        self.set_by_environment.insert(key);
        let Some(text) = value.to_str() else {
            self.reject(key, "is not valid UTF-8");
            return;
        };
        // A variable has no type. Only numbers are read as such: the account "00123" is a text.
        let number = match sample {
            Sample::Number(_) => text.trim().parse().ok().map(Value::Integer),
            Sample::Text(_) | Sample::Example(_) => None,
        };
        self.values.insert(key, number.unwrap_or_else(|| text.into()));
    }

    /// The configuration, unless something is wrong.
    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        self.check_values();
        self.check_alternatives();
        self.add_defaults();
        let config = self.deserialize();
        if let Some(config) = &config {
            self.check_lease(config);
        }
        match config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid {
                problems: self.problems.into_values().collect(),
            }),
        }
    }

    /// Types are not left to serde, whose errors quote the value: it may be a secret.
    fn check_values(&mut self) {
        for &(key, sample) in KEYS {
            let Some(value) = self.values.get(key) else { continue };
            let problem = match (sample, value) {
                (Sample::Number(_), Value::Integer(number)) if u32::try_from(*number).is_ok() => continue,
                (Sample::Number(_), _) => "must be a whole number from 0 to 4294967295, without quotes",
                (_, Value::String(text)) if text.trim().is_empty() => "is empty",
                (_, Value::String(text)) if text.contains('\0') => "contains a NUL character",
                (_, Value::String(text)) if key.ends_with("_file") && text.contains("://") => {
                    "must be the path of a file and not a URL"
                }
                (_, Value::String(_)) => continue,
                _ => "must be a text in quotes",
            };
            self.reject(key, problem);
        }
    }

    fn check_alternatives(&mut self) {
        for &(first, second) in ALTERNATIVES {
            match (self.values.contains_key(first), self.values.contains_key(second)) {
                (true, true) => {
                    let origin = self.origin(second);
                    let problem =
                        format!("and `{second}` ({origin}) are two forms of one setting; keep only one of them");
                    self.problem(first, &problem);
                    self.values.remove(second);
                }
                (false, false) => {
                    let variable = keys::variable(first);
                    let note = match first {
                        "state.url" => "; it may be the CRM's database, with a role that may write there",
                        _ => "",
                    };
                    let problem = format!("is missing; set `{first}`, `{second}` or the variable {variable}{note}");
                    self.reject(first, &problem);
                }
                _ => {}
            }
        }
    }

    fn add_defaults(&mut self) {
        let has_query = self.values.contains_key("crm.query");
        for &(key, sample) in KEYS {
            if has_query && key.starts_with("crm.columns.") {
                if self.values.remove(key).is_some() {
                    self.problem(key, "goes with `crm.table`; in `crm.query`, name the columns with AS");
                }
            } else if !matches!(sample, Sample::Example(_)) {
                self.values.entry(key).or_insert_with(|| sample.value());
            }
        }
    }

    /// The configuration, in which samples stand for what is wrong.
    fn deserialize(&mut self) -> Option<Config> {
        // Each round but the last one settles one key.
        for _ in 0..=KEYS.len() {
            let error = match serde_path_to_error::deserialize(Value::Table(self.tree())) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let path = error.path().to_string();
            let key = self.values.keys().find(|key| place(key).starts_with(&path));
            let key = (*key?).to_owned();
            self.reject(&key, error.inner().message());
        }
        None
    }

    /// The values in the shape of [`Config`].
    fn tree(&self) -> Table {
        let mut tree = Table::new();
        for (key, value) in &self.values {
            insert(&mut tree, &place(key), value.clone());
        }
        tree
    }

    fn check_lease(&mut self, config: &Config) {
        let twice = config.wazzup.timeout * 2;
        let are_known = ["state.lease", "wazzup.timeout"]
            .iter()
            .all(|key| !self.problems.contains_key(*key));
        if are_known && config.state.lease < twice {
            let twice = SignedDuration::try_from(twice).unwrap_or(SignedDuration::MAX);
            let problem = format!("must be at least \"{twice:#}\", twice `wazzup.timeout`; change one of them");
            self.problem("state.lease", &problem);
        }
    }

    /// Reports that the value of a known key is wrong, and puts the key's sample in its place.
    fn reject(&mut self, path: &str, problem: &str) {
        let Some((key, sample)) = keys::find(path) else { return };
        let name = path.rsplit('.').next().unwrap_or(path);
        self.problem(path, &format!("{problem}; for example: {name} = {sample}"));
        self.values.remove(key);
        // The sample of a file's path would be read: its other form is replaced instead.
        let other_form = path.strip_suffix("_file").and_then(keys::find);
        let (replaced, sample) = other_form.unwrap_or((key, sample));
        self.values.insert(replaced, sample.value());
    }

    fn problem(&mut self, key: &str, problem: &str) {
        let line = format!("`{}` ({}) {problem}", key.escape_debug(), self.origin(key));
        self.problems.entry(key.to_owned()).or_insert(line);
    }

    /// Where `key` was set, or where it would be.
    fn origin(&self, key: &str) -> String {
        if self.set_by_environment.contains(key) {
            format!("environment variable {}", keys::variable(key))
        } else {
            self.file.display().to_string()
        }
    }
}

/// Whether `name` begins like the variables that set keys and has another purpose.
fn is_other_variable(name: &str) -> bool {
    let is_ours = matches!(name, "WAZZUP_SYNC_CONFIG" | "WAZZUP_SYNC_REVISION")
        || cfg!(debug_assertions) && name == "WAZZUP_SYNC_KILL_AT_STEP";
    // Kubernetes sets these for a Service whose name begins with `wazzup-sync`.
    let is_service_link =
        !name.contains("__") && (name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT"));
    is_ours || is_service_link
}

/// Where the value of `key` stands in the tree that serde reads: alternative forms are variants of one enum.
fn place(key: &str) -> String {
    if let Some(column) = key.strip_prefix("crm.columns.") {
        return format!("crm.source.table.columns.{column}");
    }
    if let Some(secret) = key.strip_suffix("_file") {
        return format!("{secret}.file");
    }
    match key {
        "crm.table" => "crm.source.table.name".to_owned(),
        "crm.query" => "crm.source.query".to_owned(),
        "crm.url" | "state.url" | "wazzup.api_key" => format!("{key}.literal"),
        _ => key.to_owned(),
    }
}

fn insert(table: &mut Table, place: &str, value: Value) {
    let Some((section, rest)) = place.split_once('.') else {
        table.insert(place.to_owned(), value);
        return;
    };
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        insert(section, rest, value);
    }
}
