//! One page of `GET /users`, split into its users while it arrives: neither the page nor a list of its raw users is ever
//! held, so that no answer fills the memory.
//!
//! A page is an array of users, or an envelope `{"count": 2, "data": [users]}` with its fields in any order. The parts
//! between the commas of the array and of the envelope are cut out here and parsed by `serde_json` one by one.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::user::{Item, text_or_number};

/// The biggest user, or field of an envelope. Id and name have 200 characters each at most.
const MAX_PART_BYTES: usize = 4 << 10;
/// The biggest page: more than 100,000 users need.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// About what one user costs in memory, besides the text.
const USER_OVERHEAD: usize = 100;

/// How much a list may still take in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Users, repeated ones too.
    pub items: usize,
    /// Memory for their ids and names.
    pub bytes: usize,
}

impl Room {
    pub(super) const OF_A_LIST: Self = Self {
        items: 200_000,
        bytes: 16 << 20,
    };
}

/// What a page showed.
pub(super) struct Page {
    pub shape: Shape,
    /// Names by id.
    pub names: BTreeMap<String, String>,
    /// How many users the page has, repeated and unreadable ones too.
    pub item_count: usize,
    /// What is left for further pages.
    pub room: Room,
    /// Why the page does not say everything that it should.
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

/// Where in a page the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the page.
    Start,
    /// In the array of users.
    Users,
    /// In the envelope.
    Members,
    /// In the envelope, behind the array of users.
    AfterUsers,
    /// Behind the page.
    End,
}

/// Whether brackets and commas mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

/// Takes a page in, part by part.
pub(super) struct PageReader {
    place: Place,
    /// The user or the member of the envelope under way, without leading blanks.
    part: Vec<u8>,
    /// How many brackets are open in the part.
    depth: usize,
    text: Text,
    /// A comma was read last, blanks aside.
    after_comma: bool,
    has_users: bool,
    bytes_read: usize,
    page: Page,
}

const NOT_A_LIST: &str = "it is neither an array of users nor a page of them";
const NOT_JSON: &str = "it is not JSON";

impl PageReader {
    pub(super) fn new(room: Room) -> Self {
        Self {
            place: Place::Start,
            part: Vec::new(),
            depth: 0,
            text: Text::Outside,
            after_comma: false,
            has_users: false,
            bytes_read: 0,
            page: Page {
                shape: Shape::Array,
                names: BTreeMap::new(),
                item_count: 0,
                room,
                problem: None,
            },
        }
    }

