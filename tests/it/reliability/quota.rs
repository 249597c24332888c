//! Quotas: export of the usage headers, pauses, and the quota of the development tier.

use std::sync::Arc;
use std::time::Duration;

use graph_simulator::{Fault, Simulator, World};
use marketing_messages_exporter::graph::{DEVELOPMENT_READS, DEVELOPMENT_WINDOW};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::harness::{Api, Exporter, NOW, parse, wait_until};
use crate::page::Page;

const ACCOUNT: &str = "act_10150000000009001";
const ACCOUNT_ID: &str = "10150000000009001";

/// Ids of [`TWO_BUSINESSES`].
const AURORA_1: &str = "act_10150000000001101";
const AURORA_2: &str = "act_10150000000001102";
const NORDLICHT: &str = "act_10150000000001201";

/// One business with one ad account.
const ONE_BUSINESS: &str = "polling: { interval: 100ms, backoff_max: 200ms }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";

/// Two businesses of one app, the first one with two ad accounts.
const TWO_BUSINESSES: &str = "graph: { app_id: \"1234567890\", app_secret_env: APP_SECRET }
polling: { interval: 100ms }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
";

fn paused_until(page: &Page, source: &str) -> Option<f64> {
    page.value(
        "exporter_api_paused_until_timestamp_seconds",
        &[("source", source)],
    )
}

/// Returns the seconds from now until a Unix timestamp.
fn seconds_until(timestamp: f64) -> f64 {
    let now = marketing_messages_exporter::platform::clock::now();
    timestamp - now.as_duration().as_secs_f64()
}

#[tokio::test]
async fn usage_headers_of_rejected_requests_are_exported() {
    for usage in ["usage=40", "usage=40;strings"] {
        let api = Api::start(World::with_campaigns(2, 0)).await;
        api.inject_faults(&[usage, "rejected=3018@endpoint:insights"]);
        let exporter = api.exporter(ONE_BUSINESS).await;
        let page = exporter
            .page_when(|page| page.all("exporter_api_usage_ratio", &[]).len() >= 12)
            .await;
        assert_eq!(
            page.value("up", &[]),
            Some(0.0),
            "every request should be rejected"
        );
        for (account, limit, quantity, ratio) in [
            ("", "app", "call_count", "0.4"),
            ("", "app", "total_time", "0.26"),
            ("", "app", "total_cputime", "0.13"),
            (ACCOUNT_ID, "ad_account", "utilization", "0.4"),
            ("", "insights_app", "utilization", "0.4"),
            (ACCOUNT_ID, "insights_account", "utilization", "0.4"),
            (ACCOUNT_ID, "ads_insights", "call_count", "0.4"),
            (ACCOUNT_ID, "ads_insights", "total_time", "0.2"),
            (ACCOUNT_ID, "ads_insights", "total_cputime", "0.16"),
            (ACCOUNT_ID, "ads_management", "call_count", "0.4"),
            (ACCOUNT_ID, "ads_management", "total_time", "0.2"),
            (ACCOUNT_ID, "ads_management", "total_cputime", "0.16"),
        ] {
            let labels = [
                ("business", "acme"),
                ("account_id", account),
                ("limit", limit),
                ("quantity", quantity),
            ];
            page.assert("exporter_api_usage_ratio", &labels, ratio);
        }
        let tier = [("account_id", ACCOUNT_ID), ("tier", "standard_access")];
        page.assert("exporter_api_access_tier_info", &tier, "1");
    }
}

#[tokio::test]
async fn regain_time_pauses_the_ad_account() {
    for (fault, expected_seconds) in [
        ("throttled=80000;minutes=7", 420.0),
        ("throttled=80004;minutes=61;strings", 3660.0),
        // Without a header: five minutes, the block that Meta documents for the development tier.
        ("throttled=17;silent", 300.0),
    ] {
        let api = Api::start(World::with_campaigns(2, 0)).await;
        api.inject_faults(&[fault]);
        let exporter = api.exporter(ONE_BUSINESS).await;
        let page = exporter
            .page_when(|page| paused_until(page, ACCOUNT).is_some())
            .await;
        let wait = seconds_until(paused_until(&page, ACCOUNT).unwrap());
        assert!(
            (expected_seconds - 15.0..=expected_seconds + 1.0).contains(&wait),
            "{fault}: the pause should last about {expected_seconds} s, lasts {wait} s"
        );
        let calls = api.simulator.requests().len();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            api.simulator.requests().len(),
            calls,
            "no request should be sent during the pause"
        );
        assert!(
            calls <= 2,
            "only requests in flight should be sent: {calls}"
        );
    }
}

