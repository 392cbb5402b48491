//! The sandbox against its own promises, over real HTTP and with a real Postgres.

mod contract;
mod faults;
mod postgres;

use std::time::Duration;

use sandbox::Wazzup;
use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

/// Sends a request with the key of this account, and a body unless it is null.
async fn call(wazzup: &Wazzup, method: &str, path: &str, body: Value) -> reqwest::Result<Answer> {
    call_with_key(wazzup, &wazzup.key(), method, path, body).await
}

async fn call_with_key(wazzup: &Wazzup, key: &str, method: &str, path: &str, body: Value) -> reqwest::Result<Answer> {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .danger_accept_invalid_certs(true)
        .build()?;
    let method = method.parse().expect("a method");
    let mut request = client.request(method, format!("{}{path}", wazzup.base_url()));
    if !body.is_null() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let response = request.bearer_auth(key).send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await?,
    })
}

async fn get(wazzup: &Wazzup, path: &str) -> reqwest::Result<Answer> {
    call(wazzup, "GET", path, Value::Null).await
}

async fn post(wazzup: &Wazzup, entries: Value) -> reqwest::Result<Answer> {
    call(wazzup, "POST", "/users", entries).await
}

async fn bulk_delete(wazzup: &Wazzup, ids: Value) -> reqwest::Result<Answer> {
    call(wazzup, "PATCH", "/users/bulk_delete", ids).await
}
