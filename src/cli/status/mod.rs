//! `status`: how the account stands. Reads the state only.

#[cfg(test)]
mod tests;
mod text;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::{
    Context, Exit, Format,
    invocation::Invocation,
    setup,
    text::{natural_order, sort_ids},
};
use crate::{
    plan::{Failure, HoldKind},
    state::{Account, Counts, LastCycle, OpenHold, Overview, PastCycle},
};

pub(super) use self::text::{lease_in_words, operation_in_words};

/// How many cycles are read.
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
    managed: u64,
    leaving: u64,
    unsettled: u64,
    failing: Vec<Failure>,
    waiting_for_seat: Vec<String>,
    #[serde(serialize_with = "serialize_holds")]
    held: Vec<OpenHold>,
    held_removals: Vec<String>,
    added_lately: Vec<String>,
    last_cycle: Option<LastCycle>,
    last_success_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    list_read_at: Option<Timestamp>,
    list_passed_at: Option<Timestamp>,
    seats: SeatsView,
    lease: Option<LeaseView>,
    recent_cycles: Vec<PastCycle>,
    #[serde(skip)]
    now: Timestamp,
    #[serde(skip)]
    unhealthy_after: SignedDuration,
    #[serde(skip)]
    invocation: Invocation,
}

#[derive(Debug, Serialize)]
struct SeatsView {
    used: Option<usize>,
    limit: Option<usize>,
    foreign: Option<usize>,
    counted_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(super) struct LeaseView {
    holder: String,
    host: String,
    expires_at: Timestamp,
}

/// An open hold, as `status` and `explain` serialise it.
#[derive(Debug, Serialize)]
struct HoldView<'a> {
    /// `None`: the hold is on the whole account.
    user_id: Option<&'a str>,
    kind: HoldKind,
    content: &'a str,
    reason: &'a str,
    since: Timestamp,
    approved: bool,
    approved_by: Option<&'a str>,
    approved_at: Option<Timestamp>,
}

pub(super) fn serialize_holds<S: Serializer>(holds: &[OpenHold], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(holds.iter().map(|open| {
        let OpenHold { key, hold, .. } = open;
        let approval = hold.approved.as_ref();
        HoldView {
            user_id: (key.kind != HoldKind::Account).then_some(&*key.user_id),
            kind: key.kind,
            content: &hold.content,
            reason: &hold.reason,
            since: hold.since,
            approved: approval.is_some(),
            approved_by: approval.map(|approval| approval.by.as_str()),
            approved_at: approval.map(|approval| approval.at),
        }
    }))
}

pub(super) async fn status(context: &Context, format: Format) -> anyhow::Result<Exit> {
    let view = read(context).await?;
    format.print(&view, text::MARGIN, |page| text::write(page, &view))?;
    Ok(Exit::Ok)
}

async fn read(context: &Context) -> anyhow::Result<StatusView> {
    let state = setup::state(&context.config);
    let is_there = state.is_there().await?;
    let overview = if is_there {
        state.overview(CYCLES).await?
    } else {
        Overview::default()
    };
    let config = &context.config;
    let unhealthy_after = setup::signed(config.schedule.unhealthy_after);
    let mut view = StatusView::new(overview, &config.account, unhealthy_after, &context.invocation);
    if is_there && view.is_unknown() {
        view.other_accounts = state.other_accounts().await?;
    }
    Ok(view)
}

impl StatusView {
    fn new(overview: Overview, name: &str, unhealthy_after: SignedDuration, invocation: &Invocation) -> Self {
        let Overview {
            account,
            managed,
            leaving,
            unsettled,
            mut failures,
            mut holds,
            mut added_lately,
            cycles,
        } = overview;
        failures.sort_by(|left, right| natural_order(&left.user_id, &right.user_id));
        holds.sort_by(|left, right| {
            let kinds = left.key.kind.cmp(&right.key.kind);
            kinds.then_with(|| natural_order(&left.key.user_id, &right.key.user_id))
        });
        sort_ids(&mut added_lately);
        let mut waiting_for_seat: Vec<String> = account.waiting_for_seat.iter().map(ToString::to_string).collect();
        sort_ids(&mut waiting_for_seat);
        let counts = account
            .last_cycle
            .as_ref()
            .map(|cycle| cycle.counts)
            .unwrap_or_default();
        Self {
            version: 1,
            account: name.to_owned(),
            other_accounts: Vec::new(),
            eligible: counts.eligible,
            in_sync: counts.in_sync,
            pending: counts.pending,
            counts,
            managed,
            leaving,
            unsettled,
            failing: failures,
            waiting_for_seat,
            held_removals: held_removals(&holds),
            held: holds,
            added_lately,
            last_success_at: account.last_success_at,
            failing_since: account.failing_since,
            list_read_at: account.list_read_at,
            list_passed_at: account.list_passed_at,
            seats: SeatsView {
                used: account.seats_used,
                limit: account.seats_limit,
                foreign: account.foreign_users,
                counted_at: account.seats_counted_at,
            },
            lease: LeaseView::of(&account),
            last_cycle: account.last_cycle,
            recent_cycles: cycles,
            now: account.now,
            unhealthy_after,
            invocation: invocation.clone(),
        }
    }

    /// Nobody ever held the account's lease.
    fn is_unknown(&self) -> bool {
        self.lease.is_none() && self.last_cycle.is_none()
    }
}

/// The removals that wait for an approval.
fn held_removals(holds: &[OpenHold]) -> Vec<String> {
    let mut removals = Vec::new();
    for open in holds {
        if open.key.kind == HoldKind::Remove && open.hold.approved.is_none() {
            removals.push(open.key.user_id.to_string());
        }
    }
    removals
}

impl LeaseView {
    pub(super) fn of(account: &Account) -> Option<Self> {
        let (holder, expires_at) = account.lease.as_ref()?;
        Some(Self {
            holder: holder.name.clone(),
            host: holder.host.clone(),
            expires_at: *expires_at,
        })
    }
}
