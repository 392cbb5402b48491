//! Words for people: times, lists of ids, serialised values; and nothing in them that could control a terminal.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(super) use crate::wording::{counted, printable};

/// The order in which people look for ids: numbers within them by value, so that 2 comes before 10.
pub(super) fn natural_order(left: &str, right: &str) -> Ordering {
    alphanumeric_sort::compare_str(left, right)
}

pub(super) fn sort_ids<Id: AsRef<str>>(ids: &mut [Id]) {
    ids.sort_by(|left, right| natural_order(left.as_ref(), right.as_ref()));
}

/// An id that fits into a list: at most 40 characters, printable, and in quotation marks where its bounds would not be seen.
pub(super) fn short_id(id: &str) -> String {
    const MAX_CHARS: usize = 40;
    let mut short = printable(id).into_owned();
    if short.chars().count() > MAX_CHARS {
        short = short.chars().take(MAX_CHARS - 1).collect();
        short.push('…');
    }
    if id.contains([' ', ',']) {
        short = format!("“{short}”");
    }
    short
}

/// The first few ids in natural order, and how many more there are: `2, 10, … and 7 more`.
pub(super) fn listed_ids<Id: AsRef<str>>(ids: impl IntoIterator<Item = Id>) -> String {
    const MOST: usize = 8;
    let mut ids: Vec<Id> = ids.into_iter().collect();
    sort_ids(&mut ids);
    let shown: Vec<String> = ids.iter().take(MOST).map(|id| short_id(id.as_ref())).collect();
    let shown = shown.join(", ");
    match ids.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown}, … and {more} more"),
    }
}

/// `12 s`, `3 min`, `1 h 30 min`, `12 h`, `2 days`.
pub(super) fn in_words(duration: SignedDuration) -> String {
    match duration.as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..36_000 if seconds % 3_600 >= 60 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", in_words(now.duration_since(at)))
}

/// `in 3 min`, or `in the next cycle`.
pub(super) fn until(now: Timestamp, at: Timestamp) -> String {
    if at <= now {
        "in the next cycle".to_owned()
    } else {
        format!("in {}", in_words(at.duration_since(now)))
    }
}

/// `Anna, phone 79261234567, synced 1 h ago`: what a serialised value says. Times are told from `now`. What is empty, zero or
/// false is left out.
pub(super) fn value_in_words(value: &Value, now: Timestamp) -> String {
    match value {
        Value::Null | Value::Bool(_) => String::new(),
        Value::Number(number) if number.as_i64() == Some(0) => String::new(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(at) if at > now => until(now, at),
            Ok(at) => ago(now, at),
            Err(_) => shown(text),
        },
        Value::Array(items) => listed_ids(items.iter().filter_map(Value::as_str)),
        Value::Object(fields) if fields.contains_key("from") => {
            let shown = |value: &Value| value.as_str().map_or("none".to_owned(), |text| format!("“{text}”"));
            format!("{} → {}", shown(&value["from"]), shown(&value["to"]))
        }
        Value::Object(fields) => {
            let parts = fields.iter().map(|(key, value)| field_in_words(key, value, now));
            let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
            parts.join(", ")
        }
    }
}

/// Blanks around an id or a name would not be seen.
fn shown(text: &str) -> String {
    if text.trim() == text {
        text.to_owned()
    } else {
        format!("“{text}”")
    }
}

/// `synced 1 h ago` of `synced_at`, `active` where that is so, `Anna` of `name`.
fn field_in_words(key: &str, value: &Value, now: Timestamp) -> String {
    let words = words_of(key, value, now);
    let label = key.replace('_', " ");
    match value {
        Value::Bool(true) => label,
        Value::Bool(false) if key == "active" => "not active".to_owned(),
        _ if words.is_empty() => words,
        Value::String(text) if key.ends_with("_until") => match text.parse::<Timestamp>() {
            Ok(end) if end <= now => String::new(),
            Ok(end) => format!(
                "{} for {}",
                label.trim_end_matches(" until"),
                in_words(end.duration_since(now))
            ),
            Err(_) => words,
        },
        Value::String(_) if speaks_for_itself(key) => words,
        Value::String(_) if key == "outcome" => words.replace('_', " "),
        Value::String(_) => format!("{} {words}", label.trim_end_matches(" at")),
        _ => format!("{label} {words}"),
    }
}

/// Whether the value of `key` can be read without the key.
fn speaks_for_itself(key: &str) -> bool {
    matches!(
        key,
        "at" | "code" | "detail" | "holder" | "name" | "operation" | "reason" | "status"
    )
}

/// What the value of a field says. An id or a name may look like a time, and is none.
pub(super) fn words_of(key: &str, value: &Value, now: Timestamp) -> String {
    let is_personal = ["id", "name", "phone"]
        .iter()
        .any(|word| key.split('_').any(|part| part == *word));
    match value {
        Value::String(text) if is_personal => shown(text),
        _ => value_in_words(value, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_ids_are_ordered_by_value() {
        let mut ids = [
            "e10",
            "10",
            "2",
            "e2",
            "",
            "02",
            "e2b",
            "1",
            "Ж9",
            "Ж10",
            "99999999999999999999999",
            "e",
        ];
        ids.sort_by(|left, right| natural_order(left, right));
        assert_eq!(
            ids,
            [
                "",
                "1",
                "2",
                "02",
                "10",
                "99999999999999999999999",
                "e",
                "e2",
                "e2b",
                "e10",
                "Ж9",
                "Ж10"
            ]
        );
    }

    #[test]
    fn times_in_words() {
        let words = |seconds| in_words(SignedDuration::from_secs(seconds));
        let all = [-3, 119, 120, 3_599, 5_400, 36_000, 172_799, 172_800].map(words);
        assert_eq!(
            all,
            [
                "0 s",
                "119 s",
                "2 min",
                "59 min",
                "1 h 30 min",
                "10 h",
                "47 h",
                "2 days"
            ]
        );
    }

    #[test]
    fn lists_are_ordered_and_cut() {
        assert_eq!(listed_ids(["10", "2"]), "2, 10");
        assert_eq!(
            listed_ids((1..=9).map(|id| id.to_string())),
            "1, 2, 3, 4, 5, 6, 7, 8, … and 1 more"
        );
        assert_eq!(short_id(&"x".repeat(200)).chars().count(), 40);
        assert_eq!(short_id("c\u{1b}[2J"), "c\\u{1b}[2J");
        assert_eq!(listed_ids(["7 ", "7"]), "7, “7 ”");
    }

    #[test]
    fn what_a_serialised_value_says() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let value = serde_json::json!({
            "name": {"from": "Ann", "to": null},
            "similar_ids": ["10", "7 "],
            "id": " 7",
            "user_id": "2026-03-02T11:00:00Z",
            "absent_since": "2026-03-02T11:00:00Z",
            "next_attempt_at": "2026-03-02T12:05:00Z",
            "may_land_until": "2026-03-02T12:00:30Z",
            "phone": null,
            "attempts": 2,
            "active": false,
            "approved": false,
        });
        let words = "name “Ann” → none, similar ids “7 ”, 10, id “ 7”, user id 2026-03-02T11:00:00Z, absent since 1 h ago, next attempt in 5 min, may land \
                     for 30 s, attempts 2, not active";
        assert_eq!(value_in_words(&value, now), words);
    }
}
