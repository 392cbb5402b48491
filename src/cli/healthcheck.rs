//! `healthcheck`: for the container. Reads the state only.

use jiff::SignedDuration;

use super::{
    Context, Error, Exit,
    page::Page,
    setup,
    text::{ago, in_words, printable},
};
use crate::{daemon, state::Account};

pub(super) async fn healthcheck(context: &Context) -> Result<Exit, Error> {
    let state = setup::state(&context.config);
    let account = if state.is_there().await? {
        state.account_row().await?.unwrap_or_default()
    } else {
        Account::default()
    };
    let unhealthy_after = setup::signed(context.config.schedule.unhealthy_after);
    let health = judge(&account, &daemon::holder().host, unhealthy_after);
    let mut page = Page::new(0);
    match &health {
        Health::Succeeding => {
            let at = account.last_success_at.unwrap_or(account.now);
            let ago = ago(account.now, at);
            page.paragraph(&format!("healthy: the last cycle that did not fail ended {ago}"));
        }
        Health::StandingBy { holder } => {
            let holder = printable(holder);
            page.paragraph(&format!("healthy: standing by for {holder}, which holds the lease"));
        }
        Health::NeverSucceeded => page.paragraph("unhealthy: no cycle has succeeded yet"),
        Health::Failing { for_so_long } => page.paragraph(&format!(
            "unhealthy: the last cycle that did not fail ended {} ago; {} and the log say why",
            in_words(*for_so_long),
            context.invocation.command("status")
        )),
    }
    page.print()?;
    Ok(match health {
        Health::Succeeding | Health::StandingBy { .. } => Exit::Ok,
        Health::NeverSucceeded | Health::Failing { .. } => Exit::Failed,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Health {
    /// A cycle ended without failing, recently enough.
    Succeeding,
    /// A live process on another host holds the lease.
    StandingBy {
        holder: String,
    },
    NeverSucceeded,
    Failing {
        for_so_long: SignedDuration,
    },
}

fn judge(account: &Account, host: &str, unhealthy_after: SignedDuration) -> Health {
    let age = account.last_success_at.map(|at| account.now.duration_since(at));
    if age.is_some_and(|age| age <= unhealthy_after) {
        return Health::Succeeding;
    }
    if let Some((holder, expires_at)) = &account.lease
        && holder.host != host
        && *expires_at > account.now
    {
        return Health::StandingBy {
            holder: holder.name.clone(),
        };
    }
    match age {
        None => Health::NeverSucceeded,
        Some(for_so_long) => Health::Failing { for_so_long },
    }
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
                (holder, now + SignedDuration::from_secs(seconds))
            }),
            ..Account::default()
        };
        let judged = |account: &Account| judge(account, "here", limit);
        assert_eq!(judged(&account(Some(15), None)), Health::Succeeding);
        let failing = Health::Failing {
            for_so_long: SignedDuration::from_mins(16),
        };
        assert_eq!(judged(&account(Some(16), Some(("here", 60)))), failing);
        assert_eq!(judged(&account(Some(16), Some(("there", 0)))), failing);
        assert_eq!(judged(&account(None, None)), Health::NeverSucceeded);
        let standby = Health::StandingBy {
            holder: "there/1".to_owned(),
        };
        assert_eq!(judged(&account(None, Some(("there", 60)))), standby);
    }
}
