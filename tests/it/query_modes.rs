//! Requests of a poll: one for all windows, and simpler ones where the API refuses it or answers differently.
//!
//! Whatever the mode, the page has the same numbers.

use graph_simulator::{LoggedRequest, World};

use crate::harness::{Api, wait_until};
use crate::page::Page;
use crate::simulator_agreement::assert_row;

const ACCOUNT: &str = "act_10150000000009001";

/// Windows with their dates on the day of the tests.
const WINDOWS: [(&str, &str, &str); 4] = [
    ("today", "2026-11-23", "2026-11-23"),
    ("yesterday", "2026-11-22", "2026-11-22"),
    ("last_7d", "2026-11-16", "2026-11-22"),
    ("this_month", "2026-11-01", "2026-11-23"),
];

fn config(polling: &str) -> String {
    let windows = WINDOWS.map(|(name, _, _)| format!("{{ name: {name}, date_preset: {name} }}"));
    format!(
        "polling: {{ {polling} }}
windows: [{}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{{ id: {ACCOUNT} }}] }}]
",
        windows.join(", ")
    )
}

/// Asserts that all windows have the totals of the simulator.
fn assert_totals(api: &Api, page: &Page) {
    let info = page.all("campaign_info", &[]);
    assert_eq!(info.len(), 5);
    for campaign in info {
        let id = campaign.label("campaign_id");
        for (window, since, until) in WINDOWS {
            let labels = [("campaign_id", id), ("window", window)];
            assert_row(page, &labels, &api.truth(id, since, until).unwrap());
        }
    }
}

/// Returns the requests for insights, without those of the total of the ad account.
fn insights(api: &Api) -> Vec<LoggedRequest> {
    let requests = api.simulator.requests().into_iter();
    requests
        .filter(|request| request.path.ends_with("/insights"))
        .filter(|request| request.param("level") != Some("account"))
        .collect()
}

#[tokio::test]
async fn one_request_has_all_windows_and_both_queries() {
    let api = Api::start(World::with_campaigns(5, 3)).await;
    let page = api
        .exporter(&config("interval: 15m"))
        .await
        .page_all_up()
        .await;
    assert_totals(&api, &page);
    let requests = insights(&api);
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = &requests[0];
    assert_eq!(request.param("action_breakdowns"), Some("action_type"));
    let ranges = request.param("time_ranges").unwrap();
    for (_, since, until) in WINDOWS {
        assert!(
            ranges.contains(&format!("\"since\":\"{since}\",\"until\":\"{until}\"")),
            "{ranges}"
        );
    }
    let filter = request.param("filtering").unwrap_or_default();
    assert!(!filter.contains("action_type"), "{filter}");
    assert!(request.param("date_preset").is_none());
    let mode = [
        ("account_id", "10150000000009001"),
        ("mode", "joined_time_ranges"),
    ];
    page.assert("exporter_query_mode_info", &mode, "1");
    for query in ["delivery", "conversions"] {
        let times = page.all("query_last_success_timestamp_seconds", &[("query", query)]);
        assert_eq!(times.len(), WINDOWS.len(), "{query}");
    }
}

#[tokio::test]
async fn refused_requests_are_replaced_by_simpler_ones() {
    for (injected, mode) in [
        (vec!["rejected_param=time_ranges"], "joined_time_range"),
        (vec!["doubled_range"], "joined_time_range"),
        (vec!["dropped_range"], "joined_time_range"),
        (vec!["rejected_joined"], "separate_time_ranges"),
        (
            vec!["rejected_joined", "rejected_param=time_ranges"],
            "separate_time_range",
        ),
        (
            vec!["rejected_param=time_ranges", "rejected_param=time_range"],
            "joined_date_preset",
        ),
        (
            vec![
                "rejected_joined",
                "rejected_param=time_ranges",
                "rejected_param=time_range",
            ],
            "separate_date_preset",
        ),
    ] {
        let api = Api::start(World::with_campaigns(5, 3)).await;
        api.inject_faults(&injected);
        let exporter = api.exporter(&config("interval: 200ms")).await;
        let page = exporter.page_all_up().await;
        assert_totals(&api, &page);
        let modes = page.all("exporter_query_mode_info", &[]);
        assert_eq!(modes.len(), 1, "{injected:?}");
        assert_eq!(modes[0].label("mode"), mode, "{injected:?}");
        // Later polls begin in this mode.
        let refused = || {
            let requests = insights(&api);
            requests
                .iter()
                .filter(|request| request.status != 200)
                .count()
        };
        let (before, calls) = (refused(), insights(&api).len());
        wait_until("three more requests", || insights(&api).len() >= calls + 3).await;
        assert_eq!(
            refused(),
            before,
            "{injected:?}: refused requests should not be repeated"
        );
        let status = exporter.get("/api/status").await.text();
        assert!(
            status.contains(&format!("\"query_mode\":\"{mode}\"")),
            "{status}"
        );
    }
}

