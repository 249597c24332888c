//! Requests → answers: one match, no waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::body::Pieces;
use super::landing::{self, Visit};
use super::scope::Scope;
use super::status::Status;
use crate::beat::Beat;
use crate::config::Config;
use crate::exposition::{self, CONTENT_TYPE, Own, Page};

/// A crank that has not turned for this long is broken; it turns every second.
const STILL: Duration = Duration::from_secs(15);

/// Whether the exporter works.
pub(super) const HEALTHY: &str = "/-/healthy";

/// Whether every source was tried.
const READY: &str = "/-/ready";

/// What the site consists of.
#[derive(Debug)]
pub struct Site {
    /// Where the metrics stand, `/metrics` for most.
    pub telemetry_path: String,
    /// The newest campaign page.
    pub page: watch::Receiver<Arc<Page>>,
    /// The exporter's own metrics.
    pub own: Arc<Own>,
    /// What of the config in force matters here.
    pub wanted: watch::Receiver<Arc<Wanted>>,
    /// When the crank last turned.
    pub beat: Arc<Beat>,
    /// Once ready, always ready: a reload that adds sources takes nobody out of rotation.
    pub ready: AtomicBool,
    /// Where reloads are asked for; `None` where nobody may.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    /// What time it is, for the ages on the landing page.
    pub now: fn() -> Timestamp,
}

/// What of a config matters to who looks at it from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The part of each quota above which polls slow down.
    pub quota_share: f64,
    /// Every business that it names, polled here or not.
    pub businesses: BTreeSet<Box<str>>,
}

impl Wanted {
    /// Of that config.
    pub fn of(config: &Config) -> Self {
        let businesses = config.businesses.iter();
        Self {
            quota_share: config.polling.quota_share,
            businesses: businesses.map(|one| one.name.as_str().into()).collect(),
        }
    }
}

/// How everything fares, for programs.
const STATUS: &str = "/api/status";

/// Where another config is asked for.
const RELOAD: &str = "/-/reload";

/// Somebody who wants the config to be read again, and to know how that ended.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

type Answer = Response<Pieces>;

impl Site {
    /// Answers one request, with what `scope` may be told. Bodies are not read: nothing takes one.
    pub(super) async fn respond<B>(&self, request: &Request<B>, scope: &Scope) -> Answer {
        let (method, uri) = (request.method(), request.uri());
        let path = uri.path();
        let allowed = match path {
            RELOAD => "POST",
            "/" | HEALTHY | READY | STATUS => "GET, HEAD",
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
            RELOAD => return self.reload(scope).await,
            HEALTHY => return self.healthy(),
            READY => return self.ready(scope),
            _ => {}
        }
        let known = Arc::clone(&self.wanted.borrow());
        let Some(scope) = scope.narrowed(uri.query(), &known.businesses) else {
            return text(StatusCode::NOT_FOUND, "there is no such business here\n");
        };
        if path == self.telemetry_path {
            return match scope {
                Scope::All => self.metrics(request.headers(), method == Method::HEAD),
                scope => self.metrics_of(request.headers(), scope).await,
            };
        }
        let visit = Visit::of(uri.query());
        let telemetry_path = self.telemetry_path.clone();
        match path {
            STATUS => {
                self.told(scope, known.quota_share, |status, _| {
                    let json = status.json().map_err(|error| error.to_string())?;
                    Ok(typed("application/json", json))
                })
                .await
            }
            _ => {
                self.told(scope, known.quota_share, move |status, series| {
                    Ok(page(landing::html(status, series, &telemetry_path, &visit)))
                })
                .await
            }
        }
    }

    async fn reload(&self, scope: &Scope) -> Answer {
        if *scope != Scope::All {
            return text(
                StatusCode::FORBIDDEN,
                "this user may look at its own businesses alone\n",
            );
        }
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
        let own = self.own.encode();
        if accepts_gzip(headers) {
            return match page.gzip(own.as_bytes()) {
                Ok(pieces) => metrics(Pieces::ready(pieces), true),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            };
        }
        metrics(plain(page, own.into(), head), false)
    }

    /// The page of some businesses. It is rendered when it is asked for: that takes a moment for
    /// one of many, and what is kept for everybody stays one page.
    async fn metrics_of(&self, headers: &HeaderMap, scope: Scope) -> Answer {
        let snapshot = scope.of(&self.page.borrow().snapshot);
        let own = Arc::clone(&self.own);
        let gzip = accepts_gzip(headers);
        let now = (self.now)();
        let rendered = spawn_blocking(move || {
            let own = own.encode_of(|business| scope.sees(business), now);
            let own = own.into_bytes();
            if gzip {
                let page = Page::render(snapshot)?;
                return page.gzip(&own).map(Pieces::ready);
            }
            let mut text = own;
            exposition::write(&snapshot, &mut text)?;
            Ok(Pieces::ready([Bytes::from(text)]))
        });
        match rendered.await {
            Ok(Ok(pieces)) => metrics(pieces, gzip),
            Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
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

    fn ready(&self, scope: &Scope) -> Answer {
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
            .filter(|known| !known.is_tried() && scope.sees(&known.source.business))
        {
            missing.push_str(&format!(
                "{} {}\n",
                known.source.business, known.source.name
            ));
        }
        text(StatusCode::SERVICE_UNAVAILABLE, missing)
    }

    /// How those businesses fare, made into an answer; off the async workers, since there can be
    /// thousands of them. How many series there are is told only to who sees all.
    async fn told(
        &self,
        scope: Scope,
        quota_share: f64,
        into: impl FnOnce(&Status<'_>, Option<u64>) -> Result<Answer, String> + Send + 'static,
    ) -> Answer {
        let page = Arc::clone(&self.page.borrow());
        let own = Arc::clone(&self.own);
        let now = (self.now)();
        let told = spawn_blocking(move || {
            let standing = own.standing(|business| scope.sees(business));
            let status = Status::of(&page.snapshot, standing, &scope, quota_share, now);
            into(&status, (scope == Scope::All).then_some(page.series))
        });
        let told = told.await.unwrap_or_else(|error| Err(error.to_string()));
        told.unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
    }
}

/// What the page of metrics is sent as.
fn metrics(pieces: Pieces, gzip: bool) -> Answer {
    let mut answer = Response::new(pieces);
    let headers = answer.headers_mut();
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    answer
}

/// What the landing page is sent as.
fn page(html: String) -> Answer {
    let mut answer = typed("text/html; charset=utf-8", html);
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&landing::POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    answer
}

/// The page as plain text, written while it is sent: a person asks for it now and then, and
/// nobody pays for it in between.
fn plain(page: Arc<Page>, own: Bytes, head: bool) -> Pieces {
    let (body, mut writer) = Pieces::written(own, page.plain_bytes);
    if !head {
        // A reader that hangs up ends the writing: there is nobody left to be told.
        spawn_blocking(move || drop(exposition::write(&page.snapshot, &mut writer)));
    }
    body
}

/// A plain answer.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = typed("text/plain; charset=utf-8", text);
    *answer.status_mut() = status;
    answer
}

/// An answer of that type, for who asked and for now.
fn typed(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Pieces::ready([body.into()]));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
