//! Open failures: what was refused, and when it is tried again.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{Postgres, Transaction};

use super::{Error, State};
use crate::{
    employee::{Code, FullName, Phone},
    plan::{Failure, Failures, Operation},
    postgres::unnamed,
};

/// An attempt that was refused.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Whose.
    pub id: Box<str>,
    /// What was attempted.
    pub operation: Operation,
    /// The service's code.
    pub code: String,
    /// Our own words for it.
    pub detail: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// The name attempted.
    pub name: Option<FullName>,
    /// The phone wanted; none with operation `phone` is giving one up.
    pub phone: Option<Phone>,
    /// The number of attempts with these values, this one included.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt_at: Timestamp,
}

/// An open failure as `status` and `explain` show it.
#[derive(Debug, Clone)]
pub struct OpenFailure {
    /// Whose.
    pub user_id: String,
    /// What was attempted: `upsert`, `remove`, `phone` or `seat`.
    pub operation: String,
    /// The code.
    pub code: String,
    /// What it means.
    pub detail: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// How often.
    pub attempts: i32,
    /// Since when.
    pub first_at: Timestamp,
    /// When it is tried again; `None`: as soon as the CRM's row is corrected.
    pub next_attempt_at: Option<Timestamp>,
}

impl State {
    pub(super) async fn load_failures(&self, tx: &mut Transaction<'static, Postgres>) -> Result<Failures, Error> {
        let rows = sqlx::query!(
            "SELECT user_id, operation, local, code, attempted_name, attempted_phone, attempts, next_attempt_at \
             FROM failures WHERE account = $1",
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        let failure = rows.into_iter().filter_map(|row| {
            let operation = Operation::parse(&row.operation)?;
            let failure = Failure {
                local: row.local,
                code: row.code,
                name: row.attempted_name.and_then(|name| FullName::parse(&name).ok()),
                phone: row.attempted_phone.and_then(|phone| phone.parse().ok()),
                attempts: row.attempts.try_into().unwrap_or_default(),
                next_attempt_at: row.next_attempt_at.map(jiff_sqlx::Timestamp::to_jiff),
            };
            Some(((row.user_id.into(), operation), failure))
        });
        Ok(failure.collect())
    }

    /// The open failures (of `user_id` alone, if given), by id.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn open_failures(&self, user_id: Option<&str>) -> Result<Vec<OpenFailure>, Error> {
        let mut tx = self.begin().await?;
        self.list_failures(&mut tx, user_id).await
    }

    pub(super) async fn list_failures(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        user_id: Option<&str>,
    ) -> Result<Vec<OpenFailure>, Error> {
        let rows = sqlx::query!(
            "SELECT user_id, operation, code, detail, request_id, attempts, first_at, next_attempt_at FROM failures \
             WHERE account = $1 AND ($2::text IS NULL OR user_id = $2) ORDER BY user_id, operation",
            self.account,
            user_id
        )
        .fetch_all(unnamed(tx))
        .await?;
        let failure = rows.into_iter().map(|row| OpenFailure {
            user_id: row.user_id,
            operation: row.operation,
            code: row.code,
            detail: row.detail,
            request_id: row.request_id,
            attempts: row.attempts,
            first_at: row.first_at.to_jiff(),
            next_attempt_at: row.next_attempt_at.map(jiff_sqlx::Timestamp::to_jiff),
        });
        Ok(failure.collect())
    }

    pub(super) async fn write_attempts(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        attempts: &[Attempt],
        now: Timestamp,
    ) -> Result<(), Error> {
        for it in attempts {
            sqlx::query!(
                "INSERT INTO failures (account, user_id, operation, local, code, detail, request_id, attempted_name, \
                     attempted_phone, attempts, first_at, last_at, next_attempt_at) \
                 VALUES ($1, $2, $3, false, $4, $5, $6, $7, $8, $9, $10, $10, $11) \
                 ON CONFLICT (account, user_id, operation) DO UPDATE SET local = false, code = $4, detail = $5, \
                     request_id = $6, attempted_name = $7, attempted_phone = $8, attempts = $9, last_at = $10, \
                     first_at = CASE WHEN $9 = 1 THEN $10 ELSE failures.first_at END, next_attempt_at = $11",
                self.account,
                &*it.id,
                it.operation.as_str(),
                it.code,
                it.detail,
                it.request_id,
                it.name.as_ref().map(FullName::as_str),
                it.phone.map(|it| it.to_string()),
                i32::try_from(it.attempts).unwrap_or(i32::MAX),
                now.to_sqlx(),
                it.next_attempt_at.to_sqlx()
            )
            .execute(unnamed(tx))
            .await?;
        }
        Ok(())
    }

