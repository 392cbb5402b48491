//! What `check` says about Wazzup.

use tokio_util::sync::CancellationToken;

use super::{
    super::text::counted,
    Findings, Setup,
    report::{Report, Subject},
};
use crate::{
    delivery::{Interruption, Request, Verdict},
    plan::Coverage,
    wazzup::{Client, Error, Gate},
};

/// What was found out about Wazzup.
#[derive(Debug)]
pub(super) enum WazzupFindings {
    /// There is no usable key.
    NoKey(Error),
    /// What one cheap request came to.
    Asked(Verdict),
}

impl WazzupFindings {
    /// Whether Wazzup answers and accepts the key.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self, Self::Asked(Verdict::Accepted { .. }))
    }
}

pub(super) async fn ask_wazzup(client: &Client) -> WazzupFindings {
    match client.session(Gate::without_lease(CancellationToken::new())) {
        Ok(session) => WazzupFindings::Asked(session.send(&Request::Ping).await.verdict),
        Err(error) => WazzupFindings::NoKey(error),
    }
}

const REMEDY_FOR_KEY: &str = "put an API key from the account's settings in place; no restart is needed";

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let url = &setup.config.wazzup.base_url;
    let answers = format!("{url} answers");
    match &findings.wazzup {
        WazzupFindings::NoKey(Error::Key { file, problem }) => {
            let key = match file {
                Some(file) => format!("the key in {} {problem}", file.display()),
                None => format!("the key {problem}"),
            };
            report.failed(
                Subject::ApiKey,
                key,
                "put an API key from the account's settings there; this user must be able to read it",
            );
        }
        WazzupFindings::NoKey(error) => report.failed(Subject::ApiKey, error.to_string(), REMEDY_FOR_KEY),
        WazzupFindings::Asked(Verdict::Accepted { .. }) => {
            report.good(Subject::Wazzup, answers);
            report.good(Subject::ApiKey, "accepted");
            report_list(report, findings);
        }
        WazzupFindings::Asked(Verdict::Interrupted(Interruption::Unauthorized)) => {
            report.good(Subject::Wazzup, answers);
            let message = "refused (401): it is not, or no longer, a key of a Wazzup account";
            report.failed(Subject::ApiKey, message, REMEDY_FOR_KEY);
        }
        WazzupFindings::Asked(Verdict::Interrupted(Interruption::Forbidden)) => {
            report.good(Subject::Wazzup, answers);
            let message = "refused (403): it is probably of the wrong type (\"sidecar\")";
            report.failed(Subject::ApiKey, message, REMEDY_FOR_KEY);
        }
        WazzupFindings::Asked(Verdict::Interrupted(Interruption::Unavailable(reason))) => {
            report_unavailable(report, url.as_str(), reason);
        }
        WazzupFindings::Asked(Verdict::Interrupted(Interruption::NotSent(reason))) => {
            report_unavailable(report, url.as_str(), &reason.to_string());
        }
        WazzupFindings::Asked(Verdict::Refused(refusal) | Verdict::NoDecision(refusal)) => {
            report_unavailable(report, url.as_str(), &refusal.to_string());
        }
    }
}

fn report_unavailable(report: &mut Report, url: &str, reason: &str) {
    report.failed(
        Subject::Wazzup,
        format!("{url}: {reason}"),
        "correct wazzup.base_url, or look at DNS, firewall and proxy; an outage of Wazzup passes by itself",
    );
}

fn report_list(report: &mut Report, findings: &Findings) {
    let Some(view) = &findings.plan else {
        return;
    };
    match (view.list.coverage(), &view.list_problem) {
        (Coverage::Complete, _) => {
            let users = counted(view.list.len(), "user");
            report.good(Subject::List, format!("complete: {users}"));
        }
        (Coverage::Incomplete(reason), _) => report.warning(
            Subject::List,
            format!("it does not prove to be complete: {reason}"),
            "run `check` again later; meanwhile, users who were deleted by hand are not noticed",
        ),
        (Coverage::Unavailable(reason), _) | (Coverage::Unread, Some(reason)) => report_no_list(report, reason),
        (Coverage::Unread, None) => {}
    }
}

fn report_no_list(report: &mut Report, reason: &str) {
    report.failed(Subject::List, reason, "run `check` again: Wazzup answered a moment ago");
}
