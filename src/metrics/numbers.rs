//! Numbers and label values in the Prometheus text format 0.0.4.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

/// Buffer size in bytes at which written lines are flushed. The buffer fits the CPU cache, and does not
/// grow with the page.
pub(super) const FLUSH_BYTES: usize = 64 * 1024;

/// Appends a finite number: the shortest decimal that parses to the same float, without an exponent
/// from 1e-6 to 1e15. In that range the text equals that of [`f64::to_string`].
pub(super) fn push_number(out: &mut Vec<u8>, number: f64) {
    // Floats below this limit represent integers exactly (2^53 is about 9e15).
    const MAX_PLAIN: f64 = 1e15;
    // Fifteen digits and a point. With more digits, two decimals can be equally close to a float, and
    // zmij does not always choose the same one as std, which other Rust exporters use.
    const MAX_UNAMBIGUOUS_CHARS: usize = 16;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fractions are detected below"
    )]
    let integer = number as i64;
    #[expect(
        clippy::float_cmp,
        clippy::cast_precision_loss,
        reason = "exact below 1e15"
    )]
    if integer as f64 == number && number.abs() < MAX_PLAIN {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        return;
    }
    if push_decimal(out, number) {
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number);
    // zmij uses exponents in a wider range.
    let is_plain = (1e-6..MAX_PLAIN).contains(&number.abs());
    if is_plain && (text.len() > MAX_UNAMBIGUOUS_CHARS || text.contains('e')) {
        out.extend_from_slice(number.to_string().as_bytes());
    } else {
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
    }
}

/// Fast path for numbers with at most eight decimals and 15 digits, which are nearly all numbers
/// that the API sends. Returns whether `number` is one, and was appended.
///
/// Different decimals of at most 15 digits are different floats, so the text is the shortest one.
fn push_decimal(out: &mut Vec<u8>, number: f64) -> bool {
    const SCALE: u64 = 100_000_000;
    const SCALE_OF_FLOAT: f64 = 1e8;
    if !(1e-6..1e7).contains(&number) {
        return false;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounding errors are detected below"
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
    // Adding SCALE keeps the leading zeros of the decimals, behind a digit that is skipped.
    let mut buffer = itoa::Buffer::new();
    let decimals = buffer.format(scaled % SCALE + SCALE).trim_end_matches('0');
    out.push(b'.');
    out.extend_from_slice(&decimals.as_bytes()[1..]);
    true
}

/// Appends `name="value"`, with the value escaped.
pub(super) fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    push_escaped(out, value, true);
    out.push(b'"');
}

/// Appends text with backslashes and line feeds escaped, and with `escape_quotes` also quotes.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str, escape_quotes: bool) {
    let mut rest = text.as_bytes();
    let is_special = |b: &u8| matches!(b, b'\\' | b'\n') || (escape_quotes && *b == b'"');
    // Most texts have no special bytes. A fold without early exit can be vectorized.
    if !rest.iter().fold(false, |found, b| found | is_special(b)) {
        return out.extend_from_slice(rest);
    }
    while let Some(position) = rest.iter().position(is_special) {
        let byte = rest[position];
        out.extend_from_slice(&rest[..position]);
        out.push(b'\\');
        out.push(if byte == b'\n' { b'n' } else { byte });
        rest = &rest[position + 1..];
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
    fn numbers_are_written_without_exponent() {
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
        fn random_numbers_are_written_as_by_std(value in 1e-6_f64..1e15) {
            proptest::prop_assert_eq!(number(value), value.to_string());
        }

        #[test]
        fn random_decimals_are_written_as_by_std(whole in 1_u64..1_000_000_000_000_000_000, decimals in 0_i32..18) {
            let value = whole as f64 / 10_f64.powi(decimals);
            if (1e-6..1e15).contains(&value) {
                proptest::prop_assert_eq!(number(value), value.to_string());
            }
        }

        #[test]
        fn written_number_parses_to_same_float(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let parsed = number(value).parse::<f64>().unwrap();
            proptest::prop_assert_eq!(parsed.to_bits(), value.to_bits());
        }

        #[test]
        fn escaped_text_can_be_unescaped(value in ".*") {
            let mut out = Vec::new();
            push_escaped(&mut out, &value, true);
            let escaped = String::from_utf8(out).unwrap();
            proptest::prop_assert!(!escaped.contains('\n'));
            let mut unescaped = String::new();
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                proptest::prop_assert_ne!(c, '"');
                unescaped.push(match c {
                    '\\' => match chars.next() {
                        Some('n') => '\n',
                        Some(other) => other,
                        None => {
                            let reason = "the text ends within an escape sequence";
                            return Err(proptest::test_runner::TestCaseError::fail(reason));
                        }
                    },
                    c => c,
                });
            }
            proptest::prop_assert_eq!(unescaped, value);
        }
    }
}
