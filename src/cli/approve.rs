//! `approve`: lists the held removals and approves exactly these.

use std::io::{BufRead, IsTerminal, Write};

use super::{
    Error, Exit, setup,
    text::{counted, counted_len},
};
use crate::{config::Config, plan::printable, state::Held};

pub(super) async fn approve(config: &Config, yes: bool) -> Result<Exit, Error> {
    let state = setup::state(config);
    let held: Vec<Held> = if state.is_there().await? {
        state.held().await?
    } else {
        Vec::new()
    };
    let (approved, held): (Vec<Held>, Vec<Held>) = held.into_iter().partition(|it| it.approved);
    let mut out = std::io::stdout().lock();
    if !approved.is_empty() {
        let removals = counted_len(approved.len(), "held removal");
        writeln!(
            out,
            "{removals} approved earlier: the next cycle carries out what is still due."
        )?;
    }
    if held.is_empty() {
        writeln!(out, "No removal waits for an approval.")?;
        return Ok(Exit::Ok);
    }
    let removals = counted_len(held.len(), "removal");
    writeln!(out, "{removals} held, of these users:")?;
    for it in &held {
        let name = it.name.as_deref().unwrap_or("(no name known)");
        writeln!(out, "  {}  {}", printable(&it.user_id), printable(name))?;
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            let remedy = "there is no terminal to ask on: approve with `wazzup-sync approve --yes`";
            return Err(Error::Usage(remedy.into()));
        }
        let users = counted_len(held.len(), "user");
        writeln!(
            out,
            "A removed user loses the role that was given to it in Wazzup's cabinet."
        )?;
        write!(out, "Remove {users} from Wazzup? [y/N] ")?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            writeln!(out, "Nothing is approved: they stay held.")?;
            return Ok(Exit::Ok);
        }
    }
    let ids: Vec<String> = held.into_iter().map(|it| it.user_id).collect();
    let approved = state.approve(&ids).await?;
    let removals = counted(approved, "removal");
    writeln!(out, "{removals} approved: the next cycle carries them out.")?;
    Ok(Exit::Ok)
}
