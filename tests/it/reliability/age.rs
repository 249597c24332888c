//! Poll schedule: polls are spread over the interval, do not overlap, and are rare for windows that no longer change.

use graph_simulator::World;

use crate::harness::{Api, wait_until};

const NEXT_POLL: &str = "exporter_next_poll_timestamp_seconds";
const SKIPPED: &str = "exporter_polls_skipped_total";

#[tokio::test]
async fn window_that_ended_long_ago_is_polled_daily() {
    let api = Api::start(World::with_campaigns(2, 0)).await;
    let config = "polling: { interval: 100ms, stale_after: 1s }
windows:
  - { name: today, date_preset: today }
  - { name: spring, time_range: { since: 2026-05-01, until: 2026-05-31 } }
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";
    let exporter = api.exporter(config).await;
    exporter.page_all_up().await;
    let requests_with = |text: &str| {
        let requests = api.simulator.requests();
        let matching = requests
            .iter()
            .filter(|request| request.query.iter().any(|(_, value)| value.contains(text)));
        matching.count()
    };
    wait_until("ten polls of today", || requests_with("2026-11-23") >= 10).await;
    let page = exporter.page().await;
    let spring = [("window", "spring")];
    let now = marketing_messages_exporter::platform::clock::now()
        .as_duration()
        .as_secs_f64();
    let wait = page.value(NEXT_POLL, &spring).unwrap() - now;
    assert!(
        (43_000.0..=130_000.0).contains(&wait),
        "the next poll should be half to one and a half days away: {wait} s"
    );
    page.assert("exporter_stale_after_seconds", &spring, "172800");
    page.assert("exporter_stale_after_seconds", &[("window", "today")], "1");
    assert!(
        !page.all("delivered", &spring).is_empty(),
        "values should be kept longer than polling.stale_after"
    );
    assert_eq!(
        requests_with("2026-05-01"),
        2,
        "there should be one poll with one query, and one of the total of the ad account"
    );
}

#[tokio::test]
async fn poll_slower_than_interval_is_skipped() {
    let api = Api::start(World::with_campaigns(2, 0)).await;
    let config = "polling: { interval: 100ms }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";
    let exporter = api.exporter(config).await;
    let page = exporter.page_all_up().await;
    let skipped_before = page.value(SKIPPED, &[]).unwrap_or_default();
    api.inject_faults(&["slow=400"]);
    let calls_before = api.calls("insights");
    let page = exporter
        .page_when(|page| page.value(SKIPPED, &[]) >= Some(skipped_before + 8.0))
        .await;
    let calls = api.calls("insights") - calls_before;
    // A poll takes four intervals or more, so that it skips three of them. The first one may have begun before.
    assert!(
        calls <= 5,
        "polls should not overlap: {calls} calls while 8 polls were skipped"
    );
    page.assert("up", &[], "1");
}

#[tokio::test]
async fn windows_of_a_source_are_polled_together() {
    let api = Api::demo().await;
    let windows = ["today", "this_month", "last_7d", "last_30d"];
    let windows = windows.map(|preset| format!("{{ name: {preset}, date_preset: {preset} }}"));
    let accounts = [1101, 1102].map(|n| format!("{{ id: act_1015000000000{n} }}"));
    let config = format!(
        "windows: [{}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{}] }}]
",
        windows.join(", "),
        accounts.join(", ")
    );
    let page = api.exporter(&config).await.page_all_up().await;
    let phase = |source: &str| {
        let due = page.all(NEXT_POLL, &[("source", source)]);
        assert_eq!(due.len(), 4);
        let phases: Vec<f64> = due
            .iter()
            .map(|next| next.value().rem_euclid(900.0))
            .collect();
        let spread = phases.iter().map(|phase| (phase - phases[0]).abs());
        assert!(spread.fold(0.0, f64::max) < 2.0, "{source}: {phases:?}");
        phases[0]
    };
    let phases = [
        phase("act_10150000000001101"),
        phase("act_10150000000001102"),
    ];
    assert!(
        (phases[0] - phases[1]).abs() > 1.0,
        "sources should have different phases: {phases:?}"
    );
    let hourly = page.all(NEXT_POLL, &[("window", "last_7d")]);
    let now = marketing_messages_exporter::platform::clock::now();
    let now = now.as_duration().as_secs_f64();
    assert!(
        hourly.iter().all(|next| next.value() > now + 1_750.0),
        "windows that ended should be polled hourly: {hourly:?}"
    );
}
