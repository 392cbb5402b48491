//! The daemon: what a cycle, the time between cycles and a notified change cost, and what it holds in memory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use tokio::runtime::Runtime;

use crate::crm::Crm;
use crate::measure::median;
use crate::peer::{Kind, Peer, Tools};

/// The product waits so long after a NOTIFY for the rest of a burst.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// What was measured at one size.
pub(crate) struct Daemon {
    pub(crate) rows: usize,
    /// A cycle without change.
    pub(crate) cycle: Duration,
    /// The same of the Python peer.
    pub(crate) python_cycle: Duration,
    /// CPU used within 30 seconds between two cycles.
    pub(crate) idle_cpu: Duration,
    /// Resident after the first sync, and after some cycles.
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
    /// From the commit of a NOTIFY to the request, without the wait for a burst.
    pub(crate) notified: Duration,
}

pub(crate) fn measure(crm: &Crm<'_>, tools: &Tools, runtime: &Runtime) -> anyhow::Result<Daemon> {
    eprintln!("{} rows, the daemon", crm.rows);
    let ours = Peer::new(Kind::Ours, crm, tools, runtime)?;
    let mut python = Peer::new(Kind::Python, crm, tools, runtime)?;
    python.run(tools)?;

    // Slow cycles: what they hold, how fast a change leaves, what waiting costs.
    let config = ours.configure("[schedule]\nevery = \"1h\"\nlisten = \"changed\"\n[log]\nlevel = \"debug\"\n")?;
    let daemon = Running::start(tools, &config)?;
    daemon.finished(1)?;
    daemon.wait_until_quiet();
    let notified = notified(&daemon, &ours, crm)?;
    let idle_cpu = daemon.cpu_within(Duration::from_secs(30))?;
    let (resident_kib, peak_kib) = (daemon.memory("VmRSS")?, daemon.memory("VmHWM")?);
    drop(daemon);
    crm.sql("VACUUM ANALYZE")?;

    // One cycle after the other, for as long as the Python peer, in turns.
    let config = ours.configure("[schedule]\nevery = \"1ms\"\n[log]\nlevel = \"debug\"\n")?;
    let daemon = Running::start(tools, &config)?;
    daemon.finished(1)?;
    drop(daemon);
    let (mut cycles, mut python_cycles) = (Vec::new(), Vec::new());
    python.run(tools)?;
    for _ in 0..3 {
        let daemon = Running::start(tools, &config)?;
        daemon.finished(2)?;
        let begin = Instant::now();
        let mut last = daemon.finished(1)?;
        let mut took = Vec::new();
        while begin.elapsed() < Duration::from_secs(3) {
            let now = daemon.finished(1)?;
            took.push(now - last);
            last = now;
        }
        drop(daemon);
        ensure!(!took.is_empty(), "no cycle within three seconds");
        cycles.push(median(&mut took));
        python_cycles.push(python.python_loop(tools, 3)?);
    }
    Ok(Daemon {
        rows: crm.rows,
        cycle: median(&mut cycles),
        python_cycle: median(&mut python_cycles),
        idle_cpu,
        resident_kib,
        peak_kib,
        notified,
    })
}

/// The median over some changes: from the commit to the request's arrival.
fn notified(daemon: &Running, ours: &Peer, crm: &Crm<'_>) -> anyhow::Result<Duration> {
    let mut took = Vec::new();
    for round in 0..7 {
        ours.wazzup().clear_log();
        let committed = crm.sql(&format!(
            "UPDATE employees SET name = 'Переименован ' || {round} WHERE id = 1; NOTIFY changed; \
             SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        ))?;
        let committed = Duration::from_micros(committed.trim().parse()?);
        daemon.finished(1)?;
        let request = ours
            .wazzup()
            .requests()
            .into_iter()
            .next()
            .context("the change was not sent")?;
        let arrived: SystemTime = request.at;
        took.push((arrived.duration_since(UNIX_EPOCH)?).saturating_sub(committed + DEBOUNCE));
    }
    Ok(median(&mut took))
}

/// A daemon that runs, and the times of its `cycle.finished` lines.
struct Running {
    child: Child,
    finished: Receiver<Instant>,
}

impl Running {
    fn start(tools: &Tools, config: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(&tools.ours)
            .args(["--config", config, "run"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let (sender, finished) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let now = Instant::now();
                if line.contains("\"cycle.finished\"") && sender.send(now).is_err() {
                    break;
                }
                if line.contains("\"ERROR\"") {
                    eprintln!("{line}");
                }
            }
        });
        Ok(Self { child, finished })
    }

    /// Waits for so many cycles; when the last of them finished.
    fn finished(&self, cycles: usize) -> anyhow::Result<Instant> {
        let mut last = Instant::now();
        for _ in 0..cycles {
            last = self
                .finished
                .recv_timeout(Duration::from_mins(10))
                .context("the daemon finished no cycle")?;
        }
        Ok(last)
    }

    /// The listener may need a moment after the first cycle, and would make another cycle of it.
    #[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
    fn wait_until_quiet(&self) {
        thread::sleep(Duration::from_secs(2));
        while self.finished.try_recv().is_ok() {}
    }

    #[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
    fn cpu_within(&self, time: Duration) -> anyhow::Result<Duration> {
        let before = self.cpu()?;
        thread::sleep(time);
        Ok(self.cpu()?.saturating_sub(before))
    }

    /// What its threads used so far, by the scheduler's own count in nanoseconds: `utime` and `stime` count in 10 ms.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split_whitespace().next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    fn memory(&self, key: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let figure = line
            .and_then(|line| line.split_whitespace().next())
            .context("no figure")?;
        Ok(figure.parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Politely: a lease that is not given up would keep the next one waiting.
        let kill = format!("kill -TERM {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let _ = self.child.wait();
    }
}
