//! One request of the contract on its way: written down, struck by a fault, carried out, answered.

use std::future;
use std::panic;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;
use tokio::time::sleep;

use crate::answer::{Answer, answer};
use crate::faults::What;
use crate::request::{Kind, Request};
use crate::state::Shared;

pub(crate) async fn handle(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut request = Request::new(&method, &uri, &headers, &body);
    let (delay, what) = shared.lock().begin(&mut request);
    let (log, seq) = (Shared::clone(&shared), request.seq);
    // Ends the request in the log however its handler ends, even by a client that hangs up.
    let mut status = scopeguard::guard(None, |status| log.lock().end(seq, status));
    // A task of its own: a client that hangs up does not stop a server that is at work.
    let answer = tokio::spawn(carry_out(shared, request, delay, what)).await;
    let Ok(Some(answer)) = answer else {
        // No response can close a connection; the end of the task that serves it does, and this ends it silently.
        panic::resume_unwind(Box::new("the connection is lost"));
    };
    *status = Some(answer.status().as_u16());
    answer
}

/// Returns the answer; `None` is a reset of the connection.
async fn carry_out(shared: Shared, request: Request, delay: Duration, what: Option<What>) -> Option<Answer> {
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let mut response = Answer::default();
    if what.as_ref().is_none_or(What::is_done) {
        response = shared.lock().act(&request);
    }
    match what {
        Some(What::DelayAnswer { ms }) => sleep(Duration::from_millis(ms)).await,
        Some(What::Answer { answer, .. }) => response = answer,
        Some(What::CutBefore | What::CutAfter) => return None,
        Some(What::SilenceBefore | What::SilenceAfter) => future::pending().await,
        Some(What::HoldBack) => {
            shared.lock().held_back.push(request);
            return None;
        }
        Some(What::Garbage) => response = answer(200, "\u{1}\u{2}{[<garbage"),
        Some(What::BrokenJson) => {
            let body = response.body_mut();
            *body = body.chars().take(body.chars().count() / 2).collect();
        }
        Some(What::ShortList { missing }) if request.kind == Kind::List => {
            edit_list(&mut response, |items| {
                items.truncate(items.len().saturating_sub(missing));
            });
        }
        Some(What::EmptyList) if request.kind == Kind::List => edit_list(&mut response, Vec::clear),
        None | Some(What::Delay { .. } | What::InvalidUsers { .. } | What::ShortList { .. } | What::EmptyList) => {}
    }
    if response.status().as_u16() >= 400
        && let Some(trace_id) = shared.lock().variant.trace_id.clone()
    {
        response.headers_mut().insert("trace-id", trace_id.parse().ok()?);
    }
    Some(response)
}

/// Changes the items of a list, be it a bare array or in an envelope. Any other answer stays as it is.
fn edit_list(answer: &mut Answer, edit: impl FnOnce(&mut Vec<Value>)) {
    let mut body: Value = serde_json::from_str(answer.body()).unwrap_or_default();
    let list = if body.is_object() { &mut body["data"] } else { &mut body };
    if let Value::Array(items) = list {
        edit(items);
        *answer.body_mut() = body.to_string();
    }
}
