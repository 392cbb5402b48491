//! What it all comes to, and what to do about it: the first rule that applies tells.

use jiff::SignedDuration;

use super::{
    super::{
        page::Advice,
        text::{ago, counted, in_words, until},
    },
    Findings, InCrm, Live,
};
use crate::{
    employee::{EmployeeId, RowProblem},
    plan::{Change, Failure, HoldKind, Operation, Plan, StayReason},
    state::HistoryOperation,
};

/// The answer to "why is Anna not in Wazzup?".
pub(super) fn of(findings: &Findings) -> Advice {
    let (Some(crm), Some(plan)) = (&findings.crm, &findings.plan) else {
        return without_a_database(findings);
    };
    let judge = Judge { findings, crm, plan };
    judge
        .rejected()
        .or_else(|| judge.doubted())
        .or_else(|| judge.sent())
        .or_else(|| judge.held())
        .or_else(|| judge.waiting())
        .or_else(|| judge.leaving())
        .unwrap_or_else(|| judge.at_rest())
}

fn without_a_database(findings: &Findings) -> Advice {
    let reason = match (&findings.crm, &findings.snapshot) {
        (None, _) if findings.state_error.is_some() => "nothing can be told: neither the CRM nor the state can be read",
        (None, Some(_)) => "one of our users, about whom nothing changes while the CRM cannot be read",
        (None, None) => "not one of our users; whether the CRM wants this person in Wazzup cannot be told",
        (Some(crm), _) if crm.rejected.is_some() => {
            "the row is rejected; what was done so far cannot be told without the state"
        }
        (Some(_), _) if findings.to_send.is_some() => {
            "the CRM wants this person in Wazzup; what was done so far cannot be told without the state"
        }
        (Some(_), _) => {
            "the CRM does not want this person in Wazzup; what was done so far cannot be told without the state"
        }
    };
    let check = findings.invocation.command("check");
    Advice::bad(reason).with(format!("{check} says what to do about that"))
}

/// Judges where both the CRM and the state are known.
#[derive(Clone, Copy)]
struct Judge<'a> {
    findings: &'a Findings,
    crm: &'a InCrm,
    plan: &'a Plan,
}

