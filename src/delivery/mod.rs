//! Sending a plan, as a pure state machine: it says which request is next, is told the answer, and says what follows from it.
//!
//! No clock, no SQL, no HTTP and no logging: the loop in `cycle` does that. What holds here, whatever the service does:
//! - a refusal concerns only whom it is about: everybody else is delivered in the same cycle, as far as its extra requests
//!   reach;
//! - all whole batches that wait for nobody are tried before a refused one is searched for its culprit;
//! - a failure that may be the service's own is charged to an entry only once another entry was accepted after it;
//! - a phone is given up before somebody else claims it, and an addition that waits for a leaver follows the removal;
//! - the requests beyond those that the plan needs are bounded: what is left over is pending.
//!
//! `queue` knows what is still to be sent and in which order, `search` finds whom a refusal is about.

mod group;
mod queue;
mod report;
mod request;
mod search;
#[cfg(test)]
mod tests;

pub use report::{Report, Step};
pub use request::{
    Answer, Attempts, Interruption, InvalidEntry, Loss, NotSent, Refusal, RefusalCode, Request, Verdict,
};

pub use crate::plan::{BatchEntry, Change};
use crate::{
    employee::EmployeeId,
    plan::{Failure, FailureKey, Operation, Plan},
};

use self::{
    group::{Group, Item, RefusedItem},
    queue::Queue,
};

/// How many writing requests a cycle may spend beyond those that the plan needs, not counting a control.
pub const EXTRA_REQUESTS: usize = 120;
/// The same while nothing was accepted: the service is then likelier to be at fault than the entries. With the control, which
/// shows that, there are 16.
pub const EXTRA_REQUESTS_BEFORE_ACCEPTANCE: usize = 15;

