//! What the state knows of Wazzup: the users we manage and the failures that are open.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::employee::{EmployeeId, FullName, Phone, Spelling};

/// The users we manage, sorted by id, and the removals that the brake counts.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// One for each row in `users`, sorted by id.
    pub users: Vec<Managed>,
    /// Removals of the last 24 hours that nobody approved.
    pub recent_removals: usize,
}

impl Snapshot {
    /// The user with this id, if we manage it.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Managed> {
        let found = self.users.binary_search_by(|user| user.id.as_str().cmp(id));
        found.ok().map(|index| &self.users[index])
    }

    /// As [`Self::get`], to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Managed> {
        let found = self.users.binary_search_by(|user| user.id.as_str().cmp(id));
        found.ok().map(|index| &mut self.users[index])
    }
}

/// A user we manage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// The user's id.
    pub id: EmployeeId,
    /// What Wazzup last acknowledged; `None` if it never did.
    pub acknowledged: Option<Acknowledged>,
    /// How the CRM spelt the acknowledged phone.
    pub spelling: Option<Spelling>,
    /// What is out of the ordinary; absent for most, which keeps a big snapshot small.
    rare: Option<Box<Marks>>,
}

/// A user as Wazzup acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The name.
    pub name: FullName,
    /// The phone.
    pub phone: Option<Phone>,
}

/// What is out of the ordinary about a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// A request about it may have been sent and was not acknowledged.
    pub in_doubt: Option<InDoubt>,
    /// When an upsert of it last ended without an answer: it may still land within 2 × time-out.
    pub unknown_at: Option<Timestamp>,
    /// Wazzup's own list did not have it.
    pub missing_since: Option<Timestamp>,
    /// The CRM does not have it.
    pub absent_since: Option<Timestamp>,
    /// The brake holds its removal.
    pub held_since: Option<Timestamp>,
    /// An operator approved its removal.
    pub approved_at: Option<Timestamp>,
    /// Removed, but an upsert may have landed after that: to be removed once more at this time.
    pub remove_again_at: Option<Timestamp>,
}

/// What may have reached Wazzup unacknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    /// Since when.
    pub since: Timestamp,
    /// Each name that was intended since then.
    pub names: Vec<FullName>,
    /// Each phone that was intended since then.
    pub phones: Vec<Phone>,
}

static ORDINARY: Marks = Marks {
    in_doubt: None,
    unknown_at: None,
    missing_since: None,
    absent_since: None,
    held_since: None,
    approved_at: None,
    remove_again_at: None,
};

impl Managed {
    /// A user without anything out of the ordinary.
    #[must_use]
    pub fn new(id: EmployeeId, acknowledged: Option<Acknowledged>, spelling: Option<Spelling>) -> Self {
        Self {
            id,
            acknowledged,
            spelling,
            rare: None,
        }
    }

    /// The same user with these marks.
    #[must_use]
    pub fn with_marks(mut self, marks: Marks) -> Self {
        self.rare = (marks != ORDINARY).then(|| Box::new(marks));
        self
    }

    /// What is out of the ordinary.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        self.rare.as_deref().unwrap_or(&ORDINARY)
    }

    /// The marks, to change them.
    pub fn marks_mut(&mut self) -> &mut Marks {
        self.rare.get_or_insert_default()
    }

    /// Whether an upsert of it takes a seat: Wazzup never acknowledged it, or lost it.
    #[must_use]
    pub fn takes_a_seat(&self) -> bool {
        self.acknowledged.is_none() || self.marks().missing_since.is_some()
    }

    /// Each phone that it may hold in Wazzup: the acknowledged one, and while it is in doubt the intended ones.
    pub fn phones(&self) -> impl Iterator<Item = Phone> {
        let acknowledged = self.acknowledged.as_ref().and_then(|it| it.phone);
        let intended = self.marks().in_doubt.iter().flat_map(|it| it.phones.iter().copied());
        acknowledged.into_iter().chain(intended)
    }
}

/// What a failure is about. `Seat` is no failure of the employee's data: it waits for room in the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Adding or changing the user.
    Upsert,
    /// Removing the user.
    Remove,
    /// Only the user's phone; with no phone attempted, giving one up.
    Phone,
    /// Waiting for a seat.
    Seat,
}

impl Operation {
    /// As the state and `status` write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Remove => "remove",
            Self::Phone => "phone",
            Self::Seat => "seat",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Upsert, Self::Remove, Self::Phone, Self::Seat]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// An open failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Found in the CRM's own rows: it opens and closes with them, and has no ladder.
    pub local: bool,
    /// The code.
    pub code: String,
    /// The name that was attempted.
    pub name: Option<FullName>,
    /// The phone that was attempted.
    pub phone: Option<Phone>,
    /// How often it was attempted with these values.
    pub attempts: u32,
    /// When it is tried again; `None` for a local one.
    pub next_attempt_at: Option<Timestamp>,
}

impl Failure {
    /// Whether it is left alone at `now`.
    #[must_use]
    pub fn backs_off(&self, now: Timestamp) -> bool {
        !self.local && self.next_attempt_at.is_some_and(|next| next > now)
    }
}

/// The open failures by id and operation. Ids are plain text: a rejected row's id may be none that Wazzup would take.
pub type Failures = BTreeMap<(Box<str>, Operation), Failure>;

/// The failure of `id` at `operation`.
#[must_use]
pub fn failure_of<'a>(failures: &'a Failures, id: &str, operation: Operation) -> Option<&'a Failure> {
    if failures.is_empty() {
        None
    } else {
        failures.get(&(id.into(), operation))
    }
}

/// When a failure is tried again after its `attempts`-th attempt at `now`: after 1 min, 5 min, 30 min, 2 h, 6 h, then
/// daily.
#[must_use]
pub fn next_attempt(attempts: u32, now: Timestamp) -> Timestamp {
    const LADDER_MINUTES: [i64; 6] = [1, 5, 30, 2 * 60, 6 * 60, 24 * 60];
    let rung = (attempts.max(1) as usize - 1).min(LADDER_MINUTES.len() - 1);
    now + jiff::SignedDuration::from_mins(LADDER_MINUTES[rung])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_ends_daily() {
        let minutes = |attempts| next_attempt(attempts, Timestamp::UNIX_EPOCH).as_second() / 60;
        assert_eq!(
            [1, 2, 3, 4, 5, 6, 7, 400].map(minutes),
            [1, 5, 30, 120, 360, 1440, 1440, 1440]
        );
    }

    #[test]
    fn operations_are_read_back() {
        for operation in [Operation::Upsert, Operation::Remove, Operation::Phone, Operation::Seat] {
            assert_eq!(Operation::parse(operation.as_str()), Some(operation));
        }
    }
}
