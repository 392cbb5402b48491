//! Both databases behind proxies that go silent, reset, refuse and delay at random, under a daemon with a standby: each
//! change of the CRM arrives once all databases answer.
//!
//! Each copy reaches the state through a proxy of its own, so the leader alone can lose it and the standby takes over.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{
    app::App,
    evidence,
    process::Daemon,
    proxy::{Behaviour, Proxy},
};

/// How long it takes without `CHAOS_MINUTES`.
const SHORT: Duration = Duration::from_secs(12);
const EMPLOYEES: usize = 120;
/// How long a change may take from the moment at which all databases answer: the longest of our own time limits that can be
/// running then (a lease that another copy left behind, a wait for the CRM), and a margin for a slow machine.
const LONGEST_ARRIVAL: Duration = Duration::from_secs(40);

struct Chaos {
    app: App,
    random: fastrand::Rng,
    /// The CRM's, and the state's of each copy.
    proxies: [Proxy; 3],
    faults: BTreeMap<&'static str, usize>,
    longest_arrival: Duration,
}

impl Chaos {
    async fn new(seed: u64) -> Self {
        let mut app = App::new().await;
        app.with_state_elsewhere().await;
        app.set("crm.query_timeout", "1s")
            .set("wazzup.timeout", "1s")
            .set("state.lease", "3s")
            .set("schedule.every", "200ms")
            .set("log.level", "debug");
        app.hire_many(EMPLOYEES).await;
        Self {
            proxies: [(); 3].map(|()| Proxy::start(app.server.port())),
            app,
            random: fastrand::Rng::with_seed(seed),
            faults: BTreeMap::new(),
            longest_arrival: Duration::ZERO,
        }
    }

    /// The copy that reaches the state through this proxy.
    fn start_copy(&self, state: &Proxy) -> Daemon {
        let app = &self.app;
        let [crm, ..] = &self.proxies;
        let state_database = app.state.connect_options().get_database().expect("a name").to_owned();
        let through = |proxy: &Proxy, database: &str| {
            let direct = app.server.url(database);
            direct.replacen(&format!(":{}/", app.server.port()), &format!(":{}/", proxy.port()), 1)
        };
        app.daemon_with(&[
            ("WAZZUP_SYNC__CRM__URL", &through(crm, &app.database)),
            ("WAZZUP_SYNC__STATE__URL", &through(state, &state_database)),
        ])
    }

    /// Gives each proxy a behaviour. Returns whether all databases answer.
    fn misbehave(&mut self) -> bool {
        let mut all_answer = true;
        for proxy in &self.proxies {
            let (name, behaviour) = match self.random.u8(..8) {
                0 | 1 => ("silent", Behaviour::Silent),
                2 => ("reset", Behaviour::Reset),
                3 => ("refuse", Behaviour::Refuse),
                4 | 5 => ("delay", Behaviour::Delay(Duration::from_millis(self.random.u64(1..60)))),
                _ => ("none", Behaviour::Forward),
            };
            all_answer &= matches!(name, "delay" | "none");
            *self.faults.entry(name).or_default() += 1;
            proxy.behave(behaviour);
        }
        all_answer
    }

    /// One change that happens during the faults and must arrive after them.
    async fn round(&mut self, number: usize, copies: &[Daemon]) {
        let all_answer = self.misbehave();
        let id = crate::app::id(self.random.usize(1..=EMPLOYEES));
        let name = format!("Renamed In Round {number}");
        self.app.rename(&id, &name).await;
        if !all_answer {
            // Long enough, at times, for a lease to expire.
            tokio::time::sleep(Duration::from_millis(self.random.u64(100..5_000))).await;
            for proxy in &self.proxies {
                proxy.behave(Behaviour::Forward);
            }
        }
        let began = Instant::now();
        let has_arrived = |wazzup: &sandbox::Wazzup| wazzup.user(&id).is_some_and(|user| user.name == name);
        let arrived = self.app.wazzup.wait_until(has_arrived, LONGEST_ARRIVAL).await;
        let logs: Vec<String> = copies.iter().map(Daemon::text).collect();
        arrived.unwrap_or_else(|error| panic!("round {number}, {id}: {error}\n{}", logs.join("\n\n")));
        self.longest_arrival = self.longest_arrival.max(began.elapsed());
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "`make chaos` is run for its figures")]
async fn changes_arrive_whenever_both_databases_answer() {
    let number_of = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let duration = number_of("CHAOS_MINUTES").map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let seed = number_of("CHAOS_SEED").unwrap_or(11);
    let mut chaos = Chaos::new(seed).await;
    let [_, first, second] = &chaos.proxies;
    let copies = [chaos.start_copy(first), chaos.start_copy(second)];
    let all_are_there = |wazzup: &sandbox::Wazzup| wazzup.users().len() == EMPLOYEES;
    let first_sync = chaos.app.wazzup.wait_until(all_are_there, LONGEST_ARRIVAL).await;
    first_sync.expect("the first sync");
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < duration {
        rounds += 1;
        chaos.round(rounds, &copies).await;
    }
    let count = |event: &str| copies.iter().map(|copy| copy.count(event)).sum::<usize>();
    let takeovers = count("lease.acquired") - 1;
    let (finished, failed) = (count("cycle.finished"), count("cycle.failed"));
    for copy in copies {
        copy.stop().await;
    }
    assert!(chaos.app.wazzup.max_in_flight() <= 1, "two led at once");
    chaos.app.settled().await;

    let mut text = "| | |\n|---|---|\n".to_owned();
    let faults = chaos.faults.iter().map(|(name, count)| format!("{name} {count}"));
    for (what, figure) in [
        ("seed", seed.to_string()),
        ("seconds", began.elapsed().as_secs().to_string()),
        ("changes, each arrived", rounds.to_string()),
        ("behaviours of the three proxies", faults.collect::<Vec<_>>().join(", ")),
        ("cycles finished", finished.to_string()),
        ("cycles failed", failed.to_string()),
        ("take-overs of the lease", takeovers.to_string()),
        (
            "longest time to arrive once all answered, ms",
            chaos.longest_arrival.as_millis().to_string(),
        ),
    ] {
        writeln!(text, "| {what} | {figure} |").expect("a text grows");
    }
    eprintln!("{text}");
    evidence::publish("chaos", &text);
}