#[tokio::test]
async fn pause_affects_its_ad_account_or_its_app() {
    let api = Api::demo().await;
    let exporter = api.exporter(TWO_BUSINESSES).await;
    exporter.page_all_up().await;
    api.inject_faults(&["throttled=17;minutes=5@act_10150000000001101"]);
    let page = exporter
        .page_when(|page| paused_until(page, AURORA_1).is_some())
        .await;
    assert_eq!(paused_until(&page, AURORA_2), None);
    assert_eq!(paused_until(&page, NORDLICHT), None);
    api.inject_faults(&["throttled=4;minutes=9@act_10150000000001201*1"]);
    let page = exporter
        .page_when(|page| {
            [AURORA_1, AURORA_2, NORDLICHT]
                .iter()
                .all(|source| paused_until(page, source).is_some())
        })
        .await;
    // The time in the header is that of the ad account.
    for (source, expected) in [(AURORA_2, 300.0), (NORDLICHT, 540.0)] {
        let wait = seconds_until(paused_until(&page, source).unwrap());
        assert!(
            (expected - 15.0..=expected + 1.0).contains(&wait),
            "{source}: the pause should last about {expected} s, lasts {wait} s"
        );
    }
    assert_eq!(
        page.all("delivered", &[("window", "today")]).len(),
        page.all("link_clicks", &[]).len()
    );
    assert!(
        !page.all("delivered", &[]).is_empty(),
        "values should remain"
    );
}

#[tokio::test]
async fn usage_above_share_slows_its_ad_account_only() {
    let api = Api::demo().await;
    let config = TWO_BUSINESSES.replace("100ms", "100ms, stale_after: 1h");
    let exporter = api.exporter(&config).await;
    exporter.page_all_up().await;
    // Near 95 %: polls are up to 20 times less frequent.
    api.inject_faults(&["usage=94;header=ad-account-usage@act_10150000000001101"]);
    let calls =
        || [AURORA_1, AURORA_2, NORDLICHT].map(|source| api.calls(&format!("{source}/insights")));
    let usage = [("account_id", "10150000000001101"), ("limit", "ad_account")];
    exporter
        .page_when(|page| page.value("exporter_api_usage_ratio", &usage) == Some(0.94))
        .await;
    let before = calls();
    wait_until("another ad account was polled 40 times", || {
        calls()[1] - before[1] >= 40 && calls()[2] - before[2] >= 40
    })
    .await;
    let slowed = calls()[0] - before[0];
    assert!((1..=10).contains(&slowed), "{slowed} calls instead of 40");
    let page = exporter.page().await;
    assert_eq!(
        paused_until(&page, AURORA_1),
        None,
        "the ad account should be slowed, not paused"
    );
    page.assert("up", &[("source", AURORA_1)], "1");
}

