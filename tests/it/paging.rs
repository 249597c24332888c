//! Paging of results and lists: missing, repeated and expired cursors, and pages of different days.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::page::Page;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

const CONFIG: &str = "polling: { interval: 1h }
windows: [{ name: launch, time_range: { since: 2026-11-01, until: 2026-11-20 } }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

const CAMPAIGNS: usize = 6;

fn row(number: usize, since: &str, until: &str) -> Value {
    json!({"account_id": "1", "account_currency": "EUR", "campaign_id": format!("12{number}"),
        "campaign_name": "c", "date_start": since, "date_stop": until,
        "marketing_messages_delivered": "5", "marketing_messages_spend": "1.00"})
}

fn rows(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let rows = numbers.map(|number| row(number, "2026-11-01", "2026-11-20"));
    rows.collect()
}

fn campaigns(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let campaign = |number| {
        json!({"id": format!("12{number}"), "name": "c", "effective_status": "ACTIVE",
            "is_message_campaign": true})
    };
    numbers.map(campaign).collect()
}

/// Starts a server with six campaigns. `respond` answers requests of insights and of the list of campaigns.
async fn start(
    respond: impl Fn(&str, &str) -> Option<ScriptedResponse> + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |path, query| {
        respond(path, query).unwrap_or_else(|| {
            let body = if path.ends_with("/campaigns") {
                json!({"data": campaigns(0..CAMPAIGNS)})
            } else if path.ends_with("/insights") {
                json!({"data": rows(0..CAMPAIGNS)})
            } else if path.ends_with("/adsets") {
                json!({"data": []})
            } else {
                json!({"account_id": "1", "name": "n", "currency": "EUR", "timezone_name": "UTC"})
            };
            body.into()
        })
    })
    .await
}

#[tokio::test]
async fn next_page_without_cursors_is_requested() {
    let server = start(|path, query| {
        let is_first = !query.contains("after=MjU");
        let next = format!("http://127.0.0.1:1/{path}?limit=3&after=MjU");
        let page = |first: Vec<Value>, rest: Vec<Value>| match is_first {
            true => json!({"data": first, "paging": {"next": next}}),
            false => json!({"data": rest}),
        };
        match path.rsplit('/').next() {
            Some("insights") => Some(page(rows(0..3), rows(3..6)).into()),
            Some("campaigns") => Some(page(campaigns(0..3), campaigns(3..6)).into()),
            _ => None,
        }
    })
    .await;
    let page = server.exporter(CONFIG).await.page_all_up().await;
    let delivered = page.all("delivered", &[]);
    assert_eq!(delivered.len(), CAMPAIGNS);
    assert!(delivered.iter().all(|sample| sample.number == "5"));
}

#[tokio::test]
async fn cursors_that_alternate_end_the_query() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let server = start(move |path, query| {
        path.ends_with("/insights").then(|| {
            counter.fetch_add(1, Ordering::Relaxed);
            let after = if query.contains("after=A") { "B" } else { "A" };
            json!({"data": rows(0..3),
                "paging": {"cursors": {"after": after}, "next": "http://127.0.0.1:1/"}})
            .into()
        })
    })
    .await;
    let exporter = server.exporter(CONFIG).await;
    let page = exporter.page_after_first_round().await;
    page.assert("up", &[], "0");
    page.assert_absent("delivered", &[]);
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls <= 20, "{calls} calls");
}

#[tokio::test]
async fn list_without_end_is_limited_in_memory() {
    const NODES_PER_PAGE: usize = 50_000;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let nodes = vec!["{}"; NODES_PER_PAGE].join(",");
    let server = start(move |path, _| {
        path.ends_with("/campaigns").then(|| {
            let page = counter.fetch_add(1, Ordering::Relaxed);
            let paging = json!({"cursors": {"after": page.to_string()}, "next": "http://h/"});
            let body = format!(r#"{{"data":[{nodes}],"paging":{paging}}}"#);
            ScriptedResponse::with_status(200, &body)
        })
    })
    .await;
    let exporter = server.exporter(CONFIG).await;
    exporter.page_after_first_round().await;
    let calls = calls.load(Ordering::Relaxed);
    assert!((1..=20).contains(&calls), "{calls} calls");
}

#[tokio::test]
async fn expired_cursor_restarts_a_list_once() {
    let expired = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&expired);
    let server = start(move |path, query| {
        if !path.ends_with("/campaigns") {
            return None;
        }
        if !query.contains("after=next") {
            return Some(
                json!({"data": campaigns(0..3),
                    "paging": {"cursors": {"after": "next"}, "next": "http://127.0.0.1:1/"}})
                .into(),
            );
        }
        Some(match counter.fetch_add(1, Ordering::Relaxed) {
            0 => ScriptedResponse::with_status(
                400,
                r#"{"error":{"code":2642,"message":"Invalid cursors values"}}"#,
            ),
            _ => json!({"data": campaigns(3..6)}).into(),
        })
    })
    .await;
    let page = server.exporter(CONFIG).await.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), CAMPAIGNS);
    assert_eq!(expired.load(Ordering::Relaxed), 2);
}

