//! `status`: how the account stands. Reads the state only.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Context, Exit, Format,
    holds::{grouped, hold_as_json},
    invocation::Invocation,
    page::{Advice, Mark, Page},
    plan::advice::{missing_ids, unknown_account},
    text::{ago, counted, in_words, listed_ids, until},
};
use crate::{
    employee::EmployeeId,
    plan::{Failure, HoldKind, OpenFailure, Operation},
    state::{Counts, CycleOutcome, LastCycle, Overview},
};

/// How many of the cycles that did something are read, and shown to people.
const CYCLES: u32 = 20;
const CYCLES_SHOWN: usize = 3;

struct StatusView<'o> {
    account: &'o str,
    /// The other accounts in the schema, if this one is unknown: its name may be mistyped.
    other_accounts: Vec<String>,
    overview: &'o Overview,
    unhealthy_after: SignedDuration,
    invocation: &'o Invocation,
}

pub(super) async fn status(context: &Context, format: Format) -> anyhow::Result<Exit> {
    let state = &context.engine.state;
    let mut overview = Overview::default();
    let mut other_accounts = Vec::new();
    if state.is_there().await? {
        overview = state.overview(CYCLES).await?;
        // Nobody ever held the account's lease.
        if overview.account.lease.is_none() && overview.account.last_cycle.is_none() {
            other_accounts = state.other_accounts().await?;
        }
    }
    let view = StatusView {
        account: &context.config.account,
        other_accounts,
        overview: &overview,
        unhealthy_after: context.engine.unhealthy_after,
        invocation: &context.invocation,
    };
    format.print(&view.json(), |page| view.write(page))?;
    Ok(Exit::Ok)
}

