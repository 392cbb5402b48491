//! What is sent about one user.

use serde::Serialize;
use strum::AsRefStr;

use crate::employee::{Employee, EmployeeId, FullName, Phone, Spelling};

/// One entry of an upsert. The journal keeps it serialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchEntry {
    #[serde(flatten)]
    pub employee: Employee,
    /// How the CRM spells the phone that is sent.
    pub phone_spelling: Option<Spelling>,
    pub change: Change,
}

/// What an acknowledged entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsRefStr, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Change {
    /// A new user, who needs a role.
    Add,
    /// A user with the same name was in Wazzup already and is ours now.
    Adopt,
    /// A user with another name was in Wazzup already and is ours now.
    TakeOver,
    /// A user got another name or phone.
    Update,
    /// A phone was given up so that somebody else can have it.
    Release,
    /// The same values once more, since it is not certain that Wazzup has them.
    Resend,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedUpsert {
    pub entry: BatchEntry,
    /// The phone wanted once conflicts in the CRM are resolved, also where it is left out for now.
    pub wanted_phone: Option<Phone>,
    /// It needs a free seat.
    pub takes_seat: bool,
    /// It is sent only if the removals of all these users were accepted before.
    pub waits_for: Vec<EmployeeId>,
    /// The phone is sent only if all these users gave it up before: by a release, or by leaving.
    pub phone_waits_for: Vec<EmployeeId>,
}

impl PlannedUpsert {
    pub fn id(&self) -> &EmployeeId {
        &self.entry.employee.id
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRemoval {
    pub id: EmployeeId,
    /// The last known name, for people.
    pub name: Option<FullName>,
    /// Somebody approved it.
    #[serde(skip)]
    pub approved: bool,
}
