//! Errors of the API: how they are counted, which values remain, and recovery.

use std::fs;

use graph_simulator::World;
use marketing_messages_exporter::model::{ACTION_TYPES, SecretSource};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Api, Exporter, parse, token};

const ACCOUNT: &str = "ad_accounts: [{ id: act_10150000000009001 }]";

const PAUSED_UNTIL: &str = "exporter_api_paused_until_timestamp_seconds";

/// Message campaigns in the world of [`three_campaigns`].
const CAMPAIGNS: usize = 3;

/// Id of the first of them.
const CAMPAIGN: &str = "120210001000000000";

/// Returns a config with one business and a short interval. `polling` is appended to the polling
/// options.
fn config(polling: &str, source: &str) -> String {
    format!(
        "polling: {{ interval: 100ms, backoff_max: 200ms{polling} }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, {source} }}]
"
    )
}

async fn three_campaigns() -> Api {
    Api::start(World::with_campaigns(CAMPAIGNS, 1)).await
}

/// Injects a fault into a running exporter, and checks that it is counted with this reason and code
/// of Meta, that the values remain, and that the exporter recovers after the fault. Recovery is not
/// checked for `throttled`, because the pause lasts minutes.
async fn check_fault(fault: &'static str, reason: &'static str, code: &'static str) {
    let api = three_campaigns().await;
    let exporter = api.exporter(&config("", ACCOUNT)).await;
    let before = exporter.page_all_up().await;
    api.inject_faults(&[&format!("{fault}@endpoint:insights")]);
    let after = exporter
        .page_when(|page| page.value("up", &[]) == Some(0.0))
        .await;
    let failures = [("business", "acme"), ("reason", reason)];
    assert!(
        after.value("exporter_poll_failures_total", &failures) >= Some(1.0),
        "{fault}: {}",
        after.without(|family| !family.name.contains("failures"))
    );
    let labels = [
        ("business", "acme"),
        ("endpoint", "insights"),
        ("reason", reason),
        ("code", code),
    ];
    let errors = after.value("exporter_api_request_errors_total", &labels);
    // Every single request succeeds, but not the result as a whole.
    let is_request_error = !["repeating_cursor", "no_ids", "no_dates"].contains(&fault);
    assert_eq!(errors >= Some(1.0), is_request_error, "{fault}: {labels:?}");
    for name in ["delivered", "conversions", "spend", "campaign_info"] {
        assert_eq!(
            before.all(name, &[]),
            after.all(name, &[]),
            "{fault}: {name} should not change"
        );
    }
    let valid = if reason == "unauthenticated" {
        "0"
    } else {
        "1"
    };
    after.assert("exporter_token_valid", &[], valid);
    if matches!(reason, "throttled" | "unauthenticated" | "forbidden") {
        // Not in `after`: the shortest pauses end before the next poll.
        exporter
            .page_when(|page| page.value(PAUSED_UNTIL, &[]).is_some())
            .await;
    } else {
        after.assert_absent(PAUSED_UNTIL, &[]);
    }
    if reason != "throttled" {
        api.clear_faults();
        let recovered = exporter.page_all_up().await;
        recovered.assert("exporter_token_valid", &[], "1");
        recovered.assert_absent(PAUSED_UNTIL, &[]);
    }
}

