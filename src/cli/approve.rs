//! `approve`: lists what is held and approves exactly that.

use std::collections::BTreeSet;

use anyhow::bail;

use super::{
    Context, Exit,
    holds::{counted_holds, grouped, noun_for_hold},
    invocation::operator,
    page::{Mark, Page, note, say},
    question::Question,
    setup,
    text::{counted, listed_ids, noun_for},
};
use crate::{
    employee::Roster,
    plan::{Hold, HoldKey, HoldKind, Snapshot},
};

pub(super) async fn approve(
    context: &Context,
    ids: &[String],
    yes: bool,
    expected: Option<usize>,
) -> anyhow::Result<Exit> {
    let state = setup::state(&context.config);
    let snapshot = state.peek().await?.snapshot;
    let selection = Selection::of(&snapshot, ids)?;
    let count = selection.holds.len();
    if let Some(expected) = expected
        && expected != count
    {
        let are = if count == 1 { "is" } else { "are" };
        bail!("nothing was approved: {count} {are} held, and not {expected} as expected");
    }
    let mut page = Page::new();
    if selection.approved_earlier > 0 {
        let holds = counted(selection.approved_earlier, "hold");
        page.paragraph(&format!(
            "{holds} approved earlier: the next cycle carries out what is still due."
        ));
        page.blank();
    }
    if selection.holds.is_empty() {
        page.paragraph("Nothing waits for an approval.");
        page.print()?;
        return Ok(Exit::Ok);
    }
    let roster = read_roster(context, &selection).await?;
    for group in grouped(selection.holds.iter().copied()) {
        group.write_users(&mut page, &snapshot, roster.as_ref());
        page.marked("Held", Mark::Bad, &group.title(snapshot.users.len()));
        page.more(consequence(group.kind));
        page.blank();
    }
    page.print()?;
    if !yes {
        let command = context.invocation.command("approve --yes");
        selection
            .question()
            .ask("nothing was approved", "everything stays held", &command)?;
    }
    let operator = operator();
    let holds = selection.holds.iter();
    let approvals: Vec<(HoldKey, String)> = holds
        .map(|(key, hold)| ((*key).clone(), hold.content.clone()))
        .collect();
    state.order_approvals(&approvals, &operator).await?;
    let approved = selection.counted();
    say(&format!(
        "Approved by {operator}: {approved}. The next cycle does what was approved."
    ))?;
    Ok(Exit::Ok)
}

/// The holds in question.
#[derive(Debug)]
struct Selection<'a> {
    snapshot: &'a Snapshot,
    holds: Vec<(&'a HoldKey, &'a Hold)>,
    /// How many were approved already, and are not carried out yet.
    approved_earlier: usize,
}

impl<'a> Selection<'a> {
    /// The holds on `ids`, all of them if there are none.
    ///
    /// While the account is doubted, that is the only hold in question: the others belong to the account that is known.
    fn of(snapshot: &'a Snapshot, ids: &[String]) -> anyhow::Result<Self> {
        let held: BTreeSet<&str> = snapshot.holds.keys().filter_map(HoldKey::concerned_user).collect();
        let unknown: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !held.contains(id)).collect();
        if !unknown.is_empty() {
            let ids = noun_for(unknown.len(), "id");
            let shown = listed_ids(unknown);
            bail!("nothing was approved, because nothing is held about the {ids} {shown}");
        }
        let account = snapshot.holds.get(&HoldKey::account());
        let is_account_doubted = account.is_some_and(|hold| hold.approved.is_none());
        let is_meant = |key: &HoldKey| {
            if ids.is_empty() {
                !is_account_doubted || key.kind == HoldKind::Account
            } else {
                ids.iter().any(|id| **id == *key.user_id)
            }
        };
        let meant = snapshot.holds.iter().filter(|(key, _)| is_meant(key));
        let (approved, holds): (Vec<_>, Vec<_>) = meant.partition(|(_, hold)| hold.approved.is_some());
        Ok(Self {
            snapshot,
            holds,
            approved_earlier: approved.len(),
        })
    }

    fn count(&self, kind: HoldKind) -> usize {
        self.holds.iter().filter(|(key, _)| key.kind == kind).count()
    }

    /// `46 removals, 1 change`.
    fn counted(&self) -> String {
        if self.count(HoldKind::Account) > 0 {
            return format!("the {}", noun_for_hold(HoldKind::Account));
        }
        let kinds = HoldKind::ALL.into_iter().filter(|kind| self.count(*kind) > 0);
        let parts: Vec<String> = kinds.map(|kind| counted_holds(kind, self.count(kind))).collect();
        parts.join(", ")
    }

    fn question(&self) -> Question {
        let managed = self.snapshot.users.len();
        let users = counted(managed, "user");
        let holds = self.snapshot.holds.iter();
        let approved_removals = holds.filter(|(key, hold)| key.kind == HoldKind::Remove && hold.approved.is_some());
        let removals = self.count(HoldKind::Remove);
        let danger = if self.count(HoldKind::Account) > 0 {
            Some(format!(" {users} of the old account will be forgotten."))
        } else if removals > 0 && removals + approved_removals.count() >= managed {
            Some(format!(" This removes EVERYBODY from Wazzup: all {users}."))
        } else {
            None
        };
        Question {
            number: danger.is_some().then_some(managed),
            text: format!("Approve {}?{}", self.counted(), danger.unwrap_or_default()),
        }
    }
}

