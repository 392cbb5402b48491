//! What it all comes to, and what to do about it.

use super::{
    super::{
        holds::{noun_for_hold, remedy_for_hold},
        page::{Advice, Mark},
        plan::obstacle::{NO_ACTIVE_ROW, TO_BE_THERE},
        text::{ago, counted},
    },
    Findings, InCrm, Live,
};
use crate::{
    plan::{Change, HoldKey, NextStep, Operation},
    state::HistoryOperation,
};

pub(super) fn of(findings: &Findings) -> Advice {
    let invocation = &findings.invocation;
    let (Some(crm), Some(view)) = (&findings.crm, &findings.view) else {
        let reason = "the next step cannot be determined without both the CRM and the state";
        return Advice::bad(reason).with(format!("{} says what to do about that", invocation.command("check")));
    };
    if let Some(problem) = crm.rejected {
        return Advice::bad(format!("nothing is sent: {}", problem.reason())).with(problem.remedy());
    }
    let steps = view.plan.next_steps();
    // While the account is doubted, nothing of what is planned for the user happens.
    let is_concerned = findings.to_send.is_some() || findings.snapshot.is_some();
    let doubt = steps.get(&*HoldKey::account().user_id).filter(|_| is_concerned);
    match doubt.or_else(|| steps.get(findings.id.as_str())).copied() {
        Some(NextStep::Send(upsert)) => sent(findings, upsert.entry.change),
        Some(NextStep::Release(release)) => sent(findings, release.change),
        Some(NextStep::Remove(_)) => Advice::warning(format!("{NO_ACTIVE_ROW}; the next cycle removes the user"))
            .with(format!("to keep the user, {TO_BE_THERE}")),
        Some(NextStep::Hold(key, hold)) => {
            let what = noun_for_hold(key.kind);
            let approve = match key.concerned_user() {
                Some(id) => invocation.command_for("approve", id),
                None => invocation.command("approve"),
            };
            let reason = format!("the {what} has to be approved; until then, nothing changes in Wazzup");
            Advice::bad(reason).with(remedy_for_hold(key.kind, hold.since, &approve, findings.now))
        }
        Some(step) => view.obstacle(&findings.id, step),
        None if findings.to_send.is_some() => in_wazzup(findings, crm),
        None if findings.snapshot.is_some() => Advice::good(
            "not in Wazzup as far as we know; a request got no answer, so the next cycles make certain of that",
        ),
        None => not_ours(findings, crm),
    }
}

fn sent(findings: &Findings, change: Change) -> Advice {
    let advice = Advice::warning(match change {
        Change::Add => "not in Wazzup yet; the next cycle adds the user",
        Change::Adopt => "in Wazzup already under the same name; the next cycle adopts the user",
        Change::TakeOver => "in Wazzup already; the next cycle takes the user over",
        Change::Update => "changed in the CRM; the next cycle sends the change",
        Change::Release => "the next cycle takes the phone away, so that somebody else can have it",
        Change::Resend => "it is uncertain what Wazzup has; the next cycle sends the user again",
    });
    let once = findings.invocation.command("once");
    advice.with(format!(
        "nothing, if a daemon is running; otherwise, {once} runs one cycle"
    ))
}

/// An employee about whom nothing has to be done, as far as we know.
fn in_wazzup(findings: &Findings, crm: &InCrm) -> Advice {
    let wanted = findings.to_send.as_ref().map(|wanted| wanted.name.as_str());
    let edit = match &findings.wazzup {
        Live::Absent => Some("Wazzup no longer has this user"),
        Live::There(user) if wanted != Some(user.name.trim()) => Some("Wazzup has this user under another name"),
        Live::There(_) | Live::Unknown { .. } => None,
    };
    if let Some(edit) = edit {
        let retry = findings.invocation.command_for("retry", &findings.id);
        return Advice::bad(edit).with(format!(
            "the next comparison with Wazzup's list corrects this; {retry} does so in the next cycle"
        ));
    }
    if let Some(failure) = findings.failure(Operation::Phone) {
        let reason = format!("in Wazzup, but not with the phone of the CRM ({})", failure.code);
        return Advice::warning(reason).with(if crm.same_phone.is_empty() {
            "correct the phone in the CRM; if it is right, see whether another user in Wazzup has it"
        } else {
            "let only one person have this phone in the CRM"
        });
    }
    Advice::good(match &findings.wazzup {
        _ if !findings.lost.is_empty() => {
            "in sync, but not settled yet: the next cycles send the user again to be certain"
        }
        Live::Unknown { .. } => "in sync as far as we know: Wazzup could not be asked",
        _ => "in sync: Wazzup has what the CRM wants",
    })
}

/// Not one of our users, or not any more, and the CRM does not want the person in Wazzup.
fn not_ours(findings: &Findings, crm: &InCrm) -> Advice {
    let newest = findings.history.first();
    let removal = newest.filter(|entry| entry.operation == HistoryOperation::Remove);
    let mut reason = NO_ACTIVE_ROW.to_owned();
    if let Some(removal) = removal {
        reason.push_str(&format!("; removed from Wazzup {}", ago(findings.now, removal.at)));
    }
    reason.push_str(match &findings.wazzup {
        Live::There(_) => "; somebody else created this user in Wazzup: not ours, left alone",
        Live::Absent => "; not in Wazzup",
        Live::Unknown { .. } => "; not one of our users, and Wazzup could not be asked",
    });
    if crm.missing_ids > 0 {
        let rows = counted(crm.missing_ids, "row");
        reason.push_str(&format!("; {rows} of the CRM without an id may be this person's"));
    }
    let is_known = removal.is_some() || !crm.rows.is_empty();
    let mark = match &findings.wazzup {
        Live::Absent if is_known => Mark::Ok,
        _ => Mark::Warning,
    };
    Advice::new(mark, reason).with(match (&findings.wazzup, crm.similar_ids.first()) {
        (Live::There(_), _) => "remove the user in Wazzup by hand, if nobody needs it".to_owned(),
        (_, Some(similar)) => {
            let explain = findings.invocation.command_for("explain", similar);
            format!("if “{similar}” is meant: {explain}")
        }
        (_, None) => format!("to have the person in Wazzup, {TO_BE_THERE}"),
    })
}
