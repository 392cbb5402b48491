//! What `check` says about Wazzup.

use super::{
    super::{page::Advice, text::counted},
    Findings, Report, Setup,
};
use crate::{delivery::Verdict, plan::Coverage, wazzup::Error};

const REMEDY_FOR_KEY: &str = "put an API key from the account's settings in place; no restart is needed";

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
    let silence = match verdict {
        Verdict::Accepted { .. } | Verdict::Unauthorized { .. } => None,
        Verdict::Unavailable(reason) => Some(reason.clone()),
        Verdict::Refused(refusal) | Verdict::NoDecision(refusal) => Some(refusal.to_string()),
        Verdict::NotSent(reason) => Some(reason.to_string()),
    };
    if let Some(reason) = silence {
        let remedy =
            "correct wazzup.base_url, or look at DNS, firewall and proxy; an outage of Wazzup passes by itself";
        report.add("Wazzup", Advice::bad(format!("{url}: {reason}")).with(remedy));
        return;
    }
    report.add("Wazzup", Advice::good(format!("{url} answers")));
    let key = match verdict {
        Verdict::Unauthorized { forbidden: true } => {
            Advice::bad("refused (403): it is probably of the wrong type (\"sidecar\")").with(REMEDY_FOR_KEY)
        }
        Verdict::Unauthorized { forbidden: false } => {
            Advice::bad("refused (401): it is not, or no longer, a key of a Wazzup account").with(REMEDY_FOR_KEY)
        }
        _ => Advice::good("accepted"),
    };
    report.add("API key", key);
    report_list(report, setup, findings);
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
