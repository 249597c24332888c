//! Number and content of the requests to the API.

use std::sync::atomic::{AtomicUsize, Ordering};

use graph_simulator::{DEMO_TOKEN, LoggedRequest, World};
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::model::Inventory;
use marketing_messages_exporter::plan::{
    MAX_IDS_PER_FILTER, Plan, ProbeHistory, QueryKind, ROWS_PER_PAGE, Shard, Source,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Api, parse, wait_until};
use crate::scripted_server::ScriptedServer;
use crate::snapshot_builder;

/// Ad account of [`World::with_campaigns`].
const ACCOUNT: &str = "act_10150000000009001";

/// `PROBE_EVERY_N_POLLS` of `plan::strategy`.
const POLLS_PER_PROBE: usize = 8;

fn config(polling: &str, source: &str) -> String {
    format!(
        "graph: {{ app_id: \"1234567890\", app_secret_env: APP_SECRET }}
polling: {{ {polling} }}
insights: {{ questions: separate }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, {source} }}]
"
    )
}

/// A config with the whole ad account, polled at the default interval.
fn account_config() -> String {
    config("", &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"))
}

/// Returns the insights requests so far: those of delivery and of conversions queries.
fn insights_requests(api: &Api) -> (Vec<LoggedRequest>, Vec<LoggedRequest>) {
    let requests = api.simulator.requests().into_iter();
    let insights = requests.filter(|request| request.path.ends_with("/insights"));
    insights.partition(|request| request.param("action_breakdowns").is_none())
}

#[tokio::test]
async fn queries_of_1200_campaigns_take_three_pages() {
    let api = Api::start(World::with_campaigns(1_200, 0)).await;
    let page = api.exporter(&account_config()).await.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 1_200);
    let (delivery, conversions) = insights_requests(&api);
    assert_eq!((delivery.len(), conversions.len()), (3, 3));
    for request in delivery.iter().chain(&conversions) {
        assert_eq!(request.param("limit"), Some("500"));
        assert!(
            !request
                .param("filtering")
                .unwrap_or("")
                .contains("campaign.id")
        );
    }
}

/// Returns the requests of one query of one window, if an ad account has `message` message campaigns
/// and a row for each of `all` campaigns.
fn planned_calls(source: &Source, message: usize, all: usize) -> usize {
    let inventory = inventory(message, all - message);
    let queries = source.queries(&source.windows[0], QueryKind::Delivery, Some(&inventory));
    let pages = queries
        .unwrap()
        .into_iter()
        .map(|query| match query.campaigns.len() {
            0 => all.div_ceil(ROWS_PER_PAGE).max(1),
            ids => ids.div_ceil(ROWS_PER_PAGE),
        });
    pages.sum()
}

/// Simulates one poll of one window in which `rows` campaigns have a row. Returns its requests and
/// updates the history as the scheduler does.
fn poll(source: &Source, inventory: &Inventory, rows: usize, history: &mut ProbeHistory) -> usize {
    let (mut calls, pages) = (0, rows.div_ceil(ROWS_PER_PAGE).max(1));
    for kind in [QueryKind::Delivery, QueryKind::Conversions] {
        let queries = source.queries(&source.windows[0], kind, Some(inventory));
        let strategy = source.strategy(queries.unwrap(), kind, Some(inventory), 1, *history);
        if kind == QueryKind::Delivery {
            history.record_filtered();
        }
        if let Some(probe) = strategy.probe {
            calls += pages.min(probe.max_calls);
            if pages <= probe.max_calls {
                if kind == QueryKind::Delivery {
                    history.record_success(pages);
                }
                continue;
            }
            history.record_failure(probe.max_calls);
        }
        let is_unfiltered = strategy.queries.iter().any(|q| q.campaigns.is_empty());
        calls += if is_unfiltered {
            pages
        } else {
            strategy.queries.len()
        };
    }
    calls
}

/// Returns an inventory with these numbers of message campaigns and of other campaigns.
fn inventory(message: usize, others: usize) -> Inventory {
    let campaigns = (0..message).map(|number| (number.to_string(), "c", true));
    let mut inventory = snapshot_builder::inventory(campaigns);
    inventory.max_rows = message + others;
    inventory
}

