//! What `check` says about the two databases.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    super::{
        Context,
        page::Advice,
        plan::advice::{missing_ids, unknown_account},
        setup,
        text::{counted, listed_ids, value_in_words},
    },
    CheckReport,
};
use crate::{
    config::Config,
    crm::{Crm, CrmRows, Error as CrmError, FoundTable, Role, Source, TableName, Unconvertible, is_near},
    employee::RowProblem,
    plan::Plan,
    state::{Error as StateError, Peek, Rights, State},
};

/// What the connections of both URLs have to do with each other, and whether they are safe.
pub(super) fn report_urls(report: &mut CheckReport, config: &Config) {
    let (crm, state) = (&config.crm_url, &config.state_url);
    for (key, _, warning) in setup::ssl_warnings(config) {
        let label = if key == "crm.url" { "CRM" } else { "State" };
        report.add(label, Advice::warning(format!("{key}: {warning}")));
    }
    let role = crm.options.get_username();
    if crm.address() == state.address() && role == state.options.get_username() {
        let reason =
            format!("\"{role}\" is the role of both crm.url and state.url, so it may do more than either needs");
        let remedy =
            "use two roles: one that may only read the employees, and one that owns nothing but the state's schema";
        report.warn("State access", reason, remedy);
    }
}

/// With the rows, if they can be read.
pub(super) async fn check_crm(config: &Config, crm: &Crm) -> (CheckReport, Option<CrmRows>) {
    let mut report = CheckReport::default();
    let read = crm.read().await;
    if let Err(error @ CrmError::Unavailable(_)) = &read {
        report.fail("CRM", error);
        return (report, None);
    }
    report.good("CRM", format!("the database at {} answers", config.crm_url.address()));
    // Where the table is not there, the query's error says so.
    if let Ok(role) = crm.role(config.schema.as_str()).await {
        report_role(&mut report, &role, &config.source);
    }
    match &read {
        Ok(rows) => {
            if let Some(unconvertible) = &rows.unconvertible {
                report_unconvertible(&mut report, unconvertible);
            }
        }
        Err(error) => report.fail("CRM query", error),
    }
    if let Source::Table { name, .. } = &config.source {
        report_tables(&mut report, name, &crm.tables(name).await.unwrap_or_default());
    }
    (report, read.ok())
}

pub(super) fn report_role(report: &mut CheckReport, role: &Role, source: &Source) {
    let name = &role.name;
    if role.can_write {
        let reason = format!("\"{name}\" may do more than read the employees");
        let remedy = "use a role in crm.url that may SELECT and nothing else";
        report.warn("CRM role", reason, remedy);
    } else {
        // No other right was looked at.
        let tables = match source {
            Source::Table { .. } => "the employees' table",
            Source::Query(_) => "any table of the CRM",
        };
        report.good("CRM role", format!("\"{name}\" cannot write {tables}"));
    }
}

/// Which table may be meant instead, if the `configured` one is not among the `tables`, or has no schema and there are several.
/// A table that appears in a schema earlier in the `search_path` would be read instead.
pub(super) fn report_tables(report: &mut CheckReport, configured: &TableName, tables: &[FoundTable]) {
    let name = configured.table.as_str();
    let Some(read) = tables.iter().find(|table| table.is_read) else {
        let similar = tables.iter().filter(|table| is_near(name, &table.name));
        let similar: Vec<String> = similar.map(FoundTable::as_configured).collect();
        if !similar.is_empty() {
            let reason = format!("there are tables with similar names: {}", listed_ids(similar));
            report.warn("CRM table", reason, "correct crm.table if one of them is meant");
        }
        return;
    };
    let namesakes = tables.iter().filter(|table| table.name == name && !table.is_read);
    let others: Vec<&String> = namesakes.map(|table| &table.schema).collect();
    if configured.schema.is_none() && !others.is_empty() {
        let (read, others) = (read.as_configured(), listed_ids(others));
        let reason =
            format!("crm.table names no schema: {read} is read, but there are also tables {name} in: {others}");
        // A JSON string is one in TOML, too.
        report.warn("CRM table", reason, format!("write `table = {}`", json!(read)));
    }
}

