//! All that the sandbox knows, and the one place where a request acts on it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::answer::Answer;
use crate::faults::{self, Fault, Poison, What};
use crate::log::{Kind, Log, Request};
use crate::users::{Account, Origin, User};
use crate::variant::Variant;

/// The sandbox at one moment, for the conditions of [`Wazzup::wait_until`](crate::Wazzup::wait_until).
#[derive(Debug, Default)]
pub struct State {
    /// Never empty: the first account is always there.
    pub(crate) accounts: Vec<Account>,
    pub(crate) sidecar_key: Option<String>,
    pub(crate) variant: Variant,
    pub(crate) faults: Vec<Fault>,
    pub(crate) poisons: Vec<Poison>,
    pub(crate) log: Log,
    pub(crate) held_back: VecDeque<Request>,
}

impl State {
    /// The users of the first account by id.
    pub fn users(&self) -> &BTreeMap<String, User> {
        &self.accounts[0].users
    }

    /// The requests since the log was last cleared, those in flight included.
    pub fn requests(&self) -> &[Request] {
        &self.log.requests
    }

    /// Those of the requests that may change users.
    pub fn writing_requests(&self) -> impl Iterator<Item = &Request> {
        self.log.requests.iter().filter(|request| request.writing)
    }

    /// How many of the requests are of this kind.
    pub fn count_of(&self, kind: Kind) -> usize {
        self.log.requests.iter().filter(|request| request.kind == kind).count()
    }

    /// Requests that neither were answered nor lost their connection yet.
    pub fn in_flight(&self) -> usize {
        self.log.in_flight
    }

    /// Requests that are held back, and may still land.
    pub fn late(&self) -> usize {
        self.held_back.len()
    }

    /// Writes a request down. Returns what strikes it: a wait, and a fault.
    pub(crate) fn begin(&mut self, request: &mut Request) -> (Duration, Option<What>) {
        self.log.begin(request);
        let (delay, mut what) = faults::take(&mut self.faults, request);
        for poison in &self.poisons {
            if what.is_none() && !poison.poisoned_entries(request).is_empty() {
                what = poison.what();
            }
        }
        (delay, what)
    }

    /// Does the oldest of the requests that are held back.
    pub(crate) fn land_next(&mut self) -> Option<Request> {
        let request = self.held_back.pop_front()?;
        self.act(&request);
        Some(request)
    }

    /// Carries a request out, or refuses it.
    pub(crate) fn act(&mut self, request: &Request) -> Answer {
        let result = self.admit_and_serve(request);
        if let Some(logged) = self.log.get_mut(request.seq) {
            logged.applied = result.is_ok();
        }
        result.unwrap_or_else(|refusal| refusal)
    }

    fn admit_and_serve(&mut self, request: &Request) -> Result<Answer, Answer> {
        let Self {
            accounts,
            sidecar_key,
            variant,
            poisons,
            ..
        } = self;
        let key = request.key.as_deref().unwrap_or_default();
        if sidecar_key.as_deref() == Some(key) {
            return Err(variant.errors.refusal(403, "FORBIDDEN", &Value::Null));
        }
        let Some(account) = accounts.iter_mut().find(|account| account.key == key) else {
            return Err(variant.errors.refusal(401, "UNAUTHORIZED", &Value::Null));
        };
        if !request.writing {
            return serve(account, request, &[], variant);
        }
        let before = account.users.clone();
        let result = serve_unless_poisoned(account, request, poisons, variant);
        if result.is_err() && variant.atomic {
            account.users = before;
            return result;
        }
        for (id, user) in before {
            if user.origin == Origin::Foreign && account.users.get(&id) != Some(&user) {
                account.foreign_touched.insert(id);
            }
        }
        result
    }
}

/// Refuses the request if it has poisoned entries. The others are carried out all the same: the caller restores the
/// users where the variant is atomic.
fn serve_unless_poisoned(
    account: &mut Account,
    request: &Request,
    poisons: &[Poison],
    variant: &Variant,
) -> Result<Answer, Answer> {
    for poison in poisons {
        let poisoned = poison.poisoned_entries(request);
        if poisoned.is_empty() {
            continue;
        }
        if let Some(refusal) = poison.refusal(&poisoned, variant.errors) {
            let mut others = Vec::new();
            for (index, entry) in request.entries().iter().enumerate() {
                if !poisoned.contains(&index) {
                    others.push(entry.clone());
                }
            }
            if !others.is_empty() {
                // The client sees the refusal only.
                let _ = serve(account, request, &others, variant);
            }
            return Err(refusal);
        }
    }
    serve(account, request, request.entries(), variant)
}

/// Carries out these entries of a request.
fn serve(account: &mut Account, request: &Request, entries: &[Value], variant: &Variant) -> Result<Answer, Answer> {
    let id = request.path_id().unwrap_or_default();
    match request.kind {
        Kind::List => Ok(account.list(request.offset(), variant)),
        Kind::LookUp => account.look_up(&id, variant),
        Kind::Upsert => account.upsert(entries, variant),
        Kind::BulkDelete => account.bulk_delete(entries, variant),
        Kind::Delete => account.delete(&id, variant),
        Kind::Unknown => Err(variant.errors.refusal(404, "NOT_FOUND", &Value::Null)),
    }
}

/// The state behind its lock, and a signal for those who wait for a change.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) changed: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    /// A closure of a test that panicked under the lock must not fail everything after it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
