//! What a cycle starts from: its number, its clock, the snapshot, and the operators' orders.

use jiff::Timestamp;

use super::{
    Account, Error, Lease, State, Transaction, interval,
    orders::{AppliedOrders, apply_orders},
    snapshot::Contents,
};
use crate::plan::Snapshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCycle {
    pub id: i64,
    /// The database's clock when the cycle began.
    pub now: Timestamp,
}

#[derive(Debug)]
pub struct Opening {
    pub cycle: OpenCycle,
    /// What is known of earlier cycles. What was in flight is lost, and the orders are applied.
    pub snapshot: Snapshot,
    pub account: Account,
    pub orders: AppliedOrders,
}

/// What the next cycle would start from.
#[derive(Debug, Default)]
pub struct Peek {
    pub now: Timestamp,
    /// As in [`Opening`]; empty where there is no schema yet.
    pub snapshot: Snapshot,
    /// `None` if nobody ever held the account's lease.
    pub account: Option<Account>,
}

impl State {
    /// Opens a cycle: numbers it, notes what was in flight as lost, loads the snapshot and applies the operators' orders to
    /// it. [`State::record_start`] writes them down: the orders of a cycle that fails before it has a plan stay in the inbox.
    pub async fn open_cycle(&self, lease: &Lease) -> Result<Opening, Error> {
        self.under_lease(lease, "opening a cycle", async |tx| tx.open(lease).await)
            .await
    }

    /// What the next cycle would start from. Writes nothing.
    pub async fn peek(&self) -> Result<Peek, Error> {
        let is_there = self.is_there().await?;
        self.read("reading the snapshot", async |tx, now| {
            if !is_there {
                return Ok(Peek { now, ..Peek::default() });
            }
            let account = tx.load_account().await?;
            let facts = account.as_ref().map(|account| account.facts.clone());
            let mut snapshot = tx.load_snapshot(Contents::ALL, facts.unwrap_or_default()).await?;
            apply_orders(tx.load_orders().await?, &mut snapshot, now);
            Ok(Peek { now, snapshot, account })
        })
        .await
    }

    /// Runs `work` in a transaction that changes nothing and sees one moment, so that what it reads fits together.
    pub(super) async fn read<T>(
        &self,
        purpose: &str,
        work: impl AsyncFnOnce(&mut Transaction<'_>, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transaction(purpose, async |tx| {
            sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .execute(&mut *tx.connection)
                .await?;
            let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
                .fetch_one(tx.executor())
                .await?;
            work(tx, now.to_jiff()).await
        })
        .await
    }
}

impl Transaction<'_> {
    /// Renews the lease, too.
    async fn open(&mut self, lease: &Lease) -> Result<Opening, Error> {
        let row = sqlx::query!(
            r#"UPDATE accounts SET cycle_id = cycle_id + 1, lease_expires_at = now() + $4
               WHERE account = $1 AND lease_token = $2 AND lease_holder = $3
               RETURNING cycle_id, now() AS "now!",
                   EXISTS (SELECT FROM in_flight WHERE account = $1) AS "in_flight!",
                   EXISTS (SELECT FROM inbox WHERE account = $1) AS "orders!",
                   EXISTS (SELECT FROM lost WHERE account = $1) AS "lost!",
                   EXISTS (SELECT FROM failures WHERE account = $1) AS "failures!",
                   EXISTS (SELECT FROM holds WHERE account = $1) AS "holds!",
                   EXISTS (SELECT FROM history WHERE account = $1 AND operation = 'remove'
                       AND at > now() - interval '24 hours') AS "removals!""#,
            self.account,
            lease.token,
            lease.holder,
            interval(lease.duration)
        )
        .fetch_optional(self.executor())
        .await?
        .ok_or(Error::LeaseLost)?;
        if row.in_flight {
            self.lose_request_in_flight().await?;
        }
        let contents = Contents {
            lost: row.lost || row.in_flight,
            failures: row.failures,
            holds: row.holds,
            removals: row.removals,
        };
        let account = self.load_account().await?.unwrap_or_default();
        let mut snapshot = self.load_snapshot(contents, account.facts.clone()).await?;
        let cycle = OpenCycle {
            id: row.cycle_id,
            now: row.now.to_jiff(),
        };
        let mut orders = AppliedOrders::default();
        if row.orders {
            orders = apply_orders(self.load_orders().await?, &mut snapshot, cycle.now);
        }
        Ok(Opening {
            cycle,
            snapshot,
            account,
            orders,
        })
    }
}
