//! `make bench`: one cycle of `wazzup-sync` beside two scripts that do the same job, at several sizes, and the daemon.
//!
//! The runs are interleaved (ours, shell, Python, ours…), so that what else the machine does hits all of them; figures are
//! medians. After each run the stand-in for Wazzup must hold exactly what the CRM says: who is fast and wrong is not counted.

#![expect(clippy::print_stderr, reason = "a benchmark tells what it is doing")]

mod crm;
mod daemon;
mod measure;
mod peer;
mod report;
mod svg;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use sandbox::{Fault, Postgres, What, When};

use crate::crm::Crm;
use crate::measure::{Usage, median};
use crate::peer::{Kind, Peer, Tools};
use crate::report::{Report, Row};

/// What happens to the CRM before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// Nothing was ever synced.
    First,
    /// Nothing changed.
    Quiet,
    /// One in a hundred changed: eight of ten renamed, one hired, one left.
    Churn,
}

impl Scenario {
    const ALL: [Self; 3] = [Self::First, Self::Quiet, Self::Churn];

    fn name(self) -> &'static str {
        match self {
            Self::First => "first sync",
            Self::Quiet => "no change",
            Self::Churn => "1 % churn",
        }
    }

    /// How many runs of each peer the time allows.
    fn runs(self, rows: usize) -> usize {
        match (self, rows) {
            (Self::Quiet, ..=1_000) => 31,
            (_, ..=1_000) => 15,
            (_, ..=10_000) => 7,
            (Self::Quiet, ..=100_000) => 9,
            (_, ..=100_000) => 5,
            (Self::First, _) => 1,
            _ => 3,
        }
    }
}

struct Arguments {
    rows: Vec<usize>,
    write: bool,
    daemon: bool,
}

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|it| it == measure::FLAG) {
        return measure::run(&arguments.split_off(1));
    }
    let Arguments { rows, write, daemon } = parse(&arguments)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let postgres = Postgres::start()?;
    let tools = Tools::find(&postgres)?;
    let mut report = Report::new(&postgres, &tools)?;
    for rows in rows {
        let crm = Crm::create(&postgres, rows)?;
        compare(&crm, &tools, &runtime, &mut report)?;
        if rows == 1_000 {
            report.latency = Some(with_latency(&crm, &tools, &runtime)?);
        }
        if daemon {
            report.daemons.push(daemon::measure(&crm, &tools, &runtime)?);
        }
        crm.drop()?;
    }
    report.print();
    if write {
        report.write()?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> anyhow::Result<Arguments> {
    let (mut rows, mut write, mut daemon) = (Vec::new(), false, true);
    for argument in arguments {
        match argument.as_str() {
            "--write" => write = true,
            "--no-daemon" => daemon = false,
            number => {
                let number = number.replace('_', "");
                rows.push(number.parse().context("usage: peers [--write] [--no-daemon] [ROWS…]")?);
            }
        }
    }
    if rows.is_empty() {
        rows = vec![1_000, 10_000, 100_000];
    }
    rows.sort_unstable();
    Ok(Arguments { rows, write, daemon })
}

/// All scenarios at one size.
fn compare(crm: &Crm<'_>, tools: &Tools, runtime: &tokio::runtime::Runtime, report: &mut Report) -> anyhow::Result<()> {
    let mut peers = Kind::ALL
        .iter()
        .map(|kind| Peer::new(*kind, crm, tools, runtime))
        .collect::<anyhow::Result<Vec<_>>>()?;
    for scenario in Scenario::ALL {
        let runs = scenario.runs(crm.rows);
        eprintln!("{} rows, {}: {runs} runs each", crm.rows, scenario.name());
        let mut usages: Vec<Vec<Usage>> = vec![Vec::new(); peers.len()];
        let mut requests = vec![0; peers.len()];
        // The first round warms the caches of the disk and of Postgres, and does not count where there are more.
        for round in 0..=runs {
            let warm_up = round == 0 && runs > 1;
            if round == 0 && !warm_up {
                continue;
            }
            if scenario == Scenario::Churn {
                crm.churn(round)?;
            }
            for turn in 0..peers.len() {
                let index = (turn + round) % peers.len();
                let peer = &mut peers[index];
                if scenario == Scenario::First {
                    peer.reset(crm, runtime)?;
                }
                let usage = peer.run(tools)?;
                requests[index] = peer.requests();
                if !warm_up {
                    usages[index].push(usage);
                }
            }
            if round == runs || scenario == Scenario::First {
                crm.sql("CHECKPOINT")?;
            }
        }
        let wanted = crm.active()?;
        for peer in &peers {
            if peer.users() != wanted {
                bail!("{} did not bring Wazzup to what the CRM says", peer.kind.name());
            }
        }
        if scenario != Scenario::Quiet {
            crm.sql("VACUUM ANALYZE")?;
        }
        for ((peer, usages), requests) in peers.iter().zip(&usages).zip(requests) {
            report.rows.push(Row {
                rows: crm.rows,
                scenario: scenario.name(),
                peer: peer.kind,
                usage: Usage::median(usages),
                requests,
            });
        }
    }
    Ok(())
}

/// The first sync with 50 ms for each request: the wall time, and the requests × latency that nothing can beat.
fn with_latency(
    crm: &Crm<'_>,
    tools: &Tools,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<(Duration, Duration)> {
    const LATENCY_MS: u64 = 50;
    let mut peer = Peer::new(Kind::Ours, crm, tools, runtime)?;
    let (mut walls, mut floor) = (Vec::new(), Duration::ZERO);
    for _ in 0..5 {
        peer.reset(crm, runtime)?;
        peer.wazzup()
            .order(Fault::new(When::Any, What::Delay { ms: LATENCY_MS }).always());
        walls.push(peer.run(tools)?.wall);
        floor = Duration::from_millis(LATENCY_MS) * u32::try_from(peer.requests())?;
    }
    Ok((median(&mut walls), floor))
}

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
