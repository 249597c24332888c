//! Requests → answers: one match, no waiting. What is made only when it is asked for stands in
//! `to_order`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::answer::{Answer, accepts_gzip, metrics, text};
use super::body::Pieces;
use super::landing::Visit;
use super::scope::Scope;
use super::to_order::AT_A_TIME;
use crate::beat::Beat;
use crate::config::Config;
use crate::exposition::{Own, Page};

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
    /// Who makes an answer to order takes one.
    pub turns: Arc<Semaphore>,
}

impl Site {
    /// As many as answers are made to order at a time.
    pub fn turns() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(AT_A_TIME))
    }
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
        match path {
            STATUS => self.status(scope).await,
            _ => self.landing(scope, Visit::of(uri.query())).await,
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
        let few = self.own.encode_few();
        if accepts_gzip(headers) {
            return metrics(Pieces::member(page.gzip(few.as_bytes())), true);
        }
        metrics(plain(page, few.into(), head), false)
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
        let all = Arc::clone(&self.page.borrow().snapshot);
        if all.is_ready() {
            // Whoever asks.
            self.ready.store(true, Ordering::Relaxed);
        }
        let snapshot = scope.of(&all);
        if self.ready.load(Ordering::Relaxed) || snapshot.is_ready() {
            return text(StatusCode::OK, "ready\n");
        }
        let mut missing = String::from("not yet polled:\n");
        for known in snapshot.sources.iter().filter(|known| !known.is_tried()) {
            missing.push_str(&format!(
                "{} {}\n",
                known.source.business, known.source.name
            ));
        }
        text(StatusCode::SERVICE_UNAVAILABLE, missing)
    }
}

/// The page as plain text, inflated while it is sent: a person asks for it now and then, and
/// nobody pays for it in between.
fn plain(page: Arc<Page>, few: Bytes, head: bool) -> Pieces {
    let own = [few, page.businesses.clone()];
    let (body, writer) = Pieces::written(own, page.plain_bytes);
    if !head {
        // A reader that hangs up ends the writing: there is nobody left to be told.
        spawn_blocking(move || drop(page.write(writer)));
    }
    body
}
