//! What a plan wants written down before its first request.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::{Value, json};
use sqlx::types::Json;

use super::{Error, OpenCycle, Transaction, texts};
use crate::{
    employee::EmployeeId,
    plan::{Hold, HoldKey, Holds, Marks},
};

impl Transaction<'_> {
    pub(super) async fn write_marks(&mut self, cycle: OpenCycle, marks: &Marks) -> Result<(), Error> {
        let Marks {
            forgets_account,
            newly_absent,
            returned,
            opened_holds,
            closed_holds,
            opened_failures,
            closed_failures,
            forgotten,
            dropped_losses,
        } = marks;
        if *forgets_account {
            self.forget_account().await?;
        }
        self.set_absent_since(newly_absent, Some(cycle.now)).await?;
        self.set_absent_since(returned, None).await?;
        self.open_holds(opened_holds).await?;
        self.close_holds(closed_holds).await?;
        self.open_failures(opened_failures).await?;
        self.close_failures(closed_failures).await?;
        self.forget_users(forgotten).await?;
        self.drop_losses(&texts(dropped_losses)).await
    }

    async fn forget_account(&mut self) -> Result<(), Error> {
        self.run(sqlx::query!(
            "WITH dropped_users AS (DELETE FROM users WHERE account = $1), \
                 dropped_losses AS (DELETE FROM lost WHERE account = $1), \
                 dropped_failures AS (DELETE FROM failures WHERE account = $1), \
                 dropped_holds AS (DELETE FROM holds WHERE account = $1) \
             UPDATE accounts SET fingerprint = NULL, list_passed_at = NULL, seats_used = NULL, foreign_users = NULL, \
                 seats_limit = NULL, seats_counted_at = NULL, waiting_ids = '{}' \
             WHERE account = $1",
            self.account
        ))
        .await
    }

    async fn set_absent_since(&mut self, users: &[EmployeeId], since: Option<Timestamp>) -> Result<(), Error> {
        if users.is_empty() {
            return Ok(());
        }
        self.run(sqlx::query!(
            "UPDATE users SET absent_since = $3 WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            &texts(users),
            since.map(Timestamp::to_sqlx) as _
        ))
        .await
    }

    pub(super) async fn open_holds(&mut self, opened: &Holds) -> Result<(), Error> {
        if opened.is_empty() {
            return Ok(());
        }
        let rows: Value = opened.iter().map(|(key, hold)| hold_row(key, hold)).collect();
        self.run(sqlx::query!(
            "INSERT INTO holds (account, user_id, kind, content, crm_row, reason, since, sticky, approved_at, approved_by) \
             SELECT $1, opened.* FROM jsonb_to_recordset($2) AS opened (user_id text, kind text, content text, \
                 crm_row text, reason text, since timestamptz, sticky boolean, approved_at timestamptz, approved_by text) \
             ON CONFLICT (user_id, kind, account) DO UPDATE SET content = excluded.content, crm_row = excluded.crm_row, \
                 reason = excluded.reason, since = excluded.since, sticky = excluded.sticky, \
                 approved_at = excluded.approved_at, approved_by = excluded.approved_by",
            self.account,
            rows
        )).await
    }

    async fn close_holds(&mut self, closed: &[HoldKey]) -> Result<(), Error> {
        if closed.is_empty() {
            return Ok(());
        }
        self.run(sqlx::query!(
            "DELETE FROM holds WHERE account = $1 AND (user_id, kind) IN \
                 (SELECT user_id, kind FROM jsonb_to_recordset($2) AS closed (user_id text, kind text))",
            self.account,
            Json(closed) as _
        ))
        .await
    }

    /// Users who turned out not to be ours. Their holds stay: a take-over may just have been held.
    async fn forget_users(&mut self, forgotten: &[EmployeeId]) -> Result<(), Error> {
        if forgotten.is_empty() {
            return Ok(());
        }
        let user_ids = texts(forgotten);
        self.run(sqlx::query!(
            "DELETE FROM users WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            &user_ids
        ))
        .await?;
        self.drop_losses(&user_ids).await?;
        // Failures in the CRM's own rows open and close with these.
        self.run(sqlx::query!(
            "DELETE FROM failures WHERE account = $1 AND user_id = ANY($2) AND NOT local",
            self.account,
            &user_ids
        ))
        .await
    }

    async fn drop_losses(&mut self, user_ids: &[String]) -> Result<(), Error> {
        if user_ids.is_empty() {
            return Ok(());
        }
        self.run(sqlx::query!(
            "DELETE FROM lost WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            user_ids
        ))
        .await
    }
}

pub(super) fn hold_row(key: &HoldKey, hold: &Hold) -> Value {
    json!({
        "user_id": key.user_id,
        "kind": key.kind,
        "content": hold.content,
        "crm_row": hold.crm_row,
        "reason": hold.reason,
        "since": hold.since,
        "sticky": hold.sticky,
        "approved_at": hold.approved.as_ref().map(|approval| approval.at),
        "approved_by": hold.approved.as_ref().map(|approval| &approval.by),
    })
}
