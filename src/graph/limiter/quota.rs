//! Quotas of ad accounts and apps, from the usage headers and the development tier's quota.
//!
//! Above `quota_share`, an ad account gets what is left of its hourly calls (a token bucket), and the
//! scheduler polls less often by [`QuotaTracker::slowdown`]. In the development tier, the requests of
//! the last five minutes are counted too (a sliding window log), because that quota is exceeded
//! before a header reports it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::scope::{AccountScope, PauseScope, RequestKind, RequestScope};
use crate::config::MAX_QUOTA_SHARE;
use crate::graph::access_tier::{
    DEVELOPMENT_CALLS_PER_HOUR, DEVELOPMENT_READS, DEVELOPMENT_WINDOW, STANDARD_CALLS_PER_HOUR,
    is_standard_tier,
};
use crate::graph::usage::{Quantity, UsageHeaders};

/// Usage from which a quota counts as exhausted. Below 1, because the API's own block lasts longer
/// than the pause that avoids it.
pub(super) const EXHAUSTED_RATIO: f64 = MAX_QUOTA_SHARE;

/// Age at which reported usage is ignored. The headers are missing while usage is low, so a value
/// that is not repeated has fallen.
const USAGE_TTL: Duration = Duration::from_secs(5 * 60);

/// Largest factor by which polls become less frequent.
const MAX_SLOWDOWN: f64 = 20.0;

/// Share of an hour's calls that can be sent at once.
const BURST_SHARE: f64 = 1.0 / 60.0;

const SECONDS_PER_HOUR: f64 = 3600.0;

/// Usage of every quota by scope.
#[derive(Debug, Default)]
pub(super) struct QuotaTracker {
    /// Share of a quota above which requests slow down, 0 to 1.
    pub(super) share: f64,
    usage: HashMap<PauseScope, QuotaUsage>,
    accounts: HashMap<AccountScope, AccountReads>,
    /// Reads of each business in ad accounts of the development tier.
    businesses: HashMap<Box<str>, VecDeque<Instant>>,
    /// Highest usage of each app in any header.
    app_usage: HashMap<Box<str>, (f64, Instant)>,
}

/// Last reported ratio of each limit of a scope, and the time of the report.
#[derive(Debug, Default)]
struct QuotaUsage {
    reported: HashMap<(String, Quantity), (f64, Instant)>,
}

/// Requests of one ad account.
#[derive(Debug, Default)]
struct AccountReads {
    /// Whether the last tier in a header was the standard tier.
    is_standard: bool,
    /// Times of the last requests, at most [`DEVELOPMENT_READS`]; not recorded in the standard tier.
    reads: VecDeque<Instant>,
    /// Calls that may be sent at once, and the time of this count; `None` below the share.
    budget: Option<(f64, Instant)>,
}

impl QuotaTracker {
    pub(super) fn new(share: f64) -> Self {
        Self {
            share,
            ..Self::default()
        }
    }

    /// Returns the time until which a request should wait; `None` if it may be sent now.
    pub(super) fn wait_until(
        &self,
        scope: &RequestScope,
        kind: RequestKind,
        now: Instant,
    ) -> Option<Instant> {
        if kind == RequestKind::Token {
            return None;
        }
        [
            self.budget_wait(scope, kind, now),
            self.development_wait(scope, now),
        ]
        .into_iter()
        .flatten()
        .filter(|until| *until > now)
        .max()
    }

    /// Records that a request is being sent.
    pub(super) fn record_start(&mut self, scope: &RequestScope, kind: RequestKind, now: Instant) {
        if kind == RequestKind::Token {
            return;
        }
        let account = scope.account_scope();
        let rate = self.budget_rate(scope, kind, now);
        let reads = self.accounts.entry(account).or_default();
        reads.budget = rate.map(|rate| (reads.tokens(rate, now) - 1.0, now));
        if !reads.is_standard {
            push_read(&mut reads.reads, now);
            push_read(
                self.businesses.entry(scope.business.clone()).or_default(),
                now,
            );
        }
    }

