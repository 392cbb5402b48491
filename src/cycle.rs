//! One cycle: the whole story of the product on one screen.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    crm::{self, Crm},
    delivery::{self, Delivery, Tally, log_ids},
    employee::{Code, PhoneReader, Roster},
    plan::{Failure, Failures, Operation, Plan, Policy, Snapshot},
    state::{self, Account, Counts, Finished, Lease, Opening, Outcome, State},
    verify,
    wazzup::{self, Client, Gate},
};

/// What is kept in step with what, and how.
#[derive(Debug)]
pub struct Sync {
    /// Where the employees come from.
    pub crm: Crm,
    /// Where we remember what Wazzup acknowledged.
    pub state: State,
    /// Where they go.
    pub wazzup: Client,
    /// Reads the CRM's phones.
    pub phones: PhoneReader,
    /// What happens to those who leave.
    pub policy: Policy,
    /// How often the snapshot is compared with Wazzup's list.
    pub verify_every: SignedDuration,
    /// How long history is kept.
    pub keep_history: SignedDuration,
}

/// What a process remembers from one cycle to the next, so that its log says things once.
#[derive(Debug)]
pub struct Memory {
    /// No comparison with Wazzup's list was tried since the lease was taken.
    pub verify_at_start: bool,
    held: BTreeSet<String>,
    held_logged: Option<Instant>,
    finished_logged: Option<Instant>,
    source_was_empty: bool,
    missing_ids: usize,
    failing_with: Option<&'static str>,
}

impl Memory {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new(verify_at_start: bool) -> Self {
        Self {
            verify_at_start,
            held: BTreeSet::new(),
            held_logged: None,
            finished_logged: None,
            source_was_empty: false,
            missing_ids: 0,
            failing_with: None,
        }
    }
}

/// How a cycle ended.
#[derive(Debug)]
pub struct Report {
    /// The outcome.
    pub outcome: Outcome,
    /// Removals are held.
    pub held: bool,
}

/// Why a cycle failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CRM.
    #[error(transparent)]
    Crm(#[from] crm::Error),
    /// The state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Wazzup.
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
    /// Wazzup answers, but fails on everything.
    #[error("{0}")]
    Outage(String),
}

impl Error {
    /// The kind, as the log and `status` name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crm(crm::Error::Unavailable(_)) => "crm_unavailable",
            Self::Crm(crm::Error::Query(_)) => "crm_query",
            Self::State(state::Error::LeaseLost) => "lease_lost",
            Self::State(state::Error::Unavailable(_)) => "state_unavailable",
            Self::State(_) => "state_refused",
            Self::Wazzup(
                wazzup::Error::Unauthorized { .. } | wazzup::Error::Forbidden { .. } | wazzup::Error::Key { .. },
            ) => "wazzup_unauthorized",
            Self::Wazzup(wazzup::Error::NotSent(wazzup::Hindrance::Stopping)) => "interrupted",
            Self::Wazzup(wazzup::Error::NotSent(_)) => "lease_too_short",
            Self::Wazzup(_) | Self::Outage(_) => "wazzup_unavailable",
        }
    }
}

impl From<verify::Error> for Error {
    fn from(error: verify::Error) -> Self {
        match error {
            verify::Error::Wazzup(error) => error.into(),
            verify::Error::State(error) => error.into(),
        }
    }
}

impl From<delivery::Error> for Error {
    fn from(error: delivery::Error) -> Self {
        match error {
            delivery::Error::Wazzup(error) => error.into(),
            delivery::Error::State(error) => error.into(),
            delivery::Error::Outage(_) => Self::Outage(error.to_string()),
        }
    }
}

/// What both databases say.
struct Opened {
    account: Account,
    snapshot: Snapshot,
    failures: Failures,
    roster: Result<Roster, crm::Error>,
}

