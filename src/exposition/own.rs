//! The exporter about itself: counters and gauges kept and encoded by the `prometheus` crate.
//!
//! Those about the process are few, and encoded at the scrape. Those about businesses are many where
//! businesses are, and so encoded when they changed, beside the campaign page. What grows with the
//! number of sources stands on the campaign page itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::catalog::{OwnFamily, own_families};
use super::standing::{encode, encoded};
use crate::fault::Reason;
use crate::plan::Shard;

/// Answers take a tenth of a second to half a minute, which is where the client gives up.
const DURATION_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// One request to the API, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose token asked.
    pub business: &'a str,
    /// What was asked.
    pub endpoint: &'static str,
    /// How long the answer took.
    pub duration: Duration,
    /// What went wrong, with Meta's code.
    pub fault: Option<(Reason, Option<i64>)>,
}

/// The exporter's own metrics.
#[derive(Debug)]
pub struct Own {
    /// What does not grow.
    pub(super) few: Registry,
    /// What has a label `business`, by name: to encode is to copy, and this way one family at a time.
    pub(super) many: BTreeMap<&'static str, Registry>,
    /// How often anything of `many` changed.
    changes: AtomicU64,
    polls: IntCounterVec,
    poll_failures: IntCounterVec,
    polls_skipped: IntCounterVec,
    api_requests: IntCounterVec,
    api_request_errors: IntCounterVec,
    api_request_duration: Histogram,
    pub(super) api_usage: GaugeVec,
    api_access_tier: IntGaugeVec,
    /// The tier that `api_access_tier` tells of each business and account.
    tiers: Mutex<HashMap<[String; 2], String>>,
    api_version: IntGaugeVec,
    /// The versions that `api_version` tells: asked for, and answered.
    answered: Mutex<Option<[String; 2]>>,
    pub(super) token_valid: IntGaugeVec,
    pub(super) token_expires: GaugeVec,
    values_rejected: IntCounterVec,
    field_rejected: IntGaugeVec,
    reload_successful: IntGauge,
    reload_success_time: Gauge,
    sources: IntGaugeVec,
    sources_configured: IntGauge,
    page_series: IntGauge,
    page_bytes: IntGauge,
    pub(super) shard: Shard,
    /// All of them as they were lately, and when.
    pub(super) gathered: Mutex<Option<(Timestamp, Arc<[MetricFamily]>)>>,
}

impl Own {
    /// Registers every own metric.
    ///
    /// # Errors
    /// When the catalog names a metric that Prometheus would not take, or one twice.
    pub fn new(
        version: &str,
        revision: &str,
        rustversion: &str,
        shard: Shard,
    ) -> prometheus::Result<Self> {
        let few = Registry::new();
        let many = own_families::ALL.iter();
        let many = many.filter(|family| family.labels.contains(&"business"));
        let many: BTreeMap<_, _> = many.map(|family| (family.name, Registry::new())).collect();
        let registry = |family: OwnFamily| many.get(family.name).unwrap_or(&few);
        let counters = |family: OwnFamily| {
            let counters = IntCounterVec::new(opts(family), family.labels)?;
            registered(registry(family), counters)
        };
        let gauges = |family: OwnFamily| {
            let gauges = IntGaugeVec::new(opts(family), family.labels)?;
            registered(registry(family), gauges)
        };
        let floats = |family: OwnFamily| {
            let gauges = GaugeVec::new(opts(family), family.labels)?;
            registered(registry(family), gauges)
        };
        let gauge = |family: OwnFamily| registered(&few, IntGauge::with_opts(opts(family))?);
        let duration = own_families::API_REQUEST_DURATION;
        let duration =
            HistogramOpts::new(duration.name, duration.help).buckets(DURATION_BUCKETS.to_vec());
        gauges(own_families::BUILD_INFO)?
            .with_label_values(&[version, revision, rustversion])
            .set(1);
        gauges(own_families::SHARD)?
            .with_label_values(&[shard.index().to_string(), shard.count().to_string()])
            .set(1);
        Ok(Self {
            polls: counters(own_families::POLLS)?,
            poll_failures: counters(own_families::POLL_FAILURES)?,
            polls_skipped: counters(own_families::POLLS_SKIPPED)?,
            api_requests: counters(own_families::API_REQUESTS)?,
            api_request_errors: counters(own_families::API_REQUEST_ERRORS)?,
            api_request_duration: registered(&few, Histogram::with_opts(duration)?)?,
            api_usage: floats(own_families::API_USAGE)?,
            api_access_tier: gauges(own_families::API_ACCESS_TIER)?,
            tiers: Mutex::default(),
            api_version: gauges(own_families::API_VERSION)?,
            answered: Mutex::default(),
            token_valid: gauges(own_families::TOKEN_VALID)?,
            token_expires: floats(own_families::TOKEN_EXPIRES)?,
            values_rejected: counters(own_families::VALUES_REJECTED)?,
            field_rejected: gauges(own_families::FIELD_REJECTED)?,
            reload_successful: gauge(own_families::RELOAD_SUCCESSFUL)?,
            reload_success_time: registered(
                &few,
                Gauge::with_opts(opts(own_families::RELOAD_SUCCESS_TIME))?,
            )?,
            sources: gauges(own_families::SOURCES)?,
            sources_configured: gauge(own_families::SOURCES_CONFIGURED)?,
            page_series: gauge(own_families::PAGE_SERIES)?,
            page_bytes: gauge(own_families::PAGE_BYTES)?,
            changes: AtomicU64::new(0),
            few,
            many,
            shard,
            gathered: Mutex::default(),
        })
    }

