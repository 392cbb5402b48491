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
        crm: crm(config),
        state: state(config),
        wazzup: wazzup(config),
        phones: PhoneReader::new(&config.crm.phone_region)
            .map_err(|_| Error::Usage("`crm.phone_region` cannot be used".to_owned()))?,
        policy: policy(config),
        verify_every: signed(config.schedule.verify_every),
        keep_history: signed(config.state.keep_history),
    })
}

pub(super) fn crm(config: &Config) -> Crm {
    let source = match &config.crm.source {
        Source::Query(query) => crm::Source::Query(query.clone()),
        Source::Table { name, columns } => crm::Source::Table {
            name: name.clone(),
            columns: crm::Columns {
                id: columns.id.clone(),
                name: columns.name.clone(),
                phone: columns.phone.clone(),
                active: columns.active.clone(),
            },
        },
    };
    Crm::new(config.crm.url.options(), source, config.crm.query_timeout)
}

pub(super) fn state(config: &Config) -> State {
    State::new(config.state.url.options(), &config.state.schema, &config.account)
}

pub(super) fn wazzup(config: &Config) -> Client {
    let key = match &config.wazzup.api_key {
        ApiKey::Literal(key) => KeySource::Literal(key.clone()),
        ApiKey::File(path) => KeySource::File(path.clone()),
    };
    Client::new(Settings {
        base_url: config.wazzup.base_url.clone(),
        timeout: config.wazzup.timeout,
        requests_per_minute: config.wazzup.requests_per_minute,
        key,
    })
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
