//! Names of tables, columns, schemas and channels.

use std::str::FromStr;

use derive_more::Display;

/// Postgres cuts longer names silently, and then finds another object.
const LONGEST_BYTES: usize = 63;

/// A name as the database has it, and as the operator wrote it. Not quoted, except by [`Identifier::quoted`].
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub(crate) struct Identifier {
    name: String,
}

impl Identifier {
    /// For a name that is part of the program.
    pub(crate) fn known(name: &'static str) -> Self {
        Self { name: name.to_owned() }
    }

    /// A schema of our own, which `text` names.
    pub(crate) fn own_schema(text: &str) -> Result<Self, String> {
        if text.starts_with("pg_") || text == "information_schema" {
            return Err("is a name that Postgres reserves for itself".to_owned());
        }
        text.parse()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) fn quoted(&self) -> String {
        super::quoted(&self.name)
    }
}

impl FromStr for Identifier {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name.trim().is_empty() || name.len() > LONGEST_BYTES {
            return Err(format!("must have 1 to {LONGEST_BYTES} bytes in each name"));
        }
        Ok(Self { name: name.to_owned() })
    }
}
