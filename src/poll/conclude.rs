//! How a poll ends: what it taught is learnt, what it brought is published, and the next one is due.

use std::sync::Arc;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::agenda::Slot;
use super::crank::{Crank, Running, at, today};
use super::turn::Turn;
use super::{clock, report, schedule};
use crate::fault::{Fault, Reason};
use crate::graph::TokenFacts;
use crate::snapshot::Polled;

impl Crank {
    /// Takes in what the API says of a token.
    pub(super) fn inspected(
        &mut self,
        inspected: Result<(Box<str>, Option<TokenFacts>), JoinError>,
    ) {
        match inspected {
            Ok((business, Some(facts))) if self.businesses.contains_key(&business) => {
                self.settings.own.token_expires(&business, facts.expires_at);
            }
            // Nothing hangs on it, and the next inspection may do better.
            _ => {}
        }
        self.forget_gone();
    }

    /// Takes in what a poll brought.
    pub(super) fn absorb(&mut self, ended: Result<(Id, Turn), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        // A task that nobody remembers polled a source that a reload took away.
        let Some(Running { slot, .. }) = self.tasks.remove(&id) else {
            self.forget_gone();
            return;
        };
        let Slot { place, window } = slot;
        self.sources[place].running = None;
        // What was shown while it was polled is so no longer.
        self.watch.moved.insert(place);
        match ended {
            Ok((_, turn)) => self.take(place, turn),
            Err(error) if error.is_panic() => {
                let fault = Fault::new(Reason::Panicked, "the poll panicked: please report this");
                self.conclude(place, Polled::failed(window, clock::now(), fault));
            }
            Err(_) => {}
        }
        self.start_next(place);
    }

    /// Learns what a poll taught, beside its numbers.
    fn take(&mut self, place: usize, turn: Turn) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let (business, name) = (known.source.business.as_ref(), known.source.name.as_ref());
        let own = Arc::clone(&self.settings.own);
        let source = &mut self.sources[place];
        for field in turn
            .lessons
            .dropped
            .iter()
            .filter(|field| !source.lessons.dropped.contains(field))
        {
            // Each source learns it for itself; the news is the business' own.
            if own.field_rejected(business, field) {
                tracing::warn!(
                    business,
                    source = name,
                    field,
                    "the API does not take this field; it is left out from now on"
                );
            }
        }
        for (field, count) in &turn.rejected {
            own.values_rejected(field, *count);
        }
        if let Some(fault) = &turn.undiscovered {
            tracing::warn!(business, source = name, %fault, "discovery failed; the last list serves on");
        }
        source.lessons = turn.lessons;
        if let Some(window) = source.windows.get_mut(turn.polled.window) {
            window.unfiltered = turn.unfiltered;
        }
        let fresh = turn.polled.listing.is_some();
        if fresh || turn.undiscovered.is_some() {
            source.discover_at = Some(turn.polled.at + self.polling.discovery_interval);
        }
        // A campaign that no listing knows may be new: look once. One that a fresh listing does
        // not know either is gone, or not ours.
        let unseen = turn
            .strangers
            .iter()
            .any(|id| !source.strangers.contains(id));
        if unseen && !fresh {
            source.discover_at = None;
        }
        // Kept over the polls of windows in which they have no rows.
        if let Some(listing) = turn.polled.listing.as_deref() {
            source.strangers.retain(|id| !listing.knows(id));
        }
        source.strangers.extend(turn.strangers);
        let forbidden = turn
            .polled
            .fault()
            .is_some_and(|fault| fault.reason == Reason::Forbidden);
        if forbidden {
            self.gate.forbid(&self.lane(place));
        }
        self.conclude(place, turn.polled);
    }

    /// Counts and logs a poll, decides when the next one is due, and publishes.
    pub(super) fn conclude(&mut self, place: usize, polled: Polled) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let window = polled.window;
        let fault = polled.fault().cloned();
        self.settings.own.polled(
            &known.source.business,
            fault.as_ref().map(|fault| fault.reason),
        );
        report::poll(&known, &polled, fault.as_ref());
        if let Some(business) = self.businesses.get_mut(&known.source.business) {
            match fault.as_ref().map(|fault| fault.reason) {
                None => business.refused = false,
                Some(Reason::Denied) => business.refused = true,
                Some(_) => {}
            }
        }
        if fault.is_none() {
            self.gate.acquit(&self.lane(place));
        }
        let now = Instant::now();
        let usual = self.usual(place, window);
        let held = self.gate.held_until(&self.lane(place));
        let state = &mut self.sources[place].windows[window];
        state.failures = if fault.is_some() {
            state.failures.saturating_add(1)
        } else {
            0
        };
        let interval = known.source.windows[window].interval(today());
        let due = match fault.as_ref().map(|fault| fault.reason) {
            None => usual,
            Some(Reason::Throttled | Reason::Denied | Reason::Forbidden) => {
                // As soon as it is no longer left alone.
                held.unwrap_or(usual)
            }
            Some(Reason::Rejected | Reason::Unavailable | Reason::Garbled | Reason::Panicked) => {
                now + schedule::backoff(state.failures, interval, self.polling.backoff_max)
            }
        };
        self.appoint(Slot { place, window }, due);
        let mut next = known.advance(polled);
        next.held_until = held.map(at);
        if let Some(state) = next.windows.get_mut(window) {
            state.next_poll = Some(at(due));
            state.stale_after = next.source.windows[window].stale_after(today());
        }
        self.watch.ages(&next);
        let before = Arc::clone(&self.snapshot);
        self.publish(before.replace(place, next));
        let warned = &mut self.sources[place].withheld;
        report::news(&before, &self.snapshot, place, window, warned);
    }

    /// There is no token to ask with.
    pub(super) fn without_token(&mut self, slot: Slot, complaint: String) {
        let Slot { place, window } = slot;
        let business = self.snapshot.sources[place].source.business.clone();
        self.settings.own.token_valid(&business, false);
        self.gate.deny(&business);
        let fault = Fault::new(Reason::Denied, complaint);
        self.conclude(place, Polled::failed(window, clock::now(), fault));
    }
}