/// What a cycle came to until now, for its counts.
struct Progress {
    roster: Roster,
    plan: Plan,
    tally: Tally,
    failures: Failures,
    /// A comparison with Wazzup's list was due, and nobody is managed.
    nothing_to_compare: bool,
}

impl Sync {
    /// Runs one cycle under `lease`. Whatever happens is logged, and recorded if the state can be written.
    pub async fn cycle(&self, lease: &Lease, gate: Gate, memory: &mut Memory) -> Report {
        let began = Instant::now();
        let result = match self.state.open_cycle(lease).await {
            Ok(opening) => {
                let span = tracing::info_span!("cycle", cycle_id = opening.id);
                tracing::Instrument::instrument(self.cycle_opened(lease, gate, memory, opening, began), span).await
            }
            Err(error) => Err(error),
        };
        result.unwrap_or_else(|error| {
            log_failure(&error.into(), None, memory);
            Report {
                outcome: Outcome::Failed,
                held: false,
            }
        })
    }

    /// # Errors
    /// If the snapshot cannot be loaded: then the cycle never was. All else is in the report.
    async fn cycle_opened(
        &self,
        lease: &Lease,
        gate: Gate,
        memory: &mut Memory,
        opening: Opening,
        began: Instant,
    ) -> Result<Report, state::Error> {
        tracing::debug!(event = "cycle.started", "started");
        let at = (opening.id, opening.account.now, began);
        let opened = self.read_both(opening).await?;
        let mut progress = None;
        let result = self.work(lease, gate, memory, opened, at, &mut progress).await;
        let finished = finished(at.0, at.1, result.as_ref().err(), progress.as_ref());
        let recorded = self.state.finish_cycle(lease, &finished, self.keep_history).await;
        let error = result.err().or(recorded.err().map(Error::from));
        let outcome = if error.is_some() {
            Outcome::Failed
        } else {
            finished.outcome
        };
        match &error {
            Some(error) => log_failure(error, progress.as_ref(), memory),
            None => log_finished(&finished, at.2.elapsed(), memory),
        }
        Ok(Report {
            outcome,
            held: finished.held > 0,
        })
    }

    /// Loads the snapshot while the CRM's database is at work: its rows are taken when it is known what their phones mean.
    async fn read_both(&self, opening: Opening) -> Result<Opened, state::Error> {
        let account = opening.account.clone();
        let (known, phones) = oneshot::channel();
        let state = async {
            let (snapshot, failures) = self.state.load(opening).await?;
            _ = known.send(self.phone_reader(&snapshot));
            Ok((snapshot, failures))
        };
        let phones = async {
            match phones.await {
                Ok(phones) => phones,
                // The snapshot cannot be loaded, which ends both.
                Err(_) => std::future::pending().await,
            }
        };
        let crm = async { Ok::<_, state::Error>(self.crm.read(phones).await) };
        let ((snapshot, failures), roster) = tokio::try_join!(state, crm)?;
        Ok(Opened {
            account,
            snapshot,
            failures,
            roster,
        })
    }

    /// The way of the data: roster and snapshot → plan → intent → delivery.
    async fn work(
        &self,
        lease: &Lease,
        gate: Gate,
        memory: &mut Memory,
        opened: Opened,
        at: (i64, Timestamp, Instant),
        progress: &mut Option<Progress>,
    ) -> Result<(), Error> {
        let Opened {
            mut account,
            mut snapshot,
            failures,
            roster,
        } = opened;
        let roster = roster?;
        note_empty_source(&roster, &snapshot, memory);
        let nothing_to_compare = self.verify(lease, &gate, memory, &mut account, &mut snapshot).await?;

        let plan = Plan::between(&roster, &snapshot, &failures, self.policy, at.1);
        let open = following(failures, &plan);
        log_news(&plan, &open, memory);
        let progress = progress.insert(Progress {
            roster,
            plan,
            tally: Tally::default(),
            failures: open,
            nothing_to_compare,
        });
        if progress.plan.needs_intent() {
            self.state.record_intent(lease, &progress.plan, at.1).await?;
        }
        if !progress.plan.sends_nothing() {
            let session = self.wazzup.session(gate)?;
            let timeout = SignedDuration::try_from(self.wazzup.timeout()).unwrap_or(SignedDuration::MAX);
            let open = std::mem::take(&mut progress.failures);
            let mut delivery = Delivery::new(&session, &self.state, lease, at, timeout, open, &account);
            let sent = delivery.send(&progress.plan, &snapshot).await;
            (progress.tally, progress.failures) = (delivery.tally, delivery.failures);
            sent?;
        }
        Ok(())
    }