#[tokio::test]
async fn fault_is_counted_by_reason_and_values_remain() {
    const MAX_CONCURRENT_CHECKS: usize = 6;
    let mut checks = JoinSet::new();
    for (fault, reason, code) in [
        ("throttled", "throttled", "17"),
        ("throttled=4", "throttled", "4"),
        ("throttled=613;silent", "throttled", "613"),
        ("throttled=80000;minutes=7;strings", "throttled", "80000"),
        ("denied", "unauthenticated", "190"),
        ("denied=463", "unauthenticated", "190"),
        ("denied=102", "unauthenticated", "102"),
        ("denied_html", "unauthenticated", ""),
        ("denied_text", "unauthenticated", ""),
        ("denied_form", "unauthenticated", ""),
        ("denied_twice", "unauthenticated", "190"),
        ("forbidden=3", "forbidden", "3"),
        ("forbidden=100", "forbidden", "100"),
        ("forbidden", "forbidden", "200"),
        ("forbidden=10", "forbidden", "10"),
        ("forbidden=33", "forbidden", "100"),
        ("rejected", "rejected", "100"),
        ("rejected=803", "rejected", "803"),
        ("rejected=2635", "rejected", "2635"),
        ("rejected=3018", "rejected", "3018"),
        ("unavailable=1", "unavailable", "1"),
        ("unavailable=2", "unavailable", "2"),
        ("unavailable=104", "unavailable", "104"),
        ("unavailable=960", "unavailable", "960"),
        ("unavailable=500", "unavailable", ""),
        ("unavailable=503", "unavailable", ""),
        ("too_large=0", "unavailable", "1"),
        ("reset", "unavailable", ""),
        ("cut", "unavailable", ""),
        ("error_in_200", "unavailable", "2"),
        ("empty", "invalid_response", ""),
        ("html", "invalid_response", ""),
        ("deep", "invalid_response", ""),
        ("shape", "invalid_response", ""),
        ("no_ids", "invalid_response", ""),
        ("no_dates", "invalid_response", ""),
        ("huge=40", "invalid_response", ""),
        ("repeating_cursor", "invalid_response", ""),
    ] {
        // Each check runs its own exporter; machines for tests can be small.
        if checks.len() >= MAX_CONCURRENT_CHECKS {
            checks.join_next().await.unwrap().unwrap();
        }
        checks.spawn(check_fault(fault, reason, code));
    }
    while let Some(check) = checks.join_next().await {
        check.unwrap();
    }
}

#[tokio::test]
async fn invalid_value_is_dropped_and_counted() {
    for (value, is_counted) in [
        ("NaN", true),
        ("1e999", true),
        ("-Infinity", true),
        ("list", true),
        ("object", true),
        ("bool", true),
        ("null", false),
    ] {
        let api = three_campaigns().await;
        api.inject_faults(&[&format!("figures={value};field=marketing_messages_spend")]);
        let page = api.exporter(&config("", ACCOUNT)).await.page_all_up().await;
        page.assert_absent("spend", &[]);
        assert_eq!(page.all("delivered", &[]).len(), CAMPAIGNS, "{value}");
        assert_eq!(
            page.all("cost_per_delivered", &[]).len(),
            CAMPAIGNS,
            "{value}"
        );
        let field = [("field", "marketing_messages_spend")];
        let count = page.value("exporter_invalid_values_total", &field);
        assert_eq!(
            count >= Some(CAMPAIGNS as f64),
            is_counted,
            "{value}: {count:?}"
        );
    }
}

#[tokio::test]
async fn json_numbers_are_accepted() {
    let api = three_campaigns().await;
    api.inject_faults(&["figures=number"]);
    let page = api.exporter(&config("", ACCOUNT)).await.page_all_up().await;
    let expected = api.truth(CAMPAIGN, "2026-11-23", "2026-11-23").unwrap();
    crate::simulator_agreement::assert_row(&page, &[("campaign_id", CAMPAIGN)], &expected);
}

#[tokio::test]
async fn rejected_field_is_not_requested_again() {
    let api = three_campaigns().await;
    api.inject_faults(&[
        "rejected_field=marketing_messages_delivery_rate",
        "rejected_field=website_purchase_roas",
    ]);
    let exporter = api.exporter(&config("", ACCOUNT)).await;
    let page = exporter.page_all_up().await;
    for field in ["marketing_messages_delivery_rate", "website_purchase_roas"] {
        let labels = [("business", "acme"), ("field", field)];
        page.assert("exporter_field_rejected", &labels, "1");
    }
    page.assert_absent("delivery_ratio", &[]);
    page.assert_absent("website_purchase_roas", &[]);
    assert_eq!(page.all("delivered", &[]).len(), CAMPAIGNS);
    assert_eq!(page.all("conversion_value", &[]).len(), CAMPAIGNS);
    // One rejection per field, and none in later polls.
    let before = page.value(
        "exporter_api_request_errors_total",
        &[("endpoint", "insights")],
    );
    let later = exporter
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(5.0))
        .await;
    let after = later.value(
        "exporter_api_request_errors_total",
        &[("endpoint", "insights")],
    );
    assert_eq!((before, after), (Some(2.0), Some(2.0)));
}

