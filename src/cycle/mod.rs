//! One cycle, from opening it to recording its end.
//!
//! [`SyncEngine::run_cycle`] opens a cycle, reads the CRM meanwhile, and closes the cycle; in between `SyncEngine::sync` plans,
//! and sends one request after the other. What is asked of Wazzup before the plan is final is in `questions`, how far a cycle
//! got and how employees are counted in `progress`, what is logged about it in `log`.

mod error;
mod log;
mod memory;
mod progress;
mod questions;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(crate) use self::log::report_failure_without_state;
pub use self::{error::CycleError, memory::Memory};
use self::{
    log::{CycleLog, report_delivery, report_refusal, report_step},
    progress::Progress,
};
use crate::{
    abort,
    crm::{self, Crm, CrmRows},
    delivery::Delivery,
    employee::PhoneReader,
    events,
    plan::Policy,
    state::{self, CycleOutcome, Finished, Lease, Opening, State},
    wazzup::{Client, Gate},
};

/// Everything that a cycle works with.
pub struct SyncEngine {
    pub crm: Crm,
    pub state: State,
    pub wazzup: Client,
    pub phone_reader: PhoneReader,
    pub policy: Policy,
    /// How often Wazzup's list is read.
    pub verify_every: SignedDuration,
    pub keep_history: SignedDuration,
    /// After this time without a successful cycle the process counts as unhealthy; after a third of it, a failure that may pass
    /// by itself is logged as an error.
    pub unhealthy_after: SignedDuration,
}

/// How a cycle ended.
#[derive(Debug, Clone)]
pub struct CycleReport {
    /// What the state keeps of it, or would keep if it could be written.
    pub finished: Finished,
    /// Another process has taken the lease over.
    pub lost_lease: bool,
}

impl SyncEngine {
    /// Runs one cycle under `lease`, and sends nothing more after `stop`. Whatever happens is logged, and recorded if the state
    /// can be written.
    pub async fn run_cycle(&self, lease: &Lease, stop: &CancellationToken, memory: &mut Memory) -> CycleReport {
        let began = Instant::now();
        let open = async {
            let opening = self.state.open_cycle(lease).await?;
            let span = tracing::info_span!("cycle", cycle_id = opening.cycle.id);
            span.in_scope(events::cycle_started);
            Ok((opening, span))
        };
        // Both databases are asked at the same time. What the CRM answers matters only once the cycle is open.
        let read = async { Ok(self.crm.read().await) };
        match tokio::try_join!(open, read) {
            Ok(((opening, span), rows)) => {
                let run = self.run_opened(lease, stop, memory, began, opening, rows);
                run.instrument(span).await
            }
            Err(error) => {
                let error = CycleError::State(error);
                report_failure_without_state(&error, memory, self.unhealthy_after);
                let (finished, _) = Progress::default().finish(Some(&error), &BTreeSet::new());
                CycleReport {
                    finished,
                    lost_lease: error.is_lost_lease(),
                }
            }
        }
    }

    async fn run_opened(
        &self,
        lease: &Lease,
        stop: &CancellationToken,
        memory: &mut Memory,
        began: Instant,
        opening: Opening,
        rows: Result<CrmRows, crm::Error>,
    ) -> CycleReport {
        let mut log = CycleLog::new(memory, self, &opening);
        let mut progress = Progress::default();
        let result = self.sync(lease, stop, &opening, rows, &mut progress, &mut log).await;
        let error = result.err();
        let waiting_before = &opening.account.facts.waiting_for_seat;
        let (mut finished, report) = progress.finish(error.as_ref(), waiting_before);
        report_delivery(&report);
        log.note_reports(error.as_ref(), &mut finished);
        let recorded = if error.as_ref().is_some_and(CycleError::is_lost_lease) {
            Err(state::Error::LeaseLost)
        } else {
            let finishing = self
                .state
                .finish_cycle(lease, opening.cycle, &finished, self.keep_history);
            finishing.await
        };
        let lost_lease = matches!(recorded, Err(state::Error::LeaseLost));
        match recorded {
            Ok(()) => log.ended(error.as_ref(), &finished, began.elapsed()),
            Err(unrecorded) => {
                // The first error tells more, unless the lease is gone.
                let first = error.filter(|_| !lost_lease);
                let error = first.unwrap_or(unrecorded.into());
                report_failure_without_state(&error, log.memory, self.unhealthy_after);
                finished.outcome = CycleOutcome::Failed;
                finished.error = Some(error.recorded());
            }
        }
        CycleReport { finished, lost_lease }
    }

    /// Data flow: CRM, state and Wazzup's list → plan → delivery → state.
    ///
    /// Each request is recorded in the journal before it is sent, and no transaction is open meanwhile.
    async fn sync(
        &self,
        lease: &Lease,
        stop: &CancellationToken,
        opening: &Opening,
        rows: Result<CrmRows, crm::Error>,
        progress: &mut Progress,
        log: &mut CycleLog<'_>,
    ) -> Result<(), CycleError> {
        let gate = Gate {
            stop: stop.clone(),
            lease_until: lease.valid_until(),
        };
        // The key is read in quiet cycles, too: one that cannot be read is an error at once.
        let wazzup = self.wazzup.session(gate)?;
        let rows = rows?;
        let Opening {
            cycle,
            snapshot,
            account,
            orders,
        } = opening;
        let roster = rows.roster(&self.phone_reader.knowing(snapshot.known_phones()));
        let list_is_due = log.memory.list_is_due || self.is_list_due(account, &wazzup.fingerprint, cycle.now);
        let (plan, list) = self
            .plan_with_answers(&roster, snapshot, &wazzup, list_is_due, cycle.now)
            .await?;
        log.planned(&plan, &roster, &list, rows.unconvertible.as_ref());

        let delivery = progress.delivery.insert(Delivery::new(&plan));
        (progress.plan, progress.list) = (plan, list);
        let mut next = delivery.start();
        self.state
            .record_start(lease, *cycle, orders, &progress.plan.marks, next.as_ref())
            .await?;
        while let Some(request) = next {
            abort::step();
            let answer = wazzup.send(&request).await;
            abort::step();
            report_refusal(&request, &answer);
            let step = delivery.answered(answer);
            self.state.record(lease, *cycle, &step).await?;
            report_step(&request, &step);
            next = step.next;
        }
        progress.ending()
    }
}