proptest! {
    #[test]
    fn probes_add_at_most_a_sixteenth_to_the_cheaper_way(
        message in 1_usize..1_000, others in 0_usize..30_000, percent in 0..=100_usize,
    ) {
        let source = &snapshot_builder::empty_snapshot(ZeroFill::Active, false).sources[0].source;
        let inventory = inventory(message, others);
        let rows = inventory.max_rows * percent / 100;
        let pages = rows.div_ceil(ROWS_PER_PAGE).max(1);
        let filters = message.div_ceil(MAX_IDS_PER_FILTER);
        let best = 2 * pages.min(filters);
        let mut history = ProbeHistory::default();
        let mut poll = || poll(source, &inventory, rows, &mut history);
        // Before the first probe only the number of campaigns is known.
        let first: Vec<usize> = (0..POLLS_PER_PROBE).map(|_| poll()).collect();
        let before_probe = &first[..POLLS_PER_PROBE - 1];
        prop_assert!(before_probe.iter().all(|calls| *calls <= 2 * filters), "{first:?}");
        let polls: Vec<usize> = (0..20).map(|_| poll()).collect();
        for period in polls.windows(POLLS_PER_PROBE) {
            let max = best + if pages <= filters { 0 } else { filters };
            prop_assert!(period.iter().all(|calls| *calls == best || *calls == max), "{period:?}");
            prop_assert!(period.iter().filter(|calls| **calls > best).count() <= 1, "{period:?}");
            let total = period.iter().sum::<usize>();
            prop_assert!(16 * total <= 17 * POLLS_PER_PROBE * best, "{period:?}");
        }
    }

    #[test]
    fn change_of_cheaper_way_is_detected_within_eight_polls(
        message in 1_usize..1_000, others in 0_usize..30_000,
        phases in prop::collection::vec((0..=100_usize, 1_usize..20), 1..8),
    ) {
        let source = &snapshot_builder::empty_snapshot(ZeroFill::Active, false).sources[0].source;
        let inventory = inventory(message, others);
        let filters = message.div_ceil(MAX_IDS_PER_FILTER);
        let mut history = ProbeHistory::default();
        for (percent, polls) in phases {
            let rows = inventory.max_rows * percent / 100;
            let best = 2 * rows.div_ceil(ROWS_PER_PAGE).max(1).min(filters);
            for number in 0..polls {
                let calls = poll(source, &inventory, rows, &mut history);
                prop_assert!(calls <= 3 * filters, "{calls} should be at most {}", 3 * filters);
                let is_failed_probe = calls == 3 * filters;
                prop_assert!(
                    number < POLLS_PER_PROBE || is_failed_probe || calls == best,
                    "poll {number} should take {best} requests, not {calls}"
                );
            }
        }
    }

    #[test]
    fn queries_use_the_cheaper_way(message in 1_usize..6_000, others in 0_usize..30_000) {
        let source = &snapshot_builder::empty_snapshot(ZeroFill::Active, false).sources[0].source;
        let all = message + others;
        let (pages, filters) = (all.div_ceil(ROWS_PER_PAGE), message.div_ceil(MAX_IDS_PER_FILTER));
        prop_assert_eq!(planned_calls(source, message, all), pages.min(filters));
    }
}

#[tokio::test]
async fn requests_grow_with_pages_and_windows_only() {
    const WINDOWS: [&str; 5] = ["today", "yesterday", "last_7d", "last_30d", "this_month"];
    for (campaigns, pages) in [(1, 1), (50, 1), (1_200, 3), (20_000, 40)] {
        for count in [1, 5] {
            let windows = WINDOWS[..count].iter();
            let windows: Vec<String> = windows
                .map(|preset| format!("{{ name: {preset}, date_preset: {preset} }}"))
                .collect();
            let config = format!(
                "insights: {{ questions: separate }}
windows: [{}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{{ id: {ACCOUNT} }}] }}]
",
                windows.join(", ")
            );
            let plan = Plan::for_shard(&parse(&config, "http://127.0.0.1:1"), Shard::ALL);
            let source = &plan.sources[0];
            assert_eq!(source.windows.len(), count);
            assert_eq!(planned_calls(source, campaigns, campaigns), pages);
            // A poll sends the planned requests for both kinds of queries.
            if campaigns <= 1_200 {
                let api = Api::start(World::with_campaigns(campaigns, 0)).await;
                api.exporter(&config).await.page_all_up().await;
                assert_eq!(api.calls("/insights"), 2 * pages * count);
            }
        }
    }
}

