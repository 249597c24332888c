//! Durations in the syntax of Go's `time.ParseDuration`, which exporter-toolkit uses: `1.5s`, `1m30s`,
//! `0ms`, and a bare integer as nanoseconds.

use std::time::Duration;

/// Units of Go in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Longest duration of Go, about 292 years, in nanoseconds.
const MAX_NANOSECONDS: f64 = i64::MAX as f64;

/// Parses a duration. Zero and negative durations are returned as zero. `None` if the text is not a
/// duration.
pub(super) fn parse_go_duration(text: &str) -> Option<Duration> {
    let (is_negative, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(unsigned) => (text.starts_with('-'), unsigned),
        None => (false, text),
    };
    let nanoseconds = if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        unsigned.parse().ok()?
    } else {
        sum_of_parts(unsigned)?
    };
    if !(0.0..=MAX_NANOSECONDS).contains(&nanoseconds) {
        return None;
    }
    Some(if is_negative {
        Duration::ZERO
    } else {
        Duration::from_secs_f64(nanoseconds / 1e9)
    })
}

fn sum_of_parts(text: &str) -> Option<f64> {
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_start = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(unit_start)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        sum += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse_go_duration;

    #[test]
    fn syntax_of_go_is_accepted() {
        for (text, nanoseconds) in [
            ("1.5s", 1_500_000_000),
            ("0.5s", 500_000_000),
            (".5s", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0ms", 0),
            ("0", 0),
            ("-1s", 0),
            ("1\u{b5}s", 1_000),
            ("100", 100),
        ] {
            assert_eq!(
                parse_go_duration(text),
                Some(Duration::from_nanos(nanoseconds)),
                "{text}"
            );
        }
        for text in [
            "", "s", ".s", "1x", "1 s", "1.2.3s", "1d", "1s1", "9999999h", "-",
        ] {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_does_not_panic(text in ".*") {
            let _ = parse_go_duration(&text);
        }
    }
}
