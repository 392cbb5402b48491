//! One page of `GET /users`, parsed while it arrives: neither the page nor a list of its raw users is ever held, so that
//! no answer fills the memory.
//!
//! A page is an array of users, or an envelope `{"count": 2, "data": [users]}` with its fields in any order.

use std::{
    cell::Cell,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    io::{self, Read},
};

use serde::{
    Deserializer as _,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::user::{UserFields, text_or_number};

/// The biggest user, or field of an envelope, with the blanks around. Id and name have 200 characters each at most.
const MAX_PART_BYTES: usize = 4 << 10;
/// What one user costs in memory, about, besides the text.
pub(super) const USER_COST: usize = 150;

/// What a page showed.
pub(super) struct Page {
    pub shape: Shape,
    /// Names by id.
    pub names: BTreeMap<String, String>,
    /// How many users the page has, repeated and unreadable ones too.
    pub item_count: usize,
    /// What is left of the list's memory for further pages.
    pub room: usize,
    /// Why the page does not say everything that it should; the first reason.
    pub problem: Option<&'static str>,
}

/// The two forms in which deployments answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Array,
    /// With the number of all users, if that can be read.
    Envelope {
        count: Option<usize>,
    },
}

impl Page {
    /// Reads a page to its end, or until it turns out to be useless.
    pub(super) fn read(source: impl Read, room: usize) -> Self {
        let mut page = Self {
            shape: Shape::Array,
            names: BTreeMap::new(),
            item_count: 0,
            room,
            problem: None,
        };
        let allowance = Cell::new(MAX_PART_BYTES);
        let mut json = serde_json::Deserializer::from_reader(RationedReader {
            source,
            allowance: &allowance,
        });
        let visitor = PageVisitor {
            page: &mut page,
            allowance: &allowance,
        };
        let result = json.deserialize_any(visitor).and_then(|()| json.end());
        if let Err(error) = result {
            page.note(match error.classify() {
                Category::Io => "one of its users or fields is bigger than 4 KiB",
                Category::Eof => "it ends in the middle",
                Category::Syntax => "it is not JSON",
                Category::Data => "it is neither an array of users nor a page of them",
            });
        }
        page
    }

    fn note(&mut self, problem: &'static str) {
        self.problem.get_or_insert(problem);
    }

    /// Takes a user in. One without a readable name, or with two, is no reason to give the rest up.
    fn add(&mut self, user: &UserFields) -> Result<(), &'static str> {
        let id = user.id().ok_or("one of its users has no readable id")?;
        let name = user.name();
        // Repeated users cost as well: otherwise, one user again and again would never end.
        let cost = USER_COST + id.len() + name.as_ref().map_or(0, String::len);
        self.room = self.room.checked_sub(cost).ok_or("it has too many users")?;
        self.item_count += 1;
        let Some(name) = name else {
            self.note("one of its users has no readable name");
            return Ok(());
        };
        match self.names.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(name);
            }
            Entry::Occupied(entry) if *entry.get() != name => self.note("one of its users has two names"),
            Entry::Occupied(_) => {}
        }
        Ok(())
    }
}

/// Fails when more than the allowance is read before somebody renews it.
struct RationedReader<'a, R> {
    source: R,
    allowance: &'a Cell<usize>,
}

impl<R: Read> Read for RationedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowance = self.allowance.get();
        if allowance == 0 {
            return Err(io::Error::other("the allowance is used up"));
        }
        let length = buffer.len().min(allowance);
        let read = self.source.read(&mut buffer[..length])?;
        self.allowance.set(allowance - read);
        Ok(read)
    }
}

/// Takes a page in, user by user.
struct PageVisitor<'a> {
    page: &'a mut Page,
    allowance: &'a Cell<usize>,
}

impl PageVisitor<'_> {
    fn renew_allowance(&self) {
        self.allowance.set(MAX_PART_BYTES);
    }

    fn give_up<E: de::Error>(&mut self, problem: &'static str) -> E {
        self.page.note(problem);
        E::custom(problem)
    }
}

impl<'de> Visitor<'de> for PageVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of users, or a page of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut users: A) -> Result<(), A::Error> {
        while let Some(user) = users.next_element()? {
            self.page.add(&user).map_err(|problem| self.give_up(problem))?;
            self.renew_allowance();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut envelope: A) -> Result<(), A::Error> {
        let mut count = None;
        let mut has_users = false;
        while let Some(key) = envelope.next_key::<String>()? {
            match key.as_str() {
                "data" if has_users => return Err(self.give_up("it has two lists of users")),
                "data" => {
                    has_users = true;
                    envelope.next_value_seed(PageVisitor {
                        page: self.page,
                        allowance: self.allowance,
                    })?;
                }
                "count" => {
                    let written: Box<RawValue> = envelope.next_value()?;
                    count = text_or_number(&written).and_then(|count| count.parse().ok());
                }
                _ => {
                    envelope.next_value::<IgnoredAny>()?;
                }
            }
            self.renew_allowance();
        }
        self.page.shape = Shape::Envelope { count };
        if !has_users {
            return Err(self.give_up("it has no list of users"));
        }
        if count.is_none() {
            self.page.note("it has no readable count");
        }
        Ok(())
    }
}

/// The users of an envelope.
impl<'de> DeserializeSeed<'de> for PageVisitor<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, users: D) -> Result<(), D::Error> {
        users.deserialize_seq(self)
    }
}
