//! The lease: who may write, and for how long.

use std::time::Duration;

use jiff::SignedDuration;
use sqlx::{PgConnection, PgPool};
use tokio::{sync::watch, time::Instant};

use super::{Error, SchemaVersion, State, Transaction, interval, read_time};
use crate::postgres::unnamed;

/// Who asks for the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Distinct for each process, and readable: host, process id and a random part.
    pub name: String,
    /// The host's name.
    pub host: String,
}

/// The lease of an account. Good as long as the account's row names its token and its holder: a restored backup may give
/// the same token out a second time.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    token: i64,
    duration: Duration,
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

    /// A transaction that began after `asked_at` renewed the lease.
    pub(super) fn renewed(&self, asked_at: Instant) {
        self.valid_until
            .send_modify(|valid_until| *valid_until = (*valid_until).max(asked_at + self.duration));
    }
}

/// The answer to asking for the lease.
#[derive(Debug)]
pub enum Acquired {
    /// This process has it now.
    Ours(Lease),
    /// Another process has it.
    HeldBy {
        /// That process.
        holder: Holder,
        /// For how long at least.
        expires_in: SignedDuration,
    },
}

impl State {
    /// Takes the lease if nobody holds it. Creates the schema before, if there is none; an older one is migrated after, so
    /// never under the holder of an older version.
    ///
    /// # Errors
    /// If the database does not answer or refuses, or if the schema is newer than this program or somebody else's.
    pub async fn acquire(&self, holder: &Holder, duration: Duration) -> Result<Acquired, Error> {
        let version = self.version().await?;
        match version {
            SchemaVersion::Absent => self.create_schema().await?,
            SchemaVersion::Newer(found) => return Err(self.too_new(found)),
            SchemaVersion::Older | SchemaVersion::Current => {}
        }
        let acquired = self.take_lease(holder, duration).await?;
        if let (Acquired::Ours(lease), SchemaVersion::Older) = (&acquired, version) {
            self.migrate(lease).await?;
        }
        Ok(acquired)
    }

    async fn take_lease(&self, holder: &Holder, duration: Duration) -> Result<Acquired, Error> {
        let asked_at = Instant::now();
        let new_token = self.limited("asking for the lease", async {
            let mut tx = self.transaction().await?;
            // An expiry more than a day ahead was written by a clock that was wrong.
            let new_token = sqlx::query_scalar!(
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
            .fetch_optional(unnamed(&mut tx))
            .await?;
            tx.commit(new_token).await
        });
        match new_token.await? {
            Some(token) => Ok(Acquired::Ours(Lease {
                holder: holder.name.clone(),
                token,
                duration,
                valid_until: watch::channel(asked_at + duration).0,
            })),
            None => self.current_holder().await,
        }
    }

    /// Reads the columns of the lease alone: the schema may be older than the rest of this program.
    async fn current_holder(&self) -> Result<Acquired, Error> {
        self.limited("asking who has the lease", async {
            let mut tx = self.transaction().await?;
            let row = sqlx::query!(
                r#"SELECT now() AS "now!", lease_holder, lease_host, lease_expires_at FROM accounts WHERE account = $1"#,
                self.account
            )
            .fetch_one(unnamed(&mut tx))
            .await?;
            // It may have been given up a moment ago.
            let holder = Holder {
                name: row.lease_holder.unwrap_or_else(|| "another process".into()),
                host: row.lease_host.unwrap_or_default(),
            };
            let now = row.now.to_jiff();
            let expires_at = read_time(row.lease_expires_at).unwrap_or(now);
            let expires_in = expires_at.duration_since(now);
            tx.commit(Acquired::HeldBy { holder, expires_in }).await
        })
        .await
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// If the database does not answer, or if another process has taken the lease over.
    pub async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        self.limited("renewing the lease", async {
            let tx = self.fenced_transaction_on(&self.renewals, lease).await?;
            tx.commit(()).await
        })
        .await
    }

    /// Gives the lease up, so that a standby need not wait for its end. What still stands in the journal is lost when the
    /// next cycle opens.
    ///
    /// # Errors
    /// If the database does not answer, or if another process has taken the lease over.
    pub async fn give_up(&self, lease: &Lease) -> Result<(), Error> {
        self.limited("giving the lease up", async {
            let mut tx = self.transaction().await?;
            let given_up = sqlx::query!(
                "UPDATE accounts SET lease_holder = NULL, lease_host = NULL, lease_expires_at = NULL \
                 WHERE account = $1 AND lease_token = $2 AND lease_holder = $3",
                self.account,
                lease.token,
                lease.holder
            )
            .execute(unnamed(&mut tx))
            .await?;
            if given_up.rows_affected() == 0 {
                return Err(Error::LeaseLost);
            }
            tx.commit(()).await
        })
        .await
    }

    /// Begins a transaction that writes under the lease. This process counts the renewed lease from before the transaction
    /// began, as the database does.
    pub(super) async fn fenced_transaction<'lease>(&self, lease: &'lease Lease) -> Result<Transaction<'lease>, Error> {
        self.fenced_transaction_on(&self.pool, lease).await
    }

    async fn fenced_transaction_on<'lease>(
        &self,
        pool: &PgPool,
        lease: &'lease Lease,
    ) -> Result<Transaction<'lease>, Error> {
        let asked_at = Instant::now();
        let mut tx = self.transaction_on(pool).await?;
        self.fence(&mut tx, lease).await?;
        tx.renews = Some((lease, asked_at));
        Ok(tx)
    }

    /// Renews the lease, or fails if another process has taken it over.
    pub(super) async fn fence(&self, tx: &mut PgConnection, lease: &Lease) -> Result<(), Error> {
        let renewed = sqlx::query!(
            "UPDATE accounts SET lease_expires_at = now() + $4 \
             WHERE account = $1 AND lease_token = $2 AND lease_holder = $3",
            self.account,
            lease.token,
            lease.holder,
            interval(lease.duration)
        )
        .execute(unnamed(tx))
        .await?;
        if renewed.rows_affected() == 0 {
            return Err(Error::LeaseLost);
        }
        Ok(())
    }
}
