//! `run` and `once`: what they have to say is in the log.

use super::{Error, Exit, setup};
use crate::{
    config::Config,
    daemon::{self, Listener, Once, Schedule},
    state::Outcome,
};

pub(super) async fn run(config: &Config) -> Result<Exit, Error> {
    let stop = daemon::stop_signal()?;
    let sync = setup::sync(config)?;
    let schedule = Schedule {
        every: config.schedule.every,
        lease: config.state.lease,
    };
    let options = crate::postgres::options(config.crm.url.options());
    for (database, url) in [("crm", &config.crm.url), ("state", &config.state.url)] {
        if let Some(warning) = url.ssl_warning() {
            tracing::warn!(event = "connection.insecure", database, "{warning}");
        }
    }
    let listener = Listener::start(options, config.schedule.listen.clone());
    daemon::run(&sync, schedule, listener, &stop).await;
    Ok(Exit::Ok)
}

pub(super) async fn once(config: &Config) -> Result<Exit, Error> {
    let stop = daemon::stop_signal()?;
    let sync = setup::sync(config)?;
    Ok(match daemon::once(&sync, config.state.lease, &stop).await? {
        Once::Done(report) => match report.outcome {
            Outcome::Failed => Exit::Failed,
            _ if report.held => Exit::Held,
            Outcome::Incomplete => Exit::Incomplete,
            Outcome::InSync => Exit::Ok,
        },
        Once::Interrupted => Exit::Failed,
        Once::HeldBy(holder, expires_in) => {
            tracing::error!(
                event = "lease.standby",
                holder = holder.name,
                expires_in_s = expires_in.as_secs(),
                "another process holds the lease: nothing was done; if it is dead, the lease ends by itself"
            );
            Exit::Failed
        }
    })
}
