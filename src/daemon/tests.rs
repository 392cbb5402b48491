use std::{num::NonZeroU32, str::FromStr as _, sync::Arc};

use sandbox::Wazzup;
use sqlx::postgres::PgConnectOptions;
use test_postgres::Postgres;
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::*;
use crate::{
    crm::{Crm, Source},
    employee::PhoneReader,
    plan::{Limit, Policy},
    proxy::{Behaviour, Proxy},
    secret::SecretSource,
    state::State,
    wazzup::{Client, Settings},
};

const LEASE: Duration = Duration::from_secs(3);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A database of its own, with one employee, and a Wazzup.
struct Fixture {
    server: &'static Postgres,
    database: &'static str,
    wazzup: Wazzup,
}

impl Fixture {
    fn new(database: &'static str) -> Self {
        let server = Postgres::shared().expect("a server");
        server.create_database(database).expect("a database");
        let table = "CREATE TABLE employees AS SELECT 1 AS id, 'Anna'::text AS name";
        server.sql(database, table).expect("a table");
        let wazzup = Wazzup::start().expect("a sandbox");
        Self {
            server,
            database,
            wazzup,
        }
    }

    fn options(&self, port: u16) -> PgConnectOptions {
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}?sslmode=disable", self.database);
        PgConnectOptions::from_str(&url).expect("a URL")
    }

    /// An engine whose state is reached through `state_port`.
    fn engine(&self, state_port: u16) -> Arc<SyncEngine> {
        let limit = Limit {
            above: 5,
            above_percent: 10,
        };
        let source = Source::Query("SELECT id, name FROM employees".into());
        Arc::new(SyncEngine {
            crm: Crm::new(self.options(self.server.port()), source, Duration::from_secs(5)),
            state: State::new(self.options(state_port), "wazzup_sync", "main", Duration::from_secs(1)),
            wazzup: Client::new(Settings {
                base_url: self.wazzup.base_url().parse().expect("a URL"),
                timeout: Duration::from_secs(1),
                requests_per_minute: NonZeroU32::MAX,
                key: SecretSource::Literal(self.wazzup.key().into()),
            }),
            phone_reader: PhoneReader::new("RU").expect("a region"),
            policy: Policy {
                removes: true,
                removals: limit,
                grace: SignedDuration::ZERO,
                updates: limit,
                always_takes_over: false,
            },
            verify_every: SignedDuration::from_hours(1),
            keep_history: SignedDuration::from_hours(1),
            unhealthy_after: SignedDuration::from_mins(15),
        })
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.database, sql).expect("valid SQL")
    }

    /// Who holds the lease.
    fn leader(&self) -> String {
        let exists = self.sql("SELECT to_regclass('wazzup_sync.accounts') IS NOT NULL");
        if exists == "t" {
            self.sql("SELECT lease_holder FROM wazzup_sync.accounts")
        } else {
            String::new()
        }
    }

    async fn wait_until(&self, condition: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let leader = self.leader();
            if condition(&leader) {
                return leader;
            }
            assert!(start.elapsed() < PATIENCE, "the leader is still \"{leader}\"");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn start(engine: Arc<SyncEngine>, every: Duration) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let schedule = Schedule { every, lease: LEASE };
    let listener = Listener::start(PgConnectOptions::new_without_pgpass(), None);
    // Such a future is too complicated for the compiler to see that it may change threads.
    let task = spawn_blocking(move || Handle::current().block_on(run(&engine, schedule, listener, &stopping)));
    (stop, task)
}

#[test]
fn jitter_is_at_most_a_tenth() {
    let every = Duration::from_secs(100);
    for _ in 0..1_000 {
        let jittered = jittered(every).as_secs_f64();
        assert!((90.0..=110.0).contains(&jittered), "{jittered}");
    }
}