#[tokio::test]
async fn few_message_campaigns_among_many_are_filtered_by_id() {
    let api = Api::start(World::with_campaigns(150, 5_000)).await;
    let page = api.exporter(&account_config()).await.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 150);
    let (delivery, conversions) = insights_requests(&api);
    let ids = |requests: &[LoggedRequest]| requests.iter().map(ids).collect::<Vec<_>>();
    let expected = [MAX_IDS_PER_FILTER, 150 - MAX_IDS_PER_FILTER];
    assert_eq!(ids(&delivery), expected);
    assert_eq!(ids(&conversions), expected);
}

/// Returns the number of ids in the id filter of a request; 0 without such a filter.
fn ids(request: &LoggedRequest) -> usize {
    let filters: Value = serde_json::from_str(request.param("filtering").unwrap_or("[]")).unwrap();
    let mut filters = filters.as_array().unwrap().iter();
    let Some(ids) = filters.find(|filter| filter["field"] == "campaign.id") else {
        return 0;
    };
    assert_eq!(ids["operator"], "IN");
    ids["value"].as_array().unwrap().len()
}

/// Filters of each query of [`world_with_activity`]: its 300 message campaigns.
const FILTERS: usize = 300 / MAX_IDS_PER_FILTER;

/// Returns a world with 300 message campaigns and 1,300 others, of which `active` have activity today.
fn world_with_activity(active: usize) -> World {
    let mut world = World::with_campaigns(300, 1_300);
    for campaign in &mut world.accounts[0].campaigns[300 + active..] {
        campaign.last_day = Some(jiff::civil::date(2026, 10, 1));
    }
    world
}

#[tokio::test]
async fn few_active_campaigns_take_one_page_after_a_probe() {
    let api = Api::start(world_with_activity(100)).await;
    let config = config(
        "interval: 50ms",
        &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"),
    );
    let exporter = api.exporter(&config).await;
    let page = exporter.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 300);
    let is_unfiltered = |request: &&LoggedRequest| ids(request) == 0;
    wait_until("polls after a successful probe", || {
        insights_requests(&api)
            .1
            .iter()
            .filter(is_unfiltered)
            .count()
            > 3
    })
    .await;
    let (delivery, conversions) = insights_requests(&api);
    for requests in [delivery, conversions] {
        let (filtered, unfiltered) = requests.split_at((POLLS_PER_PROBE - 1) * FILTERS);
        assert!(
            filtered
                .iter()
                .all(|request| ids(request) == MAX_IDS_PER_FILTER)
        );
        assert!(unfiltered.iter().all(|request| ids(request) == 0));
    }
    assert_eq!(exporter.page().await.all("delivered", &[]).len(), 300);
}

#[tokio::test]
async fn failed_unfiltered_query_is_not_repeated_at_next_poll() {
    let api = Api::start(world_with_activity(100)).await;
    let config = config(
        "interval: 50ms",
        &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"),
    );
    let _exporter = api.exporter(&config).await;
    wait_until("a poll after a successful probe", || {
        insights_requests(&api)
            .1
            .iter()
            .any(|request| ids(request) == 0)
    })
    .await;
    let before = insights_requests(&api).1.len();
    // Fails every attempt of one request.
    api.inject_faults(&["unavailable@endpoint:insights*3"]);
    wait_until("three filtered polls", || {
        let conversions = insights_requests(&api).1;
        let filtered = conversions[before..]
            .iter()
            .filter(|request| ids(request) == MAX_IDS_PER_FILTER);
        filtered.count() >= 3 * FILTERS
    })
    .await;
}

