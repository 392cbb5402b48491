//! The handle that tests hold.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ServerConfig;

use crate::faults::Fault;
use crate::log::Request;
use crate::poison::{Poison, PoisonReply, Target};
use crate::server::{Server, tls_config};
use crate::state::{Shared, State};
use crate::users::{Origin, User};
use crate::variant::Variant;

/// A running stand-in for Wazzup. Clones are handles to the same one; dropping the last stops it.
#[derive(Debug, Clone)]
pub struct Wazzup {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

/// Starting, stopping, and where it is.
impl Wazzup {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts on this address; port 0 is a free one.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start_on(address: SocketAddr) -> anyhow::Result<Self> {
        Self::launch(address, None).await
    }

    /// Starts with HTTPS on a free port of 127.0.0.1. Who trusts the certificate is the caller's
    /// affair; [`Wazzup::base_url`] names the host as `127.0.0.1`.
    ///
    /// # Errors
    /// If the certificate and the key are no pair in PEM, or no port can be had.
    pub async fn start_tls(certificate_pem: &str, key_pem: &str) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_tls_on(address, certificate_pem, key_pem).await
    }

    /// The same on this address.
    ///
    /// # Errors
    /// As [`Wazzup::start_tls`].
    pub async fn start_tls_on(address: SocketAddr, certificate_pem: &str, key_pem: &str) -> anyhow::Result<Self> {
        Self::launch(address, Some(tls_config(certificate_pem, key_pem)?)).await
    }

    async fn launch(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::new());
        let server = Server::start(address, tls.clone(), Arc::clone(&shared)).await?;
        let address = server.address;
        let server = Mutex::new(Some(server));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                server,
                address,
                tls,
            }),
        })
    }

    /// Closes the port and every connection, and forgets the acts that were to come late. Users, log
    /// and orders stay.
    pub fn stop(&self) {
        drop(self.swap_server(None));
    }

    /// Listens again on the same port after [`Wazzup::stop`].
    ///
    /// # Errors
    /// If somebody else took the port.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        self.stop();
        let Inner {
            shared, address, tls, ..
        } = &*self.inner;
        let server = Server::start(*address, tls.clone(), Arc::clone(shared)).await?;
        self.swap_server(Some(server));
        Ok(())
    }

    fn swap_server(&self, new: Option<Server>) -> Option<Server> {
        let mut server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut server, new)
    }

    /// `http://127.0.0.1:PORT/v3`, or `https`.
    #[must_use]
    pub fn base_url(&self) -> String {
        let scheme = if self.inner.tls.is_some() { "https" } else { "http" };
        let mut address = self.inner.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("{scheme}://{address}/v3")
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.address.port()
    }
}

/// Keys, behaviour, faults.
impl Wazzup {
    /// The key that is accepted.
    #[must_use]
    pub fn key(&self) -> String {
        self.inner.shared.read(|state| state.key.clone())
    }

    /// Accepts this key from now on, and the old one no more.
    pub fn set_key(&self, key: &str) {
        self.write(|state| key.clone_into(&mut state.key));
    }

    /// A key that is answered with 403, or none.
    pub fn set_sidecar_key(&self, key: Option<&str>) {
        self.write(|state| state.sidecar_key = key.map(ToOwned::to_owned));
    }

    /// How the service behaves.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.inner.shared.read(|state| state.variant.clone())
    }

    /// Behaves like this from now on.
    pub fn set_variant(&self, variant: Variant) {
        self.write(|state| state.variant = variant);
    }

    /// Changes some of the behaviour: `wazzup.vary(|v| v.seats = 10)`.
    pub fn vary(&self, change: impl FnOnce(&mut Variant)) {
        self.write(|state| change(&mut state.variant));
    }

    /// Orders a fault, behind those that wait already.
    pub fn order(&self, fault: Fault) {
        self.write(|state| state.faults.0.push(fault));
    }

    /// The faults that still wait, with what is left of their `skip` and `times`.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.inner.shared.read(|state| state.faults.0.clone())
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.write(|state| state.faults.0.clear());
    }

    /// Refuses some users from now on.
    pub fn poison(&self, poison: Poison) {
        self.write(|state| state.poisons.push(poison));
    }

    /// `bulk_delete` and `DELETE` refuse these ids from now on, the first for its whole batch.
    pub fn refuse_removal<S: Into<String>>(&self, ids: impl IntoIterator<Item = S>, reply: PoisonReply) {
        self.poison(Poison::ids(ids, reply).on(&[Target::BulkDelete, Target::Delete]));
    }

    /// The rules by which users are refused.
    #[must_use]
    pub fn poisons(&self) -> Vec<Poison> {
        self.inner.shared.read(|state| state.poisons.clone())
    }

    /// Nobody is refused any more.
    pub fn cure(&self) {
        self.write(|state| state.poisons.clear());
    }
}

/// The users, by hand as an administrator would in the cabinet.
impl Wazzup {
    /// All users by id.
    #[must_use]
    pub fn users(&self) -> BTreeMap<String, User> {
        self.inner.shared.read(|state| state.users.all.clone())
    }

