//! `explain ID`: one person's whole way, from the CRM's row to what to do.
//!
//! Here, on the terminal of an operator who asked, names and phones are shown.

mod evidence;
#[cfg(test)]
mod tests;
mod verdict;

use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Context, Exit, Format, UsageError,
    holds::{holds_as_json, single_hold_in_words},
    invocation::Invocation,
    page::Page,
    plan::PlanView,
};
use crate::{
    crm::CrmRow,
    employee::RowProblem,
    plan::{Acknowledged, Failure, Holds, LostEntry, OpenFailure, Operation, User},
    state::HistoryEntry,
    wazzup::RemoteUser,
};

struct Findings {
    id: String,
    /// `None` if the CRM cannot be read.
    crm: Option<InCrm>,
    crm_error: Option<String>,
    /// What Wazzup is to acknowledge.
    to_send: Option<Acknowledged>,
    /// The user as we know it, if it is one of ours.
    snapshot: Option<User>,
    state_error: Option<String>,
    /// Oldest first.
    lost: Vec<LostEntry>,
    wazzup: Live,
    failures: Vec<OpenFailure>,
    held: Holds,
    /// Newest first.
    history: Vec<HistoryEntry>,
    /// What the next cycle does; `None` if the CRM or the state cannot be read.
    view: Option<PlanView>,
    /// The state's clock.
    now: Timestamp,
    invocation: Invocation,
}

#[derive(Default, Serialize)]
struct InCrm {
    /// The rows with this id, those that are not active too.
    rows: Vec<CrmRow>,
    /// Ids that differ from this one by case or blanks only.
    similar_ids: Vec<String>,
    rejected: Option<RowProblem>,
    /// Who else has the phone: in the CRM, or among our users.
    same_phone: Vec<String>,
    missing_ids: usize,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Live {
    There(RemoteUser),
    Absent,
    /// Wazzup could not be asked, or gave no answer.
    Unknown {
        reason: String,
    },
}

pub(super) async fn explain(context: &Context, id: &str, format: Format) -> anyhow::Result<Exit> {
    if id.trim().is_empty() {
        let plan = context.invocation.command("plan");
        bail!(UsageError(format!(
            "the id is blank, and no user can have such an id; {plan} counts the CRM's rows without an id"
        )));
    }
    let findings = evidence::gather(context, id).await;
    format.print(&findings.json(), |page| findings.write(page))?;
    let is_nothing_known = findings.crm_error.is_some() && findings.state_error.is_some();
    Ok(if is_nothing_known { Exit::Failed } else { Exit::Ok })
}

impl Findings {
    fn failure(&self, operation: Operation) -> Option<&Failure> {
        let mut failures = self.failures.iter().map(|open| &open.failure);
        failures.find(|failure| failure.key.operation == operation)
    }

    /// For programs; `docs/json.md` documents it.
    fn json(&self) -> Value {
        json!({
            "version": 1,
            "id": self.id,
            "crm": self.crm,
            "crm_error": self.crm_error,
            "to_send": self.to_send,
            "snapshot": self.snapshot,
            "state_error": self.state_error,
            "lost": self.lost,
            "wazzup": self.wazzup,
            "failures": self.failures,
            "held": holds_as_json(&self.held),
            "history": self.history,
            "verdict": verdict::of(self),
        })
    }

    fn write(&self, page: &mut Page) {
        let answer = self.json();
        for (key, value) in answer.as_object().into_iter().flatten() {
            match key.as_str() {
                "version" | "verdict" => {}
                "snapshot" => page.field("known", value, self.now),
                "held" => self.write_held(page),
                _ => page.field(key, value, self.now),
            }
        }
        page.advice("verdict", &verdict::of(self));
    }

    fn write_held(&self, page: &mut Page) {
        let user = self.snapshot.as_ref();
        let acknowledged = user.and_then(|user| user.acknowledged.as_ref());
        for (key, hold) in &self.held {
            let text = single_hold_in_words(key, hold, acknowledged, self.now);
            page.line("held", &text);
        }
    }
}
