//! The users of an account, and what the contract lets a request do to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::{Answer, named_entries};
use crate::variant::{ListStyle, MalformedPhone, OmittedPhone, PostAnswer, Variant};

/// The longest id and name, in characters.
const LONGEST: usize = 200;

/// The page size of a paged list.
const PAGE: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub name: String,
    /// Bare international digits.
    pub phone: Option<String>,
    /// `seller` at first. An administrator changes it by hand; deleting the user loses it.
    pub role: String,
    pub origin: Origin,
}

/// Who made a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// A `POST`.
    Api,
    /// The test, as an administrator would in the cabinet.
    Hand,
    /// The test, as somebody whom no synchronization may touch.
    Foreign,
}

impl User {
    pub(crate) fn new(name: &str, phone: Option<&str>, origin: Origin) -> Self {
        Self {
            name: name.to_owned(),
            phone: phone.map(ToOwned::to_owned),
            role: "seller".to_owned(),
            origin,
        }
    }

    fn to_json(&self, id: &str, variant: &Variant, with_phone: bool) -> Value {
        let mut json = json!({"id": id_to_json(id, variant), "name": self.name});
        if with_phone && let Some(phone) = &self.phone {
            json["phone"] = json!(phone);
        }
        json
    }
}

/// A number keeps its digits, so `007` stays text.
fn id_to_json(id: &str, variant: &Variant) -> Value {
    match id.parse::<u64>() {
        Ok(number) if variant.numeric_ids && number.to_string() == id => json!(number),
        _ => json!(id),
    }
}

/// Bare international digits: 8 to 15 of them, the first one no zero.
pub(crate) fn is_phone(text: &str) -> bool {
    (8..=15).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The users that one key gives access to.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) key: String,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) foreign_touched: BTreeSet<String>,
}

/// The calls. An `Err` is the answer to a request that was refused, which may have carried out some of its entries: the
/// caller restores the users where the variant is atomic.
impl Account {
    /// `GET /v3/users`
    pub(crate) fn list(&self, offset: usize, variant: &Variant) -> Answer {
        let mut users: Vec<_> = self.users.iter().collect();
        users.retain(|(id, _)| !variant.unlisted.contains(*id));
        users.sort_by_key(|(id, user)| (&user.name, *id));
        let count = i64::try_from(users.len()).unwrap_or(i64::MAX) + variant.count_off_by;

        if variant.list != ListStyle::Array {
            let offset = if variant.offset_ignored { 0 } else { offset };
            users = users.into_iter().skip(offset).take(PAGE).collect();
        }
        let items = users
            .into_iter()
            .map(|(id, user)| user.to_json(id, variant, variant.list_phones));
        let items: Value = items.collect();
        let body = match variant.list {
            ListStyle::Array | ListStyle::ArrayPaged => items,
            ListStyle::Pages => json!({"count": count, "data": items}),
            ListStyle::PagesTextCount => json!({"count": count.to_string(), "data": items}),
        };
        Answer::new(200, body.to_string())
    }

    /// `GET /v3/users/:id`
    pub(crate) fn look_up(&self, id: &str, variant: &Variant) -> Result<Answer, Answer> {
        match self.users.get(id) {
            Some(user) => Ok(Answer::new(200, user.to_json(id, variant, true).to_string())),
            None => Err(variant.errors.refusal(404, "USER_NOT_FOUND", &Value::Null)),
        }
    }

    /// `DELETE /v3/users/:id`
    pub(crate) fn delete(&mut self, id: &str, variant: &Variant) -> Result<Answer, Answer> {
        match self.users.remove(id) {
            Some(_) => Ok(Answer::new(200, "")),
            None => Err(variant.errors.refusal(404, "USER_NOT_FOUND", &Value::Null)),
        }
    }

    /// `PATCH /v3/users/bulk_delete`
    pub(crate) fn bulk_delete(&mut self, ids: &[Value], variant: &Variant) -> Result<Answer, Answer> {
        check_batch(ids, Value::as_str, variant)?;
        if let Some(index) = ids.iter().position(|id| !id.is_string()) {
            return Err(invalid_users(&[(index, vec!["id".to_owned()])], variant));
        }
        let mut absent = Vec::new();
        for id in ids.iter().filter_map(Value::as_str) {
            if self.users.remove(id).is_none() && variant.names_absent {
                absent.push(id_to_json(id, variant));
            }
        }
        Ok(Answer::new(200, Value::Array(absent).to_string()))
    }

