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

/// The version, as `--version` prints it: with the git revision that `build.rs` found.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WAZZUP_SYNC_REVISION"), ")");

/// tbd
pub(crate) fn abort_point() {}