#[test]
fn each_process_has_a_name_of_its_own() {
    assert_ne!(holder().name, holder().name);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_gives_the_lease_up_and_says_who_else_has_it() {
    let fixture = Fixture::new("daemon_once");
    let engine = fixture.engine(fixture.server.port());
    let stop = CancellationToken::new();
    let result = once(&engine, LEASE, &stop).await.expect("a state");
    assert!(matches!(result, Once::Done(_)), "{result:?}");
    assert!(fixture.wazzup.user("1").is_some());
    assert_eq!(fixture.leader(), "");

    let other = Holder {
        name: "other/1/2".into(),
        host: "other".into(),
    };
    let taken = engine.state.acquire(&other, LEASE).await.expect("a state");
    assert!(matches!(taken, Acquired::Ours(_)));
    match once(&engine, LEASE, &stop).await.expect("a state") {
        Once::HeldBy(holder, _) => assert_eq!(holder, other),
        result => panic!("{result:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_gives_the_lease_up() {
    let fixture = Fixture::new("daemon_panic");
    let engine = fixture.engine(fixture.server.port());
    let task = spawn_blocking(move || {
        Handle::current().block_on(async {
            let Ok(Acquired::Ours(lease)) = engine.state.acquire(&holder(), LEASE).await else {
                return;
            };
            let tenure = Tenure::begin(engine.state.clone(), lease, &CancellationToken::new());
            within(tenure, async |_: &Tenure| panic!("a bug")).await;
        });
    });
    assert!(task.await.expect_err("a panic").is_panic());
    assert_eq!(fixture.leader(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_at_once() {
    let fixture = Fixture::new("daemon_stop");
    let every = Duration::from_mins(1);
    let (stop, first) = start(fixture.engine(fixture.server.port()), every);
    let leader = fixture.wait_until(|leader| !leader.is_empty()).await;
    let (stop_standby, standby) = start(fixture.engine(fixture.server.port()), every);
    // The lease is renewed between cycles.
    sleep(LEASE + Duration::from_secs(1)).await;
    assert_eq!(fixture.leader(), leader);

    stop.cancel();
    timeout(PATIENCE, first).await.expect("a quick end").expect("no panic");
    let is_new = |name: &str| !name.is_empty() && name != leader;
    fixture.wait_until(is_new).await;
    stop_standby.cancel();
    timeout(PATIENCE, standby)
        .await
        .expect("a quick end")
        .expect("no panic");
    assert_eq!(fixture.leader(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_state_database_is_replaced_and_stands_by() {
    let fixture = Fixture::new("daemon_silent");
    let proxy = Proxy::start(fixture.server.port());
    let every = Duration::from_millis(300);
    let (stop, first) = start(fixture.engine(proxy.port()), every);
    let leader = fixture.wait_until(|leader| !leader.is_empty()).await;
    let (stop_standby, standby) = start(fixture.engine(fixture.server.port()), every);

    proxy.behave(Behaviour::Silent);
    let is_new = |name: &str| !name.is_empty() && name != leader;
    let successor = fixture.wait_until(is_new).await;
    proxy.behave(Behaviour::Forward);
    fixture.sql("INSERT INTO employees VALUES (2, 'Boris')");
    let has_boris = |wazzup: &Wazzup| wazzup.user("2").is_some();
    let arrived = fixture.wazzup.wait_until(has_boris, PATIENCE).await;
    arrived.expect("the successor goes on");
    assert_eq!(fixture.leader(), successor);

    // The first one asks for the lease again: once it is given up, it leads.
    stop_standby.cancel();
    standby.await.expect("no panic");
    let is_first = |name: &str| name == leader;
    fixture.wait_until(is_first).await;
    stop.cancel();
    timeout(PATIENCE, first).await.expect("an end").expect("no panic");
    assert_eq!(fixture.wazzup.max_in_flight(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_state_database_that_is_not_up() {
    let fixture = Fixture::new("daemon_waits");
    let proxy = Proxy::start(fixture.server.port());
    proxy.behave(Behaviour::Refuse);
    let (stop, daemon) = start(fixture.engine(proxy.port()), Duration::from_mins(1));
    sleep(Duration::from_secs(2)).await;
    assert!(!daemon.is_finished());
    proxy.behave(Behaviour::Forward);
    fixture.wait_until(|leader| !leader.is_empty()).await;
    stop.cancel();
    daemon.await.expect("no panic");
}
