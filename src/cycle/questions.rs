//! Asking Wazzup what the plan has to know.

use jiff::Timestamp;

use super::{CycleError, SyncEngine};
use crate::{
    delivery::Interruption,
    employee::{EmployeeId, Roster},
    plan::{Coverage, Plan, RemoteList, Snapshot},
    state::Account,
    wazzup::{self, Session},
};

/// How many users a cycle looks up at most.
const LOOK_UPS: usize = 100;

impl SyncEngine {
    /// Whether Wazzup's list is to be read whatever the plan asks for.
    pub(crate) fn is_list_due(&self, account: &Account, fingerprint: &str, now: Timestamp) -> bool {
        let known = account.facts.fingerprint.as_deref();
        let is_account_changed = known.is_some_and(|known| known != fingerprint);
        let read_at = account.list_read_at;
        let is_old = read_at.is_none_or(|read_at| now.duration_since(read_at) >= self.verify_every);
        is_account_changed || is_old
    }

    /// Plans, asks what the plan has to know, and plans again, until nothing is left to ask. A list that is due is read
    /// first. Fails if Wazzup refuses the key, or has no list at all (404: the address is wrong), or if the account cannot be
    /// judged since Wazzup is unavailable.
    pub(crate) async fn plan_with_answers(
        &self,
        roster: &Roster,
        snapshot: &Snapshot,
        wazzup: &Session<'_>,
        list_is_due: bool,
        now: Timestamp,
    ) -> Result<(Plan, RemoteList), CycleError> {
        let mut list = RemoteList::unread(&wazzup.fingerprint);
        list.scheduled = list_is_due;
        let expected = roster.eligible().max(snapshot.users.len());
        if list_is_due {
            wazzup.read_list(expected, &mut list).await?;
        }
        let mut look_ups = 0;
        loop {
            let plan = Plan::between(roster, snapshot, &list, &self.policy, now);
            if plan.questions.list && !list.was_requested() {
                wazzup.read_list(expected, &mut list).await?;
                continue;
            }
            let users: Vec<&EmployeeId> = plan.questions.users.iter().take(LOOK_UPS - look_ups).collect();
            if users.is_empty() {
                return match list.coverage() {
                    Coverage::Unavailable(reason) if plan.questions.for_account => {
                        Err(Interruption::Unavailable(reason.clone()).into())
                    }
                    _ => Ok((plan, list)),
                };
            }
            look_ups += users.len();
            look_up(wazzup, &mut list, &users, plan.questions.for_account).await?;
        }
    }
}

async fn look_up(
    wazzup: &Session<'_>,
    list: &mut RemoteList,
    users: &[&EmployeeId],
    for_account: bool,
) -> Result<(), CycleError> {
    let mut is_answering = true;
    for id in users {
        if !is_answering {
            list.add_unanswered(id.as_str());
            continue;
        }
        match wazzup.user(id).await {
            Ok(user) => list.add_look_up(id.as_str(), user.map(|user| user.name)),
            Err(wazzup::Error::Interrupted(Interruption::Unavailable(reason))) if !for_account => {
                is_answering = false;
                list.look_up_failure = Some(reason);
                list.add_unanswered(id.as_str());
            }
            Err(error @ wazzup::Error::Interrupted(_)) => return Err(error.into()),
            Err(_) => list.add_unanswered(id.as_str()),
        }
    }
    Ok(())
}
