//! `erase`: removes the name and phone of somebody who has left from the state.

use super::{Context, Error, Exit, page::Page, setup, text::counted};
use crate::state::{Erasure, ErasureRefusal};

pub(super) async fn erase(context: &Context, id: &str) -> Result<Exit, Error> {
    if id.trim().is_empty() {
        return Err(Error::Usage(
            "nothing was erased: an id has at least one character".to_owned(),
        ));
    }
    let refused = |reason: &str| {
        let explain = context.invocation.command_for("explain", id);
        let reason = format!("nothing was erased: {id} {reason} ({explain} says more)");
        Err(Error::Refused(reason))
    };
    let rows = setup::crm(&context.config).rows_of(id).await?;
    if rows.iter().any(|row| row.id.as_deref() == Some(id) && row.is_active) {
        return refused("is an employee: the CRM has an active row with this id");
    }
    let state = setup::state(&context.config);
    let erasure = if state.is_there().await? {
        state.erase(id).await?
    } else {
        Erasure::Erased { rows: 0 }
    };
    let mut page = Page::new(0);
    match erasure {
        Erasure::Refused(ErasureRefusal::Managed) => {
            return refused("is still a user in Wazzup, or may be; wait until the removal is done");
        }
        Erasure::Refused(ErasureRefusal::InLostRequest) => {
            return refused("is part of a request that got no answer; wait until it is certain what Wazzup has");
        }
        Erasure::Erased { rows: 0 } => {
            page.paragraph(&format!(
                "Nothing had to be erased: the state has no name and no phone of {id}."
            ));
        }
        Erasure::Erased { rows } => {
            let rows = counted(usize::try_from(rows).unwrap_or(usize::MAX), "row");
            page.paragraph(&format!(
                "Erased the name and phone of {id} from {rows} of the state. What stays is that a user with this id was \
                 added or removed, and when."
            ));
            page.paragraph("The CRM, Wazzup and backups of the databases are not touched.");
        }
    }
    page.print()?;
    Ok(Exit::Ok)
}
