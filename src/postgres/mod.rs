//! What both databases have in common: how we connect, how long we wait, and what their errors may say.
//!
//! Nothing waits without a limit. A host that vanishes sends nothing, and `sqlx` sets no keep-alive, so every wait is
//! bounded on our side too: the shared limits are here. A connection on which a limit fired is closed.

mod database;
mod error;
mod identifier;
#[cfg(test)]
mod tests;
mod unnamed;
mod url;

use std::{net::IpAddr, time::Duration};

pub(crate) use database::{Database, address, connect, socket, suitable};
pub(crate) use error::{Reason, describe, seconds};
pub(crate) use identifier::Identifier;
pub(crate) use unnamed::unnamed;
pub(crate) use url::DatabaseUrl;

/// How long a server may take from the look-up of its name to a session.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long an idle connection may take to prove that it is alive, before a new one is made.
pub(crate) const ALIVE_LIMIT: Duration = Duration::from_secs(2);

/// How long one transaction on the state may take as a whole.
pub(crate) const STATE_LIMIT: Duration = Duration::from_mins(1);

/// How much longer than `crm.query_timeout` a transaction on the CRM may take as a whole.
pub(crate) const CRM_MARGIN: Duration = Duration::from_secs(5);

/// The address that `host` is, if it is not a name. A URL writes an IPv6 address in brackets.
pub(crate) fn ip_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || ip_address(host).is_some_and(|address| address.is_loopback())
}

/// `name` as an SQL identifier, whatever it consists of.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
