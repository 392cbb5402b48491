//! The client against a socket that answers as ordered, byte for byte.

mod bodies;
mod list;
mod reading;
mod retry;
mod sending;
mod server;
mod trouble;

use std::{num::NonZeroU32, time::Duration};

use tokio_util::sync::CancellationToken;

use self::server::Server;
use super::{Client, Gate, Session, Settings, retry::Patience};
use crate::{
    delivery::{Attempts, BatchEntry, Change, Request},
    employee::{Employee, EmployeeId, FullName},
    secret::SecretSource,
};

fn client(server: &Server) -> Client {
    client_with(&server.base, Duration::from_secs(20))
}

fn client_with(base: &str, timeout: Duration) -> Client {
    let mut client = Client::new(Settings {
        base_url: base.parse().expect("a URL"),
        timeout,
        requests_per_minute: NonZeroU32::MAX,
        key: SecretSource::Literal("the-key".into()),
    });
    client.patience = Patience {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        throttled_waits: const { &[Duration::from_millis(1); 5] },
        ..Patience::USUAL
    };
    client
}

fn open_gate() -> Gate {
    Gate::without_lease(CancellationToken::new())
}

fn open(client: &Client) -> Session<'_> {
    client.session(open_gate()).expect("a key")
}

fn id(text: &str) -> EmployeeId {
    EmployeeId::parse(text).expect("a valid id")
}

/// An upsert of Ann.
fn upsert(attempts: Attempts) -> Request {
    let employee = Employee {
        id: id("a"),
        name: FullName::parse("Ann").expect("a valid name"),
        phone: Some("79261234567".parse().expect("a valid phone")),
    };
    let entry = BatchEntry {
        employee,
        phone_spelling: None,
        change: Change::Add,
    };
    Request::Upsert {
        entries: vec![entry],
        attempts,
    }
}

/// A removal of the users `a` and `b`.
fn removal() -> Request {
    Request::Remove {
        user_ids: vec![id("a"), id("b")],
        attempts: Attempts::Several,
    }
}
