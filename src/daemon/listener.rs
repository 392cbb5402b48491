//! NOTIFY on the CRM database: a change there is synced at once. Polling stays as the safety net.

use std::time::Duration;

use sqlx::{
    Connection as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::repeats::Repeats;
use crate::{
    events,
    postgres::{CONNECT_LIMIT, Reason, connect, suitable},
};

/// How soon a connection that was lost is made again.
const RECONNECT: Duration = Duration::from_secs(2);

/// How long the connection may be silent before it has to prove that it is alive: one that is cut on the way tells nobody.
const SILENCE: Duration = Duration::from_secs(30);

/// Wakes the daemon when the CRM notifies; never, if there is no channel.
#[derive(Debug)]
pub struct Listener {
    wake: watch::Receiver<()>,
    /// Holds the sender of `wake`.
    _task: Option<AbortOnDropHandle<()>>,
}

impl Listener {
    /// Listens to `channel` of the database that `options` lead to. This needs a direct connection, not one through a
    /// `PgBouncer` in transaction mode.
    pub fn start(options: PgConnectOptions, channel: Option<String>) -> Self {
        let (waker, wake) = watch::channel(());
        let task = channel.map(|channel| {
            let listening = listen(suitable(options), channel, waker);
            AbortOnDropHandle::new(tokio::spawn(listening.in_current_span()))
        });
        Self { wake, _task: task }
    }

    /// Waits for a notification, or for a connection after one was lost: what was notified in between is lost.
    pub(super) async fn notified(&mut self) {
        if self.wake.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets what was notified until now.
    pub(super) fn forget(&mut self) {
        self.wake.mark_unchanged();
    }
}

async fn listen(options: PgConnectOptions, channel: String, wake: watch::Sender<()>) {
    let mut is_first = true;
    let mut disconnections = Repeats::default();
    loop {
        let listening = async {
            let listener = start_listening(&options, &channel).await?;
            // The first cycle starts anyway.
            if !is_first {
                wake.send_replace(());
            }
            pass_on(listener, &wake).await
        };
        let reason = match listening.await {
            Ok(()) => "the connection was cut".to_owned(),
            Err(reason) => reason.to_string(),
        };
        is_first = false;
        if disconnections.is_worth_a_line(&reason) {
            events::listener_disconnected(&reason);
        }
        sleep(RECONNECT).await;
    }
}

async fn start_listening(options: &PgConnectOptions, channel: &str) -> Result<PgListener, Reason> {
    // A listener connects through a pool, which hides why it cannot.
    let probe = connect(options).await?;
    let no_answer = |_| Reason::no_answer("starting to listen for notifications", CONNECT_LIMIT);
    let listening = async {
        probe.close().await?;
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT);
        let mut listener = PgListener::connect_with(&pool.connect_lazy_with(options.clone())).await?;
        listener.eager_reconnect(false);
        listener.listen(channel).await?;
        Ok(listener)
    };
    timeout(CONNECT_LIMIT, listening).await.map_err(no_answer)?
}

/// Passes notifications on until the connection is cut.
async fn pass_on(mut listener: PgListener, wake: &watch::Sender<()>) -> Result<(), Reason> {
    loop {
        if let Ok(received) = timeout(SILENCE, listener.try_recv()).await {
            if received?.is_none() {
                return Ok(());
            }
            wake.send_replace(());
        } else {
            let question = sqlx::query("SELECT 1").persistent(false).execute(&mut listener);
            let no_answer = |_| Reason::no_answer("waiting for notifications", CONNECT_LIMIT);
            timeout(CONNECT_LIMIT, question).await.map_err(no_answer)??;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use test_postgres::Postgres;

    use super::*;
    use crate::proxy::{Behaviour, Proxy};

    #[tokio::test]
    async fn hears_notifications_and_wakes_after_a_reconnection() {
        let server = Postgres::shared().expect("a server");
        let proxy = Proxy::start(server.port());
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            proxy.port()
        );
        let options = PgConnectOptions::from_str(&url).expect("a URL");
        let mut listener = Listener::start(options, Some("A \"channel\"".into()));
        // Nobody says when it is connected, so this notifies until it is heard.
        let mut tries = 0;
        while timeout(Duration::from_millis(100), listener.notified()).await.is_err() {
            let notify = || server.sql("postgres", "NOTIFY \"A \"\"channel\"\"\"");
            tokio::task::spawn_blocking(notify)
                .await
                .expect("no panic")
                .expect("valid SQL");
            tries += 1;
            assert!(tries < 50);
        }
        proxy.behave(Behaviour::Reset);
        sleep(Duration::from_millis(200)).await;
        listener.forget();
        proxy.behave(Behaviour::Forward);
        let woken = timeout(Duration::from_secs(5), listener.notified()).await;
        woken.expect("a reconnection");
    }
}