#[tokio::test]
async fn periodic_probes_detect_an_account_with_less_activity() {
    let api = Api::start(world_with_activity(1_300)).await;
    let config = config(
        "interval: 50ms",
        &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"),
    );
    let exporter = api.exporter(&config).await;
    exporter.page_all_up().await;
    wait_until("seventeen polls", || {
        insights_requests(&api).1.len() >= 17 * FILTERS
    })
    .await;
    let (delivery, conversions) = insights_requests(&api);
    let probe_requests = delivery.iter().filter(|request| ids(request) == 0).count();
    // The last poll may be incomplete, and the next one may have begun.
    let polls = conversions.len().div_ceil(FILTERS) + 1;
    assert!(
        conversions
            .iter()
            .all(|request| ids(request) == MAX_IDS_PER_FILTER)
    );
    let expected = 2 * FILTERS..=polls.div_ceil(POLLS_PER_PROBE) * FILTERS;
    assert!(
        expected.contains(&probe_requests),
        "{polls} polls should send {expected:?} probe requests, not {probe_requests}"
    );
    api.simulator
        .update_world(|world| *world = world_with_activity(100));
    let before = conversions.len();
    wait_until("an unfiltered poll", || {
        insights_requests(&api).1[before..]
            .iter()
            .any(|request| ids(request) == 0)
    })
    .await;
    let filtered = insights_requests(&api).1[before..]
        .iter()
        .take_while(|request| ids(request) > 0)
        .count();
    assert!(
        filtered <= (POLLS_PER_PROBE + 1) * FILTERS,
        "the change should be detected by the next probe, not after {filtered} requests"
    );
}

#[tokio::test]
async fn steady_poll_sends_two_requests() {
    let api = Api::start(World::with_campaigns(20, 5)).await;
    let config = config(
        "interval: 100ms",
        &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"),
    );
    let exporter = api.exporter(&config).await;
    exporter.page_all_up().await;
    wait_until("ten polls", || insights_requests(&api).1.len() >= 10).await;
    exporter.stop().await;
    let (delivery, conversions) = insights_requests(&api);
    assert!(delivery.len() - conversions.len() <= 1);
    let rest = api.simulator.requests().len() - delivery.len() - conversions.len();
    assert_eq!(
        rest, 2,
        "ad account with campaigns, and token, should be requested once"
    );
}

#[tokio::test]
async fn token_is_sent_only_in_the_header() {
    let api = Api::demo().await;
    api.simulator
        .update_world(|world| world.apps[0].requires_proof = true);
    let sources =
        "ad_accounts: [{ id: act_10150000000001101 }], campaigns: [{ id: \"120210000000031000\" }]";
    api.exporter(&config("", sources)).await.page_all_up().await;
    let requests = api.simulator.requests();
    assert!(requests.len() >= 7, "{}", requests.len());
    for request in requests {
        assert_eq!(request.method, "GET");
        if request.path.ends_with("/debug_token") {
            continue;
        }
        assert_eq!(request.bearer.as_deref(), Some(DEMO_TOKEN));
        for (name, value) in &request.query {
            assert_ne!(name, "access_token", "{}", request.path);
            assert!(!value.contains(DEMO_TOKEN), "{}: {name}", request.path);
        }
        assert_eq!(request.param("appsecret_proof").map(str::len), Some(64));
    }
}

