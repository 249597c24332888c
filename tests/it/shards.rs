//! Sharding: replicas with the same config and different shards poll each source exactly once.

use std::collections::BTreeSet;

use marketing_messages_exporter::model::{AccountId, ObjectId};
use marketing_messages_exporter::plan::{Shard, SourceKind};

use crate::harness::{Api, Exporter, parse};
use crate::page::Page;
use crate::process::{BUSINESS, Program};

const CONFIG: &str = "windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
  - { name: hinode, access_token_env: HINODE, ad_accounts: [{ id: act_10150000000001301 }] }
";

/// Families that are constant while the simulator's clock does not move.
const CONSTANT_FAMILIES: [&str; 6] = [
    "up",
    "delivered",
    "spend",
    "conversions",
    "website_purchase_roas",
    "campaign_info",
];

fn series(page: &Page) -> BTreeSet<String> {
    CONSTANT_FAMILIES
        .iter()
        .flat_map(|name| page.all(name, &[]))
        .map(|sample| format!("{sample:?}"))
        .collect()
}

#[tokio::test]
async fn shards_together_export_each_source_once() {
    let api = Api::demo().await;
    let config = parse(CONFIG, &api.simulator.url());
    let unsharded = Exporter::start(&config).await.page_all_up().await;
    let mut all_series = BTreeSet::new();
    let mut source_counts = Vec::new();
    for index in 0..3 {
        let shard = Shard::new(index, 3).unwrap();
        let exporter = Exporter::start_share(&config, shard).await;
        // A shard can have no sources.
        let all_up = |page: &Page| page.all("up", &[]).iter().all(|up| up.number == "1");
        let page = exporter.page_when(all_up).await;
        let shard_series = series(&page);
        assert!(
            all_series.is_disjoint(&shard_series),
            "a series should be exported by one shard only"
        );
        all_series.extend(shard_series);
        let labels = [("index", &*index.to_string()), ("count", "3")];
        page.assert("exporter_shard_info", &labels, "1");
        page.assert("exporter_sources_configured", &[], "4");
        let sources = page.all("exporter_sources", &[]);
        source_counts.extend(
            sources
                .iter()
                .map(|sample| sample.number.parse::<usize>().unwrap()),
        );
        // Businesses without sources in this shard have no metrics, polls or token checks.
        let polled: BTreeSet<&str> = sources.iter().map(|s| s.label("business")).collect();
        for name in ["exporter_polls_total", "exporter_token_valid"] {
            let samples = page.all(name, &[]);
            let businesses: BTreeSet<&str> = samples.iter().map(|s| s.label("business")).collect();
            assert_eq!(businesses, polled, "{name}");
        }
    }
    assert_eq!(source_counts.iter().sum::<usize>(), 4);
    assert_eq!(all_series, series(&unsharded));
}

/// Returns the shard that polls the campaign, with a shard count for which another one polls the ad
/// account.
pub(crate) fn shard_without_account(account: &str, campaign: &str) -> Shard {
    let account = SourceKind::AdAccount {
        id: AccountId::parse(account).unwrap(),
        campaign_allowlist: Vec::new(),
    };
    let campaign = SourceKind::Campaign(ObjectId::parse(campaign).unwrap());
    let shards = (2..100).map(|count| {
        let first = Shard::new(0, count).unwrap();
        Shard::new(first.owner(&campaign), count).unwrap()
    });
    let mut separating = shards.filter(|shard| !shard.contains(&account));
    separating
        .next()
        .expect("a shard count should separate campaign and ad account")
}

#[tokio::test]
async fn campaign_of_account_in_another_shard_is_duplicate() {
    let api = Api::demo().await;
    let business = |account: &str| {
        format!(
            "windows: [{{ name: today, date_preset: today }}]
businesses:
  - name: aurora
    access_token_env: AURORA
    ad_accounts: [{account}]
    campaigns: [{{ id: \"120210000000011000\" }}]
"
        )
    };
    let shard = shard_without_account("10150000000001101", "120210000000011000");
    for (account, is_exported) in [
        ("{ id: act_10150000000001101 }", false),
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000011000\"] }",
            false,
        ),
        // Other campaigns of the ad account, or another ad account: no other source covers it.
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000012000\"] }",
            true,
        ),
        ("{ id: act_10150000000001102 }", true),
    ] {
        let config = parse(&business(account), &api.simulator.url());
        let page = Exporter::start_share(&config, shard)
            .await
            .page_when(|page| {
                let discovered = page.all("exporter_discovery_last_success_timestamp_seconds", &[]);
                // A duplicate is not polled.
                let up = page.all("up", &[]);
                !discovered.is_empty() && up.iter().all(|sample| sample.number == "1")
            })
            .await;
        let rows = page.all("delivered", &[("campaign_id", "120210000000011000")]);
        assert_eq!(!rows.is_empty(), is_exported, "{account}");
    }
}

#[tokio::test]
async fn shard_out_of_range_is_refused() {
    for (flags, expected) in [
        (
            &["--shard.index=3", "--shard.count=3"][..],
            "expected 0 to N - 1",
        ),
        (&["--shard.count=0"], "N from 1 to 1000"),
        (&["--shard.index=1"], "--shard.count=1"),
    ] {
        for command in [&["check"][..], &["once"], &[]] {
            let program = Program::start(BUSINESS, &[command, flags].concat());
            let (status, out, log) = program.end().await;
            assert_eq!((status, out.as_str()), (Some(2), ""), "{log:?}");
            assert!(log.concat().contains(expected), "{log:?}");
        }
    }
}
