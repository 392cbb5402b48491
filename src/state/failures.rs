//! Failures open and close.

use serde_json::{Value, json};
use sqlx::types::Json;

use super::{Error, Transaction};
use crate::plan::{Failure, FailureKey, back_off};

impl Transaction<'_> {
    /// The first time stays while the same values are attempted, or the same is wrong in the CRM's row.
    pub(super) async fn open_failures<'f>(
        &mut self,
        opened: impl IntoIterator<Item = &'f Failure>,
    ) -> Result<(), Error> {
        let rows: Vec<Value> = opened.into_iter().map(failure_row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.run(sqlx::query!(
            "INSERT INTO failures AS f (account, user_id, operation, local, code, detail, request_id, attempted_name, \
                 attempted_phone, spelling, attempts, first_at, last_at, next_attempt_at) \
             SELECT $1, user_id, operation, in_crm, code, detail, request_id, name, phone, spelling, attempts, now(), now(), \
                 now() + make_interval(mins => back_off_minutes) \
             FROM jsonb_to_recordset($2) AS opened (user_id text, operation text, in_crm boolean, code text, detail text, \
                 request_id text, name text, phone text, spelling text, attempts integer, back_off_minutes integer) \
             ON CONFLICT (user_id, operation, account) DO UPDATE SET local = excluded.local, code = excluded.code, \
                 detail = excluded.detail, request_id = excluded.request_id, attempted_name = excluded.attempted_name, \
                 attempted_phone = excluded.attempted_phone, spelling = excluded.spelling, attempts = excluded.attempts, \
                 first_at = CASE WHEN excluded.attempts > 1 OR excluded.local AND excluded.code = f.code THEN f.first_at \
                     ELSE excluded.first_at END, \
                 last_at = excluded.last_at, next_attempt_at = excluded.next_attempt_at",
            self.account,
            json!(rows)
        ))
        .await
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

/// The row of a failure; its keys are the columns in the statement above.
fn failure_row(failure: &Failure) -> Value {
    let mut row = json!(failure);
    row["name"] = json!(failure.name);
    row["phone"] = json!(failure.phone);
    row["spelling"] = json!(failure.spelling);
    let has_schedule = !failure.is_local;
    row["back_off_minutes"] = json!(has_schedule.then(|| back_off(failure.attempts).as_mins()));
    row
}
