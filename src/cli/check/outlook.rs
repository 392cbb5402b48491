//! What the next cycle would do, and whether everybody will fit.

use serde_json::{Value, json};

use super::{
    super::{
        holds::{HoldGroup, grouped},
        plan::PlanView,
        text::{ago, counted},
    },
    Findings, Setup,
    report::{Report, Subject},
};
use crate::{
    config::RemovalPolicy,
    plan::{Change, Coverage, HoldKind, Plan, PlannedUpsert},
    state::Account,
};

/// The seats of an account, where Wazzup has not said how many there are (its documentation).
const DOCUMENTED_SEATS: usize = 1_000;

/// What the next cycle would do, in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    add: usize,
    adopt: usize,
    take_over: usize,
    change: usize,
    remove: usize,
    waiting: usize,
    unchanged: usize,
    requests: usize,
    held_removals: usize,
    held_updates: usize,
    held_takeovers: usize,
    account_doubted: bool,
}

impl Numbers {
    fn of(view: &PlanView) -> Self {
        let plan = &view.plan;
        let count = |changes: &[Change]| count_upserts(plan, |upsert| changes.contains(&upsert.entry.change));
        let held = |kind| plan.unapproved_holds().filter(|(key, _)| key.kind == kind).count();
        let resent = count(&[Change::Update, Change::Release, Change::Resend]);
        Self {
            add: count(&[Change::Add]),
            adopt: count(&[Change::Adopt]),
            take_over: count(&[Change::TakeOver]),
            change: resent + view.lone_releases().len(),
            remove: plan.removals.len(),
            waiting: plan.waiting_for_leavers.len() + plan.waiting_for_seat.len() + plan.backing_off.len(),
            unchanged: plan.unchanged,
            requests: plan.requests(),
            held_removals: held(HoldKind::Remove),
            held_updates: held(HoldKind::Update),
            held_takeovers: held(HoldKind::Takeover),
            account_doubted: plan.doubts_account(),
        }
    }

    /// `would add 3, adopt 900, change 0, remove 2, in 10 requests; 60 unchanged`.
    fn in_words(&self) -> String {
        let mut deeds = vec![format!("add {}", self.add)];
        for (count, deed) in [(self.adopt, "adopt"), (self.take_over, "take over")] {
            if count > 0 {
                deeds.push(format!("{deed} {count}"));
            }
        }
        deeds.push(format!("change {}", self.change));
        deeds.push(format!("remove {}", self.remove));
        let mut text = format!("would {}, in {}", deeds.join(", "), counted(self.requests, "request"));
        text.push_str(&format!("; {} unchanged", self.unchanged));
        if self.waiting > 0 {
            text.push_str(&format!(", {} waiting", self.waiting));
        }
        text
    }
}

fn count_upserts(plan: &Plan, is_meant: impl Fn(&PlannedUpsert) -> bool) -> usize {
    plan.upserts.iter().filter(|upsert| is_meant(upsert)).count()
}

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let Some(view) = &findings.plan else {
        report.warning(
            Subject::NextCycle,
            "what the next cycle would do cannot be told yet",
            "first correct the items above",
        );
        return;
    };
    let account = findings.state.account.as_ref();
    report_seats(report, view, account);
    report_next_cycle(report, setup, findings, view);
    for group in grouped(view.plan.unapproved_holds()) {
        report_hold(report, setup, view, &group);
    }
}

