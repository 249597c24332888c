//! Every cell of every response, replaced by JSON of any type: only the series of that cell may change.
//!
//! The cells are those that the exporter requests, so that a new field has to be added to [`families_of`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::page::Page;
use crate::scripted_server::ScriptedServer;

const PURCHASE: &str = "offsite_conversion.fb_pixel_purchase";

/// The window has no dates, so that the rows can have any.
const CONFIG: &str = "insights: { action_types: [offsite_conversion.fb_pixel_purchase] }
windows: [{ name: whole }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

/// Rows of insights, apart from nodes.
const ROW_FAMILIES: &[&str] = &[
    "delivered",
    "link_clicks",
    "spend",
    "read_ratio",
    "link_click_ratio",
    "delivery_ratio",
    "cost_per_delivered",
    "cost_per_link_click",
    "conversions",
    "conversion_value",
    "website_purchase_roas",
    "window_start_timestamp_seconds",
    "window_end_timestamp_seconds",
    "account_spend_unattributed",
];

/// Part of the responses that a cell belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Account,
    Campaign,
    Adset,
    Row,
    Total,
}

/// Returns the metric families that depend on a field; `None` if the field identifies its object, so that all series of
/// the object may change.
fn families_of(part: Part, field: &str) -> Option<&'static [&'static str]> {
    const PROPERTIES: &[&str] = &[
        "campaign_info",
        "campaign_daily_budget",
        "campaign_lifetime_budget",
        "campaign_start_timestamp_seconds",
        "campaign_end_timestamp_seconds",
        "campaign_issue_info",
    ];
    const MONEY_OF_NODES: &[&str] = &[
        "account_info",
        "campaign_info",
        "campaign_daily_budget",
        "campaign_lifetime_budget",
        "account_balance",
        "account_spend_cap",
        "account_amount_spent",
    ];
    const INFO: &[&str] = &["account_info", "campaign_info"];
    const TOTALS: &[&str] = &["account_spend", "account_spend_unattributed"];
    Some(match (part, field) {
        (Part::Account, "name") => INFO,
        (Part::Account, "timezone_name") => &[
            "account_info",
            "campaign_info",
            "window_start_timestamp_seconds",
            "window_end_timestamp_seconds",
        ],
        (Part::Account, "currency") => MONEY_OF_NODES,
        (Part::Account, "account_status" | "disable_reason") => &["account_info"],
        (Part::Account, "balance") => &["account_balance"],
        (Part::Account, "spend_cap") => &["account_spend_cap"],
        (Part::Account, "amount_spent") => &["account_amount_spent"],
        (Part::Campaign, "id" | "is_message_campaign" | "effective_status") => return None,
        (Part::Campaign, "name" | "adsets") => PROPERTIES,
        (Part::Campaign, "objective") => &["campaign_info"],
        (Part::Campaign | Part::Adset, "start_time") => &["campaign_start_timestamp_seconds"],
        // The end determines the status too.
        (Part::Campaign, "stop_time") | (Part::Adset, "end_time") => {
            &["campaign_end_timestamp_seconds", "campaign_info"]
        }
        (Part::Campaign, "updated_time") | (Part::Adset, "id" | "name") => &[],
        (Part::Campaign | Part::Adset, "daily_budget") => &["campaign_daily_budget"],
        (Part::Campaign | Part::Adset, "lifetime_budget") => &["campaign_lifetime_budget"],
        (Part::Campaign, "issues_info") => &["campaign_issue_info"],
        (Part::Adset, "effective_status") => PROPERTIES,
        (
            Part::Row,
            "account_id" | "campaign_id" | "campaign_name" | "date_start" | "date_stop",
        ) => return None,
        (Part::Row, "account_currency") => &[
            "spend",
            "cost_per_delivered",
            "cost_per_link_click",
            "conversion_value",
        ],
        (Part::Row, "attribution_setting") => {
            &["conversions", "conversion_value", "website_purchase_roas"]
        }
        (Part::Row, "marketing_messages_delivered") => &["delivered"],
        (Part::Row, "marketing_messages_link_btn_click") => &["link_clicks"],
        (Part::Row, "marketing_messages_spend") => &["spend", "account_spend_unattributed"],
        (Part::Row, "marketing_messages_read_rate") => &["read_ratio"],
        (Part::Row, "marketing_messages_link_btn_click_rate") => &["link_click_ratio"],
        (Part::Row, "marketing_messages_delivery_rate") => &["delivery_ratio"],
        (Part::Row, "marketing_messages_cost_per_delivered") => &["cost_per_delivered"],
        (Part::Row, "marketing_messages_cost_per_link_btn_click") => &["cost_per_link_click"],
        (Part::Row, "actions") => &["conversions", "conversion_value", "website_purchase_roas"],
        (Part::Row, "action_values") => &["conversion_value", "website_purchase_roas"],
        (Part::Row, "website_purchase_roas") => &["website_purchase_roas"],
        (Part::Total, _) => TOTALS,
        _ => panic!("the series that depend on {part:?} {field} should be listed"),
    })
}

