//! What `check` says about the CRM.

use std::collections::BTreeMap;

use super::{
    super::{
        page::Advice,
        text::{counted, listed_ids, noun_for},
    },
    Findings, NAMES_SHOWN, Report, Setup,
};
use crate::{
    config::{Config, DatabaseUrl},
    crm::{Crm, CrmRows, Error, Role, Source, TableSchemas, Unconvertible},
    employee::{Roster, RowProblem},
    plan::Operation,
    postgres::Reason,
};

/// What was found out about the CRM.
#[derive(Debug, Default)]
pub(super) struct CrmFindings {
    /// Why the employees cannot be read.
    pub(super) error: Option<Error>,
    /// What the rows say, where there is no plan that has it.
    pub(super) roster: Option<Roster>,
    pub(super) unconvertible: Option<Unconvertible>,
    pub(super) role: Option<Role>,
    /// The schemas in which there are other tables of the same name.
    pub(super) ambiguous: Option<TableSchemas>,
    /// What tables may be meant, where the configured one is not there.
    pub(super) similar_tables: Vec<String>,
}

pub(super) async fn ask(crm: &Crm, own_schema: &str) -> (CrmFindings, Option<CrmRows>) {
    let mut findings = CrmFindings::default();
    let mut rows = None;
    match crm.read().await {
        Ok(read) => {
            findings.unconvertible.clone_from(&read.unconvertible);
            findings.ambiguous = crm.ambiguous_schemas().await.unwrap_or_default();
            rows = Some(read);
        }
        Err(error @ Error::Unavailable(_)) => {
            findings.error = Some(error);
            return (findings, None);
        }
        Err(Error::Query(reason)) => {
            if is_undefined_table(&reason) {
                findings.similar_tables = crm.similar_tables().await.unwrap_or_default();
            }
            findings.error = Some(Error::Query(reason));
        }
    }
    // Where the table is not there, the query's error says so.
    findings.role = crm.role(own_schema).await.ok();
    (findings, rows)
}

fn is_undefined_table(reason: &Reason) -> bool {
    matches!(reason.sqlstate(), Some("42P01" | "3F000"))
}

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let (config, crm) = (setup.config, &findings.crm);
    let connection = match &crm.error {
        Some(Error::Unavailable(reason)) => unavailable(reason, "crm.url"),
        _ => Advice::good(format!("the database at {} answers", config.crm_url.address())),
    };
    report.add("CRM", connection);
    report_certificate(report, "CRM", &config.crm_url, "crm.url");
    if let Some(Error::Query(reason)) = &crm.error {
        let remedy = remedy_for_query(config, reason, crm);
        report.add("CRM query", Advice::bad(reason.to_string()).with(remedy));
    }
    if let Some(schemas) = &crm.ambiguous {
        report_ambiguous_table(report, config, schemas);
    }
    let planned = findings.plan.as_ref().map(|view| &view.roster);
    if let Some(roster) = planned.or(crm.roster.as_ref()) {
        report_roster(report, setup, findings, roster);
    }
    if let Some(role) = &crm.role {
        report_role(report, role);
    }
}

/// The item of a database that cannot be used; `key` names its URL.
pub(super) fn unavailable(reason: &Reason, key: &str) -> Advice {
    Advice::bad(reason.to_string()).with(reason.remedy(key))
}

pub(super) fn report_certificate(report: &mut Report, label: &'static str, url: &DatabaseUrl, key: &str) {
    if let Some(warning) = url.ssl_warning() {
        report.add(label, Advice::warning(format!("{key}: {warning}")));
    }
}

fn report_ambiguous_table(report: &mut Report, config: &Config, schemas: &TableSchemas) {
    let Source::Table { name, .. } = &config.source else {
        return;
    };
    let (table, read) = (name.to_string(), &schemas.read);
    let others = listed_ids(&schemas.others, NAMES_SHOWN);
    let in_schemas = noun_for(schemas.others.len(), "schema");
    let reason = format!(
        "crm.table names no schema: {read}.{table} is read, but the {in_schemas} {others} also has a table {table}"
    );
    let remedy = format!("write `table = \"{read}.{table}\"`");
    report.add("CRM table", Advice::warning(reason).with(remedy));
}

fn report_roster(report: &mut Report, setup: Setup<'_>, findings: &Findings, roster: &Roster) {
    if roster.is_empty() && roster.missing_ids == 0 {
        let remedy = "is this the right table, and is crm.columns.active true for anybody?";
        report.add("CRM query", Advice::warning("the CRM names nobody at all").with(remedy));
        return;
    }
    let employees = counted(roster.eligible(), "employee");
    report.add("CRM query", Advice::good(format!("{employees}; all columns are there")));
    if roster.missing_ids > 0 {
        let rows = counted(roster.missing_ids, "row");
        let approve = setup.invocation.command("approve");
        let advice = Advice::warning(format!("{rows} rejected, MISSING_ID: the id is NULL or blank")).with(format!(
            "give each row an id: until then, nobody is removed without {approve}"
        ));
        report.add("Rows", advice);
    }
    if let Some(unconvertible) = &findings.crm.unconvertible {
        report_unconvertible(report, unconvertible);
    }
    report_problems(report, findings, roster);
}

