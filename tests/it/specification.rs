//! Conformance with Meta's page on measuring marketing messages: its two sample responses, verbatim,
//! and the metrics that they must result in. The samples do not contain the ids that the exporter also
//! requests; these are added.

use marketing_messages_exporter::model::ACTION_TYPES;
use serde_json::{Value, json};

use crate::page::Page;
use crate::scripted_server::ScriptedServer;

const DELIVERY: &str = r#"{ "data": [ { "marketing_messages_delivered": "2755", "marketing_messages_link_btn_click": "268", "marketing_messages_spend": "38.87", "marketing_messages_read_rate": "79.419238", "marketing_messages_link_btn_click_rate": "9.727768", "marketing_messages_cost_per_link_btn_click": "0.145037", "marketing_messages_delivery_rate": "0", "marketing_messages_cost_per_delivered": "0.014109", "date_start": "2024-05-01", "date_stop": "2025-07-29" } ], "paging": { "cursors": { "before": "MAZDZD", "after": "MAZDZD" } } }"#;

const CONVERSIONS: &str = r#"{ "data": [ { "actions": [ { "action_type": "offsite_conversion.fb_pixel_purchase", "value": "3" }, { "action_type": "offsite_conversion.fb_pixel_add_to_cart", "value": "8" } ], "action_values": [ { "action_type": "offsite_conversion.fb_pixel_purchase", "value": "249.99" } ], "website_purchase_roas": [ { "action_type": "offsite_conversion.fb_pixel_purchase", "value": "6.43" } ], "marketing_messages_spend": "38.87", "date_start": "2024-05-01", "date_stop": "2025-07-29" } ], "paging": { "cursors": { "before": "MAZDZD", "after": "MAZDZD" } } }"#;

const CONFIG: &str = "
insights: { questions: separate }
windows: [{ name: whole }]
businesses:
  - name: acme
    access_token_env: TOKEN
";

const CAMPAIGN: &str = "120210000000000002";

/// Returns the sample response with the requested ids.
fn sample_with_ids(text: &str) -> Value {
    let mut response: Value = serde_json::from_str(text).unwrap();
    let row = response["data"][0].as_object_mut().unwrap();
    row.insert("account_id".to_owned(), "101".into());
    row.insert("account_currency".to_owned(), "USD".into());
    row.insert("campaign_id".to_owned(), CAMPAIGN.into());
    row.insert("campaign_name".to_owned(), "Spring".into());
    response
}

/// Responses of the scripted API server.
fn respond(path: &str, query: &str) -> Value {
    let (account, campaign) = (
        json!({"id": "act_101", "name": "Acme", "currency": "USD", "timezone_name": "America/New_York"}),
        json!({"id": CAMPAIGN, "name": "Spring", "effective_status": "ACTIVE", "objective": "OUTCOME_SALES",
               "account_id": "101", "is_message_campaign": true}),
    );
    match path.rsplit('/').next().unwrap() {
        "insights" if query.contains("action_breakdowns=action_type") => {
            sample_with_ids(CONVERSIONS)
        }
        "insights" => sample_with_ids(DELIVERY),
        "campaigns" => json!({"data": [campaign]}),
        "adsets" | "ads" => json!({"data": []}),
        "act_101" => account,
        _ => campaign,
    }
}

