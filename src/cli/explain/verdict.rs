//! What it comes to, and what to do about it.

use jiff::SignedDuration;

use super::{Facts, InCrm, InState, Live, Planned};
use crate::{
    cli::text::{Mark, ago, counted_len, in_words, until},
    employee::EmployeeId,
    plan::{Managed, printable},
    state::OpenFailure,
};

/// The answer to "why is Anna not in Wazzup?".
#[derive(Debug)]
pub(super) struct Verdict {
    pub mark: Mark,
    pub text: String,
    pub remedy: Option<String>,
}

fn verdict(mark: Mark, text: impl Into<String>, remedy: &str) -> Verdict {
    Verdict {
        mark,
        text: text.into(),
        remedy: Some(remedy.to_owned()).filter(|it| !it.is_empty()),
    }
}

pub(super) fn of(facts: &Facts) -> Verdict {
    match (&facts.crm, &facts.state) {
        (Ok(crm), Ok(state)) => known(facts, crm, state),
        (Err(_), Ok(state)) => without_crm(state),
        (Ok(crm), Err(_)) => without_state(crm),
        (Err(_), Err(_)) => verdict(
            Mark::Bad,
            "cannot be told: neither the CRM nor the state can be read",
            "`wazzup-sync check` says what is wrong with them",
        ),
    }
}

fn without_crm(state: &InState) -> Verdict {
    let text = match &state.user {
        Some(_) => "one of our users; as long as the CRM cannot be read, nothing about it changes",
        None => "not one of our users; whether it should be cannot be told without the CRM",
    };
    verdict(Mark::Bad, text, "`wazzup-sync check` says why the CRM cannot be read")
}

fn without_state(crm: &InCrm) -> Verdict {
    let text = match (&crm.entry, crm.rejected) {
        (_, Some(code)) => format!("its row cannot be taken ({code})"),
        (Some(_), None) => "the CRM wants it in Wazzup".into(),
        (None, None) => "the CRM does not want it in Wazzup".into(),
    };
    let text = format!("{text}; what was done about it cannot be told without the state");
    verdict(Mark::Bad, text, "`wazzup-sync check` says why the state cannot be read")
}

fn known(facts: &Facts, crm: &InCrm, state: &InState) -> Verdict {
    if let Some(code) = crm.rejected {
        let (why, remedy) = code.detail().split_once(": ").unwrap_or((code.detail(), ""));
        let stays = match &state.user {
            Some(_) => "; its user in Wazzup stays as it is",
            None => "",
        };
        return verdict(Mark::Bad, format!("not synced, {code}: {why}{stays}"), remedy);
    }
    if EmployeeId::parse(&facts.id).is_err() {
        let rows = counted_len(crm.missing_ids, "row");
        let text = format!("no id that an employee could have; {rows} of the CRM without an id");
        return verdict(
            Mark::Warning,
            text,
            "an id has 1 to 200 characters and is neither `.` nor `..`",
        );
    }
    if crm.entry.is_some() {
        wanted(facts, crm, state)
    } else {
        unwanted(facts, crm, state)
    }
}

fn failure<'a>(state: &'a InState, operation: &str) -> Option<&'a OpenFailure> {
    state.failures.iter().find(|it| it.operation == operation)
}

/// The CRM wants it in Wazzup.
fn wanted(facts: &Facts, crm: &InCrm, state: &InState) -> Verdict {
    let upsert = failure(state, "upsert").filter(|it| it.next_attempt_at.is_some());
    match (&state.planned, upsert) {
        (Some(Planned::BackOff), Some(it)) => {
            let next = it.next_attempt_at.map_or_else(String::new, |at| until(state.now, at));
            let text = format!(
                "failing, {}: {}; the next attempt is {next}",
                it.code,
                printable(&it.detail)
            );
            verdict(Mark::Bad, text, refused(&it.code))
        }
        (Some(Planned::WaitForSeat), _) => verdict(
            Mark::Warning,
            "waits for a seat: the account has no room for another user",
            "remove users in Wazzup or book more seats; then `wazzup-sync retry` tries at once",
        ),
        (Some(Planned::Send(_) | Planned::Release | Planned::BackOff), _) => to_be_sent(facts, state, upsert),
        _ => in_wazzup(facts, crm, state),
    }
}

