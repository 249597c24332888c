//! Numbers of few digits in one word: 28 bits of a whole number, and four of the power of ten that
//! it is divided by. Counts, money and ratios are such, as the API writes them.

use crate::decimal::POWERS_OF_TEN;

/// The word of a number; `None` where it would not come back bit for bit.
pub(super) fn of(number: f64) -> Option<u32> {
    (0..16).zip(POWERS_OF_TEN).find_map(|(power, divisor)| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what does not come back is not taken"
        )]
        let whole = (number * divisor + 0.5) as u32;
        let word = whole << 4 | power;
        (self::number(word).to_bits() == number.to_bits()).then_some(word)
    })
}

/// The number of a word. Both parts are exact, and division rounds once: this is the float nearest
/// to the decimal, the one that its text was read as.
pub(super) fn number(word: u32) -> f64 {
    f64::from(word >> 4) / POWERS_OF_TEN[(word & 0b1111) as usize]
}

#[cfg(test)]
mod tests {
    use super::{number, of};
    use crate::decimal;

    #[test]
    fn what_has_few_digits_is_short() {
        for text in [
            "0",
            "1",
            "268435455",
            "38.87",
            "0.1",
            "0.79419238",
            "0.014109",
            "1e-15",
        ] {
            let read = decimal::parse(text, 0).unwrap();
            assert_eq!(of(read).map(number), Some(read), "{text}");
        }
    }

    #[test]
    fn what_has_more_digits_is_not() {
        for long in [
            268_435_456.0,
            -1.0,
            -0.0,
            1.0 / 3.0,
            1e-16,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ] {
            assert_eq!(of(long), None, "{long}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_decimal_of_eight_digits_is_short(digits in 0_u32..100_000_000, power in 0_i32..=15) {
            let read = decimal::parse(&digits.to_string(), -power).unwrap();
            proptest::prop_assert_eq!(of(read).map(|word| number(word).to_bits()), Some(read.to_bits()));
        }
    }
}
