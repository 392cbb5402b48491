//! The state against a real Postgres. Each test has a database of its own.

mod cycle;
mod journal;
mod lease;
mod schema;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use test_postgres::Postgres;

use super::*;
use crate::{
    delivery::{Attempts, BatchEntry, Change, Loss, Request, Step},
    employee::{Employee, EmployeeId, FullName, Phone, Spelling},
    plan::{
        Approval, Failure, FailureKey, Failures, Hold, HoldKey, HoldKind, Holds, LostContent, Marks, Operation, Seats,
    },
};

const LEASE: Duration = Duration::from_secs(90);
const KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);

struct Fixture {
    server: &'static Postgres,
    database: String,
    state: State,
    lease: Lease,
}

impl Fixture {
    /// A new database with the schema, and the lease. A lost request may land for 400 ms.
    async fn new() -> Self {
        let (server, database) = new_database();
        let state = open(&server.url(&database));
        let lease = acquire(&state, "ours").await;
        Self {
            server,
            database,
            state,
            lease,
        }
    }

    async fn open(&self) -> Opening {
        self.state.open_cycle(&self.lease).await.expect("a cycle opens")
    }

    async fn record_start(&self, cycle: OpenCycle, marks: &Marks, first: Option<&Request>) {
        let orders = AppliedOrders::default();
        let begun = self.state.record_start(&self.lease, cycle, &orders, marks, first);
        begun.await.expect("the intent is written");
    }

    async fn record(&self, cycle: OpenCycle, step: Step) {
        let recorded = self.state.record(&self.lease, cycle, &step).await;
        recorded.expect("the answer is recorded");
    }

    /// Sends one request that is answered at once.
    async fn deliver(&self, cycle: OpenCycle, request: Request, step: Step) {
        self.record_start(cycle, &Marks::default(), Some(&request)).await;
        self.record(cycle, step).await;
    }

    async fn finish(&self, cycle: OpenCycle, finished: &Finished, keep: SignedDuration) {
        let recorded = self.state.finish_cycle(&self.lease, cycle, finished, keep).await;
        recorded.expect("the end is recorded");
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.database, sql).expect(sql).trim().to_owned()
    }
}

fn new_database() -> (&'static Postgres, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let server = Postgres::shared().expect("the throw-away Postgres starts");
    let name = format!("state_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name).expect("a database can be created");
    (server, name)
}

fn open(url: &str) -> State {
    let request_timeout = Duration::from_millis(200);
    State::new(url.parse().expect("a URL"), "wazzup_sync", "main", request_timeout)
}

fn holder(name: &str) -> Holder {
    Holder {
        name: name.into(),
        host: "host".into(),
    }
}

async fn acquire(state: &State, name: &str) -> Lease {
    match state.acquire(&holder(name), LEASE).await.expect("the database answers") {
        Acquired::Ours(lease) => lease,
        Acquired::HeldBy { holder, .. } => panic!("{} has the lease", holder.name),
    }
}

fn id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).expect("an id")
}

fn name(text: &str) -> FullName {
    FullName::parse(text).expect("a name")
}

fn upsert(entries: &[(&str, &str, Option<&str>, Change)]) -> Request {
    let mut batch = Vec::new();
    for (user_id, full_name, phone, change) in entries {
        batch.push(BatchEntry {
            employee: Employee {
                id: id(user_id),
                name: name(full_name),
                phone: phone.map(|phone| Phone::parse(phone).expect("a phone")),
            },
            phone_spelling: phone.map(|phone| Spelling::from_stored(&format!("RU +{phone}"))),
            change: *change,
        });
    }
    Request::Upsert {
        entries: batch,
        attempts: Attempts::Several,
    }
}

fn add(user_id: &str, full_name: &str) -> Request {
    upsert(&[(user_id, full_name, Some("79261234567"), Change::Add)])
}

fn remove(user_ids: &[&str]) -> Request {
    Request::Remove {
        user_ids: user_ids.iter().map(|user_id| id(user_id)).collect(),
        attempts: Attempts::Several,
    }
}

fn acknowledged() -> Step {
    Step {
        is_acknowledged: true,
        ..Step::default()
    }
}

/// Without an answer.
fn lost(loss: Loss) -> Step {
    Step {
        loss,
        ..Step::default()
    }
}

/// What a service refused, or what is wrong in the CRM's own row.
fn failure(user_id: &str, operation: Operation, is_local: bool) -> Failure {
    Failure {
        key: FailureKey::new(user_id, operation),
        code: "INVALID_USERS_DATA".into(),
        detail: "Wazzup refuses the entry".into(),
        request_id: None,
        attempts: if is_local { 0 } else { 2 },
        is_local,
        name: None,
        phone: None,
        spelling: is_local.then(|| Spelling::from_stored("RU none")),
    }
}

fn hold(content: &str, approved_by: Option<&str>) -> Hold {
    Hold {
        content: content.into(),
        crm_row: None,
        reason: "too many".into(),
        since: Timestamp::UNIX_EPOCH,
        sticky: true,
        approved: approved_by.map(|by| Approval {
            at: Timestamp::UNIX_EPOCH,
            by: by.into(),
        }),
    }
}

fn finished(outcome: CycleOutcome) -> Finished {
    Finished {
        outcome,
        requests: 1,
        noteworthy: true,
        ..Finished::default()
    }
}

/// What was lost of one user: a name for an upsert, `None` for a removal.
fn lost_names<'a>(opening: &'a Opening, user_id: &str) -> Vec<Option<&'a str>> {
    let mut names = Vec::new();
    for entry in opening.snapshot.lost_entries(&id(user_id)) {
        names.push(match &entry.content {
            LostContent::Upsert { name, .. } => Some(name.as_str()),
            LostContent::Removal => None,
        });
    }
    names
}

async fn until_nothing_can_land() {
    tokio::time::sleep(Duration::from_millis(450)).await;
}
