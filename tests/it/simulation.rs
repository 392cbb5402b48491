//! The proof: random histories of CRM edits, refusals, lost answers, outages, cut connections, deaths at each step and
//! second copies, from a seed. After the faults stop, Wazzup must have what the CRM says, within a few cycles, and then
//! there is silence.
//!
//! `SEEDS=300` runs the seeds 0 to 299, `SEEDS=17..18` replays seed 17. A failing seed prints its story.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
    process::Stdio,
};

use fastrand::Rng;
use futures_util::StreamExt as _;
use sandbox::{ErrorStyle, Fault, ListStyle, Named, OmittedPhone, PostAnswer, What, When};
use tokio::process::Command;

use crate::{app::App, evidence};

/// How many seeds a plain test run plays.
const SEEDS: u64 = 60;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SEEDS") else {
        return 0..SEEDS;
    };
    let number = |text: &str| {
        text.trim()
            .parse()
            .expect("SEEDS is a number, or a range such as 17..18")
    };
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulation() {
    let played = futures_util::stream::iter(seeds()).map(|seed| async move {
        let story = tokio::spawn(async move { World::new(seed).await.play().await }).await;
        story.map_err(|_| seed)
    });
    let played: Vec<Result<Tally, u64>> = played.buffer_unordered(3).collect().await;
    let failed: Vec<u64> = played
        .iter()
        .filter_map(|story| story.as_ref().err().copied())
        .collect();
    assert!(
        failed.is_empty(),
        "seeds that fail (replay with `make simulation SEEDS=n..n+1`): {failed:?}"
    );
    evidence::publish(
        "simulation",
        &table(played.iter().filter_map(|story| story.as_ref().ok())),
    );
}

/// How often each kind of thing happened in a story.
type Tally = BTreeMap<String, u64>;

/// A row for each kind of thing, with its number over all stories.
fn table<'a>(tallies: impl Iterator<Item = &'a Tally>) -> String {
    let mut total = Tally::new();
    for tally in tallies {
        *total.entry("seeds".to_owned()).or_default() += 1;
        for (what, count) in tally {
            *total.entry(what.clone()).or_default() += count;
        }
    }
    let mut text = "| what happened | times |\n|---|---|\n".to_owned();
    for (what, count) in total {
        writeln!(text, "| {what} | {count} |").expect("a text grows");
    }
    text + "| violations | 0 |\n"
}

/// A row of the CRM's table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Person {
    name: String,
    phone: Option<String>,
}

struct World {
    app: App,
    rng: Rng,
    crm: BTreeMap<String, Person>,
    /// What happened, for whoever has to understand a failing seed.
    story: String,
    tally: Tally,
    omitted_phones_stay: bool,
    /// A request landed after later ones: what it did to a phone shows nowhere, since no list has phones.
    late: bool,
}

#[expect(clippy::print_stderr, reason = "the story of a failing seed")]
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\nrequests:\n{}", self.story, self.app.requests_as_text());
            eprintln!("users: {:#?}", self.app.users());
            eprintln!(
                "bodies: {:#?}",
                self.app
                    .wazzup
                    .requests()
                    .iter()
                    .map(|it| it.body.clone())
                    .collect::<Vec<_>>()
            );
        }
    }
}

const NAMES: [&str; 5] = ["Anna", "Bella", "Cleo", "Dina", "Ella"];

