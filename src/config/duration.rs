//! Durations in Prometheus' syntax: `500ms`, `15m`, `1h30m`, `1d`.
//!
//! Prometheus' own rules hold: whole numbers, each unit at most once, the larger first. Zero is
//! refused, since nothing here can happen every 0 seconds. Bare numbers never come this far.

use std::time::Duration;

/// What would be right, for the end of a complaint.
pub(super) const REMEDY: &str =
    "write a number and a unit (ms, s, m, h, d, w, y), such as 30s, 15m or 1h30m";

/// The units in the order that they must stand in, each in milliseconds. As with Prometheus, a
/// day has 24 hours and a year 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest that is accepted, 100 years: sums of durations and clocks stay far from overflow.
const LONGEST: u64 = 100 * 365 * 86_400_000;

/// Reads a duration, or says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    if text.is_empty() {
        return Err("an empty text is no duration");
    }
    let mut rest = text;
    let mut allowed = UNITS.as_slice();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len()
            - tail
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() && !number.is_empty() && tail.is_empty() {
            return Err("a number without a unit is no duration");
        }
        if number.is_empty() || unit.is_empty() {
            return Err("this is no duration");
        }
        if !UNITS.iter().any(|(known, _)| *known == unit) {
            return Err("this unit is not known");
        }
        let Some(at) = allowed.iter().position(|(known, _)| *known == unit) else {
            return Err("each unit may stand once, the larger before the smaller");
        };
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(allowed[at].1))
            .and_then(|milliseconds| milliseconds.checked_add(total))
            .filter(|total| *total <= LONGEST)
            .ok_or("this is longer than 100 years")?;
        allowed = &allowed[at + 1..];
        rest = tail;
    }
    match total {
        0 => Err("a duration must be more than zero"),
        total => Ok(Duration::from_millis(total)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn prometheus_syntax_is_read() {
        for (text, milliseconds) in [
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
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
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
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
