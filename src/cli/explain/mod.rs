//! `explain ID`: one person's whole way, from the CRM's row to what to do.
//!
//! Here, on the terminal of an operator who asked, names and phones are shown.

mod evidence;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Context, Exit, Format, UsageError, holds::serialize_holds, invocation::Invocation, page::Advice, setup};
use crate::{
    crm::CrmRow,
    employee::RowProblem,
    plan::{Acknowledged, Failure, Holds, LostEntry, Operation, Plan, User},
    state::HistoryEntry,
    wazzup::RemoteUser,
};

/// The answer. Serialised, it is the one for programs; `docs/json.md` documents it.
#[derive(Serialize)]
struct Explanation {
    version: u8,
    #[serde(flatten)]
    findings: Findings,
    verdict: Advice,
}

#[derive(Serialize)]
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
    failures: Vec<Failure>,
    #[serde(serialize_with = "serialize_holds")]
    held: Holds,
    /// Newest first.
    history: Vec<HistoryEntry>,
    /// What the next cycle does; `None` if the CRM or the state cannot be read.
    #[serde(skip)]
    plan: Option<Plan>,
    /// The state's clock.
    #[serde(skip)]
    now: Timestamp,
    /// A process holds the lease, so cycles run by themselves.
    #[serde(skip)]
    is_running: bool,
    /// Key and address are not those with which Wazzup's list last passed: it may be another account that was asked.
    #[serde(skip)]
    is_other_account: bool,
    #[serde(skip)]
    grace: SignedDuration,
    #[serde(skip)]
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

/// What Wazzup says right now.
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
    let engine = setup::engine(&context.config);
    let findings = evidence::gather(&engine, id, &context.invocation).await;
    let explanation = Explanation::new(findings);
    format.print(&explanation, |page| text::write(page, &explanation))?;
    let is_nothing_known = explanation.findings.crm_error.is_some() && explanation.findings.state_error.is_some();
    Ok(if is_nothing_known { Exit::Failed } else { Exit::Ok })
}

impl Explanation {
    fn new(findings: Findings) -> Self {
        Self {
            version: 1,
            verdict: verdict::of(&findings),
            findings,
        }
    }
}

impl Findings {
    fn failure(&self, operation: Operation) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.operation == operation)
    }
}
