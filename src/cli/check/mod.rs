//! `check`: whether everything is there that a cycle needs, item by item. Writes nothing anywhere.

mod crm;
mod files;
mod outlook;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod wazzup;

use self::{
    crm::{CrmFindings, ask_crm},
    report::Report,
    state::{StateFindings, ask_state},
    wazzup::{WazzupFindings, ask_wazzup},
};
use super::{
    Context, Error, Exit, Format,
    invocation::Invocation,
    page::{self, Page},
    plan::{self, PlanView},
    setup,
};
use crate::config::Config;

/// What was found out about the surroundings.
#[derive(Debug)]
struct Findings {
    crm: CrmFindings,
    state: StateFindings,
    wazzup: WazzupFindings,
    /// What the next cycle would do; `None` if the CRM or the state cannot be read.
    plan: Option<PlanView>,
}

/// What the items are told from.
#[derive(Debug, Clone, Copy)]
struct Setup<'a> {
    config: &'a Config,
    invocation: &'a Invocation,
}

pub(super) async fn check(context: &Context, format: Format) -> Result<Exit, Error> {
    let findings = find_out(context).await?;
    let setup = Setup {
        config: &context.config,
        invocation: &context.invocation,
    };
    let mut report = Report::default();
    files::report(&mut report, setup, &context.config_path);
    report_findings(&mut report, setup, &findings);
    match format {
        Format::Text => {
            let mut page = Page::new(report::MARGIN);
            report.write(&mut page);
            page.print()?;
        }
        Format::Json => page::print_json(&report.to_json(&outlook::to_json(&findings)))?,
    }
    Ok(if report.is_ok() { Exit::Ok } else { Exit::Failed })
}

async fn find_out(context: &Context) -> Result<Findings, Error> {
    let engine = setup::engine(&context.config)?;
    // At the same time: where all three are down, their time limits are waited for once.
    let (mut crm, mut state, wazzup) = tokio::join!(
        ask_crm(&engine.crm, context.config.state.schema.as_str()),
        ask_state(&engine.state),
        ask_wazzup(&engine.wazzup)
    );
    let rows = crm.rows.take();
    let plan = match (rows, state.peek.take()) {
        (Some(rows), Some(peek)) => {
            let roster = rows.roster(engine.phones.knowing(peek.snapshot.known_phones()));
            let offline = !wazzup.is_usable();
            Some(plan::plan_of(&engine, roster, peek, offline).await)
        }
        (Some(rows), None) => {
            crm.roster = Some(rows.roster(engine.phones.clone()));
            None
        }
        (None, _) => None,
    };
    Ok(Findings {
        crm,
        state,
        wazzup,
        plan,
    })
}

fn report_findings(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    crm::report(report, setup, findings);
    state::report(report, setup, findings);
    wazzup::report(report, setup, findings);
    outlook::report(report, setup, findings);
}
