//! Where the employees are, as the configuration says it.

use std::str::FromStr;

use crate::postgres::Identifier;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Table {
        name: TableName,
        columns: Columns,
    },
    /// A SELECT that gives `id`, `name` and, where there are such, `phone` and `active`. It may end with a `--` comment.
    Query(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Of any type.
    pub(crate) id: Identifier,
    pub(crate) name: Identifier,
    pub(crate) phone: Option<Identifier>,
    /// A boolean.
    pub(crate) active: Option<Identifier>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) schema: Option<Identifier>,
    pub(crate) table: Identifier,
}

impl Source {
    /// One semicolon at the end is cut, so that the query can stand in parentheses. Postgres judges the rest.
    pub(crate) fn query(text: &str) -> Self {
        let text = text.trim();
        Self::Query(text.strip_suffix(';').unwrap_or(text).trim_end().to_owned())
    }

    pub(super) fn from(&self) -> String {
        match self {
            Self::Table { name, .. } => name.quoted(),
            // On lines of its own: it may end with a comment.
            Self::Query(query) => format!("(\n{query}\n) AS crm_query"),
        }
    }
}

impl TableName {
    pub(crate) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", schema.quoted(), self.table.quoted()),
            None => self.table.quoted(),
        }
    }
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = split(text)?;
        let table = parts.pop().unwrap_or_default().parse()?;
        let schema = parts.pop().map(|schema| schema.parse()).transpose()?;
        if !parts.is_empty() {
            return Err("must be a table, or a schema and a table; quote a name that contains a dot".to_owned());
        }
        Ok(Self { schema, table })
    }
}

/// The names between the dots. Double quotes protect a dot, and `""` in them is a quote, as in SQL; unlike in SQL, upper
/// case counts without quotes too.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut is_quoted = false;
    let mut characters = text.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => names.push(std::mem::take(&mut name)),
            _ => name.push(character),
        }
    }
    if is_quoted {
        return Err("has a double quote that is not closed".to_owned());
    }
    names.push(name);
    Ok(names)
}
