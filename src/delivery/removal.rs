//! Removing users.

use std::collections::HashSet;

use super::{Delivery, Error, is_perhaps_the_service, log_refusal};
use crate::{
    employee::EmployeeId,
    plan::{Operation, Removal, Snapshot, next_attempt},
    state::{Attempt, Record, Removed, State},
    wazzup::{self, Code, OnFault, Refusal},
};

/// After so many refused DELETEs without an accepted one the rest waits for the next cycle.
const DELETES_OF_AN_OUTAGE: usize = 10;

impl Delivery<'_> {
    /// Removes users in batches; who was never acknowledged is looked up first.
    pub(super) async fn remove(&mut self, removals: &[Removal], snapshot: &Snapshot) -> Result<(), Error> {
        self.tally.unremoved = removals.iter().map(|it| it.id.clone()).collect();
        let mut certain = Vec::with_capacity(removals.len());
        for removal in removals {
            if !removal.lookup || self.is_ours(removal, snapshot).await? {
                certain.push(removal);
            }
        }
        self.remove_all(&certain, snapshot).await
    }

    /// Whether a user that was never acknowledged is in Wazzup under a name that we intended. If not, it is forgotten.
    async fn is_ours(&mut self, removal: &Removal, snapshot: &Snapshot) -> Result<bool, Error> {
        crate::abort::step();
        let found = match self.wazzup.user(&removal.id).await {
            Ok(found) => found,
            Err(wazzup::Error::Refused(refusal) | wazzup::Error::Fault(refusal)) => {
                self.charge_removal(removal, &refusal).await?;
                return Ok(false);
            }
            Err(wazzup::Error::Unreadable { .. }) => {
                self.charge_unreadable(removal).await?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let intended = snapshot
            .get(removal.id.as_str())
            .and_then(|it| it.marks().in_doubt.as_ref());
        let names = intended.map(|it| it.names.as_slice()).unwrap_or_default();
        match found {
            Some(user) if names.iter().any(|name| name.as_str() == user.name.trim()) => return Ok(true),
            Some(_) => {
                self.record(Record {
                    forgotten: vec![removal.id.clone()],
                    ..Record::default()
                })
                .await?;
            }
            None => {
                self.make_sure_of_404s().await?;
                let again_at = self.remove_again_at(&removal.id, snapshot);
                let record = match again_at {
                    Some(_) => Record {
                        removed: vec![removed(removal, true, again_at)],
                        ..Record::default()
                    },
                    None => Record {
                        forgotten: vec![removal.id.clone()],
                        ..Record::default()
                    },
                };
                self.record(record).await?;
            }
        }
        self.tally.unremoved.remove(&removal.id);
        Ok(false)
    }

    /// A wrong `base_url` answers 404 to everything, which must not pass for users that are gone.
    async fn make_sure_of_404s(&mut self) -> Result<(), Error> {
        if !self.answers {
            self.wazzup.ping().await?;
            self.answers = true;
        }
        Ok(())
    }

    async fn remove_all(&mut self, mut removals: &[&Removal], snapshot: &Snapshot) -> Result<(), Error> {
        while !removals.is_empty() {
            // The size may have become smaller since the last one.
            let (batch, later) = removals.split_at(removals.len().min(self.batch));
            self.remove_batch(batch, snapshot).await?;
            removals = later;
        }
        Ok(())
    }

    async fn remove_batch(&mut self, batch: &[&Removal], snapshot: &Snapshot) -> Result<(), Error> {
        let ids: Vec<EmployeeId> = batch.iter().map(|it| it.id.clone()).collect();
        crate::abort::step();
        let answer = self.wazzup.bulk_delete(&ids, OnFault::Retry).await;
        crate::abort::step();
        self.tally.requests += 1;
        match answer {
            Ok(answer) => {
                let absent: HashSet<EmployeeId> = answer.absent.into_iter().flatten().collect();
                let removed = batch
                    .iter()
                    .map(|it| removed(it, absent.contains(&it.id), self.remove_again_at(&it.id, snapshot)));
                self.finish_removals(removed.collect()).await
            }
            Err(wazzup::Error::Refused(refusal))
                if refusal.code == Code::TooManyEntities && batch.len() > 1 && self.spare > 0 =>
            {
                log_refusal(&refusal, batch.len(), "remove");
                self.spare -= 1;
                self.take_batch_size(&refusal, batch.len());
                Box::pin(self.remove_all(batch, snapshot)).await
            }
            Err(wazzup::Error::Refused(refusal)) => {
                log_refusal(&refusal, batch.len(), "remove");
                self.make_sure_of_404s().await?;
                self.remove_one_by_one(batch, snapshot).await
            }
            Err(wazzup::Error::Fault(refusal)) => {
                log_refusal(&refusal, batch.len(), "remove");
                self.wazzup.ping().await?;
                self.answers = true;
                self.remove_one_by_one(batch, snapshot).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn remove_one_by_one(&mut self, batch: &[&Removal], snapshot: &Snapshot) -> Result<(), Error> {
        let mut refused: Vec<(&Removal, Box<Refusal>)> = Vec::new();
        let mut accepted = false;
        for removal in batch {
            if self.spare == 0 || !accepted && refused.len() >= DELETES_OF_AN_OUTAGE {
                break;
            }
            self.spare -= 1;
            crate::abort::step();
            let answer = self.wazzup.delete(&removal.id, OnFault::Report).await;
            crate::abort::step();
            self.tally.requests += 1;
            match answer {
                Ok(deleted) => {
                    accepted = true;
                    let again_at = self.remove_again_at(&removal.id, snapshot);
                    let removed = removed(removal, deleted.was_absent, again_at);
                    self.finish_removals(vec![removed]).await?;
                }
                Err(wazzup::Error::Refused(refusal) | wazzup::Error::Fault(refusal)) => {
                    refused.push((removal, refusal));
                }
                Err(wazzup::Error::Unreadable { .. }) => self.charge_unreadable(removal).await?,
                Err(error) => return Err(error.into()),
            }
        }
        // Where every single one is answered with a 500, it is the service that fails.
        let outage = !accepted && batch.len() > 1 && refused.iter().all(|(_, it)| is_perhaps_the_service(it.status));
        if let Some((_, refusal)) = refused.first().filter(|_| outage) {
            return Err(Error::Outage(refusal.to_string()));
        }
        for (removal, refusal) in refused {
            self.charge_removal(removal, &refusal).await?;
        }
        Ok(())
    }

    async fn finish_removals(&mut self, removed: Vec<Removed>) -> Result<(), Error> {
        let ids: Vec<EmployeeId> = removed.iter().map(|it| it.id.clone()).collect();
        let absent = removed.iter().filter(|it| it.absent).count();
        let again = removed.iter().filter(|it| it.again_at.is_some()).count();
        self.record(Record {
            removed,
            ..Record::default()
        })
        .await?;
        self.seats.vacated(ids.len() - absent);
        self.tally.removed += ids.len();
        for id in &ids {
            self.tally.unremoved.remove(id);
            for operation in [Operation::Upsert, Operation::Remove, Operation::Phone, Operation::Seat] {
                self.failures.remove(&(id.as_str().into(), operation));
            }
        }
        tracing::info!(
            event = "batch.delivered",
            operation = "remove",
            entries = ids.len(),
            absent,
            again,
            "removed"
        );
        Ok(())
    }

    /// When a user must be removed once more: an upsert without an answer may land until then, and would create it again,
    /// whether it was there or not.
    fn remove_again_at(&self, id: &EmployeeId, snapshot: &Snapshot) -> Option<jiff::Timestamp> {
        let unknown_at = snapshot.get(id.as_str())?.marks().unknown_at?;
        Some(State::quiet_after(unknown_at, self.timeout)).filter(|quiet| *quiet > self.clock())
    }

    async fn charge_removal(&mut self, removal: &Removal, refusal: &Refusal) -> Result<(), Error> {
        let detail = super::detail(&refusal.code, Operation::Remove);
        self.fail_removal(
            removal,
            refusal.code.as_str().into_owned(),
            detail,
            refusal.request_id.clone(),
        )
        .await
    }

    async fn charge_unreadable(&mut self, removal: &Removal) -> Result<(), Error> {
        let detail = "Wazzup's answer about this user cannot be read, so it is not certain to be ours".into();
        self.fail_removal(removal, "UNREADABLE_ANSWER".into(), detail, None)
            .await
    }

    async fn fail_removal(
        &mut self,
        removal: &Removal,
        code: String,
        detail: String,
        request_id: Option<String>,
    ) -> Result<(), Error> {
        let id: Box<str> = removal.id.as_str().into();
        let attempts = self
            .failures
            .get(&(id.clone(), Operation::Remove))
            .map_or(1, |known| known.attempts + 1);
        let next_attempt_at = next_attempt(attempts, self.clock());
        let attempt = Attempt {
            id,
            operation: Operation::Remove,
            code,
            detail,
            request_id,
            name: None,
            phone: None,
            attempts,
            next_attempt_at,
        };
        self.record(Record {
            attempts: vec![attempt],
            ..Record::default()
        })
        .await
    }
}

fn removed(removal: &Removal, absent: bool, again_at: Option<jiff::Timestamp>) -> Removed {
    Removed {
        id: removal.id.clone(),
        absent,
        approved: removal.approved || removal.again,
        again_at,
    }
}
