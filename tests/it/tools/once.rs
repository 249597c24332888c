//! `once`: the page in three formats.

use serde_json::Value;

use crate::harness::Api;
use crate::process::{BUSINESS, Program};

async fn once(api: &Api, output: &str) -> (Option<i32>, String) {
    let config = format!("graph: {{ url: \"{}\" }}\n{BUSINESS}", api.simulator.url());
    let output = format!("--output={output}");
    let (code, out, _) = Program::start(&config, &["once", &output]).end().await;
    (code, out)
}

#[tokio::test]
async fn openmetrics_is_the_same_page_and_ends_as_that_format_must() {
    let api = Api::demo().await;
    let (code, out) = once(&api, "openmetrics").await;
    assert_eq!(code, Some(0));
    assert!(out.ends_with("\n# EOF\n"));
    assert!(out.contains("# TYPE marketing_messages_exporter_polls counter\n"));
    assert!(out.contains("marketing_messages_exporter_polls_total{business=\"acme\"} 1\n"));
    let delivered = out
        .lines()
        .filter(|line| line.starts_with("marketing_messages_delivered{"));
    assert_eq!(delivered.count(), 3);
}

#[tokio::test]
async fn json_has_every_family_with_its_samples() {
    let api = Api::demo().await;
    let (code, out) = once(&api, "json").await;
    assert_eq!(code, Some(0));
    let families: Vec<Value> = serde_json::from_str(&out).unwrap();
    let delivered = families
        .iter()
        .find(|family| family["name"] == "marketing_messages_delivered");
    let samples = delivered.unwrap()["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3);
    let named =
        |sample: &Value| sample["labels"]["campaign_name"] == "Spring restock: \"trail & summit\"";
    assert!(samples.iter().any(named), "{samples:#?}");
    assert!(
        samples
            .iter()
            .all(|sample| sample["value"].as_f64().unwrap() > 0.0)
    );
}

#[tokio::test]
async fn a_failed_source_is_told_by_the_status_in_every_format() {
    let api = Api::demo().await;
    api.break_with(&["forbidden@endpoint:insights"]);
    for output in ["text", "openmetrics", "json"] {
        assert_eq!(once(&api, output).await.0, Some(1), "{output}");
    }
}
