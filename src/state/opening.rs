//! What a cycle starts from: its number, its clock, the snapshot, and the operators' orders.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{
    Account, DroppedOrder, Error, Lease, State,
    orders::{AppliedOrders, apply_orders},
    snapshot::Contents,
};
use crate::{
    plan::{Approval, HoldKey, Snapshot},
    postgres::unnamed,
};

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
        self.fenced(lease, "opening a cycle", async |tx| self.open(tx).await)
            .await
    }

    async fn open(&self, tx: &mut PgConnection) -> Result<Opening, Error> {
        let (cycle, mut contents) = self.number_cycle(tx).await?;
        if contents.in_flight {
            self.lose_entries_in_flight(tx, true).await?;
            self.clear_journal(tx).await?;
            contents.lost = true;
        }
        let account = self.load_account(tx).await?.unwrap_or_default();
        let mut snapshot = self.load_snapshot(tx, contents, &account).await?;
        let mut applied = AppliedOrders::default();
        if contents.orders {
            let orders = self.take_orders(tx).await?;
            applied = apply_orders(orders, &mut snapshot, cycle.now);
            self.write_applied_orders(tx, &applied, &snapshot).await?;
        }
        Ok(Opening {
            cycle,
            snapshot,
            account,
            approved: applied.approved,
            dropped_orders: applied.dropped,
        })
    }

    async fn number_cycle(&self, tx: &mut PgConnection) -> Result<(OpenCycle, Contents), Error> {
        let row = sqlx::query!(
            r#"UPDATE accounts SET cycle_id = cycle_id + 1 WHERE account = $1
               RETURNING cycle_id, now() AS "now!",
                   EXISTS (SELECT FROM in_flight WHERE account = $1) AS "in_flight!",
                   EXISTS (SELECT FROM inbox WHERE account = $1) AS "orders!",
                   EXISTS (SELECT FROM lost WHERE account = $1) AS "lost!",
                   EXISTS (SELECT FROM failures WHERE account = $1) AS "failures!",
                   EXISTS (SELECT FROM holds WHERE account = $1) AS "holds!""#,
            self.account
        )
        .fetch_one(unnamed(tx))
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
        };
        Ok((cycle, contents))
    }

    /// What the next cycle would start from. Writes nothing.
    pub async fn peek(&self) -> Result<Peek, Error> {
        let is_there = self.is_there().await?;
        self.read("reading the snapshot", async |tx, now| {
            if !is_there {
                return Ok(Peek { now, ..Peek::default() });
            }
            let account = self.load_account(tx).await?;
            let facts = account.clone().unwrap_or_default();
            let mut snapshot = self.load_snapshot(tx, Contents::ALL, &facts).await?;
            apply_orders(self.load_orders(tx).await?, &mut snapshot, now);
            Ok(Peek { now, snapshot, account })
        })
        .await
    }

    /// Runs `work` in a transaction that changes nothing and sees one moment, so that what it reads fits together.
    pub(super) async fn read<T>(
        &self,
        purpose: &str,
        work: impl AsyncFnOnce(&mut PgConnection, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transaction(purpose, async |tx| {
            sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .execute(&mut *tx)
                .await?;
            let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
                .fetch_one(unnamed(tx))
                .await?;
            work(tx, now.to_jiff()).await
        })
        .await
    }
}
