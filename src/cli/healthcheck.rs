//! `healthcheck`: for the container. Reads the state only.

use std::io::Write;

use super::{Error, Exit, setup, text::in_words};
use crate::{config::Config, daemon, state::SchemaVersion};

pub(super) async fn healthcheck(config: &Config) -> Result<Exit, Error> {
    let state = setup::state(config);
    let account = match state.version().await? {
        SchemaVersion::Absent => None,
        _ => state.account_row().await?,
    };
    let account = account.unwrap_or_default();
    let mut out = std::io::stdout();
    let unhealthy_after = setup::signed(config.schedule.unhealthy_after);
    let age = account.last_success_at.map(|at| account.now.duration_since(at));
    if age.is_some_and(|age| age <= unhealthy_after) {
        writeln!(
            out,
            "healthy: the last cycle that did not fail ended {} ago",
            in_words(age.unwrap_or_default())
        )?;
        return Ok(Exit::Ok);
    }
    let here = daemon::holder().host;
    if let Some((holder, _)) = account
        .lease
        .filter(|(holder, until)| holder.host != here && *until > account.now)
    {
        writeln!(out, "healthy: standing by for {}, which holds the lease", holder.name)?;
        return Ok(Exit::Ok);
    }
    match age {
        None => writeln!(out, "unhealthy: no cycle has succeeded yet")?,
        Some(age) => writeln!(
            out,
            "unhealthy: the last cycle that did not fail ended {} ago;\n\
             `wazzup-sync status` and the log say why",
            in_words(age)
        )?,
    }
    Ok(Exit::Failed)
}
