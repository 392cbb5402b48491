//! The configuration: a TOML file, then the environment over it (`WAZZUP_SYNC__WAZZUP__API_KEY`).
//!
//! `config/wazzup-sync.toml` explains every key. [`Config::read`] names each key once, with its default and its rule; what a
//! value must be is mostly said by its own type, such as `BaseUrl` or `TableName`. The [`Reader`] looks keys up. All mistakes
//! are reported at once, each with its key and where it was set, and none with the value of a secret.

mod reader;
mod rules;
#[cfg(test)]
mod tests;
mod unknown;

use std::{ffi::OsString, num::NonZeroU32, path::Path, time::Duration};

use jiff::SignedDuration;

use self::reader::Reader;
use crate::{
    crm::{Columns, Source},
    employee::PhoneReader,
    plan::{Limit, Policy},
    postgres::{DatabaseUrl, Identifier},
    secret::SecretSource,
    telemetry::{LogFormat, LogLevel},
    wazzup::{Key, Settings},
};

#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Names this Wazzup account in the state database.
    pub(crate) account: String,
    pub(crate) crm_url: DatabaseUrl,
    pub(crate) source: Source,
    pub(crate) phone_reader: PhoneReader,
    pub(crate) query_timeout: Duration,
    pub(crate) wazzup: Settings,
    pub(crate) state_url: DatabaseUrl,
    pub(crate) schema: Identifier,
    /// At least twice `wazzup.timeout`.
    pub(crate) lease: Duration,
    pub(crate) keep_history: SignedDuration,
    pub(crate) every: SignedDuration,
    pub(crate) verify_every: SignedDuration,
    /// A channel of the CRM database.
    pub(crate) listen: Option<Identifier>,
    pub(crate) unhealthy_after: SignedDuration,
    pub(crate) policy: Policy,
    /// None: text on a terminal, else JSON.
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) log_level: LogLevel,
}

/// The configuration cannot be used. The message names keys and where they are set, and never a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

impl Config {
    /// Reads the file at `path`, then the `environment` over it. Reads the files of the databases' URLs, but not the API
    /// key's.
    pub(crate) fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(path, environment)?;
        let config = Self::read(&mut reader);
        reader.finish().map(|()| config)
    }

    /// Each key with its default and its rule. Defaults and examples stand in for what is wrong or missing, so that
    /// everything is examined.
    fn read(reader: &mut Reader<'_>) -> Self {
        let config = Self {
            account: reader.text("account", "default", rules::one_line),
            crm_url: database(reader, "crm.url", "crm.url_file"),
            source: source(reader),
            phone_reader: reader.text("crm.phone_region", "RU", PhoneReader::new),
            query_timeout: reader.text("crm.query_timeout", "30s", rules::time_limit),
            wazzup: Settings {
                base_url: reader.text("wazzup.base_url", "https://api.wazzup24.com/v3", str::parse),
                key: api_key(reader),
                timeout: reader.text("wazzup.timeout", "30s", rules::time_limit),
                requests_per_minute: NonZeroU32::new(reader.number("wazzup.requests_per_minute", 900, 1..=u32::MAX))
                    .unwrap_or(NonZeroU32::MIN),
            },
            state_url: database(reader, "state.url", "state.url_file"),
            schema: reader.text("state.schema", "wazzup_sync", Identifier::own_schema),
            lease: reader.text("state.lease", "90s", rules::time_limit),
            keep_history: reader.text("state.keep_history", "90d", rules::period),
            every: reader.text("schedule.every", "1m", rules::period),
            verify_every: reader.text("schedule.verify_every", "1h", rules::period),
            listen: reader.optional("schedule.listen", "employees_changed", str::parse),
            unhealthy_after: reader.text("schedule.unhealthy_after", "15m", rules::period),
            policy: Policy {
                removes: reader.text("removals.policy", "remove", rules::either("remove", "keep")),
                removals: Limit {
                    above: reader.number("removals.hold_above", 5, 0..=u32::MAX).into(),
                    above_percent: reader.number("removals.hold_above_percent", 10, 0..=100).into(),
                },
                grace: reader.text("removals.grace", "5m", rules::period_or_zero),
                updates: Limit {
                    above: reader.number("updates.hold_above", 20, 0..=u32::MAX).into(),
                    above_percent: reader.number("updates.hold_above_percent", 30, 0..=100).into(),
                },
                always_takes_over: reader.text("takeovers.policy", "same_name", rules::either("always", "same_name")),
            },
            log_format: reader.optional("log.format", "json", rules::one_of),
            log_level: reader.text("log.level", "info", rules::one_of),
        };
        let twice = config.wazzup.timeout * 2;
        if config.lease < twice && !reader.has_problem("state.lease") && !reader.has_problem("wazzup.timeout") {
            let problem = format!("must be at least \"{twice:?}\", twice `wazzup.timeout`; change one of them");
            reader.problem("state.lease", &problem);
        }
        config
    }
}

fn database(reader: &mut Reader<'_>, key: &'static str, file_key: &'static str) -> DatabaseUrl {
    let literal = reader.text(key, "postgres://role@db/crm", |url| {
        DatabaseUrl::new(&SecretSource::Literal(url.into()))
    });
    let file = reader.optional(file_key, "/run/secrets/database_url", |path| {
        DatabaseUrl::new(&SecretSource::at(path)?)
    });
    reader.require_one(key, file_key);
    file.unwrap_or(literal)
}

/// A key in a file is read in every cycle and not here, so a replaced key needs no restart.
fn api_key(reader: &mut Reader<'_>) -> SecretSource {
    let literal = reader.text("wazzup.api_key", "0123456789abcdef", |key| {
        let source = SecretSource::Literal(key.into());
        Key::parse(&source).map(|_| source)
    });
    let file = reader.optional("wazzup.api_key_file", "/run/secrets/wazzup_api_key", SecretSource::at);
    reader.require_one("wazzup.api_key", "wazzup.api_key_file");
    file.unwrap_or(literal)
}

fn source(reader: &mut Reader<'_>) -> Source {
    let table = Source::Table {
        name: reader.text("crm.table", "public.employees", str::parse),
        columns: Columns {
            id: reader.text("crm.columns.id", "id", str::parse),
            name: reader.text("crm.columns.name", "name", str::parse),
            phone: reader.optional("crm.columns.phone", "phone", str::parse),
            active: reader.optional("crm.columns.active", "is_active", str::parse),
        },
    };
    let query = reader.optional("crm.query", "SELECT id, full_name AS name FROM employees", |text| {
        Ok::<_, String>(Source::query(text))
    });
    reader.require_one("crm.table", "crm.query");
    if query.is_some() {
        for name in ["id", "name", "phone", "active"] {
            let problem = "goes with `crm.table`; in `crm.query`, name the columns with AS";
            reader.refuse(&format!("crm.columns.{name}"), problem);
        }
    }
    query.unwrap_or(table)
}
