//! Polls that a limit stops after a part of the answer: the part is published, and the next poll requests only the rest.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::heavy::{answer, error, filtered_ids, id, param};
use super::partial_results::edit;
use crate::harness::{Exporter, pass};
use crate::page::Page;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

const SECOND: Duration = Duration::from_secs(1);

/// Longest time that a poll or the end of a pause is waited for.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// Pages that are requested until one shows the values of a poll, one a second; fewer than the seconds of a pause.
const MAX_PAGES: usize = 200;

/// An API that refuses insights requests because of a limit of the ad account.
struct LimitedApi {
    server: ScriptedServer,
    /// Value of `delivered` in all rows.
    delivered: Arc<AtomicUsize>,
    /// Number of requests that are still answered.
    allowed: Arc<AtomicUsize>,
}

impl LimitedApi {
    /// Starts an API without a limit. `respond` answers the requests.
    async fn start(
        respond: impl Fn(&str, &str) -> ScriptedResponse + Send + Sync + 'static,
    ) -> Self {
        let delivered = Arc::new(AtomicUsize::new(0));
        let allowed = Arc::new(AtomicUsize::new(usize::MAX));
        let (value, quota) = (Arc::clone(&delivered), Arc::clone(&allowed));
        let server = ScriptedServer::start(move |path, query| {
            if !is_rows_request(path, query) {
                return respond(path, query);
            }
            let take = |allowed: usize| allowed.checked_sub(1);
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            if quota.fetch_update(set, fetch, take).is_err() {
                return error(400, 17, Some(2_446_079), "User request limit reached");
            }
            let value = value.load(Ordering::Relaxed).to_string();
            edit(respond(path, query), |row| {
                row["marketing_messages_delivered"] = json!(value);
            })
        })
        .await;
        Self {
            server,
            delivered,
            allowed,
        }
    }