    /// Adds a collector that lives elsewhere, such as that of the process.
    ///
    /// # Errors
    /// When its names are taken.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        self.few.register(collector)
    }

    /// All own metrics as text, at this moment.
    pub fn encode(&self) -> String {
        self.encode_few() + &self.encode_businesses()
    }

    /// Those that are as many with one business as with thousands.
    pub fn encode_few(&self) -> String {
        encoded(&self.few.gather())
    }

    /// Those of every business; with thousands that takes a tenth of a second.
    pub fn encode_businesses(&self) -> String {
        let mut text = String::new();
        for family in self.many.values() {
            encode(&family.gather(), &mut text);
        }
        text
    }

    /// A number that is another one as soon as [`Own::encode_businesses`] would tell something new.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// To be called after a change: whoever sees the number sees the change.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How many sources the config has, of all shards.
    pub fn configured(&self, sources: usize) {
        self.sources_configured
            .set(i64::try_from(sources).unwrap_or(i64::MAX));
    }

    /// A business that is polled from now on: its counters begin at 0, so that the first event is
    /// an increase.
    pub fn business(&self, business: &str, sources: usize) {
        self.sources
            .with_label_values(&[business])
            .set(i64::try_from(sources).unwrap_or(i64::MAX));
        self.polls.with_label_values(&[business]);
        self.polls_skipped.with_label_values(&[business]);
        for reason in Reason::ALL {
            self.poll_failures
                .with_label_values(&[business, reason.as_str()]);
        }
        self.changed();
    }

    /// A business that is polled no longer: whatever names it vanishes.
    pub fn forget(&self, business: &str) {
        let labels = [("business", business)];
        forget(&self.polls, &labels);
        forget(&self.poll_failures, &labels);
        forget(&self.polls_skipped, &labels);
        forget(&self.api_requests, &labels);
        forget(&self.api_request_errors, &labels);
        forget(&self.api_usage, &labels);
        forget(&self.api_access_tier, &labels);
        forget(&self.token_valid, &labels);
        forget(&self.token_expires, &labels);
        forget(&self.field_rejected, &labels);
        forget(&self.sources, &labels);
        let mut tiers = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        tiers.retain(|[of, _], _| of != business);
        self.changed();
    }

    /// An ad account that a business no longer asks about.
    pub fn forget_account(&self, business: &str, account_id: &str) {
        let labels = [("business", business), ("account_id", account_id)];
        forget(&self.api_usage, &labels);
        forget(&self.api_access_tier, &labels);
        let mut tiers = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        tiers.retain(|[of, account], _| of != business || account != account_id);
        self.changed();
    }

    /// A poll ended.
    pub fn polled(&self, business: &str, failed: Option<Reason>) {
        self.polls.with_label_values(&[business]).inc();
        if let Some(reason) = failed {
            self.poll_failures
                .with_label_values(&[business, reason.as_str()])
                .inc();
        }
        self.changed();
    }

    /// A poll was due and left out.
    pub fn skipped(&self, business: &str) {
        self.polls_skipped.with_label_values(&[business]).inc();
        self.changed();
    }

    /// A request ended.
    pub fn called(&self, call: Call<'_>) {
        self.api_requests
            .with_label_values(&[call.business, call.endpoint])
            .inc();
        self.api_request_duration
            .observe(call.duration.as_secs_f64());
        if let Some((reason, code)) = call.fault {
            let code = code.map(|code| code.to_string()).unwrap_or_default();
            let labels = [call.business, call.endpoint, reason.as_str(), &code];
            self.api_request_errors.with_label_values(&labels).inc();
        }
        self.changed();
    }

    /// What a usage header said; 1 is the whole quota.
    pub fn usage(&self, business: &str, account_id: &str, limit: &str, quantity: &str, ratio: f64) {
        self.api_usage
            .with_label_values(&[business, account_id, limit, quantity])
            .set(ratio);
        self.changed();
    }

    /// The access tier that a header named; an account has one.
    pub fn access_tier(&self, business: &str, account_id: &str, tier: &str) {
        let mut known = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = [business, account_id].map(str::to_owned);
        self.api_access_tier
            .with_label_values(&[business, account_id, tier])
            .set(1);
        if let Some(before) = known.insert(key, tier.to_owned())
            && before != tier
        {
            let before = [business, account_id, &before];
            drop(self.api_access_tier.remove_label_values(&before));
        }
        self.changed();
    }

    /// The version that answered; says whether that is news.
    pub fn version(&self, configured: &str, answered: &str) -> bool {
        let mut known = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let news = [configured, answered];
        if known.as_ref().is_some_and(|known| *known == news) {
            return false;
        }
        // The new one first: no scrape finds none.
        self.api_version.with_label_values(&news).set(1);
        if let Some([configured, answered]) = known.replace(news.map(str::to_owned)) {
            drop(
                self.api_version
                    .remove_label_values(&[&configured, &answered]),
            );
        }
        true
    }

    /// Whether the API took a business' token.
    pub fn token_valid(&self, business: &str, valid: bool) {
        self.token_valid
            .with_label_values(&[business])
            .set(i64::from(valid));
        self.changed();
    }

    /// When a business' token expires; `None` for never.
    pub fn token_expires(&self, business: &str, at: Option<Timestamp>) {
        match at {
            Some(at) => self
                .token_expires
                .with_label_values(&[business])
                .set(at.as_duration().as_secs_f64()),
            // There is nothing to remove where it never expired: that is no error.
            None => drop(self.token_expires.remove_label_values(&[business])),
        }
        self.changed();
    }

    /// Values of a field that were no finite numbers.
    pub fn values_rejected(&self, field: &str, count: u64) {
        self.values_rejected
            .with_label_values(&[field])
            .inc_by(count);
    }

    /// A field that is no longer asked for; says whether that is news.
    pub fn field_rejected(&self, business: &str, field: &str) -> bool {
        let rejected = self.field_rejected.with_label_values(&[business, field]);
        let news = rejected.get() == 0;
        rejected.set(1);
        self.changed();
        news
    }

    /// An attempt to load the config, and when, if it succeeded.
    pub fn reloaded(&self, at: Option<Timestamp>) {
        self.reload_successful.set(i64::from(at.is_some()));
        if let Some(at) = at {
            self.reload_success_time.set(at.as_duration().as_secs_f64());
        }
    }

    /// A new campaign page.
    pub fn page(&self, series: u64, bytes: u64) {
        self.page_series
            .set(i64::try_from(series).unwrap_or(i64::MAX));
        self.page_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// Removes every series of a family that has all of these labels.
fn forget<T: MetricVecBuilder>(family: &MetricVec<T>, wanted: &[(&str, &str)]) {
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
        if wanted
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
        {
            // It was there a moment ago; if it is gone, so much the better.
            drop(family.remove(&labels));
        }
    }
}

fn opts(family: OwnFamily) -> Opts {
    Opts::new(family.name, family.help)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
