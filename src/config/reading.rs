//! Merging the file and the environment, and collecting what is wrong with them.
//!
//! The values are kept flat, by key. Those that are wrong are reported and replaced by the key's sample, so that serde,
//! which stops at its first error, can be asked again and the rest is examined too.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
};

use toml::{Table, Value};

use super::{
    Config, ConfigError,
    keys::{self, ALTERNATIVES, KEYS, Sample},
};

pub(super) struct Reading<'a> {
    file: &'a Path,
    values: BTreeMap<String, Value>,
    /// Keys that the environment set, and the variable's name.
    variables: BTreeMap<String, String>,
    /// One line for each key or variable that is wrong.
    problems: BTreeMap<String, String>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Self {
            file,
            values: BTreeMap::new(),
            variables: BTreeMap::new(),
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

    fn add_table(&mut self, parent: &str, table: Table) {
        for (name, value) in table {
            let path = if parent.is_empty() {
                name
            } else {
                format!("{parent}.{name}")
            };
            match value {
                Value::Table(table) if keys::is_section(&path) => self.add_table(&path, table),
                _ if keys::is_section(&path) => {
                    self.problem(&path, &format!("must be a table: [{path}] with its keys below"));
                }
                _ if keys::find(&path).is_none() => self.problem(&path, &keys::unknown_key(&path)),
                _ => {
                    self.values.insert(path, value);
                }
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
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            let problem = format!(
                "environment variable {} {}",
                name.escape_debug(),
                keys::unknown_variable(name)
            );
            self.problems.insert(name.to_owned(), problem);
            return;
        };
        self.variables.insert(key.path.to_owned(), name.to_owned());
        let Some(text) = value.to_str() else {
            self.reject(key.path, "is not valid UTF-8");
            return;
        };
        // A variable has no type. Only numbers are read as such: the account "00123" is a text.
        let number = match key.sample {
            Sample::Number(_) => text.trim().parse().ok().map(Value::Integer),
            Sample::Text(_) => None,
        };
        let value = number.unwrap_or_else(|| Value::String(text.to_owned()));
        self.values.insert(key.path.to_owned(), value);
    }

    /// The configuration, or one in which samples stand for what is wrong; [`Reading::finish`] tells them apart.
    pub(super) fn deserialize(&mut self) -> Option<Config> {
        self.check_types();
        self.check_alternatives();
        self.add_defaults();
        // Each round but the last one settles one key.
        for _ in 0..=KEYS.len() {
            let error = match serde_path_to_error::deserialize(Value::Table(self.tree())) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let path = error.path().to_string();
            let key = self.values.keys().find(|key| is_at_or_below(&place(key), &path));
            let key = key.cloned().unwrap_or(path);
            self.reject(&key, error.inner().message());
        }
        None
    }

    fn check_types(&mut self) {
        for key in KEYS {
            let problem = match (key.sample, self.values.get(key.path)) {
                (Sample::Number(_), Some(Value::Integer(number))) if u32::try_from(*number).is_ok() => continue,
                (Sample::Number(_), Some(_)) => "must be a whole number from 0 to 4294967295, without quotes",
                (Sample::Text(_), Some(Value::String(text))) if text.trim().is_empty() => "is empty",
                (Sample::Text(_), Some(Value::String(text))) if text.contains('\0') => "contains a NUL character",
                (_, None) | (Sample::Text(_), Some(Value::String(_))) => continue,
                (Sample::Text(_), Some(_)) => "must be a text in quotes",
            };
            self.reject(key.path, problem);
        }
    }

    fn check_alternatives(&mut self) {
        for &(first, second) in ALTERNATIVES {
            match (self.values.contains_key(first), self.values.contains_key(second)) {
                (true, true) => {
                    let problem = format!(
                        "and `{second}` ({}) are two forms of one setting; keep only one of them",
                        self.origin(second)
                    );
                    self.problem(first, &problem);
                    self.values.remove(second);
                }
                (false, false) => {
                    let note = match first {
                        "state.url" => "; it may be the CRM's database, with a role that may write there",
                        _ => "",
                    };
                    let variable = keys::variable(first);
                    self.reject(
                        first,
                        &format!("is missing; set `{first}`, `{second}` or the variable {variable}{note}"),
                    );
                }
                _ => {}
            }
        }
    }

    fn add_defaults(&mut self) {
        let has_query = self.values.contains_key("crm.query");
        for key in KEYS {
            if has_query && key.path.starts_with("crm.columns.") {
                if self.values.remove(key.path).is_some() {
                    self.problem(
                        key.path,
                        "goes with `crm.table`; in `crm.query`, name the columns with AS",
                    );
                }
            } else if key.has_default && !self.values.contains_key(key.path) {
                self.values.insert(key.path.to_owned(), key.sample.value());
            }
        }
    }

    /// The values in the shape of [`Config`].
    fn tree(&self) -> Table {
        let mut tree = Table::new();
        for (key, value) in &self.values {
            insert(&mut tree, &place(key), value.clone());
        }
        tree
    }

    /// Reports that the value of `key` is wrong, and puts the key's sample in its place.
    pub(super) fn reject(&mut self, path: &str, problem: &str) {
        let Some(key) = keys::find(path) else {
            self.problem(path, problem);
            return;
        };
        let name = path.rsplit('.').next().unwrap_or(path);
        self.problem(path, &format!("{problem}; for example: {name} = {}", key.sample));
        self.values.remove(path);
        // The sample of a file's path would be read: its other form is replaced instead.
        let replaced = path.strip_suffix("_file").and_then(keys::find).unwrap_or(key);
        self.values.insert(replaced.path.to_owned(), replaced.sample.value());
    }

    pub(super) fn problem(&mut self, key: &str, problem: &str) {
        let line = format!("`{}` ({}) {problem}", key.escape_debug(), self.origin(key));
        self.problems.entry(key.to_owned()).or_insert(line);
    }

    /// Where `key` was set, or where it would be.
    fn origin(&self, key: &str) -> String {
        match self.variables.get(key) {
            Some(variable) => format!("environment variable {variable}"),
            None => self.file.display().to_string(),
        }
    }

    pub(super) fn is_wrong(&self, key: &str) -> bool {
        self.problems.contains_key(key)
    }

    /// `config`, unless something was wrong.
    pub(super) fn finish(self, config: Option<Config>) -> Result<Config, ConfigError> {
        match config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid {
                problems: self.problems.into_values().collect(),
            }),
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

fn is_at_or_below(place: &str, path: &str) -> bool {
    let rest = place.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
