//! Errors in bodies of unusual shape, and refusals with unusual codes, over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::Exporter;
use crate::page::Page;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

const CONFIG: &str = "polling: { interval: 1s }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }], conversions: false }]
";

/// Server that answers insights queries with `refusal`, and discovery as usual.
async fn refusing(
    refusal: impl Fn() -> ScriptedResponse + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |path, _| -> ScriptedResponse {
        match path.rsplit('/').next() {
            Some("insights") => refusal(),
            Some("campaigns") => json!({"data": [{
                "id": "7", "name": "spring", "effective_status": "ACTIVE", "is_message_campaign": true,
            }]})
            .into(),
            Some("adsets") => json!({"data": []}).into(),
            _ => json!({
                "id": "act_1", "name": "acme", "currency": "EUR", "timezone_name": "Europe/Berlin",
            })
            .into(),
        }
    })
    .await
}

/// Returns the error of the only window in `/api/status`.
async fn window_error(exporter: &Exporter) -> Value {
    let status: Value = serde_json::from_slice(&exporter.get("/api/status").await.body).unwrap();
    status["businesses"][0]["sources"][0]["windows"][0]["error"].clone()
}

fn insights_calls(api: &ScriptedServer) -> usize {
    let requests = api.requests();
    requests
        .iter()
        .filter(|(path, _)| path.ends_with("/insights"))
        .count()
}

/// Polls once, and checks the reason; returns `/api/status`' error.
async fn check_reason(response: fn() -> ScriptedResponse, reason: &str) -> Value {
    let api = refusing(response).await;
    let exporter = api.exporter(CONFIG).await;
    let page = exporter.page_after_first_round().await;
    let error = window_error(&exporter).await;
    assert_eq!(error["reason"], reason, "{error}");
    let valid = page.value("exporter_token_valid", &[]);
    let expected = if reason == "unauthenticated" {
        0.0
    } else {
        1.0
    };
    assert_eq!(valid, Some(expected), "{error}");
    if matches!(
        reason,
        "throttled" | "unauthenticated" | "forbidden" | "misconfigured"
    ) {
        exporter
            .page_when(|page| {
                page.value("exporter_api_paused_until_timestamp_seconds", &[])
                    .is_some()
            })
            .await;
        assert_eq!(
            insights_calls(&api),
            1,
            "a paused scope should send no requests"
        );
    }
    error
}

fn with_challenge(response: ScriptedResponse) -> ScriptedResponse {
    ScriptedResponse {
        headers: "WWW-Authenticate: OAuth \"Facebook Platform\" \"invalid_token\" \"token has expired\"\r\n".to_owned(),
        ..response
    }
}

fn respond(status: u16, body: &str) -> ScriptedResponse {
    ScriptedResponse::with_status(status, body)
}

