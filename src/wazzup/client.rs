//! What can be asked of the service: one method per call of the contract.

use std::{fmt, num::NonZeroU32, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, Url, header::HeaderValue, redirect, retry};
use serde::Serialize;
use tokio::sync::OnceCell;

use super::{
    error::Error,
    key::KeySource,
    retry::{Done, Gate, Label, Pacer, Patience, causes},
    send::{Call, Content, MIB, Want},
    wire::{self, ListReader, RemoteUser, UserList},
};
use crate::employee::{Employee, EmployeeId};

/// What a [`Client`] has to know.
pub struct Settings {
    /// Where the API is, such as `https://api.wazzup24.com/v3`; with or without a slash at the end.
    pub base_url: Url,
    /// The most that one attempt may take, from the connection to the end of the answer.
    pub timeout: Duration,
    /// How many requests a minute there may be at most, over all calls.
    pub requests_per_minute: NonZeroU32,
    /// Where the API key comes from.
    pub key: KeySource,
}

/// The way to one Wazzup account; one per process. It costs nothing until the first request, which sets up TLS.
///
/// Certificates are verified against the CA store of the system; on Linux `SSL_CERT_FILE` and `SSL_CERT_DIR`, when
/// set, replace it. A proxy named by `HTTPS_PROXY` or `ALL_PROXY` is used, with `NO_PROXY` heeded: it sees the host and
/// neither key nor content. Plain `http` never goes through a proxy and needs no CA store.
pub struct Client {
    pub(super) base: String,
    key: KeySource,
    pub(super) pacer: Pacer,
    pub(super) patience: Patience,
    http: OnceCell<reqwest::Client>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Takes the settings in; nothing is read or sent yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings {
            base_url: mut base,
            timeout,
            requests_per_minute,
            key,
        } = settings;
        base.set_query(None);
        base.set_fragment(None);
        // A user and password in the URL would travel in the place of the key. (No URL with a host refuses this.)
        let _ = base.set_username("").and_then(|()| base.set_password(None));
        Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            key,
            pacer: Pacer::new(timeout, requests_per_minute),
            patience: Patience::USUAL,
            http: OnceCell::new(),
        }
    }

    /// The most that one attempt may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.pacer.timeout
    }

    /// Reads the key, for the calls of one cycle or command.
    ///
    /// # Errors
    /// [`Error::Key`] if there is no usable key.
    pub fn session(&self, gate: Gate) -> Result<Session<'_>, Error> {
        Ok(Session {
            client: self,
            gate,
            authorization: self.key.authorization()?,
        })
    }

    pub(super) async fn http(&self) -> Result<&reqwest::Client, Error> {
        self.http
            .get_or_try_init(async || build(&self.base, self.timeout()))
            .await
            .map_err(|error| Error::Unavailable {
                reason: format!(
                    "TLS cannot be set up (is there a CA store, or SSL_CERT_FILE?): {}",
                    causes(&error)
                ),
                late: false,
            })
    }
}

fn build(base: &str, timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    // The error says that it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("wazzup-sync/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        // Each attempt has to pass the gate: none may be added below it.
        .retry(retry::never())
        // Shorter than the whole time-out, so that "never reached" can be told from "reached, and no answer".
        .connect_timeout((timeout * 3 / 4).min(Duration::from_secs(10)))
        // Connections serve one cycle. Servers close idle ones at their leisure, which would look like a lost answer.
        .pool_idle_timeout(Duration::from_secs(4));
    let builder = if base.starts_with("https:") {
        builder.https_only(true)
    } else {
        // Neither loads a CA store, which a container may not have, nor shows the key to a proxy.
        builder.tls_certs_only([]).no_proxy()
    };
    builder.build()
}

/// What to do about a 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFault {
    /// Try again.
    Retry,
    /// Tell the caller at once, who is isolating the entry that provokes it.
    Report,
}

/// The service took the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// An earlier attempt of this call ended without an answer and may still land.
    pub late: bool,
}

/// The user is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// There was no such user (404).
    pub was_absent: bool,
    /// As in [`Ack`].
    pub late: bool,
}

/// The service took a bulk deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkDeleted {
    /// Those of the ids that did not exist. `None`: the service deleted, and its list of them could not be read.
    pub absent: Option<Vec<EmployeeId>>,
    /// As in [`Ack`].
    pub late: bool,
}

/// The calls, with one key and one gate.
pub struct Session<'c> {
    pub(super) client: &'c Client,
    pub(super) gate: Gate,
    pub(super) authorization: HeaderValue,
}

const USERS: Label = Label {
    method: "GET",
    path: "users",
};
const USER: Label = Label {
    method: "GET",
    path: "users/{id}",
};
const UPSERT: Label = Label {
    method: "POST",
    path: "users",
};
const DELETE: Label = Label {
    method: "DELETE",
    path: "users/{id}",
};
const BULK_DELETE: Label = Label {
    method: "PATCH",
    path: "users/bulk_delete",
};

