//! What must hold of failures: who is charged, with what, and when a failure is over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pure_core::{
    delivery::{Answer, Change, Report, Request, Step, Verdict},
    employee::{FullName, Phone},
    plan::{Failure, FailureKey, OpenFailure, Operation, Plan},
};

use super::{
    super::{Checked, EndedCycle, World, cycle::RunningCycle},
    Evidence, ensure,
};

/// The delivery counts as failing exactly those who have an open failure.
pub fn open_failures_are_reported(world: &World, report: &Report) -> Checked {
    let open: BTreeSet<&FailureKey> = world.state.tables.failures.keys().collect();
    let reported: BTreeSet<&FailureKey> = report.failing.keys().collect();
    ensure(
        open == reported,
        "whoever has an open failure counts as failing",
        || format!("open are {open:?}, reported are {reported:?}"),
    )
}

/// Nobody is charged without having failed alone or having been named; and for a failure that may be the service's own, only
/// once another request was accepted after it.
pub fn charges_have_evidence(cycle: &RunningCycle, step: &Step) -> Checked {
    let evidence = &cycle.evidence;
    for attempt in step.failed.values() {
        let id = &*attempt.key.user_id;
        let failed = evidence.failed_alone.get(id);
        // Whoever cannot have a phone because its holder does not give it up did not fail itself.
        let is_without_phone = attempt.key.operation == Operation::Phone && attempt.code == "DUPLICATE_PHONE_NUMBER";
        ensure(
            failed.is_some() || evidence.named.contains(id) || is_without_phone,
            "nobody is charged who did not fail alone",
            || id.to_owned(),
        )?;
        if let Some(failed) = failed.filter(|failed| failed.is_undecided && !evidence.named.contains(id)) {
            ensure(
                evidence.last_acceptance > Some(failed.request),
                "nobody is charged for the service's failure",
                || id.to_owned(),
            )?;
        }
    }
    Ok(())
}

/// A failure says which values the CRM wanted, and how often they were attempted: other values are counted anew.
pub fn failures_say_what_was_attempted(
    cycle: &RunningCycle,
    before: &BTreeMap<FailureKey, OpenFailure>,
    step: &Step,
) -> Checked {
    for attempt in step.failed.values() {
        let (name, phone) = wanted_values(&cycle.plan, attempt);
        ensure(
            attempt.name.as_ref() == name && attempt.phone == phone,
            "a failure says which values were wanted",
            || attempt.key.user_id.to_string(),
        )?;
        let same_values = |failure: &&Failure| {
            let is_same_name = attempt.key.operation == Operation::Phone || failure.name == attempt.name;
            !failure.is_local && is_same_name && failure.phone == attempt.phone
        };
        let earlier = before.get(&attempt.key).map(|open| &open.failure);
        let earlier = earlier.filter(same_values);
        let attempts = earlier.map_or(1, |failure| failure.attempts + 1);
        ensure(
            attempt.attempts == attempts,
            "attempts with the same values are counted",
            || format!("{} instead of {attempts} for {}", attempt.attempts, attempt.key.user_id),
        )?;
    }
    Ok(())
}

/// The name and the phone that the plan wants where `attempt` failed. Nothing is wanted of a removal, and no phone of a release.
fn wanted_values<'p>(plan: &'p Plan, attempt: &Failure) -> (Option<&'p FullName>, Option<Phone>) {
    let FailureKey { user_id, operation } = &attempt.key;
    let release = plan
        .releases
        .iter()
        .find(|release| release.employee.id.as_str() == &**user_id);
    if let Some(release) = release.filter(|_| *operation == Operation::Phone && attempt.phone.is_none()) {
        return (Some(&release.employee.name), None);
    }
    let upsert = plan.upserts.iter().find(|upsert| upsert.id().as_str() == &**user_id);
    match upsert.filter(|_| *operation != Operation::Remove) {
        Some(upsert) => (Some(&upsert.entry.employee.name), upsert.wanted_phone),
        None => (None, None),
    }
}

/// An accepted upsert ends the failure of the upsert, and that of the phone if it had one; an accepted release ends that of
/// the release; an accepted removal ends all. Nothing ends that was not open.
pub fn acceptances_end_failures(
    world: &World,
    request: &Request,
    answer: &Answer,
    before: &BTreeMap<FailureKey, OpenFailure>,
    step: &Step,
) -> Checked {
    for key in &step.recovered {
        let was_open = before.get(key).is_some_and(|open| !open.failure.is_local);
        ensure(was_open, "only a refusal ends by an acceptance", || format!("{key:?}"))?;
    }
    if !matches!(answer.verdict, Verdict::Accepted { .. }) {
        return Ok(());
    }
    let is_open = |id: &str, operation, is_meant: &dyn Fn(&Failure) -> bool| {
        let open = world.state.tables.failures.get(&FailureKey::new(id, operation));
        open.is_some_and(|open| !open.failure.is_local && is_meant(&open.failure))
    };
    match request {
        Request::Ping => Ok(()),
        Request::Upsert { entries, .. } => {
            for entry in entries {
                let id = entry.employee.id.as_str();
                let is_release = entry.change == Change::Release;
                let is_upsert_failing = !is_release && is_open(id, Operation::Upsert, &|_| true);
                let is_phone_failing =
                    entry.employee.phone.is_some() && is_open(id, Operation::Phone, &|failure| failure.phone.is_some());
                let is_release_failing =
                    is_release && is_open(id, Operation::Phone, &|failure| failure.phone.is_none());
                ensure(
                    !is_upsert_failing && !is_phone_failing && !is_release_failing,
                    "an acceptance ends the failure",
                    || id.to_owned(),
                )?;
            }
            Ok(())
        }
        Request::Remove { user_ids, .. } => {
            let failures = &world.state.tables.failures;
            let failing = failures
                .keys()
                .find(|key| user_ids.iter().any(|id| *id.as_str() == *key.user_id));
            ensure(failing.is_none(), "an acceptance ends the failure", || {
                format!("{failing:?}")
            })
        }
    }
}

/// Whoever failed alone, and of whom nothing was accepted afterwards, has a failure of this cycle, or waits for a seat. Unless the
/// cycle ended early, or had no requests left to try the entry without its phone.
pub fn whoever_failed_is_charged(
    world: &World,
    began: Timestamp,
    ended: &EndedCycle,
    report: &Report,
    evidence: &Evidence,
) -> Checked {
    let most_extra = 14;
    if report.interruption.is_some() || ended.requests > ended.planned_requests + most_extra {
        return Ok(());
    }
    for id in &evidence.not_accepted_since {
        let has_failure = world
            .state
            .tables
            .failures
            .iter()
            .any(|(key, open)| *key.user_id == **id && !open.failure.is_local && open.last_at >= began);
        let waits = report.waiting_for_seat.iter().any(|waiting| waiting.as_str() == id);
        ensure(has_failure || waits, "whoever failed alone is charged", || id.clone())?;
    }
    Ok(())
}
