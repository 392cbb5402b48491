//! `explain ID`: one person's whole way, from the CRM's row to what to do.
//!
//! Here, on the terminal of an operator who asked, names and phones are shown.

mod evidence;
#[cfg(test)]
mod tests;
mod verdict;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Context, Exit, Format,
    holds::{hold_as_json, hold_in_words, noun_for_hold},
    page::Page,
    plan::PlanView,
    text::{ago, in_words},
};
use crate::{
    crm::CrmRow,
    employee::RowProblem,
    plan::{Failure, FailureKey, Hold, HoldKey, LostEntry, NextStep, OpenFailure, Operation},
    state::HistoryEntry,
    wazzup::RemoteUser,
};

struct Findings {
    id: String,
    crm: InCrm,
    crm_error: Option<String>,
    state_error: Option<String>,
    /// The user in Wazzup, if there is one; or why Wazzup does not say.
    wazzup: Result<Option<RemoteUser>, String>,
    /// Newest first.
    history: Vec<HistoryEntry>,
    /// The CRM and the state, as far as they can be read, and what the next cycle does if both can.
    view: PlanView,
}

/// What the CRM says about the id; nothing if it cannot be read.
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

pub(super) async fn explain(context: &Context, id: &str, format: Format) -> anyhow::Result<Exit> {
    let findings = evidence::gather(context, id).await;
    format.print(&findings.json(), |page| findings.write(page))?;
    let is_nothing_known = findings.crm_error.is_some() && findings.state_error.is_some();
    Ok(if is_nothing_known { Exit::Failed } else { Exit::Ok })
}

impl Findings {
    fn lost(&self) -> &[LostEntry] {
        let lost = self.view.snapshot.lost.get(self.id.as_str());
        lost.map_or(&[], Vec::as_slice)
    }

    fn failures(&self) -> impl Iterator<Item = &OpenFailure> {
        let failures = self.view.snapshot.failures.values();
        failures.filter(|open| *open.failure.key.user_id == *self.id)
    }

    fn phone_failure(&self) -> Option<&Failure> {
        let key = FailureKey::new(&self.id, Operation::Phone);
        let open = self.view.snapshot.failures.get(&key)?;
        Some(&open.failure)
    }

    /// A doubted account concerns everybody.
    fn holds(&self) -> impl Iterator<Item = (&HoldKey, &Hold)> {
        let holds = self.view.snapshot.holds.iter();
        holds.filter(|(key, _)| key.concerned_user().is_none_or(|id| id == self.id))
    }

    /// What Wazzup is to acknowledge.
    fn to_send(&self) -> Value {
        let Some(entry) = self.view.roster.get(&self.id) else {
            return Value::Null;
        };
        let phone = match self.view.plan.next_steps().get(self.id.as_str()) {
            Some(NextStep::Send(upsert)) => upsert.entry.employee.phone,
            _ if self.phone_failure().is_some() => None,
            _ => entry.employee.phone,
        };
        json!({"name": entry.employee.name, "phone": phone})
    }

    /// For programs; `docs/json.md` documents it.
    fn json(&self) -> Value {
        json!({
            "version": 1,
            "id": self.id,
            "crm": self.crm_error.is_none().then_some(&self.crm),
            "crm_error": self.crm_error,
            "to_send": self.to_send(),
            "snapshot": self.view.snapshot.users.get(self.id.as_str()),
            "state_error": self.state_error,
            "lost": self.lost(),
            "wazzup": match &self.wazzup {
                Ok(Some(user)) => json!({"status": "there", "name": user.name, "phone": user.phone}),
                Ok(None) => json!({"status": "absent"}),
                Err(reason) => json!({"status": "unknown", "reason": reason}),
            },
            "failures": self.failures().collect::<Vec<_>>(),
            "held": self.holds().map(hold_as_json).collect::<Value>(),
            "history": self.history,
            "verdict": verdict::of(self),
        })
    }

    fn write(&self, page: &mut Page) {
        let answer = self.json();
        for (key, value) in answer.as_object().into_iter().flatten() {
            match key.as_str() {
                "version" | "verdict" => {}
                "snapshot" => page.field("known", value, self.view.now),
                "held" => self.write_holds(page),
                _ => page.field(key, value, self.view.now),
            }
        }
        page.advice("verdict", &verdict::of(self));
    }

    /// What is held, for how long, what exactly, why, and who approved it.
    fn write_holds(&self, page: &mut Page) {
        let now = self.view.now;
        for (key, hold) in self.holds() {
            let lasts = if hold.since < now {
                format!("for {}", in_words(now.duration_since(hold.since)))
            } else {
                "from the next cycle on".to_owned()
            };
            let mut parts = vec![format!("{}, {lasts}", noun_for_hold(key.kind))];
            parts.push(hold_in_words(key, hold, &self.view.snapshot));
            parts.push(hold.reason.clone());
            if let Some(approval) = &hold.approved {
                parts.push(format!("approved by {} {}", approval.by, ago(now, approval.at)));
            }
            parts.retain(|part| !part.is_empty());
            page.line("held", &parts.join("; "));
        }
    }
}
