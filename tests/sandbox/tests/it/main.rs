//! The sandbox against its own promises, over real HTTP and with a real Postgres.

mod client;
mod contract;
mod faults;
mod lists;
mod poison;
mod postgres;
mod program;
mod tls;
