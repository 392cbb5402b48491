//! What must hold whatever happens. Each function says in its first sentence which promise it checks.

pub mod failures;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pure_core::{
    delivery::{Answer, BatchEntry, Change, EXTRA_REQUESTS, RefusalCode, Report, Request, Verdict},
    employee::{EmployeeId, Phone},
    plan::{BATCH, FailureKey, HoldKind, LostContent, Operation, Plan, PlannedUpsert, Sighting, StayReason},
};

use super::{
    Checked, EndedCycle, Outcome, Violation, World, cycle::RunningCycle, service::RemoteUser, state::lost_contents,
};

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

/// A plan names nobody twice, holds what it should, and never removes somebody whom the CRM names.
pub fn plan_makes_sense(world: &World, cycle: &RunningCycle) -> Checked {
    let plan = &cycle.plan;
    let mut seen = BTreeSet::new();
    for upsert in &plan.upserts {
        ensure(seen.insert(upsert.id()), "a plan names nobody twice", || {
            upsert.id().to_string()
        })?;
    }
    for removal in &plan.removals {
        ensure(
            !cycle.roster.names(removal.id.as_str()),
            "nobody whom the CRM names is removed",
            || removal.id.to_string(),
        )?;
        ensure(seen.insert(&removal.id), "a plan names nobody twice", || {
            removal.id.to_string()
        })?;
    }
    ensure(
        world.policy.removes || plan.removals.is_empty(),
        "the policy 'keep' removes nobody",
        || format!("{} removals", plan.removals.len()),
    )?;
    for upsert in &plan.upserts {
        a_change_is_called_what_it_is(cycle, upsert)?;
    }
    releases_give_up_only_the_phone(cycle)?;
    whoever_was_lost_is_sent_again(cycle)?;
    no_more_updates_than_the_limit(world, cycle)?;
    no_more_removals_than_the_limit(world, cycle)?;
    nobody_is_removed_within_the_grace(world, cycle)
}

/// Whom we manage is updated if something differs, and sent again otherwise; anybody else is added, adopted or taken over,
/// depending on whether Wazzup has the user and under which name. A seat is taken by whom Wazzup does not have.
fn a_change_is_called_what_it_is(cycle: &RunningCycle, upsert: &PlannedUpsert) -> Checked {
    let PlannedUpsert { entry, before, .. } = upsert;
    let id = upsert.id();
    let user = cycle.snapshot.users.get(id);
    ensure(
        *before == user.and_then(|user| user.acknowledged.clone()),
        "an upsert says what Wazzup acknowledged before",
        || id.to_string(),
    )?;
    let sighting = cycle.list.find(id.as_str());
    let is_lost_creation = is_of_lost_creation(cycle, id);
    let is_right = match (entry.change, before, sighting) {
        (Change::Update, Some(before), _) => before.name != entry.employee.name || before.phone != entry.employee.phone,
        (Change::Resend, Some(before), _) => before.name == entry.employee.name && before.phone == entry.employee.phone,
        (Change::Adopt, None, Sighting::Named(name)) => !is_lost_creation && entry.employee.name.is_same_as(name),
        (Change::TakeOver, None, Sighting::Named(name)) => !is_lost_creation && !entry.employee.name.is_same_as(name),
        (Change::Add, None, Sighting::Named(_)) => is_lost_creation,
        (Change::Add, None, _) => true,
        _ => false,
    };
    ensure(is_right, "a change is called what it is", || {
        format!("{id}: {} of {sighting:?}", entry.change.as_str())
    })?;
    let shown_name = match sighting {
        Sighting::Named(name) if matches!(entry.change, Change::Adopt | Change::TakeOver) => Some(name),
        _ => None,
    };
    ensure(
        upsert.name_in_wazzup.as_deref() == shown_name,
        "an upsert says under which name Wazzup has a user who is not ours",
        || id.to_string(),
    )?;
    let is_missing = sighting == Sighting::Absent && upsert.takes_seat
        || sighting == Sighting::Unknown && cycle.snapshot.account.waiting_for_seat.contains(id);
    let takes_seat = entry.change == Change::Add && !is_lost_creation || is_missing;
    ensure(
        upsert.takes_seat == takes_seat,
        "whoever is not in Wazzup takes a seat",
        || id.to_string(),
    )
}

