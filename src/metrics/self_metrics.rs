//! Metrics that describe the exporter itself, kept and encoded by the `prometheus` crate.
//!
//! Global metrics are few and are encoded at each scrape. Metrics with a label `business` are encoded
//! after changes, because there can be thousands of businesses. Metrics per source (poll durations, due
//! times, pauses) are part of the campaign page, see `catalog`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::catalog::{SelfMetricFamily, self_metric_families};
use super::encode::{encode, encoded};
use super::health_collector::{HEALTH_FAMILIES, HealthCollector};
use super::recent_errors::RecentErrors;
use super::series_limit::DroppedSeries;
use super::server_metrics::ServerMetrics;
use crate::model::{ErrorReason, PollError};
use crate::plan::Shard;
use crate::snapshot::HealthTracker;

/// Buckets in seconds. Responses usually take 0.1 s to 30 s, the default timeout of a request.
const DURATION_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Time for which a warning about the API version is exported.
const VERSION_WARNING_DURATION: SignedDuration = SignedDuration::from_hours(24);

/// Maximum number of pairs of code and subcode per business that are distinguished. Meta documents about a hundred;
/// an invalid response must not add series without limit.
const MAX_ERROR_CODES: usize = 200;

/// Value of the label `code` beyond [`MAX_ERROR_CODES`].
const OTHER_CODES: &str = "other";

/// Pairs of code and subcode.
type ErrorCodes = HashSet<[Option<i64>; 2]>;

/// Observation of one API request.
#[derive(Clone, Copy, Debug)]
pub struct CallSample<'a> {
    /// Business of the access token.
    pub business: &'a str,
    /// App that the request is sent as; `None` if the config names none.
    pub app: Option<&'a str>,
    /// Value of the label `endpoint`.
    pub endpoint: &'static str,
    /// Time from sending the request to the end of the response.
    pub duration: Duration,
    /// Error; `None` if the request succeeded.
    pub error: Option<&'a PollError>,
}

/// Metrics that describe the exporter itself.
#[derive(Debug)]
pub struct SelfMetrics {
    /// Metrics without a label `business`.
    pub(super) global_registry: Registry,
    /// Metrics with a label `business`, with one registry per family, by name. Encoding copies a
    /// registry; one per family limits the memory for the copy.
    pub(super) business_registries: BTreeMap<&'static str, Registry>,
    /// Incremented after each change of a metric in `business_registries`, except for those of `health`.
    version: AtomicU64,
    polls: IntCounterVec,
    poll_failures: IntCounterVec,
    polls_skipped: IntCounterVec,
    api_requests: IntCounterVec,
    api_request_errors: IntCounterVec,
    /// Pairs of code and subcode in `api_request_errors`, by business.
    error_codes: Mutex<HashMap<Box<str>, ErrorCodes>>,
    api_recent_errors: RecentErrors,
    api_request_duration: Histogram,
    api_version: IntGaugeVec,
    /// Current labels `configured` and `answered` of `api_version`.
    api_version_labels: Mutex<Option<[String; 2]>>,
    api_version_end: GaugeVec,
    api_version_warning: IntGaugeVec,
    /// Version in `api_version_warning`, with the time of the last warning.
    version_warning: Mutex<Option<(String, Timestamp)>>,
    invalid_values: IntCounterVec,
    invalid_rows: IntCounterVec,
    field_rejected: IntGaugeVec,
    reload_successful: IntGauge,
    reload_success_time: Gauge,
    discovery_interval: Gauge,
    sources: IntGaugeVec,
    series_dropped: IntGaugeVec,
    /// Current values of `series_dropped`.
    dropped_series: Mutex<DroppedSeries>,
    sources_configured: IntGauge,
    settle_after: Gauge,
    page_series: IntGauge,
    page_bytes: IntGauge,
    /// Metrics of the HTTP server.
    pub server: ServerMetrics,
    /// Source of the gauges in [`HEALTH_FAMILIES`].
    health: Arc<HealthTracker>,
    /// Cache of all gathered families, with the time of gathering.
    pub(super) gathered: Mutex<Option<(Timestamp, Arc<[MetricFamily]>)>>,
}

