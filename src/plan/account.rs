//! Is this the Wazzup account whose users we manage? And are the users whom its list lacks really gone?

use super::{Acknowledged, Coverage, HoldKey, LostContent, Questions, Sighting, input::Input};
use crate::employee::EmployeeId;

/// How many users are looked up where the list proves nothing.
const SAMPLE: usize = 5;

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
    let mut acknowledged = acknowledged_users(input);
    acknowledged.retain(|(id, _)| !may_have_been_removed(input, id));
    let is_changed = snapshot.account.fingerprint.as_deref() != Some(list.fingerprint.as_str());
    let is_held = snapshot.holds.contains_key(&HoldKey::account());
    if acknowledged.len() < 2 {
        // Too few to judge by.
        return if is_held && !list.was_answered() {
            ask_list()
        } else {
            AccountVerdict::Ours {
                is_proven: list.was_answered(),
            }
        };
    }
    match list.coverage() {
        Coverage::Complete => judge_by_complete_list(input, &acknowledged),
        _ if !is_changed && !is_held => AccountVerdict::Ours { is_proven: false },
        Coverage::Unread => ask_list(),
        Coverage::Incomplete(_) | Coverage::Unavailable(_) => judge_by_sample(input, &acknowledged),
    }
}

fn acknowledged_users(input: Input<'_>) -> Vec<(&EmployeeId, &Acknowledged)> {
    let users = input.snapshot.users.iter();
    users
        .filter_map(|(id, user)| Some((id, user.acknowledged.as_ref()?)))
        .collect()
}

fn ask_list() -> AccountVerdict {
    AccountVerdict::Unknown(Questions {
        list: true,
        users: Vec::new(),
        for_account: true,
    })
}

fn ask_users(users: Vec<EmployeeId>) -> AccountVerdict {
    AccountVerdict::Unknown(Questions {
        list: false,
        users,
        for_account: true,
    })
}

fn judge_by_complete_list(input: Input<'_>, acknowledged: &[(&EmployeeId, &Acknowledged)]) -> AccountVerdict {
    let managed = acknowledged.len();
    let found = acknowledged
        .iter()
        .filter(|(id, user)| is_shown_as_ours(input, id, user))
        .count();
    let is_ours = if managed >= SAMPLE {
        found * 2 >= managed
    } else {
        found > 0
    };
    if is_ours {
        return AccountVerdict::Ours { is_proven: true };
    }
    if let Proof::Needed(id) = MissingUsers::new(input).proof {
        return ask_users(vec![id]);
    }
    AccountVerdict::Doubted(format!(
        "Wazzup shows {found} of our {managed} users under their names: this looks like another Wazzup account"
    ))
}

/// Without a complete list, some users are looked up: one of them under the acknowledged name is enough.
fn judge_by_sample(input: Input<'_>, acknowledged: &[(&EmployeeId, &Acknowledged)]) -> AccountVerdict {
    if acknowledged.iter().any(|(id, user)| is_shown_as_ours(input, id, user)) {
        return AccountVerdict::Ours { is_proven: true };
    }
    let can_be_asked = acknowledged.iter().map(|(id, _)| *id).filter(|id| id.has_own_url());
    let sample: Vec<&EmployeeId> = can_be_asked.take(SAMPLE).collect();
    let mut unasked = Vec::new();
    for id in &sample {
        if !input.list.was_looked_up(id.as_str()) {
            unasked.push((*id).clone());
        }
    }
    if !unasked.is_empty() {
        return ask_users(unasked);
    }
    AccountVerdict::Doubted(format!(
        "none of {} of our users is in Wazzup under the acknowledged name: this looks like another Wazzup account",
        sample.len()
    ))
}

/// Whether the user's absence shows nothing, since a lost removal of ours may be the reason.
fn may_have_been_removed(input: Input<'_>, id: &EmployeeId) -> bool {
    let mut lost = input.lost_entries(id).iter();
    lost.any(|entry| entry.content == LostContent::Removal) && input.list.find(id.as_str()) == Sighting::Absent
}

/// Whether Wazzup shows the user under a name of ours: the acknowledged one, or one that a lost request may have given.
fn is_shown_as_ours(input: Input<'_>, id: &EmployeeId, user: &Acknowledged) -> bool {
    match input.list.find(id.as_str()) {
        Sighting::Named(name) => user.name.is_same_as(name) || input.is_lost_name(id, name),
        Sighting::Absent | Sighting::Unknown => false,
    }
}

/// The acknowledged users whom a complete list lacks.
#[derive(Debug)]
pub(super) struct MissingUsers {
    pub count: usize,
    pub proof: Proof,
}

/// Whether the missing users are really gone: one of them must be answered with 404; if none can be looked up, the list
/// alone is believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Given,
    /// This user has to be looked up.
    Needed(EmployeeId),
    /// There is none in this cycle.
    Lacking,
}

impl MissingUsers {
    pub(super) fn new(input: Input<'_>) -> Self {
        let list = input.list;
        if !list.is_complete() {
            return Self {
                count: 0,
                proof: Proof::Lacking,
            };
        }
        let mut missing = acknowledged_users(input);
        missing.retain(|(id, _)| list.find(id.as_str()) == Sighting::Absent);
        let mut can_be_asked = missing.iter().map(|(id, _)| *id).filter(|id| id.has_own_url());
        let proof = match can_be_asked.next() {
            None => Proof::Given,
            Some(_) if missing.iter().any(|(id, _)| list.is_proven_absent(id.as_str())) => Proof::Given,
            Some(_) if missing.iter().any(|(id, _)| list.was_looked_up(id.as_str())) => Proof::Lacking,
            Some(id) => Proof::Needed(id.clone()),
        };
        Self {
            count: missing.len(),
            proof,
        }
    }
}
