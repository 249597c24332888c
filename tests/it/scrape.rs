//! The metrics page as Prometheus scrapes it: content, format, and HTTP behaviour.

use std::collections::BTreeSet;

use graph_simulator::World;
use marketing_messages_exporter::metrics::catalog::self_metric_families;

use crate::harness::{Api, wait_until};
use crate::page::{Family, Page};

const ACCOUNT: &str = "
windows:
  - { name: today, date_preset: today }
  - { name: launch, time_range: { since: 2026-11-01, until: 2026-11-20 } }
businesses:
  - name: acme
    access_token_env: EVERYONE
    labels: { team: growth }
    thresholds: [{ window: today, max_spend: 500, min_roas: 2.5, applies_above_spend: 20 }]
    ad_accounts: [{ id: act_10150000000009001 }]
";

/// An ordinary campaign, one with mixed attribution settings, and one without conversions.
const CAMPAIGNS: &str = "
windows:
  - { name: today, date_preset: today }
businesses:
  - name: nordlicht
    access_token_env: NORDLICHT
    campaigns:
      - { id: \"120210000000031000\" }
      - { id: \"120210000000033000\" }
      - { id: \"120210000000032000\", conversions: false }
";

async fn account() -> Api {
    Api::start(World::with_campaigns(2, 1)).await
}

/// Returns the campaign page without values that differ from run to run.
fn golden(page: &Page) -> String {
    let self_metrics: Vec<&str> = self_metric_families::ALL
        .iter()
        .map(|family| family.name)
        .collect();
    page.without(|family| {
        let name = family.name.as_str();
        let is_time = name.ends_with("timestamp_seconds") && !name.contains("_window_");
        is_time
            || name.ends_with("_duration_seconds")
            || name.starts_with("process_")
            || self_metrics.contains(&name)
    })
}

#[tokio::test]
async fn ad_account_page_matches_golden_page() {
    let api = account().await;
    let page = api.exporter(ACCOUNT).await.page_all_up().await;
    insta::assert_snapshot!(golden(&page));
}

#[tokio::test]
async fn campaigns_page_matches_golden_page() {
    let api = Api::demo().await;
    let page = api.exporter(CAMPAIGNS).await.page_all_up().await;
    insta::assert_snapshot!(golden(&page));
}

#[tokio::test]
async fn page_follows_metric_naming_conventions() {
    let api = Api::demo().await;
    let config = include_str!("../../src/commands/demo.yaml").replace("env: DEMO", "env: EVERYONE");
    let page = api.exporter(&config).await.page_all_up().await;
    let mut helps = BTreeSet::new();
    for family in &page.families {
        let Family {
            name, help, kind, ..
        } = family;
        assert!(
            name.starts_with("marketing_messages_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(help.len() > 15, "{name}: {help}");
        assert!(
            helps.insert(help),
            "{name}: HELP should be unique: {help:?}"
        );
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        for suffix in ["_count", "_sum", "_bucket", "_percent", "_ms"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        for sample in &family.samples {
            assert!(sample.value().is_finite() || kind == "histogram", "{name}");
            if name.ends_with("_ratio") && !name.ends_with("_usage_ratio") {
                assert!((0.0..=1.0).contains(&sample.value()), "{sample:?}");
            }
            if name.ends_with("_info") {
                assert_eq!(sample.number, "1", "{name}");
            }
        }
        // All businesses of the demo have the same configured labels.
        let label_names = |sample_idx: usize| {
            let labels = family.samples[sample_idx].labels.iter();
            labels.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let has_same_labels = |sample_idx| label_names(sample_idx) == label_names(0);
        assert!(
            kind == "histogram" || (1..family.samples.len()).all(has_same_labels),
            "all samples of {name} should have the same label names"
        );
    }
    assert!(page.families.len() > 40, "{}", page.families.len());
}

#[tokio::test]
async fn page_is_served_plain_and_as_one_gzip_member() {
    let api = account().await;
    let exporter = api.exporter(ACCOUNT).await;
    exporter.page_all_up().await;
    let plain = exporter.get("/metrics").await;
    let gzip = exporter
        .request("GET", "/metrics", "Accept-Encoding: gzip\r\n")
        .await;
    for response in [&plain, &gzip] {
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        assert_eq!(response.header("vary"), Some("accept, accept-encoding"));
        let length: usize = response.header("content-length").unwrap().parse().unwrap();
        assert_eq!(length, response.body.len());
    }
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    // The limit is generous: global self metrics are not compressed, and are a large part of a small page.
    assert!(
        gzip.body.len() * 2 < plain.body.len(),
        "gzip should halve the size: {} of {}",
        gzip.body.len(),
        plain.body.len()
    );
    // Requests of the test itself are counted.
    let is_process_metric = |family: &Family| {
        let name = &family.name;
        name.starts_with("process_") || name.contains("exporter_http_")
    };
    let (plain, gzip) = (Page::parse(&plain.text()), Page::parse(&gzip.gunzipped()));
    assert_eq!(
        plain.without(is_process_metric),
        gzip.without(is_process_metric)
    );
}

#[tokio::test]
async fn scrapes_between_polls_are_identical() {
    let api = account().await;
    let exporter = api.exporter(ACCOUNT).await;
    // Requests of the test itself are counted.
    let is_process_metric = |family: &Family| {
        let name = &family.name;
        name.starts_with("process_") || name.contains("exporter_http_")
    };
    let first = exporter.page_all_up().await.without(is_process_metric);
    assert!(first.contains("marketing_messages_delivered{"));
    assert_eq!(first, exporter.page().await.without(is_process_metric));
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405() {
    let api = account().await;
    let exporter = api.exporter(ACCOUNT).await;
    exporter.page_all_up().await;
    for path in ["/", "/metrics", "/api/status", "/-/healthy", "/-/ready"] {
        let get = exporter.get(path).await;
        assert_eq!(get.status, 200, "{path}");
        let head = exporter.request("HEAD", path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "HEAD {path}");
        let type_and_length = |response: &crate::harness::HttpResponse| {
            let length: i64 = response.header("content-length").unwrap().parse().unwrap();
            (
                response.header("content-type").map(str::to_owned),
                // The length varies with the times in the body.
                length / 64,
            )
        };
        if path != "/metrics" {
            assert_eq!(type_and_length(&get), type_and_length(&head), "HEAD {path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let response = exporter
                .request(method, path, "Content-Length: 0\r\n")
                .await;
            assert_eq!(response.status, 405, "{method} {path}");
            assert_eq!(response.header("allow"), Some("GET, HEAD"), "{path}");
        }
    }
    for path in ["/metric", "/metrics/", "/-/", "/favicon.ico", "/%2e%2e/x"] {
        for method in ["GET", "POST"] {
            let response = exporter.request(method, path, "").await;
            assert_eq!(response.status, 404, "{method} {path}");
        }
    }
    assert_eq!(exporter.get("/metrics?name[]=up").await.status, 200);
}

#[tokio::test]
async fn page_is_served_while_api_hangs() {
    let api = account().await;
    api.inject_faults(&["hang"]);
    let exporter = api.exporter(ACCOUNT).await;
    let page = exporter.page().await;
    for window in ["today", "launch"] {
        let labels = [
            ("business", "acme"),
            ("source", "act_10150000000009001"),
            ("window", window),
            ("team", "growth"),
        ];
        page.assert("up", &labels, "0");
        page.assert_absent("last_success_timestamp_seconds", &labels);
    }
    page.assert("exporter_polls_total", &[("business", "acme")], "0");
    assert!(page.text.contains("marketing_messages_exporter_build_info"));
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    let ready = exporter.get("/-/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("acme act_10150000000009001"));
    wait_until("the API receives a request", || {
        !api.simulator.requests().is_empty()
    })
    .await;
    exporter.page().await.assert_absent("delivered", &[]);
}

#[tokio::test]
async fn exporter_stays_ready_after_first_round() {
    let api = account().await;
    api.inject_faults(&["unavailable=503"]);
    let config = format!("polling: {{ interval: 200ms, stale_after: 400ms }}\n{ACCOUNT}");
    let exporter = api.exporter(&config).await;
    // A round of failed polls counts, too.
    exporter
        .page_when(|page| {
            let failed = page.value("exporter_poll_failures_total", &[("reason", "unavailable")]);
            failed.is_some_and(|count| count >= 2.0)
        })
        .await;
    let mut ready = exporter.get("/-/ready").await;
    while ready.status != 200 {
        ready = exporter.get("/-/ready").await;
    }
    assert_eq!(ready.text(), "ready\n");
    api.inject_faults(&["hang"]);
    assert_eq!(exporter.get("/-/ready").await.status, 200);
}
