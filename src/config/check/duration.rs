//! Durations in Prometheus' syntax: `500ms`, `15m`, `1h30m`, `1d`.
//!
//! The rules are Prometheus' own: integers, each unit at most once, larger units first. In contrast
//! to Prometheus zero is an error, because no setting has a meaning for it, and so is more than 100 years.
//!
//! The caller, `settings::duration`, rejects YAML numbers (`interval: 15`) with [`missing_unit_error`] and booleans with
//! [`duration_error`]; only text is parsed here.

use std::time::Duration;

use crate::config::diagnostics::quote_or_redact;

/// Units in the required order, each in milliseconds. As in Prometheus, a day has 24 hours and a
/// year 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Longest duration, 100 years in milliseconds: sums of durations and times cannot overflow.
const MAX_DURATION_MILLIS: u64 = 100 * 365 * 86_400_000;

/// Parses a duration.
///
/// # Errors
/// Returns a config error if the text is not a duration, is zero or is longer than 100 years.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_millis(text)
        .map(Duration::from_millis)
        .map_err(|problem| {
            let reason = problem.reason();
            let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let error = error_text(
                &format!("{}{reason}", quote_or_redact(text)),
                problem.remedy(),
            );
            match abbreviated(text) {
                Some(suggestion) => format!("{error}; did you mean `{suggestion}`?"),
                None => error,
            }
        })
}

/// Returns the text of the error for a number without a unit.
pub(in crate::config) fn missing_unit_error(number: &str) -> String {
    let remedy = match number.parse::<u64>() {
        Ok(number) if number > 0 => format!("a unit is missing, such as `{number}s` or `15m`"),
        _ => "a unit is missing, as in `15m`".to_owned(),
    };
    error_text("a number without a unit", &remedy)
}

/// Returns the text of the error for a value that is not a duration. `found` is the quoted text, or a description of
/// a YAML value of another type, such as `a boolean`.
pub(in crate::config) fn duration_error(found: &str) -> String {
    error_text(found, DurationProblem::NotADuration.remedy())
}

fn error_text(found: &str, remedy: &str) -> String {
    format!("expected a duration such as `30s`, `15m` or `1h30m`, found {found}; {remedy}")
}

/// Reason why a text is not a valid duration.
#[derive(Clone, Copy)]
enum DurationProblem {
    NotADuration,
    NoUnit,
    UnknownUnit,
    UnitOrder,
    TooLong,
    Zero,
}

impl DurationProblem {
    /// Returns the reason for the error text; `None` if the text does not resemble a duration.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::NotADuration => None,
            Self::NoUnit => Some("no unit"),
            Self::UnknownUnit => Some("unknown unit"),
            Self::UnitOrder => Some("repeated unit, or larger unit after a smaller one"),
            Self::TooLong => Some("more than 100 years"),
            Self::Zero => Some("zero is not allowed"),
        }
    }

    /// Returns what the user should do.
    fn remedy(self) -> &'static str {
        match self {
            Self::NotADuration | Self::NoUnit | Self::UnknownUnit => {
                "write numbers with units (ms, s, m, h, d, w, y)"
            }
            Self::UnitOrder => "write each unit once, and larger units first",
            Self::TooLong => "write at most `100y`",
            Self::Zero => "write at least `1ms`",
        }
    }
}

/// Parses a duration to milliseconds.
fn parse_millis(text: &str) -> Result<u64, DurationProblem> {
    if text.is_empty() {
        return Err(DurationProblem::NotADuration);
    }
    let mut rest = text;
    let mut allowed = UNITS.as_slice();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, tail) = split_leading(rest, |c| c.is_ascii_digit());
        let (unit, tail) = split_leading(tail, |c| c.is_ascii_alphabetic());
        if unit.is_empty() && !number.is_empty() && tail.is_empty() {
            return Err(DurationProblem::NoUnit);
        }
        if number.is_empty() || unit.is_empty() {
            return Err(DurationProblem::NotADuration);
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationProblem::UnknownUnit);
        }
        let Some(unit_idx) = allowed.iter().position(|(name, _)| *name == unit) else {
            return Err(DurationProblem::UnitOrder);
        };
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(allowed[unit_idx].1))
            .and_then(|millis| millis.checked_add(total))
            .filter(|total| *total <= MAX_DURATION_MILLIS)
            .ok_or(DurationProblem::TooLong)?;
        allowed = &allowed[unit_idx + 1..];
        rest = tail;
    }
    if total == 0 {
        Err(DurationProblem::Zero)
    } else {
        Ok(total)
    }
}

/// Returns a duration such as `15m` for texts such as `15 min` or `2 hours`.
fn abbreviated(text: &str) -> Option<String> {
    let (number, unit) = split_leading(text.trim(), |c| c.is_ascii_digit());
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        "week" | "weeks" => "w",
        "year" | "years" => "y",
        unit => UNITS
            .iter()
            .map(|(name, _)| *name)
            .find(|name| *name == unit)?,
    };
    let suggestion = format!("{number}{unit}");
    (!number.is_empty() && parse_millis(&suggestion).is_ok()).then_some(suggestion)
}

/// Splits a text after the leading characters that match.
fn split_leading(text: &str, matches: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(matches).len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse_duration;

    #[test]
    fn prometheus_syntax_is_accepted() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("1y2w3d4h5m6s7ms", 33_019_506_007),
            ("0h5m", 300_000),
            ("090s", 90_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "duration of {text}"
            );
        }
    }

    #[test]
    fn invalid_duration_is_rejected() {
        for text in [
            "",
            "0",
            "0s",
            "0h0m",
            "15",
            "1m15",
            "m",
            "1.5h",
            "-1s",
            "1h 30m",
            " 1h",
            "1h ",
            "1M",
            "1min",
            "30m1h",
            "1h1h",
            "1ms1s",
            "101y",
            "99999999999999999999s",
            "１h",
            "1h\n",
            "1hh",
        ] {
            let result = parse_duration(text);
            assert!(result.is_err(), "{text:?} should be rejected: {result:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_does_not_panic(text in ".*") {
            let _ = parse_duration(&text);
        }
    }
}
