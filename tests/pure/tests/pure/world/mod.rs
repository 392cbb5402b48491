//! A model of everything around the pure core: the CRM, the state, Wazzup, the network between them, and the process
//! that runs cycles and may die at any time.

pub mod counts;
pub mod cycle;
pub mod invariants;
pub mod service;
pub mod state;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pure_core::{
    delivery::{Answer, Interruption, Loss, RefusalCode, Request},
    employee::{Employee, EmployeeId, FullName, Phone, Roster, RosterEntry, RowProblem, Spelling},
    plan::{HoldKey, HoldKind, Limit, Policy},
};

use self::{
    counts::Counts,
    cycle::{Reading, RunningCycle},
    service::{RemoteUser, Service, accepted, bare, interrupted, refused, unavailable, undecided},
    state::{LANDS_WITHIN, Order, State},
};

/// An invariant that does not hold: its name, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub seen: String,
}

pub type Checked = Result<(), Violation>;

/// What the CRM says of one employee.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Person {
    pub name: String,
    pub phone: Option<u64>,
}

/// The CRM's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crm {
    pub people: BTreeMap<String, Person>,
    /// Ids whose rows cannot be taken.
    pub rejected: BTreeSet<String>,
    pub missing_ids: usize,
}

impl Crm {
    pub fn roster(&self) -> Roster {
        let mut roster = Roster {
            missing_ids: self.missing_ids,
            ..Roster::default()
        };
        for (id, person) in &self.people {
            if self.rejected.contains(id) {
                continue;
            }
            roster.entries.push(RosterEntry {
                employee: Employee {
                    id: employee_id(id),
                    name: FullName::parse(&person.name).expect("a name"),
                    phone: person.phone.map(phone),
                },
                phone_spelling: person
                    .phone
                    .map(|digits| Spelling::from_stored(&format!("RU +{digits}"))),
                has_unreadable_phone: false,
            });
        }
        for id in &self.rejected {
            roster.rejected.insert(id.as_str().into(), RowProblem::InvalidName);
        }
        roster
    }

    /// The employees whose rows can be taken.
    pub fn valid_people(&self) -> impl Iterator<Item = (&String, &Person)> {
        self.people.iter().filter(|(id, _)| !self.rejected.contains(*id))
    }
}

pub fn employee_id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).expect("an id")
}

pub fn phone(digits: u64) -> Phone {
    Phone::parse(&digits.to_string()).expect("a phone")
}

/// A request whose answer nobody waits for any more, and which may still act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRequest {
    pub request: Request,
    /// It does not act after this time.
    pub until: Timestamp,
}

/// When a request acts whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acts {
    Never,
    AtOnce,
    /// At any later moment, until the time that the journal assumes.
    Later,
}

/// What becomes of the request that is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The service decides.
    Answered,
    /// The service refuses, whatever the request says; it names this entry, or one that does not exist, or nothing.
    Refused { named: Option<usize> },
    /// 403 by something in front of the service.
    Forbidden,
    /// 500, before or after it acted.
    Fails { acted: bool },
    /// No answer within the time-out.
    Lost(Acts),
    /// The first attempt gets no answer, the next one does.
    LostThenAnswered(Acts),
    /// Nobody is reached.
    Unreachable,
    /// The key is not accepted.
    Unauthorized,
    /// The process dies, or loses its lease to another copy, while the request is under way.
    Abandoned(Acts),
}

/// What happens next in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Edit(Crm),
    Wait(SignedDuration),
    /// An operator approves all that is held now.
    ApproveAll,
    RetryAll,
    /// A cycle reads the CRM and Wazzup, plans, and writes down what it is about to do.
    StartCycle(Reading),
    /// A cycle begins and dies before it has done more than open.
    StartAndDie,
    /// The request under way.
    Send(Fate),
    /// The process dies, or another copy takes the lease over, before the request is sent.
    Abandon,
    /// A lost request acts now.
    Land(usize),
    /// Another integration creates a user, with a name that no employee has.
    SomebodyAdds(String),
}