#[tokio::test]
async fn separate_questions_send_two_queries_per_window_by_preset() {
    let api = Api::start(World::with_campaigns(5, 3)).await;
    let config = format!(
        "insights: {{ questions: separate }}\n{}",
        config("interval: 15m")
    );
    let page = api.exporter(&config).await.page_all_up().await;
    assert_totals(&api, &page);
    let requests = insights(&api);
    assert_eq!(requests.len(), 2 * WINDOWS.len());
    for request in &requests {
        assert!(request.param("date_preset").is_some());
        assert!(request.param("time_range").is_none() && request.param("time_ranges").is_none());
    }
    page.assert(
        "exporter_query_mode_info",
        &[("mode", "separate_date_preset")],
        "1",
    );
}

#[tokio::test]
async fn failing_actions_leave_delivery_values_and_their_age() {
    let api = Api::start(World::with_campaigns(5, 0)).await;
    api.inject_faults(&["rejected_field=actions"]);
    let page = api
        .exporter(&config("interval: 15m"))
        .await
        .page_after_first_round()
        .await;
    let today = [("window", "today")];
    page.assert("up", &today, "0");
    assert_eq!(page.all("delivered", &today).len(), 5);
    page.assert_absent("conversions", &[]);
    let age = |query| {
        page.value(
            "query_last_success_timestamp_seconds",
            &[today[0], ("query", query)],
        )
    };
    assert!(age("delivery").is_some());
    assert_eq!(age("conversions"), None);
    page.assert_absent("last_success_timestamp_seconds", &today);
    assert!(insights(&api).len() <= 20, "{}", insights(&api).len());
}

#[tokio::test]
async fn page_size_is_shown_and_grows_again() {
    let api = Api::start(World::with_campaigns(5, 0)).await;
    api.inject_faults(&["too_large=300@endpoint:insights*1"]);
    let exporter = api.exporter(&config("interval: 100ms")).await;
    let today = [("window", "today")];
    let page = exporter.page_all_up().await;
    assert!(page.value("exporter_page_size", &today) < Some(500.0));
    exporter
        .page_when(|page| page.value("exporter_page_size", &today) == Some(500.0))
        .await;
}

#[tokio::test]
async fn campaign_with_too_heavy_actions_loses_only_its_conversions() {
    let api = Api::start(World::with_campaigns(20, 0)).await;
    let mut heavy = String::new();
    api.simulator
        .update_world(|world| heavy = world.accounts[0].campaigns[7].id.to_string());
    api.inject_faults(&[&format!("refused_actions_of={heavy}@endpoint:insights")]);
    let exporter = api.exporter(&config("interval: 300ms")).await;
    let page = exporter.page_all_up().await;
    let today = ("window", "today");
    assert_eq!(page.all("delivered", &[today]).len(), 20);
    page.assert_absent("conversions", &[("campaign_id", heavy.as_str())]);
    assert_eq!(page.all("website_purchase_roas", &[today]).len(), 19);
    let withheld = page.all("exporter_rows_withheld", &[today]);
    assert_eq!(withheld.len(), 1);
    assert_eq!(withheld[0].label("reason"), "actions_too_heavy");
    assert_eq!(withheld[0].label("campaign_id"), heavy);
    page.assert("exporter_page_size", &[today], "500");
    // Later polls leave the campaign's actions out.
    let refused = || {
        insights(&api)
            .iter()
            .filter(|request| request.status != 200)
            .count()
    };
    let (before, calls) = (refused(), insights(&api).len());
    wait_until("four more requests", || insights(&api).len() >= calls + 4).await;
    assert_eq!(refused(), before);
    // They are requested again after eight polls, with a separate query.
    wait_until("the actions are requested again", || refused() > before).await;
    let page = exporter.page().await;
    page.assert("exporter_page_size", &[today], "500");
    assert_eq!(page.all("website_purchase_roas", &[today]).len(), 19);
    api.clear_faults();
    let page = exporter
        .page_when(|page| page.all("exporter_rows_withheld", &[today]).is_empty())
        .await;
    assert_eq!(page.all("website_purchase_roas", &[today]).len(), 20);
}
