//! What Wazzup and the state are when everything worked at last.

use pure_core::{employee::Phone, plan::Operation};

use super::super::{World, service::RemoteUser};

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
    for (key, open) in &world.state.tables.failures {
        let failure = &open.failure;
        let has_it = |user: &RemoteUser| failure.phone.is_some() && user.phone == failure.phone.map(Phone::digits);
        let mut users = world.service.users.iter();
        let is_taken =
            key.operation == Operation::Phone && users.any(|(id, user)| **id != *key.user_id && has_it(user));
        let waits = world.state.tables.account.waiting_for_seat.contains(&*key.user_id);
        if !failure.is_local && !is_taken && !waits {
            errors.push(format!("{key:?} fails for no reason"));
        }
    }
    let seats = world.state.tables.account.seats.used;
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
