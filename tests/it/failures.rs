//! When the API misbehaves: what the page says, what stays, and what heals.

use std::fs;

use marketing_messages_exporter::secret::SecretSource;
use marketing_messages_exporter::simulator::World;
use tokio::task::JoinSet;

use crate::harness::{Api, Exporter, parse, token};

const ACCOUNT: &str = "ad_accounts: [{ id: act_10150000000009001 }]";

/// One business, polled all the time.
fn busy(more: &str, source: &str) -> String {
    format!(
        "polling: {{ interval: 100ms, backoff_max: 200ms{more} }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, {source} }}]
"
    )
}

async fn small() -> Api {
    Api::start(World::with_campaigns(3, 1)).await
}

/// A fault strikes an exporter that is up: it is counted under that reason and Meta's code, and
/// what was known stays. It heals once the fault ends, where the API did not say how long to wait.
async fn strikes(fault: &'static str, reason: &'static str, code: &'static str) {
    let api = small().await;
    let exporter = api.exporter(&busy("", ACCOUNT)).await;
    let good = exporter.page_up().await;
    api.break_with(&[&format!("{fault}@endpoint:insights")]);
    let bad = exporter
        .page_when(|page| page.value("up", &[]) == Some(0.0))
        .await;
    let failures = [("business", "acme"), ("reason", reason)];
    assert!(
        bad.value("exporter_poll_failures_total", &failures) >= Some(1.0),
        "{fault}: {}",
        bad.without(|family| !family.name.contains("failures"))
    );
    let labels = [
        ("business", "acme"),
        ("endpoint", "insights"),
        ("reason", reason),
        ("code", code),
    ];
    let errors = bad.value("exporter_api_request_errors_total", &labels);
    // A list that leads in a circle is no failure of any one request.
    let counted = fault != "repeating_cursor";
    assert_eq!(errors >= Some(1.0), counted, "{fault}: {labels:?}");
    for name in ["delivered", "conversions", "spend", "campaign_info"] {
        let (before, after) = (good.all(name, &[]), bad.all(name, &[]));
        assert_eq!(before, after, "{fault}: {name}");
    }
    let valid = if reason == "denied" { "0" } else { "1" };
    bad.assert("exporter_token_valid", &[], valid);
    let held = "exporter_api_held_until_timestamp_seconds";
    if matches!(reason, "throttled" | "denied" | "forbidden") {
        // The shortest holds come and go between polls.
        exporter
            .page_when(|page| page.value(held, &[]).is_some())
            .await;
    } else {
        bad.assert_absent(held, &[]);
    }
    if reason != "throttled" {
        api.mend();
        let healed = exporter.page_up().await;
        healed.assert("exporter_token_valid", &[], "1");
        healed.assert_absent("exporter_api_held_until_timestamp_seconds", &[]);
    }
}

