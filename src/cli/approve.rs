//! `approve`: lists what is held and approves exactly that.

use std::{
    env, fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use super::{
    Context, Error, Exit,
    holds::{HoldGroup, HoldNames, counted_holds, grouped},
    page::{Mark, Page},
    setup,
    text::{counted, listed_ids, noun_for, printable},
};
use crate::{
    daemon,
    employee::Roster,
    plan::{Hold, HoldKey, HoldKind, Snapshot},
};

/// Columns of the labels, as in `plan`.
const MARGIN: usize = 10;

/// How many ids a refusal names.
const IDS_SHOWN: usize = 10;

pub(super) async fn approve(
    context: &Context,
    ids: &[String],
    yes: bool,
    expected: Option<usize>,
) -> Result<Exit, Error> {
    let state = setup::state(&context.config);
    let snapshot = state.peek().await?.snapshot;
    let selection = Selection::of(&snapshot, ids);
    if !selection.unknown.is_empty() {
        return Err(Error::Refused(refusal_of_unknown(&selection.unknown)));
    }
    let count = selection.holds.len();
    if let Some(expected) = expected
        && expected != count
    {
        let are = if count == 1 { "is" } else { "are" };
        return Err(Error::Refused(format!(
            "nothing was approved: {count} {are} held, and not {expected} as expected"
        )));
    }
    let mut page = Page::new(MARGIN);
    selection.write_approved(&mut page);
    if selection.holds.is_empty() {
        page.paragraph("Nothing waits for an approval.");
        page.print()?;
        return Ok(Exit::Ok);
    }
    let roster = read_roster(context, &selection, &snapshot).await?;
    selection.write_holds(&mut page, &snapshot, roster.as_ref());
    page.print()?;
    if !yes && !is_confirmed(context, &selection.question(&snapshot))? {
        return Err(Error::Refused("nothing was approved: everything stays held".to_owned()));
    }
    let mut approvals: Vec<(HoldKey, String)> = Vec::new();
    for (key, hold) in &selection.holds {
        approvals.push(((*key).clone(), hold.content.clone()));
    }
    let operator = operator();
    state.order_approvals(&approvals, &operator).await?;
    let mut page = Page::new(MARGIN);
    page.paragraph(&format!(
        "Approved by {}: {}. The next cycle does what was approved.",
        printable(&operator),
        selection.counted()
    ));
    page.print()?;
    Ok(Exit::Ok)
}

/// The holds in question.
#[derive(Debug)]
struct Selection<'a> {
    /// Not approved yet.
    holds: Vec<(&'a HoldKey, &'a Hold)>,
    /// Approved earlier, and not carried out yet.
    approved: Vec<(&'a HoldKey, &'a Hold)>,
    /// Ids that were named and of which nothing is held.
    unknown: Vec<&'a str>,
}

impl<'a> Selection<'a> {
    /// The holds on `ids`, all of them if there are none.
    ///
    /// While the account is doubted, that is the only hold in question: the others belong to the account that is known.
    fn of(snapshot: &'a Snapshot, ids: &'a [String]) -> Self {
        let doubted = snapshot.holds.get(&HoldKey::account());
        let is_doubted = doubted.is_some_and(|hold| hold.approved.is_none());
        let is_meant = |key: &HoldKey| {
            if ids.is_empty() {
                !is_doubted || key.kind == HoldKind::Account
            } else {
                ids.iter().any(|id| **id == *key.user_id)
            }
        };
        let meant = snapshot.holds.iter().filter(|(key, _)| is_meant(key));
        let (approved, holds): (Vec<_>, Vec<_>) = meant.partition(|(_, hold)| hold.approved.is_some());
        let is_held = |id: &str| snapshot.holds.keys().any(|key| *key.user_id == *id && !id.is_empty());
        let unknown = ids.iter().map(String::as_str).filter(|id| !is_held(id)).collect();
        Self {
            holds,
            approved,
            unknown,
        }
    }

    /// `46 removals, 1 change`.
    fn counted(&self) -> String {
        let mut parts = Vec::new();
        for kind in HoldKind::ALL {
            let count = self.holds.iter().filter(|(key, _)| key.kind == kind).count();
            match kind {
                _ if count == 0 => {}
                HoldKind::Account => parts.push("the change to another Wazzup account".to_owned()),
                HoldKind::Remove | HoldKind::Update | HoldKind::Takeover => parts.push(counted_holds(kind, count)),
            }
        }
        parts.join(", ")
    }

    fn write_approved(&self, page: &mut Page) {
        if self.approved.is_empty() {
            return;
        }
        let holds = counted(self.approved.len(), "hold");
        page.paragraph(&format!(
            "{holds} approved earlier: the next cycle carries out what is still due."
        ));
        page.blank();
    }

    fn write_holds(&self, page: &mut Page, snapshot: &Snapshot, roster: Option<&Roster>) {
        let names = HoldNames { snapshot, roster };
        let groups: Vec<HoldGroup<'_>> = grouped(self.holds.iter().copied());
        for group in &groups {
            page.rows(&group.rows(names));
            page.marked("Held", Mark::Bad, &group.title(snapshot.users.len()));
            page.more(consequence(group.kind));
            page.blank();
        }
    }

