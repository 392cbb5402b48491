//! Pages beside the contract: the users as text at `/`, and users and log as JSON below `/_sandbox/` for shells and
//! container tests. They need no key and are not in the log.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::state::{self, Shared};
use crate::users::User;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(users_as_text))
        .route("/_sandbox/users", page(|state| json!(state.accounts[0].users())))
        .route("/_sandbox/requests", page(|state| json!(state.requests)))
        .route("/_sandbox/violations", page(violations))
}

fn page(to_json: fn(&state::State) -> Value) -> axum::routing::MethodRouter<Shared> {
    get(async move |State(shared): State<Shared>| Json(to_json(&shared.lock())))
}

fn violations(state: &state::State) -> Value {
    json!({
        "violations": state.violations,
        "foreign_touched": state.accounts[0].foreign_touched,
        "max_in_flight": state.max_in_flight,
    })
}

async fn users_as_text(State(shared): State<Shared>) -> String {
    let state = shared.lock();
    let (users, seats) = (state.accounts[0].users(), state.variant.seats);
    let mut text = format!("{} users, {seats} seats\n\n", users.len());
    let width = users.keys().map(|id| id.chars().count()).max().unwrap_or(0).max(2);
    text += &format!("{:width$}  {:15}  {:8}  NAME\n", "ID", "PHONE", "ROLE");
    for (id, User { name, phone, role, .. }) in users {
        let phone = phone.as_deref().unwrap_or("-");
        text += &format!("{id:width$}  {phone:15}  {role:8}  {name}\n");
    }
    text
}
