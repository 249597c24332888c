//! Quotas: every header is read, no block is provoked, and who is told to wait waits.

use std::sync::Arc;
use std::time::Duration;

use marketing_messages_exporter::simulator::{self, Fault, World};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::harness::{Api, Exporter, NOW, parse};
use crate::page::Page;

const ONE: &str = "polling: { interval: 100ms, backoff_max: 200ms }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";

/// Two ad accounts of two businesses.
const TWO: &str = "polling: { interval: 100ms }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
";

fn held(page: &Page, source: &str) -> Option<f64> {
    page.value(
        "exporter_api_held_until_timestamp_seconds",
        &[("source", source)],
    )
}

/// Seconds from now on, by the machine's clock.
fn from_now(at: f64) -> f64 {
    let now = marketing_messages_exporter::poll::clock::now();
    at - now.as_duration().as_secs_f64()
}

#[tokio::test]
async fn quota_all_four_headers_are_on_the_page_as_numbers_or_strings_also_of_rejected_answers() {
    for usage in ["usage=40", "usage=40;strings"] {
        let api = Api::start(World::with_campaigns(2, 0)).await;
        api.break_with(&[usage, "rejected=3018@endpoint:insights"]);
        let exporter = api.exporter(ONE).await;
        let page = exporter
            .page_when(|page| page.all("exporter_api_usage_ratio", &[]).len() >= 12)
            .await;
        assert_eq!(
            page.value("up", &[]),
            Some(0.0),
            "every answer is a rejection"
        );
        for (limit, quantity, ratio) in [
            ("app", "call_count", "0.4"),
            ("app", "total_time", "0.26"),
            ("app", "total_cputime", "0.13"),
            ("ad_account", "utilization", "0.4"),
            ("insights_app", "utilization", "0.4"),
            ("insights_account", "utilization", "0.4"),
            ("ads_insights", "call_count", "0.4"),
            ("ads_insights", "total_time", "0.2"),
            ("ads_insights", "total_cputime", "0.16"),
            ("ads_management", "call_count", "0.4"),
            ("ads_management", "total_time", "0.2"),
            ("ads_management", "total_cputime", "0.16"),
        ] {
            let account = if matches!(limit, "app" | "insights_app") {
                ""
            } else {
                "10150000000009001"
            };
            let labels = [
                ("business", "acme"),
                ("account_id", account),
                ("limit", limit),
                ("quantity", quantity),
            ];
            page.assert("exporter_api_usage_ratio", &labels, ratio);
        }
        let tier = [
            ("account_id", "10150000000009001"),
            ("tier", "standard_access"),
        ];
        page.assert("exporter_api_access_tier_info", &tier, "1");
    }
}

#[tokio::test]
async fn quota_the_minutes_of_a_header_are_minutes_until_which_nobody_asks() {
    for (fault, seconds) in [
        ("throttled=80000;minutes=7", 420.0),
        ("throttled=80004;minutes=61;strings", 3660.0),
        // Nobody says how long: five minutes, which Meta documents for its smallest quota.
        ("throttled=17;silent", 300.0),
    ] {
        let api = Api::start(World::with_campaigns(2, 0)).await;
        api.break_with(&[fault]);
        let exporter = api.exporter(ONE).await;
        let page = exporter
            .page_when(|page| held(page, "act_10150000000009001").is_some())
            .await;
        let wait = from_now(held(&page, "act_10150000000009001").unwrap());
        assert!(
            (seconds - 15.0..=seconds + 1.0).contains(&wait),
            "{fault}: {wait}"
        );
        let calls = api.simulator.requests().len();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            api.simulator.requests().len(),
            calls,
            "ten intervals, and no call"
        );
        assert!(calls <= 2, "{calls}");
    }
}

#[tokio::test]
async fn quota_an_ad_account_is_held_alone_and_an_app_as_a_whole() {
    let api = Api::demo().await;
    let exporter = api.exporter(TWO).await;
    exporter.page_up().await;
    api.break_with(&["throttled=17;minutes=5@act_10150000000001101"]);
    let page = exporter
        .page_when(|page| held(page, "act_10150000000001101").is_some())
        .await;
    assert_eq!(held(&page, "act_10150000000001102"), None);
    assert_eq!(held(&page, "act_10150000000001201"), None);
    api.break_with(&["throttled=4;minutes=9@act_10150000000001201*1"]);
    let page = exporter
        .page_when(|page| {
            ["1101", "1102", "1201"]
                .iter()
                .all(|end| held(page, &format!("act_1015000000000{end}")).is_some())
        })
        .await;
    let wait = from_now(held(&page, "act_10150000000001102").unwrap());
    assert!((525.0..=541.0).contains(&wait), "{wait}");
    assert_eq!(
        page.all("delivered", &[("window", "today")]).len(),
        page.all("link_clicks", &[]).len()
    );
    assert!(
        !page.all("delivered", &[]).is_empty(),
        "what is known stays"
    );
}

