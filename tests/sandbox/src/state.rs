//! All that the sandbox knows, and the one place where a request acts on it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::answer::Answer;
use crate::faults::{self, Fault, What};
use crate::log::{Log, Request};
use crate::users::Account;
use crate::variant::Variant;

/// The sandbox at one moment.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Never empty: the first account is always there.
    pub(crate) accounts: Vec<Account>,
    pub(crate) sidecar_key: Option<String>,
    pub(crate) variant: Variant,
    pub(crate) faults: Vec<Fault>,
    pub(crate) log: Log,
    pub(crate) held_back: Vec<Request>,
}

impl State {
    /// Writes a request down. Returns what strikes it: a wait, and a fault.
    pub(crate) fn begin(&mut self, request: &mut Request) -> (Duration, Option<What>) {
        self.log.begin(request);
        faults::take(&mut self.faults, request, self.variant.errors)
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
        let errors = self.variant.errors;
        let key = request.key.as_deref().unwrap_or_default();
        if self.sidecar_key.as_deref() == Some(key) {
            return Err(errors.refusal(403, "FORBIDDEN", &Value::Null));
        }
        match self.accounts.iter_mut().find(|account| account.key == key) {
            Some(account) => account.serve(request, &self.variant),
            None => Err(errors.refusal(401, "UNAUTHORIZED", &Value::Null)),
        }
    }

    /// Does all requests that are held back, in the order in which they came. Returns how many they were.
    pub(crate) fn land_late(&mut self) -> usize {
        let held_back = std::mem::take(&mut self.held_back);
        for request in &held_back {
            self.act(request);
        }
        held_back.len()
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
