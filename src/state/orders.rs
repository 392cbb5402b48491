//! The inbox: what operators ask for with `approve` and `retry`. They only insert, so no order is lost to a race.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{PgConnection, types::Json};

use super::{Error, State, read_count};
use crate::{
    employee::EmployeeId,
    plan::{Approval, Failure, HoldKey, HoldKind, Holds, LostContent, LostEntry, Snapshot},
    postgres::unnamed,
};

/// What somebody asked for.
pub(super) struct Order {
    request: Requested,
    at: Timestamp,
    given_by: String,
}

enum Requested {
    /// Approve a hold with exactly this content.
    Approval { key: HoldKey, content: String },
    /// Try again now; `None`: everybody.
    Retry { user_id: Option<String> },
}

/// An approval that matches no hold any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedOrder {
    /// The hold that was meant.
    pub key: HoldKey,
    /// Who gave the order.
    pub given_by: String,
    /// When.
    pub at: Timestamp,
}

/// The orders that a cycle took out of the inbox.
#[derive(Default)]
pub(super) struct TakenOrders {
    pub(super) orders: Vec<Order>,
    pub(super) approved: Vec<(HoldKey, Approval)>,
    pub(super) dropped: Vec<DroppedOrder>,
}

/// What became of a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryOrder {
    /// The next cycle takes it.
    Taken {
        /// How many users it concerns.
        concerned: usize,
    },
    /// These ids are unknown to us; nothing was ordered.
    Unknown(Vec<String>),
}

impl Order {
    /// Whether those who wait for a seat shall be tried.
    pub(super) fn retries_seats(&self, waiting: &BTreeSet<EmployeeId>) -> bool {
        match &self.request {
            Requested::Retry { user_id: None } => true,
            Requested::Retry { user_id: Some(user_id) } => waiting.contains(user_id.as_str()),
            Requested::Approval { .. } => false,
        }
    }

    /// Whether the order makes the refused attempts of `user_id` due.
    pub(super) fn retries(&self, user_id: &str) -> bool {
        match &self.request {
            Requested::Retry { user_id: None } => true,
            Requested::Retry { user_id: Some(retried) } => retried == user_id,
            Requested::Approval { .. } => false,
        }
    }

    /// Approves a hold that has the content.
    pub(super) fn approve_in(&self, holds: &mut Holds) {
        if let Requested::Approval { key, content } = &self.request
            && let Some(hold) = holds.get_mut(key)
            && hold.content == *content
        {
            hold.approved = Some(self.approval());
        }
    }

