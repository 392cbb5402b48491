//! `plan`: what the next cycle would do. Reads the CRM, the state and Wazzup's list; writes nothing.

mod answer;
#[cfg(test)]
pub(super) mod tests;
mod text;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::answer::PlanAnswer;
use super::{Context, Exit, Format, page, setup};
use crate::{
    cycle::SyncEngine,
    employee::Roster,
    plan::{Coverage, HoldKey, HoldKind, Plan, Policy, RemoteList, Snapshot},
    state::Peek,
    wazzup::Gate,
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
}

impl PlanView {
    /// Whether nothing speaks against this being the right Wazzup account. If not, nothing is sent, and what is known of
    /// the users says nothing about this account.
    fn is_account_known(&self) -> bool {
        !self.plan.doubts_account() && !self.plan.questions.for_account
    }

    /// What the plan comes to, in sentences.
    pub(super) fn summary(&self) -> Vec<String> {
        text::summary(self, &PlanAnswer::of(self))
    }
}

pub(super) async fn plan(context: &Context, offline: bool, exit_code: bool, format: Format) -> anyhow::Result<Exit> {
    let engine = setup::engine(&context.config);
    let peek = engine.state.peek().await?;
    let rows = engine.crm.read().await?;
    let roster = rows.roster(engine.phone_reader.knowing(peek.snapshot.known_phones()));
    let view = plan_of(&engine, roster, peek, offline).await;
    if let Some(problem) = &view.list_problem {
        page::note(problem)?;
    }
    let answer = PlanAnswer::of(&view);
    format.print(&answer, |page| {
        text::write(page, &view, &answer, &context.invocation);
    })?;
    let would_act = view.plan.requests() > 0;
    Ok(if exit_code && would_act {
        Exit::Requests
    } else {
        Exit::Ok
    })
}

/// Plans what the next cycle would do with what was read already. `offline`: without asking Wazzup.
pub(super) async fn plan_of(engine: &SyncEngine, roster: Roster, peek: Peek, offline: bool) -> PlanView {
    let mut list_problem = None;
    let mut list = None;
    if !offline {
        match read_list(engine, &roster, &peek).await {
            Ok(read) => {
                if let Coverage::Incomplete(reason) = read.coverage() {
                    list_problem = Some(format!(
                        "Wazzup's list may not be complete, so nobody counts as missing: {reason}"
                    ));
                }
                list = Some(read);
            }
            Err(reason) => {
                list_problem = Some(format!("this plan is made without Wazzup's list: {reason}"));
            }
        }
    }
    let list = list.unwrap_or_else(|| assumed_list(&roster, &peek.snapshot));
    PlanView {
        plan: Plan::between(&roster, &peek.snapshot, &list, &engine.policy, peek.now),
        roster,
        snapshot: peek.snapshot,
        policy: engine.policy,
        now: peek.now,
        list,
        list_problem,
    }
}

/// Wazzup's list, with answers to what the plan has to ask. `Err` says why there is none.
async fn read_list(engine: &SyncEngine, roster: &Roster, peek: &Peek) -> Result<RemoteList, String> {
    let gate = Gate::without_lease(CancellationToken::new());
    let session = engine.wazzup.session(gate).map_err(|error| error.to_string())?;
    let answered = engine
        .plan_with_answers(roster, &peek.snapshot, &session, true, peek.now)
        .await;
    let (_, mut list) = answered.map_err(|error| error.to_string())?;
    match list.coverage() {
        Coverage::Unread => return Err("it was not read".to_owned()),
        Coverage::Unavailable(reason) => return Err(reason.clone()),
        Coverage::Incomplete(_) | Coverage::Complete => {}
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
        let is_held = snapshot
            .holds
            .contains_key(&HoldKey::new(HoldKind::Takeover, id.as_str()));
        if !is_held && !snapshot.users.contains_key(id) {
            list.add_look_up(id.as_str(), None);
        }
    }
    list
}
