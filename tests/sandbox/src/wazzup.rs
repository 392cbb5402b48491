//! The handle that tests hold.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use parking_lot::{MappedMutexGuard, MutexGuard};
use tokio::time::{sleep, timeout};

use crate::faults::{Fault, What, When};
use crate::request::Request;
use crate::server::{Server, tls_config};
use crate::state::State;
use crate::users::{Account, User};
use crate::variant::Variant;

/// A running stand-in for Wazzup. Clones are handles to the same one; dropping the last one stops it.
///
/// A handle stands for one account: its key and users. All else belongs to the whole sandbox. A key of no account is
/// answered with 401.
#[derive(Debug, Clone)]
pub struct Wazzup {
    server: Arc<Server>,
    account: usize,
}

impl Wazzup {
    pub fn start() -> anyhow::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)
    }

    /// Starts on this address, where port 0 is a free one; as HTTPS with a certificate chain and its private key in PEM.
    pub fn start_on(address: SocketAddr, pem: Option<&str>) -> anyhow::Result<Self> {
        let tls = pem.map(tls_config).transpose()?;
        let server = Arc::new(Server::start(address, tls)?);
        let first = Self { server, account: 0 };
        Ok(first.add_account("sandbox-key"))
    }

    /// Closes the port and every connection. Users, log, orders and requests that are held back stay.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Listens again on the same port after [`Wazzup::stop`].
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.server.start_again()
    }

    /// `http://127.0.0.1:PORT/v3`, or `https`.
    pub fn base_url(&self) -> String {
        let scheme = if self.server.tls.is_some() { "https" } else { "http" };
        let mut address = self.server.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("{scheme}://{address}/v3")
    }

    pub fn port(&self) -> u16 {
        self.server.address.port()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.server.state.lock()
    }

    fn account(&self) -> MappedMutexGuard<'_, Account> {
        MutexGuard::map(self.state(), |state| &mut state.accounts[self.account])
    }

    pub fn key(&self) -> String {
        self.account().key.clone()
    }

    /// Gives this account another key; the old one is unknown from now on.
    pub fn set_key(&self, key: &str) {
        key.clone_into(&mut self.account().key);
    }

    /// Opens another account without users on the same server, and returns a handle to it.
    pub fn add_account(&self, key: &str) -> Self {
        let mut state = self.state();
        state.accounts.push(Account::new(key));
        Self {
            server: Arc::clone(&self.server),
            account: state.accounts.len() - 1,
        }
    }

    /// A key that is answered with 403, or none.
    pub fn set_sidecar_key(&self, key: Option<&str>) {
        self.state().sidecar_key = key.map(ToOwned::to_owned);
    }

    /// Changes some of the behaviour: `wazzup.vary(|variant| variant.seats = 10)`.
    pub fn vary(&self, change: impl FnOnce(&mut Variant)) {
        change(&mut self.state().variant);
    }

    /// Orders a fault, behind those that wait already.
    pub fn order(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// From now on, this happens to every `POST` that has an entry with one of these ids or names.
    pub fn poison<S: Into<String>>(&self, ids_or_names: impl IntoIterator<Item = S>, what: What) {
        self.order(Fault::new(When::Post, what).naming(ids_or_names).always());
    }

    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Does all requests that are held back, in the order in which they came. Returns how many there were.
    pub fn land_late(&self) -> usize {
        self.state().land_late()
    }

    pub fn users(&self) -> BTreeMap<String, User> {
        self.account().users().clone()
    }

    pub fn user(&self, id: &str) -> Option<User> {
        self.account().users().get(id).cloned()
    }

    pub fn put(&self, id: &str, name: &str, phone: Option<&str>) {
        self.account().replace(id, Some(User::new(name, phone)));
    }

    /// Adds a user whom no synchronization may touch: see [`Wazzup::foreign_touched`].
    pub fn seed_foreign(&self, id: &str, name: &str, phone: Option<&str>) {
        self.put(id, name, phone);
        self.edit(id, |user| user.is_foreign = true);
    }

    /// Adds so many of them: `foreign-1`, `foreign-2`…
    pub fn seed_foreigners(&self, count: usize) {
        for number in 1..=count {
            self.seed_foreign(&format!("foreign-{number}"), &format!("Foreign user {number}"), None);
        }
    }

    /// Removes a user. Panics if there is none: a test that changes nobody proves nothing.
    pub fn remove(&self, id: &str) {
        assert!(
            self.account().replace(id, None),
            "the sandbox has no user `{id}` to remove"
        );
    }

    /// Changes a user. Panics if there is none.
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut User)) {
        let user = self.user(id);
        let mut user = user.unwrap_or_else(|| panic!("the sandbox has no user `{id}` to change"));
        change(&mut user);
        self.account().replace(id, Some(user));
    }

    /// The requests since [`Wazzup::clear_log`], those in flight included.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Those of them that may change users.
    pub fn writing_requests(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.writing);
        requests
    }

    pub fn count_of(&self, when: When) -> usize {
        self.requests().iter().filter(|request| when.matches(request)).count()
    }

    /// Forgets the requests and the maximum in flight. Violations stay.
    pub fn clear_log(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.max_in_flight = state.in_flight;
    }

    /// What a client of the contract must never send, over the whole life of the sandbox: more than 100 entries or
    /// none, an id twice, a null or malformed phone, unknown fields, unknown calls, a batch that is not called JSON.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// The seeded foreign users that requests changed or deleted, over the whole life of the sandbox.
    pub fn foreign_touched(&self) -> Vec<String> {
        self.account().foreign_touched.iter().cloned().collect()
    }

    /// Requests that have been neither answered nor cut off.
    pub fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub fn max_in_flight(&self) -> usize {
        self.state().max_in_flight
    }

    /// Waits until the condition holds, which is tested every few milliseconds. An error after this time names the
    /// requests so far.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool, patience: Duration) -> anyhow::Result<()> {
        let holds = async {
            while !condition(self) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(patience, holds).await.is_ok() {
            return Ok(());
        }
        let mut requests = String::new();
        for request in self.requests() {
            let (seq, method, path, status) = (request.seq, request.method, request.path, request.status);
            requests += &format!("\n  #{seq} {method} {path} -> {status:?}");
        }
        bail!("the sandbox waited {patience:?} in vain, after these requests:{requests}")
    }
}
