//! All that can happen in a small world, breadth first: two employees and a foreign user, two names, one phone, few seats;
//! the CRM changes so many times, and so many things go wrong, at any of the requests and between any two steps. Time has
//! three steps: a moment, a minute (nothing lost can act any more, the first back-off ends) and a day.
//!
//! States that only differ in what decides nothing are one: times count by their order for each user, and by which step
//! passes them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use jiff::{SignedDuration, Timestamp};
use pure_core::{delivery::Request, employee::EmployeeId, plan::HoldKind};

use crate::{
    story::Story,
    world::{
        Action, Acts, Crm, Fate, Violation, World,
        cycle::{ListReading, Reading},
        invariants::{ids_of, results::differences},
        state::lost_contents,
    },
};

const MINUTE: SignedDuration = SignedDuration::from_secs(61);
const DAY: SignedDuration = SignedDuration::from_hours(25);

/// When faults end, everything is put right within so many cycles.
pub const CYCLES_TO_HEAL: usize = 5;

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Changes of the CRM, and of Wazzup by somebody else.
    pub edits: u8,
    pub faults: u8,
}

/// A small world: how it begins, and what the CRM may say.
pub struct SmallWorld {
    pub name: &'static str,
    pub world: World,
    pub tables: Vec<Crm>,
}

/// What a search came to.
#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    pub depth: usize,
    /// The most cycles that were needed after the last fault.
    pub cycles_to_heal: usize,
}

#[derive(Clone)]
struct Node {
    world: World,
    left: Budget,
    /// What the running cycle began with, and the answers since.
    cycle_key: u64,
}

struct Step {
    parent: usize,
    action: usize,
}

pub struct Search<'s> {
    small_world: &'s SmallWorld,
    budget: Budget,
    steps: Vec<Step>,
    seen: HashSet<u128>,
    /// States from which everything was put right, with the number of cycles.
    healed: HashMap<u128, usize>,
}

impl<'s> Search<'s> {
    pub fn new(small_world: &'s SmallWorld, budget: Budget) -> Self {
        Self {
            small_world,
            budget,
            steps: Vec::new(),
            seen: HashSet::new(),
            healed: HashMap::new(),
        }
    }

    /// Visits every state. The error is the shortest story that breaks an invariant.
    pub fn run(&mut self) -> Result<Explored, String> {
        let root = self.root();
        self.seen.insert(key(&root));
        self.steps.push(Step { parent: 0, action: 0 });
        let mut queue = VecDeque::from([(0, 0, root)]);
        let mut explored = Explored {
            states: 0,
            depth: 0,
            cycles_to_heal: 0,
        };
        while let Some((index, depth, node)) = queue.pop_front() {
            explored.states += 1;
            explored.depth = depth;
            if node.world.cycle.is_none() && node.world.lost_requests.is_empty() {
                let cycles = self.heal(&node).map_err(|seen| self.told(index, None, &seen))?;
                explored.cycles_to_heal = explored.cycles_to_heal.max(cycles);
            }
            for (number, action) in self.actions(&node).into_iter().enumerate() {
                let next = match node.after(&action) {
                    Ok(next) => next,
                    Err(violation) => {
                        let seen = format!("{}: {}", violation.invariant, violation.seen);
                        return Err(self.told(index, Some(&action), &seen));
                    }
                };
                if self.seen.insert(key(&next)) {
                    self.steps.push(Step {
                        parent: index,
                        action: number,
                    });
                    queue.push_back((self.steps.len() - 1, depth + 1, next));
                }
            }
        }
        Ok(explored)
    }

    fn root(&self) -> Node {
        Node {
            world: self.small_world.world.clone(),
            left: self.budget,
            cycle_key: 0,
        }
    }

