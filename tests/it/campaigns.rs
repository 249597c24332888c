//! What the page says about campaigns beside their numbers, and which campaigns it says it of.

use marketing_messages_exporter::simulator::Status;

use crate::harness::Api;
use crate::page::{Page, Sample};
use crate::truth::assert_row;

const SPRING: &str = "120210000000011000";

/// A config of one business, polled all the time.
fn busy(windows: &str, business: &str) -> String {
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
async fn labels_stand_on_every_series_and_the_nearest_wins() {
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
    let page = api.exporter(&config).await.page_up().await;
    let campaign_page = page.text.find("# HELP marketing_messages_up ").unwrap();
    let campaign_page = Page::parse(&page.text[campaign_page..]);
    for sample in campaign_page.samples() {
        assert_eq!(sample.label("team"), "growth", "{sample:?}");
        let outlet = sample.label("account_id").ends_with("1102")
            || sample.label("source").ends_with("1102");
        let site = if outlet { "outlet" } else { "main" };
        assert_eq!(sample.label("site"), site, "{sample:?}");
    }
}

#[tokio::test]
async fn thresholds_have_exactly_the_labels_of_the_rows() {
    let api = Api::demo().await;
    let config = format!(
        "windows: [{TODAY}, {OCTOBER}]
businesses:
  - name: aurora
    access_token_env: AURORA
    labels: {{ team: growth }}
    thresholds:
      - {{ window: today, max_spend: 500, min_roas: 2.0, max_cost_per_purchase: 25, max_cost_per_link_click: 0.5, min_read_ratio: 0.4, from_spend: 50 }}
    ad_accounts:
      - {{ id: act_10150000000001101, thresholds: [{{ window: today, max_spend: 900 }}] }}
"
    );
    let page = api.exporter(&config).await.page_up().await;
    let rows = page.all("delivered", &[("window", "today")]);
    assert_eq!(rows.len(), 3);
    for (name, limit) in [
        ("max_spend_threshold", "900"),
        ("min_roas_threshold", "2"),
        ("max_cost_per_purchase_threshold", "25"),
        ("max_cost_per_link_click_threshold", "0.5"),
        ("min_read_ratio_threshold", "0.4"),
        ("from_spend_threshold", "50"),
    ] {
        let limits = page.all(name, &[]);
        let of = |samples: &[&Sample]| {
            samples
                .iter()
                .map(|s| format!("{:?}", labels(s)))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&limits), of(&rows), "{name}");
        assert!(limits.iter().all(|sample| sample.number == limit), "{name}");
    }
}

