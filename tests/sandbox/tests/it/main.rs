//! The sandbox against its own promises, over real HTTP.

mod contract;
mod faults;

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use sandbox::Wazzup;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One user, who is also an entry of a `POST`.
const ANN: &str = r#"[{"id":"1","name":"Ann"}]"#;

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

/// Sends a request, such as `GET /users`, with the key of this account.
async fn call(wazzup: &Wazzup, line: &str, body: impl Into<String>) -> reqwest::Result<Answer> {
    call_with_key(wazzup, &wazzup.key(), line, body).await
}

async fn call_with_key(wazzup: &Wazzup, key: &str, line: &str, body: impl Into<String>) -> reqwest::Result<Answer> {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .danger_accept_invalid_certs(true)
        .build()?;
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let url = format!("{}{path}", wazzup.base_url());
    let request = client.request(method.parse().expect("a method"), url);
    let request = request.header(CONTENT_TYPE, "application/json").body(body.into());
    let response = request.bearer_auth(key).send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await?,
    })
}
