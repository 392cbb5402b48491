//! The state against a real Postgres. Each test has a database of its own and runs on a spawned task, as a daemon does.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sandbox::Postgres;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::*;
use crate::{
    delivery::{Attempts, BatchEntry, Change, FailedAttempt, Loss, Outcome, Request, Step},
    employee::{Employee, EmployeeId, FullName, Phone, RowProblem, Spelling},
    plan::{Approval, FailureKey, Hold, HoldKey, HoldKind, LocalFailure, LostContent, Marks, Operation},
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

    async fn begin(&self, cycle: OpenCycle, marks: &Marks, first: Option<&Request>) {
        let begun = self.state.begin(&self.lease, cycle, marks, first).await;
        begun.expect("the intent is written");
    }

    async fn record(&self, cycle: OpenCycle, loss: Loss, outcomes: Vec<Outcome>, next: Option<Request>) {
        let step = Step { loss, outcomes, next };
        let recorded = self.state.record(&self.lease, cycle, &step).await;
        recorded.expect("the answer is recorded");
    }

    /// Sends one request that is answered at once.
    async fn deliver(&self, cycle: OpenCycle, request: Request, outcome: Outcome) {
        self.begin(cycle, &Marks::default(), Some(&request)).await;
        self.record(cycle, Loss::None, vec![outcome], None).await;
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
    server.create_database(&name, None).expect("a database can be created");
    (server, name)
}

fn open(url: &str) -> State {
    let request_timeout = Duration::from_millis(200);
    State::new(&SecretString::from(url), "wazzup_sync", "main", request_timeout).expect("a URL")
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
                phone: phone.map(|phone| phone.parse().expect("a phone")),
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

fn removed() -> Outcome {
    Outcome::Removed { absent: Vec::new() }
}

fn hold(content: &str, approved_by: Option<&str>) -> Hold {
    Hold {
        content: content.into(),
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
        error: None,
        counts: None,
        requests: 1,
        added: 0,
        adopted: 0,
        updated: 0,
        removed: 0,
        held: 0,
        waiting_for_seat: None,
        had_list: false,
        list_passed: None,
        reported_holds: false,
        reported_error: false,
        noteworthy: true,
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

/// Runs a test on another task: whatever the state's methods return can be sent there.
async fn spawned(test: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(test).await.expect("the test's own task");
}

#[tokio::test]
async fn a_request_goes_into_the_journal_and_out_with_its_answer() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        let first = upsert(&[
            ("1", "Anna", Some("79261234567"), Change::Add),
            ("2", "Boris", None, Change::Adopt),
        ]);
        fixture.begin(cycle, &Marks::default(), Some(&first)).await;
        assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight_entries"), "2");
        let next = upsert(&[("2", "Bob", None, Change::Update)]);
        fixture
            .record(cycle, Loss::None, vec![Outcome::Upserted], Some(next))
            .await;
        assert_eq!(fixture.sql("SELECT name FROM wazzup_sync.in_flight_entries"), "Bob");
        fixture.record(cycle, Loss::None, vec![Outcome::Upserted], None).await;
        assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight"), "0");
        fixture.finish(cycle, &finished(CycleOutcome::InSync), KEEP).await;

        let opening = fixture.open().await;
        assert_eq!(opening.cycle.id, cycle.id + 1);
        let anna = opening.snapshot.users[&id("1")]
            .acknowledged
            .clone()
            .expect("acknowledged");
        assert_eq!(
            (anna.name, anna.phone.map(Phone::digits)),
            (name("Anna"), Some(79_261_234_567))
        );
        assert_eq!(anna.phone_spelling, Some(Spelling::from_stored("RU +79261234567")));
        assert!(opening.snapshot.lost.is_empty());

        let history = fixture.state.person("2", 10).await.expect("a person").history;
        let changes: Vec<_> = history
            .iter()
            .map(|entry| {
                (
                    entry.operation.as_str(),
                    entry.name_before.as_deref(),
                    entry.name_after.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            changes,
            [("update", Some("Boris"), Some("Bob")), ("adopt", None, Some("Boris"))]
        );
        let overview = fixture.state.overview(10).await.expect("an overview");
        assert_eq!((overview.managed, overview.unsettled, overview.cycles.len()), (2, 0, 1));
        assert_eq!(overview.added_lately, ["1"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_in_flight_when_a_cycle_begins_was_lost() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        fixture.begin(cycle, &Marks::default(), Some(&add("1", "Anna"))).await;

        let peek = fixture.state.peek().await.expect("a peek");
        assert!(peek.snapshot.users[&id("1")].acknowledged.is_none());
        assert_eq!(peek.snapshot.lost_entries(&id("1")).len(), 1);
        assert_eq!(
            fixture.sql("SELECT count(*) FROM wazzup_sync.lost"),
            "0",
            "a peek writes nothing"
        );

        let opening = fixture.open().await;
        assert!(opening.snapshot.users[&id("1")].acknowledged.is_none());
        assert_eq!(lost_names(&opening, "1"), [Some("Anna")]);
        let entry = &opening.snapshot.lost_entries(&id("1"))[0];
        assert_eq!(entry.lost_at, opening.cycle.now);
        assert_eq!(
            entry.may_land_until,
            opening.cycle.now + SignedDuration::from_millis(400)
        );

        // The same entry lost again moves its time, and another one is another row.
        fixture
            .begin(opening.cycle, &Marks::default(), Some(&add("1", "Anna")))
            .await;
        fixture
            .record(opening.cycle, Loss::Over, Vec::new(), Some(add("1", "Anne")))
            .await;
        let later = fixture.open().await;
        assert_eq!(lost_names(&later, "1"), [Some("Anna"), Some("Anne")]);
        assert_eq!(
            later.snapshot.lost_entries(&id("1"))[0].may_land_until,
            entry.may_land_until
        );
    })
    .await;
}

#[tokio::test]
async fn only_a_request_that_was_sent_after_the_lost_one_could_land_settles_it() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        // Answered, and an earlier attempt of it was lost all the same.
        fixture.begin(cycle, &Marks::default(), Some(&add("1", "Anna"))).await;
        fixture
            .record(cycle, Loss::MayLand, vec![Outcome::Upserted], None)
            .await;
        let opening = fixture.open().await;
        assert!(opening.snapshot.users[&id("1")].acknowledged.is_some());
        assert_eq!(lost_names(&opening, "1"), [Some("Anna")]);

        // Sent too early.
        let resend = || upsert(&[("1", "Anne", None, Change::Resend)]);
        fixture.begin(cycle, &Marks::default(), Some(&resend())).await;
        until_nothing_can_land().await;
        fixture.record(cycle, Loss::None, vec![Outcome::Upserted], None).await;
        assert_eq!(lost_names(&fixture.open().await, "1"), [Some("Anna")]);

        // A request that was over when it was noted is settled by the very next one.
        fixture.begin(cycle, &Marks::default(), Some(&add("1", "Anja"))).await;
        fixture.record(cycle, Loss::Over, Vec::new(), Some(resend())).await;
        fixture.record(cycle, Loss::None, vec![Outcome::Upserted], None).await;
        assert!(fixture.open().await.snapshot.lost.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_removal_leaves_a_bare_row_where_a_lost_upsert_may_bring_the_user_back() {
    spawned(async {
        let fixture = Fixture::new().await;
        let opening = fixture.open().await;
        let cycle = opening.cycle;
        let both = upsert(&[("1", "Anna", None, Change::Add), ("2", "Boris", None, Change::Add)]);
        fixture.deliver(cycle, both, Outcome::Upserted).await;
        fixture
            .begin(
                cycle,
                &Marks::default(),
                Some(&upsert(&[("1", "Anne", None, Change::Update)])),
            )
            .await;
        fixture.record(cycle, Loss::MayLand, Vec::new(), None).await;
        let marks = Marks {
            newly_absent: vec![id("1"), id("2")],
            opened_holds: ["1", "2"]
                .map(|user_id| {
                    (
                        HoldKey::new(HoldKind::Remove, user_id),
                        hold("since", Some("olga@office")),
                    )
                })
                .into(),
            ..Marks::default()
        };
        fixture.begin(cycle, &marks, Some(&remove(&["1", "2"]))).await;
        fixture
            .record(
                cycle,
                Loss::None,
                vec![Outcome::Removed { absent: vec![id("2")] }],
                None,
            )
            .await;

        let opening = fixture.open().await;
        let anna = &opening.snapshot.users[&id("1")];
        assert_eq!((&anna.acknowledged, anna.absent_since), (&None, Some(cycle.now)));
        assert!(anna.synced_at.is_some() && !opening.snapshot.users.contains_key(&id("2")));
        let holds: Vec<_> = opening.snapshot.holds.keys().map(|key| &*key.user_id).collect();
        assert_eq!(holds, ["1"], "the approval stays with the bare row");
        assert!(
            opening
                .snapshot
                .recent_removals
                .values()
                .all(|removal| removal.approved)
        );
        assert_eq!(opening.snapshot.recent_removals.len(), 2);
        let boris = fixture.state.person("2", 1).await.expect("a person").history.remove(0);
        assert_eq!(
            (boris.absent, boris.approved_by.as_deref()),
            (true, Some("olga@office"))
        );
        assert_eq!(
            (boris.name_before.as_deref(), boris.phone_before),
            (Some("Boris"), None)
        );
        assert_eq!(
            fixture.state.erase("1").await.expect("an answer"),
            Erasure::Refused(ErasureRefusal::InLostRequest)
        );

        until_nothing_can_land().await;
        fixture.deliver(cycle, remove(&["1"]), removed()).await;
        let opening = fixture.open().await;
        assert!(
            opening.snapshot.users.is_empty() && opening.snapshot.lost.is_empty() && opening.snapshot.holds.is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn orders_are_taken_by_the_next_cycle() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        fixture.deliver(cycle, add("1", "Anna"), Outcome::Upserted).await;
        let update = HoldKey::new(HoldKind::Update, "1");
        let takeover = HoldKey::new(HoldKind::Takeover, "2");
        let marks = Marks {
            opened_holds: vec![
                (update.clone(), hold("Anne", None)),
                (takeover.clone(), hold("Bo\0ris", None)),
            ],
            ..Marks::default()
        };
        fixture.begin(cycle, &marks, None).await;
        let refused = Outcome::Failed(FailedAttempt {
            key: FailureKey::new("3", Operation::Upsert),
            code: "INVALID_USERS_DATA".into(),
            detail: "Wazzup refuses the entry",
            request_id: None,
            name: Some(name("Clara")),
            phone: None,
            attempts: 2,
        });
        fixture.record(cycle, Loss::None, vec![refused], None).await;
        let waiting = BTreeSet::from([id("4")]);
        let end = Finished {
            waiting_for_seat: Some(waiting),
            ..finished(CycleOutcome::Incomplete)
        };
        fixture.finish(cycle, &end, KEEP).await;

        let approvals = [
            (update.clone(), "Anne".to_owned()),
            (takeover.clone(), "somebody else".to_owned()),
        ];
        fixture
            .state
            .order_approvals(&approvals, "olga@office")
            .await
            .expect("ordered");
        let unknown = fixture
            .state
            .order_retry(&["1".into(), "9".into()], "olga@office")
            .await;
        assert_eq!(unknown.expect("an answer"), RetryOrder::Unknown(vec!["9".into()]));
        let ids = ["1", "2", "3", "4"].map(str::to_owned);
        let taken = fixture.state.order_retry(&ids, "olga@office").await.expect("an answer");
        assert_eq!(taken, RetryOrder::Taken { concerned: 4 });

        let shown = fixture.state.holds().await.expect("the holds");
        let approved: Vec<_> = shown
            .iter()
            .map(|open| (open.key.kind, open.hold.approved.is_some()))
            .collect();
        assert_eq!(approved, [(HoldKind::Update, true), (HoldKind::Takeover, false)]);
        let peek = fixture.state.peek().await.expect("a peek").snapshot;
        let opening = fixture.open().await;
        for snapshot in [&peek, &opening.snapshot] {
            assert!(snapshot.account.retry_seats, "4 waits for a seat");
            assert!(snapshot.holds[&update].is_approved_for("Anne") && snapshot.holds[&takeover].approved.is_none());
            assert_eq!(snapshot.lost_entries(&id("1")).len(), 1, "who is in sync is sent again");
            assert_eq!(snapshot.lost.len(), 1);
        }
        assert_eq!(opening.approved[0].0, update);
        assert_eq!(opening.dropped_orders[0].key, takeover);
        assert_eq!(
            fixture.sql("SELECT next_attempt_at <= now() FROM wazzup_sync.failures"),
            "t"
        );
        assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.inbox"), "0");

        // An approval is used up by the update, not by the release before it.
        for change in [Change::Release, Change::Update] {
            assert!(fixture.open().await.snapshot.holds.contains_key(&update));
            fixture
                .deliver(opening.cycle, upsert(&[("1", "Anne", None, change)]), Outcome::Upserted)
                .await;
        }
        let opening = fixture.open().await;
        assert!(!opening.snapshot.holds.contains_key(&update) && opening.snapshot.lost.is_empty());
        assert!(!opening.snapshot.account.retry_seats);
        let all = fixture.state.order_retry(&[], "olga@office").await.expect("an answer");
        assert_eq!(all, RetryOrder::Taken { concerned: 2 });
        assert!(fixture.open().await.snapshot.account.retry_seats);
    })
    .await;
}

#[tokio::test]
async fn marks_are_written_down_before_the_first_request() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        fixture.deliver(cycle, add("1", "Anna"), Outcome::Upserted).await;
        fixture.begin(cycle, &Marks::default(), Some(&add("2", "Boris"))).await;
        fixture.record(cycle, Loss::MayLand, Vec::new(), None).await;
        let unreadable = |user_id| LocalFailure {
            key: FailureKey::new(user_id, Operation::Phone),
            problem: RowProblem::InvalidPhone,
            spelling: Some(Spelling::from_stored("RU none")),
        };
        let marks = Marks {
            newly_absent: vec![id("1")],
            opened_failures: vec![unreadable("2"), unreadable("3")],
            forgotten: vec![id("2")],
            ..Marks::default()
        };
        fixture.begin(cycle, &marks, None).await;
        let snapshot = fixture.open().await.snapshot;
        assert_eq!(snapshot.users.keys().collect::<Vec<_>>(), [&id("1")]);
        assert_eq!(snapshot.users[&id("1")].absent_since, Some(cycle.now));
        assert!(snapshot.lost.is_empty());
        assert_eq!(
            snapshot.failures.len(),
            2,
            "the rows of an id that is not ours are as bad as before"
        );

        let marks = Marks {
            returned: vec![id("1")],
            closed_failures: vec![FailureKey::new("2", Operation::Phone)],
            ..Marks::default()
        };
        fixture.begin(cycle, &marks, None).await;
        let snapshot = fixture.open().await.snapshot;
        assert_eq!(
            (snapshot.users[&id("1")].absent_since, snapshot.failures.len()),
            (None, 1)
        );

        let list = ListPassed {
            fingerprint: "0123456789abcdef".into(),
            seats_used: 3,
            foreign_users: 1,
        };
        let end = Finished {
            list_passed: Some(list),
            had_list: true,
            ..finished(CycleOutcome::InSync)
        };
        fixture.finish(cycle, &end, KEEP).await;
        fixture
            .record(
                cycle,
                Loss::None,
                vec![Outcome::SeatLimit(5), Outcome::SeatsTaken(-1)],
                None,
            )
            .await;
        let facts = fixture.open().await.snapshot.account;
        assert_eq!(
            (facts.fingerprint.as_deref(), facts.seats_used, facts.seats_limit),
            (Some("0123456789abcdef"), Some(2), Some(5))
        );

        let marks = Marks {
            forgets_account: true,
            ..Marks::default()
        };
        fixture.begin(cycle, &marks, None).await;
        let snapshot = fixture.open().await.snapshot;
        assert!(snapshot.users.is_empty() && snapshot.failures.is_empty());
        assert_eq!(
            (snapshot.account.fingerprint, snapshot.account.seats_used),
            (None, None)
        );
    })
    .await;
}

#[tokio::test]
async fn the_fence_compares_token_and_holder() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        let standby = open(&fixture.server.url(&fixture.database));
        let answer = standby.acquire(&holder("standby"), LEASE).await.expect("an answer");
        assert!(matches!(answer, Acquired::HeldBy { holder, .. } if holder.name == "ours"));

        // A restored backup gives the same token to somebody else.
        fixture.sql("UPDATE wazzup_sync.accounts SET lease_holder = NULL, lease_token = lease_token - 1");
        let stolen = acquire(&standby, "standby").await;
        assert_eq!(stolen.token(), fixture.lease.token());
        let request = add("1", "Anna");
        let late = fixture
            .state
            .begin(&fixture.lease, cycle, &Marks::default(), Some(&request))
            .await;
        assert!(matches!(late, Err(Error::LeaseLost)));
        assert!(matches!(
            fixture.state.renew(&fixture.lease).await,
            Err(Error::LeaseLost)
        ));
        assert!(matches!(
            fixture.state.give_up(&fixture.lease).await,
            Err(Error::LeaseLost)
        ));
        assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight"), "0");

        // An expiry that a wrong clock wrote is none.
        fixture.sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now() + interval '1 year'");
        let ours = acquire(&fixture.state, "ours").await;
        fixture.state.renew(&ours).await.expect("renewed");
        fixture.state.give_up(&ours).await.expect("given up");
        acquire(&standby, "standby").await;
    })
    .await;
}

#[tokio::test]
async fn a_standby_leaves_an_older_schema_alone_and_refuses_a_newer_one() {
    spawned(async {
        let fixture = Fixture::new().await;
        let standby = open(&fixture.server.url(&fixture.database));
        fixture.sql("UPDATE wazzup_sync._sqlx_migrations SET version = 0");
        assert_eq!(standby.version().await.expect("a version"), SchemaVersion::Older);
        let answer = standby.acquire(&holder("standby"), LEASE).await;
        assert!(matches!(answer, Ok(Acquired::HeldBy { .. })));
        fixture.sql("UPDATE wazzup_sync._sqlx_migrations SET version = 2");
        let answer = standby.acquire(&holder("standby"), LEASE).await;
        assert!(matches!(answer, Err(Error::TooNew { found: 2, known: 1, .. })));
    })
    .await;
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_refused_before_it_is_touched() {
    spawned(async {
        let (server, database) = new_database();
        let sql = |sql: &str| server.sql(&database, sql).expect(sql);
        sql(&format!(
            "CREATE ROLE {database}_us LOGIN; CREATE ROLE {database}_stranger; CREATE ROLE {database}_team; \
            GRANT {database}_team TO {database}_us; GRANT CREATE ON DATABASE {database} TO {database}_us;"
        ));
        sql(&format!(
            "CREATE SCHEMA wazzup_sync AUTHORIZATION {database}_stranger; GRANT ALL ON SCHEMA wazzup_sync TO PUBLIC;"
        ));
        for url in [
            server.url_as(&format!("{database}_us"), &database),
            server.url(&database),
        ] {
            let answer = open(&url).acquire(&holder("ours"), LEASE).await;
            assert!(matches!(answer, Err(Error::ForeignOwner(foreign))
                if foreign.object.is_none() && foreign.owner == format!("{database}_stranger")));
        }

        // A role that ours is a member of may own it; an object that somebody else has put into it is refused.
        sql(&format!("ALTER SCHEMA wazzup_sync OWNER TO {database}_team"));
        let state = open(&server.url_as(&format!("{database}_us"), &database));
        state.give_up(&acquire(&state, "ours").await).await.expect("given up");
        let rights = state.rights().await.expect("the rights");
        assert!(rights.may_create && rights.may_change && rights.foreign_owner.is_none());
        assert_eq!(rights.other_writers, ["PUBLIC".to_owned(), format!("{database}_team")]);
        sql(&format!(
            "SET ROLE {database}_stranger; CREATE FUNCTION wazzup_sync.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'"
        ));
        let error = state.is_there().await.expect_err("refused").to_string();
        assert!(error.contains("function f") && error.contains("_stranger"), "{error}");
        assert!(state.rights().await.expect("the rights").foreign_owner.is_some());
    })
    .await;
}

#[tokio::test]
async fn old_history_is_pruned_and_a_departed_person_erased() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        fixture.deliver(cycle, add("1", "Anna"), Outcome::Upserted).await;
        fixture
            .deliver(cycle, upsert(&[("1", "Anne", None, Change::Update)]), Outcome::Upserted)
            .await;
        assert_eq!(
            fixture.state.erase("1").await.expect("an answer"),
            Erasure::Refused(ErasureRefusal::Managed)
        );
        fixture.deliver(cycle, remove(&["1"]), removed()).await;
        fixture.finish(cycle, &finished(CycleOutcome::InSync), KEEP).await;

        assert_eq!(
            fixture.state.erase("1").await.expect("an answer"),
            Erasure::Erased { rows: 3 }
        );
        assert_eq!(
            fixture.sql("SELECT count(*), count(name_before), count(name_after) FROM wazzup_sync.history"),
            "3|0|0"
        );

        // Younger than 24 hours and 7 days: the removal and the addition stay, bare; the update goes.
        fixture.sql("UPDATE wazzup_sync.history SET at = at - interval '23 hours', name_before = 'Anna'");
        let keep = SignedDuration::from_hours(1);
        fixture
            .finish(
                cycle,
                &Finished {
                    noteworthy: false,
                    ..finished(CycleOutcome::InSync)
                },
                keep,
            )
            .await;
        assert_eq!(
            fixture.sql("SELECT count(*) FROM wazzup_sync.history"),
            "3",
            "pruned an hour ago at most"
        );
        fixture.sql(
            "UPDATE wazzup_sync.accounts SET pruned_at = now() - interval '1 hour'; \
            UPDATE wazzup_sync.cycles SET finished_at = now() - interval '1 hour'",
        );
        fixture
            .finish(
                cycle,
                &Finished {
                    noteworthy: false,
                    ..finished(CycleOutcome::InSync)
                },
                keep,
            )
            .await;
        let rest = "SELECT string_agg(operation, ' ' ORDER BY at), count(name_before) FROM wazzup_sync.history";
        assert_eq!(fixture.sql(rest), "add remove|0");
        assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.cycles"), "0");
        assert_eq!(fixture.open().await.snapshot.recent_removals.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_failed_cycle_leaves_the_list_due() {
    spawned(async {
        let fixture = Fixture::new().await;
        let cycle = fixture.open().await.cycle;
        let error = CycleError {
            kind: "wazzup_unavailable",
            message: "no answer".into(),
        };
        let list = ListPassed {
            fingerprint: "0123456789abcdef".into(),
            seats_used: 3,
            foreign_users: 0,
        };
        let failed = Finished {
            error: Some(error),
            had_list: true,
            list_passed: Some(list),
            reported_error: true,
            ..finished(CycleOutcome::Failed)
        };
        fixture.finish(cycle, &failed, KEEP).await;
        let account = fixture.open().await.account;
        assert_eq!(
            (account.failing_since, account.last_success_at),
            (Some(cycle.now), None)
        );
        assert!(account.error_reported_at.is_some() && account.list_read_at.is_none());
        assert_eq!((account.fingerprint, account.seats_used), (None, Some(3)));
        let good = Finished {
            noteworthy: false,
            ..Finished {
                outcome: CycleOutcome::InSync,
                error: None,
                ..failed
            }
        };
        fixture.finish(cycle, &good, KEEP).await;
        let account = fixture.open().await.account;
        assert_eq!((account.failing_since, account.error_reported_at), (None, None));
        assert!(account.list_read_at.is_some() && account.fingerprint.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_given_up_with_its_connection() {
    spawned(async {
        let mut fixture = Fixture::new().await;
        fixture.state.limit = Duration::from_millis(300);
        let cycle = fixture.open().await.cycle;
        let mut blocker = PgConnection::connect(&fixture.server.url(&fixture.database))
            .await
            .expect("a connection");
        let lock = "BEGIN; LOCK TABLE wazzup_sync.in_flight";
        sqlx::raw_sql(AssertSqlSafe(lock.to_owned()))
            .execute(&mut blocker)
            .await
            .expect("locked");
        let request = add("1", "Anna");
        let stuck = fixture
            .state
            .begin(&fixture.lease, cycle, &Marks::default(), Some(&request))
            .await;
        let error = stuck.expect_err("the limit fires");
        assert!(matches!(&error, Error::Unavailable(reason) if reason.to_string().contains("no answer within")));
        drop(blocker);
        fixture.begin(cycle, &Marks::default(), Some(&request)).await;
        assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight"), "1");
    })
    .await;
}
