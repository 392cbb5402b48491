//! What happens in the company, and that time passes.

use std::fmt::Write as _;

use super::{Person, World, phone};

const NAMES: [&str; 5] = ["Anna", "Bella", "Cleo", "Dina", "Ella"];

/// The columns of the state that hold a moment.
const TIMES: [(&str, &str); 6] = [
    (
        "accounts",
        "lease_expires_at last_success_at list_read_at list_passed_at",
    ),
    ("users", "absent_since synced_at"),
    ("lost", "lost_at may_land_until"),
    ("holds", "since approved_at"),
    ("failures", "first_at last_at next_attempt_at"),
    ("history", "at"),
];

impl World {
    pub(super) fn anybody(&mut self) -> Option<String> {
        let ids: Vec<&String> = self.crm.keys().collect();
        (!ids.is_empty()).then(|| ids[self.rng.usize(..ids.len())].clone())
    }

    fn some_phone(&mut self) -> Option<String> {
        match self.rng.u8(..12) {
            0..4 => None,
            4 => Some("no phone".to_owned()),
            5 => Some(phone(90)),
            _ => Some(phone(self.rng.u8(..30))),
        }
    }

    pub(super) async fn put(&mut self, id: &str, person: Option<Person>) {
        self.app.sql(&format!("DELETE FROM employees WHERE id = '{id}'")).await;
        self.tell(format!("  crm: {id} {person:?}"));
        match person {
            Some(person) => {
                let phone = person.phone.as_deref();
                self.app.hire(id, &person.name, phone).await;
                self.crm.insert(id.to_owned(), person);
            }
            None => _ = self.crm.remove(id),
        }
    }

    pub(super) async fn hire(&mut self) {
        let id = format!("e{:02}", self.rng.u8(..40));
        let person = Person {
            name: NAMES[self.rng.usize(..NAMES.len())].to_owned(),
            phone: self.some_phone(),
        };
        self.put(&id, Some(person)).await;
    }

    pub(super) async fn edit(&mut self) {
        let Some(id) = self.anybody() else {
            return self.hire().await;
        };
        let mut person = self.crm[&id].clone();
        match self.rng.u8(..20) {
            0..4 => return self.hire().await,
            4..7 => return self.put(&id, None).await,
            7..10 => NAMES[self.rng.usize(..NAMES.len())].clone_into(&mut person.name),
            10..13 => person.phone = self.some_phone(),
            13..16 => {
                // Two colleagues swap their phones.
                let other = self.anybody().expect("somebody is there");
                if other != id {
                    let mut with = self.crm[&other].clone();
                    std::mem::swap(&mut person.phone, &mut with.phone);
                    self.put(&other, Some(with)).await;
                }
            }
            16 => person.name = String::new(),
            17 => {
                // The table is emptied and loaded again, with a cycle in between.
                let everybody = std::mem::take(&mut self.crm);
                self.app.sql("TRUNCATE employees").await;
                self.tell("  crm: emptied");
                self.cycle().await;
                for (id, person) in everybody {
                    self.put(&id, Some(person)).await;
                }
                return;
            }
            18 => {
                // One never acknowledged that has another name would be somebody else's, and would stay for ever.
                if self.app.wazzup.user(&id).is_some() && self.is_acknowledged(&id).await {
                    self.tell(format!("  by hand: {id} is renamed in Wazzup"));
                    self.app.wazzup.edit(&id, |user| user.name = "By Hand".into());
                }
            }
            _ => {
                if self.app.wazzup.user(&id).is_some() {
                    self.tell(format!("  by hand: {id} is deleted in Wazzup"));
                    self.app.wazzup.remove(&id);
                }
            }
        }
        self.put(&id, Some(person)).await;
    }

    /// Moves everything that the state remembers into the past.
    pub(super) async fn time_passes(&mut self, minutes: u32) {
        self.tell(format!("  {minutes} minutes pass"));
        // No request is under way for minutes.
        self.app.wazzup.land_late();
        let mut sql = String::new();
        for (table, columns) in TIMES {
            let moved = columns
                .split(' ')
                .map(|column| format!("{column} = {column} - interval '{minutes} min'"));
            let moved = moved.collect::<Vec<_>>().join(", ");
            write!(sql, "UPDATE wazzup_sync.{table} SET {moved};").expect("a text grows");
        }
        // What a held removal is about is since when the user is absent, as the product writes it.
        write!(
            sql,
            "UPDATE wazzup_sync.holds SET content = rtrim(rtrim(to_char( \
                 (content::timestamptz - interval '{minutes} min') AT TIME ZONE 'UTC', \
                 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z' WHERE kind = 'remove';"
        )
        .expect("a text grows");
        self.in_the_state(&sql).await;
    }
}
