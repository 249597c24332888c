//! What happens between polls: values grow too old, tokens are replaced, holds begin and end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::clock;
use super::crank::{Crank, LONGEST_HOLD, at, until};
use crate::fault::Reason;

/// A business whose token was refused may get another one at any time: how often to look.
const LOOK_AT_TOKENS: Duration = Duration::from_secs(10);

impl Crank {
    /// Looks whether a business whose token was refused has another one; if so, it is tried now.
    pub(super) fn look_at_tokens(&mut self) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_AT_TOKENS;
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
            for (known, source) in self.snapshot.sources.iter().zip(&mut self.sources) {
                if known.source.business == name {
                    source
                        .windows
                        .iter_mut()
                        .for_each(|window| window.due = now);
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
        let mut changed = false;
        let running = self.tasks.values().map(|task| (task.place, task.window));
        let running: HashSet<(usize, usize)> = running.collect();
        let mut next = self.snapshot.as_ref().clone();
        for (place, entry) in next.sources.iter_mut().enumerate() {
            let held = self.gate.held_until(&self.lane(place)).map(at);
            let tried = held.is_some() && !entry.is_tried();
            let windows = self.sources[place].windows.iter().enumerate();
            let dues = windows.map(|(window, state)| match running.contains(&(place, window)) {
                true => entry.windows[window].next_poll,
                false => Some(at(state.due)),
            });
            let dues: Vec<Option<Timestamp>> = dues.collect();
            let is_new = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
                // Both clocks are read at slightly different moments.
                (Some(a), Some(b)) => {
                    a.duration_since(b).unsigned_abs() > Duration::from_millis(500)
                }
                (a, b) => a != b,
            };
            let moved = entry
                .windows
                .iter()
                .zip(&dues)
                .any(|(window, due)| is_new(window.next_poll, *due));
            if !(tried || moved || is_new(entry.held_until, held)) {
                continue;
            }
            changed = true;
            let known = Arc::make_mut(entry);
            known.held_until = held;
            for (window, due) in known.windows.iter_mut().zip(dues) {
                window.next_poll = due;
                window.tried |= tried;
            }
        }
        if changed {
            self.publish(next);
        }
    }

    /// Takes what has become too old off the page.
    pub(super) fn withdraw(&mut self) {
        if let Some(snapshot) = self.snapshot.withdraw(clock::now()) {
            self.publish(snapshot);
        }
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