    fn actions(&self, node: &Node) -> Vec<Action> {
        let mut actions = Vec::new();
        for index in 0..node.world.lost_requests.len() {
            actions.push(Action::Land(index));
        }
        actions.push(Action::Wait(MINUTE));
        match node.world.cycle.as_ref().and_then(|cycle| cycle.request.as_ref()) {
            Some(request) => {
                for fate in fates(request, node.left.faults > 0) {
                    actions.push(Action::Send(fate));
                }
                if node.left.faults > 0 {
                    actions.push(Action::Abandon);
                }
            }
            None => self.actions_between_cycles(node, &mut actions),
        }
        actions
    }

    fn actions_between_cycles(&self, node: &Node, actions: &mut Vec<Action>) {
        actions.push(Action::StartCycle(Reading::GOOD));
        actions.push(Action::Wait(DAY));
        let has_open_hold = node
            .world
            .state
            .tables
            .holds
            .values()
            .any(|hold| hold.approved.is_none());
        if has_open_hold && node.world.state.inbox.is_empty() {
            actions.push(Action::ApproveAll);
        }
        if node.left.faults > 0 {
            for answers_look_ups in [true, false] {
                actions.push(Action::StartCycle(Reading {
                    list: ListReading::Unavailable,
                    answers_look_ups,
                }));
            }
            if node.world.state.in_flight.is_some() {
                actions.push(Action::StartAndDie);
            }
        }
        if node.left.edits > 0 {
            for crm in &self.small_world.tables {
                if *crm != node.world.crm {
                    actions.push(Action::Edit(crm.clone()));
                }
            }
            for id in ["1", "2"] {
                if !node.world.service.users.contains_key(id) {
                    actions.push(Action::SomebodyAdds(id.to_owned()));
                }
            }
        }
    }

    /// How many cycles, a day apart and with everything approved, put everything right.
    fn heal(&mut self, node: &Node) -> Result<usize, String> {
        let start = Node {
            left: Budget { edits: 0, faults: 0 },
            ..node.clone()
        };
        let start_key = key(&start);
        if let Some(cycles) = self.healed.get(&start_key) {
            return Ok(*cycles);
        }
        let mut world = start.world;
        for cycles in 0..=CYCLES_TO_HEAL {
            let has_open_hold = world.state.tables.holds.values().any(|hold| hold.approved.is_none());
            if cycles > 0 && differences(&world).is_empty() && world.state.has_empty_journal() && !has_open_hold {
                self.healed.insert(start_key, cycles);
                return Ok(cycles);
            }
            let actions = [Action::Wait(DAY), Action::ApproveAll, Action::StartCycle(Reading::GOOD)];
            for action in &actions {
                world.apply(action).map_err(|violation| sentence(&violation))?;
            }
            while world.cycle.is_some() {
                let sent = world.apply(&Action::Send(Fate::Answered));
                sent.map_err(|violation| sentence(&violation))?;
            }
        }
        Err(format!(
            "when faults end, Wazzup becomes what the CRM says within {CYCLES_TO_HEAL} cycles: {:?}, journal empty: {}",
            differences(&world),
            world.state.has_empty_journal()
        ))
    }

    /// The story that leads to a state.
    fn told(&self, index: usize, last: Option<&Action>, end: &str) -> String {
        let mut numbers = Vec::new();
        let mut at = index;
        while at != 0 {
            numbers.push(self.steps[at].action);
            at = self.steps[at].parent;
        }
        let mut node = self.root();
        let mut story = Story::new(node.world.clone());
        for number in numbers.iter().rev() {
            let action = self.actions(&node)[*number].clone();
            story.act(&action).unwrap_or_default();
            node = node.after(&action).unwrap_or(node);
        }
        if let Some(action) = last {
            let _ = story.act(action);
        }
        let steps = numbers.len() + usize::from(last.is_some());
        story.told(&format!("{end} (after {steps} steps)"))
    }
}

fn sentence(violation: &Violation) -> String {
    format!("{}: {}", violation.invariant, violation.seen)
}

