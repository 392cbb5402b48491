//! Is this the Wazzup account whose users we manage?

use super::{Acknowledged, HoldKey, LostContent, Questions, Sighting, input::Input, missing::MissingUsers};
use crate::employee::EmployeeId;

/// How many users are looked up where the list proves nothing.
const SAMPLE: usize = 5;

/// Of fewer users, one whom the list shows is enough; of so many, half of them.
const FEWEST_FOR_HALF: usize = 5;

/// What is known about the account in a cycle.
#[derive(Debug)]
pub(super) enum AccountVerdict {
    Ours {
        /// Something of this cycle shows it.
        is_proven: bool,
    },
    /// Something has to be asked first.
    Unknown(Questions),
    /// It looks like another one; why.
    Doubted(String),
}

/// Judges the account by what Wazzup shows of the acknowledged users.
pub(super) fn judge(input: Input<'_>) -> AccountVerdict {
    let Input { snapshot, list, .. } = input;
    let mut acknowledged = input.acknowledged_users();
    acknowledged.retain(|(id, _)| !may_have_been_removed(input, id));
    let is_changed = snapshot.account.fingerprint.as_deref() != Some(list.fingerprint.as_str());
    let is_held = snapshot.holds.contains_key(&HoldKey::account());
    let is_answered = list.was_answered();
    if acknowledged.len() < 2 && (is_answered || !is_held) {
        // Too few to judge by.
        AccountVerdict::Ours { is_proven: is_answered }
    } else if !list.is_complete() && !is_changed && !is_held {
        AccountVerdict::Ours { is_proven: false }
    } else if acknowledged.len() < 2 || !list.was_requested() {
        ask(Vec::new())
    } else {
        judge_by_names(input, &acknowledged)
    }
}

/// A complete list has to show enough of our users under their names. Otherwise one is enough, of those whom an incomplete
/// list shows or of some who are looked up.
fn judge_by_names(input: Input<'_>, acknowledged: &[(&EmployeeId, &Acknowledged)]) -> AccountVerdict {
    let Input { list, .. } = input;
    let managed = acknowledged.len();
    let are_ours = acknowledged.iter().map(|(id, user)| is_shown_as_ours(input, id, user));
    let shown = are_ours.filter(|is_ours| *is_ours).count();
    let is_ours = if list.is_complete() && managed >= FEWEST_FOR_HALF {
        shown * 2 >= managed
    } else {
        shown > 0
    };
    if is_ours {
        return AccountVerdict::Ours { is_proven: true };
    }
    let (unasked, doubt) = if list.is_complete() {
        let unasked: Vec<EmployeeId> = MissingUsers::new(input).to_look_up.into_iter().collect();
        let doubt = format!("Wazzup shows {shown} of our {managed} users under their names");
        (unasked, doubt)
    } else {
        let can_be_asked = acknowledged.iter().map(|(id, _)| *id).filter(|id| id.has_own_url());
        let sample: Vec<&EmployeeId> = can_be_asked.take(SAMPLE).collect();
        let unasked = sample.iter().filter(|id| !list.has_entry(id.as_str()));
        let unasked = unasked.map(|id| (*id).clone()).collect();
        if sample.is_empty() && !list.was_answered() {
            // Nothing can be asked before Wazzup answers with a list.
            return ask(Vec::new());
        }
        let asked = match sample.len() {
            0 => String::new(),
            number => format!("{number} of "),
        };
        (
            unasked,
            format!("none of {asked}our users is in Wazzup under the acknowledged name"),
        )
    };
    if unasked.is_empty() {
        AccountVerdict::Doubted(format!("{doubt}: this looks like another Wazzup account"))
    } else {
        ask(unasked)
    }
}

/// Asks for these users, or for the list if there are none.
fn ask(users: Vec<EmployeeId>) -> AccountVerdict {
    AccountVerdict::Unknown(Questions {
        list: users.is_empty(),
        users,
        for_account: true,
    })
}

/// Whether the user's absence shows nothing, since a lost removal of ours may be the reason.
fn may_have_been_removed(input: Input<'_>, id: &EmployeeId) -> bool {
    let mut lost = input.snapshot.lost_entries(id).iter();
    lost.any(|entry| entry.content == LostContent::Removal) && input.list.find(id.as_str()) == Sighting::Absent
}

/// Whether Wazzup shows the user under a name of ours: the acknowledged one, or one that a lost request may have given.
fn is_shown_as_ours(input: Input<'_>, id: &EmployeeId, user: &Acknowledged) -> bool {
    match input.list.find(id.as_str()) {
        Sighting::Named(name) => user.name.is_same_as(name) || input.is_lost_name(id, name),
        Sighting::Absent | Sighting::Unknown => false,
    }
}
