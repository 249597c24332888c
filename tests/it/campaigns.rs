//! Labels, properties and thresholds of campaigns, and which campaigns are exported.

use graph_simulator::Status;

use crate::harness::Api;
use crate::page::{Page, Sample};
use crate::simulator_agreement::assert_row;

const SPRING: &str = "120210000000011000";

/// Config of one business with short intervals.
fn fast_polling(windows: &str, business: &str) -> String {
    format!(
        "polling: {{ interval: 200ms, discovery_interval: 300ms }}
windows: [{windows}]
businesses:
  - name: acme
    access_token_env: EVERYONE
    {business}
"
    )
}

const TODAY: &str = "{ name: today, date_preset: today }";
const OCTOBER: &str = "{ name: october, time_range: { since: 2026-10-01, until: 2026-10-31 } }";

fn labels(sample: &Sample) -> Vec<(&str, &str)> {
    let mut labels: Vec<_> = sample
        .labels
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    labels.sort_unstable();
    labels
}

#[tokio::test]
async fn config_labels_are_on_all_series_and_nearest_wins() {
    let api = Api::demo().await;
    let config = format!(
        "windows: [{TODAY}]
businesses:
  - name: aurora
    access_token_env: AURORA
    labels: {{ team: growth, site: main }}
    thresholds: [{{ window: today, max_spend: 5 }}]
    ad_accounts:
      - {{ id: act_10150000000001101 }}
      - {{ id: act_10150000000001102, labels: {{ site: outlet }} }}
"
    );
    let page = api.exporter(&config).await.page_all_up().await;
    let start = page.text.find("# HELP marketing_messages_up ").unwrap();
    let campaign_page = Page::parse(&page.text[start..]);
    for sample in campaign_page.samples() {
        assert_eq!(sample.label("team"), "growth", "{sample:?}");
        let is_outlet = sample.label("account_id").ends_with("1102")
            || sample.label("source").ends_with("1102");
        let expected = if is_outlet { "outlet" } else { "main" };
        assert_eq!(sample.label("site"), expected, "{sample:?}");
    }
}

#[tokio::test]
async fn thresholds_have_labels_of_rows() {
    let api = Api::demo().await;
    let config = format!(
        "windows: [{TODAY}, {OCTOBER}]
businesses:
  - name: aurora
    access_token_env: AURORA
    labels: {{ team: growth }}
    thresholds:
      - {{ window: today, max_spend: 500, min_roas: 2.0, max_cost_per_purchase: 25, max_cost_per_link_click: 0.5, min_read_ratio: 0.4, applies_above_spend: 50 }}
    ad_accounts:
      - {{ id: act_10150000000001101, thresholds: [{{ window: today, max_spend: 900 }}] }}
"
    );
    let page = api.exporter(&config).await.page_all_up().await;
    let rows = page.all("delivered", &[("window", "today")]);
    assert_eq!(rows.len(), 3);
    for (name, expected) in [
        ("max_spend_threshold", "900"),
        ("min_roas_threshold", "2"),
        ("max_cost_per_purchase_threshold", "25"),
        ("max_cost_per_link_click_threshold", "0.5"),
        ("min_read_ratio_threshold", "0.4"),
        ("applies_above_spend_threshold", "50"),
    ] {
        let thresholds = page.all(name, &[]);
        let label_sets = |samples: &[&Sample]| {
            samples
                .iter()
                .map(|sample| format!("{:?}", labels(sample)))
                .collect::<Vec<_>>()
        };
        assert_eq!(label_sets(&thresholds), label_sets(&rows), "{name}");
        assert!(
            thresholds.iter().all(|sample| sample.number == expected),
            "{name} should be {expected}: {thresholds:?}"
        );
    }
}

