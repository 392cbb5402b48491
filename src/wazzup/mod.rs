//! The Wazzup v3 users API: the only HTTP of the product.
//!
//! What holds here, whatever the service does:
//! - An answer is judged by its HTTP status first, then by its code, never by its text. Of what the service wrote, only
//!   codes, field names and request ids get into an error or a log line, since the rest can contain a name or a phone.
//! - A request starts only while its [`Gate`] is open, and always ends within [`Client::timeout`].
//! - What is not known about a request is reported as its [`Loss`](crate::delivery::Loss), the losses of its earlier
//!   attempts included, also when a later attempt is answered.
//! - Redirects are not followed: the key goes to the configured host and nowhere else.
//! - No answer fills the memory: a list is split into its users while it arrives, and every other body has a limit.

mod attempt;
mod call;
mod client;
mod error;
mod gate;
mod key;
mod list;
mod page;
mod refusal;
mod retry;
#[cfg(test)]
mod tests;
mod trouble;
mod user;

pub use client::{Client, Session, Settings};
pub use error::Error;
pub use gate::Gate;
pub(crate) use key::Key;
#[cfg(test)]
pub use list::FetchedList;
