//! The answer of `plan`: JSON prints it as it is (`docs/json.md` documents it), text renders it. What is skipped is said in
//! text only.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    super::{changes::Changes, text::natural_order},
    PlanView,
};
use crate::{
    employee::{EmployeeId, Phone, RejectedRow},
    plan::{
        Acknowledged, BatchEntry, Change, Coverage, HoldKind, Operation, PlannedRemoval, PlannedUpsert, StayingUser,
    },
};

/// What the next cycle would do. Each list is in the natural order of its ids.
#[derive(Debug, Serialize)]
pub(super) struct PlanAnswer<'v> {
    version: u8,
    list: &'static str,
    list_problem: Option<&'v str>,
    pub(super) eligible: usize,
    pub(super) missing_ids: usize,
    managed: usize,
    pub(super) foreign: Option<usize>,
    pub(super) unchanged: usize,
    requests: usize,
    pub(super) add: Vec<NewUser<'v>>,
    pub(super) adopt: Vec<NewUser<'v>>,
    pub(super) take_over: Vec<NewUser<'v>>,
    pub(super) update: Vec<UserUpdate<'v>>,
    pub(super) remove: Vec<&'v PlannedRemoval>,
    held: Vec<HeldUser<'v>>,
    pub(super) waiting: Vec<WaitingUser<'v>>,
    pub(super) backing_off: Vec<&'v EmployeeId>,
    /// Who is pending for a reason that no other list shows.
    pub(super) pending: Vec<&'v EmployeeId>,
    pub(super) staying: Vec<&'v StayingUser>,
    pub(super) rejected: Vec<&'v RejectedRow>,
    pub(super) without_phone: Vec<RejectedRow>,
}

/// Somebody who becomes ours.
#[derive(Debug, Serialize)]
pub(super) struct NewUser<'v> {
    pub(super) id: &'v str,
    pub(super) name: &'v str,
    pub(super) phone: Option<Phone>,
    /// Only of somebody who is taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name_in_wazzup: Option<&'v str>,
    #[serde(skip)]
    pub(super) note: &'static str,
    /// Whose removals have to be accepted first.
    #[serde(skip)]
    pub(super) after: &'v [EmployeeId],
}

#[derive(Debug, Serialize)]
pub(super) struct UserUpdate<'v> {
    pub(super) id: &'v str,
    /// Empty if the same is sent again.
    pub(super) changes: Changes,
    #[serde(skip)]
    pub(super) note: &'static str,
}

#[derive(Debug, Serialize)]
struct HeldUser<'v> {
    /// `None` for the whole account.
    id: Option<&'v str>,
    kind: HoldKind,
    content: &'v str,
    reason: &'v str,
}

#[derive(Debug, Serialize)]
pub(super) struct WaitingUser<'v> {
    pub(super) id: &'v EmployeeId,
    /// A leaver's id, or [`SEAT`].
    #[serde(rename = "for")]
    pub(super) waits_for: &'v str,
}

/// What somebody waits for who waits for a seat.
pub(super) const SEAT: &str = "seat";

