//! The handle that tests hold.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;

use crate::faults::{Fault, Poison, PoisonReply, When};
use crate::log::{Kind, Request};
use crate::server::{Server, tls_config};
use crate::state::{Shared, State};
use crate::users::{Account, Origin, User};
use crate::variant::Variant;

/// A running stand-in for Wazzup. Clones are handles to the same one; dropping the last one stops it.
///
/// A handle stands for one account: its key and users. All else belongs to the whole sandbox.
#[derive(Debug, Clone)]
pub struct Wazzup {
    inner: Arc<Inner>,
    account: usize,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

/// Start, stop and address.
impl Wazzup {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
    }

    /// Starts on this address, where port 0 is a free one; with a certificate chain and a private key in PEM as HTTPS.
    pub async fn start_on(address: SocketAddr, tls: Option<(&str, &str)>) -> anyhow::Result<Self> {
        let tls = match tls {
            Some((certificate, key)) => Some(tls_config(certificate, key)?),
            None => None,
        };
        let shared = Arc::new(Shared::default());
        let server = Server::start(address, tls.clone(), Arc::clone(&shared)).await?;
        let inner = Inner {
            shared,
            address: server.address,
            server: Mutex::new(Some(server)),
            tls,
        };
        let wazzup = Self {
            inner: Arc::new(inner),
            account: 0,
        };
        Ok(wazzup.add_account("sandbox-key"))
    }

    /// Closes the port and every connection. Users, log, orders and requests that are held back stay.
    pub fn stop(&self) {
        drop(self.replace_server(None));
    }

    /// Listens again on the same port after [`Wazzup::stop`].
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.stop();
        let Inner {
            shared, address, tls, ..
        } = &*self.inner;
        let server = Server::start(*address, tls.clone(), Arc::clone(shared)).await?;
        self.replace_server(Some(server));
        Ok(())
    }

    fn replace_server(&self, server: Option<Server>) -> Option<Server> {
        let mut current = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, server)
    }

    /// `http://127.0.0.1:PORT/v3`, or `https`.
    pub fn base_url(&self) -> String {
        let scheme = if self.inner.tls.is_some() { "https" } else { "http" };
        let mut address = self.inner.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("{scheme}://{address}/v3")
    }

    pub fn port(&self) -> u16 {
        self.inner.address.port()
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.inner.shared.read(look)
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.inner.shared.write(change)
    }
}

/// Keys and accounts. Any other key is answered with 401.
impl Wazzup {
    /// The key of this account.
    pub fn key(&self) -> String {
        self.read(|state| state.accounts[self.account].key.clone())
    }

    /// Gives this account another key; the old one is unknown from now on.
    pub fn set_key(&self, key: &str) {
        self.write(|state| key.clone_into(&mut state.accounts[self.account].key));
    }

    /// Opens another account without users on the same server, and returns a handle to it.
    pub fn add_account(&self, key: &str) -> Self {
        let account = Account {
            key: key.to_owned(),
            ..Account::default()
        };
        let index = self.write(|state| {
            state.accounts.push(account);
            state.accounts.len() - 1
        });
        Self {
            inner: Arc::clone(&self.inner),
            account: index,
        }
    }

    /// A key that is answered with 403, or none.
    pub fn set_sidecar_key(&self, key: Option<&str>) {
        self.write(|state| state.sidecar_key = key.map(ToOwned::to_owned));
    }
}

/// Behaviour and faults.
impl Wazzup {
    /// Changes some of the behaviour: `wazzup.vary(|variant| variant.seats = 10)`.
    pub fn vary(&self, change: impl FnOnce(&mut Variant)) {
        self.write(|state| change(&mut state.variant));
    }

    /// Orders a fault, behind those that wait already.
    pub fn order(&self, fault: Fault) {
        self.write(|state| state.faults.push(fault));
    }

    pub fn clear_faults(&self) {
        self.write(|state| state.faults.clear());
    }

    /// Refuses some users from now on.
    pub fn poison(&self, poison: Poison) {
        self.write(|state| state.poisons.push(poison));
    }

    /// `bulk_delete` and `DELETE` refuse these ids from now on, the first for its whole batch.
    pub fn refuse_removal<S: Into<String>>(&self, ids: impl IntoIterator<Item = S>, reply: PoisonReply) {
        self.poison(Poison::ids(ids, reply).on(When::Removals));
    }

    pub fn cure(&self) {
        self.write(|state| state.poisons.clear());
    }

    /// Does all requests that are held back, in the order in which they came. Returns how many they were.
    pub fn land_late(&self) -> usize {
        self.write(|state| std::iter::from_fn(|| state.land_next()).count())
    }

