//! `retry`: has failing and waiting employees tried again in the next cycle.

use anyhow::bail;

use super::{
    Context, Exit,
    page::say,
    text::{counted, listed_ids},
};
use crate::daemon;

pub(super) async fn retry(context: &Context, mut ids: Vec<String>) -> anyhow::Result<Exit> {
    ids.sort_unstable();
    ids.dedup();
    let state = &context.engine.state;
    let snapshot = state.peek().await?.snapshot;
    let unknown: Vec<&String> = ids.iter().filter(|id| !snapshot.knows(id)).collect();
    if let Some(first) = unknown.first() {
        let explain = context.invocation.command_for("explain", first);
        let shown = listed_ids(&unknown);
        bail!("nothing was changed, because nothing is known of {shown}; {explain} says more");
    }
    let concerned = if ids.is_empty() {
        snapshot.retryable().len()
    } else {
        ids.len()
    };
    if concerned == 0 {
        say("Nobody is failing or waiting for a seat: there is nothing to retry.")?;
        return Ok(Exit::Ok);
    }
    state.order_retry(&ids, &daemon::operator()).await?;
    say(&format!(
        "The next cycle tries {} again, as far as holds and the CRM's rows allow.",
        counted(concerned, "employee")
    ))?;
    Ok(Exit::Ok)
}