/// How the last cycle ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedCycle {
    pub outcome: Outcome,
    pub counts: Option<Counts>,
    /// Writing requests.
    pub requests: usize,
    /// As the plan counts them.
    pub planned_requests: usize,
    /// All answers were acceptances.
    pub was_smooth: bool,
    /// It ran out of requests, or stopped early.
    pub was_cut_short: bool,
    pub undelivered: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    InSync,
    Incomplete,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Takeover {
    pub id: String,
    pub name_in_wazzup: String,
    pub name_in_crm: Option<String>,
}

#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub policy: Policy,
    pub crm: Crm,
    pub service: Service,
    pub lost_requests: Vec<LostRequest>,
    pub state: State,
    pub cycle: Option<RunningCycle>,
    /// The process has not finished a cycle with a list since it started.
    pub reads_list_at_start: bool,
    /// `run`, which reads the list when it starts; otherwise `once`.
    pub is_daemon: bool,
    pub last_cycle: Option<EndedCycle>,
    /// Take-overs that somebody approved.
    pub approved_takeovers: BTreeSet<Takeover>,
    /// Removals sent without approval, with the time of the first sending, as long as none of them failed.
    pub unapproved_removals: BTreeMap<String, Timestamp>,
    /// A removal failed or was lost: the brake does not count it any more.
    pub has_removal_failed: bool,
}

/// The address and key of all worlds.
pub const FINGERPRINT: &str = "0123456789abcdef";

/// Removes at once, and holds only what concerns very many.
pub const EASY_POLICY: Policy = Policy {
    removes: true,
    removals: Limit {
        above: 1_000,
        above_percent: 1_000,
    },
    grace: SignedDuration::ZERO,
    updates: Limit {
        above: 1_000,
        above_percent: 1_000,
    },
    always_takes_over: false,
};

impl World {
    pub fn new(service: Service, crm: Crm, policy: Policy) -> Self {
        Self {
            now: Timestamp::from_second(1_700_000_000).expect("a time"),
            policy,
            crm,
            service,
            lost_requests: Vec::new(),
            state: State::default(),
            cycle: None,
            reads_list_at_start: true,
            is_daemon: true,
            last_cycle: None,
            approved_takeovers: BTreeSet::new(),
            unapproved_removals: BTreeMap::new(),
            has_removal_failed: false,
        }
    }

    /// Every step takes a moment.
    pub fn tick(&mut self) {
        self.now += SignedDuration::from_millis(1);
    }

    pub fn apply(&mut self, action: &Action) -> Checked {
        match action {
            Action::Edit(crm) => self.crm = crm.clone(),
            Action::Wait(duration) => {
                self.now += *duration;
                let now = self.now;
                self.lost_requests.retain(|lost| lost.until >= now);
            }
            Action::ApproveAll => self.approve_all(),
            Action::RetryAll => self.state.inbox.push(Order::RetryAll),
            Action::StartCycle(reading) => self.start_cycle(reading)?,
            Action::StartAndDie => {
                self.tick();
                self.state.open_cycle(self.now);
                self.reads_list_at_start = self.is_daemon;
            }
            Action::Send(fate) => self.send(*fate)?,
            Action::Abandon => self.abandon(),
            Action::Land(index) => {
                let lost = self.lost_requests.remove(*index);
                self.excuse(&lost.request);
                self.service.handle(&lost.request);
            }
            Action::SomebodyAdds(id) => {
                // Whom Wazzup acknowledged to us is ours, whoever creates the user again.
                let user = self.state.tables.users.get(id.as_str());
                let may_be_touched = user.is_some_and(|user| user.acknowledged.is_some());
                self.service.users.insert(
                    id.clone(),
                    RemoteUser {
                        name: "Somebody Else".to_owned(),
                        phone: None,
                        is_foreign: true,
                        may_be_touched,
                        is_left_by_refusal: false,
                    },
                );
            }
        }
        invariants::foreign_users_are_left_alone(self)?;
        invariants::whatever_may_land_stands_in_the_journal(self)
    }