    /// Does the oldest of the requests that are held back, and returns it.
    pub fn land_next_late(&self) -> Option<Request> {
        self.write(State::land_next)
    }
}

/// The users, by hand as an administrator would in the cabinet.
impl Wazzup {
    /// All users of this account by id.
    pub fn users(&self) -> BTreeMap<String, User> {
        self.read(|state| state.accounts[self.account].users.clone())
    }

    pub fn user(&self, id: &str) -> Option<User> {
        self.read(|state| state.accounts[self.account].users.get(id).cloned())
    }

    pub fn put(&self, id: &str, name: &str, phone: Option<&str>) {
        self.insert(id, User::new(name, phone, Origin::Hand));
    }

    /// Adds a user whom no synchronization may touch: see [`Wazzup::foreign_touched`].
    pub fn seed_foreign(&self, id: &str, name: &str, phone: Option<&str>) {
        self.insert(id, User::new(name, phone, Origin::Foreign));
    }

    /// Adds so many of them: `foreign-1`, `foreign-2`…
    pub fn seed_foreigners(&self, count: usize) {
        for number in 1..=count {
            self.seed_foreign(&format!("foreign-{number}"), &format!("Foreign user {number}"), None);
        }
    }

    fn insert(&self, id: &str, user: User) {
        self.write(|state| state.accounts[self.account].users.insert(id.to_owned(), user));
    }

    /// Removes a user. Panics if there is none: a test that changes nobody proves nothing.
    pub fn remove(&self, id: &str) {
        let removed = self.write(|state| state.accounts[self.account].users.remove(id));
        assert!(removed.is_some(), "the sandbox has no user `{id}` to remove");
    }

    /// Changes a user: `wazzup.edit("7", |user| user.phone = None)`. Panics if there is none.
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut User)) {
        let changed = self.write(|state| state.accounts[self.account].users.get_mut(id).map(change));
        assert!(changed.is_some(), "the sandbox has no user `{id}` to change");
    }

    /// Renames a user. Panics if there is none.
    pub fn rename(&self, id: &str, name: &str) {
        self.edit(id, |user| name.clone_into(&mut user.name));
    }

    /// Gives a user a role. Panics if there is none.
    pub fn set_role(&self, id: &str, role: &str) {
        self.edit(id, |user| role.clone_into(&mut user.role));
    }
}

/// The requests.
impl Wazzup {
    /// The requests since [`Wazzup::clear_log`], those in flight included.
    pub fn requests(&self) -> Vec<Request> {
        self.read(|state| state.log.requests.clone())
    }

    /// Those of them that may change users.
    pub fn writing_requests(&self) -> Vec<Request> {
        self.read(|state| state.writing_requests().cloned().collect())
    }

    /// How many of them are of this kind.
    pub fn count_of(&self, kind: Kind) -> usize {
        self.read(|state| state.count_of(kind))
    }

    /// Forgets the requests and the maximum in flight. Violations stay.
    pub fn clear_log(&self) {
        self.write(|state| {
            state.log.requests.clear();
            state.log.max_in_flight = state.log.in_flight;
        });
    }

    /// What a client of the contract must never send, over the whole life of the sandbox: more than 100 entries or
    /// none, an id twice, a null or malformed phone, unknown fields, unknown calls, a batch that is not called JSON.
    pub fn violations(&self) -> Vec<String> {
        self.read(|state| state.log.violations.clone())
    }

    /// The seeded foreign users that requests changed or deleted, over the whole life of the sandbox.
    pub fn foreign_touched(&self) -> Vec<String> {
        self.read(|state| state.accounts[self.account].foreign_touched.iter().cloned().collect())
    }

    /// The most requests that were in flight at the same time.
    pub fn max_in_flight(&self) -> usize {
        self.read(|state| state.log.max_in_flight)
    }

    /// Waits until the condition holds, which is tested now and after each change. An error after this time names the
    /// requests so far.
    pub async fn wait_until(&self, condition: impl Fn(&State) -> bool, patience: Duration) -> anyhow::Result<()> {
        let mut changes = self.inner.shared.changed.subscribe();
        let holds = changes.wait_for(|()| self.read(&condition));
        if timeout(patience, holds).await.is_ok() {
            return Ok(());
        }
        let mut requests = String::new();
        for Request {
            seq,
            method,
            path,
            status,
            ..
        } in self.requests()
        {
            let _ = write!(requests, "\n  #{seq} {method} {path} -> {status:?}");
        }
        bail!("the sandbox waited {patience:?} in vain, after these requests:{requests}")
    }
}
