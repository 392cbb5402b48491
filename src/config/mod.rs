//! The configuration: a TOML file, then the environment over it (`WAZZUP_SYNC__WAZZUP__API_KEY`).
//!
//! `config/wazzup-sync.toml` explains every key. [`keys`] lists the keys with their defaults, [`reading`] merges file
//! and environment, and serde turns the result into the sections below, by the [`rules`]. All mistakes are reported at
//! once, each with its key and where it was set, and none with the value of a secret.

mod database;
mod keys;
mod reading;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;
use serde::Deserialize;

pub(crate) use self::database::DatabaseUrl;
use self::reading::Reading;
use crate::{
    crm::Source,
    postgres::Identifier,
    secret::SecretSource,
    telemetry::{LogFormat, LogLevel},
};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Names this Wazzup account in the state database.
    #[serde(deserialize_with = "rules::one_line")]
    pub(crate) account: String,
    pub(crate) crm: Crm,
    pub(crate) wazzup: Wazzup,
    pub(crate) state: State,
    pub(crate) schedule: Schedule,
    pub(crate) removals: Removals,
    pub(crate) updates: Updates,
    pub(crate) takeovers: Takeovers,
    pub(crate) log: Log,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crm {
    pub(crate) url: DatabaseUrl,
    pub(crate) source: Source,
    /// A region that the phone crate has rules for.
    #[serde(deserialize_with = "rules::region")]
    pub(crate) phone_region: String,
    #[serde(deserialize_with = "rules::time_limit")]
    pub(crate) query_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wazzup {
    /// `https://`, or `http://` to a loopback host; with or without a slash at its end.
    #[serde(deserialize_with = "rules::base_url")]
    pub(crate) base_url: Url,
    /// A key in a file is read in every cycle and not at load, so a replaced key needs no restart.
    #[serde(deserialize_with = "rules::api_key")]
    pub(crate) api_key: SecretSource,
    #[serde(deserialize_with = "rules::time_limit")]
    pub(crate) timeout: Duration,
    #[serde(deserialize_with = "rules::positive")]
    pub(crate) requests_per_minute: NonZeroU32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) url: DatabaseUrl,
    #[serde(deserialize_with = "rules::own_schema")]
    pub(crate) schema: Identifier,
    /// At least twice `wazzup.timeout`.
    #[serde(deserialize_with = "rules::time_limit")]
    pub(crate) lease: Duration,
    #[serde(deserialize_with = "rules::period")]
    pub(crate) keep_history: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    #[serde(deserialize_with = "rules::period")]
    pub(crate) every: Duration,
    #[serde(deserialize_with = "rules::period")]
    pub(crate) verify_every: Duration,
    /// A channel of the CRM database.
    pub(crate) listen: Option<Identifier>,
    #[serde(deserialize_with = "rules::period")]
    pub(crate) unhealthy_after: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removals {
    pub(crate) policy: RemovalPolicy,
    pub(crate) hold_above: u64,
    #[serde(deserialize_with = "rules::percent")]
    pub(crate) hold_above_percent: u64,
    #[serde(deserialize_with = "rules::period_or_zero")]
    pub(crate) grace: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RemovalPolicy {
    Remove,
    /// Nobody is ever removed from Wazzup.
    Keep,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Updates {
    pub(crate) hold_above: u64,
    #[serde(deserialize_with = "rules::percent")]
    pub(crate) hold_above_percent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Takeovers {
    pub(crate) policy: TakeoverPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TakeoverPolicy {
    /// A user who is in Wazzup under another name is held for approval.
    SameName,
    Always,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// None: text on a terminal, else JSON.
    pub(crate) format: Option<LogFormat>,
    pub(crate) level: LogLevel,
}

/// The configuration cannot be used. The messages name keys and where they are set, and never a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}: {reason}; name the right one with --config or WAZZUP_SYNC_CONFIG", path.display())]
    Unreadable { path: PathBuf, reason: io::Error },
    /// `reason` is the line and what is wrong there, without the line's text.
    #[error("the configuration file {} is not valid TOML: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("the configuration cannot be used:\n  {}", problems.join("\n  "))]
    Invalid { problems: Vec<String> },
}

/// The file that is read when none is named: the one in the working directory, if there is one, else the system's.
pub(crate) fn default_path() -> PathBuf {
    let local = Path::new("config/wazzup-sync.toml");
    if local.exists() {
        local.into()
    } else {
        "/etc/wazzup-sync/wazzup-sync.toml".into()
    }
}

impl Config {
    /// Reads the file at `path`, then the process's environment over it. Reads the files of the databases' URLs, but
    /// not the API key's.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML, else all mistakes in it and in the environment.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_from(path, std::env::vars_os())
    }

    fn load_from(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable {
            path: path.into(),
            reason,
        })?;
        let mut reading = Reading::new(path);
        reading.add_file(&text)?;
        reading.add_environment(environment);
        reading.finish()
    }
}
