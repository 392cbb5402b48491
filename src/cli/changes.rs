//! What changes about a user: old value → new value.

use super::text::printable;
use crate::plan::{Acknowledged, PlannedUpsert};

/// One field of a user that gets another value. `None` stands for no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldChange {
    pub(super) field: &'static str,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

/// What sending a user changes of what Wazzup acknowledged.
pub(super) fn changes_of(upsert: &PlannedUpsert) -> Vec<FieldChange> {
    let employee = &upsert.entry.employee;
    let phone = employee.phone.map(|phone| phone.to_string());
    changes(upsert.before.as_ref(), employee.name.to_string(), phone)
}

/// What differs between what Wazzup acknowledged and the new name and phone.
pub(super) fn changes(before: Option<&Acknowledged>, name: String, phone: Option<String>) -> Vec<FieldChange> {
    let old_phone = before.and_then(|before| before.phone).map(|phone| phone.to_string());
    let fields = [
        FieldChange {
            field: "name",
            from: before.map(|before| before.name.to_string()),
            to: Some(name),
        },
        FieldChange {
            field: "phone",
            from: old_phone,
            to: phone,
        },
    ];
    fields.into_iter().filter(|change| change.from != change.to).collect()
}

/// `name: “Anna” → “Anne”, phone: none → “79261234567”`.
pub(super) fn described(changes: &[FieldChange]) -> String {
    let texts: Vec<String> = changes
        .iter()
        .map(|change| {
            format!(
                "{}: {} → {}",
                change.field,
                value(change.from.as_deref()),
                value(change.to.as_deref())
            )
        })
        .collect();
    texts.join(", ")
}

fn value(value: Option<&str>) -> String {
    value.map_or_else(|| "none".to_owned(), |text| format!("“{}”", printable(text)))
}
