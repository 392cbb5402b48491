//! The items of `check`, and how they are shown.

use serde_json::{Value, json};

use super::super::{
    page::{Mark, Page},
    text::printable,
};

/// Columns of the sign and the labels.
pub(super) const MARGIN: usize = 16;

/// What an item is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Configuration,
    Files,
    Schedule,
    Crm,
    CrmQuery,
    CrmTable,
    CrmRole,
    Rows,
    Phones,
    State,
    StateAccess,
    Account,
    Lease,
    Wazzup,
    ApiKey,
    List,
    Seats,
    NextCycle,
    Held,
}

impl Subject {
    fn label(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Files => "Files",
            Self::Schedule => "Schedule",
            Self::Crm => "CRM",
            Self::CrmQuery => "CRM query",
            Self::CrmTable => "CRM table",
            Self::CrmRole => "CRM role",
            Self::Rows => "Rows",
            Self::Phones => "Phones",
            Self::State => "State",
            Self::StateAccess => "State access",
            Self::Account => "Account",
            Self::Lease => "Lease",
            Self::Wazzup => "Wazzup",
            Self::ApiKey => "API key",
            Self::List => "User list",
            Self::Seats => "Seats",
            Self::NextCycle => "Next cycle",
            Self::Held => "Held",
        }
    }

    /// As the JSON names it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Files => "files",
            Self::Schedule => "schedule",
            Self::Crm => "crm",
            Self::CrmQuery => "crm_query",
            Self::CrmTable => "crm_table",
            Self::CrmRole => "crm_role",
            Self::Rows => "rows",
            Self::Phones => "phones",
            Self::State => "state",
            Self::StateAccess => "state_access",
            Self::Account => "account",
            Self::Lease => "lease",
            Self::Wazzup => "wazzup",
            Self::ApiKey => "api_key",
            Self::List => "user_list",
            Self::Seats => "seats",
            Self::NextCycle => "next_cycle",
            Self::Held => "held",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Item {
    subject: Subject,
    mark: Mark,
    message: String,
    remedy: Option<String>,
}

/// Everything that was looked at.
#[derive(Debug, Default)]
pub(super) struct Report {
    items: Vec<Item>,
}

impl Report {
    pub(super) fn good(&mut self, subject: Subject, message: impl Into<String>) {
        self.add(subject, Mark::Good, message.into(), None);
    }

    /// It works, and somebody should look at it.
    pub(super) fn warning(&mut self, subject: Subject, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(subject, Mark::Warning, message.into(), Some(remedy.into()));
    }

    pub(super) fn failed(&mut self, subject: Subject, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(subject, Mark::Bad, message.into(), Some(remedy.into()));
    }

    fn add(&mut self, subject: Subject, mark: Mark, message: String, remedy: Option<String>) {
        self.items.push(Item {
            subject,
            mark,
            message,
            remedy,
        });
    }

    /// Whether nothing failed.
    pub(super) fn is_ok(&self) -> bool {
        self.count(Mark::Bad) == 0
    }

    fn count(&self, mark: Mark) -> usize {
        self.items.iter().filter(|item| item.mark == mark).count()
    }

    pub(super) fn write(&self, page: &mut Page) {
        for item in &self.items {
            page.item(item.mark, item.subject.label(), &printable(&item.message));
            if let Some(remedy) = &item.remedy {
                page.remedy(&printable(remedy));
            }
        }
        page.blank();
        page.paragraph(&self.summary());
    }

    fn summary(&self) -> String {
        let warnings = match self.count(Mark::Warning) {
            0 => String::new(),
            1 => ", and there is 1 warning".to_owned(),
            warnings => format!(", and there are {warnings} warnings"),
        };
        match self.count(Mark::Bad) {
            0 => format!("Everything that a cycle needs is there{warnings}."),
            1 => format!("1 item has to be corrected{warnings}."),
            failed => format!("{failed} items have to be corrected{warnings}."),
        }
    }

    pub(super) fn to_json(&self, next_cycle: &Value) -> Value {
        let items = self.items.iter().map(|item| {
            json!({
                "item": item.subject.as_str(),
                "status": match item.mark {
                    Mark::Good => "ok",
                    Mark::Warning => "warning",
                    Mark::Bad => "failed",
                },
                "message": item.message,
                "remedy": item.remedy,
            })
        });
        json!({
            "version": 1,
            "ok": self.is_ok(),
            "items": items.collect::<Vec<_>>(),
            "next_cycle": next_cycle,
        })
    }
}
