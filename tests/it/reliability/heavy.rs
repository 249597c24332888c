//! Queries that are too heavy: timeouts, ambiguous errors, subcodes, long URLs; split until they succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::scripted_server::{ScriptedResponse, ScriptedServer};

/// Returns the value of a parameter.
pub(super) fn param(query: &str, name: &str) -> Option<String> {
    let mut params = form_urlencoded::parse(query.as_bytes());
    params
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

fn limit(query: &str) -> usize {
    param(query, "limit").map_or(25, |limit| limit.parse().unwrap())
}

/// Returns the ids of the filter by campaign; empty without one.
pub(super) fn filtered_ids(query: &str) -> Vec<String> {
    let filters: Value =
        serde_json::from_str(&param(query, "filtering").unwrap_or("[]".into())).unwrap();
    let filters = filters.as_array().unwrap().iter();
    let mut ids = filters.filter(|filter| filter["field"] == "campaign.id");
    let ids = ids.next().map(|filter| filter["value"].clone());
    let ids = ids.unwrap_or(json!([]));
    let ids = ids.as_array().unwrap().iter();
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

pub(super) fn id(number: usize) -> String {
    format!("1202100000000{number:05}")
}

/// Returns the response of an API with message campaigns, each with a row of today.
pub(super) fn answer(path: &str, query: &str, campaigns: usize) -> ScriptedResponse {
    let today = marketing_messages_exporter::platform::clock::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let page = |all: Vec<Value>| {
        let start: usize = param(query, "after").map_or(0, |after| after.parse().unwrap());
        let end = all.len().min(start + limit(query));
        let mut body = json!({"data": all[start..end]});
        if end < all.len() {
            body["paging"] = json!({"cursors": {"after": end.to_string()}, "next": "https://x/"});
        }
        body
    };
    let body = if path.ends_with("/campaigns") {
        let campaign = |number| {
            json!({"id": id(number), "name": "c", "effective_status": "ACTIVE",
                "objective": "OUTCOME_ENGAGEMENT", "is_message_campaign": true})
        };
        page((0..campaigns).map(campaign).collect())
    } else if path.ends_with("/insights") {
        let ids = filtered_ids(query);
        let row = |number| {
            json!({"account_id": "1", "account_currency": "EUR", "campaign_id": id(number),
                "campaign_name": "c", "date_start": today.to_string(), "date_stop": today.to_string(),
                "marketing_messages_delivered": "5", "marketing_messages_spend": "1.00"})
        };
        let is_selected = |number: &usize| ids.is_empty() || ids.contains(&id(*number));
        if param(query, "level").as_deref() == Some("account") {
            page(vec![row(0)])
        } else {
            page((0..campaigns).filter(is_selected).map(row).collect())
        }
    } else if path.ends_with("/adsets") {
        json!({"data": []})
    } else {
        json!({"account_id": "1", "name": "n", "currency": "EUR", "timezone_name": "UTC"})
    };
    body.into()
}

pub(super) fn error(
    status: u16,
    code: i64,
    subcode: Option<i64>,
    message: &str,
) -> ScriptedResponse {
    let mut error = json!({"message": message, "code": code});
    if let Some(subcode) = subcode {
        error["error_subcode"] = subcode.into();
    }
    ScriptedResponse::with_status(status, &json!({"error": error}).to_string())
}

const CONFIG: &str = "polling: { interval: 200ms, backoff_max: 200ms }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

const CAMPAIGNS: usize = 60;

/// Polls an API until every campaign is shown. `refuse` returns an error for insights requests that are too heavy.
/// Returns the insights requests of the first good poll and before.
async fn check(
    config: &str,
    campaigns: usize,
    refuse: impl Fn(&str) -> Option<ScriptedResponse> + Send + Sync + 'static,
) -> usize {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let server = ScriptedServer::start(move |path, query| {
        if path.ends_with("/insights") {
            counter.fetch_add(1, Ordering::Relaxed);
            if let Some(error) = refuse(query) {
                return error;
            }
        }
        answer(path, query, campaigns)
    })
    .await;
    let exporter = server.exporter(config).await;
    let page = exporter.page_all_up().await;
    let calls = calls.load(Ordering::Relaxed);
    assert_eq!(page.all("delivered", &[]).len(), campaigns);
    calls
}

#[tokio::test]
async fn ambiguous_errors_of_large_pages_make_the_query_lighter() {
    let errors: [fn() -> ScriptedResponse; 3] = [
        || error(500, 1, None, "An unknown error occurred"),
        || ScriptedResponse::with_status(504, "<html>Gateway Timeout</html>"),
        || error(400, 2, Some(1_504_044), "Service temporarily unavailable"),
    ];
    for error in errors {
        let calls = check(CONFIG, CAMPAIGNS, move |query| {
            (limit(query) > 100).then(error)
        })
        .await;
        // 500, 250, 125, 62; later polls can follow before the page is read.
        assert!(calls <= 12, "{calls} calls");
    }
}

#[tokio::test]
async fn subcodes_of_heavy_queries_make_the_query_lighter() {
    for subcode in [
        1_504_018, 1_504_022, 1_504_038, 1_504_039, 1_504_043, 1_504_044, 1_487_534,
    ] {
        let code = if subcode == 1_487_534 { 100 } else { 2 };
        check(CONFIG, CAMPAIGNS, move |query| {
            (limit(query) > 200).then(|| error(400, code, Some(subcode), "too much"))
        })
        .await;
    }
}

#[tokio::test]
async fn query_that_is_too_heavy_at_every_page_size_is_split() {
    let refuse = |query: &str| {
        let ids = filtered_ids(query).len();
        (ids == 0 || ids > 20).then(|| {
            error(
                500,
                1,
                None,
                "Please reduce the amount of data you're asking for",
            )
        })
    };
    let server = ScriptedServer::start(move |path, query| {
        let refusal = path.ends_with("/insights").then(|| refuse(query)).flatten();
        refusal.unwrap_or_else(|| answer(path, query, CAMPAIGNS))
    })
    .await;
    let exporter = server.exporter(CONFIG).await;
    let page = exporter.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), CAMPAIGNS);
    let polls = |page: &crate::page::Page| page.value("exporter_polls_total", &[]).unwrap();
    let before = polls(&page);
    let page = exporter.page_when(|page| polls(page) >= before + 3.0).await;
    let size = page.value("exporter_page_size", &[]).unwrap();
    assert!(size > 20.0, "the page size should not stay at 1: {size}");
    let is_refused = |(path, query): &&(String, String)| {
        path.ends_with("/insights") && filtered_ids(query).len() > 20
    };
    let refused = || server.requests().iter().filter(is_refused).count();
    let known = refused();
    let before = polls(&exporter.page().await);
    exporter.page_when(|page| polls(page) >= before + 3.0).await;
    assert_eq!(refused(), known, "the split should be kept");
}