#[tokio::test]
async fn disabled_conversions_have_no_series() {
    let api = Api::demo().await;
    let config = format!(
        "windows: [{TODAY}]
businesses:
  - name: acme
    access_token_env: EVERYONE
    ad_accounts: [{{ id: act_10150000000001101, conversions: false }}]
    campaigns:
      - {{ id: \"120210000000031000\", conversions: false }}
      - {{ id: \"120210000000051000\" }}
"
    );
    let page = api.exporter(&config).await.page_all_up().await;
    for name in ["conversions", "conversion_value", "website_purchase_roas"] {
        let series = page.all(name, &[]);
        assert!(!series.is_empty(), "{name} should be exported");
        let has_conversions =
            |sample: &&Sample| sample.label("campaign_id") == "120210000000051000";
        assert!(series.iter().all(has_conversions), "{name}: {series:?}");
    }
    assert!(
        page.value("delivered", &[("campaign_id", SPRING)])
            .is_some()
    );
    let requests = api.simulator.requests();
    let conversions_queries = requests
        .iter()
        .filter(|request| request.param("action_breakdowns").is_some());
    assert_eq!(conversions_queries.count(), 1);
}

#[tokio::test]
async fn campaign_info_and_budgets_match_inventory() {
    let api = Api::demo().await;
    api.simulator.update_world(|world| {
        let spring = &mut world.accounts[0].campaigns[0];
        spring.adsets[0].daily_budget = Some(1_999);
        spring.adsets[1].daily_budget = Some(1);
        spring.adsets[1].lifetime_budget = Some(700_000);
        let hinode = &mut world.accounts[3].campaigns[0];
        hinode.adsets[0].daily_budget = Some(5_000);
        hinode.adsets[1].daily_budget = None;
    });
    let config = format!(
        "windows: [{TODAY}]
businesses:
  - name: acme
    access_token_env: EVERYONE
    ad_accounts: [{{ id: act_10150000000001101 }}, {{ id: act_10150000000001301 }}]
    campaigns: [{{ id: \"120210000000034000\" }}]
"
    );
    let page = api.exporter(&config).await.page_all_up().await;
    let usd = [("campaign_id", SPRING), ("currency", "USD")];
    page.assert("campaign_daily_budget", &usd, "20");
    page.assert("campaign_lifetime_budget", &usd, "7000");
    let jpy = [("campaign_id", "120210000000041000"), ("currency", "JPY")];
    page.assert("campaign_daily_budget", &jpy, "5000");
    page.assert_absent("campaign_lifetime_budget", &jpy);
    let info = page.find("campaign_info", &[("campaign_id", "120210000000041000")]);
    assert_eq!(
        labels(info.unwrap()),
        [
            ("account_id", "10150000000001301"),
            ("account_name", "日の出コスメ"),
            ("business", "acme"),
            ("campaign_id", "120210000000041000"),
            ("campaign_name", "秋の新作コレクション 🍁"),
            ("currency", "JPY"),
            ("objective", "OUTCOME_SALES"),
            ("status", "ACTIVE"),
            ("timezone", "Asia/Tokyo"),
        ]
    );
    let paused = page.find("campaign_info", &[("campaign_id", "120210000000034000")]);
    assert_eq!(paused.unwrap().label("status"), "PAUSED");
    // The campaign has no row today, and zeros are exported only for active campaigns.
    page.assert_absent("delivered", &[("campaign_id", "120210000000034000")]);
}

#[tokio::test]
async fn mixed_attribution_withholds_conversions_of_campaign() {
    let api = Api::demo().await;
    let mixed = "120210000000033000";
    for level in ["campaign", "adset", "ad"] {
        let config = format!(
            "insights: {{ level: {level} }}
windows: [{TODAY}]
businesses: [{{ name: n, access_token_env: NORDLICHT, ad_accounts: [{{ id: act_10150000000001201 }}] }}]
"
        );
        let page = api.exporter(&config).await.page_all_up().await;
        let (withheld, conversions) = (
            page.all(
                "exporter_rows_withheld",
                &[("window", "today"), ("reason", "attribution")],
            ),
            page.all("conversions", &[("campaign_id", mixed)]),
        );
        if level == "campaign" {
            assert_eq!(
                withheld
                    .iter()
                    .map(|sample| labels(sample))
                    .collect::<Vec<_>>(),
                [[
                    ("account_id", "10150000000001201"),
                    ("business", "n"),
                    ("campaign_id", mixed),
                    ("reason", "attribution"),
                    ("window", "today")
                ]]
            );
            assert!(conversions.is_empty(), "{conversions:?}");
            page.assert_absent("website_purchase_roas", &[("campaign_id", mixed)]);
            page.assert_absent("conversion_value", &[("campaign_id", mixed)]);
            assert!(page.value("delivered", &[("campaign_id", mixed)]).is_some());
        } else {
            assert!(withheld.is_empty(), "{level}: {withheld:?}");
            assert!(
                !conversions.is_empty(),
                "{level}: conversions should be exported"
            );
        }
        assert!(
            !page
                .all("conversions", &[("campaign_id", "120210000000031000")])
                .is_empty()
        );
    }
}

#[tokio::test]
async fn campaign_ignoring_dates_is_withheld_in_windows_with_dates() {
    let api = Api::demo().await;
    let old = "120210000000035000";
    let config = format!(
        "windows: [{TODAY}, {OCTOBER}, {{ name: whole }}]
businesses: [{{ name: n, access_token_env: NORDLICHT, ad_accounts: [{{ id: act_10150000000001201 }}] }}]
"
    );
    let page = api.exporter(&config).await.page_after_first_round().await;
    // The poll succeeds, and only this campaign's rows are withheld.
    page.assert("up", &[("window", "october")], "1");
    page.assert(
        "exporter_poll_failures_total",
        &[("reason", "invalid_response")],
        "0",
    );
    for window in ["today", "october"] {
        let withheld = [
            ("campaign_id", old),
            ("window", window),
            ("reason", "dates"),
        ];
        page.assert("exporter_rows_withheld", &withheld, "1");
        page.assert_absent("spend", &withheld[..2]);
        page.assert_absent("conversions", &withheld[..2]);
        page.assert_absent("window_start_timestamp_seconds", &withheld[..2]);
    }
    // A window without dates has the campaign's whole life.
    let whole = [("campaign_id", old), ("window", "whole")];
    let expected_totals = api.truth(old, "2025-11-03", "2026-11-23").unwrap();
    assert_row(&page, &whole, &expected_totals);
    page.assert("window_start_timestamp_seconds", &whole, "1762124400");
    // Other campaigns are not affected.
    let other = [("campaign_id", "120210000000031000"), ("window", "october")];
    let expected_totals = api
        .truth("120210000000031000", "2026-10-01", "2026-10-31")
        .unwrap();
    assert_row(&page, &other, &expected_totals);
}

#[tokio::test]
async fn ad_as_campaign_source_is_exported_under_its_id() {
    let api = Api::demo().await;
    let ad = "120210000000031101";
    let config = format!(
        "windows: [{TODAY}]
businesses: [{{ name: n, access_token_env: NORDLICHT, campaigns: [{{ id: \"{ad}\" }}] }}]
"
    );
    let page = api.exporter(&config).await.page_all_up().await;
    // The values are those of its campaign.
    let expected_totals = api
        .truth("120210000000031000", "2026-11-23", "2026-11-23")
        .unwrap();
    assert_row(
        &page,
        &[
            ("campaign_id", ad),
            ("campaign_name", "Herbstaktion „Licht an!“"),
        ],
        &expected_totals,
    );
    assert_eq!(page.all("delivered", &[]).len(), 1);
    let info = page.find("campaign_info", &[("campaign_id", ad)]).unwrap();
    assert_eq!(
        (info.label("status"), info.label("objective")),
        ("ACTIVE", "OUTCOME_SALES")
    );
    assert_eq!(
        page.all("campaign_daily_budget", &[("campaign_id", ad)])
            .len(),
        1
    );
}

#[tokio::test]
async fn ad_ignoring_dates_is_withheld_in_fixed_range() {
    let api = Api::demo().await;
    let ad = "120210000000035101";
    let config = format!(
        "windows: [{OCTOBER}]
businesses: [{{ name: n, access_token_env: NORDLICHT, campaigns: [{{ id: \"{ad}\" }}] }}]
"
    );
    let page = api.exporter(&config).await.page_after_first_round().await;
    page.assert("up", &[], "1");
    page.assert("exporter_rows_withheld", &[("reason", "dates")], "1");
    page.assert_absent("delivered", &[]);
    page.assert_absent("conversions", &[]);
}

#[tokio::test]
async fn archived_campaign_keeps_its_rows() {
    for sources in [
        "ad_accounts: [{ id: act_10150000000001101 }]".to_owned(),
        format!("campaigns: [{{ id: \"{SPRING}\" }}]"),
    ] {
        let api = Api::demo().await;
        let exporter = api.exporter(&fast_polling(TODAY, &sources)).await;
        let campaign = ("campaign_id", SPRING);
        let before = exporter.page_all_up().await;
        api.simulator
            .update_world(|world| world.accounts[0].campaigns[0].status = Status::Archived);
        let page = exporter
            .page_when(|page| {
                let info = page.find("campaign_info", &[campaign]);
                info.is_some_and(|info| info.label("status") == "ARCHIVED")
            })
            .await;
        assert_eq!(
            page.value("spend", &[campaign]),
            before.value("spend", &[campaign])
        );
        page.assert_absent("exporter_source_empty", &[]);
    }
}

#[tokio::test]
async fn campaign_source_is_duplicate_of_its_ad_account() {
    let api = Api::demo().await;
    let config = format!(
        "windows: [{TODAY}]
businesses:
  - name: acme
    access_token_env: EVERYONE
    ad_accounts: [{{ id: act_10150000000001101 }}]
    campaigns: [{{ id: \"{SPRING}\" }}, {{ id: \"120210000000031000\" }}]
  - name: other
    access_token_env: EVERYONE
    campaigns: [{{ id: \"{SPRING}\" }}]
"
    );
    let exporter = api.exporter(&config).await;
    let page = exporter
        .page_when(|page| {
            let up = page.all("up", &[]);
            up.len() == 3 && up.iter().all(|sample| sample.number == "1")
        })
        .await;
    // `Page::parse` panics on duplicate series.
    for (business, rows) in [("acme", 4), ("other", 1)] {
        assert_eq!(page.all("delivered", &[("business", business)]).len(), rows);
        assert_eq!(
            page.all("campaign_info", &[("business", business)]).len(),
            rows
        );
    }
    // The duplicate is not polled.
    page.assert_absent("up", &[("business", "acme"), ("source", SPRING)]);
    let landing = exporter.get("/").await.text();
    assert!(landing.contains("duplicate of ad account"), "{landing}");
}
