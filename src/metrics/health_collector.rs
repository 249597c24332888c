//! Gauges of the health of the businesses, read from [`HealthTracker`] when metrics are gathered.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalog::{SelfMetricFamily, self_metric_families};
use crate::snapshot::{BusinessHealth, HealthTracker};

/// Values of the labels after `business`, and the value of the gauge.
type HealthSample<'a> = (Vec<&'a str>, f64);

/// Function that returns the samples of a family for one business.
type HealthSampler = fn(&BusinessHealth) -> Vec<HealthSample<'_>>;

/// All families of gauges of the health of businesses.
pub(super) const HEALTH_FAMILIES: [(SelfMetricFamily, HealthSampler); 7] = [
    (self_metric_families::API_USAGE, |health| {
        let quotas = health.quotas.iter();
        quotas
            .map(|(key, report)| {
                let labels = vec![&*key.account_id, &*key.limit, &*key.quantity];
                (labels, report.ratio)
            })
            .collect()
    }),
    (self_metric_families::API_ACCESS_TIER, |health| {
        let tiers = health.access_tiers.iter();
        tiers
            .map(|(account_id, tier)| (vec![&**account_id, &**tier], 1.0))
            .collect()
    }),
    (self_metric_families::QUERY_MODE, |health| {
        let modes = health.query_modes.iter();
        modes
            .map(|(account_id, mode)| (vec![&**account_id, mode.as_str()], 1.0))
            .collect()
    }),
    (self_metric_families::CREDENTIALS_LOADED, |health| {
        single(
            health
                .credentials_loaded
                .map(|loaded| f64::from(u8::from(loaded))),
        )
    }),
    (self_metric_families::TOKEN_VALID, |health| {
        single(health.token_valid.map(|valid| f64::from(u8::from(valid))))
    }),
    (self_metric_families::TOKEN_EXPIRES, |health| {
        single(
            health
                .token_expires
                .map(|time| time.as_duration().as_secs_f64()),
        )
    }),
    (self_metric_families::TOKEN_DATA_ACCESS_EXPIRES, |health| {
        single(
            health
                .data_access_expires
                .map(|time| time.as_duration().as_secs_f64()),
        )
    }),
];

/// Returns the sample of a family with only the label `business`; none if the value is not known.
fn single(value: Option<f64>) -> Vec<HealthSample<'static>> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

/// Collector of one family.
#[derive(Debug)]
pub(super) struct HealthCollector {
    family: SelfMetricFamily,
    samples: HealthSampler,
    desc: Desc,
    health: Arc<HealthTracker>,
}

impl HealthCollector {
    /// Creates the collector of a family.
    ///
    /// # Errors
    /// Returns an error if the family in the catalog is invalid.
    pub(super) fn new(
        family: SelfMetricFamily,
        samples: HealthSampler,
        health: Arc<HealthTracker>,
    ) -> prometheus::Result<Self> {
        let labels = family.labels.iter().map(|label| (*label).to_owned());
        let desc = Desc::new(
            family.name.to_owned(),
            family.help.to_owned(),
            labels.collect(),
            HashMap::new(),
        )?;
        Ok(Self {
            family,
            samples,
            desc,
            health,
        })
    }

    fn metric(&self, business: &str, (labels, value): HealthSample<'_>) -> Metric {
        let values = std::iter::once(business).chain(labels);
        let pairs = self.family.labels.iter().zip(values);
        let mut pairs: Vec<LabelPair> = pairs
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value(value.to_owned());
                pair
            })
            .collect();
        // The order of all labels of the registry.
        pairs.sort();
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs);
        metric.set_gauge(gauge);
        metric
    }
}

impl Collector for HealthCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metrics = Vec::new();
        self.health.for_each(|business, health| {
            let samples = (self.samples)(health).into_iter();
            metrics.extend(samples.map(|sample| self.metric(business, sample)));
        });
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics);
        vec![family]
    }
}
