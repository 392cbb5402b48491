//! What a value must be beyond its type.

use std::{net::IpAddr, num::NonZeroU32, ops::RangeInclusive, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use reqwest::Url;
use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{ApiKey, Config, Source, reading::Reading};

/// For what an operator waits for. Postgres counts time limits in milliseconds, and 0 means none.
const TIME_LIMIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// At most a hundred years, so that no sum of times overflows.
const PERIOD: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24 * 36_500);
/// Postgres cuts longer identifiers silently, and then finds another object.
const LONGEST_IDENTIFIER_BYTES: usize = 63;

/// Rejects the keys whose values break a rule.
pub(super) fn check(config: &Config, reading: &mut Reading) {
    check_durations(config, reading);
    check_identifiers(config, reading);
    if config.account.chars().any(char::is_control) {
        reading.reject("account", "must not contain a control character such as a line break");
    }
    if !is_region(&config.crm.phone_region) {
        reading.reject("crm.phone_region", "must be the two upper-case letters of a country");
    }
    if let Err(problem) = check_base_url(&config.wazzup.base_url) {
        reading.reject("wazzup.base_url", problem);
    }
    match &config.wazzup.api_key {
        ApiKey::Literal(key) if !key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) => {
            reading.reject(
                "wazzup.api_key",
                "must be ASCII letters, digits and signs without blanks",
            );
        }
        ApiKey::File(path) if path.to_string_lossy().contains("://") => {
            reading.reject("wazzup.api_key_file", "must be the path of a file and not a URL");
        }
        ApiKey::Literal(_) | ApiKey::File(_) => {}
    }
    if config.removals.hold_above_percent > 100 {
        reading.reject("removals.hold_above_percent", "must be from 0 to 100");
    }
    if !["error", "warn", "info", "debug", "trace"].contains(&config.log.level.as_str()) {
        reading.reject(
            "log.level",
            "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        );
    }
    if config.updates.hold_above_percent > 100 {
        reading.reject("updates.hold_above_percent", "must be from 0 to 100");
    }
}

fn check_durations(config: &Config, reading: &mut Reading) {
    let (lease, timeout) = (config.state.lease, config.wazzup.timeout);
    for (key, limit) in [
        ("crm.query_timeout", config.crm.query_timeout),
        ("wazzup.timeout", timeout),
        ("state.lease", lease),
    ] {
        if !TIME_LIMIT.contains(&limit) {
            reading.reject(key, "must be from 1ms to 1d");
        }
    }
    let schedule = &config.schedule;
    for (key, period) in [
        ("state.keep_history", config.state.keep_history),
        ("schedule.every", schedule.every),
        ("schedule.verify_every", schedule.verify_every),
        ("schedule.unhealthy_after", schedule.unhealthy_after),
    ] {
        if !PERIOD.contains(&period) {
            reading.reject(key, "must be from 1ms to 36500d");
        }
    }
    if config.removals.grace > *PERIOD.end() {
        reading.reject("removals.grace", "must be from 0s to 36500d");
    }
    if lease < timeout * 2 && !reading.is_wrong("wazzup.timeout") {
        let twice = SignedDuration::try_from(timeout * 2).unwrap_or(SignedDuration::MAX);
        let problem = format!("must be at least \"{twice:#}\", twice `wazzup.timeout`; change one of them");
        reading.problem("state.lease", &problem);
    }
}

fn check_identifiers(config: &Config, reading: &mut Reading) {
    let schema = &config.state.schema;
    if schema.starts_with("pg_") || schema == "information_schema" {
        reading.reject("state.schema", "is a name that Postgres reserves for itself");
    }
    let mut identifiers = vec![("state.schema", schema)];
    identifiers.extend(
        config
            .schedule
            .listen
            .iter()
            .map(|channel| ("schedule.listen", channel)),
    );
    if let Source::Table { name, columns } = &config.crm.source {
        identifiers.extend(name.iter().map(|part| ("crm.table", part)));
        identifiers.extend([("crm.columns.id", &columns.id), ("crm.columns.name", &columns.name)]);
        identifiers.extend(columns.phone.iter().map(|column| ("crm.columns.phone", column)));
        identifiers.extend(columns.active.iter().map(|column| ("crm.columns.active", column)));
        if name.len() > 2 {
            reading.reject(
                "crm.table",
                "must be a table, or a schema and a table; quote a name that contains a dot",
            );
        }
    }
    for (key, identifier) in identifiers {
        if identifier.trim().is_empty() || identifier.len() > LONGEST_IDENTIFIER_BYTES {
            reading.reject(key, "must have names of 1 to 63 bytes");
        }
    }
}

/// The URL is not shown in errors: somebody may have written credentials into it.
fn check_base_url(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "https" | "http") {
        Err("must begin with https://")
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("must not contain a user or a password; the key belongs in `wazzup.api_key_file`")
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("must end with its path, without `?…` or `#…`")
    } else if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
        Err("must begin with https://, or everybody on the way can read the key; only a loopback host may have http://")
    } else {
        Ok(())
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_region(code: &str) -> bool {
    // The default is not looked up: that loads all the rules for phones, which a quiet process can do without.
    if code == "RU" {
        return true;
    }
    let is_two_letters = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let Some(region) = Region::from_code(code).ok().filter(|_| is_two_letters) else {
        return false;
    };
    PHONE_NUMBER_UTIL.get_supported_regions().any(|known| known == region)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Not `SignedDuration`, which takes no days.
    let span = text.trim().parse::<Span>().ok();
    let signed = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let duration = signed.and_then(|signed| Duration::try_from(signed).ok());
    duration.ok_or_else(|| D::Error::custom("must be a length of time with units, like \"30s\", \"1h 30m\" or \"90d\""))
}

pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    NonZeroU32::deserialize(deserializer).map_err(|_| D::Error::custom("must be at least 1"))
}

pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| D::Error::custom(format!("is not a URL: {error}")))
}

pub(super) fn trimmed_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    Ok(String::deserialize(deserializer)?.trim().into())
}

/// One semicolon at the end is cut, so that the query can stand in parentheses. Postgres judges the rest.
pub(super) fn query<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = text.trim();
    Ok(text.strip_suffix(';').unwrap_or(text).trim_end().to_owned())
}

/// The names in `table` or `schema.table`. Double quotes protect a dot, and `""` in them is a quote, as in SQL; unlike in
/// SQL, upper case counts without quotes too.
pub(super) fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut names = Vec::new();
    let mut name = String::new();
    let mut is_quoted = false;
    let mut characters = text.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => names.push(std::mem::take(&mut name)),
            _ => name.push(character),
        }
    }
    if is_quoted {
        return Err(D::Error::custom("has a double quote that is not closed"));
    }
    names.push(name);
    Ok(names)
}
