//! The snapshot's only rule of change: what a poll heard replaces what was known, what failed
//! keeps the last good values, and what is too old is withdrawn.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Answer, Known, Snapshot, WindowKnown};
use crate::fault::Fault;
use crate::listing::Listing;
use crate::plan::Subject;
use crate::row::{Figures, Identity, Row};

/// What one poll of one window brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// The window's place in its source.
    pub window: usize,
    /// When the poll ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// A new listing, where discovery was due and brought one.
    pub listing: Option<Arc<Listing>>,
    /// What answered the delivery query.
    pub delivery: Heard,
    /// What answered the conversions query; `None` where the source has none.
    pub conversions: Option<Heard>,
}

/// What answered one query: rows, a fault, or rows and the fault that made others unbelievable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// The rows to believe; `None` where the query failed.
    pub rows: Option<Vec<Row>>,
    /// The keys of rows not to believe.
    pub withheld: BTreeSet<Box<str>>,
    /// What went wrong.
    pub fault: Option<Fault>,
}

impl Heard {
    /// A query that failed.
    pub fn failed(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }

    /// The answer, in the order that lookups need. Of two rows of one key, as pages that shift
    /// under the reader give them, the later one stands.
    fn answer(self, at: Timestamp, known: &Known) -> Option<Arc<Answer>> {
        let mut rows = self.rows?;
        for row in &mut rows {
            if let Some(same) = known.identity(&row.identity) {
                row.identity = same;
            }
        }
        rows.reverse();
        rows.sort_by(|a, b| a.identity.key().cmp(b.identity.key()));
        rows.dedup_by(|later, first| later.identity.key() == first.identity.key());
        rows.shrink_to_fit();
        Figures::line_up(rows.iter_mut().map(|row| &mut row.figures).collect());
        let withheld = self.withheld;
        Some(Arc::new(Answer { at, rows, withheld }))
    }
}

impl Polled {
    /// A poll that has heard nothing yet.
    pub fn begun(window: usize, at: Timestamp) -> Self {
        Self {
            window,
            at,
            duration: Duration::ZERO,
            listing: None,
            delivery: Heard::default(),
            conversions: None,
        }
    }

    /// A poll that ended before it could ask anything.
    pub fn failed(window: usize, at: Timestamp, fault: Fault) -> Self {
        Self {
            delivery: Heard::failed(fault),
            ..Self::begun(window, at)
        }
    }

    /// What went wrong first, if anything did.
    pub fn fault(&self) -> Option<&Fault> {
        let conversions = self
            .conversions
            .as_ref()
            .and_then(|heard| heard.fault.as_ref());
        self.delivery.fault.as_ref().or(conversions)
    }
}

impl Known {
    /// What is known after that poll.
    #[must_use]
    pub fn advance(&self, polled: Polled) -> Self {
        let mut next = self.clone();
        let fault = polled.fault().cloned();
        if polled.listing.is_some() {
            next.listing = polled.listing;
        }
        let at = polled.at;
        // One after the other: what the first brought, the second need not keep again.
        if let Some(answer) = polled.delivery.answer(at, &next)
            && let Some(window) = next.windows.get_mut(polled.window)
        {
            window.delivery = Some(answer);
        }
        let conversions = polled.conversions.and_then(|heard| heard.answer(at, &next));
        let Some(window) = next.windows.get_mut(polled.window) else {
            return next;
        };
        if conversions.is_some() {
            window.conversions = conversions;
        }
        window.tried = true;
        window.up = fault.is_none();
        if window.up {
            window.last_success = Some(at);
        }
        window.last_duration = Some(polled.duration);
        window.fault = fault;
        next
    }

    /// The same identity, where it is known already, to the listing or of another answer.
    fn identity(&self, identity: &Identity) -> Option<Arc<Identity>> {
        let listed = self.listing.as_ref();
        if let Some(listed) = listed.and_then(|listing| listing.identity(identity)) {
            return Some(listed);
        }
        let answers = self
            .windows
            .iter()
            .flat_map(|window| [&window.delivery, &window.conversions]);
        answers.flatten().find_map(|answer| {
            let row = answer.row(identity.key())?;
            (*row.identity == *identity).then(|| Arc::clone(&row.identity))
        })
    }

