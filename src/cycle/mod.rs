//! One cycle: the whole story of the product on one screen.
//!
//! [`SyncEngine::run_cycle`] opens a cycle and closes it; in between `SyncEngine::sync` reads the CRM, plans, and sends
//! one request after the other. What is asked of Wazzup before the plan stands is in `remote`, what the log says in
//! `report`, how employees are counted in `counts`.

mod counts;
mod error;
mod remote;
mod report;

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;
use tracing::Instrument as _;

pub(crate) use self::report::failed_without_state;
use self::{counts::Progress, report::Reporter};
pub use self::{error::CycleError, report::Memory};
use crate::{
    abort,
    crm::Crm,
    delivery::Delivery,
    employee::PhoneReader,
    events,
    plan::{Plan, Policy},
    state::{CycleOutcome, Finished, Lease, OpenCycle, Opening, State},
    wazzup::{Client, Gate},
};

/// What is kept in step with what, and how.
#[derive(Debug)]
pub struct SyncEngine {
    /// Where the employees come from.
    pub crm: Crm,
    /// Where we remember what Wazzup acknowledged.
    pub state: State,
    /// Where they go.
    pub wazzup: Client,
    /// Reads the CRM's phones.
    pub phones: PhoneReader,
    /// What is held, and what happens to those who leave.
    pub policy: Policy,
    /// How often Wazzup's list is read.
    pub verify_every: SignedDuration,
    /// How long history is kept.
    pub keep_history: SignedDuration,
    /// After this time without success the copy counts as unhealthy.
    pub unhealthy_after: SignedDuration,
}

/// How a cycle ended.
#[derive(Debug, Clone)]
pub struct CycleReport {
    /// The outcome.
    pub outcome: CycleOutcome,
    /// What the state keeps of it; `None` if it could not even be opened.
    pub finished: Option<Finished>,
    /// Another process has taken the lease over.
    pub lost_lease: bool,
}

impl SyncEngine {
    /// Runs one cycle under `lease`. Whatever happens is logged, and recorded if the state can be written.
    pub async fn run_cycle(&self, lease: &Lease, gate: Gate, memory: &mut Memory) -> CycleReport {
        let began = Instant::now();
        match self.state.open_cycle(lease).await {
            Ok(opening) => {
                let span = tracing::info_span!("cycle", cycle_id = opening.cycle.id);
                self.run_opened(lease, gate, memory, opening, began)
                    .instrument(span)
                    .await
            }
            Err(error) => {
                let error = CycleError::from(error);
                report::failed_without_state(&error, memory, self.unhealthy_after);
                CycleReport {
                    outcome: CycleOutcome::Failed,
                    finished: None,
                    lost_lease: error.is_lost_lease(),
                }
            }
        }
    }

    async fn run_opened(
        &self,
        lease: &Lease,
        gate: Gate,
        memory: &mut Memory,
        opening: Opening,
        began: Instant,
    ) -> CycleReport {
        events::cycle_started();
        let mut reporter = Reporter::new(memory, &opening, self);
        let mut progress = Progress::new(&opening);
        let cycle = opening.cycle;
        let result = self.sync(lease, gate, opening, &mut reporter, &mut progress).await;
        let error = result.err();
        let mut lost_lease = error.as_ref().is_some_and(CycleError::is_lost_lease);
        let mut finished = progress.finished(error.as_ref(), &reporter);
        reporter.ended(&mut finished, began.elapsed());
        if let Err(error) = self
            .state
            .finish_cycle(lease, cycle, &finished, self.keep_history)
            .await
        {
            let error = CycleError::from(error);
            lost_lease |= error.is_lost_lease();
            reporter.could_not_be_recorded(&error);
            finished.outcome = CycleOutcome::Failed;
        }
        CycleReport {
            outcome: finished.outcome,
            finished: Some(finished),
            lost_lease,
        }
    }

    /// The way of the data: CRM, state and Wazzup's list → plan → delivery → state.
    async fn sync(
        &self,
        lease: &Lease,
        gate: Gate,
        opening: Opening,
        reporter: &mut Reporter<'_>,
        progress: &mut Progress,
    ) -> Result<(), CycleError> {
        let Opening {
            cycle,
            snapshot,
            account,
            ..
        } = opening;
        // The key is read in quiet cycles, too: one that cannot be read is an error at once.
        let wazzup = self.wazzup.session(gate)?;
        let rows = self.crm.read().await?;
        let roster = rows.roster(self.phones.knowing(snapshot.known_phones()));
        let list_is_due = reporter.list_is_due(&account, wazzup.fingerprint(), cycle.now);
        let (plan, list) = self
            .plan_with_answers(&roster, &snapshot, &wazzup, list_is_due, cycle.now)
            .await?;
        reporter.planned(&plan, &roster, &snapshot, &list);
        if let Some(values) = &rows.unconvertible {
            reporter.left_out(values, &plan);
        }
        let mut delivery = Delivery::new(&plan, snapshot.failures);
        progress.planned(&roster, plan, &list);
        let sent = self
            .deliver(lease, cycle, &wazzup, progress.plan(), &mut delivery, reporter)
            .await;
        progress.delivered(delivery.finish());
        Reporter::delivered(progress.report());
        sent?;
        progress.ending(&list)
    }

    /// Sends the plan, one request at a time: each stands in the journal before it is sent, and no transaction is open
    /// meanwhile.
    async fn deliver(
        &self,
        lease: &Lease,
        cycle: OpenCycle,
        wazzup: &crate::wazzup::Session<'_>,
        plan: &Plan,
        delivery: &mut Delivery,
        reporter: &mut Reporter<'_>,
    ) -> Result<(), CycleError> {
        let mut next = delivery.start();
        self.state.begin(lease, cycle, &plan.marks, next.as_ref()).await?;
        while let Some(request) = next {
            abort::step();
            let answer = wazzup.send(&request).await;
            abort::step();
            let step = delivery.answered(answer);
            self.state.record(lease, cycle, &step).await?;
            reporter.recorded(&request, &step, delivery);
            next = step.next;
        }
        Ok(())
    }
}

/// `duration` as whole seconds, for the log.
fn seconds(duration: SignedDuration) -> i64 {
    duration.as_secs().max(0)
}

/// `duration` for arithmetic with the database's clock.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
