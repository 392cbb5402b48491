//! The figures as Markdown, on standard output and in `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use sandbox::Postgres;

use crate::daemon::Daemon;
use crate::measure::Usage;
use crate::peer::{Kind, Tools};
use crate::{root, svg};

/// One line of the table.
pub(crate) struct Row {
    pub(crate) rows: usize,
    pub(crate) scenario: &'static str,
    pub(crate) peer: Kind,
    pub(crate) usage: Usage,
    pub(crate) requests: usize,
}

/// All that was measured.
pub(crate) struct Report {
    machine: String,
    pub(crate) rows: Vec<Row>,
    /// The first sync with 50 ms for each request: wall, and requests × latency.
    pub(crate) latency: Option<(Duration, Duration)>,
    pub(crate) daemons: Vec<Daemon>,
}

const HEAD: &str = "# Benchmarks

Written by `make bench`, with `benches/run.sh --write`; do not edit.

One cycle as a whole process (`wazzup-sync once`) beside a [shell script](../benches/peers/sync.sh) and a
[Python script](../benches/peers/sync.py) that do the plain part of the same job: a snapshot table, a diff, batches of
100, removals. They isolate no refusals, hand over no phones, hold back no removals, keep no lease and record once at the
end, where `wazzup-sync` records each batch before it sends the next. Postgres and Wazzup are throw-away ones on the same
machine, without latency and with `fsync=off`; the state is in the same Postgres as the CRM. Medians of interleaved runs;
CPU is user and system time of all processes of the run (the database's own not counted), peak memory that of its biggest
process. After each scenario Wazzup must have exactly what the CRM says.
";

impl Report {
    pub(crate) fn new(postgres: &Postgres, tools: &Tools) -> anyhow::Result<Self> {
        let cores = available_parallelism()?;
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu = cpu.map_or("an unknown CPU", |(_, name)| name);
        let server = postgres.sql("postgres", "SHOW server_version")?;
        let server = server.split_whitespace().next().unwrap_or_default();
        let (rustc, python) = (version("rustc"), version(&tools.python.display().to_string()));
        let ours = version(&tools.ours.display().to_string());
        Ok(Self {
            machine: format!(
                "Machine: {cores} cores of {cpu}, {}; PostgreSQL {server}, {rustc}, {python}; {ours}.",
                std::env::consts::OS
            ),
            rows: Vec::new(),
            latency: None,
            daemons: Vec::new(),
        })
    }

    fn markdown(&self) -> String {
        let mut text = format!("{HEAD}\n{}\n\n", self.machine);
        text.push_str("| rows | cycle | who | wall ms | CPU ms | peak MB | requests | to the shell |\n");
        text.push_str("|--:|---|---|--:|--:|--:|--:|--:|\n");
        for row in &self.rows {
            let shell = self.wall(row.rows, row.scenario, Kind::Shell);
            let ratio = shell.map_or_else(String::new, |it| {
                format!("{:.2}", row.usage.wall.as_secs_f64() / it.as_secs_f64())
            });
            let bold = if row.peer == Kind::Ours { "**" } else { "" };
            let _ = writeln!(
                text,
                "| {} | {} | {bold}{}{bold} | {} | {} | {:.0} | {} | {bold}{ratio}{bold} |",
                thousands(row.rows),
                row.scenario,
                row.peer.name(),
                ms(row.usage.wall),
                ms(row.usage.cpu),
                kib(row.usage.peak_kib),
                thousands(row.requests),
            );
        }
        text.push_str("\n![Wall time by number of rows](growth.svg)\n\n## At a distance, and as a daemon\n\n");
        if let Some((wall, floor)) = self.latency {
            let _ = writeln!(
                text,
                "With 50 ms for each request, the first sync of 1,000 takes {} ms: {:.2} × (requests × latency).\n",
                ms(wall),
                wall.as_secs_f64() / floor.as_secs_f64()
            );
        }
        if !self.daemons.is_empty() {
            text.push_str("| rows | cycle without change | the Python script as a loop | CPU in 30 s between cycles | resident | its peak | NOTIFY to request |\n");
            text.push_str("|--:|--:|--:|--:|--:|--:|--:|\n");
        }
        for it in &self.daemons {
            let _ = writeln!(
                text,
                "| {} | {} ms | {} ms | {} ms | {:.1} MB | {:.1} MB | {} ms |",
                thousands(it.rows),
                ms(it.cycle),
                ms(it.python_cycle),
                ms(it.idle_cpu),
                kib(it.resident_kib),
                kib(it.peak_kib),
                ms(it.notified)
            );
        }
        text.push_str("\nNOTIFY to request: from the commit to the request's arrival, less the second that a burst is waited for.\n");
        text
    }

    fn wall(&self, rows: usize, scenario: &str, peer: Kind) -> Option<Duration> {
        let mut found = self.rows.iter();
        let found = found.find(|it| it.rows == rows && it.scenario == scenario && it.peer == peer);
        found.map(|it| it.usage.wall)
    }

    #[expect(clippy::print_stdout, reason = "the table is what was asked for")]
    pub(crate) fn print(&self) {
        println!("{}", self.markdown());
    }

    /// Writes the page and its picture.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let docs = root().join("docs");
        fs::create_dir_all(&docs)?;
        fs::write(docs.join("benchmarks.md"), self.markdown())?;
        fs::write(docs.join("growth.svg"), svg::growth(&self.rows))?;
        Ok(())
    }
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(
        |_| program.to_owned(),
        |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
    )
}

/// Three digits are enough.
fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    match ms {
        ..10.0 => format!("{ms:.2}"),
        ..100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "no memory is that big")]
fn kib(kib: u64) -> f64 {
    kib as f64 * 1_024.0 / 1_000_000.0
}

/// `100,000`
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
