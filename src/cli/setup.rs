//! From the configuration to what the verbs work with: nothing below `cli` knows the configuration.

use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    crm::Crm,
    cycle::SyncEngine,
    events,
    postgres::DatabaseUrl,
    state::State,
    wazzup::{Client, Gate},
};

pub(super) fn engine(config: &Config) -> SyncEngine {
    SyncEngine {
        crm: Crm::new(
            config.crm_url.options.clone(),
            config.source.clone(),
            config.query_timeout,
        ),
        state: State::new(
            config.state_url.options.clone(),
            config.schema.as_str(),
            &config.account,
            config.wazzup.timeout,
        ),
        wazzup: Client::new(config.wazzup.clone()),
        phone_reader: config.phone_reader.clone(),
        policy: config.policy,
        verify_every: config.verify_every,
        keep_history: config.keep_history,
        unhealthy_after: config.unhealthy_after,
    }
}

/// For requests that change nothing of ours: they need no lease, and are not stopped.
pub(super) fn gate() -> Gate {
    Gate::without_lease(CancellationToken::new())
}

/// What is unsafe about the way the databases' connections are encrypted, with the key of each URL.
pub(super) fn ssl_warnings(config: &Config) -> impl Iterator<Item = (&'static str, &DatabaseUrl, &'static str)> {
    let urls = [("crm.url", &config.crm_url), ("state.url", &config.state_url)];
    urls.into_iter()
        .filter_map(|(key, url)| Some((key, url, url.ssl_warning()?)))
}

/// Says in the log which connections are encrypted and yet open to anybody on the way.
pub(super) fn report_unverified_tls(config: &Config) {
    for (key, url, warning) in ssl_warnings(config) {
        events::tls_unverified(key, &url.address(), warning);
    }
}