impl Judge<'_> {
    fn is_meant(self, id: &EmployeeId) -> bool {
        id.as_str() == self.findings.id
    }

    fn command(self, verb: &str) -> String {
        self.findings.invocation.command(verb)
    }

    fn retry(self) -> String {
        self.findings.invocation.command_for("retry", &self.findings.id)
    }

    fn rejected(self) -> Option<Advice> {
        if let Some(problem) = self.crm.rejected {
            let stays = match &self.findings.snapshot {
                Some(_) => "; the user in Wazzup stays unchanged",
                None => "",
            };
            return Some(Advice::bad(format!("not synced: {}{stays}", problem.reason())).with(problem.remedy()));
        }
        if EmployeeId::parse(&self.findings.id).is_ok() {
            return None;
        }
        let length = self.findings.id.chars().count();
        let reason = format!("no user can have this id: it has {length} characters, and 200 is the most");
        Some(Advice::warning(reason).with("check the id"))
    }

    fn doubted(self) -> Option<Advice> {
        let is_concerned = self.findings.to_send.is_some() || self.findings.snapshot.is_some();
        if !is_concerned || !self.plan.doubts_account() {
            return None;
        }
        let (status, approve) = (self.command("status"), self.command("approve"));
        let reason = "nothing is sent for anybody until it is certain that this is the right Wazzup account";
        Some(Advice::bad(reason).with(format!(
            "{status} says what was seen; if the account is the right one: {approve}"
        )))
    }

    /// What the next cycle does.
    fn sent(self) -> Option<Advice> {
        let plan = self.plan;
        if let Some(upsert) = plan.upserts.iter().find(|upsert| self.is_meant(upsert.id())) {
            let mut reason = match upsert.entry.change {
                Change::Add => "not in Wazzup yet; the next cycle adds the user",
                Change::Adopt => "in Wazzup already under the same name; the next cycle adopts the user",
                Change::TakeOver => "in Wazzup already; the next cycle takes the user over",
                Change::Update => "changed in the CRM; the next cycle sends the change",
                Change::Release => "the next cycle takes the phone away, so that somebody else can have it",
                Change::Resend => "it is uncertain what Wazzup has; the next cycle sends the user again",
            }
            .to_owned();
            if let Some(failure) = self.findings.failure(Operation::Upsert) {
                reason.push_str(&format!("; the last attempt failed ({})", failure.code));
            }
            return Some(self.in_next_cycle(reason));
        }
        if let Some(removal) = plan.removals.iter().find(|removal| self.is_meant(&removal.id)) {
            let deed = if removal.approved {
                "the removal is approved, and the next cycle carries it out"
            } else {
                "the next cycle removes the user"
            };
            return Some(Advice::warning(format!("{}; {deed}", self.why_unwanted())).with(self.how_to_keep()));
        }
        let mut releases = plan.releases.iter();
        releases.find(|release| self.is_meant(&release.employee.id))?;
        Some(self.in_next_cycle("gives up the phone in the next cycle, so that somebody else can have it".to_owned()))
    }

    /// What comes about by itself, if there is a daemon.
    fn in_next_cycle(self, reason: String) -> Advice {
        let advice = Advice::warning(reason);
        if self.findings.is_running {
            return advice;
        }
        let (run, once) = (self.command("run"), self.command("once"));
        advice.with(format!("no daemon is running: {run} starts it, {once} runs one cycle"))
    }

    fn held(self) -> Option<Advice> {
        let mut holds = self.plan.unapproved_holds();
        let (key, hold) = holds.find(|(key, _)| *key.user_id == *self.findings.id)?;
        let mut approve = self.findings.invocation.command_for("approve", &self.findings.id);
        if hold.since >= self.findings.now {
            approve.push_str(", once a cycle has held this");
        }
        Some(match key.kind {
            HoldKind::Takeover => Advice::bad("not synced: the take-over has to be approved").with(format!(
                "if this is the same person: {approve}; otherwise, give the employee another id in the CRM"
            )),
            HoldKind::Remove => {
                let (why, keep) = (self.why_unwanted(), self.how_to_keep());
                Advice::bad(format!("{why}, and the removal has to be approved"))
                    .with(format!("if the person has left: {approve}; {keep}"))
            }
            HoldKind::Update | HoldKind::Account => {
                Advice::bad("the change has to be approved; until then, Wazzup keeps the old values").with(format!(
                    "if the CRM's values are right: {approve}; otherwise, correct them in the CRM"
                ))
            }
        })
    }

    /// An employee who is not sent in the next cycle.
    fn waiting(self) -> Option<Advice> {
        let (plan, retry) = (self.plan, self.retry());
        if let Some(waiting) = plan
            .waiting_for_leavers
            .iter()
            .find(|waiting| self.is_meant(&waiting.id))
        {
            let leaver = &waiting.leaver;
            let explain = self.findings.invocation.command_for("explain", leaver.as_str());
            let reason = format!(
                "waits for “{leaver}”, who has the same name or phone and is leaving: perhaps the same person under a \
                 new id"
            );
            return Some(Advice::warning(reason).with(format!(
                "nothing: this goes on once “{leaver}” is removed or back in the CRM; {explain} says what that takes"
            )));
        }
        if plan.waiting_for_seat.iter().any(|id| self.is_meant(id)) {
            let reason = "waits for a seat: the Wazzup account has no room for another user";
            return Some(Advice::warning(reason).with(format!(
                "remove users in Wazzup or book more seats; {retry} then tries in the next cycle"
            )));
        }
        if plan.backing_off.iter().any(|id| self.is_meant(id)) {
            let failure = self.findings.failure(Operation::Upsert)?;
            let reason = format!(
                "not synced ({}); the next attempt is {}",
                failure.code,
                self.next_attempt(failure)
            );
            let remedy = if failure.code == "INVALID_USERS_DATA" {
                "correct the id and the name in the CRM: what changed is sent in the next cycle".to_owned()
            } else {
                format!("{retry} tries in the next cycle; Wazzup's support can look up the request")
            };
            return Some(Advice::bad(reason).with(remedy));
        }
        if plan.pending.iter().any(|id| self.is_meant(id)) {
            let who = self.command("plan");
            let reason = "waits for somebody who is leaving to give up the phone; everything else is synced";
            return Some(Advice::warning(reason).with(format!("nothing: {who} shows who waits for whom")));
        }
        None
    }

    fn next_attempt(self, failure: &Failure) -> String {
        match failure.next_attempt_at {
            Some(at) => until(self.findings.now, at),
            None => "in the next cycle".to_owned(),
        }
    }

    /// A user who is missing from the CRM and stays for now.
    fn leaving(self) -> Option<Advice> {
        let findings = self.findings;
        let why = self.why_unwanted();
        let staying = self.plan.staying.iter().find(|user| self.is_meant(&user.id))?;
        Some(match staying.reason {
            StayReason::InGrace => {
                let absent_since = findings.snapshot.as_ref().and_then(|user| user.absent_since);
                let absent_for = findings.now.duration_since(absent_since.unwrap_or(findings.now));
                let left = in_words((findings.grace - absent_for).max(SignedDuration::ZERO));
                Advice::warning(format!(
                    "{why}; removed in {left} (removals.grace), unless the person comes back"
                ))
                .with(self.how_to_keep())
            }
            StayReason::Kept => Advice::warning(format!(
                "{why}; the user stays in Wazzup, since removals.policy is \"keep\""
            )),
            StayReason::BackingOff => {
                let failure = findings.failure(Operation::Remove)?;
                let (code, next) = (&failure.code, self.next_attempt(failure));
                let retry = self.retry();
                Advice::bad(format!(
                    "{why}, and the removal failed ({code}); the next attempt is {next}"
                ))
                .with(format!("remove the user in Wazzup by hand, or try now: {retry}"))
            }
            StayReason::Unknown => self.in_next_cycle(format!(
                "{why}; Wazzup has to say first whether the user is there and ours"
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
        let (findings, retry) = (self.findings, self.retry());
        let name = findings.to_send.as_ref().map(|wanted| wanted.name.as_str());
        match &findings.wazzup {
            Live::Absent | Live::There(_) if findings.is_other_account => {
                let check = self.command("check");
                let reason = "the key or wazzup.base_url has changed since the last comparison: perhaps another account \
                              was asked";
                return Advice::warning(reason).with(format!("{check} says whether this is the right account"));
            }
            Live::Absent => {
                let reason = "added to Wazzup earlier, but not there any more: somebody deleted the user there";
                return Advice::bad(reason).with(format!(
                    "{retry} adds the user again in the next cycle; the next comparison with Wazzup's list does, too"
                ));
            }
            Live::There(user) if name != Some(user.name.trim()) => {
                return Advice::warning("somebody renamed the user in Wazzup").with(format!(
                    "{retry} restores the CRM's name in the next cycle; the next comparison with Wazzup's list does, too"
                ));
            }
            Live::There(_) | Live::Unknown { .. } => {}
        }
        if let Some(failure) = findings.failure(Operation::Phone) {
            return self.without_phone(failure);
        }
        if !findings.lost.is_empty() {
            return Advice::good("in sync, but not settled yet: the next cycles send the user again to be certain");
        }
        match &findings.wazzup {
            Live::Unknown { .. } => Advice::good("in sync as far as we know: Wazzup could not be asked"),
            Live::There(_) | Live::Absent => Advice::good("in sync: Wazzup has what the CRM wants"),
        }
    }

    fn without_phone(self, failure: &Failure) -> Advice {
        let problem = RowProblem::parse(&failure.code);
        let reason = match problem.filter(|_| failure.is_local) {
            Some(problem) => format!("in Wazzup, but without the phone: {}", problem.reason()),
            None => format!("in Wazzup, but without the phone ({})", failure.code),
        };
        Advice::warning(reason).with(match problem {
            Some(RowProblem::DuplicatePhoneNumber) if self.crm.same_phone.is_empty() => {
                "correct the phone in the CRM, or find who has the phone in Wazzup: none of our users has it"
            }
            Some(RowProblem::DuplicatePhoneNumber) => "let only one person have this phone in the CRM",
            _ => "correct the phone in the CRM: the next cycle sends it",
        })
    }

    fn why_unwanted(self) -> &'static str {
        if self.crm.rows.is_empty() {
            "not in the CRM"
        } else {
            "not active in the CRM"
        }
    }

    fn how_to_keep(self) -> String {
        format!("to keep the user, {}", self.how_to_name())
    }

    fn how_to_name(self) -> &'static str {
        if self.crm.rows.is_empty() {
            "add a row with exactly this id to the CRM"
        } else {
            "make the row in the CRM active"
        }
    }

    /// Not one of our users, or not any more, and the CRM does not want the person in Wazzup.
    fn not_ours(self) -> Advice {
        let findings = self.findings;
        let why = self.why_unwanted();
        let newest = findings.history.first();
        let removed = newest.filter(|entry| entry.operation == HistoryOperation::Remove);
        let removed = removed.map(|entry| ago(findings.now, entry.at));
        let advice = match (&findings.wazzup, removed) {
            (Live::There(_), Some(removed)) => {
                let reason = format!(
                    "{why}; we removed the user {removed}, and somebody created it again in Wazzup: not ours, left alone"
                );
                return Advice::warning(reason).with("remove the user in Wazzup by hand, if nobody needs it");
            }
            (Live::There(_), None) => {
                let reason = format!("{why}; somebody else created this user in Wazzup: not ours, left alone");
                return Advice::warning(reason).with(
                    "nothing; with a row of this id in the CRM, the user would be adopted if the name is the same, and \
                     held otherwise",
                );
            }
            (_, Some(removed)) => Advice::good(format!("{why}; removed from Wazzup {removed}")),
            (Live::Unknown { .. }, None) => {
                Advice::warning(format!("{why}, and not one of our users; Wazzup could not be asked"))
            }
            (Live::Absent, None) if self.crm.rows.is_empty() => return self.unknown_everywhere(),
            (Live::Absent, None) => Advice::good(format!("{why}, and not in Wazzup")),
        };
        advice.with(format!("to have the person in Wazzup, {}", self.how_to_name()))
    }

    fn unknown_everywhere(self) -> Advice {
        let mut reason = "unknown: not in the CRM, not one of our users, not in Wazzup".to_owned();
        if self.crm.missing_ids > 0 {
            let rows = counted(self.crm.missing_ids, "row");
            reason.push_str(&format!("; {rows} of the CRM without an id may be this person's"));
        }
        let add = self.how_to_name();
        let remedy = match self.crm.similar_ids.first() {
            Some(similar) => {
                let explain = self.findings.invocation.command_for("explain", similar);
                format!("if “{similar}” is meant: {explain}; otherwise, {add}")
            }
            None => format!("check the id, character by character; to have the person in Wazzup, {add}"),
        };
        Advice::warning(reason).with(remedy)
    }
}
