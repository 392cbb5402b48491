//! The URL of a database: parsed once, and encrypted unless it says otherwise.

use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
};

use derive_more::Debug;
use reqwest::Url;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{address, ip_address, is_loopback, socket};
use crate::secret::SecretSource;

/// A password with one of these characters would be read as the end of the host's name.
const PERCENT_ENCODE: &str = "in the user and the password, write special characters as percent codes: %40 for @, %2F for /, %23 for #, %3F for ?";

/// The URL of a Postgres database. Neither `Debug` nor an error shows the user or the password.
///
/// To a host that is neither loopback nor a socket, the mode is `verify-full` unless the URL names `disable`, `require`
/// or `verify-ca`.
#[derive(Clone, Debug)]
#[debug("DatabaseUrl({:?})", self.address())]
pub(crate) struct DatabaseUrl {
    pub(crate) options: PgConnectOptions,
    /// The file that the URL was read from, if it has one of its own.
    pub(crate) file: Option<PathBuf>,
}

impl DatabaseUrl {
    /// The URL, or what is wrong with it, as the end of a sentence about its key.
    pub(crate) fn new(source: &SecretSource) -> Result<Self, String> {
        let file = source.file().map(Path::to_owned);
        let url = source.read().map_err(|problem| match &file {
            Some(path) => format!("names the file {}, which {problem}", path.display()),
            None => problem,
        })?;
        let options = parse(url.expose_secret())?;
        Ok(Self { options, file })
    }

    /// `db.example:5432`, or the directory of the socket. It holds no secret.
    pub(crate) fn address(&self) -> String {
        address(&self.options)
    }

    /// What is unsafe about the way the connection is encrypted.
    pub(crate) fn ssl_warning(&self) -> Option<&'static str> {
        let accepts_any_certificate = matches!(self.options.get_ssl_mode(), PgSslMode::Require);
        (accepts_any_certificate && is_remote(&self.options)).then_some(
            "sslmode=require accepts any certificate, so anybody on the way can pose as the database and read the \
             password; write sslmode=verify-full, with sslrootcert=… for a private CA",
        )
    }
}

fn parse(text: &str) -> Result<PgConnectOptions, String> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or("must begin with postgres://")?;
    if has_unencoded_password(rest) {
        return Err(format!("cannot be read as a URL; {PERCENT_ENCODE}"));
    }
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}; {PERCENT_ENCODE}"))?;
    // sqlx's own error would quote the value.
    let options = PgConnectOptions::from_str(text).map_err(|_| {
        "has a parameter with an impossible value: sslmode is disable, require, verify-ca or verify-full, port is a \
         number, hostaddr is an IP address"
    })?;
    if socket(&options).is_none() && !is_host(options.get_host()) {
        return Err(format!("has a host that cannot exist; {PERCENT_ENCODE}"));
    }
    if !is_remote(&options) {
        return Ok(options);
    }
    let names_mode = url
        .query_pairs()
        .any(|(name, _)| matches!(&*name, "sslmode" | "ssl-mode"));
    if !names_mode {
        return Ok(options.ssl_mode(PgSslMode::VerifyFull));
    }
    if matches!(options.get_ssl_mode(), PgSslMode::Prefer | PgSslMode::Allow) {
        return Err(
            "has sslmode=prefer or allow, which give the password to anybody on the way; remove it for verify-full, or \
             write sslmode=disable if the network is private and the server has no TLS"
                .to_owned(),
        );
    }
    Ok(options)
}

/// Whether a special character of the user or password seems to have ended the host too early. `rest` is what follows
/// `postgres://`.
fn has_unencoded_password(rest: &str) -> bool {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    authority.matches('@').count() > 1 || path_and_query.contains(['@', '#'])
}

fn is_remote(options: &PgConnectOptions) -> bool {
    socket(options).is_none() && !is_loopback(options.get_host())
}

/// A host's name or address, as far as its characters tell.
fn is_host(host: &str) -> bool {
    let is_name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    !host.is_empty() && is_name || ip_address(host).is_some()
}
