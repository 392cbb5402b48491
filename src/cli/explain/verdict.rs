//! What it all comes to, and what to do about it.

use jiff::SignedDuration;

use super::{
    super::{
        page::Mark,
        text::{ago, counted, in_words, printable, short_id, until},
    },
    facts::{Facts, InCrm, InState, Live, Planned},
};
use crate::{
    delivery::Change,
    employee::{EmployeeId, FullName, RowProblem},
    plan::{HoldKind, Operation, StayReason, User},
    state::{HistoryOperation, OpenFailure},
};

/// The answer to "why is Anna not in Wazzup?".
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) mark: Mark,
    /// How things stand, as a sentence without a full stop.
    pub(super) reason: String,
    /// What to do, if there is something to do.
    pub(super) remedy: Option<String>,
}

fn good(reason: impl Into<String>) -> Verdict {
    verdict(Mark::Good, reason)
}

fn warning(reason: impl Into<String>) -> Verdict {
    verdict(Mark::Warning, reason)
}

fn bad(reason: impl Into<String>) -> Verdict {
    verdict(Mark::Bad, reason)
}

fn verdict(mark: Mark, reason: impl Into<String>) -> Verdict {
    Verdict {
        mark,
        reason: reason.into(),
        remedy: None,
    }
}

impl Verdict {
    fn with(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

pub(super) fn of(facts: &Facts) -> Verdict {
    match (&facts.crm, &facts.state) {
        (Ok(crm), Ok(state)) => Judge { facts, crm, state }.verdict(),
        (Err(_), Ok(state)) => without_crm(facts, state),
        (Ok(crm), Err(_)) => without_state(facts, crm),
        (Err(_), Err(_)) => {
            let check = facts.invocation.command("check");
            bad("nothing can be told: neither the CRM nor the state can be read")
                .with(format!("{check} says what is wrong with them"))
        }
    }
}

fn without_crm(facts: &Facts, state: &InState) -> Verdict {
    let reason = match &state.user {
        Some(_) => "one of our users, about whom nothing changes while the CRM cannot be read",
        None => "not one of our users; whether the CRM wants this person in Wazzup cannot be told",
    };
    let check = facts.invocation.command("check");
    bad(reason).with(format!("{check} says why the CRM cannot be read"))
}

fn without_state(facts: &Facts, crm: &InCrm) -> Verdict {
    let reason = match (&crm.entry, crm.rejected) {
        (_, Some(problem)) => format!("the row is rejected ({problem})"),
        (Some(_), None) => "the CRM wants this person in Wazzup".to_owned(),
        (None, None) => "the CRM does not want this person in Wazzup".to_owned(),
    };
    let check = facts.invocation.command("check");
    bad(format!(
        "{reason}; what was done so far cannot be told without the state"
    ))
    .with(format!("{check} says why the state cannot be read"))
}

/// Judges where both the CRM and the state are known.
#[derive(Clone, Copy)]
struct Judge<'a> {
    facts: &'a Facts,
    crm: &'a InCrm,
    state: &'a InState,
}

impl<'a> Judge<'a> {
    fn verdict(self) -> Verdict {
        if let Some(problem) = self.crm.rejected {
            return self.rejected(problem);
        }
        if EmployeeId::parse(&self.facts.id).is_err() {
            let length = self.facts.id.chars().count();
            return warning(format!(
                "no user can have this id: it has {length} characters, and 200 is the most"
            ))
            .with("check the id");
        }
        if self.planned() == &Planned::Stop {
            let (status, approve) = (self.command("status"), self.command("approve"));
            return bad("nothing is sent for anybody until it is certain that this is the right Wazzup account").with(
                format!("{status} says what was seen; {approve} says that the account is the right one"),
            );
        }
        if self.crm.entry.is_some() {
            self.wanted()
        } else {
            self.unwanted()
        }
    }

    fn planned(self) -> &'a Planned {
        self.state.planned.as_ref().unwrap_or(&Planned::Nothing)
    }