#[tokio::test]
async fn exhausted_quota_pauses_before_a_rejection() {
    let api = Api::demo().await;
    let exporter = api.exporter(TWO_BUSINESSES).await;
    let before = exporter.page_all_up().await;
    api.inject_faults(&["usage=96;header=insights-throttle@endpoint:insights"]);
    // This header reports the usage of the app too, which pauses all ad accounts.
    let page = exporter
        .page_when(|page| {
            paused_until(page, AURORA_1).is_some() && paused_until(page, NORDLICHT).is_some()
        })
        .await;
    let wait = seconds_until(paused_until(&page, AURORA_1).unwrap());
    assert!(
        (285.0..=301.0).contains(&wait),
        "the pause should last about 300 s, lasts {wait} s"
    );
    assert_eq!(page.all("exporter_api_request_errors_total", &[]).len(), 0);
    assert_eq!(
        page.all("delivered", &[]).len(),
        before.all("delivered", &[]).len()
    );
    let api = Api::demo().await;
    let exporter = api.exporter(TWO_BUSINESSES).await;
    exporter.page_all_up().await;
    api.inject_faults(&["usage=95;header=business-use-case-usage@act_10150000000001101"]);
    let page = exporter
        .page_when(|page| paused_until(page, AURORA_1).is_some())
        .await;
    assert_eq!(paused_until(&page, AURORA_2), None);
    assert_eq!(paused_until(&page, NORDLICHT), None);
    exporter.stop().await;
}

/// Campaigns of [`campaign_sources`].
const CAMPAIGNS: usize = 70;

/// Returns a config with campaign sources of one ad account. In the development tier, Meta blocks an
/// ad account that receives more than 60 reads in 300 s.
fn campaign_sources() -> String {
    let ids = (0..CAMPAIGNS as u64)
        .map(|n| format!("{{ id: \"{}\" }}", 120_210_001_000_000_000 + n * 1_000));
    let ids = ids.collect::<Vec<_>>().join(", ");
    format!(
        "graph: {{ timeout: 10h }}
polling: {{ concurrency: 64 }}
insights: {{ questions: separate }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, campaigns: [{ids}] }}]
"
    )
}

/// Tokio's paused clock advances whenever all tasks wait, so that minutes pass in seconds.
#[tokio::test(start_paused = true)]
async fn first_start_stays_within_the_development_quota() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (start_time, start) = (NOW.parse::<jiff::Timestamp>().unwrap(), Instant::now());
    let clock = Arc::new(move || start_time + start.elapsed());
    let world = World::with_campaigns(CAMPAIGNS, 0);
    let api = Simulator::start(listener, world, clock).await.unwrap();
    api.set_faults(vec![Fault::parse("development").unwrap()]);
    let exporter = Exporter::start(&parse(&campaign_sources(), &api.url())).await;
    // Two windows of the quota, and a part of the third. All sources are up after 40 minutes.
    sleep(Duration::from_secs(11 * 60)).await;
    let page = exporter.page().await;
    let up = page.all("up", &[]);
    let up = up.iter().filter(|sample| sample.number == "1").count();
    let requests = api.requests();
    let rejected: Vec<_> = requests
        .iter()
        .filter(|request| request.status != 200)
        .collect();
    assert!(rejected.is_empty(), "{rejected:#?}");
    let times: Vec<_> = requests.iter().map(|request| request.time).collect();
    for (idx, last) in times.iter().enumerate() {
        let window = times[..=idx]
            .iter()
            .filter(|time| last.duration_since(**time).unsigned_abs() < DEVELOPMENT_WINDOW);
        let reads = window.count();
        assert!(
            reads <= DEVELOPMENT_READS,
            "{reads} reads in one window until {last}"
        );
    }
    assert!(
        requests.len() >= 2 * DEVELOPMENT_READS,
        "polls should continue in the next windows: {} requests",
        requests.len()
    );
    assert!(up >= 10, "{up} of {CAMPAIGNS} sources are up");
}

#[tokio::test]
async fn first_burst_stays_below_the_development_quota() {
    let api = Api::start(World::with_campaigns(CAMPAIGNS, 0)).await;
    api.inject_faults(&["development"]);
    let exporter = api.exporter(&campaign_sources()).await;
    // From three quarters of the 60 reads on, the usage headers slow the requests.
    wait_until("40 requests", || api.simulator.requests().len() >= 40).await;
    sleep(Duration::from_secs(3)).await;
    let requests = api.simulator.requests();
    assert!(
        requests.len() <= DEVELOPMENT_READS,
        "{} requests",
        requests.len()
    );
    assert!(requests.iter().all(|request| request.status == 200));
    let page = exporter.page().await;
    assert_eq!(page.all("exporter_api_request_errors_total", &[]).len(), 0);
}
