//! Every log event of the product: one function each. The README lists them with their fields, and what to do about each.
//!
//! Ids and counts only: never a name, a phone, a key or anything that the service wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use crate::{
    crm::Unconvertible,
    delivery::{FailedAttempt, Refusal},
    plan::{Drift, HoldKind, Operation},
    state::Finished,
};

/// How loud an event is whose level is decided when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Debug,
    Info,
    /// It may pass by itself, or was reported already.
    Warn,
    /// A human is needed.
    Error,
}

/// `tracing` wants to know the level when the program is compiled.
macro_rules! log {
    ($severity:expr, $($event:tt)+) => {
        match $severity {
            Severity::Debug => tracing::debug!($($event)+),
            Severity::Info => tracing::info!($($event)+),
            Severity::Warn => tracing::warn!($($event)+),
            Severity::Error => tracing::error!($($event)+),
        }
    };
}

/// How many ids one line names.
const IDS_PER_LINE: usize = 100;

/// At most 100 ids, separated by commas.
fn listed<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut ids = ids.into_iter();
    let mut text = ids.by_ref().take(IDS_PER_LINE).collect::<Vec<_>>().join(",");
    if ids.next().is_some() {
        text.push_str(",…");
    }
    text
}

/// `count` with the right form of a noun whose plural ends in `s`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn daemon_started(version: &str, holder: &str) {
    tracing::info!(event = "daemon.started", version, holder, "The daemon started");
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
    tracing::error!(
        event = "lease.lost",
        "Another process took the lease over: this one stands by"
    );
}

