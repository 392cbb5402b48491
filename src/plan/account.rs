//! Is this the Wazzup account whose users we manage?

use super::{
    Acknowledged, Coverage, HoldKey, LostContent, RemoteList, Sighting, Snapshot, leavers::is_name_of_lost_upsert,
};
use crate::employee::EmployeeId;

/// How many users are looked up where the list proves nothing.
const SAMPLE: usize = 5;

/// What a cycle's list says about the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AccountVerdict {
    /// Nothing asks for a judgement, and nothing allows one.
    NotJudged,
    /// It is ours.
    Passed,
    /// It looks like another one; why.
    Doubted(String),
    /// The list has to be read first.
    NeedsList,
    /// These users have to be looked up first.
    NeedsLookUps(Vec<EmployeeId>),
}

/// Judges the account by what Wazzup shows of the acknowledged users.
pub(super) fn judge(snapshot: &Snapshot, list: &RemoteList) -> AccountVerdict {
    let acknowledged: Vec<(&EmployeeId, &Acknowledged)> = snapshot
        .users
        .iter()
        .filter_map(|(id, user)| Some((id, user.acknowledged.as_ref()?)))
        .filter(|(id, _)| !may_have_been_removed(id, snapshot, list))
        .collect();
    let changed = snapshot.account.fingerprint.as_deref() != Some(list.fingerprint.as_str());
    let is_held = snapshot.holds.contains_key(&HoldKey::account());
    if acknowledged.len() < 2 {
        return if list.was_answered() {
            AccountVerdict::Passed
        } else if is_held {
            AccountVerdict::NeedsList
        } else {
            AccountVerdict::NotJudged
        };
    }
    match list.coverage() {
        Coverage::Complete => judge_by_complete_list(&acknowledged, snapshot, list),
        _ if !changed && !is_held => AccountVerdict::NotJudged,
        Coverage::Unread => AccountVerdict::NeedsList,
        Coverage::Incomplete(_) | Coverage::Unavailable(_) => judge_by_sample(&acknowledged, snapshot, list),
    }
}

fn judge_by_complete_list(
    acknowledged: &[(&EmployeeId, &Acknowledged)],
    snapshot: &Snapshot,
    list: &RemoteList,
) -> AccountVerdict {
    let managed = acknowledged.len();
    let found = acknowledged
        .iter()
        .filter(|(id, user)| is_shown_as_ours(id, user, snapshot, list))
        .count();
    let is_doubtful = if managed >= SAMPLE {
        found * 2 < managed
    } else {
        found == 0
    };
    if is_doubtful {
        AccountVerdict::Doubted(format!(
            "Wazzup shows {found} of our {managed} users under their names: this looks like another Wazzup account"
        ))
    } else {
        AccountVerdict::Passed
    }
}

/// Without a complete list, some users are looked up: one of them under the acknowledged name is enough.
fn judge_by_sample(
    acknowledged: &[(&EmployeeId, &Acknowledged)],
    snapshot: &Snapshot,
    list: &RemoteList,
) -> AccountVerdict {
    if acknowledged
        .iter()
        .any(|(id, user)| is_shown_as_ours(id, user, snapshot, list))
    {
        return AccountVerdict::Passed;
    }
    let sample: Vec<&EmployeeId> = acknowledged
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| id.has_own_url())
        .take(SAMPLE)
        .collect();
    let unasked: Vec<EmployeeId> = sample
        .iter()
        .filter(|id| !list.was_looked_up(id.as_str()))
        .map(|id| (*id).clone())
        .collect();
    if !unasked.is_empty() {
        return AccountVerdict::NeedsLookUps(unasked);
    }
    AccountVerdict::Doubted(format!(
        "none of {} of our users is in Wazzup under the acknowledged name: this looks like another Wazzup account",
        sample.len()
    ))
}

/// Whether the user's absence shows nothing, since a lost removal of ours may be the reason.
fn may_have_been_removed(id: &EmployeeId, snapshot: &Snapshot, list: &RemoteList) -> bool {
    let is_removal_lost = snapshot
        .lost_entries(id)
        .iter()
        .any(|entry| entry.content == LostContent::Removal);
    is_removal_lost && list.find(id.as_str()) == Sighting::Absent
}

/// Whether Wazzup shows the user under a name of ours: the acknowledged one, or one that a lost request may have given.
fn is_shown_as_ours(id: &EmployeeId, user: &Acknowledged, snapshot: &Snapshot, list: &RemoteList) -> bool {
    match list.find(id.as_str()) {
        Sighting::Named(name) => user.name.is_same_as(name) || is_name_of_lost_upsert(snapshot, id, name),
        Sighting::Absent | Sighting::Unknown => false,
    }
}
