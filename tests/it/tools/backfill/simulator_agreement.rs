//! Values of the history: each day equals the totals of the simulator, and its series equal those of the metrics page.

use graph_simulator::{Campaign, Status, World};
use jiff::civil::Date;
use marketing_messages_exporter::model::PURCHASE_ACTION_TYPE;

use super::{AUTUMN, BackfillFixture, THREE_ZONES};
use crate::harness::Api;
use crate::shards::shard_without_account;
use crate::simulator_agreement::assert_row;

/// The days from 20 October to 5 November 2026.
fn autumn() -> Vec<String> {
    let days = std::iter::successors(Some(jiff::civil::date(2026, 10, 20)), |d: &Date| {
        d.tomorrow().ok()
    });
    days.take(17).map(|day| day.to_string()).collect()
}

/// Returns the exported campaigns of `THREE_ZONES`, with the time zone of their ad account.
fn campaigns() -> Vec<(String, Campaign)> {
    let accounts = World::demo().accounts.into_iter().take(4);
    let campaigns = accounts.flat_map(|account| {
        let zone = account.time_zone;
        let exported = account.campaigns.into_iter().filter(|campaign| {
            let is_configured = !matches!(campaign.id % 100_000, 33_000 | 35_000);
            campaign.is_message && campaign.status != Status::Archived && is_configured
        });
        exported.map(move |campaign| (zone.clone(), campaign))
    });
    campaigns.collect()
}

#[tokio::test]
async fn days_equal_simulator_across_clock_changes() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let history = fixture.complete_history(&AUTUMN).await;
    let mut rows = 0;
    for (zone, campaign) in campaigns() {
        let id = campaign.id.to_string();
        for day in autumn() {
            let labels = [("campaign_id", id.as_str()), ("window", "today")];
            let page = history.at(&day, &zone);
            match api.truth(&id, &day, &day) {
                Some(truth) => {
                    rows += 1;
                    assert_row(&page, &labels, &truth);
                }
                None => page.assert_absent("delivered", &labels),
            }
        }
    }
    assert!(rows > 100, "{rows} rows");
    assert_eq!(history.count("delivered"), rows);
    // A day of 25 hours: daylight saving time ends.
    let page = history.at("2026-10-25", "Europe/Berlin");
    let labels = [("campaign_id", "120210000000031000")];
    let timestamp = |name: &str| page.value(name, &labels).unwrap();
    let (start, end) = (
        timestamp("window_start_timestamp_seconds"),
        timestamp("window_end_timestamp_seconds"),
    );
    assert!((end - start - 25.0 * 3600.0).abs() < 0.5);
}

#[tokio::test]
async fn archived_campaign_has_its_days() {
    let api = Api::demo().await;
    let (zone, campaign) = campaigns().remove(0);
    api.simulator.update_world(|world| {
        let campaigns = world.accounts.iter_mut();
        let mut campaigns = campaigns.flat_map(|account| &mut account.campaigns);
        let archived = campaigns.find(|other| other.id == campaign.id);
        archived.expect("the campaign").status = Status::Archived;
    });
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let history = fixture.complete_history(&AUTUMN).await;
    let id = campaign.id.to_string();
    let labels = [("campaign_id", id.as_str()), ("window", "today")];
    let mut rows = 0;
    for day in autumn() {
        if let Some(truth) = api.truth(&id, &day, &day) {
            rows += 1;
            assert_row(&history.at(&day, &zone), &labels, &truth);
        }
    }
    assert!(rows > 5, "the campaign should have rows: {rows}");
}

#[tokio::test]
async fn days_do_not_reduce_the_campaigns_of_a_request() {
    const NINETY_DAYS: [&str; 2] = ["--since=2026-08-25", "--until=2026-11-22"];
    let api = Api::demo().await;
    // Conversions of whole ad accounts need all campaigns in one request.
    let head = "insights: { level: account }";
    let fixture = BackfillFixture::new(&api, head, THREE_ZONES);
    let history = fixture.complete_history(&NINETY_DAYS).await;
    assert!(history.count("conversions") > 0);
    let before = api.calls("/insights");
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    fixture.complete_history(&NINETY_DAYS).await;
    // Four ad accounts, and two queries of each.
    assert_eq!(api.calls("/insights") - before, 8);
}

#[tokio::test]
async fn series_equal_those_of_metrics_page() {
    let api = Api::demo().await;
    let head = "windows: [{ name: day, date_preset: today }]
insights: { extra_fields: [{ field: spend, metric: all_spend, kind: money, help: 'All \"money\"' }] }";
    let fixture = BackfillFixture::new(&api, head, THREE_ZONES);
    let history = fixture
        .complete_history(&["--since=2026-11-20", "--until=2026-11-22"])
        .await;
    let page = api
        .exporter(&format!(
            "{head}\nbusinesses:{}",
            THREE_ZONES.replace("access_token_file: TOKEN", "access_token_env: EVERYONE")
        ))
        .await
        .page_all_up()
        .await;
    let live: std::collections::BTreeSet<String> = page
        .text
        .lines()
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect();
    let mut backfilled = history.series();
    // Not on the page; rules record them.
    backfilled.retain(|series| !series.starts_with("day:"));
    assert!(backfilled.len() > 200, "{} series", backfilled.len());
    for series in backfilled {
        assert!(
            live.contains(&series),
            "the metrics page should contain {series}"
        );
    }
    // These describe only the present.
    for name in ["up", "campaign_info", "campaign_daily_budget"] {
        assert_eq!(history.count(name), 0, "{name}");
    }
    assert!(history.families().contains(&"marketing_messages_all_spend"));
}

