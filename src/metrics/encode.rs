//! Encodes self metrics as text: gathered families, or only the metrics of some businesses.

use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prometheus::TextEncoder;
use prometheus::proto::{Metric, MetricFamily};

use super::catalog::self_metric_families;
use super::self_metrics::SelfMetrics;

impl SelfMetrics {
    /// Encodes `build_info` and the self metrics of the businesses for which `is_visible` returns true.
    /// Other metrics without a business are omitted, because they aggregate over all businesses.
    ///
    /// The metrics can be one second old: if thousands of businesses are scraped one by one, gathering
    /// the metrics of all for each scrape would keep several cores busy.
    pub fn encode_filtered(&self, is_visible: impl Fn(&str) -> bool, now: Timestamp) -> String {
        let families = self.gather_cached(now);
        let visible = families.iter().filter_map(|family| {
            let is_build_info = family.name() == self_metric_families::BUILD_INFO.name;
            let is_included =
                |metric: &&Metric| is_build_info || business(metric).is_some_and(&is_visible);
            let metrics = family.get_metric().iter().filter(is_included);
            let mut visible = MetricFamily::default();
            visible.set_name(family.name().to_owned());
            visible.set_help(family.help().to_owned());
            visible.set_field_type(family.get_field_type());
            visible.set_metric(metrics.cloned().collect());
            (!visible.get_metric().is_empty()).then_some(visible)
        });
        encoded(&visible.collect::<Vec<_>>())
    }

    fn gather_cached(&self, now: Timestamp) -> Arc<[MetricFamily]> {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        // The age is compared without its sign, because the clock can be set back.
        let is_fresh = |at: &Timestamp| now.duration_since(*at).abs() < GATHER_INTERVAL;
        let (_, families) = match gathered.take() {
            Some((at, families)) if is_fresh(&at) => gathered.insert((at, families)),
            _ => {
                let registries = [&self.global_registry]
                    .into_iter()
                    .chain(self.business_registries.values());
                let families = registries.flat_map(|registry| registry.gather());
                gathered.insert((now, families.collect()))
            }
        };
        Arc::clone(families)
    }
}

/// Maximum age of the gathered metrics that [`SelfMetrics::encode_filtered`] uses.
const GATHER_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

const BUSINESS: &str = "business";

/// Encodes the families in the text format.
pub(super) fn encoded(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    encode(families, &mut text);
    text
}

/// Appends the families in the text format. Only an invalid family can make that fail; then none is
/// appended.
pub(super) fn encode(families: &[MetricFamily], text: &mut String) {
    let length = text.len();
    if let Err(error) = TextEncoder::new().encode_utf8(families, text) {
        tracing::error!(%error, "encoding self metrics failed");
        text.truncate(length);
    }
}

fn business(metric: &Metric) -> Option<&str> {
    let mut labels = metric.get_label().iter();
    let pair = labels.find(|pair| pair.name() == BUSINESS)?;
    Some(pair.value())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::metrics::SelfMetrics;
    use crate::plan::Shard;
    use crate::snapshot::{HealthTracker, QuotaKey, QuotaReport};

    #[test]
    fn filtered_page_contains_only_visible_businesses() {
        let health = Arc::new(HealthTracker::default());
        let self_metrics =
            SelfMetrics::new("1", "r", "1", Shard::ALL, Arc::clone(&health)).unwrap();
        let expires: jiff::Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        for business in ["acme", "other"] {
            self_metrics.add_business(business, 1, ["spend"], ["malformed"]);
            health.update(business, |health| {
                let key = QuotaKey {
                    account_id: "7".into(),
                    limit: "ads_insights".into(),
                    quantity: "call_count".into(),
                };
                let report = QuotaReport {
                    ratio: 1.25,
                    reported_at: expires,
                };
                health.set_quota(key, report);
                health.token_valid = Some(business == "acme");
                health.token_expires = Some(expires);
                health.credentials_loaded = Some(true);
            });
            self_metrics.add_invalid_values(business, "spend", 1);
        }
        let now = expires;
        let page = self_metrics.encode_filtered(|business| business == "acme", now);
        for sample in [
            "api_usage_ratio{account_id=\"7\",business=\"acme\",limit=\"ads_insights\",quantity=\"call_count\"} 1.25",
            "token_valid{business=\"acme\"} 1",
            "token_expires_timestamp_seconds{business=\"acme\"} 1798761600",
            "credentials_loaded{business=\"acme\"} 1",
        ] {
            let line = format!("\nmarketing_messages_exporter_{sample}\n");
            assert!(page.contains(&line), "{sample} should be exported: {page}");
        }
        assert!(!page.contains("data_access_expires"), "{page}");
        assert!(!page.contains("\"other\""), "{page}");
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let (acme_samples, other_samples): (Vec<&str>, Vec<&str>) = samples
            .into_iter()
            .partition(|line| line.contains("business=\"acme\""));
        assert!(acme_samples.len() > 10, "{page}");
        assert_eq!(other_samples.len(), 1, "{other_samples:?}");
        assert!(other_samples[0].starts_with("marketing_messages_exporter_build_info{"));
        self_metrics.record_poll("acme", None);
        let is_poll_counted = |now| {
            self_metrics
                .encode_filtered(|_| true, now)
                .contains("polls_total{business=\"acme\"} 1")
        };
        assert!(!is_poll_counted(now + Duration::from_millis(999)));
        assert!(is_poll_counted(now + Duration::from_secs(1)));
        // A clock that is set back does not delay the update.
        self_metrics.record_poll("acme", None);
        assert!(!is_poll_counted(now - Duration::from_secs(60)));
    }
}
