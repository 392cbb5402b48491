//! The CRM's table after reading: who should be in Wazzup, and which rows cannot be taken.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Serialize;
use strum::{AsRefStr, Display, EnumIter, EnumString};

use super::{Employee, EmployeeId, FullName, MAX_CHARS, PhoneReader, Spelling};

/// A row of the CRM, as text; rows that are not active never get here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row<'a> {
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    /// The phone column; `None` where there is no such column.
    pub phone: Option<&'a str>,
}

/// What is wrong with a row, or with its phone.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, AsRefStr, Display, EnumIter, EnumString, Serialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum RowProblem {
    InvalidId,
    InvalidName,
    DuplicateId,
    InvalidPhone,
    DuplicatePhoneNumber,
}

impl RowProblem {
    /// The reason, as a clause without a value from the row.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidId => "the id is longer than 200 characters",
            Self::InvalidName => "the name is blank, longer than 200 characters, or cannot be converted to UTF-8",
            Self::DuplicateId => "several rows have this id and differ",
            Self::InvalidPhone => "the phone is not a valid number; the rest of the row is synced",
            Self::DuplicatePhoneNumber => "somebody else has this phone; the rest of the row is synced",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::InvalidId => "give the row a shorter id",
            Self::InvalidName | Self::InvalidPhone | Self::DuplicatePhoneNumber => "correct it in the CRM",
            Self::DuplicateId => "keep one of the rows",
        }
    }
}

/// An employee with what is known about the phone's reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RosterEntry {
    pub employee: Employee,
    /// How the CRM spells the phone, whether or not it could be read.
    pub phone_spelling: Option<Spelling>,
    /// The CRM has a phone that cannot be read.
    pub has_unreadable_phone: bool,
}

/// Whom the CRM wants in Wazzup. No id is in both lists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// Sorted by id, each id once.
    pub entries: Vec<RosterEntry>,
    /// The ids whose rows cannot be taken; one of over 1,000 bytes is shortened to its beginning and a hash. Their users in
    /// Wazzup, if there are any, stay as they are.
    pub rejected: BTreeMap<Box<str>, RowProblem>,
    pub missing_ids: usize,
}

impl Roster {
    /// Whom the rows name; their phones are read with `phones`.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = Row<'a>>, phones: &PhoneReader) -> Self {
        let mut entries = Vec::new();
        let mut rejected: BTreeMap<Box<str>, RowProblem> = BTreeMap::new();
        let mut missing_ids = 0;
        for row in rows {
            let Some(id) = row.id.filter(|id| !id.trim().is_empty()) else {
                missing_ids += 1;
                continue;
            };
            match parse(id, row, phones) {
                Ok(entry) => entries.push(entry),
                Err(problem) => {
                    let known = rejected.entry(shortened(id)).or_insert(problem);
                    if *known != problem {
                        *known = RowProblem::DuplicateId;
                    }
                }
            }
        }
        // Rows of one id that mean the same are one; differing ones are all rejected.
        entries.sort_by(|one, other| one.employee.id.cmp(&other.employee.id));
        entries.dedup_by(|next, kept| {
            let id = &kept.employee.id;
            let is_same_id = next.employee.id == *id;
            if is_same_id && meaning(next) != meaning(kept) {
                rejected.insert(id.as_str().into(), RowProblem::DuplicateId);
            }
            is_same_id
        });
        entries.retain(|entry| match rejected.get_mut(entry.employee.id.as_str()) {
            Some(problem) => {
                *problem = RowProblem::DuplicateId;
                false
            }
            None => true,
        });
        Self {
            entries,
            rejected,
            missing_ids,
        }
    }

    /// How many distinct ids the CRM wants in Wazzup, rejected ones included.
    pub fn eligible(&self) -> usize {
        self.entries.len() + self.rejected.len()
    }

    /// Whether the CRM names nobody at all.
    pub fn is_empty(&self) -> bool {
        self.eligible() == 0
    }

    pub fn get(&self, id: &str) -> Option<&RosterEntry> {
        let found = self
            .entries
            .binary_search_by(|entry| entry.employee.id.as_str().cmp(id));
        found.ok().map(|index| &self.entries[index])
    }

    /// Whether the CRM names `id`, with a valid row or with one that cannot be taken.
    pub fn names(&self, id: &str) -> bool {
        self.get(id).is_some() || self.rejected.contains_key(id)
    }
}

fn parse(id: &str, row: Row<'_>, phones: &PhoneReader) -> Result<RosterEntry, RowProblem> {
    let id = EmployeeId::parse(id).ok_or(RowProblem::InvalidId)?;
    let name = FullName::parse(row.name.unwrap_or_default()).ok_or(RowProblem::InvalidName)?;
    let reading = phones.read(row.phone.unwrap_or_default());
    let has_unreadable_phone = reading.is_err();
    let (phone, phone_spelling) = match reading {
        Ok(Some((phone, spelling))) => (Some(phone), Some(spelling)),
        Ok(None) => (None, None),
        Err(spelling) => (None, spelling),
    };
    Ok(RosterEntry {
        employee: Employee { id, name, phone },
        phone_spelling,
        has_unreadable_phone,
    })
}

/// In what the rows of one id have to be alike. Their phones may be spelled in different ways.
fn meaning(entry: &RosterEntry) -> (&Employee, bool) {
    (&entry.employee, entry.has_unreadable_phone)
}

