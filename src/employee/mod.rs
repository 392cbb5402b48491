//! What the CRM says, parsed once at the border: everything behind this module works with valid values only.
//!
//! Pure: no clock, no IO.

mod names;
mod phone;
mod roster;
#[cfg(test)]
mod tests;

use std::{fmt, num::NonZeroU64, str::FromStr};

pub use names::NameKey;
pub use phone::{KnownPhones, PhoneReader, Spelling, UnknownRegion};
pub use roster::{RejectedRow, Roster, RosterEntry, Row, RowProblem};

use serde::{Serialize, Serializer};

/// The longest id and name that Wazzup's documentation allows, in characters.
pub const MAX_CHARS: usize = 200;

/// An employee's id, which is also the id of the Wazzup user: 1 to 200 characters, never altered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct EmployeeId(Box<str>);

impl EmployeeId {
    /// Takes `text` as it is. Fails if it is blank or longer than 200 characters.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.trim().is_empty() || text.chars().count() > MAX_CHARS {
            return Err(InvalidId);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a URL can name this user alone. `.` and `..` are steps in a path, `bulk_delete` is another call, and
    /// servers disagree about slashes, however they are encoded.
    pub fn has_own_url(&self) -> bool {
        !matches!(self.as_str(), "." | ".." | "bulk_delete") && !self.0.contains(['/', '\\'])
    }
}

impl fmt::Display for EmployeeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for EmployeeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The text is no id that Wazzup could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_CHARS} characters")]
pub struct InvalidId;

/// A user's name as Wazzup shows it: trimmed, 1 to 200 characters. `Debug` hides it: names stay out of logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FullName(Box<str>);

impl FullName {
    /// Trims `text`. Fails if it is blank or longer than 200 characters. Names in the state are read by this, too: under a
    /// stricter rule some of them would count as never acknowledged.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.chars().count() > MAX_CHARS {
            return Err(InvalidName);
        }
        Ok(Self(trimmed.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FullName(…)")
    }
}

/// The text is no name that Wazzup could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {MAX_CHARS} characters")]
pub struct InvalidName;

/// A phone in Wazzup's form: the digits of an E.164 number, without the `+`. At most 15 digits and never a leading
/// zero, so a number holds it. `Debug` hides it: phones stay out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(NonZeroU64);

impl Phone {
    pub fn digits(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Phone {
    type Err = InvalidPhone;

    /// Reads bare international digits, such as the state keeps. What a CRM writes is for the reader in `phone`.
    fn from_str(digits: &str) -> Result<Self, InvalidPhone> {
        let plain = digits.len() <= 15 && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| plain).map(Self).ok_or(InvalidPhone)
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(…)")
    }
}

impl Serialize for Phone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number in international digits")]
pub struct InvalidPhone;

/// A user as Wazzup takes it: what one entry of `POST /v3/users` says. Without a phone the key is left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Employee {
    pub id: EmployeeId,
    pub name: FullName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Phone>,
}
