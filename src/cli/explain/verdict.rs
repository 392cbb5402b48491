//! What it all comes to, and what to do about it: the first rule that applies tells.

use super::{
    super::{
        holds::{noun_for_hold, remedy_for_hold},
        page::Advice,
        text::{ago, counted, in_words, until},
    },
    Findings, InCrm, Live,
};
use crate::{
    employee::{EmployeeId, RowProblem},
    plan::{Change, Failure, Operation, Plan, StayReason},
    state::HistoryOperation,
};

/// The answer to "why is Anna not in Wazzup?".
pub(super) fn of(findings: &Findings) -> Advice {
    let (Some(crm), Some(plan)) = (&findings.crm, &findings.plan) else {
        let reason = match (&findings.crm_error, &findings.state_error) {
            (Some(_), Some(_)) => "nothing can be told: neither the CRM nor the state can be read",
            (Some(_), None) => {
                "whether the CRM wants this person in Wazzup cannot be told, and until then nothing changes"
            }
            (None, _) => "what was done so far cannot be told without the state",
        };
        let check = findings.invocation.command("check");
        return Advice::bad(reason).with(format!("{check} says what to do about that"));
    };
    let (unwanted, wish) = if crm.rows.is_empty() {
        ("not in the CRM", "add a row with exactly this id to the CRM")
    } else {
        ("not active in the CRM", "make the row in the CRM active")
    };
    let judge = Judge {
        findings,
        crm,
        plan,
        unwanted,
        wish,
    };
    judge
        .rejected()
        .or_else(|| judge.doubted())
        .or_else(|| judge.sent())
        .or_else(|| judge.removed())
        .or_else(|| judge.held())
        .or_else(|| judge.waiting())
        .or_else(|| judge.leaving())
        .unwrap_or_else(|| judge.at_rest())
}

/// Judges where both the CRM and the state are known.
#[derive(Clone, Copy)]
struct Judge<'a> {
    findings: &'a Findings,
    crm: &'a InCrm,
    plan: &'a Plan,
    /// How the CRM does not want the person in Wazzup.
    unwanted: &'static str,
    /// How the CRM would want it.
    wish: &'static str,
}

