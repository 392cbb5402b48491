//! Failures open and close.

use serde_json::{Value, json};
use sqlx::types::Json;

use super::{Error, Transaction, signed_interval};
use crate::{
    delivery::FailedAttempt,
    employee::FullName,
    plan::{FailureKey, LocalFailure, back_off},
};

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
            attempt.key.operation.as_ref(),
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
        self.run(sqlx::query!(
            "DELETE FROM failures WHERE account = $1 AND (user_id, operation) IN \
                 (SELECT user_id, operation FROM jsonb_to_recordset($2) AS closed (user_id text, operation text))",
            self.account,
            Json(closed) as _
        ))
        .await
    }
}

fn failure_row(failure: &LocalFailure) -> Value {
    json!({
        "user_id": failure.key.user_id,
        "operation": failure.key.operation,
        "code": failure.problem.as_ref(),
        "detail": failure.problem.reason(),
        "spelling": failure.spelling,
    })
}
