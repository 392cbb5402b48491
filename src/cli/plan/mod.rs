//! `plan`: what the next cycle would do. Reads the CRM, the state and Wazzup's list; writes nothing.

pub(super) mod advice;
mod answer;
#[cfg(test)]
pub(super) mod tests;

use jiff::Timestamp;

use super::{Context, Exit, Format, invocation::Invocation, page, setup};
use crate::{
    cycle::SyncEngine,
    employee::Roster,
    plan::{Coverage, HoldKey, HoldKind, Plan, Policy, RemoteList, Snapshot},
    state::Peek,
};

/// A plan, with what it was made of.
#[derive(Debug)]
pub(super) struct PlanView {
    pub(super) plan: Plan,
    pub(super) roster: Roster,
    pub(super) snapshot: Snapshot,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    /// What Wazzup itself showed; nothing if it was not asked, or did not answer.
    pub(super) list: RemoteList,
    /// Why Wazzup's list could not be used, or proves nothing.
    pub(super) list_problem: Option<String>,
    pub(super) invocation: Invocation,
}

pub(super) async fn plan(context: &Context, offline: bool, exit_code: bool, format: Format) -> anyhow::Result<Exit> {
    let engine = setup::engine(&context.config);
    let peek = engine.state.peek().await?;
    let rows = engine.crm.read().await?;
    let roster = rows.roster(&engine.phone_reader.knowing(peek.snapshot.known_phones()));
    let asked = if offline {
        None
    } else {
        Some(read_list(&engine, &roster, &peek).await)
    };
    let view = PlanView::new(context, roster, peek, asked);
    if let Some(problem) = &view.list_problem {
        page::note(problem)?;
    }
    format.print(&view.json(), |page| view.write(page))?;
    let would_act = view.plan.requests() > 0;
    Ok(if exit_code && would_act {
        Exit::Requests
    } else {
        Exit::Ok
    })
}

/// Wazzup's list, with answers to what the plan has to ask. `Err` says why there is none.
pub(super) async fn read_list(engine: &SyncEngine, roster: &Roster, peek: &Peek) -> Result<RemoteList, String> {
    let session = engine
        .wazzup
        .session(setup::gate())
        .map_err(|error| error.to_string())?;
    let answered = engine
        .plan_with_answers(roster, &peek.snapshot, &session, true, peek.now)
        .await;
    let (_, mut list) = answered.map_err(|error| error.to_string())?;
    if let Coverage::Unavailable(reason) = list.coverage() {
        return Err(reason.clone());
    }
    // Only a cycle in which the list is due tries more additions than there are known to be seats.
    let account = peek.account.as_ref();
    list.scheduled = account.is_none_or(|account| engine.is_list_due(account, &session.fingerprint, peek.now));
    Ok(list)
}

/// What is assumed of Wazzup where it is not asked: the account is the known one, and nobody is there whom we do not know.
pub(super) fn assumed_list(roster: &Roster, snapshot: &Snapshot) -> RemoteList {
    let fingerprint = snapshot.account.fingerprint.as_deref().unwrap_or_default();
    let mut list = RemoteList::unread(fingerprint);
    for entry in &roster.entries {
        let id = &entry.employee.id;
        let takeover = HoldKey::new(HoldKind::Takeover, id.as_str());
        if !snapshot.users.contains_key(id) && !snapshot.holds.contains_key(&takeover) {
            list.add_look_up(id.as_str(), None);
        }
    }
    list
}

impl PlanView {
    /// What the next cycle would do with what was read already. `asked` is what came of asking for Wazzup's list.
    pub(super) fn new(
        context: &Context,
        roster: Roster,
        peek: Peek,
        asked: Option<Result<RemoteList, String>>,
    ) -> Self {
        let snapshot = peek.snapshot;
        let (list, list_problem) = match asked {
            Some(Ok(list)) => {
                let problem = match list.coverage() {
                    Coverage::Incomplete(reason) => Some(format!(
                        "Wazzup's list may not be complete, so nobody counts as missing: {reason}"
                    )),
                    _ => None,
                };
                (list, problem)
            }
            Some(Err(reason)) => {
                let problem = format!("this plan is made without Wazzup's list: {reason}");
                (assumed_list(&roster, &snapshot), Some(problem))
            }
            None => (assumed_list(&roster, &snapshot), None),
        };
        let policy = context.config.policy;
        Self {
            plan: Plan::between(&roster, &snapshot, &list, &policy, peek.now),
            roster,
            snapshot,
            policy,
            now: peek.now,
            list,
            list_problem,
            invocation: context.invocation.clone(),
        }
    }
}
