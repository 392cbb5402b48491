//! How the person stands after all this, and what to do about it.

use super::{
    super::{
        page::{Advice, Mark},
        plan::advice::{NO_ACTIVE_ROW, TO_BE_THERE},
        text::{ago, counted},
    },
    Findings,
};
use crate::{employee::Employee, plan::HoldKey, state::HistoryOperation};

pub(super) fn of(findings: &Findings) -> Advice {
    let Findings { id, crm, view, .. } = findings;
    if findings.crm_error.is_some() || findings.state_error.is_some() {
        let check = view.invocation.command("check");
        let reason = "the next step cannot be determined without both the CRM and the state";
        return Advice::bad(reason).with(format!("{check} says what to do about that"));
    }
    if let Some(problem) = crm.rejected {
        return Advice::bad(format!("nothing is sent: {}", problem.reason())).with(problem.remedy());
    }
    let entry = view.roster.get(id);
    let is_ours = view.snapshot.users.contains_key(id.as_str());
    let steps = view.plan.next_steps();
    // While the account is doubted, nothing of what is planned for the user happens.
    let is_concerned = entry.is_some() || is_ours;
    let doubt = steps.get(&*HoldKey::account().user_id).filter(|_| is_concerned);
    match (doubt.or_else(|| steps.get(id.as_str())), entry) {
        (Some(step), _) => view.advice(id, *step),
        (None, Some(entry)) => in_wazzup(findings, &entry.employee),
        (None, None) if is_ours => Advice::good(
            "not in Wazzup as far as we know; a request got no answer, so the next cycles make certain of that",
        ),
        (None, None) => not_ours(findings),
    }
}

/// An employee about whom nothing has to be done, as far as we know.
fn in_wazzup(findings: &Findings, employee: &Employee) -> Advice {
    let edit = match &findings.wazzup {
        Ok(None) => Some("Wazzup no longer has this user"),
        Ok(Some(user)) if employee.name.as_str() != user.name.trim() => Some("Wazzup has this user under another name"),
        Ok(Some(_)) | Err(_) => None,
    };
    if let Some(edit) = edit {
        let retry = findings.view.invocation.command_for("retry", &findings.id);
        return Advice::bad(edit).with(format!(
            "the next comparison with Wazzup's list corrects this; {retry} does so in the next cycle"
        ));
    }
    if let Some(failure) = findings.phone_failure() {
        let reason = format!("in Wazzup, but not with the phone of the CRM ({})", failure.code);
        return Advice::warning(reason).with(if findings.crm.same_phone.is_empty() {
            "correct the phone in the CRM; if it is right, see whether another user in Wazzup has it"
        } else {
            "let only one person have this phone in the CRM"
        });
    }
    Advice::good(match &findings.wazzup {
        _ if !findings.lost().is_empty() => {
            "in sync, but not settled yet: the next cycles send the user again to be certain"
        }
        Err(_) => "in sync as far as we know: Wazzup could not be asked",
        _ => "in sync: Wazzup has what the CRM wants",
    })
}

/// Not one of our users, or not any more, and the CRM does not want the person in Wazzup.
fn not_ours(findings: &Findings) -> Advice {
    let Findings { crm, view, .. } = findings;
    let newest = findings.history.first();
    let removal = newest.filter(|entry| entry.operation == HistoryOperation::Remove);
    let mut reason = NO_ACTIVE_ROW.to_owned();
    if let Some(removal) = removal {
        reason.push_str(&format!("; removed from Wazzup {}", ago(view.now, removal.at)));
    }
    reason.push_str(match &findings.wazzup {
        Ok(Some(_)) => "; somebody else created this user in Wazzup: not ours, left alone",
        Ok(None) => "; not in Wazzup",
        Err(_) => "; not one of our users, and Wazzup could not be asked",
    });
    if crm.missing_ids > 0 {
        let rows = counted(crm.missing_ids, "row");
        reason.push_str(&format!("; {rows} of the CRM without an id may be this person's"));
    }
    let is_known = removal.is_some() || !crm.rows.is_empty();
    let mark = match &findings.wazzup {
        Ok(None) if is_known => Mark::Ok,
        _ => Mark::Warning,
    };
    Advice::new(mark, reason).with(match (&findings.wazzup, crm.similar_ids.first()) {
        (Ok(Some(_)), _) => "remove the user in Wazzup by hand, if nobody needs it".to_owned(),
        (_, Some(similar)) => {
            let explain = view.invocation.command_for("explain", similar);
            format!("if “{similar}” is meant: {explain}")
        }
        (_, None) => format!("to have the person in Wazzup, {TO_BE_THERE}"),
    })
}
