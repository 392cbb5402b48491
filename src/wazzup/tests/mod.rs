//! The client against a socket that answers as ordered, byte for byte.

mod bodies;
mod key;
mod list;
mod reading;
mod retry;
mod sending;
mod server;

use std::{num::NonZeroU32, time::Duration};

use tokio_util::sync::CancellationToken;

use self::server::Server;
use super::{Client, Gate, Session, Settings, retry::Patience};
use crate::{employee::EmployeeId, secret::SecretSource};

/// A client that loses no time between its attempts.
fn client(server: &Server) -> Client {
    impatient(&server.base, Duration::from_secs(20))
}

fn impatient(base: &str, timeout: Duration) -> Client {
    let mut client = client_with(base, timeout, SecretSource::Literal("the-key".into()));
    let moment = Duration::from_millis(1);
    let Patience { back_off, throttling } = Patience::USUAL;
    client.patience = Patience {
        back_off: back_off.with_min_delay(moment).with_max_delay(2 * moment),
        throttling: throttling.with_min_delay(moment).with_max_delay(moment),
    };
    client
}

fn client_with(base: &str, timeout: Duration, key: SecretSource) -> Client {
    Client::new(Settings {
        base_url: base.parse().expect("a URL"),
        timeout,
        requests_per_minute: NonZeroU32::MAX,
        key,
    })
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
