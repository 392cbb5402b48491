//! One request of the contract on its way: written down, struck by faults, carried out, answered.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{self, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::answer::{Answer, Mangle};
use crate::call::Call;
use crate::faults::What;
use crate::state::{Shared, State};

/// Far above any batch.
const LONGEST_BODY: usize = 64 << 20;

/// What a huge body is made of.
const FILLER: &[u8; 16 * 1024] = &[b' '; 16 * 1024];

/// The connection that a request came over: told to cut, it is reset without an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(Arc<Notify>);

impl Connection {
    pub(crate) async fn cut(&self) {
        self.0.notified().await;
    }

    /// Cuts. The task of the connection drops the handler that waits here.
    async fn cut_now(&self) -> Response {
        self.0.notify_one();
        future::pending().await
    }
}

/// How a request ends.
enum Outcome {
    Answer(Answer),
    HugeBody(u64),
    Cut,
}

/// What is known of a request.
struct Job {
    shared: Arc<Shared>,
    seq: u64,
    call: Call,
    body: String,
    authorization: Option<String>,
}

/// The handler of everything below `/v3`.
pub(crate) async fn handle(
    extract::State(shared): extract::State<Arc<Shared>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return connection.cut_now().await;
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let json_type = text(header::CONTENT_TYPE).is_some_and(|value| value.starts_with("application/json"));
    let authorization = text(header::AUTHORIZATION).map(ToOwned::to_owned);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());

    let call = Call::parse(&parts.method, &parts.uri);
    let (seq, (delay, what)) = shared.write(|state| {
        let seq = state.log.begin(&call, parts.method.as_str(), path, &body, json_type);
        (seq, state.faults.take(&call, path, &body))
    });
    let mut ending = Ending {
        shared: Arc::clone(&shared),
        seq,
        status: None,
    };

    // A task of its own: a client that hangs up does not stop a server that is at work.
    let job = Job {
        shared,
        seq,
        call,
        body,
        authorization,
    };
    let outcome = tokio::spawn(job.run(delay, what)).await.unwrap_or(Outcome::Cut);
    let response = match outcome {
        Outcome::Cut => return connection.cut_now().await,
        Outcome::Answer(answer) => response(answer),
        Outcome::HugeBody(bytes) => Response::new(filler(bytes)),
    };
    ending.status = Some(response.status().as_u16());
    response
}

/// Ends the request in the log however its handler ends, by a client that hung up too.
struct Ending {
    shared: Arc<Shared>,
    seq: u64,
    status: Option<u16>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.write(|state| state.end(self.seq, self.status));
    }
}

impl Job {
    async fn run(self, delay: Duration, what: Option<What>) -> Outcome {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let answer = match what {
            None => self.act(None),
            Some(What::Delay { ms }) => {
                sleep(Duration::from_millis(ms)).await;
                self.act(None)
            }
            Some(What::DelayAnswer { ms }) => {
                let answer = self.act(None);
                sleep(Duration::from_millis(ms)).await;
                answer
            }
            Some(What::Answer { status, body, headers }) => Answer { status, headers, body },
            Some(What::ActThenAnswer { status, body }) => {
                self.act(None);
                Answer {
                    body,
                    ..Answer::empty(status)
                }
            }
            Some(What::Redirect { status, to }) => {
                let headers = vec![("location".to_owned(), to)];
                Answer {
                    headers,
                    ..Answer::empty(status)
                }
            }
            Some(What::CutBefore) => return Outcome::Cut,
            Some(What::CutAfter) => {
                self.act(None);
                return Outcome::Cut;
            }
            Some(What::ActLate { after_ms }) => {
                tokio::spawn(self.act_late(Duration::from_millis(after_ms)));
                return Outcome::Cut;
            }
            Some(What::Garbage) => {
                self.act(None);
                Answer {
                    body: "\u{1}\u{2}{[<garbage".to_owned(),
                    ..Answer::empty(200)
                }
            }
            Some(What::HugeBody { bytes }) => {
                self.act(None);
                return Outcome::HugeBody(bytes);
            }
            Some(What::ShortList { missing }) => self.act(Some(Mangle::Short(missing))),
            Some(What::EmptyList) => self.act(Some(Mangle::Empty)),
            Some(What::BrokenJson) => {
                let answer = self.act(None);
                let half = answer.body.chars().take(answer.body.chars().count() / 2);
                Answer {
                    body: half.collect(),
                    ..answer
                }
            }
        };
        Outcome::Answer(answer)
    }

    /// Acts after this time, or when all that is late is told to land.
    async fn act_late(self, after: Duration) {
        let landings = self.shared.write(State::begin_late);
        let mut changes = self.shared.changes();
        tokio::select! {
            () = sleep(after) => {}
            _ = changes.wait_for(|()| self.shared.read(|state| state.landings > landings)) => {}
        }
        self.act(None);
        self.shared.write(State::end_late);
    }

    fn act(&self, mangle: Option<Mangle>) -> Answer {
        let authorization = self.authorization.as_deref();
        self.shared
            .write(|state| state.act(self.seq, &self.call, &self.body, authorization, mangle))
    }
}

fn response(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    // A fault may have been ordered with a status or header that HTTP does not have.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn filler(bytes: u64) -> Body {
    let block = FILLER.len() as u64;
    let rest = usize::try_from(bytes % block).unwrap_or(0);
    let blocks = (0..bytes / block).map(|_| &FILLER[..]).chain(Some(&FILLER[..rest]));
    Body::from_stream(stream::iter(
        blocks.map(|block| Ok::<_, Infallible>(Bytes::from_static(block))),
    ))
}
