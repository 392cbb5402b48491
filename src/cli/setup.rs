//! From the configuration to what the verbs work with. The configuration goes no further than this.

use std::time::Duration;

use jiff::SignedDuration;

use super::UsageError;
use crate::{
    config::{Config, RemovalPolicy, TakeoverPolicy},
    crm::Crm,
    cycle::SyncEngine,
    employee::PhoneReader,
    events,
    plan::{Limit, Policy},
    state::State,
    wazzup::{Client, Settings},
};

/// What runs cycles.
pub(super) fn engine(config: &Config) -> Result<SyncEngine, UsageError> {
    Ok(SyncEngine {
        crm: crm(config),
        state: state(config),
        wazzup: wazzup(config),
        phone_reader: phone_reader(config)?,
        policy: policy(config),
        verify_every: signed(config.schedule.verify_every),
        keep_history: signed(config.state.keep_history),
        unhealthy_after: signed(config.schedule.unhealthy_after),
    })
}

/// Says in the log which connections are encrypted and yet open to anybody on the way.
pub(super) fn report_unverified_tls(config: &Config) {
    for (key, url) in [("crm.url", &config.crm.url), ("state.url", &config.state.url)] {
        if let Some(warning) = url.ssl_warning() {
            events::tls_unverified(key, &url.address(), warning);
        }
    }
}

pub(super) fn crm(config: &Config) -> Crm {
    let source = config.crm.source.clone();
    Crm::new(config.crm.url.options(), source, config.crm.query_timeout)
}

pub(super) fn state(config: &Config) -> State {
    State::new(
        config.state.url.options(),
        config.state.schema.as_str(),
        &config.account,
        config.wazzup.timeout,
    )
}

pub(super) fn wazzup(config: &Config) -> Client {
    Client::new(Settings {
        base_url: config.wazzup.base_url.clone(),
        timeout: config.wazzup.timeout,
        requests_per_minute: config.wazzup.requests_per_minute,
        key: config.wazzup.api_key.clone(),
    })
}

pub(super) fn phone_reader(config: &Config) -> Result<PhoneReader, UsageError> {
    // The configuration has checked it already.
    PhoneReader::new(&config.crm.phone_region).map_err(|error| UsageError(format!("crm.phone_region: {error}")))
}

pub(super) fn policy(config: &Config) -> Policy {
    Policy {
        removes: config.removals.policy == RemovalPolicy::Remove,
        removals: Limit {
            above: config.removals.hold_above,
            above_percent: config.removals.hold_above_percent,
        },
        grace: signed(config.removals.grace),
        updates: Limit {
            above: config.updates.hold_above,
            above_percent: config.updates.hold_above_percent,
        },
        always_takes_over: config.takeovers.policy == TakeoverPolicy::Always,
    }
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
