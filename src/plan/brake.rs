//! Which removals are due, and which of them the brake holds.

use jiff::{SignedDuration, Timestamp};

use super::{Failures, Managed, Operation, Snapshot, failure_of};
use crate::employee::{EmployeeId, Roster};

/// What an operator decided about removals.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// `false`: nobody is ever removed.
    pub remove: bool,
    /// Fewer removals than this within 24 hours are never held.
    pub hold_above: u64,
    /// The same, in percent of the managed users.
    pub hold_above_percent: u64,
    /// How long a user must be absent from the CRM before it is removed.
    pub grace: SignedDuration,
}

/// A user that leaves Wazzup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The user's id.
    pub id: EmployeeId,
    /// Wazzup never acknowledged it: it is looked up first, and removed only if it has one of the names we intended.
    pub lookup: bool,
    /// An operator approved it: the brake does not count it.
    pub approved: bool,
    /// It was removed before, and a late request may have brought it back: the brake counts nobody twice.
    pub again: bool,
}

/// What happens to the users whom the CRM does not want any more.
#[derive(Debug, Default)]
pub(super) struct Leavers {
    pub remove: Vec<Removal>,
    /// Held, those of earlier cycles included.
    pub held: Vec<EmployeeId>,
    pub newly_held: Vec<EmployeeId>,
    /// Absent for the first time.
    pub newly_absent: Vec<EmployeeId>,
    /// Within the grace, or kept by the policy, or waiting for another attempt.
    pub staying: Vec<EmployeeId>,
    pub reason: Option<HoldReason>,
}

/// Why removals are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// The CRM names nobody.
    EmptyRoster,
    /// Rows without an id: they may be anybody's.
    MissingIds(usize),
    /// More than the limit.
    TooMany {
        /// Removals now due.
        due: usize,
        /// Removals of the last 24 hours.
        recent: usize,
        /// The most that go without approval.
        limit: usize,
    },
    /// Held since an earlier cycle: only an approval or coming back releases.
    Earlier,
}

impl std::fmt::Display for HoldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EmptyRoster => f.write_str("the CRM names nobody at all"),
            Self::MissingIds(1) => f.write_str("a row of the CRM has no id, and may be anybody's"),
            Self::MissingIds(rows) => write!(f, "{rows} rows of the CRM have no id, and may be anybody's"),
            Self::TooMany { due, recent, limit } => {
                write!(
                    f,
                    "{due} removals due and {recent} done in the last 24 hours are more than the limit of {limit}"
                )
            }
            Self::Earlier => f.write_str("held earlier, and neither approved nor back in the CRM since"),
        }
    }
}

/// Sorts the `absent` users (managed, but in the CRM neither valid nor rejected) into those who go and those who stay.
pub(super) fn leavers(
    absent: &[&Managed],
    roster: &Roster,
    snapshot: &Snapshot,
    failures: &Failures,
    policy: Policy,
    now: Timestamp,
) -> Leavers {
    let mut leavers = Leavers::default();
    let mut due: Vec<&Managed> = Vec::new();
    for user in absent {
        let marks = user.marks();
        if !policy.remove {
            leavers.staying.push(user.id.clone());
            continue;
        }
        let absent_for = now.duration_since(marks.absent_since.unwrap_or(now));
        let passes = marks.approved_at.is_some() || marks.remove_again_at.is_some();
        let backs_off = failure_of(failures, user.id.as_str(), Operation::Remove).is_some_and(|it| it.backs_off(now));
        if backs_off || marks.remove_again_at.is_some_and(|again| again > now) {
            leavers.staying.push(user.id.clone());
        } else if passes {
            leavers.remove.push(removal(user));
        } else if marks.held_since.is_some() || absent_for >= policy.grace {
            due.push(user);
        } else {
            leavers.staying.push(user.id.clone());
        }
    }

    let limit = limit(policy, snapshot.users.len());
    leavers.reason = if due.is_empty() {
        None
    } else if roster.is_empty() {
        Some(HoldReason::EmptyRoster)
    } else if roster.missing_ids > 0 {
        Some(HoldReason::MissingIds(roster.missing_ids))
    } else if due.len() + snapshot.recent_removals > limit {
        Some(HoldReason::TooMany {
            due: due.len(),
            recent: snapshot.recent_removals,
            limit,
        })
    } else {
        due.iter()
            .any(|user| user.marks().held_since.is_some())
            .then_some(HoldReason::Earlier)
    };
    let hold_all = !matches!(leavers.reason, None | Some(HoldReason::Earlier));
    for user in due {
        let held_earlier = user.marks().held_since.is_some();
        if hold_all || held_earlier {
            leavers.held.push(user.id.clone());
            if !held_earlier {
                leavers.newly_held.push(user.id.clone());
            }
        } else {
            leavers.remove.push(removal(user));
        }
    }
    leavers.remove.sort_by(|a, b| a.id.cmp(&b.id));
    if policy.remove {
        let stay = leavers.staying.iter().chain(&leavers.held);
        let unmarked = |id: &&EmployeeId| {
            snapshot
                .get(id.as_str())
                .is_some_and(|it| it.marks().absent_since.is_none())
        };
        leavers.newly_absent = stay.filter(unmarked).cloned().collect();
    }
    leavers
}

fn removal(user: &Managed) -> Removal {
    Removal {
        id: user.id.clone(),
        lookup: user.acknowledged.is_none(),
        approved: user.marks().approved_at.is_some(),
        again: user.marks().remove_again_at.is_some(),
    }
}

/// The most removals within 24 hours that go without approval.
fn limit(policy: Policy, managed: usize) -> usize {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let percent = managed.saturating_mul(whole(policy.hold_above_percent)) / 100;
    whole(policy.hold_above).max(percent)
}
