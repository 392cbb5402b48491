//! The configuration: a TOML file, then the environment over it (`WAZZUP_SYNC__WAZZUP__API_KEY`).
//!
//! The contract is section 8 of the design, and `config/wazzup-sync.toml` explains every key. All mistakes are reported
//! at once, each with its full key and where it was set, and none with the value of a secret. Behind [`Config::load`]
//! every value is valid, and secrets do not show in `Debug`.

mod reader;
mod sections;
mod sql;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

use self::reader::Reader;
pub use self::sql::{InvalidSql, split_identifier};
pub use crate::telemetry::LogFormat;

/// Everything that an operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names this Wazzup account in the state database.
    pub account: String,
    /// Where the employees come from.
    pub crm: Crm,
    /// Where they go.
    pub wazzup: Wazzup,
    /// Where we remember what Wazzup acknowledged.
    pub state: State,
    /// When something happens.
    pub schedule: Schedule,
    /// How people leave.
    pub removals: Removals,
    /// What is written to stderr.
    pub log: Log,
}

/// `[crm]`: the employees' source.
#[derive(Debug, Clone)]
pub struct Crm {
    /// A `postgres://` URL that `PgConnectOptions` can parse.
    pub url: SecretString,
    /// What is read there.
    pub source: Source,
    /// Two upper-case letters of a region that the phone crate knows.
    pub phone_region: String,
    /// The statement's time limit: 1 ms to 1 day.
    pub query_timeout: Duration,
}

/// What is read in the CRM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A table, and how its columns are called.
    Table {
        /// `[table]` or `[schema, table]`, not quoted yet.
        table: Vec<String>,
        /// The columns' names, not quoted yet.
        columns: Columns,
    },
    /// One SELECT, without a semicolon or comment at its end, to be wrapped as a sub-select.
    Query(String),
}

/// `[crm.columns]`: names of columns, not quoted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The employee's id.
    pub id: String,
    /// The full name.
    pub name: String,
    /// The phone, if phones are synced.
    pub phone: Option<String>,
    /// A boolean; rows that are not true are dropped.
    pub active: Option<String>,
}

/// `[wazzup]`: the service.
#[derive(Debug, Clone)]
pub struct Wazzup {
    /// `https://`, or `http://` to a loopback host; without a slash at its end.
    pub base_url: String,
    /// The key, or where it is found.
    pub api_key: ApiKey,
    /// The time limit of one request: 1 ms to 1 day.
    pub timeout: Duration,
    /// The client's own limit.
    pub requests_per_minute: NonZeroU32,
}

/// The key, or the file that holds it.
#[derive(Debug, Clone)]
pub enum ApiKey {
    /// The key itself, fit for a header.
    Literal(SecretString),
    /// A file that is read at every cycle, not when the configuration is loaded, so a replaced key needs no restart.
    File(PathBuf),
}

/// `[state]`: our own schema.
#[derive(Debug, Clone)]
pub struct State {
    /// A `postgres://` URL that `PgConnectOptions` can parse; the CRM's if none was given.
    pub url: SecretString,
    /// The schema's name, not quoted yet.
    pub schema: String,
    /// How long a copy that went silent keeps the account: at least twice `wazzup.timeout`, at most 1 day.
    pub lease: Duration,
    /// How long history is kept. The removal brake counts 24 hours of it, however little this is.
    pub keep_history: Duration,
}

/// `[schedule]`: when something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// From cycle to cycle.
    pub every: Duration,
    /// From one comparison with Wazzup's own list to the next.
    pub verify_every: Duration,
    /// A channel of the CRM database whose NOTIFY starts a cycle at once; not quoted yet.
    pub listen: Option<String>,
    /// The age of the last good cycle from which `healthcheck` fails.
    pub unhealthy_after: Duration,
}

/// `[removals]`: how people leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removals {
    /// Whether anybody is removed at all.
    pub policy: RemovalPolicy,
    /// The brake: more removals than this within 24 hours are held.
    pub hold_above: u64,
    /// The brake's other limit, 0 to 100 % of the managed users; the higher of both counts.
    pub hold_above_percent: u64,
    /// How long a user is absent before being removed; may be zero.
    pub grace: Duration,
}

/// What becomes of a user who is no employee any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalPolicy {
    /// Removed, under the brake.
    Remove,
    /// Kept in Wazzup for ever.
    Keep,
}

/// `[log]`: what is written to stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// None: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

/// The configuration cannot be used. Every message names keys and where they are set, and never a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file, or it cannot be read.
    #[error("cannot read the configuration file {}: {reason}; name the right one with --config or WAZZUP_SYNC_CONFIG", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not valid TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        reason: String,
    },
    /// It was read, and says something that cannot be.
    #[error("the configuration cannot be used:\n  {}", problems.join("\n  "))]
    Invalid {
        /// One line for each mistake.
        problems: Vec<String>,
    },
}

/// The trimmed text of a secret's file, or what is wrong with it.
fn read_secret(path: &Path) -> Result<SecretString, String> {
    let reason = match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => "it is empty; it must hold the secret and nothing else".to_owned(),
        Ok(text) => return Ok(text.trim().into()),
        Err(error) => format!("{error}; it must exist and be readable by this user"),
    };
    Err(format!("the secret's file {}: {reason}", path.display()))
}

fn fits_a_header(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Config {
    /// Reads the file at `path`, then the process's environment over it. Reads the files of the databases' URLs, but not
    /// the API key's.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML, or else all mistakes of its content and of the environment.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_from(path, std::env::vars_os())
    }

    fn load_from(path: &Path, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable {
            path: path.into(),
            reason,
        })?;
        let mut reader = Reader::new(path, &text, env)?;
        let account = sections::account(&mut reader);
        let crm = Crm::read(&mut reader);
        let wazzup = Wazzup::read(&mut reader);
        let state = State::read(
            &mut reader,
            crm.as_ref().map(|crm| &crm.url),
            wazzup.as_ref().map(|w| w.timeout),
        );
        let schedule = Schedule::read(&mut reader);
        let removals = Removals::read(&mut reader);
        let log = Log::read(&mut reader);
        match (crm, wazzup, state) {
            (Some(crm), Some(wazzup), Some(state)) if reader.is_clean() => Ok(Self {
                account,
                crm,
                wazzup,
                state,
                schedule,
                removals,
                log,
            }),
            _ => Err(reader.finish()),
        }
    }
}
