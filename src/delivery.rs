//! Sending a plan: removals, then phone releases, then upserts, one request at a time.
//!
//! What holds here, whatever the service refuses:
//! - a refusal concerns only whom it is about: everybody else of the batch is delivered in the same cycle (`isolation`);
//! - the outcome of each batch is recorded in one transaction before the next request starts, and none is open during one;
//! - when the service is not available, or takes no key, the delivery ends, and nobody is charged with it;
//! - the additional requests of a cycle are bounded ([`SPARE_REQUESTS`]): what is left over is pending.

mod isolation;
mod removal;
mod seats;

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{
    employee::{Employee, EmployeeId, Phone},
    plan::{BATCH, Failure, Failures, Operation, Plan, Snapshot, Upsert, next_attempt},
    state::{self, Attempt, Change, Delivered, Lease, Record, State},
    wazzup::{self, Ack, Code, OnFault, Refusal, Session},
};

/// How many requests a cycle may spend on refusals, beyond those that the plan needs.
pub const SPARE_REQUESTS: usize = 120;

/// After so many 500s without one accepted request it is the service that fails, not an entry.
const FAULTS_OF_AN_OUTAGE: usize = 24;

/// The delivery cannot go on; nobody is charged with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wazzup is not available, or does not take the key.
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
    /// Wazzup answers, but fails on everything it is asked to change.
    #[error("Wazzup is unavailable: it answers, but fails on every change ({0})")]
    Outage(String),
    /// The state cannot be written.
    #[error(transparent)]
    State(#[from] state::Error),
}

/// What a delivery did.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Requests that change something.
    pub requests: usize,
    /// Users added.
    pub added: usize,
    /// Users changed.
    pub updated: usize,
    /// Users removed.
    pub removed: usize,
    /// Whose upsert was acknowledged.
    pub delivered: HashSet<EmployeeId>,
    /// Whose due removal was not.
    pub unremoved: BTreeSet<EmployeeId>,
}

/// What a delivery works with.
pub struct Delivery<'a> {
    wazzup: &'a Session<'a>,
    state: &'a State,
    lease: &'a Lease,
    cycle_id: i64,
    /// The state database's clock at the beginning of the cycle, and when that was.
    now: Timestamp,
    began: Instant,
    /// The time-out of a request.
    timeout: SignedDuration,
    /// What it did so far.
    pub tally: Tally,
    /// The failures open now.
    pub failures: Failures,
    /// The most entries in a request; smaller only if the service says so.
    batch: usize,
    spare: usize,
    seats: seats::Room,
    faults: FaultsSoFar,
    /// The service is known to be where `base_url` says.
    answers: bool,
}

/// Whether 500s are about an entry: only if something else was accepted.
#[derive(Default)]
struct FaultsSoFar {
    accepted: bool,
    unaccepted: usize,
    /// Refused attempts that nobody is charged with before something was accepted.
    suspended: Vec<Attempt>,
}

/// An entry on its way.
#[derive(Clone)]
struct Item {
    upsert: Upsert,
    change: Change,
    /// Its final upsert follows in this cycle.
    more_to_follow: bool,
    /// It goes without its phone, and this is why.
    phone_failure: Option<Box<Attempt>>,
}

/// What sending a group came to.
enum Sent {
    /// All of it is delivered, or waits for a seat.
    Settled,
    /// This is left of it, and was refused.
    Refused(Vec<Item>, Box<Refusal>),
    /// There are no spare requests left: it is pending.
    OutOfRequests,
}

impl<'a> Delivery<'a> {
    /// A delivery in the cycle `cycle_id` that began at `now`. `failures` are those open after the intent was recorded,
    /// `account` says what is known of the seats.
    #[must_use]
    pub fn new(
        wazzup: &'a Session<'a>,
        state: &'a State,
        lease: &'a Lease,
        (cycle_id, now, began): (i64, Timestamp, Instant),
        timeout: SignedDuration,
        failures: Failures,
        account: &state::Account,
    ) -> Self {
        Self {
            wazzup,
            state,
            lease,
            cycle_id,
            now,
            began,
            timeout,
            tally: Tally::default(),
            failures,
            batch: BATCH,
            spare: SPARE_REQUESTS,
            seats: seats::Room::new(account),
            faults: FaultsSoFar::default(),
            answers: false,
        }
    }

