//! The loop of `src/cycle`: read, plan with answers, and send one request after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use jiff::{SignedDuration, Timestamp};
use pure_core::{
    delivery::{Answer, Delivery, Loss, Report, Request, Verdict},
    employee::{EmployeeId, Roster},
    plan::{Coverage, Plan, RemoteList, Snapshot},
};

use super::{
    Checked, EndedCycle, FINGERPRINT, Outcome, Violation, World,
    counts::{Counts, is_in_sync},
    invariants::{self, Evidence},
    state::Finished,
};

/// How Wazzup's list and the look-ups come out in a cycle, as far as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    pub list: ListReading,
    pub answers_look_ups: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListReading {
    Complete,
    /// It says that it is complete, and lacks the first of the users whom we created, acknowledged or not.
    Lying,
    /// It shows all but so many users, and proves nothing.
    Incomplete {
        lacking: usize,
    },
    Unavailable,
}

impl Reading {
    pub const GOOD: Self = Self {
        list: ListReading::Complete,
        answers_look_ups: true,
    };
}

/// How often the list is read.
const VERIFY_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How many users a cycle looks up at most.
const LOOK_UPS: usize = 100;

/// A cycle between two of its steps: `request` stands in the journal and is about to be sent.
pub struct RunningCycle {
    pub began: Timestamp,
    pub roster: Rc<Roster>,
    pub snapshot: Rc<Snapshot>,
    pub plan: Rc<Plan>,
    pub list: Rc<RemoteList>,
    pub answers: Vec<Answer>,
    delivery: Delivery,
    pub request: Option<Request>,
    pub requests: usize,
    pub evidence: Evidence,
}

impl Clone for RunningCycle {
    /// A delivery is what its plan and the answers make of it.
    fn clone(&self) -> Self {
        let mut delivery = Delivery::new(&self.plan);
        delivery.start();
        for answer in &self.answers {
            delivery.answered(answer.clone());
        }
        Self {
            began: self.began,
            roster: Rc::clone(&self.roster),
            snapshot: Rc::clone(&self.snapshot),
            plan: Rc::clone(&self.plan),
            list: Rc::clone(&self.list),
            answers: self.answers.clone(),
            delivery,
            request: self.request.clone(),
            requests: self.requests,
            evidence: self.evidence.clone(),
        }
    }
}

impl World {
    pub(super) fn start_cycle(&mut self, reading: &Reading) -> Checked {
        self.tick();
        let began = self.now;
        let snapshot = self.state.open_cycle(began);
        let roster = self.crm.roster();
        let mut list = RemoteList::unread(FINGERPRINT);
        list.scheduled = self.list_is_due(&snapshot, began);
        if list.scheduled {
            self.read_list(reading, &mut list);
        }
        let mut look_ups = 0;
        let mut rounds = 0;
        let plan = loop {
            rounds += 1;
            if rounds > 200 {
                return Err(Violation {
                    invariant: "planning ends",
                    seen: "200 rounds of questions".to_owned(),
                });
            }
            let plan = Plan::between(&roster, &snapshot, &list, &self.policy, began);
            if plan.questions.list && !list.was_requested() {
                self.read_list(reading, &mut list);
                continue;
            }
            let users: Vec<EmployeeId> = plan.questions.users.iter().take(LOOK_UPS - look_ups).cloned().collect();
            if users.is_empty() {
                break plan;
            }
            look_ups += users.len();
            if !reading.answers_look_ups && plan.questions.for_account {
                self.fail_before_the_plan();
                return Ok(());
            }
            if !reading.answers_look_ups {
                list.look_up_failure = Some("no answer".to_owned());
            }
            for id in &users {
                if reading.answers_look_ups {
                    let name = self.service.users.get(id.as_str()).map(|user| user.name.clone());
                    list.add_look_up(id.as_str(), name);
                } else {
                    list.add_unanswered(id.as_str());
                }
            }
        };
        let mut delivery = Delivery::new(&plan);
        let mut snapshot = snapshot;
        if plan.marks.forgets_account {
            self.forget_account();
            snapshot = Snapshot::default();
        }
        let request = delivery.start();
        self.tick();
        self.state.begin(self.now, began, &plan.marks, request.as_ref());
        let cycle = RunningCycle {
            began,
            roster: Rc::new(roster),
            snapshot: Rc::new(snapshot),
            plan: Rc::new(plan),
            list: Rc::new(list),
            answers: Vec::new(),
            delivery,
            request,
            requests: 0,
            evidence: Evidence::default(),
        };
        invariants::plan::plan_makes_sense(self, &cycle)?;
        invariants::failures::open_failures_are_reported(self, cycle.delivery.report())?;
        self.cycle = Some(cycle);
        self.go_on()
    }

    /// Without an answer the account cannot be judged.
    fn fail_before_the_plan(&mut self) {
        self.tick();
        let finished = Finished {
            failed: true,
            had_list: false,
            passed_fingerprint: None,
            seats_used: None,
            waiting_for_seat: None,
        };
        self.state.finish_cycle(self.now, finished);
        self.last_cycle = Some(EndedCycle {
            outcome: Outcome::Failed,
            counts: None,
            requests: 0,
            planned_requests: 0,
            was_smooth: true,
            was_cut_short: true,
            undelivered: BTreeSet::new(),
        });
    }

    /// Somebody approved that this is another account: whoever is in it is foreign, and what was lost went elsewhere.
    fn forget_account(&mut self) {
        self.lost_requests.clear();
        for user in self.service.users.values_mut() {
            user.is_foreign = true;
            user.may_be_touched = false;
        }
    }

