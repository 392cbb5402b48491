//! `wazzup-sync` keeps a company's Wazzup users in step with the employee table of its CRM, one way.
//!
//! The layout follows the data flow. One cycle reads whom the CRM wants, loads what Wazzup last acknowledged, decides
//! what to do, sends it one request at a time, and records what was answered:
//!
//! ```text
//! crm ──rows──▶ Roster ──┐
//! state ──▶ Snapshot ────┼─▶ Plan ─▶ Delivery ──request──▶ wazzup
//! wazzup ──list─────────┘   (pure)   (pure)  ◀──answer───
//!                                       └── outcomes ──▶ state
//! ```
//!
//! Read [`cycle`] next: its function `sync` tells this story on one screen. `docs/architecture.md` says why it is as it is.
//! The modules in the order of the flow:
//!
//! | module | purpose |
//! |---|---|
//! | [`employee`] | pure: what the CRM says, parsed once at the border |
//! | [`plan`] | pure: what a cycle will do, what it holds, and what it has to ask first |
//! | [`delivery`] | pure: a state machine that says which request is next, and what an answer means |
//! | [`crm`] | the only SQL against the CRM |
//! | [`state`] | the only SQL against our own schema: snapshot, journal, failures, holds, lease |
//! | [`wazzup`] | the only HTTP |
//! | [`cycle`] | one cycle |
//! | [`daemon`] | when cycles run: lease, timer, NOTIFY, signals |
//! | [`cli`] | the verbs; `config` and [`telemetry`] are theirs |
//! | `events`, [`postgres`] | every log event; what both databases share |
//! | `secret`, `wording`, `abort` | reading a secret; text that cannot mislead a reader; dying on purpose, for tests |
//!
//! Who may name whom: `employee` nobody; `plan` only `employee`; `delivery` those two; `crm`, `state` and `wazzup` those,
//! never each other; `cycle` all of these; `daemon` also `cycle` and `state`; everything but the pure modules may name
//! `events`, `postgres` and the last three. `config` reads the settings of what is below it, and `cli` alone names `config`
//! and wires it up.

mod abort;
pub mod cli;
mod config;
mod crm;
mod cycle;
mod daemon;
mod delivery;
#[expect(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    missing_docs,
    reason = "public for the benches alone"
)]
pub mod employee;
mod events;
#[expect(clippy::must_use_candidate, missing_docs, reason = "public for the benches alone")]
pub mod plan;
mod postgres;
mod secret;
mod state;
mod telemetry;
mod wazzup;
mod wording;

#[cfg(test)]
#[path = "../tests/it/fake_postgres.rs"]
mod fake_postgres;
#[cfg(test)]
#[path = "../tests/it/proxy.rs"]
mod proxy;

/// The version, as `--version` prints it: with the git revision that `build.rs` found.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WAZZUP_SYNC_REVISION"), ")");
