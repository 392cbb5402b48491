//! `retry`: has failing and waiting employees tried again in the next cycle.

use super::{
    Context, Error, Exit,
    invocation::operator,
    page::Page,
    setup,
    text::{counted, listed_ids, noun_for},
};
use crate::state::RetryOrder;

/// How many unknown ids are named.
const IDS_SHOWN: usize = 10;

pub(super) async fn retry(context: &Context, ids: &[String]) -> Result<Exit, Error> {
    let state = setup::state(&context.config);
    let order = if state.is_there().await? {
        state.order_retry(ids, &operator()).await?
    } else if ids.is_empty() {
        RetryOrder::Taken { concerned: 0 }
    } else {
        RetryOrder::Unknown(ids.to_vec())
    };
    match order {
        RetryOrder::Taken { concerned } => {
            let mut page = Page::new(0);
            page.paragraph(&answer(concerned));
            page.print()?;
            Ok(Exit::Ok)
        }
        RetryOrder::Unknown(unknown) => Err(Error::Refused(refusal(context, &unknown))),
    }
}

fn answer(concerned: usize) -> String {
    match concerned {
        0 => "Nobody is failing or waiting for a seat: there is nothing to retry.".to_owned(),
        concerned => format!("The next cycle tries {} again.", counted(concerned, "employee")),
    }
}

fn refusal(context: &Context, unknown: &[String]) -> String {
    let ids = noun_for(unknown.len(), "id");
    let shown = listed_ids(unknown.iter().map(String::as_str), IDS_SHOWN);
    let first = unknown.first().map_or("", String::as_str);
    let explain = context.invocation.command_for("explain", first);
    format!("nothing was changed, because nothing is known of the {ids} {shown}; {explain} says more")
}
