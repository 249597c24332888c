//! Every day of a history is the simulator's own, to the digit, and says what the page would have
//! said.

use jiff::civil::Date;
use marketing_messages_exporter::simulator::{Campaign, Status, World};

use super::{AUTUMN, Desk, THREE_ZONES};
use crate::harness::Api;
use crate::shards::apart;
use crate::truth::assert_row;

/// The days from 20 October to 5 November 2026.
fn autumn() -> Vec<String> {
    let days = std::iter::successors(Some(jiff::civil::date(2026, 10, 20)), |d: &Date| {
        d.tomorrow().ok()
    });
    days.take(17).map(|day| day.to_string()).collect()
}

/// Every exported campaign of the three zones, with its ad account's zone.
fn campaigns() -> Vec<(String, Campaign)> {
    let accounts = World::demo().accounts.into_iter().take(4);
    let campaigns = accounts.flat_map(|account| {
        let zone = account.time_zone;
        let ours = account.campaigns.into_iter().filter(|campaign| {
            let named = !matches!(campaign.id % 100_000, 33_000 | 35_000);
            campaign.is_message && campaign.status != Status::Archived && named
        });
        ours.map(move |campaign| (zone.clone(), campaign))
    });
    campaigns.collect()
}

#[tokio::test]
async fn every_day_is_true_in_three_time_zones_over_changes_of_the_clock() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let history = desk.whole(&AUTUMN).await;
    let mut told = 0;
    for (zone, campaign) in campaigns() {
        let id = campaign.id.to_string();
        for day in autumn() {
            let labels = [("campaign_id", id.as_str()), ("window", "today")];
            let page = history.at(&day, &zone);
            match api.truth(&id, &day, &day) {
                Some(truth) => {
                    told += 1;
                    assert_row(&page, &labels, &truth);
                }
                None => page.assert_absent("delivered", &labels),
            }
        }
    }
    assert!(told > 100, "{told}");
    assert_eq!(history.count("delivered"), told);
    // A day of 25 hours, in which clocks were set back.
    let page = history.at("2026-10-25", "Europe/Berlin");
    let labels = [("campaign_id", "120210000000031000")];
    let bound = |name: &str| page.value(name, &labels).unwrap();
    let (start, end) = (
        bound("window_start_timestamp_seconds"),
        bound("window_end_timestamp_seconds"),
    );
    assert!((end - start - 25.0 * 3600.0).abs() < 0.5);
}

#[tokio::test]
async fn series_are_those_of_the_page() {
    let api = Api::demo().await;
    let head = "windows: [{ name: day, date_preset: today }]
insights: { extra_fields: [{ field: spend, metric: all_spend, kind: money, help: 'All \"money\"' }] }";
    let desk = Desk::new(&api, head, THREE_ZONES);
    let history = desk
        .whole(&["--since=2026-11-20", "--until=2026-11-22"])
        .await;
    let page = api
        .exporter(&format!(
            "{head}\nbusinesses:{}",
            THREE_ZONES.replace("access_token_file: TOKEN", "access_token_env: EVERYONE")
        ))
        .await
        .page_up()
        .await;
    let live: std::collections::BTreeSet<String> = page
        .text
        .lines()
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect();
    let past = history.series();
    assert!(past.len() > 200, "{}", past.len());
    for series in past {
        assert!(live.contains(&series), "the page has no {series}");
    }
    // Of today, and so no history.
    for name in ["up", "campaign_info", "campaign_daily_budget"] {
        assert_eq!(history.count(name), 0, "{name}");
    }
    assert!(history.families().contains(&"marketing_messages_all_spend"));
}

#[tokio::test]
async fn labels_that_a_scrape_adds_can_be_given() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let labels = ["--label=job=marketing-messages", "--label=instance=a:1"];
    let history = desk.whole(&[&AUTUMN[..], &labels].concat()).await;
    for series in history.series() {
        assert!(
            series.contains("job=\"marketing-messages\",instance=\"a:1\""),
            "{series}"
        );
    }
}

#[tokio::test]
async fn ad_sets_have_their_own_history() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "insights: { level: adset }", THREE_ZONES);
    let history = desk.whole(&AUTUMN).await;
    let mut told = 0;
    for (zone, campaign) in campaigns() {
        for adset in campaign.adsets {
            let id = adset.id.to_string();
            for day in autumn() {
                if let Some(truth) = api.truth(&id, &day, &day) {
                    told += 1;
                    assert_row(&history.at(&day, &zone), &[("adset_id", &id)], &truth);
                }
            }
        }
    }
    assert_eq!(history.count("delivered"), told);
}