/// Asserts the metrics of the sample responses.
fn assert_samples(page: &Page) {
    let row = [
        ("business", "acme"),
        ("account_id", "101"),
        ("campaign_id", CAMPAIGN),
        ("campaign_name", "Spring"),
        ("window", "whole"),
    ];
    let usd = [&row[..], &[("currency", "USD")]].concat();
    page.assert("delivered", &row, "2755");
    page.assert("link_clicks", &row, "268");
    page.assert("spend", &usd, "38.87");
    page.assert("read_ratio", &row, "0.79419238");
    page.assert("link_click_ratio", &row, "0.09727768");
    page.assert("delivery_ratio", &row, "0");
    page.assert("cost_per_delivered", &usd, "0.014109");
    page.assert("cost_per_link_click", &usd, "0.145037");
    let with_action_type = |labels: &[(&'static str, &'static str)], action_type: &'static str| {
        [labels, &[("action_type", action_type)]].concat()
    };
    let [purchase, _, add_to_cart, ..] = ACTION_TYPES;
    assert_eq!(page.all("conversions", &row).len(), ACTION_TYPES.len());
    for action_type in ACTION_TYPES {
        let count = match action_type {
            _ if action_type == purchase => "3",
            _ if action_type == add_to_cart => "8",
            _ => "0",
        };
        page.assert("conversions", &with_action_type(&row, action_type), count);
    }
    page.assert(
        "conversion_value",
        &with_action_type(&usd, purchase),
        "249.99",
    );
    page.assert(
        "website_purchase_roas",
        &with_action_type(&row, purchase),
        "6.43",
    );
    assert_eq!(page.all("conversion_value", &row).len(), 1);
    assert_eq!(page.all("website_purchase_roas", &row).len(), 1);
    // Midnight in New York (04:00 UTC in summer), at the start of 1 May 2024 and the end of 29 July 2025.
    page.assert("window_start_timestamp_seconds", &row, "1714536000");
    page.assert("window_end_timestamp_seconds", &row, "1753848000");
}

#[tokio::test]
async fn campaign_source_exports_sample_values() {
    let api = ScriptedServer::start(respond).await;
    let config = format!("{CONFIG}    campaigns: [{{ id: \"{CAMPAIGN}\" }}]\n");
    assert_samples(&api.exporter(&config).await.page_all_up().await);
}

#[tokio::test]
async fn ad_account_source_exports_sample_values() {
    let api = ScriptedServer::start(respond).await;
    let config = format!("{CONFIG}    ad_accounts: [{{ id: act_101 }}]\n");
    assert_samples(&api.exporter(&config).await.page_all_up().await);
}

#[tokio::test]
async fn queries_request_documented_fields() {
    let api = ScriptedServer::start(respond).await;
    let config = format!("{CONFIG}    campaigns: [{{ id: \"{CAMPAIGN}\" }}]\n");
    api.exporter(&config).await.page_all_up().await;
    let requests = api.requests();
    let insights: Vec<_> = requests
        .iter()
        .filter(|(path, _)| path == &format!("/v27.0/{CAMPAIGN}/insights"))
        .collect();
    let [(_, delivery), (_, conversions)] = insights[..] else {
        panic!("there should be two insights queries: {insights:?}")
    };
    for field in [
        "cost_per_delivered",
        "cost_per_link_btn_click",
        "delivered",
        "link_btn_click",
        "link_btn_click_rate",
        "read_rate",
        "spend",
    ] {
        let field = format!("marketing_messages_{field}");
        assert!(
            fields(delivery).contains(&field),
            "{field} should be requested: {delivery}"
        );
    }
    for field in [
        "actions",
        "action_values",
        "website_purchase_roas",
        "marketing_messages_spend",
    ] {
        assert!(
            fields(conversions).iter().any(|f| f == field),
            "{field} should be requested"
        );
    }
    for action_type in ACTION_TYPES {
        assert!(
            conversions.contains(action_type),
            "{action_type} should be requested"
        );
    }
    for query in [delivery, conversions] {
        for param in ["date_preset", "time_range", "level", "access_token"] {
            assert!(
                !query.contains(param),
                "{param} should not be sent: {query}"
            );
        }
    }
}

/// Returns the value of the parameter `fields`.
fn fields(query: &str) -> Vec<String> {
    let mut params = query.split('&');
    let fields = params.find_map(|param| param.strip_prefix("fields="));
    let fields = fields.unwrap().replace("%2C", ",");
    fields.split(',').map(str::to_owned).collect()
}
