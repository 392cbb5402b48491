//! What Wazzup itself showed in this cycle: its list, and the answers to single look-ups.

use std::collections::BTreeMap;

/// Wazzup's own view of the account, as far as it was asked for in this cycle. `Debug` hides the names.
#[derive(derive_more::Debug, Clone, Default)]
pub struct RemoteList {
    /// By id: everybody whom the list showed or who was looked up.
    #[debug("{} ids", entries.len())]
    entries: BTreeMap<String, ListEntry>,
    /// Why users could not be looked up, if the service was not available.
    pub look_up_failure: Option<String>,
    coverage: Coverage,
    /// The fingerprint of the address and the key it was read with.
    pub fingerprint: String,
    /// Read on schedule, not because an addition asked for it. Only then is a full account tried again, apart from an
    /// operator's retry.
    pub scheduled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ListEntry {
    Named(String),
    /// A look-up was answered with 404.
    NotFound,
    /// A look-up got no answer.
    Unanswered,
}

/// How much a list proves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Coverage {
    /// No list was read in this cycle.
    #[default]
    Unread,
    /// The list could not be had; why.
    Unavailable(String),
    /// It does not prove to be complete; why.
    Incomplete(String),
    /// Who is not in the list is not in the account.
    Complete,
}

/// What is known about one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting<'a> {
    /// The user exists, under this name.
    Named(&'a str),
    Absent,
    /// Nothing of this cycle tells.
    Unknown,
}

impl RemoteList {
    pub fn unread(fingerprint: &str) -> Self {
        Self {
            fingerprint: fingerprint.to_owned(),
            ..Self::default()
        }
    }

    /// Takes in what a list showed: `names` by id.
    pub fn add_list(&mut self, names: BTreeMap<String, String>, coverage: Coverage) {
        let entries = names.into_iter().map(|(id, name)| (id, ListEntry::Named(name)));
        self.entries.extend(entries);
        self.coverage = coverage;
    }

    /// Takes in the answer to a look-up: `None` is 404.
    pub fn add_look_up(&mut self, id: &str, name: Option<String>) {
        let is_new = !matches!(self.entries.get(id), Some(ListEntry::Named(_)));
        if is_new && name.is_some() && self.is_complete() {
            self.coverage = Coverage::Incomplete("a user exists whom the list does not show".to_owned());
        }
        let entry = name.map_or(ListEntry::NotFound, ListEntry::Named);
        self.entries.insert(id.to_owned(), entry);
    }

    /// A look-up gave no answer: it is not asked again in this cycle.
    pub fn add_unanswered(&mut self, id: &str) {
        self.entries.insert(id.to_owned(), ListEntry::Unanswered);
    }

    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Whether a list was asked for in this cycle, with whatever result.
    pub fn was_requested(&self) -> bool {
        self.coverage != Coverage::Unread
    }

    /// Whether the service answered with a list, complete or not.
    pub fn was_answered(&self) -> bool {
        matches!(self.coverage, Coverage::Incomplete(_) | Coverage::Complete)
    }

    /// Whether who is not in the list is not in the account.
    pub fn is_complete(&self) -> bool {
        self.coverage == Coverage::Complete
    }

    pub fn users(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|(id, entry)| match entry {
            ListEntry::Named(name) => Some((id.as_str(), name.as_str())),
            ListEntry::NotFound | ListEntry::Unanswered => None,
        })
    }

    pub fn find(&self, id: &str) -> Sighting<'_> {
        match self.entries.get(id) {
            Some(ListEntry::Named(name)) => Sighting::Named(name),
            Some(ListEntry::NotFound) => Sighting::Absent,
            Some(ListEntry::Unanswered) | None if self.is_complete() => Sighting::Absent,
            Some(ListEntry::Unanswered) | None => Sighting::Unknown,
        }
    }

    /// Whether the list shows `id`, or a look-up was tried in this cycle.
    pub fn has_entry(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// Whether a look-up was answered with 404. A list may lack somebody who is there.
    pub fn was_not_found(&self, id: &str) -> bool {
        self.entries.get(id) == Some(&ListEntry::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(coverage: Coverage) -> RemoteList {
        let mut list = RemoteList::unread("ours");
        list.add_list(BTreeMap::from([("1".to_owned(), "Anna".to_owned())]), coverage);
        list
    }

    #[test]
    fn only_a_complete_list_or_a_look_up_shows_that_somebody_is_absent() {
        let mut incomplete = list(Coverage::Incomplete("cut short".to_owned()));
        assert_eq!(incomplete.find("1"), Sighting::Named("Anna"));
        assert_eq!(incomplete.find("2"), Sighting::Unknown);
        incomplete.add_look_up("2", None);
        assert_eq!(incomplete.find("2"), Sighting::Absent);
        assert!(incomplete.was_not_found("2"));
        let complete = list(Coverage::Complete);
        assert_eq!(complete.find("2"), Sighting::Absent);
        assert!(!complete.was_not_found("2"));
    }

    #[test]
    fn a_list_that_lacks_a_user_who_exists_is_not_complete() {
        let mut list = list(Coverage::Complete);
        list.add_look_up("1", Some("Anna".to_owned()));
        assert!(list.is_complete());
        list.add_look_up("2", Some("Boris".to_owned()));
        assert!(!list.is_complete() && list.was_answered());
        assert_eq!(list.users().collect::<Vec<_>>(), [("1", "Anna"), ("2", "Boris")]);
    }

    #[test]
    fn nobody_is_looked_up_twice() {
        let mut list = list(Coverage::Unavailable("no answer".to_owned()));
        assert!(list.has_entry("1") && !list.has_entry("2"));
        list.add_unanswered("2");
        list.add_look_up("3", None);
        assert!(list.has_entry("2") && list.has_entry("3"));
        // No answer tells nothing.
        assert_eq!(list.find("2"), Sighting::Unknown);
    }

    #[test]
    fn a_list_may_be_unread_unavailable_incomplete_or_complete() {
        let unread = RemoteList::unread("ours");
        assert_eq!((unread.fingerprint.as_str(), unread.scheduled), ("ours", false));
        assert!(unread.users().next().is_none() && !unread.was_requested() && !unread.was_answered());
        let unavailable = list(Coverage::Unavailable("no answer".to_owned()));
        assert!(unavailable.users().next().is_some() && unavailable.was_requested() && !unavailable.was_answered());
        let incomplete = list(Coverage::Incomplete("cut short".to_owned()));
        assert!(incomplete.was_requested() && incomplete.was_answered() && !incomplete.is_complete());
        let complete = list(Coverage::Complete);
        assert!(complete.was_requested() && complete.was_answered() && complete.is_complete());
        assert_eq!(complete.coverage(), &Coverage::Complete);
    }
}
