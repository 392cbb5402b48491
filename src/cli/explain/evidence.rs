//! Asking all three sides about one id.

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    super::{invocation::Invocation, plan::assumed_list, text::sort_ids},
    Findings, InCrm, Live,
};
use crate::{
    crm::{self, CrmRow, CrmRows},
    cycle::SyncEngine,
    employee::{EmployeeId, Roster, RowProblem},
    plan::{Acknowledged, Failure, Operation, Plan, Snapshot},
    state::{self, HistoryEntry, Peek},
    wazzup::{self, Gate, Session},
};

/// How many changes of the history are read.
pub(super) const HISTORY: u32 = 10;

/// How long Wazzup may take to answer: the rest is worth showing without it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn gather(engine: &SyncEngine, id: &str, invocation: &Invocation) -> Findings {
    let (crm, state, (wazzup, fingerprint)) =
        tokio::join!(ask_crm(engine, id), ask_state(engine, id), ask_wazzup(engine, id));
    let (crm, crm_error) = split(crm);
    let (state, state_error) = split(state);
    let (peek, history) = state.unwrap_or_default();
    let snapshot = &peek.snapshot;
    let phones = engine.phone_reader.knowing(snapshot.known_phones());
    let roster = crm.as_ref().map(|(rows, _)| rows.roster(phones));
    let mut plan = None;
    if let Some(roster) = roster.as_ref().filter(|_| state_error.is_none()) {
        // As far as it can be told without Wazzup's list.
        let mut list = assumed_list(roster, snapshot);
        if let Live::There(user) = &wazzup {
            list.add_look_up(id, Some(user.name.clone()));
        }
        plan = Some(Plan::between(roster, snapshot, &list, &engine.policy, peek.now));
    }
    let mut failures: Vec<Failure> = snapshot.failures.values().cloned().collect();
    failures.retain(|failure| failure.user_id == id);
    // What the next cycle will hold, and find wrong in the CRM's rows, is told as if a cycle had found it already.
    for local in plan.iter().flat_map(|plan| &plan.local_failures) {
        let is_known = failures.iter().any(|failure| failure.operation == local.key.operation);
        if *local.key.user_id == *id && !is_known {
            failures.push(local.opened(peek.now));
        }
    }
    let mut held = plan.as_ref().map_or(&snapshot.holds, |plan| &plan.holds).clone();
    held.retain(|key, _| *key.user_id == *id);
    let account = peek.account.as_ref();
    let lease = account.and_then(|account| account.lease.as_ref());
    let known_fingerprint = snapshot.account.fingerprint.as_ref();
    Findings {
        id: id.to_owned(),
        to_send: roster
            .as_ref()
            .and_then(|roster| what_is_sent(id, roster, plan.as_ref(), &failures)),
        crm: crm
            .zip(roster)
            .map(|((_, rows), roster)| InCrm::new(id, rows, &roster, snapshot)),
        crm_error,
        snapshot: snapshot.users.get(id).cloned(),
        state_error,
        lost: snapshot.lost.get(id).cloned().unwrap_or_default(),
        failures,
        held,
        history,
        plan,
        now: peek.now,
        is_running: lease.is_some_and(|lease| lease.expires_at > peek.now),
        is_other_account: known_fingerprint
            .zip(fingerprint)
            .is_some_and(|(known, asked)| *known != asked),
        wazzup,
        grace: engine.policy.grace,
        invocation: invocation.clone(),
    }
}

fn split<T>(result: Result<T, impl ToString>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error.to_string())),
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

/// Asks Wazzup for the user. With the fingerprint of key and address, if there is a key.
async fn ask_wazzup(engine: &SyncEngine, id: &str) -> (Live, Option<String>) {
    let unknown = |reason: String| Live::Unknown { reason };
    let session = match engine.wazzup.session(Gate::without_lease(CancellationToken::new())) {
        Ok(session) => session,
        Err(error) => return (unknown(error.to_string()), None),
    };
    let live = match EmployeeId::parse(id) {
        Ok(id) if id.has_own_url() => match tokio::time::timeout(PATIENCE, look_up(&session, &id)).await {
            Ok(Ok(live)) => live,
            Ok(Err(error)) => unknown(error.to_string()),
            Err(_) => unknown(format!("no answer within {} s", PATIENCE.as_secs())),
        },
        Ok(_) => unknown("not asked: no URL can name this id; only Wazzup's list shows the user".to_owned()),
        Err(_) => unknown("not asked: no user can have this id".to_owned()),
    };
    (live, Some(session.fingerprint.clone()))
}

async fn look_up(session: &Session<'_>, id: &EmployeeId) -> Result<Live, wazzup::Error> {
    if let Some(user) = session.user(id).await? {
        return Ok(Live::There(user));
    }
    // Under a wrong address, everything is answered with 404.
    session.confirm_usable().await?;
    Ok(Live::Absent)
}

impl InCrm {
    fn new(id: &str, rows: Vec<CrmRow>, roster: &Roster, snapshot: &Snapshot) -> Self {
        let (rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id.as_deref() == Some(id));
        let mut similar_ids: Vec<String> = others.into_iter().filter_map(|row| row.id).collect();
        sort_ids(&mut similar_ids);
        similar_ids.dedup();
        let rejected = roster.rejected.iter().find(|row| *row.id == *id);
        Self {
            rejected: match rejected {
                Some(row) => Some(row.problem),
                // The roster keeps an endless id shortened.
                None if !rows.is_empty() && EmployeeId::parse(id).is_err() => Some(RowProblem::InvalidId),
                None => None,
            },
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

fn what_is_sent(id: &str, roster: &Roster, plan: Option<&Plan>, failures: &[Failure]) -> Option<Acknowledged> {
    let employee = &roster.get(id)?.employee;
    let mut upserts = plan.into_iter().flat_map(|plan| &plan.upserts);
    let upsert = upserts.find(|upsert| upsert.id().as_str() == id);
    let is_phone_refused = failures.iter().any(|failure| failure.operation == Operation::Phone);
    Some(Acknowledged {
        name: employee.name.clone(),
        phone: match upsert {
            Some(upsert) => upsert.entry.employee.phone,
            None => employee.phone.filter(|_| !is_phone_refused),
        },
        phone_spelling: None,
    })
}
