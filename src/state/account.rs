//! The account's row: the lease, what the last cycle left behind, and what is known of the Wazzup account.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Error, Holder, State, Transaction, read_count, read_time, stored_count};
use crate::{
    employee::EmployeeId,
    plan::{AccountFacts, Seats},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type, strum::AsRefStr)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(test, derive(Default))]
pub enum CycleOutcome {
    /// Wazzup has everything that the CRM wants.
    #[cfg_attr(test, default)]
    InSync,
    /// Somebody is failing, waiting, pending or held, or a removal that is due was not done.
    Incomplete,
    Failed,
}

/// How the employees stand: `eligible = in_sync + failing + waiting_for_seat + pending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Distinct ids that the CRM wants in Wazzup, rejected rows included.
    pub eligible: usize,
    pub in_sync: usize,
    pub failing: usize,
    pub waiting_for_seat: usize,
    /// Changed and not delivered.
    pub pending: usize,
    /// Rows without an id; they are not eligible.
    pub missing_ids: usize,
}

/// What `status` shows is serialised; `docs/json.md` documents it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// The database's clock when the row was read.
    #[serde(skip)]
    pub now: Timestamp,
    pub lease: Option<HeldLease>,
    pub last_cycle: Option<LastCycle>,
    /// When a cycle last ended without failing.
    pub last_success_at: Option<Timestamp>,
    /// When the first of the cycles began that have failed since the last success.
    pub failing_since: Option<Timestamp>,
    /// When the log last reported the current failure as an error.
    #[serde(skip)]
    pub error_reported_at: Option<Timestamp>,
    /// When the log last reported holds as an error.
    #[serde(skip)]
    pub holds_reported_at: Option<Timestamp>,
    /// When a cycle last ended without failing that had a list of Wazzup's.
    pub list_read_at: Option<Timestamp>,
    /// When something of a cycle, its list or look-ups, last showed that this is our account.
    pub list_passed_at: Option<Timestamp>,
    /// Users in the account that are not ours, as last counted.
    #[serde(skip)]
    pub foreign_users: Option<usize>,
    #[serde(skip)]
    pub seats_counted_at: Option<Timestamp>,
    /// What a plan has to know.
    #[serde(skip)]
    pub facts: AccountFacts,
}

#[derive(Debug, Clone, Serialize)]
pub struct HeldLease {
    #[serde(flatten)]
    pub holder: Holder,
    pub expires_at: Timestamp,
}

/// The last cycle that ended, quiet ones included.
#[derive(Debug, Clone, Serialize)]
pub struct LastCycle {
    pub id: i64,
    pub outcome: CycleOutcome,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub error_kind: Option<String>,
    pub error: Option<String>,
    /// Those of the last cycle that counted, if this one failed before it could.
    #[serde(skip)]
    pub counts: Counts,
}

impl Account {
    /// For how long no cycle has succeeded.
    pub fn failing_for(&self, now: Timestamp) -> SignedDuration {
        let since = self.last_success_at.or(self.failing_since).unwrap_or(now);
        now.duration_since(since)
    }
}

impl State {
    /// The account's row; `None` if nobody ever held its lease. There has to be a schema.
    pub async fn account_row(&self) -> Result<Option<Account>, Error> {
        self.transaction("reading the account", async |tx| tx.load_account().await)
            .await
    }

    /// The other accounts in the schema, by name: to recognise a mistyped name.
    pub async fn other_accounts(&self) -> Result<Vec<String>, Error> {
        self.transaction("reading the names of the accounts", async |tx| {
            let accounts = sqlx::query_scalar!(
                "SELECT account FROM accounts WHERE account <> $1 ORDER BY account",
                self.account
            )
            .fetch_all(tx.executor())
            .await?;
            Ok(accounts)
        })
        .await
    }
}

impl Transaction<'_> {
    pub(super) async fn load_account(&mut self) -> Result<Option<Account>, Error> {
        // Not `*`: a newer version's columns would be taken for others. An expiry more than a day ahead was written by a clock
        // that was wrong, and is no lease.
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", lease_holder, lease_host,
                   CASE WHEN lease_expires_at <= now() + interval '24 hours' THEN lease_expires_at END AS lease_expires_at,
                   last_cycle_id, last_started_at, last_finished_at, last_outcome AS "last_outcome: CycleOutcome",
                   last_error_kind, last_error,
                   last_success_at, failing_since, error_reported_at, holds_reported_at,
                   eligible, in_sync, failing, waiting_for_seat, pending, missing_ids,
                   list_read_at, list_passed_at, fingerprint,
                   seats_used, foreign_users, seats_limit, seats_counted_at, waiting_ids
               FROM accounts WHERE account = $1"#,
            self.account
        )
        .fetch_optional(self.executor())
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let holder = row.lease_holder.map(|name| Holder {
            name,
            host: row.lease_host.unwrap_or_default(),
        });
        let expires_at = read_time(row.lease_expires_at);
        let lease = holder
            .zip(expires_at)
            .map(|(holder, expires_at)| HeldLease { holder, expires_at });
        let counts = Counts {
            eligible: read_count(row.eligible),
            in_sync: read_count(row.in_sync),
            failing: read_count(row.failing),
            waiting_for_seat: read_count(row.waiting_for_seat),
            pending: read_count(row.pending),
            missing_ids: read_count(row.missing_ids),
        };
        let last_cycle = row.last_outcome.map(|outcome| LastCycle {
            id: row.last_cycle_id.unwrap_or_default(),
            outcome,
            started_at: read_time(row.last_started_at).unwrap_or_default(),
            finished_at: read_time(row.last_finished_at).unwrap_or_default(),
            error_kind: row.last_error_kind,
            error: row.last_error,
            counts,
        });
        let waiting_ids = row.waiting_ids.iter();
        let facts = AccountFacts {
            fingerprint: row.fingerprint,
            seats: Seats {
                used: row.seats_used.map(read_count),
                limit: row.seats_limit.map(read_count),
            },
            waiting_for_seat: waiting_ids.filter_map(|id| EmployeeId::parse(id)).collect(),
            retry_seats: false,
        };
        Ok(Some(Account {
            now: row.now.to_jiff(),
            lease,
            last_cycle,
            last_success_at: read_time(row.last_success_at),
            failing_since: read_time(row.failing_since),
            error_reported_at: read_time(row.error_reported_at),
            holds_reported_at: read_time(row.holds_reported_at),
            list_read_at: read_time(row.list_read_at),
            list_passed_at: read_time(row.list_passed_at),
            foreign_users: row.foreign_users.map(read_count),
            seats_counted_at: read_time(row.seats_counted_at),
            facts,
        }))
    }

    pub(super) async fn write_seats(&mut self, seats: Seats) -> Result<(), Error> {
        self.run(sqlx::query!(
            "UPDATE accounts SET seats_limit = $2, seats_used = COALESCE($3, seats_used) WHERE account = $1",
            self.account,
            seats.limit.map(stored_count),
            seats.used.map(stored_count)
        ))
        .await
    }
}
