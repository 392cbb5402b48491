//! The account's users, and what the contract lets a request do to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::Refusal;
use crate::variant::{MalformedPhone, OmittedPhone, Variant};

/// The longest id and name, in characters.
const LONGEST: usize = 200;

/// The role that every new user has.
const FIRST_ROLE: &str = "seller";

/// One user of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The full name.
    pub name: String,
    /// Bare international digits.
    pub phone: Option<String>,
    /// `seller` at first; an administrator changes it by hand, and deleting the user loses it.
    #[serde(default = "first_role")]
    pub role: String,
    /// Who made this user.
    #[serde(default)]
    pub origin: Origin,
}

/// Who made a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A `POST`.
    Api,
    /// The test, as an administrator would in the cabinet.
    #[default]
    Hand,
    /// Seeded as somebody whom no synchronization may touch.
    Foreign,
}

fn first_role() -> String {
    FIRST_ROLE.to_owned()
}

impl User {
    /// A user with the role of everybody new.
    #[must_use]
    pub fn new(name: &str, phone: Option<&str>, origin: Origin) -> Self {
        let (name, phone) = (name.to_owned(), phone.map(ToOwned::to_owned));
        Self {
            name,
            phone,
            role: first_role(),
            origin,
        }
    }
}

/// One valid entry of a `POST`.
struct Entry<'a> {
    id: &'a str,
    name: &'a str,
    phone: Option<&'a str>,
}

/// All users, and which of the foreign ones were touched.
#[derive(Debug, Default)]
pub(crate) struct Users {
    pub(crate) all: BTreeMap<String, User>,
    pub(crate) foreign_touched: BTreeSet<String>,
    /// Who has which phone, kept from one request to the next: a batch must not cost a walk over everyone. `None` after a
    /// change by hand.
    holders: Option<HashMap<String, String>>,
}

impl Users {
    /// `POST /v3/users`: all entries, or none of them.
    pub(crate) fn upsert(&mut self, entries: &[Value], variant: &Variant) -> Result<(), Refusal> {
        check_batch(entries, variant, |entry| entry["id"].as_str())?;
        let entries = validate(entries, variant)?;

        let additions = entries.iter().filter(|entry| !self.all.contains_key(entry.id)).count();
        if additions > 0 && self.all.len() + additions > variant.seats {
            return Err(Refusal::seats(variant.seats));
        }

        let mut before: Vec<(&str, Option<User>)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.id;
            before.push((id, self.all.get(id).cloned()));
            if let Err(refusal) = self.put(&entry, variant) {
                // What is refused half way has changed nothing.
                for (id, user) in before.into_iter().rev() {
                    match user {
                        Some(user) => self.all.insert(id.to_owned(), user),
                        None => self.all.remove(id),
                    };
                }
                self.holders = None;
                return Err(refusal);
            }
        }
        for (id, user) in before {
            let touched = user.is_some_and(|user| user.origin == Origin::Foreign && self.all.get(id) != Some(&user));
            if touched {
                self.foreign_touched.insert(id.to_owned());
            }
        }
        Ok(())
    }

    fn put(&mut self, &Entry { id, name, phone }: &Entry<'_>, variant: &Variant) -> Result<(), Refusal> {
        let Self { all, holders, .. } = self;
        let holders = holders.get_or_insert_with(|| holders_of(all));
        let new = || User::new(name, phone, Origin::Api);
        let user = all.entry(id.to_owned()).or_insert_with(new);
        name.clone_into(&mut user.name);
        if phone.is_none() && variant.omitted_phone == OmittedPhone::Keeps {
            return Ok(());
        }
        if let Some(old) = user.phone.take()
            && holders.get(&old).is_some_and(|holder| holder == id)
        {
            holders.remove(&old);
        }
        if let Some(phone) = phone {
            if holders.contains_key(phone) {
                return Err(Refusal::duplicate_phone(phone));
            }
            holders.insert(phone.to_owned(), id.to_owned());
            user.phone = Some(phone.to_owned());
        }
        Ok(())
    }

    /// The users, to change them by hand: past the contract.
    pub(crate) fn by_hand(&mut self) -> &mut BTreeMap<String, User> {
        self.holders = None;
        &mut self.all
    }

    /// `PATCH /v3/users/bulk_delete`: the ids that were absent, in the order of the request.
    pub(crate) fn bulk_delete<'a>(&mut self, ids: &'a [Value], variant: &Variant) -> Result<Vec<&'a str>, Refusal> {
        check_batch(ids, variant, Value::as_str)?;
        let wrong: Vec<_> = ids.iter().enumerate().filter(|(_, id)| !id.is_string()).collect();
        if !wrong.is_empty() {
            let wrong = wrong.iter().map(|(index, _)| (*index, vec!["id".to_owned()]));
            return Err(Refusal::invalid_users(&wrong.collect::<Vec<_>>()));
        }
        Ok(ids
            .iter()
            .filter_map(Value::as_str)
            .filter(|id| !self.delete(id))
            .collect())
    }

    /// `DELETE /v3/users/:id`: whether the user was there.
    pub(crate) fn delete(&mut self, id: &str) -> bool {
        let Some(user) = self.all.remove(id) else {
            return false;
        };
        if let (Some(holders), Some(phone)) = (&mut self.holders, &user.phone)
            && holders.get(phone).is_some_and(|holder| holder == id)
        {
            holders.remove(phone);
        }
        if user.origin == Origin::Foreign {
            self.foreign_touched.insert(id.to_owned());
        }
        true
    }
}

