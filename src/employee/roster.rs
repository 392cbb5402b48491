//! The CRM's table after reading: who should be in Wazzup, and which rows cannot be taken.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{Employee, EmployeeId, FullName, MAX_CHARS, PhoneReader, Spelling};

/// A row of the CRM, as text; rows that are not active never get here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row<'a> {
    /// The id column.
    pub id: Option<&'a str>,
    /// The name column.
    pub name: Option<&'a str>,
    /// The phone column; `None` where there is no such column.
    pub phone: Option<&'a str>,
}

/// Why a row, or the phone of one, cannot be taken. The codes are part of the contract.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Code {
    /// The id is longer than 200 characters.
    InvalidId,
    /// The name is blank or longer than 200 characters.
    InvalidName,
    /// The id stands in rows that say different things.
    DuplicateId,
    /// The phone is no valid number.
    InvalidPhone,
    /// The phone belongs to somebody else.
    DuplicatePhoneNumber,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::InvalidId,
        Self::InvalidName,
        Self::DuplicateId,
        Self::InvalidPhone,
        Self::DuplicatePhoneNumber,
    ];

    /// The code as the contract writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidId => "INVALID_ID",
            Self::InvalidName => "INVALID_NAME",
            Self::DuplicateId => "DUPLICATE_ID",
            Self::InvalidPhone => "INVALID_PHONE",
            Self::DuplicatePhoneNumber => "DUPLICATE_PHONE_NUMBER",
        }
    }

    /// The reason and the remedy in words, without a value from the row.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::InvalidId => "the id is longer than 200 characters: give the row another id",
            Self::InvalidName => "the name is blank or longer than 200 characters: correct it in the CRM",
            Self::DuplicateId => "several rows with this id say different things: keep one of them",
            Self::InvalidPhone => "the phone is no valid number: correct it in the CRM; everything else is synced",
            Self::DuplicatePhoneNumber => {
                "somebody else has this phone: correct it in the CRM; everything else is synced"
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An employee with what is known about the phone's reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What the CRM wants in Wazzup.
    pub employee: Employee,
    /// How the CRM spells the phone.
    pub spelling: Option<Spelling>,
    /// The CRM has a phone that cannot be read.
    pub unreadable_phone: bool,
}

/// An id whose rows cannot be taken. Its user in Wazzup, if there is one, stays as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rejected {
    /// The id; one of over 1,000 bytes is shortened to its beginning and a fingerprint.
    pub id: Box<str>,
    /// Why.
    pub code: Code,
}

/// Whom the CRM wants in Wazzup. Both lists are sorted by id and have each id once; no id is in both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// The valid ones.
    pub entries: Vec<Entry>,
    /// The others.
    pub rejected: Vec<Rejected>,
    /// How many rows have no id.
    pub missing_ids: usize,
}

impl Roster {
    /// How many distinct ids the CRM wants in Wazzup, rejected ones included.
    #[must_use]
    pub fn eligible(&self) -> usize {
        self.entries.len() + self.rejected.len()
    }

    /// Whether the CRM names nobody at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.eligible() == 0
    }

    /// The entry of `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        let found = self
            .entries
            .binary_search_by(|entry| entry.employee.id.as_str().cmp(id));
        found.ok().map(|index| &self.entries[index])
    }

    /// Whether `id` has rows that cannot be taken.
    #[must_use]
    pub fn is_rejected(&self, id: &str) -> bool {
        self.rejected
            .binary_search_by(|rejected| (*rejected.id).cmp(id))
            .is_ok()
    }
}

/// Takes rows one by one, so that a big table is never in memory twice.
#[derive(Debug)]
pub struct RosterBuilder {
    phones: PhoneReader,
    /// Phones that were not known: the indexes of their entries, and what the CRM has.
    unread: (Vec<usize>, Vec<Box<str>>),
    entries: Vec<Entry>,
    rejected: Vec<Rejected>,
    missing_ids: usize,
}

impl RosterBuilder {
    /// A builder that reads phones with `phones`.
    #[must_use]
    pub fn new(phones: PhoneReader) -> Self {
        Self {
            phones,
            unread: (Vec::new(), Vec::new()),
            entries: Vec::new(),
            rejected: Vec::new(),
            missing_ids: 0,
        }
    }