#[tokio::test]
async fn first_of_two_json_documents_decides() {
    const SECOND: &str =
        r#"{"error":{"code":1,"message":"An unknown error occurred","error_subcode":99}}"#;
    check_reason(
        || respond(400, &format!("{}{SECOND}", r##"{"error":{"message":"(#17) User request limit reached","type":"OAuthException","is_transient":false,"code":17,"error_subcode":2446079}}"##)),
        "throttled",
    )
    .await;
    check_reason(
        || {
            respond(
                400,
                &format!(
                    "{}{SECOND}",
                    r#"{"error":{"message":"expired","code":190,"error_subcode":463}}"#
                ),
            )
        },
        "unauthenticated",
    )
    .await;
}

#[tokio::test]
async fn token_refused_without_json_of_meta_is_unauthenticated() {
    const HTML: &str = "<html><title>Error</title>Sorry, something went wrong.</html>";
    const TEXT: &str = r#"{"error":"invalid_token","error_description":"token has expired"}"#;
    check_reason(|| with_challenge(respond(401, HTML)), "unauthenticated").await;
    check_reason(|| with_challenge(respond(400, HTML)), "unauthenticated").await;
    check_reason(|| with_challenge(respond(401, TEXT)), "unauthenticated").await;
    check_reason(|| respond(401, TEXT), "unauthenticated").await;
    check_reason(
        || {
            respond(
                400,
                "error=invalid_token&error_description=token+has+expired",
            )
        },
        "unauthenticated",
    )
    .await;
}

#[tokio::test]
async fn body_without_a_readable_error_is_an_invalid_response() {
    for response in [
        || respond(400, r#"{"error":{}}"#),
        || respond(400, ""),
        || respond(403, "Forbidden by the gateway"),
        || respond(200, r#"{"error":{},"data":[]}"#),
    ] {
        check_reason(response, "invalid_response").await;
    }
    check_reason(
        || respond(200, r#"{"data":[],"error":{"code":2,"message":"later"}}"#),
        "unavailable",
    )
    .await;
}

#[tokio::test]
async fn unknown_client_error_is_not_retried() {
    let api = refusing(|| respond(403, "<html>Forbidden</html>")).await;
    let exporter = api.exporter(CONFIG).await;
    exporter
        .page_when(|page| {
            page.value("exporter_api_paused_until_timestamp_seconds", &[])
                .is_some()
        })
        .await;
    assert_eq!(insights_calls(&api), 1);
    let error = window_error(&exporter).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("<html>Forbidden</html>"), "{message}");
}

#[tokio::test]
async fn refusal_has_the_remedy_of_its_meaning() {
    for (response, reason, remedy) in [
        (
            (|| {
                respond(
                    400,
                    r##"{"error":{"code":100,"message":"(#100) Unsupported get request. Please read the documentation"}}"##,
                )
            }) as fn() -> ScriptedResponse,
            "forbidden",
            "wrong id",
        ),
        (
            || {
                respond(
                    400,
                    r##"{"error":{"code":100,"message":"(#100) Missing perms"}}"##,
                )
            },
            "forbidden",
            "permission",
        ),
        (
            || {
                respond(
                    400,
                    r##"{"error":{"code":3,"message":"(#3) Application does not have the capability to make this API call."}}"##,
                )
            },
            "forbidden",
            "access level",
        ),
        (
            || {
                respond(
                    400,
                    r#"{"error":{"code":100,"type":"GraphMethodException","message":"API calls from the server require an appsecret_proof argument"}}"#,
                )
            },
            "misconfigured",
            "app_secret_file",
        ),
        (
            || {
                respond(
                    400,
                    r#"{"error":{"code":200,"message":"API access blocked."}}"#,
                )
            },
            "forbidden",
            "state of the app",
        ),
        (
            || {
                respond(
                    400,
                    r#"{"error":{"code":100,"error_subcode":33,"message":"Unsupported get request. Object with ID '1' does not exist, cannot be loaded due to missing permissions"}}"#,
                )
            },
            "forbidden",
            "Tech Provider verification",
        ),
        (
            || {
                respond(
                    400,
                    r##"{"error":{"code":613,"message":"(#613) Calls to this api have exceeded the rate limit."}}"##,
                )
            },
            "throttled",
            "contact Meta",
        ),
        (
            || {
                respond(
                    400,
                    r##"{"error":{"code":613,"error_subcode":1487742,"message":"(#613) Calls to this api have exceeded the rate limit."}}"##,
                )
            },
            "throttled",
            "wait",
        ),
    ] {
        let error = check_reason(response, reason).await;
        let text = error["remedy"].as_str().unwrap();
        assert!(text.contains(remedy), "{error}");
    }
}

#[tokio::test]
async fn abuse_protection_pauses_for_an_hour() {
    const ERROR: &str = r##"{"error":{"message":"(#613) Calls to this api have exceeded the rate limit.","code":613}}"##;
    let api = refusing(|| respond(400, ERROR)).await;
    let exporter = api.exporter(CONFIG).await;
    let page = exporter
        .page_when(|page| {
            page.value("exporter_api_paused_until_timestamp_seconds", &[])
                .is_some()
        })
        .await;
    let end = page
        .value("exporter_api_paused_until_timestamp_seconds", &[])
        .unwrap();
    let next_poll = page
        .value("exporter_next_poll_timestamp_seconds", &[])
        .unwrap();
    let status: Value = serde_json::from_slice(&exporter.get("/api/status").await.body).unwrap();
    let now = status["now_timestamp_seconds"].as_f64().unwrap();
    // An ordinary throttle pauses for five minutes.
    assert!((end - now - 3600.0).abs() < 120.0, "{end} {now}");
    assert!((end - next_poll).abs() < 2.0, "{end} {next_poll}");
    let labels = [("code", "613"), ("subcode", "")];
    let errors = page.value("exporter_api_request_errors_total", &labels);
    assert_eq!(errors, Some(1.0));
}

#[tokio::test]
async fn subcode_is_a_label_of_request_errors() {
    let api = refusing(|| {
        respond(
            400,
            r#"{"error":{"code":190,"error_subcode":463,"message":"expired"}}"#,
        )
    })
    .await;
    let page = api.exporter(CONFIG).await.page_after_first_round().await;
    let labels = [
        ("reason", "unauthenticated"),
        ("code", "190"),
        ("subcode", "463"),
    ];
    page.assert("exporter_api_request_errors_total", &labels, "1");
}

#[tokio::test]
async fn quoted_body_is_short_and_without_secrets() {
    // The token of the test is in the first bytes of the body.
    let body = format!(
        "<html>{}{}</html>",
        crate::harness::token("T"),
        "x".repeat(5_000)
    );
    let api = refusing(move || respond(404, &body)).await;
    let exporter = api.exporter(CONFIG).await;
    exporter.page_after_first_round().await;
    let error = window_error(&exporter).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("<html>[secret]x"), "{message}");
    assert!(message.len() < 400, "{message}");
    assert!(!message.contains(&crate::harness::token("T")), "{message}");
}

#[tokio::test]
async fn share_of_failed_requests_needs_a_hundred_requests() {
    const RATIO: &str = "exporter_api_recent_error_ratio";
    let is_refusing = Arc::new(AtomicBool::new(false));
    let refuse = Arc::clone(&is_refusing);
    let api = refusing(move || match refuse.load(Ordering::Relaxed) {
        true => respond(400, r#"{"error":{"code":100,"message":"no"}}"#),
        false => json!({"data": []}).into(),
    })
    .await;
    let config = CONFIG.replace("1s", "20ms, backoff_max: 20ms");
    let exporter = api.exporter(&config).await;
    let requests = |page: &Page| -> f64 {
        let samples = page.all("exporter_api_requests_total", &[]);
        samples.iter().map(|sample| sample.value()).sum()
    };
    let page = exporter
        .page_when(|page| page.value(RATIO, &[]).is_some())
        .await;
    assert!(requests(&page) >= 100.0, "{}", requests(&page));
    page.assert(RATIO, &[("business", "acme")], "0");
    is_refusing.store(true, Ordering::Relaxed);
    exporter
        .page_when(|page| page.value(RATIO, &[]) > Some(0.05))
        .await;
}

#[tokio::test]
async fn error_about_the_summary_rejects_no_field() {
    let api = refusing(|| {
        respond(400, r##"{"error":{"code":100,"message":"(#100) Cannot include marketing_messages_spend, marketing_messages_delivered in summary param because they weren't there while creating the report run."}}"##)
    })
    .await;
    let page = api.exporter(CONFIG).await.page_after_first_round().await;
    page.assert_absent("exporter_field_rejected", &[]);
}

fn campaign(id: &str) -> Value {
    json!({"id": id, "name": id, "effective_status": "ACTIVE", "is_message_campaign": true})
}

#[tokio::test]
async fn expired_cursor_restarts_the_result_once() {
    let is_expired = Arc::new(AtomicBool::new(false));
    let expired = Arc::clone(&is_expired);
    let row = |id: &str, spend: &str| {
        json!({
            "account_id": "1", "account_currency": "EUR", "campaign_id": id,
            "campaign_name": id, "date_start": "2026-11-01", "date_stop": "2026-11-23",
            "marketing_messages_spend": spend,
        })
    };
    let api = ScriptedServer::start(move |path, query| -> ScriptedResponse {
        match path.rsplit('/').next() {
            Some("insights") if query.contains("after=") => {
                if expired.swap(true, Ordering::Relaxed) {
                    json!({"data": [row("8", "2")]}).into()
                } else {
                    respond(
                        400,
                        r#"{"error":{"code":2642,"message":"Invalid cursors values"}}"#,
                    )
                }
            }
            Some("insights") => json!({
                "data": [row("7", "1")],
                "paging": {"cursors": {"after": "next"}, "next": "http://127.0.0.1:1/next"},
            })
            .into(),
            Some("campaigns") => json!({"data": [campaign("7"), campaign("8")]}).into(),
            Some("adsets") => json!({"data": []}).into(),
            _ => json!({"id": "act_1", "name": "acme", "currency": "EUR"}).into(),
        }
    })
    .await;
    let config = CONFIG.replace("{ name: today, date_preset: today }", "{ name: whole }");
    let page = api.exporter(&config).await.page_all_up().await;
    page.assert("spend", &[("campaign_id", "7")], "1");
    page.assert("spend", &[("campaign_id", "8")], "2");
    assert_eq!(page.all("spend", &[]).len(), 2);
    assert!(is_expired.load(Ordering::Relaxed));
}