#[tokio::test]
async fn quota_above_its_share_polls_slow_down_and_nobody_elses_do() {
    let api = Api::demo().await;
    let exporter = api.exporter(TWO).await;
    exporter.page_up().await;
    // (85 - 75) of the 20 that are left until 95: half of a minute between two calls.
    api.break_with(&["usage=85;header=ad-account-usage@act_10150000000001101"]);
    let full = [("account_id", "10150000000001101"), ("limit", "ad_account")];
    exporter
        .page_when(|page| page.value("exporter_api_usage_ratio", &full) == Some(0.85))
        .await;
    let calls = |account: &str| api.calls(&format!("{account}/insights"));
    sleep(Duration::from_millis(300)).await;
    let before = (calls("1101"), calls("1102"), calls("1201"));
    sleep(Duration::from_secs(2)).await;
    assert!(
        calls("1101") <= before.0 + 1,
        "{} more",
        calls("1101") - before.0
    );
    assert!(
        calls("1102") >= before.1 + 5,
        "{} more",
        calls("1102") - before.1
    );
    assert!(
        calls("1201") >= before.2 + 5,
        "{} more",
        calls("1201") - before.2
    );
    let page = exporter.page().await;
    assert_eq!(
        held(&page, "act_10150000000001101"),
        None,
        "slower, not held"
    );
}

#[tokio::test]
async fn quota_at_95_percent_of_it_an_ad_account_is_held_before_anything_is_refused() {
    let api = Api::demo().await;
    let exporter = api.exporter(TWO).await;
    let good = exporter.page_up().await;
    api.break_with(&["usage=96;header=insights-throttle@endpoint:insights"]);
    // insights-throttle speaks of the app too: it is everybody's.
    let page = exporter
        .page_when(|page| {
            held(page, "act_10150000000001101").is_some()
                && held(page, "act_10150000000001201").is_some()
        })
        .await;
    let wait = from_now(held(&page, "act_10150000000001101").unwrap());
    assert!((285.0..=301.0).contains(&wait), "{wait}");
    assert_eq!(page.all("exporter_api_request_errors_total", &[]).len(), 0);
    assert_eq!(page.all("up", &[]), good.all("up", &[]));
    let api = Api::demo().await;
    let exporter = api.exporter(TWO).await;
    exporter.page_up().await;
    api.break_with(&["usage=95;header=business-use-case-usage@act_10150000000001101"]);
    let page = exporter
        .page_when(|page| held(page, "act_10150000000001101").is_some())
        .await;
    assert_eq!(held(&page, "act_10150000000001102"), None);
    assert_eq!(held(&page, "act_10150000000001201"), None);
    exporter.stop().await;
}

/// Seventy campaigns, each a source of its own, in one ad account of the development tier, which
/// blocks whoever reads it more than 60 times in 300 seconds.
fn seventy() -> String {
    let ids = (0..70).map(|n| format!("{{ id: \"{}\" }}", 120_210_001_000_000_000_u64 + n * 1_000));
    let ids = ids.collect::<Vec<_>>().join(", ");
    format!(
        "graph: {{ timeout: 10h }}
polling: {{ concurrency: 64 }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, campaigns: [{ids}] }}]
"
    )
}

/// The clock stands still but when all wait: hours pass in seconds, over real sockets.
#[tokio::test(start_paused = true)]
async fn quota_a_first_start_with_70_campaigns_never_blocks_a_development_account() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (zero, start) = (NOW.parse::<jiff::Timestamp>().unwrap(), Instant::now());
    let clock = Arc::new(move || zero + start.elapsed());
    let world = World::with_campaigns(70, 0);
    let api = simulator::start(listener, world, clock).await.unwrap();
    api.set_faults(vec![Fault::parse("development").unwrap()]);
    let exporter = Exporter::start(&parse(&seventy(), &api.url())).await;
    // Two windows of the quota, and a third that has begun. All are up after forty minutes.
    sleep(Duration::from_secs(11 * 60)).await;
    let page = exporter.page().await;
    let up = page.all("up", &[]);
    let up = up.iter().filter(|sample| sample.number == "1").count();
    let requests = api.requests();
    let refused: Vec<_> = requests
        .iter()
        .filter(|request| request.status != 200)
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let times: Vec<_> = requests.iter().map(|request| request.time).collect();
    for (place, last) in times.iter().enumerate() {
        let window = times[..=place]
            .iter()
            .filter(|time| last.duration_since(**time).as_secs() < 300);
        assert!(window.count() <= 50);
    }
    assert!(requests.len() >= 100, "and it goes on: {}", requests.len());
    assert!(up >= 10, "{up} of 70 are up");
}

#[tokio::test]
async fn quota_a_first_start_on_a_development_account_stops_short_of_its_sixty_calls() {
    let api = Api::start(World::with_campaigns(70, 0)).await;
    api.break_with(&["development"]);
    let exporter = api.exporter(&seventy()).await;
    // The headers tell that three quarters are gone: from there on slower, and never further.
    crate::harness::wait_until("forty calls", || api.simulator.requests().len() >= 40).await;
    sleep(Duration::from_secs(3)).await;
    let requests = api.simulator.requests();
    assert!(requests.len() <= 50, "{}", requests.len());
    assert!(requests.iter().all(|request| request.status == 200));
    let page = exporter.page().await;
    assert_eq!(page.all("exporter_api_request_errors_total", &[]).len(), 0);
}
