//! `wazzup-sync` keeps a company's Wazzup users in step with the employee table of its CRM, one way.
//!
//! The way of the data is the layout. One cycle reads whom the CRM wants, loads what Wazzup last acknowledged, decides
//! what to do, writes down what it intends, sends it, and records what was answered:
//!
//! ```text
//! crm ──rows──▶ Roster ──┐
//!                        ├─▶ Plan ──▶ delivery ──batches──▶ wazzup
//! state ──▶ Snapshot ────┘              │
//!   ▲  failures, approvals ─────────────┘ outcomes, one transaction per batch
//!   └───────────────────────────────────▶ state
//! ```
//!
//! Read [`cycle`] next: it tells this story on one screen. The modules in the order of the flow:
//!
//! | module | purpose |
//! |---|---|
//! | [`employee`] | pure: what the CRM says, parsed once at the border |
//! | [`plan`] | pure: what a cycle will do, and what it holds back |
//! | [`crm`] | the only SQL against the CRM |
//! | [`state`] | the only SQL against our own schema: snapshot, failures, history, lease |
//! | [`wazzup`] | the only HTTP |
//! | [`delivery`] | sending a plan, and keeping a refusal with whom it concerns |
//! | [`verify`] | comparing with Wazzup's own list |
//! | [`cycle`] | one cycle |
//! | [`daemon`] | when cycles run: lease, timer, NOTIFY, signals |
//! | [`cli`] | the verbs; [`config`] and [`telemetry`] are theirs |
//!
//! Who may name whom: `employee` nobody, `plan` only `employee`; `crm`, `state` and `wazzup` those two, never each other;
//! `delivery` and `verify` those; `cycle` those; `daemon` the cycle; `cli` wires it up, and `config` goes no further.

mod abort;
mod cli;
pub mod config;
pub mod crm;
pub mod delivery;
pub mod employee;
pub mod plan;
pub mod postgres;
pub mod telemetry;
pub mod wazzup;

/// The version, as `--version` prints it: with the git revision that `build.rs` found.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WAZZUP_SYNC_REVISION"), ")");
