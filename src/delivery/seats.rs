//! The account's user limit: who gets a seat, and who waits for one.

use std::collections::BTreeSet;

use super::{Delivery, Error, Item, detail, log_ids};
use crate::{
    plan::{Operation, Upsert},
    state::{Account, Record, Seats},
    wazzup::{Code, Refusal},
};

/// The limit where the service does not name one (Wazzup's documentation).
const DOCUMENTED_LIMIT: usize = 1_000;

/// What is known of the room for additions.
pub(super) struct Room {
    limit: Option<usize>,
    /// Who is in the account already, where the seats were counted: to take a user over needs no seat.
    listed: BTreeSet<String>,
    /// Free seats, where they are counted.
    free: Option<usize>,
    /// Seats that a verification of this cycle found free.
    verified: usize,
    /// Seats that our removals of this cycle made free.
    vacated: usize,
    /// An addition was accepted, and none refused for want of a seat.
    accepted: bool,
    exhausted: bool,
}

impl Room {
    pub(super) fn new(account: &Account) -> Self {
        let limit = account.seats_limit.and_then(|it| usize::try_from(it).ok());
        // Counted in this very cycle: the account is as the list said.
        let counted = account.seats_counted_at == Some(account.now);
        let used = account
            .seats_used
            .filter(|_| counted)
            .and_then(|it| usize::try_from(it).ok());
        // More users than the limit that was named once: it has been raised.
        let limit = limit.filter(|limit| used.is_none_or(|used| used <= *limit));
        let verified = used.map_or(0, |used| limit.unwrap_or(DOCUMENTED_LIMIT).saturating_sub(used));
        Self {
            limit,
            listed: BTreeSet::new(),
            free: None,
            verified,
            vacated: 0,
            accepted: false,
            exhausted: false,
        }
    }

    pub(super) fn vacated(&mut self, seats: usize) {
        self.vacated += seats;
    }

    pub(super) fn accepted(&mut self, addition: bool) {
        if addition {
            self.accepted = true;
            self.free = self.free.map(|free| free.saturating_sub(1));
        }
    }

    /// Those of the waiting for whom a seat may be free now, in their order.
    pub(super) fn admits(&self, waiting: &[Upsert]) -> Vec<Upsert> {
        waiting.iter().take(self.verified + self.vacated).cloned().collect()
    }

    /// Whether an addition was accepted and no seat was found wanting.
    pub(super) fn has_room(&self) -> bool {
        self.accepted && !self.exhausted
    }
}

impl Delivery<'_> {
    /// Where the free seats are counted: lets so many additions of `group` go, the others wait without a request.
    pub(super) async fn take_seats(&mut self, group: &mut Vec<Item>) -> Result<(), Error> {
        self.see_who_is_there(group);
        if let Some(free) = self.seats.free {
            self.keep_additions(group, free).await?;
        }
        Ok(())
    }

    /// An addition that the list has is an update.
    fn see_who_is_there(&self, group: &mut [Item]) {
        for item in group.iter_mut().filter(|it| it.upsert.addition) {
            item.upsert.addition = !self.seats.listed.contains(item.upsert.employee.id.as_str());
        }
    }

    /// After a refusal for want of a seat: counts them by the list, and keeps as many additions as fit.
    pub(super) async fn count_seats(&mut self, group: &mut Vec<Item>, refusal: &Refusal) -> Result<(), Error> {
        if !self.seats.exhausted {
            tracing::warn!(
                event = "seats.exhausted",
                limit = refusal.limit,
                "the account has no free seat"
            );
        }
        self.seats.exhausted = true;
        self.seats.limit = refusal.limit.or(self.seats.limit);
        let limit = self.seats.limit.unwrap_or(DOCUMENTED_LIMIT);
        let list = self.wazzup.users().await?;
        self.seats.listed = list.users.keys().cloned().collect();
        self.see_who_is_there(group);
        let additions = group.iter().filter(|it| it.upsert.addition).count();
        // A list that proves nothing, or that contradicts the refusal: half as many are tried.
        let fit = list
            .is_complete()
            .then(|| limit.saturating_sub(list.users.len()))
            .filter(|free| *free < additions);
        if list.is_complete() {
            let foreign = self.foreign(&list.users).await?;
            let seats = Seats {
                used: list.users.len(),
                foreign,
                limit: Some(limit),
            };
            self.state.record_seats(self.lease, seats, self.now).await?;
        }
        if fit.is_some() {
            self.seats.free = fit;
        }
        self.keep_additions(group, fit.unwrap_or(additions / 2)).await
    }

    /// How many users of the list are not ours.
    async fn foreign(&self, users: &std::collections::BTreeMap<String, String>) -> Result<usize, Error> {
        let (snapshot, _) = self.state.peek().await?;
        Ok(users.keys().filter(|id| snapshot.get(id).is_none()).count())
    }

    /// Keeps the first `most` additions of `group`; the others wait for a seat.
    async fn keep_additions(&mut self, group: &mut Vec<Item>, most: usize) -> Result<(), Error> {
        let mut additions = 0;
        let mut waiting: Vec<Item> = Vec::new();
        group.retain(|item| {
            additions += usize::from(item.upsert.addition);
            let stays = !item.upsert.addition || additions <= most;
            if !stays {
                waiting.push(item.clone());
            }
            stays
        });
        if waiting.is_empty() {
            return Ok(());
        }
        let code = Code::UserLimitExceeded;
        let attempt = |item: &Item| {
            self.attempt(
                item,
                Operation::Seat,
                code.as_str().into_owned(),
                detail(&code, Operation::Seat),
                None,
            )
        };
        let attempts = waiting.iter().map(attempt).collect();
        self.record(Record {
            attempts,
            ..Record::default()
        })
        .await?;
        let ids: Vec<&str> = waiting.iter().map(|it| it.upsert.employee.id.as_str()).collect();
        log_ids(&ids, |shown| {
            tracing::debug!(
                event = "seats.exhausted",
                count = ids.len(),
                ids = shown,
                "waiting for a seat"
            );
        });
        Ok(())
    }
}
