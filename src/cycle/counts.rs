//! What a cycle came to, in numbers.

use std::collections::BTreeSet;

use super::{CycleError, report::Reporter};
use crate::{
    delivery::{Change, Interruption, Report},
    employee::{EmployeeId, Roster},
    plan::{Operation, Plan, RemoteList, StayReason},
    state::{Counts, CycleFailure, CycleOutcome, Finished, ListPassed, Opening, SeatsCounted},
};

/// How far a cycle got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    eligible: BTreeSet<Box<str>>,
    plan: Plan,
    is_planned: bool,
    had_list: bool,
    list_passed: Option<ListPassed>,
    report: Report,
    was_waiting: BTreeSet<EmployeeId>,
}

impl Progress {
    pub(super) fn new(opening: &Opening) -> Self {
        Self {
            was_waiting: opening.snapshot.account.waiting_for_seat.clone(),
            ..Self::default()
        }
    }

    pub(super) fn planned(&mut self, roster: &Roster, plan: Plan, list: &RemoteList) {
        let entries = roster.entries.iter().map(|entry| entry.employee.id.as_str());
        let rejected = roster.rejected.iter().map(|row| &*row.id);
        self.eligible = entries.chain(rejected).map(Box::from).collect();
        self.had_list = list.was_answered();
        if plan.account_passed {
            self.list_passed = Some(ListPassed {
                fingerprint: list.fingerprint.clone(),
                seats: list.is_complete().then(|| SeatsCounted {
                    used: list.len(),
                    foreign: plan.drift.foreign,
                }),
            });
        }
        self.plan = plan;
        self.is_planned = true;
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn delivered(&mut self, report: Report) {
        self.report = report;
    }

    /// Whether the delivery ended early, or somebody could not be sent since Wazzup did not answer a look-up.
    pub(super) fn ending(&self, list: &RemoteList) -> Result<(), CycleError> {
        if let Some(interruption) = &self.report.interruption {
            return Err(interruption.clone().into());
        }
        match list.silence() {
            Some(reason) => Err(Interruption::Unavailable(reason.to_owned()).into()),
            None => Ok(()),
        }
    }

    /// How the employees stand. Each counts once: waiting for a seat, else failing, else pending, else in sync.
    fn counts(&self) -> Counts {
        let Self { plan, report, .. } = self;
        let is_eligible = |id: &&str| self.eligible.contains(*id);
        let waiting: BTreeSet<&str> = report
            .waiting_for_seat
            .iter()
            .map(EmployeeId::as_str)
            .filter(is_eligible)
            .collect();
        let failing: BTreeSet<&str> = report
            .failing
            .iter()
            .map(|key| &*key.user_id)
            .filter(is_eligible)
            .filter(|id| !waiting.contains(id))
            .collect();
        let pending = plan
            .pending
            .iter()
            .chain(&plan.backing_off)
            .chain(&report.undelivered)
            .chain(&report.phone_pending);
        let pending: BTreeSet<&str> = pending
            .map(EmployeeId::as_str)
            .filter(is_eligible)
            .filter(|id| !waiting.contains(id) && !failing.contains(id))
            .collect();
        let others = waiting.len() + failing.len() + pending.len();
        Counts {
            eligible: plan.eligible,
            in_sync: plan.eligible.saturating_sub(others),
            failing: failing.len(),
            waiting_for_seat: waiting.len(),
            pending: pending.len(),
            missing_ids: plan.missing_ids,
        }
    }

    fn is_in_sync(&self, counts: &Counts) -> bool {
        let Self { plan, report, .. } = self;
        let is_removal_due = plan.staying.iter().any(|user| user.reason == StayReason::Unknown);
        let has_removal_failed = report.failing.iter().any(|key| key.operation == Operation::Remove);
        counts.in_sync == counts.eligible
            && counts.missing_ids == 0
            && plan.unapproved_holds().next().is_none()
            && report.unremoved.is_empty()
            && !is_removal_due
            && !has_removal_failed
    }

    /// What the state keeps of the cycle.
    pub(super) fn finished(&self, error: Option<&CycleError>, reporter: &Reporter<'_>) -> Finished {
        let Self { plan, report, .. } = self;
        let counts = self.is_planned.then(|| self.counts());
        let is_in_sync = counts.as_ref().is_some_and(|counts| self.is_in_sync(counts));
        let outcome = match error {
            Some(_) => CycleOutcome::Failed,
            None if is_in_sync => CycleOutcome::InSync,
            None => CycleOutcome::Incomplete,
        };
        let updates = [Change::Update, Change::Release, Change::Resend];
        let waiting =
            Some(report.waiting_for_seat.clone()).filter(|waiting| self.is_planned && *waiting != self.was_waiting);
        Finished {
            outcome,
            error: error.map(|error| CycleFailure {
                kind: error.kind(),
                message: error.to_string(),
            }),
            counts,
            requests: report.requests,
            added: report.count(&[Change::Add]),
            adopted: report.count(&[Change::Adopt, Change::TakeOver]),
            updated: report.count(&updates),
            removed: report.removed.len(),
            held: plan.unapproved_holds().count(),
            waiting_for_seat: waiting,
            had_list: self.had_list,
            list_passed: self.list_passed_at_end(),
            reported_holds: reporter.reported_holds(),
            reported_error: false,
            noteworthy: error.is_some() || report.requests > 0 || !plan.marks.is_empty(),
        }
    }

    /// What showed that this is our account, with the seats as they are after the delivery.
    fn list_passed_at_end(&self) -> Option<ListPassed> {
        let mut passed = self.list_passed.clone()?;
        if let Some(seats) = &mut passed.seats {
            seats.used = seats.used.saturating_add_signed(self.report.seats_taken);
        }
        Some(passed)
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }
}
