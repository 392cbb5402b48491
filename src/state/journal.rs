//! The journal: a request is recorded in `in_flight` before it is sent; what was lost, in `lost` until it is settled.
//!
//! What every answer needs is done by one function of the schema, `advance_journal` (see `migrations/`).

use serde_json::{Value, json};

use super::{Error, Lease, OpenCycle, State, Transaction, interval, orders::AppliedOrders, texts};
use crate::{
    delivery::{Loss, Request, Step},
    plan::Marks,
};

impl State {
    /// Writes down the operators' orders, what the plan marks, and the first request before it is sent. Does nothing if there
    /// is none of it.
    pub async fn record_start(
        &self,
        lease: &Lease,
        cycle: OpenCycle,
        orders: &AppliedOrders,
        marks: &Marks,
        first: Option<&Request>,
    ) -> Result<(), Error> {
        if orders.is_empty() && marks.is_empty() && !first.is_some_and(Request::is_writing) {
            return Ok(());
        }
        self.under_lease(lease, "writing down what a cycle is about to do", async |tx| {
            tx.advance_journal(self, lease, cycle, &Step::default(), first).await?;
            tx.write_applied_orders(orders).await?;
            tx.write_marks(cycle, marks).await
        })
        .await
    }

    /// Records the result of an answer, and the next request before it is sent.
    pub async fn record(&self, lease: &Lease, cycle: OpenCycle, step: &Step) -> Result<(), Error> {
        self.under_lease(lease, "recording an answer", async |tx| {
            tx.advance_journal(self, lease, cycle, step, step.next.as_ref()).await?;
            tx.close_failures(&step.recovered).await?;
            tx.open_failures(step.failed.values()).await?;
            if let Some(seats) = step.seats {
                tx.write_seats(seats).await?;
            }
            Ok(())
        })
        .await
    }
}

impl Transaction<'_> {
    /// Renews the lease, records what became of the request in flight, and puts the next one in.
    async fn advance_journal(
        &mut self,
        state: &State,
        lease: &Lease,
        cycle: OpenCycle,
        step: &Step,
        next: Option<&Request>,
    ) -> Result<(), Error> {
        let loss = match step.loss {
            Loss::None => None,
            Loss::Over => Some("over"),
            Loss::MayLand => Some("may_land"),
        };
        let (operation, entries) = next.and_then(journal_entries).unzip();
        let is_ours = sqlx::query_scalar!(
            r#"SELECT advance_journal($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS "is_ours!""#,
            self.account,
            lease.token,
            lease.holder,
            interval(lease.duration),
            cycle.id,
            step.is_acknowledged,
            &texts(&step.absent),
            step.seats_taken,
            loss,
            operation,
            entries,
            state.lands_within.clone()
        )
        .fetch_one(self.executor())
        .await?;
        if is_ours { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// What is in flight when a cycle opens was lost.
    pub(super) async fn lose_request_in_flight(&mut self) -> Result<(), Error> {
        self.run(sqlx::query!("SELECT lose_request_in_flight($1, true)", self.account))
            .await?;
        self.run(sqlx::query!("DELETE FROM in_flight WHERE account = $1", self.account))
            .await
    }
}

/// The operation and the entries, as the journal keeps them; `None` for a request that is not written there.
fn journal_entries(request: &Request) -> Option<(&'static str, Value)> {
    match request {
        Request::Ping => None,
        Request::Upsert { entries, .. } => Some(("upsert", json!(entries))),
        Request::Remove { user_ids, .. } => {
            let entries = user_ids.iter().map(|user_id| json!({"id": user_id}));
            Some(("remove", entries.collect()))
        }
    }
}
