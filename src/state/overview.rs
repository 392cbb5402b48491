//! What `status`, `explain` and `approve` want to know, each read in one go so that it fits together.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;

use super::{Account, CycleOutcome, Error, HistoryEntry, State, orders::Order, read_count, read_time};
use crate::{
    employee::FullName,
    plan::{Hold, HoldKey, LostEntry, Operation},
    postgres::unnamed,
};

/// How an account stands.
#[derive(Debug, Default)]
pub struct Overview {
    /// The account; its defaults, but for the time, if nobody ever held its lease.
    pub account: Account,
    /// Users whom Wazzup acknowledged to us.
    pub managed: u64,
    /// Those of them who left the CRM and are not held.
    pub leaving: u64,
    /// Users in a request whose answer is outstanding, or was lost and is not settled yet.
    pub unsettled: u64,
    /// The open failures, by id.
    pub failures: Vec<OpenFailure>,
    /// The open holds, approved ones included.
    pub holds: Vec<OpenHold>,
    /// Who was added in the last 7 days and is still managed.
    pub added_lately: Vec<String>,
    /// The newest cycles that did or failed something, newest first.
    pub cycles: Vec<PastCycle>,
}

/// An open failure as people are shown it.
#[derive(Debug, Clone, Serialize)]
pub struct OpenFailure {
    /// Whose.
    pub user_id: String,
    /// What failed.
    pub operation: Operation,
    /// The code.
    pub code: String,
    /// What it means.
    pub detail: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// How often it was attempted with these values; 0 for one in the CRM's own rows.
    pub attempts: u32,
    /// Found in the CRM's own rows.
    #[serde(rename = "in_crm")]
    pub is_local: bool,
    /// Since when.
    pub first_at: Timestamp,
    /// The last attempt.
    pub last_at: Timestamp,
    /// When it is tried again; `None`: as soon as the CRM's row is corrected.
    pub next_attempt_at: Option<Timestamp>,
}

/// An open hold as people are shown it. `Debug` hides names and phones.
#[derive(Clone)]
pub struct OpenHold {
    /// What is held.
    pub key: HoldKey,
    /// The hold. An approval that the next cycle will take counts as given.
    pub hold: Hold,
    /// The user's acknowledged name.
    #[expect(dead_code, reason = "goes with the next change of the state")]
    pub name: Option<FullName>,
}

impl fmt::Debug for OpenHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenHold")
            .field("key", &self.key)
            .field("since", &self.hold.since)
            .field("approved", &self.hold.approved)
            .finish_non_exhaustive()
    }
}

/// A cycle that did or failed something.
#[derive(Debug, Clone, Serialize)]
pub struct PastCycle {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: CycleOutcome,
    /// The kind of the error that it failed with.
    pub error_kind: Option<String>,
    /// The error.
    pub error: Option<String>,
    /// Requests that change something.
    pub requests: usize,
    /// Users added.
    pub added: usize,
    /// Users adopted or taken over.
    pub adopted: usize,
    /// Users changed.
    pub updated: usize,
    /// Users removed.
    pub removed: usize,
    /// Open holds that were not approved.
    pub held: usize,
}

/// What is known of one person, beside the snapshot.
#[derive(Debug, Default)]
pub struct Person {
    /// When Wazzup last acknowledged a request about the user.
    pub synced_at: Option<Timestamp>,
    /// The open failures.
    pub failures: Vec<OpenFailure>,
    /// The open holds.
    pub holds: Vec<OpenHold>,
    /// What was lost, oldest first.
    pub lost: Vec<LostEntry>,
    /// What was delivered, newest first.
    pub history: Vec<HistoryEntry>,
}

impl State {
    /// How the account stands, with the newest `cycles` cycles.
    ///
    /// # Errors
    /// If the database does not answer, or if there is no schema.
    pub async fn overview(&self, cycles: u32) -> Result<Overview, Error> {
        self.transaction("reading how the account stands", async |tx| {
            let now = Self::begin_reading(tx).await?;
            let account = self.load_account(tx).await?.unwrap_or_else(|| Account {
                now,
                ..Account::default()
            });
            let orders = self.load_orders(tx).await?;
            let numbers = sqlx::query!(
                r#"SELECT count(name) AS "managed!",
                       count(name) FILTER (WHERE absent_since IS NOT NULL AND NOT EXISTS (SELECT FROM holds h
                           WHERE h.user_id = u.user_id AND h.account = u.account AND h.kind = 'remove')) AS "leaving!",
                       (SELECT count(*) FROM (
                           SELECT user_id FROM lost WHERE account = $1
                           UNION SELECT user_id FROM in_flight_entries WHERE account = $1
                       ) AS unsettled) AS "unsettled!"
                   FROM users u WHERE account = $1"#,
                self.account
            )
            .fetch_one(unnamed(tx))
            .await?;
            Ok(Overview {
                account,
                managed: numbers.managed.try_into().unwrap_or_default(),
                leaving: numbers.leaving.try_into().unwrap_or_default(),
                unsettled: numbers.unsettled.try_into().unwrap_or_default(),
                failures: self.list_failures(tx, None, &orders, now).await?,
                holds: self.list_holds(tx, &orders).await?,
                added_lately: self.list_added_lately(tx).await?,
                cycles: self.list_cycles(tx, cycles).await?,
            })
        })
        .await
    }

