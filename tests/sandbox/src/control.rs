//! Pages beside the contract: the users as text at `/`, and users and log as JSON below `/_sandbox/` for shells and
//! container tests. They need no key and are not in the log.

use std::fmt::Write;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::log::Request;
use crate::state::Shared;
use crate::users::User;

type Sandbox = State<Arc<Shared>>;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(users_as_text))
        .route("/_sandbox/users", get(users))
        .route("/_sandbox/requests", get(requests))
        .route("/_sandbox/violations", get(violations))
}

async fn users_as_text(State(shared): Sandbox) -> String {
    let (users, seats) = shared.read(|state| (state.users().clone(), state.variant.seats));
    let mut text = format!("{} users, {seats} seats\n\n", users.len());
    let width = users.keys().map(|id| id.chars().count()).max().unwrap_or(0).max(2);
    let _ = writeln!(text, "{:width$}  {:15}  {:8}  NAME", "ID", "PHONE", "ROLE");
    for (id, User { name, phone, role, .. }) in users {
        let phone = phone.as_deref().unwrap_or("-");
        let _ = writeln!(text, "{id:width$}  {phone:15}  {role:8}  {name}");
    }
    text
}

async fn users(State(shared): Sandbox) -> Json<Value> {
    Json(shared.read(|state| json!(state.users())))
}

async fn requests(State(shared): Sandbox) -> Json<Value> {
    Json(shared.read(|state| state.requests().iter().map(request_to_json).collect()))
}

fn request_to_json(request: &Request) -> Value {
    json!({
        "seq": request.seq,
        "at": request.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
        "method": request.method,
        "path": request.path,
        "ids": request.ids(),
        "writing": request.writing,
        "status": request.status,
        "applied": request.applied,
    })
}

async fn violations(State(shared): Sandbox) -> Json<Value> {
    Json(shared.read(|state| {
        json!({
            "violations": state.log.violations,
            "foreign_touched": state.accounts[0].foreign_touched,
            "max_in_flight": state.log.max_in_flight,
        })
    }))
}