/// A release changes nothing but the phone.
fn releases_give_up_only_the_phone(cycle: &RunningCycle) -> Checked {
    for release in &cycle.plan.releases {
        let id = &release.employee.id;
        let user = cycle.snapshot.users.get(id);
        let acknowledged = user.and_then(|user| user.acknowledged.as_ref());
        let keeps_name = acknowledged.is_none_or(|user| user.name == release.employee.name);
        let is_bare = release.employee.phone.is_none() && release.phone_spelling.is_none();
        ensure(
            keeps_name && is_bare && release.change == Change::Release,
            "a release changes nothing but the phone",
            || id.to_string(),
        )?;
        let has_phone = cycle.snapshot.possible_phones(id).next().is_some();
        ensure(has_phone, "only who may have a phone releases it", || id.to_string())?;
    }
    Ok(())
}

/// An employee in a lost request is sent again at once if nothing was acknowledged since, and once more when the lost request
/// can no longer act; unless a failure backs off, something is held, or there is no seat.
fn whoever_was_lost_is_sent_again(cycle: &RunningCycle) -> Checked {
    let plan = &cycle.plan;
    if plan.doubts_account() || plan.questions.for_account {
        return Ok(());
    }
    for entry in &cycle.roster.entries {
        let id = &entry.employee.id;
        let synced_at = cycle.snapshot.users.get(id).and_then(|user| user.synced_at);
        let mut lost = cycle.snapshot.lost_entries(id).iter();
        let is_due = lost.any(|entry| Some(entry.lost_at) > synced_at || entry.may_land_until <= cycle.began);
        let waits = plan.pending.contains(id) || plan.backing_off.contains(id) || plan.waiting_for_seat.contains(id);
        let is_sent = plan.upserts.iter().any(|upsert| upsert.id() == id)
            || plan.releases.iter().any(|release| release.employee.id == *id);
        ensure(!is_due || waits || is_sent, "whoever was lost is sent again", || {
            id.to_string()
        })?;
    }
    Ok(())
}

/// No more acknowledged users get another name or phone in one cycle than the policy allows, unless somebody approved it.
fn no_more_updates_than_the_limit(world: &World, cycle: &RunningCycle) -> Checked {
    let plan = &cycle.plan;
    let mut unapproved = 0;
    for upsert in &plan.upserts {
        let Some(before) = &upsert.before else { continue };
        let employee = &upsert.entry.employee;
        // What the service refused before is tried again, and no news of the CRM. A phone that is left out because it cannot be
        // had is none either.
        let refused = |operation| {
            let key = FailureKey::new(employee.id.as_str(), operation);
            let failure = cycle.snapshot.failures.get(&key);
            failure.filter(|failure| !failure.is_local && failure.phone == upsert.wanted_phone)
        };
        let attempted_name = refused(Operation::Upsert).and_then(|failure| failure.name.as_ref());
        if attempted_name == Some(&employee.name) {
            continue;
        }
        let is_retried = refused(Operation::Phone).is_some();
        let changes_phone = employee.phone.is_some() && !is_retried && before.phone != employee.phone;
        let is_approved = plan.holds.iter().any(|(key, hold)| {
            key.kind == HoldKind::Update && *key.user_id == *employee.id.as_str() && hold.approved.is_some()
        });
        if !is_approved && (before.name != employee.name || changes_phone) {
            unapproved += 1;
        }
    }
    let limit = world.policy.updates.of(cycle.snapshot.users.len());
    ensure(unapproved <= limit, "no more updates than the limit", || {
        format!("{unapproved} updates, limit {limit}")
    })
}

