//! One request of the contract on its way: written down, struck by a fault, carried out, answered.

use std::convert::Infallible;
use std::future;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{self, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use tokio::time::sleep;

use crate::answer::Answer;
use crate::faults::What;
use crate::log::{Kind, Request};
use crate::state::Shared;

/// The longest body that is read, far above any batch.
const LONGEST_BODY: usize = 64 << 20;

/// The size of the pieces in which a long body is sent.
const PIECE: usize = 16 << 10;

/// Marks a response that `server` must not send: the connection is reset instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reset;

/// How a request ends.
enum Outcome {
    Response(Response),
    Reset,
    Silence,
}

/// Handles every request below `/v3`.
pub(crate) async fn handle(State(shared): State<Arc<Shared>>, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return reset();
    };
    let mut request = Request::new(&parts, &body);
    let (delay, what) = shared.write(|state| state.begin(&mut request));
    let mut in_flight = InFlight {
        shared: Arc::clone(&shared),
        seq: request.seq,
        status: None,
    };
    // A task of its own: a client that hangs up does not stop a server that is at work.
    let outcome = tokio::spawn(carry_out(Arc::clone(&shared), request, delay, what)).await;
    let response = match outcome.unwrap_or(Outcome::Reset) {
        Outcome::Reset => return reset(),
        Outcome::Silence => return future::pending().await,
        Outcome::Response(response) => response,
    };
    in_flight.status = Some(response.status().as_u16());
    response
}

/// Ends the request in the log however its handler ends, even by a client that hangs up.
struct InFlight {
    shared: Arc<Shared>,
    seq: u64,
    status: Option<u16>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.write(|state| state.log.end(self.seq, self.status));
    }
}

async fn carry_out(shared: Arc<Shared>, request: Request, delay: Duration, what: Option<What>) -> Outcome {
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let is_done = !matches!(
        what,
        Some(
            What::Answer { .. }
                | What::Redirect { .. }
                | What::CutBefore
                | What::SilenceBefore
                | What::HoldBack
                | What::Flood { status: 300.., .. }
        )
    );
    let mut answer = Answer::default();
    if is_done {
        answer = shared.write(|state| state.act(&request));
    }
    match what {
        Some(What::DelayAnswer { ms }) => sleep(Duration::from_millis(ms)).await,
        Some(What::Answer { status, body, headers }) => answer = Answer { status, headers, body },
        Some(What::ActThenAnswer { status, body }) => answer = Answer::new(status, body),
        Some(What::Redirect { status, to }) => {
            answer = Answer::new(status, "");
            answer.headers.push((header::LOCATION.to_string(), to));
        }
        Some(What::CutBefore | What::CutAfter) => return Outcome::Reset,
        Some(What::SilenceBefore | What::SilenceAfter) => return Outcome::Silence,
        Some(What::HoldBack) => {
            shared.write(|state| state.held_back.push_back(request));
            return Outcome::Reset;
        }
        Some(What::Garbage) => answer = Answer::new(200, "\u{1}\u{2}{[<garbage"),
        Some(What::BrokenJson) => {
            let half = answer.body.chars().count() / 2;
            answer.body = answer.body.chars().take(half).collect();
        }
        Some(What::Flood {
            status,
            start,
            repeat,
            times,
            end,
        }) => return Outcome::Response(response(status, &[], repeated(start, &repeat, times, &end))),
        Some(What::ShortList { missing }) if request.kind == Kind::List => {
            answer.edit_list(|items| items.truncate(items.len().saturating_sub(missing)));
        }
        Some(What::EmptyList) if request.kind == Kind::List => answer.edit_list(Vec::clear),
        None | Some(What::Delay { .. } | What::ShortList { .. } | What::EmptyList) => {}
    }
    Outcome::Response(answer_response(answer, &shared))
}

fn reset() -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(Reset);
    response
}

fn answer_response(answer: Answer, shared: &Shared) -> Response {
    let content_type = match answer.body.as_bytes().first() {
        None => "",
        Some(b'<') => "text/html; charset=utf-8",
        Some(b'{' | b'[') => "application/json; charset=utf-8",
        Some(_) => "text/plain; charset=utf-8",
    };
    let mut headers = answer.headers;
    if !content_type.is_empty() {
        headers.push((header::CONTENT_TYPE.to_string(), content_type.to_owned()));
    }
    let trace_id = shared.read(|state| state.variant.trace_id.clone());
    if let Some(trace_id) = trace_id.filter(|_| answer.status >= 400) {
        headers.push(("trace-id".to_owned(), trace_id));
    }
    response(answer.status, &headers, Body::from(answer.body))
}

/// A status or header that HTTP does not have, which a fault may have ordered, becomes 500 or is left out.
fn response(status: u16, headers: &[(String, String)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A body that is made while it is sent.
fn repeated(start: String, repeat: &str, times: usize, end: &str) -> Body {
    let times_per_piece = (PIECE / repeat.len().max(1)).max(1);
    let piece = Bytes::from(repeat.repeat(times_per_piece));
    let last = repeat.repeat(times % times_per_piece) + end;
    let pieces = iter::once(Bytes::from(start))
        .chain((0..times / times_per_piece).map(move |_| piece.clone()))
        .chain(iter::once(Bytes::from(last)));
    Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)))
}
