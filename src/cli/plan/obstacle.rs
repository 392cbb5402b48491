//! Why somebody is not sent, or not removed, and what to do about it.

use super::{
    super::{
        invocation::Invocation,
        page::Advice,
        text::{counted, short_id, until},
    },
    PlanView,
};
use crate::plan::{FailureKey, NextStep, Operation, StayReason, Waiting};

pub(in super::super) const NO_ACTIVE_ROW: &str = "no active row in the CRM";
pub(in super::super) const TO_BE_THERE: &str = "let the CRM have an active row with exactly this id";

/// Rows without an id may be anybody's, so they hold removals.
pub(in super::super) fn missing_ids(count: usize, invocation: &Invocation) -> Advice {
    let (rows, approve) = (counted(count, "row"), invocation.command("approve"));
    Advice::warning(format!("{rows} without an id (MISSING_ID)")).with(format!(
        "give each row an id: until then, nobody is removed without {approve}"
    ))
}

impl PlanView {
    /// Why `step` is not what the CRM wants of `id`.
    pub(in super::super) fn obstacle(&self, id: &str, step: NextStep<'_>) -> Advice {
        let retry = self.invocation.command_for("retry", id);
        let user = self.snapshot.users.get(id);
        match step {
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
            NextStep::Wait(Waiting::Pending) if user.is_some_and(|user| user.acknowledged.is_some()) => {
                Advice::warning("waits for the phone of somebody who is leaving")
            }
            NextStep::Stay(user) => self.stay(id, user.reason, &retry),
            _ => Advice::warning("Wazzup has to say first whether it has this id already"),
        }
    }

    fn stay(&self, id: &str, reason: StayReason, retry: &str) -> Advice {
        let user = self.snapshot.users.get(id);
        match reason {
            StayReason::InGrace => {
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
