//! `retry`: makes failing and waiting employees due now.

use std::io::Write;

use super::{Error, Exit, setup};
use crate::{config::Config, state::SchemaVersion};

pub(super) async fn retry(config: &Config, ids: &[String]) -> Result<Exit, Error> {
    let state = setup::state(config)?;
    let answer = match state.version().await? {
        SchemaVersion::Absent if ids.is_empty() => Ok(0),
        SchemaVersion::Absent => Err(ids.to_vec()),
        _ => state.retry(ids).await?,
    };
    match answer {
        Ok(due) => {
            writeln!(std::io::stdout(), "{due} employees are due; the next cycle tries them.")?;
            Ok(Exit::Ok)
        }
        Err(unknown) => {
            let remedy = "neither a managed user nor failing: see `wazzup-sync explain`; nothing was changed";
            writeln!(std::io::stderr(), "wazzup-sync: {}: {remedy}", unknown.join(", "))?;
            Ok(Exit::Failed)
        }
    }
}
