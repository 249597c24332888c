//! Routing: maps each request to a response.
//!
//! The handlers here answer from memory. Responses that must be rendered first are in `on_demand`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::body::ChunkedBody;
use super::landing::PageQuery;
use super::on_demand::{MAX_CONCURRENT_RENDERS, MAX_ON_DEMAND_READERS, too_many_readers};
use super::response::{
    HttpResponse, accepts_gzip, metrics, plain_text, preferred_format, redirect,
};
use super::web::refusals::RefusalLog;
use super::web::scope::BusinessScope;
use crate::config::Config;
use crate::metrics::{MetricsPage, PageFormat, SelfMetrics};
use crate::plan::Shard;
use crate::platform::Heartbeat;
use crate::snapshot::{HealthTracker, SourceState};

/// Heartbeat age from which the scheduler counts as stalled. It records a heartbeat every second.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Liveness: 200 while the scheduler makes progress.
const HEALTHY_PATH: &str = "/-/healthy";

/// Readiness: 200 after every source was polled once.
const READY_PATH: &str = "/-/ready";

/// State that all HTTP handlers share.
#[derive(Debug)]
pub struct AppState {
    /// Path of the metrics page below `route_prefix`, by default `/metrics`.
    pub telemetry_path: String,
    /// Prefix of all paths, such as `/exporter`; empty by default.
    pub route_prefix: String,
    /// Latest rendered metrics page.
    pub page: watch::Receiver<Arc<MetricsPage>>,
    /// Metrics about the exporter itself.
    pub self_metrics: Arc<SelfMetrics>,
    /// Health of the businesses.
    pub health: Arc<HealthTracker>,
    /// Shard of this replica.
    pub shard: Shard,
    /// Parts of the current config that the handlers need.
    pub served_config: watch::Receiver<Arc<ServedConfig>>,
    /// Heartbeat of the scheduler.
    pub heartbeat: Arc<Heartbeat>,
    /// Whether the exporter was ready once. It stays ready then, so that a reload that adds sources
    /// does not take it out of a load balancer.
    pub was_ready: AtomicBool,
    /// Channel for requests to reload the config; `None` without `--web.enable-lifecycle`.
    pub reload_requests: Option<mpsc::Sender<ReloadRequest>>,
    /// Makes all polls due; `None` without `--web.enable-lifecycle`.
    pub poll_now: Option<Arc<Notify>>,
    /// Clock, for the ages on the landing page.
    pub now: fn() -> Timestamp,
    /// Limits concurrent on-demand renders.
    pub render_permits: Arc<Semaphore>,
    /// Limits responses that are rendered on demand and not read completely yet.
    pub reader_permits: Arc<Semaphore>,
    /// Log of refused logins.
    pub refusals: RefusalLog,
}

impl AppState {
    /// Returns a semaphore with one permit per concurrent on-demand render.
    pub fn new_render_permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_CONCURRENT_RENDERS))
    }

    /// Returns a semaphore with one permit per response that is rendered on demand.
    pub fn new_reader_permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_ON_DEMAND_READERS))
    }

    /// Returns the path below the route prefix, or `None` if it is outside of it.
    fn local_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        let local = path.strip_prefix(self.route_prefix.as_str())?;
        local.starts_with('/').then_some(local)
    }

    /// Returns whether a request for `path` is a probe for liveness or readiness.
    pub(super) fn is_probe(&self, path: &str) -> bool {
        matches!(self.local_path(path), Some(HEALTHY_PATH | READY_PATH))
    }

    /// Returns whether a request for `path` is a probe for liveness.
    pub(super) fn is_health_check(&self, path: &str) -> bool {
        self.local_path(path) == Some(HEALTHY_PATH)
    }

    /// Returns the value of the label `path` in metrics.
    pub(super) fn path_label(&self, path: &str) -> &str {
        match self.local_path(path) {
            Some(path) if path == self.telemetry_path => &self.telemetry_path,
            Some(path) => {
                let mut reserved = RESERVED_PATHS.into_iter();
                reserved.find(|known| *known == path).unwrap_or("other")
            }
            None => "other",
        }
    }
}

/// Parts of a config that affect HTTP responses.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedConfig {
    /// Fraction of each quota above which polls slow down (`polling.quota_share`).
    pub quota_share: f64,
    /// Names of all businesses in the config, including those that other shards poll.
    pub businesses: BTreeSet<Box<str>>,
    /// Errors of the config files that are not in force as they are; empty if there are none.
    pub config_errors: String,
}

impl ServedConfig {
    /// Returns the served parts of `config`.
    pub fn of(config: &Config) -> Self {
        let names = config
            .businesses
            .iter()
            .map(|business| business.name.as_str().into());
        Self {
            quota_share: config.polling.quota_share,
            businesses: names.collect(),
            config_errors: String::new(),
        }
    }
}

