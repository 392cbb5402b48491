//! `explain ID`: one person's whole way, from the CRM's row to what to do.
//!
//! Here, on the terminal of an operator who asked, names and phones show.

mod verdict;

use std::{io::Write, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    Error, Exit, setup,
    text::{Mark, Page, ago, counted, counted_len, ids, until},
};
use crate::{
    config::Config,
    crm::CrmRow,
    cycle::{self, Sync},
    employee::{Code, EmployeeId, Entry, FullName, Phone, Roster},
    plan::{Failures, HoldReason, InDoubt, Managed, Operation, Plan, Policy, Snapshot, Upsert, printable},
    state::{self, HistoryEntry, OpenFailure},
    wazzup::{Gate, RemoteUser},
};

/// How many deliveries are listed.
const DELIVERIES: u32 = 10;

/// How long Wazzup may take to tell: the rest is worth showing without it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many other people with the same phone are named.
const OTHERS_SHOWN: usize = 5;

/// What is known about an id.
#[derive(Debug)]
struct Facts {
    id: String,
    crm: Result<InCrm, String>,
    state: Result<InState, String>,
    live: Live,
    policy: Policy,
}

/// What the CRM says.
#[derive(Debug, Default)]
struct InCrm {
    /// The rows of this id, those that are not active too.
    rows: Vec<CrmRow>,
    /// Ids that differ by case or blanks alone.
    similar: Vec<String>,
    /// What is wanted in Wazzup.
    entry: Option<Entry>,
    /// Why the rows cannot be taken.
    rejected: Option<Code>,
    /// Who else has the phone: in the CRM, or among our users.
    same_phone: Vec<String>,
    /// Rows without an id.
    missing_ids: usize,
}

/// What the state says.
#[derive(Debug, Default)]
struct InState {
    now: Timestamp,
    user: Option<Managed>,
    synced_at: Option<Timestamp>,
    failures: Vec<OpenFailure>,
    history: Vec<HistoryEntry>,
    /// What the next cycle does about it; nothing if the CRM cannot be read.
    planned: Option<Planned>,
}

/// What the next cycle does about an id.
#[derive(Debug, Clone)]
enum Planned {
    /// It is in Wazzup as the CRM wants it.
    Unchanged,
    Send(Box<Upsert>),
    /// It gives up its phone, and nothing else.
    Release,
    BackOff,
    WaitForSeat,
    Remove,
    Hold(Option<HoldReason>),
    Stay,
    Reject,
    /// It has nothing to do with it.
    Nothing,
}

/// What Wazzup says right now.
#[derive(Debug)]
enum Live {
    There(RemoteUser),
    Absent,
    /// It cannot be asked, or does not say.
    Unknown(String),
}

