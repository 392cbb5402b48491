//! Comparing the snapshot with Wazzup's own list: what was deleted or renamed by hand there is put in doubt, and the same
//! cycle heals it.
//!
//! A list that does not prove to be complete changes nothing, and no list ever leads to a removal.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    employee::EmployeeId,
    plan::{InDoubt, Managed, Snapshot},
    state::{self, Account, Lease, Seats, State, Verification},
    wazzup::{self, Session},
};

/// A comparison that came to nothing is tried again after this time, or after `verify_every` if that is shorter.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// The cycle cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wazzup does not take the key, or nothing may be sent.
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
    /// The state cannot be written.
    #[error(transparent)]
    State(#[from] state::Error),
}

/// Whether it is time to compare. At the start of a daemon it always is.
#[must_use]
pub fn is_due(account: &Account, every: SignedDuration, at_start: bool) -> bool {
    let past =
        |time: Option<Timestamp>, after: SignedDuration| time.is_none_or(|it| account.now.duration_since(it) >= after);
    at_start || past(account.last_verified_at, every) && past(account.verify_tried_at, every.min(TRY_AGAIN))
}

/// Compares, and marks in `snapshot` and in the state what is not as it should be. Updates the seats in `account`.
///
/// # Errors
/// If Wazzup does not take the key, if nothing may be sent, or if the state cannot be written. A list that cannot be had
/// or proves nothing is no error.
pub async fn verify(
    wazzup: &Session<'_>,
    state: &State,
    lease: &Lease,
    snapshot: &mut Snapshot,
    account: &mut Account,
) -> Result<(), Error> {
    let now = account.now;
    let found = match compare(wazzup, snapshot, account).await {
        Ok(Ok(found)) => found,
        Ok(Err(reason)) => {
            tracing::warn!(
                event = "verify.finished",
                complete = false,
                reason,
                "the list proves nothing and changes nothing"
            );
            Verification::default()
        }
        Err(error) => match error {
            wazzup::Error::Refused(_)
            | wazzup::Error::Fault(_)
            | wazzup::Error::Unavailable { .. }
            | wazzup::Error::Unreadable { .. } => {
                tracing::warn!(event = "verify.finished", complete = false, reason = %error, "there is no list");
                Verification::default()
            }
            _ => return Err(error.into()),
        },
    };
    state.record_verification(lease, &found, now).await?;
    let in_doubt = InDoubt {
        since: now,
        names: Vec::new(),
        phones: Vec::new(),
    };
    for id in found.renamed.iter().chain(&found.missing) {
        if let Some(user) = snapshot.get_mut(id) {
            user.marks_mut().in_doubt.get_or_insert_with(|| in_doubt.clone());
        }
    }
    for id in &found.missing {
        if let Some(user) = snapshot.get_mut(id) {
            user.marks_mut().missing_since.get_or_insert(now);
        }
    }
    if let Some(seats) = found.seats {
        account.seats_used = u64::try_from(seats.used).ok();
        account.seats_counted_at = Some(now);
        tracing::info!(
            event = "verify.finished",
            complete = true,
            users = seats.used,
            foreign = seats.foreign,
            missing = found.missing.len(),
            renamed = found.renamed.len(),
            "compared with Wazzup's list"
        );
    }
    Ok(())
}

/// What the list says, or why it says nothing.
async fn compare(
    wazzup: &Session<'_>,
    snapshot: &Snapshot,
    account: &Account,
) -> Result<Result<Verification, String>, wazzup::Error> {
    let list = wazzup.users().await?;
    if let Some(reason) = list.incomplete {
        return Ok(Err(reason));
    }
    let found = differences(&list.users, snapshot);
    // One user that it lacks must really be gone, else the list is not what it seems.
    if let Some(missing) = found.missing.first().and_then(|id| EmployeeId::parse(id).ok())
        && wazzup.user(&missing).await?.is_some()
    {
        return Ok(Err("a user that is not in the list exists all the same".into()));
    }
    let limit = account.seats_limit.and_then(|it| usize::try_from(it).ok());
    let foreign = list.users.keys().filter(|id| snapshot.get(id).is_none()).count();
    Ok(Ok(Verification {
        seats: Some(Seats {
            used: list.users.len(),
            foreign,
            limit,
        }),
        ..found
    }))
}

/// The acknowledged users that a complete list does not have, or has by another name.
fn differences(listed: &BTreeMap<String, String>, snapshot: &Snapshot) -> Verification {
    let mut found = Verification {
        complete: true,
        ..Verification::default()
    };
    let acknowledged = |user: &Managed| user.acknowledged.as_ref().map(|it| it.name.clone());
    for (user, name) in snapshot
        .users
        .iter()
        .filter_map(|user| acknowledged(user).map(|name| (user, name)))
    {
        match listed.get(user.id.as_str()) {
            None if user.marks().missing_since.is_none() => found.missing.push(user.id.to_string()),
            Some(listed) if listed.trim() != name.as_str() => found.renamed.push(user.id.to_string()),
            _ => {}
        }
    }
    found
}
