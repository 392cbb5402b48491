//! What a value must be beyond its type, for serde.

use std::{net::IpAddr, num::NonZeroU32, ops::RangeInclusive, time::Duration};

use jiff::{Span, SpanRelativeTo};
use reqwest::Url;
use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{postgres::Identifier, secret::SecretSource, wazzup::Key};

const A_DAY: Duration = Duration::from_hours(24);
/// At most a hundred years, so that no sum of times overflows.
const LONGEST_PERIOD: Duration = Duration::from_hours(24 * 36_500);
const SHORTEST: Duration = Duration::from_millis(1);

/// How long something may take. Postgres counts time limits in milliseconds, and 0 means none.
pub(super) fn time_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, &(SHORTEST..=A_DAY), "must be from 1ms to 1d")
}

pub(super) fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, &(SHORTEST..=LONGEST_PERIOD), "must be from 1ms to 36500d")
}

pub(super) fn period_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(
        deserializer,
        &(Duration::ZERO..=LONGEST_PERIOD),
        "must be from 0s to 36500d",
    )
}

fn duration_within<'de, D: Deserializer<'de>>(
    deserializer: D,
    allowed: &RangeInclusive<Duration>,
    problem: &str,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Not `SignedDuration`, which takes no days.
    let span = text.trim().parse::<Span>().ok();
    let signed = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let Some(duration) = signed.and_then(|signed| Duration::try_from(signed).ok()) else {
        let problem = "must be a length of time with units, like \"30s\", \"1h 30m\" or \"90d\"";
        return Err(D::Error::custom(problem));
    };
    if allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err(D::Error::custom(problem))
    }
}

pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    NonZeroU32::deserialize(deserializer).map_err(|_| D::Error::custom("must be at least 1"))
}

pub(super) fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        percent @ 0..=100 => Ok(percent),
        _ => Err(D::Error::custom("must be from 0 to 100")),
    }
}

pub(super) fn one_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.chars().any(char::is_control) {
        return Err(D::Error::custom(
            "must not contain a control character such as a line break",
        ));
    }
    Ok(text)
}

pub(super) fn own_schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Identifier, D::Error> {
    let schema = Identifier::deserialize(deserializer)?;
    if schema.as_str().starts_with("pg_") || schema.as_str() == "information_schema" {
        return Err(D::Error::custom("is a name that Postgres reserves for itself"));
    }
    Ok(schema)
}

pub(super) fn region<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let code = String::deserialize(deserializer)?;
    // The default is not looked up: that loads all the rules for phones, which a quiet process can do without.
    if code == "RU" || is_region(&code) {
        Ok(code)
    } else {
        Err(D::Error::custom("must be the two upper-case letters of a country"))
    }
}

fn is_region(code: &str) -> bool {
    let is_two_letters = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let Some(region) = Region::from_code(code).ok().filter(|_| is_two_letters) else {
        return false;
    };
    PHONE_NUMBER_UTIL.get_supported_regions().any(|known| known == region)
}

pub(super) fn api_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretSource, D::Error> {
    let source = SecretSource::deserialize(deserializer)?;
    if source.file().is_none() {
        Key::parse(&source).map_err(D::Error::custom)?;
    }
    Ok(source)
}

/// The URL is not shown in errors: somebody may have written credentials into it.
pub(super) fn base_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url: Url = text
        .parse()
        .map_err(|error| D::Error::custom(format!("is not a URL: {error}")))?;
    let problem = if !matches!(url.scheme(), "https" | "http") {
        "must begin with https://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not contain a user or a password; the key belongs in `wazzup.api_key_file`"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must end with its path, without `?…` or `#…`"
    } else if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
        "must begin with https://, or everybody on the way can read the key; only a loopback host may have http://"
    } else {
        return Ok(url);
    };
    Err(D::Error::custom(problem))
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
