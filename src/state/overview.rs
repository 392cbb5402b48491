//! What `status` wants to know, read in one go so that it fits together.

use jiff::Timestamp;
use serde::Serialize;

use super::{Account, CycleOutcome, Error, State, Transaction, orders::apply_orders, snapshot::Contents};
use crate::{
    employee::EmployeeId,
    plan::{HoldKey, HoldKind, Holds, OpenFailure, Snapshot},
};

/// How an account stands. `status` serialises it; `docs/json.md` documents it.
#[derive(Debug, Default, Serialize)]
pub struct Overview {
    /// The account; its defaults, but for the time, if nobody ever held its lease.
    #[serde(flatten)]
    pub account: Account,
    /// Users whom Wazzup acknowledged to us.
    pub managed: usize,
    /// Those of them who left the CRM and are not held.
    pub leaving: usize,
    /// Users in a request whose answer is outstanding, or was lost and is not settled yet.
    pub unsettled: usize,
    /// The open failures, by id. Those that waiting orders retry are due now.
    pub failing: Vec<OpenFailure>,
    /// The open holds, approved ones included. An approval that the next cycle will take counts as given.
    #[serde(skip)]
    pub holds: Holds,
    /// Who was added in the last 7 days and is still managed.
    pub added_lately: Vec<String>,
    /// The newest cycles that did or failed something, newest first.
    pub recent_cycles: Vec<PastCycle>,
}

/// A cycle that did or failed something.
#[derive(Debug, Clone, Serialize)]
pub struct PastCycle {
    pub id: i64,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub outcome: CycleOutcome,
    pub error_kind: Option<String>,
    pub error: Option<String>,
    /// Requests that change something.
    pub requests: i64,
    pub added: i64,
    /// Users adopted or taken over.
    pub adopted: i64,
    pub updated: i64,
    pub removed: i64,
    /// Open holds that were not approved.
    pub held: i64,
}

impl State {
    /// How the account stands, with the newest `cycles` cycles. There has to be a schema.
    pub async fn overview(&self, cycles: u32) -> Result<Overview, Error> {
        self.read("reading how the account stands", async |tx, now| {
            let account = tx.load_account().await?.unwrap_or_else(|| Account {
                now,
                ..Account::default()
            });
            let mut snapshot = tx.load_snapshot(Contents::ALL, account.facts.clone()).await?;
            let mut overview = Overview {
                unsettled: snapshot.lost.len(),
                account,
                added_lately: tx.list_added_lately().await?,
                recent_cycles: tx.list_cycles(cycles).await?,
                ..Overview::default()
            };
            apply_orders(tx.load_orders().await?, &mut snapshot, now);
            overview.count_users(&snapshot);
            overview.failing = snapshot.failures.into_values().collect();
            overview.holds = snapshot.holds;
            Ok(overview)
        })
        .await
    }
}

impl Transaction<'_> {
    async fn list_added_lately(&mut self) -> Result<Vec<String>, Error> {
        let added = sqlx::query_scalar!(
            "SELECT DISTINCT user_id FROM history JOIN users USING (user_id, account) \
             WHERE account = $1 AND operation = 'add' AND at > now() - interval '7 days' AND name IS NOT NULL \
             ORDER BY user_id",
            self.account
        )
        .fetch_all(self.executor())
        .await?;
        Ok(added)
    }

    async fn list_cycles(&mut self, most: u32) -> Result<Vec<PastCycle>, Error> {
        let cycles = sqlx::query_as!(
            PastCycle,
            r#"SELECT cycle_id AS id, started_at, finished_at, outcome AS "outcome: CycleOutcome", error_kind, error,
                   requests, added, adopted, updated, removed, held
               FROM cycles WHERE account = $1 ORDER BY cycle_id DESC LIMIT $2"#,
            self.account,
            i64::from(most)
        )
        .fetch_all(self.executor())
        .await?;
        Ok(cycles)
    }
}

impl Overview {
    fn count_users(&mut self, snapshot: &Snapshot) {
        let managed = snapshot.users.iter().filter(|(_, user)| user.acknowledged.is_some());
        self.managed = managed.clone().count();
        let is_held = |id: &EmployeeId| {
            let hold = HoldKey::new(HoldKind::Remove, id.as_str());
            let hold = snapshot.holds.get(&hold);
            hold.is_some_and(|hold| hold.approved.is_none())
        };
        let leaving = managed.filter(|(id, user)| user.absent_since.is_some() && !is_held(id));
        self.leaving = leaving.count();
    }
}
