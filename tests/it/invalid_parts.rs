//! Invalid values and rows in responses: each affects only itself, and is counted.

use marketing_messages_exporter::config::{Config, NamedDocument};
use marketing_messages_exporter::graph::read_response;
use marketing_messages_exporter::model::{
    AccountId, ActionList, InsightField, Level, ObjectId, Row, RowValue,
};
use marketing_messages_exporter::plan::{Plan, Query, QueryKind, Shard, TargetNode};
use serde_json::{Map, Value, json};

use crate::page::Page;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

const PURCHASE: &str = "offsite_conversion.fb_pixel_purchase";
const SEARCH: &str = "offsite_conversion.fb_pixel_search";

/// The window has no dates, so that the rows can have any.
const CONFIG: &str = "insights: { action_types: [offsite_conversion.fb_pixel_purchase, offsite_conversion.fb_pixel_search] }
windows: [{ name: whole }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

/// Returns the row of a campaign with the fields of both queries.
fn row(campaign: &str) -> Value {
    json!({
        "account_id": "1",
        "account_currency": "EUR",
        "campaign_id": campaign,
        "campaign_name": format!("campaign {campaign}"),
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
        "actions": [
            {"action_type": PURCHASE, "value": "3"},
            {"action_type": SEARCH, "value": "11"},
        ],
        "action_values": [{"action_type": PURCHASE, "value": "249.99"}],
        "website_purchase_roas": [{"action_type": PURCHASE, "value": "6.43"}],
    })
}

/// Returns the page after one poll, where the body of every insights response is `body`.
async fn page_for(body: impl Into<Vec<u8>>) -> Page {
    let body = body.into();
    let api = ScriptedServer::start(move |path, _| -> ScriptedResponse {
        match path.rsplit('/').next() {
            Some("insights") => ScriptedResponse {
                body: body.clone(),
                ..ScriptedResponse::with_status(200, "")
            },
            Some("campaigns") => json!({"data": [campaign("7"), campaign("8")]}).into(),
            Some("adsets") => json!({"data": []}).into(),
            _ => json!({"id": "act_1", "name": "acme", "currency": "EUR"}).into(),
        }
    })
    .await;
    api.exporter(CONFIG).await.page_after_first_round().await
}

fn campaign(id: &str) -> Value {
    json!({"id": id, "name": id, "effective_status": "ACTIVE", "is_message_campaign": "true"})
}

/// Returns the page for the rows of campaigns 7 and 8, after a replacement in the row of 7.
async fn page_with(field: &str, value: &str) -> Page {
    const MARK: &str = "\"(replaced)\"";
    let mut changed = row("7");
    changed[field] = json!("(replaced)");
    let body = json!({"data": [changed, row("8")]}).to_string();
    page_for(body.replace(MARK, value)).await
}

fn assert_other_campaign_is_complete(page: &Page, case: &str) {
    let labels = [("campaign_id", "8")];
    let rows = [
        "delivered",
        "link_clicks",
        "spend",
        "read_ratio",
        "cost_per_delivered",
    ];
    for name in rows {
        assert_eq!(page.all(name, &labels).len(), 1, "{case}: {name}");
    }
    let purchases = [("campaign_id", "8"), ("action_type", PURCHASE)];
    page.assert("conversions", &purchases, "3");
    page.assert("conversion_value", &purchases, "249.99");
    page.assert("up", &[], "1");
}

#[tokio::test]
async fn invalid_value_affects_only_its_own_series() {
    for (field, value, name, expected, is_counted) in [
        (
            "marketing_messages_spend",
            r#""3.887E1""#,
            "spend",
            Some("38.87"),
            false,
        ),
        (
            "marketing_messages_delivered",
            "2755.0",
            "delivered",
            Some("2755"),
            false,
        ),
        (
            "marketing_messages_delivered",
            "123456789012345678901234",
            "delivered",
            Some("1.2345678901234568e+23"),
            false,
        ),
        ("marketing_messages_spend", r#""N/A""#, "spend", None, true),
        (
            "marketing_messages_spend",
            r#""Infinity""#,
            "spend",
            None,
            true,
        ),
        ("marketing_messages_spend", "null", "spend", None, false),
        ("marketing_messages_spend", r#""""#, "spend", None, false),
        (
            "marketing_messages_delivered",
            "1e400",
            "delivered",
            None,
            true,
        ),
        (
            "marketing_messages_delivered",
            r#""-3""#,
            "delivered",
            None,
            true,
        ),
        (
            "marketing_messages_delivered",
            "-3",
            "delivered",
            None,
            true,
        ),
        (
            "marketing_messages_read_rate",
            r#""134.2""#,
            "read_ratio",
            None,
            true,
        ),
        (
            "marketing_messages_read_rate",
            r#""-1""#,
            "read_ratio",
            None,
            true,
        ),
        (
            "marketing_messages_read_rate",
            r#""100""#,
            "read_ratio",
            Some("1"),
            false,
        ),
        ("marketing_messages_spend", "true", "spend", None, true),
        (
            "marketing_messages_spend",
            "{\"a\":[]}",
            "spend",
            None,
            true,
        ),
    ] {
        let page = page_with(field, value).await;
        let labels = [("campaign_id", "7")];
        let number = page.find(name, &labels).map(|sample| sample.value());
        let expected = expected.map(|number| number.parse::<f64>().unwrap());
        assert_eq!(number, expected, "{field} {value}");
        let count = [("business", "acme"), ("field", field)];
        let count = page.value("exporter_invalid_values_total", &count);
        assert_eq!(
            count,
            Some(if is_counted { 1.0 } else { 0.0 }),
            "{field} {value}"
        );
        assert_eq!(page.all("link_clicks", &labels).len(), 1, "{field} {value}");
        assert_other_campaign_is_complete(&page, value);
    }
}

#[tokio::test]
async fn invalid_action_entry_affects_only_its_own_type() {
    let entries = |entries: &str| entries.replace('P', &format!("\"{PURCHASE}\""));
    for (field, value, name, purchases, invalid) in [
        (
            "actions",
            r#"[{"action_type":P,"value":"3"},{"action_type":P,"value":"5"}]"#,
            "conversions",
            None,
            1.0,
        ),
        (
            "actions",
            r#"[{"action_type":P,"1d_click":"3"}]"#,
            "conversions",
            None,
            1.0,
        ),
        (
            "actions",
            r#"[{"value":"3"},{"action_type":P,"value":"5"}]"#,
            "conversions",
            Some("5"),
            1.0,
        ),
        (
            "actions",
            r#"[{"action_type":null,"value":"3"},{"action_type":P,"value":"5"}]"#,
            "conversions",
            Some("5"),
            1.0,
        ),
        (
            "actions",
            r#"[{"action_type":7,"value":"3"},{"action_type":P,"value":"5"},null,"x",[]]"#,
            "conversions",
            Some("5"),
            4.0,
        ),
        (
            "actions",
            r#"[{"action_type":P,"value":"-3"}]"#,
            "conversions",
            None,
            1.0,
        ),
        (
            "action_values",
            r#"[{"action_type":P,"value":"-20.5"}]"#,
            "conversion_value",
            Some("-20.5"),
            0.0,
        ),
        ("actions", "{}", "conversions", None, 1.0),
        ("actions", "[]", "conversions", Some("0"), 0.0),
        // The entry could be that of a purchase.
        (
            "actions",
            r#"[{"action_type":null,"value":"3"}]"#,
            "conversions",
            None,
            1.0,
        ),
    ] {
        let page = page_with(field, &entries(value)).await;
        let labels = [("campaign_id", "7"), ("action_type", PURCHASE)];
        let number = page
            .find(name, &labels)
            .map(|sample| sample.number.as_str());
        assert_eq!(number, purchases, "{field} {value}");
        let count = [("business", "acme"), ("field", field)];
        let count = page.value("exporter_invalid_values_total", &count);
        assert_eq!(count, Some(invalid), "{field} {value}");
        assert_eq!(page.all("delivered", &[("campaign_id", "7")]).len(), 1);
        assert_other_campaign_is_complete(&page, value);
    }
}

#[tokio::test]
async fn invalid_row_is_dropped_counted_and_not_zero_filled() {
    let without = |field: &str| {
        let mut row = row("7");
        row.as_object_mut().unwrap().remove(field);
        row
    };
    let with = |field: &str, value: Value| {
        let mut row = row("7");
        row[field] = value;
        row
    };
    for (invalid, reason) in [
        (Value::Null, "malformed"),
        (json!("row"), "malformed"),
        (json!([1]), "malformed"),
        (without("account_id"), "malformed"),
        (without("campaign_id"), "malformed"),
        (without("date_start"), "malformed"),
        (with("date_stop", json!("2026-13-01")), "malformed"),
        (with("campaign_id", json!(7.5)), "malformed"),
        (with("account_id", json!("2")), "other_account"),
    ] {
        let page = page_for(json!({"data": [invalid, row("8")]}).to_string()).await;
        let labels = [("business", "acme"), ("reason", reason)];
        let count = page.value("exporter_invalid_rows_total", &labels);
        assert!(count >= Some(1.0), "{invalid}: {count:?}");
        page.assert_absent("spend", &[("campaign_id", "7")]);
        assert_other_campaign_is_complete(&page, reason);
    }
}

#[tokio::test]
async fn result_without_a_valid_row_is_an_invalid_response() {
    for body in [
        json!({"data": null}),
        json!({"data": [null]}),
        json!({"data": [{}]}),
        json!({"data": {}}),
    ] {
        let page = page_for(body.to_string()).await;
        let labels = [("reason", "invalid_response")];
        let failures = page.value("exporter_poll_failures_total", &labels);
        assert_eq!(failures, Some(1.0), "{body}");
        page.assert_absent("spend", &[]);
    }
}

#[tokio::test]
async fn broken_name_affects_only_itself() {
    let body = json!({"data": [row("7"), row("8")]}).to_string();
    let body = body.replace("campaign 7", "a\\ud83db\\x");
    let mut bytes = body.into_bytes();
    let place = bytes
        .windows(10)
        .position(|text| text == b"campaign 8")
        .unwrap();
    bytes[place + 8] = 0xff;
    let page = page_for(bytes).await;
    page.assert("up", &[], "1");
    let name = |id| {
        page.find("spend", &[("campaign_id", id)])
            .unwrap()
            .label("campaign_name")
    };
    // The page has the names of the inventory or of the row.
    for id in ["7", "8"] {
        assert!(!name(id).is_empty(), "{id}");
        page.assert("spend", &[("campaign_id", id)], "38.87");
    }
}

#[tokio::test]
async fn counters_start_at_zero() {
    let page = page_for(json!({"data": [row("7"), row("8")]}).to_string()).await;
    for field in InsightField::ALL {
        let labels = [("business", "acme"), ("field", field.field())];
        page.assert("exporter_invalid_values_total", &labels, "0");
    }
    for list in ActionList::ALL {
        let labels = [("business", "acme"), ("field", list.field())];
        page.assert("exporter_invalid_values_total", &labels, "0");
    }
    for reason in ["other_account", "other_campaign", "malformed"] {
        let labels = [("business", "acme"), ("reason", reason)];
        page.assert("exporter_invalid_rows_total", &labels, "0");
    }
}

fn query(kind: QueryKind) -> Query {
    let document = NamedDocument {
        name: "config".to_owned(),
        text: CONFIG.to_owned(),
    };
    let config = Config::parse(document, Vec::new()).unwrap();
    let plan = Plan::for_shard(&config, Shard::ALL);
    let source = &plan.sources[0];
    let queries = source.queries(&source.windows[0], kind, None);
    // Without an inventory there is no query of the ad account; one of a campaign has the same columns.
    queries
        .and_then(|queries| queries.into_iter().next())
        .unwrap_or_else(|| {
            let text = CONFIG.replace("ad_accounts: [{ id: act_1 }]", "campaigns: [{ id: \"7\" }]");
            let document = NamedDocument {
                name: "config".to_owned(),
                text,
            };
            let plan = Plan::for_shard(&Config::parse(document, Vec::new()).unwrap(), Shard::ALL);
            let source = &plan.sources[0];
            source
                .queries(&source.windows[0], kind, None)
                .unwrap()
                .remove(0)
        })
}

#[test]
fn row_that_the_filter_excludes_is_dropped() {
    let ids = ["7", "8"].map(|id| ObjectId::parse(id).unwrap());
    let query = Query {
        node: TargetNode::AdAccount(AccountId::parse("1").unwrap()),
        level: Some(Level::Campaign),
        campaigns: ids.to_vec(),
        ..query(QueryKind::Delivery)
    };
    let body = json!({"data": [row("9"), row("8")]}).to_string();
    let rows = read_response(&query, 200, body.as_bytes()).unwrap();
    let keys: Vec<_> = rows.iter().map(|row| row.dimensions.key()).collect();
    assert_eq!(keys, ["8"]);
}

/// Returns the columns of a field in the rows of a query.
fn columns(kind: QueryKind, field: &str) -> Vec<usize> {
    match kind {
        QueryKind::Delivery => {
            let fields = InsightField::ALL.iter();
            fields
                .filter(|known| known.field() == field)
                .map(|known| known.column())
                .collect()
        }
        _ => {
            let mut lists = ActionList::ALL.into_iter();
            let list = lists.find(|list| list.field() == field);
            list.into_iter().flat_map(|list| list.columns(2)).collect()
        }
    }
}

fn values(row: &Row) -> Vec<RowValue> {
    row.values.iter().collect()
}

#[test]
fn any_cell_replaced_changes_only_its_own_values() {
    let replacements = [
        "null".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "[null]".to_owned(),
        "[{}]".to_owned(),
        "true".to_owned(),
        "\"text\"".to_owned(),
        "\"\\ud800\"".to_owned(),
        "7".to_owned(),
        "-7.5".to_owned(),
        "1e400".to_owned(),
        format!("\"{}\"", "9".repeat(100_000)),
        "9".repeat(1_000),
    ];
    let whole: Map<String, Value> = row("7").as_object().unwrap().clone();
    let fields = InsightField::ALL.iter().map(|known| known.field());
    for field in fields.chain(ActionList::ALL.iter().map(|list| list.field())) {
        assert!(whole.contains_key(field), "the row should have {field}");
    }
    for kind in [QueryKind::Delivery, QueryKind::Conversions] {
        let query = query(kind);
        let decode = |first: &str| {
            let body = format!("{{\"data\":[{first},{}]}}", row("8"));
            read_response(&query, 200, body.as_bytes())
        };
        let before = decode(&row("7").to_string()).unwrap();
        for field in whole.keys() {
            for replacement in &replacements {
                let mut cells = whole.clone();
                cells.insert(field.clone(), json!("(replaced)"));
                let text = Value::from(cells).to_string();
                let text = text.replace("\"(replaced)\"", replacement);
                let case = format!("{kind:?} {field} {replacement:.20}");
                let after = decode(&text).unwrap_or_else(|error| panic!("{case}: {error:?}"));
                assert_eq!(
                    after.last(),
                    before.last(),
                    "{case}: the other row should not change"
                );
                let [changed, _] = after.as_slice() else {
                    let is_identity = field.ends_with("_id") || field.starts_with("date_");
                    assert!(is_identity, "{case}: the row should remain");
                    continue;
                };
                let own = columns(kind, field);
                let cells = values(&before[0]).into_iter().zip(values(changed));
                for (column, (old, new)) in cells.enumerate() {
                    assert!(
                        old == new || own.contains(&column),
                        "{case}: column {column}"
                    );
                }
            }
        }
    }
}
