//! The hold on updates: a column that is mapped wrongly must not rename everybody.

use super::{Hold, HoldKey, HoldKind, Holds, Operation, input::Input, wish::Wish};
use crate::employee::Employee;

/// Holds updates if there are more than the policy lets through at once. Returns whether any was held that was not before.
pub(super) fn hold_updates<'a>(input: Input<'a>, wishes: &mut [Wish<'a>], holds: &mut Holds) -> bool {
    let managed = input.snapshot.users.len();
    let held_before = wishes.iter().filter(|wish| wish.is_held).count();
    let mut changes: Vec<(&mut Wish<'a>, HoldKey, String)> = Vec::new();
    for wish in wishes {
        let (Some(entry), Some(_)) = (wish.entry, wish.acknowledged()) else {
            continue;
        };
        if !wish.differs() || was_tried(input, wish) {
            continue;
        }
        let key = HoldKey::new(HoldKind::Update, wish.id.as_str());
        let content = content_of_update(&entry.employee);
        match input.snapshot.holds.get(&key) {
            Some(hold) if hold.is_approved_for(&content) => _ = holds.insert(key, hold.clone()),
            _ => changes.push((wish, key, content)),
        }
    }
    let limit = input.policy.updates.of(managed);
    let count = changes.len() + held_before;
    let mut is_any_held = false;
    for (wish, key, content) in changes {
        let existing = input.snapshot.holds.get(&key).filter(|hold| hold.content == content);
        let reason = match existing {
            _ if count > limit => format!(
                "{count} of {managed} users would get another name or phone in one cycle, more than the limit of {limit}"
            ),
            Some(hold) => hold.reason.clone(),
            None => continue,
        };
        let hold = Hold {
            sticky: true,
            ..input.new_hold(&key, &content, None, reason)
        };
        holds.insert(key, hold);
        wish.keep_as_acknowledged();
        is_any_held = true;
    }
    is_any_held
}

/// Whether the service was sent exactly this update and refused it, or its phone.
fn was_tried<'a>(input: Input<'a>, wish: &Wish<'a>) -> bool {
    let is_name_acknowledged = wish
        .acknowledged()
        .is_some_and(|acknowledged| acknowledged.name == *wish.name());
    let refused_phone = input
        .refused(wish.id, Operation::Phone)
        .map(|refused| refused.failure.phone);
    let is_about_refused_phone = wish.phone.wanted.is_some() && refused_phone == Some(wish.phone.wanted);
    wish.refused(input).is_some() || (is_name_acknowledged && is_about_refused_phone)
}

/// What an approval of a held update is for: the name and the phone that the CRM wants.
pub(super) fn content_of_update(employee: &Employee) -> String {
    serde_json::json!({"name": employee.name, "phone": employee.phone}).to_string()
}
