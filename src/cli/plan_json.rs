//! The plan for programs; `docs/json.md` documents it.

use serde_json::{Map, Value, json};

use super::{
    changes::{FieldChange, changes_of},
    holds::json_id,
    plan::PlanView,
    text::natural_order,
};
use crate::employee::EmployeeId;
use crate::plan::{Change, Coverage, Operation, PlannedUpsert, StayReason};

pub(super) fn to_json(view: &PlanView) -> Value {
    let plan = &view.plan;
    json!({
        "version": 1,
        "list": list_state(view.list.coverage()),
        "list_problem": view.list_problem,
        "eligible": plan.eligible,
        "missing_ids": plan.missing_ids,
        "managed": plan.managed,
        "foreign": view.list.is_complete().then_some(plan.drift.foreign),
        "unchanged": if view.is_account_known() { plan.unchanged } else { 0 },
        "requests": plan.requests(),
        "add": by_id(of_change(view, &[Change::Add]).map(addition)),
        "adopt": by_id(of_change(view, &[Change::Adopt]).map(addition)),
        "take_over": by_id(of_change(view, &[Change::TakeOver]).map(take_over)),
        "update": by_id(updates(view)),
        "remove": by_id(plan.removals.iter().map(|removal| json!({"id": removal.id, "name": removal.name}))),
        "held": held(view),
        "waiting": by_id(waiting(view)),
        "backing_off": ids(plan.backing_off.iter().map(EmployeeId::as_str)),
        "pending": ids(view.pending_for_other_reasons().into_iter().map(EmployeeId::as_str)),
        "staying": by_id(plan.staying.iter().map(|user| {
            json!({"id": user.id, "name": user.name, "reason": stay_reason(user.reason)})
        })),
        "rejected": by_id(plan.rejected.iter().map(|row| json!({"id": row.id, "code": row.problem.as_str()}))),
        "without_phone": by_id(without_phone(view)),
    })
}

fn list_state(coverage: &Coverage) -> &'static str {
    match coverage {
        Coverage::Unread | Coverage::Unavailable(_) => "none",
        Coverage::Incomplete(_) => "incomplete",
        Coverage::Complete => "complete",
    }
}

/// Objects with an `id`, in natural order.
fn by_id(objects: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut objects: Vec<Value> = objects.collect();
    let id = |object: &Value| object["id"].as_str().unwrap_or_default().to_owned();
    objects.sort_by(|left, right| natural_order(&id(left), &id(right)));
    objects
}

fn ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_by(|left, right| natural_order(left, right));
    ids
}

fn of_change<'v>(view: &'v PlanView, changes: &'static [Change]) -> impl Iterator<Item = &'v PlannedUpsert> {
    let upserts = view.plan.upserts.iter();
    upserts.filter(|upsert| changes.contains(&upsert.entry.change))
}

fn addition(upsert: &PlannedUpsert) -> Value {
    let employee = &upsert.entry.employee;
    json!({"id": employee.id, "name": employee.name, "phone": employee.phone})
}

fn take_over(upsert: &PlannedUpsert) -> Value {
    let employee = &upsert.entry.employee;
    json!({
        "id": employee.id,
        "name": employee.name,
        "phone": employee.phone,
        "name_in_wazzup": upsert.name_in_wazzup,
    })
}

/// Changes, repetitions (with no change), and releases that are all there is to do about a user.
fn updates(view: &PlanView) -> impl Iterator<Item = Value> {
    let changed = of_change(view, &[Change::Update, Change::Release, Change::Resend]);
    let changed = changed.map(|upsert| update(upsert.id().as_str(), changes_of(upsert)));
    let released = view.lone_releases().into_iter();
    changed.chain(released.map(|(id, change)| update(id.as_str(), vec![change])))
}

fn update(id: &str, changes: Vec<FieldChange>) -> Value {
    let mut fields = Map::new();
    for FieldChange { field, from, to } in changes {
        fields.insert(field.to_owned(), json!({"from": from, "to": to}));
    }
    json!({"id": id, "changes": fields})
}

fn held(view: &PlanView) -> Vec<Value> {
    let mut holds: Vec<_> = view.plan.unapproved_holds().collect();
    holds.sort_by(|(left, _), (right, _)| {
        left.kind
            .cmp(&right.kind)
            .then_with(|| natural_order(&left.user_id, &right.user_id))
    });
    let holds = holds.into_iter().map(|(key, hold)| {
        json!({"id": json_id(key), "kind": key.kind.as_str(), "content": hold.content, "reason": hold.reason})
    });
    holds.collect()
}

fn waiting(view: &PlanView) -> impl Iterator<Item = Value> {
    let for_leavers = view.plan.waiting_for_leavers.iter();
    let for_leavers = for_leavers.map(|waiting| json!({"id": waiting.id, "for": waiting.leaver}));
    let for_seats = view.plan.waiting_for_seat.iter();
    for_leavers.chain(for_seats.map(|id| json!({"id": id, "for": "seat"})))
}

fn without_phone(view: &PlanView) -> impl Iterator<Item = Value> {
    let failures = view.plan.local_failures.iter();
    let phones = failures.filter(|failure| failure.key.operation == Operation::Phone);
    phones.map(|failure| json!({"id": failure.key.user_id, "code": failure.problem.as_str()}))
}

fn stay_reason(reason: StayReason) -> &'static str {
    match reason {
        StayReason::InGrace => "in_grace",
        StayReason::Kept => "kept",
        StayReason::BackingOff => "backing_off",
        StayReason::Unknown => "unknown",
    }
}
