//! What became of the request in flight, written straight from its entries in the journal.

use serde_json::{Value, json};

use super::{Error, OpenCycle, Transaction, signed_interval, stored_count, texts};
use crate::{
    delivery::FailedAttempt,
    employee::{EmployeeId, FullName, Spelling},
    plan::{FailureKey, LocalFailure, back_off},
};

impl Transaction<'_> {
    /// All entries of the upsert in flight were acknowledged.
    pub(super) async fn write_upserts(&mut self, cycle: OpenCycle) -> Result<(), Error> {
        self.run(sqlx::query!(
            "SELECT acknowledge_upserts($1, $2)",
            self.account,
            cycle.id
        ))
        .await
    }

    /// All users of the removal in flight are gone; those in `absent` had been gone before.
    pub(super) async fn write_removals(&mut self, cycle: OpenCycle, absent: &[EmployeeId]) -> Result<(), Error> {
        self.run(sqlx::query!(
            "SELECT acknowledge_removals($1, $2, $3)",
            self.account,
            cycle.id,
            &texts(absent)
        ))
        .await
    }

    pub(super) async fn add_to_seats_used(&mut self, number: i64) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET seats_used = GREATEST(seats_used + $2, 0) WHERE account = $1 AND seats_used IS NOT NULL",
            self.account,
            number
        )).await
    }

    pub(super) async fn write_seat_limit(&mut self, limit: Option<usize>, used: Option<usize>) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET seats_limit = $2, seats_used = COALESCE($3, seats_used) WHERE account = $1",
            self.account,
            limit.map(stored_count),
            used.map(stored_count)
        ))
        .await
    }
}

/// Failures.
impl Transaction<'_> {
    pub(super) async fn write_failed_attempt(&mut self, attempt: &FailedAttempt) -> Result<(), Error> {
        self.run(sqlx::query!(
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
            signed_interval(back_off(attempt.attempts))
        ))
        .await
    }

    pub(super) async fn open_local_failures(&mut self, opened: &[LocalFailure]) -> Result<(), Error> {
        if opened.is_empty() {
            return Ok(());
        }
        let rows: Value = opened.iter().map(failure_row).collect();
        self.run(sqlx::query!(
            "INSERT INTO failures (account, user_id, operation, local, code, detail, spelling, attempts, first_at, last_at) \
             SELECT $1, opened.user_id, opened.operation, true, opened.code, opened.detail, opened.spelling, 0, now(), now() \
             FROM jsonb_to_recordset($2) \
                 AS opened (user_id text, operation text, code text, detail text, spelling text) \
             ON CONFLICT (user_id, operation, account) DO UPDATE SET local = true, code = excluded.code, \
                 detail = excluded.detail, spelling = excluded.spelling, request_id = NULL, attempted_name = NULL, \
                 attempted_phone = NULL, attempts = 0, first_at = now(), last_at = now(), next_attempt_at = NULL",
            self.account,
            rows
        )).await
    }

    pub(super) async fn close_failures(&mut self, closed: &[FailureKey]) -> Result<(), Error> {
        if closed.is_empty() {
            return Ok(());
        }
        let keys: Value = closed
            .iter()
            .map(|key| json!([key.user_id, key.operation.as_str()]))
            .collect();
        self.run(sqlx::query!(
            "DELETE FROM failures WHERE account = $1 \
             AND (user_id, operation) IN (SELECT key ->> 0, key ->> 1 FROM jsonb_array_elements($2) AS key)",
            self.account,
            keys
        ))
        .await
    }
}

fn failure_row(failure: &LocalFailure) -> Value {
    json!({
        "user_id": failure.key.user_id,
        "operation": failure.key.operation.as_str(),
        "code": failure.problem.as_str(),
        "detail": failure.problem.reason(),
        "spelling": failure.spelling.as_ref().map(Spelling::as_str),
    })
}