impl SelfMetrics {
    /// Registers all self metrics. `health` is the source of those of tokens, quotas and query modes.
    ///
    /// # Errors
    /// Returns an error if the catalog has an invalid or duplicate metric.
    pub fn new(
        version: &str,
        revision: &str,
        rustversion: &str,
        shard: Shard,
        health: Arc<HealthTracker>,
    ) -> prometheus::Result<Self> {
        let global_registry = Registry::new();
        let business_registries: BTreeMap<_, _> = self_metric_families::ALL
            .iter()
            .filter(|family| family.labels.contains(&"business"))
            .map(|family| (family.name, Registry::new()))
            .collect();
        let registry = |family: SelfMetricFamily| {
            business_registries
                .get(family.name)
                .unwrap_or(&global_registry)
        };
        let counters = |family: SelfMetricFamily| {
            let counters = IntCounterVec::new(opts(family), family.labels)?;
            registered(registry(family), counters)
        };
        let gauges = |family: SelfMetricFamily| {
            let gauges = IntGaugeVec::new(opts(family), family.labels)?;
            registered(registry(family), gauges)
        };
        let floats = |family: SelfMetricFamily| {
            let gauges = GaugeVec::new(opts(family), family.labels)?;
            registered(registry(family), gauges)
        };
        let gauge = |family: SelfMetricFamily| {
            registered(&global_registry, IntGauge::with_opts(opts(family))?)
        };
        let duration = self_metric_families::API_REQUEST_DURATION;
        let duration =
            HistogramOpts::new(duration.name, duration.help).buckets(DURATION_BUCKETS.to_vec());
        gauges(self_metric_families::BUILD_INFO)?
            .with_label_values(&[version, revision, rustversion])
            .set(1);
        gauges(self_metric_families::SHARD)?
            .with_label_values(&[shard.index().to_string(), shard.count().to_string()])
            .set(1);
        for (family, samples) in HEALTH_FAMILIES {
            let collector = HealthCollector::new(family, samples, Arc::clone(&health))?;
            registry(family).register(Box::new(collector))?;
        }
        Ok(Self {
            polls: counters(self_metric_families::POLLS)?,
            poll_failures: counters(self_metric_families::POLL_FAILURES)?,
            polls_skipped: counters(self_metric_families::POLLS_SKIPPED)?,
            api_requests: counters(self_metric_families::API_REQUESTS)?,
            api_request_errors: counters(self_metric_families::API_REQUEST_ERRORS)?,
            error_codes: Mutex::default(),
            api_recent_errors: registered(
                registry(self_metric_families::API_RECENT_ERRORS),
                RecentErrors::new(GaugeVec::new(
                    opts(self_metric_families::API_RECENT_ERRORS),
                    self_metric_families::API_RECENT_ERRORS.labels,
                )?),
            )?,
            api_request_duration: registered(&global_registry, Histogram::with_opts(duration)?)?,
            api_version: gauges(self_metric_families::API_VERSION)?,
            api_version_labels: Mutex::default(),
            api_version_end: floats(self_metric_families::API_VERSION_END)?,
            api_version_warning: gauges(self_metric_families::API_VERSION_WARNING)?,
            version_warning: Mutex::default(),
            invalid_values: counters(self_metric_families::INVALID_VALUES)?,
            invalid_rows: counters(self_metric_families::INVALID_ROWS)?,
            field_rejected: gauges(self_metric_families::FIELD_REJECTED)?,
            reload_successful: gauge(self_metric_families::RELOAD_SUCCESSFUL)?,
            reload_success_time: registered(
                &global_registry,
                Gauge::with_opts(opts(self_metric_families::RELOAD_SUCCESS_TIME))?,
            )?,
            discovery_interval: registered(
                &global_registry,
                Gauge::with_opts(opts(self_metric_families::DISCOVERY_INTERVAL))?,
            )?,
            sources: gauges(self_metric_families::SOURCES)?,
            series_dropped: gauges(self_metric_families::SERIES_DROPPED)?,
            dropped_series: Mutex::default(),
            sources_configured: gauge(self_metric_families::SOURCES_CONFIGURED)?,
            settle_after: registered(
                &global_registry,
                Gauge::with_opts(opts(self_metric_families::SETTLE_AFTER))?,
            )?,
            page_series: gauge(self_metric_families::PAGE_SERIES)?,
            page_bytes: gauge(self_metric_families::PAGE_BYTES)?,
            server: ServerMetrics::new(&global_registry)?,
            version: AtomicU64::new(0),
            global_registry,
            business_registries,
            health,
            gathered: Mutex::default(),
        })
    }

