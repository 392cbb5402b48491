//! A server that answers as ordered, right or wrong.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What the server does once it has read a request.
#[derive(Clone)]
pub(super) enum Reply {
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Closes without an answer.
    Cut,
    /// Sends these bytes, and then nothing more.
    Hang(Vec<u8>),
    /// A success that begins with these bytes and goes on with as many repetitions of the others as fit into 30 MiB.
    Flood(&'static str, &'static str),
}

pub(super) fn answer(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    Reply::Raw((head + body).into_bytes())
}

pub(super) fn ok(body: &str) -> Reply {
    answer(200, "", body)
}

pub(super) struct Server {
    pub base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the requests with `replies` in turn, the last one again and again.
    pub async fn new(replies: Vec<Reply>) -> Self {
        Self::slow(Duration::ZERO, move |number| {
            replies[number.min(replies.len() - 1)].clone()
        })
        .await
    }

    /// Answers each request after `delay` with what `reply` says to its number, counted from 0.
    pub async fn slow(delay: Duration, reply: impl Fn(usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}/v3", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = seen.lock().expect("no panic").len();
                sleep(delay).await;
                serve(stream, reply(number), &seen).await;
            }
        });
        Self { base, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// The first lines of the requests, without the version.
    pub fn lines(&self) -> Vec<String> {
        let line = |request: &String| request.split(" HTTP/").next().unwrap_or_default().to_owned();
        self.requests().iter().map(line).collect()
    }
}

/// Reads one request, notes it and does as ordered. A connection that stays open is left to a task of its own.
async fn serve(mut stream: TcpStream, reply: Reply, seen: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap_or_default();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if read == 0 {
                return;
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if read == 0 || body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
            break;
        }
    }
    seen.lock()
        .expect("no panic")
        .push(String::from_utf8_lossy(&request).into_owned());
    match reply {
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Reply::Cut => {}
        Reply::Hang(bytes) => {
            tokio::spawn(async move {
                let _ = stream.write_all(&bytes).await;
                sleep(Duration::from_hours(1)).await;
            });
        }
        Reply::Flood(beginning, repeated) => {
            tokio::spawn(async move {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{beginning}", 40 << 20);
                let _ = stream.write_all(head.as_bytes()).await;
                let block = repeated.repeat((1 << 14) / repeated.len());
                for _ in 0..(30 << 20) / block.len() {
                    if stream.write_all(block.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
}
