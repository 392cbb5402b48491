//! What `check` says about the CRM.

use std::collections::BTreeMap;

use super::{
    super::{
        Context,
        holds::missing_ids,
        page::Advice,
        text::{counted, listed_ids, noun_for},
    },
    Findings, Report,
};
use crate::{
    config::DatabaseUrl,
    crm::{Crm, CrmRows, Error, Role, Source, TableSchemas, Unconvertible},
    employee::{Roster, RowProblem},
    plan::Operation,
};

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
            if let Some("42P01" | "3F000") = reason.sqlstate() {
                findings.similar_tables = crm.similar_tables().await.unwrap_or_default();
            }
            findings.error = Some(Error::Query(reason));
        }
    }
    // Where the table is not there, the query's error says so.
    findings.role = crm.role(own_schema).await.ok();
    (findings, rows)
}

pub(super) fn report(report: &mut Report, context: &Context, findings: &Findings) {
    let (config, crm) = (&context.config, &findings.crm);
    let answers = Advice::good(format!("the database at {} answers", config.crm_url.address()));
    // An error says what to do about it.
    match &crm.error {
        None => report.add("CRM", answers),
        Some(error @ Error::Unavailable(_)) => report.add("CRM", Advice::bad(error.to_string())),
        Some(error @ Error::Query(_)) => {
            report.add("CRM", answers);
            let mut advice = Advice::bad(error.to_string());
            if !crm.similar_tables.is_empty() {
                let tables = listed_ids(&crm.similar_tables);
                advice = advice.with(format!("correct crm.table; did you mean one of these: {tables}?"));
            }
            report.add("CRM query", advice);
        }
    }
    report_certificate(report, "CRM", &config.crm_url, "crm.url");
    if let (Some(schemas), Source::Table { name, .. }) = (&crm.ambiguous, &config.source) {
        let (table, read) = (name.to_string(), &schemas.read);
        let others = listed_ids(&schemas.others);
        let in_schemas = noun_for(schemas.others.len(), "schema");
        let reason = format!(
            "crm.table names no schema: {read}.{table} is read, but the {in_schemas} {others} also has a table {table}"
        );
        let remedy = format!("write `table = \"{read}.{table}\"`");
        report.add("CRM table", Advice::warning(reason).with(remedy));
    }
    let planned = findings.plan.as_ref().map(|view| &view.roster);
    if let Some(roster) = planned.or(crm.roster.as_ref()) {
        report_roster(report, context, findings, roster);
    }
    if let Some(role) = &crm.role {
        report_role(report, role);
    }
}

pub(super) fn report_certificate(report: &mut Report, label: &'static str, url: &DatabaseUrl, key: &str) {
    if let Some(warning) = url.ssl_warning() {
        report.add(label, Advice::warning(format!("{key}: {warning}")));
    }
}

fn report_roster(report: &mut Report, context: &Context, findings: &Findings, roster: &Roster) {
    if roster.is_empty() && roster.missing_ids == 0 {
        let remedy = "is this the right table, and is crm.columns.active true for anybody?";
        report.add("CRM query", Advice::warning("the CRM names nobody at all").with(remedy));
        return;
    }
    let employees = counted(roster.eligible(), "employee");
    report.add("CRM query", Advice::good(format!("{employees}; all columns are there")));
    if roster.missing_ids > 0 {
        report.add("Rows", missing_ids(roster.missing_ids, &context.invocation));
    }
    if let Some(unconvertible) = &findings.crm.unconvertible {
        report_unconvertible(report, unconvertible);
    }
    // Who is rejected, and who is synced without phone, by reason.
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
        let ids = listed_ids(ids);
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
        let names = listed_ids(ids);
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
