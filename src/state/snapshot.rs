//! Loading the snapshot: users, what was lost, failures, holds and the account.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;

use super::{Error, Transaction, read_time};
use crate::{
    employee::{EmployeeId, FullName, Phone, Spelling},
    plan::{
        AccountFacts, Acknowledged, Approval, Failure, FailureKey, Hold, HoldKey, Holds, LostContent, LostEntry,
        OpenFailure, RecentRemoval, Snapshot, User,
    },
};

/// Which tables have rows of the account. Most are empty most of the time, and what is not there is not asked for.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent answers of the database")]
pub(super) struct Contents {
    /// What was lost, or is in flight.
    pub(super) lost: bool,
    pub(super) failures: bool,
    pub(super) holds: bool,
    /// Removals of the last 24 hours.
    pub(super) removals: bool,
}

impl Contents {
    pub(super) const ALL: Self = Self {
        lost: true,
        failures: true,
        holds: true,
        removals: true,
    };
}

/// Reads back what this program wrote. Of what somebody else wrote, rows whose id, operation or kind does not parse are left
/// out; an unreadable name counts as never acknowledged, an unreadable phone as none.
impl Transaction<'_> {
    /// What is in flight counts as lost now.
    pub(super) async fn load_snapshot(&mut self, contents: Contents, account: AccountFacts) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot {
            users: self.load_users().await?,
            account,
            ..Snapshot::default()
        };
        if contents.lost {
            snapshot.lost = self.load_lost().await?;
        }
        if contents.failures {
            snapshot.failures = self.load_failures().await?;
        }
        if contents.holds {
            snapshot.holds = self.load_holds().await?;
        }
        if contents.removals {
            snapshot.recent_removals = self.load_recent_removals().await?;
        }
        for (id, entries) in &snapshot.lost {
            let is_upsert = |entry: &LostEntry| matches!(entry.content, LostContent::Upsert { .. });
            if entries.iter().any(is_upsert) {
                snapshot.users.entry(id.clone()).or_default();
            }
        }
        Ok(snapshot)
    }

    async fn load_users(&mut self) -> Result<BTreeMap<EmployeeId, User>, Error> {
        let mut users = Vec::new();
        let mut rows = sqlx::query!(
            "SELECT user_id, name, phone, phone_spelling, absent_since, synced_at, added_at FROM users WHERE account = $1",
            self.account
        )
        .fetch(self.executor());
        while let Some(row) = rows.try_next().await? {
            let Some(id) = EmployeeId::parse(&row.user_id) else {
                continue;
            };
            let name = row.name.and_then(|name| FullName::parse(&name));
            let user = User {
                acknowledged: name.map(|name| Acknowledged {
                    name,
                    phone: row.phone.and_then(|phone| Phone::parse(&phone)),
                    phone_spelling: row.phone_spelling.as_deref().map(Spelling::from_stored),
                }),
                absent_since: read_time(row.absent_since),
                synced_at: read_time(row.synced_at),
                added_at: Some(row.added_at.to_jiff()),
            };
            users.push((id, user));
        }
        Ok(users.into_iter().collect())
    }

    /// What was lost, the oldest entries of each user first, and what is in flight.
    pub(super) async fn load_lost(&mut self) -> Result<BTreeMap<EmployeeId, Vec<LostEntry>>, Error> {
        let rows = sqlx::query!(
            r#"SELECT user_id AS "user_id!", operation AS "operation!", name, phone,
                   lost_at AS "lost_at!", may_land_until AS "may_land_until!"
               FROM (
                   SELECT user_id, operation, name, phone, lost_at, may_land_until FROM lost WHERE account = $1
                   UNION ALL
                   SELECT user_id, operation, name, phone, now(), now() + lands_within
                   FROM in_flight_entries WHERE account = $1
               ) AS entry
               ORDER BY lost_at, name, phone"#,
            self.account
        )
        .fetch_all(self.executor())
        .await?;
        let mut lost: BTreeMap<EmployeeId, Vec<LostEntry>> = BTreeMap::new();
        for row in rows {
            let name = row.name.and_then(|name| FullName::parse(&name));
            let content = match (row.operation.as_str(), name) {
                ("remove", _) => LostContent::Removal,
                (_, Some(name)) => LostContent::Upsert {
                    name,
                    phone: row.phone.and_then(|phone| Phone::parse(&phone)),
                },
                (_, None) => continue,
            };
            let Some(id) = EmployeeId::parse(&row.user_id) else {
                continue;
            };
            lost.entry(id).or_default().push(LostEntry {
                content,
                lost_at: row.lost_at.to_jiff(),
                may_land_until: row.may_land_until.to_jiff(),
            });
        }
        Ok(lost)
    }

    async fn load_failures(&mut self) -> Result<BTreeMap<FailureKey, OpenFailure>, Error> {
        let rows = sqlx::query!(
            "SELECT user_id, operation, local, code, detail, request_id, attempted_name, attempted_phone, spelling, \
                 attempts, first_at, last_at, next_attempt_at \
             FROM failures WHERE account = $1",
            self.account
        )
        .fetch_all(self.executor())
        .await?;
        let mut failures = BTreeMap::new();
        for row in rows {
            let Ok(operation) = row.operation.parse() else {
                continue;
            };
            let key = FailureKey::new(&row.user_id, operation);
            let failure = Failure {
                key: key.clone(),
                code: row.code,
                detail: row.detail,
                request_id: row.request_id,
                attempts: row.attempts.try_into().unwrap_or_default(),
                is_local: row.local,
                name: row.attempted_name.and_then(|name| FullName::parse(&name)),
                phone: row.attempted_phone.and_then(|phone| Phone::parse(&phone)),
                spelling: row.spelling.as_deref().map(Spelling::from_stored),
            };
            let open = OpenFailure {
                failure,
                first_at: row.first_at.to_jiff(),
                last_at: row.last_at.to_jiff(),
                next_attempt_at: read_time(row.next_attempt_at),
            };
            failures.insert(key, open);
        }
        Ok(failures)
    }

    pub(super) async fn load_holds(&mut self) -> Result<Holds, Error> {
        let rows = sqlx::query!(
            "SELECT user_id, kind, content, crm_row, reason, since, sticky, approved_at, approved_by FROM holds \
             WHERE account = $1",
            self.account
        )
        .fetch_all(self.executor())
        .await?;
        let mut holds = Holds::new();
        for row in rows {
            let Ok(kind) = row.kind.parse() else {
                continue;
            };
            let hold = Hold {
                content: row.content,
                crm_row: row.crm_row,
                reason: row.reason,
                since: row.since.to_jiff(),
                sticky: row.sticky,
                approved: read_time(row.approved_at).map(|at| Approval {
                    at,
                    by: row.approved_by.unwrap_or_default(),
                }),
            };
            holds.insert(HoldKey::new(kind, &row.user_id), hold);
        }
        Ok(holds)
    }

    /// The removals of the last 24 hours. Whoever was removed twice counts as approved only if both were.
    async fn load_recent_removals(&mut self) -> Result<BTreeMap<EmployeeId, RecentRemoval>, Error> {
        let rows = sqlx::query!(
            r#"SELECT user_id, bool_and(approved_by IS NOT NULL) AS "approved!" FROM history
               WHERE account = $1 AND operation = 'remove' AND at > now() - interval '24 hours' GROUP BY user_id"#,
            self.account
        )
        .fetch_all(self.executor())
        .await?;
        let mut removals = BTreeMap::new();
        for row in rows {
            if let Some(id) = EmployeeId::parse(&row.user_id) {
                removals.insert(id, RecentRemoval { approved: row.approved });
            }
        }
        Ok(removals)
    }
}
