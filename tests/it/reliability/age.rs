//! Age: polls are spread, never overlap, and end where the numbers no longer move.

use std::time::Duration;

use marketing_messages_exporter::simulator::World;
use tokio::time::sleep;

use crate::harness::Api;

const NEXT: &str = "exporter_next_poll_timestamp_seconds";

#[tokio::test]
async fn age_a_window_that_no_longer_changes_is_asked_once_a_day() {
    let api = Api::start(World::with_campaigns(2, 0)).await;
    let config = "polling: { interval: 100ms, stale_after: 1s }
windows:
  - { name: today, date_preset: today }
  - { name: spring, time_range: { since: 2026-05-01, until: 2026-05-31 } }
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";
    let exporter = api.exporter(config).await;
    exporter.page_up().await;
    sleep(Duration::from_millis(1500)).await;
    let page = exporter.page().await;
    let spring = [("window", "spring")];
    let now = marketing_messages_exporter::poll::clock::now()
        .as_duration()
        .as_secs_f64();
    let wait = page.value(NEXT, &spring).unwrap() - now;
    assert!((43_000.0..=130_000.0).contains(&wait), "{wait}");
    page.assert("exporter_stale_after_seconds", &spring, "172800");
    page.assert("exporter_stale_after_seconds", &[("window", "today")], "1");
    assert!(
        !page.all("delivered", &spring).is_empty(),
        "older than stale_after, and still true"
    );
    let requests = api.simulator.requests();
    let asked = |what: &str| {
        requests
            .iter()
            .filter(|r| r.query.iter().any(|(_, v)| v.contains(what)))
            .count()
    };
    assert_eq!(asked("2026-05-01"), 2, "one poll of two questions");
    assert!(asked("today") >= 10);
}

#[tokio::test]
async fn age_a_poll_that_takes_longer_than_its_interval_is_not_overtaken_but_skipped_and_counted() {
    let api = Api::start(World::with_campaigns(2, 0)).await;
    let config = "polling: { interval: 100ms }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";
    let exporter = api.exporter(config).await;
    exporter.page_up().await;
    api.break_with(&["slow=400"]);
    sleep(Duration::from_millis(500)).await;
    let before = api.calls("insights");
    sleep(Duration::from_secs(2)).await;
    let calls = api.calls("insights") - before;
    // One at a time takes 400 ms; two at a time would be ten.
    assert!((3..=6).contains(&calls), "{calls}");
    let page = exporter.page().await;
    assert!(page.value("exporter_polls_skipped_total", &[]) >= Some(4.0));
    page.assert("up", &[], "1");
}

#[tokio::test]
async fn age_polls_are_spread_over_the_interval() {
    let api = Api::demo().await;
    let presets = [
        "today",
        "yesterday",
        "this_month",
        "last_month",
        "this_quarter",
        "last_3d",
        "last_7d",
        "last_14d",
        "last_28d",
        "last_30d",
        "last_90d",
        "last_week_mon_sun",
        "last_week_sun_sat",
        "last_quarter",
        "this_year",
    ];
    let windows = presets.map(|preset| format!("{{ name: {preset}, date_preset: {preset} }}"));
    let accounts = [1101, 1102].map(|n| format!("{{ id: act_1015000000000{n} }}"));
    let config = format!(
        "windows: [{}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{}] }}]
",
        windows.join(", "),
        accounts.join(", ")
    );
    let page = api.exporter(&config).await.page_up().await;
    let mut minutes = [0; 15];
    for next in page.all(NEXT, &[]) {
        let minute = next.value().rem_euclid(900.0) / 60.0;
        minutes[(0..15).rposition(|n| f64::from(n) <= minute).unwrap()] += 1;
    }
    assert_eq!(minutes.iter().sum::<i32>(), 30);
    assert!(minutes.iter().all(|polls| *polls <= 8), "{minutes:?}");
    assert!(
        minutes.iter().filter(|polls| **polls > 0).count() >= 10,
        "{minutes:?}"
    );
}
