//! NOTIFY on the CRM database: a change there is synced at once. Polling stays as the safety net.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener};
use tokio::{sync::watch, task::JoinHandle};
use tracing::Instrument as _;

use crate::postgres::{describe, pool};

/// How often a connection that is gone is tried again.
const RECONNECT: Duration = Duration::from_secs(2);

/// How long the connection may be silent before it is tried: one that is cut on the way tells nobody.
const SILENCE: Duration = Duration::from_mins(1);

/// Wakes the daemon when the CRM notifies; never, if there is no channel.
#[derive(Debug)]
pub struct Listener {
    wake: watch::Receiver<()>,
    /// Keeps the channel open where nobody listens.
    _waker: watch::Sender<()>,
    task: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens to `channel` of the database that `options` lead to. It needs a direct connection, not a pooled one.
    #[must_use]
    pub fn start(options: PgConnectOptions, channel: Option<String>) -> Self {
        let (waker, wake) = watch::channel(());
        let task = channel.map(|channel| tokio::spawn(listen(options, channel, waker.clone()).in_current_span()));
        Self {
            wake,
            _waker: waker,
            task,
        }
    }

    /// Waits for a notification, or for the connection to be there again: what was notified meanwhile is lost.
    pub(super) async fn notified(&mut self) {
        if self.wake.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets what was notified until now.
    pub(super) fn settle(&mut self) {
        self.wake.mark_unchanged();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn listen(options: PgConnectOptions, channel: String, wake: watch::Sender<()>) {
    let mut was_connected = false;
    loop {
        let reason = match listen_once(&options, &channel, &wake, &mut was_connected).await {
            Ok(()) => "the connection is gone".to_owned(),
            Err(error) => describe(&error),
        };
        tracing::warn!(
            event = "listener.disconnected",
            reason,
            "NOTIFY is not heard; polling goes on"
        );
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Listens until the connection is gone.
async fn listen_once(
    options: &PgConnectOptions,
    channel: &str,
    wake: &watch::Sender<()>,
    was_connected: &mut bool,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&pool(options.clone(), 1)).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    // The first cycle starts anyway.
    if std::mem::replace(was_connected, true) {
        wake.send_replace(());
    }
    loop {
        if let Ok(received) = tokio::time::timeout(SILENCE, listener.try_recv()).await {
            if received?.is_none() {
                return Ok(());
            }
            wake.send_replace(());
        } else {
            let alive = sqlx::query("SELECT 1").persistent(false).execute(&mut listener);
            let Ok(answer) = tokio::time::timeout(SILENCE, alive).await else {
                return Ok(());
            };
            answer?;
        }
    }
}
