//! Circuit breakers of a business, of an app and of the whole API.
//!
//! The breaker of a business opens when the sources that were due failed twice as unavailable and none succeeded in
//! between; that of an app or of the API when those of three of its businesses are open, or of half of them.
//! While it is open, single polls of one source after the other probe the API in place of all polls; a poll that the
//! API answers closes it. Times are instants; the scheduler polls and reschedules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::exponential_backoff;

/// Time from opening to the first probe; doubles with each one that fails.
const FIRST_PROBE_AFTER: Duration = Duration::from_secs(30);

/// Longest time between two probes.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Time between two checks whether a probe has ended.
const PROBE_RECHECK: Duration = Duration::from_secs(10);

/// Sources that must have failed twice, unless there are fewer.
const MIN_FAILED_SOURCES: usize = 3;

/// Businesses with an open breaker that open that of their app or of the API, or half of them if there are fewer. None of
/// the others has had an answer since; if there is nothing wrong with them, the first probe, which is one of theirs, closes
/// it.
const MIN_FAILED_BUSINESSES: usize = 3;

/// Consecutive failures of a source that count towards opening.
const FAILURES_TO_OPEN: u32 = 2;

/// Sources that share a breaker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BreakerScope {
    /// All sources.
    Api,
    /// All sources with tokens of one app.
    App(Box<str>),
    /// All sources of one business.
    Business(Box<str>),
}

/// Breakers of one source.
#[derive(Clone, Debug)]
pub(super) struct BreakerMember {
    /// Index of the source.
    pub(super) source_idx: usize,
    /// Name of its business.
    pub(super) business: Box<str>,
    /// Scopes, the outermost one first, each with its size: sources of a business, else businesses.
    pub(super) scopes: Vec<(BreakerScope, usize)>,
}

/// Result of a poll, as far as breakers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// The API answered, with data or an error.
    Answered,
    /// Every request failed as unavailable.
    Unavailable,
}

/// Whether a poll may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may.
    Poll,
    /// It may, as the only poll of an open breaker.
    Probe,
    /// It may not before this time.
    Postpone(Instant),
}

#[derive(Debug, Default)]
struct Breaker {
    /// Consecutive failures of each source since the last answer.
    failures: BTreeMap<usize, u32>,
    /// Businesses with an open breaker since the last answer.
    failed_businesses: BTreeSet<Box<str>>,
    open: Option<OpenBreaker>,
}

#[derive(Debug)]
struct OpenBreaker {
    /// When the next probe is due.
    probe_at: Instant,
    /// Probes that failed.
    failed_probes: u32,
    /// Source that is probing.
    probing: Option<usize>,
    /// Source of the last probe, after which the next one is chosen.
    last_probe: Option<usize>,
}

/// All breakers.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    breakers: BTreeMap<BreakerScope, Breaker>,
}

impl Breakers {
    /// Records the result of a poll. Returns the scopes with a breaker that closed, and those with one that opened.
    pub(super) fn record(
        &mut self,
        member: &BreakerMember,
        availability: Availability,
        interval: Duration,
        now: Instant,
    ) -> (Vec<BreakerScope>, Vec<BreakerScope>) {
        let (mut closed, mut opened) = (Vec::new(), Vec::new());
        if availability == Availability::Answered {
            for (scope, _) in &member.scopes {
                let breaker = self.breakers.remove(scope);
                if breaker.is_some_and(|breaker| breaker.open.is_some()) {
                    closed.push(scope.clone());
                }
            }
            return (closed, opened);
        }
        let mut is_business_open = false;
        // The breaker of the business first, because the others depend on it.
        for (scope, size) in member.scopes.iter().rev() {
            let breaker = self.breakers.entry(scope.clone()).or_default();
            let failures = breaker.failures.entry(member.source_idx).or_default();
            *failures = failures.saturating_add(1);
            if is_business_open {
                breaker.failed_businesses.insert(member.business.clone());
            }
            let should_open = breaker.should_open(scope, *size);
            match &mut breaker.open {
                Some(open) if open.probing == Some(member.source_idx) => {
                    open.probing = None;
                    open.failed_probes = open.failed_probes.saturating_add(1);
                    open.probe_at = now + probe_delay(open.failed_probes, interval);
                }
                // Began before the breaker opened.
                Some(_) => {}
                None if should_open => {
                    breaker.open = Some(OpenBreaker {
                        probe_at: now + probe_delay(0, interval),
                        failed_probes: 0,
                        probing: None,
                        last_probe: None,
                    });
                    opened.push(scope.clone());
                }
                None => {}
            }
            is_business_open |= breaker.open.is_some();
        }
        (closed, opened)
    }

