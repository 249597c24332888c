//! Who is left alone until when: businesses, apps, ad accounts, sources.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::row::AccountId;

/// What is held off together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// Every business of one app; those without a configured app are taken to share one.
    App(Option<Box<str>>),
    /// A business, since its token was refused.
    Business(Box<str>),
    /// An ad account, whoever asks about it.
    AdAccount(AccountId),
    /// One source, by its place.
    Source(usize),
}

/// Every hold in force, and how often each scope failed in a row.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<Scope, Hold>);

#[derive(Debug)]
struct Hold {
    until: Instant,
    failures: u32,
}

impl Holds {
    /// Holds a scope off once more; `pause` says how long after so many failures in a row.
    pub(super) fn hold(&mut self, scope: Scope, now: Instant, pause: impl Fn(u32) -> Duration) {
        let hold = self.0.entry(scope).or_insert(Hold {
            until: now,
            failures: 0,
        });
        // Several requests that fail together, before the hold took effect, are one failure.
        if hold.failures == 0 || hold.until <= now {
            hold.failures = hold.failures.saturating_add(1);
        }
        hold.until = hold.until.max(now + pause(hold.failures));
    }

    /// Forgets a scope: it answered.
    pub(super) fn release(&mut self, scope: &Scope) {
        self.0.remove(scope);
    }

    /// Until when any of these scopes is held off.
    pub(super) fn until(&self, scopes: &[Scope], now: Instant) -> Option<Instant> {
        let holds = scopes.iter().filter_map(|scope| self.0.get(scope));
        holds
            .map(|hold| hold.until)
            .filter(|until| *until > now)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Holds, Scope};

    #[test]
    fn failures_double_only_from_hold_to_hold() {
        let mut holds = Holds::default();
        let scope = Scope::Business("acme".into());
        let pause = |failures: u32| Duration::from_secs(30) * failures;
        let start = Instant::now();
        holds.hold(scope.clone(), start, pause);
        holds.hold(scope.clone(), start, pause);
        let scopes = [scope.clone()];
        assert_eq!(
            holds.until(&scopes, start),
            Some(start + Duration::from_secs(30))
        );
        let later = start + Duration::from_secs(31);
        assert_eq!(holds.until(&scopes, later), None);
        holds.hold(scope.clone(), later, pause);
        assert_eq!(
            holds.until(&scopes, later),
            Some(later + Duration::from_secs(60))
        );
        holds.release(&scope);
        assert_eq!(holds.until(&scopes, later), None);
    }
}
