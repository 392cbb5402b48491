//! Finding whom a refusal is about.
//!
//! Indexes that the answer names are believed if the others are accepted without them. Where it names nothing usable, or
//! what is left is refused again, the entry is searched by halves: 7 requests for one in 100, one to be sure, one without
//! its phone, and one for all the others together.

use std::collections::BTreeMap;

use super::{Delivery, Error, Item, Sent};
use crate::{
    plan::Operation,
    state::Change,
    wazzup::{Code, OnFault, Refusal},
};

impl Delivery<'_> {
    /// Delivers a batch, setting aside what is refused.
    pub(super) async fn deliver(&mut self, batch: Vec<Item>) -> Result<(), Error> {
        let Sent::Refused(group, refusal) = self.send_group(batch, OnFault::Retry).await? else {
            return Ok(());
        };
        let Some(named) = named_entries(&refusal, group.len()) else {
            return self.isolate(group, refusal).await;
        };
        let (rest, aside) = self.set_aside(group, &named, &refusal);
        match self.send_group(rest, OnFault::Retry).await? {
            Sent::Settled => self.charge_all(&aside, &refusal).await,
            Sent::OutOfRequests => Ok(()),
            Sent::Refused(rest, again) => {
                // The answer did not name everybody, or named the wrong ones: those it named are tried by themselves.
                if let Sent::Refused(aside, refusal) = self.send_group(aside, OnFault::Report).await? {
                    self.charge_all(&aside, &refusal).await?;
                }
                self.isolate(rest, again).await
            }
        }
    }

    /// Takes the named entries out of a group. One of which only the phone is named goes on without it.
    fn set_aside(&self, group: Vec<Item>, named: &BTreeMap<usize, bool>, refusal: &Refusal) -> (Vec<Item>, Vec<Item>) {
        let (mut rest, mut aside) = (Vec::with_capacity(group.len()), Vec::new());
        for (index, mut item) in group.into_iter().enumerate() {
            match named.get(&index) {
                None => rest.push(item),
                Some(true) if item.upsert.employee.phone.is_some() => {
                    let failure = self.refused(&item, Operation::Phone, refusal);
                    item.without_phone(failure);
                    rest.push(item);
                }
                Some(_) => aside.push(item),
            }
        }
        (rest, aside)
    }

    async fn charge_all(&mut self, items: &[Item], refusal: &Refusal) -> Result<(), Error> {
        for item in items {
            self.charge(item, refusal).await?;
        }
        Ok(())
    }

    /// Finds whom the refusal of `group` is about. The first entries are searched one after the other, which is quickest if
    /// there is only one; if there are more, the rest is divided until each part is accepted or a single entry.
    async fn isolate(&mut self, mut group: Vec<Item>, mut refusal: Box<Refusal>) -> Result<(), Error> {
        const SEARCHED: usize = 2;
        for _ in 0..SEARCHED {
            let rest = self.search(group, refusal).await?;
            match self.send_group(rest, OnFault::Report).await? {
                Sent::Refused(rest, again) => (group, refusal) = (rest, again),
                Sent::Settled | Sent::OutOfRequests => return Ok(()),
            }
        }
        let mut parts = vec![(group, refusal)];
        while let Some((mut part, refusal)) = parts.pop() {
            if part.len() == 1 {
                self.settle_single(&part[0], &refusal).await?;
                continue;
            }
            let second = part.split_off(part.len() / 2);
            for half in [part, second] {
                match self.send_group(half, OnFault::Report).await? {
                    Sent::Refused(half, again) => parts.push((half, again)),
                    Sent::Settled => {}
                    Sent::OutOfRequests => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Finds one entry of a refused group by halves and charges it. What is accepted on the way is delivered; what was not
    /// sent since is returned.
    async fn search(&mut self, mut suspects: Vec<Item>, mut refusal: Box<Refusal>) -> Result<Vec<Item>, Error> {
        let mut rest: Vec<Item> = Vec::new();
        // Whether the last refusal was of exactly the suspects.
        let mut certain = true;
        while suspects.len() > 1 {
            let mut others = suspects.split_off(suspects.len() / 2);
            match self.send_group(suspects, OnFault::Report).await? {
                Sent::Settled => (suspects, certain) = (others, false),
                Sent::Refused(refused, again) => {
                    others.append(&mut rest);
                    rest = others;
                    (suspects, refusal, certain) = (refused, again, true);
                }
                Sent::OutOfRequests => return Ok(Vec::new()),
            }
        }
        if !certain {
            match self.send_group(suspects, OnFault::Report).await? {
                Sent::Refused(refused, again) => (suspects, refusal) = (refused, again),
                Sent::Settled => return Ok(rest),
                Sent::OutOfRequests => return Ok(Vec::new()),
            }
        }
        if let Some(item) = suspects.pop() {
            self.settle_single(&item, &refusal).await?;
        }
        Ok(rest)
    }

    /// An entry that was refused by itself goes without its phone, or is charged.
    async fn settle_single(&mut self, item: &Item, refusal: &Refusal) -> Result<(), Error> {
        if self.delivers_without_phone(item, refusal).await? {
            return Ok(());
        }
        self.charge(item, refusal).await
    }

    /// Whether an entry that is refused by itself goes through without its phone: the phone only serves the mobile app, and
    /// the person must still be able to work.
    async fn delivers_without_phone(&mut self, item: &Item, refusal: &Refusal) -> Result<bool, Error> {
        let named = named_entries(refusal, 1).and_then(|named| named.get(&0).copied());
        let may_be_the_phone = named != Some(false) && !matches!(item.change, Change::Release);
        if item.upsert.employee.phone.is_none() || !may_be_the_phone || self.spare == 0 {
            return Ok(false);
        }
        let mut without = item.clone();
        let failure = self.refused(item, Operation::Phone, refusal);
        without.without_phone(failure);
        Ok(matches!(
            self.send_group(vec![without], OnFault::Report).await?,
            Sent::Settled
        ))
    }
}

/// The entries that an answer names, each with whether only its phone is at fault. `None` if the answer is of no use: it
/// names none, or one that is not in the request, so that the others cannot be believed either.
fn named_entries(refusal: &Refusal, entries: usize) -> Option<BTreeMap<usize, bool>> {
    if refusal.code != Code::InvalidUsersData || refusal.invalid.is_empty() {
        return None;
    }
    let mut named = BTreeMap::new();
    for invalid in &refusal.invalid {
        let index = invalid.index.filter(|index| *index < entries)?;
        let only_phone =
            invalid.fields.iter().all(|field| field.eq_ignore_ascii_case("phone")) && !invalid.fields.is_empty();
        named
            .entry(index)
            .and_modify(|only: &mut bool| *only &= only_phone)
            .or_insert(only_phone);
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wazzup::InvalidEntry;

    fn named(invalid: &[(Option<usize>, &[&str])], entries: usize) -> Option<Vec<(usize, bool)>> {
        let invalid = invalid.iter().map(|(index, fields)| InvalidEntry {
            index: *index,
            fields: fields.iter().map(ToString::to_string).collect(),
        });
        let refusal = Refusal {
            status: 400,
            code: Code::InvalidUsersData,
            request_id: None,
            invalid: invalid.collect(),
            phone: None,
            limit: None,
            late: false,
        };
        named_entries(&refusal, entries).map(|named| named.into_iter().collect())
    }

    #[test]
    fn named_entries_are_believed_only_if_all_are_in_the_request() {
        assert_eq!(
            named(&[(Some(2), &["name"]), (Some(0), &["phone"])], 3),
            Some(vec![(0, true), (2, false)])
        );
        assert_eq!(
            named(&[(Some(1), &["phone"]), (Some(1), &["id"])], 3),
            Some(vec![(1, false)])
        );
        assert_eq!(named(&[(Some(1), &[])], 3), Some(vec![(1, false)]));
        assert_eq!(named(&[(Some(1), &["name"]), (Some(3), &["name"])], 3), None);
        assert_eq!(named(&[(None, &["name"])], 3), None);
        assert_eq!(named(&[], 3), None);
    }
}
