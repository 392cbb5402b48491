//! What changes about a user: old value → new value.

use serde::Serialize;

use super::text::printable;
use crate::plan::Acknowledged;

/// What sending a user changes of what Wazzup acknowledged.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<ChangedValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<ChangedValue>,
}

/// `None` stands for no value.
#[derive(Debug, Serialize)]
struct ChangedValue {
    from: Option<String>,
    to: Option<String>,
}

impl ChangedValue {
    fn between(from: Option<String>, to: Option<String>) -> Option<Self> {
        (from != to).then_some(Self { from, to })
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none() && self.phone.is_none()
    }
}

/// What differs between what Wazzup acknowledged and the new name and phone.
pub(super) fn changes(before: Option<&Acknowledged>, name: String, phone: Option<String>) -> Changes {
    let old_name = before.map(|before| before.name.to_string());
    let old_phone = before.and_then(|before| before.phone).map(|phone| phone.to_string());
    Changes {
        name: ChangedValue::between(old_name, Some(name)),
        phone: ChangedValue::between(old_phone, phone),
    }
}

/// `name: “Anna” → “Anne”, phone: none → “79261234567”`.
pub(super) fn described(changes: &Changes) -> String {
    let mut texts = Vec::new();
    for (field, change) in [("name", &changes.name), ("phone", &changes.phone)] {
        if let Some(ChangedValue { from, to }) = change {
            texts.push(format!(
                "{field}: {} → {}",
                quoted(from.as_deref()),
                quoted(to.as_deref())
            ));
        }
    }
    texts.join(", ")
}

fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "none".to_owned(), |text| format!("“{}”", printable(text)))
}