    /// `POST /v3/users`
    pub(crate) fn upsert(&mut self, entries: &[Value], variant: &Variant) -> Result<Answer, Answer> {
        check_batch(entries, |entry| entry["id"].as_str(), variant)?;
        if variant.full_refuses_updates && self.users.len() > variant.seats {
            return Err(seats_exceeded(variant));
        }
        let mut refusal = None;
        let mut invalid = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match validate(entry, variant) {
                Ok(entry) => refusal = refusal.or(self.put(&entry, variant).err()),
                Err(fields) => invalid.push((index, fields)),
            }
        }
        if invalid.iter().any(|(_, fields)| !fields.is_empty()) {
            return Err(invalid_users(&invalid, variant));
        }
        if !invalid.is_empty() {
            return Err(Answer::new(400, ""));
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        Ok(match variant.post_answer {
            PostAnswer::Empty => Answer::new(200, ""),
            PostAnswer::Text => Answer::new(201, "Created"),
            PostAnswer::Json => Answer::new(200, r#"{"ok":true}"#),
        })
    }

    /// Carries out one entry, or changes nothing.
    fn put(&mut self, entry: &Entry, variant: &Variant) -> Result<(), Answer> {
        let Entry { id, name, phone } = *entry;
        if !self.users.contains_key(id) && self.users.len() >= variant.seats {
            return Err(seats_exceeded(variant));
        }
        if phone.is_some() && variant.unique_phones {
            let mut users = self.users.iter();
            if users.any(|(other, user)| other != id && user.phone.as_deref() == phone) {
                let data = json!({"phone": phone});
                return Err(variant.errors.refusal(400, "DUPLICATE_PHONE_NUMBER", &data));
            }
        }
        let added = || User::new(name, None, Origin::Api);
        let user = self.users.entry(id.to_owned()).or_insert_with(added);
        name.clone_into(&mut user.name);
        if phone.is_some() || variant.omitted_phone == OmittedPhone::Clears {
            user.phone = phone.map(ToOwned::to_owned);
        }
        Ok(())
    }
}

fn invalid_users(entries: &[(usize, Vec<String>)], variant: &Variant) -> Answer {
    let data = named_entries(entries);
    variant.errors.refusal(400, "INVALID_USERS_DATA", &data)
}

fn seats_exceeded(variant: &Variant) -> Answer {
    let limit = variant.limit_named.then(|| json!({"limit": variant.seats}));
    let data = limit.unwrap_or_default();
    variant.errors.refusal(400, "USER_LIMIT_EXCEEDED", &data)
}

/// Checks both batch calls: not empty, not too many, no id twice.
fn check_batch(entries: &[Value], id: fn(&Value) -> Option<&str>, variant: &Variant) -> Result<(), Answer> {
    if entries.is_empty() {
        return Err(invalid_users(&[], variant));
    }
    if entries.len() > variant.batch_limit {
        let data = json!({"count": entries.len(), "limit": variant.batch_limit});
        return Err(variant.errors.refusal(400, "TOO_MANY_ENTITIES", &data));
    }
    let mut seen = BTreeSet::new();
    if entries.iter().filter_map(id).all(|id| seen.insert(id)) {
        return Ok(());
    }
    Err(variant.errors.refusal(500, "INTERNAL_SERVER_ERROR", &Value::Null))
}

/// One valid entry of a `POST`.
struct Entry<'a> {
    id: &'a str,
    name: &'a str,
    phone: Option<&'a str>,
}

/// An invalid entry comes back as the names of its invalid fields; without any, nothing may be said about it.
fn validate<'a>(entry: &'a Value, variant: &Variant) -> Result<Entry<'a>, Vec<String>> {
    let mut invalid = Vec::new();
    let mut text = |field: &str| {
        let text = entry[field].as_str().unwrap_or_default();
        if text.trim().is_empty() || text.chars().count() > LONGEST {
            invalid.push(field.to_owned());
        }
        text
    };
    let (id, name) = (text("id"), text("name"));
    let phone = entry["phone"].as_str().filter(|phone| is_phone(phone));
    let is_malformed = phone.is_none() && entry.get("phone").is_some();
    match variant.malformed_phone {
        MalformedPhone::Refused if is_malformed => invalid.push("phone".to_owned()),
        MalformedPhone::RefusedSilently if is_malformed => return Err(invalid),
        _ if invalid.is_empty() => return Ok(Entry { id, name, phone }),
        _ => {}
    }
    Err(invalid)
}
