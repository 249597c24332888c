//! Scopes of pauses: each limit stops only the requests that it concerns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::wait_until;
use crate::page::Page;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

const THROTTLE_HEADER: &str = "x-fb-ads-insights-throttle";

/// Returns the response of a healthy API: one message campaign in each ad account, without rows.
fn healthy(path: &str) -> ScriptedResponse {
    let account = path.split('/').nth(2).unwrap_or_default();
    let number = account.trim_start_matches("act_");
    let body = if path.ends_with("/campaigns") {
        json!({"data": [{
            "id": format!("12{number}"), "name": "c", "effective_status": "ACTIVE",
            "objective": "OUTCOME_ENGAGEMENT", "is_message_campaign": true,
        }]})
    } else if path.ends_with("/insights") || path.ends_with("/adsets") {
        json!({"data": []})
    } else {
        json!({"account_id": number, "name": "n", "currency": "EUR", "timezone_name": "Europe/Berlin"})
    };
    body.into()
}

fn with_headers(mut response: ScriptedResponse, headers: &[(&str, Value)]) -> ScriptedResponse {
    for (name, value) in headers {
        response.headers += &format!("{name}: {value}\r\n");
    }
    response
}

fn error(code: i64, subcode: Option<i64>) -> ScriptedResponse {
    let mut error = json!({"message": format!("(#{code}) limit"), "code": code});
    if let Some(subcode) = subcode {
        error["error_subcode"] = subcode.into();
    }
    ScriptedResponse::with_status(400, &json!({"error": error}).to_string())
}

/// Returns a config with businesses `b1`, `b2` … of one ad account each.
fn config(businesses: usize, app: &str) -> String {
    let mut config = format!(
        "graph: {{ {app} }}
polling: {{ interval: 50ms, backoff_max: 50ms, discovery_interval: 100ms }}
windows: [{{ name: today, date_preset: today }}]
businesses:
"
    );
    for number in 1..=businesses {
        config += &format!(
            "  - {{ name: b{number}, access_token_env: T, ad_accounts: [{{ id: act_{number} }}] }}\n"
        );
    }
    config
}

const APP: &str = "app_id: \"7\", app_secret_env: S";

fn calls(server: &ScriptedServer, end: &str) -> usize {
    let requests = server.requests();
    requests
        .iter()
        .filter(|(path, _)| path.ends_with(end))
        .count()
}

/// Waits for more insights requests of these ad accounts.
async fn wait_for_more_insights(server: &ScriptedServer, accounts: &[usize]) {
    let calls = |account: &usize| calls(server, &format!("act_{account}/insights"));
    let before: Vec<usize> = accounts.iter().map(calls).collect();
    wait_until("polls continue", || {
        let mut counts = accounts.iter().zip(&before);
        counts.all(|(account, before)| calls(account) >= before + 10)
    })
    .await;
}

fn paused(page: &Page, account: usize) -> bool {
    let source = format!("act_{account}");
    let name = "exporter_api_paused_until_timestamp_seconds";
    page.value(name, &[("source", &source)]).is_some()
}

#[tokio::test]
async fn throttled_discovery_does_not_pause_insights() {
    let is_throttled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_throttled);
    let server = ScriptedServer::start(move |path, _| {
        if path.ends_with("/campaigns") && flag.load(Ordering::Relaxed) {
            let usage = json!({"1": [{"type": "ads_management", "call_count": 100,
                "estimated_time_to_regain_access": 60}]});
            return with_headers(
                error(80_004, Some(2_446_079)),
                &[("x-business-use-case-usage", usage)],
            );
        }
        healthy(path)
    })
    .await;
    let exporter = server.exporter(&config(1, "")).await;
    exporter.page_all_up().await;
    is_throttled.store(true, Ordering::Relaxed);
    let before = calls(&server, "/campaigns");
    wait_until("discovery is refused", || {
        calls(&server, "/campaigns") > before
    })
    .await;
    wait_for_more_insights(&server, &[1]).await;
    assert!(
        calls(&server, "/campaigns") <= before + 1,
        "discovery should be paused"
    );
    let page = exporter.page_all_up().await;
    assert!(!paused(&page, 1));
}

#[tokio::test]
async fn entries_of_other_objects_pause_nothing() {
    let server = ScriptedServer::start(|path, _| {
        let usage = json!({
            "1": [{"type": "ads_insights", "call_count": 1, "estimated_time_to_regain_access": 0},
                {"type": "messenger", "call_count": 100, "estimated_time_to_regain_access": 9}],
            "555000111": [{"type": "ads_insights", "call_count": 100,
                "estimated_time_to_regain_access": 300}],
        });
        with_headers(healthy(path), &[("x-business-use-case-usage", usage)])
    })
    .await;
    let exporter = server.exporter(&config(1, "")).await;
    exporter.page_all_up().await;
    wait_for_more_insights(&server, &[1]).await;
    assert!(!paused(&exporter.page().await, 1));
}

