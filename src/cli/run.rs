//! `run`: the daemon. What it has to say is in the log.

use super::{Context, Exit, setup};
use crate::daemon::{self, Listener, Schedule};

pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let config = &context.config;
    let stop = daemon::stop_signal()?;
    setup::report_unverified_tls(config);
    let schedule = Schedule {
        every: config.every.unsigned_abs(),
        lease: config.lease,
    };
    let channel = config.listen.as_ref().map(ToString::to_string);
    let listener = Listener::start(config.crm_url.options.clone(), channel);
    daemon::run(&context.engine, schedule, listener, &stop).await;
    Ok(Exit::Ok)
}
