//! `check`: whether everything is there that a cycle needs, item by item. Writes nothing anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    Error, Exit, setup,
    status::lease_in_words,
    text::{Mark, Page, ago, counted_len, ids},
};
use crate::{
    config::{Config, RemovalPolicy, Source},
    crm::{self, Role},
    cycle::{self, Sync},
    employee::{Code, LONG_ID, LONG_NAME, Roster},
    plan::{Failures, Operation, Plan, Snapshot, printable},
    postgres::Reason,
    state::{self, Overview, Rights, SchemaVersion},
    wazzup::{self, Gate, UserList},
};

/// The seats of an account, where Wazzup has not said how many there are (its documentation).
const DOCUMENTED_SEATS: usize = 1_000;

const IDS_SHOWN: usize = 6;

/// What was found out.
struct Facts {
    crm: InCrm,
    state: Result<InState, state::Error>,
    wazzup: InWazzup,
}

struct InCrm {
    roster: Result<Roster, cycle::Error>,
    role: Result<Role, crm::Error>,
    /// What columns there are, where one is misspelt.
    columns: Vec<String>,
}

struct InState {
    now: Timestamp,
    version: SchemaVersion,
    rights: Rights,
    /// What follows is what the state says, and not only empty because it cannot be read.
    is_known: bool,
    overview: Overview,
    snapshot: Snapshot,
    failures: Failures,
}

struct InWazzup {
    answer: Result<(), wazzup::Error>,
    list: Option<Result<UserList, wazzup::Error>>,
}

/// Everything that can be said of an item.
struct Report {
    page: Page,
    failed: bool,
}

impl Report {
    fn good(&mut self, label: &str, text: &str) {
        self.page.item(Mark::Good, label, text);
    }

    fn warning(&mut self, label: &str, text: &str, remedy: &str) {
        self.page.item(Mark::Warning, label, text);
        self.page.remedy(remedy);
    }

    fn bad(&mut self, label: &str, text: &str, remedy: &str) {
        self.failed = true;
        self.page.item(Mark::Bad, label, text);
        self.page.remedy(remedy);
    }
}

