//! From the configuration to what the verbs work with. The configuration goes no further than this.

use jiff::SignedDuration;

use super::Error;
use crate::{
    config::{ApiKey, Config, RemovalPolicy, Source},
    crm::{self, Crm},
    cycle::Sync,
    employee::PhoneReader,
    plan::Policy,
    state::State,
    wazzup::{Client, KeySource, Settings},
};

/// What a cycle works with.
pub(super) fn sync(config: &Config) -> Result<Sync, Error> {
    Ok(Sync {
        crm: crm(config)?,
        state: state(config)?,
        wazzup: wazzup(config)?,
        phones: PhoneReader::new(&config.crm.phone_region).map_err(|_| usage("crm.phone_region"))?,
        policy: policy(config),
        verify_every: signed(config.schedule.verify_every),
        keep_history: signed(config.state.keep_history),
    })
}

pub(super) fn crm(config: &Config) -> Result<Crm, Error> {
    let source = match &config.crm.source {
        Source::Query(query) => crm::Source::Query(query.clone()),
        Source::Table { table, columns } => crm::Source::Table {
            name: table.clone(),
            columns: crm::Columns {
                id: columns.id.clone(),
                name: columns.name.clone(),
                phone: columns.phone.clone(),
                active: columns.active.clone(),
            },
        },
    };
    Crm::new(&config.crm.url, source, config.crm.query_timeout).map_err(|_| usage("crm.url"))
}

pub(super) fn state(config: &Config) -> Result<State, Error> {
    State::new(&config.state.url, &config.state.schema, &config.account).map_err(|_| usage("state.url"))
}

pub(super) fn wazzup(config: &Config) -> Result<Client, Error> {
    let key = match &config.wazzup.api_key {
        ApiKey::Literal(key) => KeySource::Literal(key.clone()),
        ApiKey::File(path) => KeySource::File(path.clone()),
    };
    Ok(Client::new(Settings {
        base_url: config.wazzup.base_url.parse().map_err(|_| usage("wazzup.base_url"))?,
        timeout: config.wazzup.timeout,
        requests_per_minute: config.wazzup.requests_per_minute,
        key,
    }))
}

pub(super) fn policy(config: &Config) -> Policy {
    Policy {
        remove: config.removals.policy == RemovalPolicy::Remove,
        hold_above: config.removals.hold_above,
        hold_above_percent: config.removals.hold_above_percent,
        grace: signed(config.removals.grace),
    }
}

pub(super) fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// The configuration has checked it already.
fn usage(key: &str) -> Error {
    Error::Usage(format!("`{key}` cannot be used"))
}
