//! Responses that are rendered on request: the metrics of some businesses, the status and the landing
//! page.
//!
//! Rendering uses CPU, so it runs on blocking threads, and few renders run concurrently. The
//! unrestricted metrics page is rendered in advance.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::body::ChunkedBody;
use super::landing::{self, PageQuery};
use super::response::{
    HttpResponse, accepts_gzip, metrics, plain_text, preferred_format, with_content_type,
};
use super::routes::AppState;
use super::status::StatusReport;
use super::web::scope::BusinessScope;
use crate::metrics::{self, MetricsPage, PageFormat};

/// Maximum number of concurrent renders. A render takes milliseconds, or tens of milliseconds with
/// thousands of businesses; the blocking threads have other work too.
pub(super) const MAX_CONCURRENT_RENDERS: usize = 2;

/// Maximum number of responses that are rendered on demand and not read completely yet. Each of them
/// is in memory, and an uncompressed metrics page also has a thread.
pub(super) const MAX_ON_DEMAND_READERS: usize = 16;

/// Maximum time to wait until another client has read its response.
const READER_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the response to a request that exceeds `MAX_ON_DEMAND_READERS`.
pub(super) fn too_many_readers() -> HttpResponse {
    let mut response = plain_text(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many clients read slowly; try again later\n",
    );
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

impl AppState {
    /// Returns a permit to hold until a response that is rendered on demand has been read; `None` if
    /// other clients hold all permits for too long.
    pub(super) async fn reader_permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.reader_permits).acquire_owned();
        timeout(READER_TIMEOUT, permit).await.ok()?.ok()
    }

    /// Returns the metrics of the businesses in `scope`. Rendering them on request is fast for one of
    /// many businesses, and keeps only one page in memory.
    pub(super) async fn filtered_metrics(
        &self,
        headers: &HeaderMap,
        scope: BusinessScope,
    ) -> HttpResponse {
        let snapshot = scope.filter(&self.page.borrow().snapshot);
        let self_metrics = Arc::clone(&self.self_metrics);
        let gzip = accepts_gzip(headers);
        let format = preferred_format(headers);
        let now = (self.now)();
        self.render_blocking(move || {
            let self_metrics = self_metrics.encode_filtered(|business| scope.sees(business), now);
            if gzip {
                let page = MetricsPage::render(snapshot, self_metrics, None)?;
                let body = page.gzip(format, b"");
                return Ok(metrics(ChunkedBody::from_gzip(body), format, true));
            }
            let mut text = self_metrics.into_bytes();
            metrics::write_campaign_page(&snapshot, &mut text)?;
            if format == PageFormat::OpenMetrics {
                text = metrics::formats::to_openmetrics(&String::from_utf8_lossy(&text)).into();
            }
            let body = ChunkedBody::from_bytes([Bytes::from(text)]);
            Ok::<_, std::io::Error>(metrics(body, format, false))
        })
        .await
    }

    /// Returns the status of the businesses in `scope` as JSON.
    pub(super) async fn status(&self, headers: &HeaderMap, scope: BusinessScope) -> HttpResponse {
        let gzip = accepts_gzip(headers);
        self.with_status(scope, move |status, _| {
            let json = status.json()?;
            if !gzip {
                return Ok(with_content_type("application/json", json));
            }
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder
                .write_all(json.as_bytes())
                .map_err(serde_json::Error::io)?;
            let body = encoder.finish().map_err(serde_json::Error::io)?;
            let mut response = with_content_type("application/json", body);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
            Ok(response)
        })
        .await
    }

    /// Returns the landing page for the businesses in `scope`.
    pub(super) async fn landing(
        &self,
        scope: BusinessScope,
        page_query: PageQuery,
    ) -> HttpResponse {
        let telemetry_path = self.telemetry_path.clone();
        // Errors of the config can name businesses that a restricted user must not see.
        let config_errors = match scope {
            BusinessScope::All => self.served_config.borrow().config_errors.clone(),
            BusinessScope::Only(_) => String::new(),
        };
        self.with_status(scope, move |status, series| {
            let page = landing::page(status, series, &telemetry_path, &config_errors, &page_query);
            let mut response = with_content_type("text/html; charset=utf-8", page.into_string());
            let headers = response.headers_mut();
            if let Ok(policy) = HeaderValue::from_str(&landing::CONTENT_SECURITY_POLICY) {
                headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            headers.insert(
                header::REFERRER_POLICY,
                HeaderValue::from_static("no-referrer"),
            );
            Ok(response)
        })
        .await
    }

    /// Builds the status report and passes it to `render`, with the number of series if `scope` is
    /// unrestricted.
    async fn with_status(
        &self,
        scope: BusinessScope,
        render: impl FnOnce(&StatusReport<'_>, Option<u64>) -> serde_json::Result<HttpResponse>
        + Send
        + 'static,
    ) -> HttpResponse {
        let page = Arc::clone(&self.page.borrow());
        let health = Arc::clone(&self.health);
        let shard = self.shard;
        let quota_share = self.served_config.borrow().quota_share;
        let now = (self.now)();
        self.render_blocking(move || {
            let health = health.report(|business| scope.sees(business));
            let status = StatusReport::of(&page.snapshot, health, shard, &scope, quota_share, now);
            render(
                &status,
                (scope == BusinessScope::All).then_some(page.series),
            )
        })
        .await
    }

    /// Runs `render` on a blocking thread, after waiting for a permit. An error is answered with 500.
    async fn render_blocking<E: Display + Send + 'static>(
        &self,
        render: impl FnOnce() -> Result<HttpResponse, E> + Send + 'static,
    ) -> HttpResponse {
        let Some(reader_permit) = self.reader_permit().await else {
            return too_many_readers();
        };
        let permit = Arc::clone(&self.render_permits).acquire_owned().await;
        let rendering = spawn_blocking(move || {
            let response = render();
            // Released here and not by the request: rendering continues if the client disconnects.
            drop(permit);
            response.map_err(|error| error.to_string())
        });
        let response = rendering
            .await
            .unwrap_or_else(|error| Err(error.to_string()));
        let mut response = response.unwrap_or_else(|error| {
            plain_text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
        });
        response.body_mut().hold(reader_permit);
        response
    }
}
