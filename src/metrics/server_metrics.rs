//! Self metrics of the HTTP server and of the files that configure it.

use jiff::Timestamp;
use prometheus::{
    GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

use super::catalog::{SelfMetricFamily, self_metric_families};

/// Label values of a family without labels. A family with optional samples is a vector, which is
/// absent from the page until it has a sample.
const NO_LABELS: &[&str] = &[];

/// Metrics of the HTTP server.
#[derive(Debug)]
pub struct ServerMetrics {
    requests: IntCounterVec,
    connections: IntGauge,
    auth_failures: IntCounter,
    handshake_failures: IntCounter,
    web_config_successful: IntGaugeVec,
    certificate_expiry: GaugeVec,
    config_files_refused: IntGauge,
    state_last_write: GaugeVec,
    state_write_failures: IntCounterVec,
}

impl ServerMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: registered(
                registry,
                |family| IntCounterVec::new(family, self_metric_families::HTTP_REQUESTS.labels),
                self_metric_families::HTTP_REQUESTS,
            )?,
            connections: registered(
                registry,
                IntGauge::with_opts,
                self_metric_families::HTTP_CONNECTIONS,
            )?,
            auth_failures: registered(
                registry,
                IntCounter::with_opts,
                self_metric_families::HTTP_AUTH_FAILURES,
            )?,
            handshake_failures: registered(
                registry,
                IntCounter::with_opts,
                self_metric_families::TLS_HANDSHAKE_FAILURES,
            )?,
            web_config_successful: registered(
                registry,
                |family| IntGaugeVec::new(family, NO_LABELS),
                self_metric_families::WEB_CONFIG_RELOAD_SUCCESSFUL,
            )?,
            certificate_expiry: registered(
                registry,
                |family| GaugeVec::new(family, NO_LABELS),
                self_metric_families::TLS_CERTIFICATE_EXPIRY,
            )?,
            config_files_refused: registered(
                registry,
                IntGauge::with_opts,
                self_metric_families::CONFIG_FILES_REFUSED,
            )?,
            state_last_write: registered(
                registry,
                |family| GaugeVec::new(family, NO_LABELS),
                self_metric_families::STATE_LAST_WRITE_TIME,
            )?,
            state_write_failures: registered(
                registry,
                |family| IntCounterVec::new(family, NO_LABELS),
                self_metric_families::STATE_WRITE_FAILURES,
            )?,
        })
    }

    /// Counts an answered request. `path` is one of a fixed set.
    pub fn record_request(&self, path: &str, code: u16) {
        let code = code.to_string();
        self.requests.with_label_values(&[path, &code]).inc();
    }

    /// Counts a connection that was opened.
    pub fn record_opened(&self) {
        self.connections.inc();
    }

    /// Counts a connection that was closed.
    pub fn record_closed(&self) {
        self.connections.dec();
    }

    /// Counts a refused login.
    pub fn record_auth_failure(&self) {
        self.auth_failures.inc();
    }

    /// Counts a failed TLS handshake.
    pub fn record_handshake_failure(&self) {
        self.handshake_failures.inc();
    }

    /// Sets whether the web config file is in force as it is, and the earliest expiry of the server's
    /// certificates as a Unix timestamp in seconds; `None` without TLS.
    pub fn set_web_config(&self, is_current: bool, expiry: Option<i64>) {
        self.web_config_successful
            .with_label_values(NO_LABELS)
            .set(i64::from(is_current));
        match expiry {
            #[allow(
                clippy::cast_precision_loss,
                reason = "f64 represents the seconds of millions of years exactly"
            )]
            Some(seconds) => self
                .certificate_expiry
                .with_label_values(NO_LABELS)
                .set(seconds as f64),
            None => self.certificate_expiry.reset(),
        }
    }

    /// Exports the number of failed writes of the state file, from 0.
    pub fn enable_state_file(&self) {
        self.state_write_failures.with_label_values(NO_LABELS);
    }

    /// Records a successful write of the state file.
    pub fn record_state_write(&self, now: Timestamp) {
        self.state_last_write
            .with_label_values(NO_LABELS)
            .set(now.as_duration().as_secs_f64());
    }

    /// Counts a failed write of the state file.
    pub fn record_state_write_failure(&self) {
        self.state_write_failures.with_label_values(NO_LABELS).inc();
    }

    /// Sets the number of business files that were refused.
    pub fn set_config_files_refused(&self, files: usize) {
        self.config_files_refused
            .set(i64::try_from(files).unwrap_or(i64::MAX));
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    create: impl FnOnce(Opts) -> prometheus::Result<C>,
    family: SelfMetricFamily,
) -> prometheus::Result<C> {
    let collector = create(Opts::new(family.name, family.help))?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
