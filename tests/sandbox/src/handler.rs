//! One request of the contract on its way: written down, struck by a fault, carried out, answered.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{self, State};
use axum::response::{IntoResponse, Response};
use tokio::time::sleep;

use crate::answer::Answer;
use crate::faults::What;
use crate::log::{Kind, Request};
use crate::state::Shared;

/// The longest body that is read, far above any batch.
const LONGEST_BODY: usize = 64 << 20;

/// Marks a response that `server` must not send: the connection is reset instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reset;

/// Handles every request below `/v3`.
pub(crate) async fn handle(State(shared): State<Arc<Shared>>, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let mut request = Request::new(&parts, &body);
    let (delay, what) = shared.write(|state| state.begin(&mut request));
    let mut in_flight = InFlight {
        shared: Arc::clone(&shared),
        seq: request.seq,
        status: None,
    };
    // A task of its own: a client that hangs up does not stop a server that is at work.
    let answer = tokio::spawn(carry_out(shared, request, delay, what)).await;
    let Ok(Some(answer)) = answer else {
        let mut reset = Response::default();
        reset.extensions_mut().insert(Reset);
        return reset;
    };
    in_flight.status = Some(answer.status);
    answer.into_response()
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

/// Returns the answer; `None` is a reset of the connection.
async fn carry_out(shared: Arc<Shared>, request: Request, delay: Duration, what: Option<What>) -> Option<Answer> {
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let mut answer = Answer::default();
    if what.as_ref().is_none_or(What::is_done) {
        answer = shared.write(|state| state.act(&request));
    }
    match what {
        Some(What::DelayAnswer { ms }) => sleep(Duration::from_millis(ms)).await,
        Some(What::Answer { answer: ordered, .. }) => answer = ordered,
        Some(What::CutBefore | What::CutAfter) => return None,
        Some(What::SilenceBefore | What::SilenceAfter) => future::pending().await,
        Some(What::HoldBack) => {
            shared.write(|state| state.held_back.push(request));
            return None;
        }
        Some(What::Garbage) => answer = Answer::new(200, "\u{1}\u{2}{[<garbage"),
        Some(What::BrokenJson) => {
            let half = answer.body.chars().count() / 2;
            answer.body = answer.body.chars().take(half).collect();
        }
        Some(What::ShortList { missing }) if request.kind == Kind::List => {
            answer.edit_list(|items| items.truncate(items.len().saturating_sub(missing)));
        }
        Some(What::EmptyList) if request.kind == Kind::List => answer.edit_list(Vec::clear),
        None | Some(What::Delay { .. } | What::InvalidUsers { .. } | What::ShortList { .. } | What::EmptyList) => {}
    }
    if answer.status >= 400 {
        let trace_id = shared.read(|state| state.variant.trace_id.clone());
        answer.headers.extend(trace_id.map(|trace_id| ("trace-id", trace_id)));
    }
    Some(answer)
}
