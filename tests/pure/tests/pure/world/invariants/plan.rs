//! What must hold of a plan.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pure_core::{
    delivery::Change,
    employee::EmployeeId,
    plan::{FailureKey, HoldKind, Operation, PlannedUpsert, Sighting},
};

use super::{
    super::{Checked, World, cycle::RunningCycle},
    ensure, is_of_lost_creation,
};

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
    let entry = &upsert.entry;
    let id = upsert.id();
    let user = cycle.snapshot.users.get(id);
    let before = user.and_then(|user| user.acknowledged.as_ref());
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
        format!("{id}: {} of {sighting:?}", entry.change.as_ref())
    })?;
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
        let waits = plan.waiting.contains_key(id);
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
        let employee = &upsert.entry.employee;
        let user = cycle.snapshot.users.get(&employee.id);
        let Some(before) = user.and_then(|user| user.acknowledged.as_ref()) else {
            continue;
        };
        // What the service refused before is tried again, and no news of the CRM. A phone that is left out because it cannot be
        // had is none either.
        let refused = |operation| {
            let key = FailureKey::new(employee.id.as_str(), operation);
            let failure = cycle.snapshot.failures.get(&key).map(|open| &open.failure);
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