impl Session<'_> {
    /// `GET /users`, all pages.
    ///
    /// # Errors
    /// If the first page cannot be had. What is wrong with its content, or a later page refused, makes the list
    /// incomplete instead.
    pub async fn users(&self) -> Result<UserList, Error> {
        let mut list = ListReader::default();
        let mut path = "users".to_owned();
        let mut first = true;
        loop {
            let body = match self.send(&Call::get(USERS, &path, Want::All(16 * MIB))).await {
                Ok(done) => done.value,
                // The service answers, and cannot page.
                Err(Error::Refused(refusal) | Error::Fault(refusal)) if !first => {
                    list.give_up(format!("its next page is refused: {refusal}"));
                    break;
                }
                Err(error) => return Err(error),
            };
            let Content::Whole(body) = body else {
                list.give_up("it is too big".to_owned());
                break;
            };
            let Some(offset) = list.take(&body) else {
                break;
            };
            path = format!("users?offset={offset}");
            first = false;
        }
        Ok(list.finish())
    }

    /// One cheap attempt to see whether the service is up and takes the key.
    ///
    /// # Errors
    /// Whatever the service answers but a success.
    pub async fn ping(&self) -> Result<(), Error> {
        self.send_with(&Call::get(USERS, "users", Want::Nothing), Patience::NONE)
            .await
            .map(drop)
    }

    /// `GET /users/{id}`. `None`: the service says that there is no such user (404).
    ///
    /// # Errors
    /// [`Error::Unreadable`] if what is shown is not this user, and as every call.
    pub async fn user(&self, id: &EmployeeId) -> Result<Option<RemoteUser>, Error> {
        let unreadable = |reason| Error::Unreadable {
            call: "GET users/{id}",
            reason,
        };
        let path = user_path(id).ok_or(unreadable(NO_PATH))?;
        match self.send(&Call::get(USER, &path, Want::All(MIB))).await {
            Ok(Done {
                value: Content::Whole(body),
                ..
            }) => wire::remote_user(&body, id).map(Some).map_err(unreadable),
            Ok(_) => Err(unreadable("it is too big")),
            Err(Error::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `POST /users`: creates and updates. The contract allows at most 100 entries, and no id twice. Without entries
    /// nothing is sent.
    ///
    /// # Errors
    /// As [`Error`] says. Take it as likely, not as certain, that a refusal leaves all entries as they were.
    pub async fn upsert(&self, entries: &[Employee], faults: OnFault) -> Result<Ack, Error> {
        if entries.is_empty() {
            return Ok(Ack { late: false });
        }
        let call = Call {
            method: Method::POST,
            label: UPSERT,
            path: "users",
            body: Some(json(entries)),
            faults,
            answer: Want::Nothing,
        };
        self.send(&call).await.map(|done| Ack { late: done.late })
    }

    /// `DELETE /users/{id}`.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn delete(&self, id: &EmployeeId, faults: OnFault) -> Result<Deleted, Error> {
        let path = user_path(id).ok_or(Error::Unreadable {
            call: "DELETE users/{id}",
            reason: NO_PATH,
        })?;
        let call = Call {
            method: Method::DELETE,
            label: DELETE,
            path: &path,
            body: None,
            faults,
            answer: Want::Nothing,
        };
        match self.send(&call).await {
            Ok(done) => Ok(Deleted {
                was_absent: false,
                late: done.late,
            }),
            Err(Error::Refused(refusal)) if refusal.status == 404 => Ok(Deleted {
                was_absent: true,
                late: refusal.late,
            }),
            Err(error) => Err(error),
        }
    }

    /// `PATCH /users/bulk_delete`: at most 100 ids. Without ids nothing is sent.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn bulk_delete(&self, ids: &[EmployeeId], faults: OnFault) -> Result<BulkDeleted, Error> {
        if ids.is_empty() {
            return Ok(BulkDeleted {
                absent: Some(Vec::new()),
                late: false,
            });
        }
        let call = Call {
            method: Method::PATCH,
            label: BULK_DELETE,
            path: "users/bulk_delete",
            body: Some(json(ids)),
            faults,
            answer: Want::IfPossible(MIB),
        };
        self.send(&call).await.map(|Done { value, late }| {
            let absent = match value {
                Content::Whole(body) => wire::absent(&body, ids),
                Content::TooBig | Content::Cut(_) => None,
            };
            BulkDeleted { absent, late }
        })
    }
}

/// Everything that could mean something in a URL is encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a user cannot be asked for alone.
const NO_PATH: &str = "no URL can name this id: `.` and `..` are steps in a path, however they are encoded";

/// The user's own path. `None` if there is none: the request would go somewhere else.
fn user_path(id: &EmployeeId) -> Option<String> {
    let is_a_step = matches!(id.as_str(), "." | "..");
    (!is_a_step).then(|| format!("users/{}", utf8_percent_encode(id.as_str(), PLAIN)))
}

fn json(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always have a JSON form")
}