fn holders_of(all: &BTreeMap<String, User>) -> HashMap<String, String> {
    all.iter()
        .filter_map(|(id, user)| Some((user.phone.clone()?, id.clone())))
        .collect()
}

/// What holds for both batch calls: not empty, not too many, no id twice.
fn check_batch<'a>(
    entries: &'a [Value],
    variant: &Variant,
    id: impl Fn(&'a Value) -> Option<&'a str>,
) -> Result<(), Refusal> {
    if entries.is_empty() {
        return Err(Refusal::invalid_users(&[]));
    }
    if entries.len() > variant.batch_limit {
        return Err(Refusal::too_many(entries.len(), variant.batch_limit));
    }
    let mut seen = BTreeSet::new();
    if entries.iter().filter_map(id).all(|id| seen.insert(id)) {
        Ok(())
    } else {
        Err(Refusal::server_fault())
    }
}

fn validate<'a>(entries: &'a [Value], variant: &Variant) -> Result<Vec<Entry<'a>>, Refusal> {
    let (mut valid, mut invalid, mut malformed_phone) = (Vec::new(), Vec::new(), false);
    for (index, entry) in entries.iter().enumerate() {
        let mut fields = Vec::new();
        let mut text = |field: &'static str| {
            let text = entry[field].as_str();
            let text = text.filter(|text| !text.trim().is_empty() && text.chars().count() <= LONGEST);
            if text.is_none() {
                fields.push(field.to_owned());
            }
            text
        };
        let (id, name) = (text("id"), text("name"));
        let phone = entry.get("phone");
        let digits = phone.and_then(Value::as_str).filter(|phone| is_phone(phone));
        if phone.is_some() && digits.is_none() {
            malformed_phone = true;
            if variant.malformed_phone == MalformedPhone::Refused {
                fields.push("phone".to_owned());
            }
        }
        match (id, name) {
            (Some(id), Some(name)) if fields.is_empty() => valid.push(Entry {
                id,
                name,
                phone: digits,
            }),
            _ => invalid.push((index, fields)),
        }
    }
    if !invalid.is_empty() {
        return Err(Refusal::invalid_users(&invalid));
    }
    if malformed_phone && variant.malformed_phone == MalformedPhone::RefusedSilently {
        return Err(Refusal::new(400, "", ""));
    }
    Ok(valid)
}

/// Bare international digits: 8 to 15 of them, the first no zero.
pub(crate) fn is_phone(text: &str) -> bool {
    (8..=15).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}
