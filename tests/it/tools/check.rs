//! `check`: the plan in numbers, and what it warns of.

use std::fs;

use serde_json::Value;

use crate::harness::Api;
use crate::process::{BUSINESS, Program};

async fn check(config: &str, arguments: &[&str]) -> Value {
    let arguments = [&["check", "--output=json"], arguments].concat();
    let (code, out, log) = Program::start(config, &arguments).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    serde_json::from_str(&out).unwrap()
}

fn warns(told: &Value, words: &str) -> bool {
    let warnings = told["warnings"].as_array().unwrap();
    warnings
        .iter()
        .any(|warning| warning.as_str().unwrap().contains(words))
}

#[tokio::test]
async fn the_plan_has_the_calls_of_an_hour_and_a_day_and_their_share_of_quotas() {
    let told = check(BUSINESS, &["--assume.campaigns=3"]).await;
    let source = &told["sources"][0];
    // Two queries every 15 minutes; account, campaigns and ad sets every hour.
    assert_eq!(source["calls_an_hour"], 11.0);
    assert_eq!(source["calls_a_day"], 264.0);
    assert_eq!(source["development_quota_ratio"], 11.0 / 600.0);
    assert_eq!(source["standard_quota_ratio"], 11.0 / 190_000.0);
    assert_eq!(source["campaigns"], 3);
    assert_eq!(source["campaigns_known"], false);
    assert_eq!(told["businesses"][0]["calls_a_day"], 264.0);
    assert_eq!(told["total"]["series"], source["series"]);
    assert!(told["total"]["page_bytes"].as_u64().unwrap() > 1_000);
    assert_eq!(told["warnings"].as_array().unwrap().len(), 0, "{told}");
}

#[tokio::test]
async fn a_state_file_knows_how_many_campaigns_there_are() {
    let api = Api::demo().await;
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let state = std::env::temp_dir().join(format!("mme-check-{}.state", std::process::id()));
    drop(fs::remove_file(&state));
    let flag = format!("--state.file={}", state.display());
    assert!(warns(
        &check(&config, &[&flag]).await,
        "there is no state file yet"
    ));
    let serving = Program::start(&config, &["--web.listen-address=127.0.0.1:0", &flag]);
    crate::harness::wait_until("the state is kept", || state.exists()).await;
    serving.signal("-TERM");
    serving.end().await;
    let asked = api.simulator.requests().len();
    let told = check(&config, &[&flag]).await;
    assert_eq!(told["sources"][0]["campaigns"], 3);
    assert_eq!(told["sources"][0]["campaigns_known"], true);
    assert_eq!(api.simulator.requests().len(), asked, "nothing is asked");
    fs::remove_file(&state).unwrap();
}

#[tokio::test]
async fn what_is_hardly_meant_is_warned_of() {
    let config = "polling: { interval: 10s }
insights: { action_types: [purchase, offsite_conversion.fb_pixel_purchase] }
windows: [{ name: old, time_range: { since: 2020-01-01, until: 2020-02-01 } }, { name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: NO_SUCH_TOKEN, ad_accounts: [{ id: act_1 }] }]
";
    let told = check(config, &["--assume.campaigns=5000"]).await;
    for words in [
        "polling.interval:",
        "windows[0].time_range: it begins more than 37 months ago",
        "one purchase can be counted under each of",
        "series are many",
        "act_1: more than 75 % of the development tier's quota",
        "businesses[0]: access token: environment variable NO_SUCH_TOKEN is not set",
    ] {
        assert!(warns(&told, words), "{words}: {told:#}");
    }
}

#[tokio::test]
async fn the_configs_of_the_repository_have_nothing_to_be_warned_of_but_their_tokens() {
    for name in ["config.example.yaml"] {
        let told = check(&fs::read_to_string(name).unwrap(), &[]).await;
        let warnings = told["warnings"].as_array().unwrap().iter();
        let other: Vec<_> = warnings
            .filter(|warning| !warning.as_str().unwrap().contains("access token"))
            .collect();
        assert!(other.is_empty(), "{name}: {other:?}");
    }
}
