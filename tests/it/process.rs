//! The real binary as a process.

use std::{
    ffi::OsString,
    fmt, fs,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::runbook;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A verb that has ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The log: each line of it is a JSON object with `timestamp`, `level` and `event`.
    pub log: Vec<Value>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit {}\nstdout:\n{}\nstderr:\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

impl Run {
    /// The events of this name.
    pub fn events(&self, name: &str) -> Vec<&Value> {
        self.log.iter().filter(|line| line["event"] == name).collect()
    }

    /// The kind of the error that the cycle failed with.
    pub fn error_kind(&self) -> &str {
        let failed = self.events("cycle.failed");
        assert_eq!(failed.len(), 1, "{self}");
        failed[0]["error_kind"].as_str().expect("a kind")
    }
}

/// The binary: this build's, or the one that `WAZZUP_SYNC_BINARY` names, so that a release build can be watched for an hour.
fn binary() -> OsString {
    std::env::var_os("WAZZUP_SYNC_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_wazzup-sync").into())
}

pub fn command(config: &Path, env: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WAZZUP_SYNC") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.arg("--config").arg(config).args(arguments);
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a verb to its end. It must not panic, and what it logs must be JSON.
pub async fn run(config: &Path, env: &[(String, String)], arguments: &[&str]) -> Run {
    let output = timeout(3 * PATIENCE, command(config, env, arguments).output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{arguments:?} does not end"))
        .expect("the binary runs");
    let stderr = String::from_utf8(output.stderr).expect("the log is text");
    // After the log, a command says in plain words what it is about to do, or why it failed.
    let is_log = |line: &&str| !line.starts_with("wazzup-sync: ") && !line.starts_with("error: ");
    let log = stderr.lines().take_while(is_log);
    let log = if arguments.contains(&"--help") {
        Vec::new()
    } else {
        log.map(log_line).collect()
    };
    let code = output
        .status
        .code()
        .unwrap_or_else(|| panic!("killed by a signal: {stderr}"));
    assert!(code != 101 && !stderr.contains("panicked"), "{stderr}");
    Run {
        code,
        stdout: String::from_utf8(output.stdout).expect("the answer is text"),
        stderr,
        log,
    }
}

pub fn log_line(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
    for field in ["timestamp", "level", "event"] {
        assert!(value[field].is_string(), "no {field}: {line}");
    }
    runbook::is_documented(&value);
    value
}

/// Sends a signal to a process that still runs.
pub async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("the process runs").to_string();
    let done = Command::new("kill").args(["-s", name, &id]).status().await;
    assert!(done.expect("kill runs").success());
}

/// The daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    lines: watch::Receiver<usize>,
    /// What was waited for until now lies before this line.
    seen: usize,
}

impl Daemon {
    pub fn start(config: &Path, env: &[(String, String)]) -> Self {
        let mut command = command(config, env, &["run"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (count, lines) = watch::channel(0);
        let copy = Arc::clone(&log);
        tokio::spawn(async move {
            let mut stderr = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = stderr.next_line().await {
                let mut log = copy.lock().unwrap_or_else(PoisonError::into_inner);
                // A line that is not JSON fails the test when the log is read.
                log.push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
                count.send_replace(log.len());
            }
        });
        Self {
            child,
            log,
            lines,
            seen: 0,
        }
    }

    /// The log until now.
    pub fn log(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for line in &log {
            let _ = log_line(&line.to_string());
        }
        log
    }

    /// How many events of this name there were until now.
    pub fn count(&self, event: &str) -> usize {
        self.log().iter().filter(|line| line["event"] == event).count()
    }

    /// Waits for the next event of this name that fits, after the last one that was waited for.
    pub async fn wait_for(&mut self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(event, |line| line["event"] == event && fits(line))
            .await
    }

    /// Waits for the end of a cycle, good or bad. Needs `log.level = "debug"`.
    pub async fn end_of_cycle(&mut self) -> Value {
        let is_end = |line: &Value| line["event"] == "cycle.finished" || line["event"] == "cycle.failed";
        self.wait_until("end of a cycle", is_end).await
    }

    async fn wait_until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut lines = self.lines.clone();
        let found = timeout(PATIENCE, async {
            loop {
                lines.borrow_and_update();
                let log = self.log();
                let new = log.iter().enumerate().skip(self.seen);
                let found = new
                    .map(|(index, line)| (index, line.clone()))
                    .find(|(_, line)| fits(line));
                if found.is_some() {
                    return found;
                }
                if lines.changed().await.is_err() {
                    return None;
                }
            }
        });
        let found = found.await.ok().flatten();
        let (index, line) = found.unwrap_or_else(|| panic!("no {what} came; the log:\n{}", self.text()));
        self.seen = index + 1;
        line
    }

    /// Waits for the next cycle that leaves nothing undone.
    pub async fn wait_until_in_sync(&mut self) {
        self.wait_for("cycle.finished", |event| event["outcome"] == "in_sync")
            .await;
    }

    /// Waits for the next cycle that begins from now on, and its end. Needs `log.level = "debug"`.
    pub async fn next_cycle(&mut self) -> Value {
        self.seen = self.log().len();
        self.wait_for("cycle.started", |_| true).await;
        self.wait_for("cycle.finished", |_| true).await
    }

    /// Its resident memory in kB.
    pub fn resident_kb(&self) -> u64 {
        self.memory_kb("VmRSS:")
    }

    /// The most resident memory that it ever had, in kB: what `ru_maxrss` of a process says, without the memory of the
    /// process that started it, which Linux counts in.
    pub fn peak_kb(&self) -> u64 {
        self.memory_kb("VmHWM:")
    }

    fn memory_kb(&self, field: &str) -> u64 {
        let id = self.child.id().expect("the daemon runs");
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the kernel tells of processes");
        let line = status.lines().find(|line| line.starts_with(field));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.expect("a number of kB")
    }

    pub fn text(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = log.iter().map(Value::to_string).collect();
        lines.join("\n")
    }

    pub async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    /// Waits for its end, and for the last line of its log; returns the exit code, unless a signal killed it.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = timeout(PATIENCE, async {
            let status = self.child.wait().await;
            while self.lines.changed().await.is_ok() {}
            status
        });
        let ended = ended.await;
        let ended = ended.unwrap_or_else(|_| panic!("the daemon does not end; the log:\n{}", self.text()));
        ended.expect("the daemon is waited for").code()
    }

    /// Stops it politely.
    pub async fn stop(mut self) {
        self.signal("TERM").await;
        assert_eq!(self.ended().await, Some(0), "{}", self.text());
    }
}
