//! What must hold whatever happens. Each function says in its first sentence which promise it checks.

pub mod failures;
pub mod plan;
pub mod requests;
pub mod results;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pure_core::{
    delivery::{Answer, Change, EXTRA_REQUESTS, RefusalCode, Report, Request, Verdict},
    employee::{EmployeeId, Phone},
    plan::{BATCH, LostContent, Plan, Sighting, StayReason},
};

use super::{Checked, EndedCycle, Outcome, Violation, World, cycle::RunningCycle, state::lost_contents};

fn ensure(holds: bool, invariant: &'static str, seen: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            seen: seen(),
        })
    }
}

/// A foreign user is never changed or removed, unless its name is the employee's, somebody approved it, or the policy is
/// to take everybody over.
pub fn foreign_users_are_left_alone(world: &World) -> Checked {
    let trespasses = &world.service.trespasses;
    ensure(trespasses.is_empty(), "a foreign user is left alone", || {
        trespasses.join(", ")
    })
}

/// Whatever may still act stands in the journal, with the same content.
pub fn whatever_may_land_stands_in_the_journal(world: &World) -> Checked {
    let in_flight = world.state.in_flight.as_ref().map(|in_flight| &in_flight.request);
    for lost in &world.lost_requests {
        if lost.until < world.now || in_flight == Some(&lost.request) {
            continue;
        }
        for (id, content) in lost_contents(&lost.request) {
            let entries = world.state.tables.lost_entries(&id);
            let is_noted = entries.iter().any(|entry| entry.content == content);
            ensure(is_noted, "whatever may land stands in the journal", || {
                format!("a lost request about {id} is forgotten")
            })?;
        }
    }
    Ok(())
}

/// Whether Wazzup shows the user under a name that a lost request of ours may have given.
fn is_of_lost_creation(cycle: &RunningCycle, id: &EmployeeId) -> bool {
    match cycle.list.find(id.as_str()) {
        Sighting::Named(name) => cycle
            .snapshot
            .lost_entries(id)
            .iter()
            .any(|entry| match &entry.content {
                LostContent::Upsert { name: lost_name, .. } => lost_name.is_same_as(name),
                LostContent::Removal => false,
            }),
        Sighting::Absent | Sighting::Unknown => false,
    }
}

/// What a cycle saw that allows charging somebody.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    requests: usize,
    /// The last request in which each user failed alone; and whether the service made no decision.
    failed_alone: BTreeMap<String, FailedAlone>,
    /// Users whom a refusal named.
    named: BTreeSet<String>,
    /// Users who failed alone, and of whom nothing was accepted since.
    not_accepted_since: BTreeSet<String>,
    /// Users of whom something was accepted in this cycle.
    pub accepted: BTreeSet<String>,
    /// Users of whom more than a release was accepted in this cycle.
    pub delivered: BTreeSet<String>,
    last_acceptance: Option<usize>,
    /// Something other than an acceptance was answered.
    pub has_trouble: bool,
}

#[derive(Clone, Copy, Debug)]
struct FailedAlone {
    request: usize,
    is_undecided: bool,
}

impl Evidence {
    pub fn take(&mut self, request: &Request, answer: &Answer) {
        if !request.is_writing() {
            return;
        }
        self.requests += 1;
        let ids = ids_of(request);
        match &answer.verdict {
            Verdict::Accepted { .. } => {
                self.last_acceptance = Some(self.requests);
                for id in &ids {
                    self.accepted.insert(id.to_string());
                    self.not_accepted_since.remove(id.as_str());
                }
                if let Request::Upsert { entries, .. } = request {
                    let delivered = entries.iter().filter(|entry| entry.change != Change::Release);
                    self.delivered
                        .extend(delivered.map(|entry| entry.employee.id.to_string()));
                }
            }
            Verdict::Refused(refusal) => {
                self.has_trouble = true;
                self.note_failed_alone(&ids, false);
                if refusal.code == RefusalCode::UserLimitExceeded {
                    // That is about the account: some wait for a seat, and only so many are searched.
                    self.not_accepted_since
                        .retain(|id| ids.iter().all(|refused| refused.as_str() != id));
                }
                for invalid in &refusal.invalid {
                    if let Some(id) = invalid.index.and_then(|index| ids.get(index)) {
                        self.named.insert(id.to_string());
                    }
                }
                if let Request::Upsert { entries, .. } = request {
                    let owners = entries
                        .iter()
                        .filter(|entry| refusal.phone.is_some() && entry.employee.phone == refusal.phone);
                    self.named.extend(owners.map(|entry| entry.employee.id.to_string()));
                }
            }
            Verdict::NoDecision(_) => {
                self.has_trouble = true;
                self.note_failed_alone(&ids, true);
            }
            Verdict::Interrupted(_) => self.has_trouble = true,
        }
    }

    fn note_failed_alone(&mut self, ids: &[EmployeeId], is_undecided: bool) {
        if let [id] = ids {
            let failed = FailedAlone {
                request: self.requests,
                is_undecided,
            };
            self.failed_alone.insert(id.to_string(), failed);
            self.not_accepted_since.insert(id.to_string());
        }
    }
}

/// The delivery counts the writing requests that were sent.
pub fn requests_are_counted(cycle: &RunningCycle, report: &Report) -> Checked {
    ensure(report.requests == cycle.requests, "requests are counted", || {
        format!("{} instead of {}", report.requests, cycle.requests)
    })
}

