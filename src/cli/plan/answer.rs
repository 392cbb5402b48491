//! The answer of `plan`, for programs and for people: list after list, what is held, and a summary.

use anstyle::Style;
use serde_json::{Value, json};
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use super::{
    super::{
        holds::{changes, counted_holds, grouped, shown_name},
        page::{ADDITION, CHANGE, PLAIN, Page, REMOVAL},
        text::{counted, natural_order, value_in_words},
    },
    PlanView,
    advice::missing_ids,
};
use crate::{
    employee::{Employee, FullName},
    plan::{Change, Coverage, NextStep, Operation, PlannedUpsert, Sighting, Waiting},
};

/// The lists of users, in the order in which people see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum PlanList {
    Remove,
    Update,
    TakeOver,
    Adopt,
    Add,
    Waiting,
    BackingOff,
    /// Who is pending for a reason that no other list shows.
    Pending,
    Staying,
    Rejected,
    WithoutPhone,
}

#[derive(Debug)]
struct PlanEntry<'v> {
    list: PlanList,
    id: &'v str,
    /// For programs.
    json: Value,
    /// For people.
    text: String,
}

impl PlanList {
    fn key(self) -> &'static str {
        self.into()
    }

    fn style(self) -> Style {
        match self {
            Self::Remove => REMOVAL,
            Self::Update | Self::TakeOver => CHANGE,
            Self::Adopt | Self::Add => ADDITION,
            _ => PLAIN,
        }
    }
}

impl PlanView {
    /// For programs; `docs/json.md` documents it.
    pub(super) fn json(&self) -> Value {
        let plan = &self.plan;
        let holds = grouped(plan.unapproved_holds()).into_iter();
        let held = holds.flat_map(|group| group.holds).map(|(key, hold)| {
            json!({
                "id": key.concerned_user(),
                "kind": key.kind,
                "content": hold.content,
                "reason": hold.reason,
            })
        });
        let mut answer = json!({
            "version": 1,
            "list": match self.list.coverage() {
                Coverage::Unread | Coverage::Unavailable(_) => "none",
                Coverage::Incomplete(_) => "incomplete",
                Coverage::Complete => "complete",
            },
            "list_problem": self.list_problem,
            "eligible": plan.eligible,
            "missing_ids": plan.missing_ids,
            "managed": plan.managed,
            "foreign": self.list.is_complete().then_some(plan.drift.foreign),
            "unchanged": plan.unchanged,
            "requests": plan.requests(),
            "held": held.collect::<Vec<Value>>(),
        });
        let entries = self.entries();
        for list in PlanList::iter() {
            let entries = entries.iter().filter(|entry| entry.list == list);
            answer[list.key()] = entries.map(|entry| entry.json.clone()).collect();
        }
        answer
    }

    /// For people: who is concerned first, what is held next, the summary last.
    pub(super) fn write(&self, page: &mut Page) {
        for entry in self.entries() {
            // Of another account, nothing is known about the users.
            if entry.list != PlanList::Pending || self.plan.is_account_known() {
                let label = entry.list.key().replace('_', " ");
                page.user(entry.list.style(), &label, entry.id, &entry.text);
            }
        }
        if self.plan.missing_ids > 0 {
            page.blank();
            page.advice("rejected", &missing_ids(self.plan.missing_ids, &self.invocation));
        }
        for group in grouped(self.plan.unapproved_holds()) {
            page.blank();
            group.write_users(page, &self.snapshot);
            let advice = group.advice(self.plan.managed, &self.invocation, self.now);
            page.advice("held", &advice);
        }
        page.blank();
        for sentence in self.summary() {
            page.paragraph(&sentence);
        }
    }

