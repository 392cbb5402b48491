//! Asking all three sides about one id.

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;

use super::{
    super::{
        Context,
        plan::{PlanView, assumed_list},
        setup,
        text::sort_ids,
    },
    Findings, InCrm,
};
use crate::{
    crm::{self, CrmRow, CrmRows},
    cycle::SyncEngine,
    employee::{EmployeeId, Roster, RowProblem},
    plan::{OpenFailure, Snapshot},
    state::{self, HistoryEntry, Peek},
    wazzup::RemoteUser,
};

/// How many changes of the history are read.
const HISTORY: u32 = 10;

/// How long Wazzup may take to answer: the rest is worth showing without it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn gather(context: &Context, id: &str) -> Findings {
    let engine = &context.engine;
    let (crm, state, wazzup) = tokio::join!(ask_crm(engine, id), ask_state(engine, id), ask_wazzup(engine, id));
    let crm_error = crm.as_ref().err().map(ToString::to_string);
    let state_error = state.as_ref().err().map(ToString::to_string);
    let (all_rows, rows) = crm.unwrap_or_default();
    let (peek, history) = state.unwrap_or_default();
    let known_fingerprint = peek.snapshot.account.fingerprint.as_ref();
    let wazzup = match wazzup {
        Ok((_, fingerprint)) if known_fingerprint.is_some_and(|known| *known != fingerprint) => {
            Err("the key or wazzup.base_url has changed, so this may be another account; `check` says more".to_owned())
        }
        Ok((user, _)) => Ok(user),
        Err(error) => Err(error.to_string()),
    };
    let roster = all_rows.roster(&engine.phone_reader.knowing(peek.snapshot.known_phones()));
    let crm = InCrm::new(id, rows, &roster, &peek.snapshot);
    // As far as it can be told without Wazzup's list.
    let mut list = assumed_list(&roster, &peek.snapshot);
    if let Ok(Some(user)) = &wazzup {
        list.add_look_up(id, Some(user.name.clone()));
    }
    let mut view = PlanView::new(context, roster, peek, list);
    if crm_error.is_none() && state_error.is_none() {
        // What the next cycle will hold, and find wrong in the CRM's rows, is told as if a cycle had found it already.
        let snapshot = &mut view.snapshot;
        snapshot.holds.clone_from(&view.plan.holds);
        for (key, failure) in &view.plan.open_failures {
            let known = snapshot.failures.entry(key.clone());
            known.or_insert_with(|| OpenFailure::new(failure.clone(), view.now));
        }
    }
    Findings {
        id: id.to_owned(),
        crm,
        crm_error,
        state_error,
        wazzup,
        history,
        view,
    }
}

/// All rows, and those of `id` or a similar one.
async fn ask_crm(engine: &SyncEngine, id: &str) -> Result<(CrmRows, Vec<CrmRow>), crm::Error> {
    let rows = engine.crm.read().await?;
    Ok((rows, engine.crm.rows_of(id).await?))
}

async fn ask_state(engine: &SyncEngine, id: &str) -> Result<(Peek, Vec<HistoryEntry>), state::Error> {
    let peek = engine.state.peek().await?;
    let history = match &peek.account {
        Some(_) => engine.state.history(id, HISTORY).await?,
        None => Vec::new(),
    };
    Ok((peek, history))
}

/// What Wazzup says, and the fingerprint of the key and address with which it was asked.
async fn ask_wazzup(engine: &SyncEngine, id: &str) -> anyhow::Result<(Option<RemoteUser>, String)> {
    let Some(id) = EmployeeId::parse(id).filter(EmployeeId::has_own_url) else {
        bail!("not asked: no URL can name this id; only Wazzup's list would show the user");
    };
    let session = engine.wazzup.session(setup::gate())?;
    let answer = async {
        let user = session.user(&id).await?;
        if user.is_none() {
            // Under a wrong address, everything is answered with 404.
            session.confirm_usable().await?;
        }
        anyhow::Ok(user)
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(user) => Ok((user?, session.fingerprint)),
        Err(_) => bail!("no answer within {} s", PATIENCE.as_secs()),
    }
}

impl InCrm {
    /// Of the CRM's `rows` of `id` and similar ones, and of the roster of all its rows.
    fn new(id: &str, rows: Vec<CrmRow>, roster: &Roster, snapshot: &Snapshot) -> Self {
        let (rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id.as_deref() == Some(id));
        let mut similar_ids: Vec<String> = others.into_iter().filter_map(|row| row.id).collect();
        sort_ids(&mut similar_ids);
        similar_ids.dedup();
        let rejected = roster.rejected.get(id).copied();
        // The roster keeps an endless id shortened.
        let is_id_invalid = !rows.is_empty() && EmployeeId::parse(id).is_none();
        Self {
            rejected: rejected.or(is_id_invalid.then_some(RowProblem::InvalidId)),
            same_phone: others_with_phone(roster, snapshot, id),
            missing_ids: roster.missing_ids,
            rows,
            similar_ids,
        }
    }
}

/// Who else has the phone that `id` has in the CRM.
fn others_with_phone(roster: &Roster, snapshot: &Snapshot, id: &str) -> Vec<String> {
    let Some(phone) = roster.get(id).and_then(|entry| entry.employee.phone) else {
        return Vec::new();
    };
    let employees = roster.entries.iter().map(|entry| &entry.employee);
    let employees = employees.filter(|employee| employee.phone == Some(phone));
    let users = snapshot.users.keys();
    let users = users.filter(|user_id| snapshot.possible_phones(user_id).any(|held| held == phone));
    let others: BTreeSet<&EmployeeId> = employees.map(|employee| &employee.id).chain(users).collect();
    let others = others.into_iter().filter(|other| other.as_str() != id);
    let mut others: Vec<String> = others.map(ToString::to_string).collect();
    sort_ids(&mut others);
    others
}
