//! What Prometheus sees: the page as a whole, its format, and how it is served.

use std::collections::BTreeSet;

use marketing_messages_exporter::exposition::catalog::own_families;
use marketing_messages_exporter::simulator::World;

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
    thresholds: [{ window: today, max_spend: 500, min_roas: 2.5, from_spend: 20 }]
    ad_accounts: [{ id: act_10150000000009001 }]
";

/// One campaign as others, one whose ad sets mix attribution settings, one without a pixel.
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

/// The campaign page, without what differs from run to run.
fn golden(page: &Page) -> String {
    let own: Vec<&str> = own_families::ALL.iter().map(|own| own.name).collect();
    page.without(|family| {
        let name = family.name.as_str();
        let times = name.ends_with("timestamp_seconds") && !name.contains("_window_");
        times
            || name.ends_with("_duration_seconds")
            || name.starts_with("process_")
            || own.contains(&name)
    })
}

#[tokio::test]
async fn an_ad_account_makes_this_page() {
    let api = account().await;
    let page = api.exporter(ACCOUNT).await.page_up().await;
    insta::assert_snapshot!(golden(&page));
}

#[tokio::test]
async fn campaigns_make_this_page() {
    let api = Api::demo().await;
    let page = api.exporter(CAMPAIGNS).await.page_up().await;
    insta::assert_snapshot!(golden(&page));
}

#[tokio::test]
async fn every_page_keeps_the_rules_of_good_metrics() {
    let api = Api::demo().await;
    let config = include_str!("../../src/commands/demo.yaml").replace("env: DEMO", "env: EVERYONE");
    let page = api.exporter(&config).await.page_up().await;
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
        assert!(helps.insert(help), "{name}: {help:?} is another one's help");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        for ending in ["_count", "_sum", "_bucket", "_percent", "_ms"] {
            assert!(!name.ends_with(ending), "{name}");
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
        // Each of the demo's businesses has the same label of its own.
        let labels = |at: usize| {
            let labels = family.samples[at].labels.iter();
            labels.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let same = |at| labels(at) == labels(0);
        assert!(
            kind == "histogram" || (1..family.samples.len()).all(same),
            "{name}"
        );
    }
    assert!(page.families.len() > 40, "{}", page.families.len());
}

#[tokio::test]
async fn the_page_is_served_plain_and_as_one_gzip_member() {
    let api = account().await;
    let exporter = api.exporter(ACCOUNT).await;
    exporter.page_up().await;
    let plain = exporter.get("/metrics").await;
    let gzip = exporter
        .ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")
        .await;
    for answer in [&plain, &gzip] {
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert_eq!(length, answer.body.len());
    }
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    // Of a page as small as this one, the few own metrics are a good part: they go as they are.
    assert!(
        gzip.body.len() * 2 < plain.body.len(),
        "{} of {}",
        gzip.body.len(),
        plain.body.len()
    );
    let of_process = |family: &Family| family.name.starts_with("process_");
    let (plain, gzip) = (Page::parse(&plain.text()), Page::parse(&gzip.gunzipped()));
    assert_eq!(plain.without(of_process), gzip.without(of_process));
}

#[tokio::test]
async fn two_scrapes_between_polls_are_the_same_to_the_byte() {
    let api = account().await;
    let exporter = api.exporter(ACCOUNT).await;
    let of_process = |family: &Family| family.name.starts_with("process_");
    let first = exporter.page_up().await.without(of_process);
    assert!(first.contains("marketing_messages_delivered{"));
    assert_eq!(first, exporter.page().await.without(of_process));
}

#[tokio::test]
async fn paths_and_methods_are_answered_as_they_should() {
    let api = account().await;
    let exporter = api.exporter(ACCOUNT).await;
    exporter.page_up().await;
    for path in ["/", "/metrics", "/api/status", "/-/healthy", "/-/ready"] {
        let get = exporter.get(path).await;
        assert_eq!(get.status, 200, "{path}");
        let head = exporter.ask("HEAD", path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "HEAD {path}");
        let named = |answer: &crate::harness::Answer| {
            let length: i64 = answer.header("content-length").unwrap().parse().unwrap();
            (
                answer.header("content-type").map(str::to_owned),
                length / 64,
            )
        };
        if path != "/metrics" {
            assert_eq!(named(&get), named(&head), "HEAD {path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let refused = exporter.ask(method, path, "Content-Length: 0\r\n").await;
            assert_eq!(refused.status, 405, "{method} {path}");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{path}");
        }
    }
    for path in ["/metric", "/metrics/", "/-/", "/favicon.ico", "/%2e%2e/x"] {
        for method in ["GET", "POST"] {
            let answer = exporter.ask(method, path, "").await;
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    assert_eq!(exporter.get("/metrics?name[]=up").await.status, 200);
}

#[tokio::test]
async fn the_page_is_there_while_the_api_hangs() {
    let api = account().await;
    api.break_with(&["hang"]);
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
    wait_until("the API is asked", || !api.simulator.requests().is_empty()).await;
    exporter.page().await.assert_absent("delivered", &[]);
}

#[tokio::test]
async fn readiness_comes_with_the_first_round_and_stays() {
    let api = account().await;
    api.break_with(&["unavailable=503"]);
    let config = format!("polling: {{ interval: 200ms, stale_after: 400ms }}\n{ACCOUNT}");
    let exporter = api.exporter(&config).await;
    // A first round that failed is a first round.
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
    api.break_with(&["hang"]);
    assert_eq!(exporter.get("/-/ready").await.status, 200);
}
