//! Opening a cycle: its number, its clock, the operators' orders, and the snapshot it starts from.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{
    Account, DroppedOrder, Error, Lease, State,
    orders::{Order, TakenOrders},
    snapshot::Contents,
};
use crate::{
    plan::{Approval, HoldKey, Snapshot},
    postgres::unnamed,
};

/// A cycle that has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCycle {
    /// The number.
    pub id: i64,
    /// The database's clock when the cycle began.
    pub now: Timestamp,
}

/// What a cycle starts from.
#[derive(Debug)]
pub struct Opening {
    /// The cycle.
    pub cycle: OpenCycle,
    /// What is known of earlier cycles. What was in flight is lost, and the orders are applied.
    pub snapshot: Snapshot,
    /// The account's row.
    pub account: Account,
    /// The holds that orders taken by this cycle approved.
    pub approved: Vec<(HoldKey, Approval)>,
    /// Approvals that match no hold any more.
    pub dropped_orders: Vec<DroppedOrder>,
}

/// What the next cycle would start from.
#[derive(Debug, Default)]
pub struct Peek {
    /// The database's clock.
    pub now: Timestamp,
    /// As in [`Opening`]; empty where there is no schema yet.
    pub snapshot: Snapshot,
    /// The account's row; `None` if nobody ever held its lease.
    pub account: Option<Account>,
}

impl State {
    /// Opens a cycle: numbers it, notes what was in flight as lost, applies the operators' orders and loads the snapshot.
    ///
    /// # Errors
    /// If the database does not answer, or if the lease is lost.
    pub async fn open_cycle(&self, lease: &Lease) -> Result<Opening, Error> {
        self.limited("opening a cycle", async {
            let mut tx = self.fenced_transaction(lease).await?;
            let opening = self.open(&mut tx).await?;
            tx.commit(opening).await
        })
        .await
    }

    async fn open(&self, tx: &mut PgConnection) -> Result<Opening, Error> {
        let (cycle, mut contents) = self.number_cycle(tx).await?;
        if contents.in_flight {
            self.lose_entries_in_flight(tx, true).await?;
            self.clear_journal(tx).await?;
            contents.lost = true;
        }
        let mut taken = TakenOrders::default();
        if contents.orders {
            taken = self.take_orders(tx).await?;
            contents.lost = true;
        }
        let account = self.load_account(tx).await?.unwrap_or_default();
        let mut snapshot = self.load_snapshot(tx, contents, &account).await?;
        snapshot.account.retry_seats = taken
            .orders
            .iter()
            .any(|order| order.retries_seats(&account.waiting_for_seat));
        Ok(Opening {
            cycle,
            snapshot,
            account,
            approved: taken.approved,
            dropped_orders: taken.dropped,
        })
    }

    /// Most tables are empty most of the time: what this says is not there is not asked for.
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

    /// What the next cycle would start from: what is in flight counts as lost, and orders that wait count as taken.
    /// Writes nothing.
    ///
    /// # Errors
    /// If the database does not answer, or if the schema is newer than this program or somebody else's.
    pub async fn peek(&self) -> Result<Peek, Error> {
        if !self.is_there().await? {
            return Ok(Peek {
                now: self.now().await?,
                ..Peek::default()
            });
        }
        self.limited("reading the snapshot", async {
            let mut tx = self.transaction().await?;
            let now = Self::begin_reading(&mut tx).await?;
            let account = self.load_account(&mut tx).await?;
            let facts = account.clone().unwrap_or_default();
            let mut snapshot = self.load_snapshot(&mut tx, Contents::ALL, &facts).await?;
            self.add_entries_in_flight(&mut tx, &mut snapshot, now).await?;
            for order in self.load_orders(&mut tx).await? {
                order.assume_taken(&mut snapshot, now);
            }
            tx.commit(Peek { now, snapshot, account }).await
        })
        .await
    }

    /// One view for all that follows, so that it fits together. Returns the time.
    pub(super) async fn begin_reading(tx: &mut PgConnection) -> Result<Timestamp, Error> {
        sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut *tx)
            .await?;
        let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
            .fetch_one(unnamed(tx))
            .await?;
        Ok(now.to_jiff())
    }
}

impl Order {
    /// Has the snapshot look as if a cycle had taken the order at `now`.
    fn assume_taken(&self, snapshot: &mut Snapshot, now: Timestamp) {
        if self.retries_seats(&snapshot.account.waiting_for_seat) {
            snapshot.account.retry_seats = true;
        }
        self.approve_in(&mut snapshot.holds);
        self.retry_in(snapshot, now);
    }
}
