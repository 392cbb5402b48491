//! Sending a plan, as a pure state machine: it says which request is next, is told the answer, and says what that came to.
//!
//! No clock, no SQL, no HTTP and no logging: the loop in `cycle` does that. What holds here, whatever the service does:
//! - a refusal concerns only whom it is about: everybody else is delivered in the same cycle;
//! - all whole batches are tried before a refused one is searched for its culprit;
//! - a failure that may be the service's own is charged to an entry only once another entry was accepted after it;
//! - a phone is given up before somebody else claims it, and an addition that waits for a leaver follows the removal;
//! - the requests beyond those that the plan needs are bounded: what is left over is pending.

mod outcome;
mod queue;
mod refusal;
mod report;
mod request;

pub use outcome::{FailedAttempt, Outcome, Step};
pub use report::{Delivered, Report};
pub use request::{
    Answer, Attempts, Interruption, InvalidEntry, Loss, NotSent, Refusal, RefusalCode, Request, Verdict,
};

pub use crate::plan::{BatchEntry, Change};
use crate::plan::{Failures, Operation, Plan};

use self::{
    queue::{Group, Item, Queue},
    refusal::{Unjudged, failed_attempt},
};

/// How many requests a cycle may spend beyond those that the plan needs.
pub const EXTRA_REQUESTS: usize = 120;
/// The same while nothing was accepted: then it is more likely the service that fails than so many entries. One request is
/// kept for the control.
pub const EXTRA_REQUESTS_BEFORE_ACCEPTANCE: usize = 16;
/// How many of them may go to updates that are refused because the account is over its user limit.
const EXTRA_REQUESTS_OVER_LIMIT: usize = 16;

/// A delivery under way.
#[derive(Debug)]
pub struct Delivery {
    queue: Queue,
    /// What the request under way is about.
    under_way: Option<UnderWay>,
    /// Entries that failed alone, while it is open whether the service fails on everything.
    unjudged: Vec<Unjudged>,
    /// A user who is in sync, to be sent once if entries are unjudged at the end.
    control: Option<BatchEntry>,
    /// Open failures, for the number of attempts.
    failures: Failures,
    extra_requests: usize,
    requests_over_limit: usize,
    accepted_something: bool,
    /// A whole group got no decision, and nothing was accepted since: retrying each further one costs too much.
    is_doubtful: bool,
    report: Report,
}

/// What the request under way is about.
#[derive(Debug)]
enum UnderWay {
    Group(Group),
    /// Does the service answer at all? This group got no decision.
    Ping {
        group: Group,
        refusal: Refusal,
    },
    /// Does the service take anything?
    Control,
}

impl Delivery {
    /// A delivery of `plan`. `failures` are those that were open when the cycle began.
    #[must_use]
    pub fn new(plan: &Plan, mut failures: Failures) -> Self {
        for key in &plan.marks.closed_failures {
            failures.remove(key);
        }
        Self {
            queue: Queue::new(plan),
            under_way: None,
            unjudged: Vec::new(),
            control: plan.control.clone(),
            report: Report::new(plan, &failures),
            failures,
            extra_requests: 0,
            requests_over_limit: 0,
            accepted_something: false,
            is_doubtful: false,
        }
    }

    /// The first request.
    pub fn start(&mut self) -> Option<Request> {
        self.next_request()
    }

    /// Takes the answer to the request that was asked for last.
    pub fn answered(&mut self, answer: Answer) -> Step {
        let Answer { verdict, loss } = answer;
        let mut outcomes = Vec::new();
        match self.under_way.take() {
            Some(UnderWay::Group(group)) => self.group_answered(group, verdict, &mut outcomes),
            Some(UnderWay::Ping { group, refusal }) => self.ping_answered(group, &refusal, verdict),
            Some(UnderWay::Control) => self.control_answered(verdict, &mut outcomes),
            None => {}
        }
        Step {
            loss,
            outcomes,
            next: self.next_request(),
        }
    }

