//! The numbers of one row, packed. What a column stands for is not known here.

use std::fmt;
use std::sync::Arc;

use super::short;

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
/// Rows are most of what is held in memory, most of their columns are missing, and most of their
/// numbers have few digits. So the words are: how many columns there are; two bits a column, its
/// kind; and the numbers, each in one word or two. Other rows may stand behind them.
#[derive(Clone)]
pub struct Figures {
    words: Arc<[u32]>,
    /// Where this row begins.
    at: u32,
}

/// What the two bits of a column say. As many of them are set as words are taken behind.
mod kind {
    pub(super) const MISSING: u32 = 0b00;
    /// So rare that its word may stay idle.
    pub(super) const REJECTED: u32 = 0b01;
    pub(super) const SHORT: u32 = 0b10;
    pub(super) const LONG: u32 = 0b11;
}

/// How many columns have their kinds in one word.
const KINDS_A_WORD: usize = 16;

impl Figures {
    /// Packs a row, column by column. A number that is not finite is rejected.
    pub fn pack(row: &[Figure]) -> Self {
        let columns = u32::try_from(row.len()).unwrap_or(u32::MAX);
        let kinds = row.len().div_ceil(KINDS_A_WORD);
        let mut words = Vec::with_capacity(1 + kinds + 2 * row.len());
        words.resize(1 + kinds, 0);
        words[0] = columns;
        for (column, figure) in row.iter().enumerate() {
            let kind = match *figure {
                Figure::Missing => kind::MISSING,
                Figure::Given(number) if number.is_finite() => match short::of(number) {
                    Some(short) => {
                        words.push(short);
                        kind::SHORT
                    }
                    None => {
                        words.extend(halves(number));
                        kind::LONG
                    }
                },
                Figure::Given(_) | Figure::Rejected => {
                    words.push(0);
                    kind::REJECTED
                }
            };
            words[1 + column / KINDS_A_WORD] |= kind << (column % KINDS_A_WORD * 2);
        }
        Self {
            words: words.into(),
            at: 0,
        }
    }

    /// The figure of a column; missing where there is no such column.
    pub fn get(&self, column: usize) -> Figure {
        let (kinds, numbers) = self.parts();
        let (word, shift) = (column / KINDS_A_WORD, column % KINDS_A_WORD * 2);
        let here = kinds.get(word).copied().unwrap_or_default();
        let at = || {
            let before = kinds[..word].iter().map(|kinds| kinds.count_ones());
            (before.sum::<u32>() + (here & !(u32::MAX << shift)).count_ones()) as usize
        };
        match here >> shift & 0b11 {
            kind::SHORT => Figure::Given(short::number(numbers[at()])),
            kind::LONG => Figure::Given(whole([numbers[at()], numbers[at() + 1]])),
            kind::REJECTED => Figure::Rejected,
            _ => Figure::Missing,
        }
    }

    /// Every figure, column by column.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Figure> {
        (0..self.words()[0] as usize).map(|column| self.get(column))
    }

    /// Lets these stand one after the other in memory, as they will be read: thousands of small
    /// allocations become one.
    pub fn line_up(mut all: Vec<&mut Self>) {
        let length: usize = all.iter().map(|figures| figures.own().len()).sum();
        let mut words = Vec::with_capacity(length);
        // Beyond what a place can say they stay as they are; that would be 16 GiB.
        let Ok(_) = u32::try_from(length) else { return };
        for figures in &all {
            words.extend_from_slice(figures.own());
        }
        let words: Arc<[u32]> = words.into();
        let mut at = 0;
        for figures in &mut all {
            let length = figures.own().len();
            figures.words = Arc::clone(&words);
            figures.at = at;
            at += u32::try_from(length).unwrap_or_default();
        }
    }

    /// Its words, and those of whatever stands behind.
    fn words(&self) -> &[u32] {
        &self.words[self.at as usize..]
    }

    /// The kinds, and the numbers with whatever stands behind.
    fn parts(&self) -> (&[u32], &[u32]) {
        let words = self.words();
        words[1..].split_at((words[0] as usize).div_ceil(KINDS_A_WORD))
    }

    /// Its words alone.
    fn own(&self) -> &[u32] {
        let (kinds, _) = self.parts();
        let numbers: u32 = kinds.iter().map(|kinds| kinds.count_ones()).sum();
        &self.words()[..1 + kinds.len() + numbers as usize]
    }
}

impl PartialEq for Figures {
    fn eq(&self, other: &Self) -> bool {
        self.own() == other.own()
    }
}

/// As a list of its figures, not of its words.
impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A number in two words.
fn halves(number: f64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

/// The number that was made two words.
fn whole([low, high]: [u32; 2]) -> f64 {
    f64::from_bits(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::{Figure, Figures};

    fn any_figure() -> impl Strategy<Value = Figure> {
        prop_oneof![
            Just(Figure::Missing),
            Just(Figure::Rejected),
            Just(Figure::Given(-0.0)),
            (-500_000_000_i32..500_000_000, 0..20)
                .prop_map(|(digits, power)| Figure::Given(f64::from(digits) / 10_f64.powi(power))),
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

    proptest! {
        #[test]
        fn those_that_are_lined_up_stay_the_same(rows in vec(vec(any_figure(), 0..80), 0..20)) {
            let alone: Vec<Figures> = rows.iter().map(|row| Figures::pack(row)).collect();
            let mut together = alone.clone();
            Figures::line_up(together.iter_mut().collect());
            prop_assert_eq!(&alone, &together);
            // Some of them with new ones, as rows of several answers may be.
            let mut again: Vec<Figures> = together.iter().rev().chain(&alone).cloned().collect();
            Figures::line_up(again.iter_mut().collect());
            let expected: Vec<&Figures> = together.iter().rev().chain(&alone).collect();
            prop_assert_eq!(again.iter().collect::<Vec<_>>(), expected);
            for (row, figures) in rows.iter().zip(&together) {
                let bits = |figure: &Figure| bits(*figure);
                prop_assert!(row.iter().map(bits).eq(figures.iter().map(|f| bits(&f))));
                prop_assert_eq!(figures.get(row.len()), Figure::Missing);
            }
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
    fn only_what_is_given_takes_words() {
        let length = |figure| Figures::pack(&[Figure::Missing, figure]).own().len();
        let nothing = length(Figure::Missing);
        assert_eq!(length(Figure::Given(12.34)), nothing + 1);
        assert_eq!(length(Figure::Given(1.0 / 3.0)), nothing + 2);
    }
}
