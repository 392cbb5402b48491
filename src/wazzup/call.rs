//! The calls of the contract: what each one sends, and what of its answer counts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    client::Session,
    error::Error,
    exchange::{Call, HttpAnswer},
    failure::AttemptFailure,
    list::ListBuilder,
    retry::Patience,
    user::{RemoteUser, parse_absent, parse_user},
};
use crate::{
    delivery::{Answer, Attempts, Interruption, Loss, Request, Verdict},
    employee::{Employee, EmployeeId},
    plan::{Coverage, RemoteList},
};

const USERS: &str = "users";
const USER: &str = "users/{id}";
const BULK_DELETE: &str = "users/bulk_delete";

/// Of some answers it matters only how they begin.
const BEGINNING: usize = 0;
/// More than any answer to the probe needs.
const MAX_PROBE_BYTES: usize = 1 << 20;
/// More than one user needs.
const MAX_USER_BYTES: usize = 64 << 10;
/// More than 100 ids of 200 characters need, each character escaped.
const MAX_ABSENT_BYTES: usize = 256 << 10;
/// After so many time-outs no further page of a list is asked for.
const MAX_TIMEOUTS_OF_A_LIST: u32 = 10;

/// Everything that could mean something in a URL is encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl Session<'_> {
    pub async fn send(&self, request: &Request) -> Answer {
        match request {
            // The body of the answer means nothing.
            Request::Upsert { entries, attempts } => {
                let employees: Vec<&Employee> = entries.iter().map(|entry| &entry.employee).collect();
                let call = Call::write(Method::POST, USERS, &employees, BEGINNING);
                self.deliver(&call, *attempts, |_| Some(Vec::new())).await
            }
            Request::Remove { user_ids, attempts } => {
                let call = Call::write(Method::PATCH, BULK_DELETE, user_ids, MAX_ABSENT_BYTES);
                let absent = |success: HttpAnswer| parse_absent(&success.into_body()?, user_ids);
                self.deliver(&call, *attempts, absent).await
            }
            Request::Ping => {
                let verdict = match self.confirm_usable().await {
                    Ok(()) => Verdict::Accepted { absent: Vec::new() },
                    Err(interruption) => Verdict::Interrupted(interruption),
                };
                let loss = Loss::None;
                Answer { verdict, loss }
            }
        }
    }

    /// Sends a writing request. `absent` reads the ids that were not there, if a success is one of Wazzup's.
    async fn deliver(
        &self,
        call: &Call,
        attempts: Attempts,
        absent: impl Fn(HttpAnswer) -> Option<Vec<EmployeeId>>,
    ) -> Answer {
        let attempt = async || {
            let success = self.success(call).await?;
            absent(success).ok_or_else(AttemptFailure::web_page)
        };
        let patience = self.client.patience.for_attempts(attempts);
        let (result, loss) = self.retry(call, patience, attempt).await;
        let verdict = match result {
            Ok(absent) => Verdict::Accepted { absent },
            Err(failure) => failure.verdict,
        };
        Answer { verdict, loss }
    }

    /// Whether the service answers, and accepts the key: one attempt of `GET /users`, of which only the beginning is read.
    pub(crate) async fn confirm_usable(&self) -> Result<(), Interruption> {
        let call = Call::get(USERS, USERS.to_owned(), BEGINNING);
        let attempt = async || {
            if !self.success(&call).await?.begins_like_list() {
                return Err(AttemptFailure::web_page());
            }
            Ok(())
        };
        let (result, _) = self.retry(&call, Patience::ONE_ATTEMPT, attempt).await;
        result.map_err(AttemptFailure::into_interruption)
    }

    /// `GET /users`, all pages, into `remote_list`. Whatever keeps the list from proving to be complete is told in its
    /// coverage. One that is far longer than the `expected` number of users is given up. An error only if the key is refused,
    /// nothing may be sent, or the first page is not found.
    pub async fn read_list(&self, expected: usize, remote_list: &mut RemoteList) -> Result<(), Error> {
        let latest_page = Instant::now() + self.client.timeout * MAX_TIMEOUTS_OF_A_LIST;
        let mut list = ListBuilder::new(expected);
        let mut call = Call::get(USERS, USERS.to_owned(), list.room);
        let coverage = loop {
            let page = match self.read(&call).await {
                Ok(Some(page)) => page,
                Ok(None) => break Coverage::Incomplete("it is too long".to_owned()),
                Err(error @ Error::Interrupted(Interruption::Unauthorized | Interruption::NotSent(_))) => {
                    return Err(error);
                }
                Err(error) if list.page_count > 0 => {
                    break Coverage::Incomplete(format!("a page cannot be had: {error}"));
                }
                Err(error @ (Error::Interrupted(Interruption::Forbidden) | Error::NotFound { .. })) => {
                    return Err(error);
                }
                Err(error) => break Coverage::Unavailable(error.to_string()),
            };
            match list.add(&page) {
                Ok(None) => break Coverage::Complete,
                Ok(Some(_)) if Instant::now() > latest_page => {
                    break Coverage::Incomplete("reading it takes too long".to_owned());
                }
                Ok(Some(offset)) => call = Call::get(USERS, format!("{USERS}?offset={offset}"), list.room),
                Err(reason) => break Coverage::Incomplete(reason),
            }
        };
        remote_list.add_list(list.names, coverage);
        Ok(())
    }

    /// `GET /users/{id}`. `None`: the service says that there is no such user (404).
    pub async fn user(&self, id: &EmployeeId) -> Result<Option<RemoteUser>, Error> {
        let useless = |reason: &str| Error::Useless {
            path: USER,
            reason: String::from(reason),
        };
        if !id.has_own_url() {
            return Err(useless("no URL can name this id"));
        }
        let path = format!("{USERS}/{}", utf8_percent_encode(id.as_str(), PLAIN));
        match self.read(&Call::get(USER, path, MAX_USER_BYTES)).await {
            Ok(Some(body)) => parse_user(&body, id).map(Some).map_err(useless),
            Ok(None) => Err(useless("it is too big")),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The body of a success, unless it is longer than the call's limit.
    async fn read(&self, call: &Call) -> Result<Option<Vec<u8>>, Error> {
        let attempt = async || Ok(self.success(call).await?.into_body());
        let (result, _) = self.retry(call, self.client.patience, attempt).await;
        result.map_err(|failure| Error::from_failure(failure, call.template))
    }

    /// Sends a request of `check --probe` once, whatever is answered. `path` follows the base URL.
    pub(crate) async fn probe(&self, method: Method, path: &str, body: Option<&Value>) -> Result<HttpAnswer, Error> {
        let call = Call {
            body: body.map(|body| body.to_string().into_bytes()),
            method,
            ..Call::get("", path.to_owned(), MAX_PROBE_BYTES)
        };
        let attempt = async || self.exchange(&call).await;
        let (result, _) = self.retry(&call, Patience::ONE_ATTEMPT, attempt).await;
        result.map_err(|failure| Error::from_failure(failure, call.template))
    }
}