/// No more users are removed in 24 hours than the policy allows, unless somebody approved it; and never all of them.
fn no_more_removals_than_the_limit(world: &World, cycle: &RunningCycle) -> Checked {
    let unapproved: BTreeSet<&EmployeeId> = cycle
        .plan
        .removals
        .iter()
        .filter(|removal| !removal.approved)
        .map(|removal| &removal.id)
        .collect();
    if unapproved.is_empty() {
        return Ok(());
    }
    let managed = cycle.snapshot.users.len();
    ensure(
        !cycle.roster.is_empty(),
        "nobody is removed while the CRM names nobody",
        || format!("{} removals", unapproved.len()),
    )?;
    ensure(
        cycle.roster.missing_ids == 0,
        "nobody is removed while a row has no id",
        || format!("{} removals", unapproved.len()),
    )?;
    ensure(
        managed < 2 || unapproved.len() < managed,
        "never are all users removed",
        || format!("{managed} users"),
    )?;
    if world.has_removal_failed {
        return Ok(());
    }
    let day = SignedDuration::from_hours(24);
    let recent = world
        .unapproved_removals
        .iter()
        .filter(|(id, at)| {
            **at + day > cycle.began && !unapproved.iter().any(|removed| removed.as_str() == id.as_str())
        })
        .count();
    let limit = world.policy.removals.of(managed);
    ensure(
        unapproved.len() + recent <= limit,
        "no more removals in 24 hours than the limit",
        || format!("{} removals after {recent}, limit {limit}", unapproved.len()),
    )
}

/// Nobody is removed who has not been absent for the time of grace, unless somebody approved it.
fn nobody_is_removed_within_the_grace(world: &World, cycle: &RunningCycle) -> Checked {
    for removal in &cycle.plan.removals {
        let user = cycle.snapshot.users.get(&removal.id);
        let absent_since = user.and_then(|user| user.absent_since).unwrap_or(cycle.began);
        let was_absent = cycle.began.duration_since(absent_since);
        ensure(
            removal.approved || was_absent >= world.policy.grace,
            "nobody is removed within the grace",
            || removal.id.to_string(),
        )?;
    }
    Ok(())
}

/// What is checked before each request.
pub fn request_may_be_sent(world: &World, cycle: &RunningCycle, request: &Request) -> Checked {
    if !request.is_writing() {
        return Ok(());
    }
    nobody_stands_twice_in_a_request(request)?;
    only_what_was_planned_is_sent(world, cycle, request)?;
    nothing_held_is_sent(world, cycle, request)?;
    additions_are_vouched_for(world, cycle, request)?;
    phones_are_released_before_they_are_claimed(world, cycle, request)?;
    the_request_stands_in_the_journal(world, request)
}

/// No id stands twice in a request, and a request has one to 100 entries.
fn nobody_stands_twice_in_a_request(request: &Request) -> Checked {
    let ids = ids_of(request);
    let distinct: BTreeSet<&EmployeeId> = ids.iter().collect();
    ensure(distinct.len() == ids.len(), "no id stands twice in a request", || {
        format!("{} entries", ids.len())
    })?;
    ensure(
        (1..=BATCH).contains(&ids.len()),
        "a request has 1 to 100 entries",
        || format!("{} entries", ids.len()),
    )
}

/// What is sent is what the plan says, at most without its phone; once it was accepted, nothing is sent to the user any more but
/// what is in Wazzup already: as a control, alone.
fn only_what_was_planned_is_sent(world: &World, cycle: &RunningCycle, request: &Request) -> Checked {
    let plan = &cycle.plan;
    match request {
        Request::Ping => Ok(()),
        Request::Remove { user_ids, .. } => {
            let is_planned = |id: &&EmployeeId| plan.removals.iter().any(|removal| removal.id == **id);
            let unplanned = user_ids.iter().find(|id| !is_planned(id));
            ensure(unplanned.is_none(), "only planned removals are sent", || {
                format!("{unplanned:?}")
            })
        }
        Request::Upsert { entries, .. } => {
            for entry in entries {
                let id = &entry.employee.id;
                let planned = if entry.change == Change::Release {
                    plan.releases.iter().find(|release| release.employee.id == *id)
                } else {
                    let upsert = plan.upserts.iter().find(|upsert| upsert.id() == id);
                    upsert.map(|upsert| &upsert.entry)
                };
                let planned = planned.filter(|_| !cycle.evidence.delivered.contains(id.as_str()));
                let is_as_planned =
                    planned.is_some_and(|planned| *entry == *planned || *entry == without_phone(planned));
                let is_control = planned.is_none() && entries.len() == 1 && is_as_acknowledged(world, entry);
                ensure(is_as_planned || is_control, "only what was planned is sent", || {
                    id.to_string()
                })?;
            }
            Ok(())
        }
    }
}

fn without_phone(entry: &BatchEntry) -> BatchEntry {
    let mut without = entry.clone();
    without.employee.phone = None;
    without.phone_spelling = None;
    without
}