pub(super) async fn check(config: &Config, file: &Path) -> Result<Exit, Error> {
    let sync = setup::sync(config)?;
    // At the same time: where all three are down, their time limits are waited for once.
    let (crm, state, wazzup) = tokio::join!(ask_crm(config, &sync), ask_state(&sync), ask_wazzup(&sync));
    let facts = Facts { crm, state, wazzup };
    let mut report = Report {
        page: Page::for_stdout(16),
        failed: false,
    };
    report_configuration(&mut report, config, file);
    report_crm(&mut report, config, &facts.crm);
    report_state(&mut report, config, &facts.state);
    report_wazzup(&mut report, config, &facts.wazzup);
    report_outlook(&mut report, config, &sync, &facts);
    let (failed, text) = (report.failed, report.page.into_text());
    write!(std::io::stdout(), "{text}")?;
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

async fn ask_crm(config: &Config, sync: &Sync) -> InCrm {
    let roster = async {
        let reader = sync.phone_reader(&Snapshot::default());
        Ok(sync.crm.read(std::future::ready(reader)).await?)
    };
    let roster: Result<Roster, cycle::Error> = roster.await;
    if let Err(cycle::Error::Crm(crm::Error::Unavailable(reason))) = &roster {
        let role = Err(crm::Error::Unavailable(reason.clone()));
        return InCrm {
            roster,
            role,
            columns: Vec::new(),
        };
    }
    let columns = if roster.is_err() {
        sync.crm.columns().await.unwrap_or_default()
    } else {
        Vec::new()
    };
    InCrm {
        roster,
        role: sync.crm.role(&config.state.schema).await,
        columns,
    }
}

async fn ask_state(sync: &Sync) -> Result<InState, state::Error> {
    let state = &sync.state;
    let version = state.version().await?;
    let rights = state.rights().await?;
    let now = state.now().await?;
    let is_there = matches!(version, SchemaVersion::Older | SchemaVersion::Current) && rights.may_change;
    // A schema that the role may not use looks as if it were not there.
    let is_known = is_there || version == SchemaVersion::Absent && rights.may_create;
    let (overview, (snapshot, failures)) = if is_there {
        (state.overview(0).await?, state.peek().await?)
    } else {
        Default::default()
    };
    Ok(InState {
        now,
        version,
        rights,
        is_known,
        overview,
        snapshot,
        failures,
    })
}

async fn ask_wazzup(sync: &Sync) -> InWazzup {
    let session = match sync.wazzup.session(Gate::without_lease(CancellationToken::new())) {
        Ok(session) => session,
        Err(error) => {
            return InWazzup {
                answer: Err(error),
                list: None,
            };
        }
    };
    let answer = session.ping().await;
    let list = if answer.is_ok() {
        Some(session.users().await)
    } else {
        None
    };
    InWazzup { answer, list }
}

fn report_configuration(report: &mut Report, config: &Config, file: &Path) {
    let account = printable(&config.account);
    report.good("Configuration", &format!("{}, account “{account}”", file.display()));
    let (every, unhealthy_after) = (config.schedule.every, config.schedule.unhealthy_after);
    if unhealthy_after <= every {
        report.warning(
            "Health",
            &format!("schedule.unhealthy_after ({unhealthy_after:?}) is not longer than schedule.every ({every:?})"),
            "make it a few times as long, or `healthcheck` fails between two good cycles",
        );
    }
    for (key, url) in [("crm.url", &config.crm.url), ("state.url", &config.state.url)] {
        if let Some(warning) = url.ssl_warning() {
            report.warning("Encryption", &format!("{key} ({})", url.address()), warning);
        }
    }
}

fn report_crm(report: &mut Report, config: &Config, crm: &InCrm) {
    match &crm.roster {
        Err(cycle::Error::Crm(crm::Error::Unavailable(reason))) => {
            report.bad(
                "CRM",
                &printable(&reason.to_string()),
                &mend_database(reason, "crm.url"),
            );
            return;
        }
        Err(cycle::Error::Crm(crm::Error::Query(reason))) => {
            report.good("CRM", "the database answers");
            report.bad(
                "CRM query",
                &printable(&reason.to_string()),
                &mend_query(config, reason, &crm.columns),
            );
        }
        Err(error) => report.bad("CRM", &error.to_string(), "correct the configuration"),
        Ok(roster) => {
            report.good("CRM", "the database answers");
            report_rows(report, roster);
        }
    }
    match &crm.role {
        Ok(role) if role.can_write || role.is_superuser => {
            let role_name = printable(&role.name);
            let text = if role.is_superuser {
                format!("“{role_name}” is a superuser")
            } else {
                format!("“{role_name}” may change the employees' data")
            };
            report.warning(
                "CRM role",
                &text,
                "better a role of its own in crm.url that may SELECT and nothing else",
            );
        }
        Ok(role) => report.good("CRM role", &format!("“{}” may only read", printable(&role.name))),
        // The query has said why.
        Err(_) => {}
    }
}

fn report_rows(report: &mut Report, roster: &Roster) {
    let employees = counted_len(roster.eligible(), "employee");
    if roster.is_empty() && roster.missing_ids == 0 {
        report.warning(
            "CRM query",
            "names nobody at all",
            "is it the right table, and is crm.columns.active true for somebody?",
        );
        return;
    }
    report.good("CRM query", &format!("{employees}; all columns are there"));
    let mut codes: BTreeMap<Code, Vec<&str>> = BTreeMap::new();
    for rejected in &roster.rejected {
        codes.entry(rejected.code).or_default().push(&rejected.id);
    }
    for (code, rejected) in codes {
        let (why, remedy) = code.detail().split_once(": ").unwrap_or((code.detail(), ""));
        let count = rejected.len();
        let shown = ids(rejected, IDS_SHOWN);
        report.warning("Rows", &format!("{count} rejected, {code}: {why} ({shown})"), remedy);
    }
    if roster.missing_ids > 0 {
        let rows = counted_len(roster.missing_ids, "row");
        report.warning(
            "Rows",
            &format!("{rows} rejected, MISSING_ID: the id is NULL or blank"),
            "give them ids: until then nobody is removed without `approve`",
        );
    }
    let long = |length: fn(&crate::employee::Entry) -> usize, most: usize| {
        let long = roster.entries.iter().filter(move |it| length(it) > most);
        long.map(|it| it.employee.id.as_str()).collect::<Vec<_>>()
    };
    let ids_too_long = long(|it| it.employee.id.as_str().chars().count(), LONG_ID);
    let names_too_long = long(|it| it.employee.name.as_str().chars().count(), LONG_NAME);
    for (what, long, most) in [("id", ids_too_long, LONG_ID), ("name", names_too_long, LONG_NAME)] {
        if !long.is_empty() {
            let have = if long.len() == 1 { "has" } else { "have" };
            let count = counted_len(long.len(), "employee");
            let shown = ids(long, IDS_SHOWN);
            report.warning(
                "Rows",
                &format!("{count} {have} a {what} of more than {most} characters ({shown})").replace("a id", "an id"),
                "Wazzup's documentation allows 200, but may refuse it; `status` will tell",
            );
        }
    }
}

/// What to do about a database that cannot be used; `key` names its URL.
fn mend_database(reason: &Reason, key: &str) -> String {
    match reason.sqlstate() {
        Some(code) if code.starts_with("28") => {
            format!("correct role and password in {key} (or {key}_file), or allow the role in pg_hba.conf")
        }
        Some("3D000") => format!("name a database that exists at the end of {key}"),
        Some(code) if code.starts_with("53") => "the server has no room for another connection: see its limits".into(),
        Some(_) => "see the server's log; it is tried again by itself".into(),
        None => format!("start the database, or correct host and port in {key}; does a firewall stand between?"),
    }
}

/// What to do about a query that the CRM refuses.
fn mend_query(config: &Config, reason: &Reason, columns: &[String]) -> String {
    let (what, table) = match &config.crm.source {
        Source::Table { name, .. } => ("crm.columns", printable(&name.join(".")).into_owned()),
        Source::Query(_) => ("crm.query", "the tables of crm.query".into()),
    };
    match reason.sqlstate() {
        Some("42703") if columns.is_empty() => format!("correct {what}: such a column is not there"),
        Some("42703") => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            format!("correct {what}; the columns are: {}", ids(columns, 20))
        }
        Some("42P01" | "3F000") => match &config.crm.source {
            Source::Table { .. } => format!(
                "correct crm.table: there is no {table} in this database for this role; upper case counts, and a schema \
                 stands before the dot"
            ),
            Source::Query(_) => "correct crm.query: upper case counts only in double quotes".into(),
        },
        Some("42501") => format!("GRANT SELECT ON {table} (and USAGE on its schema) to the role of crm.url"),
        Some("57014") => "make the query faster, or crm.query_timeout longer".into(),
        Some(code) if code.starts_with("22") || matches!(code, "42846" | "42804") => {
            format!("{what}: the active column must be boolean, the others are read as text")
        }
        _ => format!("correct crm.table, {what}, or the rights of the role of crm.url"),
    }
}