#[tokio::test]
async fn failed_conversions_query_keeps_delivery_values() {
    let api = three_campaigns().await;
    let exporter = api.exporter(&config("", ACCOUNT)).await;
    exporter.page_all_up().await;
    api.inject_faults(&["rejected_field=actions"]);
    exporter
        .page_when(|page| page.value("up", &[]) == Some(0.0))
        .await;
    api.set_time("2026-11-23T15:00:00Z");
    let expected = api
        .truth(CAMPAIGN, "2026-11-23", "2026-11-23")
        .unwrap()
        .values;
    let delivered = &expected["marketing_messages_delivered"];
    let page = exporter
        .page_when(|page| {
            let sample = page.find("delivered", &[("campaign_id", CAMPAIGN)]);
            sample.is_some_and(|sample| sample.number == *delivered)
        })
        .await;
    page.assert("up", &[], "0");
    assert_eq!(
        page.all("conversions", &[]).len(),
        CAMPAIGNS * ACTION_TYPES.len()
    );
}

#[tokio::test]
async fn page_size_is_halved_and_remembered() {
    let api = Api::start(World::with_campaigns(90, 0)).await;
    api.inject_faults(&["too_large=40@endpoint:insights"]);
    let exporter = api.exporter(&config("", ACCOUNT)).await;
    let page = exporter.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 90);
    exporter
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(3.0))
        .await;
    let requests = api.simulator.requests();
    let insights = requests
        .iter()
        .filter(|request| request.path.ends_with("/insights"));
    let limits: Vec<_> = insights
        .map(|request| request.param("limit").unwrap())
        .collect();
    assert_eq!(limits[..6], ["500", "250", "125", "62", "31", "31"]);
    assert!(
        limits[5..].iter().all(|limit| *limit == "31"),
        "later polls should start with the reduced page size: {limits:?}"
    );
}

#[tokio::test]
async fn stale_values_are_withdrawn() {
    let api = three_campaigns().await;
    let exporter = api.exporter(&config(", stale_after: 600ms", ACCOUNT)).await;
    let fresh = exporter.page_all_up().await;
    assert!(!fresh.all("delivered", &[]).is_empty());
    api.inject_faults(&["hang"]);
    let page = exporter
        .page_when(|page| page.all("delivered", &[]).is_empty())
        .await;
    for name in ["conversions", "spend", "window_end_timestamp_seconds"] {
        page.assert_absent(name, &[]);
    }
    assert_eq!(page.all("up", &[]).len(), 1);
    assert_eq!(page.all("last_success_timestamp_seconds", &[]).len(), 1);
    page.assert("exporter_stale_after_seconds", &[], "0.6");
}

/// Two businesses; the tests inject faults for the second one only.
const TWO_BUSINESSES: &str = "polling: { interval: 100ms, stale_after: 2s }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
";

/// Waits for three more successful polls of a business.
async fn three_more_polls(exporter: &Exporter, business: &str) {
    let labels = [("business", business)];
    let last = |page: &crate::page::Page| page.value("last_success_timestamp_seconds", &labels);
    let mut page = exporter.page_when(|page| last(page).is_some()).await;
    for _ in 0..3 {
        let before = last(&page);
        page = exporter.page_when(|page| last(page) > before).await;
        page.assert("up", &labels, "1");
    }
}

#[tokio::test]
async fn fault_of_one_business_does_not_affect_another() {
    for fault in [
        "denied",
        "hang",
        "throttled",
        "slow=5000",
        "unavailable",
        "forbidden",
        "huge=40",
    ] {
        let api = Api::demo().await;
        api.inject_faults(&[&format!("{fault}@business:nordlicht")]);
        let exporter = api.exporter(TWO_BUSINESSES).await;
        three_more_polls(&exporter, "aurora").await;
        let page = exporter.page().await;
        page.assert("up", &[("business", "nordlicht")], "0");
        page.assert_absent("delivered", &[("business", "nordlicht")]);
    }
}

