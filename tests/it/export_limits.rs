//! `metrics.exclude` and `max_series`: what is left out of the metrics page.

use std::collections::{BTreeMap, BTreeSet};

use marketing_messages_exporter::metrics::catalog::PREFIX;

use crate::harness::Api;
use crate::page::{Page, Sample};

/// Ad account with three message campaigns.
const ACCOUNT: &str = "{ id: act_10150000000001101 }";

fn config(top: &str, business: &str) -> String {
    format!(
        "{top}
windows: [{{ name: today, date_preset: today }}, {{ name: last_7d, date_preset: last_7d }}]
businesses:
  - {{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ACCOUNT}], thresholds: [{{ window: today, max_spend: 1 }}]{business} }}
"
    )
}

/// Returns the families of the campaign page.
fn campaign_families(page: &Page) -> Vec<&str> {
    let names = page.families.iter().map(|family| family.name.as_str());
    names
        .filter(|name| name.starts_with(PREFIX) && !name.contains("_exporter_"))
        .collect()
}

/// Returns the series of the campaign page by campaign; the empty id has those without a campaign.
fn by_campaign(page: &Page) -> BTreeMap<String, Vec<&Sample>> {
    let mut samples: BTreeMap<String, Vec<&Sample>> = BTreeMap::new();
    let families = campaign_families(page);
    for sample in page.samples() {
        if families.contains(&sample.name.as_str()) {
            let id = sample.label("campaign_id").to_owned();
            samples.entry(id).or_default().push(sample);
        }
    }
    samples
}

#[tokio::test]
async fn every_metric_can_be_excluded() {
    let api = Api::demo().await;
    let complete = api.exporter(&config("", "")).await.page_all_up().await;
    let families = campaign_families(&complete);
    assert!(families.len() > 15, "{families:?}");
    // `up` shows when the page is complete, and is excluded by itself below.
    let (top, business): (Vec<&str>, Vec<&str>) = families
        .iter()
        .filter(|name| **name != "marketing_messages_up")
        .partition(|name| name.len() % 2 == 0);
    let top = format!("metrics: {{ exclude: [{}] }}", top.join(", "));
    let business = format!(", metrics: {{ exclude: [{}] }}", business.join(", "));
    let exporter = api.exporter(&config(&top, &business)).await;
    let page = exporter.page_all_up().await;
    assert_eq!(campaign_families(&page), ["marketing_messages_up"]);

    let exporter = api
        .exporter(&config("metrics: { exclude: [up] }", ""))
        .await;
    let page = exporter
        .page_when(|page| !page.all("spend", &[("window", "last_7d")]).is_empty())
        .await;
    let scoped = exporter.get("/metrics?business=acme").await;
    for page in [page, Page::parse(&scoped.text())] {
        page.assert_absent("up", &[]);
        assert!(!page.all("spend", &[]).is_empty());
    }
}

#[tokio::test]
async fn excluding_of_one_business_does_not_affect_another() {
    let api = Api::demo().await;
    let config = config("", ", metrics: { exclude: [spend] }")
        + "  - { name: globex, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001101 }] }\n";
    let page = api.exporter(&config).await.page_all_up().await;
    page.assert_absent("spend", &[("business", "acme")]);
    assert!(!page.all("spend", &[("business", "globex")]).is_empty());
}

#[tokio::test]
async fn max_series_leaves_out_campaigns_with_the_lowest_spend() {
    let api = Api::demo().await;
    let complete = api.exporter(&config("", "")).await.page_all_up().await;
    let all = by_campaign(&complete);
    let total: usize = all.values().map(Vec::len).sum();
    complete.assert_absent("exporter_series_dropped", &[]);
    let highest_spend = |id: &str| {
        let spend = complete.all("spend", &[("campaign_id", id)]);
        spend
            .iter()
            .map(|sample| sample.value())
            .fold(0.0, f64::max)
    };
    let mut campaigns: Vec<&String> = all.keys().filter(|id| !id.is_empty()).collect();
    campaigns.sort_by(|a, b| highest_spend(a).total_cmp(&highest_spend(b)));
    let lowest = campaigns[0];
    assert!(highest_spend(lowest) < highest_spend(campaigns[1]));

    // One series too many costs the whole campaign.
    for (max_series, expected) in [(2 * total, None), (total - 1, Some(lowest))] {
        let limit = format!(", max_series: {max_series}");
        let exporter = api.exporter(&config("", &limit)).await;
        exporter.page_all_up().await;
        let dropped = expected.map_or(0, |id| all[id].len());
        let page = exporter
            .page_when(|page| {
                let value = page.value("exporter_series_dropped", &[("business", "acme")]);
                value == Some(dropped as f64)
            })
            .await;
        let scoped = exporter.get("/metrics?business=acme").await;
        for page in [page, Page::parse(&scoped.text())] {
            let left: BTreeSet<String> = by_campaign(&page).into_keys().collect();
            let expected: BTreeSet<String> = all
                .keys()
                .filter(|id| Some(*id) != expected)
                .cloned()
                .collect();
            assert_eq!(left, expected, "max_series: {max_series}");
        }
    }
}
