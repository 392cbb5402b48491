//! What `check` says about Wazzup.

use super::{
    super::{page::Advice, text::counted},
    Findings, Report, Setup,
};
use crate::{
    delivery::{Interruption, Verdict},
    plan::Coverage,
    wazzup::Error,
};

const REMEDY_FOR_KEY: &str = "put an API key from the account's settings in place; no restart is needed";
const REMEDY_FOR_SILENCE: &str =
    "correct wazzup.base_url, or look at DNS, firewall and proxy; an outage of Wazzup passes by itself";
const REMEDY_FOR_ADDRESS: &str = "correct wazzup.base_url, which usually ends with /v3";

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let url = &setup.config.wazzup.base_url;
    let verdict = match &findings.wazzup {
        Ok(verdict) => verdict,
        Err(error) => {
            let message = match error {
                Error::Key { file: None, problem } => format!("the key {problem}"),
                Error::Key {
                    file: Some(file),
                    problem,
                } => format!("the key in {} {problem}", file.display()),
                other => other.to_string(),
            };
            let remedy = "put an API key from the account's settings there; this user must be able to read it";
            report.add("API key", Advice::bad(message).with(remedy));
            return;
        }
    };
    let key = match verdict {
        Verdict::Accepted { .. } => Ok(Advice::good("accepted")),
        Verdict::Interrupted(Interruption::Unauthorized) => {
            let reason = "refused (401): it is not, or no longer, a key of a Wazzup account";
            Ok(Advice::bad(reason).with(REMEDY_FOR_KEY))
        }
        Verdict::Interrupted(Interruption::Forbidden) => {
            let reason = "refused (403): it is probably of the wrong type (\"sidecar\")";
            Ok(Advice::bad(reason).with(REMEDY_FOR_KEY))
        }
        Verdict::Interrupted(Interruption::Unavailable(reason)) => Err((reason.clone(), REMEDY_FOR_SILENCE)),
        Verdict::Interrupted(Interruption::NotSent(reason)) => Err((reason.to_string(), REMEDY_FOR_SILENCE)),
        Verdict::Refused(refusal) | Verdict::NoDecision(refusal) => Err((refusal.to_string(), REMEDY_FOR_ADDRESS)),
    };
    match key {
        Ok(key) => {
            report.add("Wazzup", Advice::good(format!("{url} answers")));
            report.add("API key", key);
            report_list(report, setup, findings);
        }
        Err((reason, remedy)) => {
            report.add("Wazzup", Advice::bad(format!("{url}: {reason}")).with(remedy));
        }
    }
}

fn report_list(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let Some(view) = &findings.plan else {
        return;
    };
    let check = setup.invocation.command("check");
    let advice = match (view.list.coverage(), &view.list_problem) {
        (Coverage::Complete, _) => Advice::good(format!("complete: {}", counted(view.list.len(), "user"))),
        (Coverage::Incomplete(reason), _) => Advice::warning(format!("it does not prove to be complete: {reason}"))
            .with(format!(
                "run {check} again later; meanwhile, users who were deleted by hand are not noticed"
            )),
        (Coverage::Unavailable(reason), _) | (Coverage::Unread, Some(reason)) => {
            Advice::bad(reason).with(format!("run {check} again: Wazzup answered a moment ago"))
        }
        (Coverage::Unread, None) => return,
    };
    report.add("User list", advice);
}
