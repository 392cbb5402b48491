//! `approve`: lists what is held and approves exactly that.

use std::collections::BTreeSet;

use anyhow::bail;

use super::{
    Context, Exit,
    holds::{counted_holds, grouped},
    page::{Advice, Page, say},
    question::Question,
    text::{counted, listed_ids},
};
use crate::{
    daemon,
    plan::{HoldKey, HoldKind, Holds, Snapshot},
};

pub(super) async fn approve(
    context: &Context,
    ids: &[String],
    yes: bool,
    expected: Option<usize>,
) -> anyhow::Result<Exit> {
    let state = &context.engine.state;
    let snapshot = state.peek().await?.snapshot;
    let holds = select(&snapshot, ids)?;
    if let Some(expected) = expected
        && expected != holds.len()
    {
        let (expected, found) = (counted(expected, "hold"), holds.len());
        bail!("nothing was approved: expected {expected}, found {found}");
    }
    if holds.is_empty() {
        say("Nothing needs approval. What `plan` shows as held can be approved after the next cycle.")?;
        return Ok(Exit::Ok);
    }
    let mut page = Page::new();
    for group in grouped(&holds) {
        group.write_users(&mut page, &snapshot);
        page.advice("held", &Advice::bad(group.title(snapshot.users.len())));
        page.blank();
    }
    if holds.keys().any(|key| key.kind == HoldKind::Remove) {
        page.paragraph("Whoever is removed loses the role that an administrator gave in Wazzup.");
    }
    page.print()?;
    if !yes {
        let command = context.invocation.command("approve --yes");
        question(&snapshot, &holds).ask("nothing was approved", "everything stays held", &command)?;
    }
    let operator = daemon::operator();
    state.order_approvals(&holds, &operator).await?;
    let approved = counted_holds(holds.keys());
    say(&format!(
        "Approved by {operator}: {approved}. The next cycle carries this out."
    ))?;
    Ok(Exit::Ok)
}

/// The holds on `ids` that wait for an approval, all of them if there are no ids.
///
/// While the account is doubted, that is the only hold in question: the others belong to the account that is known.
fn select(snapshot: &Snapshot, ids: &[String]) -> anyhow::Result<Holds> {
    let held: BTreeSet<&str> = snapshot.holds.keys().filter_map(HoldKey::concerned_user).collect();
    let unknown: Vec<&String> = ids.iter().filter(|id| !held.contains(id.as_str())).collect();
    if !unknown.is_empty() {
        bail!("nothing was approved: no hold concerns {}", listed_ids(unknown));
    }
    let mut holds = snapshot.holds.clone();
    holds.retain(|_, hold| hold.approved.is_none());
    let is_account_doubted = holds.contains_key(&HoldKey::account());
    holds.retain(|key, _| {
        if ids.is_empty() {
            !is_account_doubted || key.kind == HoldKind::Account
        } else {
            ids.iter().any(|id| **id == *key.user_id)
        }
    });
    Ok(holds)
}

fn question(snapshot: &Snapshot, holds: &Holds) -> Question {
    let mut removals = holds.clone();
    removals.retain(|key, _| key.kind == HoldKind::Remove);
    let held_since = removals.values().map(|hold| hold.since).min();
    // Whoever was added since does not count: the others are everybody all the same.
    let newcomers = held_since.map_or(0, |since| snapshot.newcomers_since(since));
    let managed = snapshot.users.len() - newcomers;
    let mut approved_removals = snapshot.holds.clone();
    approved_removals.retain(|key, hold| key.kind == HoldKind::Remove && hold.approved.is_some());
    let danger = if holds.contains_key(&HoldKey::account()) {
        let users = counted(managed, "user");
        Some(format!(" {users} of the old account will be forgotten."))
    } else if !removals.is_empty() && removals.len() + approved_removals.len() >= managed {
        Some(format!(
            " This removes EVERY user that we manage in Wazzup ({managed})."
        ))
    } else {
        None
    };
    let approved = counted_holds(holds.keys());
    Question {
        number: danger.is_some().then_some(managed),
        text: format!("Approve {approved}?{}", danger.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        employee::EmployeeId,
        plan::{Approval, Hold, User},
    };

    /// Managed users `1` to `count`, and holds.
    fn snapshot(count: usize, holds: &[(HoldKind, &str, bool)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for number in 1..=count {
            let id = EmployeeId::parse(&number.to_string()).unwrap();
            snapshot.users.insert(id, User::default());
        }
        for (kind, id, is_approved) in holds {
            let hold = Hold {
                content: "content".to_owned(),
                crm_row: None,
                reason: "reason".to_owned(),
                since: Timestamp::UNIX_EPOCH,
                sticky: false,
                approved: is_approved.then(|| Approval {
                    at: Timestamp::UNIX_EPOCH,
                    by: "anna@desk".to_owned(),
                }),
            };
            snapshot.holds.insert(HoldKey::new(*kind, id), hold);
        }
        snapshot
    }

    fn owned(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn ids_select_what_is_held_about_them() {
        let snapshot = snapshot(
            9,
            &[
                (HoldKind::Remove, "1", false),
                (HoldKind::Remove, "2", true),
                (HoldKind::Update, "3", false),
                (HoldKind::Takeover, "x", false),
            ],
        );
        let selected = |ids: &[&str]| counted_holds(select(&snapshot, &owned(ids)).unwrap().keys());
        assert_eq!(selected(&[]), "1 removal, 1 change, 1 take-over");
        assert_eq!(selected(&["3", "2"]), "1 change");
        let unknown = select(&snapshot, &owned(&["3", "7", "x y"])).unwrap_err();
        assert_eq!(unknown.to_string(), "nothing was approved: no hold concerns 7, “x y”");
        assert!(select(&snapshot, &owned(&[""])).is_err());
    }

    #[test]
    fn a_doubted_account_is_approved_alone_and_by_number() {
        let holds = [(HoldKind::Account, "", false), (HoldKind::Remove, "1", false)];
        let snapshot = snapshot(46, &holds);
        let holds = select(&snapshot, &[]).unwrap();
        assert_eq!(holds.len(), 1);
        let question = question(&snapshot, &holds);
        assert!(question.is_confirmed_by(" 46\n"));
        assert!(!question.is_confirmed_by("y"));
    }

    #[test]
    fn removing_everybody_needs_the_number() {
        let holds = [(HoldKind::Remove, "1", false), (HoldKind::Remove, "2", true)];
        let all = snapshot(2, &holds);
        let confirm_all = question(&all, &select(&all, &[]).unwrap());
        assert!(confirm_all.is_confirmed_by("2"));
        assert!(!confirm_all.is_confirmed_by("yes"));
        let some = snapshot(3, &holds);
        let question = question(&some, &select(&some, &[]).unwrap());
        assert_eq!(question.text, "Approve 1 removal?");
        assert!(question.is_confirmed_by("Y"));
        assert!(!question.is_confirmed_by(""));
        assert!(!question.is_confirmed_by("1"));
    }
}