    fn list_is_due(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let is_old = self
            .state
            .list_read_at
            .is_none_or(|read_at| now.duration_since(read_at) >= VERIFY_EVERY);
        let is_changed = snapshot
            .account
            .fingerprint
            .as_deref()
            .is_some_and(|known| known != FINGERPRINT);
        self.reads_list_at_start || is_old || is_changed
    }

    fn read_list(&self, reading: &Reading, list: &mut RemoteList) {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (id, user) in &self.service.users {
            names.insert(id.clone(), user.name.clone());
        }
        let coverage = match reading.list {
            ListReading::Complete => Coverage::Complete,
            ListReading::Lying => {
                let is_created = |id: &&EmployeeId| {
                    let user = self.service.users.get(id.as_str());
                    user.is_some_and(|user| !user.is_foreign)
                };
                if let Some(id) = self.state.tables.users.keys().find(is_created) {
                    names.remove(id.as_str());
                }
                Coverage::Complete
            }
            ListReading::Incomplete { lacking } => {
                for _ in 0..lacking {
                    names.pop_last();
                }
                Coverage::Incomplete("it was cut short".to_owned())
            }
            ListReading::Unavailable => {
                names.clear();
                Coverage::Unavailable("no answer".to_owned())
            }
        };
        list.add_list(names, coverage);
    }

    pub(super) fn take_answer(&mut self, answer: Answer) -> Checked {
        let mut cycle = self.cycle.take().expect("a cycle is running");
        let request = cycle.request.take().expect("a request is under way");
        if request.is_writing() {
            cycle.requests += 1;
        }
        self.tick();
        let step = cycle.delivery.answered(answer.clone());
        let failures_before = self.state.tables.failures.clone();
        self.state.record(self.now, &step);
        let is_removal = matches!(request, Request::Remove { .. });
        let is_certain = matches!(answer.verdict, Verdict::Accepted { .. }) && answer.loss == Loss::None;
        self.has_removal_failed |= is_removal && !is_certain;
        cycle.evidence.take(&request, &answer);
        invariants::requests_are_counted(&cycle, cycle.delivery.report())?;
        invariants::failures::open_failures_are_reported(self, cycle.delivery.report())?;
        invariants::failures::charges_have_evidence(&cycle, &step)?;
        invariants::failures::failures_say_what_was_attempted(&cycle, &failures_before, &step)?;
        invariants::failures::acceptances_end_failures(self, &request, &answer, &failures_before, &step)?;
        cycle.answers.push(answer);
        cycle.request = step.next;
        self.cycle = Some(cycle);
        self.go_on()
    }

    /// Either a request is about to be sent, or the cycle ends.
    fn go_on(&mut self) -> Checked {
        let cycle = self.cycle.as_ref().expect("a cycle is running");
        if let Some(request) = &cycle.request {
            invariants::requests::request_may_be_sent(self, cycle, request)?;
            let request = request.clone();
            self.touch_foreign_users(&request);
            self.note_removals();
            return Ok(());
        }
        let cycle = self.cycle.take().expect("a cycle is running");
        self.finish_cycle(cycle)
    }

    fn note_removals(&mut self) {
        let Some(cycle) = &self.cycle else { return };
        if let Some(Request::Remove { user_ids, .. }) = &cycle.request {
            for removal in &cycle.plan.removals {
                if user_ids.contains(&removal.id) && !removal.approved {
                    let now = self.now;
                    self.unapproved_removals.entry(removal.id.to_string()).or_insert(now);
                }
            }
        }
    }

    fn finish_cycle(&mut self, cycle: RunningCycle) -> Checked {
        let RunningCycle {
            began,
            roster,
            snapshot,
            plan,
            list,
            answers,
            delivery,
            requests,
            evidence,
            ..
        } = cycle;
        let mut report: Report = delivery.finish();
        let failed = report.interruption.is_some() || list.look_up_failure.is_some();
        if failed {
            report.let_wait_on(&snapshot.account.waiting_for_seat);
        }
        let had_list = list.was_answered() && !report.leaves_anybody(&plan);
        let counts = Counts::of(&roster, &plan, &report);
        let outcome = if failed {
            Outcome::Failed
        } else if is_in_sync(&plan, &report, &counts) {
            Outcome::InSync
        } else {
            Outcome::Incomplete
        };
        let passed = plan.account_proven;
        let seats = report.seats_used.filter(|_| passed && list.is_complete());
        let waiting = report.waiting_for_seat.clone();
        let has_changed = waiting != snapshot.account.waiting_for_seat;
        self.tick();
        self.state.finish_cycle(
            self.now,
            Finished {
                failed,
                had_list,
                passed_fingerprint: passed.then(|| FINGERPRINT.to_owned()),
                seats_used: seats,
                waiting_for_seat: has_changed.then_some(waiting),
            },
        );
        if !failed && had_list {
            self.reads_list_at_start = false;
        }
        let is_acceptance = |answer: &Answer| matches!(answer.verdict, Verdict::Accepted { .. });
        let undelivered: BTreeSet<String> = report.pending.iter().map(ToString::to_string).collect();
        let ended = EndedCycle {
            outcome,
            requests,
            planned_requests: plan.requests(),
            was_smooth: answers.iter().all(is_acceptance),
            was_cut_short: failed,
            undelivered,
            counts: Some(counts),
        };
        self.has_removal_failed |= report.removed < plan.removals.len();
        invariants::cycle_ended_well(self, began, &ended, &plan, &report, &evidence)?;
        self.last_cycle = Some(ended);
        Ok(())
    }
}
