//! The list of all users, put together from its pages. It is complete only if it proves to be.
//!
//! A page is an array of users, or an envelope `{"count": 2, "data": [users]}` with its fields in any order.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use super::user::{WrittenUser, text_or_number};

/// How many users a page has, and so an array that may be only a page.
const PAGE_LENGTH: usize = 100;
/// How much of a list is read: this much, more than the 1,000 users of an account need…
const SPARE_BYTES: usize = 2 << 20;
/// …and this much for each user that is expected.
const BYTES_PER_USER: usize = 2 << 10;

pub(super) struct ListBuilder {
    /// Names by id.
    pub names: BTreeMap<String, String>,
    item_count: usize,
    pub page_count: usize,
    shape: Option<Shape>,
    /// How many bytes the further pages may have.
    pub room: usize,
}

impl ListBuilder {
    /// A list that should show `expected` users, or not many more.
    pub(super) fn new(expected: usize) -> Self {
        Self {
            names: BTreeMap::new(),
            item_count: 0,
            page_count: 0,
            shape: None,
            room: SPARE_BYTES.saturating_add(BYTES_PER_USER.saturating_mul(expected)),
        }
    }

    /// Takes a page in. Returns the offset of the page to read next, `None` if the list is complete, and otherwise why
    /// the list is not complete.
    pub(super) fn add(&mut self, body: &[u8]) -> Result<Option<usize>, String> {
        let (shape, users) = split(body)?;
        let known_count = self.names.len();
        let mut problem = None;
        for user in &users {
            // One user who cannot be read is no reason to give the others up.
            if let Err(reason) = self.add_user(user) {
                problem.get_or_insert(reason);
            }
        }
        let new_count = self.names.len() - known_count;
        self.room = self.room.saturating_sub(body.len());
        self.item_count += users.len();
        self.page_count += 1;
        if let Some(problem) = problem {
            return Err(problem.to_owned());
        }
        if *self.shape.get_or_insert(shape) != shape {
            return Err("its pages contradict each other: it changed while it was read".to_owned());
        }
        let goes_on = match shape {
            Shape::Array => self.array_goes_on(users.len(), new_count)?,
            Shape::Envelope { count } => self.envelope_goes_on(count, new_count)?,
        };
        Ok(goes_on.then_some(self.item_count))
    }

    fn add_user(&mut self, user: &RawValue) -> Result<(), &'static str> {
        let user = WrittenUser::parse(user.get().as_bytes()).ok_or("one of its entries is no user")?;
        let id = user.id().ok_or("one of its users has no readable id")?;
        let name = user.name().ok_or("one of its users has no readable name")?;
        let known = self.names.entry(id).or_insert_with(|| name.clone());
        if *known == name {
            Ok(())
        } else {
            Err("one of its users has two names")
        }
    }

    /// An array is the whole list. One of exactly a page's length may be the first of several: then what comes behind
    /// it has to show that nothing is left.
    fn array_goes_on(&self, item_count: usize, new_count: usize) -> Result<bool, String> {
        match (self.page_count, item_count) {
            (1, _) => Ok(item_count == PAGE_LENGTH),
            (_, 0) => Ok(false),
            // The offset means nothing to this deployment: it shows the same array again.
            (2, PAGE_LENGTH) if new_count == 0 => Ok(false),
            _ if new_count == item_count => Ok(true),
            _ => Err("its pages overlap: it changed while it was read".to_owned()),
        }
    }

    fn envelope_goes_on(&self, count: Option<usize>, new_count: usize) -> Result<bool, String> {
        let count = count.ok_or("it has no readable count")?;
        let shown_count = self.names.len();
        if shown_count == count {
            return Ok(false);
        }
        if shown_count > count || new_count == 0 {
            return Err(format!("it announces {count} users and shows {shown_count}"));
        }
        Ok(true)
    }
}

/// The two forms in which deployments answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Array,
    /// With the number of all users, if that can be read.
    Envelope {
        count: Option<usize>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    count: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<Vec<&'a RawValue>>,
}

fn split(body: &[u8]) -> Result<(Shape, Vec<&RawValue>), &'static str> {
    if body.trim_ascii_start().starts_with(b"[") {
        let users = serde_json::from_slice(body).map_err(|error| problem(&error))?;
        return Ok((Shape::Array, users));
    }
    let Envelope { count, data } = serde_json::from_slice(body).map_err(|error| problem(&error))?;
    let count = count.and_then(text_or_number).and_then(|count| count.parse().ok());
    let users = data.ok_or("it has no list of users")?;
    Ok((Shape::Envelope { count }, users))
}

fn problem(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        Category::Data => "it is neither an array of users nor a page of them",
        Category::Eof => "it ends in the middle",
        Category::Syntax | Category::Io => "it is not JSON",
    }
}
