//! A server that answers as ordered, right or wrong.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
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
    /// Sends these bytes and waits for the next request on the same connection.
    Answer(Vec<u8>),
    /// Sends these bytes and closes.
    Cut(Vec<u8>),
    /// Sends these bytes, and then nothing more.
    Hang(Vec<u8>),
    /// A success that begins with these bytes and goes on with as many repetitions of the others as fit into 30 MiB.
    Flood(&'static str, &'static str),
}

pub(super) fn answer(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
    Reply::Answer((head + body).into_bytes())
}

pub(super) fn ok(body: &str) -> Reply {
    answer(200, "", body)
}

/// A success of which only the beginning arrives.
pub(super) fn beginning_of_success(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{body}").into_bytes()
}

pub(super) struct Server {
    pub base: String,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<String>>,
    connection_count: AtomicUsize,
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
    pub async fn slow(delay: Duration, reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}/v3", listener.local_addr().expect("an address"));
        let log = Arc::new(Log::default());
        let seen = Arc::clone(&log);
        let reply = Arc::new(reply);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connection_count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, delay, Arc::clone(&reply), Arc::clone(&seen)));
            }
        });
        Self { base, log }
    }

    pub fn requests(&self) -> Vec<String> {
        self.log.requests.lock().expect("no panic").clone()
    }

    /// The first lines of the requests, without the version.
    pub fn lines(&self) -> Vec<String> {
        let line = |request: &String| request.split(" HTTP/").next().unwrap_or_default().to_owned();
        self.requests().iter().map(line).collect()
    }

    pub fn connection_count(&self) -> usize {
        self.log.connection_count.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, delay: Duration, reply: Arc<impl Fn(usize) -> Reply>, log: Arc<Log>) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut requests = log.requests.lock().expect("no panic");
            requests.push(request);
            requests.len() - 1
        };
        sleep(delay).await;
        match reply(number) {
            Reply::Answer(bytes) => {
                let _ = stream.write_all(&bytes).await;
            }
            Reply::Cut(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                sleep(Duration::from_hours(1)).await;
            }
            Reply::Flood(beginning, repeated) => return flood(stream, beginning, repeated).await,
        }
    }
}

/// Reads one request; `None` if the client has none.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap_or_default();
        if read == 0 {
            return None;
        }
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
            return Some(text.into_owned());
        }
    }
}

async fn flood(mut stream: TcpStream, beginning: &str, repeated: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{beginning}", 40 << 20);
    let _ = stream.write_all(head.as_bytes()).await;
    let block = repeated.repeat((1 << 14) / repeated.len());
    for _ in 0..(30 << 20) / block.len() {
        if stream.write_all(block.as_bytes()).await.is_err() {
            break;
        }
    }
}