fn is_as_acknowledged(world: &World, entry: &BatchEntry) -> bool {
    let user = world.state.tables.users.get(&entry.employee.id);
    let acknowledged = user.and_then(|user| user.acknowledged.as_ref());
    let is_same = acknowledged.is_some_and(|acknowledged| {
        acknowledged.name == entry.employee.name
            && acknowledged.phone == entry.employee.phone
            && acknowledged.phone_spelling == entry.phone_spelling
    });
    is_same && entry.change == Change::Resend
}

/// What is held is not sent: no removal, no new values, no take-over; and nothing at all while the account is doubted.
fn nothing_held_is_sent(world: &World, cycle: &RunningCycle, request: &Request) -> Checked {
    ensure(
        !cycle.plan.doubts_account(),
        "nothing is sent while the account is doubted",
        String::new,
    )?;
    match request {
        Request::Ping => Ok(()),
        Request::Remove { user_ids, .. } => {
            let held = user_ids.iter().find(|id| world.is_held(HoldKind::Remove, id));
            ensure(held.is_none(), "a held removal is not sent", || format!("{held:?}"))
        }
        Request::Upsert { entries, .. } => {
            for entry in entries {
                let id = &entry.employee.id;
                ensure(
                    !world.is_held(HoldKind::Takeover, id),
                    "a held take-over is not sent",
                    || id.to_string(),
                )?;
                if !world.is_held(HoldKind::Update, id) {
                    continue;
                }
                let user = cycle.snapshot.users.get(id);
                let acknowledged = user.and_then(|user| user.acknowledged.as_ref());
                let is_as_before = acknowledged.is_some_and(|acknowledged| {
                    let keeps_phone = entry.employee.phone.is_none() || acknowledged.phone == entry.employee.phone;
                    acknowledged.name == entry.employee.name && keeps_phone
                });
                ensure(is_as_before, "a held update is not sent", || id.to_string())?;
            }
            Ok(())
        }
    }
}

/// An addition is sent only if something of this cycle says that nobody has its id, or that a lost request of ours added it.
fn additions_are_vouched_for(world: &World, cycle: &RunningCycle, request: &Request) -> Checked {
    let Request::Upsert { entries, .. } = request else {
        return Ok(());
    };
    for entry in entries.iter().filter(|entry| entry.change == Change::Add) {
        let id = entry.employee.id.as_str();
        ensure(
            world.policy.always_takes_over
                || cycle.list.find(id) == Sighting::Absent
                || is_of_lost_creation(cycle, &entry.employee.id),
            "an addition is vouched for",
            || id.to_owned(),
        )?;
    }
    Ok(())
}

/// Nobody claims a phone that another user of ours may still have and has not given up in this cycle.
fn phones_are_released_before_they_are_claimed(world: &World, cycle: &RunningCycle, request: &Request) -> Checked {
    let Request::Upsert { entries, .. } = request else {
        return Ok(());
    };
    for entry in entries {
        let id = &entry.employee.id;
        let Some(phone) = entry.employee.phone else { continue };
        let user = cycle.snapshot.users.get(id);
        let had_it = user.and_then(|user| user.acknowledged.as_ref()?.phone) == Some(phone);
        if had_it {
            continue;
        }
        for holder in cycle.snapshot.users.keys().filter(|holder| *holder != id) {
            let may_have_it = cycle.snapshot.possible_phones(holder).any(|possible| possible == phone);
            // This list lacks the user, or an earlier one did, and there was no seat.
            let is_missing = cycle.list.find(holder.as_str()) == Sighting::Absent
                || cycle.snapshot.account.waiting_for_seat.contains(holder);
            let has_acknowledged_it = world
                .state
                .tables
                .users
                .get(holder)
                .is_some_and(|user| user.acknowledged.as_ref().is_some_and(|user| user.phone == Some(phone)));
            let gave_it_up = cycle.evidence.accepted.contains(holder.as_str()) && !has_acknowledged_it;
            ensure(
                !may_have_it || is_missing || gave_it_up || !is_there(cycle, holder),
                "a phone is released before it is claimed",
                || format!("{id} claims what {holder} may have"),
            )?;
        }
    }
    Ok(())
}

