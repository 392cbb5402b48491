//! What the CRM says, parsed once at the border: everything behind this module works with valid values only.
//!
//! Pure: no clock, no IO.

mod names;
mod phone;
mod roster;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;

pub use names::NameKey;
pub use phone::{KnownPhones, PhoneReader, Spelling};
pub use roster::{Roster, RosterEntry, Row, RowProblem};

use derive_more::{Debug, Display};
use serde::{Serialize, Serializer};

/// The longest id and name that Wazzup's documentation allows, in characters.
pub const MAX_CHARS: usize = 200;

/// An employee's id, which is also the id of the Wazzup user: 1 to 200 characters, never altered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display, Serialize)]
pub struct EmployeeId(Box<str>);

impl EmployeeId {
    /// Takes `text` as it is; `None` if it is blank or longer than 200 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = !text.trim().is_empty() && text.chars().count() <= MAX_CHARS;
        is_id.then(|| Self(text.into()))
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

impl std::borrow::Borrow<str> for EmployeeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A user's name as Wazzup shows it: trimmed, 1 to 200 characters. `Debug` hides it: names stay out of logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display, Serialize)]
#[debug("FullName(…)")]
pub struct FullName(Box<str>);

impl FullName {
    /// Trims `text`; `None` if it is blank or longer than 200 characters. Names in the state are read by this, too: under a
    /// stricter rule some of them would count as never acknowledged.
    pub fn parse(text: &str) -> Option<Self> {
        let trimmed = text.trim();
        let is_name = !trimmed.is_empty() && trimmed.chars().count() <= MAX_CHARS;
        is_name.then(|| Self(trimmed.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A phone in Wazzup's form: the digits of an E.164 number, without the `+`. At most 15 digits and never a leading
/// zero, so a number holds it. `Debug` hides it: phones stay out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Display)]
#[debug("Phone(…)")]
pub struct Phone(NonZeroU64);

impl Phone {
    /// Reads bare international digits, such as the state keeps. What a CRM writes is for [`PhoneReader`].
    pub fn parse(digits: &str) -> Option<Self> {
        let is_plain = digits.len() <= 15 && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| is_plain).map(Self)
    }

    pub fn digits(self) -> u64 {
        self.0.get()
    }
}

impl Serialize for Phone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A user as Wazzup takes it: what one entry of `POST /v3/users` says. Without a phone the key is left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Employee {
    pub id: EmployeeId,
    pub name: FullName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Phone>,
}
