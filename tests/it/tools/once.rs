//! `once`: the metrics page in three formats.

use serde_json::Value;

use crate::harness::Api;
use crate::process::{BUSINESS, Program};

/// Number of exported campaigns of the ad account in `BUSINESS`.
const CAMPAIGNS: usize = 3;

async fn once(api: &Api, output: &str) -> (Option<i32>, String) {
    once_with(api, output, "--own").await
}

async fn once_with(api: &Api, output: &str, flag: &str) -> (Option<i32>, String) {
    let config = format!("graph: {{ url: \"{}\" }}\n{BUSINESS}", api.simulator.url());
    let output = format!("--output={output}");
    let (code, out, _) = Program::start(&config, &["once", &output, flag])
        .end()
        .await;
    (code, out)
}

#[tokio::test]
async fn once_openmetrics_output_is_complete() {
    let api = Api::demo().await;
    let (code, out) = once(&api, "openmetrics").await;
    assert_eq!(code, Some(0));
    assert!(out.ends_with("\n# EOF\n"));
    assert!(out.contains("# TYPE marketing_messages_exporter_polls counter\n"));
    assert!(out.contains("marketing_messages_exporter_polls_total{business=\"acme\"} 1\n"));
    let delivered = out
        .lines()
        .filter(|line| line.starts_with("marketing_messages_delivered{"));
    assert_eq!(delivered.count(), CAMPAIGNS);
}

#[tokio::test]
async fn once_prints_own_metrics_only_on_request() {
    let api = Api::demo().await;
    let (_, out) = once_with(&api, "text", "--log.level=info").await;
    assert!(out.contains("marketing_messages_delivered{"), "{out}");
    for family in ["process_", "marketing_messages_exporter_polls_total"] {
        assert!(!out.contains(family), "{family} should be absent");
    }
    let (_, out) = once_with(&api, "text", "--own").await;
    assert!(out.contains("process_") && out.contains("marketing_messages_delivered{"));
}

#[tokio::test]
async fn once_names_sources_without_values() {
    let api = Api::demo().await;
    api.inject_faults(&["forbidden@endpoint:insights"]);
    let config = format!("graph: {{ url: \"{}\" }}\n{BUSINESS}", api.simulator.url());
    let (_, _, log) = Program::start(&config, &["once"]).end().await;
    let named =
        |line: &String| line.contains("source=act_10150000000001101") && line.contains("source ");
    assert!(log.iter().any(named), "{log:#?}");
    assert!(
        log.iter()
            .any(|line| line.contains("polling every source once")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn once_json_output_has_families_with_samples() {
    let api = Api::demo().await;
    let (code, out) = once(&api, "json").await;
    assert_eq!(code, Some(0));
    let families: Vec<Value> = serde_json::from_str(&out).unwrap();
    let delivered = families
        .iter()
        .find(|family| family["name"] == "marketing_messages_delivered");
    let samples = delivered.unwrap()["samples"].as_array().unwrap();
    assert_eq!(samples.len(), CAMPAIGNS);
    let has_name =
        |sample: &Value| sample["labels"]["campaign_name"] == "Spring restock: \"trail & summit\"";
    assert!(samples.iter().any(has_name), "{samples:#?}");
    assert!(
        samples
            .iter()
            .all(|sample| sample["value"].as_f64().unwrap() > 0.0)
    );
}

#[tokio::test]
async fn once_with_failed_source_exits_with_1_in_every_format() {
    let api = Api::demo().await;
    api.inject_faults(&["forbidden@endpoint:insights"]);
    for output in ["text", "openmetrics", "json"] {
        assert_eq!(once(&api, output).await.0, Some(1), "{output}");
    }
}
