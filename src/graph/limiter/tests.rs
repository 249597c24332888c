//! Tests of the limiter as a whole, on tokio's paused clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::pauses::FIRST_PAUSE;
use super::{LimiterConfig, RateLimiter, RequestKind, RequestScope};
use crate::graph::access_tier::{DEVELOPMENT_READS, DEVELOPMENT_WINDOW};
use crate::graph::error::{ApiError, ErrorKind};
use crate::graph::usage::UsageHeaders;
use crate::model::AccountId;

/// Without an effective limit of requests per second.
const CONFIG: LimiterConfig = LimiterConfig {
    concurrency: 8,
    requests_per_second: 1_000_000.0,
    quota_share: 0.75,
    backoff_max: Duration::from_secs(900),
};

const INSIGHTS: RequestKind = RequestKind::Insights;

/// Time after which a request counts as blocked.
const BLOCKED_AFTER: Duration = Duration::from_secs(60);

fn limiter() -> RateLimiter {
    RateLimiter::new(CONFIG)
}

fn scope(business: &str, account: &str) -> RequestScope {
    RequestScope {
        business: business.into(),
        app: None,
        account: AccountId::parse(account),
        source: format!("act_{account}").into(),
    }
}

fn standard_tier() -> UsageHeaders {
    UsageHeaders {
        tier: Some("standard_access".to_owned()),
        ..UsageHeaders::default()
    }
}

