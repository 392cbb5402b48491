//! A working day, played by the real daemon on a throw-away Postgres and the sandbox.
//!
//! `make demo` plays it and ends; `make demo ARGS=--stay` leaves everything running and prints the URLs.

#![expect(clippy::print_stdout, reason = "the demo is there to be read")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sandbox::{Fault, Wazzup, What, When};
use sqlx::PgPool;
use test_postgres::Postgres;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

/// How long any scene may take.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLE: &str = "
    CREATE TABLE employees (id text PRIMARY KEY, full_name text, mobile text, works_here boolean NOT NULL DEFAULT true);
    CREATE FUNCTION employees_changed() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NOTIFY employees_changed; RETURN NULL; END $$;
    CREATE TRIGGER employees_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON employees
        FOR EACH STATEMENT EXECUTE FUNCTION employees_changed();
    INSERT INTO employees (id, full_name, mobile)
    SELECT lpad(n::text, 3, '0'),
        (ARRAY['Anna', 'Boris', 'Clara', 'Dmitry', 'Elena', 'Fyodor', 'Galina', 'Igor', 'Julia', 'Kirill'])[n % 10 + 1] || ' ' ||
        (ARRAY['Orlova', 'Petrenko', 'Quist', 'Romanova', 'Serebro', 'Tal', 'Uvarova'])[n % 7 + 1],
        '8 (926) ' || lpad((n * 3)::text, 3, '0') || '-00-' || lpad((n % 100)::text, 2, '0')
    FROM generate_series(1, 250) n;
    CREATE TABLE backup (LIKE employees);
";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let stay = std::env::args().any(|argument| argument == "--stay");
    let mut day = Day::begin().await?;
    day.first_sync().await?;
    day.an_ordinary_morning().await?;
    day.two_colleagues_swap_phones().await?;
    day.a_broken_row().await?;
    day.an_outage().await?;
    day.a_table_emptied_by_mistake().await?;
    day.a_department_closes().await?;
    if stay {
        day.stay().await?;
    }
    day.end().await
}

/// The company, the service and the daemon between them.
struct Day {
    crm: PgPool,
    wazzup: Wazzup,
    daemon: Child,
    log: mpsc::UnboundedReceiver<String>,
    config: PathBuf,
    scene: u32,
    // Dropped last: the server and the files go when everything else has ended.
    postgres: Postgres,
    directory: tempfile::TempDir,
}

