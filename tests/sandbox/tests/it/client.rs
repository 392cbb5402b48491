//! A client that hides nothing: one connection per request, and what came back.

use std::fmt::Write as _;
use std::io;

use sandbox::Wazzup;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

/// A request to the contract's side, with the right key.
pub async fn call(wazzup: &Wazzup, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    call_with_key(wazzup, method, path, body, Some(&wazzup.key())).await
}

pub async fn call_with_key(
    wazzup: &Wazzup,
    method: &str,
    path: &str,
    body: &str,
    key: Option<&str>,
) -> io::Result<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", wazzup.port())).await?;
    exchange(stream, method, &format!("/v3{path}"), body, key).await
}

/// A request to the sandbox's own pages.
pub async fn control(port: u16, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    exchange(stream, method, path, body, None).await
}

pub async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    body: &str,
    key: Option<&str>,
) -> io::Result<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n");
    if let Some(key) = key {
        let _ = write!(request, "authorization: Bearer {key}\r\n");
    }
    if !body.is_empty() {
        let length = body.len();
        let _ = write!(
            request,
            "content-type: application/json\r\ncontent-length: {length}\r\n"
        );
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer).map_err(io::Error::other)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .expect("a status line");
    Ok(Answer {
        status,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}
