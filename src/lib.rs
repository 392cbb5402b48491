//! wazzup-sync.
pub mod cli;
pub mod config;
pub mod crm;
pub mod cycle;
pub mod daemon;
pub mod delivery;
pub mod employee;
pub mod plan;
pub mod postgres;
pub mod state;
pub mod telemetry;
pub mod verify;
pub mod wazzup;

/// The version, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// tbd
pub(crate) fn abort_point() {}
