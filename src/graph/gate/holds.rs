//! Who is left alone until when, and why.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::Scope;

/// How long a refused token or a forbidden source is left alone at first.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// How long a throttled scope is left alone at first, where no header says how long. Meta
/// documents blocks of one and of five minutes.
const THROTTLED_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Why somebody is left alone; of several reasons, the last one in this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// A quota is all but spent. The API has refused nothing yet.
    QuotaSpent,
    /// The API said that it was asked too often.
    Throttled,
    /// The token may not see this.
    Forbidden,
    /// The token is not valid.
    Denied,
}

/// Every hold in force, and how often each scope failed in a row.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// The longest pause.
    pub(super) backoff_max: Duration,
    holds: HashMap<Scope, Hold>,
    /// How often somebody came to be left alone, or longer, or no longer; not when a pause was over.
    pub(super) changes: u64,
}

#[derive(Debug)]
struct Hold {
    until: Instant,
    why: Why,
    failures: u32,
}

impl Holds {
    pub(super) fn new(backoff_max: Duration) -> Self {
        Self {
            backoff_max,
            holds: HashMap::new(),
            changes: 0,
        }
    }

    /// Leaves a scope alone: for `wait` where the API said how long, else for a pause that doubles
    /// from failure to failure.
    pub(super) fn hold(&mut self, scope: Scope, why: Why, wait: Option<Duration>, now: Instant) {
        let backoff_max = self.backoff_max;
        let hold = self.holds.entry(scope).or_insert(Hold {
            until: now,
            why,
            failures: 0,
        });
        // Several requests that fail together, before the hold took effect, are one failure.
        if hold.failures == 0 || hold.until <= now {
            hold.failures = hold.failures.saturating_add(1);
            hold.why = why;
        }
        hold.why = hold.why.max(why);
        let pause = wait.unwrap_or_else(|| pause(why, hold.failures, backoff_max));
        hold.until = hold.until.max(now + pause);
        self.changes += 1;
    }

    /// Forgets what is over; who is still being left alone stays so.
    pub(super) fn release(&mut self, scope: &Scope, now: Instant) {
        if self.holds.get(scope).is_some_and(|hold| hold.until <= now) {
            self.holds.remove(scope);
        }
    }

    /// The quota that a scope was spared for is there again.
    pub(super) fn spare(&mut self, scope: &Scope) {
        if self
            .holds
            .get(scope)
            .is_some_and(|hold| hold.why == Why::QuotaSpent)
        {
            self.forget(scope);
        }
    }

    /// Forgets a scope.
    pub(super) fn forget(&mut self, scope: &Scope) {
        self.changes += u64::from(self.holds.remove(scope).is_some());
    }

    /// Until when any of these scopes is left alone, and why.
    pub(super) fn until(&self, scopes: &[Scope], now: Instant) -> Option<(Instant, Why)> {
        let holds = scopes.iter().filter_map(|scope| self.holds.get(scope));
        let in_force = holds.filter(|hold| hold.until > now);
        in_force
            .map(|hold| (hold.until, hold.why))
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }
}

fn pause(why: Why, failures: u32, backoff_max: Duration) -> Duration {
    let (first, most) = match why {
        Why::Denied | Why::Forbidden => (FIRST_PAUSE.min(backoff_max), backoff_max),
        Why::Throttled => (THROTTLED_PAUSE, backoff_max.max(THROTTLED_PAUSE)),
        // The next answer says whether it is still spent.
        Why::QuotaSpent => (THROTTLED_PAUSE, THROTTLED_PAUSE),
    };
    let doublings = failures.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(most)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Holds, Scope, Why, pause};

    const QUARTER: Duration = Duration::from_secs(900);

    #[test]
    fn failures_double_only_from_hold_to_hold() {
        let mut holds = Holds::new(QUARTER);
        let scope = Scope::Business("acme".into());
        let scopes = [scope.clone()];
        let start = Instant::now();
        holds.hold(scope.clone(), Why::Denied, None, start);
        holds.hold(scope.clone(), Why::Denied, None, start);
        assert_eq!(
            holds.until(&scopes, start),
            Some((start + Duration::from_secs(30), Why::Denied))
        );
        let later = start + Duration::from_secs(31);
        assert_eq!(holds.until(&scopes, later), None);
        holds.hold(scope.clone(), Why::Denied, None, later);
        assert_eq!(
            holds.until(&scopes, later).map(|(until, _)| until - later),
            Some(Duration::from_secs(60))
        );
        holds.release(&scope, later);
        assert!(
            holds.until(&scopes, later).is_some(),
            "a late good answer changes nothing"
        );
        holds.release(&scope, later + QUARTER);
        holds.hold(scope, Why::Denied, None, later + QUARTER);
        let again = later + QUARTER;
        assert_eq!(
            holds.until(&scopes, again).map(|(until, _)| until - again),
            Some(Duration::from_secs(30))
        );
    }

    #[test]
    fn whoever_looks_after_a_change_misses_none() {
        let mut holds = Holds::new(QUARTER);
        let (acme, other) = (
            Scope::Business("acme".into()),
            Scope::Business("other".into()),
        );
        let now = Instant::now();
        let mut seen = holds.changes;
        let mut is_new = |holds: &Holds| std::mem::replace(&mut seen, holds.changes) != seen;
        holds.hold(acme.clone(), Why::QuotaSpent, None, now);
        assert!(is_new(&holds));
        holds.hold(acme.clone(), Why::Denied, None, now);
        assert!(is_new(&holds), "a longer one");
        holds.spare(&acme);
        holds.release(&acme, now);
        holds.forget(&other);
        assert!(!is_new(&holds), "nobody else is left alone");
        holds.forget(&acme);
        assert!(is_new(&holds));
    }

    #[test]
    fn pauses_grow_to_their_limit_and_the_apis_word_goes_before() {
        let seconds = |why, most| {
            (1..=7)
                .map(|n| pause(why, n, most).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            seconds(Why::Denied, QUARTER),
            [30, 60, 120, 240, 480, 900, 900]
        );
        assert_eq!(seconds(Why::Forbidden, Duration::from_secs(5)), [5; 7]);
        assert_eq!(seconds(Why::Throttled, QUARTER)[..3], [300, 600, 900]);
        assert_eq!(pause(Why::Throttled, u32::MAX, QUARTER), QUARTER);
        let mut holds = Holds::new(QUARTER);
        let scope = Scope::App(None);
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        holds.hold(scope.clone(), Why::Throttled, Some(hour), now);
        assert_eq!(
            holds.until(&[scope], now),
            Some((now + hour, Why::Throttled))
        );
    }
}
