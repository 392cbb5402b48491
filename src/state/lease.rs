//! The lease: who may write, and for how long.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use tokio::{sync::watch, time::Instant};

use super::{Error, SchemaVersion, State, Transaction, interval, read_time};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Distinct for each process, and readable: host, process id and a random part.
    #[serde(rename = "holder")]
    pub name: String,
    pub host: String,
}

/// The lease of an account. Good as long as the account's row names its token and its holder: a restored backup may give
/// the same token out a second time.
#[derive(Debug)]
pub struct Lease {
    pub(super) holder: String,
    /// The fencing token.
    pub(crate) token: i64,
    pub(crate) duration: Duration,
    valid_until: watch::Sender<Instant>,
}

impl Lease {
    /// Until when the lease is good for sure, on this process's clock.
    pub fn valid_until(&self) -> watch::Receiver<Instant> {
        self.valid_until.subscribe()
    }

    /// Another process has it: no further request starts.
    pub fn note_loss(&self) {
        self.valid_until.send_replace(Instant::now());
    }

    /// A transaction that began after `asked_at` renewed the lease.
    fn renewed(&self, asked_at: Instant) {
        self.valid_until
            .send_modify(|valid_until| *valid_until = (*valid_until).max(asked_at + self.duration));
    }
}

#[derive(Debug)]
pub enum Acquired {
    Ours(Lease),
    /// Another process has it.
    HeldBy {
        holder: Holder,
        /// For how long at least.
        expires_in: SignedDuration,
    },
}

impl State {
    /// Takes the lease if nobody holds it. Creates the schema before, if there is none; an older one is migrated after, so
    /// never under the holder of an older version.
    pub async fn acquire(&self, holder: &Holder, duration: Duration) -> Result<Acquired, Error> {
        let asked_at = Instant::now();
        self.transaction("asking for the lease", async |tx| {
            let version = self.find_version(tx).await?;
            match version {
                SchemaVersion::Absent => self.migrate(tx).await?,
                SchemaVersion::Newer(found) => return Err(self.too_new(found)),
                SchemaVersion::Older | SchemaVersion::Current => {}
            }
            let Some(token) = tx.take_lease(holder, duration).await? else {
                return tx.current_holder().await;
            };
            if version == SchemaVersion::Older {
                self.migrate(tx).await?;
            }
            let (valid_until, _) = watch::channel(asked_at + duration);
            Ok(Acquired::Ours(Lease {
                holder: holder.name.clone(),
                token,
                duration,
                valid_until,
            }))
        })
        .await
    }

    /// Renews the lease, while another transaction of ours may be under way.
    pub async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let asked_at = Instant::now();
        self.transaction_in(&self.renewals, "renewing the lease", async |tx| {
            let renewed = sqlx::query!(
                "UPDATE accounts SET lease_expires_at = now() + $4 \
                 WHERE account = $1 AND lease_token = $2 AND lease_holder = $3",
                self.account,
                lease.token,
                lease.holder,
                interval(lease.duration)
            );
            tx.run_as_holder(renewed).await
        })
        .await?;
        lease.renewed(asked_at);
        Ok(())
    }

    /// Gives the lease up, so that a standby need not wait for its end. What the journal still has is lost when the
    /// next cycle opens.
    pub async fn give_up(&self, lease: &Lease) -> Result<(), Error> {
        self.transaction("giving the lease up", async |tx| {
            let given_up = sqlx::query!(
                "UPDATE accounts SET lease_holder = NULL, lease_host = NULL, lease_expires_at = NULL \
                 WHERE account = $1 AND lease_token = $2 AND lease_holder = $3",
                self.account,
                lease.token,
                lease.holder
            );
            tx.run_as_holder(given_up).await
        })
        .await
    }

    /// A transaction that writes under the lease: `work` begins with a statement that renews it. This process counts the renewed
    /// lease from before the transaction began, as the database does.
    pub(super) async fn under_lease<T>(
        &self,
        lease: &Lease,
        purpose: &str,
        work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let asked_at = Instant::now();
        let value = self.transaction(purpose, work).await?;
        lease.renewed(asked_at);
        Ok(value)
    }
}

impl Transaction<'_> {
    /// Returns the new token; `None` if another process holds the lease.
    async fn take_lease(&mut self, holder: &Holder, duration: Duration) -> Result<Option<i64>, Error> {
        // An expiry more than a day ahead was written by a clock that was wrong.
        let token = sqlx::query_scalar!(
            "INSERT INTO accounts AS a (account, lease_holder, lease_host, lease_token, lease_expires_at) \
             VALUES ($1, $2, $3, 1, now() + $4) \
             ON CONFLICT (account) DO UPDATE \
             SET lease_holder = $2, lease_host = $3, lease_token = a.lease_token + 1, lease_expires_at = now() + $4 \
             WHERE a.lease_holder IS NULL OR a.lease_expires_at <= now() \
                 OR a.lease_expires_at > now() + interval '24 hours' \
             RETURNING lease_token",
            self.account,
            holder.name,
            holder.host,
            interval(duration)
        )
        .fetch_optional(self.executor())
        .await?;
        Ok(token)
    }

    /// Reads the columns of the lease alone: the schema may be older than the rest of this program.
    async fn current_holder(&mut self) -> Result<Acquired, Error> {
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", lease_holder, lease_host, lease_expires_at FROM accounts WHERE account = $1"#,
            self.account
        )
        .fetch_one(self.executor())
        .await?;
        let now = row.now.to_jiff();
        let expires_at = read_time(row.lease_expires_at).unwrap_or(now);
        Ok(Acquired::HeldBy {
            holder: Holder {
                name: row.lease_holder.unwrap_or_else(|| "another process".into()),
                host: row.lease_host.unwrap_or_default(),
            },
            expires_in: expires_at.duration_since(now),
        })
    }

    /// Runs a statement that changes the account's row only while the lease is ours.
    async fn run_as_holder(&mut self, statement: Query<'_, Postgres, PgArguments>) -> Result<(), Error> {
        let done = statement.execute(self.executor()).await?;
        if done.rows_affected() == 0 {
            return Err(Error::LeaseLost);
        }
        Ok(())
    }
}