fn unauthenticated() -> ApiError {
    ApiError {
        kind: ErrorKind::Unauthenticated,
        ..ApiError::unavailable("190")
    }
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_shared_between_businesses() {
    let limiter = limiter();
    let scopes: Vec<RequestScope> = (0..8)
        .map(|n| scope(&format!("business{n}"), "1"))
        .collect();
    let mut permits = Vec::new();
    for _ in 0..CONFIG.concurrency / 4 {
        permits.push(limiter.acquire(&scopes[0], INSIGHTS, None).await.unwrap());
    }
    let third = timeout(BLOCKED_AFTER, limiter.acquire(&scopes[0], INSIGHTS, None)).await;
    assert!(
        third.is_err(),
        "one business should get a quarter of the concurrency"
    );
    let outage = ApiError::unavailable("gone");
    for scope in &scopes[1..4] {
        let permit = limiter.acquire(scope, INSIGHTS, None).await.unwrap();
        permit.finish(Some(&outage), &standard_tier());
    }
    for scope in &scopes[1..3] {
        permits.push(limiter.acquire(scope, INSIGHTS, None).await.unwrap());
        permits.push(limiter.acquire(scope, INSIGHTS, None).await.unwrap());
    }
    let fifth = timeout(BLOCKED_AFTER, limiter.acquire(&scopes[3], INSIGHTS, None)).await;
    assert!(
        fifth.is_err(),
        "businesses with an outage should get half of the concurrency together"
    );
    let healthy = timeout(BLOCKED_AFTER, limiter.acquire(&scopes[4], INSIGHTS, None)).await;
    permits.push(
        healthy
            .expect("a healthy business should not be blocked")
            .unwrap(),
    );
}

#[tokio::test(start_paused = true)]
async fn raised_concurrency_applies_to_waiting_requests() {
    let limiter = RateLimiter::new(LimiterConfig {
        concurrency: 4,
        ..CONFIG
    });
    let acme = scope("acme", "1");
    let _first = limiter.acquire(&acme, INSIGHTS, None).await.unwrap();
    let mut second = std::pin::pin!(limiter.acquire(&acme, INSIGHTS, None));
    assert!(
        timeout(BLOCKED_AFTER, second.as_mut()).await.is_err(),
        "a quarter of 4 is one request"
    );
    limiter.set_limits(CONFIG);
    assert!(
        timeout(BLOCKED_AFTER, second).await.is_ok(),
        "the waiting request should be sent"
    );
}

#[tokio::test(start_paused = true)]
async fn development_tier_limits_reads_per_window() {
    let limiter = limiter();
    let scopes = [
        scope("acme", "1"),
        RequestScope {
            account: None,
            ..scope("acme", "1")
        },
    ];
    let start = Instant::now();
    let mut starts = Vec::new();
    for call in 0..200 {
        let permit = limiter
            .acquire(&scopes[usize::from(call % 3 == 0)], INSIGHTS, None)
            .await
            .unwrap();
        starts.push(start.elapsed());
        permit.finish(None, &UsageHeaders::default());
    }
    for (idx, end) in starts.iter().enumerate() {
        let window = starts[..=idx]
            .iter()
            .filter(|start| **start + DEVELOPMENT_WINDOW > *end);
        assert!(window.count() <= DEVELOPMENT_READS, "{starts:?}");
    }
    assert!(
        starts[DEVELOPMENT_READS - 1] < Duration::from_secs(1),
        "a burst should not be delayed: {starts:?}"
    );
    let permit = limiter.acquire(&scopes[0], INSIGHTS, None).await.unwrap();
    permit.finish(None, &standard_tier());
    let upgraded = Instant::now();
    for _ in 0..200 {
        let permit = limiter.acquire(&scopes[0], INSIGHTS, None).await.unwrap();
        permit.finish(None, &standard_tier());
    }
    let elapsed = upgraded.elapsed();
    assert!(
        elapsed < Duration::from_secs(1),
        "the standard tier should not be delayed: {elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_do_not_exceed_the_quota() {
    let limiter = Arc::new(RateLimiter::new(LimiterConfig {
        concurrency: 400,
        ..CONFIG
    }));
    let scope = Arc::new(scope("acme", "1"));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..90 {
        let (limiter, scope) = (Arc::clone(&limiter), Arc::clone(&scope));
        calls.spawn(async move {
            let permit = limiter.acquire(&scope, INSIGHTS, None).await.unwrap();
            let sent_at = Instant::now();
            sleep(Duration::from_millis(1)).await;
            permit.finish(None, &UsageHeaders::default());
            sent_at
        });
    }
    let start = Instant::now();
    let starts = calls.join_all().await;
    let window_end = start + DEVELOPMENT_WINDOW - Duration::from_secs(1);
    let burst = starts.iter().filter(|sent_at| **sent_at < window_end);
    assert_eq!(burst.count(), DEVELOPMENT_READS);
}

#[tokio::test(start_paused = true)]
async fn waiting_request_is_rejected_after_a_refused_token() {
    let limiter = RateLimiter::new(LimiterConfig {
        requests_per_second: 1.0,
        ..CONFIG
    });
    let scope = scope("acme", "1");
    let first = limiter.acquire(&scope, INSIGHTS, None).await.unwrap();
    let refusal = async {
        sleep(Duration::from_millis(500)).await;
        first.finish(Some(&unauthenticated()), &standard_tier());
    };
    let (second, ()) = tokio::join!(limiter.acquire(&scope, INSIGHTS, None), refusal);
    assert_eq!(second.unwrap_err().kind, ErrorKind::Paused);
}

#[tokio::test(start_paused = true)]
async fn refused_token_pauses_its_business_only() {
    let limiter = limiter();
    let (acme, other) = (scope("acme", "1"), scope("other", "2"));
    let permit = limiter.acquire(&acme, INSIGHTS, None).await.unwrap();
    permit.finish(Some(&unauthenticated()), &standard_tier());
    assert_eq!(
        limiter
            .acquire(&acme, INSIGHTS, None)
            .await
            .unwrap_err()
            .kind,
        ErrorKind::Paused
    );
    assert_eq!(
        limiter.paused_until(&acme),
        Some(Instant::now() + FIRST_PAUSE)
    );
    let permit = limiter.acquire(&other, INSIGHTS, None).await.unwrap();
    permit.finish(None, &standard_tier());
    limiter.unblock_business("acme");
    let permit = limiter.acquire(&acme, INSIGHTS, None).await.unwrap();
    permit.finish(None, &standard_tier());
}

#[tokio::test(start_paused = true)]
async fn requests_per_second_are_limited() {
    let limiter = RateLimiter::new(LimiterConfig {
        requests_per_second: 10.0,
        concurrency: 100,
        ..CONFIG
    });
    let scope = scope("acme", "1");
    let start = Instant::now();
    for _ in 0..21 {
        let permit = limiter.acquire(&scope, INSIGHTS, None).await.unwrap();
        permit.finish(None, &standard_tier());
    }
    assert_eq!(start.elapsed().as_secs(), 2);
}
