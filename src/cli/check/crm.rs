//! What `check` says about the CRM.

use std::collections::BTreeMap;

use super::{
    super::text::{counted, listed_ids, noun_for},
    Findings, Setup,
    report::{Report, Subject},
};
use crate::{
    config::Config,
    crm::{Crm, CrmRows, Error, Role, Source, TableSchemas, Unconvertible},
    employee::{Roster, RowProblem},
    plan::Operation,
    postgres::Reason,
};

/// How many ids, columns or tables a message names.
pub(super) const NAMES_SHOWN: usize = 6;

/// What was found out about the CRM.
#[derive(Debug, Default)]
pub(super) struct CrmFindings {
    /// Why the employees cannot be read.
    pub(super) error: Option<Error>,
    /// The employees' rows, until the plan takes them.
    pub(super) rows: Option<CrmRows>,
    /// What the rows say, where there is no plan that has it.
    pub(super) roster: Option<Roster>,
    pub(super) unconvertible: Option<Unconvertible>,
    pub(super) role: Option<Role>,
    /// The schemas in which there are other tables of the same name.
    pub(super) ambiguous: Option<TableSchemas>,
    /// What tables may be meant, where the configured one is not there.
    pub(super) similar_tables: Vec<String>,
}

pub(super) async fn ask_crm(crm: &Crm, own_schema: &str) -> CrmFindings {
    let mut findings = CrmFindings::default();
    match crm.read().await {
        Ok(rows) => {
            findings.unconvertible.clone_from(&rows.unconvertible);
            findings.rows = Some(rows);
            findings.ambiguous = crm.ambiguous_schemas().await.unwrap_or_default();
        }
        Err(Error::Unavailable(reason)) => {
            findings.error = Some(Error::Unavailable(reason));
            return findings;
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
    findings
}

fn is_undefined_table(reason: &Reason) -> bool {
    matches!(reason.sqlstate(), Some("42P01" | "3F000"))
}

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let (config, crm) = (setup.config, &findings.crm);
    let address = config.crm.url.address();
    match &crm.error {
        Some(Error::Unavailable(reason)) => {
            let remedy = reason.remedy("crm.url");
            report.failed(Subject::Crm, reason.to_string(), remedy);
        }
        _ => report.good(Subject::Crm, format!("the database at {address} answers")),
    }
    if let Some(warning) = config.crm.url.ssl_warning() {
        report_ssl(report, Subject::Crm, "crm.url", warning);
    }
    if let Some(Error::Query(reason)) = &crm.error {
        let remedy = remedy_for_query(config, reason, crm);
        report.failed(Subject::CrmQuery, reason.to_string(), remedy);
    }
    if let Some(schemas) = &crm.ambiguous {
        report_ambiguous_table(report, config, schemas);
    }
    let planned = findings.plan.as_ref().map(|view| &view.roster);
    if let Some(roster) = planned.or(crm.roster.as_ref()) {
        report_roster(report, setup, roster, crm.unconvertible.as_ref());
    }
    report_phones(report, findings);
    if let Some(role) = &crm.role {
        report_role(report, role);
    }
}

/// `warning` has the form "what is wrong; what to do".
pub(super) fn report_ssl(report: &mut Report, subject: Subject, key: &str, warning: &str) {
    report.warning(subject, format!("{key}: {warning}"), format!("change sslmode in {key}"));
}

fn report_ambiguous_table(report: &mut Report, config: &Config, schemas: &TableSchemas) {
    let Source::Table { name, .. } = &config.crm.source else {
        return;
    };
    let (table, read) = (name.to_string(), &schemas.read);
    let others = listed_ids(schemas.others.iter().map(String::as_str), NAMES_SHOWN);
    let in_schemas = noun_for(schemas.others.len(), "schema");
    report.warning(
        Subject::CrmTable,
        format!(
            "crm.table names no schema: {read}.{table} is read, but there is a table {table} in the {in_schemas} \
             {others}, too"
        ),
        format!("write `table = \"{read}.{table}\"`"),
    );
}

fn report_roster(report: &mut Report, setup: Setup<'_>, roster: &Roster, unconvertible: Option<&Unconvertible>) {
    if roster.is_empty() && roster.missing_ids == 0 {
        report.warning(
            Subject::CrmQuery,
            "the CRM names nobody at all",
            "is this the right table, and is crm.columns.active true for anybody?",
        );
        return;
    }
    let employees = counted(roster.eligible(), "employee");
    report.good(Subject::CrmQuery, format!("{employees}; all columns are there"));
    let mut problems: BTreeMap<RowProblem, Vec<&str>> = BTreeMap::new();
    for rejected in &roster.rejected {
        problems.entry(rejected.problem).or_default().push(&rejected.id);
    }
    for (problem, ids) in problems {
        let rejected = counted(ids.len(), "employee");
        let ids = listed_ids(ids, NAMES_SHOWN);
        report.warning(
            Subject::Rows,
            format!("{rejected} rejected, {problem}: {} ({ids})", problem.reason()),
            problem.remedy(),
        );
    }
    if roster.missing_ids > 0 {
        let rows = counted(roster.missing_ids, "row");
        let approve = setup.invocation.command("approve");
        report.warning(
            Subject::Rows,
            format!("{rows} rejected, MISSING_ID: the id is NULL or blank"),
            format!("give each row an id: until then, nobody is removed without {approve}"),
        );
    }
    if let Some(unconvertible) = unconvertible {
        report_unconvertible(report, unconvertible);
    }
}

fn report_unconvertible(report: &mut Report, unconvertible: &Unconvertible) {
    let Unconvertible {
        encoding,
        ids,
        unreadable_ids,
        query,
    } = unconvertible;
    let mut rows = Vec::new();
    if !ids.is_empty() {
        let names = listed_ids(ids.iter().map(String::as_str), NAMES_SHOWN);
        rows.push(format!(
            "in the name or phone of {} ({names})",
            counted(ids.len(), "employee")
        ));
    }
    if *unreadable_ids > 0 {
        rows.push(format!("in the id of {}", counted(*unreadable_ids, "row")));
    }
    report.warning(
        Subject::Rows,
        format!(
            "values that cannot be converted to UTF-8 are left out: {}; the database's encoding is {encoding}",
            rows.join(", and ")
        ),
        format!("correct these values in the CRM; this query shows them: {query}"),
    );
}

/// Who is synced without phone, by reason.
fn report_phones(report: &mut Report, findings: &Findings) {
    let mut problems: BTreeMap<RowProblem, Vec<&str>> = BTreeMap::new();
    let plan = findings.plan.as_ref().map(|view| &view.plan);
    for failure in plan.into_iter().flat_map(|plan| &plan.local_failures) {
        if failure.key.operation == Operation::Phone {
            problems.entry(failure.problem).or_default().push(&failure.key.user_id);
        }
    }
    for (problem, ids) in problems {
        let employees = counted(ids.len(), "employee");
        let ids = listed_ids(ids, NAMES_SHOWN);
        report.warning(
            Subject::Phones,
            format!("{employees} without phone, {problem}: {} ({ids})", problem.reason()),
            problem.remedy(),
        );
    }
}

fn report_role(report: &mut Report, role: &Role) {
    let name = &role.name;
    let message = if role.is_superuser {
        format!("\"{name}\" is a superuser")
    } else if role.can_write {
        format!("\"{name}\" may change the employees' data")
    } else {
        report.good(Subject::CrmRole, format!("\"{name}\" may only read"));
        return;
    };
    report.warning(
        Subject::CrmRole,
        message,
        "use a role in crm.url that may SELECT and nothing else",
    );
}

/// What to do about a query that the CRM refuses.
fn remedy_for_query(config: &Config, reason: &Reason, crm: &CrmFindings) -> String {
    let similar_tables = &crm.similar_tables;
    let role = crm.role.as_ref();
    let role = role.map_or_else(|| "the role of crm.url".to_owned(), |role| format!("\"{}\"", role.name));
    let (columns, table) = match &config.crm.source {
        Source::Table { name, .. } => ("crm.columns", name.to_string()),
        Source::Query(_) => ("crm.query", "the tables of crm.query".to_owned()),
    };
    match (reason.sqlstate(), &config.crm.source) {
        (Some("42P01" | "3F000"), Source::Table { .. }) if !similar_tables.is_empty() => {
            let tables = listed_ids(similar_tables.iter().map(String::as_str), NAMES_SHOWN);
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
