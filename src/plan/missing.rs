//! Are the users whom Wazzup's list lacks really gone?

use super::{Sighting, input::Input};
use crate::employee::EmployeeId;

/// The acknowledged users whom a complete list lacks.
#[derive(Debug, Default)]
pub(super) struct MissingUsers {
    pub count: usize,
    /// They are really gone: a look-up of one of them was answered with 404. If none can be looked up, the list alone is
    /// believed.
    pub are_proven: bool,
    /// Who has to be looked up for that.
    pub to_look_up: Option<EmployeeId>,
}

impl MissingUsers {
    pub(super) fn new(input: Input<'_>) -> Self {
        let list = input.list;
        if !list.is_complete() {
            return Self::default();
        }
        let mut missing = input.acknowledged_users();
        missing.retain(|(id, _)| list.find(id.as_str()) == Sighting::Absent);
        let askable = missing.iter().map(|(id, _)| *id).find(|id| id.has_own_url());
        let is_one_absent = missing.iter().any(|(id, _)| list.was_not_found(id.as_str()));
        let was_one_asked = missing.iter().any(|(id, _)| list.has_entry(id.as_str()));
        Self {
            count: missing.len(),
            are_proven: askable.is_none() || is_one_absent,
            to_look_up: askable.filter(|_| !was_one_asked).cloned(),
        }
    }
}