const FREQUENT_CONFIG: &str = "polling: { interval: 200ms, backoff_max: 200ms }
insights: { zero_fill: all }
windows: [{ name: launch, time_range: { since: 2026-11-01, until: 2026-11-20 }, interval: 200ms }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

/// Returns the response of a query with two pages of these rows. A filtered one is answered with campaign 3.
fn two_pages(query: &str, first: Vec<Value>, second: Vec<Value>) -> Option<ScriptedResponse> {
    let body = if query.contains("campaign.id") {
        json!({"data": rows(3..4)})
    } else if query.contains("after=next") {
        json!({"data": second})
    } else {
        json!({"data": first,
            "paging": {"cursors": {"after": "next"}, "next": "http://127.0.0.1:1/"}})
    };
    Some(body.into())
}

fn is_rows_request(path: &str, query: &str) -> bool {
    path.ends_with("/insights") && query.contains("level=campaign")
}

#[tokio::test]
async fn row_that_is_skipped_between_pages_is_requested_again() {
    let has_shifted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_shifted);
    let server = start(move |path, query| {
        if !is_rows_request(path, query) {
            return None;
        }
        // Row 0 disappears after the first page, so that the second one begins with row 4.
        let second = if flag.load(Ordering::Relaxed) { 4 } else { 3 };
        two_pages(query, rows(0..3), rows(second..CAMPAIGNS))
    })
    .await;
    let exporter = server.exporter(FREQUENT_CONFIG).await;
    exporter.page_all_up().await;
    let before = server.requests().len();
    has_shifted.store(true, Ordering::Relaxed);
    let polls = |page: &Page| page.value("exporter_polls_total", &[]);
    let start = polls(&exporter.page().await).unwrap();
    let page = exporter
        .page_when(|page| polls(page) >= Some(start + 3.0))
        .await;
    page.assert("up", &[], "1");
    let delivered = page.all("delivered", &[]);
    assert_eq!(delivered.len(), CAMPAIGNS);
    assert!(
        delivered.iter().all(|sample| sample.number == "5"),
        "{delivered:?}"
    );
    let requests = server.requests().split_off(before);
    assert!(
        requests
            .iter()
            .any(|(_, query)| query.contains("campaign.id"))
    );
}

#[tokio::test]
async fn row_that_is_received_on_two_pages_restarts_the_query_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let server = start(move |path, query| {
        if !is_rows_request(path, query) {
            return None;
        }
        // Row 0 is added after the first page, so that row 3 is on both pages.
        let is_first = counter.fetch_add(1, Ordering::Relaxed) < 2;
        let first = if is_first { rows(1..4) } else { rows(0..3) };
        two_pages(query, first, rows(3..CAMPAIGNS))
    })
    .await;
    let page = server.exporter(CONFIG).await.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), CAMPAIGNS);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn expired_cursor_restarts_a_result_once() {
    let expired = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&expired);
    let server = start(move |path, query| {
        if !is_rows_request(path, query) {
            return None;
        }
        let is_expired =
            query.contains("after=next") && counter.fetch_add(1, Ordering::Relaxed) == 0;
        if is_expired {
            let body = r#"{"error":{"code":2642,"message":"Invalid cursors values"}}"#;
            return Some(ScriptedResponse::with_status(400, body));
        }
        two_pages(query, rows(0..3), rows(3..CAMPAIGNS))
    })
    .await;
    let page = server.exporter(CONFIG).await.page_all_up().await;
    // Not in a second poll.
    let failures = [("reason", "invalid_response")];
    page.assert("exporter_poll_failures_total", &failures, "0");
    let delivered = page.all("delivered", &[]);
    assert_eq!(delivered.len(), CAMPAIGNS);
    assert!(delivered.iter().all(|sample| sample.number == "5"));
    assert_eq!(expired.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn pages_of_different_dates_are_never_exported_together() {
    let server = start(|path, query| {
        path.ends_with("/insights")
            .then(|| match query.contains("after=next") {
                false => {
                    let earlier = (0..3).map(|number| row(number, "2026-10-31", "2026-11-19"));
                    let earlier: Vec<Value> = earlier.collect();
                    json!({"data": earlier,
                    "paging": {"cursors": {"after": "next"}, "next": "http://127.0.0.1:1/"}})
                    .into()
                }
                true => json!({"data": rows(3..6)}).into(),
            })
    })
    .await;
    let page = server.exporter(CONFIG).await.page_after_first_round().await;
    let delivered = page.all("delivered", &[]);
    for number in 0..3 {
        let id = format!("12{number}");
        page.assert_absent("delivered", &[("campaign_id", &id)]);
    }
    assert!(delivered.len() <= 3, "{delivered:?}");
}
