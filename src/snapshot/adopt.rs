//! What a new plan takes over from what was known: after a restart, and after a reload.
//!
//! A source that is asked the same questions as before keeps its answers and their true ages; all
//! else begins unknown. Labels, thresholds and intervals may change freely, since answers do not
//! depend on them. Nothing taken over is younger than now, or older than the new plan believes.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Answer, Known, Snapshot, WindowKnown};
use crate::listing::Listing;
use crate::plan::{Columns, Plan, Source, Window};

impl Snapshot {
    /// What is known of that plan's sources, as far as `previous` knew it, seen from `now`.
    #[must_use]
    pub fn adopt(plan: &Plan, previous: &Self, now: Timestamp) -> Self {
        let before: HashMap<_, _> = previous
            .sources
            .iter()
            .map(|known| (name(&known.source), known))
            .collect();
        let sources = plan.sources.iter().map(|source| {
            let unknown = Known::unknown(Arc::clone(source), now);
            let before = before.get(&name(source)).copied();
            Arc::new(match before {
                Some(before) if asks_the_same(source, &before.source) => unknown.adopt(before, now),
                _ => unknown,
            })
        });
        let mut next = Self {
            sources: sources.collect(),
        };
        next.settle_all();
        next
    }
}

impl Known {
    /// Fills in what was known of the same source.
    fn adopt(mut self, before: &Self, now: Timestamp) -> Self {
        // After a clock was set back nobody knows how far ahead a time ahead really is.
        let clock_went_back = before.past().any(|at| at > now);
        let ahead = |at: Option<Timestamp>| at.filter(|_| !clock_went_back);
        self.listing = before.listing.clone().map(|listing| read_by(listing, now));
        self.held_until = ahead(before.held_until).filter(|until| *until > now);
        for (window, planned) in self.windows.iter_mut().zip(&self.source.windows) {
            if let Some(known) = before.window(planned) {
                *window = WindowKnown {
                    delivery: known
                        .delivery
                        .clone()
                        .map(|answer| answered_by(answer, now)),
                    conversions: known
                        .conversions
                        .clone()
                        .map(|answer| answered_by(answer, now)),
                    last_success: known.last_success.map(|at| at.min(now)),
                    next_poll: ahead(known.next_poll),
                    stale_after: window.stale_after,
                    ..known.clone()
                };
            }
        }
        self.withdraw(now).unwrap_or(self)
    }

    /// What is known of a window of that name and those dates.
    fn window(&self, wanted: &Window) -> Option<&WindowKnown> {
        let mut windows = self.source.windows.iter().zip(&self.windows);
        windows
            .find(|(window, _)| window.name == wanted.name && window.dates == wanted.dates)
            .map(|(_, known)| known)
    }

    /// Every time in it that cannot be ahead of a clock that never went back.
    fn past(&self) -> impl Iterator<Item = Timestamp> {
        let answered = self.windows.iter().flat_map(|window| {
            let answers = [&window.delivery, &window.conversions];
            let answers = answers.into_iter().flatten().map(|answer| answer.at);
            answers.chain(window.last_success)
        });
        answered.chain(self.listing.as_ref().map(|listing| listing.at))
    }
}

/// What the config calls a source; no two share it.
fn name(source: &Source) -> (&str, &str) {
    (&source.business, &source.name)
}

/// Whether answers to the one source's questions answer the other's too.
fn asks_the_same(a: &Source, b: &Source) -> bool {
    let shape = |source: &Source| (source.level, source.conversions);
    shape(a) == shape(b) && a.subject == b.subject && same_numbers(&a.columns, &b.columns)
}

/// Whether the columns hold the same numbers; how a metric is called and explained is free.
fn same_numbers(a: &Columns, b: &Columns) -> bool {
    a.action_types == b.action_types && a.delivery().eq(b.delivery())
}

/// The answer, true of `now` at the latest.
fn answered_by(mut answer: Arc<Answer>, now: Timestamp) -> Arc<Answer> {
    if answer.at > now {
        Arc::make_mut(&mut answer).at = now;
    }
    answer
}

/// The listing, read at `now` at the latest.
fn read_by(mut listing: Arc<Listing>, now: Timestamp) -> Arc<Listing> {
    if listing.at > now {
        Arc::make_mut(&mut listing).at = now;
    }
    listing
}
