//! The status for programs; `docs/json.md` documents it.

use serde_json::{Value, json};

use super::{
    super::{holds::json_id, text::natural_order},
    StatusView,
};
use crate::{
    plan::HoldKind,
    state::{LastCycle, OpenFailure, OpenHold, Overview, PastCycle},
};

pub(super) fn to_json(view: &StatusView) -> Value {
    let Overview {
        account,
        managed,
        leaving,
        unsettled,
        failures,
        holds,
        added_lately,
        cycles,
    } = &view.overview;
    let counts = account.last_cycle.as_ref().map(|cycle| cycle.counts);
    let counts = counts.unwrap_or_default();
    let waiting_for_seat = account.waiting_for_seat.iter().map(crate::employee::EmployeeId::as_str);
    json!({
        "version": 1,
        "account": view.account_name,
        "other_accounts": view.other_accounts,
        "eligible": counts.eligible,
        "in_sync": counts.in_sync,
        "pending": counts.pending,
        "counts": {
            "eligible": counts.eligible,
            "in_sync": counts.in_sync,
            "failing": counts.failing,
            "waiting_for_seat": counts.waiting_for_seat,
            "pending": counts.pending,
        },
        "missing_ids": counts.missing_ids,
        "managed": managed,
        "leaving": leaving,
        "unsettled": unsettled,
        "failing": sorted_failures(failures),
        "waiting_for_seat": ids(waiting_for_seat),
        "held": sorted_holds(holds),
        "held_removals": ids(held_removals(holds)),
        "added_lately": ids(added_lately.iter().map(String::as_str)),
        "last_cycle": account.last_cycle.as_ref().map(last_cycle_to_json),
        "last_success_at": account.last_success_at,
        "failing_since": account.failing_since,
        "list_read_at": account.list_read_at,
        "list_passed_at": account.list_passed_at,
        "seats": {
            "used": account.seats_used,
            "limit": account.seats_limit,
            "foreign": account.foreign_users,
            "counted_at": account.seats_counted_at,
        },
        "lease": account.lease.as_ref().map(|(holder, expires_at)| json!({
            "holder": holder.name,
            "host": holder.host,
            "expires_at": expires_at,
        })),
        "recent_cycles": cycles.iter().map(past_cycle_to_json).collect::<Vec<_>>(),
    })
}

fn ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_by(|left, right| natural_order(left, right));
    ids
}

/// The removals that wait for an approval.
fn held_removals(holds: &[OpenHold]) -> impl Iterator<Item = &str> {
    let waiting = holds.iter().filter(|open| open.hold.approved.is_none());
    let removals = waiting.filter(|open| open.key.kind == HoldKind::Remove);
    removals.map(|open| &*open.key.user_id)
}

fn sorted_failures(failures: &[OpenFailure]) -> Vec<Value> {
    let mut failures: Vec<&OpenFailure> = failures.iter().collect();
    failures.sort_by(|left, right| natural_order(&left.user_id, &right.user_id));
    failures.into_iter().map(failure_to_json).collect()
}

/// An open failure, as in every verb.
pub(in super::super) fn failure_to_json(failure: &OpenFailure) -> Value {
    let OpenFailure {
        user_id,
        operation,
        code,
        detail,
        request_id,
        attempts,
        is_local,
        first_at,
        last_at,
        next_attempt_at,
        ..
    } = failure;
    json!({
        "user_id": user_id,
        "operation": operation.as_str(),
        "code": code,
        "detail": detail,
        "attempts": attempts,
        "next_attempt_at": next_attempt_at,
        "in_crm": is_local,
        "request_id": request_id,
        "first_at": first_at,
        "last_at": last_at,
    })
}

fn sorted_holds(holds: &[OpenHold]) -> Vec<Value> {
    let mut holds: Vec<&OpenHold> = holds.iter().collect();
    holds.sort_by(|left, right| {
        left.key
            .kind
            .cmp(&right.key.kind)
            .then_with(|| natural_order(&left.key.user_id, &right.key.user_id))
    });
    holds.into_iter().map(hold_to_json).collect()
}

/// An open hold, as in every verb.
pub(in super::super) fn hold_to_json(open: &OpenHold) -> Value {
    let approval = open.hold.approved.as_ref();
    json!({
        "user_id": json_id(&open.key),
        "kind": open.key.kind.as_str(),
        "content": open.hold.content,
        "reason": open.hold.reason,
        "since": open.hold.since,
        "approved": approval.is_some(),
        "approved_by": approval.map(|approval| &approval.by),
        "approved_at": approval.map(|approval| approval.at),
    })
}

fn last_cycle_to_json(cycle: &LastCycle) -> Value {
    json!({
        "id": cycle.id,
        "outcome": cycle.outcome.as_str(),
        "started_at": cycle.started_at,
        "finished_at": cycle.finished_at,
        "error": cycle.error,
        "error_kind": cycle.error_kind,
    })
}

fn past_cycle_to_json(cycle: &PastCycle) -> Value {
    let PastCycle {
        id,
        started_at,
        finished_at,
        outcome,
        error_kind,
        error,
        requests,
        added,
        adopted,
        updated,
        removed,
        held,
    } = cycle;
    json!({
        "id": id,
        "outcome": outcome.as_str(),
        "started_at": started_at,
        "finished_at": finished_at,
        "error": error,
        "error_kind": error_kind,
        "requests": requests,
        "added": added,
        "adopted": adopted,
        "updated": updated,
        "removed": removed,
        "held": held,
    })
}
