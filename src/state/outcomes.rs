//! What became of the request in flight, written straight from its entries in the journal.

use serde::Serialize;
use sqlx::{PgConnection, types::Json};

use super::{Error, OpenCycle, State, stored_count};
use crate::{
    delivery::FailedAttempt,
    employee::{EmployeeId, FullName, Spelling},
    plan::{FailureKey, LocalFailure, back_off},
    postgres::unnamed,
};

impl State {
    /// All entries of the upsert in flight were acknowledged.
    pub(super) async fn write_upserts(&self, tx: &mut PgConnection, cycle: OpenCycle) -> Result<(), Error> {
        // By scalar sub-selects: without statistics, as in a first sync, a join would read all users for each batch.
        sqlx::query!(
            "INSERT INTO history (account, cycle_id, at, user_id, operation, outcome, approved_by, \
                 name_before, phone_before, name_after, phone_after) \
             SELECT entry.account, $2, now(), entry.user_id, entry.change, 'delivered', \
                 (SELECT approved_by FROM holds h WHERE h.user_id = entry.user_id AND h.account = entry.account \
                     AND h.kind IN ('update', 'takeover') AND h.approved_at IS NOT NULL \
                     AND entry.change NOT IN ('release', 'resend') LIMIT 1), \
                 (SELECT u.name FROM users u WHERE u.user_id = entry.user_id AND u.account = entry.account), \
                 (SELECT u.phone FROM users u WHERE u.user_id = entry.user_id AND u.account = entry.account), \
                 entry.name, entry.phone \
             FROM in_flight_entries AS entry WHERE entry.account = $1 AND entry.operation = 'upsert'",
            self.account,
            cycle.id
        )
        .execute(unnamed(tx))
        .await?;
        sqlx::query!(
            "INSERT INTO users (account, user_id, name, phone, phone_spelling, synced_at) \
             SELECT account, user_id, name, phone, phone_spelling, now() \
             FROM in_flight_entries WHERE account = $1 AND operation = 'upsert' \
             ON CONFLICT (user_id, account) DO UPDATE SET name = excluded.name, phone = excluded.phone, \
                 phone_spelling = excluded.phone_spelling, synced_at = excluded.synced_at",
            self.account
        )
        .execute(unnamed(tx))
        .await?;
        self.settle_users_in_flight(tx).await?;
        // An approval is used up by what was approved, not by a phone that is given up first.
        sqlx::query!(
            "DELETE FROM holds USING in_flight_entries AS entry \
             WHERE entry.account = $1 AND entry.operation = 'upsert' AND entry.change NOT IN ('release', 'resend') \
                 AND holds.account = entry.account AND holds.user_id = entry.user_id \
                 AND holds.kind IN ('update', 'takeover') AND holds.approved_at IS NOT NULL",
            self.account
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    /// All users of the removal in flight are gone; those in `absent` had been gone before.
    pub(super) async fn write_removals(
        &self,
        tx: &mut PgConnection,
        cycle: OpenCycle,
        absent: &[EmployeeId],
    ) -> Result<(), Error> {
        let absent: Vec<String> = absent.iter().map(ToString::to_string).collect();
        sqlx::query!(
            "INSERT INTO history (account, cycle_id, at, user_id, operation, outcome, approved_by, name_before) \
             SELECT entry.account, $2, now(), entry.user_id, 'remove', \
                 CASE WHEN entry.user_id = ANY($3) THEN 'absent' ELSE 'delivered' END, \
                 (SELECT approved_by FROM holds h WHERE h.user_id = entry.user_id AND h.account = entry.account \
                     AND h.kind = 'remove' AND h.approved_at IS NOT NULL), \
                 (SELECT u.name FROM users u WHERE u.user_id = entry.user_id AND u.account = entry.account) \
             FROM in_flight_entries AS entry WHERE entry.account = $1 AND entry.operation = 'remove'",
            self.account,
            cycle.id,
            &absent
        )
        .execute(unnamed(tx))
        .await?;
        self.settle_users_in_flight(tx).await?;
        let removed = sqlx::query_scalar!(
            r#"SELECT user_id AS "user_id!" FROM in_flight_entries WHERE account = $1 AND operation = 'remove'"#,
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        self.delete_failures_of(tx, &removed).await?;
        self.delete_removed_users(tx, &removed).await
    }

    /// Whom a lost upsert may bring back keeps a row without acknowledged values, and the approval of the removal.
    async fn delete_removed_users(&self, tx: &mut PgConnection, removed: &[String]) -> Result<(), Error> {
        sqlx::query!(
            "UPDATE users SET name = NULL, phone = NULL, phone_spelling = NULL, synced_at = now() \
             WHERE account = $1 AND user_id = ANY($2) AND EXISTS (SELECT FROM lost l \
                 WHERE l.user_id = users.user_id AND l.account = users.account AND l.operation = 'upsert')",
            self.account,
            removed
        )
        .execute(unnamed(tx))
        .await?;
        sqlx::query!(
            "DELETE FROM users WHERE account = $1 AND user_id = ANY($2) AND NOT EXISTS (SELECT FROM lost l \
                 WHERE l.user_id = users.user_id AND l.account = users.account AND l.operation = 'upsert')",
            self.account,
            removed
        )
        .execute(unnamed(tx))
        .await?;
        sqlx::query!(
            "DELETE FROM holds WHERE account = $1 AND user_id = ANY($2) AND NOT EXISTS (SELECT FROM users u \
                 WHERE u.user_id = holds.user_id AND u.account = holds.account)",
            self.account,
            removed
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    pub(super) async fn add_to_seats_used(&self, tx: &mut PgConnection, number: i64) -> Result<(), Error> {
        sqlx::query!(
            "UPDATE accounts SET seats_used = GREATEST(seats_used + $2, 0) WHERE account = $1 AND seats_used IS NOT NULL",
            self.account,
            number
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    pub(super) async fn write_seats_limit(
        &self,
        tx: &mut PgConnection,
        limit: Option<usize>,
        used: Option<usize>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "UPDATE accounts SET seats_limit = $2, seats_used = COALESCE($3, seats_used) WHERE account = $1",
            self.account,
            limit.map(stored_count),
            used.map(stored_count)
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }
}

/// Failures.
impl State {
    pub(super) async fn write_failed_attempt(
        &self,
        tx: &mut PgConnection,
        attempt: &FailedAttempt,
    ) -> Result<(), Error> {
        sqlx::query!(
            "INSERT INTO failures AS f (account, user_id, operation, local, code, detail, request_id, attempted_name, \
                 attempted_phone, attempts, first_at, last_at, next_attempt_at) \
             VALUES ($1, $2, $3, false, $4, $5, $6, $7, $8, $9, now(), now(), now() + $10) \
             ON CONFLICT (user_id, operation, account) DO UPDATE SET local = false, code = excluded.code, \
                 detail = excluded.detail, request_id = excluded.request_id, attempted_name = excluded.attempted_name, \
                 attempted_phone = excluded.attempted_phone, spelling = NULL, attempts = excluded.attempts, \
                 first_at = CASE WHEN excluded.attempts = 1 THEN excluded.first_at ELSE f.first_at END, \
                 last_at = excluded.last_at, next_attempt_at = excluded.next_attempt_at",
            self.account,
            &*attempt.key.user_id,
            attempt.key.operation.as_str(),
            attempt.code,
            attempt.detail,
            attempt.request_id,
            attempt.name.as_ref().map(FullName::as_str),
            attempt.phone.map(|phone| phone.to_string()),
            i32::try_from(attempt.attempts).unwrap_or(i32::MAX),
            super::signed_interval(back_off(attempt.attempts))
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    pub(super) async fn open_local_failures(
        &self,
        tx: &mut PgConnection,
        opened: &[LocalFailure],
    ) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            user_id: &'a str,
            operation: &'static str,
            code: &'static str,
            detail: &'static str,
            spelling: Option<&'a str>,
        }
        if opened.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for failure in opened {
            rows.push(Row {
                user_id: &failure.key.user_id,
                operation: failure.key.operation.as_str(),
                code: failure.problem.as_str(),
                detail: failure.problem.reason(),
                spelling: failure.spelling.as_ref().map(Spelling::as_str),
            });
        }
        sqlx::query!(
            "INSERT INTO failures (account, user_id, operation, local, code, detail, spelling, attempts, first_at, last_at) \
             SELECT $1, opened.user_id, opened.operation, true, opened.code, opened.detail, opened.spelling, 0, now(), now() \
             FROM jsonb_to_recordset($2) \
                 AS opened (user_id text, operation text, code text, detail text, spelling text) \
             ON CONFLICT (user_id, operation, account) DO UPDATE SET local = true, code = excluded.code, \
                 detail = excluded.detail, spelling = excluded.spelling, request_id = NULL, attempted_name = NULL, \
                 attempted_phone = NULL, attempts = 0, first_at = now(), last_at = now(), next_attempt_at = NULL",
            self.account,
            Json(rows) as _
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    pub(super) async fn close_failures(&self, tx: &mut PgConnection, closed: &[FailureKey]) -> Result<(), Error> {
        if closed.is_empty() {
            return Ok(());
        }
        let mut user_ids = Vec::new();
        let mut operations = Vec::new();
        for key in closed {
            user_ids.push(key.user_id.to_string());
            operations.push(key.operation.as_str().to_owned());
        }
        sqlx::query!(
            "DELETE FROM failures WHERE account = $1 \
             AND (user_id, operation) IN (SELECT * FROM unnest($2::text[], $3::text[]))",
            self.account,
            &user_ids,
            &operations
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    pub(super) async fn delete_failures_of(&self, tx: &mut PgConnection, user_ids: &[String]) -> Result<(), Error> {
        sqlx::query!(
            "DELETE FROM failures WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            user_ids
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }
}
