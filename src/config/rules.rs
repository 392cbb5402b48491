//! What a text must be to be the value of a key.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use reqwest::Url;
use rlibphonenumber::PHONE_NUMBER_UTIL;
use strum::VariantNames;

use crate::{
    employee::PhoneReader,
    postgres::{Identifier, ip_address},
    secret::SecretSource,
    wazzup::Key,
};

const SHORTEST: SignedDuration = SignedDuration::from_millis(1);
const A_DAY: SignedDuration = SignedDuration::from_hours(24);
/// At most a hundred years, so that no sum of times overflows.
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 36_500);

/// How long something may take. Postgres counts time limits in milliseconds, and 0 means none.
pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    let limit = duration_within(text, SHORTEST..=A_DAY, "must be from 1ms to 1d")?;
    Ok(limit.unsigned_abs())
}

pub(super) fn period(text: &str) -> Result<SignedDuration, String> {
    duration_within(text, SHORTEST..=LONGEST_PERIOD, "must be from 1ms to 36500d")
}

pub(super) fn period_or_zero(text: &str) -> Result<SignedDuration, String> {
    let allowed = SignedDuration::ZERO..=LONGEST_PERIOD;
    duration_within(text, allowed, "must be from 0s to 36500d")
}

fn duration_within(
    text: &str,
    allowed: RangeInclusive<SignedDuration>,
    problem: &str,
) -> Result<SignedDuration, String> {
    // Not `SignedDuration`, which takes no days.
    let span = text.trim().parse::<Span>().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    match duration {
        Some(duration) if allowed.contains(&duration) => Ok(duration),
        Some(_) => Err(problem.to_owned()),
        None => Err("must be a length of time with units, like \"30s\", \"1h 30m\" or \"90d\"".to_owned()),
    }
}

pub(super) fn one_of<T: FromStr + VariantNames>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("must be one of: {}", T::VARIANTS.join(", ")))
}

/// One of two words; true for `yes`.
pub(super) fn either(yes: &'static str, no: &'static str) -> impl Fn(&str) -> Result<bool, String> {
    move |text| {
        if text == yes || text == no {
            Ok(text == yes)
        } else {
            Err(format!("must be one of: {yes}, {no}"))
        }
    }
}

pub(super) fn one_line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("must not contain a control character such as a line break".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn own_schema(text: &str) -> Result<Identifier, String> {
    if text.starts_with("pg_") || text == "information_schema" {
        return Err("is a name that Postgres reserves for itself".to_owned());
    }
    text.parse()
}

pub(super) fn region(text: &str) -> Result<PhoneReader, String> {
    // The default is not looked up: that loads all the rules for phones, which a quiet process can do without.
    let is_known = text == "RU"
        || PHONE_NUMBER_UTIL
            .get_supported_regions()
            .any(|region| region.to_string() == text);
    let reader = PhoneReader::new(text).ok().filter(|_| is_known);
    reader.ok_or_else(|| "must be the two upper-case letters of a country".to_owned())
}

pub(super) fn api_key(text: &str) -> Result<SecretSource, String> {
    let source = SecretSource::Literal(text.into());
    Key::parse(&source)?;
    Ok(source)
}

pub(super) fn secret_file(path: &str) -> Result<SecretSource, String> {
    if path.contains("://") {
        return Err("must be the path of a file and not a URL".to_owned());
    }
    Ok(SecretSource::File(path.into()))
}

/// The URL is not shown in errors: somebody may have written credentials into it.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
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
    Err(problem.to_owned())
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || ip_address(host).is_some_and(|address| address.is_loopback())
}
