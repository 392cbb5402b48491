//! The list of all users, put together from its pages. It is complete only if it proves to be.

use std::{collections::BTreeMap, fmt};

use super::page::{Page, Shape, USER_COST};
use crate::plan::Coverage;

/// The users that `GET /users` shows. `Debug` hides their names.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchedList {
    /// Names by id.
    pub names: BTreeMap<String, String>,
    /// How much the list proves.
    pub coverage: Coverage,
}

impl fmt::Debug for FetchedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedList")
            .field("users", &self.names.len())
            .field("coverage", &self.coverage)
            .finish()
    }
}

/// How many users a page has, and so an array that may be only a page.
const PAGE_LENGTH: usize = 100;
/// How many users a list may hold, fewer if their texts are long: this many, and four times as many as are expected…
const SPARE_USERS: usize = 20_000;
/// …but never more than this.
const MAX_USERS: usize = 200_000;

/// Puts the pages of `GET /users` together.
pub(super) struct ListBuilder {
    names: BTreeMap<String, String>,
    item_count: usize,
    page_count: usize,
    shape: Option<Shape>,
    /// The memory that is left for further pages.
    room: usize,
}

impl ListBuilder {
    /// A list that should show `expected` users, or not many more.
    pub(super) fn new(expected: usize) -> Self {
        let user_limit = SPARE_USERS.saturating_add(4 * expected).min(MAX_USERS);
        Self {
            names: BTreeMap::new(),
            item_count: 0,
            page_count: 0,
            shape: None,
            room: user_limit * USER_COST,
        }
    }

    /// How much the next page may hold.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.page_count == 0
    }

    /// Takes a page in. Returns the offset of the page to read next, `None` if the list is complete, and otherwise why
    /// the list is not complete.
    pub(super) fn add(&mut self, page: Page) -> Result<Option<usize>, String> {
        let Page {
            shape,
            names,
            item_count,
            room,
            problem,
        } = page;
        let distinct_count = names.len();
        let is_renamed = |(id, name): (&String, &String)| self.names.get(id).is_some_and(|known| known != name);
        let contradicts = names.iter().any(is_renamed);
        let known_count = self.names.len();
        self.add_names(names);
        let new_count = self.names.len() - known_count;
        self.room = room;
        self.item_count += item_count;
        self.page_count += 1;
        if let Some(problem) = problem {
            return Err(problem.to_owned());
        }
        if contradicts || *self.shape.get_or_insert(shape) != shape {
            return Err("its pages contradict each other: it changed while it was read".to_owned());
        }
        let goes_on = match shape {
            Shape::Array => self.array_goes_on(item_count, distinct_count, new_count)?,
            Shape::Envelope { count } => self.envelope_goes_on(count.unwrap_or_default(), new_count)?,
        };
        Ok(goes_on.then_some(self.item_count))
    }

    pub(super) fn finish(self, coverage: Coverage) -> FetchedList {
        FetchedList {
            names: self.names,
            coverage,
        }
    }

    /// Adds who is new; who is known keeps the first name.
    fn add_names(&mut self, names: BTreeMap<String, String>) {
        if self.names.is_empty() {
            self.names = names;
            return;
        }
        for (id, name) in names {
            self.names.entry(id).or_insert(name);
        }
    }

    /// An array is the whole list. One of exactly a page's length may be the first of several: then what comes behind
    /// it has to show that nothing is left.
    fn array_goes_on(&self, item_count: usize, distinct_count: usize, new_count: usize) -> Result<bool, String> {
        match (self.page_count, item_count) {
            (1, _) => Ok(item_count == PAGE_LENGTH),
            (_, 0) => Ok(false),
            // The offset means nothing to this deployment: it shows the same array again.
            (2, PAGE_LENGTH) if new_count == 0 && distinct_count == self.names.len() => Ok(false),
            _ if new_count == item_count => Ok(true),
            _ => Err("its pages overlap: it changed while it was read".to_owned()),
        }
    }

    fn envelope_goes_on(&self, count: usize, new_count: usize) -> Result<bool, String> {
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
