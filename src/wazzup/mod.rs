//! The Wazzup v3 users API: the only HTTP of the product.
//!
//! What holds here, whatever the service does:
//! - an answer is judged by its HTTP status first, then by its code, never by its text; of its text nothing gets into
//!   an error or a log line, since it can contain a name or a phone;
//! - a request starts only while its [`Gate`] is open, and always ends within [`Client::timeout`];
//! - the outcome of a request whose answer was lost is *unknown*. It is tried again, since everything sent here is
//!   idempotent, and reported as `late`, since the lost one may still land;
//! - redirects are not followed: the key goes to the configured host and nowhere else.

mod client;
mod error;
mod key;
mod retry;
mod send;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Ack, BulkDeleted, Client, Deleted, OnFault, Session, Settings};
pub use error::{Code, Error, InvalidEntry, Refusal};
pub use key::KeySource;
pub use retry::{Gate, Hindrance};
pub use wire::{RemoteUser, UserList};