    /// Makes failures due, and has an acknowledged user sent again.
    pub(super) fn retry_in(&self, snapshot: &mut Snapshot, now: Timestamp) {
        for (key, failure) in &mut snapshot.failures {
            if let Failure::Refused(attempt) = failure
                && self.retries(&key.user_id)
            {
                attempt.next_attempt_at = now;
            }
        }
        if let Requested::Retry { user_id: Some(user_id) } = &self.request
            && let Some((id, user)) = snapshot.users.get_key_value(user_id.as_str())
            && let Some(acknowledged) = &user.acknowledged
        {
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
    }

    fn approval(&self) -> Approval {
        Approval {
            at: self.at,
            by: self.given_by.clone(),
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("at", &self.at)
            .field("given_by", &self.given_by)
            .finish_non_exhaustive()
    }
}

/// An approval as a row.
#[derive(Serialize)]
struct ApprovalRow<'a> {
    kind: &'static str,
    user_id: &'a str,
    content: &'a str,
    at: Timestamp,
    given_by: &'a str,
}

impl<'a> ApprovalRow<'a> {
    fn new(key: &'a HoldKey, content: &'a str, at: Timestamp, given_by: &'a str) -> Self {
        Self {
            kind: key.kind.as_str(),
            user_id: &key.user_id,
            content,
            at,
            given_by,
        }
    }
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
        let request = match (self.kind, self.content) {
            (Some(kind), Some(content)) => Requested::Approval {
                key: HoldKey::new(HoldKind::parse(&kind)?, &self.user_id?),
                content,
            },
            _ => Requested::Retry { user_id: self.user_id },
        };
        Some(Order {
            request,
            at: self.at.to_jiff(),
            given_by: self.given_by,
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

    /// Takes the orders out of the inbox and applies them.
    pub(super) async fn take_orders(&self, tx: &mut PgConnection) -> Result<TakenOrders, Error> {
        let rows = sqlx::query_as!(
            OrderRow,
            "DELETE FROM inbox WHERE account = $1 RETURNING at, user_id, kind, content, given_by",
            self.account
        )
        .fetch_all(unnamed(tx))
        .await?;
        let orders: Vec<Order> = rows.into_iter().filter_map(OrderRow::into_order).collect();
        let mut taken = self.apply_approvals(tx, &orders).await?;
        self.apply_retries(tx, &orders).await?;
        taken.orders = orders;
        Ok(taken)
    }

    async fn apply_approvals(&self, tx: &mut PgConnection, orders: &[Order]) -> Result<TakenOrders, Error> {
        // The same hold may be approved twice.
        let mut waiting: BTreeMap<(HoldKey, String), ApprovalRow<'_>> = BTreeMap::new();
        for order in orders {
            if let Requested::Approval { key, content } = &order.request {
                let row = ApprovalRow::new(key, content, order.at, &order.given_by);
                waiting.insert((key.clone(), content.clone()), row);
            }
        }
        let mut taken = TakenOrders::default();
        if waiting.is_empty() {
            return Ok(taken);
        }
        let rows: Vec<_> = waiting.values().collect();
        let approved = sqlx::query!(
            r#"UPDATE holds SET approved_at = given.at, approved_by = given.given_by
               FROM jsonb_to_recordset($2)
                   AS given (kind text, user_id text, content text, at timestamptz, given_by text)
               WHERE holds.account = $1 AND holds.user_id = given.user_id AND holds.kind = given.kind
                   AND holds.content = given.content
               RETURNING holds.kind, holds.user_id, holds.content, given.at AS "at!", given.given_by AS "given_by!""#,
            self.account,
            Json(rows) as _
        )
        .fetch_all(unnamed(tx))
        .await?;
        for row in approved {
            let Some(kind) = HoldKind::parse(&row.kind) else {
                continue;
            };
            let key = HoldKey::new(kind, &row.user_id);
            waiting.remove(&(key.clone(), row.content));
            let approval = Approval {
                at: row.at.to_jiff(),
                by: row.given_by,
            };
            taken.approved.push((key, approval));
        }
        for ((key, _), row) in waiting {
            taken.dropped.push(DroppedOrder {
                key,
                given_by: row.given_by.to_owned(),
                at: row.at,
            });
        }
        Ok(taken)
    }

    async fn apply_retries(&self, tx: &mut PgConnection, orders: &[Order]) -> Result<(), Error> {
        let mut user_ids = Vec::new();
        let mut concerns_everybody = false;
        for order in orders {
            match &order.request {
                Requested::Retry { user_id: Some(user_id) } => user_ids.push(user_id.clone()),
                Requested::Retry { user_id: None } => concerns_everybody = true,
                Requested::Approval { .. } => {}
            }
        }
        if user_ids.is_empty() && !concerns_everybody {
            return Ok(());
        }
        sqlx::query!(
            "UPDATE failures SET next_attempt_at = now() \
             WHERE account = $1 AND NOT local AND ($2 OR user_id = ANY($3))",
            self.account,
            concerns_everybody,
            &user_ids
        )
        .execute(unnamed(tx))
        .await?;
        // As if a request with the acknowledged values had been lost, and could not land any more: it is sent again.
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

/// What `approve` and `retry` do.
impl State {
    /// Approves holds with exactly these contents; the next cycle takes the orders. Needs no lease.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn order_approvals(&self, approvals: &[(HoldKey, String)], given_by: &str) -> Result<(), Error> {
        self.limited("ordering approvals", async {
            let mut tx = self.transaction().await?;
            let mut rows: Vec<(&str, &str, &str)> = Vec::new();
            for (key, content) in approvals {
                rows.push((key.kind.as_str(), &key.user_id, content));
            }
            sqlx::query!(
                "INSERT INTO inbox (account, verb, kind, user_id, content, given_by) \
                 SELECT $1, 'approve', entry ->> 0, entry ->> 1, entry ->> 2, $3 \
                 FROM jsonb_array_elements($2) AS entry",
                self.account,
                Json(rows) as _,
                given_by
            )
            .execute(unnamed(&mut tx))
            .await?;
            tx.commit(()).await
        })
        .await
    }

    /// Has users tried again now, everybody who is failing or waiting for a seat if `user_ids` is empty; the next cycle
    /// takes the orders. Needs no lease.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn order_retry(&self, user_ids: &[String], given_by: &str) -> Result<RetryOrder, Error> {
        self.limited("ordering a retry", async {
            let mut tx = self.transaction().await?;
            let answer = if user_ids.is_empty() {
                self.retry_everybody(&mut tx, given_by).await?
            } else {
                self.retry_known(&mut tx, user_ids, given_by).await?
            };
            tx.commit(answer).await
        })
        .await
    }

    async fn retry_everybody(&self, tx: &mut PgConnection, given_by: &str) -> Result<RetryOrder, Error> {
        sqlx::query!(
            "INSERT INTO inbox (account, verb, given_by) VALUES ($1, 'retry', $2)",
            self.account,
            given_by
        )
        .execute(unnamed(tx))
        .await?;
        Ok(RetryOrder::Taken {
            concerned: self.count_retryable(tx).await?,
        })
    }

    async fn retry_known(
        &self,
        tx: &mut PgConnection,
        user_ids: &[String],
        given_by: &str,
    ) -> Result<RetryOrder, Error> {
        let unknown = self.find_unknown(tx, user_ids).await?;
        if !unknown.is_empty() {
            return Ok(RetryOrder::Unknown(unknown));
        }
        sqlx::query!(
            "INSERT INTO inbox (account, verb, user_id, given_by) SELECT $1, 'retry', unnest($2::text[]), $3",
            self.account,
            user_ids,
            given_by
        )
        .execute(unnamed(tx))
        .await?;
        Ok(RetryOrder::Taken {
            concerned: user_ids.len(),
        })
    }

    async fn count_retryable(&self, tx: &mut PgConnection) -> Result<usize, Error> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM (
                   SELECT user_id FROM failures WHERE account = $1 AND NOT local
                   UNION SELECT unnest(waiting_for_seat) FROM accounts WHERE account = $1
               ) AS retryable"#,
            self.account
        )
        .fetch_one(unnamed(tx))
        .await?;
        Ok(read_count(count))
    }

    /// Those of `user_ids` of whom no table knows anything.
    async fn find_unknown(&self, tx: &mut PgConnection, user_ids: &[String]) -> Result<Vec<String>, Error> {
        let unknown = sqlx::query_scalar!(
            r#"SELECT wanted.user_id AS "user_id!" FROM unnest($2::text[]) AS wanted (user_id)
               WHERE NOT EXISTS (SELECT FROM users u WHERE u.account = $1 AND u.user_id = wanted.user_id)
                   AND NOT EXISTS (SELECT FROM failures f WHERE f.account = $1 AND f.user_id = wanted.user_id)
                   AND NOT EXISTS (SELECT FROM holds h WHERE h.account = $1 AND h.user_id = wanted.user_id)
                   AND NOT EXISTS (SELECT FROM lost l WHERE l.account = $1 AND l.user_id = wanted.user_id)
                   AND NOT EXISTS (
                       SELECT FROM accounts a WHERE a.account = $1 AND wanted.user_id = ANY(a.waiting_for_seat)
                   )"#,
            self.account,
            user_ids
        )
        .fetch_all(unnamed(tx))
        .await?;
        Ok(unknown)
    }
}