/// Returns the response of each part, with one campaign, 7, that is changed, and another one, 8.
fn response(part: Part) -> Value {
    match part {
        Part::Account => json!({
            "id": "act_1",
            "name": "Acme",
            "currency": "EUR",
            "timezone_name": "Europe/Berlin",
            "account_status": 1,
            "disable_reason": 0,
            "balance": "1234",
            "spend_cap": "500000",
            "amount_spent": "99999",
        }),
        Part::Campaign => json!({
            "id": "7",
            "name": "Seven",
            "effective_status": "ACTIVE",
            "is_message_campaign": true,
            "objective": "OUTCOME_SALES",
            "start_time": "2026-06-16T09:49:54+0300",
            "stop_time": "2027-06-16T09:49:54+0300",
            "updated_time": "2026-06-16T09:49:54+0300",
            "daily_budget": "5000",
            "lifetime_budget": "70000",
            "issues_info": [{"level": "AD", "error_code": 7, "error_summary": "Rejected"}],
        }),
        Part::Adset => json!({
            "id": "71",
            "name": "Subscribers",
            "effective_status": "ACTIVE",
            "daily_budget": "2500",
            "lifetime_budget": "0",
            "start_time": "2026-06-16T09:49:54+0300",
            "end_time": "2027-06-16T09:49:54+0300",
        }),
        Part::Row => json!({
            "account_id": "1",
            "account_currency": "EUR",
            "campaign_id": "7",
            "campaign_name": "Seven",
            "attribution_setting": "7d_click",
            "date_start": "2026-11-01",
            "date_stop": "2026-11-23",
            "marketing_messages_delivered": "2755",
            "marketing_messages_link_btn_click": "268",
            "marketing_messages_spend": "38.87",
            "marketing_messages_read_rate": "79.419238",
            "marketing_messages_link_btn_click_rate": "9.727768",
            "marketing_messages_delivery_rate": "98.5",
            "marketing_messages_cost_per_delivered": "0.014109",
            "marketing_messages_cost_per_link_btn_click": "0.145037",
            "actions": [{"action_type": PURCHASE, "value": "3"}],
            "action_values": [{"action_type": PURCHASE, "value": "249.99"}],
            "website_purchase_roas": [{"action_type": PURCHASE, "value": "6.43"}],
        }),
        Part::Total => json!({
            "account_id": "1",
            "account_currency": "EUR",
            "marketing_messages_spend": "80",
            "date_start": "2026-11-01",
            "date_stop": "2026-11-23",
        }),
    }
}

/// A cell and its replacement, as JSON text.
#[derive(Clone, Debug)]
struct Replacement {
    part: Part,
    field: String,
    text: String,
}

/// Returns the object of a part, with the replacement if it is in this part.
fn object(part: Part, replacement: Option<&Replacement>) -> Value {
    let mut object = response(part);
    if let Some(replacement) = replacement.filter(|replacement| replacement.part == part) {
        object[replacement.field.as_str()] = json!("(replaced)");
    }
    object
}

/// Returns the page and the requests of one poll.
async fn poll(replacement: Option<Replacement>) -> (Page, Vec<(String, String)>) {
    let is_total = replacement
        .as_ref()
        .is_some_and(|replacement| replacement.part == Part::Total);
    let replacement = Arc::new(replacement);
    let api = ScriptedServer::start(move |path, query| {
        let of = |part| object(part, replacement.as_ref().as_ref());
        let body = if path.ends_with("/insights") && query.contains("level=account") {
            json!({"data": [of(Part::Total)]})
        } else if path.ends_with("/insights") {
            let mut other = response(Part::Row);
            other["campaign_id"] = json!("8");
            other["campaign_name"] = json!("Eight");
            json!({"data": [of(Part::Row), other]})
        } else {
            let mut campaign = of(Part::Campaign);
            if campaign["adsets"] != json!("(replaced)") {
                campaign["adsets"] = json!({"data": [of(Part::Adset)]});
            }
            let mut other = response(Part::Campaign);
            other["id"] = json!("8");
            let mut account = of(Part::Account);
            account["campaigns"] = json!({"data": [campaign, other]});
            account
        };
        let text = replacement
            .as_ref()
            .as_ref()
            .map_or("", |replacement| &replacement.text);
        Value::String(body.to_string().replace("\"(replaced)\"", text))
    })
    .await;
    let exporter = api.exporter(CONFIG).await;
    // The total of the ad account is requested last.
    let page = exporter
        .page_when(|page| {
            let is_requested = || {
                api.requests()
                    .iter()
                    .any(|(_, query)| query.contains("level=account"))
            };
            let is_shown = !page.all("account_spend", &[]).is_empty();
            is_shown || is_total && !page.all("delivered", &[]).is_empty() && is_requested()
        })
        .await;
    (page, api.requests())
}

