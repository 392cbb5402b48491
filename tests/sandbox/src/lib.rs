//! What `wazzup-sync` is tested against where there is no Wazzup account.
//!
//! [`Wazzup`] plays the whole contract of the Wazzup v3 users API over real HTTP, with undocumented behaviour
//! ([`Variant`]) and faults to order ([`Fault`]). It keeps a log of all requests ([`Wazzup::requests`]) and of what a
//! client must never do ([`Wazzup::violations`]).
//!
//! A request passes `server` (sockets), `handler` (the fault that strikes the request), `state` (the key) and
//! `users` (the contract). `control` shows users and log to shells and container tests.
#![expect(missing_docs, reason = "a name that says it all gets no sentence that says it again")]
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a tool for tests: whatever goes wrong fails the test with its own message"
)]

mod answer;
mod control;
mod faults;
mod handler;
mod request;
mod server;
mod state;
mod users;
mod variant;
mod wazzup;

pub use answer::Answer;
pub use faults::{Fault, Named, What, When};
pub use request::Request;
pub use users::User;
pub use variant::{ErrorStyle, ListStyle, MalformedPhone, OmittedPhone, PostAnswer, Variant};
pub use wazzup::Wazzup;
