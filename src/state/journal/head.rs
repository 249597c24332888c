//! What tells the frames of a journal apart, and the head of an answer.

use std::collections::BTreeSet;

use crate::plan::{Days, Question};
use crate::state::Refused;
use crate::state::kept::{Kept, kept};
use crate::state::wire::{In, Out};

/// What a frame is of, by its first byte: the question that all of it answers.
pub(super) const QUESTION: u8 = 0;
/// A listing.
pub(super) const LISTING: u8 = 1;
/// The head of an answer.
pub(super) const ANSWER: u8 = 2;
/// The rows of one key of the answer before.
pub(super) const ROWS: u8 = 3;

/// What an answer is to, and what follows.
pub(super) struct Head {
    pub(super) source: usize,
    pub(super) conversions: bool,
    pub(super) days: Days,
    pub(super) keys: usize,
    pub(super) withheld: BTreeSet<Box<str>>,
}

kept!(Head {
    source,
    conversions,
    days,
    keys,
    withheld
});

impl Head {
    /// Which of the two questions it answers.
    pub(super) fn question(&self) -> Question {
        match self.conversions {
            true => Question::Conversions,
            false => Question::Delivery,
        }
    }
}

impl Kept for Days {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.signed(self.since().year().into());
        to.signed(self.since().day_of_year().into());
        to.count(self.count());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        const NO_DAYS: Refused = Refused::Garbled("it holds days that no calendar has");
        let year = i16::try_from(from.signed()?).map_err(|_| NO_DAYS)?;
        let day = i16::try_from(from.signed()?).map_err(|_| NO_DAYS)?;
        let count = usize::take(from)?;
        let first = jiff::civil::date(0, 1, 1)
            .with()
            .year(year)
            .day_of_year(day);
        let first = first.build().map_err(|_| NO_DAYS)?;
        let whole = Self::new(first, jiff::civil::Date::MAX).ok_or(NO_DAYS)?;
        Ok(whole.split(count).0)
    }
}