    /// Registers another collector of global metrics, such as that of the process.
    ///
    /// # Errors
    /// Returns an error if one of its metrics is already registered.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        self.global_registry.register(collector)
    }

    /// Encodes all self metrics.
    pub fn encode(&self) -> String {
        self.encode_global() + &self.encode_businesses()
    }

    /// Encodes the metrics without a label `business`.
    pub fn encode_global(&self) -> String {
        encoded(&self.global_registry.gather())
    }

    /// Encodes the metrics with a label `business`. With thousands of businesses that takes 0.1 s.
    pub fn encode_businesses(&self) -> String {
        let mut text = String::new();
        for family in self.business_registries.values() {
            encode(&family.gather(), &mut text);
        }
        text
    }

    /// Returns a version that changes whenever the result of [`SelfMetrics::encode_businesses`] does.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire) + self.health.version()
    }

    /// Must be called after a change, so that a reader of the new version also sees the change.
    fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Sets the time between two discoveries of a source.
    pub fn set_discovery_interval(&self, interval: Duration) {
        self.discovery_interval.set(interval.as_secs_f64());
    }

    /// Sets the number of sources in the config, over all shards.
    pub fn set_sources_configured(&self, sources: usize) {
        self.sources_configured
            .set(i64::try_from(sources).unwrap_or(i64::MAX));
    }

    /// Adds a business, with counters of 0, so that `increase()` and `rate()` include the first event.
    /// `fields` are the fields with numbers that are requested, `row_defects` the reasons for which rows
    /// are dropped.
    pub fn add_business<'a>(
        &self,
        business: &str,
        sources: usize,
        fields: impl IntoIterator<Item = &'a str>,
        row_defects: impl IntoIterator<Item = &'a str>,
    ) {
        self.sources
            .with_label_values(&[business])
            .set(i64::try_from(sources).unwrap_or(i64::MAX));
        self.polls.with_label_values(&[business]);
        self.polls_skipped.with_label_values(&[business]);
        for field in fields {
            self.invalid_values.with_label_values(&[business, field]);
        }
        for defect in row_defects {
            self.invalid_rows.with_label_values(&[business, defect]);
        }
        for reason in ErrorReason::ALL {
            self.poll_failures
                .with_label_values(&[business, reason.as_str()]);
        }
        self.bump_version();
    }

    /// Removes all series of a business, except for those of its health.
    pub fn remove_business(&self, business: &str) {
        let labels = [("business", business)];
        remove_series(&self.polls, &labels);
        remove_series(&self.poll_failures, &labels);
        remove_series(&self.polls_skipped, &labels);
        remove_series(&self.api_requests, &labels);
        remove_series(&self.api_request_errors, &labels);
        let mut error_codes = self
            .error_codes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        error_codes.remove(business);
        drop(error_codes);
        self.api_recent_errors.remove_business(business);
        remove_series(&self.invalid_values, &labels);
        remove_series(&self.invalid_rows, &labels);
        remove_series(&self.field_rejected, &labels);
        remove_series(&self.sources, &labels);
        remove_series(&self.series_dropped, &labels);
        let mut dropped = self
            .dropped_series
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        dropped.remove(business);
        drop(dropped);
        self.bump_version();
    }

    /// Counts a finished poll, and its failure if there was one.
    pub fn record_poll(&self, business: &str, error: Option<ErrorReason>) {
        self.polls.with_label_values(&[business]).inc();
        if let Some(reason) = error {
            self.poll_failures
                .with_label_values(&[business, reason.as_str()])
                .inc();
        }
        self.bump_version();
    }

    /// Counts a skipped poll.
    pub fn record_skipped(&self, business: &str) {
        self.polls_skipped.with_label_values(&[business]).inc();
        self.bump_version();
    }

    /// Counts a finished API request, its duration, and its error if there was one.
    pub fn record_call(&self, call: CallSample<'_>) {
        self.api_requests
            .with_label_values(&[call.business, call.endpoint])
            .inc();
        self.api_request_duration
            .observe(call.duration.as_secs_f64());
        // Businesses without an app are not known to share one.
        let scope = match call.app {
            Some(app) => format!("app {app}"),
            None => format!("business {}", call.business),
        };
        self.api_recent_errors
            .record(call.business, &scope, call.error.is_some());
        if let Some(error) = call.error {
            let [code, subcode] = self.error_code_labels(call.business, error);
            let labels = [
                call.business,
                call.endpoint,
                error.reason.as_str(),
                &code,
                &subcode,
            ];
            self.api_request_errors.with_label_values(&labels).inc();
        }
        self.bump_version();
    }

    /// Returns the values of the labels `code` and `subcode`.
    fn error_code_labels(&self, business: &str, error: &PollError) -> [String; 2] {
        let codes = [error.code, error.subcode];
        let mut error_codes = self
            .error_codes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = error_codes.entry(business.into()).or_default();
        if !known.contains(&codes) {
            if known.len() >= MAX_ERROR_CODES {
                return [OTHER_CODES.to_owned(), String::new()];
            }
            known.insert(codes);
        }
        codes.map(|code| code.map(|code| code.to_string()).unwrap_or_default())
    }

    /// Sets the API version of the config and that of the last response. Returns whether one of them
    /// changed.
    pub fn set_api_version(&self, configured: &str, answered: &str) -> bool {
        let mut current = self
            .api_version_labels
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let labels = [configured, answered];
        if current.as_ref().is_some_and(|current| *current == labels) {
            return false;
        }
        // The new series is added first, so that every scrape has one.
        self.api_version.with_label_values(&labels).set(1);
        if let Some([configured, answered]) = current.replace(labels.map(str::to_owned)) {
            // Fails only if the series does not exist.
            let _ = self
                .api_version
                .remove_label_values(&[&configured, &answered]);
        }
        true
    }

    /// Sets the end of the API version in the config; `None` if it is not known.
    pub fn set_api_version_end(&self, version: &str, end: Option<Timestamp>) {
        self.api_version_end.reset();
        if let Some(end) = end {
            self.api_version_end
                .with_label_values(&[version])
                .set(end.as_duration().as_secs_f64());
        }
    }

    /// Records Meta's warning about the API version of a request, which is exported for 24 hours.
    pub fn record_version_warning(&self, version: &str, now: Timestamp) {
        let mut warning = self
            .version_warning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if warning.as_ref().is_none_or(|(warned, _)| warned != version) {
            self.api_version_warning.reset();
            self.api_version_warning
                .with_label_values(&[version])
                .set(1);
        }
        *warning = Some((version.to_owned(), now));
    }

    /// Removes a warning about the API version that is older than 24 hours.
    pub fn expire_version_warning(&self, now: Timestamp) {
        let mut warning = self
            .version_warning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The age is compared without its sign, because the clock can be set back.
        let is_old = |(_, at): &(String, Timestamp)| {
            now.duration_since(*at).abs() >= VERSION_WARNING_DURATION
        };
        if warning.as_ref().is_some_and(is_old) {
            *warning = None;
            self.api_version_warning.reset();
        }
    }

    /// Counts values of a field that are not a possible number. Returns whether they are the first ones.
    pub fn add_invalid_values(&self, business: &str, field: &str, count: u64) -> bool {
        self.add(&self.invalid_values, &[business, field], count)
    }

    /// Counts dropped rows. Returns whether they are the first ones with this reason.
    pub fn add_invalid_rows(&self, business: &str, reason: &str, count: u64) -> bool {
        self.add(&self.invalid_rows, &[business, reason], count)
    }

    fn add(&self, family: &IntCounterVec, labels: &[&str], count: u64) -> bool {
        let counter = family.with_label_values(labels);
        let is_first = counter.get() == 0;
        counter.inc_by(count);
        self.bump_version();
        is_first
    }

    /// Marks a field as rejected by the API. Returns whether it was not marked before.
    pub fn set_field_rejected(&self, business: &str, field: &str) -> bool {
        let rejected = self.field_rejected.with_label_values(&[business, field]);
        let is_new = rejected.get() == 0;
        rejected.set(1);
        self.bump_version();
        is_new
    }

    /// Removes the marks of rejected fields of a business.
    pub fn clear_rejected_fields(&self, business: &str) {
        remove_series(&self.field_rejected, &[("business", business)]);
        self.bump_version();
    }

    /// Records an attempt to load the config: the current time if it succeeded, or `None`.
    pub fn record_reload(&self, success: Option<Timestamp>) {
        self.reload_successful.set(i64::from(success.is_some()));
        if let Some(time) = success {
            self.reload_success_time
                .set(time.as_duration().as_secs_f64());
        }
    }

    /// Sets the age of spend from which rules expect its conversions.
    pub fn set_settle_after(&self, settle_after: Duration) {
        self.settle_after.set(settle_after.as_secs_f64());
    }

    /// Sets the number of series and the uncompressed size of the campaign page.
    pub fn record_page(&self, series: u64, bytes: u64) {
        self.page_series
            .set(i64::try_from(series).unwrap_or(i64::MAX));
        self.page_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets the number of series that `max_series` leaves out, of exactly the businesses in `dropped`.
    pub fn record_dropped_series(&self, dropped: &DroppedSeries) {
        let mut recorded = self
            .dropped_series
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *recorded == *dropped {
            return;
        }
        for business in recorded.keys() {
            if !dropped.contains_key(business) {
                remove_series(&self.series_dropped, &[("business", business)]);
            }
        }
        for (business, series) in dropped {
            self.series_dropped
                .with_label_values(&[business])
                .set(i64::try_from(*series).unwrap_or(i64::MAX));
        }
        recorded.clone_from(dropped);
        drop(recorded);
        self.bump_version();
    }
}

