//! What `wazzup-sync` is tried against when there is no account and no database at hand.
//!
//! * [`Wazzup`] plays the whole contract of the Wazzup v3 users API over real HTTP: every variant
//!   ([`Variant`]), every refusal ([`Poison`]), and faults to order ([`Fault`]). It writes down each
//!   request and what the client must never do ([`Wazzup::violations`]).
//! * [`Postgres`] is a throw-away server of the system's own Postgres.
//!
//! ```text
//! request ─▶ server ─▶ http (faults) ─▶ state (key, poison) ─▶ users (the contract)
//!              │          └─▶ log                                 └─▶ answer
//!              └─▶ control: the same things over HTTP, for shells and containers
//! ```

mod answer;
mod call;
mod control;
mod faults;
mod http;
mod log;
mod poison;
mod postgres;
mod server;
mod state;
mod users;
mod variant;
mod wazzup;

pub use call::When;
pub use faults::{Fault, What};
pub use log::Request;
pub use poison::{Poison, PoisonReply, Target};
pub use postgres::Postgres;
pub use state::State;
pub use users::{Origin, User};
pub use variant::{ErrorStyle, ListStyle, MalformedPhone, OmittedPhone, PostAnswer, RateLimit, Variant};
pub use wazzup::Wazzup;