fn report_state(report: &mut Report, config: &Config, state: &Result<InState, state::Error>) {
    let schema = printable(&config.state.schema);
    let InState {
        version,
        rights,
        is_known,
        overview,
        ..
    } = match state {
        Ok(state) => state,
        Err(state::Error::Unavailable(reason)) => {
            report.bad(
                "State",
                &printable(&reason.to_string()),
                &mend_database(reason, "state.url"),
            );
            return;
        }
        Err(error) => {
            report.bad(
                "State",
                &printable(&error.to_string()),
                "see the rights of the role of state.url",
            );
            return;
        }
    };
    let role = printable(&rights.role);
    if rights.read_only {
        report.bad(
            "State",
            "the database takes no changes: it is a standby, or set to be read-only",
            "state.url must lead to the primary",
        );
    } else if !rights.may_create {
        let (text, remedy) = if rights.schema_exists {
            (
                format!("“{role}” may not use schema {schema}, or create tables in it"),
                format!("GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"{role}\""),
            )
        } else {
            (
                format!("schema {schema} is not there, and “{role}” may not create it"),
                format!("CREATE SCHEMA \"{schema}\" AUTHORIZATION \"{role}\""),
            )
        };
        report.bad("State", &text, &remedy);
    } else if !rights.may_change {
        report.bad(
            "State",
            &format!("“{role}” may not read and change all tables of schema {schema}"),
            &format!("the tables must belong to \"{role}\": ALTER TABLE … OWNER TO \"{role}\""),
        );
    } else {
        match version {
            SchemaVersion::Absent => report.good(
                "State",
                &format!("schema {schema} is not there yet: `run` or `once` creates it"),
            ),
            SchemaVersion::Older => report.good(
                "State",
                &format!("schema {schema} is of an older version: `run` or `once` migrates it"),
            ),
            SchemaVersion::Current => report.good(
                "State",
                &format!(
                    "schema {schema}, up to date; {}",
                    counted_len(count(overview.managed), "managed user")
                ),
            ),
            SchemaVersion::Newer(found) => report.bad(
                "State",
                &format!("schema {schema} is at version {found}, newer than this program"),
                "run the newer wazzup-sync; this one does not touch it",
            ),
        }
    }
    if *is_known && *version != SchemaVersion::Absent {
        match lease_in_words(&overview.account) {
            Some(text) => report.good("Lease", &text),
            None => report.good("Lease", "free: no daemon is running for this account"),
        }
    }
}

