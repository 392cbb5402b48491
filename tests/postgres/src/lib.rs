//! A throw-away Postgres server: a data directory in memory if there is room, a free port of the loopback, no password,
//! nothing synced to disk.
//!
//! Whatever ends the process that started it also ends the server and removes its files: a small shell waits on a pipe
//! that only this process holds open.

#![expect(missing_docs, reason = "a name that says it all gets no sentence that says it again")]
#![expect(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "a tool for tests: whatever goes wrong fails the test with its own message"
)]

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Uid, User};
use tempfile::TempDir;

/// Room for some dozens of databases. Where memory has less, the files go to the disk.
const ROOM: u64 = 1 << 30;

/// Where packages put the programs of each version; the `PATH` and `$PGBIN` take precedence.
const PLACES: [&str; 5] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
];

/// Options of the server. Without `synchronous_commit=off`: an immediate restart would lose what was committed. Shared
/// memory is in the data directory, since a killed server would leave it behind in `/dev/shm`.
const OPTIONS: &str = "-c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=off -c full_page_writes=off \
                       -c dynamic_shared_memory_type=mmap";

/// Waits for the end of its input, which is the end of the process that started it; then ends the server, if there is
/// one, and removes its files. `$1`: the temporary directory.
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
    programs: PathBuf,
    port: u16,
    /// Whom the server runs as where this process is root, which Postgres refuses.
    owner: Option<User>,
    watchdog: Child,
    // Last, since the files are removed after the server.
    directory: TempDir,
}

impl Postgres {
    /// Starts a server on a free port. Errors say how to install one, or hold its log.
    pub fn start() -> anyhow::Result<Self> {
        let programs = find_programs()?;
        let owner = unprivileged_owner()?;
        let directory = make_directory()?;
        if let Some(owner) = &owner {
            chown(directory.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start `sh`")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on the loopback")?;
        let postgres = Self {
            programs,
            port: listener.local_addr()?.port(),
            owner,
            watchdog,
            directory,
        };
        let arguments = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync";
        postgres.run_as_owner("initdb", &arguments.split(' ').collect::<Vec<_>>())?;
        drop(listener);
        postgres.start_again()?;
        Ok(postgres)
    }

    /// The one server that all tests of this process share. It ends with the process.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Starts the server after [`Postgres::stop`], on the same port and data. Does nothing if it runs.
    pub fn start_again(&self) -> anyhow::Result<()> {
        if self.run_as_owner("pg_ctl", &["status"]).is_ok() {
            return Ok(());
        }
        let directory = self.directory.path();
        let options = format!("{OPTIONS} -p {} -k '{}'", self.port, directory.display());
        let started = self.run_as_owner("pg_ctl", &["start", "--wait", "--log=log", "--options", &options]);
        started.map(drop).with_context(|| {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            format!("the throw-away Postgres did not start on port {}:\n{log}", self.port)
        })
    }

    /// Stops the server as an administrator would. Its port and data stay.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.run_as_owner("pg_ctl", &["stop", "--wait", "--mode=fast"])
    }

    /// Stops the server abruptly, and starts it again on the same port and data.
    pub fn restart_immediate(&self) -> anyhow::Result<()> {
        self.run_as_owner("pg_ctl", &["stop", "--wait", "--mode=immediate"])?;
        self.start_again()
    }

    /// Runs a program of the server as the owner of the files, on the data directory.
    fn run_as_owner(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = command(&self.programs.join(program));
        command.args(arguments).arg("--pgdata").arg(self.data_dir());
        command.current_dir(self.directory.path());
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        run(command).map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The end of its input makes the watchdog end the server and remove the files.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Databases.
impl Postgres {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, for the superuser. `postgres` always exists.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The URL of a database for a role that the caller made. There are no passwords.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The data directory, with `pg_hba.conf` and the like.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The program `psql`, beside the server's programs if they have it, else that of the `PATH`.
    pub fn psql(&self) -> PathBuf {
        let beside = self.programs.join("psql");
        if beside.is_file() { beside } else { "psql".into() }
    }

    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name}")).map(drop)
    }

    /// Runs SQL with `psql` as the superuser and returns its rows, fields separated by `|`. Nothing is run after the
    /// first error.
    pub fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = command(&self.psql());
        psql.args("-XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres".split(' '))
            .args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        run(psql)
    }
}

/// A command that no `PG…` variable of the caller's shell leads astray.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    command.env("PATH", env::var_os("PATH").unwrap_or_default());
    command
}

/// Returns what the command printed, or fails with what it complained about.
fn run(mut command: Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {program}: is Postgres installed?"))?;
    let (status, message) = (output.status, String::from_utf8_lossy(&output.stderr));
    ensure!(status.success(), "{program} failed ({status}): {message}");
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn find_programs() -> anyhow::Result<PathBuf> {
    let mut candidates = Vec::new();
    candidates.extend(env::var_os("PGBIN").map(PathBuf::from));
    candidates.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    for place in PLACES {
        let mut versions: Vec<PathBuf> = glob::glob(place)?.flatten().collect();
        versions.reverse();
        candidates.extend(versions);
    }
    let has_programs = |directory: &PathBuf| directory.join("initdb").is_file() && directory.join("postgres").is_file();
    candidates.into_iter().find(has_programs).context(
        "found no PostgreSQL server programs (`initdb`, `postgres`) in $PGBIN, in the PATH or where packages put them: \
         install them with `apt-get install postgresql` (Debian, Ubuntu) or `brew install postgresql@17` (macOS), or \
         set PGBIN to the directory that holds them",
    )
}

/// Makes a temporary directory, in memory if there is room: a container often has 64 MB of it.
fn make_directory() -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("sandbox-pg-");
    let memory = Path::new("/dev/shm");
    if let Ok(room) = statvfs(memory)
        && room.blocks_available() * room.fragment_size() >= ROOM
        && let Ok(directory) = builder.tempdir_in(memory)
    {
        return Ok(directory);
    }
    let directory = builder.tempdir();
    directory.context("cannot make a temporary directory: set TMPDIR to a writable one")
}

fn unprivileged_owner() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let owner = User::from_name("postgres")?.or(User::from_name("nobody")?);
    ensure!(
        owner.is_some(),
        "PostgreSQL does not run as root, and there is no account `postgres` or `nobody`"
    );
    Ok(owner)
}
