//! What a plan wants written down before its first request.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;
use sqlx::{PgConnection, types::Json};

use super::{Error, OpenCycle, State};
use crate::{
    employee::EmployeeId,
    plan::{Hold, HoldKey, Marks},
    postgres::unnamed,
};

impl State {
    pub(super) async fn write_marks(
        &self,
        tx: &mut PgConnection,
        cycle: OpenCycle,
        marks: &Marks,
    ) -> Result<(), Error> {
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
            self.forget_account(tx).await?;
        }
        self.set_absent_since(tx, newly_absent, Some(cycle.now)).await?;
        self.set_absent_since(tx, returned, None).await?;
        self.open_holds(tx, opened_holds).await?;
        self.close_holds(tx, closed_holds).await?;
        self.open_local_failures(tx, opened_failures).await?;
        self.close_failures(tx, closed_failures).await?;
        self.forget_users(tx, forgotten).await?;
        self.drop_losses(tx, &texts(dropped_losses)).await
    }

    async fn forget_account(&self, tx: &mut PgConnection) -> Result<(), Error> {
        sqlx::query!("DELETE FROM users WHERE account = $1", self.account)
            .execute(unnamed(tx))
            .await?;
        sqlx::query!("DELETE FROM lost WHERE account = $1", self.account)
            .execute(unnamed(tx))
            .await?;
        sqlx::query!("DELETE FROM failures WHERE account = $1", self.account)
            .execute(unnamed(tx))
            .await?;
        sqlx::query!("DELETE FROM holds WHERE account = $1", self.account)
            .execute(unnamed(tx))
            .await?;
        self.clear_journal(tx).await?;
        sqlx::query!(
            "UPDATE accounts SET fingerprint = NULL, list_passed_at = NULL, seats_used = NULL, foreign_users = NULL, \
                 seats_limit = NULL, seats_counted_at = NULL, waiting_for_seat = '{}' \
             WHERE account = $1",
            self.account
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    async fn set_absent_since(
        &self,
        tx: &mut PgConnection,
        users: &[EmployeeId],
        since: Option<Timestamp>,
    ) -> Result<(), Error> {
        if users.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "UPDATE users SET absent_since = $3 WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            &texts(users),
            since.map(Timestamp::to_sqlx) as _
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    pub(super) async fn open_holds(&self, tx: &mut PgConnection, opened: &[(HoldKey, Hold)]) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            user_id: &'a str,
            kind: &'static str,
            content: &'a str,
            reason: &'a str,
            since: Timestamp,
            sticky: bool,
            approved_at: Option<Timestamp>,
            approved_by: Option<&'a str>,
        }
        if opened.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for (key, hold) in opened {
            rows.push(Row {
                user_id: &key.user_id,
                kind: key.kind.as_str(),
                content: &hold.content,
                reason: &hold.reason,
                since: hold.since,
                sticky: hold.sticky,
                approved_at: hold.approved.as_ref().map(|approval| approval.at),
                approved_by: hold.approved.as_ref().map(|approval| approval.by.as_str()),
            });
        }
        sqlx::query!(
            "INSERT INTO holds (account, user_id, kind, content, reason, since, sticky, approved_at, approved_by) \
             SELECT $1, opened.* FROM jsonb_to_recordset($2) AS opened (user_id text, kind text, content text, reason text, \
                 since timestamptz, sticky boolean, approved_at timestamptz, approved_by text) \
             ON CONFLICT (user_id, kind, account) DO UPDATE SET content = excluded.content, reason = excluded.reason, \
                 since = excluded.since, sticky = excluded.sticky, approved_at = excluded.approved_at, \
                 approved_by = excluded.approved_by",
            self.account,
            Json(rows) as _
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    async fn close_holds(&self, tx: &mut PgConnection, closed: &[HoldKey]) -> Result<(), Error> {
        if closed.is_empty() {
            return Ok(());
        }
        let mut user_ids = Vec::new();
        let mut kinds = Vec::new();
        for key in closed {
            user_ids.push(key.user_id.to_string());
            kinds.push(key.kind.as_str().to_owned());
        }
        sqlx::query!(
            "DELETE FROM holds WHERE account = $1 AND (user_id, kind) IN (SELECT * FROM unnest($2::text[], $3::text[]))",
            self.account,
            &user_ids,
            &kinds
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    /// Users who turned out not to be ours. Their holds stay: a take-over may just have been held.
    async fn forget_users(&self, tx: &mut PgConnection, forgotten: &[EmployeeId]) -> Result<(), Error> {
        if forgotten.is_empty() {
            return Ok(());
        }
        let user_ids = texts(forgotten);
        sqlx::query!(
            "DELETE FROM users WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            &user_ids
        )
        .execute(unnamed(tx))
        .await?;
        self.drop_losses(tx, &user_ids).await?;
        // Failures in the CRM's own rows open and close with these.
        sqlx::query!(
            "DELETE FROM failures WHERE account = $1 AND user_id = ANY($2) AND NOT local",
            self.account,
            &user_ids
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    async fn drop_losses(&self, tx: &mut PgConnection, user_ids: &[String]) -> Result<(), Error> {
        if user_ids.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "DELETE FROM lost WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            user_ids
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }
}

fn texts(ids: &[EmployeeId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