    /// Sends the plan. What the snapshot says is needed to tell our own users from others'.
    ///
    /// # Errors
    /// If it cannot go on; what was acknowledged until then is recorded.
    pub async fn send(&mut self, plan: &Plan, snapshot: &Snapshot) -> Result<(), Error> {
        self.remove(&plan.removals, snapshot).await?;
        let kept = self.release(plan, snapshot).await?;
        self.upsert(plan, snapshot, &kept).await
    }

    /// Has users give up their phones. Returns those phones that could not be released.
    async fn release(&mut self, plan: &Plan, snapshot: &Snapshot) -> Result<HashSet<Phone>, Error> {
        let follow: HashSet<&EmployeeId> = plan.upserts.iter().map(|it| &it.employee.id).collect();
        let item = |employee: &Employee| {
            let before = snapshot
                .get(employee.id.as_str())
                .and_then(|it| it.acknowledged.clone());
            Item {
                upsert: Upsert {
                    employee: employee.clone(),
                    wish: None,
                    spelling: None,
                    addition: before.is_none(),
                    before,
                },
                change: Change::Release,
                more_to_follow: follow.contains(&employee.id),
                phone_failure: None,
            }
        };
        self.deliver_all(plan.releases.iter().map(item).collect()).await?;
        let kept = plan.releases.iter().filter(|it| !self.tally.delivered.contains(&it.id));
        let kept = kept
            .filter_map(|it| snapshot.get(it.id.as_str()))
            .flat_map(crate::plan::Managed::phones)
            .collect();
        for release in plan.releases.iter().filter(|it| follow.contains(&it.id)) {
            self.tally.delivered.remove(&release.id);
        }
        self.settle_faults(plan.releases.len()).await?;
        Ok(kept)
    }

    async fn upsert(&mut self, plan: &Plan, snapshot: &Snapshot, kept: &HashSet<Phone>) -> Result<(), Error> {
        let admitted = self.seats.admits(&plan.waiting);
        if !admitted.is_empty() {
            let employees: Vec<&Employee> = admitted.iter().map(|it| &it.employee).collect();
            self.state.record_more_intent(self.lease, &employees, self.now).await?;
        }
        let admitted_any = !admitted.is_empty();
        let updates = plan.upserts.iter().filter(|it| !it.addition).cloned();
        let mut additions: Vec<Upsert> = plan
            .upserts
            .iter()
            .filter(|it| it.addition)
            .cloned()
            .chain(admitted)
            .collect();
        if admitted_any {
            additions.sort_by(|a, b| a.employee.id.cmp(&b.employee.id));
        }
        let mut items: Vec<Item> = updates.chain(additions).map(Item::new).collect();
        if !kept.is_empty() {
            self.go_without(&mut items, snapshot, kept);
        }
        let count = items.len();
        self.deliver_all(items).await?;
        // An accepted addition shows that there is room again: nobody needs to wait for the ladder.
        if !admitted_any && !plan.waiting.is_empty() && self.seats.has_room() {
            let employees: Vec<&Employee> = plan.waiting.iter().map(|it| &it.employee).collect();
            self.state.record_more_intent(self.lease, &employees, self.now).await?;
            self.deliver_all(plan.waiting.iter().cloned().map(Item::new).collect())
                .await?;
        }
        self.settle_faults(count).await
    }

