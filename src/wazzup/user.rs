//! Users as the service writes them. Ids can be numbers: they are kept as they are written and never go through a float.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::employee::EmployeeId;

/// A user as Wazzup shows it. `Debug` hides what is personal.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUser {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The phone. That there is none proves nothing: the service may leave the phone out.
    pub phone: Option<String>,
}

impl fmt::Debug for RemoteUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteUser")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What is readable of a user; an empty id is none.
pub(super) struct Item {
    pub id: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    /// The user has an id, of whatever type.
    pub names_an_id: bool,
}

impl Item {
    /// Reads an object with the fields of a user. `None` if `json` is something else.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            #[serde(borrow)]
            name: Option<&'a RawValue>,
            #[serde(borrow)]
            phone: Option<&'a RawValue>,
        }
        // serde takes the fields of a struct from an array, too.
        if !json.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let fields: Fields = serde_json::from_slice(json).ok()?;
        Some(Self {
            id: fields.id.and_then(text_or_number).filter(|id| !id.is_empty()),
            // Postgres cannot store U+0000, and no name is the same with it.
            name: fields.name.and_then(text).map(|name| name.replace('\0', "\u{fffd}")),
            phone: fields.phone.and_then(text_or_number),
            names_an_id: fields.id.is_some(),
        })
    }
}

/// Reads the answer of `GET /users/{id}`, which may leave the id out.
pub(super) fn parse_user(body: &[u8], asked: &EmployeeId) -> Result<RemoteUser, &'static str> {
    let item = Item::parse(body).ok_or("it is not a user")?;
    if item.names_an_id && item.id.as_deref() != Some(asked.as_str()) {
        return Err("it shows another user than asked for");
    }
    Ok(RemoteUser {
        id: asked.as_str().to_owned(),
        name: item.name.ok_or("it has no name")?,
        phone: item.phone,
    })
}

/// Reads the answer of `PATCH /users/bulk_delete`: those of `asked` that were absent. JSON that is no list of ids, and
/// an empty body, name nobody. `None` if the body is something else.
pub(super) fn parse_absent(body: &[u8], asked: &[EmployeeId]) -> Option<Vec<EmployeeId>> {
    if body.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(body) else {
        serde_json::from_slice::<IgnoredAny>(body).ok()?;
        return Some(Vec::new());
    };
    let named: HashSet<String> = items.into_iter().filter_map(text_or_number).collect();
    let absent = asked.iter().filter(|id| named.contains(id.as_str()));
    Some(absent.cloned().collect())
}

/// A string, or a whole number as it is written.
pub(super) fn text_or_number(raw: &RawValue) -> Option<String> {
    let written = raw.get();
    let digits = written.strip_prefix('-').unwrap_or(written);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(written.to_owned());
    }
    text(raw)
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}
