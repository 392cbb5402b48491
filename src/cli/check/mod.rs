//! `check`: whether everything is there that a cycle needs, item by item. Writes nothing anywhere.

mod crm;
mod files;
mod outlook;
mod state;
#[cfg(test)]
mod tests;
mod wazzup;

use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;

use self::{crm::CrmFindings, state::StateFindings};
use super::{
    Context, Exit, Format,
    invocation::Invocation,
    page::{Advice, Mark, Page},
    plan::{self, PlanView},
    setup,
};
use crate::{
    config::Config,
    delivery::{Request, Verdict},
    wazzup::{Client, Error as WazzupError, Gate},
};

/// Columns of the labels.
const MARGIN: usize = 14;

/// How many ids, columns, tables or roles an item names.
const NAMES_SHOWN: usize = 6;

/// What was looked at, and what was found. Serialised, it is the answer for programs; `docs/json.md` documents it.
#[derive(Debug, Serialize)]
struct Report {
    version: u8,
    /// No item failed.
    ok: bool,
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    #[serde(rename = "item", serialize_with = "in_snake_case")]
    label: &'static str,
    #[serde(flatten)]
    advice: Advice,
}

fn in_snake_case<S: Serializer>(label: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&label.to_lowercase().replace(' ', "_"))
}

/// What was found out about the surroundings.
#[derive(Debug)]
struct Findings {
    crm: CrmFindings,
    state: StateFindings,
    /// What one cheap request came to; an error if there is no usable key.
    wazzup: Result<Verdict, WazzupError>,
    /// What the next cycle would do; `None` if the CRM or the state cannot be read.
    plan: Option<PlanView>,
}

/// What the items are told from.
#[derive(Debug, Clone, Copy)]
struct Setup<'a> {
    config: &'a Config,
    invocation: &'a Invocation,
}

pub(super) async fn check(context: &Context, format: Format) -> anyhow::Result<Exit> {
    let findings = find_out(context).await?;
    let setup = Setup {
        config: &context.config,
        invocation: &context.invocation,
    };
    let mut report = Report::new();
    files::report(&mut report, setup, &context.config_path);
    report.add_findings(setup, &findings);
    format.print(&report, MARGIN, |page| report.write(page))?;
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

async fn find_out(context: &Context) -> anyhow::Result<Findings> {
    let engine = setup::engine(&context.config);
    // At the same time: where all three are down, their time limits are waited for once.
    let ((mut crm, rows), (state, peek), wazzup) = tokio::join!(
        crm::ask(&engine.crm, context.config.schema.as_str()),
        state::ask(&engine.state),
        ask_wazzup(&engine.wazzup)
    );
    let phones = match &peek {
        Some(peek) => engine.phone_reader.knowing(peek.snapshot.known_phones()),
        None => engine.phone_reader.clone(),
    };
    let roster = rows.map(|rows| rows.roster(phones));
    let mut plan = None;
    match (roster, peek) {
        (Some(roster), Some(peek)) => {
            let offline = !is_usable(&wazzup);
            plan = Some(plan::plan_of(&engine, roster, peek, offline).await);
        }
        (roster, _) => crm.roster = roster,
    }
    Ok(Findings {
        crm,
        state,
        wazzup,
        plan,
    })
}

async fn ask_wazzup(client: &Client) -> Result<Verdict, WazzupError> {
    let session = client.session(Gate::without_lease(CancellationToken::new()))?;
    Ok(session.send(&Request::Ping).await.verdict)
}

/// Whether Wazzup answers and accepts the key.
fn is_usable(wazzup: &Result<Verdict, WazzupError>) -> bool {
    matches!(wazzup, Ok(Verdict::Accepted { .. }))
}

impl Report {
    fn new() -> Self {
        Self {
            version: 1,
            ok: true,
            items: Vec::new(),
        }
    }

    fn add(&mut self, label: &'static str, advice: Advice) {
        self.ok &= advice.mark != Mark::Bad;
        self.items.push(Item { label, advice });
    }

    fn add_findings(&mut self, setup: Setup<'_>, findings: &Findings) {
        crm::report(self, setup, findings);
        state::report(self, setup, findings);
        wazzup::report(self, setup, findings);
        outlook::report(self, setup, findings);
    }

    fn write(&self, page: &mut Page) {
        for item in &self.items {
            page.advice(item.label, &item.advice);
        }
        page.blank();
        page.paragraph(&self.summary());
    }

    fn summary(&self) -> String {
        let count = |mark| self.items.iter().filter(|item| item.advice.mark == mark).count();
        let warnings = match count(Mark::Warning) {
            0 => String::new(),
            1 => ", and there is 1 warning".to_owned(),
            warnings => format!(", and there are {warnings} warnings"),
        };
        match count(Mark::Bad) {
            0 => format!("Everything that a cycle needs is there{warnings}."),
            1 => format!("1 item has to be corrected{warnings}."),
            failed => format!("{failed} items have to be corrected{warnings}."),
        }
    }
}
