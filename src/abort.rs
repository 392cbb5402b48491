//! Dying on purpose, for the tests that prove that any death heals.
//!
//! A debug build kills itself at the numbered step of a cycle that `WAZZUP_SYNC_KILL_AT_STEP` names: the steps are the
//! moments before and after each request and each commit. A release build has none of it.

/// A step that a death may follow.
#[cfg(not(debug_assertions))]
pub(crate) fn step() {}

/// A step that a death may follow.
#[cfg(debug_assertions)]
pub(crate) fn step() {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };
    static LAST: LazyLock<Option<u64>> = LazyLock::new(|| std::env::var("WAZZUP_SYNC_KILL_AT_STEP").ok()?.parse().ok());
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let step = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
    if *LAST == Some(step) {
        let pid = std::process::id().to_string();
        _ = std::process::Command::new("kill").args(["-KILL", &pid]).status();
        // The signal needs no time to arrive, but the process must do nothing more in any case.
        std::process::abort();
    }
}
