//! What changes about a user: old value → new value.

use std::fmt;

use serde::Serialize;

use crate::plan::Acknowledged;

/// What sending a user changes of what Wazzup acknowledged, as in `name: “Anna” → “Anne”, phone: none → “79261234567”`.
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

impl Changes {
    /// What differs between what Wazzup acknowledged and the new name and phone.
    pub(super) fn between(before: Option<&Acknowledged>, name: String, phone: Option<String>) -> Self {
        let old_name = before.map(|before| before.name.to_string());
        let old_phone = before.and_then(|before| before.phone).map(|phone| phone.to_string());
        Self {
            name: ChangedValue::between(old_name, Some(name)),
            phone: ChangedValue::between(old_phone, phone),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none() && self.phone.is_none()
    }
}

impl ChangedValue {
    fn between(from: Option<String>, to: Option<String>) -> Option<Self> {
        (from != to).then_some(Self { from, to })
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |value: &Option<String>| match value {
            Some(value) => format!("“{value}”"),
            None => "none".to_owned(),
        };
        let mut separator = "";
        for (field, change) in [("name", &self.name), ("phone", &self.phone)] {
            if let Some(ChangedValue { from, to }) = change {
                write!(f, "{separator}{field}: {} → {}", quoted(from), quoted(to))?;
                separator = ", ";
            }
        }
        Ok(())
    }
}
