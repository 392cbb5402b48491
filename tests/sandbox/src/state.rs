//! All that the sandbox knows, and the one place where a request acts on it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::answer::{Answer, Refusal};
use crate::faults::{self, Fault, What};
use crate::request::Request;
use crate::users::Account;
use crate::variant::Variant;

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Never empty: the first account is always there.
    pub(crate) accounts: Vec<Account>,
    pub(crate) sidecar_key: Option<String>,
    pub(crate) variant: Variant,
    pub(crate) faults: Vec<Fault>,
    pub(crate) held_back: Vec<Request>,
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<String>,
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    last_seq: u64,
}

impl State {
    /// Gives a request its number and writes it down. Returns what strikes it: a wait, and a fault.
    pub(crate) fn begin(&mut self, request: &mut Request) -> (Duration, Option<What>) {
        self.last_seq += 1;
        request.seq = self.last_seq;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        let Request { seq, method, path, .. } = &*request;
        for violation in request.violations() {
            self.violations.push(format!("#{seq} {method} {path}: {violation}"));
        }
        self.requests.push(request.clone());
        faults::take(&mut self.faults, request, self.variant.errors)
    }

    pub(crate) fn end(&mut self, seq: u64, status: Option<u16>) {
        self.in_flight -= 1;
        if let Some(request) = self.logged(seq) {
            request.status = status;
        }
    }

    /// The request, unless the log was cleared since.
    fn logged(&mut self, seq: u64) -> Option<&mut Request> {
        self.requests.iter_mut().rev().find(|request| request.seq == seq)
    }

    /// Carries a request out, or refuses it.
    pub(crate) fn act(&mut self, request: &Request) -> Answer {
        let result = self.admit_and_serve(request);
        if let Some(logged) = self.logged(request.seq) {
            logged.applied = result.is_ok();
        }
        result.unwrap_or_else(|refusal| refusal.in_style(self.variant.errors))
    }

    fn admit_and_serve(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let key = request.key.as_deref().unwrap_or_default();
        if self.sidecar_key.as_deref() == Some(key) {
            return Err(Refusal::new(403, "FORBIDDEN", Value::Null));
        }
        match self.accounts.iter_mut().find(|account| account.key == key) {
            Some(account) => account.serve(request, &self.variant),
            None => Err(Refusal::new(401, "UNAUTHORIZED", Value::Null)),
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

pub(crate) type Shared = Arc<Mutex<State>>;