    /// What is known of one person, with the newest `history` changes.
    ///
    /// # Errors
    /// If the database does not answer, or if there is no schema.
    pub async fn person(&self, user_id: &str, history: u32) -> Result<Person, Error> {
        self.transaction("reading what is known of a person", async |tx| {
            let now = Self::begin_reading(tx).await?;
            let synced_at = sqlx::query_scalar!(
                "SELECT synced_at FROM users WHERE account = $1 AND user_id = $2",
                self.account,
                user_id
            )
            .fetch_optional(unnamed(tx))
            .await?;
            let orders = self.load_orders(tx).await?;
            let mut holds = self.list_holds(tx, &orders).await?;
            holds.retain(|open| *open.key.user_id == *user_id);
            let lost = self.load_lost(tx, Some(user_id)).await?;
            Ok(Person {
                synced_at: read_time(synced_at.flatten()),
                failures: self.list_failures(tx, Some(user_id), &orders, now).await?,
                holds,
                lost: lost.into_values().next().unwrap_or_default(),
                history: self.load_history(tx, user_id, history).await?,
            })
        })
        .await
    }

    async fn list_holds(&self, tx: &mut PgConnection, orders: &[Order]) -> Result<Vec<OpenHold>, Error> {
        let mut holds = self.load_holds(tx).await?;
        if holds.is_empty() {
            return Ok(Vec::new());
        }
        for order in orders {
            order.approve_in(&mut holds);
        }
        let rows = sqlx::query!(
            r#"SELECT DISTINCT user_id, name AS "name!" FROM users JOIN holds USING (user_id, account)
               WHERE account = $1 AND name IS NOT NULL"#,
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        let mut names = std::collections::BTreeMap::new();
        for row in rows {
            if let Ok(name) = FullName::parse(&row.name) {
                names.insert(row.user_id, name);
            }
        }
        let mut open_holds = Vec::new();
        for (key, hold) in holds {
            let name = names.get(&*key.user_id).cloned();
            open_holds.push(OpenHold { key, hold, name });
        }
        Ok(open_holds)
    }

    /// The open failures, of `user_id` alone if given. Those that waiting `orders` retry are due `now`.
    async fn list_failures(
        &self,
        tx: &mut PgConnection,
        user_id: Option<&str>,
        orders: &[Order],
        now: Timestamp,
    ) -> Result<Vec<OpenFailure>, Error> {
        let rows = sqlx::query!(
            "SELECT user_id, operation, code, detail, request_id, attempts, local, first_at, last_at, next_attempt_at \
             FROM failures WHERE account = $1 AND ($2::text IS NULL OR user_id = $2) ORDER BY user_id, operation",
            self.account,
            user_id
        )
        .fetch_all(unnamed(tx))
        .await?;
        let mut failures = Vec::new();
        for row in rows {
            let Some(operation) = Operation::parse(&row.operation) else {
                continue;
            };
            let is_ordered = !row.local && orders.iter().any(|order| order.retries(&row.user_id));
            let next_attempt_at = if is_ordered {
                Some(now)
            } else {
                read_time(row.next_attempt_at)
            };
            failures.push(OpenFailure {
                user_id: row.user_id,
                operation,
                code: row.code,
                detail: row.detail,
                request_id: row.request_id,
                attempts: row.attempts.try_into().unwrap_or_default(),
                is_local: row.local,
                first_at: row.first_at.to_jiff(),
                last_at: row.last_at.to_jiff(),
                next_attempt_at,
            });
        }
        Ok(failures)
    }

    async fn list_added_lately(&self, tx: &mut PgConnection) -> Result<Vec<String>, Error> {
        let added = sqlx::query_scalar!(
            "SELECT DISTINCT user_id FROM history JOIN users USING (user_id, account) \
             WHERE account = $1 AND operation = 'add' AND at > now() - interval '7 days' AND name IS NOT NULL \
             ORDER BY user_id",
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        Ok(added)
    }

    async fn list_cycles(&self, tx: &mut PgConnection, most: u32) -> Result<Vec<PastCycle>, Error> {
        let rows = sqlx::query!(
            "SELECT cycle_id, started_at, finished_at, outcome, error_kind, error, requests, added, adopted, updated, \
                 removed, held \
             FROM cycles WHERE account = $1 ORDER BY cycle_id DESC LIMIT $2",
            self.account,
            i64::from(most)
        )
        .fetch_all(unnamed(tx))
        .await?;
        let mut cycles = Vec::new();
        for row in rows {
            let Some(outcome) = CycleOutcome::parse(&row.outcome) else {
                continue;
            };
            cycles.push(PastCycle {
                id: row.cycle_id,
                started_at: row.started_at.to_jiff(),
                finished_at: row.finished_at.to_jiff(),
                outcome,
                error_kind: row.error_kind,
                error: row.error,
                requests: read_count(row.requests),
                added: read_count(row.added),
                adopted: read_count(row.adopted),
                updated: read_count(row.updated),
                removed: read_count(row.removed),
                held: read_count(row.held),
            });
        }
        Ok(cycles)
    }
}