/// An id that is too long for an employee may be too long for an index of the state as well.
fn shortened(id: &str) -> Box<str> {
    const MOST_BYTES: usize = 1_000;
    if id.len() <= MOST_BYTES {
        return id.into();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let beginning: String = id.chars().take(MAX_CHARS).collect();
    format!("{beginning}…{:016x}", hasher.finish()).into()
}

#[cfg(test)]
mod tests {
    use super::{super::Phone, *};

    fn roster(rows: &[(Option<&str>, Option<&str>, Option<&str>)]) -> Roster {
        let rows = rows.iter().map(|&(id, name, phone)| Row { id, name, phone });
        Roster::from_rows(rows, &PhoneReader::new("RU").expect("a region"))
    }

    fn rejected(roster: &Roster) -> Vec<(&str, &str)> {
        roster
            .rejected
            .iter()
            .map(|(id, problem)| (&**id, problem.as_ref()))
            .collect()
    }

    fn ids(roster: &Roster) -> Vec<&str> {
        roster.entries.iter().map(|entry| entry.employee.id.as_str()).collect()
    }

    #[test]
    fn rows_become_employees_sorted_by_id() {
        let roster = roster(&[
            (Some("b"), Some("  Bella "), Some("8 926 123-45-67")),
            (Some(" a"), Some("Anna"), Some("  ")),
            (Some("A/%'\"Ж🙂"), Some("Zoë"), None),
        ]);
        assert_eq!(ids(&roster), [" a", "A/%'\"Ж🙂", "b"]);
        let bella = &roster.get("b").expect("Bella").employee;
        assert_eq!(
            (bella.name.as_str(), bella.phone.map(Phone::digits)),
            ("Bella", Some(79_261_234_567))
        );
        assert!(rejected(&roster).is_empty());
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let long = "Ж".repeat(200);
        let too_long = "Ж".repeat(201);
        let roster = roster(&[
            (Some(&long), Some(&long), None),
            (Some(&too_long), Some("x"), None),
            (Some("n"), Some(&too_long), None),
            (Some("blank"), Some("   "), None),
            (Some("null"), None, None),
        ]);
        assert_eq!(ids(&roster), [long.as_str()]);
        assert_eq!(
            rejected(&roster),
            [
                ("blank", "INVALID_NAME"),
                ("n", "INVALID_NAME"),
                ("null", "INVALID_NAME"),
                (too_long.as_str(), "INVALID_ID")
            ]
        );
        assert_eq!(roster.eligible(), 5);
    }

    #[test]
    fn a_rejected_row_is_named_by_the_crm_all_the_same() {
        let some = roster(&[(Some("1"), Some("Anna"), None), (Some("2"), Some(""), None)]);
        assert!(some.names("1") && some.names("2") && !some.names("3"));
        assert!(!some.rejected.contains_key("1") && some.rejected.contains_key("2"));
        assert!(!some.is_empty() && !roster(&[(Some("2"), Some(""), None)]).is_empty());
        // A row without id names nobody.
        assert!(roster(&[(None, Some("Anna"), None)]).is_empty());
    }

    #[test]
    fn rows_without_id_are_counted() {
        let roster = roster(&[
            (None, Some("x"), None),
            (Some("  "), Some("y"), None),
            (Some("1"), Some("z"), None),
        ]);
        assert_eq!((roster.missing_ids, roster.eligible()), (2, 1));
    }

    #[test]
    fn the_same_id_twice() {
        let roster = roster(&[
            (Some("alike"), Some("Anna"), Some("89261234567")),
            (Some("alike"), Some(" Anna "), Some("+79261234567")),
            (Some("both unreadable"), Some("Olga"), Some("x")),
            (Some("both unreadable"), Some("Olga"), Some("y")),
            (Some("name"), Some("A"), None),
            (Some("name"), Some("B"), None),
            (Some("phone"), Some("A"), None),
            (Some("phone"), Some("A"), Some("x")),
            (Some("one invalid"), Some("A"), None),
            (Some("one invalid"), Some(""), None),
            (Some("three"), Some("A"), None),
            (Some("three"), Some("B"), None),
            (Some("three"), Some("A"), None),
            (Some("twice blank"), Some(""), None),
            (Some("twice blank"), Some(" "), None),
        ]);
        assert_eq!(ids(&roster), ["alike", "both unreadable"]);
        assert_eq!(
            rejected(&roster),
            [
                ("name", "DUPLICATE_ID"),
                ("one invalid", "DUPLICATE_ID"),
                ("phone", "DUPLICATE_ID"),
                ("three", "DUPLICATE_ID"),
                ("twice blank", "INVALID_NAME")
            ]
        );
    }

    #[test]
    fn an_unreadable_phone_does_not_reject_the_row() {
        let roster = roster(&[(Some("1"), Some("A"), Some("none"))]);
        assert!(roster.entries[0].has_unreadable_phone && roster.entries[0].employee.phone.is_none());
    }

    #[test]
    fn an_endless_id_is_shortened_but_stays_distinct() {
        let (one, two) = ("x".repeat(5_000), format!("{}y", "x".repeat(4_999)));
        let roster = roster(&[(Some(&one), Some("A"), None), (Some(&two), Some("A"), None)]);
        assert_eq!(roster.rejected.len(), 2);
        assert!(roster.rejected.keys().all(|id| id.len() < 300));
        let longest_kept = "x".repeat(1_000);
        assert_eq!(&*shortened(&longest_kept), longest_kept);
    }
}