    /// The whole plan in a few sentences. The last one says how much is sent.
    pub(in super::super) fn summary(&self) -> Vec<String> {
        let plan = &self.plan;
        let employees = counted(plan.eligible, "employee");
        if !self.plan.is_account_known() {
            let nothing = "Nothing is sent until it is certain that this is the right Wazzup account.";
            return vec![format!("{employees} in the CRM. {nothing}")];
        }
        let entries = self.entries();
        let mut counts = vec![format!("unchanged {}", plan.unchanged)];
        for list in PlanList::iter() {
            let count = entries.iter().filter(|entry| entry.list == list).count();
            if count > 0 {
                counts.push(format!("{} {count}", list.key().replace('_', " ")));
            }
        }
        let mut sentences = vec![format!("{employees} in the CRM: {}.", counts.join(", "))];
        let held = counted_holds(plan.unapproved_holds().map(|(key, _)| key));
        if !held.is_empty() {
            sentences.push(format!("Held: {held}."));
        }
        if plan.drift.foreign > 0 {
            let users = counted(plan.drift.foreign, "user");
            sentences.push(format!("In Wazzup and not ours: {users}."));
        }
        sentences.push(match plan.requests() {
            0 => "Nothing to send.".to_owned(),
            requests => format!("{} to send.", counted(requests, "request")),
        });
        sentences
    }

    /// Everybody who is not in sync and not only held: list after list, each in the natural order of its ids.
    fn entries(&self) -> Vec<PlanEntry<'_>> {
        let mut entries = Vec::new();
        for (id, step) in self.plan.next_steps() {
            let (list, json) = match step {
                NextStep::Hold(..) => continue,
                NextStep::Send(upsert) => self.upsert(upsert),
                NextStep::Release(release) => self.update(&release.employee),
                NextStep::Remove(removal) => (PlanList::Remove, json!(removal)),
                NextStep::Wait(Waiting::ForLeaver(leaver)) => (PlanList::Waiting, json!({"id": id, "for": leaver})),
                NextStep::Wait(Waiting::ForSeat) => (PlanList::Waiting, json!({"id": id, "for": "seat"})),
                NextStep::Wait(Waiting::BackingOff) => (PlanList::BackingOff, json!(id)),
                NextStep::Wait(Waiting::Pending) => (PlanList::Pending, json!(id)),
                NextStep::Stay(user) => (PlanList::Staying, json!(user)),
            };
            let text = self.step_in_words(id, step, &json);
            entries.push(PlanEntry { list, id, json, text });
        }
        for (key, problem) in self.plan.row_problems() {
            let list = match key.operation {
                Operation::Phone => PlanList::WithoutPhone,
                Operation::Upsert | Operation::Remove => PlanList::Rejected,
            };
            let id = &*key.user_id;
            let json = json!({"id": id, "code": problem});
            let text = format!("{problem}: {}; {}", problem.reason(), problem.remedy());
            entries.push(PlanEntry { list, id, json, text });
        }
        entries.sort_by(|left, right| {
            let lists = left.list.cmp(&right.list);
            lists.then_with(|| natural_order(left.id, right.id))
        });
        entries
    }

    fn upsert(&self, upsert: &PlannedUpsert) -> (PlanList, Value) {
        let Employee { id, name, phone } = &upsert.entry.employee;
        let mut json = json!({"id": id, "name": name, "phone": phone});
        match upsert.entry.change {
            Change::Add => (PlanList::Add, json),
            Change::Adopt => (PlanList::Adopt, json),
            Change::TakeOver => {
                if let Sighting::Named(name) = self.list.find(id.as_str()) {
                    json["name_in_wazzup"] = json!(name);
                }
                (PlanList::TakeOver, json)
            }
            Change::Update | Change::Release | Change::Resend => self.update(&upsert.entry.employee),
        }
    }

    fn update(&self, employee: &Employee) -> (PlanList, Value) {
        let acknowledged = self.snapshot.acknowledged(employee.id.as_str());
        let wanted = json!({"name": employee.name, "phone": employee.phone});
        let changes = changes(acknowledged, &wanted);
        (PlanList::Update, json!({"id": employee.id, "changes": changes}))
    }

    /// For people: the values that are sent, or whom it is about and why nothing is.
    fn step_in_words(&self, id: &str, step: NextStep<'_>, json: &Value) -> String {
        let reason = self.advice(id, step).reason;
        let name = match step {
            NextStep::Send(_) | NextStep::Release(_) | NextStep::Remove(_) => {
                let mut values = json.get("changes").unwrap_or(json).clone();
                if let Value::Object(fields) = &mut values {
                    fields.shift_remove("id");
                }
                let words = value_in_words(&values, self.now);
                return if words.is_empty() { reason } else { words };
            }
            NextStep::Stay(user) => user.name.as_ref(),
            _ => self.roster.get(id).map(|entry| &entry.employee.name),
        };
        format!("{}; {reason}", shown_name(name.map(FullName::as_str)))
    }
}