#[tokio::test(start_paused = true)]
async fn missing_token_file_is_read_when_it_appears() {
    let api = Api::demo().await;
    let path = std::env::temp_dir().join(format!("mme-token-{}", std::process::id()));
    // Left over from a killed run.
    let _ = fs::remove_file(&path);
    let mut config = parse(TWO_BUSINESSES, &api.simulator.url());
    config.businesses[1].token = SecretSource::File(path.clone());
    let exporter = Exporter::start(&config).await;
    three_more_polls(&exporter, "aurora").await;
    let page = exporter.page().await;
    let nordlicht = [("business", "nordlicht")];
    // Only responses of the API count.
    page.assert_absent("exporter_token_valid", &nordlicht);
    page.assert("exporter_credentials_loaded", &nordlicht, "0");
    let misconfigured = [("business", "nordlicht"), ("reason", "misconfigured")];
    assert!(page.value("exporter_poll_failures_total", &misconfigured) >= Some(1.0));
    let requests = api.simulator.requests();
    let sent = requests.iter().filter(|r| r.path.contains("1201")).count();
    assert_eq!(sent, 0, "no request should be sent without a token");
    assert_eq!(exporter.get("/-/ready").await.status, 200);
    fs::write(&path, token("NORDLICHT")).unwrap();
    let written_at = Instant::now();
    let page = exporter.page_all_up().await;
    fs::remove_file(&path).unwrap();
    let elapsed = written_at.elapsed().as_secs();
    assert!(
        elapsed <= 11,
        "missing files should be tried every 10 s: {elapsed} s"
    );
    page.assert("exporter_credentials_loaded", &nordlicht, "1");
    page.assert("exporter_token_valid", &nordlicht, "1");
}

#[tokio::test]
async fn refused_token_stops_all_further_requests() {
    let config = "
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]
businesses:
  - name: acme
    access_token_env: EVERYONE
    ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }, { id: act_10150000000001201 }]
    campaigns: [{ id: \"120210000000041000\" }, { id: \"120210000000051000\" }]
";
    let api = Api::demo().await;
    api.inject_faults(&["denied"]);
    let exporter = api.exporter(config).await;
    exporter
        .page_when(|page| page.value("exporter_token_valid", &[]) == Some(0.0))
        .await;
    while exporter.get("/-/ready").await.status != 200 {}
    wait_three_ticks(&exporter).await;
    // One business gets a quarter of the default concurrency of 8.
    let calls = api.simulator.requests().len();
    assert!(
        calls <= 2,
        "only requests in flight should be sent: {calls}"
    );
}

#[tokio::test]
async fn throttled_ad_account_is_paused_immediately() {
    let config = "
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001101 }] }]
";
    let api = Api::demo().await;
    api.inject_faults(&["throttled=80000;minutes=7"]);
    let exporter = api.exporter(config).await;
    let page = exporter
        .page_when(|page| page.value(PAUSED_UNTIL, &[]).is_some())
        .await;
    while exporter.get("/-/ready").await.status != 200 {}
    wait_three_ticks(&exporter).await;
    assert_eq!(api.simulator.requests().len(), 1);
    let (paused_until, next_poll) = (
        page.value(PAUSED_UNTIL, &[]),
        page.value(
            "exporter_next_poll_timestamp_seconds",
            &[("window", "today")],
        ),
    );
    assert!(
        (paused_until.unwrap() - next_poll.unwrap()).abs() < 1.0,
        "the next poll should be due when the pause ends: {paused_until:?}, {next_poll:?}"
    );
}

/// Waits for about three ticks of the scheduler, in which pending requests would be sent.
async fn wait_three_ticks(exporter: &Exporter) {
    for _ in 0..30 {
        exporter.page().await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
