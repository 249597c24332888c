//! What is asked of the API, how often, and what is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::listing::Listing;
use marketing_messages_exporter::plan::{Plan, Question, Shard, Source, Unfiltered};
use marketing_messages_exporter::simulator::{DEMO_TOKEN, Request, World};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::canned::Canned;
use crate::harness::{Api, parse, wait_until};
use crate::known;

const MANY: &str = "act_10150000000009001";

fn config(polling: &str, source: &str) -> String {
    format!(
        "graph: {{ app_id: \"1234567890\", app_secret_env: APP_SECRET }}
polling: {{ {polling} }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, {source} }}]
"
    )
}

fn many() -> String {
    config("", &format!("ad_accounts: [{{ id: {MANY} }}]"))
}

/// The calls for one question.
fn questions(api: &Api) -> (Vec<Request>, Vec<Request>) {
    let requests = api.simulator.requests().into_iter();
    let insights = requests.filter(|request| request.path.ends_with("/insights"));
    insights.partition(|request| request.param("action_breakdowns").is_none())
}

#[tokio::test]
async fn twelve_hundred_campaigns_take_three_calls_a_question() {
    let api = Api::start(World::with_campaigns(1_200, 0)).await;
    let page = api.exporter(&many()).await.page_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 1_200);
    let (delivery, conversions) = questions(&api);
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

/// The calls that one question of one window costs, where an account has so many message campaigns
/// and all its campaigns have rows.
fn calls(source: &Source, message: usize, all: usize) -> usize {
    let campaigns = (0..message).map(|number| (number.to_string(), "c", true));
    let mut listing = known::listing(campaigns);
    listing.rows = all;
    let queries = source.queries(&source.windows[0], Question::Delivery, Some(&listing));
    let pages = queries
        .unwrap()
        .into_iter()
        .map(|query| match query.campaigns.len() {
            0 => all.div_ceil(500).max(1),
            ids => ids.div_ceil(500),
        });
    pages.sum()
}

/// The calls of one poll of one window in which so many campaigns have rows, and what it learns.
fn poll(source: &Source, listing: &Listing, rows: usize, learnt: &mut Unfiltered) -> usize {
    let (mut calls, pages) = (0, rows.div_ceil(500).max(1));
    for question in [Question::Delivery, Question::Conversions] {
        let ways = source.ways(&source.windows[0], question, Some(listing), *learnt);
        let ways = ways.unwrap();
        if question == Question::Delivery {
            learnt.passed_over();
        }
        if let Some(attempt) = ways.attempt {
            calls += pages.min(attempt.calls);
            if pages <= attempt.calls {
                if question == Question::Delivery {
                    learnt.whole(pages);
                }
                continue;
            }
            learnt.given_up(attempt.calls);
        }
        let unfiltered = |ids: &usize| *ids == 0;
        let ids: Vec<usize> = ways.queries.iter().map(|q| q.campaigns.len()).collect();
        calls += match ids.iter().any(unfiltered) {
            true => pages,
            false => ids.len(),
        };
    }
    calls
}

/// A listing of so many message campaigns and others.
fn account(message: usize, others: usize) -> Listing {
    let campaigns = (0..message).map(|number| (number.to_string(), "c", true));
    let mut listing = known::listing(campaigns);
    listing.rows = message + others;
    listing
}