    fn command(self, verb: &str) -> String {
        self.facts.invocation.command(verb)
    }

    fn retry(self) -> String {
        self.facts.invocation.command_for("retry", &self.facts.id)
    }

    /// The command that approves what is held about the user; `is_new`: what the next cycle will hold.
    fn approve(self, is_new: bool) -> String {
        let approve = self.facts.invocation.command_for("approve", &self.facts.id);
        if is_new {
            format!("{approve}, once a cycle has held this")
        } else {
            approve
        }
    }

    /// How the next cycle comes about.
    fn next_cycle(self) -> String {
        if self.state.is_running {
            "nothing: the daemon's next cycle does this".to_owned()
        } else {
            let (run, once) = (self.command("run"), self.command("once"));
            format!("no daemon is running: {run} starts it, {once} runs one cycle")
        }
    }

    fn rejected(self, problem: RowProblem) -> Verdict {
        let stays = match &self.state.user {
            Some(_) => "; the user in Wazzup stays unchanged",
            None => "",
        };
        bad(format!("not synced: {}{stays}", problem.reason())).with(problem.remedy())
    }

    /// The CRM wants the person in Wazzup.
    fn wanted(self) -> Verdict {
        let failure = self.facts.failure(Operation::Upsert);
        match self.planned() {
            Planned::BackOff => self.backing_off(failure),
            Planned::WaitForSeat => {
                let retry = self.retry();
                warning("waits for a seat: the Wazzup account has no room for another user").with(format!(
                    "remove users in Wazzup or book more seats; {retry} then tries in the next cycle"
                ))
            }
            Planned::WaitForLeaver(leaver) => {
                let leaver = short_id(leaver);
                warning(format!(
                    "waits for “{leaver}”, who has the same name or phone and is leaving: perhaps the same person \
                     under a new id"
                ))
                .with(format!(
                    "nothing: once “{leaver}” is removed or back in the CRM, the next cycle goes on; {} lists what is \
                     held",
                    self.command("approve")
                ))
            }
            Planned::Hold {
                kind: HoldKind::Takeover,
                is_new,
            } => {
                let approve = self.approve(*is_new);
                bad("not synced: the take-over has to be approved").with(format!(
                    "if this is the same person: {approve}; otherwise, give the employee another id in the CRM"
                ))
            }
            Planned::Hold { is_new, .. } => {
                let approve = self.approve(*is_new);
                bad("the change has to be approved; until then, Wazzup keeps the old values").with(format!(
                    "if the CRM's values are right: {approve}; otherwise, correct them in the CRM"
                ))
            }
            Planned::Send { change, .. } => self.to_be_sent(*change, failure),
            Planned::Release => warning("gives up the phone in the next cycle, so that somebody else can have it")
                .with(self.next_cycle()),
            Planned::Pend => warning("waits for somebody who is leaving to give up the phone").with(format!(
                "nothing: everything else is synced; {} shows who waits for whom",
                self.command("plan")
            )),
            _ => self.in_wazzup(),
        }
    }

    fn backing_off(self, failure: Option<&OpenFailure>) -> Verdict {
        let Some(failure) = failure else {
            return self.to_be_sent(Change::Update, None);
        };
        let next = failure.next_attempt_at.map(|at| until(self.state.now, at));
        let next = next.unwrap_or_else(|| "in the next cycle".to_owned());
        let remedy = match failure.code.as_str() {
            "INVALID_USERS_DATA" => {
                "correct the id and the name in the CRM: what changed is sent in the next cycle".to_owned()
            }
            _ => format!(
                "{} tries in the next cycle; Wazzup's support can look up the request",
                self.retry()
            ),
        };
        bad(format!(
            "not synced ({}); the next attempt is {next}",
            printable(&failure.code)
        ))
        .with(remedy)
    }