    /// A reader that knows the spellings of the acknowledged phones.
    #[must_use]
    pub fn phone_reader(&self, snapshot: &Snapshot) -> PhoneReader {
        let known = snapshot.users.iter().filter_map(|user| {
            let phone = user.acknowledged.as_ref()?.phone?;
            user.spelling.map(|spelling| (spelling, phone))
        });
        self.phones.knowing(known)
    }

    /// Compares with Wazzup's list if it is time to. Returns whether it is, but nobody is managed yet.
    async fn verify(
        &self,
        lease: &Lease,
        gate: &Gate,
        memory: &mut Memory,
        account: &mut Account,
        snapshot: &mut Snapshot,
    ) -> Result<bool, Error> {
        if !verify::is_due(account, self.verify_every, memory.verify_at_start) {
            return Ok(false);
        }
        let nothing_to_compare = snapshot.users.is_empty();
        if !nothing_to_compare {
            let session = self.wazzup.session(gate.clone())?;
            verify::verify(&session, &self.state, lease, snapshot, account).await?;
        }
        memory.verify_at_start = false;
        Ok(nothing_to_compare)
    }
}

/// The failures open after the plan's own: what it closes is closed, what the CRM's rows show is open.
fn following(mut failures: Failures, plan: &Plan) -> Failures {
    for key in &plan.closed_failures {
        failures.remove(key);
    }
    for (key, code) in &plan.local_failures {
        let failure = Failure {
            local: true,
            code: code.as_str().into(),
            name: None,
            phone: None,
            attempts: 0,
            next_attempt_at: None,
        };
        failures.insert(key.clone(), failure);
    }
    failures
}

/// How the employees stand. Each counts once: waiting, else failing, else pending, else in sync.
fn counts(progress: &Progress) -> Counts {
    let Progress {
        roster,
        plan,
        tally,
        failures,
        nothing_to_compare: _,
    } = progress;
    let eligible = |id: &&str| roster.get(id).is_some() || roster.is_rejected(id);
    let with = |seat: bool| -> BTreeSet<&str> {
        let about = failures
            .keys()
            .filter(|(_, operation)| (*operation == Operation::Seat) == seat);
        about.map(|(id, _)| &**id).filter(eligible).collect()
    };
    let (waiting, mut failing) = (with(true), with(false));
    failing.retain(|id| !waiting.contains(id));
    let sent = plan
        .upserts
        .iter()
        .map(|it| &it.employee.id)
        .chain(plan.releases.iter().map(|it| &it.id));
    let undelivered = sent.filter(|id| !tally.delivered.contains(*id));
    let unsent = plan
        .waiting
        .iter()
        .map(|it| &it.employee.id)
        .filter(|id| !tally.delivered.contains(*id));
    let pending: BTreeSet<&str> = undelivered
        .chain(unsent)
        .chain(&plan.backing_off)
        .map(super::employee::EmployeeId::as_str)
        .filter(|id| !waiting.contains(id) && !failing.contains(id))
        .collect();
    let rest = waiting.len() + failing.len() + pending.len();
    Counts {
        eligible: plan.eligible,
        in_sync: plan.eligible.saturating_sub(rest),
        failing: failing.len(),
        waiting_for_seat: waiting.len(),
        pending: pending.len(),
        missing_ids: plan.missing_ids,
    }
}

