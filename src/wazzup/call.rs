//! The calls of the contract: what each one sends, and what of its answer counts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    attempt::Call,
    client::Session,
    error::Error,
    list::{FetchedList, ListBuilder},
    page::{Page, PageReader, Room},
    trouble::Trouble,
    user::{RemoteUser, parse_absent, parse_user},
};
use crate::{
    delivery::{Answer, Attempts, Loss, Request, Verdict},
    employee::{Employee, EmployeeId},
    plan::Coverage,
};

const USERS: &str = "users";
const USER: &str = "users/{id}";
const BULK_DELETE: &str = "users/bulk_delete";

/// More than one user needs.
const MAX_USER_BYTES: usize = 64 << 10;
/// More than 100 ids of 200 characters need, each character escaped.
const MAX_ABSENT_BYTES: usize = 256 << 10;
/// After so many time-outs no further page of a list is asked for.
const MAX_TIMEOUTS_OF_A_LIST: u32 = 10;

impl Session<'_> {
    /// Sends a request of the delivery. A writing request without entries is accepted without being sent.
    pub async fn send(&self, request: &Request) -> Answer {
        if request.is_writing() && request.entry_count() == 0 {
            return answer(Ok(Vec::new()), Loss::None);
        }
        match request {
            Request::Upsert { entries, attempts } => {
                let employees: Vec<&Employee> = entries.iter().map(|entry| &entry.employee).collect();
                self.write(Method::POST, USERS, json(&employees), *attempts, &[]).await
            }
            Request::Remove { user_ids, attempts } => {
                let body = json(user_ids);
                self.write(Method::PATCH, BULK_DELETE, body, *attempts, user_ids).await
            }
            Request::Ping => self.ping().await,
        }
    }

    /// `GET /users`, all pages. Whatever keeps the list from proving to be complete is told in its coverage.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::Forbidden`], [`Error::NotFound`] (of the first page) and [`Error::NotSent`].
    pub async fn users(&self) -> Result<FetchedList, Error> {
        let latest_page = Instant::now() + self.client.timeout() * MAX_TIMEOUTS_OF_A_LIST;
        let mut list = ListBuilder::new();
        let mut call = Call::get(USERS, USERS.to_owned());
        let coverage = loop {
            let page = match self.read_page(&call, list.room()).await {
                Ok(page) => page,
                Err(error @ (Error::Unauthorized | Error::NotSent(_))) => return Err(error),
                Err(error @ (Error::Forbidden | Error::NotFound { .. })) if list.is_empty() => return Err(error),
                Err(error) if list.is_empty() => break Coverage::Unavailable(error.to_string()),
                Err(error) => break Coverage::Incomplete(format!("a page cannot be had: {error}")),
            };
            match list.add(page) {
                Ok(None) => break Coverage::Complete,
                Ok(Some(_)) if Instant::now() > latest_page => {
                    break Coverage::Incomplete("reading it takes too long".to_owned());
                }
                Ok(Some(offset)) => call.path = format!("{USERS}?offset={offset}"),
                Err(reason) => break Coverage::Incomplete(reason),
            }
        };
        Ok(list.finish(coverage))
    }

    /// `GET /users/{id}`. `None`: the service says that there is no such user (404).
    ///
    /// # Errors
    /// [`Error::Unreadable`] if what is shown is not this user, or if no URL can name the id; otherwise as [`Error`]
    /// says.
    pub async fn user(&self, id: &EmployeeId) -> Result<Option<RemoteUser>, Error> {
        let name = "GET /users/{id}";
        let unreadable = |reason| Error::Unreadable { call: name, reason };
        if !id.has_own_url() {
            return Err(unreadable("no URL can name this id"));
        }
        let call = Call::get(USER, format!("{USERS}/{}", utf8_percent_encode(id.as_str(), PLAIN)));
        let attempt = async |deadline| {
            let success = self.exchange(&call, deadline).await?;
            success.into_bytes(MAX_USER_BYTES).await
        };
        let patience = self.client.patience;
        let ending = self.client.pacer.run(&self.gate, &call, patience, attempt).await;
        match ending.result {
            Ok(Some(body)) => parse_user(&body, id).map(Some).map_err(unreadable),
            Ok(None) => Err(unreadable("it is too big")),
            Err(Trouble::Denied { status: 404, .. }) => Ok(None),
            Err(trouble) => Err(Error::from_trouble(trouble, name)),
        }
    }

    async fn read_page(&self, call: &Call, room: Room) -> Result<Page, Error> {
        let attempt = async |deadline| {
            let mut success = self.exchange(call, deadline).await?;
            let mut reader = PageReader::new(room);
            let mut goes_on = reader.feed(&success.beginning);
            while goes_on && let Some(part) = success.next_part().await? {
                goes_on = reader.feed(part.as_ref());
            }
            Ok(reader.finish())
        };
        let patience = self.client.patience;
        let ending = self.client.pacer.run(&self.gate, call, patience, attempt).await;
        ending
            .result
            .map_err(|trouble| Error::from_trouble(trouble, "GET /users"))
    }

    /// Sends a writing request. The body of the answer counts only for `removed_ids`: it names those that were absent.
    async fn write(
        &self,
        method: Method,
        path: &'static str,
        body: Vec<u8>,
        attempts: Attempts,
        removed_ids: &[EmployeeId],
    ) -> Answer {
        let call = Call {
            method,
            template: path,
            path: path.to_owned(),
            body: Some(body),
        };
        let attempt = async |deadline| {
            let success = self.exchange(&call, deadline).await?;
            if removed_ids.is_empty() {
                return Ok(Vec::new());
            }
            let body = success.into_bytes(MAX_ABSENT_BYTES).await?;
            let absent = body.and_then(|body| parse_absent(&body, removed_ids));
            absent.ok_or(Trouble::WebPage)
        };
        let patience = self.client.patience.for_attempts(attempts);
        let ending = self.client.pacer.run(&self.gate, &call, patience, attempt).await;
        answer(ending.result, ending.loss)
    }

    /// One attempt of `GET /users`, of which only the beginning is read.
    async fn ping(&self) -> Answer {
        let call = Call::get(USERS, USERS.to_owned());
        let attempt = async |deadline| {
            let success = self.exchange(&call, deadline).await?;
            if success.status == 200 && success.begins_like_json() {
                return Ok(Vec::new());
            }
            Err(Trouble::WebPage)
        };
        let patience = self.client.patience.for_ping();
        let ending = self.client.pacer.run(&self.gate, &call, patience, attempt).await;
        match ending.result {
            Err(Trouble::Denied { status: 403, .. }) => Answer {
                verdict: Verdict::Unauthorized { forbidden: true },
                loss: Loss::None,
            },
            Ok(_) | Err(Trouble::Unauthorized | Trouble::NotSent(_)) => answer(ending.result, Loss::None),
            Err(trouble) => answer(Err(Trouble::Unavailable(trouble.to_string())), Loss::None),
        }
    }
}

fn answer(result: Result<Vec<EmployeeId>, Trouble>, loss: Loss) -> Answer {
    let verdict = match result {
        Ok(absent) => Verdict::Accepted { absent },
        Err(trouble) => trouble.into_verdict(),
    };
    Answer { verdict, loss }
}

/// Everything that could mean something in a URL is encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn json(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always have a JSON form")
}
