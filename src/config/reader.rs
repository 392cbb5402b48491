//! Looking keys up in the environment and the file, and collecting what is wrong with them.

use std::{collections::BTreeMap, ffi::OsString, ops::RangeInclusive, path::Path};

use toml::{Table, Value};

use super::{ConfigError, unknown};

pub(super) struct Reader<'a> {
    file: &'a Path,
    table: Table,
    /// The variables whose names begin like ours.
    environment: BTreeMap<String, OsString>,
    /// The keys that were looked up, each with a value that it could have, as TOML.
    pub(super) known: Vec<(&'static str, String)>,
    /// One line for each key or variable that is wrong.
    problems: BTreeMap<String, String>,
}

/// A value as it is written. A variable has no type: the account "00123" is a text, and `20` can be a number.
enum Written {
    InFile(Value),
    InVariable(OsString),
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        file: &'a Path,
        text: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            // Not the whole error: it quotes the line, which may hold a secret.
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            ConfigError::Syntax {
                path: file.into(),
                reason: format!("line {line}: {}", error.message()),
            }
        })?;
        let named = environment
            .into_iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value));
        Ok(Self {
            file,
            table,
            environment: named.filter(|(name, _)| unknown::looks_like_ours(name)).collect(),
            known: Vec::new(),
            problems: BTreeMap::new(),
        })
    }

    /// What `rule` makes of the text of `key`, or of `default` if the text is missing or wrong.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        default: &'static str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let found = self.optional(key, default, &rule);
        found.unwrap_or_else(|| rule(default).expect("the defaults follow the rules"))
    }

    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        example: &'static str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let written = self.look_up(key, format!("{example:?}"))?;
        let value = written.into_text().and_then(|text| rule(&text));
        self.checked(key, value)
    }

    pub(super) fn number(&mut self, key: &'static str, default: u32, allowed: RangeInclusive<u32>) -> u32 {
        let Some(written) = self.look_up(key, default.to_string()) else {
            return default;
        };
        let number = written.into_number().filter(|number| allowed.contains(number));
        let (least, most) = allowed.into_inner();
        let problem = || format!("must be a whole number from {least} to {most}, without quotes");
        self.checked(key, number.ok_or_else(problem)).unwrap_or(default)
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
                self.reject(
                    key,
                    &format!("is missing; set `{key}`, `{other}` or the variable {variable}"),
                );
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

    /// Everything that is wrong, once all keys were looked up.
    pub(super) fn finish(mut self) -> Vec<String> {
        let keys: Vec<&str> = self.known.iter().map(|(key, _)| *key).collect();
        for (path, problem) in unknown::in_table(&self.table, "", &keys) {
            self.problem(&path, &problem);
        }
        for name in self.environment.keys() {
            if let Some(problem) = unknown::in_environment(name, &keys) {
                let line = format!("environment variable {} {problem}", name.escape_debug());
                self.problems.insert(name.clone(), line);
            }
        }
        self.problems.into_values().collect()
    }

    fn look_up(&mut self, key: &'static str, example: String) -> Option<Written> {
        self.known.push((key, example));
        self.written(key)
    }

    fn written(&self, key: &str) -> Option<Written> {
        if let Some(value) = self.environment.get(&unknown::variable(key)) {
            return Some(Written::InVariable(value.clone()));
        }
        let mut names = key.split('.');
        let first = self.table.get(names.next()?)?;
        let value = names.try_fold(first, |value, name| value.get(name))?;
        Some(Written::InFile(value.clone()))
    }

    fn checked<T>(&mut self, key: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|problem| self.reject(key, &problem)).ok()
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
        let variable = unknown::variable(key);
        if self.environment.contains_key(&variable) {
            format!("environment variable {variable}")
        } else {
            self.file.display().to_string()
        }
    }
}

impl Written {
    fn into_text(self) -> Result<String, String> {
        let text = match self {
            Self::InFile(Value::String(text)) => text,
            Self::InFile(_) => return Err("must be a text in quotes".to_owned()),
            Self::InVariable(text) => text.into_string().map_err(|_| "is not valid UTF-8")?,
        };
        if text.trim().is_empty() {
            Err("is empty".to_owned())
        } else if text.contains('\0') {
            Err("contains a NUL character".to_owned())
        } else {
            Ok(text)
        }
    }

    fn into_number(self) -> Option<u32> {
        match self {
            Self::InFile(value) => value.as_integer().and_then(|number| number.try_into().ok()),
            Self::InVariable(text) => text.to_str().and_then(|text| text.trim().parse().ok()),
        }
    }
}