const KERERU: &str = "
  - { name: kereru, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001401 }] }
";

#[tokio::test]
async fn nobody_knows_what_was_active_so_that_days_without_a_row_are_absent() {
    let api = Api::demo().await;
    let days = ["--since=2026-10-05", "--until=2026-11-15"];
    // Made on 12 October, delivered from the day after, ended on 8 November.
    let filter = [("campaign_id", "120210000000054000")];
    let delivered = |history: &super::History, day: &str| {
        let page = history.at(day, "Pacific/Auckland");
        page.find("delivered", &filter)
            .map(|found| found.value() > 0.0)
    };
    let active = Desk::new(&api, "", KERERU).whole(&days).await;
    for (day, expected) in [
        ("2026-10-12", None),
        ("2026-10-13", Some(true)),
        ("2026-11-08", Some(true)),
        ("2026-11-09", None),
    ] {
        assert_eq!(delivered(&active, day), expected, "{day}");
    }
    // What shows zeros whatever its status showed them ever since it was there.
    let head = "insights: { zero_fill: all }";
    let all = Desk::new(&api, head, KERERU).whole(&days).await;
    assert_eq!(delivered(&all, "2026-10-12"), None);
    assert_eq!(delivered(&all, "2026-11-08"), Some(true));
    let page = all.at("2026-11-09", "Pacific/Auckland");
    for name in ["delivered", "link_clicks", "spend"] {
        page.assert(name, &filter, "0");
    }
    page.assert_absent("read_ratio", &filter);
    page.assert(
        "conversions",
        &[
            filter[0],
            ("action_type", marketing_messages_exporter::row::PURCHASE),
        ],
        "0",
    );
}

#[tokio::test]
async fn the_day_that_is_not_over_is_left_out() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let history = desk
        .whole(&["--since=2026-11-21", "--until=2026-11-30"])
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
    let asked = api.simulator.requests();
    let ranges = asked.iter().filter_map(|call| call.param("time_range"));
    assert!(
        ranges
            .into_iter()
            .all(|range| range.contains("\"until\":\"2026-11-22\""))
    );
}

#[tokio::test]
async fn campaigns_that_know_no_days_are_named_and_the_others_told() {
    let api = Api::demo().await;
    let desk = Desk::new(
        &api,
        "",
        "\n  - { name: nordlicht, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001201 }] }\n",
    );
    let days = ["--since=2026-10-20", "--until=2026-10-30"];
    assert!(!desk.to_file(&days).await.unwrap());
    let history = super::History::parse(&desk.read("history"));
    let page = history.at("2026-10-25", "Europe/Berlin");
    page.assert_absent("spend", &[("campaign_id", "120210000000035000")]);
    assert!(
        page.find("spend", &[("campaign_id", "120210000000031000")])
            .is_some()
    );
    // Its ad sets have different attribution settings: Meta keeps its conversions back.
    let mixed = [("campaign_id", "120210000000033000")];
    page.assert_absent("conversions", &mixed);
    page.assert("exporter_conversions_withheld", &mixed, "1");
    // Another run would change nothing.
    assert!(!super::is_there(&desk.path("history.partial")));
}

#[tokio::test]
async fn a_campaign_that_an_ad_account_shows_is_not_told_twice() {
    let api = Api::demo().await;
    let desk = Desk::new(
        &api,
        "",
        "\n  - { name: acme, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001101 }], campaigns: [{ id: \"120210000000011000\" }, { id: \"120210000000031000\" }] }\n",
    );
    let history = desk.whole(&AUTUMN).await;
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
async fn no_campaign_is_told_by_two_shards() {
    let api = Api::demo().await;
    let spring = "120210000000011000";
    let shard = apart("10150000000001101", spring);
    let index = format!("--shard.index={}", shard.index());
    let count = format!("--shard.count={}", shard.count());
    for (account, told) in [
        ("{ id: act_10150000000001101 }", false),
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000011000\"] }",
            false,
        ),
        // Other campaigns of the same: nobody else tells this one.
        (
            "{ id: act_10150000000001101, campaigns: [\"120210000000012000\"] }",
            true,
        ),
    ] {
        let business = format!(
            "\n  - {{ name: aurora, access_token_file: TOKEN, ad_accounts: [{account}], campaigns: [{{ id: \"{spring}\" }}] }}\n"
        );
        let desk = Desk::new(&api, "", &business);
        let (ended, text) = desk.run(&[&AUTUMN[..], &[&index, &count]].concat()).await;
        assert!(ended.unwrap());
        assert_eq!(text.contains(spring), told, "{account}");
    }
}