    /// Orders the approval of every hold, with its content as it is now.
    fn approve_all(&mut self) {
        for (key, hold) in &self.state.tables.holds {
            if hold.approved.is_none() {
                self.state.inbox.push(Order::Approve {
                    key: key.clone(),
                    content: hold.content.clone(),
                });
                if key.kind == HoldKind::Takeover {
                    self.approved_takeovers.insert(Takeover {
                        id: key.user_id.to_string(),
                        name_in_wazzup: hold.content.clone(),
                        name_in_crm: hold.crm_name(),
                    });
                }
            }
        }
    }

    fn abandon(&mut self) {
        let request = self.cycle.take().and_then(|cycle| cycle.request);
        self.has_removal_failed |= matches!(request, Some(Request::Remove { .. }));
        self.reads_list_at_start = self.is_daemon;
    }

    fn send(&mut self, fate: Fate) -> Checked {
        let request = self.cycle.as_ref().and_then(|cycle| cycle.request.clone());
        let request = request.expect("a request is under way");
        self.tick();
        let answer = match fate {
            Fate::Answered => self.service.handle(&request),
            Fate::Refused { named } => {
                let mut refusal = bare(RefusalCode::InvalidUsersData);
                refusal.invalid = named
                    .map(|index| pure_core::delivery::InvalidEntry {
                        index: Some(index),
                        fields: Vec::new(),
                    })
                    .into_iter()
                    .collect();
                refused(refusal)
            }
            Fate::Forbidden => undecided(RefusalCode::Status(403), Loss::None),
            Fate::Fails { acted } => {
                if acted {
                    self.service.handle(&request);
                }
                undecided(RefusalCode::Status(500), Loss::Over)
            }
            Fate::Lost(acts) => {
                self.lose(&request, acts);
                undecided(RefusalCode::NoAnswer, Loss::MayLand)
            }
            Fate::LostThenAnswered(acts) => {
                self.lose(&request, acts);
                let answer = self.service.handle(&request);
                Answer {
                    loss: Loss::MayLand,
                    ..answer
                }
            }
            Fate::Unreachable => unavailable(),
            Fate::Unauthorized => interrupted(Interruption::Unauthorized),
            Fate::Abandoned(acts) => {
                self.lose(&request, acts);
                self.abandon();
                return Ok(());
            }
        };
        let answer = if request.is_writing() {
            answer
        } else {
            answer_to_ping(fate)
        };
        self.take_answer(answer)
    }

    fn lose(&mut self, request: &Request, acts: Acts) {
        match acts {
            Acts::AtOnce => {
                self.service.handle(request);
            }
            Acts::Later if request.is_writing() => self.lost_requests.push(LostRequest {
                request: request.clone(),
                until: self.now + LANDS_WITHIN,
            }),
            Acts::Never | Acts::Later => {}
        }
    }

    /// What the journal says about a foreign user with good reason may change it, and later requests may, too.
    pub(super) fn touch_foreign_users(&mut self, request: &Request) {
        let Request::Upsert { entries, .. } = request else {
            return;
        };
        for entry in entries {
            let id = entry.employee.id.as_str();
            let Some(user) = self.service.users.get_mut(id) else {
                continue;
            };
            let is_approved = self.approved_takeovers.contains(&Takeover {
                id: id.to_owned(),
                name_in_wazzup: user.name.clone(),
                name_in_crm: Some(entry.employee.name.to_string()),
            });
            if self.policy.always_takes_over || is_approved || entry.employee.name.is_same_as(&user.name) {
                user.may_be_touched = true;
            }
        }
    }

    /// Nobody can help what a lost request does to a user whom somebody else created meanwhile.
    fn excuse(&mut self, request: &Request) {
        for id in invariants::ids_of(request) {
            if let Some(user) = self.service.users.get_mut(id.as_str()) {
                user.may_be_touched = true;
            }
        }
    }

    /// Whether the user's removal is held, and nobody has approved it.
    pub fn is_held(&self, kind: HoldKind, id: &EmployeeId) -> bool {
        let hold = self.state.tables.holds.get(&HoldKey::new(kind, id.as_str()));
        hold.is_some_and(|hold| hold.approved.is_none())
    }
}

fn answer_to_ping(fate: Fate) -> Answer {
    match fate {
        Fate::Answered => accepted(Vec::new()),
        Fate::Unauthorized => interrupted(Interruption::Unauthorized),
        _ => unavailable(),
    }
}
