//! Looking keys up in the environment and the file, and collecting what is wrong with them.

use std::{collections::BTreeMap, ffi::OsString, fs, ops::RangeInclusive, path::Path};

use toml::{Table, Value};

use super::{ConfigError, unknown};

pub(super) struct Reader<'a> {
    file: &'a Path,
    table: Table,
    /// The variables whose names begin like ours.
    environment: BTreeMap<String, String>,
    /// The keys that were looked up, each with a value that it could have, as TOML.
    pub(super) known: Vec<(&'static str, String)>,
    /// One line for each key or variable that is wrong.
    problems: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        file: &'a Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Self {
            file,
            table: read_file(file).map_err(ConfigError)?,
            environment: BTreeMap::new(),
            known: Vec::new(),
            problems: BTreeMap::new(),
        };
        for (name, value) in environment {
            let name = name.to_string_lossy().into_owned();
            if unknown::looks_like_ours(&name) {
                reader.environment.insert(name, value.to_string_lossy().into_owned());
            }
        }
        Ok(reader)
    }

    /// What `rule` makes of the text of `key`, or of `default` if the text is missing or wrong.
    pub(super) fn text<T, E: Into<String>>(
        &mut self,
        key: &'static str,
        default: &'static str,
        rule: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        let found = self.optional(key, default, &rule);
        found.unwrap_or_else(|| rule(default).ok().expect("the defaults follow the rules"))
    }

    pub(super) fn optional<T, E: Into<String>>(
        &mut self,
        key: &'static str,
        example: &'static str,
        rule: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.known.push((key, format!("{example:?}")));
        let value = match self.written(key)? {
            Value::String(text) if text.trim().is_empty() => Err("is empty".to_owned()),
            Value::String(text) if text.contains('\0') => Err("contains a NUL character".to_owned()),
            Value::String(text) if text.contains(char::REPLACEMENT_CHARACTER) => Err("is not valid UTF-8".to_owned()),
            Value::String(text) => rule(&text).map_err(E::into),
            _ => Err("must be a text in quotes".to_owned()),
        };
        value.map_err(|problem| self.reject(key, &problem)).ok()
    }

    pub(super) fn number(&mut self, key: &'static str, default: u32, allowed: RangeInclusive<u32>) -> u32 {
        self.known.push((key, default.to_string()));
        let number = match self.written(key) {
            None => return default,
            Some(Value::Integer(number)) => number.try_into().ok(),
            // A variable has no type.
            Some(Value::String(text)) if self.is_variable(key) => text.trim().parse().ok(),
            Some(_) => None,
        };
        number.filter(|number| allowed.contains(number)).unwrap_or_else(|| {
            let (least, most) = allowed.into_inner();
            let problem = format!("must be a whole number from {least} to {most}, without quotes");
            self.reject(key, &problem);
            default
        })
    }

    /// Reports if not exactly one of two forms of a setting is given.
    pub(super) fn require_one(&mut self, key: &'static str, other: &'static str) {
        match (self.written(key), self.written(other)) {
            (Some(_), Some(_)) => {
                let origin = self.origin(other);
                let problem = format!("and `{other}` ({origin}) are two forms of one setting; keep only one of them");
                self.problem(key, &problem);
            }
            (None, None) => {
                let variable = unknown::variable(key);
                let problem = format!("is missing; set `{key}`, `{other}` or the variable {variable}");
                self.reject(key, &problem);
            }
            _ => {}
        }
    }

    /// Reports that a key is set which must not be.
    pub(super) fn refuse(&mut self, key: &str, problem: &str) {
        if self.written(key).is_some() {
            self.problem(key, problem);
        }
    }

    pub(super) fn problem(&mut self, key: &str, problem: &str) {
        let line = format!("`{}` ({}) {problem}", key.escape_debug(), self.origin(key));
        self.problems.entry(key.to_owned()).or_insert(line);
    }

    pub(super) fn has_problem(&self, key: &str) -> bool {
        self.problems.contains_key(key)
    }

    /// Fails if anything is wrong, once all keys were looked up.
    pub(super) fn finish(mut self) -> Result<(), ConfigError> {
        let keys: Vec<&str> = self.known.iter().map(|(key, _)| *key).collect();
        for (path, problem) in unknown::in_table(&self.table, "", &keys) {
            self.problem(&path, &problem);
        }
        for name in std::mem::take(&mut self.environment).into_keys() {
            if let Some(problem) = unknown::in_environment(&name, &keys) {
                let line = format!("environment variable {} {problem}", name.escape_debug());
                self.problems.insert(name, line);
            }
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        let problems: Vec<String> = self.problems.into_values().collect();
        let problems = problems.join("\n  ");
        Err(ConfigError(format!("the configuration cannot be used:\n  {problems}")))
    }

    /// The value as it is written; that of a variable is a text.
    fn written(&self, key: &str) -> Option<Value> {
        if let Some(text) = self.environment.get(&unknown::variable(key)) {
            return Some(Value::String(text.clone()));
        }
        let mut names = key.split('.');
        let first = self.table.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name)).cloned()
    }

    fn is_variable(&self, key: &str) -> bool {
        self.environment.contains_key(&unknown::variable(key))
    }

    /// Reports a problem, and shows what could be written instead.
    fn reject(&mut self, key: &str, problem: &str) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let known = self.known.iter().find(|(known, _)| *known == key);
        let example = known.map_or("…", |(_, example)| example);
        self.problem(key, &format!("{problem}; for example: {name} = {example}"));
    }

    /// Where `key` was set, or where it would be.
    fn origin(&self, key: &str) -> String {
        if self.is_variable(key) {
            format!("environment variable {}", unknown::variable(key))
        } else {
            self.file.display().to_string()
        }
    }
}

fn read_file(path: &Path) -> Result<Table, String> {
    let file = path.display();
    let text = fs::read_to_string(path).map_err(|reason| {
        format!(
            "cannot read the configuration file {file}: {reason}; name the right one with --config or WAZZUP_SYNC_CONFIG"
        )
    })?;
    text.parse().map_err(|error: toml::de::Error| {
        // Not the whole error: it quotes the line, which may hold a secret.
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        let problem = error.message();
        format!("the configuration file {file} is not valid TOML: line {line}: {problem}")
    })
}