#[tokio::test]
async fn campaigns_without_a_pixel_have_no_conversion_series() {
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
    let page = api.exporter(&config).await.page_up().await;
    for name in ["conversions", "conversion_value", "website_purchase_roas"] {
        let found = page.all(name, &[]);
        assert!(!found.is_empty());
        let kereru = |sample: &&Sample| sample.label("campaign_id") == "120210000000051000";
        assert!(found.iter().all(kereru), "{name}");
    }
    assert!(
        page.value("delivered", &[("campaign_id", SPRING)])
            .is_some()
    );
    let asked = api.simulator.requests();
    let asked = asked
        .iter()
        .filter(|r| r.param("action_breakdowns").is_some());
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn info_and_budgets_are_those_of_the_account() {
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
    let page = api.exporter(&config).await.page_up().await;
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
    // It has no row today, and shows no zeros since it is paused.
    page.assert_absent("delivered", &[("campaign_id", "120210000000034000")]);
}

#[tokio::test]
async fn mixed_attribution_withholds_conversions_of_that_campaign_alone() {
    let api = Api::demo().await;
    let mixed = "120210000000033000";
    for level in ["campaign", "adset", "ad"] {
        let config = format!(
            "insights: {{ level: {level} }}
windows: [{TODAY}]
businesses: [{{ name: n, access_token_env: NORDLICHT, ad_accounts: [{{ id: act_10150000000001201 }}] }}]
"
        );
        let page = api.exporter(&config).await.page_up().await;
        let (withheld, shown) = (
            page.all("exporter_conversions_withheld", &[]),
            page.all("conversions", &[("campaign_id", mixed)]),
        );
        if level == "campaign" {
            assert_eq!(
                withheld.iter().map(|s| labels(s)).collect::<Vec<_>>(),
                [[
                    ("account_id", "10150000000001201"),
                    ("business", "n"),
                    ("campaign_id", mixed),
                    ("window", "today")
                ]]
            );
            assert!(shown.is_empty());
            page.assert_absent("website_purchase_roas", &[("campaign_id", mixed)]);
            page.assert_absent("conversion_value", &[("campaign_id", mixed)]);
            assert!(page.value("delivered", &[("campaign_id", mixed)]).is_some());
        } else {
            assert!(withheld.is_empty(), "{level}: {withheld:?}");
            assert!(!shown.is_empty(), "{level}");
        }
        assert!(
            !page
                .all("conversions", &[("campaign_id", "120210000000031000")])
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_campaign_that_knows_no_dates_is_withheld_where_dates_were_fixed() {
    let api = Api::demo().await;
    let old = "120210000000035000";
    let config = format!(
        "windows: [{TODAY}, {OCTOBER}]
businesses: [{{ name: n, access_token_env: NORDLICHT, ad_accounts: [{{ id: act_10150000000001201 }}] }}]
"
    );
    let page = api.exporter(&config).await.page_tried().await;
    page.assert("up", &[("window", "october")], "0");
    page.assert(
        "exporter_poll_failures_total",
        &[("reason", "garbled")],
        "1",
    );
    for sample in page
        .samples()
        .filter(|sample| sample.label("window") == "october")
    {
        assert_ne!(sample.label("campaign_id"), old, "{sample:?}");
    }
    // A preset is believed, and the bounds tell what was answered: all of its life.
    let today = [("campaign_id", old), ("window", "today")];
    let truth = api.truth(old, "2025-11-03", "2026-11-23").unwrap();
    assert_row(&page, &today, &truth);
    page.assert("window_start_timestamp_seconds", &today, "1762124400");
    // The others are not harmed.
    let other = [("campaign_id", "120210000000031000"), ("window", "october")];
    let truth = api
        .truth("120210000000031000", "2026-10-01", "2026-10-31")
        .unwrap();
    assert_row(&page, &other, &truth);
}

#[tokio::test]
async fn an_ad_taken_for_a_campaign_is_exported_under_its_own_id() {
    let api = Api::demo().await;
    let ad = "120210000000031101";
    let config = format!(
        "windows: [{TODAY}]
businesses: [{{ name: n, access_token_env: NORDLICHT, campaigns: [{{ id: \"{ad}\" }}] }}]
"
    );
    let page = api.exporter(&config).await.page_up().await;
    let truth = api.truth(ad, "2026-11-23", "2026-11-23").unwrap();
    assert_row(
        &page,
        &[
            ("campaign_id", ad),
            ("campaign_name", "Herbstaktion „Licht an!“"),
        ],
        &truth,
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
async fn an_old_ad_taken_for_a_campaign_is_withheld_too() {
    let api = Api::demo().await;
    let ad = "120210000000035101";
    let config = format!(
        "windows: [{OCTOBER}]
businesses: [{{ name: n, access_token_env: NORDLICHT, campaigns: [{{ id: \"{ad}\" }}] }}]
"
    );
    let page = api.exporter(&config).await.page_tried().await;
    page.assert("up", &[], "0");
    page.assert_absent("delivered", &[]);
    page.assert_absent("conversions", &[]);
}

#[tokio::test]
async fn what_is_archived_vanishes_with_the_next_discovery() {
    for sources in [
        "ad_accounts: [{ id: act_10150000000001101 }]".to_owned(),
        format!("campaigns: [{{ id: \"{SPRING}\" }}]"),
    ] {
        let api = Api::demo().await;
        let exporter = api.exporter(&busy(TODAY, &sources)).await;
        let page = exporter.page_up().await;
        assert!(
            page.value("delivered", &[("campaign_id", SPRING)])
                .is_some()
        );
        api.simulator
            .update_world(|world| world.accounts[0].campaigns[0].status = Status::Archived);
        let gone = exporter
            .page_when(|page| {
                page.samples()
                    .all(|sample| sample.label("campaign_id") != SPRING)
            })
            .await;
        assert!(gone.value("up", &[]).is_some());
    }
}

#[tokio::test]
async fn a_campaign_source_gives_way_to_its_ad_account() {
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
    let page = exporter.page_up().await;
    // Reading the page has shown that no series stands there twice.
    for (business, rows) in [("acme", 4), ("other", 1)] {
        assert_eq!(page.all("delivered", &[("business", business)]).len(), rows);
        assert_eq!(
            page.all("campaign_info", &[("business", business)]).len(),
            rows
        );
    }
    page.assert("up", &[("business", "acme"), ("source", SPRING)], "1");
    let landing = exporter.get("/").await.text();
    assert!(landing.contains("gives way to its ad account"), "{landing}");
}
