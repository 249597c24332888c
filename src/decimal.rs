//! Decimal text, as the API writes it, to the nearest float.
//!
//! Percentages become ratios and minor units become major ones by moving the decimal point in
//! the text, before the one conversion to binary: dividing the float would round a second time
//! (`79.419238 / 100` is not the float nearest to `0.79419238`).

/// The finite number that `text` denotes times ten to the power of `shift`, or `None`.
///
/// Accepted is what JSON's grammar calls a number, whether it stood in quotes or not; a leading
/// zero, a leading `+` and a bare point are forgiven. `NaN`, infinities, hexadecimal, thousands
/// separators, and numbers too large for a float are not.
pub fn parse(text: &str, shift: i32) -> Option<f64> {
    if let Some(number) = few_digits(text.as_bytes(), shift) {
        return Some(number);
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let well_formed = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().any(|b| b.is_ascii_digit());
    if !well_formed {
        return None;
    }
    let number = match exponent.checked_add(shift)? {
        0 => mantissa.parse::<f64>().ok()?,
        exponent => format!("{mantissa}e{exponent}").parse::<f64>().ok()?,
    };
    // Zero without a sign: a page that says -0 helps nobody.
    number.is_finite().then_some(number + 0.0)
}

/// Nearly every number that the API writes: up to 15 digits and a point. As a whole number they are
/// exact in a float, and so is the power of ten; one division rounds once.
fn few_digits(text: &[u8], shift: i32) -> Option<f64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    let (mut whole, mut decimals) = (0_u64, None);
    for letter in text {
        match letter {
            b'0'..=b'9' => {
                whole = whole * 10 + u64::from(letter - b'0');
                decimals = decimals.map(|decimals: i32| decimals + 1);
            }
            b'.' if decimals.is_none() && text.len() > 1 => decimals = Some(0),
            _ => return None,
        }
    }
    let power = usize::try_from(decimals.unwrap_or(0).checked_sub(shift)?).ok()?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "at most 16 digits, and 15 are looked for"
    )]
    let exact = whole as f64;
    (whole < 1_000_000_000_000_000)
        .then(|| POWERS_OF_TEN.get(power).map(|divisor| exact / divisor))
        .flatten()
}

/// Those that a float holds exactly, by their power.
pub const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_point_moves_without_a_second_rounding() {
        assert_eq!(parse("79.419238", -2), Some(0.79419238));
        assert_eq!(parse("9.727768", -2), Some(0.09727768));
        assert_eq!(parse("38.87", 0), Some(38.87));
        assert_eq!(parse("5000", -2), Some(50.0));
        assert_eq!(parse("1.5e3", -2), Some(15.0));
        assert_eq!(parse("-0", 0).map(f64::is_sign_negative), Some(false));
    }

    #[test]
    fn what_is_no_finite_number_is_none() {
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
            assert_eq!(parse(text, 0), None, "{text:?}");
            assert_eq!(parse(text, -2), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_float_is_the_one_that_std_reads(text in "[0-9]{0,12}\\.?[0-9]{0,9}", shift in -3..=0_i32) {
            let with_exponent = format!("{text}e{shift}");
            let expected = match text.bytes().any(|b| b.is_ascii_digit()) {
                true => with_exponent.parse::<f64>().ok(),
                false => None,
            };
            proptest::prop_assert_eq!(parse(&text, shift).map(f64::to_bits), expected.map(f64::to_bits));
        }

        #[test]
        fn shifting_equals_writing_the_point_elsewhere(whole in 0_u64..1_000_000_000_000, cents in 0_u64..100) {
            let minor = format!("{}", whole * 100 + cents);
            let major = format!("{whole}.{cents:02}");
            proptest::prop_assert_eq!(parse(&minor, -2), parse(&major, 0));
        }
    }
}
