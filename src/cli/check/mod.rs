//! `check`: whether everything is there that a cycle needs, item by item. Writes nothing anywhere.

mod databases;
mod files;
#[cfg(test)]
mod tests;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    Context, Exit, Format,
    holds::grouped,
    page::{Advice, Mark, Page},
    plan::PlanView,
    setup,
    text::counted,
};
use crate::{
    delivery::Interruption,
    plan::Coverage,
    wazzup::{Client, Error as WazzupError},
};

/// The seats of an account, where Wazzup has not said how many there are (its documentation).
const DOCUMENTED_SEATS: usize = 1_000;

/// What was looked at, and what was found.
#[derive(Debug, Default)]
struct CheckReport {
    items: Vec<CheckItem>,
}

#[derive(Debug, Serialize)]
struct CheckItem {
    #[serde(rename = "item", serialize_with = "in_snake_case")]
    label: &'static str,
    #[serde(flatten)]
    advice: Advice,
}

fn in_snake_case<S: Serializer>(label: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&label.to_lowercase().replace(' ', "_"))
}

pub(super) async fn check(context: &Context, format: Format) -> anyhow::Result<Exit> {
    let Context { config, engine, .. } = context;
    let mut report = CheckReport::default();
    files::report(&mut report, context);
    databases::report_urls(&mut report, config);
    // At the same time: where all three are down, their time limits are waited for once.
    let ((crm, rows), (state, peek), wazzup) = tokio::join!(
        databases::check_crm(config, &engine.crm),
        databases::check_state(config, &engine.state),
        ask_wazzup(&engine.wazzup)
    );
    let view = match (rows, peek) {
        (Some(rows), Some(peek)) => Some(PlanView::read(context, &rows, peek, wazzup.is_ok()).await),
        _ => None,
    };
    report.items.extend(crm.items);
    if let Some(view) = &view {
        databases::report_rows(&mut report, context, &view.plan);
    }
    report.items.extend(state.items);
    report.add_wazzup(context, &wazzup);
    report.add_outlook(context, view.as_ref().filter(|_| wazzup.is_ok()));
    format.print(&report.json(), |page| report.write(page))?;
    Ok(if report.is_ok() { Exit::Ok } else { Exit::Failed })
}

async fn ask_wazzup(client: &Client) -> Result<(), WazzupError> {
    let session = client.session(setup::gate())?;
    Ok(session.confirm_usable().await?)
}

impl CheckReport {
    fn add(&mut self, label: &'static str, advice: Advice) {
        self.items.push(CheckItem { label, advice });
    }

    fn good(&mut self, label: &'static str, reason: impl Into<String>) {
        self.add(label, Advice::good(reason));
    }

    fn warn(&mut self, label: &'static str, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(label, Advice::warning(reason).with(remedy));
    }

    /// What failed with `error`, which says what to do about it.
    fn fail(&mut self, label: &'static str, error: &impl ToString) {
        self.add(label, Advice::bad(error.to_string()));
    }

    fn is_ok(&self) -> bool {
        self.items.iter().all(|item| item.advice.mark != Mark::Failed)
    }

    fn add_wazzup(&mut self, context: &Context, answer: &Result<(), WazzupError>) {
        let url = &context.config.wazzup.base_url;
        match answer {
            Ok(()) => self.good("Wazzup", format!("{url} answers and accepts the API key")),
            Err(error) => {
                let is_key = matches!(
                    error,
                    WazzupError::Key { .. }
                        | WazzupError::Interrupted(Interruption::Unauthorized | Interruption::Forbidden)
                );
                let label = if is_key { "API key" } else { "Wazzup" };
                self.fail(label, &format!("{url}: {error}"));
            }
        }
    }

    /// What the next cycle would do, if that can be told.
    fn add_outlook(&mut self, context: &Context, view: Option<&PlanView>) {
        let Some(view) = view else {
            let reason = "it is not known yet what the next cycle would do";
            self.warn("Next cycle", reason, "first correct the items above");
            return;
        };
        report_list(self, context, view);
        if view.list.is_complete() {
            self.add("Seats", seats(view));
        }
        self.good("Next cycle", view.summary().join(" "));
        for group in grouped(view.plan.unapproved_holds()) {
            let mut advice = group.advice(view.plan.managed, &context.invocation, view.now);
            advice.mark = Mark::Warning;
            self.add("Held", advice);
        }
    }

    /// For programs; `docs/json.md` documents it.
    fn json(&self) -> Value {
        json!({"version": 1, "ok": self.is_ok(), "items": self.items})
    }

    fn write(&self, page: &mut Page) {
        for item in &self.items {
            page.advice(item.label, &item.advice);
        }
        page.blank();
        let count = |mark| self.items.iter().filter(|item| item.advice.mark == mark).count();
        let warnings = counted(count(Mark::Warning), "warning");
        page.paragraph(&match count(Mark::Failed) {
            0 => format!("Everything that a cycle needs is there; {warnings}."),
            failed => format!("{} to correct; {warnings}.", counted(failed, "item")),
        });
    }
}

fn report_list(report: &mut CheckReport, context: &Context, view: &PlanView) {
    let check = context.invocation.command("check");
    match &view.list_problem {
        None => report.good(
            "User list",
            format!("complete: {}", counted(view.list.users().count(), "user")),
        ),
        Some(problem) if matches!(view.list.coverage(), Coverage::Incomplete(_)) => {
            let remedy = format!("run {check} again later; meanwhile, users who were deleted by hand are not noticed");
            report.warn("User list", problem, remedy);
        }
        Some(problem) => {
            let remedy = format!("run {check} again: Wazzup answered a moment ago");
            report.add("User list", Advice::bad(problem).with(remedy));
        }
    }
}

fn seats(view: &PlanView) -> Advice {
    let plan = &view.plan;
    let used = view.list.users().count();
    // A limit that is exceeded has been raised since.
    let known_limit = view.snapshot.account.seats.limit.filter(|limit| *limit >= used);
    let limit = known_limit.unwrap_or(DOCUMENTED_SEATS);
    let additions = plan.upserts.iter().filter(|upsert| upsert.takes_seat).count();
    let wanted = additions + plan.waiting_for_seat().count();
    let needed = (used + wanted).saturating_sub(plan.removals.len());
    let foreign = plan.drift.foreign;
    let reason = format!(
        "{used} of {limit} used, {foreign} of them by users that are not ours; {needed} are needed after the next cycle"
    );
    if needed <= limit || wanted == 0 {
        return Advice::good(reason);
    }
    let waiting = counted((needed - limit).min(wanted), "employee");
    Advice::warning(format!("{reason}: {waiting} will have to wait for a seat"))
        .with("book more seats, or remove users in Wazzup whom nobody needs")
}
