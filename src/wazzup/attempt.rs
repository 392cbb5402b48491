//! One attempt of a call: the HTTP exchange, and the bounded reading of what comes back.

use std::{
    io::{self, Cursor, Read},
    iter,
    time::Duration,
};

use reqwest::{
    Method, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{client::Session, failure::Failure, refusal::read_refusal};

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

    pub(super) fn write(method: Method, path: &'static str, body: &(impl Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(body).expect("strings and numbers always have a JSON form");
        Self {
            method,
            template: path,
            path: path.to_owned(),
            body: Some(body),
        }
    }
}

/// A success that is no web page.
pub(super) struct Success {
    /// The beginning of the body, at least up to the first character that is no blank.
    beginning: Vec<u8>,
    /// Brings the rest of the body.
    response: Response,
}

impl Session<'_> {
    /// Sends `call` once. A 2xx that is no web page is a success.
    pub(super) async fn exchange(&self, call: &Call) -> Result<Success, Failure> {
        let response = self.response_to(call).await?;
        if response.status().is_success() {
            Success::from_response(response).await
        } else {
            Err(read_failure(response).await)
        }
    }

    /// Sends `call` once, whatever is answered.
    pub(super) async fn response_to(&self, call: &Call) -> Result<Response, Failure> {
        let url = format!("{}/{}", self.client.base_url, call.path);
        let http = self.client.http().await?;
        let mut request = http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json");
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        Ok(request.send().await?)
    }
}

impl Success {
    /// Reads the body until its kind is known.
    async fn from_response(mut response: Response) -> Result<Self, Failure> {
        let content_type = header(&response, CONTENT_TYPE.as_str()).unwrap_or_default();
        if content_type.to_ascii_lowercase().contains("text/html") {
            return Err(Failure::web_page());
        }
        let mut beginning = Vec::new();
        while beginning.trim_ascii_start().is_empty() {
            if beginning.len() > MAX_REFUSAL_BYTES {
                return Err(Failure::web_page());
            }
            let Some(part) = response.chunk().await? else {
                break;
            };
            beginning.extend_from_slice(&part);
        }
        let text = beginning.trim_ascii_start();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if text.trim_ascii_start().starts_with(b"<") {
            return Err(Failure::web_page());
        }
        Ok(Self { beginning, response })
    }

    /// Whether this may be the beginning of a list: 200, and JSON.
    pub(super) fn begins_like_list(&self) -> bool {
        let text = self.beginning.trim_ascii_start();
        self.response.status() == 200 && (text.starts_with(b"[") || text.starts_with(b"{"))
    }

    /// The whole body; `None` if it has more than `limit` bytes.
    pub(super) async fn into_bytes(mut self, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        read_to_end(&mut self.response, self.beginning, limit).await
    }

    /// Parses the body while it arrives, on a thread where the parser may wait for it.
    pub(super) async fn parse<T: Send + 'static>(
        mut self,
        parser: impl FnOnce(BodyReader) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (parts, arriving) = mpsc::channel(1);
        let body = BodyReader {
            part: Cursor::new(self.beginning),
            arriving,
        };
        let parsing = spawn_blocking(move || parser(body));
        while let Some(part) = self.response.chunk().await? {
            let parser_has_ended = parts.send(part.to_vec()).await.is_err();
            if parser_has_ended {
                break;
            }
        }
        drop(parts);
        Ok(parsing.await.expect("parsers do not panic"))
    }
}

/// The body of a success, for a thread that may wait.
pub(super) struct BodyReader {
    part: Cursor<Vec<u8>>,
    arriving: mpsc::Receiver<Vec<u8>>,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.part.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            match self.arriving.blocking_recv() {
                Some(part) => self.part = Cursor::new(part),
                None => return Ok(0),
            }
        }
    }
}

/// What an answer that is no success means. It decides by its status, whether or not its body can be read.
async fn read_failure(mut response: Response) -> Failure {
    let status = response.status().as_u16();
    let body = read_to_end(&mut response, Vec::new(), MAX_REFUSAL_BYTES).await;
    let body = body.ok().flatten().unwrap_or_default();
    let refusal = read_refusal(status, &body, header(&response, "trace-id"));
    Failure::from_status(status, refusal, retry_after(&response))
}

/// How long the service wants us to wait. The form with a date is not read: then the usual waits apply.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = header(response, RETRY_AFTER.as_str())?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// `beginning` and the rest of the body; `None` if that is more than `limit` bytes.
pub(super) async fn read_to_end(
    response: &mut Response,
    beginning: Vec<u8>,
    limit: usize,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = beginning;
    while bytes.len() <= limit {
        let Some(part) = response.chunk().await? else {
            return Ok(Some(bytes));
        };
        bytes.extend_from_slice(&part);
    }
    Ok(None)
}

impl From<reqwest::Error> for Failure {
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
