//! The inbox: what operators ask for with `approve` and `retry`. They only insert, so no order is lost to a race.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{Error, State, Transaction, marks::hold_row};
use crate::plan::{Approval, HoldKey, Holds, LostContent, LostEntry, Snapshot};

pub(super) struct Order {
    id: i64,
    at: Timestamp,
    given_by: String,
    /// Of a retry, `None`: everybody.
    user_id: Option<String>,
    /// Of an approval: which hold, and exactly what was shown.
    kind: Option<String>,
    content: Option<String>,
    crm_row: Option<String>,
}

#[derive(Debug, Default)]
pub struct AppliedOrders {
    /// The rows of the inbox.
    ids: Vec<i64>,
    /// The holds that were approved.
    pub approved: Holds,
    /// Approvals that match no hold any more.
    pub dropped: Vec<(HoldKey, Approval)>,
    retried: BTreeSet<String>,
    retries_everybody: bool,
}

impl AppliedOrders {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Has `snapshot` follow the orders `now`: holds are approved, failures are due, and an acknowledged user is sent again.
pub(super) fn apply_orders(orders: Vec<Order>, snapshot: &mut Snapshot, now: Timestamp) -> AppliedOrders {
    let mut applied = AppliedOrders::default();
    for order in orders {
        applied.ids.push(order.id);
        match (order.user_id, order.kind) {
            (Some(user_id), Some(kind)) => {
                // A kind that this version does not know could only be a newer one's.
                let Ok(kind) = kind.parse() else { continue };
                let key = HoldKey::new(kind, &user_id);
                let approval = Approval {
                    at: order.at,
                    by: order.given_by,
                };
                match snapshot.holds.get_mut(&key) {
                    Some(hold) if Some(&hold.content) == order.content.as_ref() && hold.crm_row == order.crm_row => {
                        hold.approved = Some(approval);
                        applied.approved.insert(key, hold.clone());
                    }
                    _ => applied.dropped.push((key, approval)),
                }
            }
            (Some(user_id), None) => {
                applied.retried.insert(user_id);
            }
            (None, _) => applied.retries_everybody = true,
        }
    }
    for (key, open) in &mut snapshot.failures {
        let is_meant = applied.retries_everybody || applied.retried.contains(&*key.user_id);
        if is_meant && !open.failure.is_local {
            open.next_attempt_at = Some(now);
        }
    }
    snapshot.account.retry_seats = applied.retries_everybody;
    for user_id in &applied.retried {
        snapshot.account.retry_seats |= snapshot.account.waiting_for_seat.contains(user_id.as_str());
        send_again(user_id, snapshot, now);
    }
    applied
}

/// As if a request with the acknowledged values had been lost, and could not land any more.
fn send_again(user_id: &str, snapshot: &mut Snapshot, now: Timestamp) {
    let Some((id, user)) = snapshot.users.get_key_value(user_id) else {
        return;
    };
    let Some(acknowledged) = &user.acknowledged else {
        return;
    };
    let entry = LostEntry {
        content: LostContent::Upsert {
            name: acknowledged.name.clone(),
            phone: acknowledged.phone,
        },
        lost_at: now,
        may_land_until: now,
    };
    snapshot.lost.entry(id.clone()).or_default().push(entry);
}

impl Transaction<'_> {
    pub(super) async fn load_orders(&mut self) -> Result<Vec<Order>, Error> {
        let orders = sqlx::query_as!(
            Order,
            "SELECT id, at, given_by, user_id, kind, content, crm_row FROM inbox WHERE account = $1 ORDER BY id",
            self.account
        );
        Ok(orders.fetch_all(self.executor()).await?)
    }

    /// Writes down what [`apply_orders`] did to the snapshot, and takes the orders out of the inbox.
    pub(super) async fn write_applied_orders(&mut self, applied: &AppliedOrders) -> Result<(), Error> {
        if applied.is_empty() {
            return Ok(());
        }
        self.run(sqlx::query!(
            "DELETE FROM inbox WHERE account = $1 AND id = ANY($2)",
            self.account,
            &applied.ids
        ))
        .await?;
        self.open_holds(&applied.approved).await?;
        let user_ids: Vec<String> = applied.retried.iter().cloned().collect();
        self.run(sqlx::query!(
            "UPDATE failures SET next_attempt_at = now() \
             WHERE account = $1 AND NOT local AND ($2 OR user_id = ANY($3))",
            self.account,
            applied.retries_everybody,
            &user_ids
        ))
        .await?;
        self.run(sqlx::query!(
            "INSERT INTO lost (account, user_id, operation, name, phone, lost_at, may_land_until) \
             SELECT account, user_id, 'upsert', name, phone, now(), now() FROM users \
             WHERE account = $1 AND user_id = ANY($2) AND name IS NOT NULL \
             ON CONFLICT (user_id, account, operation, COALESCE(name, ''), COALESCE(phone, '')) \
             DO UPDATE SET lost_at = now(), may_land_until = GREATEST(lost.may_land_until, now())",
            self.account,
            &user_ids
        ))
        .await
    }
}

/// What `approve` and `retry` do. The next cycle takes the orders; no lease is needed.
impl State {
    /// Approves exactly these holds.
    pub async fn order_approvals(&self, holds: &Holds, given_by: &str) -> Result<(), Error> {
        let rows: Value = holds.iter().map(|(key, hold)| hold_row(key, hold)).collect();
        self.transaction("ordering approvals", async |tx| {
            tx.run(sqlx::query!(
                "INSERT INTO inbox (account, kind, user_id, content, crm_row, given_by) SELECT $1, approved.*, $3 \
                 FROM jsonb_to_recordset($2) AS approved (kind text, user_id text, content text, crm_row text)",
                self.account,
                rows,
                given_by
            ))
            .await
        })
        .await
    }

    /// Has users tried again; everybody who is failing or waiting for a seat if `user_ids` is empty.
    pub async fn order_retry(&self, user_ids: &[String], given_by: &str) -> Result<(), Error> {
        let mut rows: Vec<Option<&str>> = user_ids.iter().map(|user_id| Some(user_id.as_str())).collect();
        if rows.is_empty() {
            rows.push(None);
        }
        self.transaction("ordering a retry", async |tx| {
            tx.run(sqlx::query!(
                "INSERT INTO inbox (account, user_id, given_by) SELECT $1, unnest($2::text[]), $3",
                self.account,
                rows as _,
                given_by
            ))
            .await
        })
        .await
    }
}