/// What may become of a request.
fn fates(request: &Request, may_fail: bool) -> Vec<Fate> {
    let mut fates = vec![Fate::Answered];
    if !may_fail {
        return fates;
    }
    if !request.is_writing() {
        fates.push(Fate::Unreachable);
        return fates;
    }
    fates.extend([
        Fate::Unreachable,
        Fate::Forbidden,
        Fate::Fails { acted: false },
        Fate::Fails { acted: true },
        Fate::Refused { named: None },
    ]);
    // One more than there are: an entry that does not exist.
    for index in 0..=request.entry_count() {
        fates.push(Fate::Refused { named: Some(index) });
    }
    for acts in [Acts::Never, Acts::AtOnce, Acts::Later] {
        fates.extend([Fate::Lost(acts), Fate::LostThenAnswered(acts), Fate::Abandoned(acts)]);
    }
    fates
}

impl Node {
    fn after(&self, action: &Action) -> Result<Self, Violation> {
        let mut next = self.clone();
        match action {
            Action::Edit(_) | Action::SomebodyAdds(_) => next.left.edits -= 1,
            Action::StartCycle(reading) => {
                if *reading != Reading::GOOD {
                    next.left.faults -= 1;
                }
                next.cycle_key = hash(&(short_key(self), reading));
            }
            Action::Send(fate) => {
                if *fate != Fate::Answered {
                    next.left.faults -= 1;
                }
                next.cycle_key = hash(&(self.cycle_key, answer_key(self, *fate)));
            }
            Action::Abandon | Action::StartAndDie => next.left.faults -= 1,
            Action::Wait(_) | Action::ApproveAll | Action::RetryAll | Action::Land(_) => {}
        }
        next.world.apply(action)?;
        if next.world.cycle.is_none() {
            next.cycle_key = 0;
        }
        Ok(next)
    }
}

