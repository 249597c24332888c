//! Queries of which a part fails: its campaigns keep their previous values, the others get new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::heavy::{answer, error, filtered_ids, id};
use crate::account_totals::{rows_of, settled};
use crate::page::Page;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

/// Message campaigns, which need three requests, and others, which make a query of all campaigns more expensive.
const MESSAGE_CAMPAIGNS: usize = 250;
const CAMPAIGNS: usize = 2_200;

const CONFIG: &str = "polling: { interval: 200ms, backoff_max: 200ms }
insights: { zero_fill: all }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

/// Changes the objects in a response.
pub(super) fn edit(response: ScriptedResponse, change: impl Fn(&mut Value)) -> ScriptedResponse {
    let mut body: Value = serde_json::from_slice(&response.body).unwrap();
    let data = body.get_mut("data").and_then(Value::as_array_mut);
    data.into_iter().flatten().for_each(change);
    body.into()
}

/// Starts an API with this value of `delivered`. While `is_failing`, the query with campaign 150 fails.
async fn start(delivered: &Arc<AtomicUsize>, is_failing: &Arc<AtomicBool>) -> ScriptedServer {
    let (number, fails) = (Arc::clone(delivered), Arc::clone(is_failing));
    ScriptedServer::start(move |path, query| {
        if path.ends_with("/insights") {
            let ids = filtered_ids(query);
            // A query without a filter has campaign 150 too.
            if fails.load(Ordering::Relaxed) && (ids.is_empty() || ids.contains(&id(150))) {
                return error(400, 100, None, "Invalid parameter");
            }
            let delivered = number.load(Ordering::Relaxed).to_string();
            return edit(answer(path, query, MESSAGE_CAMPAIGNS), |row| {
                row["marketing_messages_delivered"] = json!(delivered);
            });
        }
        edit(answer(path, query, CAMPAIGNS), |campaign| {
            let is_message = campaign["id"].as_str() < Some(id(MESSAGE_CAMPAIGNS).as_str());
            campaign["is_message_campaign"] = json!(is_message);
        })
    })
    .await
}

#[tokio::test]
async fn campaigns_without_any_answer_are_absent() {
    let is_failing = Arc::new(AtomicBool::new(true));
    let server = start(&Arc::new(AtomicUsize::new(5)), &is_failing).await;
    let exporter = server.exporter(CONFIG).await;
    let page = exporter
        .page_when(|page| !page.all("delivered", &[]).is_empty())
        .await;
    page.assert("up", &[], "0");
    for family in ["delivered", "spend", "conversions"] {
        let shown = page.all(family, &[]);
        let mut ids: Vec<&str> = shown
            .iter()
            .map(|sample| sample.label("campaign_id"))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let expected = (0..100).chain(200..MESSAGE_CAMPAIGNS).map(id);
        assert!(ids.iter().copied().eq(expected), "{family}: {ids:?}");
    }
    page.assert_absent("query_last_success_timestamp_seconds", &[]);
    is_failing.store(false, Ordering::Relaxed);
    let page = exporter.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), MESSAGE_CAMPAIGNS);
}

#[tokio::test]
async fn campaigns_of_failed_part_keep_their_values() {
    let delivered = Arc::new(AtomicUsize::new(5));
    let is_failing = Arc::new(AtomicBool::new(false));
    let server = start(&delivered, &is_failing).await;
    let exporter = server.exporter(CONFIG).await;
    let value =
        |page: &Page, number: usize| page.value("delivered", &[("campaign_id", &id(number))]);
    let before = exporter.page_all_up().await;
    let success = "query_last_success_timestamp_seconds";
    let first_success = before.value(success, &[("query", "delivery")]);
    assert_eq!(value(&before, 150), Some(5.0));
    is_failing.store(true, Ordering::Relaxed);
    delivered.store(7, Ordering::Relaxed);
    let page = exporter
        .page_when(|page| value(page, 0) == Some(7.0) && value(page, 249) == Some(7.0))
        .await;
    page.assert("up", &[], "0");
    for number in 100..200 {
        assert_eq!(value(&page, number), Some(5.0), "campaign {number}");
    }
    assert_eq!(page.all("delivered", &[]).len(), MESSAGE_CAMPAIGNS);
    let failures =
        |page: &Page| page.value("exporter_poll_failures_total", &[("reason", "rejected")]);
    let at_failure = page.value(success, &[("query", "delivery")]);
    assert!(at_failure >= first_success);
    let failed = failures(&page);
    let page = exporter
        .page_when(|page| failures(page) >= failed.map(|failed| failed + 3.0))
        .await;
    let last_success = page.value(success, &[("query", "delivery")]);
    assert_eq!(last_success, at_failure, "a part is not a success");
    let status = exporter.get("/api/status").await.text();
    assert!(
        status.contains("100 campaigns keep their previous values"),
        "{status}"
    );
    assert!(status.contains(&id(100)), "{status}");
    // The next poll begins with what was not answered.
    let requests = server.requests();
    let insights = requests
        .iter()
        .filter(|(path, _)| path.ends_with("/insights"));
    let starts: Vec<String> = insights
        .filter_map(|(_, query)| filtered_ids(query).into_iter().next())
        .collect();
    assert!(
        starts
            .windows(3)
            .any(|starts| *starts == [id(100), id(0), id(200)]),
        "{starts:?}"
    );
    is_failing.store(false, Ordering::Relaxed);
    let page = exporter.page_all_up().await;
    for number in [0, 150, 249] {
        assert_eq!(value(&page, number), Some(7.0), "campaign {number}");
    }
}

#[tokio::test]
async fn unattributed_spend_follows_a_partial_answer_that_is_completed() {
    let is_failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&is_failing);
    let server = ScriptedServer::start(move |path, query| {
        if path.ends_with("/insights") {
            if fails.load(Ordering::Relaxed) && filtered_ids(query).contains(&id(150)) {
                return error(400, 100, None, "Invalid parameter");
            }
            return edit(answer(path, query, MESSAGE_CAMPAIGNS), |row| {
                if query.contains("level=account") {
                    row["marketing_messages_spend"] = json!("250.00");
                }
            });
        }
        edit(answer(path, query, CAMPAIGNS), |campaign| {
            let is_message = campaign["id"].as_str() < Some(id(MESSAGE_CAMPAIGNS).as_str());
            campaign["is_message_campaign"] = json!(is_message);
        })
    })
    .await;
    let exporter = server.exporter(CONFIG).await;
    let page = settled(&exporter, 1, |page| rows_of(page, "today") > 0.0).await;
    // Each row has a spend of 1.
    assert_eq!(page.all("spend", &[]).len(), 150);
    page.assert("account_spend_unattributed", &[], "100");
    is_failing.store(false, Ordering::Relaxed);
    let page = settled(&exporter, 1, |page| rows_of(page, "today") > 150.0).await;
    page.assert("account_spend_unattributed", &[], "0");
    // The rows are kept while a part fails, so that nothing changes.
    let polls = |page: &Page| page.value("exporter_polls_total", &[]).unwrap();
    for fails in [true, false, true] {
        is_failing.store(fails, Ordering::Relaxed);
        let before = polls(&exporter.page().await);
        let page = exporter.page_when(|page| polls(page) >= before + 3.0).await;
        assert_eq!(page.all("spend", &[]).len(), MESSAGE_CAMPAIGNS);
        page.assert("account_spend_unattributed", &[], "0");
    }
    let requests = server.requests().into_iter();
    let totals = requests.filter(|(_, query)| query.contains("level=account"));
    assert_eq!(
        totals.count(),
        2,
        "one at the start, and one for the change"
    );
}
