//! The calls of the contract: what each one sends, and what of its answer counts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use tokio::time::Instant;

use super::{
    attempt::Call,
    client::Session,
    error::Error,
    failure::{Failure, unavailable},
    list::{FetchedList, ListBuilder},
    page::Page,
    user::{RemoteUser, parse_absent, parse_user},
};
use crate::{
    delivery::{Answer, Attempts, Interruption, Loss, Request, Verdict},
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

/// Everything that could mean something in a URL is encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl Session<'_> {
    /// Sends a request of the delivery.
    pub async fn send(&self, request: &Request) -> Answer {
        match request {
            Request::Upsert { entries, attempts } => {
                let employees: Vec<&Employee> = entries.iter().map(|entry| &entry.employee).collect();
                self.upsert(&employees, *attempts).await
            }
            Request::Remove { user_ids, attempts } => self.remove(user_ids, *attempts).await,
            Request::Ping => self.ping().await,
        }
    }

    /// `POST /users`. The body of the answer means nothing.
    async fn upsert(&self, employees: &[&Employee], attempts: Attempts) -> Answer {
        let call = Call::write(Method::POST, USERS, employees);
        let patience = self.client.patience.for_attempts(attempts);
        let attempt = async || self.exchange(&call).await.map(|_| Vec::new());
        let (result, loss) = self.retry(&call, patience, attempt).await;
        answer(result, loss)
    }

    /// `PATCH /users/bulk_delete`. The answer names the ids that were absent.
    async fn remove(&self, user_ids: &[EmployeeId], attempts: Attempts) -> Answer {
        let call = Call::write(Method::PATCH, BULK_DELETE, user_ids);
        let patience = self.client.patience.for_attempts(attempts);
        let attempt = async || {
            let body = self.exchange(&call).await?.into_bytes(MAX_ABSENT_BYTES).await?;
            let absent = body.and_then(|body| parse_absent(&body, user_ids));
            absent.ok_or_else(Failure::web_page)
        };
        let (result, loss) = self.retry(&call, patience, attempt).await;
        answer(result, loss)
    }

    /// Whether the service answers, and accepts the key.
    pub(crate) async fn confirm_usable(&self) -> Result<(), Error> {
        match self.ping().await.verdict {
            Verdict::Interrupted(interruption) => Err(interruption.into()),
            Verdict::Accepted { .. } | Verdict::Refused(_) | Verdict::NoDecision(_) => Ok(()),
        }
    }

    /// One attempt of `GET /users`, of which only the beginning is read.
    async fn ping(&self) -> Answer {
        let call = Call::get(USERS, USERS.to_owned());
        let attempt = async || {
            let success = self.exchange(&call).await?;
            success.begins_like_list().then(Vec::new).ok_or_else(Failure::web_page)
        };
        let (result, _) = self.retry(&call, self.client.patience.for_one_attempt(), attempt).await;
        let verdict = match result {
            Ok(absent) => Verdict::Accepted { absent },
            Err(failure) if failure.status == Some(403) => Verdict::Interrupted(Interruption::Forbidden),
            Err(failure) => match failure.verdict {
                Verdict::Interrupted(interruption) => Verdict::Interrupted(interruption),
                _ => unavailable(&failure.reason),
            },
        };
        Answer {
            verdict,
            loss: Loss::None,
        }
    }

    /// `GET /users`, all pages. Whatever keeps the list from proving to be complete is told in its coverage. One that is
    /// far longer than the `expected` number of users is given up.
    ///
    /// # Errors
    /// If the key is refused, nothing may be sent, or the first page is not found.
    pub async fn users(&self, expected: usize) -> Result<FetchedList, Error> {
        let latest_page = Instant::now() + self.client.timeout() * MAX_TIMEOUTS_OF_A_LIST;
        let mut list = ListBuilder::new(expected);
        let mut call = Call::get(USERS, USERS.to_owned());
        let coverage = loop {
            let page = match self.page(&call, list.room()).await {
                Ok(page) => page,
                Err(error) => match error {
                    Error::Interrupted(Interruption::Unauthorized | Interruption::NotSent(_)) => return Err(error),
                    _ if !list.is_empty() => break Coverage::Incomplete(format!("a page cannot be had: {error}")),
                    Error::Interrupted(Interruption::Forbidden) | Error::NotFound { .. } => return Err(error),
                    _ => break Coverage::Unavailable(error.to_string()),
                },
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

    async fn page(&self, call: &Call, room: usize) -> Result<Page, Error> {
        let attempt = async || {
            let success = self.exchange(call).await?;
            success.parse(move |body| Page::read(body, room)).await
        };
        let (result, _) = self.retry(call, self.client.patience, attempt).await;
        result.map_err(|failure| Error::from_failure(failure, "GET /users"))
    }

    /// `GET /users/{id}`. `None`: the service says that there is no such user (404).
    ///
    /// # Errors
    /// [`Error::Useless`] if what is shown is not this user, or if no URL can name the id; otherwise as [`Error`] says.
    pub async fn user(&self, id: &EmployeeId) -> Result<Option<RemoteUser>, Error> {
        let name = "GET /users/{id}";
        let useless = |reason: &str| Error::Useless {
            call: name,
            reason: String::from(reason),
        };
        if !id.has_own_url() {
            return Err(useless("no URL can name this id"));
        }
        let call = Call::get(USER, format!("{USERS}/{}", utf8_percent_encode(id.as_str(), PLAIN)));
        let attempt = async || self.exchange(&call).await?.into_bytes(MAX_USER_BYTES).await;
        let (result, _) = self.retry(&call, self.client.patience, attempt).await;
        match result {
            Ok(Some(body)) => parse_user(&body, id).map(Some).map_err(useless),
            Ok(None) => Err(useless("it is too big")),
            Err(failure) if failure.status == Some(404) => Ok(None),
            Err(failure) => Err(Error::from_failure(failure, name)),
        }
    }
}

fn answer(result: Result<Vec<EmployeeId>, Failure>, loss: Loss) -> Answer {
    let verdict = match result {
        Ok(absent) => Verdict::Accepted { absent },
        Err(failure) => failure.verdict,
    };
    Answer { verdict, loss }
}
