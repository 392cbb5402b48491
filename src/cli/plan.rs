//! `plan`: what the next cycle would do. Reads the CRM, the state and Wazzup's list; writes nothing.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    Context, Error, Exit, Format,
    page::{self, Page},
    plan_json, plan_text, setup,
};
use crate::{
    cycle::{CycleError, SyncEngine},
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

pub(super) async fn plan(context: &Context, offline: bool, exit_code: bool, format: Format) -> Result<Exit, Error> {
    let engine = setup::engine(&context.config)?;
    let view = make_plan(&engine, offline).await?;
    if let Some(problem) = &view.list_problem {
        page::note(problem)?;
    }
    match format {
        Format::Text => {
            let mut page = Page::new(plan_text::MARGIN);
            plan_text::write(&mut page, &view, &context.invocation);
            page.print()?;
        }
        Format::Json => page::print_json(&plan_json::to_json(&view))?,
    }
    let exit = if exit_code && view.plan.requests() > 0 {
        Exit::Requests
    } else {
        Exit::Ok
    };
    Ok(exit)
}

/// Plans what the next cycle would do. `offline`: without asking Wazzup.
pub(super) async fn make_plan(engine: &SyncEngine, offline: bool) -> Result<PlanView, Error> {
    let peek = engine.state.peek().await?;
    let rows = engine.crm.read().await?;
    let roster = rows.roster(engine.phones.knowing(peek.snapshot.known_phones()));
    Ok(plan_of(engine, roster, peek, offline).await)
}

/// Plans what the next cycle would do with what was read already.
pub(super) async fn plan_of(engine: &SyncEngine, roster: Roster, peek: Peek, offline: bool) -> PlanView {
    let mut list_problem = None;
    if !offline {
        match plan_with_list(engine, &roster, &peek).await {
            Ok((plan, list, problem)) => {
                return view(engine, plan, roster, peek, list, problem);
            }
            Err(reason) => {
                let reason = format!("Wazzup's list cannot be had, so the plan is made without it: {reason}");
                list_problem = Some(reason);
            }
        }
    }
    let list = assumed_list(&roster, &peek.snapshot);
    let plan = Plan::between(&roster, &peek.snapshot, &list, &engine.policy, peek.now);
    view(engine, plan, roster, peek, list, list_problem)
}

fn view(
    engine: &SyncEngine,
    plan: Plan,
    roster: Roster,
    peek: Peek,
    list: RemoteList,
    list_problem: Option<String>,
) -> PlanView {
    PlanView {
        plan,
        roster,
        snapshot: peek.snapshot,
        policy: engine.policy,
        now: peek.now,
        list,
        list_problem,
    }
}

/// The plan with Wazzup's list, and what the list does not prove. `Err` says why there is no list.
async fn plan_with_list(
    engine: &SyncEngine,
    roster: &Roster,
    peek: &Peek,
) -> Result<(Plan, RemoteList, Option<String>), String> {
    let gate = Gate::without_lease(CancellationToken::new());
    let session = engine.wazzup.session(gate).map_err(|error| error.to_string())?;
    let answered = engine
        .plan_with_answers(roster, &peek.snapshot, &session, true, peek.now)
        .await;
    let (_, mut list) = answered.map_err(|error: CycleError| error.to_string())?;
    let problem = match list.coverage() {
        Coverage::Unread => return Err("it was not read".to_owned()),
        Coverage::Unavailable(reason) => return Err(reason.clone()),
        Coverage::Incomplete(reason) => Some(format!(
            "Wazzup's list does not prove to be complete, so nobody counts as missing: {reason}"
        )),
        Coverage::Complete => None,
    };
    // Only a cycle in which the list is due tries more additions than there are known to be seats.
    list.scheduled = is_list_due(engine, peek, session.fingerprint());
    let plan = Plan::between(roster, &peek.snapshot, &list, &engine.policy, peek.now);
    Ok((plan, list, problem))
}

fn is_list_due(engine: &SyncEngine, peek: &Peek, fingerprint: &str) -> bool {
    let read_at = peek.account.as_ref().and_then(|account| account.list_read_at);
    let is_old = read_at.is_none_or(|read_at| peek.now.duration_since(read_at) >= engine.verify_every);
    let known = peek.snapshot.account.fingerprint.as_deref();
    is_old || known.is_some_and(|known| known != fingerprint)
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