#[tokio::test]
async fn label_flags_are_added_to_every_series() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let labels = ["--label=job=marketing-messages", "--label=instance=a:1"];
    let history = fixture
        .complete_history(&[&AUTUMN[..], &labels].concat())
        .await;
    for series in history.series() {
        // Recording rules keep only the job.
        let expected = match series.starts_with("day:") {
            true => "job=\"marketing-messages\"",
            false => "job=\"marketing-messages\",instance=\"a:1\"",
        };
        assert!(series.contains(expected), "{series}");
    }
}

/// Totals of a day, each with the metric and the action type from which it is taken.
const DAY_TOTALS: [(&str, &str, &str); 5] = [
    ("spend", "spend", ""),
    ("delivered", "delivered", ""),
    ("link_clicks", "link_clicks", ""),
    ("purchases", "conversions", PURCHASE_ACTION_TYPE),
    ("purchase_value", "conversion_value", PURCHASE_ACTION_TYPE),
];

#[tokio::test]
async fn day_totals_equal_the_values_of_the_day() {
    let api = Api::demo().await;
    for level in ["campaign", "adset"] {
        let head = format!("insights: {{ level: {level} }}");
        let history = BackfillFixture::new(&api, &head, THREE_ZONES)
            .complete_history(&[&AUTUMN[..], &["--label=job=j"]].concat())
            .await;
        let page = history.at("2026-10-27", "Europe/Berlin");
        for (total, metric, action_type) in DAY_TOTALS {
            let name = format!("day:marketing_messages_{total}:total");
            let totals: Vec<_> = page
                .samples()
                .filter(|sample| sample.name == name)
                .collect();
            let mut filter = vec![];
            if !action_type.is_empty() {
                filter.push(("action_type", action_type));
            }
            assert_eq!(totals.len(), page.all(metric, &filter).len(), "{name}");
            assert!(totals.len() > 1, "{name}: {totals:?}");
            for sample in totals {
                let ids = ["campaign_id", "adset_id"].map(|label| (label, sample.label(label)));
                let value = page.value(metric, &[&filter[..], &ids].concat());
                assert_eq!(value, Some(sample.value()), "{sample:?}");
            }
        }
    }
}

#[tokio::test]
async fn day_totals_have_the_labels_of_the_recording_rules() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "insights: { level: ad }", THREE_ZONES);
    let history = fixture
        .complete_history(&[&AUTUMN[..], &["--label=job=j", "--label=instance=i"]].concat())
        .await;
    let page = history.at("2026-10-27", "Europe/Berlin");
    let rules = std::fs::read_to_string("prometheus/rules.yaml").unwrap();
    let mut recorded = 0;
    for rule in rules
        .split("- record: ")
        .filter(|rule| rule.starts_with("day:"))
    {
        let name = rule.lines().next().unwrap();
        let (_, by) = rule.split_once("max by (").unwrap();
        let (by, rest) = by.split_once(')').unwrap();
        assert!(rest.contains("group_left (window)"), "{name}");
        let mut expected: Vec<&str> = by.split(", ").chain(["window"]).collect();
        expected.sort_unstable();
        let sample = page.samples().find(|sample| sample.name == name);
        let sample = sample.unwrap_or_else(|| panic!("{name} should be in the history"));
        let mut labels: Vec<&str> = sample.labels.iter().map(|(label, _)| &**label).collect();
        labels.sort_unstable();
        assert_eq!(labels, expected, "{name}");
        recorded += 1;
    }
    assert_eq!(recorded, DAY_TOTALS.len());
}

#[tokio::test]
async fn ad_sets_have_history_at_level_adset() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "insights: { level: adset }", THREE_ZONES);
    let history = fixture.complete_history(&AUTUMN).await;
    let mut rows = 0;
    for (zone, campaign) in campaigns() {
        for adset in campaign.adsets {
            let id = adset.id.to_string();
            for day in autumn() {
                if let Some(truth) = api.truth(&id, &day, &day) {
                    rows += 1;
                    assert_row(&history.at(&day, &zone), &[("adset_id", &id)], &truth);
                }
            }
        }
    }
    assert_eq!(history.count("delivered"), rows);
}

const KERERU: &str = "
  - { name: kereru, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001401 }] }
";