#[tokio::test]
async fn regain_time_applies_to_the_scope_of_its_header() {
    let server = ScriptedServer::start(|path, _| {
        if !path.ends_with("act_1/insights") {
            return healthy(path);
        }
        let usage = json!({"1": [{"type": "ads_insights", "call_count": 100,
            "estimated_time_to_regain_access": 60}]});
        let throttle = json!({"app_id_util_pct": 96, "acc_id_util_pct": 100,
            "ads_api_access_tier": "standard_access"});
        let mut response = healthy(path);
        response.headers =
            format!("{THROTTLE_HEADER}: {throttle}\r\nx-business-use-case-usage: {usage}\r\n");
        response
    })
    .await;
    let exporter = server.exporter(&config(2, APP)).await;
    let page = exporter
        .page_when(|page| paused(page, 1) && paused(page, 2))
        .await;
    let now = marketing_messages_exporter::platform::clock::now();
    let wait = |account: usize| {
        let source = format!("act_{account}");
        let name = "exporter_api_paused_until_timestamp_seconds";
        page.value(name, &[("source", &source)]).unwrap() - now.as_duration().as_secs_f64()
    };
    assert!(wait(1) > 3000.0, "{}", wait(1));
    assert!(wait(2) <= 301.0, "five minutes for the app: {}", wait(2));
}

#[tokio::test]
async fn refused_ad_account_does_not_pause_its_app() {
    for (subcode, usage) in [(Some(1_504_022), 3.1), (None, 3.1)] {
        let server = ScriptedServer::start(move |path, _| {
            if !path.ends_with("act_1/insights") {
                return healthy(path);
            }
            let throttle = json!({"app_id_util_pct": usage, "acc_id_util_pct": 41.2,
                "ads_api_access_tier": "standard_access"});
            with_headers(error(4, subcode), &[(THROTTLE_HEADER, throttle)])
        })
        .await;
        let exporter = server.exporter(&config(5, APP)).await;
        exporter.page_when(|page| paused(page, 1)).await;
        wait_for_more_insights(&server, &[2, 3, 4, 5]).await;
        assert_eq!(calls(&server, "act_1/insights"), 1);
        let page = exporter.page().await;
        assert!((2..=5).all(|account| !paused(&page, account)));
    }
}

#[tokio::test]
async fn second_refused_ad_account_pauses_its_app_only() {
    let server = ScriptedServer::start(|path, _| {
        let is_refused = ["act_1/insights", "act_2/insights"];
        if is_refused.iter().any(|end| path.ends_with(end)) {
            return error(4, Some(1_504_022));
        }
        healthy(path)
    })
    .await;
    let other_app =
        "access_token_env: T, app_id: \"8\", app_secret_env: S, ad_accounts: [{ id: act_4";
    let config =
        config(4, APP).replace("access_token_env: T, ad_accounts: [{ id: act_4", other_app);
    let exporter = server.exporter(&config).await;
    let page = exporter
        .page_when(|page| (1..=3).all(|account| paused(page, account)))
        .await;
    assert!(!paused(&page, 4), "another app should not be paused");
    wait_for_more_insights(&server, &[4]).await;
}

#[tokio::test]
async fn businesses_without_app_id_share_no_limit() {
    let server = ScriptedServer::start(|path, _| {
        if path.ends_with("act_1/insights") {
            let usage = json!({"call_count": 100, "total_time": 1, "total_cputime": 1});
            return with_headers(error(4, None), &[("x-app-usage", usage)]);
        }
        healthy(path)
    })
    .await;
    let exporter = server.exporter(&config(2, "")).await;
    exporter.page_when(|page| paused(page, 1)).await;
    wait_for_more_insights(&server, &[2]).await;
    assert!(!paused(&exporter.page().await, 2));
}

#[tokio::test]
async fn errors_and_headers_of_debug_token_pause_nothing() {
    for status in [200, 400] {
        let server = ScriptedServer::start(move |path, _| {
            if !path.ends_with("/debug_token") {
                return healthy(path);
            }
            let usage = json!({"call_count": 100, "total_time": 2, "total_cputime": 2});
            let response = match status {
                200 => json!({"data": {"is_valid": true, "expires_at": 0}}).into(),
                _ => error(4, None),
            };
            with_headers(response, &[("x-app-usage", usage)])
        })
        .await;
        let exporter = server.exporter(&config(5, APP)).await;
        exporter.page_all_up().await;
        wait_until("tokens are inspected", || {
            calls(&server, "/debug_token") >= 1
        })
        .await;
        wait_for_more_insights(&server, &[1, 2, 3, 4, 5]).await;
        let page = exporter.page_all_up().await;
        assert!((1..=5).all(|account| !paused(&page, account)));
        let inspections = calls(&server, "/debug_token");
        assert!(
            inspections <= 5,
            "each token should be inspected once a day: {inspections}"
        );
    }
}

#[tokio::test]
async fn every_token_is_inspected_once() {
    const BUSINESSES: usize = 60;
    let server = ScriptedServer::start(|path, _| {
        if path.ends_with("/debug_token") {
            return json!({"data": {"is_valid": true, "expires_at": 2_000_000_000}}).into();
        }
        healthy(path)
    })
    .await;
    let config = config(BUSINESSES, APP).replace("50ms,", "1h,");
    let exporter = server.exporter(&config).await;
    let name = "exporter_token_expires_timestamp_seconds";
    exporter
        .page_when(|page| page.all(name, &[]).len() == BUSINESSES)
        .await;
    assert_eq!(calls(&server, "/debug_token"), BUSINESSES);
}
