//! What a command costs: wall, CPU of it and all it started, and the peak memory of its biggest process.
//!
//! The command is started by a fresh and small process, this program again. Linux counts what the parent of a new process
//! holds as the child's peak, and this program holds a lot by then.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The argument that makes this program measure a command.
pub(crate) const FLAG: &str = "--measure";

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// Each figure's own median.
    pub(crate) fn median(of: &[Self]) -> Self {
        Self {
            wall: median(&mut of.iter().map(|it| it.wall).collect::<Vec<_>>()),
            cpu: median(&mut of.iter().map(|it| it.cpu).collect::<Vec<_>>()),
            peak_kib: median(&mut of.iter().map(|it| it.peak_kib).collect::<Vec<_>>()),
        }
    }
}

/// The middle one, or the higher of the two in the middle.
pub(crate) fn median<T: Ord + Copy>(of: &mut [T]) -> T {
    of.sort_unstable();
    of[of.len() / 2]
}

/// Runs `program` with `arguments` and `environment` and measures it.
pub(crate) fn measured(program: &str, arguments: &[&str], environment: &[(&str, String)]) -> anyhow::Result<Usage> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(FLAG).arg(program).args(arguments).stdin(Stdio::null());
    for (key, value) in environment {
        command.env(key, value);
    }
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?} failed: {errors}");
    let text = String::from_utf8(output.stdout)?;
    let mut figures = text.split_whitespace().map(str::parse::<u64>);
    let mut next = || anyhow::Ok(figures.next().context("no figures")??);
    Ok(Usage {
        wall: Duration::from_micros(next()?),
        cpu: Duration::from_micros(next()?),
        peak_kib: next()?,
    })
}

/// The small process: runs the command and prints the figures.
#[expect(clippy::print_stdout, reason = "the figures go to the process that asked for them")]
pub(crate) fn run(command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("no command to measure")?;
    let began = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let wall = began.elapsed();
    ensure!(status.success(), "{status}");
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let cpu = micros(used.user_time()) + micros(used.system_time());
    println!("{} {cpu} {}", wall.as_micros(), used.max_rss());
    Ok(())
}