impl World {
    async fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut app = App::new().await;
        app.set("wazzup.timeout", "15s")
            .set("state.lease", "30s")
            .set_raw("wazzup.requests_per_minute", "100000");
        if rng.u8(..4) == 0 {
            app.set("removals.grace", "5m");
        }
        let omitted_phones_stay = rng.u8(..4) == 0;
        app.wazzup.vary(|variant| {
            variant.list = [
                ListStyle::Array,
                ListStyle::ArrayPaged,
                ListStyle::Pages,
                ListStyle::PagesTextCount,
            ][rng.usize(..4)];
            variant.post_answer = [PostAnswer::Empty, PostAnswer::Text, PostAnswer::Json][rng.usize(..3)];
            variant.omitted_phone = if omitted_phones_stay {
                OmittedPhone::Keeps
            } else {
                OmittedPhone::Clears
            };
            variant.errors = [
                ErrorStyle::Documented,
                ErrorStyle::WithRequestId,
                ErrorStyle::Empty,
                ErrorStyle::Html,
                ErrorStyle::NoData,
                ErrorStyle::WildIndexes,
                ErrorStyle::NestedCode,
            ][rng.usize(..7)];
        });
        app.wazzup.seed_foreign("foreign-1", "Somebody Else", Some(&phone(90)));
        app.wazzup.seed_foreign("foreign-2", "Somebody Other", None);
        let mut world = Self {
            app,
            rng,
            crm: BTreeMap::new(),
            story: format!("seed {seed}\n"),
            tally: Tally::new(),
            omitted_phones_stay,
            late: false,
        };
        for _ in 0..world.rng.usize(3..25) {
            world.hire().await;
        }
        world
    }

    fn tell(&mut self, what: impl AsRef<str>) {
        writeln!(self.story, "{}", what.as_ref()).expect("a text grows");
    }

    fn count(&mut self, what: &str, times: usize) {
        *self.tally.entry(what.to_owned()).or_default() += times as u64;
    }

    async fn play(mut self) -> Tally {
        for round in 0..10 {
            self.tell(format!("round {round}"));
            for _ in 0..self.rng.usize(..5) {
                self.edit().await;
            }
            self.fault();
            self.cycle().await;
            if self.rng.u8(..3) == 0 {
                self.app.wazzup.clear_faults();
            }
            if self.rng.u8(..2) == 0 {
                let minutes = [1, 6, 40, 1_500][self.rng.usize(..4)];
                self.time_passes(minutes).await;
            }
        }
        self.tell("the faults stop");
        self.app.wazzup.clear_faults();
        self.app.wazzup.vary(|variant| variant.seats = 1_000);
        self.app.wazzup_reaches(|wazzup| wazzup.in_flight() == 0).await;
        let mut last = -1;
        for _ in 0..6 {
            self.time_passes(1_500).await;
            last = self.once(None).await;
            if last == 4 {
                let approved = self.app.run(&["approve", "--yes"]).await;
                assert_eq!(approved.code, 0, "{approved}");
                last = self.once(None).await;
            }
        }
        assert!(last == 0 || last == 3, "ends with {last}");
        self.must_agree(last).await;
        self.app.quiet(last).await;
        std::mem::take(&mut self.tally)
    }

    /// Wazzup has what the CRM says.
    async fn must_agree(&mut self, exit: i32) {
        let users = self.app.wazzup.users();
        let valid: BTreeMap<&String, &Person> = self.crm.iter().filter(|(_, person)| !person.name.is_empty()).collect();
        for (id, person) in &valid {
            let user = users.get(*id).unwrap_or_else(|| panic!("{id} is not in Wazzup"));
            assert_eq!(user.name, person.name, "{id}");
        }
        for (id, user) in &users {
            assert!(user.is_foreign || self.crm.contains_key(id), "{id} is left behind");
        }
        let failing = sqlx::query_as::<_, (String, String, String)>(
            "SELECT user_id, operation, code FROM wazzup_sync.failures ORDER BY 1, 2",
        );
        let mut explained = BTreeSet::new();
        for (id, operation, code) in failing.fetch_all(&self.app.state).await.expect("the failures") {
            let id = &id;
            explained.insert(id.clone());
            let known = match code.as_str() {
                "INVALID_NAME" => self.crm.get(id).is_some_and(|person| person.name.is_empty()),
                "INVALID_PHONE" => self
                    .crm
                    .get(id)
                    .is_some_and(|person| person.phone.as_deref() == Some("no phone")),
                "DUPLICATE_PHONE_NUMBER" => {
                    let phone = self.crm.get(id).and_then(|person| person.phone.clone());
                    let shared = self.crm.values().filter(|person| person.phone == phone).count() > 1;
                    let taken = users.iter().any(|(other, user)| other != id && user.phone == phone);
                    // A user whose row is rejected keeps what it may hold, until the row is corrected.
                    let kept = sqlx::query_scalar::<_, bool>(
                        "SELECT EXISTS (SELECT FROM wazzup_sync.users \
                         WHERE user_id <> $1 AND phone = $2) \
                         OR EXISTS (SELECT FROM wazzup_sync.lost WHERE user_id <> $1 AND phone = $2)",
                    );
                    let kept = kept
                        .bind(id)
                        .bind(&phone)
                        .fetch_one(&self.app.state)
                        .await
                        .expect("the state");
                    phone.is_some() && (shared || taken || kept)
                }
                // The service names what it refused as it likes; only a taken phone is still refused.
                _ => operation == "phone" && self.phone_is_taken(id),
            };
            let known = known || self.late && operation == "phone";
            assert!(known, "an unexplained failure: {id} {operation} {code}");
        }
        if !self.omitted_phones_stay && !self.late {
            for (id, person) in valid.iter().filter(|(id, _)| !explained.contains(**id)) {
                let expected = person.phone.as_deref().filter(|phone| *phone != "no phone");
                assert_eq!(users[*id].phone.as_deref(), expected, "the phone of {id}");
            }
        }
        assert_eq!(exit, if explained.is_empty() { 0 } else { 3 });
        // Requests of a process that was killed may overlap with those of the next.
        assert_eq!(self.app.wazzup.violations(), Vec::<String>::new());
        assert_eq!(self.app.wazzup.foreign_touched(), Vec::<String>::new());
    }

    fn phone_is_taken(&self, id: &str) -> bool {
        let phone = self.crm.get(id).and_then(|person| person.phone.clone());
        self.app
            .wazzup
            .users()
            .iter()
            .any(|(other, user)| other != id && user.phone == phone)
    }
}

