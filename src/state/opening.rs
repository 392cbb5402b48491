//! What a cycle starts from: its number, its clock, the snapshot, and the operators' orders.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Account, DroppedOrder, Error, Lease, State, Transaction,
    orders::{AppliedOrders, apply_orders},
    snapshot::Contents,
};
use crate::plan::{Approval, HoldKey, Snapshot};

/// A cycle that has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCycle {
    pub id: i64,
    /// The database's clock when the cycle began.
    pub now: Timestamp,
}

/// What a cycle starts from.
#[derive(Debug)]
pub struct Opening {
    pub cycle: OpenCycle,
    /// What is known of earlier cycles. What was in flight is lost, and the orders are applied.
    pub snapshot: Snapshot,
    pub account: Account,
    /// The holds that orders taken by this cycle approved.
    pub approved: BTreeMap<HoldKey, Approval>,
    /// Approvals that match no hold any more.
    pub dropped_orders: Vec<DroppedOrder>,
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
    /// Opens a cycle: numbers it, notes what was in flight as lost, loads the snapshot and applies the operators' orders.
    pub async fn open_cycle(&self, lease: &Lease) -> Result<Opening, Error> {
        self.fenced(lease, "opening a cycle", async |tx| tx.open().await).await
    }

    /// What the next cycle would start from. Writes nothing.
    pub async fn peek(&self) -> Result<Peek, Error> {
        let is_there = self.is_there().await?;
        self.read("reading the snapshot", async |tx, now| {
            if !is_there {
                return Ok(Peek { now, ..Peek::default() });
            }
            let account = tx.load_account().await?;
            let facts = account.clone().unwrap_or_default();
            let mut snapshot = tx.load_snapshot(Contents::ALL, &facts).await?;
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
    async fn open(&mut self) -> Result<Opening, Error> {
        let (cycle, mut contents) = self.number_cycle().await?;
        if contents.in_flight {
            self.lose_entries_in_flight(true).await?;
            self.clear_journal().await?;
            contents.lost = true;
        }
        let account = self.load_account().await?.unwrap_or_default();
        let mut snapshot = self.load_snapshot(contents, &account).await?;
        let mut applied = AppliedOrders::default();
        if contents.orders {
            let orders = self.take_orders().await?;
            applied = apply_orders(orders, &mut snapshot, cycle.now);
            self.write_applied_orders(&applied, &snapshot).await?;
        }
        Ok(Opening {
            cycle,
            snapshot,
            account,
            approved: applied.approved,
            dropped_orders: applied.dropped,
        })
    }

    async fn number_cycle(&mut self) -> Result<(OpenCycle, Contents), Error> {
        let row = sqlx::query!(
            r#"UPDATE accounts SET cycle_id = cycle_id + 1 WHERE account = $1
               RETURNING cycle_id, now() AS "now!",
                   EXISTS (SELECT FROM in_flight WHERE account = $1) AS "in_flight!",
                   EXISTS (SELECT FROM inbox WHERE account = $1) AS "orders!",
                   EXISTS (SELECT FROM lost WHERE account = $1) AS "lost!",
                   EXISTS (SELECT FROM failures WHERE account = $1) AS "failures!",
                   EXISTS (SELECT FROM holds WHERE account = $1) AS "holds!",
                   EXISTS (SELECT FROM history WHERE account = $1 AND operation = 'remove'
                       AND at > now() - interval '24 hours') AS "removals!""#,
            self.account
        )
        .fetch_one(self.executor())
        .await?;
        let cycle = OpenCycle {
            id: row.cycle_id,
            now: row.now.to_jiff(),
        };
        let contents = Contents {
            in_flight: row.in_flight,
            orders: row.orders,
            lost: row.lost,
            failures: row.failures,
            holds: row.holds,
            removals: row.removals,
        };
        Ok((cycle, contents))
    }
}