fn report_next_cycle(report: &mut Report, setup: Setup<'_>, findings: &Findings, view: &PlanView) {
    let account = findings.state.account.as_ref();
    let numbers = Numbers::of(view);
    let mut message = if numbers.account_doubted {
        "would send nothing, since this looks like another Wazzup account".to_owned()
    } else if view.plan.questions.for_account {
        "would send nothing before Wazzup's list shows that this is the right account".to_owned()
    } else {
        numbers.in_words()
    };
    if !matches!(view.list.coverage(), Coverage::Complete | Coverage::Incomplete(_)) {
        message.push_str("; without Wazzup's list, users who are there already are not recognised");
    }
    if setup.config.removals.policy == RemovalPolicy::Keep {
        message.push_str("; removals.policy is \"keep\", so nobody is ever removed");
    }
    if let Some(cycle) = account.and_then(|account| account.last_cycle.as_ref()) {
        message.push_str(&format!("; the last cycle ended {}", ago(view.now, cycle.finished_at)));
    }
    if findings.wazzup.is_usable() {
        report.good(Subject::NextCycle, message);
    } else {
        report.warning(
            Subject::NextCycle,
            format!("once Wazzup can be used, it {message}"),
            "first correct the items above",
        );
    }
}

fn report_hold(report: &mut Report, setup: Setup<'_>, view: &PlanView, group: &HoldGroup<'_>) {
    let is_known = group.holds.iter().any(|(key, _)| view.snapshot.holds.contains_key(key));
    let title = group.title(view.plan.managed);
    let message = if is_known {
        title
    } else {
        format!("would be held: {title}")
    };
    let (plan, approve) = (setup.invocation.command("plan"), setup.invocation.command("approve"));
    let approves = if is_known {
        format!("{approve} approves exactly these")
    } else {
        format!("{approve} approves exactly these, once a cycle has held them")
    };
    let remedy = match group.kind {
        HoldKind::Account => {
            format!("are the key and wazzup.base_url right? If this account shall be used from now on: {approve}")
        }
        HoldKind::Remove => {
            format!("are crm.table, crm.columns.active and the rows right? {plan} names the users; {approves}")
        }
        HoldKind::Update => {
            format!("are crm.columns and the rows right? {plan} shows the old and new values; {approves}")
        }
        HoldKind::Takeover => format!("are these users the same people? {plan} shows both names; {approves}"),
    };
    report.warning(Subject::Held, message, remedy);
}

fn report_seats(report: &mut Report, view: &PlanView, account: Option<&Account>) {
    if !view.list.is_complete() {
        return;
    }
    let plan = &view.plan;
    let used = view.list.len();
    // A limit that is exceeded has been raised since.
    let known = account.and_then(|account| account.seats_limit);
    let known = known.filter(|limit| *limit >= used);
    let limit = known.unwrap_or(DOCUMENTED_SEATS);
    let source = if known.is_some() { "" } else { " (documented)" };
    let foreign = plan.drift.foreign;
    let mut message = format!("{used} of {limit}{source} used");
    if foreign > 0 {
        message.push_str(&format!(", {foreign} of them by users that are not ours"));
    }
    let additions = count_upserts(plan, |upsert| upsert.takes_seat) + plan.waiting_for_seat.len();
    let needed = (used + additions).saturating_sub(plan.removals.len());
    if needed <= limit || additions == 0 {
        report.good(Subject::Seats, format!("{message}; {needed} after the next cycle"));
        return;
    }
    let waiting = counted((needed - limit).min(additions), "employee");
    report.warning(
        Subject::Seats,
        format!("{message}; {needed} are needed: {waiting} will have to wait for a seat"),
        "book more seats, or remove users in Wazzup whom nobody needs",
    );
}

/// The numbers for programs; null if the CRM or the state cannot be read.
pub(super) fn to_json(findings: &Findings) -> Value {
    let Some(view) = &findings.plan else {
        return Value::Null;
    };
    let Numbers {
        add,
        adopt,
        take_over,
        change,
        remove,
        waiting,
        unchanged,
        requests,
        held_removals,
        held_updates,
        held_takeovers,
        account_doubted,
    } = Numbers::of(view);
    json!({
        "add": add,
        "adopt": adopt,
        "take_over": take_over,
        "change": change,
        "remove": remove,
        "waiting": waiting,
        "unchanged": unchanged,
        "requests": requests,
        "held_removals": held_removals,
        "held_updates": held_updates,
        "held_takeovers": held_takeovers,
        "account_doubted": account_doubted,
    })
}
