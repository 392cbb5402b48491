//! A throw-away Postgres server of the system's own binaries: a data directory in memory (if there
//! is room), a free port of the loopback, no password, nothing synced to disk.
//!
//! Whatever ends the process that started it, the server ends too and its files go: a small shell
//! waits on a pipe that only this process holds open.

mod binaries;
mod process;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use self::process::{clean, free_port, owner, signal, succeeded};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(5);

/// Waits for the end of its input, which is the end of the process that started it; then ends the
/// server, if there is one, and removes its files. `$1`: the temporary directory.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$1" 2>/dev/null && exit
    sleep 0.2
done
"#;

/// A throw-away server. All methods block; a start takes about a second.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    /// Whom the server runs as, where this process is root (which Postgres refuses).
    owner: Option<(u32, u32)>,
    server: Mutex<Option<Child>>,
    watchdog: Child,
    // Last, since the files go when the server is gone.
    directory: TempDir,
}

impl Postgres {
    /// Starts a server on a free port.
    ///
    /// # Errors
    /// If there are no Postgres server binaries (the message says how to install them), or the
    /// server does not start (the message holds its log).
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// The same with settings of `postgresql.conf`: `&[("max_connections", "20")]`.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        // Between choosing a free port and listening on it, somebody else may take it.
        let mut tries = 0;
        loop {
            match Self::start_on(free_port()?, settings) {
                Err(error) if tries < 3 && format!("{error:#}").contains("already in use") => tries += 1,
                result => return result,
            }
        }
    }

    /// The same on this port.
    ///
    /// # Errors
    /// As [`Postgres::start`], or if the port is taken.
    pub fn start_on(port: u16, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binaries = binaries::find()?;
        let directory = binaries::directory()?;
        let owner = owner(directory.path())?;
        let mut watchdog = Command::new("sh");
        watchdog
            .args(["-c", WATCHDOG, "sh"])
            .arg(directory.path())
            .stdin(Stdio::piped());
        watchdog.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watchdog = watchdog.spawn().context("cannot start `sh`")?;

        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let (settings, server) = (settings.collect(), Mutex::new(None));
        let postgres = Self {
            binaries,
            port,
            settings,
            owner,
            server,
            watchdog,
            directory,
        };
        postgres.initialize()?;
        postgres.start_again()?;
        Ok(postgres)
    }

    /// The one server that all tests of this process share. It ends with the process.
    ///
    /// # Errors
    /// As [`Postgres::start`]; every caller gets the same error.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, for the superuser. `postgres` is always there.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The URL of a database for a role that the caller made. No password is asked for.
    #[must_use]
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The data directory, with `pg_hba.conf` and the like.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Writes a file into the data directory so that the server accepts it (its owner, mode 600):
    /// `pg_hba.conf`, `server.key`… Followed by [`Postgres::reload`] or a restart.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_file(&self, name: &str, contents: &str) -> anyhow::Result<PathBuf> {
        let path = self.data_dir().join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(contents.as_bytes()))
            .and_then(|()| self.give_away(&path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Makes the server read its configuration again.
    ///
    /// # Errors
    /// If it does not run.
    pub fn reload(&self) -> anyhow::Result<()> {
        match &*self.server() {
            Some(server) => signal(server, "HUP"),
            None => bail!("the throw-away Postgres is stopped"),
        }
    }

    /// Creates a database, as a copy of `template` if one is named. Nobody may be connected to the
    /// template meanwhile.
    ///
    /// # Errors
    /// What the server says.
    pub fn create_database(&self, name: &str, template: Option<&str>) -> anyhow::Result<()> {
        let mut sql = format!("CREATE DATABASE {}", identifier(name));
        if let Some(template) = template {
            sql = format!("{sql} TEMPLATE {}", identifier(template));
            // Copying files is faster than logging every page; the choice is there since 15.
            let version = fs::read_to_string(self.data_dir().join("PG_VERSION"))?;
            if version.trim().parse::<u32>().is_ok_and(|major| major >= 15) {
                sql.push_str(" STRATEGY file_copy");
            }
        }
        self.sql("postgres", &sql).map(drop)
    }

    /// Drops a database and every connection to it.
    ///
    /// # Errors
    /// What the server says.
    pub fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
        self.sql("postgres", &sql).map(drop)
    }

    /// Runs SQL with `psql` as the superuser and returns its rows, fields parted by `|`.
    ///
    /// # Errors
    /// What the server says; nothing after the first error is run.
    pub fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        self.psql(database, &["-c".as_ref(), sql.as_ref()])
    }

    /// The same with a file.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub fn sql_file(&self, database: &str, file: &Path) -> anyhow::Result<String> {
        self.psql(database, &["-f".as_ref(), file.as_os_str()])
    }

    fn psql(&self, database: &str, arguments: &[&OsStr]) -> anyhow::Result<String> {
        // A directory of links to the server's binaries need not have the client's; the PATH may.
        let beside = self.binaries.join("psql");
        let psql = if beside.is_file() {
            beside
        } else {
            PathBuf::from("psql")
        };
        let mut psql = clean(psql);
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
        ]);
        psql.args(["-p", &self.port.to_string(), "-d", database])
            .args(arguments);
        let output = psql
            .stdin(Stdio::null())
            .output()
            .context("cannot run psql: is the PostgreSQL client installed?")?;
        succeeded("psql", &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Stops the server as an administrator would (`fast`); its port and data stay.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.end("INT")
    }

    /// Stops the server without any goodbye, and starts it again on the same port and data.
    ///
    /// # Errors
    /// As [`Postgres::start_again`].
    pub fn restart_immediate(&self) -> anyhow::Result<()> {
        self.end("QUIT")?;
        self.start_again()
    }

    /// Starts the server after [`Postgres::stop`], on the same port and data. Does nothing if it runs.
    ///
    /// # Errors
    /// If it does not start; the message holds its log.
    pub fn start_again(&self) -> anyhow::Result<()> {
        let mut server = self.server();
        if server.is_some() {
            return Ok(());
        }
        let log = self.directory.path().join("log");
        let mut postgres = self.command("postgres");
        postgres
            .arg("-D")
            .arg(self.data_dir())
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(self.directory.path());
        // Not `synchronous_commit=off`: an immediate restart would lose what was committed.
        for setting in [
            "listen_addresses=127.0.0.1",
            // In the data directory, which goes; not in /dev/shm, where a killed server leaves it.
            "dynamic_shared_memory_type=mmap",
            "fsync=off",
            "full_page_writes=off",
            "max_connections=300",
        ] {
            postgres.args(["-c", setting]);
        }
        for (key, value) in &self.settings {
            postgres.arg("-c").arg(format!("{key}={value}"));
        }
        let file = fs::File::create(&log)?;
        postgres
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let mut child = postgres.spawn().context("cannot run postgres")?;

        let (pid, deadline) = (child.id().to_string(), Instant::now() + PATIENCE);
        loop {
            let state = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
            // A file that a killed server left behind says "ready", too, but of another process.
            if state.lines().next() == Some(&pid) && state.lines().nth(7).map(str::trim) == Some("ready") {
                *server = Some(child);
                return Ok(());
            }
            if child.try_wait()?.is_some() || Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                let log = fs::read_to_string(&log).unwrap_or_default();
                bail!("the throw-away Postgres did not start on port {}:\n{log}", self.port);
            }
            glance();
        }
    }

    fn initialize(&self) -> anyhow::Result<()> {
        self.give_away(self.directory.path())?;
        let mut initdb = self.command("initdb");
        initdb
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(self.data_dir());
        let output = initdb.stdin(Stdio::null()).output().context("cannot run initdb")?;
        succeeded("initdb", &output)
    }

    /// A server binary, run as the owner of the files.
    fn command(&self, binary: &str) -> Command {
        let mut command = clean(self.binaries.join(binary));
        command.current_dir(self.directory.path());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn give_away(&self, path: &Path) -> std::io::Result<()> {
        self.owner
            .map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
    }

    fn end(&self, how: &str) -> anyhow::Result<()> {
        let Some(mut server) = self.server().take() else {
            return Ok(());
        };
        let signalled = signal(&server, how);
        let deadline = Instant::now() + PATIENCE;
        while signalled.is_ok() && server.try_wait()?.is_none() && Instant::now() < deadline {
            glance();
        }
        let _ = server.kill();
        server.wait()?;
        signalled
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.end("QUIT");
        // Its input ends here: the watchdog finds no server, and removes the files.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Waits a moment before looking again at what a server process does.
#[expect(
    clippy::disallowed_methods,
    reason = "these functions block by design: no runtime is waiting"
)]
fn glance() {
    std::thread::sleep(GLANCE);
}
