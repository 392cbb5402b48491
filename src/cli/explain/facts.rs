//! What is known about an id, from all three sides.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::{invocation::Invocation, plan::assumed_list, text::natural_order};
use crate::{
    crm::{self, CrmRow},
    cycle::SyncEngine,
    delivery::{Interruption, Request, Verdict},
    employee::{EmployeeId, Roster, RosterEntry, RowProblem},
    plan::{Change, HoldKey, HoldKind, LocalFailure, Operation, Plan, Policy, StayReason, User},
    state::{self, OpenFailure, OpenHold, Peek, Person},
    wazzup::{Gate, RemoteUser, Session},
};

/// How many changes of the history are read.
pub(super) const HISTORY: u32 = 10;

/// How long Wazzup may take to answer: the rest is worth showing without it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known about an id.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) crm: Result<InCrm, String>,
    pub(super) state: Result<InState, String>,
    pub(super) live: Live,
    /// Key and address are not those with which Wazzup's list last passed: it may be another account that was asked.
    pub(super) is_other_account: bool,
    pub(super) policy: Policy,
    pub(super) invocation: Invocation,
}

/// What the CRM says.
#[derive(Debug, Default)]
pub(super) struct InCrm {
    /// The rows with this id, those that are not active too.
    pub(super) rows: Vec<CrmRow>,
    /// Ids that differ from this one by case or blanks only.
    pub(super) similar_ids: Vec<String>,
    /// What the CRM wants in Wazzup.
    pub(super) entry: Option<RosterEntry>,
    /// Why the rows are rejected.
    pub(super) rejected: Option<RowProblem>,
    /// Who else has the phone: in the CRM, or among our users.
    pub(super) same_phone: Vec<String>,
    /// Rows without an id.
    pub(super) missing_ids: usize,
}

/// What the state says.
#[derive(Debug, Default)]
pub(super) struct InState {
    pub(super) now: Timestamp,
    pub(super) user: Option<User>,
    pub(super) person: Person,
    /// What the next cycle does about the user; `None` if the CRM cannot be read.
    pub(super) planned: Option<Planned>,
    /// A process holds the lease, so cycles run by themselves.
    pub(super) is_running: bool,
}

/// What the next cycle does about an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planned {
    /// Wazzup has what the CRM wants.
    Unchanged,
    Send {
        change: Change,
        /// The phone that is sent.
        phone: Option<String>,
    },
    /// The user gives up the phone for somebody else, and nothing else.
    Release,
    BackOff,
    WaitForSeat,
    WaitForLeaver(String),
    /// Something about the user is held; `is_new`: by the next cycle, and not yet.
    Hold {
        kind: HoldKind,
        is_new: bool,
    },
    /// The account is doubted, so nothing is sent.
    Stop,
    Remove {
        approved: bool,
    },
    Stay(StayReason),
    /// Gone; a lost request could still bring the user back, so the removal is sent once more.
    Settle,
    Reject,
    /// Not sent in the next cycle for another reason.
    Pend,
    /// The next cycle has nothing to do with the id.
    Nothing,
}

/// What Wazzup says right now.
#[derive(Debug)]
pub(super) enum Live {
    There(RemoteUser),
    Absent,
    /// Wazzup could not be asked, or gave no answer.
    Unknown(String),
}

impl Facts {
    pub(super) fn failure(&self, operation: Operation) -> Option<&OpenFailure> {
        let failures = &self.state.as_ref().ok()?.person.failures;
        failures.iter().find(|failure| failure.operation == operation)
    }
}