    /// What the delivery came to so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the delivery came to.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.report.leave_waiting(self.queue.waiting_for_seat());
        self.report
            .phone_pending
            .extend(self.queue.phone_pending().iter().cloned());
        self.report
    }

    fn group_answered(&mut self, group: Group, verdict: Verdict, outcomes: &mut Vec<Outcome>) {
        self.report.requests += usize::from(verdict.was_sent());
        match verdict {
            Verdict::Accepted { absent } => self.accepted(group, absent, outcomes),
            Verdict::Refused(refusal) => self.refused(group, &refusal, outcomes),
            Verdict::NoDecision(refusal) => {
                self.report.refusals.push((group.len(), refusal.clone()));
                let is_known_to_answer = group.attempts() == Attempts::One && refusal.code != RefusalCode::NoAnswer;
                if is_known_to_answer {
                    self.split_undecided(group, &refusal);
                } else {
                    self.is_doubtful = true;
                    self.under_way = Some(UnderWay::Ping { group, refusal });
                }
            }
            Verdict::Interrupted(interruption) => self.interrupt(interruption),
        }
    }

    fn ping_answered(&mut self, group: Group, refusal: &Refusal, verdict: Verdict) {
        match verdict {
            Verdict::Accepted { .. } => self.split_undecided(group, refusal),
            Verdict::Interrupted(interruption) => self.interrupt(interruption),
            Verdict::Refused(again) | Verdict::NoDecision(again) => {
                self.interrupt(Interruption::Unavailable(format!(
                    "it fails ({refusal}), and does not answer a read ({again})"
                )));
            }
        }
    }

    /// Whether the service takes anything decides about all who are unjudged.
    fn control_answered(&mut self, verdict: Verdict, outcomes: &mut Vec<Outcome>) {
        self.report.requests += usize::from(verdict.was_sent());
        match verdict {
            Verdict::Accepted { .. } => {
                outcomes.push(Outcome::Upserted);
                self.accepted_something = true;
                self.charge_unjudged(outcomes);
            }
            Verdict::Refused(_) | Verdict::NoDecision(_) => self.give_up_on_writes(),
            Verdict::Interrupted(interruption) => self.interrupt(interruption),
        }
    }

    fn accepted(&mut self, group: Group, absent: Vec<crate::employee::EmployeeId>, outcomes: &mut Vec<Outcome>) {
        self.accepted_something = true;
        self.is_doubtful = false;
        match group {
            Group::Removal { removals, .. } => {
                let gone = removals.len() - absent.len().min(removals.len());
                let freed = i64::try_from(gone).unwrap_or(i64::MAX);
                self.queue.seats_freed(gone);
                self.report.seats_taken = self.report.seats_taken.saturating_sub_unsigned(gone);
                outcomes.push(Outcome::Removed { absent });
                if freed > 0 {
                    outcomes.push(Outcome::SeatsTaken(-freed));
                }
                for removal in removals {
                    self.queue.gave_up(&removal.id);
                    self.report.removed(removal);
                }
            }
            Group::Upsert { items, aside, .. } => {
                outcomes.push(Outcome::Upserted);
                let taken = items.iter().filter(|item| item.upsert.takes_seat).count();
                if taken > 0 {
                    self.queue.seats_taken(taken);
                    self.report.seats_taken = self.report.seats_taken.saturating_add_unsigned(taken);
                    outcomes.push(Outcome::SeatsTaken(i64::try_from(taken).unwrap_or(i64::MAX)));
                }
                for item in items {
                    self.item_accepted(item, outcomes);
                }
                // The rest was accepted without those whom the answer named: it named the right ones.
                for named in aside {
                    self.charge(&named.item, Operation::Upsert, &named.refusal, outcomes);
                }
            }
        }
        self.charge_unjudged(outcomes);
    }

    fn item_accepted(&mut self, item: Item, outcomes: &mut Vec<Outcome>) {
        self.queue.gave_up(item.id());
        let recovered = self.report.accepted(&item);
        outcomes.extend(recovered.into_iter().map(Outcome::Recovered));
        let Item {
            upsert,
            is_release,
            phone_refusal,
            ..
        } = item;
        // Whoever was just delivered is in sync, too.
        if self.control.is_none() && !is_release {
            let change = Change::Resend;
            self.control = Some(BatchEntry {
                change,
                ..upsert.entry.clone()
            });
        }
        if let Some(refusal) = phone_refusal {
            let attempt = failed_attempt(&upsert, Operation::Phone, &refusal, &self.failures);
            self.report.failed(&attempt);
            outcomes.push(Outcome::Failed(attempt));
        }
    }

    /// Charges one entry with what was refused.
    fn charge(&mut self, item: &Item, operation: Operation, refusal: &Refusal, outcomes: &mut Vec<Outcome>) {
        // Who has to give up a phone and does not is charged with that alone.
        let operation = if item.is_release { Operation::Phone } else { operation };
        self.queue.did_not_give_up(item.id());
        let attempt = failed_attempt(&item.upsert, operation, refusal, &self.failures);
        self.report.failed(&attempt);
        outcomes.push(Outcome::Failed(attempt));
    }

    fn charge_unjudged(&mut self, outcomes: &mut Vec<Outcome>) {
        for unjudged in std::mem::take(&mut self.unjudged) {
            self.report.failed(&unjudged.attempt);
            outcomes.push(Outcome::Failed(unjudged.attempt));
        }
    }

    fn interrupt(&mut self, interruption: Interruption) {
        self.queue.clear();
        self.unjudged.clear();
        self.report.interruption = Some(interruption);
    }

    fn give_up_on_writes(&mut self) {
        let code = self
            .unjudged
            .first()
            .map_or(RefusalCode::NoAnswer, |unjudged| unjudged.code.clone());
        self.interrupt(Interruption::Unavailable(format!(
            "it answers, but fails on every change ({code})"
        )));
    }

    /// Whether one more request may be spent beyond those that the plan needs.
    fn has_extra_request(&self) -> bool {
        let most = if self.accepted_something {
            EXTRA_REQUESTS
        } else {
            EXTRA_REQUESTS_BEFORE_ACCEPTANCE - 1
        };
        self.extra_requests < most
    }

    fn next_request(&mut self) -> Option<Request> {
        if self.report.interruption.is_some() {
            return None;
        }
        if let Some(UnderWay::Ping { .. }) = &self.under_way {
            return Some(Request::Ping);
        }
        let attempts = if self.is_doubtful {
            Attempts::One
        } else {
            Attempts::Several
        };
        if let Some(group) = self.queue.next_planned(attempts) {
            return Some(self.send(group));
        }
        if self.has_extra_request()
            && let Some(group) = self.queue.next_refused()
        {
            self.extra_requests += 1;
            return Some(self.send(group));
        }
        if self.unjudged.is_empty() {
            return None;
        }
        self.ask_control()
    }

    fn send(&mut self, group: Group) -> Request {
        let request = group.request();
        self.under_way = Some(UnderWay::Group(group));
        request
    }

    /// Some entries failed alone, and nothing was accepted after them: one user who is in sync is sent again.
    fn ask_control(&mut self) -> Option<Request> {
        let Some(control) = self.control.take() else {
            self.give_up_on_writes();
            return None;
        };
        self.under_way = Some(UnderWay::Control);
        Some(Request::Upsert {
            entries: vec![control],
            attempts: Attempts::One,
        })
    }
}

#[cfg(test)]
mod tests;
