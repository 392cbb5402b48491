//! The journal: a request is recorded in `in_flight` before it is sent; what was lost, in `lost` until it is settled.

use serde_json::{Value, json};
use sqlx::postgres::types::PgInterval;

use super::{Error, Lease, OpenCycle, State, Transaction};
use crate::{
    delivery::{BatchEntry, Loss, Outcome, Request, Step},
    employee::Spelling,
    plan::Marks,
};

impl State {
    /// Writes down what the plan marks, and the first request before it is sent. Does nothing if there is neither.
    pub async fn record_start(
        &self,
        lease: &Lease,
        cycle: OpenCycle,
        marks: &Marks,
        first: Option<&Request>,
    ) -> Result<(), Error> {
        if marks.is_empty() && !first.is_some_and(Request::is_writing) {
            return Ok(());
        }
        self.fenced(lease, "writing down what a cycle is about to do", async |tx| {
            tx.write_marks(cycle, marks).await?;
            tx.replace_request_in_flight(cycle, first, &self.lands_within).await
        })
        .await
    }

    /// Records what an answer came to, and the next request before it is sent.
    pub async fn record(&self, lease: &Lease, cycle: OpenCycle, step: &Step) -> Result<(), Error> {
        self.fenced(lease, "recording an answer", async |tx| {
            // Before the losses: an answer settles nothing of an earlier attempt of its own request.
            for outcome in &step.outcomes {
                tx.write_outcome(cycle, outcome).await?;
            }
            match step.loss {
                Loss::None => {}
                Loss::Over => tx.lose_entries_in_flight(false).await?,
                Loss::MayLand => tx.lose_entries_in_flight(true).await?,
            }
            tx.replace_request_in_flight(cycle, step.next.as_ref(), &self.lands_within)
                .await
        })
        .await
    }
}

impl Transaction<'_> {
    async fn write_outcome(&mut self, cycle: OpenCycle, outcome: &Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Upserted => self.write_upserts(cycle).await,
            Outcome::Removed { absent } => self.write_removals(cycle, absent).await,
            Outcome::Failed(attempt) => self.write_failed_attempt(attempt).await,
            Outcome::Recovered(key) => self.close_failures(std::slice::from_ref(key)).await,
            Outcome::SeatsTaken(number) => self.add_to_seats_used(*number).await,
            Outcome::SeatLimit { limit, used } => self.write_seat_limit(*limit, *used).await,
        }
    }

    async fn replace_request_in_flight(
        &mut self,
        cycle: OpenCycle,
        next: Option<&Request>,
        lands_within: &PgInterval,
    ) -> Result<(), Error> {
        let (operation, entries): (&str, Value) = match next {
            None | Some(Request::Ping) => return self.clear_journal().await,
            Some(Request::Upsert { entries, .. }) => ("upsert", entries.iter().map(upsert_entry).collect()),
            Some(Request::Remove { user_ids, .. }) => {
                let entries = user_ids.iter().map(|user_id| json!({"user_id": user_id}));
                ("remove", entries.collect())
            }
        };
        self.run(sqlx::query!(
            "INSERT INTO in_flight (account, cycle_id, started_at, lands_within, operation, entries) \
             VALUES ($1, $2, now(), $3, $4, $5) \
             ON CONFLICT (account) DO UPDATE SET cycle_id = excluded.cycle_id, started_at = excluded.started_at, \
                 lands_within = excluded.lands_within, operation = excluded.operation, entries = excluded.entries",
            self.account,
            cycle.id,
            lands_within.clone(),
            operation,
            entries
        ))
        .await
    }

    pub(super) async fn clear_journal(&mut self) -> Result<(), Error> {
        self.run(sqlx::query!("DELETE FROM in_flight WHERE account = $1", self.account))
            .await
    }

    /// Notes the entries of the request in flight as lost: it may have acted, or still act (`may_land`). Users who may have
    /// been created by it get a row without acknowledged values.
    pub(super) async fn lose_entries_in_flight(&mut self, may_land: bool) -> Result<(), Error> {
        self.run(sqlx::query!(
            "INSERT INTO lost (account, user_id, operation, name, phone, lost_at, may_land_until) \
             SELECT account, user_id, operation, name, phone, now(), \
                 CASE WHEN $2 THEN now() + lands_within ELSE now() END \
             FROM in_flight_entries WHERE account = $1 \
             ON CONFLICT (user_id, account, operation, COALESCE(name, ''), COALESCE(phone, '')) \
             DO UPDATE SET lost_at = now(), may_land_until = GREATEST(lost.may_land_until, excluded.may_land_until)",
            self.account,
            may_land
        ))
        .await?;
        self.run(sqlx::query!(
            "INSERT INTO users (account, user_id) \
             SELECT account, user_id FROM in_flight_entries WHERE account = $1 AND operation = 'upsert' \
             ON CONFLICT (user_id, account) DO NOTHING",
            self.account
        ))
        .await
    }
}

/// An upsert as the journal keeps it.
fn upsert_entry(entry: &BatchEntry) -> Value {
    json!({
        "user_id": entry.employee.id,
        "name": entry.employee.name,
        "phone": entry.employee.phone,
        "phone_spelling": entry.phone_spelling.as_ref().map(Spelling::as_str),
        "change": entry.change.as_str(),
    })
}
