//! `check`: estimated API calls and series, and warnings.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::Api;
use crate::process::{BUSINESS, Program};

/// Calls of one ad account with one window: one query every 15 minutes; discovery and the spend of the ad account every
/// hour.
const CALLS_PER_HOUR: f64 = 4.0 + 1.0 + 1.0;

/// Quotas of an ad account without active ads, from Meta's document on rate limits.
const DEVELOPMENT_CALLS_PER_HOUR: f64 = 600.0;
const STANDARD_CALLS_PER_HOUR: f64 = 190_000.0;

async fn check(config: &str, arguments: &[&str]) -> Value {
    let arguments = [&["check", "--output=json"], arguments].concat();
    let (code, out, log) = Program::start(config, &arguments).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    serde_json::from_str(&out).unwrap()
}

fn warnings(output: &Value) -> Vec<&str> {
    let warnings = output["warnings"].as_array().unwrap().iter();
    warnings.map(|warning| warning.as_str().unwrap()).collect()
}

fn has_warning(output: &Value, text: &str) -> bool {
    warnings(output)
        .iter()
        .any(|warning| warning.contains(text))
}

#[tokio::test]
async fn check_reports_calls_and_quota_shares() {
    let output = check(BUSINESS, &["--assume-campaigns=3"]).await;
    let source = &output["sources"][0];
    assert_eq!(source["calls_per_hour"], CALLS_PER_HOUR);
    assert_eq!(source["calls_per_day"], 24.0 * CALLS_PER_HOUR);
    assert_eq!(
        source["development_quota_ratio"],
        CALLS_PER_HOUR / DEVELOPMENT_CALLS_PER_HOUR
    );
    assert_eq!(
        source["standard_quota_ratio"],
        CALLS_PER_HOUR / STANDARD_CALLS_PER_HOUR
    );
    assert_eq!(source["campaigns"], 3);
    assert_eq!(source["campaigns_known"], false);
    assert_eq!(
        output["businesses"][0]["calls_per_day"],
        source["calls_per_day"]
    );
    assert_eq!(output["total"]["series"], source["series"]);
    assert!(output["total"]["page_bytes"].as_u64().unwrap() > 1_000);
    assert!(warnings(&output).is_empty(), "{output:#}");
}

/// Whether a state file has the inventory of a source.
fn has_inventory(path: &Path) -> bool {
    let saved = marketing_messages_exporter::state::read(path)
        .ok()
        .flatten();
    saved.is_some_and(|saved| format!("{saved:?}").contains("SavedInventory"))
}

#[tokio::test]
async fn check_takes_campaign_counts_from_state_file() {
    let api = Api::demo().await;
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let state = std::env::temp_dir().join(format!("mme-check-{}.state", std::process::id()));
    // Left behind by an aborted run with the same process id.
    let _ = fs::remove_file(&state);
    let flag = format!("--state.file={}", state.display());
    let output = check(&config, &[&flag]).await;
    assert!(
        has_warning(&output, "state file does not exist yet"),
        "{output:#}"
    );
    let exporter = Program::start(&config, &["--web.listen-address=127.0.0.1:0", &flag]);
    crate::harness::wait_until("the inventory is saved", || has_inventory(&state)).await;
    exporter.signal("-TERM");
    exporter.end().await;
    let requests = api.simulator.requests().len();
    let output = check(&config, &[&flag]).await;
    assert_eq!(output["sources"][0]["campaigns"], 3);
    assert_eq!(output["sources"][0]["campaigns_known"], true);
    assert_eq!(
        api.simulator.requests().len(),
        requests,
        "`check` should send no requests"
    );
    fs::remove_file(&state).unwrap();
}

#[tokio::test]
async fn check_warns_about_unintended_settings() {
    let config = "graph: { version: v19.0 }
polling: { interval: 10s }
insights: { extra_fields: [{ field: marketing_messages_snet, metric: sent, kind: count }], action_types: [purchase, offsite_conversion.fb_pixel_purchase] }
windows: [{ name: old, time_range: { since: 2020-01-01, until: 2020-02-01 } }, { name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: NO_SUCH_TOKEN, ad_accounts: [{ id: act_1 }] }]
";
    let output = check(config, &["--assume-campaigns=5000"]).await;
    for text in [
        "polling.interval:",
        "graph.version: v19.0 is retired",
        "`marketing_messages_snet` is not in this release's list of numeric fields, which is not complete; did you mean `marketing_messages_sent`? check --live tests",
        "windows[0].time_range: starts more than 37 months ago",
        "a single purchase event can be counted under each of",
        "series are many",
        "acme: act_1: ",
        "calls per hour do not fit in the development tier",
        "acme: access token: environment variable NO_SUCH_TOKEN is not set",
    ] {
        assert!(has_warning(&output, text), "{text}: {output:#}");
    }
}