fn phone(number: u8) -> String {
    format!("792612345{number:02}")
}

/// What happens in the company.
impl World {
    fn anybody(&mut self) -> Option<String> {
        let ids: Vec<&String> = self.crm.keys().collect();
        (!ids.is_empty()).then(|| ids[self.rng.usize(..ids.len())].clone())
    }

    fn some_phone(&mut self) -> Option<String> {
        match self.rng.u8(..12) {
            0..4 => None,
            4 => Some("no phone".to_owned()),
            5 => Some(phone(90)),
            _ => Some(phone(self.rng.u8(..30))),
        }
    }

    async fn put(&mut self, id: &str, person: Option<Person>) {
        self.app.sql(&format!("DELETE FROM employees WHERE id = '{id}'")).await;
        self.tell(format!("  crm: {id} {person:?}"));
        match person {
            Some(person) => {
                let phone = person.phone.as_deref();
                self.app.hire(id, &person.name, phone).await;
                self.crm.insert(id.to_owned(), person);
            }
            None => _ = self.crm.remove(id),
        }
    }

    async fn hire(&mut self) {
        let id = format!("e{:02}", self.rng.u8(..40));
        let person = Person {
            name: NAMES[self.rng.usize(..NAMES.len())].to_owned(),
            phone: self.some_phone(),
        };
        self.put(&id, Some(person)).await;
    }

    async fn edit(&mut self) {
        let Some(id) = self.anybody() else {
            return self.hire().await;
        };
        let mut person = self.crm[&id].clone();
        match self.rng.u8(..20) {
            0..4 => return self.hire().await,
            4..7 => return self.put(&id, None).await,
            7..10 => NAMES[self.rng.usize(..NAMES.len())].clone_into(&mut person.name),
            10..13 => person.phone = self.some_phone(),
            13..16 => {
                // Two colleagues swap their phones.
                let other = self.anybody().expect("somebody is there");
                if other != id {
                    let mut with = self.crm[&other].clone();
                    std::mem::swap(&mut person.phone, &mut with.phone);
                    self.put(&other, Some(with)).await;
                }
            }
            16 => person.name = String::new(),
            17 => {
                // The table is emptied and loaded again, with a cycle in between.
                let everybody = std::mem::take(&mut self.crm);
                self.app.sql("TRUNCATE employees").await;
                self.tell("  crm: emptied");
                self.cycle().await;
                for (id, person) in everybody {
                    self.put(&id, Some(person)).await;
                }
                return;
            }
            18 => {
                // One never acknowledged that has another name would be somebody else's, and would stay for ever.
                if self.app.wazzup.user(&id).is_some() && self.is_acknowledged(&id).await {
                    self.tell(format!("  by hand: {id} is renamed in Wazzup"));
                    self.app.wazzup.rename(&id, "By Hand");
                }
            }
            _ => {
                if self.app.wazzup.user(&id).is_some() {
                    self.tell(format!("  by hand: {id} is deleted in Wazzup"));
                    self.app.wazzup.remove(&id);
                }
            }
        }
        self.put(&id, Some(person)).await;
    }
}

