//! `status`: how the account stands. Reads the state only.

mod json;
mod text;

use jiff::SignedDuration;

use super::{
    Context, Error, Exit, Format,
    invocation::Invocation,
    page::{self, Page},
    setup,
};
use crate::state::{Account, Overview};

pub(super) use self::{
    json::{failure_to_json, hold_to_json},
    text::lease_in_words,
};

/// How many cycles are in the JSON.
const CYCLES: u32 = 20;

/// What the answer is made of.
#[derive(Debug)]
struct StatusView {
    account_name: String,
    overview: Overview,
    /// The other accounts in the schema, if this one is unknown: its name may be mistyped.
    other_accounts: Vec<String>,
    unhealthy_after: SignedDuration,
    invocation: Invocation,
}

pub(super) async fn status(context: &Context, format: Format) -> Result<Exit, Error> {
    let view = read(context).await?;
    match format {
        Format::Text => {
            let mut page = Page::new(text::MARGIN);
            text::write(&mut page, &view);
            page.print()?;
        }
        Format::Json => page::print_json(&json::to_json(&view))?,
    }
    Ok(Exit::Ok)
}

async fn read(context: &Context) -> Result<StatusView, Error> {
    let state = setup::state(&context.config);
    let mut view = StatusView {
        account_name: context.config.account.clone(),
        overview: Overview::default(),
        other_accounts: Vec::new(),
        unhealthy_after: setup::signed(context.config.schedule.unhealthy_after),
        invocation: context.invocation.clone(),
    };
    if state.is_there().await? {
        view.overview = state.overview(CYCLES).await?;
        if view.is_unknown() {
            view.other_accounts = state.other_accounts().await?;
        }
    }
    Ok(view)
}

impl StatusView {
    fn account(&self) -> &Account {
        &self.overview.account
    }

    /// Nobody ever held the account's lease.
    fn is_unknown(&self) -> bool {
        let account = self.account();
        account.lease.is_none() && account.last_cycle.is_none()
    }
}

#[cfg(test)]
mod tests;
