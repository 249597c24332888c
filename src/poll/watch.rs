//! What happens between polls: values grow too old, tokens are replaced, holds begin and end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::agenda::Slot;
use super::clock;
use super::crank::{Crank, LONGEST_HOLD, at, until};
use crate::fault::Reason;
use crate::snapshot::{Known, Snapshot};

/// A business whose token was refused may get another one at any time: how often to look.
const LOOK_AT_TOKENS: Duration = Duration::from_secs(10);

/// How often every source is looked at, whatever happened: a pause is over, or a clock was set.
const LOOK_AT_ALL: Duration = Duration::from_secs(1);

/// What is to be looked at next, and when.
#[derive(Debug)]
pub(super) struct Watch {
    /// When to look for other tokens.
    tokens: Instant,
    /// The sources that something happened to since what is shown of them was looked at.
    pub(super) moved: BTreeSet<usize>,
    /// When to look at all of them.
    all: Instant,
    /// How often holds had changed when all were looked at.
    holds: u64,
    /// When an answer becomes too old, at the earliest: it may have been replaced since.
    pub(super) stale: Option<Timestamp>,
}

impl Watch {
    /// Everything is to be looked at now.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let now = Instant::now();
        Self {
            tokens: now,
            moved: BTreeSet::new(),
            all: now,
            holds: 0,
            stale: snapshot.next_withdrawal(),
        }
    }

    /// That is known from now on.
    pub(super) fn ages(&mut self, known: &Known) {
        let stale = [self.stale, known.next_withdrawal()];
        self.stale = stale.into_iter().flatten().min();
    }
}

impl Crank {
    /// Looks whether a business whose token was refused has another one; if so, it is tried now.
    pub(super) fn look_at_tokens(&mut self) {
        let now = Instant::now();
        if now < self.watch.tokens {
            return;
        }
        self.watch.tokens = now + LOOK_AT_TOKENS;
        let changed = self
            .businesses
            .iter()
            .filter(|(_, business)| business.has_another_token());
        let changed: Vec<Box<str>> = changed.map(|(name, _)| name.clone()).collect();
        for name in changed {
            tracing::info!(
                business = name.as_ref(),
                "the access token changed; trying it now"
            );
            self.gate.admit(&name);
            if let Some(business) = self.businesses.get_mut(&name) {
                business.refused = false;
            }
            for place in 0..self.sources.len() {
                if self.snapshot.sources[place].source.business == name {
                    for window in 0..self.sources[place].windows.len() {
                        self.appoint(Slot { place, window }, now);
                    }
                }
            }
        }
    }

    /// Shows who is left alone until when, and when everything is due next. Whoever is left alone
    /// before a first answer counts as tried: asking would not tell more.
    ///
    /// What is being polled is shown as due until it ends: that is a new page anyway, and one for
    /// the beginning would double what pages cost.
    pub(super) fn look_at_holds(&mut self) {
        let (now, holds) = (Instant::now(), self.gate.changes());
        let mut places = std::mem::take(&mut self.watch.moved);
        if holds != self.watch.holds || now >= self.watch.all {
            (self.watch.holds, self.watch.all) = (holds, now + LOOK_AT_ALL);
            places = (0..self.sources.len()).collect();
        }
        let stands = places.into_iter().filter_map(|place| self.stands(place));
        let stands: Vec<(usize, Known)> = stands.collect();
        if stands.is_empty() {
            return;
        }
        let mut next = self.snapshot.as_ref().clone();
        for (place, known) in stands {
            next.sources[place] = Arc::new(known);
        }
        self.publish(next);
    }

    /// A source, if it is left alone or due at another time than is shown, as it is to be shown.
    fn stands(&self, place: usize) -> Option<(usize, Known)> {
        let known = &self.snapshot.sources[place];
        let (dues, running) = (self.agenda.of(place), self.sources[place].running);
        let due = |window: usize| match running == Some(window) {
            true => known.windows[window].next_poll,
            false => Some(at(dues[window])),
        };
        let is_new = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
            // Both clocks are read at slightly different moments.
            (Some(a), Some(b)) => a.duration_since(b).unsigned_abs() > Duration::from_millis(500),
            (a, b) => a != b,
        };
        let held = self.gate.held_until(&self.lane(place)).map(at);
        let tried = held.is_some() && !known.is_tried();
        let mut windows = known.windows.iter().enumerate();
        let moved = windows.any(|(window, state)| is_new(state.next_poll, due(window)));
        if !(tried || moved || is_new(known.held_until, held)) {
            return None;
        }
        let mut next = Known::clone(known);
        next.held_until = held;
        for (window, state) in next.windows.iter_mut().enumerate() {
            state.next_poll = due(window);
            state.tried |= tried;
        }
        Some((place, next))
    }

    /// Takes what has become too old off the page.
    pub(super) fn withdraw(&mut self) {
        let now = clock::now();
        if self.watch.stale.is_none_or(|at| at > now) {
            return;
        }
        if let Some(snapshot) = self.snapshot.withdraw(now) {
            self.publish(snapshot);
        }
        self.watch.stale = self.snapshot.next_withdrawal();
    }

    /// Who was told to wait before a restart waits on.
    pub(super) fn resume_holds(&self) {
        for (place, known) in self.snapshot.sources.iter().enumerate() {
            let mut faults = known
                .windows
                .iter()
                .filter_map(|window| window.fault.as_ref());
            if let Some(held) = known.held_until
                && faults.any(|fault| fault.reason == Reason::Throttled)
            {
                let wait = until(held).min(LONGEST_HOLD);
                self.gate.resume(&self.lane(place), wait);
            }
        }
    }
}