    fn to_be_sent(self, change: Change, failure: Option<&OpenFailure>) -> Verdict {
        let reason = match change {
            Change::Add => "not in Wazzup yet; the next cycle adds the user",
            Change::Adopt => "in Wazzup already under the same name; the next cycle adopts the user",
            Change::TakeOver => "in Wazzup already; the next cycle takes the user over",
            Change::Update => "changed in the CRM; the next cycle sends the change",
            Change::Release => "the next cycle takes the phone away, so that somebody else can have it",
            Change::Resend => "it is uncertain what Wazzup has; the next cycle sends the user again",
        };
        let reason = match failure {
            Some(failure) => format!("{reason}; the last attempt failed ({})", printable(&failure.code)),
            None => reason.to_owned(),
        };
        warning(reason).with(self.next_cycle())
    }

    /// Nothing is to be sent.
    fn in_wazzup(self) -> Verdict {
        let name: Option<&FullName> = self.crm.entry.as_ref().map(|entry| &entry.employee.name);
        let is_renamed = |live: &str| name.is_some_and(|name| name.as_str() != live.trim());
        match &self.facts.live {
            Live::Absent | Live::There(_) if self.facts.is_other_account => {
                let check = self.command("check");
                return warning(
                    "the key or wazzup.base_url has changed since the last comparison: perhaps another account was asked",
                )
                .with(format!("{check} says whether this is the right account"));
            }
            Live::Absent => {
                return bad("added to Wazzup earlier, but not there any more: somebody deleted the user there").with(
                    format!(
                        "{} adds the user again in the next cycle; the next comparison with Wazzup's list does, too",
                        self.retry()
                    ),
                );
            }
            Live::There(user) if is_renamed(&user.name) => {
                return warning("somebody renamed the user in Wazzup").with(format!(
                    "{} restores the CRM's name in the next cycle; the next comparison with Wazzup's list does, too",
                    self.retry()
                ));
            }
            Live::There(_) | Live::Unknown(_) => {}
        }
        if let Some(failure) = self.facts.failure(Operation::Phone) {
            return self.without_phone(failure);
        }
        if !self.state.person.lost.is_empty() {
            return good("in sync, but not settled yet: the next cycles send the user again to be certain");
        }
        match &self.facts.live {
            Live::Unknown(_) => good("in sync as far as we know: Wazzup could not be asked"),
            Live::There(_) | Live::Absent => good("in sync: Wazzup has what the CRM wants"),
        }
    }

    fn without_phone(self, failure: &OpenFailure) -> Verdict {
        let problem = RowProblem::parse(&failure.code);
        let reason = match problem.filter(|_| failure.is_local) {
            Some(problem) => format!("in Wazzup, but without the phone: {}", problem.reason()),
            None => format!("in Wazzup, but without the phone ({})", printable(&failure.code)),
        };
        let remedy = match problem {
            Some(RowProblem::DuplicatePhoneNumber) if self.crm.same_phone.is_empty() => {
                "correct the phone in the CRM, or find who has the phone in Wazzup: none of our users has it"
            }
            Some(RowProblem::DuplicatePhoneNumber) => "let only one person have this phone in the CRM",
            _ => "correct the phone in the CRM: the next cycle sends it",
        };
        warning(reason).with(remedy)
    }

