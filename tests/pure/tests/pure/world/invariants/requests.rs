//! What must hold of each request before it is sent.

use std::collections::BTreeSet;

use pure_core::{
    delivery::{BatchEntry, Change, Request},
    employee::EmployeeId,
    plan::{BATCH, HoldKind, Sighting},
};

use super::{
    super::{Checked, World, cycle::RunningCycle},
    ensure, ids_of, is_of_lost_creation,
};

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

/// What is sent is what the plan says, at most without its phone, and once; but for a control, which is alone and says what is in
/// Wazzup already.
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
                let is_control = entries.len() == 1 && is_as_acknowledged(world, entry);
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
    if is_forgotten || !is_acknowledged && cycle.roster.rejected.contains_key(id.as_str()) {
        return false;
    }
    is_acknowledged || is_of_lost_creation(cycle, id)
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