impl<'v> PlanAnswer<'v> {
    pub(super) fn of(view: &'v PlanView) -> Self {
        let plan = &view.plan;
        let mut held = ordered(plan.unapproved_holds(), |(key, _)| &key.user_id);
        held.sort_by_key(|(key, _)| key.kind);
        let held = held.into_iter().map(|(key, hold)| HeldUser {
            id: key.concerned_user(),
            kind: key.kind,
            content: &hold.content,
            reason: &hold.reason,
        });
        let waiting_for_leavers = plan.waiting_for_leavers.iter().map(|waiting| WaitingUser {
            id: &waiting.id,
            waits_for: waiting.leaver.as_str(),
        });
        let waiting_for_seat = plan
            .waiting_for_seat
            .iter()
            .map(|id| WaitingUser { id, waits_for: SEAT });
        let phone_failures = plan.local_failures.iter();
        let phone_failures = phone_failures.filter(|failure| failure.key.operation == Operation::Phone);
        let without_phone = phone_failures.map(|failure| RejectedRow {
            id: failure.key.user_id.clone(),
            problem: failure.problem,
        });
        Self {
            version: 1,
            list: match view.list.coverage() {
                Coverage::Unread | Coverage::Unavailable(_) => "none",
                Coverage::Incomplete(_) => "incomplete",
                Coverage::Complete => "complete",
            },
            list_problem: view.list_problem.as_deref(),
            eligible: plan.eligible,
            missing_ids: plan.missing_ids,
            managed: plan.managed,
            foreign: view.list.is_complete().then_some(plan.drift.foreign),
            unchanged: if view.is_account_known() { plan.unchanged } else { 0 },
            requests: plan.requests(),
            add: view.new_users(Change::Add),
            adopt: view.new_users(Change::Adopt),
            take_over: view.new_users(Change::TakeOver),
            update: view.updates(),
            remove: ordered(&plan.removals, |removal| removal.id.as_str()),
            held: held.collect(),
            waiting: ordered(waiting_for_leavers.chain(waiting_for_seat), |user| user.id.as_str()),
            backing_off: ordered(&plan.backing_off, |id| id.as_str()),
            pending: view.pending_for_other_reasons(),
            staying: ordered(&plan.staying, |user| user.id.as_str()),
            rejected: ordered(&plan.rejected, |row| &row.id),
            without_phone: ordered(without_phone, |row| &row.id),
        }
    }
}

impl PlanView {
    fn new_users(&self, change: Change) -> Vec<NewUser<'_>> {
        let upserts = self.plan.upserts.iter();
        let upserts = upserts.filter(|upsert| upsert.entry.change == change);
        let users = upserts.map(|upsert| NewUser {
            id: upsert.id().as_str(),
            name: upsert.entry.employee.name.as_str(),
            phone: upsert.entry.employee.phone,
            name_in_wazzup: upsert.name_in_wazzup.as_deref().filter(|_| change == Change::TakeOver),
            note: phone_note(upsert),
            after: &upsert.waits_for,
        });
        ordered(users, |user| user.id)
    }

    /// Changes, repetitions, and releases that are all there is to do about a user.
    fn updates(&self) -> Vec<UserUpdate<'_>> {
        let mut updates = Vec::new();
        for upsert in &self.plan.upserts {
            if matches!(upsert.entry.change, Change::Update | Change::Release | Change::Resend) {
                updates.push(UserUpdate {
                    id: upsert.id().as_str(),
                    changes: changes_by(&upsert.entry, upsert.before.as_ref()),
                    note: phone_note(upsert),
                });
            }
        }
        let upserted: BTreeSet<&EmployeeId> = self.plan.upserts.iter().map(PlannedUpsert::id).collect();
        for release in &self.plan.releases {
            let id = &release.employee.id;
            if !upserted.contains(id) {
                let user = self.snapshot.users.get(id);
                updates.push(UserUpdate {
                    id: id.as_str(),
                    changes: changes_by(release, user.and_then(|user| user.acknowledged.as_ref())),
                    note: ", so that somebody else can have it",
                });
            }
        }
        ordered(updates, |update| update.id)
    }

    fn pending_for_other_reasons(&self) -> Vec<&EmployeeId> {
        let plan = &self.plan;
        let mut shown: BTreeSet<&str> = plan.unapproved_holds().map(|(key, _)| &*key.user_id).collect();
        shown.extend(plan.waiting_for_leavers.iter().map(|waiting| waiting.id.as_str()));
        shown.extend(plan.upserts.iter().map(|upsert| upsert.id().as_str()));
        shown.extend(plan.backing_off.iter().map(EmployeeId::as_str));
        let others = plan.pending.iter().filter(|id| !shown.contains(id.as_str()));
        ordered(others, |id| id.as_str())
    }
}

fn changes_by(entry: &BatchEntry, before: Option<&Acknowledged>) -> Changes {
    let employee = &entry.employee;
    let phone = employee.phone.map(|phone| phone.to_string());
    Changes::between(before, employee.name.to_string(), phone)
}

fn phone_note(upsert: &PlannedUpsert) -> &'static str {
    if upsert.wanted_phone.is_some() && upsert.entry.employee.phone.is_none() {
        "; without the phone for now"
    } else {
        ""
    }
}

/// `items` in the natural order of their ids.
fn ordered<T>(items: impl IntoIterator<Item = T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_by(|left, right| natural_order(id(left), id(right)));
    items
}
