//! Answers as they came, for `check --probe`.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::Value;

use super::{
    attempt::{Call, header, read_to_end},
    client::Session,
    error::Error,
};

/// More than a page of a list needs.
const MAX_BYTES: usize = 1 << 20;

/// An answer as it came.
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) is_html: bool,
    pub(crate) has_trace_id: bool,
    /// Empty if it has more than 1 MiB.
    pub(crate) body: Vec<u8>,
}

impl Session<'_> {
    /// Sends a request once, whatever it is answered. `path` follows the base URL.
    ///
    /// # Errors
    /// If it may not be sent, or there is no answer.
    pub(crate) async fn raw(&self, method: Method, path: &str, body: Option<&Value>) -> Result<RawAnswer, Error> {
        let call = Call {
            method,
            template: "",
            path: path.to_owned(),
            body: body.map(|body| body.to_string().into_bytes()),
        };
        let attempt = async || {
            let mut response = self.response_to(&call).await?;
            let content_type = header(&response, CONTENT_TYPE.as_str()).unwrap_or_default();
            let is_html = content_type.to_ascii_lowercase().contains("text/html");
            let has_trace_id = header(&response, "trace-id").is_some();
            let body = read_to_end(&mut response, Vec::new(), MAX_BYTES).await?;
            Ok(RawAnswer {
                status: response.status().as_u16(),
                is_html,
                has_trace_id,
                body: body.unwrap_or_default(),
            })
        };
        let (result, _) = self.retry(&call, self.client.patience.for_one_attempt(), attempt).await;
        result.map_err(|failure| Error::from_failure(failure, "the probe"))
    }
}

impl RawAnswer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}