/// Whether the user is in Wazzup for all we know, and can be asked to give something up. Nobody knows a name for one whose
/// creation was lost and whose row is rejected now.
fn is_there(cycle: &RunningCycle, id: &EmployeeId) -> bool {
    let user = cycle.snapshot.users.get(id);
    let is_acknowledged = user.is_some_and(|user| user.acknowledged.is_some());
    let is_forgotten = cycle.plan.marks.forgotten.contains(id);
    if is_forgotten || !is_acknowledged && cycle.roster.is_rejected(id.as_str()) {
        return false;
    }
    is_acknowledged || is_of_lost_creation(cycle, id)
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

/// A request is written into the journal before it is sent.
fn the_request_stands_in_the_journal(world: &World, request: &Request) -> Checked {
    let in_flight = world.state.in_flight.as_ref().map(|in_flight| &in_flight.request);
    ensure(
        in_flight == Some(request),
        "a request stands in the journal before it is sent",
        String::new,
    )
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
    let Some(counts) = ended.counts.as_ref().filter(|_| plan.sends_nothing()) else {
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

/// At the end of time Wazzup is what the CRM says. Returns what differs.
pub fn differences(world: &World) -> Vec<String> {
    let mut differences = Vec::new();
    let waiting = &world.state.tables.account.waiting_for_seat;
    for (id, person) in world.crm.valid_people() {
        let Some(user) = world.service.users.get(id) else {
            if !waiting.contains(id.as_str()) {
                differences.push(format!("{id} is not in Wazzup"));
            }
            continue;
        };
        if user.name != person.name {
            differences.push(format!("{id} has another name"));
        }
        differences.extend(phone_difference(world, id));
    }
    for (id, user) in &world.service.users {
        let is_employee = world.crm.people.contains_key(id) || world.crm.rejected.contains(id);
        let is_nobodys = user.is_foreign || user.is_left_by_refusal;
        if !is_employee && !is_nobodys && world.policy.removes {
            differences.push(format!("{id} is still in Wazzup"));
        }
    }
    let is_full = world
        .service
        .seat_limit
        .is_some_and(|limit| world.service.users.len() >= limit);
    if !waiting.is_empty() && !is_full {
        differences.push(format!("{} wait for a seat although some are free", waiting.len()));
    }
    differences
}

/// What is written down at the end of time is true: who fails does so for the CRM's rows, for a phone that somebody else has, or
/// could not be tried again for want of a seat; and as many seats are counted as there are users. Returns what is not.
pub fn errors_in_the_books(world: &World) -> Vec<String> {
    let mut errors = Vec::new();
    for (key, failure) in &world.state.tables.failures {
        let has_it = |user: &RemoteUser| failure.phone.is_some() && user.phone == failure.phone.map(Phone::digits);
        let mut users = world.service.users.iter();
        let is_taken =
            key.operation == Operation::Phone && users.any(|(id, user)| **id != *key.user_id && has_it(user));
        let waits = world.state.tables.account.waiting_for_seat.contains(&*key.user_id);
        if !failure.is_local && !is_taken && !waits {
            errors.push(format!("{key:?} fails for no reason"));
        }
    }
    let seats = world.state.tables.account.seats_used;
    if seats != Some(world.service.users.len()) {
        errors.push(format!("{seats:?} seats are counted"));
    }
    errors
}

/// A phone that two employees want, or that somebody else has in Wazzup, is anybody's; any other is as the CRM says.
fn phone_difference(world: &World, id: &str) -> Option<String> {
    let wanted = world.crm.people[id].phone;
    let has = world.service.users[id].phone;
    if wanted == has {
        return None;
    }
    let Some(phone) = wanted else {
        // It was left out, and this service keeps it then.
        return (!world.service.variant.keeps_omitted_phone).then(|| format!("{id} still has a phone"));
    };
    let others_want_it = world
        .crm
        .people
        .iter()
        .any(|(other, person)| other != id && person.phone == Some(phone));
    let others_have_it = world
        .service
        .users
        .iter()
        .any(|(other, user)| other != id && user.phone == Some(phone));
    let keeps_old_one = has.is_some() && world.service.variant.keeps_omitted_phone;
    (!others_want_it && !others_have_it && !keeps_old_one).then(|| format!("{id} has not its phone"))
}
