//! What the next step of a user means, and what to do about it: for `plan` and `explain` alike.

use super::{
    super::{
        holds::{noun_for_hold, remedy_for_hold},
        invocation::Invocation,
        page::Advice,
        text::{counted, listed_ids, short_id, until},
    },
    PlanView,
};
use crate::plan::{Change, FailureKey, Hold, HoldKey, NextStep, Operation, Sighting, StayReason, Waiting};

pub(in super::super) const NO_ACTIVE_ROW: &str = "no active row in the CRM";
pub(in super::super) const TO_BE_THERE: &str = "let the CRM have an active row with exactly this id";

/// Rows without an id may be anybody's, so they hold removals.
pub(in super::super) fn missing_ids(count: usize, invocation: &Invocation) -> Advice {
    let (rows, approve) = (counted(count, "row"), invocation.command("approve"));
    Advice::warning(format!("{rows} without an id (MISSING_ID)")).with(format!(
        "give each row an id: until then, nobody is removed without {approve}"
    ))
}

/// The name of an account that the state does not know may be mistyped, if it knows `others`.
pub(in super::super) fn unknown_account(account: &str, others: &[String]) -> Option<Advice> {
    let known = listed_ids(others);
    let unknown = Advice::warning(format!(
        "the state does not know the account \"{account}\"; it knows: {known}"
    ));
    let remedy =
        "correct `account`, unless this is a new account: under a wrong name, no user in Wazzup is known to be ours";
    (!others.is_empty()).then(|| unknown.with(remedy))
}

impl PlanView {
    pub(in super::super) fn advice(&self, id: &str, step: NextStep<'_>) -> Advice {
        let retry = self.invocation.command_for("retry", id);
        match step {
            NextStep::Send(upsert) => self.sent(id, upsert.entry.change),
            NextStep::Release(release) => self.sent(id, release.change),
            NextStep::Remove(_) => Advice::warning(format!("{NO_ACTIVE_ROW}; the next cycle removes the user"))
                .with(format!("to keep the user, {TO_BE_THERE}")),
            NextStep::Hold(key, hold) => self.held(key, hold),
            NextStep::Wait(Waiting::ForLeaver(leaver)) => {
                let explain = self.invocation.command_for("explain", leaver.as_str());
                let leaver = short_id(leaver.as_str());
                Advice::warning(format!(
                    "looks like {leaver}, who is leaving: waits until {leaver} is removed or back in the CRM"
                ))
                .with(format!(
                    "nothing; perhaps this is the same person under a new id: see {explain}"
                ))
            }
            NextStep::Wait(Waiting::ForSeat) => {
                Advice::warning("waits for a seat: the Wazzup account has no room for another user").with(format!(
                    "remove users in Wazzup or book more seats; {retry} then tries in the next cycle"
                ))
            }
            NextStep::Wait(Waiting::BackingOff) => Advice::bad(self.refusal(id, Operation::Upsert)).with(format!(
                "if the row is wrong, correct it in the CRM: the next cycle sends it; {retry} sends it unchanged"
            )),
            NextStep::Wait(Waiting::Pending) if !self.plan.is_account_known() => {
                Advice::warning("nothing is sent until it is certain which Wazzup account this is")
            }
            NextStep::Wait(Waiting::Pending) if self.snapshot.acknowledged(id).is_some() => {
                Advice::warning("waits for the phone of somebody who is leaving")
            }
            NextStep::Wait(Waiting::Pending) => {
                Advice::warning("Wazzup has to say first whether it has this id already")
            }
            NextStep::Stay(user) => self.stay(id, user.reason, &retry),
        }
    }

    fn sent(&self, id: &str, change: Change) -> Advice {
        let advice = Advice::warning(match change {
            Change::Add => "not in Wazzup yet; the next cycle adds the user".to_owned(),
            Change::Adopt => "in Wazzup already under the same name; the next cycle adopts the user".to_owned(),
            Change::TakeOver => "in Wazzup already; the next cycle takes the user over".to_owned(),
            Change::Update => "changed in the CRM; the next cycle sends the change".to_owned(),
            Change::Release => "the next cycle takes the phone away, so that somebody else can have it".to_owned(),
            Change::Resend => format!("sent again, since {}", self.reason_to_resend(id)),
        });
        let once = self.invocation.command("once");
        advice.with(format!(
            "nothing, if a daemon is running; otherwise, {once} runs one cycle"
        ))
    }

    fn reason_to_resend(&self, id: &str) -> String {
        let acknowledged = self.snapshot.acknowledged(id);
        match self.list.find(id) {
            Sighting::Absent => "Wazzup no longer has the user".to_owned(),
            Sighting::Named(name) if acknowledged.is_some_and(|acknowledged| !acknowledged.is_named(name)) => {
                format!("the user is called “{name}” in Wazzup")
            }
            Sighting::Named(_) | Sighting::Unknown => "it is uncertain what Wazzup has".to_owned(),
        }
    }

    fn held(&self, key: &HoldKey, hold: &Hold) -> Advice {
        let approve = match key.concerned_user() {
            Some(id) => self.invocation.command_for("approve", id),
            None => self.invocation.command("approve"),
        };
        let what = noun_for_hold(key.kind);
        let reason = format!("the {what} has to be approved; until then, nothing changes in Wazzup");
        Advice::bad(reason).with(remedy_for_hold(key.kind, hold.since, &approve, self.now))
    }

    fn stay(&self, id: &str, reason: StayReason, retry: &str) -> Advice {
        match reason {
            StayReason::InGrace => {
                let user = self.snapshot.users.get(id);
                let absent_since = user.and_then(|user| user.absent_since).unwrap_or(self.now);
                let removed = until(self.now, self.policy.grace_end(absent_since));
                Advice::warning(format!("{NO_ACTIVE_ROW}; will be removed {removed} (removals.grace)"))
                    .with(format!("to keep the user, {TO_BE_THERE}"))
            }
            StayReason::Kept => Advice::warning(format!("{NO_ACTIVE_ROW}; removals.policy says to keep everybody")),
            StayReason::BackingOff => {
                let refusal = self.refusal(id, Operation::Remove);
                Advice::bad(format!("{NO_ACTIVE_ROW}; the removal was {refusal}"))
                    .with(format!("remove the user in Wazzup by hand, or try now: {retry}"))
            }
            StayReason::Unknown => Advice::warning(format!(
                "{NO_ACTIVE_ROW}; Wazzup has to say first whether the user is there and ours"
            )),
        }
    }

    /// `refused (INVALID_USERS_DATA), tried again in 5 min`.
    fn refusal(&self, id: &str, operation: Operation) -> String {
        let refused = self.snapshot.failures.get(&FailureKey::new(id, operation));
        let Some(refused) = refused else {
            return "refused lately".to_owned();
        };
        let next = until(self.now, refused.next_attempt_at.unwrap_or(self.now));
        format!("refused ({}), tried again {next}", refused.failure.code)
    }
}
