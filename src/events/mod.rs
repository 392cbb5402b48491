//! Every log event of the product: one function each; those about employees and users are in [`users`]. The README lists
//! them with their fields, and what to do about each.
//!
//! Ids, counts and codes only: never a name, a phone or a key, and of what the service wrote only codes and request ids.

mod users;

use std::{fmt::Display, time::Duration};

use tracing::Level;

pub(crate) use self::users::*;
use crate::{delivery::Refusal, state::Finished, wording::counted};

/// `tracing` wants to know the level when the program is compiled; here it is known when the event happens.
macro_rules! log {
    ($level:expr, $($event:tt)+) => {
        match $level {
            Level::ERROR => tracing::error!($($event)+),
            Level::WARN => tracing::warn!($($event)+),
            Level::INFO => tracing::info!($($event)+),
            _ => tracing::debug!($($event)+),
        }
    };
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn daemon_started(version: &str, holder: &str) {
    tracing::info!(event = "daemon.started", version, holder, "The daemon started");
}

pub(crate) fn log_filter_refused(error: &dyn Display) {
    tracing::warn!(
        event = "log.filter_refused",
        "RUST_LOG cannot be parsed, so log.level is used: {error}"
    );
}

pub(crate) fn daemon_stopped() {
    tracing::info!(event = "daemon.stopped", "The daemon stopped");
}

/// A connection whose encryption protects from nobody who can pose as the server. `key` names its URL.
pub(crate) fn tls_unverified(key: &str, address: &str, warning: &str) {
    tracing::warn!(event = "tls.unverified", key, address, "{key}: {warning}");
}

pub(crate) fn lease_acquired(token: i64) {
    tracing::info!(
        event = "lease.acquired",
        token,
        "This process holds the lease and leads"
    );
}

pub(crate) fn lease_standby(holder: &str, expires_in_s: i64) {
    tracing::info!(
        event = "lease.standby",
        holder,
        expires_in_s,
        "Another process holds the lease: this one stands by"
    );
}

pub(crate) fn lease_held_by_another(holder: &str, expires_in_s: i64) {
    tracing::error!(
        event = "lease.standby",
        holder,
        expires_in_s,
        "Another process holds the lease, so nothing was done; if that process is dead, its lease expires by itself"
    );
}

pub(crate) fn lease_lost() {
    tracing::error!(event = "lease.lost", "Another process took over the lease");
}

pub(crate) fn lease_expired() {
    tracing::warn!(
        event = "lease.lost",
        "The lease expired because the state database did not answer"
    );
}

pub(crate) fn lease_kept(error: &dyn Display) {
    tracing::warn!(
        event = "lease.kept",
        %error,
        "The lease could not be given up; it expires by itself"
    );
}

pub(crate) fn listener_disconnected(reason: &str) {
    tracing::warn!(
        event = "listener.disconnected",
        reason,
        "NOTIFY is not received at the moment; polling continues"
    );
}

pub(crate) fn cycle_started() {
    tracing::debug!(event = "cycle.started", "A cycle started");
}

/// At INFO if something happened or a heartbeat is due, else at DEBUG.
pub(crate) fn cycle_finished(finished: &Finished, took: Duration, is_worth_info: bool) {
    let level = if is_worth_info { Level::INFO } else { Level::DEBUG };
    let counts = finished.counts.unwrap_or_default();
    let (in_sync, eligible) = (counts.in_sync, counts.eligible);
    log!(
        level,
        event = "cycle.finished",
        outcome = finished.outcome.as_ref(),
        eligible,
        in_sync,
        failing = counts.failing,
        waiting_for_seat = counts.waiting_for_seat,
        pending = counts.pending,
        missing_ids = counts.missing_ids,
        held = finished.held,
        requests = finished.requests,
        added = finished.added,
        adopted = finished.adopted,
        updated = finished.updated,
        removed = finished.removed,
        duration_ms = milliseconds(took),
        "Finished a cycle: {in_sync} of {eligible} in sync"
    );
}

/// At ERROR if a human is needed, at WARN if it may pass by itself or was reported already.
pub(crate) fn cycle_failed(level: Level, error_kind: &str, error: &dyn Display, failing_for_s: i64, requests: usize) {
    let message = match level {
        Level::ERROR => "The cycle failed; somebody should look at it",
        Level::WARN => "The cycle failed; nothing is lost, and the next one continues",
        _ => "The cycle was interrupted; the next one continues",
    };
    log!(
        level,
        event = "cycle.failed",
        error_kind,
        %error,
        failing_for_s,
        requests,
        "{message}"
    );
}

pub(crate) fn cycle_recovered(error_kind: &str, failed_for_s: i64) {
    tracing::info!(
        event = "cycle.recovered",
        error_kind,
        failed_for_s,
        "Cycles succeed again"
    );
}

pub(crate) fn batch_delivered(is_removal: bool, entries: usize, absent: usize) {
    let users = counted(entries, "user");
    let (operation, what) = if is_removal {
        ("remove", "Removed")
    } else {
        ("upsert", "Wazzup accepted")
    };
    tracing::info!(event = "batch.delivered", operation, entries, absent, "{what} {users}");
}

pub(crate) fn batch_refused(entries: usize, refusal: &Refusal) {
    let users = counted(entries, "user");
    tracing::warn!(
        event = "batch.refused",
        entries,
        code = %refusal.code,
        request_id = refusal.request_id.as_deref(),
        "Wazzup did not accept a request with {users}; whatever else can be delivered is still sent"
    );
}

pub(crate) fn request_retried(
    method: &str,
    path: &str,
    attempt: u32,
    status: Option<u16>,
    reason: &str,
    wait: Duration,
) {
    tracing::warn!(
        event = "request.retried",
        method,
        path,
        attempt,
        status,
        reason,
        wait_ms = milliseconds(wait),
        "A request to Wazzup got no decision and is tried again"
    );
}