    async fn deliver_all(&mut self, items: Vec<Item>) -> Result<(), Error> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let batch: Vec<Item> = items.by_ref().take(self.batch).collect();
            self.deliver(batch).await?;
        }
        Ok(())
    }

    /// Who claims a phone that its holder could not give up goes without it.
    fn go_without(&self, items: &mut [Item], snapshot: &Snapshot, kept: &HashSet<Phone>) {
        for item in items {
            let employee = &item.upsert.employee;
            let own = |phone| {
                snapshot
                    .get(employee.id.as_str())
                    .is_some_and(|it| it.phones().any(|held| held == phone))
            };
            if employee.phone.is_some_and(|phone| kept.contains(&phone) && !own(phone)) {
                let code = crate::employee::Code::DuplicatePhoneNumber;
                let failure = self.attempt(item, Operation::Phone, code.as_str().into(), code.detail().into(), None);
                item.without_phone(failure);
            }
        }
    }

    /// Sends `group` until it is accepted or refused for a reason that concerns entries.
    ///
    /// What a refusal says about a phone, the seats or the size of a batch is settled here.
    async fn send_group(&mut self, mut group: Vec<Item>, faults: OnFault) -> Result<Sent, Error> {
        loop {
            self.take_seats(&mut group).await?;
            if group.is_empty() {
                return Ok(Sent::Settled);
            }
            let refusal = match self.post(&group, faults).await? {
                Ok(ack) => {
                    self.accept(&group, ack).await?;
                    return Ok(Sent::Settled);
                }
                Err(refusal) => refusal,
            };
            if self.spare == 0 {
                return Ok(Sent::OutOfRequests);
            }
            self.spare -= 1;
            match refusal.code {
                Code::TooManyEntities if group.len() > 1 => {
                    self.take_batch_size(&refusal, group.len());
                    while group.len() > self.batch {
                        let later = group.split_off(self.batch);
                        Box::pin(self.deliver(group)).await?;
                        group = later;
                    }
                }
                Code::UserLimitExceeded if group.iter().any(|it| it.upsert.addition) => {
                    self.count_seats(&mut group, &refusal).await?;
                }
                Code::DuplicatePhoneNumber => {
                    let named = refusal
                        .phone
                        .and_then(|phone| group.iter_mut().find(|it| it.upsert.employee.phone == Some(phone)));
                    let Some(item) = named else {
                        return Ok(Sent::Refused(group, refusal));
                    };
                    let failure = self.refused(item, Operation::Phone, &refusal);
                    item.without_phone(failure);
                }
                _ => return Ok(Sent::Refused(group, refusal)),
            }
        }
    }

    /// After a request of `entries` was too big: the size that the service names, or half of this one.
    fn take_batch_size(&mut self, refusal: &Refusal, entries: usize) {
        let named = refusal.limit.filter(|limit| (1..entries).contains(limit));
        self.batch = named.unwrap_or(entries / 2).max(1);
    }

    /// One `POST`. A refusal is an answer; what is no answer ends the delivery.
    async fn post(&mut self, group: &[Item], faults: OnFault) -> Result<Result<Ack, Box<Refusal>>, Error> {
        let entries: Vec<Employee> = group.iter().map(|it| it.upsert.employee.clone()).collect();
        crate::abort::step();
        let answer = self.wazzup.upsert(&entries, faults).await;
        crate::abort::step();
        self.tally.requests += 1;
        let late = match &answer {
            Ok(_) => false,
            Err(error) => error.late() || matches!(error, wazzup::Error::Fault(_)),
        };
        if late {
            let unknown = entries.iter().map(|it| it.id.clone()).collect();
            self.record(Record {
                unknown,
                ..Record::default()
            })
            .await?;
        }
        match answer {
            Ok(ack) => Ok(Ok(ack)),
            Err(wazzup::Error::Refused(refusal)) => {
                log_refusal(&refusal, group.len(), "upsert");
                Ok(Err(refusal))
            }
            Err(wazzup::Error::Fault(refusal)) => {
                log_refusal(&refusal, group.len(), "upsert");
                self.check_for_outage(&refusal, faults).await?;
                Ok(Err(refusal))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// After a 500: whether the service is up. If it is, the 500 may be about an entry.
    async fn check_for_outage(&mut self, refusal: &Refusal, faults: OnFault) -> Result<(), Error> {
        if matches!(faults, OnFault::Retry) {
            self.wazzup.ping().await?;
        }
        if !self.faults.accepted {
            self.faults.unaccepted += 1;
            if self.faults.unaccepted >= FAULTS_OF_AN_OUTAGE {
                return Err(Error::Outage(refusal.to_string()));
            }
        }
        Ok(())
    }

    async fn accept(&mut self, group: &[Item], ack: Ack) -> Result<(), Error> {
        self.faults.accepted = true;
        let mut record = Record {
            attempts: std::mem::take(&mut self.faults.suspended),
            ..Record::default()
        };
        for item in group {
            let Upsert {
                employee,
                wish,
                spelling,
                before,
                addition,
            } = &item.upsert;
            record.delivered.push(Delivered {
                employee: employee.clone(),
                spelling: spelling.filter(|_| employee.phone.is_some()),
                before: before.clone(),
                change: item.change,
                late: ack.late,
                more_to_follow: item.more_to_follow,
            });
            let mut over = vec![Operation::Upsert, Operation::Seat];
            match &item.phone_failure {
                Some(failure) => record.attempts.push((**failure).clone()),
                // With its phone, or without wanting one: a failure of the phone is over.
                None if employee.phone == *wish => over.push(Operation::Phone),
                None => {}
            }
            if item.more_to_follow {
                over.clear();
            }
            let key = |operation| (Box::from(employee.id.as_str()), operation);
            // What is wrong in the CRM's own row is not mended by a delivery: it ends with the row.
            let ends = |key: &(Box<str>, Operation)| self.failures.get(key).is_some_and(|it| !it.local);
            record.recovered.extend(over.into_iter().map(key).filter(ends));
            self.seats.accepted(*addition);
        }
        let final_ones = || group.iter().filter(|it| !it.more_to_follow);
        let (added, updated) = (
            final_ones().filter(|it| it.upsert.addition).count(),
            final_ones().count(),
        );
        self.record(record).await?;
        self.tally.added += added;
        self.tally.updated += updated - added;
        self.tally
            .delivered
            .extend(group.iter().map(|it| it.upsert.employee.id.clone()));
        let releases = group.iter().filter(|it| matches!(it.change, Change::Release)).count();
        tracing::info!(
            event = "batch.delivered",
            operation = "upsert",
            entries = group.len(),
            added,
            releases,
            "delivered"
        );
        Ok(())
    }

    /// Records what a batch came to, and follows it in what is open.
    async fn record(&mut self, record: Record) -> Result<(), Error> {
        self.state.record(self.lease, self.cycle_id, &record, self.now).await?;
        let recovered: Vec<&str> = record
            .recovered
            .iter()
            .filter(|key| self.failures.remove(key).is_some() && key.1 != Operation::Seat)
            .map(|key| &*key.0)
            .collect();
        if !recovered.is_empty() {
            log_ids(&recovered, |ids| {
                tracing::info!(event = "employee.recovered", count = recovered.len(), ids, "recovered");
            });
        }
        let mut started: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for attempt in &record.attempts {
            let known = self
                .failures
                .insert((attempt.id.clone(), attempt.operation), failure(attempt));
            let is_new = known.is_none_or(|known| known.code != attempt.code);
            if is_new && attempt.operation != Operation::Seat {
                started
                    .entry((attempt.operation.as_str(), &attempt.code))
                    .or_default()
                    .push(&attempt.id);
            }
        }
        for ((operation, code), ids) in started {
            log_ids(&ids, |shown| {
                tracing::warn!(
                    event = "employee.failing",
                    operation,
                    code,
                    count = ids.len(),
                    ids = shown,
                    "failing"
                );
            });
        }
        Ok(())
    }

    /// Charges an entry with a refusal: at once, or once something else is accepted if it might be the service's fault.
    async fn charge(&mut self, item: &Item, refusal: &Refusal) -> Result<(), Error> {
        let operation = if matches!(item.change, Change::Release) {
            Operation::Phone
        } else {
            Operation::Upsert
        };
        let operation = if refusal.code == Code::UserLimitExceeded {
            Operation::Seat
        } else {
            operation
        };
        let attempt = self.refused(item, operation, refusal);
        if is_perhaps_the_service(refusal.status) && !self.faults.accepted {
            self.faults.suspended.push(attempt);
            return Ok(());
        }
        self.record(Record {
            attempts: vec![attempt],
            ..Record::default()
        })
        .await
    }

    /// At the end of a stage of `entries`: attempts that are still suspended are the service's fault, unless there was only
    /// one entry to tell by.
    async fn settle_faults(&mut self, entries: usize) -> Result<(), Error> {
        let attempts = std::mem::take(&mut self.faults.suspended);
        match attempts.first() {
            None => Ok(()),
            Some(attempt) if entries > 1 => Err(Error::Outage(attempt.code.clone())),
            Some(_) => {
                self.record(Record {
                    attempts,
                    ..Record::default()
                })
                .await
            }
        }
    }

    fn refused(&self, item: &Item, operation: Operation, refusal: &Refusal) -> Attempt {
        let detail = detail(&refusal.code, operation);
        self.attempt(
            item,
            operation,
            refusal.code.as_str().into_owned(),
            detail,
            refusal.request_id.clone(),
        )
    }

    fn attempt(
        &self,
        item: &Item,
        operation: Operation,
        code: String,
        detail: String,
        request_id: Option<String>,
    ) -> Attempt {
        let id: Box<str> = item.upsert.employee.id.as_str().into();
        let name = Some(item.upsert.employee.name.clone());
        let phone = item.upsert.wish;
        let attempts = self.failures.get(&(id.clone(), operation)).map_or(1, |known| {
            let same = !known.local && known.phone == phone && (known.name == name || operation != Operation::Upsert);
            if same { known.attempts + 1 } else { 1 }
        });
        Attempt {
            id,
            operation,
            code,
            detail,
            request_id,
            name,
            phone,
            attempts,
            next_attempt_at: next_attempt(attempts, self.clock()),
        }
    }

    /// The state database's clock, as far as this process can tell.
    fn clock(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.began.elapsed()).unwrap_or_default();
        self.now + elapsed
    }
}

impl Item {
    fn new(upsert: Upsert) -> Self {
        let change = if upsert.addition { Change::Add } else { Change::Update };
        Self {
            upsert,
            change,
            more_to_follow: false,
            phone_failure: None,
        }
    }

    fn without_phone(&mut self, failure: Attempt) {
        self.upsert.employee.phone = None;
        self.phone_failure = Some(Box::new(failure));
    }
}

fn failure(attempt: &Attempt) -> Failure {
    Failure {
        local: false,
        code: attempt.code.clone(),
        name: attempt.name.clone(),
        phone: attempt.phone,
        attempts: attempt.attempts,
        next_attempt_at: Some(attempt.next_attempt_at),
    }
}

/// A 500 may be about an entry or about the service; a 404 or 405 of a collection is mostly a wrong `base_url`.
fn is_perhaps_the_service(status: u16) -> bool {
    matches!(status, 404 | 405 | 500)
}

/// What a code means, in our own words: the service's description can contain a phone.
fn detail(code: &Code, operation: Operation) -> String {
    match (code, operation) {
        (Code::DuplicatePhoneNumber, _) => "another user in Wazzup has this phone: everything else is synced".into(),
        (_, Operation::Phone) => "Wazzup does not take this phone: everything else is synced".into(),
        (Code::UserLimitExceeded, _) => "the account has no free seat: remove a user, or book more seats".into(),
        (Code::InvalidUsersData, _) => "Wazzup finds this entry invalid: check id and name in the CRM".into(),
        (_, Operation::Remove) => "Wazzup refuses to remove this user".into(),
        (Code::Missing(500), _) => "Wazzup fails on this entry".into(),
        _ => "Wazzup refuses this entry".into(),
    }
}

/// Calls `log` with at most 100 ids as one text.
pub fn log_ids(ids: &[&str], log: impl FnOnce(String)) {
    let mut shown = ids.iter().take(100).copied().collect::<Vec<_>>().join(",");
    if ids.len() > 100 {
        shown.push_str(",…");
    }
    log(shown);
}

fn log_refusal(refusal: &Refusal, entries: usize, operation: &str) {
    tracing::warn!(
        event = "batch.refused",
        operation,
        entries,
        status = refusal.status,
        code = %refusal.code,
        request_id = refusal.request_id.as_deref(),
        "refused"
    );
}