    /// Takes in the next bytes. `false` if the rest is of no interest, since the page turned out to be useless.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        let result = self.take_bytes(bytes);
        let is_usable = result.is_ok();
        self.note(result);
        is_usable
    }

    /// The page, once all of it was taken in or `feed` returned `false`.
    pub(super) fn finish(mut self) -> Page {
        let result = match (self.place, self.page.shape) {
            (Place::End, _) if !self.has_users => Err(NOT_A_LIST),
            (Place::End, Shape::Envelope { count: None }) => Err("it has no readable count"),
            (Place::End, _) => Ok(()),
            _ => Err("it ends in the middle"),
        };
        self.note(result);
        self.page
    }

    /// The first problem stays.
    fn note(&mut self, result: Result<(), &'static str>) {
        self.page.problem = self.page.problem.or(result.err());
    }

    fn take_bytes(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.bytes_read += bytes.len();
        if self.bytes_read > MAX_PAGE_BYTES {
            return Err("it is too big");
        }
        bytes.iter().try_for_each(|byte| self.take_byte(*byte))
    }

    fn take_byte(&mut self, byte: u8) -> Result<(), &'static str> {
        match self.place {
            Place::Users | Place::Members => return self.take_byte_of_part(byte),
            _ if byte.is_ascii_whitespace() => {}
            Place::Start if byte == b'[' => self.enter_users(),
            Place::Start if byte == b'{' => {
                self.page.shape = Shape::Envelope { count: None };
                self.place = Place::Members;
            }
            Place::Start => return Err(NOT_A_LIST),
            Place::AfterUsers if byte == b',' => {
                self.after_comma = true;
                self.place = Place::Members;
            }
            Place::AfterUsers if byte == b'}' => self.place = Place::End,
            Place::AfterUsers | Place::End => return Err(NOT_JSON),
        }
        Ok(())
    }

    fn take_byte_of_part(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.text != Text::Outside {
            self.text = match (self.text, byte) {
                (Text::Inside, b'\\') => Text::Escaped,
                (Text::Inside, b'"') => Text::Outside,
                _ => Text::Inside,
            };
            return self.keep(byte);
        }
        if self.depth == 0 {
            match byte {
                b',' => return self.end_part(true),
                b']' | b'}' => return self.end_parts(byte),
                b'[' if self.is_at_users() => {
                    self.part.clear();
                    self.enter_users();
                    return Ok(());
                }
                _ => {}
            }
        }
        match byte {
            b'"' => self.text = Text::Inside,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth -= 1,
            _ => {}
        }
        self.keep(byte)
    }

    fn keep(&mut self, byte: u8) -> Result<(), &'static str> {
        let is_leading_blank = self.part.is_empty() && byte.is_ascii_whitespace();
        if is_leading_blank {
            return Ok(());
        }
        if self.part.len() == MAX_PART_BYTES {
            return Err("one of its users or fields is bigger than 4 KiB");
        }
        self.part.push(byte);
        Ok(())
    }

    fn enter_users(&mut self) {
        self.place = Place::Users;
        self.has_users = true;
        self.after_comma = false;
    }

    /// Whether the part is the beginning of the member that holds the users.
    fn is_at_users(&self) -> bool {
        let key = self.part.strip_prefix(b"\"data\"");
        self.place == Place::Members && !self.has_users && key.is_some_and(|rest| rest.trim_ascii() == b":")
    }

    /// The array of users or the envelope ends with `bracket`.
    fn end_parts(&mut self, bracket: u8) -> Result<(), &'static str> {
        let in_users = self.place == Place::Users;
        if (bracket == b']') != in_users {
            return Err(NOT_JSON);
        }
        let is_empty = self.part.is_empty() && !self.after_comma;
        if !is_empty {
            self.end_part(false)?;
        }
        let is_array = self.page.shape == Shape::Array;
        self.place = if in_users && !is_array {
            Place::AfterUsers
        } else {
            Place::End
        };
        Ok(())
    }

    fn end_part(&mut self, after_comma: bool) -> Result<(), &'static str> {
        self.after_comma = after_comma;
        if self.place == Place::Users {
            self.end_user()?;
        } else {
            self.end_member()?;
        }
        self.part.clear();
        Ok(())
    }

    fn end_member(&mut self) -> Result<(), &'static str> {
        #[derive(Deserialize)]
        struct Member<'a> {
            #[serde(borrow)]
            count: Option<&'a RawValue>,
            data: Option<IgnoredAny>,
        }
        if self.part.is_empty() {
            return Err(NOT_JSON);
        }
        let object = [b"{", self.part.as_slice(), b"}"].concat();
        let member: Member = serde_json::from_slice(&object).map_err(|_| NOT_JSON)?;
        if member.data.is_some() {
            return Err("its data are no list, or two");
        }
        if let Some(count) = member.count {
            let count = text_or_number(count).and_then(|count| count.parse().ok());
            self.page.shape = Shape::Envelope { count };
        }
        Ok(())
    }

    /// A user without a readable name, or with two, is no reason to give the rest up.
    fn end_user(&mut self) -> Result<(), &'static str> {
        let page = &mut self.page;
        page.item_count += 1;
        page.room.items = page.room.items.checked_sub(1).ok_or("it has too many users")?;
        let item = Item::parse(&self.part).ok_or("one of its entries is no user")?;
        let id = item.id.ok_or("one of its entries has no readable id")?;
        let Some(name) = item.name else {
            self.note(Err("one of its users has no readable name"));
            return Ok(());
        };
        if let Some(known_name) = page.names.get(&id) {
            if *known_name != name {
                self.note(Err("one of its users has two names"));
            }
            return Ok(());
        }
        let cost = id.len() + name.len() + USER_OVERHEAD;
        page.room.bytes = page.room.bytes.checked_sub(cost).ok_or("it is too long to be kept")?;
        page.names.insert(id, name);
        Ok(())
    }
}