#[tokio::test]
async fn backfill_day_without_row_is_absent() {
    let api = Api::demo().await;
    let days = ["--since=2026-10-05", "--until=2026-11-15"];
    // Created on 12 October, delivered from 13 October to 8 November.
    let filter = [("campaign_id", "120210000000054000")];
    let delivered = |history: &super::History, day: &str| {
        let page = history.at(day, "Pacific/Auckland");
        page.find("delivered", &filter)
            .map(|sample| sample.value() > 0.0)
    };
    let active = BackfillFixture::new(&api, "", KERERU)
        .complete_history(&days)
        .await;
    for (day, expected) in [
        ("2026-10-12", None),
        ("2026-10-13", Some(true)),
        ("2026-11-08", Some(true)),
        ("2026-11-09", None),
    ] {
        assert_eq!(delivered(&active, day), expected, "{day}");
    }
    // With `zero_fill: all` the status does not matter: 0 from the first day with a row.
    let head = "insights: { zero_fill: all }";
    let all = BackfillFixture::new(&api, head, KERERU)
        .complete_history(&days)
        .await;
    assert_eq!(delivered(&all, "2026-10-12"), None);
    assert_eq!(delivered(&all, "2026-11-08"), Some(true));
    let page = all.at("2026-11-09", "Pacific/Auckland");
    for name in ["delivered", "link_clicks", "spend"] {
        page.assert(name, &filter, "0");
    }
    page.assert_absent("read_ratio", &filter);
    page.assert(
        "conversions",
        &[filter[0], ("action_type", PURCHASE_ACTION_TYPE)],
        "0",
    );
}

#[tokio::test]
async fn day_that_has_not_ended_is_omitted() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let history = fixture
        .complete_history(&["--since=2026-11-21", "--until=2026-11-24"])
        .await;
    for (id, zone) in [
        ("120210000000011000", "America/Los_Angeles"),
        ("120210000000031000", "Europe/Berlin"),
        ("120210000000041000", "Asia/Tokyo"),
    ] {
        let labels = [("campaign_id", id)];
        let has = |day: &str| history.at(day, zone).find("spend", &labels).is_some();
        assert!(has("2026-11-22") && !has("2026-11-23"), "{zone}");
    }
    let requests = api.simulator.requests();
    let ranges = requests.iter().filter_map(|call| call.param("time_range"));
    assert!(
        ranges
            .into_iter()
            .all(|range| range.contains("\"until\":\"2026-11-22\""))
    );
}

#[tokio::test]
async fn campaign_without_daily_values_is_omitted() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(
        &api,
        "",
        "\n  - { name: nordlicht, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001201 }] }\n",
    );
    let days = ["--since=2026-10-20", "--until=2026-10-30"];
    assert!(!fixture.run_to_file(&days).await.unwrap());
    let history = super::History::parse(&fixture.read("history"));
    let page = history.at("2026-10-25", "Europe/Berlin");
    page.assert_absent("spend", &[("campaign_id", "120210000000035000")]);
    assert!(
        page.find("spend", &[("campaign_id", "120210000000031000")])
            .is_some()
    );
    // Its ad sets have different attribution settings, so that its conversions are withheld.
    let mixed = [("campaign_id", "120210000000033000")];
    page.assert_absent("conversions", &mixed);
    // The journal is removed, because another run would not change the result.
    assert!(!super::exists(&fixture.path("history.partial")));
}

#[tokio::test]
async fn campaign_of_configured_ad_account_is_not_duplicated() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(
        &api,
        "",
        "\n  - { name: acme, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001101 }], campaigns: [{ id: \"120210000000011000\" }, { id: \"120210000000031000\" }] }\n",
    );
    let history = fixture.complete_history(&AUTUMN).await;
    let day = "2026-10-22";
    for (id, zone) in [
        ("120210000000011000", "America/Los_Angeles"),
        ("120210000000031000", "Europe/Berlin"),
    ] {
        let truth = api.truth(id, day, day).unwrap();
        assert_row(&history.at(day, zone), &[("campaign_id", id)], &truth);
    }
    assert_eq!(api.calls("/120210000000011000/insights"), 0);
}

#[tokio::test]
async fn campaign_is_written_by_one_shard_only() {
    let api = Api::demo().await;
    let spring = "120210000000011000";
    let shard = shard_without_account("10150000000001101", spring);
    let index = format!("--shard.index={}", shard.index());
    let count = format!("--shard.count={}", shard.count());
    for (account, expected) in [
        ("{ id: act_10150000000001101 }", false),
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000011000\"] }",
            false,
        ),
        // The ad account source selects another campaign, so that the campaign source is not a duplicate.
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000012000\"] }",
            true,
        ),
    ] {
        let business = format!(
            "\n  - {{ name: aurora, access_token_file: TOKEN, ad_accounts: [{account}], campaigns: [{{ id: \"{spring}\" }}] }}\n"
        );
        let fixture = BackfillFixture::new(&api, "", &business);
        let (result, text) = fixture
            .run(&[&AUTUMN[..], &[&index, &count]].concat())
            .await;
        assert!(result.unwrap());
        assert_eq!(text.contains(spring), expected, "{account}");
    }
}
