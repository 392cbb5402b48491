//! `retry`: makes failing and waiting employees due now.

use std::io::Write;

use super::{Error, Exit, setup, text};
use crate::config::Config;

pub(super) async fn retry(config: &Config, ids: &[String]) -> Result<Exit, Error> {
    let state = setup::state(config);
    let answer = match state.is_there().await? {
        false if ids.is_empty() => Ok(0),
        false => Err(ids.to_vec()),
        true => state.retry(ids).await?,
    };
    match answer {
        Ok(due) => {
            let text = match due {
                0 => "Nobody is failing or waiting for a seat: there is nothing to retry.".to_owned(),
                1 => "1 employee is due: the next cycle tries again.".to_owned(),
                due => format!("{due} employees are due: the next cycle tries them again."),
            };
            writeln!(std::io::stdout(), "{text}")?;
            Ok(Exit::Ok)
        }
        Err(unknown) => {
            let (who, they) = if unknown.len() == 1 {
                ("id is", "it")
            } else {
                ("ids are", "them")
            };
            let unknown = text::ids(unknown.iter().map(String::as_str), 10);
            writeln!(
                std::io::stderr(),
                "wazzup-sync: nothing was changed: this {who} neither a user of ours nor failing:\n  {unknown}\n\
                 `wazzup-sync explain ID` tells more about {they}."
            )?;
            Ok(Exit::Failed)
        }
    }
}
