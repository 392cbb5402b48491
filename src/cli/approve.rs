//! `approve`: lists the held removals and approves exactly these.

use std::io::{BufRead, IsTerminal, Write};

use super::{Error, Exit, setup};
use crate::{
    config::Config,
    state::{Held, SchemaVersion},
};

pub(super) async fn approve(config: &Config, yes: bool) -> Result<Exit, Error> {
    let state = setup::state(config)?;
    let held: Vec<Held> = match state.version().await? {
        SchemaVersion::Absent => Vec::new(),
        _ => state.held().await?.into_iter().filter(|it| !it.approved).collect(),
    };
    let mut out = std::io::stdout().lock();
    if held.is_empty() {
        writeln!(out, "No removal is held.")?;
        return Ok(Exit::Ok);
    }
    writeln!(out, "{} removals are held:", held.len())?;
    for it in &held {
        writeln!(
            out,
            "  {}  {}",
            it.user_id,
            it.name.as_deref().unwrap_or("(no name known)")
        )?;
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            let remedy = "there is no terminal to ask on: approve with `wazzup-sync approve --yes`";
            return Err(Error::Usage(remedy.into()));
        }
        write!(out, "Remove these {} users from Wazzup? [y/N] ", held.len())?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            writeln!(out, "Nothing is approved.")?;
            return Ok(Exit::Ok);
        }
    }
    let ids: Vec<String> = held.into_iter().map(|it| it.user_id).collect();
    let approved = state.approve(&ids).await?;
    writeln!(out, "{approved} removals are approved; the next cycle removes them.")?;
    Ok(Exit::Ok)
}
