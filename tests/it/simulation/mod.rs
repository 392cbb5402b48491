//! The proof: random histories of CRM edits, refusals, lost answers, outages, cut connections, deaths at each step and
//! second copies, from a seed. After the faults stop, Wazzup must have what the CRM says, within a few cycles, and then
//! there is silence.
//!
//! `SEEDS=300` runs the seeds 0 to 299, `SEEDS=17..18` replays seed 17. A failing seed prints its story.

mod company;
mod faults;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
};

use fastrand::Rng;
use futures_util::StreamExt as _;
use sandbox::{ErrorStyle, ListStyle, OmittedPhone, PostAnswer};

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

fn phone(number: u8) -> String {
    format!("792612345{number:02}")
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
    /// Leavers whom nobody owned any more, once another account was approved.
    disowned: BTreeSet<String>,
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
                    .map(|request| request.body.clone())
                    .collect::<Vec<_>>()
            );
        }
    }
}

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
            disowned: BTreeSet::new(),
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
                if self.is_account_held().await {
                    // The users of the account that was known are forgotten, so leavers among them are somebody else's.
                    let users = self.app.wazzup.users();
                    self.disowned
                        .extend(users.into_keys().filter(|id| !self.crm.contains_key(id)));
                }
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

    async fn is_account_held(&self) -> bool {
        let held = "SELECT count(*) FROM wazzup_sync.holds WHERE kind = 'account' AND approved_at IS NULL";
        self.app.state_number(held).await > 0
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
            let is_owned = !user.is_foreign && !self.disowned.contains(id);
            assert!(!is_owned || self.crm.contains_key(id), "{id} is left behind");
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
