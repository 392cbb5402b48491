//! One attempt of a call: what is sent, and what the answer means.

use std::{iter, time::Duration};

use reqwest::{
    Method, RequestBuilder, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::time::{Instant, timeout_at};

use super::{client::Session, refusal::read_refusal, trouble::Trouble};

/// More than any body of a refusal needs, and more blanks than any body begins with.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// A call, as every attempt sends it.
pub(super) struct Call {
    pub method: Method,
    /// The path as the log shows it: never with an id.
    pub template: &'static str,
    /// What follows the base URL, encoded.
    pub path: String,
    pub body: Option<Vec<u8>>,
}

impl Call {
    pub(super) fn get(template: &'static str, path: String) -> Self {
        Self {
            method: Method::GET,
            template,
            path,
            body: None,
        }
    }
}

/// A success that is no web page.
pub(super) struct Success {
    pub status: u16,
    /// The beginning of the body, without leading blanks; empty if the body is.
    pub beginning: Vec<u8>,
    body: Body,
}

/// What is still to come of a body.
struct Body {
    response: Response,
    deadline: Instant,
    timeout: Duration,
}

impl Session<'_> {
    /// Sends `call` once. A 2xx that is no web page is a success.
    pub(super) async fn exchange(&self, call: &Call, deadline: Instant) -> Result<Success, Trouble> {
        let timeout = self.client.timeout();
        let request = self.build_request(call).await?;
        let response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(Trouble::Unavailable(causes(&error.without_url()))),
            Ok(Err(error)) => return Err(Trouble::NoAnswer(causes(&error.without_url()))),
            Err(_) => return Err(overdue(timeout)),
        };
        let is_success = response.status().is_success();
        let body = Body {
            response,
            deadline,
            timeout,
        };
        if is_success {
            Success::from_body(body).await
        } else {
            Err(body.into_trouble().await)
        }
    }

    async fn build_request(&self, call: &Call) -> Result<RequestBuilder, Trouble> {
        let url = format!("{}/{}", self.client.base_url, call.path);
        let http = self.client.http().await?;
        let request = http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json");
        Ok(match &call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => request,
        })
    }
}

impl Success {
    /// Reads the body until its kind is known.
    async fn from_body(mut body: Body) -> Result<Self, Trouble> {
        let content_type = body.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        if content_type.to_ascii_lowercase().contains("text/html") {
            return Err(Trouble::WebPage);
        }
        let mut beginning = Vec::new();
        let mut blank_count = 0;
        while let Some(part) = body.next_part().await? {
            let part = part.as_ref();
            beginning = part.trim_ascii_start().to_vec();
            if !beginning.is_empty() {
                break;
            }
            blank_count += part.len();
            if blank_count > MAX_REFUSAL_BYTES {
                return Err(Trouble::WebPage);
            }
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&beginning);
        if text.trim_ascii_start().starts_with(b"<") {
            return Err(Trouble::WebPage);
        }
        Ok(Self {
            status: body.response.status().as_u16(),
            beginning,
            body,
        })
    }

    /// Whether the body begins as the answers that hold something do.
    pub(super) fn begins_like_json(&self) -> bool {
        self.beginning.starts_with(b"[") || self.beginning.starts_with(b"{")
    }

    /// The next part of the body, behind [`Success::beginning`]; `None` at its end.
    pub(super) async fn next_part(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Trouble> {
        self.body.next_part().await
    }

    /// The whole body; `None` if it has more than `limit` bytes.
    pub(super) async fn into_bytes(mut self, limit: usize) -> Result<Option<Vec<u8>>, Trouble> {
        self.body.read_to_end(self.beginning, limit).await
    }
}

impl Body {
    fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    async fn next_part(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Trouble> {
        match timeout_at(self.deadline, self.response.chunk()).await {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(error)) => Err(Trouble::NoAnswer(causes(&error.without_url()))),
            Err(_) => Err(overdue(self.timeout)),
        }
    }

    async fn read_to_end(&mut self, mut bytes: Vec<u8>, limit: usize) -> Result<Option<Vec<u8>>, Trouble> {
        while bytes.len() <= limit {
            let Some(part) = self.next_part().await? else {
                return Ok(Some(bytes));
            };
            bytes.extend_from_slice(part.as_ref());
        }
        Ok(None)
    }

    /// What an answer that is no success means. It decides by its status, whether or not its body can be read.
    async fn into_trouble(mut self) -> Trouble {
        let status = self.response.status().as_u16();
        let mut trouble = Trouble::from_status(status, self.retry_after());
        if let Some(refusal) = trouble.refusal_mut() {
            let body = self.read_to_end(Vec::new(), MAX_REFUSAL_BYTES).await;
            let body = body.ok().flatten().unwrap_or_default();
            *refusal = read_refusal(status, &body, self.header("trace-id"));
        }
        trouble
    }

    /// How long the service wants us to wait. The form with a date is not read: then the usual waits apply.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header(RETRY_AFTER.as_str())?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

fn overdue(timeout: Duration) -> Trouble {
    Trouble::NoAnswer(format!("no full answer within {timeout:?}"))
}

/// The causes of `error` in one line, without `error` itself, which only wraps them.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    const MAX_CHARS: usize = 300;
    let mut line = String::new();
    for cause in iter::successors(error.source().or(Some(error)), |error| error.source()) {
        let text = cause.to_string();
        // Behind this stands what a server wrote when it closed an HTTP/2 connection.
        let text = text.split(" (b\"").next().unwrap_or_default();
        if !line.contains(text) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(text);
        }
    }
    line.chars().take(MAX_CHARS).collect()
}