    /// Why the CRM does not want the person in Wazzup.
    fn why_unwanted(self) -> &'static str {
        if self.crm.rows.is_empty() {
            "not in the CRM"
        } else {
            "not active in the CRM"
        }
    }

    /// How the person would stay in Wazzup.
    fn how_to_keep(self) -> &'static str {
        if self.crm.rows.is_empty() {
            "to keep the user, add a row with exactly this id to the CRM"
        } else {
            "to keep the user, make the row in the CRM active"
        }
    }

    /// The CRM does not want the person in Wazzup.
    fn unwanted(self) -> Verdict {
        match &self.state.user {
            Some(user) => self.leaving(user),
            None => self.not_ours(),
        }
    }

    /// One of our users who has to go at some time.
    fn leaving(self, user: &User) -> Verdict {
        let (why, keep) = (self.why_unwanted(), self.how_to_keep());
        match self.planned() {
            Planned::Hold { is_new, .. } => bad(format!("{why}, and the removal has to be approved"))
                .with(format!("if the person has left: {}; {keep}", self.approve(*is_new))),
            Planned::Remove { approved: true } => warning(format!(
                "{why}; the removal is approved, and the next cycle carries it out"
            ))
            .with(keep),
            Planned::Remove { approved: false } => {
                warning(format!("{why}; the next cycle removes the user")).with(keep)
            }
            Planned::Stay(StayReason::InGrace) => {
                let absent_since = user.absent_since.unwrap_or(self.state.now);
                let absent_for = self.state.now.duration_since(absent_since);
                let left = in_words((self.facts.policy.grace - absent_for).max(SignedDuration::ZERO));
                warning(format!(
                    "{why}; in grace: removed in {left}, unless the person comes back"
                ))
                .with(keep)
            }
            Planned::Stay(StayReason::Kept) => warning(format!(
                "{why}; the user stays in Wazzup, since removals.policy is \"keep\""
            )),
            Planned::Stay(StayReason::BackingOff) => self.removal_failed(why),
            Planned::Stay(StayReason::Unknown) => warning(format!(
                "{why}; Wazzup has to say first whether the user is there and ours"
            ))
            .with(self.next_cycle()),
            Planned::Settle => {
                good("removed; since a request got no answer, it is made certain that the user stays away")
            }
            _ => warning(format!("{why}; the next cycle decides")).with(self.next_cycle()),
        }
    }

    fn removal_failed(self, why: &str) -> Verdict {
        let failure = self.facts.failure(Operation::Remove);
        let next = failure.and_then(|failure| failure.next_attempt_at);
        let next = next.map_or_else(|| "in the next cycle".to_owned(), |at| until(self.state.now, at));
        let code = failure.map_or("", |failure| failure.code.as_str());
        bad(format!(
            "{why}, and the removal failed ({}); the next attempt is {next}",
            printable(code)
        ))
        .with(format!(
            "remove the user in Wazzup by hand, or try now: {}",
            self.retry()
        ))
    }

    /// Not one of our users, or not any more.
    fn not_ours(self) -> Verdict {
        let why = self.why_unwanted();
        let newest = self.state.person.history.first();
        let removed = newest.filter(|entry| entry.operation == HistoryOperation::Remove);
        let removed = removed.map(|entry| ago(self.state.now, entry.at));
        let add = if self.crm.rows.is_empty() {
            "to have the person in Wazzup, add a row with exactly this id to the CRM"
        } else {
            "to have the person in Wazzup, make the row in the CRM active"
        };
        match (&self.facts.live, removed) {
            (Live::There(_), Some(removed)) => warning(format!(
                "{why}; we removed the user {removed}, and somebody created it again in Wazzup: not ours, left alone"
            ))
            .with("remove the user in Wazzup by hand, if nobody needs it"),
            (Live::There(_), None) => warning(format!(
                "{why}; somebody else created this user in Wazzup: not ours, left alone"
            ))
            .with(
                "nothing; with a row of this id in the CRM, the user would be adopted if the name is the same, and \
                     held otherwise",
            ),
            (Live::Absent | Live::Unknown(_), Some(removed)) => {
                good(format!("{why}; removed from Wazzup {removed}")).with(add)
            }
            (Live::Absent, None) if self.crm.rows.is_empty() => self.unknown_everywhere(add),
            (Live::Absent, None) => good(format!("{why}, and not in Wazzup")).with(add),
            (Live::Unknown(_), None) => {
                warning(format!("{why}, and not one of our users; Wazzup could not be asked")).with(add)
            }
        }
    }

    fn unknown_everywhere(self, add: &str) -> Verdict {
        let mut reason = "unknown: not in the CRM, not one of our users, not in Wazzup".to_owned();
        if self.crm.missing_ids > 0 {
            let rows = counted(self.crm.missing_ids, "row");
            reason.push_str(&format!("; {rows} of the CRM without an id may be this person's"));
        }
        warning(reason).with(format!("check the id, character by character; {add}"))
    }
}