    /// Opens what the CRM's own rows show.
    pub(super) async fn open_local_failures(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        opened: &[(Box<str>, Operation, Code)],
        now: Timestamp,
    ) -> Result<(), Error> {
        for chunk in opened.chunks(super::CHUNK) {
            let ids: Vec<String> = chunk.iter().map(|it| it.0.to_string()).collect();
            let operations: Vec<String> = chunk.iter().map(|it| it.1.as_str().to_owned()).collect();
            let codes: Vec<String> = chunk.iter().map(|it| it.2.as_str().to_owned()).collect();
            let details: Vec<String> = chunk.iter().map(|it| it.2.detail().to_owned()).collect();
            sqlx::query!(
                "INSERT INTO failures (account, user_id, operation, local, code, detail, attempts, first_at, last_at) \
                 SELECT $1, it.user_id, it.operation, true, it.code, it.detail, 0, $6, $6 \
                 FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[]) AS it (user_id, operation, code, detail) \
                 ON CONFLICT (account, user_id, operation) DO UPDATE SET local = true, code = excluded.code, \
                     detail = excluded.detail, request_id = NULL, attempted_name = NULL, attempted_phone = NULL, \
                     attempts = 0, first_at = $6, last_at = $6, next_attempt_at = NULL",
                self.account,
                &ids[..],
                &operations[..],
                &codes[..],
                &details[..],
                now.to_sqlx()
            )
            .execute(unnamed(tx))
            .await?;
        }
        Ok(())
    }

    pub(super) async fn close_failures(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        closed: &[(Box<str>, Operation)],
    ) -> Result<(), Error> {
        for chunk in closed.chunks(super::CHUNK) {
            let ids: Vec<String> = chunk.iter().map(|it| it.0.to_string()).collect();
            let operations: Vec<String> = chunk.iter().map(|it| it.1.as_str().to_owned()).collect();
            sqlx::query!(
                "DELETE FROM failures WHERE account = $1 AND (user_id, operation) IN \
                 (SELECT * FROM UNNEST($2::text[], $3::text[]))",
                self.account,
                &ids[..],
                &operations[..]
            )
            .execute(unnamed(tx))
            .await?;
        }
        Ok(())
    }

    /// Makes the failures of `ids` due now (all without any), and has users who are in sync sent again. Needs no lease.
    ///
    /// Returns how many are due now, or the ids that are unknown, in which case nothing is changed.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn retry(&self, ids: &[String]) -> Result<Result<usize, Vec<String>>, Error> {
        let mut tx = self.begin().await?;
        if ids.is_empty() {
            let due = sqlx::query_scalar!(
                "UPDATE failures SET next_attempt_at = now() WHERE account = $1 AND NOT local RETURNING user_id",
                self.account
            )
            .fetch_all(unnamed(&mut tx))
            .await?;
            self.commit(tx).await?;
            return Ok(Ok(due.into_iter().collect::<std::collections::BTreeSet<_>>().len()));
        }
        let known = sqlx::query_scalar!(
            r#"SELECT user_id AS "user_id!" FROM users WHERE account = $1 AND user_id = ANY($2)
               UNION SELECT user_id FROM failures WHERE account = $1 AND user_id = ANY($2)"#,
            self.account,
            ids
        )
        .fetch_all(unnamed(&mut tx))
        .await?;
        let unknown: Vec<String> = ids.iter().filter(|id| !known.contains(id)).cloned().collect();
        if !unknown.is_empty() {
            return Ok(Err(unknown));
        }
        sqlx::query!(
            "UPDATE failures SET next_attempt_at = now() WHERE account = $1 AND NOT local AND user_id = ANY($2)",
            self.account,
            ids
        )
        .execute(unnamed(&mut tx))
        .await?;
        sqlx::query!(
            "UPDATE users SET resend_at = now() WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            ids
        )
        .execute(unnamed(&mut tx))
        .await?;
        self.commit(tx).await?;
        Ok(Ok(known.len()))
    }
}
