//! Whether a window of an ad account is asked without a filter, while nobody says beforehand how
//! many rows that has.
//!
//! Without a filter the account's other campaigns answer too, but only those that delivered
//! anything in that window: on some days a handful out of thousands. An answer by ids tells nothing
//! about them, so now and then a poll tries. A try is given up where it has cost as much as the ids.

use super::questions::filtered_calls;
use super::{Query, Question, Source, Window};
use crate::listing::Listing;
use crate::row::Level;

/// Of so many polls by ids, the last one tries. A poll asks two questions by ids and a try costs at
/// most as much as one of them, repeats after errors left out, so that all tries together add a
/// sixteenth.
const POLLS_A_TRY: u32 = 8;

/// What the polls of a window have learnt of asking it without a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfiltered {
    /// The calls that it took last; where it was given up, one more than were made.
    calls: Option<usize>,
    /// Polls that did without it since one last tried.
    without: u32,
}

/// How one question is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Ways {
    /// What is tried first, if anything is.
    pub attempt: Option<Attempt>,
    /// What is asked where nothing was tried, or in vain.
    pub queries: Vec<Query>,
}

/// A query without a filter that may prove to be the dearer way.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The query.
    pub query: Query,
    /// After how many calls it is given up.
    pub calls: usize,
}

impl Unfiltered {
    /// A delivery query without a filter was answered, in so many calls.
    pub fn whole(&mut self, calls: usize) {
        *self = Self {
            calls: Some(calls),
            without: 0,
        };
    }

    /// After so many calls there was no end, or an error was.
    pub fn given_up(&mut self, calls: usize) {
        self.calls = Some(calls.saturating_add(1));
    }

    /// A poll does without it, or tries in vain; for all that is known when it begins.
    pub fn passed_over(&mut self) {
        self.without = (self.without + 1) % POLLS_A_TRY;
    }

    /// Whether a question that so many calls by ids answer is tried without them. A poll that
    /// tries does so with its first question, and knows better for the second.
    fn is_tried(self, question: Question, by_ids: usize) -> bool {
        let took_fewer = self.calls.is_some_and(|calls| calls <= by_ids);
        took_fewer || (question == Question::Delivery && self.without + 1 == POLLS_A_TRY)
    }
}

impl Source {
    /// The ways to ask one question for one window, the one that is probably cheaper first; `None`
    /// as with [`Source::queries`].
    pub fn ways(
        &self,
        window: &Window,
        question: Question,
        listing: Option<&Listing>,
        learnt: Unfiltered,
    ) -> Option<Ways> {
        let queries = self.queries(window, question, listing)?;
        let ids = queries.iter().map(|query| query.campaigns.len()).sum();
        let calls = filtered_calls(ids, listing, 1);
        // Nothing is cheaper than one call; and an account's own row is a sum over its filter.
        let has_other_way = ids > 0 && calls > 1 && self.level != Level::Account;
        let unfiltered = queries
            .first()
            .filter(|_| has_other_way && learnt.is_tried(question, calls));
        let attempt = unfiltered.map(|query| Attempt {
            query: Query {
                campaigns: Vec::new(),
                ..query.clone()
            },
            calls,
        });
        Some(Ways { attempt, queries })
    }
}
