//! Asking all three sides about one id.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    super::{holds::HoldNames, invocation::Invocation, plan::assumed_list, text::sort_ids},
    Findings, InCrm, KnownUser, Live, NameAndPhone,
};
use crate::{
    crm::{self, CrmRow, CrmRows},
    cycle::SyncEngine,
    delivery::{Interruption, Request, Verdict},
    employee::{EmployeeId, Phone, Roster, RowProblem},
    plan::{Failure, Operation, Plan, User},
    state::{self, HistoryEntry, OpenHold, Peek},
    wazzup::{Gate, Session},
};

/// How many changes of the history are read.
pub(super) const HISTORY: u32 = 10;

/// How long Wazzup may take to answer: the rest is worth showing without it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn gather(engine: &SyncEngine, id: &str, invocation: &Invocation) -> Findings {
    let (crm, state, (live, fingerprint)) =
        tokio::join!(ask_crm(engine, id), ask_state(engine, id), ask_wazzup(engine, id));
    let (crm, crm_error) = split(crm);
    let (state, state_error) = split(state);
    let (peek, history) = state.unwrap_or_default();
    let lease = peek.account.as_ref().and_then(|account| account.lease.as_ref());
    let known_fingerprint = peek.snapshot.account.fingerprint.as_ref();
    let user = peek.snapshot.users.get(id);
    let mut failures: Vec<Failure> = peek.snapshot.failures.values().cloned().collect();
    failures.retain(|failure| failure.user_id == id);
    let mut held = Vec::new();
    for (key, hold) in &peek.snapshot.holds {
        if *key.user_id == *id {
            let (key, hold) = (key.clone(), hold.clone());
            held.push(OpenHold { key, hold });
        }
    }
    let mut findings = Findings {
        id: id.to_owned(),
        crm: None,
        crm_error,
        to_send: None,
        snapshot: user.map(known_user),
        state_error,
        lost: peek.snapshot.lost.get(id).cloned().unwrap_or_default(),
        wazzup: live,
        failures,
        held,
        history,
        held_in_words: Vec::new(),
        plan: None,
        now: peek.now,
        is_running: lease.is_some_and(|(_, until)| *until > peek.now),
        is_other_account: known_fingerprint.is_some()
            && fingerprint.is_some()
            && known_fingerprint != fingerprint.as_ref(),
        grace: engine.policy.grace,
        invocation: invocation.clone(),
    };
    let mut roster = None;
    if let Some((rows, rows_of_id)) = crm {
        let known_phones = peek.snapshot.known_phones();
        let roster = roster.insert(rows.roster(engine.phone_reader.knowing(known_phones)));
        findings.add_crm(rows_of_id, roster, &peek);
        if findings.state_error.is_none() {
            findings.add_plan(engine, roster, &peek);
        }
        findings.add_what_is_sent(roster);
    }
    let names = HoldNames {
        snapshot: &peek.snapshot,
        roster: roster.as_ref(),
    };
    for open in &findings.held {
        findings.held_in_words.push(names.describe(&open.key, &open.hold));
    }
    findings
}