impl Day {
    async fn begin() -> Result<Self> {
        println!("Starting a throw-away Postgres and the sandbox …");
        let postgres = Postgres::start()?;
        let wazzup = Wazzup::start()?;
        for (id, name) in [("boss", "The Boss"), ("bot-7", "Chat Bot")] {
            wazzup.seed_foreign(id, name, None);
        }
        let crm = PgPool::connect(&postgres.url("postgres")).await?;
        sqlx::raw_sql(TABLE).execute(&crm).await?;
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("wazzup-sync.toml");
        let (url, base_url) = (postgres.url("postgres"), wazzup.base_url());
        fs::write(directory.path().join("key"), wazzup.key())?;
        let key = directory.path().join("key").display().to_string();
        let text = format!(
            "account = \"demo\"\n\
             [crm]\nurl = {url:?}\ntable = \"employees\"\n\
             [crm.columns]\nid = \"id\"\nname = \"full_name\"\nphone = \"mobile\"\nactive = \"works_here\"\n\
             [wazzup]\nbase_url = {base_url:?}\napi_key_file = {key:?}\ntimeout = \"5s\"\n\
             [removals]\ngrace = \"0s\"\n\
             [state]\nurl = {url:?}\nlease = \"10s\"\n\
             [schedule]\nevery = \"3s\"\nlisten = \"employees_changed\"\n\
             [log]\nformat = \"text\"\n"
        );
        fs::write(&config, text)?;
        println!("250 employees in the CRM; 2 users in Wazzup whom nobody's sync created. Here comes the daemon.");
        let mut daemon = Command::new(program()?)
            .arg("--config")
            .arg(&config)
            .arg("run")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(daemon.stderr.take().context("the daemon's log")?).lines();
        let (sender, log) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            crm,
            wazzup,
            daemon,
            log,
            config,
            scene: 0,
            postgres,
            directory,
        })
    }

    async fn first_sync(&mut self) -> Result<()> {
        self.scene("The first sync: 250 employees are three requests");
        self.log_until("cycle.finished", "added=250").await?;
        self.compare(&["001", "002", "250"]).await
    }

    async fn an_ordinary_morning(&mut self) -> Result<()> {
        self.scene("An ordinary morning: a hire, a new name, a leaver");
        self.sql(
            "INSERT INTO employees VALUES ('251', 'Lena Nova', '+7 926 555-00-51');
             UPDATE employees SET full_name = 'Anna Orlova-Tal' WHERE id = '010';
             UPDATE employees SET works_here = false WHERE id = '100'",
        )
        .await?;
        self.log_until("cycle.finished", "removed=1").await?;
        self.compare(&["010", "100", "251"]).await
    }

    async fn two_colleagues_swap_phones(&mut self) -> Result<()> {
        self.scene("Two colleagues swap their phones: Wazzup refuses a phone that another user has, so both give theirs up first");
        self.sql(
            "UPDATE employees a SET mobile = b.mobile FROM employees b
             WHERE (a.id, b.id) IN (('001', '002'), ('002', '001'))",
        )
        .await?;
        self.log_until("cycle.finished", "updated=2").await?;
        self.compare(&["001", "002"]).await
    }

    async fn a_broken_row(&mut self) -> Result<()> {
        self.scene("A broken row: a blank name and a phone that is none. Nobody else waits for them");
        self.sql(
            "UPDATE employees SET full_name = '  ' WHERE id = '020';
             UPDATE employees SET mobile = 'ask Olga' WHERE id = '021';
             UPDATE employees SET full_name = 'Boris Quist-Orlov' WHERE id = '022'",
        )
        .await?;
        self.log_until("cycle.finished", "failing=2").await?;
        self.compare(&["020", "021", "022"]).await?;
        println!("  The rows are corrected:");
        self.sql(
            "UPDATE employees SET full_name = 'Clara Tal' WHERE id = '020';
             UPDATE employees SET mobile = '+7 926 555-00-21' WHERE id = '021'",
        )
        .await?;
        self.log_until("cycle.finished", "failing=0").await?;
        self.compare(&["020", "021"]).await
    }

    async fn an_outage(&mut self) -> Result<()> {
        self.scene("Wazzup is away, and comes back: the daemon tries again until it is");
        self.wazzup.order(Fault::new(When::Any, What::status(503)).always());
        self.sql("UPDATE employees SET full_name = 'Elena Petrenko' WHERE id = '030'")
            .await?;
        self.log_until("cycle.failed", "wazzup_unavailable").await?;
        self.compare(&["030"]).await?;
        println!("  The service is back:");
        self.wazzup.clear_faults();
        self.log_until("cycle.finished", "updated=1").await?;
        self.compare(&["030"]).await
    }

    async fn a_table_emptied_by_mistake(&mut self) -> Result<()> {
        self.scene("Somebody empties the table by mistake: nobody is removed");
        self.sql("INSERT INTO backup SELECT * FROM employees; TRUNCATE employees")
            .await?;
        self.log_until("cycle.finished", "held=250").await?;
        self.compare(&["001", "002"]).await?;
        println!("  The table is restored:");
        self.sql("INSERT INTO employees SELECT * FROM backup; TRUNCATE backup")
            .await?;
        self.log_until("cycle.finished", "held=0").await?;
        self.compare(&["001", "002"]).await
    }

    async fn a_department_closes(&mut self) -> Result<()> {
        self.scene("A department closes: 40 people leave at once. That is held, too, until an operator approves it");
        self.sql("DELETE FROM employees WHERE id BETWEEN '201' AND '240'")
            .await?;
        self.log_until("cycle.finished", "held=40").await?;
        self.compare(&["201", "240", "241"]).await?;
        println!("  $ wazzup-sync approve --yes");
        let approved = Command::new(program()?)
            .arg("-c")
            .arg(&self.config)
            .args(["approve", "--yes"])
            .output()
            .await?;
        let answer = String::from_utf8_lossy(&approved.stdout).into_owned();
        let lines: Vec<&str> = answer.lines().collect();
        println!(
            "    {}\n    …\n    {}",
            lines.first().unwrap_or(&""),
            lines.last().unwrap_or(&"")
        );
        self.log_until("cycle.finished", "removed=40").await?;
        self.compare(&["201", "240", "241"]).await
    }

    async fn stay(&mut self) -> Result<()> {
        println!("\nEverything goes on until Ctrl-C. Play with it:");
        println!("  the CRM            psql '{}'", self.postgres.url("postgres"));
        println!(
            "  Wazzup's users     {}",
            self.wazzup.base_url().trim_end_matches("/v3")
        );
        println!("  the configuration  {}", self.config.display());
        println!(
            "  any verb           {} -c {} status\n",
            program()?.display(),
            self.config.display()
        );
        loop {
            tokio::select! {
                stopped = tokio::signal::ctrl_c() => return stopped.context("Ctrl-C"),
                Some(line) = self.log.recv() => println!("  log │ {}", shortened(&line)),
            }
        }
    }

    /// Stops the daemon, and compares everybody.
    async fn end(mut self) -> Result<ExitCode> {
        self.scene("The day is over: SIGTERM");
        let pid = self.daemon.id().context("the daemon runs")?.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        self.log_until("daemon.stopped", "").await?;
        let status = tokio::time::timeout(PATIENCE, self.daemon.wait()).await??;
        ensure!(status.success(), "the daemon ended with {status}");
        let crm = self.employees().await?;
        let wazzup: BTreeMap<String, (String, Option<String>)> = self
            .wazzup
            .users()
            .into_iter()
            .map(|(id, it)| (id, (it.name, it.phone)))
            .collect();
        let ours = |id: &&String| !matches!(id.as_str(), "boss" | "bot-7");
        let agree = crm.len() == wazzup.keys().filter(ours).count()
            && crm.iter().all(|(id, (name, phone))| {
                let phone = phone.as_ref().map(|phone| digits(phone));
                wazzup.get(id).is_some_and(|user| user.0 == *name && user.1 == phone)
            });
        let foreign = self.wazzup.foreign_touched();
        drop(self.directory);
        ensure!(foreign.is_empty(), "users of somebody else were touched: {foreign:?}");
        println!(
            "  {} employees in the CRM, {} users in Wazzup, 2 of them not ours.",
            crm.len(),
            wazzup.len()
        );
        println!(
            "  {}",
            if agree {
                "The two agree."
            } else {
                "The two do NOT agree."
            }
        );
        Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn scene(&mut self, title: &str) {
        self.scene += 1;
        println!("\n── {}. {title}", self.scene);
    }

    async fn sql(&self, sql: &'static str) -> Result<()> {
        sqlx::raw_sql(sql).execute(&self.crm).await?;
        Ok(())
    }

    /// Prints the daemon's log until an event with this text.
    async fn log_until(&mut self, event: &str, text: &str) -> Result<()> {
        let lines = async {
            while let Some(line) = self.log.recv().await {
                println!("  log │ {}", shortened(&line));
                if line.contains(event) && line.contains(text) {
                    return Ok(());
                }
            }
            anyhow::bail!("the daemon ended before {event} {text}")
        };
        tokio::time::timeout(PATIENCE, lines)
            .await
            .with_context(|| format!("no {event} {text} in the log"))?
    }

    async fn employees(&self) -> Result<BTreeMap<String, (String, Option<String>)>> {
        let rows: Vec<(String, String, Option<String>)> =
            sqlx::query_as("SELECT id, full_name, mobile FROM employees WHERE works_here")
                .fetch_all(&self.crm)
                .await?;
        Ok(rows.into_iter().map(|(id, name, phone)| (id, (name, phone))).collect())
    }

    /// Prints side by side what the CRM says of these people and what Wazzup holds.
    async fn compare(&self, ids: &[&str]) -> Result<()> {
        let (crm, wazzup) = (self.employees().await?, self.wazzup.users());
        println!("  {:>5} │ {:38} │ Wazzup", "id", "CRM");
        for id in ids {
            let said = crm.get(*id).map_or("—".into(), |(name, phone)| {
                format!("{name}, {}", phone.as_deref().unwrap_or("no phone"))
            });
            let held = wazzup.get(*id);
            let held = held.map_or("—".into(), |user| {
                format!("{}, {}", user.name, user.phone.as_deref().unwrap_or("no phone"))
            });
            println!("  {id:>5} │ {said:38} │ {held}");
        }
        println!("  {:>5} │ {:38} │ {} (2 not ours)", "all", crm.len(), wazzup.len());
        Ok(())
    }
}

/// The daemon's binary, which cargo builds beside the examples.
fn program() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here
        .parent()
        .and_then(Path::parent)
        .map(|path| path.join("wazzup-sync"));
    program
        .filter(|path| path.exists())
        .context("the daemon is not built: use `make demo`")
}

/// A log line without what is the same in each.
fn shortened(line: &str) -> String {
    let line = line.replace(" account=demo", "");
    line.get(11..).unwrap_or(&line).chars().take(150).collect()
}

/// A phone of this demo as Wazzup has it.
fn digits(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    format!("7{}", &digits[1..])
}
