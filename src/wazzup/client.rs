//! The way to one Wazzup account, and what the calls of one cycle share.

use std::{num::NonZeroU32, time::Duration};

use reqwest::{header::HeaderValue, redirect, retry};
use tokio::sync::OnceCell;

use super::{
    base_url::BaseUrl,
    error::Error,
    exchange::causes,
    failure::AttemptFailure,
    gate::Gate,
    key::Key,
    retry::{Pacer, Patience},
};
use crate::secret::SecretSource;

#[derive(Debug, Clone)]
pub struct Settings {
    pub base_url: BaseUrl,
    /// The most that one attempt may take, from the connection to the end of the answer.
    pub timeout: Duration,
    pub requests_per_minute: NonZeroU32,
    pub key: SecretSource,
}

/// The way to one Wazzup account; one per process. It costs nothing until the first request, which sets up TLS.
///
/// Certificates are verified against the CA store of the system; on Linux `SSL_CERT_FILE` and `SSL_CERT_DIR`, when
/// set, replace it. A proxy named by `HTTPS_PROXY` or `ALL_PROXY` is used, with `NO_PROXY` heeded: the proxy sees the
/// host and neither key nor content. Plain `http` never goes through a proxy and needs no CA store.
#[derive(Debug)]
pub struct Client {
    pub(super) base_url: String,
    pub(super) timeout: Duration,
    key: SecretSource,
    pub(super) pacer: Pacer,
    pub(super) patience: Patience,
    http: OnceCell<reqwest::Client>,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Self {
            base_url: settings.base_url.as_str().trim_end_matches('/').to_owned(),
            timeout: settings.timeout,
            key: settings.key,
            pacer: Pacer::new(settings.requests_per_minute),
            patience: Patience::USUAL,
            http: OnceCell::new(),
        }
    }

    /// Reads the key, for the calls of one cycle or command.
    pub fn session(&self, gate: Gate) -> Result<Session<'_>, Error> {
        let key = Key::read(&self.key)?;
        Ok(Session {
            client: self,
            gate,
            authorization: key.authorization(),
            fingerprint: key.fingerprint(&self.base_url),
        })
    }

    /// What sends requests; set up by the first one.
    pub(super) async fn http(&self) -> Result<&reqwest::Client, AttemptFailure> {
        let client = self.http.get_or_try_init(async || self.build_http()).await;
        client.map_err(|error| {
            let reason = causes(&error);
            AttemptFailure::unavailable(format!(
                "TLS cannot be set up (is there a CA store, or SSL_CERT_FILE?): {reason}"
            ))
        })
    }

    fn build_http(&self) -> Result<reqwest::Client, reqwest::Error> {
        // The error says that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("wazzup-sync/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // Each attempt has to pass the gate: none may be added below it.
            .retry(retry::never())
            .timeout(self.timeout)
            // Shorter than the whole time-out, so that "never reached" can be told from "reached, and no answer".
            .connect_timeout((self.timeout * 3 / 4).min(Duration::from_secs(10)))
            // Connections serve one cycle. Servers close idle ones at their leisure, which would look like a loss.
            .pool_idle_timeout(Duration::from_secs(4));
        let builder = if self.base_url.starts_with("https:") {
            builder.https_only(true)
        } else {
            // Neither loads a CA store, which a container may not have, nor shows the key to a proxy.
            builder.tls_certs_only([]).no_proxy()
        };
        builder.build()
    }
}

pub struct Session<'c> {
    pub(super) client: &'c Client,
    pub(super) gate: Gate,
    pub(super) authorization: HeaderValue,
    /// Tells address and key from others without naming them: SHA-256 of both, the first 16 hex digits.
    pub fingerprint: String,
}