fn count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn report_wazzup(report: &mut Report, config: &Config, wazzup: &InWazzup) {
    let url = &config.wazzup.base_url;
    let answers = format!("{url} answers");
    match &wazzup.answer {
        Ok(()) => {
            report.good("Wazzup", &answers);
            report.good("API key", "accepted");
        }
        Err(error @ wazzup::Error::Key { .. }) => {
            let text = error.to_string();
            let (what, _) = text.rsplit_once(": ").unwrap_or((&text, ""));
            report.bad(
                "API key",
                &printable(what),
                "put an API key from the account's settings there; it must be readable by this user",
            );
        }
        Err(wazzup::Error::Unauthorized { .. }) => {
            report.good("Wazzup", &answers);
            report.bad(
                "API key",
                "refused (401): it is not, or no longer, a key of this account",
                "put an API key from the account's settings in place; no restart is needed",
            );
        }
        Err(wazzup::Error::Forbidden { .. }) => {
            report.good("Wazzup", &answers);
            report.bad(
                "API key",
                "forbidden (403): it is probably of the wrong type (\"sidecar\")",
                "put an API key from the account's settings in place of it",
            );
        }
        Err(error @ wazzup::Error::Refused(_)) => report.bad(
            "Wazzup",
            &format!("{url}: {error}"),
            "is wazzup.base_url right? It ends with /v3",
        ),
        Err(error) => report.bad(
            "Wazzup",
            &format!("{url}: {}", printable(&error.to_string())),
            "correct wazzup.base_url; look at DNS, firewall and proxy. If it is an outage, it is tried again by itself",
        ),
    }
}

