//! Amounts of money in minor units (cents), as nodes return them, and in major units (euros), as metrics show them.

use serde::{Deserialize, Serialize};

use super::parse_decimal;

/// Currencies that the API gives without minor units; differs from ISO 4217. Source: Meta's page "Currencies" of the
/// Marketing API.
const CURRENCIES_WITHOUT_MINOR_UNITS: [&str; 11] = [
    "CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND",
];

/// Amount in minor units of a currency, such as cents. Negative for money that is owed to the advertiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinorUnits(pub i64);

/// Amount in major units of a currency, such as euros.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct MajorUnits(pub f64);

impl MinorUnits {
    /// Converts to major units of a currency, given by its ISO 4217 code: the float nearest to the decimal amount.
    pub fn to_major(self, currency: &str) -> Option<MajorUnits> {
        let shift = if CURRENCIES_WITHOUT_MINOR_UNITS.contains(&currency) {
            0
        } else {
            -2
        };
        parse_decimal(&self.0.to_string(), shift).map(MajorUnits)
    }
}

#[cfg(test)]
mod tests {
    use super::{MajorUnits, MinorUnits};

    #[test]
    fn currency_offsets_are_those_of_meta() {
        for (minor, currency, major) in [
            (5_000, "USD", 50.0),
            (5_000, "JPY", 5_000.0),
            // ISO 4217 has two decimals.
            (5_000, "HUF", 5_000.0),
            // ISO 4217 has three decimals.
            (5_000, "BHD", 50.0),
            (1_999, "EUR", 19.99),
            (-1_999, "EUR", -19.99),
        ] {
            let converted = MinorUnits(minor).to_major(currency);
            assert_eq!(converted, Some(MajorUnits(major)), "{minor} {currency}");
        }
    }
}
