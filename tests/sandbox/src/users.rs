//! The users of an account, and what the contract lets a request do to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::{Answer, named_entries};
use crate::log::{Kind, Request, id_of};
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
    /// Seeded by the test as somebody whom no synchronization may touch.
    pub is_foreign: bool,
}

impl User {
    pub(crate) fn new(name: &str, phone: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            phone: phone.map(ToOwned::to_owned),
            role: "seller".to_owned(),
            is_foreign: false,
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
    pub(crate) foreign_touched: BTreeSet<String>,
    users: BTreeMap<String, User>,
    /// Phone and id of every user who has a phone.
    phones: BTreeSet<(String, String)>,
    /// Who stood where the current request made a change, in the order of the changes.
    replaced: Vec<(String, Option<User>)>,
}

impl Account {
    pub(crate) fn users(&self) -> &BTreeMap<String, User> {
        &self.users
    }

    /// Puts a user in the place of the one with this id, or removes that one. Returns whether there was one.
    pub(crate) fn replace(&mut self, id: &str, user: Option<User>) -> bool {
        let phone = user.as_ref().and_then(|user| user.phone.clone());
        let before = match user {
            Some(user) => self.users.insert(id.to_owned(), user),
            None => self.users.remove(id),
        };
        if let Some(phone) = before.as_ref().and_then(|user| user.phone.clone()) {
            self.phones.remove(&(phone, id.to_owned()));
        }
        self.phones.extend(phone.map(|phone| (phone, id.to_owned())));
        let was_there = before.is_some();
        self.replaced.push((id.to_owned(), before));
        was_there
    }

    fn has_phone_of_another(&self, id: &str, phone: &str) -> bool {
        let from = (phone.to_owned(), String::new());
        let mut holders = self.phones.range(from..).take_while(|(held, _)| held == phone);
        holders.any(|(_, holder)| holder != id)
    }

    /// Carries a request out. An `Err` is the answer to one that was refused.
    pub(crate) fn serve(&mut self, request: &Request, variant: &Variant) -> Result<Answer, Answer> {
        self.replaced.clear();
        let id = request.ids.first().map_or("", String::as_str);
        let result = match request.kind {
            Kind::List => Ok(self.list(request.offset(), variant)),
            Kind::Post => self.upsert(&request.entries, variant),
            Kind::BulkDelete => self.bulk_delete(&request.entries, variant),
            Kind::GetUser => match self.users.get(id) {
                Some(user) => Ok(Answer::new(200, user.to_json(id, variant, true).to_string())),
                None => Err(variant.errors.refusal(404, "USER_NOT_FOUND", &Value::Null)),
            },
            Kind::Delete if self.replace(id, None) => Ok(Answer::new(200, "")),
            Kind::Delete => Err(variant.errors.refusal(404, "USER_NOT_FOUND", &Value::Null)),
            Kind::Unknown => Err(variant.errors.refusal(404, "NOT_FOUND", &Value::Null)),
        };
        let mut replaced = std::mem::take(&mut self.replaced);
        if result.is_err() && variant.atomic {
            while let Some((id, before)) = replaced.pop() {
                self.replace(&id, before);
            }
        }
        for (id, before) in replaced {
            if before.is_some_and(|user| user.is_foreign && self.users.get(&id) != Some(&user)) {
                self.foreign_touched.insert(id);
            }
        }
        result
    }

    fn list(&self, offset: usize, variant: &Variant) -> Answer {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_by_key(|(id, user)| (&user.name, *id));
        let count = i64::try_from(users.len()).unwrap_or(i64::MAX) + variant.count_off_by;
        if variant.list != ListStyle::Array {
            let offset = if variant.offset_ignored { 0 } else { offset };
            users = users.into_iter().skip(offset).take(PAGE).collect();
        }
        let mut items = Vec::new();
        for (id, user) in users {
            items.push(user.to_json(id, variant, variant.list_phones));
        }
        let body = match variant.list {
            ListStyle::Array | ListStyle::ArrayPaged => Value::Array(items),
            ListStyle::Pages => json!({"count": count, "data": items}),
            ListStyle::PagesTextCount => json!({"count": count.to_string(), "data": items}),
        };
        Answer::new(200, body.to_string())
    }

    fn bulk_delete(&mut self, ids: &[Value], variant: &Variant) -> Result<Answer, Answer> {
        check_batch(ids, variant)?;
        if let Some(index) = ids.iter().position(|id| !id.is_string()) {
            return Err(invalid_users(&[(index, vec!["id".to_owned()])], variant));
        }
        let mut absent = Vec::new();
        for id in ids.iter().filter_map(Value::as_str) {
            if !self.replace(id, None) && variant.names_absent {
                absent.push(id_to_json(id, variant));
            }
        }
        Ok(Answer::new(200, Value::Array(absent).to_string()))
    }

    /// A `POST`. A refused one may have carried out some of its entries.
    fn upsert(&mut self, entries: &[Value], variant: &Variant) -> Result<Answer, Answer> {
        check_batch(entries, variant)?;
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
        let before = self.users.get(id);
        if before.is_none() && self.users.len() >= variant.seats {
            return Err(seats_exceeded(variant));
        }
        if variant.unique_phones && phone.is_some_and(|phone| self.has_phone_of_another(id, phone)) {
            let data = json!({"phone": phone});
            return Err(variant.errors.refusal(400, "DUPLICATE_PHONE_NUMBER", &data));
        }
        let mut user = before.cloned().unwrap_or_else(|| User::new(name, None));
        name.clone_into(&mut user.name);
        if phone.is_some() || variant.omitted_phone == OmittedPhone::Clears {
            user.phone = phone.map(ToOwned::to_owned);
        }
        self.replace(id, Some(user));
        Ok(())
    }
}

fn invalid_users(entries: &[(usize, Vec<String>)], variant: &Variant) -> Answer {
    let entries = entries.iter();
    let indexed = entries.filter_map(|(index, fields)| Some((i64::try_from(*index).ok()?, fields)));
    let data = named_entries(indexed);
    variant.errors.refusal(400, "INVALID_USERS_DATA", &data)
}

fn seats_exceeded(variant: &Variant) -> Answer {
    let data = variant.limit_named.then(|| json!({"limit": variant.seats}));
    let data = data.unwrap_or_default();
    variant.errors.refusal(400, "USER_LIMIT_EXCEEDED", &data)
}

/// Checks both batch calls: not empty, not too many, no id twice.
fn check_batch(entries: &[Value], variant: &Variant) -> Result<(), Answer> {
    if entries.is_empty() {
        return Err(invalid_users(&[], variant));
    }
    if entries.len() > variant.batch_limit {
        let data = json!({"count": entries.len(), "limit": variant.batch_limit});
        return Err(variant.errors.refusal(400, "TOO_MANY_ENTITIES", &data));
    }
    let mut seen = BTreeSet::new();
    if entries.iter().filter_map(id_of).all(|id| seen.insert(id)) {
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