    /// Takes one row.
    pub fn push(&mut self, row: Row<'_>) {
        let Some(id) = row.id.filter(|id| !id.trim().is_empty()) else {
            self.missing_ids += 1;
            return;
        };
        let Ok(employee_id) = EmployeeId::parse(id) else {
            self.rejected.push(Rejected {
                id: shortened(id),
                code: Code::InvalidId,
            });
            return;
        };
        let Ok(name) = FullName::parse(row.name.unwrap_or_default()) else {
            self.rejected.push(Rejected {
                id: id.into(),
                code: Code::InvalidName,
            });
            return;
        };
        let phone = row.phone.unwrap_or_default().trim();
        let reading = self.phones.recall(phone);
        if reading.is_none() && !phone.is_empty() {
            self.unread.0.push(self.entries.len());
            self.unread.1.push(phone.into());
        }
        self.entries.push(Entry {
            employee: Employee {
                id: employee_id,
                name,
                phone: reading.map(|(phone, _)| phone),
            },
            spelling: reading.map(|(_, spelling)| spelling),
            unreadable_phone: false,
        });
    }

    /// How many phones [`Self::finish`] has to read, at about 15 µs each.
    #[must_use]
    pub fn unread_phones(&self) -> usize {
        self.unread.0.len()
    }

    /// Reads the phones that were not known, and settles the ids that stand in several rows: rows that parse alike are one,
    /// differing ones are all rejected.
    #[must_use]
    pub fn finish(mut self) -> Roster {
        for (index, phone) in self.unread.0.iter().zip(self.phones.read_all(&self.unread.1)) {
            let (entry, reading) = (&mut self.entries[*index], phone.unwrap_or_default());
            entry.employee.phone = reading.map(|(phone, _)| phone);
            entry.spelling = reading.map(|(_, spelling)| spelling);
            entry.unreadable_phone = phone.is_err();
        }
        if !self.entries.is_sorted_by(|a, b| a.employee.id < b.employee.id) {
            self.entries.sort_by(|a, b| a.employee.id.cmp(&b.employee.id));
        }
        self.rejected.sort();
        self.rejected.dedup();

        let mut differing: Vec<Box<str>> = Vec::new();
        self.entries.dedup_by(|later, kept| {
            let same_id = later.employee.id == kept.employee.id;
            let alike = later.employee == kept.employee && later.unreadable_phone == kept.unreadable_phone;
            if same_id && !alike {
                differing.push(kept.employee.id.as_str().into());
            }
            same_id
        });
        differing.extend(
            self.rejected
                .windows(2)
                .filter(|pair| pair[0].id == pair[1].id)
                .map(|pair| pair[0].id.clone()),
        );
        let mut roster = Roster {
            entries: self.entries,
            rejected: self.rejected,
            missing_ids: self.missing_ids,
        };
        differing.extend(
            roster
                .rejected
                .iter()
                .filter(|it| roster.get(&it.id).is_some())
                .map(|it| it.id.clone()),
        );
        if !differing.is_empty() {
            differing.sort();
            differing.dedup();
            roster.entries.retain(|entry| {
                differing
                    .binary_search_by(|id| (**id).cmp(entry.employee.id.as_str()))
                    .is_err()
            });
            roster
                .rejected
                .retain(|rejected| differing.binary_search(&rejected.id).is_err());
            roster.rejected.extend(differing.into_iter().map(|id| Rejected {
                id,
                code: Code::DuplicateId,
            }));
            roster.rejected.sort();
        }
        roster
    }
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
    use super::*;

    fn roster(rows: &[(Option<&str>, Option<&str>, Option<&str>)]) -> Roster {
        let mut builder = RosterBuilder::new(PhoneReader::new("RU").expect("a region"));
        for &(id, name, phone) in rows {
            builder.push(Row { id, name, phone });
        }
        builder.finish()
    }

    fn rejected(roster: &Roster) -> Vec<(&str, &str)> {
        roster.rejected.iter().map(|it| (&*it.id, it.code.as_str())).collect()
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

    use super::super::Phone;

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
        assert!(roster.entries[0].unreadable_phone && roster.entries[0].employee.phone.is_none());
    }

    #[test]
    fn an_endless_id_is_shortened_but_stays_distinct() {
        let (one, two) = ("x".repeat(5_000), format!("{}y", "x".repeat(4_999)));
        let roster = roster(&[(Some(&one), Some("A"), None), (Some(&two), Some("A"), None)]);
        assert_eq!(roster.rejected.len(), 2);
        assert!(roster.rejected.iter().all(|it| it.id.len() < 300));
    }
}