fn finished(id: i64, started_at: Timestamp, error: Option<&Error>, progress: Option<&Progress>) -> Finished {
    let counts = progress.map(counts);
    let in_sync = progress.zip(counts).is_some_and(|(progress, counts)| {
        let removals_done = progress.tally.unremoved.is_empty() && progress.plan.held.is_empty();
        let none_failed = !progress
            .failures
            .keys()
            .any(|(_, operation)| *operation == Operation::Remove);
        counts.in_sync == counts.eligible && counts.missing_ids == 0 && removals_done && none_failed
    });
    let outcome = match (error, in_sync) {
        (Some(_), _) => Outcome::Failed,
        (None, true) => Outcome::InSync,
        (None, false) => Outcome::Incomplete,
    };
    let tally = progress.map(|it| it.tally.clone()).unwrap_or_default();
    Finished {
        id,
        started_at,
        outcome,
        counts,
        error: error.map(|it| (it.kind(), it.to_string())),
        requests: tally.requests,
        added: tally.added,
        updated: tally.updated,
        removed: tally.removed,
        held: progress.map_or(0, |it| it.plan.held.len()),
        nothing_to_compare: progress.is_some_and(|it| it.nothing_to_compare),
        noteworthy: error.is_some() || tally.requests > 0 || progress.is_some_and(|it| it.plan.needs_intent()),
    }
}

fn note_empty_source(roster: &Roster, snapshot: &Snapshot, memory: &mut Memory) {
    let empty = roster.is_empty() && !snapshot.users.is_empty();
    if empty && !memory.source_was_empty {
        tracing::error!(
            event = "source.empty",
            managed = snapshot.users.len(),
            "the CRM names nobody at all: nobody is removed before `wazzup-sync approve`"
        );
    }
    memory.source_was_empty = empty;
}

/// Logs what the plan found in the CRM's own rows, and what it holds.
fn log_news(plan: &Plan, open: &Failures, memory: &mut Memory) {
    for code in [
        Code::InvalidId,
        Code::InvalidName,
        Code::DuplicateId,
        Code::InvalidPhone,
        Code::DuplicatePhoneNumber,
    ] {
        let opened = plan.opened_failures.iter().filter(|it| it.2 == code);
        let ids: Vec<&str> = opened.map(|it| &*it.0).collect();
        if ids.is_empty() {
            continue;
        }
        let (count, code) = (ids.len(), code.as_str());
        let rejected = !matches!(code, "INVALID_PHONE" | "DUPLICATE_PHONE_NUMBER");
        log_ids(&ids, |ids| {
            if rejected {
                tracing::warn!(
                    event = "employee.rejected",
                    code,
                    count,
                    ids,
                    "rows of the CRM cannot be taken"
                );
            } else {
                tracing::warn!(
                    event = "employee.failing",
                    operation = "phone",
                    code,
                    count,
                    ids,
                    "synced without phone"
                );
            }
        });
    }
    if plan.missing_ids > 0 && plan.missing_ids != memory.missing_ids {
        tracing::warn!(
            event = "employee.rejected",
            code = "MISSING_ID",
            count = plan.missing_ids,
            "rows without an id: while there is one, nobody is removed without approval"
        );
    }
    memory.missing_ids = plan.missing_ids;
    let long = plan.upserts.iter().map(|it| &it.employee).filter(|it| it.is_long());
    let long: Vec<&str> = long.map(|it| it.id.as_str()).collect();
    if !long.is_empty() {
        log_ids(&long, |ids| {
            let count = long.len();
            tracing::warn!(
                event = "employee.long",
                count,
                ids,
                "a long id or name is sent: Wazzup may refuse it"
            );
        });
    }
    let over = plan.closed_failures.iter().filter(|(id, operation)| {
        *operation != Operation::Seat && !open.keys().any(|key| key.0 == *id && key.1 == *operation)
    });
    let recovered: Vec<&str> = over.map(|it| &*it.0).collect();
    if !recovered.is_empty() {
        let count = recovered.len();
        log_ids(&recovered, |ids| {
            tracing::info!(event = "employee.recovered", count, ids, "no failure any more");
        });
    }
    log_held(plan, memory);
}

