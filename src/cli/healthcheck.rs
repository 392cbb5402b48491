//! `healthcheck`: for the container. Reads the state only.

use jiff::SignedDuration;

use super::{Context, Exit, page::say, text::ago};
use crate::{
    daemon,
    state::{Account, HeldLease},
};

pub(super) async fn healthcheck(context: &Context) -> anyhow::Result<Exit> {
    let state = &context.engine.state;
    let account = if state.is_there().await? {
        state.account_row().await?.unwrap_or_default()
    } else {
        Account::default()
    };
    let (exit, mut sentence) = judge(&account, &daemon::holder().host, context.engine.unhealthy_after);
    if exit != Exit::Ok {
        let status = context.invocation.command("status");
        sentence.push_str(&format!("; {status} and the log say why"));
    }
    say(&sentence)?;
    Ok(exit)
}

/// Healthy is an account of which a cycle ended without failing, recently enough; and a copy on this host that stands by
/// for a live one elsewhere.
fn judge(account: &Account, host: &str, unhealthy_after: SignedDuration) -> (Exit, String) {
    let now = account.now;
    let last = match account.last_success_at {
        Some(at) => format!("the last cycle that did not fail ended {}", ago(now, at)),
        None => "no cycle has succeeded yet".to_owned(),
    };
    let since_success = account.last_success_at.map(|at| now.duration_since(at));
    if since_success.is_some_and(|duration| duration <= unhealthy_after) {
        return (Exit::Ok, format!("healthy: {last}"));
    }
    if let Some(HeldLease { holder, expires_at }) = &account.lease
        && holder.host != host
        && *expires_at > now
    {
        let holder = &holder.name;
        let sentence = format!("healthy: standing by for {holder}, which holds the lease");
        return (Exit::Ok, sentence);
    }
    (Exit::Failed, format!("unhealthy: {last}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::state::Holder;

    #[test]
    fn a_copy_is_healthy_after_a_success_or_as_a_standby() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let limit = SignedDuration::from_mins(15);
        let account = |success_minutes: Option<i64>, lease: Option<(&str, i64)>| Account {
            now,
            last_success_at: success_minutes.map(|minutes| now - SignedDuration::from_mins(minutes)),
            lease: lease.map(|(host, seconds)| {
                let holder = Holder {
                    name: "there/1".to_owned(),
                    host: host.to_owned(),
                };
                HeldLease {
                    holder,
                    expires_at: now + SignedDuration::from_secs(seconds),
                }
            }),
            ..Account::default()
        };
        let judged = |success_minutes, lease| judge(&account(success_minutes, lease), "here", limit);
        let ended = |minutes: u8| format!("the last cycle that did not fail ended {minutes} min ago");
        let healthy = format!("healthy: {}", ended(15));
        assert_eq!(judged(Some(15), None), (Exit::Ok, healthy));
        let failing = format!("unhealthy: {}", ended(16));
        assert_eq!(judged(Some(16), Some(("here", 60))), (Exit::Failed, failing.clone()));
        assert_eq!(judged(Some(16), Some(("there", 0))), (Exit::Failed, failing));
        let never = "unhealthy: no cycle has succeeded yet".to_owned();
        assert_eq!(judged(None, None), (Exit::Failed, never));
        let standby = "healthy: standing by for there/1, which holds the lease".to_owned();
        assert_eq!(judged(None, Some(("there", 60))), (Exit::Ok, standby));
    }
}
