//! What goes wrong, and the cycles that go through it.

use sandbox::{Fault, Named, What, When};

use super::World;

impl World {
    pub(super) fn fault(&mut self) {
        let target = [
            When::Post,
            When::BulkDelete,
            When::Writes,
            When::Any,
            When::List,
            When::GetUser,
        ][self.rng.usize(..6)];
        let what = match self.rng.u8(..16) {
            0..3 => What::CutAfter,
            3 => What::CutBefore,
            4 => {
                self.late = true;
                What::HoldBack
            }
            5 => What::status(503),
            6 => What::status(500),
            7 => What::Garbage,
            8 => What::EmptyList,
            9 => What::BrokenJson,
            10 => What::ShortList { missing: 1 },
            11 => {
                let Some(id) = self.anybody() else { return };
                let reply = match self.rng.u8(..7) {
                    0 => What::invalid(Named::All, &["name"]),
                    1 => What::invalid(Named::All, &["phone"]),
                    2 => What::invalid(Named::Nobody, &[]),
                    3 => What::invalid(Named::Wild, &[]),
                    4 => What::status(400),
                    5 => What::status(422),
                    _ => What::status(500),
                };
                self.tell(format!("  fault: {id} is poison: {reply:?}"));
                self.count("fault: an entry that the service refuses or fails on", 1);
                self.app.wazzup.poison([id], reply);
                return;
            }
            12 => {
                let seats = self.app.wazzup.users().len() + self.rng.usize(..3);
                self.tell(format!("  fault: {seats} seats"));
                self.count("fault: the account is nearly full", 1);
                self.app.wazzup.vary(|variant| variant.seats = seats);
                return;
            }
            13 => {
                self.tell("  the poison is gone");
                return self.app.wazzup.clear_faults();
            }
            _ => return,
        };
        // An answer of 200 to a write is its acknowledgement, whatever it says: only what is read can be garbled.
        let target = match what {
            What::Garbage | What::EmptyList | What::BrokenJson | What::ShortList { .. } => {
                [When::List, When::GetUser][self.rng.usize(..2)]
            }
            _ => target,
        };
        let (skip, times) = (self.rng.usize(..3), self.rng.usize(1..8));
        self.tell(format!("  fault: {target:?} {what:?}, after {skip}, {times} times"));
        self.count(class_of(&what), 1);
        self.app.wazzup.order(Fault::new(target, what).skip(skip).times(times));
    }

    /// One cycle, or one that is killed, or two copies at once, or one whose state connections are cut.
    pub(super) async fn cycle(&mut self) {
        match self.rng.u8(..10) {
            0..4 => _ = self.once(None).await,
            4..7 => {
                let step = self.rng.u32(1..45);
                let code = self.once(Some(step)).await;
                if code == -1 {
                    self.lease_runs_out().await;
                }
            }
            7 => {
                self.tell("  two copies");
                self.count("two copies at once", 1);
                self.app.wazzup.clear_log();
                let (one, two) = (self.spawn_once(None), self.spawn_once(None));
                let (one, two) = tokio::join!(one, two);
                self.tell(format!("  they exit with {one} and {two}"));
            }
            _ => {
                self.tell("  the state's connections are cut");
                self.count("state connections cut in the middle of a cycle", 1);
                let cut = async {
                    // Without a request there is nothing to cut in between.
                    let patience = std::time::Duration::from_millis(300);
                    _ = self
                        .app
                        .wazzup
                        .wait_until(|wazzup| !wazzup.requests().is_empty(), patience)
                        .await;
                    self.app
                        .sql(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                              WHERE application_name = 'wazzup-sync' AND datname = current_database()",
                        )
                        .await;
                };
                self.app.wazzup.clear_log();
                let (code, ()) = tokio::join!(self.spawn_once(None), cut);
                self.tell(format!("  exit {code}"));
                // It could not give the lease up.
                self.lease_runs_out().await;
            }
        }
    }

    /// Runs a cycle, killed with SIGKILL at `step`. Returns its exit code, -1 if it was killed.
    pub(super) async fn once(&mut self, step: Option<u32>) -> i32 {
        self.app.wazzup.clear_log();
        let code = self.spawn_once(step).await;
        self.count("cycles", 1);
        self.count("requests to Wazzup", self.app.wazzup.requests().len());
        if code == -1 {
            self.count("processes killed in the middle of a cycle", 1);
        }
        self.tell(format!(
            "  once, killed at {step:?}: exit {code}\n{}",
            self.app.requests_as_text()
        ));
        code
    }

    async fn spawn_once(&self, step: Option<u32>) -> i32 {
        let code = self.app.once_killed_at(step).await;
        self.nobody_in_the_crm_was_removed();
        code.unwrap_or(-1)
    }

    fn nobody_in_the_crm_was_removed(&self) {
        for request in self
            .app
            .wazzup
            .requests()
            .iter()
            .filter(|request| request.method != "POST" && request.writing)
        {
            for id in &request.ids {
                assert!(!self.crm.contains_key(id), "{id} is in the CRM and was to be removed");
            }
        }
    }

    async fn lease_runs_out(&mut self) {
        self.in_the_state("UPDATE wazzup_sync.accounts SET lease_expires_at = now()")
            .await;
    }
}

/// The class of a fault of the service, for the table.
fn class_of(fault: &What) -> &'static str {
    match fault {
        What::CutAfter => "fault: answer lost after acting",
        What::CutBefore => "fault: request lost before acting",
        What::HoldBack => "fault: request lost, landing at any later moment",
        What::Garbage | What::BrokenJson | What::EmptyList | What::ShortList { .. } => {
            "fault: a list or answer that lies"
        }
        _ => "fault: answered by 500 or 503",
    }
}
