//! The history: what was delivered, for `explain`; and forgetting one person's part of it.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Error, State, Transaction};
use crate::delivery::Change;

/// What was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryOperation {
    Upsert(Change),
    Remove,
}

impl HistoryOperation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert(change) => change.as_str(),
            Self::Remove => "remove",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == Self::Remove.as_str() {
            return Some(Self::Remove);
        }
        let change = text.parse().ok();
        change.map(Self::Upsert)
    }
}

impl Serialize for HistoryOperation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A delivered change of one user. `Debug` hides names and phones.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    pub at: Timestamp,
    pub cycle_id: i64,
    pub operation: HistoryOperation,
    /// Of a removal: the user had been gone before.
    #[serde(rename = "was_absent")]
    pub absent: bool,
    /// Who approved it, where it was held.
    pub approved_by: Option<String>,
    /// As acknowledged before.
    pub name_before: Option<String>,
    /// Never of a removal.
    pub phone_before: Option<String>,
    pub name_after: Option<String>,
    pub phone_after: Option<String>,
}

impl fmt::Debug for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryEntry")
            .field("at", &self.at)
            .field("cycle_id", &self.cycle_id)
            .field("operation", &self.operation)
            .field("absent", &self.absent)
            .field("approved_by", &self.approved_by)
            .finish_non_exhaustive()
    }
}

/// What became of an order to erase somebody's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// They are gone.
    Erased {
        /// From how many rows.
        rows: u64,
    },
    /// Nothing was erased.
    Refused(ErasureRefusal),
}

/// Why somebody's values are still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureRefusal {
    /// The user is managed: still in Wazzup, or possibly so.
    Managed,
    /// The user is part of a request whose answer is outstanding or was lost.
    InLostRequest,
}

impl State {
    /// The newest `most` changes of a user, newest first. There has to be a schema.
    pub async fn history(&self, user_id: &str, most: u32) -> Result<Vec<HistoryEntry>, Error> {
        self.transaction("reading the history of a user", async |tx| {
            tx.load_history(user_id, most).await
        })
        .await
    }

    /// Removes the name and the phone of a departed person. The history's rows stay bare: the brake counts them. Whether the
    /// person is an employee is for the caller to ask.
    pub async fn erase(&self, user_id: &str) -> Result<Erasure, Error> {
        self.transaction("erasing a person's values", async |tx| {
            // No cycle writes meanwhile: each of its transactions changes this row first.
            sqlx::query!("SELECT FROM accounts WHERE account = $1 FOR UPDATE", self.account)
                .execute(tx.executor())
                .await?;
            if let Some(refusal) = tx.find_erasure_refusal(user_id).await? {
                return Ok(Erasure::Refused(refusal));
            }
            let rows = tx.erase_values(user_id).await?;
            Ok(Erasure::Erased { rows })
        })
        .await
    }
}

impl Transaction<'_> {
    async fn load_history(&mut self, user_id: &str, most: u32) -> Result<Vec<HistoryEntry>, Error> {
        let rows = sqlx::query!(
            "SELECT at, cycle_id, operation, outcome, approved_by, name_before, phone_before, name_after, phone_after \
             FROM history WHERE account = $1 AND user_id = $2 ORDER BY at DESC LIMIT $3",
            self.account,
            user_id,
            i64::from(most)
        )
        .fetch_all(self.executor())
        .await?;
        let mut entries = Vec::new();
        for row in rows {
            let Some(operation) = HistoryOperation::parse(&row.operation) else {
                continue;
            };
            entries.push(HistoryEntry {
                at: row.at.to_jiff(),
                cycle_id: row.cycle_id,
                operation,
                absent: row.outcome == "absent",
                approved_by: row.approved_by,
                name_before: row.name_before,
                phone_before: row.phone_before,
                name_after: row.name_after,
                phone_after: row.phone_after,
            });
        }
        Ok(entries)
    }

    async fn find_erasure_refusal(&mut self, user_id: &str) -> Result<Option<ErasureRefusal>, Error> {
        let row = sqlx::query!(
            r#"SELECT EXISTS (SELECT FROM users WHERE account = $1 AND user_id = $2) AS "is_managed!",
                   EXISTS (SELECT FROM lost WHERE account = $1 AND user_id = $2)
                   OR EXISTS (SELECT FROM in_flight_entries WHERE account = $1 AND user_id = $2) AS "is_lost!""#,
            self.account,
            user_id
        )
        .fetch_one(self.executor())
        .await?;
        Ok(match (row.is_managed, row.is_lost) {
            (_, true) => Some(ErasureRefusal::InLostRequest),
            (true, false) => Some(ErasureRefusal::Managed),
            (false, false) => None,
        })
    }

    async fn erase_values(&mut self, user_id: &str) -> Result<u64, Error> {
        let mut rows = 0;
        let history = sqlx::query!(
            "UPDATE history SET name_before = NULL, phone_before = NULL, name_after = NULL, phone_after = NULL \
             WHERE account = $1 AND user_id = $2 \
                 AND num_nonnulls(name_before, phone_before, name_after, phone_after) > 0",
            self.account,
            user_id
        );
        rows += self.run_counted(history).await?;
        let failures = sqlx::query!(
            "DELETE FROM failures WHERE account = $1 AND user_id = $2",
            self.account,
            user_id
        );
        rows += self.run_counted(failures).await?;
        let holds = sqlx::query!(
            "DELETE FROM holds WHERE account = $1 AND user_id = $2",
            self.account,
            user_id
        );
        rows += self.run_counted(holds).await?;
        let orders = sqlx::query!(
            "DELETE FROM inbox WHERE account = $1 AND user_id = $2",
            self.account,
            user_id
        );
        rows += self.run_counted(orders).await?;
        Ok(rows)
    }
}
