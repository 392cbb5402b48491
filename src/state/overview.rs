//! What `status` and `check` want to know, read in one go so that it fits together.

use jiff::Timestamp;
use sqlx::{Executor as _, Postgres, Transaction};

use super::{Account, Error, Held, OpenFailure, State};
use crate::postgres::unnamed;

/// How an account stands.
#[derive(Debug, Default)]
pub struct Overview {
    /// The account; its defaults, but for the time, if nobody ever took its lease.
    pub account: Account,
    /// Our users: the snapshot's rows.
    pub managed: u64,
    /// Those that left the CRM and stay for now without being held.
    pub leaving: u64,
    /// The open failures and who waits for a seat, by id.
    pub failures: Vec<OpenFailure>,
    /// Held removals, approved ones included.
    pub held: Vec<Held>,
    /// The newest cycles that did or failed something, newest first.
    pub cycles: Vec<PastCycle>,
}

/// A cycle that did or failed something.
#[derive(Debug, Clone)]
pub struct PastCycle {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// `in_sync`, `incomplete` or `failed`.
    pub outcome: String,
    /// The kind of the error that it failed with.
    pub error_kind: Option<String>,
    /// Requests that change something.
    pub requests: i64,
    /// Users added.
    pub added: i64,
    /// Users changed.
    pub updated: i64,
    /// Users removed.
    pub removed: i64,
    /// Removals held.
    pub held: i64,
}

/// What the role of `state.url` may do.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent answers of the database")]
pub struct Rights {
    /// The role.
    pub role: String,
    /// The database takes no changes: a standby, or set to be read-only.
    pub read_only: bool,
    /// The schema is there.
    pub schema_exists: bool,
    /// It may use the schema and create in it, or create the schema where it is not there.
    pub may_create: bool,
    /// It may read and change every table in it.
    pub may_change: bool,
}

impl State {
    /// How the account stands, with the newest `cycles` cycles.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn overview(&self, cycles: u32) -> Result<Overview, Error> {
        let mut tx = self.begin().await?;
        // One view for all that follows: counts and lists must belong to the same cycle.
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
            .fetch_one(unnamed(&mut tx))
            .await?;
        let account = self.load_account(&mut tx).await?.unwrap_or_else(|| Account {
            now: now.to_jiff(),
            ..Account::default()
        });
        let users = sqlx::query!(
            r#"SELECT count(*) AS "managed!",
                   count(*) FILTER (WHERE absent_since IS NOT NULL AND held_since IS NULL) AS "leaving!"
               FROM users WHERE account = $1"#,
            self.account
        )
        .fetch_one(unnamed(&mut tx))
        .await?;
        Ok(Overview {
            account,
            managed: users.managed.try_into().unwrap_or_default(),
            leaving: users.leaving.try_into().unwrap_or_default(),
            failures: self.list_failures(&mut tx, None).await?,
            held: self.list_held(&mut tx).await?,
            cycles: self.list_cycles(&mut tx, cycles).await?,
        })
    }

    async fn list_cycles(&self, tx: &mut Transaction<'static, Postgres>, most: u32) -> Result<Vec<PastCycle>, Error> {
        let rows = sqlx::query!(
            "SELECT cycle_id, started_at, finished_at, outcome, error_kind, requests, added, updated, removed, held \
             FROM cycles WHERE account = $1 ORDER BY cycle_id DESC LIMIT $2",
            self.account,
            i64::from(most)
        )
        .fetch_all(unnamed(tx))
        .await?;
        let cycle = rows.into_iter().map(|row| PastCycle {
            id: row.cycle_id,
            started_at: row.started_at.to_jiff(),
            finished_at: row.finished_at.to_jiff(),
            outcome: row.outcome,
            error_kind: row.error_kind,
            requests: row.requests,
            added: row.added,
            updated: row.updated,
            removed: row.removed,
            held: row.held,
        });
        Ok(cycle.collect())
    }

    /// What our role may do; changes nothing. For `check`.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn rights(&self) -> Result<Rights, Error> {
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"SELECT current_user::text AS "role!",
                   pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "read_only!",
                   n.oid IS NOT NULL AS "schema_exists!",
                   CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                       ELSE has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE')
                       END AS "may_create!",
                   NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') AND NOT (
                       has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                       AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
                   )) AS "may_change!"
               FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1"#,
            self.schema
        )
        .fetch_one(unnamed(&mut tx))
        .await?;
        Ok(Rights {
            role: row.role,
            read_only: row.read_only,
            schema_exists: row.schema_exists,
            may_create: row.may_create,
            may_change: row.may_change,
        })
    }
}
