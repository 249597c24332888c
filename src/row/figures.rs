//! The numbers of one row, packed. What a column stands for is not known here.

use std::fmt;
use std::iter;

/// One number of a row: given, not there, or there and unusable. The three are never mixed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// A finite number.
    Given(f64),
    /// The API did not mention it.
    Missing,
    /// The API said something that is no finite number.
    Rejected,
}

/// The numbers of one row, one place a column. Once packed they do not change.
///
/// Most columns of most rows are missing, and rows are most of what is held in memory: so the
/// words are how many columns there are; a bit a column, set where something was said; and of
/// each of those the two halves of its number.
#[derive(Clone, PartialEq, Eq)]
pub struct Figures(Box<[u32]>);

/// How many columns have their bits in one word.
const COLUMNS_A_WORD: usize = 32;

/// How many words a number takes.
const WORDS_A_NUMBER: usize = 2;

impl Figures {
    /// Packs a row, column by column. A number that is not finite is rejected.
    pub fn pack(row: &[Figure]) -> Self {
        let columns = u32::try_from(row.len()).unwrap_or(u32::MAX);
        let masks = row.chunks(COLUMNS_A_WORD).map(|columns| {
            let said = columns.iter().rev().map(|figure| number(*figure).is_some());
            said.fold(0, |mask, said| mask << 1 | u32::from(said))
        });
        let numbers = row.iter().filter_map(|figure| number(*figure));
        // As long as it stays, so that nothing is moved to make it shorter.
        let length = 1 + masks.len() + WORDS_A_NUMBER * numbers.clone().count();
        let mut words = Vec::with_capacity(length);
        words.push(columns);
        words.extend(masks);
        words.extend(numbers.flat_map(halves));
        Self(words.into())
    }

    /// The figure of a column; missing where there is no such column.
    pub fn get(&self, column: usize) -> Figure {
        let (masks, numbers) = self.0[1..].split_at(self.columns().div_ceil(COLUMNS_A_WORD));
        let (word, bit) = (column / COLUMNS_A_WORD, column % COLUMNS_A_WORD);
        let Some(mask) = masks.get(word).filter(|mask| *mask >> bit & 1 == 1) else {
            return Figure::Missing;
        };
        let before = masks[..word].iter().copied();
        let before = before.chain(iter::once(mask & !(u32::MAX << bit)));
        let place: u32 = before.map(u32::count_ones).sum();
        let at = place as usize * WORDS_A_NUMBER;
        figure(numbers[at], numbers[at + 1])
    }

    /// Every figure, column by column.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Figure> {
        (0..self.columns()).map(|column| self.get(column))
    }

    fn columns(&self) -> usize {
        self.0[0] as usize
    }
}

/// As a list of its figures, not of its words.
impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The number that stands for a figure where one has to: none that is given is infinite.
fn number(figure: Figure) -> Option<f64> {
    match figure {
        Figure::Missing => None,
        Figure::Given(number) if number.is_finite() => Some(number),
        Figure::Given(_) | Figure::Rejected => Some(f64::INFINITY),
    }
}

fn halves(number: f64) -> [u32; WORDS_A_NUMBER] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

fn figure(low: u32, high: u32) -> Figure {
    let number = f64::from_bits(u64::from(high) << 32 | u64::from(low));
    match number.is_finite() {
        true => Figure::Given(number),
        false => Figure::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    use super::{Figure, Figures};

    fn any_figure() -> impl Strategy<Value = Figure> {
        prop_oneof![
            Just(Figure::Missing),
            Just(Figure::Rejected),
            Just(Figure::Given(-0.0)),
            proptest::num::f64::NORMAL.prop_map(Figure::Given),
            proptest::num::f64::ANY
                .prop_filter("it is given", |number| number.is_finite())
                .prop_map(Figure::Given),
        ]
    }

    /// Tells -0 from 0 too, which compare as equal.
    fn bits(figure: Figure) -> (Figure, Option<u64>) {
        match figure {
            Figure::Given(number) => (figure, Some(number.to_bits())),
            Figure::Missing | Figure::Rejected => (figure, None),
        }
    }

    proptest! {
        #[test]
        fn every_figure_comes_back_bit_for_bit(row in vec(any_figure(), 0..200)) {
            let packed = Figures::pack(&row);
            prop_assert_eq!(packed.iter().len(), row.len());
            for (column, figure) in row.iter().enumerate() {
                prop_assert_eq!(bits(packed.get(column)), bits(*figure));
            }
            prop_assert_eq!(packed.get(row.len()), Figure::Missing);
            prop_assert_eq!(packed.get(usize::MAX), Figure::Missing);
        }
    }

    #[test]
    fn no_number_is_given_that_is_not_finite() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let packed = Figures::pack(&[Figure::Given(number)]);
            assert_eq!(packed.get(0), Figure::Rejected);
        }
    }

    #[test]
    fn what_is_missing_takes_a_bit() {
        let mut row = vec![Figure::Missing; 64];
        assert_eq!(Figures::pack(&row).0.len(), 3);
        row[40] = Figure::Given(0.5);
        assert_eq!(Figures::pack(&row).0.len(), 5);
    }
}
