//! `plan`: what the next cycle would do. Reads the CRM, the state and Wazzup's list; writes nothing.

pub(super) mod advice;
mod answer;
#[cfg(test)]
pub(super) mod tests;

use anyhow::bail;
use jiff::Timestamp;

use super::{Context, Exit, Format, invocation::Invocation, page, setup};
use crate::{
    crm::CrmRows,
    cycle::SyncEngine,
    employee::Roster,
    plan::{Coverage, HoldKey, HoldKind, Plan, Policy, RemoteList, Snapshot},
    state::Peek,
};

/// A plan, with what it was made of. `explain` adds to the snapshot what the next cycle will write down.
#[derive(Debug)]
pub(super) struct PlanView {
    pub(super) plan: Plan,
    pub(super) roster: Roster,
    pub(super) snapshot: Snapshot,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    /// What Wazzup itself showed; what is assumed of it if it was not asked, or did not answer.
    pub(super) list: RemoteList,
    /// Why Wazzup's list could not be used, or proves nothing.
    pub(super) list_problem: Option<String>,
    pub(super) invocation: Invocation,
}

pub(super) async fn plan(context: &Context, offline: bool, exit_code: bool, format: Format) -> anyhow::Result<Exit> {
    let peek = context.engine.state.peek().await?;
    let rows = context.engine.crm.read().await?;
    let view = PlanView::read(context, &rows, peek, !offline).await;
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

/// Wazzup's list, with answers to what the plan has to ask. The error says why there is none.
async fn read_list(engine: &SyncEngine, roster: &Roster, peek: &Peek) -> anyhow::Result<RemoteList> {
    let session = engine.wazzup.session(setup::gate())?;
    let (_, mut list) = engine
        .plan_with_answers(roster, &peek.snapshot, &session, true, peek.now)
        .await?;
    if let Coverage::Unavailable(reason) = list.coverage() {
        bail!(reason.clone());
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
    /// What the next cycle would do with the CRM's `rows`, with Wazzup's own list if `asks_wazzup` and it can be had.
    pub(super) async fn read(context: &Context, rows: &CrmRows, peek: Peek, asks_wazzup: bool) -> Self {
        let engine = &context.engine;
        let roster = rows.roster(&engine.phone_reader.knowing(peek.snapshot.known_phones()));
        let mut list = assumed_list(&roster, &peek.snapshot);
        let mut list_problem = None;
        if asks_wazzup {
            match read_list(engine, &roster, &peek).await {
                Ok(read) => list = read,
                Err(reason) => list_problem = Some(format!("this plan is made without Wazzup's list: {reason}")),
            }
        }
        if let Coverage::Incomplete(reason) = list.coverage() {
            let problem = format!("Wazzup's list may not be complete, so nobody counts as missing: {reason}");
            list_problem = Some(problem);
        }
        Self {
            list_problem,
            ..Self::new(context, roster, peek, list)
        }
    }

    /// The same with what was read already.
    pub(super) fn new(context: &Context, roster: Roster, peek: Peek, list: RemoteList) -> Self {
        let policy = context.engine.policy;
        Self {
            plan: Plan::between(&roster, &peek.snapshot, &list, &policy, peek.now),
            roster,
            snapshot: peek.snapshot,
            policy,
            now: peek.now,
            list,
            list_problem: None,
            invocation: context.invocation.clone(),
        }
    }
}
