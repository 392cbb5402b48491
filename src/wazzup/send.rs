//! The one place that sends: a call, its attempts, and what their answers mean.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::time::{Instant, timeout_at};

use super::{
    client::{OnFault, Session},
    error::{Error, Refusal, Verdict},
    retry::{Again, Done, Failure, Fate, Label, Patience, Pause, causes},
    wire,
};

/// More than any answer but a list can reasonably have.
pub(super) const MIB: usize = 1 << 20;

/// One request, as it is sent in every attempt.
pub(super) struct Call<'a> {
    pub method: Method,
    /// Names it in the logs.
    pub label: Label,
    /// What follows the base URL, encoded.
    pub path: &'a str,
    pub body: Option<Vec<u8>>,
    pub faults: OnFault,
    pub answer: Want,
}

/// What is wanted of the body of a success.
#[derive(Clone, Copy)]
pub(super) enum Want {
    /// Nothing: the status says it all.
    Nothing,
    /// At most so many bytes, if they can be had.
    IfPossible(usize),
    /// At most so many bytes, without which the call is not done.
    All(usize),
}

/// A body.
pub(super) enum Content {
    Whole(Vec<u8>),
    TooBig,
    /// It ended early; why.
    Cut(String),
}

impl Session<'_> {
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Done<Content>, Error> {
        self.send_with(call, self.client.patience).await
    }

    pub(super) async fn send_with(&self, call: &Call<'_>, patience: Patience) -> Result<Done<Content>, Error> {
        let attempt = |deadline| self.attempt(call, deadline);
        self.client.pacer.run(&self.gate, call.label, patience, attempt).await
    }

    /// Sends `call` once, and judges the answer.
    async fn attempt(&self, call: &Call<'_>, deadline: Instant) -> Result<Content, Failure> {
        let request = self.request(call).await.map_err(Failure::Final)?;
        let response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let fate = if error.is_connect() {
                    Fate::Untouched
                } else {
                    Fate::Open
                };
                return Err(call.again(causes(&error.without_url()), fate));
            }
            Err(_) => return Err(call.again(self.overdue(), Fate::Open)),
        };
        let status = response.status().as_u16();
        match Verdict::of(status) {
            Verdict::Success => self.content(call, response, deadline).await,
            Verdict::Unauthorized => Err(Failure::Final(Error::Unauthorized { late: false })),
            Verdict::Forbidden => Err(Failure::Final(Error::Forbidden { late: false })),
            Verdict::Refused => Err(Failure::Final(Error::Refused(self.refusal(response, deadline).await))),
            Verdict::Fault => {
                let refusal = self.refusal(response, deadline).await;
                match call.faults {
                    OnFault::Report => Err(Failure::Final(Error::Fault(refusal))),
                    OnFault::Retry => Err(call.faulted(refusal)),
                }
            }
            Verdict::Throttled => {
                Err(call.turned_away(status, Pause::Throttled(retry_after(&response)), Fate::Untouched))
            }
            Verdict::Unavailable(fate) => Err(call.turned_away(status, Pause::BackOff(retry_after(&response)), fate)),
            Verdict::Redirect => Err(Failure::Final(Error::Unavailable {
                reason: format!("it answers {status}, a redirect, and none is followed: check the base URL"),
                late: false,
            })),
        }
    }

    async fn request(&self, call: &Call<'_>) -> Result<RequestBuilder, Error> {
        let url = format!("{}/{}", self.client.base, call.path);
        let request = self
            .client
            .http()
            .await?
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json");
        Ok(match &call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => request,
        })
    }

    /// The body of a success, as far as it is wanted.
    async fn content(&self, call: &Call<'_>, response: Response, deadline: Instant) -> Result<Content, Failure> {
        match call.answer {
            Want::Nothing => Ok(Content::Whole(Vec::new())),
            Want::IfPossible(limit) => Ok(self.read(response, limit, deadline).await),
            Want::All(limit) => match self.read(response, limit, deadline).await {
                Content::Cut(reason) => Err(call.again(reason, Fate::Open)),
                content => Ok(content),
            },
        }
    }

    /// What the service says about a refusal or a fault: as much as it lets us know.
    async fn refusal(&self, response: Response, deadline: Instant) -> Box<Refusal> {
        let status = response.status().as_u16();
        let body = match self.read(response, MIB, deadline).await {
            Content::Whole(body) => body,
            Content::TooBig | Content::Cut(_) => Vec::new(),
        };
        Box::new(wire::refusal(status, &body))
    }

    /// Reads at most `limit` bytes: a service gone mad must not fill our memory.
    async fn read(&self, mut response: Response, limit: usize, deadline: Instant) -> Content {
        let mut body = Vec::new();
        loop {
            match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) if chunk.len() > limit - body.len() => return Content::TooBig,
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Content::Whole(body),
                Ok(Err(error)) => return Content::Cut(causes(&error.without_url())),
                Err(_) => return Content::Cut(self.overdue()),
            }
        }
    }

    fn overdue(&self) -> String {
        format!("no full answer within {:?}", self.client.timeout())
    }
}

impl<'a> Call<'a> {
    pub(super) fn get(label: Label, path: &'a str, answer: Want) -> Self {
        Self {
            method: Method::GET,
            label,
            path,
            body: None,
            faults: OnFault::Retry,
            answer,
        }
    }

    /// A call that only reads leaves nothing behind, however it ends.
    fn fate(&self, fate: Fate) -> Fate {
        if self.method == Method::GET {
            Fate::Untouched
        } else {
            fate
        }
    }

    /// There was no answer.
    fn again(&self, reason: String, fate: Fate) -> Failure {
        let fate = self.fate(fate);
        Failure::Again(Again {
            reason,
            status: None,
            pause: Pause::BackOff(None),
            fate,
            fault: None,
        })
    }

    /// The answer came, but no decision.
    fn turned_away(&self, status: u16, pause: Pause, fate: Fate) -> Failure {
        let (reason, fate) = (format!("it answers {status}"), self.fate(fate));
        Failure::Again(Again {
            reason,
            status: Some(status),
            pause,
            fate,
            fault: None,
        })
    }

    /// The service failed on it.
    fn faulted(&self, refusal: Box<Refusal>) -> Failure {
        let (reason, status) = (format!("it fails: {refusal}"), Some(refusal.status));
        let (pause, fate) = (Pause::BackOff(None), self.fate(Fate::Over));
        Failure::Again(Again {
            reason,
            status,
            pause,
            fate,
            fault: Some(refusal),
        })
    }
}

/// How long the service wants us to wait. The form with a date is not read: then the usual waits apply.
fn retry_after(response: &Response) -> Option<Duration> {
    response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}
