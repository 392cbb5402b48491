//! Events about employees of the CRM and users of Wazzup.

use std::collections::BTreeSet;

use crate::{
    crm::Unconvertible,
    plan::{Drift, HoldKind, Operation},
    wording::counted,
};

const IDS_PER_LINE: usize = 100;

/// At most 100 ids, separated by commas.
fn listed(ids: impl IntoIterator<Item: ToString>) -> String {
    let ids = ids.into_iter().take(IDS_PER_LINE + 1);
    let mut shown: Vec<String> = ids.map(|id| id.to_string()).collect();
    if shown.len() > IDS_PER_LINE {
        shown.truncate(IDS_PER_LINE);
        shown.push("…".to_owned());
    }
    shown.join(",")
}

pub(crate) fn employee_rejected(code: &str, ids: &BTreeSet<&str>) {
    let count = counted(ids.len(), "id");
    tracing::warn!(
        event = "employee.rejected",
        code,
        count = ids.len(),
        ids = listed(ids),
        "The CRM's rows of {count} cannot be synced; a user who is in Wazzup already stays there"
    );
}

/// Values are left out because they cannot be converted to UTF-8.
pub(crate) fn values_unconvertible(values: &Unconvertible) {
    let Unconvertible {
        encoding,
        ids,
        unreadable_ids,
        query,
    } = values;
    let count = ids.len() + unreadable_ids;
    let rows = counted(count, "row");
    tracing::warn!(
        event = "employee.rejected",
        code = "UNCONVERTIBLE",
        count,
        ids = listed(ids),
        encoding,
        query,
        "Values in {rows} of the CRM cannot be converted from {encoding} to UTF-8 and are left out; `query` shows them"
    );
}

pub(crate) fn rows_without_id(count: usize) {
    let rows = counted(count, "row");
    tracing::warn!(
        event = "employee.rejected",
        code = "MISSING_ID",
        count,
        ids = "",
        "The CRM has {rows} without an id; until every row has one, nobody is removed without approval"
    );
}

pub(crate) fn employee_failing(operation: Operation, code: &str, ids: &BTreeSet<&str>) {
    let message = match operation {
        Operation::Upsert => format!("{} cannot be synced", counted(ids.len(), "employee")),
        Operation::Remove => format!("{} cannot be removed", counted(ids.len(), "user")),
        Operation::Phone => {
            let were = if ids.len() == 1 { "was" } else { "were" };
            let employees = counted(ids.len(), "employee");
            format!("{employees} {were} synced without the phone of the CRM")
        }
    };
    tracing::warn!(
        event = "employee.failing",
        operation = operation.as_ref(),
        code,
        count = ids.len(),
        ids = listed(ids),
        "{message}"
    );
}

pub(crate) fn employee_recovered(ids: &BTreeSet<&str>) {
    let employees = counted(ids.len(), "employee");
    tracing::info!(
        event = "employee.recovered",
        count = ids.len(),
        ids = listed(ids),
        "{employees} recovered"
    );
}

pub(crate) fn users_added(ids: &BTreeSet<&str>) {
    let users = counted(ids.len(), "user");
    tracing::info!(
        event = "users.added",
        count = ids.len(),
        ids = listed(ids),
        "Added {users}; each needs a role in Wazzup before they see a chat"
    );
}

/// Holds of one kind. `in_grace`: all of them are removals whose grace is not over yet.
pub(crate) fn held(kind: HoldKind, ids: &BTreeSet<&str>, reason: &str, in_grace: bool) {
    let (count, ids) = (ids.len(), listed(ids));
    match kind {
        HoldKind::Remove if in_grace => tracing::warn!(
            event = "removals.held",
            count,
            ids,
            reason,
            "Removals that look like a mistake are held; this becomes an ERROR if the users are still missing when the grace is \
             over. Everything else continues"
        ),
        HoldKind::Remove => tracing::error!(
            event = "removals.held",
            count,
            ids,
            reason,
            "Removals are held until somebody approves them (`wazzup-sync approve`); everything else continues"
        ),
        HoldKind::Update => tracing::error!(
            event = "updates.held",
            count,
            ids,
            reason,
            "Updates are held until somebody approves them (`wazzup-sync approve`); everything else continues"
        ),
        HoldKind::Takeover => tracing::error!(
            event = "takeovers.held",
            count,
            ids,
            reason,
            "Users whom somebody else created in Wazzup are not renamed before somebody approves it (`wazzup-sync approve`)"
        ),
        HoldKind::Account => tracing::error!(
            event = "account.doubted",
            reason,
            "Nothing is sent: check wazzup.base_url and the API key, or approve the new account (`wazzup-sync approve`)"
        ),
    }
}

/// Why holds are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ReleaseReason {
    Approved,
    Returned,
    Policy,
    Over,
}

/// Holds of one kind that are over.
pub(crate) fn released(kind: HoldKind, ids: &BTreeSet<&str>, reason: ReleaseReason, approved_by: Option<&str>) {
    let (count, ids) = (ids.len(), listed(ids));
    let what = match reason {
        ReleaseReason::Approved => "were approved",
        ReleaseReason::Returned => "are over: the users are back in the CRM",
        ReleaseReason::Policy => "are over: the policy is to keep everybody",
        ReleaseReason::Over => "are over: their reason is gone",
    };
    let reason = reason.as_ref();
    if kind == HoldKind::Remove {
        tracing::info!(
            event = "removals.released",
            reason,
            count,
            ids,
            approved_by,
            "Held removals {what}"
        );
    }
    tracing::info!(
        event = "holds.released",
        kind = kind.as_ref(),
        reason,
        count,
        ids,
        approved_by,
        "Holds {what}"
    );
}

pub(crate) fn order_dropped(kind: HoldKind, id: &str, given_by: &str) {
    tracing::warn!(
        event = "order.dropped",
        kind = kind.as_ref(),
        ids = id,
        approved_by = given_by,
        "An approval was dropped: what it was given for is no longer held"
    );
}

pub(crate) fn seats_exhausted(limit: Option<usize>, waiting: usize) {
    let employees = counted(waiting, "employee");
    tracing::warn!(
        event = "seats.exhausted",
        limit,
        waiting,
        "The Wazzup account is full: {employees} must wait for a seat"
    );
}

pub(crate) fn verify_finished(users: usize, drift: Drift) {
    tracing::info!(
        event = "verify.finished",
        complete = true,
        users,
        foreign = drift.foreign,
        missing = drift.missing,
        renamed = drift.renamed,
        "Compared with Wazzup's list of {users} users"
    );
}

pub(crate) fn verify_proved_nothing(reason: &str) {
    tracing::warn!(
        event = "verify.finished",
        complete = false,
        reason,
        "Wazzup's list is not known to be complete: nobody counts as missing because of it"
    );
}

pub(crate) fn source_empty(managed: usize) {
    tracing::error!(
        event = "source.empty",
        managed,
        "The CRM names nobody at all; nobody is removed without approval"
    );
}