/// Removes all series that have all of these labels.
fn remove_series<T: MetricVecBuilder>(family: &MetricVec<T>, matchers: &[(&str, &str)]) {
    for metric in family
        .collect()
        .iter()
        .flat_map(|family| family.get_metric())
    {
        let labels: HashMap<&str, &str> = metric
            .get_label()
            .iter()
            .map(|pair| (pair.name(), pair.value()))
            .collect();
        if matchers
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
        {
            // Fails only if the series was removed in the meantime.
            let _ = family.remove(&labels);
        }
    }
}

fn opts(family: SelfMetricFamily) -> Opts {
    Opts::new(family.name, family.help)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::{CallSample, MAX_ERROR_CODES, SelfMetrics};
    use crate::model::{ErrorReason, PollError};
    use crate::plan::Shard;

    #[test]
    fn version_warning_is_exported_for_24_hours() {
        let self_metrics = SelfMetrics::new("1", "r", "1", Shard::ALL, Arc::default()).unwrap();
        let has_warning = || {
            let page = self_metrics.encode_global();
            page.contains("exporter_api_version_warning{version=\"v25.0\"} 1")
        };
        let warned: jiff::Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
        self_metrics.record_version_warning("v25.0", warned);
        self_metrics.expire_version_warning(warned + SignedDuration::from_hours(23));
        assert!(has_warning());
        self_metrics.expire_version_warning(warned + SignedDuration::from_hours(24));
        assert!(!has_warning());
    }

    #[test]
    fn number_of_error_codes_is_limited_per_business() {
        let self_metrics = SelfMetrics::new("1", "r", "1", Shard::ALL, Arc::default()).unwrap();
        let record = |business: &str, code: i64| {
            let error = PollError {
                code: Some(code),
                ..PollError::new(ErrorReason::Rejected, "no")
            };
            self_metrics.record_call(CallSample {
                business,
                app: None,
                endpoint: "insights",
                duration: std::time::Duration::ZERO,
                error: Some(&error),
            });
        };
        let series = |labels: &str| {
            let page = self_metrics.encode_businesses();
            let lines = page
                .lines()
                .filter(|line| line.contains("request_errors_total{"));
            lines.filter(|line| line.contains(labels)).count()
        };
        let codes = i64::try_from(MAX_ERROR_CODES).unwrap();
        for code in 0..codes + 10 {
            record("acme", code);
        }
        record("acme", 0);
        record("other", codes);
        assert_eq!(series("business=\"acme\""), MAX_ERROR_CODES + 1);
        assert_eq!(series("business=\"acme\",code=\"other\""), 1);
        let page = self_metrics.encode_businesses();
        let other = format!("business=\"other\",code=\"{codes}\"");
        assert!(page.contains(&other), "{page}");
        self_metrics.remove_business("acme");
        record("acme", codes);
        assert_eq!(series("business=\"acme\""), 1);
    }

    #[test]
    fn end_of_the_version_is_replaced_with_the_version() {
        let self_metrics = SelfMetrics::new("1", "r", "1", Shard::ALL, Arc::default()).unwrap();
        let end: jiff::Timestamp = "2027-02-23T00:00:00Z".parse().unwrap();
        self_metrics.set_api_version_end("v25.0", Some(end));
        let page = self_metrics.encode_global();
        assert!(
            page.contains("api_version_end_timestamp_seconds{version=\"v25.0\"} 1803340800"),
            "{page}"
        );
        self_metrics.set_api_version_end("v27.0", None);
        assert!(!self_metrics.encode_global().contains("api_version_end"));
    }
}