fn refused(code: &str) -> &'static str {
    match code {
        "INVALID_USERS_DATA" => "correct id and name in the CRM: what changed is sent in the next cycle",
        _ => "`wazzup-sync retry ID` tries in the next cycle; Wazzup's support can look the request up",
    }
}

fn to_be_sent(facts: &Facts, state: &InState, failed: Option<&OpenFailure>) -> Verdict {
    let what = match (&facts.live, &state.user) {
        (Live::There(_), None) => "is in Wazzup already, and taken over by the next cycle",
        (_, None) => "not in Wazzup yet: the next cycle adds it",
        (_, Some(user)) if user.takes_a_seat() => "not in Wazzup, or not for certain: the next cycle adds it",
        (_, Some(user)) if user.marks().in_doubt.is_some() => {
            "it is in doubt what Wazzup has: the next cycle sends it once more"
        }
        (_, Some(_)) => "changed in the CRM: the next cycle sends it",
    };
    let text = match failed {
        Some(it) => format!("{what}; the last attempt failed ({})", it.code),
        None => what.into(),
    };
    let remedy = "nothing, if the daemon runs: `wazzup-sync status`. `wazzup-sync once` runs a cycle now";
    verdict(Mark::Warning, text, remedy)
}

/// Nothing is to be sent.
fn in_wazzup(facts: &Facts, crm: &InCrm, state: &InState) -> Verdict {
    let name = crm
        .entry
        .as_ref()
        .map(|it| it.employee.name.as_str())
        .unwrap_or_default();
    match &facts.live {
        Live::Absent => {
            return verdict(
                Mark::Bad,
                "we gave it to Wazzup, and it is not there any more: somebody deleted it there",
                "`wazzup-sync retry ID` adds it again in the next cycle; the next comparison would, too",
            );
        }
        Live::There(user) if user.name.trim() != name => {
            return verdict(
                Mark::Warning,
                "somebody renamed it in Wazzup",
                "`wazzup-sync retry ID` puts the CRM's name back; the next comparison would, too",
            );
        }
        _ => {}
    }
    if let Some(it) = failure(state, "phone") {
        let (why, _) = it.detail.split_once(": ").unwrap_or((&it.detail, ""));
        let text = format!("in Wazzup, but without the phone, {}: {}", it.code, printable(why));
        let remedy = match it.code.as_str() {
            "DUPLICATE_PHONE_NUMBER" => {
                "one phone belongs to one person: correct it in the CRM, or at the user in Wazzup who has it"
            }
            _ => "correct the phone in the CRM: the next cycle sends it",
        };
        return verdict(Mark::Warning, text, remedy);
    }
    match &facts.live {
        Live::Unknown(_) => verdict(Mark::Good, "in sync, as far as we know: Wazzup could not be asked", ""),
        _ => verdict(Mark::Good, "in sync: Wazzup has what the CRM wants", ""),
    }
}

/// The CRM does not want it in Wazzup.
fn unwanted(facts: &Facts, crm: &InCrm, state: &InState) -> Verdict {
    let why = match (crm.rows.is_empty(), crm.rows.iter().any(|row| row.is_active)) {
        (false, false) => "its row in the CRM is not active",
        _ => "the CRM does not have it",
    };
    match &state.user {
        Some(user) => leaving(facts, crm, state, user, why),
        None => not_ours(facts, crm, state, why),
    }
}

/// One of our users that has to go, some time.
fn leaving(facts: &Facts, crm: &InCrm, state: &InState, user: &Managed, why: &str) -> Verdict {
    let (now, marks) = (state.now, user.marks());
    let back = "if it is a mistake, put the row back in the CRM";
    if !facts.policy.remove {
        let text = format!("{why}; it stays in Wazzup, since removals.policy is \"keep\"");
        return verdict(Mark::Warning, text, "");
    }
    if let Some(it) = failure(state, "remove").filter(|_| matches!(state.planned, Some(Planned::Stay))) {
        let next = it.next_attempt_at.map_or_else(String::new, |at| until(now, at));
        let text = format!(
            "{why}, and its removal failed, {}: {}; the next attempt is {next}",
            it.code,
            printable(&it.detail)
        );
        return verdict(
            Mark::Bad,
            text,
            "remove it in Wazzup by hand, or `wazzup-sync retry ID`",
        );
    }
    match &state.planned {
        Some(Planned::Hold(reason)) => {
            let reason = reason.map_or_else(String::new, |it| format!(" ({it})"));
            let text = format!("{why}, and its removal is held{reason}");
            verdict(
                Mark::Bad,
                text,
                "`wazzup-sync approve` lets all held removals go; who comes back to the CRM stays",
            )
        }
        Some(Planned::Remove) if marks.approved_at.is_some() => {
            let text = format!("{why}, and its removal is approved: the next cycle removes it");
            verdict(Mark::Warning, text, back)
        }
        Some(Planned::Stay) if marks.remove_again_at.is_some() => {
            let text = "removed; a request without an answer may still bring it back, so it is removed once more";
            verdict(Mark::Good, text, "")
        }
        Some(Planned::Stay) => {
            let absent_for = marks
                .absent_since
                .map_or(SignedDuration::ZERO, |at| now.duration_since(at));
            let left = in_words(facts.policy.grace - absent_for);
            let text = format!("{why}; in grace: it is removed in {left}, unless it comes back");
            verdict(Mark::Warning, text, back)
        }
        _ if crm.missing_ids > 0 => verdict(Mark::Warning, format!("{why}; the next cycle holds its removal"), back),
        _ => verdict(Mark::Warning, format!("{why}: the next cycle removes it"), back),
    }
}