/// Health of all businesses as JSON.
const STATUS_PATH: &str = "/api/status";

/// Reloads the config.
const RELOAD_PATH: &str = "/-/reload";

/// Makes all polls due.
const POLL_PATH: &str = "/-/poll";

/// Paths that cannot be that of the metrics page.
pub const RESERVED_PATHS: [&str; 6] = [
    "/",
    HEALTHY_PATH,
    READY_PATH,
    STATUS_PATH,
    RELOAD_PATH,
    POLL_PATH,
];

/// Request to reload the config. The result, with the config errors, is sent to it.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

impl AppState {
    /// Responds to a request with data of the businesses in `scope`. Request bodies are ignored.
    pub(super) async fn respond<B>(
        &self,
        request: &Request<B>,
        scope: &BusinessScope,
    ) -> HttpResponse {
        let (method, uri) = (request.method(), request.uri());
        let Some(path) = self.local_path(uri.path()) else {
            if uri.path() == "/" || uri.path() == self.route_prefix {
                return redirect(&format!("{}/", self.route_prefix));
            }
            return not_found();
        };
        let allowed = match path {
            RELOAD_PATH | POLL_PATH => "POST",
            "/" | HEALTHY_PATH | READY_PATH | STATUS_PATH => "GET, HEAD",
            path if path == self.telemetry_path => "GET, HEAD",
            _ => return not_found(),
        };
        if let Some(refusal) = method_refusal(method, allowed) {
            return refusal;
        }
        if method == Method::POST && is_cross_site(request.headers()) {
            return plain_text(
                StatusCode::FORBIDDEN,
                "requests from other web sites are refused\n",
            );
        }
        match path {
            RELOAD_PATH => return self.reload(scope).await,
            POLL_PATH => return self.poll_now(scope),
            HEALTHY_PATH => return self.healthy(),
            READY_PATH => return self.ready(scope),
            _ => {}
        }
        let config = Arc::clone(&self.served_config.borrow());
        let Some(scope) = scope.intersect(uri.query(), &config.businesses) else {
            return plain_text(StatusCode::NOT_FOUND, "unknown business\n");
        };
        if path == self.telemetry_path {
            return match scope {
                BusinessScope::All => {
                    self.metrics(request.headers(), method == Method::HEAD)
                        .await
                }
                scope => self.filtered_metrics(request.headers(), scope).await,
            };
        }
        match path {
            STATUS_PATH => self.status(request.headers(), scope).await,
            _ => self.landing(scope, PageQuery::of(uri.query())).await,
        }
    }

