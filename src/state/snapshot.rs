//! The snapshot: loading it, marking users in doubt before the first request, and recording what was answered.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use sqlx::{Postgres, Transaction, types::Json};

use super::{Attempt, CHUNK, Change, Error, Lease, State};
use crate::{
    employee::{Employee, EmployeeId, FullName, Spelling},
    plan::{Acknowledged, InDoubt, Managed, Marks, Operation, Plan, Snapshot},
    postgres::unnamed,
};

/// What one batch came to; recorded in one transaction.
#[derive(Debug, Default)]
pub struct Record {
    /// Acknowledged upserts and releases.
    pub delivered: Vec<Delivered>,
    /// Users that are gone.
    pub removed: Vec<Removed>,
    /// Users that turned out not to be ours: never acknowledged, and not there or with a name of somebody else.
    pub forgotten: Vec<EmployeeId>,
    /// Refused attempts.
    pub attempts: Vec<Attempt>,
    /// Failures that are over.
    pub recovered: Vec<(Box<str>, Operation)>,
    /// Users whose upsert ended without an answer.
    pub unknown: Vec<EmployeeId>,
}

/// An acknowledged upsert.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// What Wazzup acknowledged.
    pub employee: Employee,
    /// How the CRM spells the phone.
    pub spelling: Option<Spelling>,
    /// What it had acknowledged before.
    pub before: Option<Acknowledged>,
    /// What kind of change it was.
    pub change: Change,
    /// An earlier attempt of the same request got no answer and may still land.
    pub late: bool,
    /// More is to follow in this cycle (the phone was released before the final upsert): it stays in doubt.
    pub more_to_follow: bool,
}

/// A removal that Wazzup answered.
#[derive(Debug, Clone)]
pub struct Removed {
    /// Who is gone.
    pub id: EmployeeId,
    /// It was not there (any more).
    pub absent: bool,
    /// The brake does not count it.
    pub approved: bool,
    /// When it must be removed once more, because an upsert may still land.
    pub again_at: Option<Timestamp>,
}

/// The columns of a user that are mostly NULL.
#[derive(Debug, Deserialize)]
struct StoredMarks {
    in_doubt_since: Option<Timestamp>,
    intended_names: Vec<String>,
    intended_phones: Vec<String>,
    unknown_at: Option<Timestamp>,
    missing_since: Option<Timestamp>,
    absent_since: Option<Timestamp>,
    held_since: Option<Timestamp>,
    removal_approved_at: Option<Timestamp>,
    remove_again_at: Option<Timestamp>,
    resend_at: Option<Timestamp>,
}

impl From<StoredMarks> for Marks {
    fn from(it: StoredMarks) -> Self {
        let names = it.intended_names.iter().filter_map(|it| FullName::parse(it).ok());
        let phones = it.intended_phones.iter().filter_map(|it| it.parse().ok());
        let in_doubt = it.in_doubt_since.or(it.resend_at).map(|since| InDoubt {
            since,
            names: names.collect(),
            phones: phones.collect(),
        });
        Self {
            in_doubt,
            unknown_at: it.unknown_at,
            missing_since: it.missing_since,
            absent_since: it.absent_since,
            held_since: it.held_since,
            approved_at: it.removal_approved_at,
            remove_again_at: it.remove_again_at,
        }
    }
}