fn split<T>(result: Result<T, impl ToString>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn known_user(user: &User) -> KnownUser {
    KnownUser {
        acknowledged: user.acknowledged.as_ref().map(|acknowledged| NameAndPhone {
            name: acknowledged.name.to_string(),
            phone: acknowledged.phone.as_ref().map(Phone::to_string),
        }),
        synced_at: user.synced_at,
        absent_since: user.absent_since,
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
    let session = match engine.wazzup.session(Gate::without_lease(CancellationToken::new())) {
        Ok(session) => session,
        Err(error) => return (unknown(error.to_string()), None),
    };
    let live = match EmployeeId::parse(id) {
        Ok(id) if id.has_own_url() => {
            let answer = tokio::time::timeout(PATIENCE, look_up(&session, &id)).await;
            answer.unwrap_or_else(|_| unknown(format!("no answer within {} s", PATIENCE.as_secs())))
        }
        Ok(_) => unknown("not asked: no URL can name this id; only Wazzup's list shows the user"),
        Err(_) => unknown("not asked: no user can have this id"),
    };
    (live, Some(session.fingerprint().to_owned()))
}

fn unknown(reason: impl Into<String>) -> Live {
    Live::Unknown { reason: reason.into() }
}

async fn look_up(session: &Session<'_>, id: &EmployeeId) -> Live {
    match session.user(id).await {
        Ok(Some(user)) => Live::There(NameAndPhone {
            name: user.name,
            phone: user.phone,
        }),
        Ok(None) => confirm_absence(session).await,
        Err(error) => unknown(error.to_string()),
    }
}

/// Under a wrong address, everything is answered with 404.
async fn confirm_absence(session: &Session<'_>) -> Live {
    match session.send(&Request::Ping).await.verdict {
        Verdict::Accepted { .. } => Live::Absent,
        Verdict::Interrupted(Interruption::Unauthorized | Interruption::Forbidden) => {
            unknown("Wazzup does not accept the API key")
        }
        _ => unknown("404, but so is the list of users: check wazzup.base_url, which usually ends with /v3"),
    }
}

impl Findings {
    fn add_crm(&mut self, rows: Vec<CrmRow>, roster: &Roster, peek: &Peek) {
        let id = self.id.as_str();
        let (rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id.as_deref() == Some(id));
        let mut similar_ids: Vec<String> = others.into_iter().filter_map(|row| row.id).collect();
        sort_ids(&mut similar_ids);
        similar_ids.dedup();
        let rejected = roster.rejected.iter().find(|row| *row.id == *id);
        // The roster keeps an endless id shortened.
        let is_invalid = !rows.is_empty() && EmployeeId::parse(id).is_err();
        self.crm = Some(InCrm {
            rejected: match rejected {
                Some(row) => Some(row.problem),
                None => is_invalid.then_some(RowProblem::InvalidId),
            },
            same_phone: others_with_phone(roster, peek, id),
            missing_ids: roster.missing_ids,
            rows,
            similar_ids,
        });
    }

    /// What the next cycle does, as far as it can be told without Wazzup's list. What it will hold, and what it will find
    /// wrong in the CRM's rows, is told as if a cycle had found it already.
    fn add_plan(&mut self, engine: &SyncEngine, roster: &Roster, peek: &Peek) {
        let mut list = assumed_list(roster, &peek.snapshot);
        if let Live::There(user) = &self.wazzup {
            list.add_look_up(&self.id, Some(user.name.clone()));
        }
        let plan = Plan::between(roster, &peek.snapshot, &list, &engine.policy, peek.now);
        for (key, hold) in plan.unapproved_holds() {
            let is_same = |open: &OpenHold| open.key == *key && open.hold.content == hold.content;
            if *key.user_id == *self.id && !self.held.iter().any(is_same) {
                self.held.retain(|open| open.key != *key);
                self.held.push(OpenHold {
                    key: key.clone(),
                    hold: hold.clone(),
                });
            }
        }
        for local in &plan.local_failures {
            if *local.key.user_id == *self.id && self.failure(local.key.operation).is_none() {
                self.failures.push(local.opened(peek.now));
            }
        }
        self.plan = Some(plan);
    }

    fn add_what_is_sent(&mut self, roster: &Roster) {
        let Some(entry) = roster.get(&self.id) else {
            return;
        };
        let upserts = self.plan.iter().flat_map(|plan| &plan.upserts);
        let upsert = upserts.into_iter().find(|upsert| upsert.id().as_str() == self.id);
        let phone = match upsert {
            Some(upsert) => upsert.entry.employee.phone,
            None if self.failure(Operation::Phone).is_some() => None,
            None => entry.employee.phone,
        };
        self.to_send = Some(NameAndPhone {
            name: entry.employee.name.to_string(),
            phone: phone.as_ref().map(Phone::to_string),
        });
    }
}

/// Who else has the phone that `id` has in the CRM.
fn others_with_phone(roster: &Roster, peek: &Peek, id: &str) -> Vec<String> {
    let Some(phone) = roster.get(id).and_then(|entry| entry.employee.phone) else {
        return Vec::new();
    };
    let mut others = Vec::new();
    for entry in &roster.entries {
        if entry.employee.phone == Some(phone) {
            others.push(entry.employee.id.to_string());
        }
    }
    for user_id in peek.snapshot.users.keys() {
        if peek.snapshot.possible_phones(user_id).any(|held| held == phone) {
            others.push(user_id.to_string());
        }
    }
    others.retain(|other| other != id);
    sort_ids(&mut others);
    others.dedup();
    others
}
