//! The sandbox's own pages: the users as text for a human, everything else as JSON below `/_sandbox/`
//! for shells and container tests. They need no key and are not in the log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::log::Request;
use crate::poison::Poison;
use crate::state::Shared;
use crate::users::User;
use crate::variant::Variant;

type Sandbox = State<Arc<Shared>>;

/// The routes beside the contract's.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(table))
        .route("/_sandbox/users", get(users).put(put_users))
        .route("/_sandbox/users/{id}", delete(remove_user))
        .route("/_sandbox/requests", get(requests).delete(clear_requests))
        .route("/_sandbox/violations", get(violations))
        .route("/_sandbox/faults", get(faults).post(order).delete(clear_faults))
        .route("/_sandbox/poison", get(poisons).post(poison).delete(cure))
        .route("/_sandbox/variant", get(variant).patch(vary))
        .route("/_sandbox/key", put(set_key))
}

async fn table(State(shared): Sandbox) -> String {
    shared.read(|state| {
        let users = state.users();
        let mut text = format!("{} users, {} seats\n\n", users.len(), state.variant.seats);
        let width = users.keys().map(|id| id.chars().count()).max().unwrap_or(0).max(2);
        let _ = writeln!(text, "{:width$}  {:15}  {:8}  NAME", "ID", "PHONE", "ROLE");
        for (id, user) in users {
            let phone = user.phone.as_deref().unwrap_or("-");
            let _ = writeln!(text, "{id:width$}  {phone:15}  {:8}  {}", user.role, user.name);
        }
        text
    })
}

async fn users(State(shared): Sandbox) -> Json<BTreeMap<String, User>> {
    Json(shared.read(|state| state.users().clone()))
}

/// `{"7": {"name": "…", "phone": null, "role": "manager", "origin": "foreign"}}`: adds or replaces.
async fn put_users(State(shared): Sandbox, Json(new): Json<BTreeMap<String, User>>) -> StatusCode {
    shared.write(|state| state.users.by_hand().extend(new));
    StatusCode::NO_CONTENT
}

async fn remove_user(State(shared): Sandbox, Path(id): Path<String>) -> StatusCode {
    match shared.write(|state| state.users.by_hand().remove(&id)) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

async fn requests(State(shared): Sandbox) -> Json<Vec<Request>> {
    Json(shared.read(|state| state.requests().to_vec()))
}

async fn clear_requests(State(shared): Sandbox) -> StatusCode {
    shared.write(|state| state.log.requests.clear());
    StatusCode::NO_CONTENT
}

async fn violations(State(shared): Sandbox) -> Json<Value> {
    Json(shared.read(|state| {
        json!({
            "violations": state.log.violations,
            "foreign_touched": state.users.foreign_touched,
            "max_in_flight": state.log.max_in_flight,
        })
    }))
}

async fn faults(State(shared): Sandbox) -> Json<Vec<Fault>> {
    Json(shared.read(|state| state.faults.0.clone()))
}

async fn order(State(shared): Sandbox, Json(fault): Json<Fault>) -> StatusCode {
    shared.write(|state| state.faults.0.push(fault));
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(shared): Sandbox) -> StatusCode {
    shared.write(|state| state.faults.0.clear());
    StatusCode::NO_CONTENT
}

async fn poisons(State(shared): Sandbox) -> Json<Vec<Poison>> {
    Json(shared.read(|state| state.poisons.clone()))
}

async fn poison(State(shared): Sandbox, Json(poison): Json<Poison>) -> StatusCode {
    shared.write(|state| state.poisons.push(poison));
    StatusCode::NO_CONTENT
}

async fn cure(State(shared): Sandbox) -> StatusCode {
    shared.write(|state| state.poisons.clear());
    StatusCode::NO_CONTENT
}

async fn variant(State(shared): Sandbox) -> Json<Variant> {
    Json(shared.read(|state| state.variant.clone()))
}

/// Only the fields that are there change: `{"seats": 10, "list": "pages"}`.
async fn vary(State(shared): Sandbox, Json(change): Json<Value>) -> Result<Json<Variant>, (StatusCode, String)> {
    let wrong = |error: serde_json::Error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    shared.write(|state| {
        let mut whole = serde_json::to_value(&state.variant).map_err(wrong)?;
        if let (Some(whole), Value::Object(change)) = (whole.as_object_mut(), change) {
            whole.extend(change);
        }
        state.variant = serde_json::from_value(whole).map_err(wrong)?;
        Ok(Json(state.variant.clone()))
    })
}

/// `{"key": "…"}`, and with `"sidecar": "…"` a key that is answered with 403.
async fn set_key(State(shared): Sandbox, Json(keys): Json<BTreeMap<String, String>>) -> StatusCode {
    shared.write(|state| {
        if let Some(key) = keys.get("key") {
            state.key.clone_from(key);
        }
        if let Some(key) = keys.get("sidecar") {
            state.sidecar_key = Some(key.clone());
        }
    });
    StatusCode::NO_CONTENT
}
