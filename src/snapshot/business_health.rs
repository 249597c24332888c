//! Health of the businesses, as last reported by the API: credentials, tokens, quotas, access tiers and query modes.
//!
//! Calls and polls update it at any time, not only at the end of a poll, so that it is not part of the immutable
//! [`Snapshot`](super::Snapshot). Self metrics, `/api/status` and the landing page are derived from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::plan::QueryMode;

/// Age from which a quota that is not reported again is unknown: the API omits the headers while usage is low.
const QUOTA_TTL: SignedDuration = SignedDuration::from_hours(1);

/// Maximum number of quotas of a business; further ones are ignored. A header has up to 32 objects, each with a few
/// limits, and an invalid response must not occupy memory without limit.
const MAX_QUOTAS: usize = 5_000;

/// Health of one business.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BusinessHealth {
    /// Whether token and app secret were readable at the last poll; `None` before the first.
    pub credentials_loaded: Option<bool>,
    /// Whether the API accepted the access token in its last response; `None` before the first.
    pub token_valid: Option<bool>,
    /// Time at which the access token expires; `None` if it does not expire or the time is unknown.
    pub token_expires: Option<Timestamp>,
    /// Time at which the token can no longer read data; `None` if it always can, or if the time is unknown.
    pub data_access_expires: Option<Timestamp>,
    /// Last report of each quota.
    pub quotas: BTreeMap<QuotaKey, QuotaReport>,
    /// Access tiers by id of the ad account; the id is empty for the tier of the app.
    pub access_tiers: BTreeMap<Box<str>, Box<str>>,
    /// Modes of the queries by id of the ad account.
    pub query_modes: BTreeMap<Box<str>, QueryMode>,
}

/// Reported usage of a quota.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaReport {
    /// Fraction in use; 1 is the whole quota, and more is possible.
    pub ratio: f64,
    /// Time of the report.
    pub reported_at: Timestamp,
}

impl BusinessHealth {
    /// Records the usage of a quota.
    pub fn set_quota(&mut self, key: QuotaKey, report: QuotaReport) {
        if self.quotas.len() < MAX_QUOTAS || self.quotas.contains_key(&key) {
            self.quotas.insert(key, report);
        }
    }
}

/// Name of a quota of a business.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaKey {
    /// Id of the ad account, digits only; empty for a quota of the whole app.
    pub account_id: Box<str>,
    /// Value of the label `limit`.
    pub limit: Box<str>,
    /// Value of the label `quantity`.
    pub quantity: Box<str>,
}

/// Current health of all businesses, shared by the tasks that update and read it.
#[derive(Debug, Default)]
pub struct HealthTracker {
    /// Health by name of the business; businesses without any report are missing.
    businesses: Mutex<BTreeMap<Box<str>, BusinessHealth>>,
    /// Incremented after each change.
    version: AtomicU64,
}

impl HealthTracker {
    /// Changes the health of a business, which is added if it is missing.
    pub fn update(&self, business: &str, change: impl FnOnce(&mut BusinessHealth)) {
        let mut businesses = self.lock();
        if let Some(health) = businesses.get_mut(business) {
            change(health);
        } else {
            change(businesses.entry(business.into()).or_default());
        }
        self.bump_version(businesses);
    }

    /// Removes a business.
    pub fn remove_business(&self, business: &str) {
        let mut businesses = self.lock();
        businesses.remove(business);
        self.bump_version(businesses);
    }

    /// Removes the quotas that were reported an hour ago or earlier.
    pub fn expire_quotas(&self, now: Timestamp) {
        let mut businesses = self.lock();
        let mut is_changed = false;
        for health in businesses.values_mut() {
            let quotas = health.quotas.len();
            // The age is compared without its sign, because the clock can be set back.
            health
                .quotas
                .retain(|_, report| now.duration_since(report.reported_at).abs() < QUOTA_TTL);
            is_changed |= health.quotas.len() < quotas;
        }
        if is_changed {
            self.bump_version(businesses);
        }
    }

    /// Removes quotas, access tier and query mode of an ad account of a business.
    pub fn remove_account(&self, business: &str, account_id: &str) {
        let mut businesses = self.lock();
        if let Some(health) = businesses.get_mut(business) {
            health
                .quotas
                .retain(|key, _| key.account_id.as_ref() != account_id);
            health.access_tiers.remove(account_id);
            health.query_modes.remove(account_id);
        }
        self.bump_version(businesses);
    }