/// What is checked when a cycle has ended.
pub fn cycle_ended_well(
    world: &World,
    began: Timestamp,
    ended: &EndedCycle,
    plan: &Plan,
    report: &Report,
    evidence: &Evidence,
) -> Checked {
    counts_balance(world, ended)?;
    whoever_needs_nothing_is_in_sync(ended, plan)?;
    failures::whoever_failed_is_charged(world, began, ended, report, evidence)?;
    requests_are_bounded(ended, plan, report, evidence)?;
    in_sync_is_true(world, ended, plan)
}

/// Eligible employees are those in sync, failing, waiting for a seat and pending, each counted once; and whoever counts as
/// in sync was acknowledged as the CRM says.
fn counts_balance(world: &World, ended: &EndedCycle) -> Checked {
    let Some(counts) = &ended.counts else { return Ok(()) };
    let sum = counts.in_sync + counts.failing + counts.waiting_for_seat + counts.pending;
    ensure(counts.eligible == sum, "the counts balance", || format!("{counts:?}"))?;
    if ended.outcome == Outcome::Failed {
        return Ok(());
    }
    for (id, person) in world.crm.valid_people() {
        if counts.others.contains(id) {
            continue;
        }
        let user = world.state.tables.users.get(id.as_str());
        let acknowledged = user.and_then(|user| user.acknowledged.as_ref());
        let is_as_wanted = acknowledged
            .is_some_and(|user| user.name.as_str() == person.name && user.phone.map(Phone::digits) == person.phone);
        ensure(
            is_as_wanted,
            "whoever counts as in sync was acknowledged as the CRM says",
            || id.clone(),
        )?;
    }
    Ok(())
}

/// Of a cycle that has nothing to send, the plan counts the same employees in sync as its end does.
fn whoever_needs_nothing_is_in_sync(ended: &EndedCycle, plan: &Plan) -> Checked {
    let Some(counts) = ended.counts.as_ref().filter(|_| plan.requests() == 0) else {
        return Ok(());
    };
    ensure(
        plan.unchanged == counts.in_sync,
        "the plan counts who is in sync",
        || format!("{} instead of {}", plan.unchanged, counts.in_sync),
    )
}

/// A cycle makes no more requests than the plan needs, and at most 120 more where something was refused.
fn requests_are_bounded(ended: &EndedCycle, plan: &Plan, report: &Report, evidence: &Evidence) -> Checked {
    let needed =
        plan.removals.len().div_ceil(BATCH) + plan.releases.len().div_ceil(BATCH) + plan.upserts.len().div_ceil(BATCH);
    ensure(ended.planned_requests == needed, "the plan counts its requests", || {
        format!("{needed}")
    })?;
    if !evidence.has_trouble {
        // Fewer where an addition finds no seat after all.
        let is_exact = ended.requests == needed || (ended.requests < needed && !report.waiting_for_seat.is_empty());
        return ensure(is_exact, "no more requests than needed", || {
            format!("{} requests instead of {needed}", ended.requests)
        });
    }
    // One more is the control, and one batch may be cut to the free seats.
    let most = needed + EXTRA_REQUESTS + 2;
    ensure(
        ended.requests <= most,
        "at most 120 requests beyond those needed",
        || format!("{} requests, {needed} needed", ended.requests),
    )
}

/// `in_sync` is never said while a user differs whom no lost request concerns.
fn in_sync_is_true(world: &World, ended: &EndedCycle, plan: &Plan) -> Checked {
    if ended.outcome != Outcome::InSync {
        return Ok(());
    }
    let is_lost = |id: &str| {
        world.state.tables.lost.contains_key(id)
            || world
                .lost_requests
                .iter()
                .any(|lost| ids_of(&lost.request).iter().any(|lost_id| lost_id.as_str() == id))
    };
    for (id, person) in world.crm.valid_people() {
        let user = world.service.users.get(id);
        let is_as_wanted = user.is_some_and(|user| {
            let is_phone_free = world.service.variant.keeps_omitted_phone && person.phone.is_none();
            user.name == person.name && (is_phone_free || user.phone == person.phone)
        });
        ensure(
            is_as_wanted || is_lost(id),
            "in_sync is never said while a user differs",
            || format!("{id} is {user:?} in Wazzup and {person:?} in the CRM"),
        )?;
    }
    for (id, user) in &world.service.users {
        let is_employee = world.crm.people.contains_key(id) || world.crm.rejected.contains(id);
        let may_stay = !world.policy.removes
            || plan.staying.iter().any(|staying| {
                staying.id.as_str() == id && matches!(staying.reason, StayReason::InGrace | StayReason::Kept)
            });
        ensure(
            is_employee || user.is_foreign || user.is_left_by_refusal || may_stay || is_lost(id),
            "in_sync is never said while a leaver is there",
            || id.clone(),
        )?;
    }
    Ok(())
}

pub fn ids_of(request: &Request) -> Vec<EmployeeId> {
    match request {
        Request::Ping => Vec::new(),
        Request::Upsert { entries, .. } => entries.iter().map(|entry| entry.employee.id.clone()).collect(),
        Request::Remove { user_ids, .. } => user_ids.clone(),
    }
}