/// Returns the values of all series that do not depend on the time of the poll.
fn values(page: &Page) -> BTreeMap<String, String> {
    let is_compared = |name: &str| {
        let name = name
            .strip_prefix("marketing_messages_")
            .unwrap_or("process_");
        !name.starts_with("exporter_")
            && !name.starts_with("process_")
            && !name.ends_with("success_timestamp_seconds")
    };
    page.samples()
        .filter(|sample| is_compared(&sample.name))
        .map(|sample| {
            let key = format!("{} {:?}", sample.name, sample.labels);
            (key, sample.number.clone())
        })
        .collect()
}

/// Returns the fields of all parts that the requests name.
fn requested_cells(requests: &[(String, String)]) -> BTreeSet<(Part, String)> {
    let mut cells = BTreeSet::new();
    for (path, query) in requests {
        let url = reqwest::Url::parse(&format!("http://h/?{query}")).unwrap();
        let params: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let Some(fields) = params.get("fields") else {
            continue;
        };
        if path.ends_with("/insights") {
            let part = match params.get("level").map(String::as_str) {
                Some("account") => Part::Total,
                _ => Part::Row,
            };
            let dates = ["date_start", "date_stop"];
            cells.extend(fields.split(',').chain(dates).map(|f| (part, f.to_owned())));
            continue;
        }
        let (account, rest) = fields.split_once(",campaigns.").unwrap();
        let (_, rest) = rest.split_once('{').unwrap();
        let (campaign, adsets) = rest.split_once(",adsets.").unwrap();
        let (_, adset) = adsets.split_once('{').unwrap();
        cells.extend(account.split(',').map(|f| (Part::Account, f.to_owned())));
        cells.extend(campaign.split(',').map(|f| (Part::Campaign, f.to_owned())));
        let adset = adset.trim_end_matches('}').split(',');
        cells.extend(adset.map(|f| (Part::Adset, f.to_owned())));
        cells.insert((Part::Campaign, "adsets".to_owned()));
    }
    cells
}

#[tokio::test]
async fn any_cell_of_any_response_changes_only_its_own_series() {
    let (before, requests) = poll(None).await;
    let before = values(&before);
    let cells = requested_cells(&requests);
    for part in [
        Part::Account,
        Part::Campaign,
        Part::Adset,
        Part::Row,
        Part::Total,
    ] {
        assert!(
            cells.iter().any(|cell| cell.0 == part),
            "{part:?}: {requests:?}"
        );
    }
    let long = format!("\"{}\"", "9".repeat(50_000));
    let texts = ["null", "{}", "[]", "\"text\"", "7", &long];
    let mut polls = JoinSet::new();
    let mut cases = Vec::new();
    for (part, field) in cells {
        let is_known = field == "adsets" || response(part).get(&field).is_some();
        assert!(is_known, "the response should have {part:?} {field}");
        for text in texts {
            cases.push(Replacement {
                part,
                field: field.clone(),
                text: text.to_owned(),
            });
        }
    }
    let mut cases = cases.into_iter();
    loop {
        while polls.len() < 8
            && let Some(case) = cases.next()
        {
            polls.spawn(async move {
                let (page, _) = poll(Some(case.clone())).await;
                (case, page)
            });
        }
        let Some(polled) = polls.join_next().await else {
            break;
        };
        let (case, page) = polled.unwrap();
        assert_only_own_series_changed(&case, &before, &values(&page));
    }
}

fn assert_only_own_series_changed(
    case: &Replacement,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) {
    let families = families_of(case.part, &case.field);
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        if before.get(key) == after.get(key) {
            continue;
        }
        let case = format!("{:?} {} {:.20}", case.part, case.field, case.text);
        let family = key.split(' ').next().unwrap();
        let family = family.strip_prefix("marketing_messages_").unwrap();
        let is_other = key.contains("(\"campaign_id\", \"8\")");
        match families {
            Some(families) => assert!(families.contains(&family), "{case}: {key}"),
            None => assert!(
                !is_other && (ROW_FAMILIES.contains(&family) || family.starts_with("campaign_")),
                "{case}: {key}"
            ),
        }
    }
}
