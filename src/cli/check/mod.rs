//! `check`: whether everything is there that a cycle needs, item by item. Writes nothing anywhere.

mod crm;
mod files;
mod outlook;
mod state;
#[cfg(test)]
mod tests;

use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;

use self::{crm::CrmFindings, state::StateFindings};
use super::{
    Context, Exit, Format,
    page::{Advice, Mark, Page},
    plan::{self, PlanView},
    setup,
    text::counted,
};
use crate::{
    delivery::Interruption,
    wazzup::{Client, Error as WazzupError, Gate},
};

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

#[derive(Debug)]
struct Findings {
    crm: CrmFindings,
    state: StateFindings,
    /// Whether Wazzup answers and accepts the key.
    wazzup: Result<(), WazzupError>,
    /// What the next cycle would do; `None` if the CRM or the state cannot be read.
    plan: Option<PlanView>,
}

pub(super) async fn check(context: &Context, format: Format) -> anyhow::Result<Exit> {
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
            plan = Some(plan::plan_of(&engine, roster, peek, wazzup.is_err()).await);
        }
        (roster, _) => crm.roster = roster,
    }
    let findings = Findings {
        crm,
        state,
        wazzup,
        plan,
    };
    let mut report = Report::new();
    files::report(&mut report, context);
    report.add_findings(context, &findings);
    format.print(&report, |page| report.write(page))?;
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

async fn ask_wazzup(client: &Client) -> Result<(), WazzupError> {
    let session = client.session(Gate::without_lease(CancellationToken::new()))?;
    session.confirm_usable().await
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

    fn add_findings(&mut self, context: &Context, findings: &Findings) {
        crm::report(self, context, findings);
        state::report(self, context, findings);
        let url = &context.config.wazzup.base_url;
        match &findings.wazzup {
            Ok(()) => {
                self.add("Wazzup", Advice::good(format!("{url} answers")));
                self.add("API key", Advice::good("accepted"));
            }
            Err(error) => {
                let is_key = matches!(
                    error,
                    WazzupError::Key { .. }
                        | WazzupError::Interrupted(Interruption::Unauthorized | Interruption::Forbidden)
                );
                let label = if is_key { "API key" } else { "Wazzup" };
                // The error says what to do about it.
                self.add(label, Advice::bad(format!("{url}: {error}")));
            }
        }
        outlook::report(self, context, findings);
    }

    fn write(&self, page: &mut Page) {
        for item in &self.items {
            page.advice(item.label, &item.advice);
        }
        page.blank();
        let count = |mark| self.items.iter().filter(|item| item.advice.mark == mark).count();
        let mut summary = match count(Mark::Bad) {
            0 => "Everything that a cycle needs is there".to_owned(),
            failed => format!("{} to correct", counted(failed, "item")),
        };
        let warnings = count(Mark::Warning);
        if warnings > 0 {
            summary.push_str(&format!("; {}", counted(warnings, "warning")));
        }
        page.paragraph(&format!("{summary}."));
    }
}
