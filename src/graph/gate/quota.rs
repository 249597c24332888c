//! How fast each ad account and app may be asked: the development tier's bucket, and the usage
//! that the API's headers report.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{Lane, Scope};
use crate::config::MOST_QUOTA_SHARE;
use crate::graph::usage::{Headers, Quantity};

/// Of the 60 reads in five minutes that the development tier allows, what is used of them: who
/// sends messages needs the same ones. Source: Meta's document on rate limiting.
const DEVELOPMENT_READS: usize = 50;

/// The development tier's window.
const DEVELOPMENT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// The tier without that bucket.
const STANDARD: &str = "standard_access";

/// Where a quota counts as spent, before the API says so: nobody can ask to slow down later.
const SPENT: f64 = MOST_QUOTA_SHARE;

/// The time between two requests of a scope whose quota is all but spent.
const SLOWEST: Duration = Duration::from_secs(60);

/// Usage is told for a rolling hour: what was said longer ago says nothing.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// What is known of every quota.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// The share of a quota above which requests slow down.
    pub(super) share: f64,
    scopes: HashMap<Scope, Quota>,
}

#[derive(Debug, Default)]
struct Quota {
    standard: bool,
    /// When the requests of the last five minutes went out.
    starts: VecDeque<Instant>,
    last: Option<Instant>,
    usage: HashMap<(String, Quantity), (f64, Instant)>,
}

impl Quotas {
    pub(super) fn new(share: f64) -> Self {
        Self {
            share,
            scopes: HashMap::new(),
        }
    }

    /// Until when a request of that lane should wait; `None` where it may go.
    pub(super) fn wait(&self, lane: &Lane, now: Instant) -> Option<Instant> {
        let slowed = [Scope::App(lane.app.clone()), lane.account_scope()]
            .into_iter()
            .filter_map(|scope| {
                let quota = self.scopes.get(&scope)?;
                Some(quota.last? + self.gap(quota.ratio(now)))
            });
        slowed
            .chain(self.bucket(lane, now))
            .filter(|until| *until > now)
            .max()
    }

    /// A request of that lane goes out.
    pub(super) fn started(&mut self, lane: &Lane, now: Instant) {
        let account = lane.account_scope();
        for scope in [Scope::App(lane.app.clone()), account.clone()] {
            self.scopes.entry(scope).or_default().last = Some(now);
        }
        if !self.is_standard(&account) {
            for scope in [account, Scope::Business(lane.business.clone())] {
                let starts = &mut self.scopes.entry(scope).or_default().starts;
                starts.push_back(now);
                while starts.len() > DEVELOPMENT_READS {
                    starts.pop_front();
                }
            }
        }
    }

    /// Takes in what the headers of an answer said. Gives back the scopes that they spoke of, and
    /// whether one of their quotas is spent.
    pub(super) fn observe(
        &mut self,
        lane: &Lane,
        headers: &Headers,
        now: Instant,
    ) -> Vec<(Scope, bool)> {
        let account = lane.account_scope();
        if let Some(tier) = &headers.tier {
            self.scopes.entry(account.clone()).or_default().standard = tier == STANDARD;
        }
        let mut spoken: Vec<(Scope, bool)> = Vec::new();
        for usage in &headers.usage {
            let app = matches!(usage.limit.as_str(), "app" | "insights_app");
            let scope = if app {
                Scope::App(lane.app.clone())
            } else {
                account.clone()
            };
            let quota = self.scopes.entry(scope.clone()).or_default();
            quota
                .usage
                .insert((usage.limit.clone(), usage.quantity), (usage.ratio, now));
            if !spoken.iter().any(|(known, _)| *known == scope) {
                spoken.push((scope, false));
            }
        }
        // A time to wait is only given where access is gone already.
        let blocked = headers.regain.is_some();
        for (scope, spent) in &mut spoken {
            let ratio = self.scopes.get(scope).map_or(0.0, |quota| quota.ratio(now));
            *spent = ratio >= SPENT || (blocked && !matches!(scope, Scope::App(_)));
        }
        spoken
    }