/// A delivery under way.
#[derive(Debug)]
pub struct Delivery {
    queue: Queue,
    /// What the request under way is about.
    under_way: Option<UnderWay>,
    /// Items that failed alone, while it is open whether the service fails on everything.
    unjudged: Vec<RefusedItem>,
    /// A user as acknowledged last: sent again if attempts are unjudged at the end.
    control: Option<BatchEntry>,
    extra_requests: usize,
    refusals_over_limit: usize,
    accepted_something: bool,
    /// How many entries failed alone since the search last turned to another place.
    lone_failures: usize,
    /// An answer named entries that were accepted: what answers name is not believed any more.
    names_were_wrong: bool,
    /// A whole group got no decision, and nothing was accepted since: retrying each further one costs too much.
    service_may_fail: bool,
    /// What follows from the last answer.
    step: Step,
    report: Report,
}

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
    pub fn new(plan: &Plan) -> Self {
        Self {
            queue: Queue::new(plan),
            under_way: None,
            unjudged: Vec::new(),
            control: plan.control.clone(),
            report: Report::new(plan),
            extra_requests: 0,
            refusals_over_limit: 0,
            accepted_something: false,
            lone_failures: 0,
            names_were_wrong: false,
            service_may_fail: false,
            step: Step::default(),
        }
    }

    /// The first request.
    pub fn start(&mut self) -> Option<Request> {
        self.next_request()
    }

    /// Takes the answer to the request that was asked for last.
    pub fn answered(&mut self, answer: Answer) -> Step {
        let Answer { verdict, loss } = answer;
        if let Some(under_way) = self.under_way.take() {
            let is_writing = !matches!(under_way, UnderWay::Ping { .. });
            self.report.requests += usize::from(is_writing && verdict.was_attempted());
            self.judge(under_way, verdict);
        }
        Step {
            loss,
            next: self.next_request(),
            ..std::mem::take(&mut self.step)
        }
    }

    /// The result so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The result.
    pub fn finish(self) -> Report {
        let mut report = self.report;
        for id in self.queue.waiting_for_seat {
            report.pending.remove(&id);
            report.waiting_for_seat.insert(id);
        }
        report.seats_used = self.queue.room.seats.used;
        report
    }

    fn judge(&mut self, under_way: UnderWay, verdict: Verdict) {
        match (under_way, verdict) {
            (UnderWay::Ping { refusal, .. }, Verdict::Interrupted(Interruption::Unavailable(again))) => {
                self.service_is_away(&refusal, &again);
            }
            (_, Verdict::Interrupted(interruption)) => self.interrupt(interruption),
            (UnderWay::Group(group), Verdict::Accepted { absent }) => self.accepted(group, absent),
            (UnderWay::Group(group), Verdict::Refused(refusal)) => self.refused(group, &refusal),
            (UnderWay::Group(group), Verdict::NoDecision(refusal)) => self.undecided(group, refusal),
            (UnderWay::Ping { group, refusal }, Verdict::Accepted { .. }) => self.search_undecided(group, &refusal),
            (UnderWay::Ping { refusal, .. }, Verdict::Refused(again) | Verdict::NoDecision(again)) => {
                self.service_is_away(&refusal, &again.to_string());
            }
            (UnderWay::Control, Verdict::Accepted { .. }) => self.control_accepted(),
            (UnderWay::Control, Verdict::Refused(_) | Verdict::NoDecision(_)) => self.give_up_on_writes(),
        }
    }

    fn accepted(&mut self, group: Group, absent: Vec<EmployeeId>) {
        self.accepted_something = true;
        self.service_may_fail = false;
        self.names_were_wrong |= group.was_named;
        self.step.is_acknowledged = true;
        if group.is_removal() {
            let freed = group.items.len().saturating_sub(absent.len());
            self.step.absent = absent;
            self.queue.room.free_seats(freed, &mut self.step);
        } else {
            let taken = group.items.iter().filter(|item| item.takes_seat).count();
            self.queue.room.take_seats(taken, &mut self.step);
        }
        for item in &group.items {
            self.item_accepted(item);
        }
        // The rest was accepted without those whom the answer named: it named the right ones.
        for named in group.aside {
            self.charge(&named.item, named.item.operation(), &named.refusal);
        }
        self.charge_unjudged();
    }

    /// The service takes something. Where nobody was in sync, the control is somebody whose own attempt failed before: that
    /// user has everything now.
    fn control_accepted(&mut self) {
        self.step.is_acknowledged = true;
        self.accepted_something = true;
        if let Some(control) = self.control.clone() {
            let is_settled = |refused: &mut RefusedItem| refused.item.is_settled_by(&control);
            let settled: Vec<RefusedItem> = self.unjudged.extract_if(.., is_settled).collect();
            for RefusedItem { item, .. } in settled {
                self.item_accepted(&Item {
                    phone_refusal: item.phone_refusal.filter(|_| control.employee.phone.is_none()),
                    entry: Some(control.clone()),
                    ..item
                });
            }
        }
        self.charge_unjudged();
    }

    fn item_accepted(&mut self, item: &Item) {
        self.queue.handed_over(&item.id);
        let Some(entry) = &item.entry else {
            self.report.note_removed(&item.id);
            return;
        };
        if item.completes {
            self.report.pending.remove(&item.id);
        }
        self.report.delivered.push(entry.clone());
        self.close_failures(item, entry);
        // Whoever was just delivered is in sync, too; and a control is never sent other than as acknowledged last.
        let is_control = match &self.control {
            None => item.operation() == Operation::Upsert,
            Some(control) => control.employee.id == item.id,
        };
        if is_control {
            self.control = Some(BatchEntry {
                change: Change::Resend,
                ..entry.clone()
            });
        }
        if let Some(refusal) = &item.phone_refusal {
            self.charge(item, Operation::Phone, refusal);
        }
    }

    /// Ends the failures that an accepted entry settles.
    fn close_failures(&mut self, item: &Item, entry: &BatchEntry) {
        for operation in [Operation::Upsert, Operation::Phone] {
            let Some(failure) = self.refused_before(&item.id, operation) else {
                continue;
            };
            let is_settled = match (operation, failure.phone) {
                (Operation::Phone, Some(_)) => entry.employee.phone.is_some(),
                // A phone failure without a phone is about giving one up.
                _ => item.operation() == operation,
            };
            if is_settled {
                let key = failure.key.clone();
                self.report.failing.remove(&key);
                self.report.recovered.push(key.clone());
                self.step.recovered.push(key);
            }
        }
    }

    /// What the service refused of the user at `operation`, if that failure is open.
    fn refused_before(&self, id: &EmployeeId, operation: Operation) -> Option<&Failure> {
        let failure = self.report.failing.get(&FailureKey::new(id.as_str(), operation));
        failure.filter(|failure| !failure.is_local)
    }

    /// Charges one user with what was refused. Attempts are counted on from earlier ones with the same values.
    fn charge(&mut self, item: &Item, operation: Operation, refusal: &Refusal) {
        self.queue.did_not_hand_over(&item.id);
        if operation == Operation::Upsert {
            // Whoever is refused is not in sync, and shows nothing about the service.
            self.control.take_if(|control| control.employee.id == item.id);
        }
        let key = FailureKey::new(item.id.as_str(), operation);
        let name = item.entry.as_ref().map(|entry| entry.employee.name.clone());
        let phone = item.wanted_phone;
        let earlier = self.refused_before(&item.id, operation).filter(|earlier| {
            let is_same_name = earlier.name == name || operation == Operation::Phone;
            is_same_name && earlier.phone == phone
        });
        let failure = Failure {
            key: key.clone(),
            code: refusal.code.to_string(),
            detail: refusal.code.detail(operation).to_owned(),
            request_id: refusal.request_id.clone(),
            attempts: earlier.map_or(1, |earlier| earlier.attempts + 1),
            is_local: false,
            name,
            phone,
            spelling: None,
        };
        self.step.failed.insert(key.clone(), failure.clone());
        if self.report.failing.insert(key.clone(), failure).is_none() {
            self.step.newly_failing.insert(key);
        }
    }

    fn charge_unjudged(&mut self) {
        for RefusedItem { item, refusal } in std::mem::take(&mut self.unjudged) {
            self.charge(&item, item.operation(), &refusal);
        }
    }

    fn interrupt(&mut self, interruption: Interruption) {
        self.unjudged.clear();
        self.report.interruption = Some(interruption);
    }

    /// A group got no decision, and a read no answer.
    fn service_is_away(&mut self, refusal: &Refusal, read: &str) {
        let reason = format!("it fails ({refusal}), and does not answer a read ({read})");
        self.interrupt(Interruption::Unavailable(reason));
    }

    fn give_up_on_writes(&mut self) {
        let code = self.unjudged.first().map(|refused| refused.refusal.code.to_string());
        let code = code.unwrap_or_default();
        let reason = format!("it answers, but fails on every change ({code})");
        self.interrupt(Interruption::Unavailable(reason));
    }

    /// The whole batches of the plan come first, then the parts of refused ones, and a control at the end.
    fn next_request(&mut self) -> Option<Request> {
        if self.report.interruption.is_some() {
            return None;
        }
        if let Some(UnderWay::Ping { .. }) = &self.under_way {
            return Some(Request::Ping);
        }
        let attempts = if self.service_may_fail {
            Attempts::One
        } else {
            Attempts::Several
        };
        let mut group = self.queue.next_planned(attempts);
        if group.is_none() && self.has_extra_request() {
            // Small parts tell soon whether the service takes anything, unless they stem from a place where many entries
            // fail: after two that failed alone, what waits for longest is tried.
            let turns_elsewhere = !self.accepted_something && self.lone_failures >= 2;
            if turns_elsewhere {
                self.lone_failures = 0;
            }
            let put_back = self.queue.next_put_back(turns_elsewhere);
            group = put_back.or_else(|| self.queue.next_without_waiting());
            self.extra_requests += usize::from(group.is_some());
        }
        if let Some(group) = group {
            let request = group.request();
            self.under_way = Some(UnderWay::Group(group));
            return Some(request);
        }
        if self.unjudged.is_empty() {
            return None;
        }
        self.ask_control()
    }

    /// Whether one more request may be spent beyond those that the plan needs.
    fn has_extra_request(&self) -> bool {
        let most = if self.accepted_something {
            EXTRA_REQUESTS
        } else {
            EXTRA_REQUESTS_BEFORE_ACCEPTANCE
        };
        self.extra_requests < most
    }

    /// Some entries failed alone, and nothing was accepted after them: one user who is in sync is sent again.
    fn ask_control(&mut self) -> Option<Request> {
        let Some(control) = self.control.clone() else {
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