    /// Responds to a request of the listener for health checks, without names.
    pub(super) fn respond_health<B>(&self, request: &Request<B>) -> HttpResponse {
        let path = request.uri().path();
        if !matches!(path, HEALTHY_PATH | READY_PATH) {
            return not_found();
        }
        if let Some(refusal) = method_refusal(request.method(), "GET, HEAD") {
            return refusal;
        }
        if path == HEALTHY_PATH {
            return self.healthy();
        }
        match self.unattempted_sources(&BusinessScope::All) {
            Ok(()) => plain_text(StatusCode::OK, "ready\n"),
            Err(missing) => plain_text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not yet polled: {} sources\n", missing.len()),
            ),
        }
    }

    async fn reload(&self, scope: &BusinessScope) -> HttpResponse {
        if *scope != BusinessScope::All {
            return plain_text(
                StatusCode::FORBIDDEN,
                "this user can access only some businesses and must not reload the config\n",
            );
        }
        let Some(reload_requests) = &self.reload_requests else {
            return plain_text(
                StatusCode::FORBIDDEN,
                "reload is disabled; start the exporter with --web.enable-lifecycle\n",
            );
        };
        let (request, result) = oneshot::channel();
        let sent = reload_requests.send(request).await.is_ok();
        match result.await {
            Ok(Ok(())) if sent => plain_text(StatusCode::OK, "reloaded\n"),
            Ok(Err(errors)) => plain_text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{}\n", errors.trim_end()),
            ),
            _ => plain_text(
                StatusCode::SERVICE_UNAVAILABLE,
                "reload is unavailable: the exporter has no config file or is shutting down\n",
            ),
        }
    }

    fn poll_now(&self, scope: &BusinessScope) -> HttpResponse {
        if *scope != BusinessScope::All {
            return plain_text(
                StatusCode::FORBIDDEN,
                "this user can access only some businesses and must not start polls\n",
            );
        }
        let Some(poll_now) = &self.poll_now else {
            return plain_text(
                StatusCode::FORBIDDEN,
                "polls on request are disabled; start the exporter with --web.enable-lifecycle\n",
            );
        };
        poll_now.notify_one();
        plain_text(
            StatusCode::ACCEPTED,
            "all sources are polled as soon as quotas and pauses permit\n",
        )
    }

    async fn metrics(&self, headers: &HeaderMap, head: bool) -> HttpResponse {
        let page = Arc::clone(&self.page.borrow());
        let format = preferred_format(headers);
        let global_metrics = format.convert(self.self_metrics.encode_global());
        if accepts_gzip(headers) {
            let body = page.gzip(format, global_metrics.as_bytes());
            return metrics(ChunkedBody::from_gzip(body), format, true);
        }
        let Some(permit) = self.reader_permit().await else {
            return too_many_readers();
        };
        let mut body = uncompressed_body(page, format, global_metrics.into(), head);
        body.hold(permit);
        metrics(body, format, false)
    }

    /// Returns whether the scheduler makes progress.
    pub(super) fn is_healthy(&self) -> bool {
        self.heartbeat.age() < STALL_TIMEOUT
    }

    fn healthy(&self) -> HttpResponse {
        let age = self.heartbeat.age();
        if self.is_healthy() {
            plain_text(StatusCode::OK, "healthy\n")
        } else {
            plain_text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the scheduler has made no progress for {} s\n",
                    age.as_secs()
                ),
            )
        }
    }

    fn ready(&self, scope: &BusinessScope) -> HttpResponse {
        let missing = match self.unattempted_sources(scope) {
            Ok(()) => return plain_text(StatusCode::OK, "ready\n"),
            Err(missing) => missing,
        };
        let mut text = String::from("not yet polled:\n");
        for state in missing {
            text.push_str(&format!(
                "{} {}\n",
                state.source.business, state.source.name
            ));
        }
        plain_text(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// Returns the sources in `scope` that were not polled yet, if the exporter was never ready.
    fn unattempted_sources(&self, scope: &BusinessScope) -> Result<(), Vec<Arc<SourceState>>> {
        let all = Arc::clone(&self.page.borrow().snapshot);
        if all.is_ready() {
            // Independent of the scope of this request.
            self.was_ready.store(true, Ordering::Relaxed);
        }
        let snapshot = scope.filter(&all);
        if self.was_ready.load(Ordering::Relaxed) || snapshot.is_ready() {
            return Ok(());
        }
        let sources = snapshot.sources.iter();
        Err(sources
            .filter(|state| !state.is_attempted())
            .cloned()
            .collect())
    }
}

fn not_found() -> HttpResponse {
    plain_text(
        StatusCode::NOT_FOUND,
        "not found; see / for the available pages\n",
    )
}

/// Returns the response to a request with a method that is not in the list `allowed`.
fn method_refusal(method: &Method, allowed: &'static str) -> Option<HttpResponse> {
    if allowed.split(", ").any(|name| name == method.as_str()) {
        return None;
    }
    let mut response = plain_text(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("method not allowed; use {allowed}\n"),
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    Some(response)
}

/// Whether a browser sent the request for a page of another web site.
///
/// Browsers send `Sec-Fetch-Site` only to servers with TLS and to `localhost`, but `Origin` with every POST.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "cross-site";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    // The origin has a scheme and, as `Host`, no default port. An unknown one is `null`.
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    authority.is_none() || authority != host
}

/// Returns the metrics page as plain text, decompressed while it is sent. Only people request it,
/// now and then, so a plain copy is not kept in memory.
fn uncompressed_body(
    page: Arc<MetricsPage>,
    format: PageFormat,
    global_metrics: Bytes,
    head: bool,
) -> ChunkedBody {
    let self_metrics = [global_metrics, page.businesses(format)];
    let (body, writer) = ChunkedBody::streamed(self_metrics, page.length(format));
    if !head {
        spawn_blocking(move || {
            // Fails only if the client disconnects.
            let _ = page.write(format, writer);
        });
    }
    body
}

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};

    use super::is_cross_site;

    #[test]
    fn request_for_page_of_another_site_is_recognized() {
        const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
        for (site, origin, expected) in [
            // Programs such as curl send neither.
            (None, None, false),
            (None, Some("http://exporter:10919"), false),
            (None, Some("https://exporter:10919"), false),
            (None, Some("http://evil.example"), true),
            (None, Some("http://exporter"), true),
            (None, Some("null"), true),
            (None, Some(""), true),
            (Some("cross-site"), None, true),
            (Some("cross-site"), Some("http://exporter:10919"), true),
            // A reverse proxy can change `Host`.
            (Some("same-origin"), Some("https://proxy.example"), false),
            (Some("none"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("exporter:10919"));
            for (name, value) in [(SITE, site), (ORIGIN, origin)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_cross_site(&headers), expected, "{site:?} {origin:?}");
        }
    }
}