#[tokio::test]
async fn single_refusals_do_not_reduce_the_page_size_for_good() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refusals);
    let server = ScriptedServer::start(move |path, query| {
        if path.ends_with("/insights") && counter.fetch_add(1, Ordering::Relaxed).is_multiple_of(12)
        {
            return error(500, 1, None, "An unknown error occurred");
        }
        answer(path, query, CAMPAIGNS)
    })
    .await;
    let exporter = server.exporter(&CONFIG.replace("200ms", "20ms")).await;
    exporter
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(60.0))
        .await;
    let page = exporter.page_all_up().await;
    let size = page.value("exporter_page_size", &[]).unwrap();
    assert!(size >= 125.0, "{size}");
}

#[tokio::test]
async fn urls_are_within_the_limit_of_gateways() {
    let types: Vec<String> = (0..150)
        .map(|number| format!("offsite_conversion.custom.12345678901{number:03}"))
        .collect();
    for (questions, level, campaigns, rows) in [
        ("auto", "campaign", 300, 300),
        ("separate", "campaign", 300, 300),
        ("auto", "account", 512, 1),
        ("separate", "account", 512, 1),
        ("auto", "account", 150, 1),
        ("separate", "account", 150, 1),
    ] {
        let config = format!(
            "insights: {{ questions: {questions}, level: {level}, action_types: {types:?} }}\n{}",
            CONFIG.replace("200ms", "1s")
        );
        let longest = Arc::new(AtomicUsize::new(0));
        let maximum = Arc::clone(&longest);
        let server = ScriptedServer::start(move |path, query| {
            let line = format!("GET {path}?{query} HTTP/1.1\r\n");
            maximum.fetch_max(line.len(), Ordering::Relaxed);
            if line.len() > 8192 {
                return ScriptedResponse::with_status(414, "<html>URI Too Long</html>");
            }
            answer(path, query, campaigns)
        })
        .await;
        let exporter = server.exporter(&config).await;
        let page = exporter.page_all_up().await;
        assert_eq!(page.all("delivered", &[]).len(), rows);
        // The sum of an ad account needs the ids of all campaigns in one request.
        let has_conversions = level == "campaign" || campaigns == 150;
        assert_eq!(
            page.all("conversions", &[]).is_empty(),
            !has_conversions,
            "{questions}, {level}, {campaigns} campaigns"
        );
        let longest = longest.load(Ordering::Relaxed);
        assert!(longest <= 8192, "{questions}, {level}: {longest} bytes");
    }
}

#[tokio::test]
async fn gateway_with_a_lower_url_limit_gets_shorter_queries() {
    let calls = check(CONFIG, 300, |query| {
        (query.len() > 3000).then(|| ScriptedResponse::with_status(414, "<html>"))
    })
    .await;
    assert!(calls < 40, "{calls} calls");
}

#[tokio::test]
async fn refusal_by_the_insights_platform_makes_the_query_lighter() {
    let server = ScriptedServer::start(|path, query| {
        if path.ends_with("/insights") && limit(query) > 40 {
            return error(
                403,
                4,
                Some(1_504_022),
                "(#4) Application request limit reached",
            );
        }
        answer(path, query, CAMPAIGNS)
    })
    .await;
    let exporter = server.exporter(CONFIG).await;
    let page = exporter
        .page_when(|page| {
            page.value("exporter_page_size", &[])
                .is_some_and(|size| size < 500.0)
        })
        .await;
    assert_eq!(page.value("exporter_page_size", &[]), Some(30.0));
}