proptest! {
    #[test]
    fn polls_cost_the_cheaper_way_and_a_sixteenth_at_most(
        message in 1_usize..1_000, others in 0_usize..30_000, percent in 0..=100_usize,
    ) {
        let source = &known::unknown(ZeroFill::Active, false).sources[0].source;
        let listing = account(message, others);
        let rows = listing.rows * percent / 100;
        let (pages, by_ids) = (rows.div_ceil(500).max(1), message.div_ceil(100));
        let best = 2 * pages.min(by_ids);
        let mut learnt = Unfiltered::default();
        let mut poll = || poll(source, &listing, rows, &mut learnt);
        // Until the first try, nothing is known but how many campaigns there are.
        let unknown: Vec<usize> = (0..8).map(|_| poll()).collect();
        prop_assert!(unknown[..7].iter().all(|calls| *calls <= 2 * by_ids), "{unknown:?}");
        let polls: Vec<usize> = (0..20).map(|_| poll()).collect();
        for eight in polls.windows(8) {
            let most = best + if pages <= by_ids { 0 } else { by_ids };
            prop_assert!(eight.iter().all(|calls| *calls == best || *calls == most), "{eight:?}");
            prop_assert!(eight.iter().filter(|calls| **calls > best).count() <= 1, "{eight:?}");
            prop_assert!(16 * eight.iter().sum::<usize>() <= 17 * 8 * best, "{eight:?}");
        }
    }

    #[test]
    fn what_changes_is_learnt_within_eight_polls(
        message in 1_usize..1_000, others in 0_usize..30_000,
        stretches in prop::collection::vec((0..=100_usize, 1_usize..20), 1..8),
    ) {
        let source = &known::unknown(ZeroFill::Active, false).sources[0].source;
        let listing = account(message, others);
        let by_ids = message.div_ceil(100);
        let mut learnt = Unfiltered::default();
        for (percent, polls) in stretches {
            let rows = listing.rows * percent / 100;
            let best = 2 * rows.div_ceil(500).max(1).min(by_ids);
            for number in 0..polls {
                let calls = poll(source, &listing, rows, &mut learnt);
                prop_assert!(calls <= 3 * by_ids, "{calls}");
                let is_try = calls == 3 * by_ids;
                prop_assert!(number < 8 || is_try || calls == best, "{calls} instead of {best}");
            }
        }
    }

    #[test]
    fn the_planner_takes_the_cheaper_way(message in 1_usize..6_000, others in 0_usize..30_000) {
        let source = &known::unknown(ZeroFill::Active, false).sources[0].source;
        let all = message + others;
        let (pages, filters) = (all.div_ceil(500), message.div_ceil(100));
        prop_assert_eq!(calls(source, message, all), pages.min(filters));
    }
}

#[tokio::test]
async fn calls_grow_with_pages_and_windows_and_not_with_campaigns() {
    const WINDOWS: [&str; 5] = ["today", "yesterday", "last_7d", "last_30d", "this_month"];
    for (campaigns, pages) in [(1, 1), (50, 1), (1_200, 3), (20_000, 40)] {
        for count in [1, 5] {
            let windows = WINDOWS[..count].iter();
            let windows: Vec<String> = windows
                .map(|preset| format!("{{ name: {preset}, date_preset: {preset} }}"))
                .collect();
            let config = format!(
                "windows: [{}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{{ id: {MANY} }}] }}]
",
                windows.join(", ")
            );
            let plan = Plan::of(&parse(&config, "http://127.0.0.1:1"), Shard::WHOLE);
            let source = &plan.sources[0];
            assert_eq!(source.windows.len(), count);
            assert_eq!(calls(source, campaigns, campaigns), pages);
            // What the plan says beforehand is what a poll asks: two questions a window.
            if campaigns <= 1_200 {
                let api = Api::start(World::with_campaigns(campaigns, 0)).await;
                api.exporter(&config).await.page_up().await;
                assert_eq!(api.calls("/insights"), 2 * pages * count);
            }
        }
    }
}

#[tokio::test]
async fn few_message_campaigns_among_many_are_asked_for_by_id() {
    let api = Api::start(World::with_campaigns(150, 5_000)).await;
    let page = api.exporter(&many()).await.page_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 150);
    let (delivery, conversions) = questions(&api);
    let ids = |requests: &[Request]| requests.iter().map(ids).collect::<Vec<_>>();
    assert_eq!(ids(&delivery), [100, 50]);
    assert_eq!(ids(&conversions), [100, 50]);
}

/// How many ids a request asks for; none without a filter of them.
fn ids(request: &Request) -> usize {
    let filters: Value = serde_json::from_str(request.param("filtering").unwrap_or("[]")).unwrap();
    let mut filters = filters.as_array().unwrap().iter();
    let Some(ids) = filters.find(|filter| filter["field"] == "campaign.id") else {
        return 0;
    };
    assert_eq!(ids["operator"], "IN");
    ids["value"].as_array().unwrap().len()
}