    /// Returns whether a poll of the source may start.
    pub(super) fn admit(&self, member: &BreakerMember, now: Instant) -> Admission {
        match self.outermost(member) {
            None => Admission::Poll,
            Some(open) if open.probing == Some(member.source_idx) => Admission::Probe,
            Some(open) if open.probing.is_some() => Admission::Postpone(now + PROBE_RECHECK),
            Some(open) if open.probe_at > now => Admission::Postpone(open.probe_at),
            Some(_) => Admission::Probe,
        }
    }

    /// Records that a poll of the source starts as a probe.
    pub(super) fn begin_probe(&mut self, member: &BreakerMember) {
        for (scope, _) in &member.scopes {
            let breaker = self.breakers.get_mut(scope);
            if let Some(open) = breaker.and_then(|breaker| breaker.open.as_mut()) {
                open.probing = Some(member.source_idx);
                open.last_probe = Some(member.source_idx);
            }
        }
    }

    /// Records that a poll ended without a result, so that another one can probe.
    pub(super) fn abandon_probe(&mut self, source_idx: usize) {
        for breaker in self.breakers.values_mut() {
            if let Some(open) = &mut breaker.open
                && open.probing == Some(source_idx)
            {
                open.probing = None;
            }
        }
    }

    /// Returns the order in which sources probe, the lowest first: those of businesses without failures, then the one
    /// after the last probe.
    pub(super) fn probe_order(&self, member: &BreakerMember) -> (bool, bool, usize) {
        let business = BreakerScope::Business(member.business.clone());
        let breaker = self.breakers.get(&business);
        let is_open = breaker.is_some_and(|breaker| breaker.open.is_some());
        let last = self.outermost(member).and_then(|open| open.last_probe);
        let source_idx = member.source_idx;
        (
            is_open,
            last.is_some_and(|last| source_idx <= last),
            source_idx,
        )
    }

    /// Returns the outermost open breaker of a source, which decides about its polls.
    fn outermost(&self, member: &BreakerMember) -> Option<&OpenBreaker> {
        let mut scopes = member.scopes.iter();
        scopes.find_map(|(scope, _)| self.breakers.get(scope)?.open.as_ref())
    }

    /// Returns whether no breaker is open.
    pub(super) fn is_closed(&self) -> bool {
        self.breakers.values().all(|breaker| breaker.open.is_none())
    }

    /// Closes all breakers and forgets all failures.
    pub(super) fn clear(&mut self) {
        self.breakers.clear();
    }
}

impl Breaker {
    /// Returns whether enough has failed. `size` is the number of sources of a business, else of businesses.
    fn should_open(&self, scope: &BreakerScope, size: usize) -> bool {
        match scope {
            BreakerScope::Business(_) => {
                let failed = self.failures.values();
                let failed = failed.filter(|failures| **failures >= FAILURES_TO_OPEN);
                failed.count() >= MIN_FAILED_SOURCES.min(size)
            }
            BreakerScope::App(_) | BreakerScope::Api => {
                self.failed_businesses.len() >= MIN_FAILED_BUSINESSES.min(size.div_ceil(2)).max(2)
            }
        }
    }
}