pub(super) async fn explain(config: &Config, id: &str) -> Result<Exit, Error> {
    let sync = setup::sync(config)?;
    let (mut crm, mut state, live) = tokio::join!(in_crm(&sync, id), in_state(&sync, id), live(&sync, id));
    let planned = match (&crm, &state) {
        (Ok((_, roster)), Ok((_, snapshot, failures, now))) => {
            let plan = Plan::between(roster, snapshot, failures, sync.policy, *now);
            Some((
                planned(&plan, roster, id),
                local_phone(&plan, id),
                others(roster, snapshot, id),
            ))
        }
        _ => None,
    };
    if let (Some((planned, code, others)), Ok((crm, _)), Ok((state, ..))) = (planned, &mut crm, &mut state) {
        crm.same_phone = others;
        state.planned = Some(planned);
        note_local_phone(state, id, code);
    }
    let facts = Facts {
        id: id.to_owned(),
        crm: crm.map(|it| it.0).map_err(|error| error.to_string()),
        state: state.map(|it| it.0).map_err(|error| error.to_string()),
        live,
        policy: sync.policy,
    };
    write!(std::io::stdout(), "{}", text(Page::for_stdout(11), &facts))?;
    Ok(if facts.crm.is_err() && facts.state.is_err() {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

async fn in_crm(sync: &Sync, id: &str) -> Result<(InCrm, Roster), cycle::Error> {
    // What the state knows of phones saves time in a cycle, and is not needed here.
    let reader = sync.phone_reader(&Snapshot::default());
    let roster = sync.crm.read(std::future::ready(reader)).await?;
    let rows: Vec<CrmRow> = sync.crm.rows_of(id).await?;
    let (rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id == id);
    let rejected = roster.rejected.iter().find(|it| *it.id == *id).map(|it| it.code);
    // An endless id is kept shortened.
    let invalid = !rows.is_empty() && EmployeeId::parse(id).is_err();
    let mut similar: Vec<String> = others.into_iter().map(|row| row.id).collect();
    similar.dedup();
    let found = InCrm {
        entry: roster.get(id).cloned(),
        rejected: rejected.or(invalid.then_some(Code::InvalidId)),
        same_phone: Vec::new(),
        missing_ids: roster.missing_ids,
        rows,
        similar,
    };
    Ok((found, roster))
}

type Known = (InState, Snapshot, Failures, Timestamp);

async fn in_state(sync: &Sync, id: &str) -> Result<Known, state::Error> {
    let state = &sync.state;
    if !state.is_there().await? {
        let now = state.now().await?;
        return Ok((InState::default(), Snapshot::default(), Failures::default(), now));
    }
    let now = state.now().await?;
    let (snapshot, failures) = state.peek().await?;
    let found = InState {
        now,
        user: snapshot.get(id).cloned(),
        synced_at: state.synced_at(id).await?,
        failures: state.open_failures(Some(id)).await?,
        history: state.history_of(id, DELIVERIES).await?,
        planned: None,
    };
    Ok((found, snapshot, failures, now))
}

async fn live(sync: &Sync, id: &str) -> Live {
    let Ok(id) = EmployeeId::parse(id) else {
        return Live::Unknown("not asked: this is no id that Wazzup could have".into());
    };
    let session = match sync.wazzup.session(Gate::without_lease(CancellationToken::new())) {
        Ok(session) => session,
        Err(error) => return Live::Unknown(format!("not asked: {error}")),
    };
    match tokio::time::timeout(PATIENCE, session.user(&id)).await {
        Ok(Ok(Some(user))) => Live::There(user),
        Ok(Ok(None)) => Live::Absent,
        Ok(Err(error)) => Live::Unknown(error.to_string()),
        Err(_) => Live::Unknown(format!("it does not answer within {} s", PATIENCE.as_secs())),
    }
}

/// What the plan does about `id`.
fn planned(plan: &Plan, roster: &Roster, id: &str) -> Planned {
    let is_it = |it: &EmployeeId| it.as_str() == id;
    let sent = |upserts: &[Upsert]| upserts.iter().find(|it| is_it(&it.employee.id)).cloned();
    if let Some(upsert) = sent(&plan.upserts) {
        Planned::Send(Box::new(upsert))
    } else if plan.waiting.iter().any(|it| is_it(&it.employee.id)) {
        Planned::WaitForSeat
    } else if plan.backing_off.iter().any(is_it) {
        Planned::BackOff
    } else if plan.releases.iter().any(|it| is_it(&it.id)) {
        Planned::Release
    } else if plan.removals.iter().any(|it| is_it(&it.id)) {
        Planned::Remove
    } else if plan.held.iter().any(is_it) {
        Planned::Hold(plan.hold_reason)
    } else if plan.staying.iter().any(is_it) {
        Planned::Stay
    } else if plan.rejected.iter().any(|it| *it.id == *id) {
        Planned::Reject
    } else if roster.get(id).is_some() {
        Planned::Unchanged
    } else {
        Planned::Nothing
    }
}

fn local_phone(plan: &Plan, id: &str) -> Option<Code> {
    plan.local_failures.get(&(id.into(), Operation::Phone)).copied()
}

/// What is wrong with a phone in the CRM is known before the next cycle opens the failure.
fn note_local_phone(state: &mut InState, id: &str, code: Option<Code>) {
    let known = state.failures.iter().any(|it| it.operation == "phone");
    if let Some(code) = code.filter(|_| !known) {
        state.failures.push(OpenFailure {
            user_id: id.to_owned(),
            operation: "phone".into(),
            code: code.as_str().into(),
            detail: code.detail().into(),
            request_id: None,
            attempts: 0,
            first_at: state.now,
            next_attempt_at: None,
        });
    }
}

/// Who else has the phone that `id` has in the CRM.
fn others(roster: &Roster, snapshot: &Snapshot, id: &str) -> Vec<String> {
    let Some(phone) = roster.get(id).and_then(|it| it.employee.phone) else {
        return Vec::new();
    };
    let in_crm = roster
        .entries
        .iter()
        .filter(|it| it.employee.phone == Some(phone))
        .map(|it| it.employee.id.as_str());
    let in_wazzup = snapshot
        .users
        .iter()
        .filter(|it| it.phones().any(|held| held == phone))
        .map(|it| it.id.as_str());
    let mut others: Vec<String> = in_crm.chain(in_wazzup).filter(|it| *it != id).map(Into::into).collect();
    others.sort();
    others.dedup();
    others
}

fn text(mut page: Page, facts: &Facts) -> String {
    page.line("Id", &printable(&facts.id));
    match &facts.crm {
        Ok(crm) => show_crm(&mut page, crm),
        Err(error) => page.marked("CRM", Mark::Bad, error),
    }
    match &facts.state {
        Ok(state) => {
            show_sent(&mut page, facts, state);
            show_known(&mut page, state);
        }
        Err(error) => page.marked("State", Mark::Bad, error),
    }
    show_live(&mut page, facts);
    if let Ok(state) = &facts.state {
        show_failures(&mut page, state);
        show_history(&mut page, state);
    }
    let verdict = verdict::of(facts);
    page.marked("Verdict", verdict.mark, &verdict.text);
    if let Some(remedy) = verdict.remedy {
        page.remedy(&remedy);
    }
    page.into_text()
}

fn person(name: Option<&str>, phone: Option<&str>) -> String {
    let name = name.filter(|it| !it.trim().is_empty()).unwrap_or("(no name)");
    match phone.filter(|it| !it.trim().is_empty()) {
        Some(phone) => format!("{}, phone {}", printable(name), printable(phone)),
        None => format!("{}, no phone", printable(name)),
    }
}

fn user(name: &FullName, phone: Option<Phone>) -> String {
    person(Some(name.as_str()), phone.map(|it| it.to_string()).as_deref())
}

fn show_crm(page: &mut Page, crm: &InCrm) {
    if crm.rows.is_empty() {
        page.line("CRM", "no row with this id");
    }
    for (number, row) in crm.rows.iter().enumerate() {
        let inactive = if row.is_active {
            ""
        } else {
            " (not active: like no row)"
        };
        let text = format!("{}{inactive}", person(row.name.as_deref(), row.phone.as_deref()));
        page.line(if number == 0 { "CRM" } else { "" }, &text);
    }
    if !crm.similar.is_empty() {
        let similar = ids(crm.similar.iter().map(String::as_str), OTHERS_SHOWN);
        page.more(&format!("there is {similar}: ids count letter by letter, blanks too"));
    }
}

fn show_sent(page: &mut Page, facts: &Facts, state: &InState) {
    let Ok(InCrm {
        entry,
        rejected,
        same_phone,
        ..
    }) = &facts.crm
    else {
        return;
    };
    if let Some(code) = rejected {
        page.line("To send", &format!("nothing: {code}, {}", code.detail()));
    }
    let Some(entry) = entry else {
        return;
    };
    let phone = state.failures.iter().find(|it| it.operation == "phone");
    let sent = match &state.planned {
        Some(Planned::Send(upsert)) => upsert.employee.phone,
        _ => entry.employee.phone.filter(|_| phone.is_none()),
    };
    page.line("To send", &user(&entry.employee.name, sent));
    if let Some(phone) = phone.filter(|_| sent.is_none()) {
        page.more(&format!("without the phone: {}", phone.code));
    }
    if same_phone.is_empty() && phone.is_some_and(|it| it.code == Code::DuplicatePhoneNumber.as_str()) {
        page.more("nobody of ours has it: look for it in Wazzup, at a foreign user");
    } else if !same_phone.is_empty() {
        let others = ids(same_phone.iter().map(String::as_str), OTHERS_SHOWN);
        page.more(&format!("the phone is also that of {others}"));
    }
}

fn show_known(page: &mut Page, state: &InState) {
    let Some(managed) = &state.user else {
        page.line("Known", "not one of our users");
        return;
    };
    let (now, marks) = (state.now, managed.marks());
    match &managed.acknowledged {
        Some(known) => {
            let at = state
                .synced_at
                .map_or_else(String::new, |at| format!(", {}", ago(now, at)));
            page.line(
                "Known",
                &format!("{} (as Wazzup acknowledged{at})", user(&known.name, known.phone)),
            );
        }
        None => page.line("Known", "Wazzup never acknowledged it"),
    }
    if let Some(InDoubt { since, names, phones }) = &marks.in_doubt {
        let names = names.iter().map(|it| format!("“{}”", printable(it.as_str())));
        let may_be: Vec<String> = names.chain(phones.iter().map(ToString::to_string)).collect();
        let may_be = if may_be.is_empty() {
            String::new()
        } else {
            format!("; it may have become {}", may_be.join(", "))
        };
        page.more(&format!(
            "in doubt for {}{may_be}",
            super::text::in_words(now.duration_since(*since))
        ));
    }
    let since = [
        (marks.missing_since, "Wazzup's list did not have it"),
        (marks.absent_since, "the CRM was first seen without it"),
        (marks.held_since, "its removal was held"),
        (marks.approved_at, "its removal was approved"),
    ];
    for (at, what) in since {
        if let Some(at) = at {
            page.more(&format!("{what} {}", ago(now, at)));
        }
    }
    if let Some(at) = marks.remove_again_at {
        page.more(&format!("removed, and to be removed once more {}", until(now, at)));
    }
}

fn show_live(page: &mut Page, facts: &Facts) {
    match &facts.live {
        Live::There(user) => {
            let phone = match &user.phone {
                Some(phone) => format!("phone {}", printable(phone)),
                None => "no phone shown".into(),
            };
            page.line("Wazzup", &format!("{}, {phone} (right now)", printable(&user.name)));
        }
        Live::Absent => page.line("Wazzup", "no such user (right now)"),
        Live::Unknown(why) => page.marked("Wazzup", Mark::Warning, why),
    }
}

fn show_failures(page: &mut Page, state: &InState) {
    for (number, it) in state.failures.iter().enumerate() {
        let label = if number == 0 { "Failures" } else { "" };
        let what = match it.operation.as_str() {
            "seat" => "waits for a seat",
            "remove" => "not removed",
            "phone" => "without phone",
            _ => "not synced",
        };
        page.line(label, &format!("{what}, {}: {}", it.code, printable(&it.detail)));
        let tried = match u64::try_from(it.attempts).unwrap_or_default() {
            0 => String::new(),
            attempts => format!("tried {}; ", counted(attempts, "time")),
        };
        let request = match &it.request_id {
            Some(id) => format!(" (request {} for Wazzup's support)", printable(id)),
            None => String::new(),
        };
        let sooner = if it.operation == "seat" {
            "a seat is free"
        } else {
            "its row in the CRM changes"
        };
        let next = match it.next_attempt_at {
            None => format!("tried again when {sooner}"),
            Some(at) if at <= state.now => "tried again in the next cycle".into(),
            Some(at) => format!("tried again {}, or when {sooner}", until(state.now, at)),
        };
        page.more(&format!(
            "began {}; {tried}{next}{request}",
            ago(state.now, it.first_at)
        ));
    }
}

fn show_history(page: &mut Page, state: &InState) {
    for (number, it) in state.history.iter().enumerate() {
        let label = if number == 0 { "History" } else { "" };
        let (before, after) = (&it.before, &it.after);
        let whole = |it: &(Option<String>, Option<String>)| person(it.0.as_deref(), it.1.as_deref());
        let what = match (it.operation.as_str(), it.outcome.as_str()) {
            ("add", _) => format!("added as {}", whole(after)),
            ("release", _) => "gave up its phone for somebody else".into(),
            ("remove", "absent") => format!("to be removed, was not there any more: {}", whole(before)),
            ("remove", _) => format!("removed: {}", whole(before)),
            _ if before == after => format!("sent once more: {}", whole(after)),
            _ => format!("changed from {} to {}", whole(before), whole(after)),
        };
        page.line(
            label,
            &format!("{}, cycle {}: {what}", ago(state.now, it.at), it.cycle_id),
        );
    }
    if state.history.len() == DELIVERIES as usize {
        page.more(&format!(
            "(the newest {})",
            counted_len(state.history.len(), "delivery").replace("ys", "ies")
        ));
    }
}
