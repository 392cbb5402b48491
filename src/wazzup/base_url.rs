//! Where the API is.

use std::str::FromStr;

use derive_more::Display;
use reqwest::Url;

use crate::postgres::is_loopback;

/// The URL that the paths of the calls follow, such as `https://api.wazzup24.com/v3`; with or without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub struct BaseUrl {
    url: Url,
}

impl BaseUrl {
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    /// The error is the end of a sentence about the key. It does not show the URL: somebody may have written credentials into
    /// it.
    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
        let problem = if !matches!(url.scheme(), "https" | "http") {
            "must begin with https://"
        } else if !url.username().is_empty() || url.password().is_some() {
            "must not contain a user or a password; the key belongs in `wazzup.api_key_file`"
        } else if url.query().is_some() || url.fragment().is_some() {
            "must end with its path, without `?…` or `#…`"
        } else if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
            "must begin with https://, or everybody on the way can read the key; only a loopback host may have http://"
        } else {
            return Ok(Self { url });
        };
        Err(problem.to_owned())
    }
}
