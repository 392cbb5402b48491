//! Why a database could not be used, without any value of a row.
//!
//! Errors are told apart by their kind or SQLSTATE, never by their text, which depends on the server's language.

use std::{io, time::Duration};

use crate::wording::counted;

/// Why a database did not do what was asked: what may be said of it, and the SQLSTATE if the server gave one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Reason {
    text: String,
    sqlstate: Option<String>,
    is_unavailable: bool,
}

impl Reason {
    /// The database is there, and refused.
    pub(crate) fn new(text: impl Into<String>, sqlstate: Option<&str>) -> Self {
        Self {
            text: text.into(),
            sqlstate: sqlstate.map(str::to_owned),
            is_unavailable: false,
        }
    }

    /// There is no connection. `source` is why, if that is known.
    pub(super) fn unavailable(text: String, source: Option<&sqlx::Error>) -> Self {
        Self {
            text,
            sqlstate: source.and_then(sqlstate),
            is_unavailable: true,
        }
    }

    /// It took too long. `purpose` completes the sentence "no answer while …".
    pub(crate) fn no_answer(purpose: &str, limit: Duration) -> Self {
        Self::unavailable(format!("no answer within {} while {purpose}", seconds(limit)), None)
    }

    /// Whether the database could not be used at all, in contrast to one that refuses what was asked.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.is_unavailable
    }

    /// The five characters that tell the server's errors apart, whatever language it speaks.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// What to do about a database that cannot be used; `key` names its URL.
    pub(crate) fn remedy(&self, key: &str) -> String {
        match self.sqlstate() {
            Some(code) if code.starts_with("28") => {
                format!("correct the role and the password in {key}, or allow the role in pg_hba.conf")
            }
            Some("3D000") => format!("name a database that exists at the end of {key}"),
            Some("53300") => {
                "raise the limit of connections of the server, the database or the role, or close some of them"
                    .to_owned()
            }
            Some(code) if code.starts_with("53") => {
                "see the server's log: it has run out of disk space, memory or another resource".to_owned()
            }
            Some(_) => "see the server's log; the daemon tries again by itself".to_owned(),
            None => format!("check that the database is running and that {key} is right"),
        }
    }
}

impl From<sqlx::Error> for Reason {
    fn from(error: sqlx::Error) -> Self {
        Self {
            text: describe(&error),
            sqlstate: sqlstate(&error),
            is_unavailable: is_unavailable(&error),
        }
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

fn is_unavailable(error: &sqlx::Error) -> bool {
    // 08 connection, 28 refused log-in, 3D no such database, 40 rolled back by a deadlock or by the recovery of a replica,
    // 53 out of resources, 57P shut down or terminated.
    const CLASSES: [&str; 6] = ["08", "28", "3D", "40", "53", "57P"];
    match error {
        sqlx::Error::Database(_) => {
            let code = sqlstate(error).unwrap_or_default();
            CLASSES.iter().any(|class| code.starts_with(class))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// What went wrong, without any value of a row: messages about data (class 22) quote it, those about constraints (23) may.
pub(crate) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database_error) => {
            let code = sqlstate(error).unwrap_or_default();
            match code.get(..2).unwrap_or_default() {
                _ if matches!(&*code, "22021" | "22P05") => {
                    format!("a value cannot be converted to UTF-8 (SQLSTATE {code})")
                }
                "22" => format!("a value does not fit the type or function that it is used with (SQLSTATE {code})"),
                "08" | "0A" | "25" | "28" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58" => {
                    format!("{} (SQLSTATE {code})", database_error.message())
                }
                _ => format!("SQLSTATE {code}"),
            }
        }
        sqlx::Error::Io(error) => describe_io(error),
        sqlx::Error::Tls(error) => describe_tls(error.as_ref()),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "an answer of an unexpected type".into(),
        other => other.to_string(),
    }
}

fn describe_io(error: &io::Error) -> String {
    // A handshake that fails arrives as an error of reading or writing.
    if let Some(tls_error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return describe_tls(tls_error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "the connection was cut".into(),
        _ => error.to_string(),
    }
}

fn describe_tls(error: &(dyn std::error::Error + 'static)) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |error| error.source()).collect();
    let remedy = if causes.iter().any(|cause| cause.is::<rustls::Error>()) {
        "if the server's certificate comes from a private CA, name its file with `sslrootcert` in the URL"
    } else {
        "enable TLS on the server or, only on a trusted private network, add `sslmode=disable` to the URL"
    };
    let texts: Vec<String> = causes.iter().map(ToString::to_string).collect();
    format!("TLS: {}; {remedy}", texts.join(": "))
}

/// A duration for people: `5 seconds`.
pub(crate) fn seconds(duration: Duration) -> String {
    counted(duration.as_secs_f64(), "second")
}