#[tokio::test]
async fn check_warns_about_sources_that_do_not_fit_the_development_tier() {
    let campaigns: Vec<String> = (1..=130).map(|id| format!("{{ id: \"{id}\" }}")).collect();
    let config = format!(
        "businesses: [{{ name: acme, access_token_env: T, campaigns: [{}] }}]",
        campaigns.join(", ")
    );
    let output = check(&config, &[]).await;
    let text = "acme: 130 campaign sources, if they are in one ad account: 650 calls per hour do not fit in the development tier";
    assert!(has_warning(&output, text), "{output:#}");
    // Each of two ad accounts has a quota.
    let account = |id| {
        format!(
            "{{ name: b{id}, access_token_env: T, app_id: \"1\", ad_accounts: [{{ id: act_{id} }}] }}"
        )
    };
    let windows = "polling: { interval: 25s }\nwindows: [{ name: today, date_preset: today }]";
    for (ids, is_shared) in [([1, 2], false), ([1, 1], true)] {
        // Businesses of one app share the quota of an ad account.
        let [a, b] = ids;
        let second = account(b).replace("name: b1,", "name: c,");
        let config = format!("{windows}\nbusinesses: [{}, {second}]", account(a));
        let output = check(&config, &[]).await;
        let warned =
            has_warning(&output, "uses more than 75 %") || has_warning(&output, "do not fit");
        assert_eq!(warned, is_shared, "{output:#}");
    }
}

#[tokio::test]
async fn check_warns_about_alerts_that_cannot_fire() {
    let business = "{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }";
    let long: Vec<String> = (0..150)
        .map(|n| format!("offsite_conversion.custom.{n:015}"))
        .collect();
    let extra_fields = |count: u32| {
        let field = |n| {
            format!(
                "{{ field: a_field_with_a_long_name_of_50_bytes_number_{n:04}, metric: m{n}, kind: count, help: h }}"
            )
        };
        let fields: Vec<String> = (0..count).map(field).collect();
        format!("insights: {{ extra_fields: [{}] }}", fields.join(", "))
    };
    for (head, expected) in [
        (
            "metrics: { exclude: [read_ratio] }".to_owned(),
            Some("read_ratio: alerting rules use it"),
        ),
        ("metrics: { exclude: [delivery_ratio] }".to_owned(), None),
        (
            "insights: { action_types: [offsite_conversion.fb_pixel_lead] }".to_owned(),
            Some("RoasBelowThreshold, CostPerPurchaseHigh"),
        ),
        (
            format!(
                "insights: {{ action_types: [offsite_conversion.fb_pixel_purchase, {}] }}",
                long.join(", ")
            ),
            Some("without a filter by action type"),
        ),
        (extra_fields(90), Some("ids of 41 campaigns instead of 100")),
        (extra_fields(300), Some("longer than 8 KiB")),
        (extra_fields(5), None),
    ] {
        let output = check(
            &format!("{head}\nbusinesses: [{business}]"),
            &["--assume-campaigns=1"],
        )
        .await;
        let mut others = warnings(&output);
        others.retain(|warning| {
            !warning.contains("access token") && !warning.contains("list of numeric fields")
        });
        match expected {
            Some(text) => assert!(has_warning(&output, text), "{text}: {output:#}"),
            None => assert!(others.is_empty(), "{others:#?}"),
        }
    }
}

#[tokio::test]
async fn estimate_with_state_equals_the_page() {
    let api = Api::demo().await;
    let config = format!(
        "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}, {{ name: last_7d, date_preset: last_7d }}]
businesses: [{{ name: acme, access_token_env: T, thresholds: [{{ window: today, max_spend: 1 }}], ad_accounts: [{{ id: act_10150000000001101 }}] }}]",
        api.simulator.url()
    );
    let state = std::env::temp_dir().join(format!("mme-estimate-{}.state", std::process::id()));
    // Left behind by an aborted run with the same process id.
    let _ = fs::remove_file(&state);
    let flag = format!("--state.file={}", state.display());
    let exporter = Program::start(&config, &["--web.listen-address=127.0.0.1:0", &flag]);
    crate::harness::wait_until("the inventory is saved", || has_inventory(&state)).await;
    exporter.signal("-TERM");
    exporter.end().await;
    let (_, page, _) = Program::start(&config, &["once"]).end().await;
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    let output = check(&config, &[&flag]).await;
    let estimated = output["total"]["series"].as_u64().unwrap();
    let error = estimated.abs_diff(u64::try_from(series).unwrap());
    assert!(
        error * 10 <= estimated,
        "{estimated} estimated, {series} on the page"
    );
    fs::remove_file(&state).unwrap();
}

#[tokio::test]
async fn example_config_has_no_warnings_except_tokens() {
    let config = fs::read_to_string("config.example.yaml").unwrap();
    let output = check(&config, &[]).await;
    let mut others = warnings(&output);
    others.retain(|warning| !warning.contains("access token"));
    assert!(others.is_empty(), "{others:#?}");
}

