//! Compact storage for the values of rows. The meaning of each column is defined by the query.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One value of a row. A missing value is not zero, and an invalid one is not missing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum RowValue {
    /// A finite number: a count, a ratio from 0 to 1, or money in major units of the ad account's
    /// currency, according to the [`ValueKind`](super::ValueKind) of the column.
    Present(f64),
    /// The response does not contain the field.
    Missing,
    /// The response contains something other than a finite number.
    Invalid,
}

/// The values of one row, by column; immutable.
///
/// Rows take up most of the memory, and most of their values are missing. Therefore a row is encoded in 64-bit words:
///
/// - one word: the number of columns
/// - one word per 32 columns: two bits per column with the kind of its value
/// - one word per value that is not missing: the bits of its number
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::model::{RowValue, RowValues};
///
/// let values = RowValues::pack(&[RowValue::Present(38.87), RowValue::Missing]);
/// assert_eq!(values.get(0), RowValue::Present(38.87));
/// assert_eq!(values.get(1), RowValue::Missing);
/// ```
#[derive(Clone, PartialEq)]
pub struct RowValues(Arc<[u64]>);

/// Kinds of values. The number of one bits is the number of words that the value occupies.
mod kind {
    pub(super) const MISSING: u64 = 0b00;
    /// Its word is unused; invalid values are rare.
    pub(super) const INVALID: u64 = 0b01;
    pub(super) const PRESENT: u64 = 0b10;
}

/// Number of column kinds in one word.
const KINDS_PER_WORD: usize = 32;

impl RowValues {
    /// Encodes a row. A number that is not finite becomes [`RowValue::Invalid`].
    pub fn pack(row: &[RowValue]) -> Self {
        let header_words = 1 + row.len().div_ceil(KINDS_PER_WORD);
        let mut words = Vec::with_capacity(header_words + row.len());
        words.resize(header_words, 0);
        words[0] = row.len() as u64;
        for (column, value) in row.iter().enumerate() {
            let kind = match *value {
                RowValue::Missing => kind::MISSING,
                RowValue::Present(number) if number.is_finite() => {
                    words.push(number.to_bits());
                    kind::PRESENT
                }
                RowValue::Present(_) | RowValue::Invalid => {
                    words.push(0);
                    kind::INVALID
                }
            };
            words[1 + column / KINDS_PER_WORD] |= kind << (column % KINDS_PER_WORD * 2);
        }
        Self(words.into())
    }

    /// Returns the value of a column; [`RowValue::Missing`] if the row has no such column.
    pub fn get(&self, column: usize) -> RowValue {
        if column >= self.columns() {
            return RowValue::Missing;
        }
        let (kinds, numbers) = self.0[1..].split_at(self.columns().div_ceil(KINDS_PER_WORD));
        let (kind_idx, shift) = (column / KINDS_PER_WORD, column % KINDS_PER_WORD * 2);
        let kind_word = kinds[kind_idx];
        match kind_word >> shift & 0b11 {
            kind::PRESENT => {
                // The one bits before the column are the words of the values before it.
                let full_words = kinds[..kind_idx].iter().map(|word| word.count_ones());
                let idx = full_words.sum::<u32>() + (kind_word & !(u64::MAX << shift)).count_ones();
                RowValue::Present(f64::from_bits(numbers[idx as usize]))
            }
            kind::INVALID => RowValue::Invalid,
            _ => RowValue::Missing,
        }
    }

    /// Returns the values of all columns.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RowValue> {
        (0..self.columns()).map(|column| self.get(column))
    }

    fn columns(&self) -> usize {
        usize::try_from(self.0[0]).unwrap_or_default()
    }
}

/// A sequence of [`RowValue`]s.
impl Serialize for RowValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for RowValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|values| Self::pack(&values))
    }
}

/// Shows the decoded values.
impl fmt::Debug for RowValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    use super::{RowValue, RowValues};

    fn any_value() -> impl Strategy<Value = RowValue> {
        prop_oneof![
            Just(RowValue::Missing),
            Just(RowValue::Invalid),
            Just(RowValue::Present(-0.0)),
            (-500_000_000_i32..500_000_000, 0..20).prop_map(|(digits, power)| RowValue::Present(
                f64::from(digits) / 10_f64.powi(power)
            )),
            proptest::num::f64::ANY
                .prop_filter("should be finite", |number| number.is_finite())
                .prop_map(RowValue::Present),
        ]
    }

    /// Distinguishes -0 from 0, which `PartialEq` does not.
    fn bits(value: RowValue) -> (RowValue, Option<u64>) {
        match value {
            RowValue::Present(number) => (value, Some(number.to_bits())),
            RowValue::Missing | RowValue::Invalid => (value, None),
        }
    }

    proptest! {
        #[test]
        fn pack_round_trips_bit_for_bit(row in vec(any_value(), 0..200)) {
            let packed = RowValues::pack(&row);
            prop_assert_eq!(packed.iter().len(), row.len());
            for (column, value) in row.iter().enumerate() {
                prop_assert_eq!(bits(packed.get(column)), bits(*value));
            }
            prop_assert_eq!(packed.get(row.len()), RowValue::Missing);
            prop_assert_eq!(packed.get(usize::MAX), RowValue::Missing);
        }
    }

    #[test]
    fn pack_non_finite_number_is_invalid() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let packed = RowValues::pack(&[RowValue::Present(number)]);
            assert_eq!(packed.get(0), RowValue::Invalid, "{number}");
        }
    }
}
