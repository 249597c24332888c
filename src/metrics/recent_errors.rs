//! Share of failed requests among the last ones of each app.
//!
//! Meta withdraws an app's access tier if too many of its last 500 calls fail. One ring of bits per app
//! scope holds the outcomes. The gauges of the businesses are set when the metrics are gathered, so that
//! a request costs the same for an app with one business and with thousands.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::GaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

/// Requests that Meta's limit refers to.
const RING_REQUESTS: usize = 500;
/// Fewer requests have no meaningful share.
const MIN_REQUESTS: usize = 100;

/// Collector of the share of failed requests per business. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct RecentErrors {
    gauges: GaugeVec,
    state: Arc<Mutex<RecentCalls>>,
}

#[derive(Debug, Default)]
struct RecentCalls {
    rings: HashMap<Box<str>, OutcomeRing>,
    /// App scope of each business.
    scopes: BTreeMap<Box<str>, Box<str>>,
}

/// Outcomes of the last requests.
#[derive(Debug)]
struct OutcomeRing {
    /// Whether each request failed.
    failed: [bool; RING_REQUESTS],
    /// Position of the next outcome.
    next: usize,
    /// Number of outcomes, at most [`RING_REQUESTS`].
    requests: usize,
    failures: usize,
}

impl Default for OutcomeRing {
    fn default() -> Self {
        Self {
            failed: [false; RING_REQUESTS],
            next: 0,
            requests: 0,
            failures: 0,
        }
    }
}

impl OutcomeRing {
    fn record(&mut self, failed: bool) {
        let Some(oldest) = self.failed.get_mut(self.next) else {
            return;
        };
        // Unused positions are `false`.
        let was_failed = std::mem::replace(oldest, failed);
        self.failures = self.failures + usize::from(failed) - usize::from(was_failed);
        self.requests = (self.requests + 1).min(RING_REQUESTS);
        self.next = (self.next + 1) % RING_REQUESTS;
    }

    /// Returns the share of failed requests; `None` if there are too few.
    fn failure_ratio(&self) -> Option<f64> {
        let counts = (u32::try_from(self.failures), u32::try_from(self.requests));
        let (Ok(failures), Ok(requests)) = counts else {
            return None;
        };
        (self.requests >= MIN_REQUESTS).then(|| f64::from(failures) / f64::from(requests))
    }
}

impl RecentErrors {
    /// Returns a collector that exports with `gauges`, which have the label `business`.
    pub(super) fn new(gauges: GaugeVec) -> Self {
        Self {
            gauges,
            state: Arc::default(),
        }
    }

    /// Records a request of a business that sends its requests as the app of `scope`.
    pub(super) fn record(&self, business: &str, scope: &str, failed: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.scopes.get_mut(business) {
            Some(current) if **current == *scope => {}
            Some(current) => *current = scope.into(),
            None => _ = state.scopes.insert(business.into(), scope.into()),
        }
        if let Some(ring) = state.rings.get_mut(scope) {
            ring.record(failed);
        } else {
            let mut ring = OutcomeRing::default();
            ring.record(failed);
            state.rings.insert(scope.into(), ring);
        }
    }

    /// Removes a business, and its app scope if no other business has it.
    pub(super) fn remove_business(&self, business: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if let Some(scope) = state.scopes.remove(business)
            && !state.scopes.values().any(|other| *other == scope)
        {
            state.rings.remove(&scope);
        }
        // Fails only if the series does not exist.
        let _ = self.gauges.remove_label_values(&[business]);
    }
}

impl Collector for RecentErrors {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (business, scope) in &state.scopes {
            let ratio = state.rings.get(scope).and_then(OutcomeRing::failure_ratio);
            match ratio {
                Some(ratio) => self.gauges.with_label_values(&[business]).set(ratio),
                // Fails only if the series does not exist.
                None => _ = self.gauges.remove_label_values(&[business]),
            }
        }
        self.gauges.collect()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{GaugeVec, Opts};

    use super::{MIN_REQUESTS, RING_REQUESTS, RecentErrors};

    fn collector() -> RecentErrors {
        RecentErrors::new(GaugeVec::new(Opts::new("ratio", "help"), &["business"]).unwrap())
    }

    fn ratios(errors: &RecentErrors) -> Vec<(String, f64)> {
        let families = errors.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let ratio = |metric: &prometheus::proto::Metric| {
            let business = metric.get_label()[0].value().to_owned();
            (business, metric.get_gauge().get_value())
        };
        let mut ratios: Vec<_> = metrics.map(ratio).collect();
        ratios.sort_by(|a, b| a.0.cmp(&b.0));
        ratios
    }

    #[test]
    fn ratio_is_absent_below_the_minimum() {
        let errors = collector();
        for _ in 1..MIN_REQUESTS {
            errors.record("acme", "app", true);
        }
        assert_eq!(ratios(&errors), []);
        errors.record("acme", "app", false);
        assert_eq!(ratios(&errors), [("acme".to_owned(), 0.99)]);
    }

    #[test]
    fn ratio_covers_the_last_requests_of_the_app() {
        let errors = collector();
        errors.record("other", "other app", true);
        for request in 0..RING_REQUESTS {
            errors.record(
                if request % 2 == 0 { "acme" } else { "globex" },
                "app",
                true,
            );
        }
        for _ in 0..RING_REQUESTS / 4 {
            errors.record("acme", "app", false);
        }
        let both = ["acme", "globex"].map(|business| (business.to_owned(), 0.75));
        assert_eq!(ratios(&errors), both);
        errors.remove_business("acme");
        assert_eq!(ratios(&errors), both[1..]);
        for _ in 0..RING_REQUESTS {
            errors.record("globex", "app", false);
        }
        assert_eq!(ratios(&errors), [("globex".to_owned(), 0.0)]);
    }
}