impl StatusView<'_> {
    fn counts(&self) -> Counts {
        let last_cycle = self.overview.account.last_cycle.as_ref();
        last_cycle.map(|cycle| cycle.counts).unwrap_or_default()
    }

    /// For programs; `docs/json.md` documents it.
    fn json(&self) -> Value {
        let counts = self.counts();
        let account = &self.overview.account;
        let holds = &self.overview.holds;
        let removals = holds
            .iter()
            .filter(|(key, hold)| key.kind == HoldKind::Remove && hold.approved.is_none());
        let held_removals: Vec<&str> = removals.map(|(key, _)| &*key.user_id).collect();
        let mut answer = json!({
            "version": 1,
            "account": self.account,
            "other_accounts": self.other_accounts,
            "eligible": counts.eligible,
            "in_sync": counts.in_sync,
            "pending": counts.pending,
            "counts": counts,
            "waiting_for_seat": account.facts.waiting_for_seat,
            "seats": {
                "used": account.facts.seats.used,
                "foreign": account.foreign_users,
                "limit": account.facts.seats.limit,
                "counted_at": account.seats_counted_at,
            },
            "held": holds.iter().map(hold_as_json).collect::<Value>(),
            "held_removals": held_removals,
        });
        for (key, value) in json!(self.overview).as_object().into_iter().flatten() {
            answer[key] = value.clone();
        }
        answer
    }

    fn write(&self, page: &mut Page) {
        let overview = self.overview;
        let now = overview.account.now;
        page.line("account", self.account);
        if let Some(unknown) = unknown_account(self.account, &self.other_accounts) {
            page.advice("", &unknown);
        }
        match &overview.account.last_cycle {
            None => {
                let (run, once) = (self.invocation.command("run"), self.invocation.command("once"));
                let advice = Advice::warning("no cycle has ended yet");
                let remedy = format!("unless one is running, {run} starts the daemon, {once} runs one cycle");
                page.advice("last cycle", &advice.with(remedy));
            }
            Some(cycle) => self.write_last_cycle(page, cycle),
        }
        let answer = self.json();
        for key in [
            "counts",
            "managed",
            "leaving",
            "unsettled",
            "seats",
            "list_passed_at",
            "lease",
        ] {
            page.field(key, &answer[key], now);
        }
        if self.counts().missing_ids > 0 {
            page.advice("missing ids", &missing_ids(self.counts().missing_ids, self.invocation));
        }
        self.write_holds(page);
        let waiting = &overview.account.facts.waiting_for_seat;
        if !waiting.is_empty() {
            let (employees, ids) = (
                counted(waiting.len(), "employee"),
                listed_ids(waiting.iter().map(EmployeeId::as_str)),
            );
            let advice = Advice::warning(format!("{employees} for a seat: {ids}"));
            let retry = self.invocation.command("retry");
            let remedy = format!("remove users in Wazzup or book more seats; {retry} then tries in the next cycle");
            page.advice("waiting", &advice.with(remedy));
        }
        self.write_failing(page);
        let added = &overview.added_lately;
        if !added.is_empty() {
            let (users, ids) = (counted(added.len(), "user"), listed_ids(added));
            page.line("added lately", &format!("{users} in 7 days: {ids}"));
            page.remedy("give each of them a role in Wazzup: without a role, a user sees no chats");
        }
        for cycle in overview.recent_cycles.iter().take(CYCLES_SHOWN) {
            page.field("recent_cycles", &json!(cycle), now);
        }
    }

    fn write_last_cycle(&self, page: &mut Page, cycle: &LastCycle) {
        let account = &self.overview.account;
        let mark = match cycle.outcome {
            CycleOutcome::InSync => Mark::Ok,
            CycleOutcome::Incomplete => Mark::Warning,
            CycleOutcome::Failed => Mark::Failed,
        };
        let (outcome, ended) = (
            cycle.outcome.as_ref().replace('_', " "),
            ago(account.now, cycle.finished_at),
        );
        page.advice("last cycle", &Advice::new(mark, format!("{outcome}, ended {ended}")));
        let check = self.invocation.command("check");
        if let Some(error) = &cycle.error {
            page.line("", error);
            page.remedy(&format!(
                "every cycle tries again by itself; {check} says whether something has to be corrected"
            ));
            page.field("last_success_at", &json!(account.last_success_at), account.now);
        }
        let quiet_for = account.now.duration_since(cycle.finished_at);
        if quiet_for > self.unhealthy_after {
            let silence = Advice::bad(format!("no cycle has ended for {}", in_words(quiet_for)));
            let remedy = format!("see whether the daemon is running, and its log; {check} tests what it needs");
            page.advice("", &silence.with(remedy));
        }
    }

    fn write_holds(&self, page: &mut Page) {
        let now = self.overview.account.now;
        for group in grouped(&self.overview.holds) {
            page.advice("held", &group.advice(self.overview.managed, self.invocation, now));
            page.line("", &listed_ids(group.ids()));
        }
    }

    /// One paragraph for each kind of failure.
    fn write_failing(&self, page: &mut Page) {
        let mut kinds: BTreeMap<(Operation, &str, &str), Vec<&OpenFailure>> = BTreeMap::new();
        for open in &self.overview.failing {
            let Failure { key, code, detail, .. } = &open.failure;
            kinds.entry((key.operation, code, detail)).or_default().push(open);
        }
        for ((operation, code, detail), failures) in kinds {
            let (users, operation) = (counted(failures.len(), "user"), operation.as_ref());
            page.advice(
                "failing",
                &Advice::bad(format!("{users} ({operation}), {code}: {detail}")),
            );
            page.line("", &who_and_when(self.overview.account.now, &failures));
        }
        if let Some(example) = self.overview.failing.first() {
            let explain = self.invocation.command_for("explain", &example.failure.key.user_id);
            page.remedy(&format!("{explain} says what to do about one of them"));
        }
    }
}

/// `12, 13; tried again in 5 min`.
fn who_and_when(now: Timestamp, failures: &[&OpenFailure]) -> String {
    let ids = listed_ids(failures.iter().map(|open| &*open.failure.key.user_id));
    match failures.iter().filter_map(|open| open.next_attempt_at).min() {
        Some(at) => format!("{ids}; tried again {}", until(now, at)),
        None => format!("{ids}; synced as soon as the CRM is corrected"),
    }
}