/// Held removals are logged once for each change of the set, and then hourly.
fn log_held(plan: &Plan, memory: &mut Memory) {
    const AGAIN: Duration = Duration::from_hours(1);
    if !plan.released.is_empty() {
        let ids: Vec<&str> = plan.released.iter().map(super::employee::EmployeeId::as_str).collect();
        let count = ids.len();
        log_ids(&ids, |ids| {
            tracing::info!(
                event = "removals.released",
                reason = "returned",
                count,
                ids,
                "back in the CRM: they stay"
            );
        });
    }
    let approved: Vec<&str> = plan
        .removals
        .iter()
        .filter(|it| it.approved)
        .map(|it| it.id.as_str())
        .collect();
    if !approved.is_empty() {
        let count = approved.len();
        log_ids(&approved, |ids| {
            tracing::info!(
                event = "removals.released",
                reason = "approved",
                count,
                ids,
                "approved: they are removed"
            );
        });
    }
    let held: BTreeSet<String> = plan.held.iter().map(ToString::to_string).collect();
    let changed = held != memory.held;
    let due = memory.held_logged.is_none_or(|at| at.elapsed() >= AGAIN);
    if let Some(reason) = plan.hold_reason.filter(|_| changed || due) {
        let ids: Vec<&str> = held.iter().map(String::as_str).collect();
        let (count, others) = (ids.len(), plan.upserts.len());
        log_ids(&ids, |ids| {
            tracing::error!(
                event = "removals.held",
                count,
                ids,
                reason = %reason,
                upserts = others,
                "removals are held, everything else goes on; `wazzup-sync approve` lists them and lets them go"
            );
        });
        memory.held_logged = Some(Instant::now());
    }
    memory.held = held;
}

/// A cycle that changed something is INFO; a quiet one DEBUG, but for a heartbeat every 10 minutes.
fn log_finished(it: &Finished, took: Duration, memory: &mut Memory) {
    const HEARTBEAT: Duration = Duration::from_mins(10);
    let recovered = memory.failing_with.take().is_some();
    let beat = memory.finished_logged.is_none_or(|at| at.elapsed() >= HEARTBEAT);
    let counts = it.counts.unwrap_or_default();
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    macro_rules! finished {
        ($level:ident) => {
            tracing::$level!(
                event = "cycle.finished",
                outcome = it.outcome.as_str(),
                eligible = counts.eligible,
                in_sync = counts.in_sync,
                failing = counts.failing,
                waiting_for_seat = counts.waiting_for_seat,
                pending = counts.pending,
                missing_ids = counts.missing_ids,
                held = it.held,
                requests = it.requests,
                added = it.added,
                updated = it.updated,
                removed = it.removed,
                duration_ms,
                "finished"
            )
        };
    }
    if it.noteworthy || beat || recovered {
        memory.finished_logged = Some(Instant::now());
        finished!(info);
    } else {
        finished!(debug);
    }
}

/// A failure is an ERROR each time: an operator who looks at the last lines must see it.
fn log_failure(error: &Error, progress: Option<&Progress>, memory: &mut Memory) {
    let kind = error.kind();
    memory.failing_with = Some(kind);
    let requests = progress.map_or(0, |it| it.tally.requests);
    if kind == "interrupted" {
        tracing::info!(event = "cycle.failed", error.kind = kind, error = %error, requests, "interrupted; the next cycle goes on");
    } else {
        tracing::error!(event = "cycle.failed", error.kind = kind, error = %error, requests, "failed; the next cycle goes on");
    }
}
