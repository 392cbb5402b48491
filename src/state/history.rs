//! The history: what was delivered, for `explain` and for the brake's 24 hours.

use jiff::Timestamp;

use super::{Error, State};
use crate::postgres::unnamed;

/// What kind of change was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new user.
    Add,
    /// A changed one.
    Update,
    /// A phone given up so that somebody else can have it.
    Release,
}

impl Change {
    /// As the state writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Release => "release",
        }
    }
}

/// A delivered change as `explain` shows it.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// In which cycle.
    pub cycle_id: i64,
    /// `add`, `update`, `release` or `remove`.
    pub operation: String,
    /// `delivered`, or `absent`: it was not there any more.
    pub outcome: String,
    /// The name and the phone before.
    pub before: (Option<String>, Option<String>),
    /// And after.
    pub after: (Option<String>, Option<String>),
}

impl State {
    /// The newest `most` changes of a user, newest first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn history_of(&self, user_id: &str, most: u32) -> Result<Vec<HistoryEntry>, Error> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            "SELECT at, cycle_id, operation, outcome, name_before, phone_before, name_after, phone_after FROM history \
             WHERE account = $1 AND user_id = $2 ORDER BY at DESC, id DESC LIMIT $3",
            self.account,
            user_id,
            i64::from(most)
        )
        .fetch_all(unnamed(&mut tx))
        .await?;
        let entry = rows.into_iter().map(|row| HistoryEntry {
            at: row.at.to_jiff(),
            cycle_id: row.cycle_id,
            operation: row.operation,
            outcome: row.outcome,
            before: (row.name_before, row.phone_before),
            after: (row.name_after, row.phone_after),
        });
        Ok(entry.collect())
    }
}