pub(super) async fn collect(engine: &SyncEngine, id: &str, invocation: &Invocation) -> Facts {
    let (crm, state, (live, fingerprint)) =
        tokio::join!(ask_crm(engine, id), ask_state(engine, id), ask_wazzup(engine, id));
    let mut facts = Facts {
        id: id.to_owned(),
        crm: Err(String::new()),
        state: Err(String::new()),
        live,
        is_other_account: false,
        policy: engine.policy,
        invocation: invocation.clone(),
    };
    if let Ok((_, peek)) = &state {
        let known = peek.snapshot.account.fingerprint.as_ref();
        facts.is_other_account = known.is_some() && fingerprint.is_some() && known != fingerprint.as_ref();
    }
    match (crm, state) {
        (Ok((mut in_crm, rows)), Ok((mut in_state, peek))) => {
            let roster = rows.roster(engine.phones.knowing(peek.snapshot.known_phones()));
            in_crm.add_roster(&roster, id);
            in_crm.same_phone = others_with_phone(&roster, &peek, id);
            in_state.planned = Some(plan(engine, &roster, &peek, &facts.live, id, &mut in_state.person));
            facts.crm = Ok(in_crm);
            facts.state = Ok(in_state);
        }
        (crm, state) => {
            facts.crm = crm.map_err(|error| error.to_string()).map(|(mut in_crm, rows)| {
                in_crm.add_roster(&rows.roster(engine.phones.clone()), id);
                in_crm
            });
            facts.state = state.map_err(|error| error.to_string()).map(|(in_state, _)| in_state);
        }
    }
    facts
}

async fn ask_crm(engine: &SyncEngine, id: &str) -> Result<(InCrm, crm::CrmRows), crm::Error> {
    let rows = engine.crm.read().await?;
    let found = engine.crm.rows_of(id).await?;
    let (same, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.id.as_deref() == Some(id));
    let mut similar_ids: Vec<String> = others.into_iter().filter_map(|row| row.id).collect();
    similar_ids.sort_by(|left, right| natural_order(left, right));
    similar_ids.dedup();
    let in_crm = InCrm {
        rows: same,
        similar_ids,
        ..InCrm::default()
    };
    Ok((in_crm, rows))
}

impl InCrm {
    fn add_roster(&mut self, roster: &Roster, id: &str) {
        self.entry = roster.get(id).cloned();
        self.missing_ids = roster.missing_ids;
        let rejected = roster.rejected.iter().find(|row| *row.id == *id);
        // The roster keeps an endless id shortened.
        let is_invalid = !self.rows.is_empty() && EmployeeId::parse(id).is_err();
        self.rejected = rejected
            .map(|row| row.problem)
            .or(is_invalid.then_some(RowProblem::InvalidId));
    }
}

async fn ask_state(engine: &SyncEngine, id: &str) -> Result<(InState, Peek), state::Error> {
    let peek = engine.state.peek().await?;
    let person = if engine.state.is_there().await? {
        engine.state.person(id, HISTORY).await?
    } else {
        Person::default()
    };
    let lease = peek.account.as_ref().and_then(|account| account.lease.as_ref());
    let in_state = InState {
        now: peek.now,
        user: peek.snapshot.users.get(id).cloned(),
        person,
        planned: None,
        is_running: lease.is_some_and(|(_, until)| *until > peek.now),
    };
    Ok((in_state, peek))
}

/// Asks Wazzup for the user. With the fingerprint of key and address, if there is a key.
async fn ask_wazzup(engine: &SyncEngine, id: &str) -> (Live, Option<String>) {
    let session = match engine.wazzup.session(Gate::without_lease(CancellationToken::new())) {
        Ok(session) => session,
        Err(error) => return (Live::Unknown(error.to_string()), None),
    };
    let live = match EmployeeId::parse(id) {
        Ok(id) if id.has_own_url() => {
            let answer = tokio::time::timeout(PATIENCE, look_up(&session, &id)).await;
            answer.unwrap_or_else(|_| Live::Unknown(format!("no answer within {} s", PATIENCE.as_secs())))
        }
        Ok(_) => Live::Unknown("not asked: no URL can name this id; only Wazzup's list shows the user".to_owned()),
        Err(_) => Live::Unknown("not asked: no user can have this id".to_owned()),
    };
    (live, Some(session.fingerprint().to_owned()))
}

async fn look_up(session: &Session<'_>, id: &EmployeeId) -> Live {
    match session.user(id).await {
        Ok(Some(user)) => Live::There(user),
        Ok(None) => confirm_absence(session).await,
        Err(error) => Live::Unknown(error.to_string()),
    }
}

