//! `plan`: what a cycle would do. Reads the CRM and the state; writes nothing and does not call Wazzup.

use std::{future::ready, io::Write};

use super::{Error, Exit, Format, setup};
use crate::{config::Config, plan::Plan};

pub(super) async fn plan(config: &Config, format: Format, exit_code: bool) -> Result<Exit, Error> {
    let sync = setup::sync(config)?;
    let now = sync.state.now().await?;
    let (snapshot, failures) = if sync.state.is_there().await? {
        sync.state.peek().await?
    } else {
        Default::default()
    };
    let roster = sync.crm.read(ready(sync.phone_reader(&snapshot))).await?;
    let plan = Plan::between(&roster, &snapshot, &failures, sync.policy, now);
    let mut out = std::io::stdout().lock();
    match format {
        Format::Text => write!(out, "{plan}")?,
        Format::Json => writeln!(out, "{:#}", plan.to_json())?,
    }
    Ok(if exit_code && plan.requests() > 0 {
        Exit::Requests
    } else {
        Exit::Ok
    })
}
