//! The history: what was delivered, for `explain`; and forgetting one person's part of it.

use jiff::Timestamp;
use serde::Serialize;

use super::{Error, State, Transaction};

/// What was delivered: a [`crate::delivery::Change`], or a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum HistoryOperation {
    Add,
    Adopt,
    TakeOver,
    Update,
    Release,
    Resend,
    Remove,
}

/// A delivered change of one user. Without `Debug`: it has names and phones.
#[derive(Clone, Serialize)]
pub struct HistoryEntry {
    pub at: Timestamp,
    pub cycle_id: i64,
    pub operation: HistoryOperation,
    /// Of a removal: the user had been gone before.
    pub was_absent: bool,
    /// Who approved it, where it was held.
    pub approved_by: Option<String>,
    /// As acknowledged before.
    pub name_before: Option<String>,
    /// Never of a removal.
    pub phone_before: Option<String>,
    pub name_after: Option<String>,
    pub phone_after: Option<String>,
}

/// What became of an order to erase somebody's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    Erased {
        /// From how many rows.
        rows: u64,
    },
    /// Nothing was erased: the user is still in Wazzup, or possibly so.
    StillManaged,
    /// Nothing was erased: the user is part of a request whose answer is outstanding or was lost.
    InLostRequest,
}

impl State {
    /// The newest `most` changes of a user, newest first. There has to be a schema.
    pub async fn history(&self, user_id: &str, most: u32) -> Result<Vec<HistoryEntry>, Error> {
        self.transaction("reading the history of a user", async |tx| {
            let entries = sqlx::query_as!(
                HistoryEntry,
                r#"SELECT at, cycle_id, operation AS "operation: HistoryOperation", outcome = 'absent' AS "was_absent!",
                       approved_by, name_before, phone_before, name_after, phone_after
                   FROM history WHERE account = $1 AND user_id = $2 ORDER BY at DESC LIMIT $3"#,
                self.account,
                user_id,
                i64::from(most)
            )
            .fetch_all(tx.executor())
            .await?;
            Ok(entries)
        })
        .await
    }

    /// Removes the name and the phone of a departed person. The history's rows stay bare: the brake counts them. Whether the
    /// person is an employee is for the caller to ask.
    pub async fn erase(&self, user_id: &str) -> Result<Erasure, Error> {
        self.transaction("erasing a person's values", async |tx| {
            // No cycle writes meanwhile: each of its transactions changes this row first.
            tx.run(sqlx::query!(
                "SELECT FROM accounts WHERE account = $1 FOR UPDATE",
                self.account
            ))
            .await?;
            let needed = sqlx::query!(
                r#"SELECT EXISTS (SELECT FROM users WHERE account = $1 AND user_id = $2) AS "managed!",
                       EXISTS (SELECT FROM lost WHERE account = $1 AND user_id = $2)
                       OR EXISTS (SELECT FROM in_flight_entries WHERE account = $1 AND user_id = $2) AS "lost!""#,
                self.account,
                user_id
            )
            .fetch_one(tx.executor())
            .await?;
            if needed.lost {
                return Ok(Erasure::InLostRequest);
            }
            if needed.managed {
                return Ok(Erasure::StillManaged);
            }
            let rows = tx.erase_values(user_id).await?;
            Ok(Erasure::Erased { rows })
        })
        .await
    }
}

impl Transaction<'_> {
    /// Returns from how many rows.
    async fn erase_values(&mut self, user_id: &str) -> Result<u64, Error> {
        let rows = sqlx::query_scalar!(
            r#"WITH bared_history AS (
                   UPDATE history SET name_before = NULL, phone_before = NULL, name_after = NULL, phone_after = NULL
                   WHERE account = $1 AND user_id = $2
                       AND num_nonnulls(name_before, phone_before, name_after, phone_after) > 0 RETURNING 1),
               closed_failures AS (DELETE FROM failures WHERE account = $1 AND user_id = $2 RETURNING 1),
               closed_holds AS (DELETE FROM holds WHERE account = $1 AND user_id = $2 RETURNING 1),
               dropped_orders AS (DELETE FROM inbox WHERE account = $1 AND user_id = $2 RETURNING 1)
               SELECT (SELECT count(*) FROM bared_history) + (SELECT count(*) FROM closed_failures)
                   + (SELECT count(*) FROM closed_holds) + (SELECT count(*) FROM dropped_orders) AS "rows!""#,
            self.account,
            user_id
        )
        .fetch_one(self.executor())
        .await?;
        Ok(rows.unsigned_abs())
    }
}
