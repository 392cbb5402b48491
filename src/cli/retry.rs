//! `retry`: has failing and waiting employees tried again in the next cycle.

use super::{
    Context, Error, Exit,
    invocation::operator,
    page::Page,
    setup,
    text::{counted, listed_ids, noun_for},
};

/// How many unknown ids are named.
const IDS_SHOWN: usize = 10;

pub(super) async fn retry(context: &Context, ids: &[String]) -> Result<Exit, Error> {
    let state = setup::state(&context.config);
    let snapshot = state.peek().await?.snapshot;
    let unknown: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|id| !snapshot.knows(id))
        .collect();
    if !unknown.is_empty() {
        return Err(Error::Refused(refusal(context, &unknown)));
    }
    let concerned = if ids.is_empty() {
        snapshot.retryable().len()
    } else {
        ids.len()
    };
    if concerned > 0 {
        state.order_retry(ids, &operator()).await?;
    }
    let mut page = Page::new(0);
    page.paragraph(&answer(concerned));
    page.print()?;
    Ok(Exit::Ok)
}

fn answer(concerned: usize) -> String {
    match concerned {
        0 => "Nobody is failing or waiting for a seat: there is nothing to retry.".to_owned(),
        concerned => format!("The next cycle tries {} again.", counted(concerned, "employee")),
    }
}

fn refusal(context: &Context, unknown: &[&str]) -> String {
    let ids = noun_for(unknown.len(), "id");
    let shown = listed_ids(unknown.iter().copied(), IDS_SHOWN);
    let first = unknown.first().copied().unwrap_or_default();
    let explain = context.invocation.command_for("explain", first);
    format!("nothing was changed, because nothing is known of the {ids} {shown}; {explain} says more")
}
