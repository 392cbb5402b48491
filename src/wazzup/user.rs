//! Users as the service writes them. Ids can be numbers: they are kept as they are written and never go through a float.

use std::collections::HashSet;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::employee::EmployeeId;

#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub struct RemoteUser {
    pub name: String,
    /// `None` proves nothing: the service may omit the phone.
    pub phone: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WrittenUser<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    phone: Option<&'a RawValue>,
}

impl<'a> WrittenUser<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        // serde would read the fields of a struct from an array, too.
        let is_object = json.trim_ascii_start().starts_with(b"{");
        serde_json::from_slice(json).ok().filter(|_| is_object)
    }

    pub(super) fn id(&self) -> Option<String> {
        self.id.and_then(text_or_number).filter(|id| !id.is_empty())
    }

    pub(super) fn name(&self) -> Option<String> {
        // Postgres cannot store U+0000, and no name is the same with it.
        Some(text(self.name?)?.replace('\0', "\u{fffd}"))
    }
}

/// Reads the answer of `GET /users/{id}`, which may leave the id out.
pub(super) fn parse_user(body: &[u8], asked: &EmployeeId) -> Result<RemoteUser, &'static str> {
    let user = WrittenUser::parse(body).ok_or("it is not a user")?;
    if user.id.is_some() && user.id().as_deref() != Some(asked.as_str()) {
        return Err("it shows another user than asked for");
    }
    Ok(RemoteUser {
        name: user.name().ok_or("it has no name")?,
        phone: user.phone.and_then(text_or_number),
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