impl State {
    pub(super) async fn load_snapshot(&self, tx: &mut Transaction<'static, Postgres>) -> Result<Snapshot, Error> {
        let recent = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM history
               WHERE account = $1 AND operation = 'remove' AND NOT approved AND at > now() - interval '24 hours'"#,
            self.account
        )
        .fetch_one(unnamed(tx))
        .await?;
        let users = self.load_users(tx).await?;
        Ok(Snapshot {
            users,
            recent_removals: recent.try_into().unwrap_or_default(),
        })
    }

    /// The managed users, sorted by id.
    pub(super) async fn load_users(&self, tx: &mut Transaction<'static, Postgres>) -> Result<Vec<Managed>, Error> {
        let mut users = Vec::new();
        // Most users are in step and have no mark: what is rare comes in one column, which is mostly NULL.
        let mut rows = sqlx::query!(
            r#"SELECT user_id, name, phone, phone_spelling,
                   CASE WHEN num_nonnulls(in_doubt_since, unknown_at, missing_since, absent_since, held_since,
                       removal_approved_at, remove_again_at, resend_at) > 0 THEN to_jsonb(u) END AS "marks: Json<StoredMarks>"
               FROM users u WHERE account = $1"#,
            self.account
        )
        .fetch(unnamed(tx));
        while let Some(row) = rows.try_next().await? {
            // Written by us and read back: what does not parse could only be somebody else's, and is left alone.
            let Ok(id) = EmployeeId::parse(&row.user_id) else {
                continue;
            };
            let name = row.name.and_then(|it| FullName::parse(&it).ok());
            let acknowledged = name.map(|name| Acknowledged {
                name,
                phone: row.phone.and_then(|it| it.parse().ok()),
            });
            let user = Managed::new(id, acknowledged, row.phone_spelling.map(Spelling));
            users.push(match row.marks {
                Some(Json(marks)) => user.with_marks(marks.into()),
                None => user,
            });
        }
        drop(rows);
        // Sorted here and not by the database, whose collation may order otherwise.
        if !users.is_sorted_by(|a, b| a.id < b.id) {
            users.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(users)
    }

    /// Writes down what the plan intends before the first request: every user about to be touched is in doubt (new ones
    /// get their row), and the marks of leaving and the failures of the CRM's own rows follow the plan.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn record_intent(&self, lease: &Lease, plan: &Plan, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        let sent: Vec<&Employee> = plan
            .upserts
            .iter()
            .map(|it| &it.employee)
            .chain(&plan.releases)
            .collect();
        for chunk in sent.chunks(CHUNK) {
            self.write_intended(&mut tx, chunk, now).await?;
        }
        let removed: Vec<&EmployeeId> = plan.removals.iter().map(|it| &it.id).collect();
        self.mark(&mut tx, Mark::InDoubt, &removed, now).await?;
        self.mark(
            &mut tx,
            Mark::Absent,
            &plan.newly_absent.iter().collect::<Vec<_>>(),
            now,
        )
        .await?;
        self.mark(&mut tx, Mark::Held, &plan.newly_held.iter().collect::<Vec<_>>(), now)
            .await?;
        self.mark(&mut tx, Mark::Returned, &plan.returned.iter().collect::<Vec<_>>(), now)
            .await?;
        self.close_failures(&mut tx, &plan.closed_failures).await?;
        self.open_local_failures(&mut tx, &plan.opened_failures, now).await?;
        self.commit(tx).await
    }

    /// The same for additions that turned out to be possible in the middle of a cycle.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn record_more_intent(&self, lease: &Lease, sent: &[&Employee], now: Timestamp) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        for chunk in sent.chunks(CHUNK) {
            self.write_intended(&mut tx, chunk, now).await?;
        }
        self.commit(tx).await
    }

    async fn write_intended(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        sent: &[&Employee],
        now: Timestamp,
    ) -> Result<(), Error> {
        // A released user is also sent later: one row may be touched only once in a statement.
        let distinct: BTreeMap<&EmployeeId, &Employee> = sent.iter().rev().map(|it| (&it.id, *it)).collect();
        let ids: Vec<String> = distinct.values().map(|it| it.id.to_string()).collect();
        let names: Vec<String> = distinct.values().map(|it| it.name.to_string()).collect();
        let phones: Vec<Option<String>> = distinct.values().map(|it| it.phone.map(|it| it.to_string())).collect();
        sqlx::query!(
            "INSERT INTO users AS u (account, user_id, in_doubt_since, intended_names, intended_phones) \
             SELECT $1, it.user_id, $5, ARRAY[it.name], array_remove(ARRAY[it.phone], NULL) \
             FROM UNNEST($2::text[], $3::text[], $4::text[]) AS it (user_id, name, phone) \
             ON CONFLICT (user_id, account) DO UPDATE SET \
                 in_doubt_since = COALESCE(u.in_doubt_since, $5), \
                 intended_names = CASE WHEN u.intended_names @> excluded.intended_names THEN u.intended_names \
                     ELSE u.intended_names || excluded.intended_names END, \
                 intended_phones = CASE WHEN u.intended_phones @> excluded.intended_phones THEN u.intended_phones \
                     ELSE u.intended_phones || excluded.intended_phones END",
            self.account,
            &ids[..],
            &names[..],
            &phones as &[Option<String>],
            now.to_sqlx()
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    async fn mark(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        mark: Mark,
        ids: &[&EmployeeId],
        now: Timestamp,
    ) -> Result<(), Error> {
        for chunk in ids.chunks(CHUNK) {
            let ids: Vec<String> = chunk.iter().map(ToString::to_string).collect();
            let (ids, now) = (&ids[..], now.to_sqlx());
            let query = match mark {
                Mark::InDoubt => sqlx::query!(
                    "UPDATE users SET in_doubt_since = COALESCE(in_doubt_since, $3) \
                     WHERE account = $1 AND user_id = ANY($2)",
                    self.account,
                    ids,
                    now
                ),
                Mark::Absent => sqlx::query!(
                    "UPDATE users SET absent_since = $3 WHERE account = $1 AND user_id = ANY($2)",
                    self.account,
                    ids,
                    now
                ),
                Mark::Held => sqlx::query!(
                    "UPDATE users SET held_since = $3 WHERE account = $1 AND user_id = ANY($2)",
                    self.account,
                    ids,
                    now
                ),
                Mark::Returned => sqlx::query!(
                    "UPDATE users SET absent_since = NULL, held_since = NULL, removal_approved_at = NULL, \
                         remove_again_at = NULL \
                     WHERE account = $1 AND user_id = ANY($2)",
                    self.account,
                    ids
                ),
            };
            query.execute(unnamed(tx)).await?;
        }
        Ok(())
    }

    /// Records what a batch came to.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn record(&self, lease: &Lease, cycle_id: i64, it: &Record, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        self.write_delivered(&mut tx, cycle_id, &it.delivered, now).await?;
        self.write_removed(&mut tx, cycle_id, &it.removed, now).await?;
        let forgotten: Vec<String> = it.forgotten.iter().map(ToString::to_string).collect();
        if !forgotten.is_empty() {
            self.forget_users(&mut tx, &forgotten).await?;
            self.forget_failures(&mut tx, &forgotten).await?;
        }
        self.close_failures(&mut tx, &it.recovered).await?;
        self.write_attempts(&mut tx, &it.attempts, now).await?;
        if !it.unknown.is_empty() {
            let ids: Vec<String> = it.unknown.iter().map(ToString::to_string).collect();
            // Not the time of the cycle's beginning: a late request counts from when it ended.
            sqlx::query!(
                "UPDATE users SET unknown_at = clock_timestamp() WHERE account = $1 AND user_id = ANY($2)",
                self.account,
                &ids[..]
            )
            .execute(unnamed(&mut tx))
            .await?;
        }
        self.commit(tx).await
    }

    async fn write_delivered(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        cycle_id: i64,
        delivered: &[Delivered],
        now: Timestamp,
    ) -> Result<(), Error> {
        if delivered.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = delivered.iter().map(|it| it.employee.id.to_string()).collect();
        let names: Vec<String> = delivered.iter().map(|it| it.employee.name.to_string()).collect();
        let phones: Vec<Option<String>> = delivered
            .iter()
            .map(|it| it.employee.phone.map(|it| it.to_string()))
            .collect();
        let spellings: Vec<Option<i64>> = delivered.iter().map(|it| it.spelling.map(|it| it.0)).collect();
        let late: Vec<bool> = delivered.iter().map(|it| it.late).collect();
        let more: Vec<bool> = delivered.iter().map(|it| it.more_to_follow).collect();
        let changes: Vec<String> = delivered.iter().map(|it| it.change.as_str().to_owned()).collect();
        let before = |field: fn(&Acknowledged) -> Option<String>| -> Vec<Option<String>> {
            delivered.iter().map(|it| it.before.as_ref().and_then(field)).collect()
        };
        let names_before = before(|it| Some(it.name.to_string()));
        let phones_before = before(|it| it.phone.map(|it| it.to_string()));
        // The rows are there, by the intent. All the same no UPDATE with a join: without statistics, as in a first sync, the
        // planner would read all users of the account for each batch.
        sqlx::query!(
            "WITH it AS ( \
                 SELECT * FROM UNNEST($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bool[], $7::bool[], \
                     $8::text[], $9::text[], $10::text[]) \
                 AS it (user_id, name, phone, spelling, late, more, change, name_before, phone_before) \
             ), written AS ( \
                 INSERT INTO users AS u (account, user_id, name, phone, phone_spelling, synced_at, in_doubt_since, unknown_at) \
                 SELECT $1, it.user_id, it.name, it.phone, it.spelling, $11::timestamptz, \
                     CASE WHEN it.more THEN $11::timestamptz END, CASE WHEN it.late THEN clock_timestamp() END \
                 FROM it \
                 ON CONFLICT (user_id, account) DO UPDATE SET \
                     name = excluded.name, phone = excluded.phone, phone_spelling = excluded.phone_spelling, \
                     synced_at = excluded.synced_at, missing_since = NULL, \
                     unknown_at = COALESCE(excluded.unknown_at, u.unknown_at), \
                     resend_at = CASE WHEN u.resend_at > $11 THEN u.resend_at END, \
                     in_doubt_since = CASE WHEN excluded.in_doubt_since IS NOT NULL THEN u.in_doubt_since END, \
                     intended_names = CASE WHEN excluded.in_doubt_since IS NOT NULL THEN u.intended_names ELSE '{}' END, \
                     intended_phones = CASE WHEN excluded.in_doubt_since IS NOT NULL THEN u.intended_phones ELSE '{}' END \
             ) \
             INSERT INTO history (account, cycle_id, at, user_id, operation, outcome, approved, name_before, phone_before, \
                 name_after, phone_after) \
             SELECT $1, $12, clock_timestamp(), it.user_id, it.change, 'delivered', false, it.name_before, it.phone_before, \
                 it.name, it.phone \
             FROM it",
            self.account,
            &ids[..],
            &names[..],
            &phones as &[Option<String>],
            &spellings as &[Option<i64>],
            &late[..],
            &more[..],
            &changes[..],
            &names_before as &[Option<String>],
            &phones_before as &[Option<String>],
            now.to_sqlx(),
            cycle_id
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    async fn write_removed(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        cycle_id: i64,
        removed: &[Removed],
        now: Timestamp,
    ) -> Result<(), Error> {
        if removed.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = removed.iter().map(|it| it.id.to_string()).collect();
        let outcomes: Vec<String> = removed
            .iter()
            .map(|it| if it.absent { "absent" } else { "delivered" }.to_owned())
            .collect();
        let approved: Vec<bool> = removed.iter().map(|it| it.approved).collect();
        sqlx::query!(
            "INSERT INTO history (account, cycle_id, at, user_id, operation, outcome, approved, name_before, phone_before) \
             SELECT $1, $5, clock_timestamp(), it.user_id, 'remove', it.outcome, it.approved, \
                 (SELECT name FROM users WHERE account = $1 AND user_id = it.user_id), \
                 (SELECT phone FROM users WHERE account = $1 AND user_id = it.user_id) \
             FROM UNNEST($2::text[], $3::text[], $4::bool[]) AS it (user_id, outcome, approved)",
            self.account,
            &ids[..],
            &outcomes[..],
            &approved[..],
            cycle_id
        )
        .execute(unnamed(tx))
        .await?;
        let gone: Vec<String> = removed
            .iter()
            .filter(|it| it.again_at.is_none())
            .map(|it| it.id.to_string())
            .collect();
        self.forget_users(tx, &gone).await?;
        self.forget_failures(tx, &ids).await?;
        // Kept until a late upsert cannot land any more; then it is looked up and removed under each name it may have got.
        for it in removed {
            if let Some(again_at) = it.again_at {
                sqlx::query!(
                    "UPDATE users SET remove_again_at = $3, in_doubt_since = COALESCE(in_doubt_since, $4), \
                         intended_names = CASE WHEN name IS NULL THEN intended_names ELSE intended_names || name END, \
                         name = NULL, phone = NULL, phone_spelling = NULL \
                     WHERE account = $1 AND user_id = $2",
                    self.account,
                    it.id.as_str(),
                    again_at.to_sqlx(),
                    now.to_sqlx()
                )
                .execute(unnamed(tx))
                .await?;
            }
        }
        Ok(())
    }

    async fn forget_users(&self, tx: &mut Transaction<'static, Postgres>, ids: &[String]) -> Result<(), Error> {
        sqlx::query!(
            "DELETE FROM users WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            ids
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    async fn forget_failures(&self, tx: &mut Transaction<'static, Postgres>, ids: &[String]) -> Result<(), Error> {
        sqlx::query!(
            "DELETE FROM failures WHERE account = $1 AND user_id = ANY($2)",
            self.account,
            ids
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    /// The held removals with their last known names, by id, and whether each is approved.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn held(&self) -> Result<Vec<Held>, Error> {
        let mut tx = self.begin().await?;
        self.list_held(&mut tx).await
    }

    pub(super) async fn list_held(&self, tx: &mut Transaction<'static, Postgres>) -> Result<Vec<Held>, Error> {
        let held = sqlx::query_as!(
            Held,
            r#"SELECT user_id, COALESCE(name, intended_names[array_upper(intended_names, 1)]) AS name,
                   removal_approved_at IS NOT NULL AS "approved!"
               FROM users WHERE account = $1 AND held_since IS NOT NULL ORDER BY user_id"#,
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        Ok(held)
    }

    /// When Wazzup last acknowledged the user.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn synced_at(&self, user_id: &str) -> Result<Option<Timestamp>, Error> {
        let mut tx = self.begin().await?;
        let synced_at = sqlx::query_scalar!(
            "SELECT synced_at FROM users WHERE account = $1 AND user_id = $2",
            self.account,
            user_id
        )
        .fetch_optional(unnamed(&mut tx))
        .await?;
        Ok(synced_at.flatten().map(jiff_sqlx::Timestamp::to_jiff))
    }

    /// Approves the removals of exactly these ids, as far as they are still held. Needs no lease. Returns how many.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn approve(&self, ids: &[String]) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let approved = sqlx::query!(
            "UPDATE users SET removal_approved_at = now() \
             WHERE account = $1 AND user_id = ANY($2) AND held_since IS NOT NULL",
            self.account,
            ids
        )
        .execute(unnamed(&mut tx))
        .await?;
        self.commit(tx).await?;
        Ok(approved.rows_affected())
    }

    /// When the quiet time after an upsert without answer is over: 2 × the request's time-out.
    #[must_use]
    pub fn quiet_after(unknown_at: Timestamp, timeout: SignedDuration) -> Timestamp {
        unknown_at + timeout * 2
    }
}

/// A held removal.
#[derive(Debug, Clone)]
pub struct Held {
    /// The user.
    pub user_id: String,
    /// Its last known name.
    pub name: Option<String>,
    /// An operator approved it; the next cycle removes it.
    pub approved: bool,
}

#[derive(Clone, Copy)]
enum Mark {
    InDoubt,
    Absent,
    Held,
    Returned,
}