/// Not one of our users (any more).
fn not_ours(facts: &Facts, crm: &InCrm, state: &InState, why: &str) -> Verdict {
    let removed = state.history.first().filter(|it| it.operation == "remove");
    let add = if crm.rows.is_empty() {
        "to have it in Wazzup, add a row with exactly this id to the CRM"
    } else {
        "to have it in Wazzup, make its row in the CRM active"
    };
    match (&facts.live, removed) {
        (Live::There(_), Some(it)) => verdict(
            Mark::Warning,
            format!(
                "we removed it {} ({why}), and somebody created it again in Wazzup: foreign, left alone",
                ago(state.now, it.at)
            ),
            "remove it in Wazzup by hand, if it should not be there",
        ),
        (Live::There(_), None) => verdict(
            Mark::Warning,
            format!("foreign: it exists in Wazzup, and {why}. We never touched it and leave it alone"),
            "with a row of exactly this id in the CRM it would be taken over",
        ),
        (_, Some(it)) => verdict(
            Mark::Good,
            format!("removed from Wazzup {}; {why}", ago(state.now, it.at)),
            add,
        ),
        (Live::Absent, None) if crm.rows.is_empty() => {
            let text = "unknown everywhere: neither in the CRM, nor among our users, nor in Wazzup";
            verdict(
                Mark::Warning,
                text,
                &format!("is the id right? Ids count letter by letter; {add}"),
            )
        }
        (Live::Absent, None) => verdict(Mark::Good, format!("not in Wazzup: {why}"), add),
        (Live::Unknown(_), None) => verdict(
            Mark::Warning,
            format!("not one of our users, and {why}; Wazzup could not be asked about it"),
            add,
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        crm::CrmRow,
        employee::{Code, Employee, Entry, FullName},
        plan::{Acknowledged, Marks, Policy},
        state::HistoryEntry,
        wazzup::RemoteUser,
    };

    fn name(text: &str) -> FullName {
        FullName::parse(text).expect("a name")
    }

    fn there(text: &str) -> Live {
        Live::There(RemoteUser {
            id: "7".into(),
            name: text.into(),
            phone: None,
        })
    }

    fn row(is_active: bool) -> CrmRow {
        CrmRow {
            id: "7".into(),
            name: Some("Anna".into()),
            phone: None,
            is_active,
        }
    }

    /// Anna, number 7, whom nobody knows yet but Wazzup where `live` says so.
    fn facts(planned: Planned, live: Live) -> Facts {
        Facts {
            id: "7".into(),
            crm: Ok(InCrm::default()),
            state: Ok(InState {
                planned: Some(planned),
                ..InState::default()
            }),
            live,
            policy: Policy {
                remove: true,
                hold_above: 5,
                hold_above_percent: 10,
                grace: SignedDuration::from_hours(2),
            },
        }
    }

    fn with_row(mut facts: Facts, is_active: bool) -> Facts {
        let crm = facts.crm.as_mut().expect("the CRM");
        crm.rows = vec![row(is_active)];
        crm.entry = is_active.then(|| Entry {
            employee: Employee {
                id: EmployeeId::parse("7").expect("an id"),
                name: name("Anna"),
                phone: None,
            },
            spelling: None,
            unreadable_phone: false,
        });
        facts
    }

    fn with_user(mut facts: Facts, marks: Marks) -> Facts {
        let anna = Acknowledged {
            name: name("Anna"),
            phone: None,
        };
        let user = Managed::new(EmployeeId::parse("7").expect("an id"), Some(anna), None).with_marks(marks);
        facts.state.as_mut().expect("the state").user = Some(user);
        facts
    }

    fn with_failure(mut facts: Facts, operation: &str, code: &str) -> Facts {
        let now = Timestamp::UNIX_EPOCH;
        facts.state.as_mut().expect("the state").failures.push(OpenFailure {
            user_id: "7".into(),
            operation: operation.into(),
            code: code.into(),
            detail: "a reason: a remedy".into(),
            request_id: None,
            attempts: 2,
            first_at: now,
            next_attempt_at: Some(now + SignedDuration::from_mins(5)),
        });
        facts
    }

    fn removed(mut facts: Facts) -> Facts {
        facts.state.as_mut().expect("the state").history.push(HistoryEntry {
            at: Timestamp::UNIX_EPOCH,
            cycle_id: 1,
            operation: "remove".into(),
            outcome: "delivered".into(),
            before: (Some("Anna".into()), None),
            after: (None, None),
        });
        facts
    }

    #[test]
    fn each_way_ends_in_its_verdict() {
        use Planned::{BackOff, Hold, Nothing, Remove, Stay, Unchanged, WaitForSeat};

        let at = Some(Timestamp::UNIX_EPOCH);
        let absent = |more: fn(&mut Marks)| {
            let mut marks = Marks {
                absent_since: at,
                ..Marks::default()
            };
            more(&mut marks);
            marks
        };
        let user = |planned, live| with_user(with_row(facts(planned, live), true), Marks::default());
        let gone = |planned, marks| with_user(facts(planned, there("Anna")), marks);
        let mut rejected = with_row(facts(Planned::Reject, Live::Absent), false);
        rejected.crm.as_mut().expect("the CRM").rejected = Some(Code::DuplicateId);
        let mut keep = gone(Stay, absent(|_| {}));
        keep.policy.remove = false;
        let down = || Live::Unknown("down".into());

        let cases = [
            (user(Unchanged, there("Anna")), "in sync: "),
            (user(Unchanged, down()), "in sync, as far as we know"),
            (user(Unchanged, Live::Absent), "somebody deleted it there"),
            (user(Unchanged, there("Ann")), "somebody renamed it"),
            (with_row(facts(BackOff, Live::Absent), true), "adds it"),
            (
                with_failure(user(BackOff, there("Anna")), "upsert", "HTTP_500"),
                "failing, HTTP_500: a reason: a remedy; the next attempt is in 5 min",
            ),
            (
                with_failure(user(Unchanged, there("Anna")), "phone", "INVALID_PHONE"),
                "in Wazzup, but without the phone",
            ),
            (user(WaitForSeat, Live::Absent), "waits for a seat"),
            (rejected, "not synced, DUPLICATE_ID"),
            (
                gone(Hold(None), absent(|it| it.held_since = it.absent_since)),
                "is held",
            ),
            (
                gone(Remove, absent(|it| it.approved_at = it.absent_since)),
                "is approved",
            ),
            (gone(Remove, Marks::default()), "the next cycle removes it"),
            (gone(Stay, absent(|_| {})), "in grace: it is removed in 2 h"),
            (
                gone(Stay, absent(|it| it.remove_again_at = it.absent_since)),
                "it is removed once more",
            ),
            (
                with_failure(gone(Stay, absent(|_| {})), "remove", "HTTP_500"),
                "its removal failed, HTTP_500",
            ),
            (keep, "since removals.policy is"),
            (removed(facts(Nothing, Live::Absent)), "removed from Wazzup 0 s ago"),
            (removed(facts(Nothing, there("Anna"))), "created it again"),
            (facts(Nothing, there("Anna")), "foreign: "),
            (facts(Nothing, Live::Absent), "unknown everywhere"),
            (facts(Nothing, down()), "Wazzup could not be asked"),
            (
                with_row(facts(Nothing, Live::Absent), false),
                "its row in the CRM is not active",
            ),
        ];
        for (facts, expected) in cases {
            let verdict = of(&facts);
            assert!(
                verdict.text.contains(expected),
                "{expected:?} is not in {:?}",
                verdict.text
            );
        }
    }
}
