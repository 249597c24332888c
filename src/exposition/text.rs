//! The text format's letters: numbers and label values. Version 0.0.4.
//! Source: Prometheus' document on exposition formats.

/// Lines leave in portions of about this many bytes: a buffer that stays in the CPU's cache, and no
/// longer for a long page.
pub(super) const PORTION: usize = 64 * 1024;

/// Appends a number: the shortest digits that read back as the same float, without an exponent
/// where people would not write one. `number` must be finite.
pub(super) fn push_number(out: &mut Vec<u8>, number: f64) {
    // Up to here every whole number is exact, and short enough to be read.
    const WHOLE: f64 = 1e15;
    // Fifteen digits and a point. Beyond that two texts can be equally near, and zmij
    // does not always choose the one that std, and so every other Rust exporter, writes.
    const SHORT: usize = 16;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is cut off is noticed"
    )]
    let whole = number as i64;
    #[expect(
        clippy::float_cmp,
        clippy::cast_precision_loss,
        reason = "exact below 1e15"
    )]
    if whole as f64 == number && number.abs() < WHOLE {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        return;
    }
    if push_decimal(out, number) {
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number);
    // zmij turns to exponents earlier than people do.
    let plain = (1e-6..WHOLE).contains(&number.abs());
    if plain && (text.len() > SHORT || text.contains('e')) {
        out.extend_from_slice(number.to_string().as_bytes());
    } else {
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
    }
}

/// Appends a number of at most eight decimals and 15 digits, as nearly all are that the API writes;
/// says whether it is one. No two such decimals are the same float, so this is its shortest text.
fn push_decimal(out: &mut Vec<u8>, number: f64) -> bool {
    const SCALE: u64 = 100_000_000;
    const SCALE_OF_FLOAT: f64 = 1e8;
    if !(1e-6..1e7).contains(&number) {
        return false;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what does not come back is not taken"
    )]
    let scaled = (number * SCALE_OF_FLOAT + 0.5) as u64;
    #[expect(
        clippy::float_cmp,
        clippy::cast_precision_loss,
        reason = "both exact; division rounds once"
    )]
    if scaled as f64 / SCALE_OF_FLOAT != number {
        return false;
    }
    out.extend_from_slice(itoa::Buffer::new().format(scaled / SCALE).as_bytes());
    // The one in front keeps the zeros that follow it; the point takes its place.
    let mut decimals = itoa::Buffer::new();
    let decimals = decimals
        .format(scaled % SCALE + SCALE)
        .trim_end_matches('0');
    out.push(b'.');
    out.extend_from_slice(&decimals.as_bytes()[1..]);
    true
}

/// Appends `name="value"` with the value escaped, and otherwise unaltered.
pub(super) fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    push_escaped(out, value, true);
    out.push(b'"');
}

/// Appends text with backslashes and line feeds escaped, and quotes where they would end it.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let mut rest = text.as_bytes();
    let special = |b: &u8| matches!(b, b'\\' | b'\n') || (quotes && *b == b'"');
    // To look at every byte, without a way out in between, is what CPUs do many bytes at a time; and
    // hardly any text has one of these.
    if !rest.iter().fold(false, |found, b| found | special(b)) {
        return out.extend_from_slice(rest);
    }
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(if rest[at] == b'\n' { b'n' } else { rest[at] });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::{push_escaped, push_number};

    fn number(number: f64) -> String {
        let mut out = Vec::new();
        push_number(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        for (value, text) in [
            (0.0, "0"),
            (2755.0, "2755"),
            (-3.0, "-3"),
            (38.87, "38.87"),
            (0.79419238, "0.79419238"),
            (0.000001, "0.000001"),
            (0.00014109, "0.00014109"),
            (999_999_999_999_999.0, "999999999999999"),
            (1_767_225_600.0, "1767225600"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_those_of_std(value in 1e-6_f64..1e15) {
            proptest::prop_assert_eq!(number(value), value.to_string());
        }

        #[test]
        fn decimals_are_those_of_std(whole in 1_u64..1_000_000_000_000_000_000, decimals in 0_i32..18) {
            let value = whole as f64 / 10_f64.powi(decimals);
            if (1e-6..1e15).contains(&value) {
                proptest::prop_assert_eq!(number(value), value.to_string());
            }
        }

        #[test]
        fn every_number_reads_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let back = number(value).parse::<f64>().unwrap();
            proptest::prop_assert_eq!(back.to_bits(), value.to_bits());
        }

        #[test]
        fn any_text_survives_escaping(value in ".*") {
            let mut out = Vec::new();
            push_escaped(&mut out, &value, true);
            let escaped = String::from_utf8(out).unwrap();
            proptest::prop_assert!(!escaped.contains('\n'));
            let mut back = String::new();
            let mut letters = escaped.chars();
            while let Some(letter) = letters.next() {
                proptest::prop_assert_ne!(letter, '"');
                back.push(match (letter, letter == '\\') {
                    (_, true) => match letters.next() {
                        Some('n') => '\n',
                        Some(other) => other,
                        None => return Err(proptest::test_runner::TestCaseError::fail("cut")),
                    },
                    (letter, false) => letter,
                });
            }
            proptest::prop_assert_eq!(back, value);
        }
    }
}
