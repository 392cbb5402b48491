//! The inbox: what operators ask for with `approve` and `retry`. They only insert, so no order is lost to a race.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::{PgConnection, types::Json};

use super::{Error, State};
use crate::{
    plan::{Approval, Hold, HoldKey, HoldKind, LostContent, LostEntry, Snapshot},
    postgres::unnamed,
};

/// What somebody asked for.
pub(super) enum Order {
    /// Approve a hold with exactly this content.
    Approval {
        key: HoldKey,
        content: String,
        approval: Approval,
    },
    /// Try again now; `None`: everybody.
    Retry { user_id: Option<String> },
}

/// An approval that matches no hold any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedOrder {
    pub key: HoldKey,
    pub given_by: String,
}

/// What orders came to.
#[derive(Default)]
pub(super) struct AppliedOrders {
    pub(super) approved: BTreeMap<HoldKey, Approval>,
    pub(super) dropped: Vec<DroppedOrder>,
    retried: BTreeSet<String>,
    retries_everybody: bool,
}

/// Has `snapshot` follow the orders `now`: holds are approved, failures are due, and an acknowledged user is sent again.
pub(super) fn apply_orders(orders: Vec<Order>, snapshot: &mut Snapshot, now: Timestamp) -> AppliedOrders {
    let mut applied = AppliedOrders::default();
    for order in orders {
        match order {
            Order::Approval { key, content, approval } => match snapshot.holds.get_mut(&key) {
                Some(hold) if hold.content == content => {
                    hold.approved = Some(approval.clone());
                    applied.approved.insert(key, approval);
                }
                _ => applied.dropped.push(DroppedOrder {
                    key,
                    given_by: approval.by,
                }),
            },
            Order::Retry { user_id: Some(user_id) } => {
                applied.retried.insert(user_id);
            }
            Order::Retry { user_id: None } => applied.retries_everybody = true,
        }
    }
    for failure in snapshot.failures.values_mut() {
        let is_meant = applied.retries_everybody || applied.retried.contains(&failure.user_id);
        if is_meant && !failure.is_local {
            failure.next_attempt_at = Some(now);
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

struct OrderRow {
    at: jiff_sqlx::Timestamp,
    user_id: Option<String>,
    kind: Option<String>,
    content: Option<String>,
    given_by: String,
}

impl OrderRow {
    /// `None` for a kind that this version does not know.
    fn into_order(self) -> Option<Order> {
        let (Some(kind), Some(content)) = (self.kind, self.content) else {
            return Some(Order::Retry { user_id: self.user_id });
        };
        Some(Order::Approval {
            key: HoldKey::new(HoldKind::parse(&kind)?, &self.user_id?),
            content,
            approval: Approval {
                at: self.at.to_jiff(),
                by: self.given_by,
            },
        })
    }
}

/// What cycles do with orders.
impl State {
    /// The orders that wait.
    pub(super) async fn load_orders(&self, tx: &mut PgConnection) -> Result<Vec<Order>, Error> {
        let rows = sqlx::query_as!(
            OrderRow,
            "SELECT at, user_id, kind, content, given_by FROM inbox WHERE account = $1 ORDER BY id",
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        Ok(rows.into_iter().filter_map(OrderRow::into_order).collect())
    }

    /// Takes the orders out of the inbox.
    pub(super) async fn take_orders(&self, tx: &mut PgConnection) -> Result<Vec<Order>, Error> {
        let rows = sqlx::query_as!(
            OrderRow,
            "DELETE FROM inbox WHERE account = $1 RETURNING at, user_id, kind, content, given_by",
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        Ok(rows.into_iter().filter_map(OrderRow::into_order).collect())
    }

    /// Writes down what [`apply_orders`] did to `snapshot`.
    pub(super) async fn write_applied_orders(
        &self,
        tx: &mut PgConnection,
        applied: &AppliedOrders,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let mut approved: Vec<(HoldKey, Hold)> = Vec::new();
        for key in applied.approved.keys() {
            approved.push((key.clone(), snapshot.holds[key].clone()));
        }
        self.open_holds(tx, &approved).await?;
        let user_ids: Vec<String> = applied.retried.iter().cloned().collect();
        sqlx::query!(
            "UPDATE failures SET next_attempt_at = now() \
             WHERE account = $1 AND NOT local AND ($2 OR user_id = ANY($3))",
            self.account,
            applied.retries_everybody,
            &user_ids
        )
        .execute(unnamed(tx))
        .await?;
        sqlx::query!(
            "INSERT INTO lost (account, user_id, operation, name, phone, lost_at, may_land_until) \
             SELECT account, user_id, 'upsert', name, phone, now(), now() FROM users \
             WHERE account = $1 AND user_id = ANY($2) AND name IS NOT NULL \
             ON CONFLICT (user_id, account, operation, COALESCE(name, ''), COALESCE(phone, '')) \
             DO UPDATE SET lost_at = now(), may_land_until = GREATEST(lost.may_land_until, now())",
            self.account,
            &user_ids
        )
        .execute(unnamed(tx))
        .await?;
        Ok(())
    }
}

/// What `approve` and `retry` do. The next cycle takes the orders; no lease is needed.
impl State {
    /// Approves holds with exactly these contents.
    pub async fn order_approvals(&self, approvals: &[(HoldKey, String)], given_by: &str) -> Result<(), Error> {
        let mut rows: Vec<(&str, &str, &str)> = Vec::new();
        for (key, content) in approvals {
            rows.push((key.kind.as_str(), &key.user_id, content));
        }
        self.transaction("ordering approvals", async |tx| {
            sqlx::query!(
                "INSERT INTO inbox (account, verb, kind, user_id, content, given_by) \
                 SELECT $1, 'approve', entry ->> 0, entry ->> 1, entry ->> 2, $3 \
                 FROM jsonb_array_elements($2) AS entry",
                self.account,
                Json(rows) as _,
                given_by
            )
            .execute(unnamed(tx))
            .await?;
            Ok(())
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
            sqlx::query!(
                "INSERT INTO inbox (account, verb, user_id, given_by) SELECT $1, 'retry', unnest($2::text[]), $3",
                self.account,
                rows as _,
                given_by
            )
            .execute(unnamed(tx))
            .await?;
            Ok(())
        })
        .await
    }
}
