//! One HTTP exchange: a call, and as much of its answer as matters.

use std::{iter, time::Duration};

use reqwest::{
    Method, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER},
};
use serde::Serialize;
use serde_json::Value;

use super::{client::Session, failure::AttemptFailure, refusal::read_refusal};

/// More than any body of a refusal needs.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// More blanks than any body begins with.
const MAX_LEADING_BLANKS: usize = 64 << 10;

pub(super) struct Call {
    pub method: Method,
    /// The path as the log shows it: never with an id.
    pub template: &'static str,
    /// What follows the base URL, encoded.
    pub path: String,
    pub body: Option<Vec<u8>>,
    /// How many bytes of a success are read, besides blanks at its beginning.
    pub limit: usize,
}

impl Call {
    pub(super) fn get(template: &'static str, path: String, limit: usize) -> Self {
        Self {
            method: Method::GET,
            template,
            path,
            body: None,
            limit,
        }
    }

    pub(super) fn write(method: Method, path: &'static str, body: &(impl Serialize + ?Sized), limit: usize) -> Self {
        let body = serde_json::to_vec(body).expect("strings and numbers always have a JSON form");
        Self {
            method,
            template: path,
            path: path.to_owned(),
            body: Some(body),
            limit,
        }
    }
}

#[derive(Default)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) is_html: bool,
    pub(crate) trace_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// The whole body, or a beginning that is longer than the limit.
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Session<'_> {
    /// Sends `call` once, and takes nothing but a 2xx that is no web page.
    pub(super) async fn success(&self, call: &Call) -> Result<HttpAnswer, AttemptFailure> {
        let answer = self.exchange(call).await?;
        match answer.failure() {
            Some(failure) => Err(failure),
            None => Ok(answer),
        }
    }

    /// Sends `call` once, whatever is answered.
    pub(super) async fn exchange(&self, call: &Call) -> Result<HttpAnswer, AttemptFailure> {
        let url = format!("{}/{}", self.client.base_url, call.path);
        let http = self.client.http().await?;
        let mut request = http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json");
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        HttpAnswer::read(request.send().await?, call.limit).await
    }
}

impl HttpAnswer {
    async fn read(mut response: Response, limit: usize) -> Result<Self, AttemptFailure> {
        let content_type = header(&response, &CONTENT_TYPE).unwrap_or_default();
        // The form with a date is not read: then the usual waits apply.
        let retry_after = header(&response, &RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok());
        let mut answer = Self {
            status: response.status().as_u16(),
            is_html: content_type.to_ascii_lowercase().contains("text/html"),
            trace_id: header(&response, &HeaderName::from_static("trace-id")).map(str::to_owned),
            retry_after: retry_after.map(Duration::from_secs),
            ..Self::default()
        };
        if answer.is_success() {
            answer.read_body(&mut response, limit).await?;
        } else if answer.read_body(&mut response, MAX_REFUSAL_BYTES).await.is_err() {
            // A refusal is one by its status, whether or not its body can be read.
            answer.body.clear();
        }
        Ok(answer)
    }

    async fn read_body(&mut self, response: &mut Response, limit: usize) -> Result<(), AttemptFailure> {
        while self.body.trim_ascii_start().len() <= limit && self.body.len() <= limit + MAX_LEADING_BLANKS {
            let Some(part) = response.chunk().await? else {
                self.is_whole = true;
                return Ok(());
            };
            self.body.extend_from_slice(&part);
        }
        Ok(())
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What this means, unless it is a 2xx and no web page.
    fn failure(&self) -> Option<AttemptFailure> {
        if !self.is_success() {
            let refusal = read_refusal(self.status, &self.body, self.trace_id.as_deref());
            return Some(AttemptFailure::from_status(self.status, refusal, self.retry_after));
        }
        let text = self.body.trim_ascii_start();
        let is_endless_blank = text.is_empty() && !self.is_whole;
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let is_web_page = self.is_html || is_endless_blank || text.trim_ascii_start().starts_with(b"<");
        is_web_page.then(AttemptFailure::web_page)
    }

    /// The body, unless it is longer than the limit of the call.
    pub(super) fn into_body(self) -> Option<Vec<u8>> {
        self.is_whole.then_some(self.body)
    }

    /// Whether this may be the beginning of a list: 200, and JSON.
    pub(super) fn begins_like_list(&self) -> bool {
        let text = self.body.trim_ascii_start();
        self.status == 200 && (text.starts_with(b"[") || text.starts_with(b"{"))
    }
}

fn header<'r>(response: &'r Response, name: &HeaderName) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

impl From<reqwest::Error> for AttemptFailure {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() {
            Self::unavailable(causes(&error))
        } else if error.is_timeout() {
            Self::no_answer("no full answer within wazzup.timeout".to_owned())
        } else {
            Self::no_answer(causes(&error))
        }
    }
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
