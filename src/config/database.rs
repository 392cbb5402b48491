//! The URL of a database: parsed once, and encrypted unless it says otherwise.

use std::{
    fmt,
    fs::File,
    io::Read as _,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::rules;

/// A password with one of these characters would be read as the end of the host's name.
const PERCENT_ENCODE: &str = "in the user and the password, write special characters as percent codes: %40 for @, %2F for /, %23 for #, %3F for ?";

/// The URL of a Postgres database. Neither `Debug` nor an error shows the user or the password.
///
/// To a host that is neither loopback nor a socket, the mode is `verify-full` unless the URL names `disable`, `require`
/// or `verify-ca`.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Form")]
pub(crate) struct DatabaseUrl {
    options: PgConnectOptions,
    address: String,
    accepts_any_certificate: bool,
    /// The file that the URL was read from.
    file: Option<PathBuf>,
}

/// How the URL is given.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Literal(SecretString),
    File(PathBuf),
}

impl TryFrom<Form> for DatabaseUrl {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let (url, file) = match form {
            Form::Literal(url) => (url, None),
            // Not shown: it may hold a password.
            Form::File(path) if path.to_string_lossy().contains("://") => {
                return Err("must be the path of a file and not a URL".to_owned());
            }
            Form::File(path) => {
                let url =
                    read(&path).map_err(|problem| format!("names the file {}, which {problem}", path.display()))?;
                (url, Some(path))
            }
        };
        let parsed = Self::parse(url.expose_secret().trim())?;
        Ok(Self { file, ..parsed })
    }
}

/// The text of a secret's file, or what is wrong with the file.
fn read(path: &PathBuf) -> Result<SecretString, String> {
    /// A wrong path must not read a disk into memory.
    const MOST_BYTES: u64 = 64 << 10;
    let unreadable = |error: std::io::Error| format!("cannot be read ({error})");
    // Looked at before it is opened: to open a named pipe waits until somebody writes to it.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text.into())
}

impl DatabaseUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or("must begin with postgres://")?;
        if has_unencoded_password(rest) {
            return Err(format!("cannot be read as a URL; {PERCENT_ENCODE}"));
        }
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}; {PERCENT_ENCODE}"))?;
        let names_mode = url
            .query_pairs()
            .any(|(name, _)| matches!(&*name, "sslmode" | "ssl-mode"));
        // sqlx's own error would quote the value.
        let options = PgConnectOptions::from_str(text).map_err(|_| {
            "has a parameter with an impossible value: sslmode is disable, require, verify-ca or verify-full, port is a \
             number, hostaddr is an IP address"
        })?;
        Self::with_options(options, names_mode)
    }

    fn with_options(mut options: PgConnectOptions, names_mode: bool) -> Result<Self, String> {
        let host = options.get_host();
        let is_socket = options.get_socket().is_some() || host.starts_with('/');
        if !is_socket && !is_host(host) {
            return Err(format!("has a host that cannot exist; {PERCENT_ENCODE}"));
        }
        let address = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None if is_socket => host.to_owned(),
            None => format!("{host}:{}", options.get_port()),
        };
        let is_remote = !is_socket && !rules::is_loopback(host);
        if is_remote && !names_mode {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        if is_remote && matches!(options.get_ssl_mode(), PgSslMode::Prefer | PgSslMode::Allow) {
            return Err(
                "has sslmode=prefer or allow, which give the password to anybody on the way; remove it for \
                 verify-full, or write sslmode=disable if the network is private and the server has no TLS"
                    .to_owned(),
            );
        }
        let accepts_any_certificate = is_remote && matches!(options.get_ssl_mode(), PgSslMode::Require);
        Ok(Self {
            options,
            address,
            accepts_any_certificate,
            file: None,
        })
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// `db.example:5432`, or the directory of the socket. It holds no secret.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The file that the URL was read from, if it has one of its own.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The connection is encrypted, but anybody on the way could pose as the server.
    pub(crate) fn accepts_any_certificate(&self) -> bool {
        self.accepts_any_certificate
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.address).finish()
    }
}

/// Whether a special character of the user or password seems to have ended the host too early. `rest` is what follows
/// `postgres://`.
fn has_unencoded_password(rest: &str) -> bool {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    authority.matches('@').count() > 1 || path_and_query.contains(['@', '#'])
}

/// A host's name or address, as far as its characters tell.
fn is_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    !host.is_empty() && is_name || address.parse::<Ipv6Addr>().is_ok()
}