/// 300 message campaigns among 1,300 others, of which so many deliver something today.
fn mostly_quiet(loud: usize) -> World {
    let mut world = World::with_campaigns(300, 1_300);
    for campaign in &mut world.accounts[0].campaigns[300 + loud..] {
        campaign.last_day = Some(jiff::civil::date(2026, 10, 1));
    }
    world
}

#[tokio::test]
async fn few_rows_of_many_campaigns_are_one_page_a_question() {
    let api = Api::start(mostly_quiet(100)).await;
    let config = config(
        "interval: 50ms",
        &format!("ad_accounts: [{{ id: {MANY} }}]"),
    );
    let exporter = api.exporter(&config).await;
    let page = exporter.page_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 300);
    let unfiltered = |request: &&Request| ids(request) == 0;
    wait_until("polls that have learnt", || {
        questions(&api).1.iter().filter(unfiltered).count() > 3
    })
    .await;
    let (delivery, conversions) = questions(&api);
    for question in [delivery, conversions] {
        let (by_ids, learnt) = question.split_at(7 * 3);
        assert!(by_ids.iter().all(|request| ids(request) == 100));
        assert!(learnt.iter().all(|request| ids(request) == 0));
    }
    assert_eq!(exporter.page().await.all("delivered", &[]).len(), 300);
}

#[tokio::test]
async fn a_try_that_fails_is_not_repeated_at_the_next_poll() {
    let api = Api::start(mostly_quiet(100)).await;
    let config = config(
        "interval: 50ms",
        &format!("ad_accounts: [{{ id: {MANY} }}]"),
    );
    let _exporter = api.exporter(&config).await;
    wait_until("polls that have learnt", || {
        questions(&api).1.iter().any(|request| ids(request) == 0)
    })
    .await;
    let before = questions(&api).1.len();
    // As often as one request is sent.
    api.break_with(&["unavailable@endpoint:insights*3"]);
    wait_until("polls by ids again", || {
        let conversions = questions(&api).1;
        let by_ids = conversions[before..].iter().filter(|r| ids(r) == 100);
        by_ids.count() >= 3 * 3
    })
    .await;
}

#[tokio::test]
async fn tries_cost_a_sixteenth_and_notice_when_an_ad_account_grows_quiet() {
    let api = Api::start(mostly_quiet(1_300)).await;
    let config = config(
        "interval: 50ms",
        &format!("ad_accounts: [{{ id: {MANY} }}]"),
    );
    let exporter = api.exporter(&config).await;
    exporter.page_up().await;
    wait_until("seventeen polls", || questions(&api).1.len() >= 17 * 3).await;
    let (delivery, conversions) = questions(&api);
    let tries = delivery.iter().filter(|request| ids(request) == 0).count();
    // The last poll may be under way, and the next one.
    let polls = conversions.len().div_ceil(3) + 1;
    assert!(conversions.iter().all(|request| ids(request) == 100));
    assert!(
        (6..=3 * polls.div_ceil(8)).contains(&tries),
        "{tries} calls of tries in {polls} polls"
    );
    api.simulator
        .update_world(|world| *world = mostly_quiet(100));
    let before = conversions.len();
    wait_until("a poll without ids", || {
        questions(&api).1[before..]
            .iter()
            .any(|request| ids(request) == 0)
    })
    .await;
    let polls = questions(&api).1[before..]
        .iter()
        .take_while(|request| ids(request) > 0)
        .count();
    assert!(polls <= 3 * 9, "noticed after {polls} calls");
}

#[tokio::test]
async fn a_steady_poll_is_its_two_questions_and_no_more() {
    let api = Api::start(World::with_campaigns(20, 5)).await;
    let config = config(
        "interval: 100ms",
        &format!("ad_accounts: [{{ id: {MANY} }}]"),
    );
    let exporter = api.exporter(&config).await;
    exporter.page_up().await;
    wait_until("ten polls", || questions(&api).1.len() >= 10).await;
    exporter.stop().await;
    let (delivery, conversions) = questions(&api);
    assert!(delivery.len() - conversions.len() <= 1);
    let rest = api.simulator.requests().len() - delivery.len() - conversions.len();
    assert_eq!(
        rest, 4,
        "account, campaigns, ad sets and the token, once an hour"
    );
}