    /// The time between two requests at that usage: none up to the share, growing from there.
    fn gap(&self, ratio: f64) -> Duration {
        let over = (ratio - self.share) / (SPENT - self.share).max(0.01);
        SLOWEST.mul_f64(over.clamp(0.0, 1.0))
    }

    /// When the development tier's bucket has room; an account is taken to be of that tier until
    /// a header says otherwise. Before anybody knows in which account a campaign is, it may be in
    /// any that the business asks about.
    fn bucket(&self, lane: &Lane, now: Instant) -> Option<Instant> {
        let account = lane.account_scope();
        if self.is_standard(&account) {
            return None;
        }
        let scopes = match &lane.account {
            Some(_) => vec![account, Scope::Unplaced(lane.business.clone())],
            None => vec![Scope::Business(lane.business.clone())],
        };
        let quotas = scopes.iter().filter_map(|scope| self.scopes.get(scope));
        let mut starts: Vec<Instant> = quotas
            .flat_map(|quota| quota.starts.iter().copied())
            .collect();
        starts.retain(|start| *start + DEVELOPMENT_WINDOW > now);
        starts.sort_unstable();
        let oldest = starts.len().checked_sub(DEVELOPMENT_READS)?;
        Some(starts[oldest] + DEVELOPMENT_WINDOW)
    }

    fn is_standard(&self, account: &Scope) -> bool {
        self.scopes.get(account).is_some_and(|quota| quota.standard)
    }
}

impl Quota {
    /// The fullest of its quotas, as far as that is still true.
    fn ratio(&self, now: Instant) -> f64 {
        let fresh = self.usage.values().filter(|(_, at)| *at + FORGOTTEN > now);
        fresh.map(|(ratio, _)| *ratio).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Quotas;
    use crate::graph::gate::Lane;
    use crate::graph::usage::{Headers, Quantity, Usage};
    use crate::row::AccountId;

    fn headers(limit: &str, ratio: f64) -> Headers {
        Headers {
            tier: Some("standard_access".to_owned()),
            usage: vec![Usage {
                account_id: None,
                limit: limit.to_owned(),
                quantity: Quantity::Utilization,
                ratio,
            }],
            ..Headers::default()
        }
    }

    #[test]
    fn requests_slow_down_above_the_share_and_a_spent_quota_is_told() {
        let mut quotas = Quotas::new(0.75);
        let lane = |account: &str| Lane {
            business: "acme".into(),
            app: None,
            account: AccountId::parse(account),
            source: "act_1".into(),
        };
        let (ours, theirs) = (lane("1"), lane("2"));
        let now = Instant::now();
        for (ratio, wait, spent) in [
            (0.5, 0.0, false),
            (0.75, 0.0, false),
            (0.85, 30.0, false),
            (0.95, 60.0, true),
            (1.18, 60.0, true),
        ] {
            quotas.started(&ours, now);
            let spoken = quotas.observe(&ours, &headers("ad_account", ratio), now);
            assert_eq!(spoken, [(ours.account_scope(), spent)]);
            let waits = quotas
                .wait(&ours, now)
                .map_or(0.0, |until| (until - now).as_secs_f64());
            assert!((waits - wait).abs() < 0.001, "{ratio}: {waits}");
            assert_eq!(
                quotas.wait(&theirs, now),
                None,
                "another ad account has its own quota"
            );
        }
        quotas.observe(&ours, &headers("app", 0.85), now);
        assert!(
            quotas.wait(&theirs, now).is_some(),
            "the app's quota is everybody's"
        );
        let later = now + Duration::from_secs(3600);
        assert_eq!(
            quotas.wait(&ours, later),
            None,
            "an hour later that says nothing"
        );
    }
}
