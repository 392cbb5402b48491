//! The account's row: the lease, what the last cycle left behind, and what is known of the Wazzup account.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Error, Holder, State, Transaction, read_count, read_time};
use crate::employee::EmployeeId;

/// A lease that expires later was written by a wrong clock, and is none.
const FARTHEST_EXPIRY: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CycleOutcome {
    /// Wazzup has everything that the CRM wants.
    InSync,
    /// Somebody is failing, waiting, pending or held, or a removal that is due was not done.
    Incomplete,
    /// The cycle could not be done.
    Failed,
}

impl CycleOutcome {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
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
    /// When a list last passed: it was complete and is this account's.
    pub list_passed_at: Option<Timestamp>,
    /// The fingerprint of address and key with which a list last passed.
    #[serde(skip)]
    pub fingerprint: Option<String>,
    pub seats: KnownSeats,
    /// Employees who waited for a seat at the end of the last cycle.
    #[serde(skip)]
    pub waiting_for_seat: BTreeSet<EmployeeId>,
}

/// Who holds the lease, and until when.
#[derive(Debug, Clone, Serialize)]
pub struct HeldLease {
    #[serde(flatten)]
    pub holder: Holder,
    pub expires_at: Timestamp,
}

/// The seats of an account, as far as they are known.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KnownSeats {
    /// Users in the account, foreign ones included: as last counted, and changed by our own additions and removals since.
    pub used: Option<usize>,
    /// Users in the account that are not ours, as last counted.
    pub foreign: Option<usize>,
    /// The most users that the account may have, once Wazzup has named it.
    pub limit: Option<usize>,
    pub counted_at: Option<Timestamp>,
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
        // Not `*`: a newer version's columns would be taken for others.
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", lease_holder, lease_host, lease_expires_at,
                   last_cycle_id, last_started_at, last_finished_at, last_outcome AS "last_outcome: CycleOutcome",
                   last_error_kind, last_error,
                   last_success_at, failing_since, error_reported_at, holds_reported_at,
                   eligible, in_sync, failing, waiting, pending, missing_ids,
                   list_read_at, list_passed_at, fingerprint,
                   seats_used, foreign_users, seats_limit, seats_counted_at, waiting_for_seat
               FROM accounts WHERE account = $1"#,
            self.account
        )
        .fetch_optional(self.executor())
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let lease = match (row.lease_holder, row.lease_expires_at) {
            (Some(name), Some(expires_at)) if expires_at.to_jiff() <= row.now.to_jiff() + FARTHEST_EXPIRY => {
                let host = row.lease_host.unwrap_or_default();
                Some(HeldLease {
                    holder: Holder { name, host },
                    expires_at: expires_at.to_jiff(),
                })
            }
            _ => None,
        };
        let counts = Counts {
            eligible: read_count(row.eligible),
            in_sync: read_count(row.in_sync),
            failing: read_count(row.failing),
            waiting_for_seat: read_count(row.waiting),
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
        let waiting_ids = row.waiting_for_seat.iter();
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
            fingerprint: row.fingerprint,
            seats: KnownSeats {
                used: row.seats_used.map(read_count),
                foreign: row.foreign_users.map(read_count),
                limit: row.seats_limit.map(read_count),
                counted_at: read_time(row.seats_counted_at),
            },
            waiting_for_seat: waiting_ids.filter_map(|id| EmployeeId::parse(id).ok()).collect(),
        }))
    }
}