#[tokio::test]
async fn every_fault_is_counted_and_kept_apart() {
    let mut all = JoinSet::new();
    for (fault, reason, code) in [
        ("throttled", "throttled", "17"),
        ("throttled=4", "throttled", "4"),
        ("throttled=613;silent", "throttled", "613"),
        ("throttled=80000;minutes=7;strings", "throttled", "80000"),
        ("denied", "denied", "190"),
        ("denied=463", "denied", "190"),
        ("denied=102", "denied", "102"),
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
        ("empty", "garbled", ""),
        ("html", "garbled", ""),
        ("deep", "garbled", ""),
        ("shape", "garbled", ""),
        ("no_ids", "garbled", ""),
        ("no_dates", "garbled", ""),
        ("huge=40", "garbled", ""),
        ("repeating_cursor", "garbled", ""),
    ] {
        // A few at a time: each is an exporter of its own, and the machine may be small.
        if all.len() >= 6 {
            all.join_next().await.unwrap().unwrap();
        }
        all.spawn(strikes(fault, reason, code));
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn values_that_are_no_numbers_cost_themselves_alone() {
    for (text, counted) in [
        ("NaN", true),
        ("1e999", true),
        ("-Infinity", true),
        ("list", true),
        ("object", true),
        ("bool", true),
        ("null", false),
    ] {
        let api = small().await;
        api.break_with(&[&format!("figures={text};field=marketing_messages_spend")]);
        let page = api.exporter(&busy("", ACCOUNT)).await.page_up().await;
        page.assert_absent("spend", &[]);
        assert_eq!(page.all("delivered", &[]).len(), 3, "{text}");
        assert_eq!(page.all("cost_per_delivered", &[]).len(), 3, "{text}");
        let field = [("field", "marketing_messages_spend")];
        let count = page.value("exporter_values_rejected_total", &field);
        assert_eq!(count >= Some(3.0), counted, "{text}: {count:?}");
    }
}

#[tokio::test]
async fn bare_numbers_are_numbers() {
    let api = small().await;
    api.break_with(&["figures=number"]);
    let page = api.exporter(&busy("", ACCOUNT)).await.page_up().await;
    let id = "120210001000000000";
    let truth = api.truth(id, "2026-11-23", "2026-11-23").unwrap();
    crate::truth::assert_row(&page, &[("campaign_id", id)], &truth);
}

#[tokio::test]
async fn a_field_that_the_api_does_not_take_is_left_out() {
    let api = small().await;
    api.break_with(&[
        "rejected_field=marketing_messages_delivery_rate",
        "rejected_field=website_purchase_roas",
    ]);
    let exporter = api.exporter(&busy("", ACCOUNT)).await;
    let page = exporter.page_up().await;
    for field in ["marketing_messages_delivery_rate", "website_purchase_roas"] {
        let labels = [("business", "acme"), ("field", field)];
        page.assert("exporter_field_rejected", &labels, "1");
    }
    page.assert_absent("delivery_ratio", &[]);
    page.assert_absent("website_purchase_roas", &[]);
    assert_eq!(page.all("delivered", &[]).len(), 3);
    assert_eq!(page.all("conversion_value", &[]).len(), 3);
    // It is remembered: every later question is answered at once.
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
async fn conversions_that_fail_do_not_take_delivery_away() {
    let api = small().await;
    let exporter = api.exporter(&busy("", ACCOUNT)).await;
    exporter.page_up().await;
    api.break_with(&["rejected_field=actions"]);
    exporter
        .page_when(|page| page.value("up", &[]) == Some(0.0))
        .await;
    api.set_time("2026-11-23T15:00:00Z");
    let id = "120210001000000000";
    let truth = api.truth(id, "2026-11-23", "2026-11-23").unwrap().figures;
    let delivered = &truth["marketing_messages_delivered"];
    let page = exporter
        .page_when(|page| {
            let found = page.find("delivered", &[("campaign_id", id)]);
            found.is_some_and(|sample| sample.number == *delivered)
        })
        .await;
    page.assert("up", &[], "0");
    assert_eq!(page.all("conversions", &[]).len(), 30);
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_halves() {
    let api = Api::start(World::with_campaigns(90, 0)).await;
    api.break_with(&["too_large=40@endpoint:insights"]);
    let exporter = api.exporter(&busy("", ACCOUNT)).await;
    let page = exporter.page_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 90);
    exporter
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(3.0))
        .await;
    let requests = api.simulator.requests();
    let insights = requests.iter().filter(|r| r.path.ends_with("/insights"));
    let limits: Vec<_> = insights.map(|r| r.param("limit").unwrap()).collect();
    assert_eq!(limits[..6], ["500", "250", "125", "62", "31", "31"]);
    assert!(
        limits[5..].iter().all(|limit| *limit == "31"),
        "it is remembered"
    );
}

#[tokio::test]
async fn what_is_too_old_is_withdrawn() {
    let api = small().await;
    let exporter = api.exporter(&busy(", stale_after: 600ms", ACCOUNT)).await;
    let good = exporter.page_up().await;
    assert!(!good.all("delivered", &[]).is_empty());
    api.break_with(&["hang"]);
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

/// Two businesses, of which only the second one is in trouble.
const TWO: &str = "polling: { interval: 100ms, stale_after: 2s }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
";

async fn polls_on(exporter: &Exporter, business: &str) {
    let labels = [("business", business)];
    let last = |page: &crate::page::Page| page.value("last_success_timestamp_seconds", &labels);
    let before = exporter.page_when(|page| last(page).is_some()).await;
    for _ in 0..3 {
        let page = exporter.page_when(|page| last(page) > last(&before)).await;
        page.assert("up", &labels, "1");
    }
}

#[tokio::test]
async fn one_business_never_stops_another() {
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
        api.break_with(&[&format!("{fault}@business:nordlicht")]);
        let exporter = api.exporter(TWO).await;
        polls_on(&exporter, "aurora").await;
        let page = exporter.page().await;
        page.assert("up", &[("business", "nordlicht")], "0");
        page.assert_absent("delivered", &[("business", "nordlicht")]);
    }
}

#[tokio::test]
async fn a_missing_token_file_is_looked_for_until_it_is_there() {
    let api = Api::demo().await;
    let path = std::env::temp_dir().join(format!("mme-token-{}", std::process::id()));
    drop(fs::remove_file(&path));
    let mut config = parse(TWO, &api.simulator.url());
    config.businesses[1].token = SecretSource::File(path.clone());
    let exporter = Exporter::start(&config).await;
    polls_on(&exporter, "aurora").await;
    let page = exporter.page().await;
    page.assert("exporter_token_valid", &[("business", "nordlicht")], "0");
    let denied = [("business", "nordlicht"), ("reason", "denied")];
    assert!(page.value("exporter_poll_failures_total", &denied) >= Some(1.0));
    assert_eq!(exporter.get("/-/ready").await.status, 200);
    fs::write(&path, token("NORDLICHT")).unwrap();
    let page = exporter.page_up().await;
    fs::remove_file(&path).unwrap();
    page.assert("exporter_token_valid", &[("business", "nordlicht")], "1");
}

#[tokio::test]
async fn after_the_first_refusal_no_call_is_begun() {
    let config = "
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]
businesses:
  - name: acme
    access_token_env: EVERYONE
    ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }, { id: act_10150000000001201 }]
    campaigns: [{ id: \"120210000000041000\" }, { id: \"120210000000051000\" }]
";
    let api = Api::demo().await;
    api.break_with(&["denied"]);
    let exporter = api.exporter(config).await;
    exporter
        .page_when(|page| page.value("exporter_token_valid", &[]) == Some(0.0))
        .await;
    while exporter.get("/-/ready").await.status != 200 {}
    polled_out(&exporter).await;
    // A business has two requests in flight at most, by the default concurrency.
    let calls = api.simulator.requests().len();
    assert!(calls <= 2, "{calls} calls with a token that was refused");
}

#[tokio::test]
async fn a_throttled_ad_account_is_left_alone_at_once() {
    let config = "
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001101 }] }]
";
    let api = Api::demo().await;
    api.break_with(&["throttled=80000;minutes=7"]);
    let exporter = api.exporter(config).await;
    let page = exporter
        .page_when(|page| {
            page.value("exporter_api_held_until_timestamp_seconds", &[])
                .is_some()
        })
        .await;
    while exporter.get("/-/ready").await.status != 200 {}
    polled_out(&exporter).await;
    assert_eq!(api.simulator.requests().len(), 1);
    let (held, next) = (
        page.value("exporter_api_held_until_timestamp_seconds", &[]),
        page.value(
            "exporter_next_poll_timestamp_seconds",
            &[("window", "today")],
        ),
    );
    assert!(
        (held.unwrap() - next.unwrap()).abs() < 1.0,
        "{held:?} {next:?}"
    );
}

/// Whoever was about to ask has had the time to: three turns of the crank.
async fn polled_out(exporter: &Exporter) {
    for _ in 0..30 {
        exporter.page().await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
