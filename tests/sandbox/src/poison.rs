//! Users that the service refuses whatever the request says, and how it says so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Answer, Refusal, wild_indexes};
use crate::call::Call;
use crate::variant::ErrorStyle;

/// Users that are refused until the rule is taken away. One of them spoils its whole request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poison {
    /// Refused by these ids…
    #[serde(default)]
    pub ids: BTreeSet<String>,
    /// …or by these names (in a `POST`).
    #[serde(default)]
    pub names: BTreeSet<String>,
    /// The calls that refuse them.
    #[serde(default = "post")]
    pub on: Vec<Target>,
    /// What the request is answered with.
    pub reply: PoisonReply,
}

fn post() -> Vec<Target> {
    vec![Target::Post]
}

/// A call that can be poisoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `POST /v3/users`
    Post,
    /// `PATCH /v3/users/bulk_delete`
    BulkDelete,
    /// `DELETE /v3/users/:id`
    Delete,
}

/// What a poisoned request is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoisonReply {
    /// `INVALID_USERS_DATA` naming every poisoned entry's index, with these fields.
    Named(Vec<String>),
    /// The same, naming only the first one: the others show when it is gone.
    NamedFirst(Vec<String>),
    /// The same, counting from 1: it names an innocent neighbour, or nobody.
    OffByOne(Vec<String>),
    /// `INVALID_USERS_DATA` without `data`.
    NoData,
    /// `INVALID_USERS_DATA` with indexes that are out of range.
    WildIndexes,
    /// 400 without a body.
    EmptyBody,
    /// 400 and a proxy's HTML page.
    Html,
    /// This status and no body: 422, 500…
    Status(u16),
}

impl Poison {
    /// These ids are refused by `POST`.
    #[must_use]
    pub fn ids<S: Into<String>>(ids: impl IntoIterator<Item = S>, reply: PoisonReply) -> Self {
        let ids = ids.into_iter().map(Into::into).collect();
        Self {
            ids,
            names: BTreeSet::new(),
            on: post(),
            reply,
        }
    }

    /// These names are refused by `POST`.
    #[must_use]
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>, reply: PoisonReply) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self {
            ids: BTreeSet::new(),
            names,
            on: post(),
            reply,
        }
    }

    /// Refused by these calls instead.
    #[must_use]
    pub fn on(mut self, targets: &[Target]) -> Self {
        self.on = targets.to_vec();
        self
    }

    /// The answer to a request that holds one of them; `None` if there is none in it.
    pub(crate) fn answer(&self, call: &Call, entries: &[Value], style: ErrorStyle) -> Option<Answer> {
        let poisoned: Vec<usize> = match call {
            Call::Post if self.on.contains(&Target::Post) => {
                let hit = |entry: &Value| has(&self.ids, &entry["id"]) || has(&self.names, &entry["name"]);
                indexes(entries, hit)
            }
            Call::BulkDelete if self.on.contains(&Target::BulkDelete) => indexes(entries, |id| has(&self.ids, id)),
            Call::Delete(id) if self.on.contains(&Target::Delete) && self.ids.contains(id) => vec![0],
            _ => return None,
        };
        let first = *poisoned.first()?;

        let name = |indexes: &[usize], fields: &Vec<String>| {
            let named: Vec<_> = indexes.iter().map(|index| (*index, fields.clone())).collect();
            Refusal::invalid_users(&named)
        };
        let refusal = match &self.reply {
            PoisonReply::Named(fields) => name(&poisoned, fields),
            PoisonReply::NamedFirst(fields) => name(&[first], fields),
            PoisonReply::OffByOne(fields) => {
                let next: Vec<_> = poisoned.iter().map(|index| index + 1).collect();
                name(&next, fields)
            }
            PoisonReply::NoData => Refusal::invalid_users(&[]),
            PoisonReply::WildIndexes => Refusal::invalid_users(&[]).with_data(wild_indexes()),
            PoisonReply::EmptyBody => return Some(Answer::empty(400)),
            PoisonReply::Html => return Some(Answer::html(400)),
            PoisonReply::Status(status) => return Some(Answer::empty(*status)),
        };
        Some(refusal.answer(style))
    }
}

fn has(set: &BTreeSet<String>, value: &Value) -> bool {
    value.as_str().is_some_and(|text| set.contains(text))
}

fn indexes(entries: &[Value], hit: impl Fn(&Value) -> bool) -> Vec<usize> {
    let numbered = entries.iter().enumerate();
    numbered
        .filter(|(_, entry)| hit(entry))
        .map(|(index, _)| index)
        .collect()
}