#[tokio::test]
async fn check_refuses_what_serving_refuses() {
    let with = |text: &str| format!("{text}\n{BUSINESS}");
    for (config, flag, expected) in [
        (
            with("graph: { ca_file: missing.pem }"),
            None,
            "missing.pem: No such file or directory (os error 2); correct the path, or remove the key",
        ),
        (
            with(""),
            Some("--web.config.file=missing.yaml"),
            "missing.yaml",
        ),
        (
            with("graph: { url: \"http://graph.facebook.com\" }"),
            None,
            "unencrypted",
        ),
        (with("polling: { intervall: 1m }"), None, "intervall"),
    ] {
        for subcommand in [Some("check"), None] {
            let arguments: Vec<&str> = subcommand.into_iter().chain(flag).collect();
            let (code, out, log) = Program::start(&config, &arguments).end().await;
            assert_eq!(code, Some(2), "{arguments:?}: {config}: {out}");
            assert!(
                log.iter().any(|line| line.contains(expected)),
                "{expected}: {log:#?}"
            );
        }
    }
    let flag = "--state.file=/no/such/folder/state";
    let (code, _, log) = Program::start(BUSINESS, &["check", flag]).end().await;
    assert_eq!(code, Some(2));
    assert!(
        log.iter().any(|line| line.contains("/no/such/folder")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn refused_config_is_reported_as_json() {
    let arguments = ["check", "--output=json"];
    let config = format!("polling: {{ intervall: 1m }}\nfoo: 1\n{BUSINESS}");
    let (code, out, log) = Program::start(&config, &arguments).end().await;
    assert_eq!(code, Some(2), "{log:#?}");
    let output: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(output["valid"], false);
    let errors: Vec<&str> = output["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error.as_str().unwrap())
        .collect();
    assert_eq!(errors, log, "standard error should have the same errors");
    assert!(
        errors[0].contains("intervall") && errors[1].contains("foo"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn check_strict_exits_with_1_if_there_are_warnings() {
    for (config, warning) in [
        (
            format!("graph: {{ app_id: \"1\", app_secret_file: missing }}\n{BUSINESS}"),
            "app secret",
        ),
        (
            "windows: [{ name: week, date_preset: last_7d }]\nbusinesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]".to_owned(),
            "PurchasesStopped",
        ),
        (
            "businesses: [{ name: acme, access_token_env: T, conversions: false, thresholds: [{ window: today, min_roas: 2 }], ad_accounts: [{ id: act_1 }] }]".to_owned(),
            "no effect with `conversions: false`",
        ),
        (
            "businesses: [{ name: acme, access_token_env: T, thresholds: [{ window: today, min_roas: 200 }], ad_accounts: [{ id: act_1 }] }]".to_owned(),
            "not a percentage",
        ),
        (
            "businesses: [{ name: acme, access_token_env: T, enabled: false, ad_accounts: [{ id: act_1 }] }]".to_owned(),
            "all are disabled",
        ),
    ] {
        let output = check(&config, &["--assume-campaigns=1"]).await;
        assert!(has_warning(&output, warning), "{warning}: {output:#}");
        let arguments = ["check", "--strict", "--assume-campaigns=1"];
        let (code, out, _) = Program::start(&config, &arguments).end().await;
        assert_eq!(code, Some(1), "{out}");
    }
    let arguments = ["check", "--strict", "--assume-campaigns=1"];
    let (code, out, _) = Program::start(BUSINESS, &arguments).end().await;
    assert_eq!(code, Some(0), "{out}");
}

#[tokio::test]
async fn estimate_leaves_out_excluded_metrics() {
    let business = "businesses: [{ name: acme, access_token_env: T, thresholds: [{ window: today, max_spend: 1 }], ad_accounts: [{ id: act_1 }] }]";
    let series = async |head: &str| {
        let output = check(&format!("{head}\n{business}"), &["--assume-campaigns=10"]).await;
        output["total"]["series"].as_u64().unwrap()
    };
    let all = series("").await;
    for (names, removed) in [
        // Two windows of ten campaigns.
        ("delivery_ratio", 20),
        ("delivery_ratio, window_start_timestamp_seconds", 40),
        ("conversions", 200),
        ("website_purchase_roas", 20),
        ("max_spend_threshold", 10),
        ("campaign_info", 10),
        ("up", 2),
    ] {
        let left = series(&format!("metrics: {{ exclude: [{names}] }}")).await;
        assert_eq!(all - left, removed, "{names}");
    }
}

#[tokio::test]
async fn unmatched_pattern_names_its_directory() {
    let config = "business_files: [none.d/*.yaml]\n";
    let (code, _, log) = Program::start(config, &["check"]).end().await;
    assert_eq!(code, Some(2), "{log:#?}");
    let folder = std::env::temp_dir().join("none.d");
    let expected = format!(
        "found none, and no file in the directory {} matches `none.d/*.yaml`;",
        folder.display()
    );
    assert!(log.iter().any(|line| line.contains(&expected)), "{log:#?}");
}

#[tokio::test]
async fn very_long_name_is_printed() {
    let name = "a".repeat(70_000);
    let config = BUSINESS.replace("name: acme", &format!("name: {name}"));
    let (code, out, log) = Program::start(&config, &["check"]).end().await;
    assert_eq!(code, Some(0), "{log:?}");
    assert!(out.contains(&name));
}
