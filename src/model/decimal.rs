//! Parses decimal text, as the API writes numbers, to the nearest float.
//!
//! Percentages become ratios, and minor units of a currency become major units, by an exponent that
//! is applied before the single conversion to binary. Dividing the parsed float would round twice:
//! `79.419238 / 100` is not the float nearest to `0.79419238`.

/// Parses `text` and multiplies it by ten to the power of `shift`, with a single rounding.
///
/// Accepts JSON numbers, and also leading zeros, a leading `+` and a missing integer or fraction
/// part (`.5`, `5.`). Returns `None` for everything else, such as `NaN`, infinities, hexadecimal
/// digits or thousands separators, and for numbers beyond the range of a float. Negative zero
/// becomes zero.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::model::parse_decimal;
///
/// assert_eq!(parse_decimal("38.87", 0), Some(38.87));
/// assert_eq!(parse_decimal("79.419238", -2), Some(0.79419238)); // a percentage as a ratio
/// assert_eq!(parse_decimal("5000", -2), Some(50.0)); // cents as euros
/// assert_eq!(parse_decimal("1,234.5", 0), None);
/// ```
pub fn parse_decimal(text: &str, shift: i32) -> Option<f64> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(idx) => (&text[..idx], text[idx + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let is_well_formed = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().any(|b| b.is_ascii_digit());
    if !is_well_formed {
        return None;
    }
    let number = match exponent.checked_add(shift)? {
        0 => mantissa.parse::<f64>().ok()?,
        exponent => format!("{mantissa}e{exponent}").parse::<f64>().ok()?,
    };
    // Adding 0.0 turns -0.0 into 0.0, so that the metrics page does not show `-0`.
    number.is_finite().then_some(number + 0.0)
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn parse_decimal_with_shift_rounds_once() {
        assert_eq!(parse_decimal("79.419238", -2), Some(0.79419238));
        assert_eq!(parse_decimal("9.727768", -2), Some(0.09727768));
        assert_eq!(parse_decimal("38.87", 0), Some(38.87));
        assert_eq!(parse_decimal("5000", -2), Some(50.0));
        assert_eq!(parse_decimal("1.5e3", -2), Some(15.0));
    }

    #[test]
    fn parse_decimal_of_negative_zero_is_zero() {
        assert_eq!(
            parse_decimal("-0", 0).map(f64::is_sign_negative),
            Some(false)
        );
    }

    #[test]
    fn parse_decimal_of_invalid_text_is_none() {
        for text in [
            "",
            " 1",
            "1 ",
            "NaN",
            "inf",
            "-inf",
            "0x10",
            "1,234.5",
            "1.2.3",
            "1e400",
            "--1",
            ".",
            "e5",
            "1e",
            "1e99999999999",
            "١",
        ] {
            assert_eq!(parse_decimal(text, 0), None, "{text:?}");
            assert_eq!(parse_decimal(text, -2), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_decimal_equals_std_parse(text in "[0-9]{0,12}\\.?[0-9]{0,9}", shift in -3..=0_i32) {
            let with_exponent = format!("{text}e{shift}");
            let has_digit = text.bytes().any(|b| b.is_ascii_digit());
            let expected = if has_digit { with_exponent.parse::<f64>().ok() } else { None };
            proptest::prop_assert_eq!(parse_decimal(&text, shift).map(f64::to_bits), expected.map(f64::to_bits));
        }

        #[test]
        fn shift_equals_moved_decimal_point(whole in 0_u64..1_000_000_000_000, cents in 0_u64..100) {
            let minor = format!("{}", whole * 100 + cents);
            let major = format!("{whole}.{cents:02}");
            proptest::prop_assert_eq!(parse_decimal(&minor, -2), parse_decimal(&major, 0));
        }
    }
}