/// Returns the time to the next probe. Intervals that are shorter are not exceeded.
fn probe_delay(failed_probes: u32, interval: Duration) -> Duration {
    let delay = exponential_backoff(FIRST_PROBE_AFTER, failed_probes + 1, MAX_PROBE_INTERVAL);
    delay.min(interval)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Admission, Availability, BreakerMember, BreakerScope, Breakers, PROBE_RECHECK};

    const INTERVAL: Duration = Duration::from_secs(15 * 60);
    const BUSINESSES: usize = 4;

    fn member(business: &str, source_idx: usize, sources: usize) -> BreakerMember {
        BreakerMember {
            source_idx,
            business: business.into(),
            scopes: vec![
                (BreakerScope::Api, BUSINESSES),
                (BreakerScope::Business(business.into()), sources),
            ],
        }
    }

    fn fail(breakers: &mut Breakers, member: &BreakerMember, now: Instant) -> Vec<BreakerScope> {
        let (_, opened) = breakers.record(member, Availability::Unavailable, INTERVAL, now);
        opened
    }

    #[test]
    fn opens_when_three_sources_failed_twice() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        for source_idx in [0, 1, 2, 3, 0, 1, 0] {
            let opened = fail(&mut breakers, &member("acme", source_idx, 10), now);
            assert_eq!(opened, []);
        }
        let opened = fail(&mut breakers, &member("acme", 2, 10), now);
        assert_eq!(opened, [BreakerScope::Business("acme".into())]);
        let other = member("globex", 20, 1);
        assert_eq!(breakers.admit(&other, now), Admission::Poll);
    }

    #[test]
    fn breaker_of_the_api_opens_with_half_of_the_businesses() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        for (business, source_idx, opens) in [("a", 0, 1), ("b", 1, 2)] {
            fail(&mut breakers, &member(business, source_idx, 1), now);
            let opened = fail(&mut breakers, &member(business, source_idx, 1), now);
            assert_eq!(opened.len(), opens, "{opened:?}");
        }
        let other = member("c", 2, 1);
        let admission = breakers.admit(&other, now);
        assert!(matches!(admission, Admission::Postpone(_)), "{admission:?}");
        let failed = breakers.probe_order(&member("a", 0, 1));
        assert!(
            breakers.probe_order(&other) < failed,
            "a business without failures should probe first"
        );
        let answered = Availability::Answered;
        let (closed, _) = breakers.record(&other, answered, INTERVAL, now);
        assert_eq!(closed, [BreakerScope::Api]);
    }

    #[test]
    fn answer_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        for _ in 0..10 {
            for source_idx in [0, 1, 2] {
                let opened = fail(&mut breakers, &member("acme", source_idx, 10), now);
                assert_eq!(opened, []);
            }
            let answered = Availability::Answered;
            breakers.record(&member("acme", 3, 10), answered, INTERVAL, now);
        }
        assert!(breakers.is_closed());
    }

    #[test]
    fn single_probes_replace_all_polls_until_an_answer() {
        let start = Instant::now();
        let mut breakers = Breakers::default();
        let [first, second] = [0, 1].map(|source_idx| member("acme", source_idx, 2));
        for member in [&first, &first, &second, &second] {
            fail(&mut breakers, member, start);
        }
        let mut now = start;
        let mut waits = Vec::new();
        for probe in 0..6 {
            let Admission::Postpone(at) = breakers.admit(&first, now) else {
                panic!("no poll should be admitted before probe {probe}");
            };
            waits.push((at - now).as_secs());
            now = at;
            assert_eq!(breakers.admit(&first, now), Admission::Probe);
            breakers.begin_probe(&first);
            let other = breakers.admit(&second, now);
            assert_eq!(
                other,
                Admission::Postpone(now + PROBE_RECHECK),
                "one at a time"
            );
            fail(&mut breakers, &first, now);
            assert!(
                breakers.probe_order(&second) < breakers.probe_order(&first),
                "the next probe should be of another source"
            );
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        let answered = Availability::Answered;
        let (closed, _) = breakers.record(&first, answered, INTERVAL, now);
        assert_eq!(closed, [BreakerScope::Business("acme".into())]);
        assert_eq!(breakers.admit(&second, now), Admission::Poll);
    }

    #[test]
    fn probes_are_not_less_frequent_than_polls() {
        assert_eq!(super::probe_delay(9, PROBE_RECHECK), PROBE_RECHECK);
    }

    #[test]
    fn abandoned_probe_lets_another_source_probe() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        let [first, second] = [0, 1].map(|source_idx| member("acme", source_idx, 1));
        fail(&mut breakers, &first, now);
        fail(&mut breakers, &first, now);
        breakers.begin_probe(&first);
        breakers.abandon_probe(0);
        let later = now + INTERVAL;
        assert_eq!(breakers.admit(&second, later), Admission::Probe);
        breakers.clear();
        assert!(breakers.is_closed());
    }
}
