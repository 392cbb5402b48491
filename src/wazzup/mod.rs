//! The Wazzup v3 users API: the only HTTP of the product.
//!
//! What holds here, whatever the service does:
//! - An answer is judged by its HTTP status first, then by its code, never by its text. Of what the service wrote, only
//!   codes, field names and request ids get into an error or a log line, since the rest can contain a name or a phone.
//! - A request starts only while its [`Gate`] is open, and always ends within the time-out.
//! - What is not known about a request is reported as its [`Loss`](crate::delivery::Loss), the losses of its earlier
//!   attempts included, also when a later attempt is answered.
//! - Redirects are not followed: the key goes to the configured host and nowhere else.
//! - No answer fills the memory: of every body only so much is read.
//!
//! From outside in: `call` knows the calls of the contract, `retry` decides when an attempt may start and whether
//! another one follows, `exchange` makes one, and `failure` is the table of what each bad ending means.

mod base_url;
mod call;
mod client;
mod error;
mod exchange;
mod failure;
mod gate;
mod key;
mod list;
mod refusal;
mod retry;
#[cfg(test)]
mod tests;
mod user;

pub use client::{Client, Session, Settings};
pub use error::Error;
pub(crate) use exchange::HttpAnswer;
pub use gate::Gate;
pub(crate) use key::Key;
pub(crate) use user::RemoteUser;