pub(super) fn report_rows(report: &mut CheckReport, context: &Context, plan: &Plan) {
    if plan.eligible == 0 && plan.missing_ids == 0 {
        let remedy = "is this the right table, and is crm.columns.active true for anybody?";
        report.warn("CRM query", "the CRM names nobody at all", remedy);
    } else {
        let employees = counted(plan.eligible, "employee");
        report.good("CRM query", format!("{employees}; all columns are there"));
    }
    if plan.missing_ids > 0 {
        report.add("Rows", missing_ids(plan.missing_ids, &context.invocation));
    }
    let mut problems: BTreeMap<RowProblem, Vec<&str>> = BTreeMap::new();
    for (key, problem) in plan.row_problems() {
        problems.entry(problem).or_default().push(&key.user_id);
    }
    for (problem, ids) in problems {
        let employees = counted(ids.len(), "employee");
        let ids = listed_ids(ids);
        let reason = format!("{employees} with {problem}: {} ({ids})", problem.reason());
        report.warn("Rows", reason, problem.remedy());
    }
}

pub(super) fn report_unconvertible(report: &mut CheckReport, unconvertible: &Unconvertible) {
    let Unconvertible {
        encoding,
        ids,
        unreadable_ids,
        query,
    } = unconvertible;
    let mut reason = format!(
        "values that cannot be converted from the database's encoding {encoding} to UTF-8 are left out: {} with such an id",
        counted(*unreadable_ids, "row")
    );
    if !ids.is_empty() {
        let employees = counted(ids.len(), "employee");
        let ids = listed_ids(ids);
        reason.push_str(&format!(", {employees} with such a name or phone ({ids})"));
    }
    let remedy = format!("correct these values in the CRM; this query shows them: `{query}`");
    report.warn("Rows", reason, remedy);
}

/// With what the next cycle would start from, if the state can be used.
pub(super) async fn check_state(config: &Config, state: &State) -> (CheckReport, Option<Peek>) {
    let mut report = CheckReport::default();
    let asked = ask_state(&mut report, config, state).await;
    let peek = asked.unwrap_or_else(|error| {
        report.fail("State", &error);
        None
    });
    (report, peek)
}

async fn ask_state(report: &mut CheckReport, config: &Config, state: &State) -> Result<Option<Peek>, StateError> {
    let schema = config.schema.as_str();
    let rights = state.rights().await?;
    if let Some(obstacle) = obstacle(schema, &rights) {
        report.add("State", obstacle);
        return Ok(None);
    }
    let peek = state.peek().await?;
    let usable = format!("the schema {schema} can be used; `run` and `once` create and migrate it");
    report.good("State", usable);
    report_other_writers(report, schema, &rights);
    if let Some(account) = &peek.account {
        let lease = value_in_words(&json!(account.lease), account.now);
        report.good("Lease", if lease.is_empty() { "free".to_owned() } else { lease });
    } else if state.is_there().await?
        && let Some(unknown) = unknown_account(&config.account, &state.other_accounts().await?)
    {
        report.add("Account", unknown);
    }
    Ok(Some(peek))
}

/// What keeps our role from using the schema, and what to do about it.
pub(super) fn obstacle(schema: &str, rights: &Rights) -> Option<Advice> {
    let role = &rights.role;
    let (reason, remedy) = if let Some(foreign_owner) = &rights.foreign_owner {
        let new = "set state.schema to a new schema";
        (
            foreign_owner.to_string(),
            format!("{new}, or, if this one is empty, run `ALTER SCHEMA \"{schema}\" OWNER TO \"{role}\"`"),
        )
    } else if rights.read_only {
        (
            "the database takes no changes: it is a standby, or set to be read-only".to_owned(),
            "point state.url at the primary".to_owned(),
        )
    } else if !rights.may_create && rights.schema_exists {
        (
            format!("\"{role}\" lacks the right to use the schema {schema} or to create tables in it"),
            format!("run `GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"{role}\"`"),
        )
    } else if !rights.may_create {
        (
            format!("the schema {schema} does not exist, and \"{role}\" may not create it"),
            format!("run `CREATE SCHEMA \"{schema}\" AUTHORIZATION \"{role}\"`"),
        )
    } else if !rights.may_change {
        (
            format!("\"{role}\" may not read and change all tables of the schema {schema}"),
            format!("make the role the owner of the tables: `ALTER TABLE … OWNER TO \"{role}\"`"),
        )
    } else {
        return None;
    };
    Some(Advice::bad(reason).with(remedy))
}

/// Whoever can write the state can have anybody removed.
pub(super) fn report_other_writers(report: &mut CheckReport, schema: &str, rights: &Rights) {
    if rights.other_writers.is_empty() {
        return;
    }
    let (role, writers) = (&rights.role, listed_ids(&rights.other_writers));
    let reason =
        format!("other roles may write in the schema {schema}, and so have anybody removed from Wazzup: {writers}");
    let remedy =
        format!("revoke these rights: the schema is as sensitive as the API key, and \"{role}\" alone needs it");
    report.warn("State access", reason, remedy);
}