#[tokio::test]
async fn next_page_is_requested_by_cursor() {
    let next_server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let next = format!(
        "http://{}/v27.0/steal?access_token=T",
        next_server.local_addr().unwrap()
    );
    let row = |id: &str| {
        json!({"account_id": "1", "campaign_id": id, "campaign_name": id,
               "marketing_messages_delivered": id, "date_start": "2026-11-23", "date_stop": "2026-11-23"})
    };
    let api = ScriptedServer::start(move |path, query| {
        let rows = match path.rsplit('/').next().unwrap() {
            "campaigns" => ["11", "12"].map(|id| json!({"id": id, "name": id, "effective_status": "ACTIVE", "is_message_campaign": true})),
            "insights" => ["11", "12"].map(row),
            "adsets" => return json!({"data": []}),
            _ => return json!({"id": "act_1", "currency": "EUR"}),
        };
        let [first, second] = rows;
        if query.contains("after=NEXT") {
            json!({"data": [second], "paging": {"cursors": {"after": "LAST"}}})
        } else {
            json!({"data": [first], "paging": {"cursors": {"after": "NEXT"}, "next": next}})
        }
    })
    .await;
    let config = "
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_1 }] }]
";
    let page = api.exporter(config).await.page_all_up().await;
    page.assert("delivered", &[("campaign_id", "11")], "11");
    page.assert("delivered", &[("campaign_id", "12")], "12");
    let wait = std::time::Duration::from_millis(50);
    let connection = tokio::time::timeout(wait, next_server.accept()).await;
    assert!(connection.is_err(), "paging.next should not be requested");
    // The last page has a cursor too, but no `next`.
    assert!(
        api.requests()
            .iter()
            .all(|(_, query)| !query.contains("LAST"))
    );
}

#[tokio::test]
async fn scrapes_send_no_requests_to_the_api() {
    let api = Api::start(World::with_campaigns(5, 0)).await;
    let exporter = api.exporter(&account_config()).await;
    exporter.page_all_up().await;
    let before = api.simulator.requests().len();
    for _ in 0..50 {
        assert_eq!(exporter.get("/metrics").await.status, 200);
    }
    assert_eq!(api.simulator.requests().len(), before);
}

#[tokio::test]
async fn unlisted_campaign_triggers_one_discovery() {
    let today = AtomicUsize::new(0);
    let api = ScriptedServer::start(move |path, query| {
        let row = |id: &str| {
            json!({"account_id": "1", "campaign_id": id, "campaign_name": id, "account_currency": "EUR",
                   "marketing_messages_delivered": "5", "date_start": "2026-11-23", "date_stop": "2026-11-23"})
        };
        match path.rsplit('/').next().unwrap() {
            "insights" if query.contains("date_preset=today") => {
                // Campaign 999 appears after the first discovery, and no discovery lists it.
                match today.fetch_add(1, Ordering::Relaxed) {
                    0 | 1 => json!({"data": [row("11")]}),
                    _ => json!({"data": [row("11"), row("999")]}),
                }
            }
            "insights" => json!({"data": [row("11")]}),
            "campaigns" => json!({"data": [{"id": "11", "name": "11", "effective_status": "ACTIVE", "is_message_campaign": true}]}),
            "adsets" => json!({"data": []}),
            _ => json!({"id": "act_1", "currency": "EUR"}),
        }
    })
    .await;
    let config = "
polling: { interval: 60ms }
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_1 }] }]
";
    let exporter = api.exporter(config).await;
    let page = exporter
        .page_when(|page| {
            page.value("exporter_polls_total", &[])
                .is_some_and(|polls| polls >= 16.0)
        })
        .await;
    page.assert_absent("delivered", &[("campaign_id", "999")]);
    let requests = api.requests();
    let discoveries = requests
        .iter()
        .filter(|(path, _)| path.ends_with("/campaigns"));
    assert_eq!(
        discoveries.count(),
        2,
        "discovery should run at the start and once for campaign 999"
    );
}

#[tokio::test]
async fn new_campaign_is_exported_before_regular_discovery() {
    let api = Api::start(World::with_campaigns(3, 0)).await;
    let new_campaign = World::with_campaigns(4, 0).accounts[0].campaigns[3].clone();
    let config = config(
        "interval: 100ms",
        &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"),
    );
    let exporter = api.exporter(&config).await;
    assert_eq!(exporter.page_all_up().await.all("delivered", &[]).len(), 3);
    api.simulator
        .update_world(|world| world.accounts[0].campaigns.push(new_campaign));
    exporter
        .page_when(|page| page.all("delivered", &[]).len() == 4)
        .await;
}
