//! The account's row: the lease, and what the last cycle left behind.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::{AssertSqlSafe, Postgres, Transaction, postgres::types::PgInterval};
use tokio::{sync::watch, time::Instant};

use super::{Error, State};
use crate::postgres::unnamed;

/// Who asks for the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Distinct for each process, and readable: host, process id and a random part.
    pub name: String,
    /// The host's name.
    pub host: String,
}

/// The lease of an account, as long as its token is the newest.
#[derive(Debug)]
pub struct Lease {
    token: i64,
    pub(super) duration: Duration,
    /// Until when this process may rely on it, on its own clock: counted from before the statement that renewed it.
    valid_until: watch::Sender<Instant>,
}

impl Lease {
    /// Until when the lease is good for sure, on this process's clock.
    #[must_use]
    pub fn valid_until(&self) -> watch::Receiver<Instant> {
        self.valid_until.subscribe()
    }

    /// The fencing token.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.token
    }

    /// It was renewed by a statement that was sent at `asked_at`.
    pub(super) fn renewed(&self, asked_at: Instant) {
        self.valid_until.send_replace(asked_at + self.duration);
    }
}

/// The answer to asking for the lease.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours.
    Ours(Lease),
    /// Another process has it.
    HeldBy {
        /// Who.
        holder: Holder,
        /// For how long at least.
        expires_in: SignedDuration,
    },
}

/// An account as its row says it.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The database's clock when it was read.
    pub now: Timestamp,
    /// Who holds the lease, and until when.
    pub lease: Option<(Holder, Timestamp)>,
    /// The last cycle that ended.
    pub last_cycle: Option<LastCycle>,
    /// When a cycle last ended without failing.
    pub last_success_at: Option<Timestamp>,
    /// When the snapshot was last compared with Wazzup's list.
    pub last_verified_at: Option<Timestamp>,
    /// When that was last tried.
    pub verify_tried_at: Option<Timestamp>,
    /// Users in the account, foreign ones included, when they were last counted.
    pub seats_used: Option<u64>,
    /// Users in the account that are not ours.
    pub foreign_users: Option<u64>,
    /// The most users that the account may have, where Wazzup has said it.
    pub seats_limit: Option<u64>,
    /// When they were counted.
    pub seats_counted_at: Option<Timestamp>,
}

/// The last cycle that ended, quiet ones included.
#[derive(Debug, Clone)]
pub struct LastCycle {
    /// Its number.
    pub id: i64,
    /// `in_sync`, `incomplete` or `failed`.
    pub outcome: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The kind of the error that it failed with.
    pub error_kind: Option<String>,
    /// The error.
    pub error: Option<String>,
    /// Its counts; those of the last cycle that counted, if this one failed before it could.
    pub counts: super::Counts,
}

