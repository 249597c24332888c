//! Requests → answers: one match, no waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::body::Pieces;
use super::landing;
use crate::beat::Beat;
use crate::exposition::{self, CONTENT_TYPE, Own, Page};

/// A crank that has not turned for this long is broken; it turns every second.
const STILL: Duration = Duration::from_secs(15);

/// Whether the exporter works.
pub(super) const HEALTHY: &str = "/-/healthy";

/// What the site consists of.
#[derive(Debug)]
pub struct Site {
    /// Where the metrics stand, `/metrics` for most.
    pub telemetry_path: String,
    /// The newest campaign page.
    pub page: watch::Receiver<Arc<Page>>,
    /// The exporter's own metrics.
    pub own: Arc<Own>,
    /// When the crank last turned.
    pub beat: Arc<Beat>,
    /// Once ready, always ready: a reload that adds sources takes nobody out of rotation.
    pub ready: AtomicBool,
    /// Where reloads are asked for; `None` where nobody may.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    /// What time it is, for the ages on the landing page.
    pub now: fn() -> Timestamp,
}

/// Where another config is asked for.
const RELOAD: &str = "/-/reload";

/// Somebody who wants the config to be read again, and to know how that ended.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

type Answer = Response<Pieces>;

impl Site {
    /// Answers one request. Bodies are not read: nothing takes one.
    pub(super) async fn respond<B>(&self, request: &Request<B>) -> Answer {
        let (method, path) = (request.method(), request.uri().path());
        let allowed = match path {
            RELOAD => "POST",
            "/" | HEALTHY | "/-/ready" => "GET, HEAD",
            path if path == self.telemetry_path => "GET, HEAD",
            _ => return text(StatusCode::NOT_FOUND, "not found; / lists what is there\n"),
        };
        if !allowed
            .split(", ")
            .any(|allowed| allowed == method.as_str())
        {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}\n"));
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        match path {
            RELOAD => self.reload().await,
            HEALTHY => self.healthy(),
            "/-/ready" => self.ready(),
            path if path == self.telemetry_path => {
                self.metrics(request.headers(), method == Method::HEAD)
            }
            _ => self.landing(),
        }
    }

    async fn reload(&self) -> Answer {
        let Some(reload) = &self.reload else {
            return text(StatusCode::FORBIDDEN, "--web.enable-lifecycle is not set\n");
        };
        let (request, ended) = oneshot::channel();
        let asked = reload.send(request).await.is_ok();
        match ended.await {
            Ok(Ok(())) if asked => text(StatusCode::OK, "reloaded\n"),
            Ok(Err(complaints)) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{}\n", complaints.trim_end()),
            ),
            _ => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "nothing here can be reloaded\n",
            ),
        }
    }

    fn metrics(&self, headers: &HeaderMap, head: bool) -> Answer {
        let page = Arc::clone(&self.page.borrow());
        let few = self.own.encode_few();
        let mut answer = if accepts_gzip(headers) {
            match page.gzip(few.as_bytes()) {
                Ok(pieces) => {
                    let mut answer = Response::new(Pieces::ready(pieces));
                    answer
                        .headers_mut()
                        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    answer
                }
                Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        } else {
            Response::new(plain(page, few.into(), head))
        };
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        answer
    }

    /// Whether the crank turns.
    pub(super) fn is_healthy(&self) -> bool {
        self.beat.age() < STILL
    }

    fn healthy(&self) -> Answer {
        let age = self.beat.age();
        if self.is_healthy() {
            text(StatusCode::OK, "healthy\n")
        } else {
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the scheduler has not moved for {} s\n", age.as_secs()),
            )
        }
    }

    fn ready(&self) -> Answer {
        let page = Arc::clone(&self.page.borrow());
        if self.ready.load(Ordering::Relaxed) || page.snapshot.is_ready() {
            self.ready.store(true, Ordering::Relaxed);
            return text(StatusCode::OK, "ready\n");
        }
        let mut missing = String::from("not yet polled:\n");
        for known in page
            .snapshot
            .sources
            .iter()
            .filter(|known| !known.is_tried())
        {
            missing.push_str(&format!(
                "{} {}\n",
                known.source.business, known.source.name
            ));
        }
        text(StatusCode::SERVICE_UNAVAILABLE, missing)
    }

    fn landing(&self) -> Answer {
        let page = Arc::clone(&self.page.borrow());
        let html = landing::html(&page, &self.telemetry_path, (self.now)());
        let mut answer = Response::new(Pieces::ready([Bytes::from(html)]));
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(landing::POLICY),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        answer
    }
}

/// The page as plain text, written while it is sent: a person asks for it now and then, and
/// nobody pays for it in between.
fn plain(page: Arc<Page>, few: Bytes, head: bool) -> Pieces {
    let own = [few, page.businesses.clone()];
    let (body, mut writer) = Pieces::written(own, page.plain_bytes);
    if !head {
        // A reader that hangs up ends the writing: there is nobody left to be told.
        tokio::task::spawn_blocking(move || drop(exposition::write(&page.snapshot, &mut writer)));
    }
    body
}

/// A plain answer.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Pieces::ready([text.into()]));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// Whether the client takes gzip: named, or covered by `*`, and not refused by a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lists = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut accepted = None;
    for coding in lists.flat_map(|list| list.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or(part.strip_prefix("Q="));
            weight
                .and_then(|weight| weight.trim().parse::<f64>().ok())
                .is_some_and(|weight| weight <= 0.0)
        });
        match name.as_str() {
            "gzip" | "x-gzip" => return !refused,
            "*" => accepted = Some(!refused),
            _ => {}
        }
    }
    accepted.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

    use super::accepts_gzip;

    #[test]
    fn gzip_is_sent_only_to_those_who_take_it() {
        for (accept, gzip) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("*;q=1, gzip;q=0.0", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), gzip, "{accept}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