fn consequence(kind: HoldKind) -> &'static str {
    match kind {
        HoldKind::Account => {
            "Approving means: the other account is the right one from now on. What is known of the old account's users \
             is forgotten; everybody is looked for in the new one, adopted, or added."
        }
        HoldKind::Remove => "A removed user loses the role that was given in Wazzup.",
        HoldKind::Update => "The old values are overwritten in Wazzup.",
        HoldKind::Takeover => "Somebody else created these users in Wazzup; they get the CRM's name and phone.",
    }
}

/// Reads the CRM for the names of take-overs. Without them the names in Wazzup have to do, and a note says why.
async fn read_roster(context: &Context, selection: &Selection<'_>) -> anyhow::Result<Option<Roster>> {
    if selection.count(HoldKind::Takeover) == 0 {
        return Ok(None);
    }
    match setup::crm(&context.config).read().await {
        Ok(rows) => {
            let phones = &context.config.phone_reader;
            Ok(Some(rows.roster(phones.knowing(selection.snapshot.known_phones()))))
        }
        Err(error) => {
            note(&format!("the names in the CRM are not shown: {error}"))?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        employee::EmployeeId,
        plan::{Approval, User},
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
        let everything = Selection::of(&snapshot, &[]).unwrap();
        assert_eq!(everything.counted(), "1 removal, 1 change, 1 take-over");
        assert_eq!(everything.approved_earlier, 1);
        let some = Selection::of(&snapshot, &owned(&["3", "2"])).unwrap();
        assert_eq!((some.counted().as_str(), some.approved_earlier), ("1 change", 1));
        let unknown = Selection::of(&snapshot, &owned(&["3", "7", "x y"])).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "nothing was approved, because nothing is held about the ids 7, “x y”"
        );
        assert!(Selection::of(&snapshot, &owned(&[""])).is_err());
    }

    #[test]
    fn a_doubted_account_is_approved_alone_and_by_number() {
        let holds = [(HoldKind::Account, "", false), (HoldKind::Remove, "1", false)];
        let snapshot = snapshot(46, &holds);
        let selection = Selection::of(&snapshot, &[]).unwrap();
        assert_eq!(selection.holds.len(), 1);
        let question = selection.question();
        assert!(question.is_confirmed_by(" 46\n"));
        assert!(!question.is_confirmed_by("y"));
    }

    #[test]
    fn removing_everybody_needs_the_number() {
        let holds = [(HoldKind::Remove, "1", false), (HoldKind::Remove, "2", true)];
        let all = snapshot(2, &holds);
        let question = Selection::of(&all, &[]).unwrap().question();
        assert!(question.is_confirmed_by("2"));
        assert!(!question.is_confirmed_by("yes"));
        let some = snapshot(3, &holds);
        let question = Selection::of(&some, &[]).unwrap().question();
        assert_eq!(question.text, "Approve 1 removal?");
        assert!(question.is_confirmed_by("Y"));
        assert!(!question.is_confirmed_by(""));
        assert!(!question.is_confirmed_by("1"));
    }
}