    /// What has to be answered.
    fn question(&self, snapshot: &Snapshot) -> Question {
        let managed = snapshot.users.len();
        if self.holds.iter().any(|(key, _)| key.kind == HoldKind::Account) {
            let users = counted(managed, "user");
            return Question::Number {
                number: managed,
                text: format!("Forget {users} of the old account? Type the number of users to approve: "),
            };
        }
        let all = self.holds.iter().chain(&self.approved);
        let leaving = all.filter(|(key, _)| key.kind == HoldKind::Remove).count();
        if leaving > 0 && leaving >= managed {
            return Question::Number {
                number: leaving,
                text: format!("This removes EVERYBODY from Wazzup. Type the number of users ({leaving}) to approve: "),
            };
        }
        Question::YesOrNo {
            text: format!("Approve {}? [y/N] ", self.counted()),
        }
    }
}

/// What is asked on a terminal.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    YesOrNo {
        text: String,
    },
    /// So much is at stake that a slip of the finger must not approve it.
    Number {
        number: usize,
        text: String,
    },
}

impl Question {
    fn text(&self) -> &str {
        match self {
            Self::YesOrNo { text } | Self::Number { text, .. } => text,
        }
    }

    fn is_confirmed_by(&self, answer: &str) -> bool {
        let answer = answer.trim();
        match self {
            Self::YesOrNo { .. } => matches!(answer.to_lowercase().as_str(), "y" | "yes"),
            Self::Number { number, .. } => answer == number.to_string(),
        }
    }
}

fn is_confirmed(context: &Context, question: &Question) -> Result<bool, Error> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let command = context.invocation.command("approve --yes");
        return Err(Error::Usage(format!(
            "nothing was approved: there is no terminal to ask on; {command} approves without asking"
        )));
    }
    let mut out = io::stdout().lock();
    out.write_all(question.text().as_bytes())?;
    out.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(question.is_confirmed_by(&answer))
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
async fn read_roster(
    context: &Context,
    selection: &Selection<'_>,
    snapshot: &Snapshot,
) -> Result<Option<Roster>, Error> {
    if selection.holds.iter().all(|(key, _)| key.kind != HoldKind::Takeover) {
        return Ok(None);
    }
    match setup::crm(&context.config).read().await {
        Ok(rows) => {
            let phones = setup::phones(&context.config)?;
            Ok(Some(rows.roster(phones.knowing(snapshot.known_phones()))))
        }
        Err(error) => {
            super::page::note(&format!("the names in the CRM are not shown: {error}"))?;
            Ok(None)
        }
    }
}

fn refusal_of_unknown(unknown: &[&str]) -> String {
    let ids = noun_for(unknown.len(), "id");
    let shown = listed_ids(unknown.iter().copied(), IDS_SHOWN);
    format!("nothing was approved, because nothing is held about the {ids} {shown}")
}

/// Who gives an order: user and host.
pub(super) fn operator() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
    let mut names = names.filter_map(|variable| env::var(variable).ok().filter(|name| !name.trim().is_empty()));
    let user = names
        .next()
        .or_else(system_user)
        .unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", daemon::holder().host)
}

/// The name that the system has for our user; in a container there is often none.
fn system_user() -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let number = fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let names = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
    });
    Some(names.unwrap_or_else(|| format!("uid {number}")))
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
        let everything = Selection::of(&snapshot, &[]);
        assert_eq!(everything.counted(), "1 removal, 1 change, 1 take-over");
        assert_eq!(everything.approved.len(), 1);
        let ids = owned(&["3", "2", "7", ""]);
        let some = Selection::of(&snapshot, &ids);
        assert_eq!((some.counted().as_str(), some.approved.len()), ("1 change", 1));
        assert_eq!(some.unknown, ["7", ""]);
    }

    #[test]
    fn a_doubted_account_is_approved_alone_and_by_number() {
        let holds = [(HoldKind::Account, "", false), (HoldKind::Remove, "1", false)];
        let snapshot = snapshot(46, &holds);
        let selection = Selection::of(&snapshot, &[]);
        assert_eq!(selection.holds.len(), 1);
        let question = selection.question(&snapshot);
        assert!(question.is_confirmed_by(" 46\n"));
        assert!(!question.is_confirmed_by("y"));
    }

    #[test]
    fn removing_everybody_needs_the_number() {
        let holds = [(HoldKind::Remove, "1", false), (HoldKind::Remove, "2", true)];
        let all = snapshot(2, &holds);
        let question = Selection::of(&all, &[]).question(&all);
        assert!(question.is_confirmed_by("2"));
        assert!(!question.is_confirmed_by("yes"));
        let some = snapshot(3, &holds);
        let question = Selection::of(&some, &[]).question(&some);
        assert_eq!(question.text(), "Approve 1 removal? [y/N] ");
        assert!(question.is_confirmed_by("Y"));
        assert!(!question.is_confirmed_by(""));
        assert!(!question.is_confirmed_by("1"));
    }
}