pub(crate) fn lease_expired() {
    tracing::warn!(
        event = "lease.lost",
        "The lease expired because the state database did not answer: this process asks for it again"
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

/// At INFO if something happened or a sign of life is due, else at DEBUG.
pub(crate) fn cycle_finished(finished: &Finished, took: Duration, is_worth_info: bool) {
    let severity = if is_worth_info { Severity::Info } else { Severity::Debug };
    let counts = finished.counts.unwrap_or_default();
    let (in_sync, eligible) = (counts.in_sync, counts.eligible);
    log!(
        severity,
        event = "cycle.finished",
        outcome = finished.outcome.as_str(),
        eligible,
        in_sync,
        failing = counts.failing,
        waiting_for_seat = counts.waiting_for_seat,
        pending = counts.pending,
        missing_ids = counts.missing_ids,
        held = finished.held,
        requests = finished.requests,
        added = finished.added,
        updated = finished.updated + finished.adopted,
        removed = finished.removed,
        duration_ms = milliseconds(took),
        "Finished a cycle: {in_sync} of {eligible} in sync"
    );
}

pub(crate) fn cycle_failed(severity: Severity, error_kind: &str, error: &str, failing_for_s: i64, requests: usize) {
    let message = match severity {
        Severity::Debug | Severity::Info => "The cycle was interrupted; the next one continues",
        Severity::Warn => "The cycle failed; nothing is lost, and the next one continues",
        Severity::Error => "The cycle failed; somebody should look at it",
    };
    log!(
        severity,
        event = "cycle.failed",
        error_kind,
        error,
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

pub(crate) fn batch_delivered(operation: &str, entries: usize, absent: usize) {
    let users = counted(entries, "user");
    let what = if operation == "remove" {
        "Removed"
    } else {
        "Wazzup took"
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
        "Wazzup did not take a request with {users}; the culprit is searched for, and the others are sent"
    );
}

/// What one retry of a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub attempt: u32,
    pub status: Option<u16>,
    pub reason: &'a str,
    pub wait: Duration,
}

pub(crate) fn request_retried(retry: &Retry<'_>) {
    tracing::warn!(
        event = "request.retried",
        method = retry.method,
        path = retry.path,
        attempt = retry.attempt,
        status = retry.status,
        reason = retry.reason,
        wait_ms = milliseconds(retry.wait),
        "A request to Wazzup got no decision and is tried again"
    );
}

pub(crate) fn employee_rejected(code: &str, ids: &BTreeSet<&str>) {
    let count = ids.len();
    let rows = counted(count, "row");
    tracing::warn!(
        event = "employee.rejected",
        code,
        count,
        ids = listed(ids.iter().copied()),
        "{rows} of the CRM cannot be synced; a user who is in Wazzup already stays there"
    );
}

/// Values are left out because they cannot be converted to UTF-8.
pub(crate) fn values_unconvertible(values: &Unconvertible) {
    let Unconvertible {
        encoding,
        ids,
        unreadable_ids,
        query,
    } = values;
    let count = ids.len() + unreadable_ids;
    let rows = counted(count, "row");
    tracing::warn!(
        event = "employee.rejected",
        code = "UNCONVERTIBLE",
        count,
        ids = listed(ids.iter().map(String::as_str)),
        encoding,
        query,
        "Values in {rows} of the CRM cannot be converted from {encoding} to UTF-8 and are left out; `query` shows them"
    );
}

pub(crate) fn rows_without_id(count: usize) {
    let rows = counted(count, "row");
    tracing::warn!(
        event = "employee.rejected",
        code = "MISSING_ID",
        count,
        ids = "",
        "{rows} of the CRM without an id; while there is one, nobody is removed without approval"
    );
}

pub(crate) fn employee_failing(operation: Operation, code: &str, ids: &BTreeSet<&str>) {
    let count = ids.len();
    let employees = counted(count, "employee");
    let what = match operation {
        Operation::Upsert => "cannot be synced",
        Operation::Remove => "cannot be removed",
        Operation::Phone => "synced without the phone",
    };
    tracing::warn!(
        event = "employee.failing",
        operation = operation.as_str(),
        code,
        count,
        ids = listed(ids.iter().copied()),
        "{employees} {what}"
    );
}

pub(crate) fn failed_attempts(attempts: &[&FailedAttempt]) {
    let mut groups: BTreeMap<(Operation, &str), BTreeSet<&str>> = BTreeMap::new();
    for attempt in attempts {
        let group = groups.entry((attempt.key.operation, &attempt.code)).or_default();
        group.insert(&attempt.key.user_id);
    }
    for ((operation, code), ids) in groups {
        employee_failing(operation, code, &ids);
    }
}

pub(crate) fn employee_recovered(ids: &BTreeSet<&str>) {
    let count = ids.len();
    let employees = counted(count, "employee");
    tracing::info!(
        event = "employee.recovered",
        count,
        ids = listed(ids.iter().copied()),
        "{employees} no longer failing"
    );
}

pub(crate) fn users_added(ids: &BTreeSet<&str>) {
    let count = ids.len();
    let users = counted(count, "user");
    tracing::info!(
        event = "users.added",
        count,
        ids = listed(ids.iter().copied()),
        "Added {users}; each needs a role in Wazzup before they see a chat"
    );
}

/// Holds of one kind that are reported together.
#[derive(Debug)]
pub(crate) struct HeldUsers<'a> {
    pub kind: HoldKind,
    pub ids: BTreeSet<&'a str>,
    pub reason: &'a str,
    /// All of them are removals whose grace is not over yet.
    pub is_in_grace: bool,
}

pub(crate) fn held(users: &HeldUsers<'_>) {
    let HeldUsers {
        kind,
        ids,
        reason,
        is_in_grace,
    } = users;
    let count = ids.len();
    let ids = listed(ids.iter().copied());
    match kind {
        HoldKind::Remove if *is_in_grace => tracing::warn!(
            event = "removals.held",
            count,
            ids,
            reason,
            "Removals look like a mistake and will be held when the grace is over; everything else goes on"
        ),
        HoldKind::Remove => tracing::error!(
            event = "removals.held",
            count,
            ids,
            reason,
            "Removals are held until somebody approves them (`wazzup-sync approve`); everything else goes on"
        ),
        HoldKind::Update => tracing::error!(
            event = "updates.held",
            count,
            ids,
            reason,
            "Updates are held until somebody approves them (`wazzup-sync approve`); everything else goes on"
        ),
        HoldKind::Takeover => tracing::error!(
            event = "takeovers.held",
            count,
            ids,
            reason,
            "Users whom somebody else created in Wazzup are not renamed before somebody approves it (`wazzup-sync approve`)"
        ),
        HoldKind::Account => tracing::error!(
            event = "account.doubted",
            reason,
            "Nothing is sent: check wazzup.base_url and the API key, or approve the new account (`wazzup-sync approve`)"
        ),
    }
}

/// Holds of one kind that are over.
#[derive(Debug)]
pub(crate) struct ReleasedUsers<'a> {
    pub kind: HoldKind,
    pub ids: BTreeSet<&'a str>,
    /// `approved`, `returned`, `policy` or `over`.
    pub reason: &'a str,
    pub approved_by: Option<&'a str>,
}

pub(crate) fn released(users: &ReleasedUsers<'_>) {
    let ReleasedUsers {
        kind,
        ids,
        reason,
        approved_by,
    } = users;
    let count = ids.len();
    let ids = listed(ids.iter().copied());
    let what = match *reason {
        "approved" => "were approved",
        "returned" => "are over: the users are back in the CRM",
        "policy" => "are over: the policy is to keep everybody",
        _ => "are over: their reason is gone",
    };
    if *kind == HoldKind::Remove {
        tracing::info!(
            event = "removals.released",
            reason,
            count,
            ids,
            approved_by,
            "Held removals {what}"
        );
    }
    tracing::info!(
        event = "holds.released",
        kind = kind.as_str(),
        reason,
        count,
        ids,
        approved_by,
        "Holds {what}"
    );
}

/// An approval that no longer matches what is held.
pub(crate) fn order_dropped(kind: HoldKind, id: &str, given_by: &str) {
    tracing::warn!(
        event = "order.dropped",
        kind = kind.as_str(),
        ids = id,
        approved_by = given_by,
        "An approval was dropped: what it was given for is no longer held"
    );
}

pub(crate) fn seats_exhausted(limit: Option<usize>, waiting: usize) {
    let employees = counted(waiting, "employee");
    tracing::warn!(
        event = "seats.exhausted",
        limit,
        waiting,
        "The Wazzup account is full: {employees} waiting for a seat"
    );
}

pub(crate) fn verify_finished(users: usize, drift: Drift) {
    let Drift {
        missing,
        renamed,
        foreign,
    } = drift;
    tracing::info!(
        event = "verify.finished",
        complete = true,
        users,
        foreign,
        missing,
        renamed,
        "Compared with Wazzup's list of {users} users"
    );
}

pub(crate) fn verify_proved_nothing(reason: &str) {
    tracing::warn!(
        event = "verify.finished",
        complete = false,
        reason,
        "Wazzup's list proves nothing and changes nothing"
    );
}

pub(crate) fn source_empty(managed: usize) {
    tracing::error!(
        event = "source.empty",
        managed,
        "The CRM names nobody at all; nobody is removed without approval"
    );
}
