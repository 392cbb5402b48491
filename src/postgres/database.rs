//! One connection to a database, made when it is needed and used for one transaction after the other.

use std::{io, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::{
    net::lookup_host,
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    ALIVE_LIMIT, CONNECT_LIMIT,
    error::{Reason, describe, seconds},
    ip_address,
};
use crate::abort;

/// A connection that was in use so short a time ago is not tried before its next use: a cycle uses it many times.
const FRESH: Duration = Duration::from_secs(1);

/// A database, and the one connection to it. Clones share the connection.
///
/// Not a pool: whoever uses it does one thing after the other, and a pool hides why a connection cannot be made.
/// And not `Debug`: the options would show the password.
#[derive(Clone)]
pub(crate) struct Database {
    options: Arc<PgConnectOptions>,
    idle: Arc<Mutex<Option<IdleConnection>>>,
}

/// A connection on which the last transaction ended well.
struct IdleConnection {
    connection: PgConnection,
    since: Instant,
}

impl IdleConnection {
    fn new(connection: PgConnection) -> Self {
        let since = Instant::now();
        Self { connection, since }
    }

    /// The connection, unless it died meanwhile.
    async fn living(mut self) -> Option<PgConnection> {
        let is_alive =
            self.since.elapsed() < FRESH || matches!(timeout(ALIVE_LIMIT, self.connection.ping()).await, Ok(Ok(())));
        is_alive.then_some(self.connection)
    }
}

impl Database {
    /// The database that `options` lead to. Connects when first used.
    ///
    /// The connection suits a `PgBouncer` in transaction mode: no start-up parameter that it does not know. And no statement
    /// is ever logged.
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self {
            options: Arc::new(suitable(options)),
            idle: Arc::default(),
        }
    }

    /// Connects in the background, so that the first transaction need not. What fails here, that one tries and reports.
    pub(crate) fn connect_ahead(&self) {
        let database = self.clone();
        tokio::spawn(async move {
            let mut idle = database.idle.lock().await;
            *idle = connect(&database.options).await.ok().map(IdleConnection::new);
        });
    }

    /// Runs `work` in a transaction that `begin` begins, and commits it; after an error it is rolled back.
    ///
    /// All of it together, connecting included, takes `limit` at most. Then, and whenever the transaction did not end
    /// properly or the caller stopped waiting, the connection is closed, and the next transaction makes a new one.
    /// `purpose` completes the sentence "no answer while …".
    pub(crate) async fn transaction<T, E: From<Reason>>(
        &self,
        limit: Duration,
        purpose: &str,
        begin: &str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        // Dropped at any point, this closes the connection, which stands in `idle` only between transactions.
        let transaction = async {
            let mut idle = self.idle.lock().await;
            let living = match idle.take() {
                Some(found) => found.living().await,
                None => None,
            };
            let mut connection = match living {
                Some(connection) => connection,
                None => connect(&self.options).await?,
            };
            let begun = connection.begin_with(AssertSqlSafe(begin.to_owned())).await;
            let mut transaction = begun.map_err(Reason::from)?;
            let result = work(&mut transaction).await;
            let ended = match &result {
                Ok(_) => {
                    abort::step();
                    let committed = transaction.commit().await;
                    abort::step();
                    committed
                }
                Err(_) => transaction.rollback().await,
            };
            if ended.is_ok() {
                *idle = Some(IdleConnection::new(connection));
            }
            let value = result?;
            ended.map_err(Reason::from)?;
            Ok(value)
        };
        let ended_in_time = timeout(limit, transaction).await;
        ended_in_time.unwrap_or_else(|_| Err(Reason::no_answer(purpose, limit).into()))
    }
}

/// `options` that suit what is said at [`Database::new`].
pub(crate) fn suitable(options: PgConnectOptions) -> PgConnectOptions {
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

/// Connects, within [`CONNECT_LIMIT`]; to say why that failed may take as long once more.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Reason> {
    match timeout(CONNECT_LIMIT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Reason::unavailable(explain(options, &error).await, Some(&error))),
        Err(_) => {
            let (server, limit) = (address(options), seconds(CONNECT_LIMIT));
            let text = format!(
                "no connection to {server} within {limit}: a firewall or a host that is down may be in between"
            );
            Err(Reason::unavailable(text, None))
        }
    }
}

/// `sqlx` says neither whom it asked nor, other than by text, whether the name was found, so this looks once more.
async fn explain(options: &PgConnectOptions, error: &sqlx::Error) -> String {
    let (server, described) = (address(options), describe(error));
    match error {
        sqlx::Error::Io(_) if socket(options).is_none() => {
            if let Some(error) = look_up(options).await {
                // The port is not shown: what follows an unencoded `:` may be a password's.
                let host = options.get_host();
                return format!(
                    "the host name \"{host}\" is not known ({error}); a password with `@`, `/`, `:`, `?` or `#` must be \
                     percent-encoded in the URL"
                );
            }
        }
        sqlx::Error::Database(error) if error.code().is_some_and(|code| code.starts_with("28")) => {
            let role = options.get_username();
            return format!("the server at {server} refuses the role \"{role}\": {described}");
        }
        _ => {}
    }
    format!("cannot connect to {server}: {described}")
}

async fn look_up(options: &PgConnectOptions) -> Option<io::Error> {
    let host = options.get_host();
    if ip_address(host).is_some() {
        return None;
    }
    let looked_up = timeout(CONNECT_LIMIT, lookup_host((host, options.get_port()))).await;
    looked_up.ok()?.err()
}

/// The directory or file of the socket, if the server is reached by one.
pub(crate) fn socket(options: &PgConnectOptions) -> Option<String> {
    match options.get_socket() {
        Some(path) => Some(path.display().to_string()),
        None if options.get_host().starts_with('/') => Some(options.get_host().to_owned()),
        None => None,
    }
}

/// `db.example:5432`, or the directory or file of the socket.
pub(crate) fn address(options: &PgConnectOptions) -> String {
    socket(options).unwrap_or_else(|| format!("{}:{}", options.get_host(), options.get_port()))
}