impl Judge<'_> {
    fn is_meant(self, id: &EmployeeId) -> bool {
        id.as_str() == self.findings.id
    }

    /// A command about this person.
    fn command(self, verb: &str) -> String {
        self.findings.invocation.command_for(verb, &self.findings.id)
    }

    fn rejected(self) -> Option<Advice> {
        let problem = self.crm.rejected?;
        let mut reason = format!("not synced: {}", problem.reason());
        if self.findings.snapshot.is_some() {
            reason.push_str("; the user in Wazzup stays unchanged");
        }
        Some(Advice::bad(reason).with(problem.remedy()))
    }

    fn doubted(self) -> Option<Advice> {
        let is_concerned = self.findings.to_send.is_some() || self.findings.snapshot.is_some();
        if !is_concerned || !self.plan.doubts_account() {
            return None;
        }
        let invocation = &self.findings.invocation;
        let (status, approve) = (invocation.command("status"), invocation.command("approve"));
        let reason = "nothing is sent for anybody until it is certain that this is the right Wazzup account";
        Some(Advice::bad(reason).with(format!(
            "{status} says what was seen; if the account is the right one: {approve}"
        )))
    }

    /// Whoever is sent in the next cycle.
    fn sent(self) -> Option<Advice> {
        let upserts = self.plan.upserts.iter().map(|upsert| &upsert.entry);
        let mut entries = upserts.chain(&self.plan.releases);
        let entry = entries.find(|entry| self.is_meant(&entry.employee.id))?;
        let reason = match entry.change {
            Change::Add => "not in Wazzup yet; the next cycle adds the user",
            Change::Adopt => "in Wazzup already under the same name; the next cycle adopts the user",
            Change::TakeOver => "in Wazzup already; the next cycle takes the user over",
            Change::Update => "changed in the CRM; the next cycle sends the change",
            Change::Release => "the next cycle takes the phone away, so that somebody else can have it",
            Change::Resend => "it is uncertain what Wazzup has; the next cycle sends the user again",
        };
        let failed = match self.findings.failure(Operation::Upsert) {
            Some(failure) => format!("; the last attempt failed ({})", failure.code),
            None => String::new(),
        };
        Some(self.in_next_cycle(format!("{reason}{failed}")))
    }

    /// What comes about by itself, if there is a daemon.
    fn in_next_cycle(self, reason: String) -> Advice {
        let advice = Advice::warning(reason);
        if self.findings.is_running {
            return advice;
        }
        let invocation = &self.findings.invocation;
        let (run, once) = (invocation.command("run"), invocation.command("once"));
        advice.with(format!("no daemon is running: {run} starts it, {once} runs one cycle"))
    }

    fn removed(self) -> Option<Advice> {
        let mut removals = self.plan.removals.iter();
        let removal = removals.find(|removal| self.is_meant(&removal.id))?;
        let approved = if removal.approved { ", as was approved" } else { "" };
        let reason = format!("{}; the next cycle removes the user{approved}", self.unwanted);
        Some(Advice::warning(reason).with(self.to_keep()))
    }

    fn to_keep(self) -> String {
        format!("to keep the user, {}", self.wish)
    }

    fn held(self) -> Option<Advice> {
        let mut holds = self.plan.unapproved_holds();
        let (key, hold) = holds.find(|(key, _)| *key.user_id == *self.findings.id)?;
        let mut approve = self.command("approve");
        if hold.since >= self.findings.now {
            approve.push_str(", once a cycle has held this");
        }
        let (what, remedy) = (noun_for_hold(key.kind), remedy_for_hold(key.kind, &approve));
        let reason = format!("the {what} has to be approved; until then, nothing changes in Wazzup");
        Some(Advice::bad(reason).with(remedy))
    }

    /// An employee who is not sent in the next cycle.
    fn waiting(self) -> Option<Advice> {
        let (plan, retry) = (self.plan, self.command("retry"));
        let mut waiting = plan.waiting_for_leavers.iter();
        if let Some(waiting) = waiting.find(|waiting| self.is_meant(&waiting.id)) {
            let leaver = &waiting.leaver;
            let explain = self.findings.invocation.command_for("explain", leaver.as_str());
            return Some(
                Advice::warning(format!(
                    "waits for “{leaver}”, who has the same name or phone and is leaving: perhaps the same person under \
                     a new id"
                ))
                .with(format!(
                    "nothing: this goes on once “{leaver}” is removed or back in the CRM; {explain} says what that takes"
                )),
            );
        }
        if plan.waiting_for_seat.iter().any(|id| self.is_meant(id)) {
            let reason = "waits for a seat: the Wazzup account has no room for another user";
            return Some(Advice::warning(reason).with(format!(
                "remove users in Wazzup or book more seats; {retry} then tries in the next cycle"
            )));
        }
        if plan.backing_off.iter().any(|id| self.is_meant(id)) {
            let failure = self.findings.failure(Operation::Upsert)?;
            let reason = format!("not synced ({})", self.failed_attempt(failure));
            let remedy = if failure.code == "INVALID_USERS_DATA" {
                "correct the id and the name in the CRM: what changed is sent in the next cycle".to_owned()
            } else {
                format!("{retry} tries in the next cycle; Wazzup's support can look up the request")
            };
            return Some(Advice::bad(reason).with(remedy));
        }
        if plan.pending.iter().any(|id| self.is_meant(id)) {
            let who = self.findings.invocation.command("plan");
            let reason = "waits for somebody who is leaving to give up the phone; everything else is synced";
            return Some(Advice::warning(reason).with(format!("nothing: {who} shows who waits for whom")));
        }
        None
    }

    /// `HTTP_500; the next attempt is in 5 min`.
    fn failed_attempt(self, failure: &Failure) -> String {
        let now = self.findings.now;
        let next = until(now, failure.next_attempt_at.unwrap_or(now));
        format!("{}; the next attempt is {next}", failure.code)
    }

    /// A user who is missing from the CRM and stays for now.
    fn leaving(self) -> Option<Advice> {
        let (findings, unwanted) = (self.findings, self.unwanted);
        let staying = self.plan.staying.iter().find(|user| self.is_meant(&user.id))?;
        Some(match staying.reason {
            StayReason::InGrace => {
                let grace = in_words(findings.grace);
                Advice::warning(format!(
                    "{unwanted}; removed once that has lasted {grace} (removals.grace), unless the person comes back"
                ))
                .with(self.to_keep())
            }
            StayReason::Kept => Advice::warning(format!(
                "{unwanted}; the user stays in Wazzup, since removals.policy is \"keep\""
            )),
            StayReason::BackingOff => {
                let failed = self.failed_attempt(findings.failure(Operation::Remove)?);
                let retry = self.command("retry");
                Advice::bad(format!("{unwanted}, and the removal failed ({failed})"))
                    .with(format!("remove the user in Wazzup by hand, or try now: {retry}"))
            }
            StayReason::Unknown => self.in_next_cycle(format!(
                "{unwanted}; Wazzup has to say first whether the user is there and ours"
            )),
        })
    }

    /// The next cycle has nothing to do with the id.
    fn at_rest(self) -> Advice {
        if self.findings.to_send.is_some() {
            self.in_wazzup()
        } else if self.findings.snapshot.is_some() {
            Advice::good("removed; since a request got no answer, it is made certain that the user stays away")
        } else {
            self.not_ours()
        }
    }

    fn in_wazzup(self) -> Advice {
        let (findings, retry) = (self.findings, self.command("retry"));
        let name = findings.to_send.as_ref().map(|wanted| wanted.name.as_str());
        let is_asked = !matches!(findings.wazzup, Live::Unknown { .. });
        if is_asked && findings.is_other_account {
            let check = findings.invocation.command("check");
            let reason =
                "the key or wazzup.base_url has changed since the last comparison: perhaps another account was asked";
            return Advice::warning(reason).with(format!("{check} says whether this is the right account"));
        }
        let edited = match &findings.wazzup {
            Live::Absent => Some(Advice::bad("somebody deleted the user in Wazzup")),
            Live::There(user) if name != Some(user.name.trim()) => {
                Some(Advice::warning("somebody renamed the user in Wazzup"))
            }
            Live::There(_) | Live::Unknown { .. } => None,
        };
        if let Some(advice) = edited {
            return advice.with(format!(
                "{retry} corrects that in the next cycle; the next comparison with Wazzup's list does, too"
            ));
        }
        if let Some(failure) = findings.failure(Operation::Phone) {
            return self.without_phone(failure);
        }
        if !findings.lost.is_empty() {
            return Advice::good("in sync, but not settled yet: the next cycles send the user again to be certain");
        }
        Advice::good(if is_asked {
            "in sync: Wazzup has what the CRM wants"
        } else {
            "in sync as far as we know: Wazzup could not be asked"
        })
    }

    fn without_phone(self, failure: &Failure) -> Advice {
        let problem = RowProblem::parse(&failure.code);
        let why = match problem.filter(|_| failure.is_local) {
            Some(problem) => problem.reason(),
            None => &failure.code,
        };
        let is_duplicate = problem == Some(RowProblem::DuplicatePhoneNumber);
        Advice::warning(format!("in Wazzup, but without the phone: {why}")).with(
            match (is_duplicate, self.crm.same_phone.is_empty()) {
                (true, true) => {
                    "correct the phone in the CRM, or find who has the phone in Wazzup: none of our users has it"
                }
                (true, false) => "let only one person have this phone in the CRM",
                (false, _) => "correct the phone in the CRM: the next cycle sends it",
            },
        )
    }

    /// Not one of our users, or not any more, and the CRM does not want the person in Wazzup.
    fn not_ours(self) -> Advice {
        let (findings, unwanted) = (self.findings, self.unwanted);
        let newest = findings.history.first();
        let removed = newest.filter(|entry| entry.operation == HistoryOperation::Remove);
        let removed = removed.map(|entry| format!("removed from Wazzup {}", ago(findings.now, entry.at)));
        let advice = match (&findings.wazzup, removed) {
            (Live::There(_), removed) => {
                let removed = removed.map(|removed| format!("{removed}; ")).unwrap_or_default();
                return Advice::warning(format!(
                    "{unwanted}; {removed}somebody else created this user in Wazzup: not ours, left alone"
                ))
                .with(
                    "remove the user in Wazzup by hand, if nobody needs it; with a row of this id in the CRM, it would be \
                     adopted if the name is the same, and held otherwise",
                );
            }
            (_, Some(removed)) => Advice::good(format!("{unwanted}; {removed}")),
            (Live::Unknown { .. }, None) => Advice::warning(format!(
                "{unwanted}, and not one of our users; Wazzup could not be asked"
            )),
            (Live::Absent, None) if self.crm.rows.is_empty() => return self.unknown_everywhere(),
            (Live::Absent, None) => Advice::good(format!("{unwanted}, and not in Wazzup")),
        };
        advice.with(format!("to have the person in Wazzup, {}", self.wish))
    }

    fn unknown_everywhere(self) -> Advice {
        let mut reason = "unknown: not in the CRM, not one of our users, not in Wazzup".to_owned();
        if self.crm.missing_ids > 0 {
            let rows = counted(self.crm.missing_ids, "row");
            reason.push_str(&format!("; {rows} of the CRM without an id may be this person's"));
        }
        let check_id = match self.crm.similar_ids.first() {
            Some(similar) => {
                let explain = self.findings.invocation.command_for("explain", similar);
                format!("if “{similar}” is meant: {explain}")
            }
            None => "check the id, character by character".to_owned(),
        };
        Advice::warning(reason).with(format!("{check_id}; to have the person in Wazzup, {}", self.wish))
    }
}