    /// Sets the value of `delivered`, and the number of requests that are answered.
    fn set(&self, delivered: usize, allowed: usize) {
        self.delivered.store(delivered, Ordering::Relaxed);
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// Returns the queries of all requests of rows so far.
    fn queries(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        requests
            .filter(|(path, query)| is_rows_request(path, query))
            .map(|(_, query)| query)
            .collect()
    }

    async fn pass(&self, duration: Duration) {
        pass(duration, SECOND, || self.server.requests().len()).await;
    }

    /// Waits for a page on which these campaigns have these values in a window; rendering takes real time.
    async fn page_with(&self, exporter: &Exporter, expected: &[(&str, usize, f64)]) -> Page {
        for _ in 0..MAX_PAGES {
            let page = exporter.page_on_paused_clock().await;
            let is_shown = |(window, number, value): &(&str, usize, f64)| {
                let labels = [("campaign_id", &*id(*number)), ("window", *window)];
                page.value("delivered", &labels) == Some(*value)
            };
            if expected.iter().all(is_shown) {
                return page;
            }
            self.pass(SECOND).await;
        }
        panic!("the page should show {expected:?}");
    }

    /// Waits for the next poll; returns its queries.
    async fn next_poll(&self) -> Vec<String> {
        let before = self.queries().len();
        let start = tokio::time::Instant::now();
        while self.queries().len() == before {
            assert!(start.elapsed() < MAX_WAIT, "a poll should begin");
            self.pass(SECOND).await;
        }
        self.pass(10 * SECOND).await;
        self.queries().split_off(before)
    }
}

/// Whether a request is one of rows of campaigns, not of the total of the ad account.
fn is_rows_request(path: &str, query: &str) -> bool {
    path.ends_with("/insights") && query.contains("level=campaign")
}

fn ids(numbers: Range<usize>) -> Vec<String> {
    numbers.map(id).collect()
}

#[track_caller]
fn assert_delivered(page: &Page, window: &str, numbers: Range<usize>, value: f64) {
    for number in numbers {
        let labels = [("campaign_id", &*id(number)), ("window", window)];
        let delivered = page.value("delivered", &labels);
        assert_eq!(delivered, Some(value), "campaign {number} in {window}");
    }
}

fn delivery_success(page: &Page) -> Option<f64> {
    page.value(
        "query_last_success_timestamp_seconds",
        &[("query", "delivery"), ("window", "today")],
    )
}

fn now() -> f64 {
    let now = marketing_messages_exporter::platform::clock::now();
    now.as_duration().as_secs_f64()
}

async fn first_page(api: &LimitedApi, config: &str) -> Exporter {
    api.set(5, usize::MAX);
    let exporter = api.server.exporter(config).await;
    api.pass(60 * SECOND).await;
    exporter
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_throttled_query_are_not_repeated() {
    const MESSAGE_CAMPAIGNS: usize = 250;
    let api = LimitedApi::start(|path, query| {
        if path.ends_with("/insights") {
            return answer(path, query, MESSAGE_CAMPAIGNS);
        }
        // Others, which make a query of all campaigns more expensive.
        edit(answer(path, query, 2_200), |campaign| {
            let is_message = campaign["id"].as_str() < Some(id(MESSAGE_CAMPAIGNS).as_str());
            campaign["is_message_campaign"] = json!(is_message);
        })
    })
    .await;
    let config = "graph: { timeout: 10h }
windows: [{ name: today, date_preset: today, interval: 30m }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";
    let exporter = first_page(&api, config).await;
    let page = api.page_with(&exporter, &[("today", 0, 5.0)]).await;
    page.assert("up", &[], "1");
    assert_delivered(&page, "today", 0..MESSAGE_CAMPAIGNS, 5.0);
    let first_success = delivery_success(&page);

    api.set(7, 1);
    let queries = api.next_poll().await;
    assert_eq!(queries.len(), 2, "the poll should end with the limit");
    let page = api.page_with(&exporter, &[("today", 0, 7.0)]).await;
    let stopped_at = now();
    page.assert("up", &[], "0");
    assert_delivered(&page, "today", 0..100, 7.0);
    assert_delivered(&page, "today", 100..MESSAGE_CAMPAIGNS, 5.0);
    assert_eq!(delivery_success(&page), first_success);

    // The limit stops the rest too, after its first request.
    api.set(9, 1);
    let queries = api.next_poll().await;
    let requested: Vec<Vec<String>> = queries.iter().map(|query| filtered_ids(query)).collect();
    assert_eq!(requested, [ids(100..200), ids(200..MESSAGE_CAMPAIGNS)]);
    let page = api.page_with(&exporter, &[("today", 100, 9.0)]).await;
    page.assert("up", &[], "0");
    assert_delivered(&page, "today", 0..100, 7.0);
    assert_delivered(&page, "today", 100..200, 9.0);
    assert_delivered(&page, "today", 200..MESSAGE_CAMPAIGNS, 5.0);

    api.set(11, usize::MAX);
    let queries = api.next_poll().await;
    let requested: Vec<Vec<String>> = queries.iter().map(|query| filtered_ids(query)).collect();
    assert_eq!(requested, [ids(200..MESSAGE_CAMPAIGNS)]);
    let page = api.page_with(&exporter, &[("today", 200, 11.0)]).await;
    page.assert("up", &[], "1");
    assert_delivered(&page, "today", 0..100, 7.0);
    assert_delivered(&page, "today", 100..200, 9.0);
    assert_delivered(&page, "today", 200..MESSAGE_CAMPAIGNS, 11.0);
    let success = delivery_success(&page);
    assert!(
        first_success < success && success < Some(stopped_at),
        "the time should be that of the first page: {success:?}"
    );
    exporter.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_throttled_query_are_not_repeated() {
    const CAMPAIGNS: usize = 300;
    /// Of the first page, the rows of the second window belong to these.
    const COMPLETE: usize = 200;
    let api = LimitedApi::start(|path, query| {
        if !is_rows_request(path, query) {
            return answer(path, query, CAMPAIGNS);
        }
        let ranges = param(query, "time_ranges").expect("both windows should be requested together");
        let ranges: Value = serde_json::from_str(&ranges).unwrap();
        let wanted = filtered_ids(query);
        let mut rows = Vec::new();
        for range in ranges.as_array().unwrap() {
            for number in 0..CAMPAIGNS {
                if wanted.is_empty() || wanted.contains(&id(number)) {
                    rows.push(json!({
                        "account_id": "1", "account_currency": "EUR", "campaign_id": id(number),
                        "campaign_name": "c", "date_start": range["since"], "date_stop": range["until"],
                        "marketing_messages_spend": "1.00",
                    }));
                }
            }
        }
        let start: usize = param(query, "after").map_or(0, |after| after.parse().unwrap());
        let end = rows.len().min(start + 500);
        let mut body = json!({"data": rows[start..end]});
        if end < rows.len() {
            body["paging"] = json!({"cursors": {"after": end.to_string()}, "next": "https://x/"});
        }
        body.into()
    })
    .await;
    let config = "graph: { timeout: 10h }
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d, interval: 15m }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";
    let exporter = first_page(&api, config).await;
    let both = |number: usize, value: f64| [("today", number, value), ("week", number, value)];
    let page = api.page_with(&exporter, &both(0, 5.0)).await;
    for window in ["today", "week"] {
        page.assert("up", &[("window", window)], "1");
        assert_delivered(&page, window, 0..CAMPAIGNS, 5.0);
    }

    api.set(7, 1);
    let queries = api.next_poll().await;
    assert_eq!(queries.len(), 2, "the poll should end with the limit");
    let page = api.page_with(&exporter, &both(0, 7.0)).await;
    for window in ["today", "week"] {
        page.assert("up", &[("window", window)], "0");
        assert_delivered(&page, window, 0..COMPLETE, 7.0);
        assert_delivered(&page, window, COMPLETE..CAMPAIGNS, 5.0);
    }

    api.set(9, usize::MAX);
    let queries = api.next_poll().await;
    let requested: Vec<Vec<String>> = queries.iter().map(|query| filtered_ids(query)).collect();
    assert_eq!(requested, [ids(COMPLETE..CAMPAIGNS)]);
    let page = api.page_with(&exporter, &both(COMPLETE, 9.0)).await;
    for window in ["today", "week"] {
        page.assert("up", &[("window", window)], "1");
        assert_delivered(&page, window, 0..COMPLETE, 7.0);
        assert_delivered(&page, window, COMPLETE..CAMPAIGNS, 9.0);
    }
    exporter.stop().await;
}