/// What goes wrong.
impl World {
    fn fault(&mut self) {
        let target = [
            When::Post,
            When::BulkDelete,
            When::Writes,
            When::Any,
            When::List,
            When::GetUser,
        ][self.rng.usize(..6)];
        let what = match self.rng.u8(..16) {
            0..3 => What::CutAfter,
            3 => What::CutBefore,
            4 => {
                self.late = true;
                What::HoldBack
            }
            5 => What::status(503),
            6 => What::status(500),
            7 => What::Garbage,
            8 => What::EmptyList,
            9 => What::BrokenJson,
            10 => What::ShortList { missing: 1 },
            11 => {
                let Some(id) = self.anybody() else { return };
                let reply = match self.rng.u8(..7) {
                    0 => What::invalid(Named::All, &["name"]),
                    1 => What::invalid(Named::All, &["phone"]),
                    2 => What::invalid(Named::Nobody, &[]),
                    3 => What::invalid(Named::Wild, &[]),
                    4 => What::status(400),
                    5 => What::status(422),
                    _ => What::status(500),
                };
                self.tell(format!("  fault: {id} is poison: {reply:?}"));
                self.count("fault: an entry that the service refuses or fails on", 1);
                self.app.wazzup.poison([id], reply);
                return;
            }
            12 => {
                let seats = self.app.wazzup.users().len() + self.rng.usize(..3);
                self.tell(format!("  fault: {seats} seats"));
                self.count("fault: the account is nearly full", 1);
                self.app.wazzup.vary(|variant| variant.seats = seats);
                return;
            }
            13 => {
                self.tell("  the poison is gone");
                return self.app.wazzup.clear_faults();
            }
            _ => return,
        };
        // An answer of 200 to a write is its acknowledgement, whatever it says: only what is read can be garbled.
        let target = match what {
            What::Garbage | What::EmptyList | What::BrokenJson | What::ShortList { .. } => {
                [When::List, When::GetUser][self.rng.usize(..2)]
            }
            _ => target,
        };
        let (skip, times) = (self.rng.usize(..3), self.rng.usize(1..8));
        self.tell(format!("  fault: {target:?} {what:?}, after {skip}, {times} times"));
        self.count(class_of(&what), 1);
        self.app.wazzup.order(Fault::new(target, what).skip(skip).times(times));
    }

    /// One cycle, or one that is killed, or two copies at once, or one whose state connections are cut.
    async fn cycle(&mut self) {
        match self.rng.u8(..10) {
            0..4 => _ = self.once(None).await,
            4..7 => {
                let step = self.rng.u32(1..45);
                let code = self.once(Some(step)).await;
                if code == -1 {
                    self.lease_runs_out().await;
                }
            }
            7 => {
                self.tell("  two copies");
                self.count("two copies at once", 1);
                self.app.wazzup.clear_log();
                let (one, two) = (self.spawn_once(None), self.spawn_once(None));
                let (one, two) = tokio::join!(one, two);
                self.tell(format!("  they exit with {one} and {two}"));
            }
            _ => {
                self.tell("  the state's connections are cut");
                self.count("state connections cut in the middle of a cycle", 1);
                let cut = async {
                    // Without a request there is nothing to cut in between.
                    let patience = std::time::Duration::from_millis(300);
                    _ = self
                        .app
                        .wazzup
                        .wait_until(|wazzup| !wazzup.requests().is_empty(), patience)
                        .await;
                    self.app
                        .sql(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                              WHERE application_name = 'wazzup-sync' AND datname = current_database()",
                        )
                        .await;
                };
                self.app.wazzup.clear_log();
                let (code, ()) = tokio::join!(self.spawn_once(None), cut);
                self.tell(format!("  exit {code}"));
                // It could not give the lease up.
                self.lease_runs_out().await;
            }
        }
    }

