//! What both databases have in common: how we connect, and what their errors may say.

use std::{fmt, time::Duration};

use futures_util::{future::BoxFuture, stream::BoxStream};
use sqlx::{
    ConnectOptions, Connection as _, Describe, Either, Execute, Executor, Postgres, SqlStr,
    error::BoxDynError,
    postgres::{
        PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement,
        PgTypeInfo,
    },
};

/// How long to wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was in use so short a time ago is not tried before its next use: a cycle uses it many times.
const FRESH: Duration = Duration::from_secs(1);

/// `options` as we use them.
///
/// They suit a `PgBouncer` in transaction mode: no start-up parameter that it does not know. And no statement is ever logged.
#[must_use]
pub fn options(options: PgConnectOptions) -> PgConnectOptions {
    let options = options
        .statement_cache_capacity(0)
        .extra_float_digits(None)
        .disable_statement_logging();
    if options.get_application_name().is_none() {
        options.application_name("wazzup-sync")
    } else {
        options
    }
}

/// A pool that connects when first used. A connection that lay idle is tried before use, so one that died with its
/// database is replaced.
#[must_use]
pub fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_TIMEOUT)
        .idle_timeout(None)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < FRESH || connection.ping().await.is_ok()) })
        })
        .connect_lazy_with(options)
}

/// Whether the database could not be used at all, in contrast to one that refuses what was asked.
#[must_use]
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        // 08 connection, 28 refused log-in, 3D no such database, 53 out of resources, 57 shut down or terminated.
        sqlx::Error::Database(it) => it.code().is_some_and(|code| {
            ["08", "28", "3D", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
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

/// Why a database could not be used: what may be said of the error, and its SQLSTATE if the server gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    text: String,
    sqlstate: Option<Box<str>>,
}

impl Reason {
    /// The five characters that tell the server's errors apart, whatever language it speaks.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }
}

impl From<&sqlx::Error> for Reason {
    fn from(error: &sqlx::Error) -> Self {
        let sqlstate = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        Self {
            text: describe(error),
            sqlstate: sqlstate.map(Into::into),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What went wrong, without any value of a row: messages about data (class 22) quote it, those about constraints (23) may.
#[must_use]
pub fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(it) => {
            let code = it.code().unwrap_or_default();
            let class = code.get(..2).unwrap_or_default();
            match class {
                "22" => format!("a value cannot be read as the type that is needed (SQLSTATE {code})"),
                "08" | "0A" | "25" | "28" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58" => {
                    format!("{} (SQLSTATE {code})", it.message())
                }
                _ => format!("SQLSTATE {code}"),
            }
        }
        sqlx::Error::Io(it) => it.to_string(),
        sqlx::Error::Tls(it) => format!(
            "TLS: {}; a private CA is named by `sslrootcert` in the URL",
            causes(it.as_ref())
        ),
        sqlx::Error::PoolTimedOut => format!("no connection within {} seconds", CONNECT_TIMEOUT.as_secs()),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "an answer of an unexpected type".into(),
        other => other.to_string(),
    }
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |it| it.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// `name` as an SQL identifier, whatever it consists of.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `connection`, with every statement unnamed.
///
/// `sqlx` names each statement of a checked query, and without a cache never closes it: the server would collect them for
/// ever, and behind a `PgBouncer` in transaction mode the names of two clients would meet.
pub fn unnamed(connection: &mut PgConnection) -> Unnamed<'_> {
    Unnamed(connection)
}

/// See [`unnamed`].
#[derive(Debug)]
pub struct Unnamed<'c>(&'c mut PgConnection);

impl<'c> Executor<'c> for Unnamed<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.0.fetch_many(Once(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.0.fetch_optional(Once(query))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.describe(sql)
    }
}

/// A query that is prepared for one execution.
struct Once<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Once<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}