/// Under a wrong address, everything is answered with 404.
async fn confirm_absence(session: &Session<'_>) -> Live {
    match session.send(&Request::Ping).await.verdict {
        Verdict::Accepted { .. } => Live::Absent,
        Verdict::Interrupted(Interruption::Unauthorized | Interruption::Forbidden) => {
            Live::Unknown("Wazzup does not accept the API key".to_owned())
        }
        _ => Live::Unknown(
            "404, but so is the list of users: check wazzup.base_url, which usually ends with /v3".to_owned(),
        ),
    }
}

/// What the next cycle does about `id`, as far as it can be told without Wazzup's list.
fn plan(engine: &SyncEngine, roster: &Roster, peek: &Peek, live: &Live, id: &str, person: &mut Person) -> Planned {
    let mut list = assumed_list(roster, &peek.snapshot);
    if let Live::There(user) = live {
        list.add_look_up(id, Some(user.name.clone()));
    }
    let plan = Plan::between(roster, &peek.snapshot, &list, &engine.policy, peek.now);
    add_new_holds(person, &plan, id);
    for local in &plan.local_failures {
        if *local.key.user_id == *id {
            add_local_failure(person, local, peek.now);
        }
    }
    planned(&plan, roster, peek, id)
}

/// What the next cycle will hold is told as if it were held already.
fn add_new_holds(person: &mut Person, plan: &Plan, id: &str) {
    for (key, hold) in plan.unapproved_holds() {
        let is_known = person
            .holds
            .iter()
            .any(|open| open.key == *key && open.hold.content == hold.content);
        if *key.user_id == *id && !is_known {
            person.holds.retain(|open| open.key != *key);
            person.holds.push(OpenHold {
                key: key.clone(),
                hold: hold.clone(),
            });
        }
    }
}

/// What is wrong with a row of the CRM is known before the next cycle opens the failure.
fn add_local_failure(person: &mut Person, local: &LocalFailure, now: Timestamp) {
    let operation = local.key.operation;
    if person.failures.iter().any(|failure| failure.operation == operation) {
        return;
    }
    person.failures.push(local.opened(now));
}

fn planned(plan: &Plan, roster: &Roster, peek: &Peek, id: &str) -> Planned {
    let is_meant = |other: &EmployeeId| other.as_str() == id;
    let hold = plan.unapproved_holds().find(|(key, _)| *key.user_id == *id);
    let waiting = plan.waiting_for_leavers.iter().find(|waiting| is_meant(&waiting.id));
    let staying = plan.staying.iter().find(|user| is_meant(&user.id));
    let is_known = peek.snapshot.users.contains_key(id) || roster.names(id);
    if let Some(upsert) = plan.upserts.iter().find(|upsert| is_meant(upsert.id())) {
        Planned::Send {
            change: upsert.entry.change,
            phone: upsert.entry.employee.phone.map(|phone| phone.to_string()),
        }
    } else if let Some(removal) = plan.removals.iter().find(|removal| is_meant(&removal.id)) {
        Planned::Remove {
            approved: removal.approved,
        }
    } else if is_known && plan.holds.contains_key(&HoldKey::account()) && plan.sends_nothing() {
        Planned::Stop
    } else if let Some((key, hold)) = hold {
        let known = peek.snapshot.holds.get(key);
        Planned::Hold {
            kind: key.kind,
            is_new: known.is_none_or(|known| known.content != hold.content),
        }
    } else if let Some(waiting) = waiting {
        Planned::WaitForLeaver(waiting.leaver.to_string())
    } else if plan.waiting_for_seat.iter().any(is_meant) {
        Planned::WaitForSeat
    } else if plan.backing_off.iter().any(is_meant) {
        Planned::BackOff
    } else if plan.releases.iter().any(|release| is_meant(&release.employee.id)) {
        Planned::Release
    } else if let Some(user) = staying {
        Planned::Stay(user.reason)
    } else if plan.rejected.iter().any(|row| *row.id == *id) {
        Planned::Reject
    } else if plan.pending.iter().any(is_meant) {
        Planned::Pend
    } else if roster.get(id).is_some() {
        Planned::Unchanged
    } else if peek.snapshot.users.contains_key(id) {
        Planned::Settle
    } else {
        Planned::Nothing
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
    others.sort_by(|left, right| natural_order(left, right));
    others.dedup();
    others
}