impl State {
    /// Takes the lease if nobody holds it. After a holder that died, the requests it may have sent count as unknown.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn acquire(&self, holder: &Holder, duration: Duration) -> Result<Acquired, Error> {
        let asked_at = Instant::now();
        let mut tx = self.begin().await?;
        let taken = sqlx::query!(
            r#"WITH previous AS (SELECT lease_holder FROM accounts WHERE account = $1)
               INSERT INTO accounts AS a (account, lease_holder, lease_host, lease_token, lease_expires_at)
               VALUES ($1, $2, $3, 1, now() + $4)
               ON CONFLICT (account) DO UPDATE
               SET lease_holder = $2, lease_host = $3, lease_token = a.lease_token + 1, lease_expires_at = now() + $4
               WHERE a.lease_holder IS NULL OR a.lease_expires_at <= now()
               RETURNING lease_token, (SELECT lease_holder FROM previous) AS previous"#,
            self.account,
            holder.name,
            holder.host,
            interval(duration)
        )
        .fetch_optional(unnamed(&mut tx))
        .await?;
        let Some(taken) = taken else {
            tx.rollback().await?;
            return self.held_by().await;
        };
        if taken.previous.is_some() {
            self.mark_unknown(&mut tx).await?;
        }
        self.commit(tx).await?;
        let (valid_until, _) = watch::channel(asked_at + duration);
        Ok(Acquired::Ours(Lease {
            token: taken.lease_token,
            duration,
            valid_until,
        }))
    }

    async fn held_by(&self) -> Result<Acquired, Error> {
        let account = self.account_row().await?.unwrap_or_default();
        let unknown = || {
            (
                Holder {
                    name: "another process".into(),
                    host: String::new(),
                },
                account.now,
            )
        };
        let (holder, expires_at) = account.lease.clone().unwrap_or_else(unknown);
        Ok(Acquired::HeldBy {
            holder,
            expires_in: expires_at.duration_since(account.now),
        })
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// If the database does not answer, or if another process has taken the lease over.
    pub async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let tx = self.renewals.begin_with(AssertSqlSafe(self.begin.clone())).await?;
        let tx = self.fence(tx, lease).await?;
        Ok(tx.commit().await?)
    }

    /// Gives the lease up, so that a standby need not wait for its end. If a request was left alone (`abandoned`), what
    /// is in doubt counts as unknown.
    ///
    /// # Errors
    /// If the database does not answer, or if another process has taken the lease over.
    pub async fn give_up(&self, lease: &Lease, abandoned: bool) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let given_up = sqlx::query!(
            "UPDATE accounts SET lease_holder = NULL, lease_host = NULL, lease_expires_at = NULL \
             WHERE account = $1 AND lease_token = $2",
            self.account,
            lease.token
        )
        .execute(unnamed(&mut tx))
        .await?;
        if given_up.rows_affected() == 0 {
            return Err(Error::LeaseLost);
        }
        if abandoned {
            self.mark_unknown(&mut tx).await?;
        }
        self.commit(tx).await
    }

    /// A process ended without recording what became of its requests: they may land until 2 × time-out from now.
    async fn mark_unknown(&self, tx: &mut Transaction<'static, Postgres>) -> Result<(), Error> {
        sqlx::query!(
            "UPDATE users SET unknown_at = now() WHERE account = $1 AND in_doubt_since IS NOT NULL",
            self.account
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }

    /// A transaction that writes: it renews the lease, and fails if another process has taken it over.
    pub(super) async fn fenced(&self, lease: &Lease) -> Result<Transaction<'static, Postgres>, Error> {
        self.fence(self.begin().await?, lease).await
    }

    async fn fence(
        &self,
        mut tx: Transaction<'static, Postgres>,
        lease: &Lease,
    ) -> Result<Transaction<'static, Postgres>, Error> {
        let asked_at = Instant::now();
        let renewed = sqlx::query!(
            "UPDATE accounts SET lease_expires_at = now() + $3 \
             WHERE account = $1 AND lease_token = $2 AND lease_holder IS NOT NULL",
            self.account,
            lease.token,
            interval(lease.duration)
        )
        .execute(unnamed(&mut tx))
        .await?;
        if renewed.rows_affected() == 0 {
            return Err(Error::LeaseLost);
        }
        lease.renewed(asked_at);
        Ok(tx)
    }

    /// The account's row; `None` if no cycle ever ran.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn account_row(&self) -> Result<Option<Account>, Error> {
        let mut tx = self.begin().await?;
        self.load_account(&mut tx).await
    }

    pub(super) async fn load_account(&self, tx: &mut Transaction<'static, Postgres>) -> Result<Option<Account>, Error> {
        // Not `*`: a newer version's columns would be taken for others.
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", lease_holder, lease_host, lease_expires_at, cycle_id, last_started_at,
                   last_finished_at, last_outcome, last_error_kind, last_error, last_success_at, eligible, in_sync,
                   failing, waiting_for_seat, pending, missing_ids, last_verified_at, verify_tried_at, seats_used,
                   foreign_users, seats_limit, seats_counted_at
               FROM accounts WHERE account = $1"#,
            self.account
        )
        .fetch_optional(unnamed(tx))
        .await?;
        Ok(row.map(|row| {
            let at = |time: Option<jiff_sqlx::Timestamp>| time.map(jiff_sqlx::Timestamp::to_jiff);
            let count = |number: i64| number.try_into().unwrap_or_default();
            let counted = |number: Option<i64>| number.and_then(|it| it.try_into().ok());
            let host = row.lease_host.unwrap_or_default();
            let ended = at(row.last_started_at)
                .zip(at(row.last_finished_at))
                .zip(row.last_outcome);
            Account {
                now: row.now.to_jiff(),
                lease: row
                    .lease_holder
                    .map(|name| Holder { name, host })
                    .zip(at(row.lease_expires_at)),
                last_cycle: ended.map(|((started_at, finished_at), outcome)| LastCycle {
                    id: row.cycle_id,
                    outcome,
                    started_at,
                    finished_at,
                    error_kind: row.last_error_kind,
                    error: row.last_error,
                    counts: super::Counts {
                        eligible: count(row.eligible),
                        in_sync: count(row.in_sync),
                        failing: count(row.failing),
                        waiting_for_seat: count(row.waiting_for_seat),
                        pending: count(row.pending),
                        missing_ids: count(row.missing_ids),
                    },
                }),
                last_success_at: at(row.last_success_at),
                last_verified_at: at(row.last_verified_at),
                verify_tried_at: at(row.verify_tried_at),
                seats_used: counted(row.seats_used),
                foreign_users: counted(row.foreign_users),
                seats_limit: counted(row.seats_limit),
                seats_counted_at: at(row.seats_counted_at),
            }
        }))
    }

    /// Records what a list of Wazzup's told: users that it lacks or names otherwise are in doubt; seats are counted.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn record_verification(&self, lease: &Lease, found: &Verification, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        let now = now.to_sqlx();
        sqlx::query!(
            "UPDATE users SET in_doubt_since = COALESCE(in_doubt_since, $3), \
                 missing_since = CASE WHEN user_id = ANY($4) THEN COALESCE(missing_since, $3) ELSE missing_since END \
             WHERE account = $1 AND (user_id = ANY($2) OR user_id = ANY($4))",
            self.account,
            &found.renamed[..],
            now,
            &found.missing[..]
        )
        .execute(unnamed(&mut tx))
        .await?;
        sqlx::query!(
            "UPDATE accounts SET verify_tried_at = $2, last_verified_at = CASE WHEN $3 THEN $2 ELSE last_verified_at END \
             WHERE account = $1",
            self.account,
            now,
            found.complete
        )
        .execute(unnamed(&mut tx))
        .await?;
        if let Some(seats) = found.seats {
            self.write_seats(&mut tx, seats, now).await?;
        }
        self.commit(tx).await
    }

    /// Records how many users the account has.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn record_seats(&self, lease: &Lease, seats: Seats, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        self.write_seats(&mut tx, seats, now.to_sqlx()).await?;
        self.commit(tx).await
    }

    async fn write_seats(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        seats: Seats,
        now: jiff_sqlx::Timestamp,
    ) -> Result<(), Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        sqlx::query!(
            "UPDATE accounts SET seats_used = $2, foreign_users = $3, seats_limit = COALESCE($4, seats_limit), \
                 seats_counted_at = $5 WHERE account = $1",
            self.account,
            number(seats.used),
            number(seats.foreign),
            seats.limit.map(number),
            now
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }
}

/// What a comparison with Wazzup's list found.
#[derive(Debug, Default)]
pub struct Verification {
    /// The list proved to be complete.
    pub complete: bool,
    /// Users of ours that it does not have.
    pub missing: Vec<String>,
    /// Users of ours with another name there.
    pub renamed: Vec<String>,
    /// The seats, where the list was complete.
    pub seats: Option<Seats>,
}

/// The users in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seats {
    /// All of them.
    pub used: usize,
    /// Those that are not ours.
    pub foreign: usize,
    /// The most there may be, where Wazzup said so.
    pub limit: Option<usize>,
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
