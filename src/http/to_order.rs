//! Answers that are made when they are asked for: the metrics of some businesses, the status and
//! the landing page. That takes CPU, so it is done on blocking threads, a few at a time; the page
//! of metrics that everybody reads is none of them.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::task::spawn_blocking;

use super::answer::{Answer, accepts_gzip, metrics, text, typed};
use super::body::Pieces;
use super::landing::{self, Visit};
use super::routes::Site;
use super::scope::Scope;
use super::status::Status;
use crate::exposition::{self, Page};

/// How many are made at a time. Each takes milliseconds, thousands of businesses some tens; the
/// threads are needed for other things too.
pub(super) const AT_A_TIME: usize = 2;

impl Site {
    /// The metrics of some businesses. They are rendered when they are asked for: that takes a
    /// moment for one of many, and what is kept for everybody stays one page.
    pub(super) async fn metrics_of(&self, headers: &HeaderMap, scope: Scope) -> Answer {
        let snapshot = scope.of(&self.page.borrow().snapshot);
        let own = Arc::clone(&self.own);
        let gzip = accepts_gzip(headers);
        let now = (self.now)();
        self.made(move || {
            let own = own.encode_of(|business| scope.sees(business), now);
            if gzip {
                let member = Page::render(snapshot, own, None)?.gzip(b"");
                return Ok(metrics(Pieces::member(member), true));
            }
            let mut text = own.into_bytes();
            exposition::write(&snapshot, &mut text)?;
            Ok::<_, std::io::Error>(metrics(Pieces::ready([Bytes::from(text)]), false))
        })
        .await
    }

    /// How those businesses fare, for programs.
    pub(super) async fn status(&self, scope: Scope) -> Answer {
        self.told(scope, |status, _| {
            Ok(typed("application/json", status.json()?))
        })
        .await
    }

    /// The same for people.
    pub(super) async fn landing(&self, scope: Scope, visit: Visit) -> Answer {
        let telemetry_path = self.telemetry_path.clone();
        self.told(scope, move |status, series| {
            let html = landing::html(status, series, &telemetry_path, &visit);
            let mut answer = typed("text/html; charset=utf-8", html);
            let headers = answer.headers_mut();
            if let Ok(policy) = HeaderValue::from_str(&landing::POLICY) {
                headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            headers.insert(
                header::REFERRER_POLICY,
                HeaderValue::from_static("no-referrer"),
            );
            Ok(answer)
        })
        .await
    }

    /// How many series there are is told only to who sees all.
    async fn told(
        &self,
        scope: Scope,
        into: impl FnOnce(&Status<'_>, Option<u64>) -> serde_json::Result<Answer> + Send + 'static,
    ) -> Answer {
        let page = Arc::clone(&self.page.borrow());
        let own = Arc::clone(&self.own);
        let quota_share = self.wanted.borrow().quota_share;
        let now = (self.now)();
        self.made(move || {
            let standing = own.standing(|business| scope.sees(business));
            let status = Status::of(&page.snapshot, standing, &scope, quota_share, now);
            into(&status, (scope == Scope::All).then_some(page.series))
        })
        .await
    }

    async fn made<E: Display + Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<Answer, E> + Send + 'static,
    ) -> Answer {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let made = spawn_blocking(move || {
            let made = make();
            // Who hangs up leaves its answer to be made: its turn ends with that.
            drop(turn);
            made.map_err(|error| error.to_string())
        });
        let made = made.await.unwrap_or_else(|error| Err(error.to_string()));
        made.unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
    }
}