    /// Runs a cycle, killed with SIGKILL at `step`. Returns its exit code, -1 if it was killed.
    async fn once(&mut self, step: Option<u32>) -> i32 {
        self.app.wazzup.clear_log();
        let code = self.spawn_once(step).await;
        self.count("cycles", 1);
        self.count("requests to Wazzup", self.app.wazzup.requests().len());
        if code == -1 {
            self.count("processes killed in the middle of a cycle", 1);
        }
        self.tell(format!(
            "  once, killed at {step:?}: exit {code}\n{}",
            self.app.requests_as_text()
        ));
        code
    }

    async fn spawn_once(&self, step: Option<u32>) -> i32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wazzup-sync"));
        command.arg("--config").arg(self.app.config_file()).arg("once");
        if let Some(step) = step {
            command.env("WAZZUP_SYNC_KILL_AT_STEP", step.to_string());
        }
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("the binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        self.nobody_in_the_crm_was_removed();
        output.status.code().unwrap_or(-1)
    }

    fn nobody_in_the_crm_was_removed(&self) {
        for request in self
            .app
            .wazzup
            .requests()
            .iter()
            .filter(|it| it.method != "POST" && it.writing)
        {
            for id in &request.ids {
                assert!(!self.crm.contains_key(id), "{id} is in the CRM and was to be removed");
            }
        }
    }

    async fn lease_runs_out(&mut self) {
        self.in_the_state("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
            .await;
    }

    /// Moves everything that the state remembers into the past.
    async fn time_passes(&mut self, minutes: u32) {
        self.tell(format!("  {minutes} minutes pass"));
        // No request is under way for minutes.
        self.app.wazzup.land_late();
        let mut sql = String::new();
        for (table, columns) in TIMES {
            let moved = columns
                .split(' ')
                .map(|it| format!("{it} = {it} - interval '{minutes} min'"));
            let moved = moved.collect::<Vec<_>>().join(", ");
            write!(sql, "UPDATE wazzup_sync.{table} SET {moved};").expect("a text grows");
        }
        // What a held removal is about is since when the user is absent, as the product writes it.
        write!(
            sql,
            "UPDATE wazzup_sync.holds SET content = rtrim(rtrim(to_char( \
                 (content::timestamptz - interval '{minutes} min') AT TIME ZONE 'UTC', \
                 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z' WHERE kind = 'remove';"
        )
        .expect("a text grows");
        self.in_the_state(&sql).await;
    }

    async fn is_acknowledged(&self, id: &str) -> bool {
        let sql = format!("SELECT count(*) FROM wazzup_sync.users WHERE user_id = '{id}' AND name IS NOT NULL");
        self.has_state().await && self.app.state_number(&sql).await > 0
    }

    /// Runs SQL in the state, if it is there.
    async fn in_the_state(&self, sql: &str) {
        if self.has_state().await {
            self.app.state_sql(sql).await;
        }
    }

    async fn has_state(&self) -> bool {
        let there = "SELECT count(*) FROM pg_tables WHERE schemaname = 'wazzup_sync' AND tablename = 'users'";
        self.app.state_number(there).await > 0
    }
}

/// The class of a fault of the service, for the table.
fn class_of(fault: &What) -> &'static str {
    match fault {
        What::CutAfter => "fault: answer lost after acting",
        What::CutBefore => "fault: request lost before acting",
        What::HoldBack => "fault: request lost, landing at any later moment",
        What::Garbage | What::BrokenJson | What::EmptyList | What::ShortList { .. } => {
            "fault: a list or answer that lies"
        }
        _ => "fault: answered by 500 or 503",
    }
}

const TIMES: [(&str, &str); 6] = [
    (
        "accounts",
        "lease_expires_at last_success_at list_read_at list_passed_at",
    ),
    ("users", "absent_since synced_at"),
    ("lost", "lost_at may_land_until"),
    ("holds", "since approved_at"),
    ("failures", "first_at last_at next_attempt_at"),
    ("history", "at"),
];