/// Who is rejected, and who is synced without phone, by reason.
fn report_problems(report: &mut Report, findings: &Findings, roster: &Roster) {
    let mut problems: BTreeMap<RowProblem, Vec<&str>> = BTreeMap::new();
    for rejected in &roster.rejected {
        problems.entry(rejected.problem).or_default().push(&rejected.id);
    }
    let plan = findings.plan.as_ref().map(|view| &view.plan);
    for failure in plan.into_iter().flat_map(|plan| &plan.local_failures) {
        if failure.key.operation == Operation::Phone {
            problems.entry(failure.problem).or_default().push(&failure.key.user_id);
        }
    }
    for (problem, ids) in problems {
        let (label, outcome) = match problem {
            RowProblem::InvalidPhone | RowProblem::DuplicatePhoneNumber => ("Phones", "without phone"),
            RowProblem::InvalidId | RowProblem::InvalidName | RowProblem::DuplicateId => ("Rows", "rejected"),
        };
        let employees = counted(ids.len(), "employee");
        let ids = listed_ids(ids, NAMES_SHOWN);
        let reason = format!("{employees} {outcome}, {problem}: {} ({ids})", problem.reason());
        report.add(label, Advice::warning(reason).with(problem.remedy()));
    }
}

fn report_unconvertible(report: &mut Report, unconvertible: &Unconvertible) {
    let Unconvertible {
        encoding,
        ids,
        unreadable_ids,
        query,
    } = unconvertible;
    let mut places = Vec::new();
    if !ids.is_empty() {
        let employees = counted(ids.len(), "employee");
        let names = listed_ids(ids, NAMES_SHOWN);
        places.push(format!("in the name or phone of {employees} ({names})"));
    }
    if *unreadable_ids > 0 {
        places.push(format!("in the id of {}", counted(*unreadable_ids, "row")));
    }
    let reason = format!(
        "values that cannot be converted to UTF-8 are left out: {}; the database's encoding is {encoding}",
        places.join(", and ")
    );
    let remedy = format!("correct these values in the CRM; this query shows them: `{query}`");
    report.add("Rows", Advice::warning(reason).with(remedy));
}

fn report_role(report: &mut Report, role: &Role) {
    let name = &role.name;
    let excess = if role.is_superuser {
        "is a superuser"
    } else if role.can_write {
        "may change the employees' data"
    } else {
        report.add("CRM role", Advice::good(format!("\"{name}\" may only read")));
        return;
    };
    let remedy = "use a role in crm.url that may SELECT and nothing else";
    report.add("CRM role", Advice::warning(format!("\"{name}\" {excess}")).with(remedy));
}

/// What to do about a query that the CRM refuses.
fn remedy_for_query(config: &Config, reason: &Reason, crm: &CrmFindings) -> String {
    let similar_tables = &crm.similar_tables;
    let role = crm.role.as_ref();
    let role = role.map_or_else(|| "the role of crm.url".to_owned(), |role| format!("\"{}\"", role.name));
    let (columns, table) = match &config.source {
        Source::Table { name, .. } => ("crm.columns", name.to_string()),
        Source::Query(_) => ("crm.query", "the tables of crm.query".to_owned()),
    };
    match (reason.sqlstate(), &config.source) {
        (Some("42P01" | "3F000"), Source::Table { .. }) if !similar_tables.is_empty() => {
            let tables = listed_ids(similar_tables, NAMES_SHOWN);
            format!("correct crm.table; did you mean one of these: {tables}?")
        }
        (Some("42P01" | "3F000"), Source::Table { .. }) => format!(
            "correct crm.table: the role finds no {table} in this database; upper and lower case differ, and a schema \
             stands before the dot"
        ),
        (Some("42P01" | "3F000"), Source::Query(_)) => {
            "correct crm.query; upper and lower case differ only in double quotes".to_owned()
        }
        (Some("42703"), _) => format!("correct {columns}"),
        (Some("42501"), _) => {
            format!("run `GRANT SELECT ON {table} TO {role}`, and grant USAGE on the schema, too")
        }
        (Some("57014"), _) => "make the query faster, or crm.query_timeout longer".to_owned(),
        (Some("42804"), _) => format!("correct {columns}: the active column has to be boolean"),
        _ => format!("correct crm.table, {columns}, or the rights of the role of crm.url"),
    }
}
