//! What a text must be to be the value of a key.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use strum::VariantNames;

const SHORTEST: SignedDuration = SignedDuration::from_millis(1);
const A_DAY: SignedDuration = SignedDuration::from_hours(24);
/// At most a hundred years, so that no sum of times overflows.
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 36_500);

/// How long something may take. Postgres counts time limits in milliseconds, and 0 means none.
pub(super) fn time_limit(text: &str) -> Result<Duration, &'static str> {
    let limit = duration_within(text, SHORTEST..=A_DAY, "must be from 1ms to 1d")?;
    Ok(limit.unsigned_abs())
}

pub(super) fn period(text: &str) -> Result<SignedDuration, &'static str> {
    duration_within(text, SHORTEST..=LONGEST_PERIOD, "must be from 1ms to 36500d")
}

pub(super) fn period_or_zero(text: &str) -> Result<SignedDuration, &'static str> {
    duration_within(text, SignedDuration::ZERO..=LONGEST_PERIOD, "must be from 0s to 36500d")
}

fn duration_within(
    text: &str,
    allowed: RangeInclusive<SignedDuration>,
    problem: &'static str,
) -> Result<SignedDuration, &'static str> {
    // Not `SignedDuration`, which takes no days.
    let span = text.trim().parse::<Span>().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    match duration {
        Some(duration) if allowed.contains(&duration) => Ok(duration),
        Some(_) => Err(problem),
        None => Err("must be a length of time with units, like \"30s\", \"1h 30m\" or \"90d\""),
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

pub(super) fn one_line(text: &str) -> Result<String, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("must not contain a control character such as a line break");
    }
    Ok(text.to_owned())
}
