//! The explanation for programs; `docs/json.md` documents it.

use serde_json::{Value, json};

use super::{
    super::{
        page::Mark,
        status::{failure_to_json, hold_to_json},
    },
    facts::{Facts, InCrm, InState, Live, Planned},
    text::phone_to_send,
    verdict::{self, Verdict},
};
use crate::{
    crm::CrmRow,
    plan::{HoldKind, LostContent, LostEntry, StayReason},
    state::HistoryEntry,
};

pub(super) fn to_json(facts: &Facts) -> Value {
    let crm = facts.crm.as_ref().ok();
    let state = facts.state.as_ref().ok();
    let Verdict { mark, reason, remedy } = verdict::of(facts);
    json!({
        "version": 1,
        "id": facts.id,
        "crm": crm.map(crm_to_json),
        "crm_error": facts.crm.as_ref().err(),
        "to_send": crm.and_then(|crm| to_send(facts, crm)),
        "snapshot": state.and_then(snapshot_to_json),
        "state_error": facts.state.as_ref().err(),
        "lost": state.map(|state| state.person.lost.iter().map(lost_to_json).collect::<Vec<_>>()),
        "wazzup": live_to_json(&facts.live),
        "failures": state.map(|state| state.person.failures.iter().map(failure_to_json).collect::<Vec<_>>()),
        "held": state.map(|state| state.person.holds.iter().map(hold_to_json).collect::<Vec<_>>()),
        "history": state.map(|state| state.person.history.iter().map(history_to_json).collect::<Vec<_>>()),
        "planned": state.and_then(|state| state.planned.as_ref()).map(planned_to_json),
        "verdict": {
            "status": match mark {
                Mark::Good => "ok",
                Mark::Warning => "warning",
                Mark::Bad => "failed",
            },
            "reason": reason,
            "remedy": remedy,
        },
    })
}

fn crm_to_json(crm: &InCrm) -> Value {
    let InCrm {
        rows,
        similar_ids,
        entry: _,
        rejected,
        same_phone,
        missing_ids,
    } = crm;
    json!({
        "rows": rows.iter().map(row_to_json).collect::<Vec<_>>(),
        "similar_ids": similar_ids,
        "rejected": rejected.map(crate::employee::RowProblem::as_str),
        "same_phone": same_phone,
        "missing_ids": missing_ids,
    })
}

fn row_to_json(row: &CrmRow) -> Value {
    json!({"name": row.name, "phone": row.phone, "active": row.is_active})
}

fn to_send(facts: &Facts, crm: &InCrm) -> Option<Value> {
    let entry = crm.entry.as_ref()?;
    Some(json!({"name": entry.employee.name, "phone": phone_to_send(facts, entry)}))
}

fn snapshot_to_json(state: &InState) -> Option<Value> {
    let user = state.user.as_ref()?;
    let acknowledged = user.acknowledged.as_ref();
    Some(json!({
        "name": acknowledged.map(|acknowledged| &acknowledged.name),
        "phone": acknowledged.and_then(|acknowledged| acknowledged.phone),
        "synced_at": state.person.synced_at,
        "absent_since": user.absent_since,
    }))
}

fn lost_to_json(lost: &LostEntry) -> Value {
    let (operation, name, phone) = match &lost.content {
        LostContent::Upsert { name, phone } => ("upsert", Some(name), *phone),
        LostContent::Removal => ("remove", None, None),
    };
    json!({
        "operation": operation,
        "name": name,
        "phone": phone,
        "lost_at": lost.lost_at,
        "may_land_until": lost.may_land_until,
    })
}

fn live_to_json(live: &Live) -> Value {
    let (status, user, reason) = match live {
        Live::There(user) => ("there", Some(user), None),
        Live::Absent => ("absent", None, None),
        Live::Unknown(reason) => ("unknown", None, Some(reason)),
    };
    json!({
        "status": status,
        "name": user.map(|user| &user.name),
        "phone": user.and_then(|user| user.phone.as_ref()),
        "reason": reason,
    })
}

fn history_to_json(entry: &HistoryEntry) -> Value {
    let HistoryEntry {
        at,
        cycle_id,
        operation,
        absent,
        approved_by,
        name_before,
        phone_before,
        name_after,
        phone_after,
    } = entry;
    json!({
        "at": at,
        "cycle_id": cycle_id,
        "operation": operation.as_str(),
        "was_absent": absent,
        "approved_by": approved_by,
        "name_before": name_before,
        "phone_before": phone_before,
        "name_after": name_after,
        "phone_after": phone_after,
    })
}

fn planned_to_json(planned: &Planned) -> &'static str {
    match planned {
        Planned::Unchanged => "unchanged",
        Planned::Send { change, .. } => change.as_str(),
        Planned::Release => "release",
        Planned::BackOff => "back_off",
        Planned::WaitForSeat => "wait_for_seat",
        Planned::WaitForLeaver(_) => "wait_for_leaver",
        Planned::Hold { kind, .. } => match kind {
            HoldKind::Account => "hold_account",
            HoldKind::Remove => "hold_remove",
            HoldKind::Update => "hold_update",
            HoldKind::Takeover => "hold_takeover",
        },
        Planned::Stop => "hold_account",
        Planned::Remove { .. } => "remove",
        Planned::Stay(StayReason::InGrace) => "stay_in_grace",
        Planned::Stay(StayReason::Kept) => "stay_by_policy",
        Planned::Stay(StayReason::BackingOff) => "stay_backing_off",
        Planned::Stay(StayReason::Unknown) => "stay_unknown",
        Planned::Settle => "settle",
        Planned::Reject => "reject",
        Planned::Pend => "pending",
        Planned::Nothing => "nothing",
    }
}
