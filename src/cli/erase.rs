//! `erase`: removes the name and phone of somebody who has left from the state.

use super::{
    Context, Error, Exit,
    page::Page,
    setup,
    text::{counted, printable},
};
use crate::state::{Erasure, ErasureRefusal};

pub(super) async fn erase(context: &Context, id: &str) -> Result<Exit, Error> {
    let shown = printable(id);
    let explain = context.invocation.command_for("explain", id);
    let rows = setup::crm(&context.config).rows_of(id).await?;
    if rows.iter().any(|row| row.id.as_deref() == Some(id) && row.is_active) {
        return Err(Error::Refused(format!(
            "nothing was erased: {shown} is an employee, since the CRM has an active row with this id"
        )));
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
            return Err(Error::Refused(format!(
                "nothing was erased: {shown} is still a user in Wazzup, or may be; wait until the removal is done \
                 ({explain} says how it stands)"
            )));
        }
        Erasure::Refused(ErasureRefusal::InLostRequest) => {
            return Err(Error::Refused(format!(
                "nothing was erased: a request about {shown} got no answer and is not settled yet; wait until it is \
                 ({explain} says how it stands)"
            )));
        }
        Erasure::Erased { rows: 0 } => {
            page.paragraph(&format!(
                "The state has no name and no phone of {shown}: nothing had to be erased."
            ));
        }
        Erasure::Erased { rows } => {
            let rows = usize::try_from(rows).unwrap_or(usize::MAX);
            page.paragraph(&format!(
                "Erased the name and phone of {shown} from {} of the state (history, failures, holds, orders). What \
                 stays is that a user with this id was added or removed, and when.",
                counted(rows, "row")
            ));
            page.paragraph("The CRM, Wazzup and backups of the databases are not touched.");
        }
    }
    page.print()?;
    Ok(Exit::Ok)
}