    /// Returns the health of the businesses for which `is_visible` returns true, by name.
    pub fn report(&self, is_visible: impl Fn(&str) -> bool) -> BTreeMap<Box<str>, BusinessHealth> {
        let businesses = self.lock();
        let visible = businesses.iter().filter(|(name, _)| is_visible(name));
        visible
            .map(|(name, health)| (name.clone(), health.clone()))
            .collect()
    }

    /// Calls `visit` with each business, in the order of the names. Updates wait for the end.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &BusinessHealth)) {
        for (name, health) in self.lock().iter() {
            visit(name, health);
        }
    }

    /// Returns a version that changes with the health of any business.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, BusinessHealth>> {
        self.businesses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a change. A reader of the new version also sees the change.
    fn bump_version(&self, changed: MutexGuard<'_, BTreeMap<Box<str>, BusinessHealth>>) {
        drop(changed);
        self.version.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BusinessHealth, HealthTracker, MAX_QUOTAS, QUOTA_TTL, QuotaKey, QuotaReport, Timestamp,
    };
    use crate::plan::QueryMode;

    const REPORT: QuotaReport = QuotaReport {
        ratio: 0.5,
        reported_at: Timestamp::UNIX_EPOCH,
    };

    fn key(account_id: &str) -> QuotaKey {
        QuotaKey {
            account_id: account_id.into(),
            limit: "ads_insights".into(),
            quantity: "call_count".into(),
        }
    }

    fn tracker() -> HealthTracker {
        let tracker = HealthTracker::default();
        for business in ["acme", "other"] {
            tracker.update(business, |health| {
                health.token_valid = Some(true);
                for account in ["7", "8"] {
                    health.set_quota(key(account), REPORT);
                    health
                        .access_tiers
                        .insert(account.into(), "standard".into());
                    health.query_modes.insert(account.into(), QueryMode::ALL[0]);
                }
            });
        }
        tracker
    }

    #[test]
    fn report_contains_only_visible_businesses() {
        let report = tracker().report(|business| business == "acme");
        let names: Vec<&str> = report.keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["acme"]);
        assert_eq!(report["acme"].token_valid, Some(true));
        assert_eq!(report["acme"].quotas.len(), 2);
    }

    #[test]
    fn quota_that_is_not_repeated_expires() {
        let tracker = tracker();
        let later = REPORT.reported_at + QUOTA_TTL / 2;
        tracker.update("acme", |health| {
            let reported_at = later;
            health.set_quota(
                key("8"),
                QuotaReport {
                    reported_at,
                    ..REPORT
                },
            );
        });
        let version = tracker.version();
        tracker.expire_quotas(later);
        assert_eq!(tracker.version(), version, "nothing should expire yet");
        tracker.expire_quotas(REPORT.reported_at + QUOTA_TTL);
        assert_ne!(tracker.version(), version);
        let report = tracker.report(|_| true);
        assert_eq!(
            report["acme"].quotas.keys().collect::<Vec<_>>(),
            [&key("8")]
        );
        assert!(report["other"].quotas.is_empty());
        // The clock was set back.
        tracker.expire_quotas(REPORT.reported_at - QUOTA_TTL);
        assert!(tracker.report(|_| true)["acme"].quotas.is_empty());
    }

    #[test]
    fn number_of_quotas_is_limited() {
        let mut health = BusinessHealth::default();
        for id in 0..MAX_QUOTAS + 10 {
            health.set_quota(key(&id.to_string()), REPORT);
        }
        assert_eq!(health.quotas.len(), MAX_QUOTAS);
        let report = QuotaReport {
            ratio: 0.75,
            ..REPORT
        };
        health.set_quota(key("0"), report);
        assert_eq!(health.quotas.get(&key("0")), Some(&report));
    }

    #[test]
    fn removal_is_limited_to_account_or_business() {
        let tracker = tracker();
        let version = tracker.version();
        tracker.remove_account("acme", "7");
        assert_ne!(tracker.version(), version);
        let report = tracker.report(|_| true);
        let acme = &report["acme"];
        assert_eq!(acme.quotas.keys().collect::<Vec<_>>(), [&key("8")]);
        assert_eq!((acme.access_tiers.len(), acme.query_modes.len()), (1, 1));
        assert_eq!(report["other"].quotas.len(), 2);
        tracker.remove_business("acme");
        assert_eq!(tracker.report(|_| true).len(), 1);
    }
}
