//! The users of an account, and what the contract lets a request do to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::{Answer, InvalidEntry, Refusal, answer};
use crate::request::{Kind, Request, id_of};
use crate::variant::{ListStyle, MalformedPhone, OmittedPhone, PostAnswer, Variant};

const MOST_CHARACTERS: usize = 200;

const PAGE_LENGTH: usize = 100;

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
}

impl Account {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..Self::default()
        }
    }

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
        before.is_some()
    }

    fn has_phone_of_another(&self, id: &str, phone: &str) -> bool {
        let from = (phone.to_owned(), String::new());
        let mut holders = self.phones.range(from..).take_while(|(held, _)| held == phone);
        holders.any(|(_, holder)| holder != id)
    }

    /// Carries a request out. An `Err` is the answer to one that was refused.
    pub(crate) fn serve(&mut self, request: &Request, variant: &Variant) -> Result<Answer, Refusal> {
        let before: Vec<_> = request.ids.iter().map(|id| (id, self.users.get(id).cloned())).collect();
        let id = request.ids.first().map_or("", String::as_str);
        let result = match request.kind {
            Kind::List => Ok(self.list(request.offset(), variant)),
            Kind::Post => self.upsert(&request.entries, variant),
            Kind::BulkDelete => self.bulk_delete(&request.entries, variant),
            Kind::GetUser => match self.users.get(id) {
                Some(user) => Ok(answer(200, user.to_json(id, variant, true).to_string())),
                None => Err(Refusal::new(404, "USER_NOT_FOUND", Value::Null)),
            },
            Kind::Delete if self.replace(id, None) => Ok(answer(200, "")),
            Kind::Delete => Err(Refusal::new(404, "USER_NOT_FOUND", Value::Null)),
            Kind::Unknown => Err(Refusal::new(404, "NOT_FOUND", Value::Null)),
        };
        for (id, user) in before {
            if result.is_err() && variant.atomic {
                self.replace(id, user);
            } else if user.is_some_and(|user| user.is_foreign && self.users.get(id) != Some(&user)) {
                self.foreign_touched.insert(id.clone());
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
            users = users.into_iter().skip(offset).take(PAGE_LENGTH).collect();
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
        answer(200, body.to_string())
    }

    fn bulk_delete(&mut self, ids: &[Value], variant: &Variant) -> Result<Answer, Refusal> {
        check_batch(ids, variant)?;
        if let Some((index, _)) = (0..).zip(ids).find(|(_, id)| !id.is_string()) {
            let fields = vec!["id".to_owned()];
            return Err(Refusal::invalid_users(&[InvalidEntry { index, fields }]));
        }
        let mut absent = Vec::new();
        for id in ids.iter().filter_map(Value::as_str) {
            if !self.replace(id, None) && variant.names_absent {
                absent.push(id_to_json(id, variant));
            }
        }
        Ok(answer(200, Value::Array(absent).to_string()))
    }

    /// A `POST`. A refused one may have carried out some of its entries.
    fn upsert(&mut self, entries: &[Value], variant: &Variant) -> Result<Answer, Refusal> {
        check_batch(entries, variant)?;
        if variant.full_refuses_updates && self.users.len() > variant.seats {
            return Err(seats_exceeded(variant));
        }
        let mut refusal = None;
        let mut invalid = Vec::new();
        for (index, entry) in (0..).zip(entries) {
            match validate(entry, variant) {
                Ok(entry) => refusal = refusal.or(self.put(&entry, variant).err()),
                Err(fields) => invalid.push(InvalidEntry { index, fields }),
            }
        }
        if invalid.iter().any(|entry| !entry.fields.is_empty()) {
            return Err(Refusal::invalid_users(&invalid));
        }
        if !invalid.is_empty() {
            return Err(Refusal::new(400, "", Value::Null));
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        Ok(match variant.post_answer {
            PostAnswer::Empty => answer(200, ""),
            PostAnswer::Text => answer(201, "Created"),
            PostAnswer::Json => answer(200, r#"{"ok":true}"#),
        })
    }

    /// Carries out one entry, or changes nothing.
    fn put(&mut self, entry: &Entry, variant: &Variant) -> Result<(), Refusal> {
        let Entry { id, name, phone } = *entry;
        let before = self.users.get(id);
        if before.is_none() && self.users.len() >= variant.seats {
            return Err(seats_exceeded(variant));
        }
        if variant.unique_phones && phone.is_some_and(|phone| self.has_phone_of_another(id, phone)) {
            let data = json!({"phone": phone});
            return Err(Refusal::new(400, "DUPLICATE_PHONE_NUMBER", data));
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

fn seats_exceeded(variant: &Variant) -> Refusal {
    let data = variant.limit_named.then(|| json!({"limit": variant.seats}));
    Refusal::new(400, "USER_LIMIT_EXCEEDED", data.unwrap_or_default())
}

/// Checks both batch calls: not empty, not too many, no id twice.
fn check_batch(entries: &[Value], variant: &Variant) -> Result<(), Refusal> {
    if entries.is_empty() {
        return Err(Refusal::invalid_users(&[]));
    }
    if entries.len() > variant.batch_limit {
        let data = json!({"count": entries.len(), "limit": variant.batch_limit});
        return Err(Refusal::new(400, "TOO_MANY_ENTITIES", data));
    }
    let mut seen = BTreeSet::new();
    if entries.iter().filter_map(id_of).all(|id| seen.insert(id)) {
        return Ok(());
    }
    Err(Refusal::new(500, "INTERNAL_SERVER_ERROR", Value::Null))
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
        if text.trim().is_empty() || text.chars().count() > MOST_CHARACTERS {
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