    /// Records the usage headers of a response. Returns the scopes that they report on, each with
    /// whether one of the reported quotas is exhausted.
    pub(super) fn observe(
        &mut self,
        scope: &RequestScope,
        headers: &UsageHeaders,
        now: Instant,
    ) -> Vec<(PauseScope, bool)> {
        if let Some(tier) = &headers.tier {
            let reads = self.accounts.entry(scope.account_scope()).or_default();
            reads.is_standard = is_standard_tier(tier);
        }
        let app_usage = headers
            .usage
            .iter()
            .filter(|usage| matches!(usage.limit.as_str(), "app" | "insights_app"))
            .map(|usage| usage.ratio)
            .reduce(f64::max);
        if let Some(ratio) = app_usage {
            self.app_usage.insert(scope.app_key(), (ratio, now));
        }
        let mut reported: Vec<(PauseScope, bool)> = Vec::new();
        for usage in &headers.usage {
            let id = usage.account_id.as_deref();
            let Some(quota_scope) = scope.limit_scope(&usage.limit, id) else {
                continue;
            };
            let quota = self.usage.entry(quota_scope.clone()).or_default();
            quota
                .reported
                .insert((usage.limit.clone(), usage.quantity), (usage.ratio, now));
            let is_exhausted = usage.ratio >= EXHAUSTED_RATIO;
            match reported.iter_mut().find(|(other, _)| *other == quota_scope) {
                Some((_, exhausted)) => *exhausted |= is_exhausted,
                None => reported.push((quota_scope, is_exhausted)),
            }
        }
        reported
    }

    /// Whether the reported usage of the app explains an error about its limit; `None` if no usage
    /// is reported.
    pub(super) fn is_app_exhausted(&self, scope: &RequestScope, now: Instant) -> Option<bool> {
        let (ratio, reported_at) = self.app_usage.get(&scope.app_key())?;
        (*reported_at + USAGE_TTL > now).then_some(*ratio >= EXHAUSTED_RATIO)
    }

    /// Returns the factor by which insights are requested less often: 1 up to the share. Above it,
    /// what is left up to [`EXHAUSTED_RATIO`] is shared by all that is due.
    pub(super) fn slowdown(&self, scope: &RequestScope, now: Instant) -> f64 {
        let ratio = self.ratio(scope, RequestKind::Insights, now);
        let left = self.share_left(ratio);
        (1.0 / left.max(1.0 / MAX_SLOWDOWN)).max(1.0)
    }

    /// Returns the ages of the reads of the scope's ad account that count against the development
    /// tier, oldest first.
    pub(super) fn recent_reads(&self, scope: &RequestScope, now: Instant) -> Vec<Duration> {
        let account = self.accounts.get(&scope.account_scope());
        let reads = account.filter(|account| !account.is_standard);
        let reads = reads.map(|account| account.reads.iter());
        let ages = reads
            .into_iter()
            .flatten()
            .map(|read| now.saturating_duration_since(*read));
        ages.filter(|age| *age < DEVELOPMENT_WINDOW).collect()
    }

    /// Adds the reads of before a restart: their ages, oldest first.
    pub(super) fn restore_reads(&mut self, scope: &RequestScope, ages: &[Duration], now: Instant) {
        let times = ages.iter().filter_map(|age| now.checked_sub(*age));
        let times: Vec<Instant> = times.collect();
        let account = self.accounts.entry(scope.account_scope()).or_default();
        let business = self.businesses.entry(scope.business.clone()).or_default();
        for reads in [&mut account.reads, business] {
            reads.extend(&times);
            reads.make_contiguous().sort_unstable();
            while reads.len() > DEVELOPMENT_READS {
                reads.pop_front();
            }
        }
    }

    /// Returns the highest fresh usage of the limits of a request, 0 if none is known.
    fn ratio(&self, scope: &RequestScope, kind: RequestKind, now: Instant) -> f64 {
        let scopes = scope.pause_scopes(kind);
        let usage = scopes.iter().filter_map(|scope| self.usage.get(scope));
        usage.map(|usage| usage.ratio(now)).fold(0.0, f64::max)
    }

    /// Returns how much of the range from the share to [`EXHAUSTED_RATIO`] is left, 0 to 1.
    fn share_left(&self, ratio: f64) -> f64 {
        let range = (EXHAUSTED_RATIO - self.share).max(0.01);
        ((EXHAUSTED_RATIO - ratio) / range).clamp(0.0, 1.0)
    }