    /// When the next of its answers becomes too old.
    pub fn next_withdrawal(&self) -> Option<Timestamp> {
        let windows = self.windows.iter();
        windows.flat_map(WindowKnown::withdrawals).min()
    }

    /// What is left of it at `now`, or `None` where nothing has become too old.
    pub fn withdraw(&self, now: Timestamp) -> Option<Self> {
        let due = |window: &WindowKnown| window.withdrawals().any(|at| at <= now);
        if !self.windows.iter().any(due) {
            return None;
        }
        let mut next = self.clone();
        for window in &mut next.windows {
            let limit = window.stale_after;
            let too_old = |answer: &mut Arc<Answer>| answer.at + limit <= now;
            window.delivery.take_if(too_old);
            window.conversions.take_if(too_old);
        }
        Some(next)
    }
}

impl WindowKnown {
    /// When its answers become too old to be believed.
    fn withdrawals(&self) -> impl Iterator<Item = Timestamp> {
        let answers = [&self.delivery, &self.conversions].into_iter().flatten();
        answers.map(|answer| answer.at + self.stale_after)
    }
}

impl Snapshot {
    /// The snapshot in which one source is known better. Every other source is shared with this
    /// one; campaign sources of the same business learn whether they must give way.
    #[must_use]
    pub fn replace(&self, place: usize, known: Known) -> Self {
        let mut next = self.clone();
        if let Some(entry) = next.sources.get_mut(place) {
            *entry = Arc::new(known);
        }
        let ours = next.of_business(place);
        settle(&mut next.sources[ours]);
        next
    }

    /// The places of all sources of that one's business.
    pub fn of_business(&self, place: usize) -> Range<usize> {
        let place = place.min(self.sources.len());
        let (before, from) = self.sources.split_at(place);
        let business = from.first().map(|known| &known.source.business);
        let ours = |known: &&Arc<Known>| Some(&known.source.business) == business;
        let before = before.iter().rev().take_while(ours).count();
        place - before..place + from.iter().take_while(ours).count()
    }

    /// What is left at `now`, or `None` where nothing has become too old.
    pub fn withdraw(&self, now: Timestamp) -> Option<Self> {
        let mut changed = false;
        let sources = self.sources.iter().map(|known| match known.withdraw(now) {
            Some(next) => {
                changed = true;
                Arc::new(next)
            }
            None => Arc::clone(known),
        });
        let sources = sources.collect();
        changed.then_some(Self { sources })
    }

    /// When the next answer becomes too old.
    pub fn next_withdrawal(&self) -> Option<Timestamp> {
        let sources = self.sources.iter();
        sources.filter_map(|known| known.next_withdrawal()).min()
    }

    /// Decides which campaign sources an ad account source shows already.
    pub(super) fn settle_all(&mut self) {
        self.businesses().for_each(settle);
    }

    /// The sources of each business, which stand together in every plan.
    fn businesses(&mut self) -> impl Iterator<Item = &mut [Arc<Known>]> {
        let same = |a: &Arc<Known>, b: &Arc<Known>| a.source.business == b.source.business;
        self.sources.chunk_by_mut(same)
    }
}

/// Decides, for the sources of one business, which campaign sources an ad account source shows
/// already.
fn settle(ours: &mut [Arc<Known>]) {
    let may_give_way = |known: &Arc<Known>| matches!(known.source.subject, Subject::Campaign(_));
    if !ours.iter().any(may_give_way) {
        return;
    }
    let listed: BTreeSet<Box<str>> = ours
        .iter()
        .filter(|known| matches!(known.source.subject, Subject::AdAccount { .. }))
        .filter_map(|known| known.listing.as_ref())
        .flat_map(|listing| listing.campaigns.iter().map(|c| c.id.as_str().into()))
        .collect();
    for known in ours {
        if let Subject::Campaign(id) = &known.source.subject {
            let elsewhere = |listing: &Arc<Listing>| known.source.is_shown_elsewhere(listing);
            let gives_way =
                listed.contains(id.as_str()) || known.listing.as_ref().is_some_and(elsewhere);
            if gives_way != known.gives_way {
                Arc::make_mut(known).gives_way = gives_way;
            }
        }
    }
}
