//! Replicas with the same config divide its sources between them, and nothing else.

use std::collections::BTreeSet;

use marketing_messages_exporter::plan::{Shard, Subject};
use marketing_messages_exporter::row::{AccountId, ObjectId};

use crate::harness::{Api, Exporter, parse};
use crate::page::Page;
use crate::process::{BUSINESS, Program};

const CONFIG: &str = "windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
  - { name: hinode, access_token_env: HINODE, ad_accounts: [{ id: act_10150000000001301 }] }
";

/// The families whose values stand still while the simulator's clock does.
const STILL: [&str; 6] = [
    "up",
    "delivered",
    "spend",
    "conversions",
    "website_purchase_roas",
    "campaign_info",
];

fn series(page: &Page) -> BTreeSet<String> {
    let of = |name| page.all(name, &[]).into_iter();
    STILL
        .iter()
        .flat_map(|name| of(name))
        .map(|sample| format!("{sample:?}"))
        .collect()
}

#[tokio::test]
async fn shards_show_together_what_one_exporter_shows_and_each_source_once() {
    let api = Api::demo().await;
    let config = parse(CONFIG, &api.simulator.url());
    let whole = Exporter::start(&config).await.page_up().await;
    let mut together = BTreeSet::new();
    let mut sources = Vec::new();
    for index in 0..3 {
        let shard = Shard::new(index, 3).unwrap();
        let exporter = Exporter::start_share(&config, shard).await;
        // A share may be empty.
        let all_up = |page: &Page| page.all("up", &[]).iter().all(|up| up.number == "1");
        let page = exporter.page_when(all_up).await;
        let share = series(&page);
        assert!(together.is_disjoint(&share), "shown by two shards");
        together.extend(share);
        let labels = [("index", &*index.to_string()), ("count", "3")];
        page.assert("exporter_shard_info", &labels, "1");
        page.assert("exporter_sources_configured", &[], "4");
        let counted = page.all("exporter_sources", &[]);
        sources.extend(
            counted
                .iter()
                .map(|sample| sample.number.parse::<usize>().unwrap()),
        );
        // Nothing is said, read or asked of businesses that are all another shard's.
        let polled: BTreeSet<&str> = counted.iter().map(|s| s.label("business")).collect();
        for name in ["exporter_polls_total", "exporter_token_valid"] {
            let told = page.all(name, &[]);
            let told: BTreeSet<&str> = told.iter().map(|s| s.label("business")).collect();
            assert_eq!(told, polled, "{name}");
        }
    }
    assert_eq!(sources.iter().sum::<usize>(), 4);
    assert_eq!(together, series(&whole));
}

/// The shard that has the campaign, of so many that another one has the ad account.
pub(crate) fn divided(account: &str, campaign: &str) -> Shard {
    let account = Subject::AdAccount {
        id: AccountId::parse(account).unwrap(),
        only: Vec::new(),
    };
    let campaign = Subject::Campaign(ObjectId::parse(campaign).unwrap());
    let shards = (2..100).map(|count| {
        let first = Shard::new(0, count).unwrap();
        Shard::new(first.of(&campaign), count).unwrap()
    });
    let mut apart = shards.filter(|shard| !shard.has(&account));
    apart.next().expect("a number of shards that divides them")
}

#[tokio::test]
async fn campaign_source_gives_way_to_an_ad_account_that_another_shard_polls() {
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
    let shard = divided("10150000000001101", "120210000000011000");
    for (account, shown) in [
        ("{ id: act_10150000000001101 }", false),
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000011000\"] }",
            false,
        ),
        // Somebody else's account, or other campaigns of the same: nobody else shows this one.
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000012000\"] }",
            true,
        ),
        ("{ id: act_10150000000001102 }", true),
    ] {
        let config = parse(&business(account), &api.simulator.url());
        let page = Exporter::start_share(&config, shard).await.page_up().await;
        let rows = page.all("delivered", &[("campaign_id", "120210000000011000")]);
        assert_eq!(!rows.is_empty(), shown, "{account}");
    }
}

#[tokio::test]
async fn share_that_there_is_not_is_refused() {
    for (flags, says) in [
        (
            &["--shard.index=3", "--shard.count=3"][..],
            "indexes go from 0 to N - 1",
        ),
        (&["--shard.count=0"], "N at least 1"),
        (&["--shard.index=1"], "--shard.count=1"),
    ] {
        for command in [&["check"][..], &["once"], &[]] {
            let program = Program::start(BUSINESS, &[command, flags].concat());
            let (status, out, log) = program.end().await;
            assert_eq!((status, out.as_str()), (Some(2), ""), "{log:?}");
            assert!(log.concat().contains(says), "{log:?}");
        }
    }
}