/// What the service answers depends on what it has.
fn answer_key(node: &Node, fate: Fate) -> u64 {
    hash(&(fate, &node.world.service))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn short_key(node: &Node) -> u64 {
    hash(&key(node))
}

/// Two states with the same key go on alike.
fn key(node: &Node) -> u128 {
    let mut first = DefaultHasher::new();
    let mut second = DefaultHasher::new();
    1_u8.hash(&mut second);
    for hasher in [&mut first, &mut second] {
        write_key(node, hasher);
    }
    u128::from(first.finish()) << 64 | u128::from(second.finish())
}

fn write_key(node: &Node, hasher: &mut DefaultHasher) {
    let world = &node.world;
    (node.left.edits, node.left.faults, node.cycle_key).hash(hasher);
    world.crm.hash(hasher);
    world.service.hash(hasher);
    world.reads_list_at_start.hash(hasher);
    world.approved_takeovers.hash(hasher);
    let account = &world.state.tables.account;
    (account.fingerprint.is_some(), account.seats.used, account.seats.limit).hash(hasher);
    for id in &account.waiting_for_seat {
        id.hash(hasher);
    }
    let read_at = world.state.list_read_at;
    read_at
        .map(|at| world.now.duration_since(at) >= SignedDuration::from_hours(1))
        .hash(hasher);
    world.state.inbox.len().hash(hasher);
    for id in known_ids(world) {
        write_user(world, &id, hasher);
    }
    for lost in &world.lost_requests {
        write_request(&lost.request, hasher);
        passed_by(world.now, lost.until).hash(hasher);
    }
    match &world.state.in_flight {
        Some(in_flight) => write_request(&in_flight.request, hasher),
        None => 0_u8.hash(hasher),
    }
}

fn known_ids(world: &World) -> Vec<EmployeeId> {
    let tables = &world.state.tables;
    let mut ids: Vec<EmployeeId> = tables.users.keys().chain(tables.lost.keys()).cloned().collect();
    ids.extend(world.state.removals.iter().map(|removal| removal.user_id.clone()));
    let named = tables.failures.keys().map(|key| &*key.user_id);
    let held = tables.holds.keys().map(|key| &*key.user_id);
    ids.extend(named.chain(held).filter_map(EmployeeId::parse));
    ids.sort();
    ids.dedup();
    ids
}

/// What the state says of one user, with times by their order.
fn write_user(world: &World, id: &EmployeeId, hasher: &mut DefaultHasher) {
    let tables = &world.state.tables;
    let user = tables.users.get(id);
    let in_flight = world.state.in_flight.as_ref();
    let started_at = in_flight
        .filter(|in_flight| ids_of(&in_flight.request).contains(id))
        .map(|in_flight| in_flight.started_at);
    let mut times: Vec<Timestamp> = Vec::new();
    times.extend(user.and_then(|user| user.absent_since));
    times.extend(user.and_then(|user| user.synced_at));
    times.extend(started_at);
    for entry in tables.lost_entries(id) {
        times.extend([entry.lost_at, entry.may_land_until]);
    }
    times.retain(|time| *time <= world.now);
    times.sort();
    times.dedup();
    let order = |time: Timestamp| match times.binary_search(&time) {
        Ok(rank) => (0, rank),
        Err(_) => (1, usize::from(passed_by(world.now, time))),
    };
    let held_since = tables.holds.values().map(|hold| hold.since).min();
    id.hash(hasher);
    if let Some(user) = user {
        (held_since.is_some() && user.added_at > held_since).hash(hasher);
        user.absent_since.map(order).hash(hasher);
        user.synced_at.map(order).hash(hasher);
        if let Some(acknowledged) = &user.acknowledged {
            acknowledged.name.hash(hasher);
            acknowledged.phone.hash(hasher);
        }
    }
    started_at.map(order).hash(hasher);
    for entry in tables.lost_entries(id) {
        content_text(&entry.content).hash(hasher);
        (order(entry.lost_at), order(entry.may_land_until)).hash(hasher);
    }
    for (key, open) in &tables.failures {
        if *key.user_id == *id.as_str() {
            key.operation.hash(hasher);
            let failure = &open.failure;
            (&failure.name, failure.phone, failure.is_local, failure.attempts.min(2)).hash(hasher);
            open.next_attempt_at.map(|at| passed_by(world.now, at)).hash(hasher);
        }
    }
    for (key, hold) in &tables.holds {
        if *key.user_id == *id.as_str() {
            let absent_since = user.and_then(|user| user.absent_since).map(|at| at.to_string());
            let content = if key.kind == HoldKind::Remove {
                (absent_since.as_ref() == Some(&hold.content)).to_string()
            } else {
                hold.content.clone()
            };
            (key.kind, content, &hold.crm_row, hold.sticky, hold.approved.is_some()).hash(hasher);
        }
    }
    for removal in &world.state.removals {
        if removal.user_id == *id && removal.at + SignedDuration::from_hours(24) > world.now {
            removal.approved.hash(hasher);
        }
    }
}

fn write_request(request: &Request, hasher: &mut DefaultHasher) {
    for (id, content) in lost_contents(request) {
        id.hash(hasher);
        content_text(&content).hash(hasher);
    }
    if let Request::Upsert { entries, .. } = request {
        for entry in entries {
            entry.change.hash(hasher);
        }
    }
}

fn content_text(content: &pure_core::plan::LostContent) -> (String, u64) {
    match content {
        pure_core::plan::LostContent::Removal => (String::new(), 0),
        pure_core::plan::LostContent::Upsert { name, phone } => {
            (name.to_string(), phone.map_or(1, pure_core::employee::Phone::digits))
        }
    }
}

/// Which step of time passes `time`: none is needed, a minute, or a day.
fn passed_by(now: Timestamp, time: Timestamp) -> u8 {
    if time <= now {
        0
    } else if time <= now + MINUTE {
        1
    } else {
        2
    }
}
