//! `erase`: removes the name and phone of somebody who has left from the state.

use anyhow::bail;

use super::{Context, Exit, page::say, text::counted};
use crate::state::Erasure;

pub(super) async fn erase(context: &Context, id: &str) -> anyhow::Result<Exit> {
    let rows = context.engine.crm.rows_of(id).await?;
    let is_employee = rows.iter().any(|row| row.id.as_deref() == Some(id) && row.is_active);
    let state = &context.engine.state;
    let obstacle = if is_employee {
        "is an employee: the CRM has an active row with this id"
    } else {
        let erasure = if state.is_there().await? {
            state.erase(id).await?
        } else {
            Erasure::Erased { rows: 0 }
        };
        match erasure {
            Erasure::StillManaged => "is still a user in Wazzup, or may be; wait until the removal is done",
            Erasure::InLostRequest => {
                "is part of a request that got no answer; wait until it is certain what Wazzup has"
            }
            Erasure::Erased { rows } => {
                say(&answer(id, rows))?;
                return Ok(Exit::Ok);
            }
        }
    };
    let explain = context.invocation.command_for("explain", id);
    bail!("nothing was erased: {id} {obstacle} ({explain} says more)")
}

fn answer(id: &str, rows: u64) -> String {
    if rows == 0 {
        return format!("Nothing had to be erased: the state has no name and no phone of {id}.");
    }
    let rows = counted(rows, "row");
    format!(
        "Erased the name and phone of {id} from {rows} of the state. What stays is that a user with this id was added or \
         removed, and when. The CRM, Wazzup and backups of the databases are not touched."
    )
}