    /// Returns the calls per second that are left of the ad account's hour; `None` up to the share.
    fn budget_rate(&self, scope: &RequestScope, kind: RequestKind, now: Instant) -> Option<f64> {
        let account = scope.account_scope();
        let scopes = [
            PauseScope::Account(account.clone()),
            PauseScope::AccountLimit(account.clone(), kind),
        ];
        let usage = scopes.iter().filter_map(|scope| self.usage.get(scope));
        let ratio = usage.map(|usage| usage.ratio(now)).fold(0.0, f64::max);
        if ratio <= self.share {
            return None;
        }
        let quota = if self.is_standard(&account) {
            STANDARD_CALLS_PER_HOUR
        } else {
            DEVELOPMENT_CALLS_PER_HOUR
        };
        // At least one call in a minute: the next response reports how much is left.
        let calls = quota * (EXHAUSTED_RATIO - ratio).max(0.0);
        Some(calls.max(SECONDS_PER_HOUR / 60.0) / SECONDS_PER_HOUR)
    }

    fn budget_wait(
        &self,
        scope: &RequestScope,
        kind: RequestKind,
        now: Instant,
    ) -> Option<Instant> {
        let rate = self.budget_rate(scope, kind, now)?;
        let tokens = self
            .accounts
            .get(&scope.account_scope())
            .map_or(1.0, |reads| reads.tokens(rate, now));
        (tokens < 1.0).then(|| now + Duration::from_secs_f64((1.0 - tokens) / rate))
    }

    /// Returns when the quota of the development tier admits another request. An ad account counts
    /// as development until a header names its tier. While the ad account of a campaign is unknown,
    /// it can be any of the business' ad accounts, and all requests of the business count.
    fn development_wait(&self, scope: &RequestScope, now: Instant) -> Option<Instant> {
        let account = scope.account_scope();
        if self.is_standard(&account) {
            return None;
        }
        let reads = |account: &AccountScope| self.accounts.get(account).map(|reads| &reads.reads);
        let logs = match account {
            AccountScope::Known(_) => [
                reads(&account),
                reads(&AccountScope::Unknown(scope.business.clone())),
            ],
            AccountScope::Unknown(_) => [self.businesses.get(&scope.business), None],
        };
        let mut starts: Vec<Instant> = logs.into_iter().flatten().flatten().copied().collect();
        starts.retain(|start| *start + DEVELOPMENT_WINDOW > now);
        starts.sort_unstable();
        let oldest_idx = starts.len().checked_sub(DEVELOPMENT_READS)?;
        Some(*starts.get(oldest_idx)? + DEVELOPMENT_WINDOW)
    }

    fn is_standard(&self, account: &AccountScope) -> bool {
        self.accounts
            .get(account)
            .is_some_and(|reads| reads.is_standard)
    }
}

impl QuotaUsage {
    /// Returns the highest usage that is not older than [`USAGE_TTL`], 0 if none is known.
    fn ratio(&self, now: Instant) -> f64 {
        let fresh = self
            .reported
            .values()
            .filter(|(_, reported_at)| *reported_at + USAGE_TTL > now);
        fresh.map(|(ratio, _)| *ratio).fold(0.0, f64::max)
    }
}

impl AccountReads {
    /// Returns the calls that may be sent at once, at this rate per second.
    fn tokens(&self, rate: f64, now: Instant) -> f64 {
        let burst = (rate * SECONDS_PER_HOUR * BURST_SHARE).max(1.0);
        match self.budget {
            None => burst,
            Some((tokens, at)) => {
                let refilled = rate * now.saturating_duration_since(at).as_secs_f64();
                (tokens + refilled).min(burst)
            }
        }
    }
}

