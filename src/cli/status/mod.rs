//! `status`: how the account stands. Reads the state only.

#[cfg(test)]
mod tests;
mod text;

use std::mem;

use jiff::SignedDuration;
use serde::Serialize;

use super::{
    Context, Exit, Format,
    holds::serialize_holds,
    invocation::Invocation,
    setup,
    text::{natural_order, sort_ids},
};
use crate::{
    plan::{HoldKind, Holds},
    state::{Counts, Overview},
};

pub(super) use self::text::{lease_in_words, operation_in_words};

const CYCLES: u32 = 20;

/// How the account stands. Serialised, it is the answer for programs; `docs/json.md` documents it. Ids are in natural
/// order.
#[derive(Debug, Serialize)]
struct StatusView {
    version: u8,
    account: String,
    /// The other accounts in the schema, if this one is unknown: its name may be mistyped.
    other_accounts: Vec<String>,
    eligible: usize,
    in_sync: usize,
    pending: usize,
    counts: Counts,
    waiting_for_seat: Vec<String>,
    #[serde(serialize_with = "serialize_holds")]
    held: Holds,
    held_removals: Vec<String>,
    #[serde(flatten)]
    overview: Overview,
    #[serde(skip)]
    unhealthy_after: SignedDuration,
    #[serde(skip)]
    invocation: Invocation,
}

pub(super) async fn status(context: &Context, format: Format) -> anyhow::Result<Exit> {
    let config = &context.config;
    let state = setup::state(config);
    let is_there = state.is_there().await?;
    let overview = if is_there {
        state.overview(CYCLES).await?
    } else {
        Overview::default()
    };
    let unhealthy_after = config.unhealthy_after;
    let mut view = StatusView::new(overview, &config.account, unhealthy_after, &context.invocation);
    if is_there && view.is_unknown() {
        view.other_accounts = state.other_accounts().await?;
    }
    format.print(&view, |page| text::write(page, &view))?;
    Ok(Exit::Ok)
}

impl StatusView {
    fn new(mut overview: Overview, name: &str, unhealthy_after: SignedDuration, invocation: &Invocation) -> Self {
        let failing = &mut overview.failing;
        failing.sort_by(|left, right| natural_order(&left.user_id, &right.user_id));
        sort_ids(&mut overview.added_lately);
        let account = &overview.account;
        let mut waiting_for_seat: Vec<String> = account.waiting_for_seat.iter().map(ToString::to_string).collect();
        sort_ids(&mut waiting_for_seat);
        let counts = account.last_cycle.as_ref().map(|cycle| cycle.counts);
        let counts = counts.unwrap_or_default();
        let held = mem::take(&mut overview.holds);
        let mut held_removals = Vec::new();
        for (key, hold) in &held {
            if key.kind == HoldKind::Remove && hold.approved.is_none() {
                held_removals.push(key.user_id.to_string());
            }
        }
        sort_ids(&mut held_removals);
        Self {
            version: 1,
            account: name.to_owned(),
            other_accounts: Vec::new(),
            eligible: counts.eligible,
            in_sync: counts.in_sync,
            pending: counts.pending,
            counts,
            waiting_for_seat,
            held,
            held_removals,
            overview,
            unhealthy_after,
            invocation: invocation.clone(),
        }
    }

    /// Nobody ever held the account's lease.
    fn is_unknown(&self) -> bool {
        self.overview.account.lease.is_none() && self.overview.account.last_cycle.is_none()
    }
}