#[tokio::test]
async fn the_token_goes_into_the_header_alone_and_the_proof_beside_it() {
    let api = Api::demo().await;
    api.simulator
        .update_world(|world| world.apps[0].requires_proof = true);
    let sources =
        "ad_accounts: [{ id: act_10150000000001101 }], campaigns: [{ id: \"120210000000031000\" }]";
    api.exporter(&config("", sources)).await.page_up().await;
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
async fn a_next_page_is_asked_for_by_its_cursor_and_never_by_its_address() {
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let next = format!(
        "http://{}/v26.0/steal?access_token=T",
        trap.local_addr().unwrap()
    );
    let row = |id: &str| {
        json!({"account_id": "1", "campaign_id": id, "campaign_name": id,
               "marketing_messages_delivered": id, "date_start": "2026-11-23", "date_stop": "2026-11-23"})
    };
    let api = Canned::start(move |path, query| {
        let rows = match path.rsplit('/').next().unwrap() {
            "campaigns" => ["11", "12"].map(|id| json!({"id": id, "name": id, "effective_status": "ACTIVE", "is_message_campaign": true})),
            "insights" => ["11", "12"].map(row),
            "adsets" => return json!({"data": []}),
            _ => return json!({"id": "act_1", "currency": "EUR"}),
        };
        let [first, second] = rows;
        match query.contains("after=NEXT") {
            true => json!({"data": [second], "paging": {"cursors": {"after": "LAST"}}}),
            false => json!({"data": [first], "paging": {"cursors": {"after": "NEXT"}, "next": next}}),
        }
    })
    .await;
    let config = "
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_1 }] }]
";
    let page = api.exporter(config).await.page_up().await;
    page.assert("delivered", &[("campaign_id", "11")], "11");
    page.assert("delivered", &[("campaign_id", "12")], "12");
    // Neither the trap nor the page after the last one, which has a cursor too, was asked for.
    let knocked = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(knocked.is_err(), "somebody followed paging.next");
    assert!(api.asked().iter().all(|(_, query)| !query.contains("LAST")));
}

#[tokio::test]
async fn scrapes_ask_nothing_of_the_api() {
    let api = Api::start(World::with_campaigns(5, 0)).await;
    let exporter = api.exporter(&many()).await;
    exporter.page_up().await;
    let before = api.simulator.requests().len();
    for _ in 0..50 {
        assert_eq!(exporter.get("/metrics").await.status, 200);
    }
    assert_eq!(api.simulator.requests().len(), before);
}

#[tokio::test]
async fn an_unknown_campaign_is_looked_for_once() {
    let today = AtomicUsize::new(0);
    let api = Canned::start(move |path, query| {
        let row = |id: &str| {
            json!({"account_id": "1", "campaign_id": id, "campaign_name": id, "account_currency": "EUR",
                   "marketing_messages_delivered": "5", "date_start": "2026-11-23", "date_stop": "2026-11-23"})
        };
        match path.rsplit('/').next().unwrap() {
            "insights" if query.contains("date_preset=today") => {
                // The stranger comes after discovery, which does not know it then either.
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
    let asked = api.asked();
    let listed = asked
        .iter()
        .filter(|(path, _)| path.ends_with("/campaigns"));
    assert_eq!(listed.count(), 2, "at the start, and for the stranger");
}

#[tokio::test]
async fn a_new_campaign_shows_long_before_the_next_discovery() {
    let api = Api::start(World::with_campaigns(3, 0)).await;
    let spare = World::with_campaigns(4, 0).accounts[0].campaigns[3].clone();
    let config = config(
        "interval: 100ms",
        &format!("ad_accounts: [{{ id: {MANY} }}]"),
    );
    let exporter = api.exporter(&config).await;
    assert_eq!(exporter.page_up().await.all("delivered", &[]).len(), 3);
    api.simulator
        .update_world(|world| world.accounts[0].campaigns.push(spare));
    exporter
        .page_when(|page| page.all("delivered", &[]).len() == 4)
        .await;
}