    /// One user.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<User> {
        self.inner.shared.read(|state| state.users.all.get(id).cloned())
    }

    /// Adds or replaces a user by hand.
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

    /// Adds or replaces a user with all its fields.
    pub fn insert(&self, id: &str, user: User) {
        self.write(|state| state.users.by_hand().insert(id.to_owned(), user));
    }

    /// Removes a user by hand.
    ///
    /// # Panics
    /// If there is no such user: a test that changes nobody proves nothing.
    pub fn remove(&self, id: &str) {
        let removed = self.write(|state| state.users.by_hand().remove(id));
        assert!(removed.is_some(), "the sandbox has no user `{id}` to remove");
    }

    /// Changes a user by hand: `wazzup.edit("7", |user| user.phone = None)`.
    ///
    /// # Panics
    /// As [`Wazzup::remove`].
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut User)) {
        let changed = self.write(|state| state.users.by_hand().get_mut(id).map(change));
        assert!(changed.is_some(), "the sandbox has no user `{id}` to change");
    }

    /// Renames a user by hand.
    ///
    /// # Panics
    /// As [`Wazzup::remove`].
    pub fn rename(&self, id: &str, name: &str) {
        self.edit(id, |user| name.clone_into(&mut user.name));
    }

    /// Gives a user a role by hand.
    ///
    /// # Panics
    /// As [`Wazzup::remove`].
    pub fn set_role(&self, id: &str, role: &str) {
        self.edit(id, |user| role.clone_into(&mut user.role));
    }
}

/// What came in.
impl Wazzup {
    /// The requests since [`Wazzup::clear_log`], those in work included.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.inner.shared.read(|state| state.log.requests.clone())
    }

    /// Those of them that may change users.
    #[must_use]
    pub fn writing_requests(&self) -> Vec<Request> {
        self.inner
            .shared
            .read(|state| state.writing_requests().cloned().collect())
    }

    /// How many requests came with this method.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        let counts = |request: &&Request| request.method == method;
        self.inner
            .shared
            .read(|state| state.log.requests.iter().filter(counts).count())
    }

    /// Forgets the requests, and the maximum in flight. Violations stay.
    pub fn clear_log(&self) {
        self.write(|state| {
            state.log.requests.clear();
            state.log.max_in_flight = state.log.in_flight;
        });
    }

    /// What a client of the contract must never send, over the sandbox's whole life: more than 100
    /// entries, an id twice, an empty array, a null or malformed phone, unknown fields, unknown calls,
    /// a batch without its content type.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.inner.shared.read(|state| state.log.violations.clone())
    }

    /// The seeded foreign users that requests changed or deleted, over the sandbox's whole life.
    #[must_use]
    pub fn foreign_touched(&self) -> Vec<String> {
        self.inner
            .shared
            .read(|state| state.users.foreign_touched.iter().cloned().collect())
    }

    /// The most requests that were in work at the same time.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.inner.shared.read(|state| state.log.max_in_flight)
    }

    /// Each request from now on, when it has ended.
    #[must_use]
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Request> {
        self.write(State::subscribe)
    }

    /// Makes the requests land that were to act late, and waits until they have.
    ///
    /// # Errors
    /// If they do not land within the time.
    pub async fn land_late_requests(&self, timeout: Duration) -> anyhow::Result<()> {
        self.write(|state| state.landings += 1);
        self.wait_until(|state| state.late() == 0, timeout).await
    }

    /// Waits until the condition holds: looked at now, and after each change.
    ///
    /// # Errors
    /// If it does not hold within the time, which runs on the real clock even where tokio's is paused.
    pub async fn wait_until(&self, condition: impl Fn(&State) -> bool, timeout: Duration) -> anyhow::Result<()> {
        let mut changes = self.inner.shared.changes();
        // In the sandbox's runtime, and made there: a timer keeps the clock it was made under.
        let sleep = async move { tokio::time::sleep(timeout).await };
        let mut elapsed = {
            let server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner);
            match &*server {
                Some(server) => server.runtime.spawn(sleep),
                None => tokio::spawn(sleep),
            }
        };
        loop {
            changes.borrow_and_update();
            if self.inner.shared.read(&condition) {
                elapsed.abort();
                return Ok(());
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = &mut elapsed => bail!("the sandbox waited {timeout:?} in vain: {}", self.summary()),
            }
        }
    }

    fn summary(&self) -> String {
        self.inner.shared.read(|state| {
            let requests = state.log.requests.iter();
            let lines = requests.map(|request| {
                let status = request
                    .status
                    .map_or("no answer".to_owned(), |status| status.to_string());
                format!("\n  #{} {} {} -> {status}", request.seq, request.method, request.path)
            });
            format!(
                "{} users, requests:{}",
                state.users.all.len(),
                lines.collect::<String>()
            )
        })
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.inner.shared.write(change)
    }
}