fn push_read(reads: &mut VecDeque<Instant>, now: Instant) {
    reads.push_back(now);
    while reads.len() > DEVELOPMENT_READS {
        reads.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{QuotaTracker, RequestKind, USAGE_TTL};
    use crate::graph::access_tier::{DEVELOPMENT_READS, DEVELOPMENT_WINDOW};
    use crate::graph::limiter::RequestScope;
    use crate::graph::usage::{Quantity, Usage, UsageHeaders};
    use crate::model::AccountId;

    const QUOTA_SHARE: f64 = 0.75;

    const INSIGHTS: RequestKind = RequestKind::Insights;

    fn headers(limit: &str, ratio: f64, tier: &str) -> UsageHeaders {
        UsageHeaders {
            tier: Some(tier.to_owned()),
            usage: vec![Usage {
                account_id: None,
                limit: limit.to_owned(),
                quantity: Quantity::Utilization,
                ratio,
            }],
            ..UsageHeaders::default()
        }
    }

    fn scope(account: &str) -> RequestScope {
        RequestScope {
            business: "acme".into(),
            app: None,
            account: AccountId::parse(account),
            source: "act_1".into(),
        }
    }

    #[test]
    fn usage_above_share_slows_polls_in_proportion() {
        let mut quotas = QuotaTracker::new(QUOTA_SHARE);
        let (first, second) = (scope("1"), scope("2"));
        let now = Instant::now();
        for (ratio, expected, expected_exhausted) in [
            (0.5, 1.0, false),
            (0.75, 1.0, false),
            (0.85, 2.0, false),
            (0.95, 20.0, true),
            (1.18, 20.0, true),
        ] {
            let headers = headers("insights_account", ratio, "standard_access");
            let reported = quotas.observe(&first, &headers, now);
            assert_eq!(reported.len(), 1);
            assert_eq!(reported[0].1, expected_exhausted, "usage {ratio}");
            let factor = quotas.slowdown(&first, now);
            assert!(
                (factor - expected).abs() < 0.001,
                "factor at usage {ratio} should be {expected}, is {factor}"
            );
            let other = quotas.slowdown(&second, now);
            assert!((other - 1.0).abs() < 0.001, "another ad account: {other}");
        }
        quotas.observe(&first, &headers("insights_app", 0.85, "x"), now);
        assert!(
            quotas.slowdown(&second, now) > 1.9,
            "the app's usage should slow all its ad accounts"
        );
        assert!(
            quotas.slowdown(&second, now + USAGE_TTL) < 1.1,
            "usage that is not repeated should be ignored"
        );
    }

    #[test]
    fn usage_of_plain_graph_calls_slows_nothing() {
        let mut quotas = QuotaTracker::new(QUOTA_SHARE);
        let (acme, now) = (scope("1"), Instant::now());
        let reported = quotas.observe(&acme, &headers("app", 1.0, "standard_access"), now);
        assert_eq!(reported, []);
        assert!(quotas.slowdown(&acme, now) < 1.1);
        assert_eq!(quotas.is_app_exhausted(&acme, now), Some(true));
        assert_eq!(quotas.is_app_exhausted(&acme, now + USAGE_TTL), None);
    }

    #[test]
    fn calls_above_share_are_those_left_of_the_hour() {
        // 10 % of 600 calls of an hour, and a twentieth of them at once.
        for (tier, ratio, expected) in [
            ("development_access", 0.85, 60),
            ("standard_access", 0.85, 19_000),
        ] {
            let mut quotas = QuotaTracker::new(QUOTA_SHARE);
            let acme = scope("1");
            let start = Instant::now();
            let mut calls = 0;
            for second in 0..3600 {
                let now = start + Duration::from_secs(second);
                quotas.observe(&acme, &headers("ads_insights", ratio, tier), now);
                while quotas.budget_wait(&acme, INSIGHTS, now).is_none() && calls < 100_000 {
                    quotas.record_start(&acme, INSIGHTS, now);
                    calls += 1;
                }
            }
            let difference = f64::from(calls) / f64::from(expected);
            assert!(
                (0.9..1.1).contains(&difference),
                "{tier}: {calls} of {expected}"
            );
        }
    }

    #[test]
    fn reads_of_before_a_restart_count() {
        let (start, acme) = (Instant::now() + DEVELOPMENT_WINDOW, scope("1"));
        let mut before = QuotaTracker::new(QUOTA_SHARE);
        for _ in 0..DEVELOPMENT_READS - 1 {
            before.record_start(&acme, INSIGHTS, start);
        }
        let stopped = start + Duration::from_secs(60);
        let mut after = QuotaTracker::new(QUOTA_SHARE);
        let ages = before.recent_reads(&acme, stopped);
        assert_eq!(ages, [Duration::from_secs(60); DEVELOPMENT_READS - 1]);
        after.restore_reads(&acme, &ages, stopped);
        assert_eq!(after.wait_until(&acme, INSIGHTS, stopped), None);
        after.record_start(&acme, INSIGHTS, stopped);
        assert_eq!(
            after.wait_until(&acme, INSIGHTS, stopped),
            Some(start + DEVELOPMENT_WINDOW)
        );
        let unknown = RequestScope {
            account: None,
            ..acme
        };
        assert!(after.wait_until(&unknown, INSIGHTS, stopped).is_some());
        let later = stopped + DEVELOPMENT_WINDOW;
        assert!(after.recent_reads(&unknown, later).is_empty());
    }
}