/// What the first cycle would do, and whether everyone will fit.
fn report_outlook(report: &mut Report, config: &Config, sync: &Sync, facts: &Facts) {
    let list = match &facts.wazzup.list {
        Some(Ok(list)) => Some(list),
        Some(Err(error)) => {
            report.bad("Seats", &error.to_string(), "try again: it answered a moment ago");
            None
        }
        None => None,
    };
    let plan = match (&facts.crm.roster, &facts.state) {
        (Ok(roster), Ok(state)) if state.is_known => Some((
            Plan::between(roster, &state.snapshot, &state.failures, sync.policy, state.now),
            state,
        )),
        _ => None,
    };
    if let Some(list) = list {
        report_seats(report, list, plan.as_ref().map(|(plan, state)| (plan, *state)));
    }
    let Some((plan, state)) = plan else {
        let text = "cannot be told before the items above are mended";
        report.page.item(Mark::Warning, "Next cycle", text);
        return;
    };
    report_phones(report, &plan);
    let additions = plan.upserts.iter().filter(|it| it.addition);
    let (there, new): (Vec<_>, Vec<_>) =
        additions.partition(|it| list.is_some_and(|list| list.users.contains_key(it.employee.id.as_str())));
    let mut does = vec![format!("add {}", new.len())];
    if !there.is_empty() {
        does.push(format!("take over {} that are in Wazzup already", there.len()));
    }
    does.push(format!("change {}", plan.upserts.len() - new.len() - there.len()));
    does.push(format!("remove {}", plan.removals.len()));
    let requests = counted_len(plan.requests(), "request");
    let text = format!(
        "would {}, in {requests}; {} as they should be",
        does.join(", "),
        plan.unchanged
    );
    match plan.hold_reason.filter(|_| !plan.held.is_empty()) {
        Some(reason) => report.warning(
            "Next cycle",
            &format!("{text}; {} held: {reason}", counted_len(plan.held.len(), "removal")),
            "see `wazzup-sync plan`; `wazzup-sync approve` lets held removals go, once a cycle has held them",
        ),
        None => report.good("Next cycle", &text),
    }
    if config.removals.policy == RemovalPolicy::Keep {
        report
            .page
            .more("(removals.policy is \"keep\": nobody is ever removed)");
    }
    if let Some(cycle) = &state.overview.account.last_cycle {
        let ended = ago(state.now, cycle.finished_at);
        report
            .page
            .more(&format!("The last one ended {ended}: `wazzup-sync status`."));
    }
}

fn report_seats(report: &mut Report, list: &UserList, plan: Option<(&Plan, &InState)>) {
    let used = list.users.len();
    if let Some(reason) = &list.incomplete {
        report.warning(
            "Seats",
            &format!(
                "at least {used} used; the list of users proves nothing: {}",
                printable(reason)
            ),
            "the sync works without it, but deletions by hand are not noticed; try again",
        );
        return;
    }
    let Some((plan, state)) = plan else {
        report.good("Seats", &format!("{used} used"));
        return;
    };
    // A limit that was named before and is exceeded now is not the limit any more.
    let known = state.overview.account.seats_limit.map(count).filter(|it| *it >= used);
    let limit = known.unwrap_or(DOCUMENTED_SEATS);
    let foreign: BTreeSet<&str> = list
        .users
        .keys()
        .map(String::as_str)
        .filter(|id| state.snapshot.get(id).is_none())
        .collect();
    let additions = plan.upserts.iter().chain(&plan.waiting).filter(|it| it.addition);
    let additions: Vec<&str> = additions.map(|it| it.employee.id.as_str()).collect();
    let new = additions.iter().filter(|id| !list.users.contains_key(**id)).count();
    let taken_over = additions.iter().filter(|id| foreign.contains(**id)).count();
    let gone = plan
        .removals
        .iter()
        .filter(|it| list.users.contains_key(it.id.as_str()))
        .count();
    let (then, foreign) = (used - gone + new, foreign.len() - taken_over);
    let of = if known.is_some() { "" } else { " (documented)" };
    let text = format!("{used} of {limit}{of} used, {foreign} by foreign users");
    if then <= limit || new == 0 {
        report.good("Seats", &format!("{text}; {then} after the next cycle"));
    } else {
        let wait = counted_len((then - limit).min(new), "employee");
        report.warning(
            "Seats",
            &format!("{text}; {then} are needed: {wait} without a seat after the next cycle"),
            "book more seats, or remove users in Wazzup that nobody needs",
        );
    }
}

fn report_phones(report: &mut Report, plan: &Plan) {
    let mut codes: BTreeMap<Code, Vec<&str>> = BTreeMap::new();
    for ((id, operation), code) in &plan.local_failures {
        if *operation == Operation::Phone {
            codes.entry(*code).or_default().push(id);
        }
    }
    for (code, found) in codes {
        let (why, _) = code.detail().split_once(": ").unwrap_or((code.detail(), ""));
        let count = found.len();
        let shown = ids(found, IDS_SHOWN);
        report.warning(
            "Phones",
            &format!("{count} synced without phone, {code}: {why} ({shown})"),
            "correct them in the CRM",
        );
    }
}
