//! The programs compared, each with a stand-in for Wazzup and a snapshot of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use sandbox::{Postgres, Wazzup};
use tokio::runtime::Runtime;

use crate::crm::Crm;
use crate::measure::{Usage, measured};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Shell,
    /// The shell with all requests through one curl.
    ShellOneCurl,
    Python,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::Shell, Self::ShellOneCurl, Self::Python];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "wazzup-sync once",
            Self::Shell => "shell: psql, curl",
            Self::ShellOneCurl => "shell, one curl for all",
            Self::Python => "Python: psycopg, httpx",
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Self::Ours => "wazzup_sync",
            Self::Shell => "shell_peer",
            Self::ShellOneCurl => "shell_peer_one_curl",
            Self::Python => "python_peer",
        }
    }
}

/// Where the programs are.
pub(crate) struct Tools {
    pub(crate) ours: PathBuf,
    pub(crate) python: PathBuf,
    peers: PathBuf,
    /// The directory of Postgres's own programs comes first: Debian's `psql` is a Perl script that starts the real one
    /// 25 ms later, which says nothing about shell scripts.
    path: String,
    /// For the configuration files.
    directory: tempfile::TempDir,
}

impl Tools {
    pub(crate) fn find(postgres: &Postgres) -> anyhow::Result<Self> {
        let release = std::env::current_exe()?.parent().context("no directory")?.to_owned();
        let ours = release.join("wazzup-sync");
        ensure!(ours.is_file(), "no {}: run benches/run.sh", ours.display());
        let mut path = std::env::var("PATH").unwrap_or_default();
        let pid = fs::read_to_string(postgres.data_dir().join("postmaster.pid"))?;
        let binary = fs::read_link(format!("/proc/{}/exe", pid.lines().next().unwrap_or_default())).ok();
        if let Some(bin) = binary.as_deref().and_then(Path::parent)
            && bin.join("psql").is_file()
        {
            path = format!("{}:{path}", bin.display());
        }
        Ok(Self {
            python: python(&release.join("../bench-python"))?,
            ours,
            peers: crate::root().join("benches/peers"),
            path,
            directory: tempfile::tempdir()?,
        })
    }
}

/// An interpreter of our own with the packages of the Python peer: a virtual environment below the target directory.
fn python(directory: &Path) -> anyhow::Result<PathBuf> {
    let python = directory.join("bin/python3");
    let ready = Command::new(&python).args(["-c", "import psycopg, httpx"]).output();
    if ready.is_ok_and(|it| it.status.success()) {
        return Ok(python);
    }
    eprintln!("installing psycopg and httpx into {}", directory.display());
    let run = |command: &mut Command| -> anyhow::Result<()> {
        let output = command.output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command:?}: {errors}");
        Ok(())
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let packages = ["psycopg[binary]==3.3.*", "httpx==0.28.*"];
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .args(packages))?;
    Ok(python)
}

pub(crate) struct Peer {
    pub(crate) kind: Kind,
    wazzup: Wazzup,
    url: String,
    config: PathBuf,
}

impl Peer {
    /// A peer that has never run.
    pub(crate) fn new(kind: Kind, crm: &Crm<'_>, tools: &Tools, runtime: &Runtime) -> anyhow::Result<Self> {
        let mut peer = Self {
            kind,
            wazzup: runtime.block_on(Wazzup::start())?,
            url: crm.url(),
            config: tools.directory.path().join("wazzup-sync.toml"),
        };
        peer.reset(crm, runtime)?;
        Ok(peer)
    }

    /// Makes it forget what it did, and Wazzup too.
    pub(crate) fn reset(&mut self, crm: &Crm<'_>, runtime: &Runtime) -> anyhow::Result<()> {
        crm.sql(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.kind.schema()))?;
        self.wazzup = runtime.block_on(Wazzup::start())?;
        self.wazzup.vary(|it| it.seats = usize::MAX);
        Ok(())
    }

    /// One run, measured.
    pub(crate) fn run(&mut self, tools: &Tools) -> anyhow::Result<Usage> {
        self.wazzup.clear_log();
        let script = |name: &str| tools.peers.join(name).display().to_string();
        let environment = [
            ("PATH", tools.path.clone()),
            ("DATABASE_URL", self.url.clone()),
            ("WAZZUP_URL", self.wazzup.base_url()),
            ("WAZZUP_KEY", self.wazzup.key()),
            ("PEER_SCHEMA", self.kind.schema().to_owned()),
            (
                "CURL",
                if self.kind == Kind::ShellOneCurl { "one" } else { "each" }.to_owned(),
            ),
        ];
        match self.kind {
            Kind::Ours => {
                let config = self.configure("")?;
                let program = tools.ours.display().to_string();
                measured(&program, &["--config", &config, "once"], &[])
            }
            Kind::Shell | Kind::ShellOneCurl => measured("bash", &[&script("sync.sh")], &environment),
            Kind::Python => {
                let program = tools.python.display().to_string();
                measured(&program, &[&script("sync.py")], &environment)
            }
        }
    }

    /// Cycles of the Python peer in one process for so many seconds: the median of a cycle.
    pub(crate) fn python_loop(&self, tools: &Tools, seconds: u64) -> anyhow::Result<Duration> {
        let output = Command::new(&tools.python)
            .arg(tools.peers.join("sync.py"))
            .args(["--loop", &seconds.to_string()])
            .env("DATABASE_URL", &self.url)
            .env("WAZZUP_URL", self.wazzup.base_url())
            .env("WAZZUP_KEY", self.wazzup.key())
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let milliseconds: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(Duration::from_secs_f64(milliseconds / 1_000.0))
    }

    /// Writes our configuration, with `more` sections, and returns where.
    pub(crate) fn configure(&self, more: &str) -> anyhow::Result<String> {
        let text = format!(
            "account = \"bench\"\n\
             [crm]\nurl = \"{}\"\ntable = \"public.employees\"\n\
             [crm.columns]\nphone = \"phone\"\nactive = \"is_active\"\n\
             [wazzup]\nbase_url = \"{}\"\napi_key = \"{}\"\nrequests_per_minute = {}\n\
             [state]\nurl = \"{}\"\n\
             [removals]\nhold_above_percent = 100\ngrace = \"0s\"\n{more}",
            self.url,
            self.wazzup.base_url(),
            self.wazzup.key(),
            u32::MAX,
            self.url,
        );
        let text = if more.contains("[log]") {
            text
        } else {
            text + "[log]\nlevel = \"warn\"\n"
        };
        fs::write(&self.config, text)?;
        Ok(self.config.display().to_string())
    }

    /// How many requests the last run made.
    pub(crate) fn requests(&self) -> usize {
        self.wazzup.requests().len()
    }

    /// Whom Wazzup has: names by id.
    pub(crate) fn users(&self) -> BTreeMap<String, String> {
        let users = self.wazzup.users().into_iter();
        users.map(|(id, user)| (id, user.name)).collect()
    }

    pub(crate) fn wazzup(&self) -> &Wazzup {
        &self.wazzup
    }
}
