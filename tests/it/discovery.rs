//! Discovery: requests, what happens if the API refuses or fails, and the properties that it finds.

use std::time::Duration;

use graph_simulator::{Issue, LoggedRequest, Status, World};
use jiff::civil::date;

use crate::harness::{Api, Exporter, wait_until};
use crate::page::Page;

const ACCOUNT: &str = "act_10150000000009001";

/// Config of one ad account with these options of `polling` and of the ad account.
fn config(polling: &str, account: &str) -> String {
    format!(
        "polling: {{ {polling} }}
windows: [{{ name: today, date_preset: today }}, {{ name: last_7d, date_preset: last_7d, interval: 100ms }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{{ id: {ACCOUNT}{account} }}] }}]
"
    )
}

const FAST: &str = "interval: 100ms, discovery_interval: 100ms";

/// Returns the requests that are not for insights.
fn discoveries(api: &Api) -> Vec<LoggedRequest> {
    let requests = api.simulator.requests().into_iter();
    requests
        .filter(|request| !request.path.ends_with("/insights"))
        .collect()
}

/// Returns the number of requests of the ad account, its campaigns and its ad sets.
fn counts(requests: &[LoggedRequest]) -> [usize; 3] {
    [ACCOUNT, "/campaigns", "/adsets"].map(|suffix| {
        let matching = requests.iter().filter(|r| r.path.ends_with(suffix));
        matching.count()
    })
}

/// Waits for this number of further requests that are not for insights.
async fn wait_for_discoveries(api: &Api, count: usize) {
    let before = discoveries(api).len();
    wait_until("further discoveries", || {
        discoveries(api).len() >= before + count
    })
    .await;
}

fn campaign_count(page: &Page) -> usize {
    page.all("campaign_info", &[]).len()
}

#[tokio::test]
async fn one_request_finds_account_campaigns_and_budgets() {
    let api = Api::start(World::with_campaigns(3, 2)).await;
    let page = api
        .exporter(&config("interval: 15m", ""))
        .await
        .page_all_up()
        .await;
    assert_eq!(campaign_count(&page), 3);
    assert_eq!(page.all("campaign_daily_budget", &[]).len(), 3);
    page.assert(
        "exporter_campaigns",
        &[("account_id", "10150000000009001")],
        "3",
    );
    let source = [("source", ACCOUNT)];
    assert!(
        page.value("exporter_discovery_last_success_timestamp_seconds", &source)
            .is_some()
    );
    page.assert_absent("exporter_source_empty", &[]);
    assert_eq!(counts(&discoveries(&api)), [1, 0, 0]);
}

#[tokio::test]
async fn long_list_is_continued_at_its_own_path() {
    let api = Api::start(World::with_campaigns(250, 170)).await;
    let page = api
        .exporter(&config("interval: 15m", ""))
        .await
        .page_all_up()
        .await;
    assert_eq!(campaign_count(&page), 250);
    assert_eq!(counts(&discoveries(&api)), [1, 2, 0]);
}

#[tokio::test]
async fn refused_requests_are_replaced_by_simpler_ones() {
    let cases: [(&[&str], [usize; 3]); 4] = [
        (&[], [1, 0, 0]),
        (&["rejected_expansion@endpoint:account"], [1, 1, 0]),
        (&["rejected_expansion"], [1, 1, 1]),
        (&["rejected_status=DELETED@endpoint:account"], [1, 0, 0]),
    ];
    for (faults, expected) in cases {
        let api = Api::start(World::with_campaigns(3, 2)).await;
        api.inject_faults(faults);
        let exporter = api.exporter(&config(FAST, "")).await;
        let page = exporter.page_all_up().await;
        assert_eq!(campaign_count(&page), 3, "{faults:?}");
        assert_eq!(
            page.all("campaign_daily_budget", &[]).len(),
            3,
            "{faults:?}"
        );
        assert!(
            page.all("campaign_info", &[("currency", "EUR")]).len() == 3,
            "{faults:?}"
        );
        // Later discoveries begin with what was accepted.
        wait_for_discoveries(&api, 1).await;
        let start = discoveries(&api).len();
        wait_for_discoveries(&api, 12).await;
        let later = discoveries(&api).split_off(start);
        let refused = later.iter().filter(|request| request.status != 200).count();
        assert_eq!(refused, 0, "{faults:?}");
        let total: usize = expected.iter().sum();
        for (count, expected) in counts(&later).into_iter().zip(expected) {
            let share = later.len() * expected / total;
            assert!(
                count.abs_diff(share) <= 1,
                "{faults:?}: {:?}",
                counts(&later)
            );
        }
    }
}

#[tokio::test]
async fn rejected_field_of_a_node_is_left_out() {
    let api = Api::start(World::with_campaigns(3, 0)).await;
    api.inject_faults(&["rejected_field=objective@endpoint:account"]);
    let page = api
        .exporter(&config("interval: 15m", ""))
        .await
        .page_all_up()
        .await;
    assert_eq!(page.all("campaign_info", &[("objective", "")]).len(), 3);
    page.assert(
        "exporter_field_rejected",
        &[("field", "campaign.objective")],
        "1",
    );
    assert_eq!(counts(&discoveries(&api)), [2, 0, 0]);
}

/// Waits until the status of the business has this problem, or no longer. The status is that of the last rendered page.
async fn wait_for_problem(exporter: &Exporter, problem: &str, is_present: bool) {
    let problem = format!("\"{problem}\"");
    let is_reached = async {
        while exporter.get("/api/status").await.text().contains(&problem) != is_present {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(60), is_reached).await;
    assert!(reached.is_ok(), "{problem} should become {is_present}");
}

#[tokio::test]
async fn failed_discovery_keeps_values_and_is_a_problem() {
    let api = Api::start(World::with_campaigns(3, 0)).await;
    let exporter = api.exporter(&config(FAST, "")).await;
    exporter.page_all_up().await;
    wait_for_problem(&exporter, "discovery_failing", false).await;
    api.inject_faults(&[
        "rejected=2635@endpoint:account",
        "rejected=2635@endpoint:campaigns",
    ]);
    wait_for_discoveries(&api, 20).await;
    let page = exporter.page_all_up().await;
    assert_eq!(campaign_count(&page), 3);
    assert_eq!(
        page.all("campaign_daily_budget", &[("currency", "EUR")])
            .len(),
        3
    );
    wait_for_problem(&exporter, "discovery_failing", true).await;
    let success = |page: &Page| {
        page.value("exporter_discovery_last_success_timestamp_seconds", &[])
            .unwrap()
    };
    let failing_since = success(&page);
    api.clear_faults();
    exporter
        .page_when(|page| success(page) > failing_since)
        .await;
    wait_for_problem(&exporter, "discovery_failing", false).await;
}

#[tokio::test]
async fn failed_part_keeps_its_own_values() {
    let api = Api::start(World::with_campaigns(2, 0)).await;
    api.inject_faults(&["rejected_expansion"]);
    let exporter = api.exporter(&config(FAST, "")).await;
    exporter.page_all_up().await;
    api.inject_faults(&["rejected_expansion", "forbidden@endpoint:adsets"]);
    api.simulator.update_world(|world| {
        world.accounts[0].name = "Renamed".to_owned();
        world.accounts[0].campaigns[0].name = "Renamed too".to_owned();
    });
    let page = exporter
        .page_when(|page| {
            !page
                .all("campaign_info", &[("account_name", "Renamed")])
                .is_empty()
        })
        .await;
    assert_eq!(
        page.all("campaign_info", &[("campaign_name", "Renamed too")])
            .len(),
        1
    );
    assert_eq!(page.all("campaign_daily_budget", &[]).len(), 2);
    wait_for_problem(&exporter, "discovery_failing", true).await;
    api.inject_faults(&["rejected_expansion", "unavailable=503@endpoint:account"]);
    wait_for_discoveries(&api, 8).await;
    let page = exporter.page().await;
    assert_eq!(
        page.all("campaign_info", &[("account_name", "Renamed")])
            .len(),
        2
    );
}

#[tokio::test]
async fn sudden_loss_of_campaigns_is_confirmed_by_a_second_list() {
    let api = Api::start(World::with_campaigns(3, 0)).await;
    let exporter = api.exporter(&config(FAST, "")).await;
    exporter.page_all_up().await;
    // A single empty list changes nothing.
    let before = discoveries(&api).len();
    api.inject_faults(&["empty_list@endpoint:account*1"]);
    while discoveries(&api).len() < before + 5 {
        let page = exporter.page().await;
        assert_eq!(campaign_count(&page), 3);
        assert_eq!(page.all("delivered", &[("window", "today")]).len(), 3);
    }
    api.inject_faults(&["empty_list@endpoint:account"]);
    let before = discoveries(&api).len();
    let account = [("account_id", "10150000000009001")];
    let page = exporter
        .page_when(|page| page.value("exporter_campaigns", &account) == Some(0.0))
        .await;
    assert!(discoveries(&api).len() >= before + 2);
    assert_eq!(campaign_count(&page), 0);
}

#[tokio::test]
async fn configured_campaigns_without_answer_are_reported() {
    let api = Api::start(World::with_campaigns(5, 300)).await;
    let mut id = String::new();
    api.simulator
        .update_world(|world| id = world.accounts[0].campaigns[0].id.to_string());
    let account = format!(", campaigns: [\"{id}\", \"120219999999999999\"]");
    let exporter = api.exporter(&config("interval: 15m", &account)).await;
    let page = exporter.page_all_up().await;
    assert_eq!(campaign_count(&page), 1);
    page.assert("exporter_source_empty", &[("source", ACCOUNT)], "1");
    wait_for_problem(&exporter, "source_empty", true).await;
    // Only the configured campaigns are requested.
    let requests = discoveries(&api);
    assert_eq!(counts(&requests), [1, 0, 0]);
    assert!(
        requests[0]
            .param("fields")
            .unwrap()
            .contains(&format!("\"{id}\""))
    );
}

#[tokio::test]
async fn facts_of_account_and_campaigns_are_exported() {
    let mut world = World::with_campaigns(4, 0);
    let account = &mut world.accounts[0];
    account.status = 2;
    account.disable_reason = 3;
    account.balance = 1_234;
    account.spend_cap = 500_050;
    let [ended, own, open, odd] = &mut account.campaigns[..] else {
        panic!("the world should have four campaigns")
    };
    ended.last_day = Some(date(2026, 11, 20));
    own.daily_budget = Some(12_345);
    own.issues = vec![Issue {
        level: "AD_SET".to_owned(),
        code: 1_815_869,
        summary: "x".repeat(300),
    }];
    open.adsets[0].lifetime_budget = Some(990);
    odd.status = Status::Paused;
    let ids = [ended, own, open, odd].map(|campaign| campaign.id.to_string());
    let api = Api::start(world).await;
    let page = api
        .exporter(&config("interval: 15m", ""))
        .await
        .page_all_up()
        .await;
    let [ended, own, open, paused] = ids.each_ref().map(|id| ("campaign_id", id.as_str()));
    for (campaign, status) in [(ended, "ENDED"), (own, "ACTIVE"), (paused, "PAUSED")] {
        page.assert("campaign_info", &[campaign, ("status", status)], "1");
    }
    // 2026-11-21 00:00 in Berlin, and the creation of the campaigns.
    page.assert("campaign_end_timestamp_seconds", &[ended], "1795215600");
    page.assert_absent("campaign_end_timestamp_seconds", &[open]);
    page.assert("campaign_start_timestamp_seconds", &[open], "1775036994");
    page.assert(
        "campaign_daily_budget",
        &[own, ("currency", "EUR")],
        "123.45",
    );
    page.assert(
        "campaign_lifetime_budget",
        &[open, ("currency", "EUR")],
        "9.9",
    );
    let issues = page.all("campaign_issue_info", &[]);
    assert_eq!(issues.len(), 1);
    assert_eq!(issues[0].label("level"), "AD_SET");
    assert_eq!(issues[0].label("code"), "1815869");
    assert_eq!(issues[0].label("summary"), "x".repeat(200));
    let info = [("status", "DISABLED"), ("disable_reason", "RISK_PAYMENT")];
    page.assert("account_info", &info, "1");
    page.assert("account_balance", &[("currency", "EUR")], "12.34");
    page.assert("account_spend_cap", &[("currency", "EUR")], "5000.5");
    assert!(page.value("account_amount_spent", &[]).unwrap() > 0.0);
    // An ended campaign is not active, so nothing is made up for it.
    page.assert_absent("delivered", &[ended, ("window", "today")]);
    page.assert_absent("delivered", &[paused, ("window", "none")]);
}

#[tokio::test]
async fn archived_campaign_stays_where_it_has_rows() {
    let mut world = World::with_campaigns(3, 1);
    // Its last messages were sent five days ago.
    world.accounts[0].campaigns[0].last_day = Some(date(2026, 11, 18));
    let id = world.accounts[0].campaigns[0].id.to_string();
    let campaign = ("campaign_id", id.as_str());
    let api = Api::start(world).await;
    let exporter = api.exporter(&config(FAST, "")).await;
    let page = exporter.page_all_up().await;
    let (week, today) = (("window", "last_7d"), ("window", "today"));
    let spend = page.value("spend", &[campaign, week]);
    assert!(spend > Some(0.0));
    for (status, name) in [(Status::Archived, "ARCHIVED"), (Status::Deleted, "DELETED")] {
        api.simulator
            .update_world(|world| world.accounts[0].campaigns[0].status = status);
        let page = exporter
            .page_when(|page| !page.all("campaign_info", &[("status", name)]).is_empty())
            .await;
        let polled = page.value("last_success_timestamp_seconds", &[today]);
        let page = exporter
            .page_when(|page| page.value("last_success_timestamp_seconds", &[today]) > polled)
            .await;
        assert_eq!(page.value("spend", &[campaign, week]), spend, "{name}");
        page.assert_absent("spend", &[campaign, today]);
        page.assert("exporter_campaigns", &[], "2");
    }
    // Long ago, it is in no window.
    api.simulator.update_world(|world| {
        world.accounts[0].campaigns[0].last_day = Some(date(2026, 10, 1));
    });
    exporter
        .page_when(|page| page.all("campaign_info", &[campaign]).is_empty())
        .await;
}

#[tokio::test]
async fn account_total_includes_archived_campaigns() {
    let mut world = World::with_campaigns(3, 1);
    world.accounts[0].campaigns[1].status = Status::Deleted;
    let config = config("interval: 15m", "");
    for level in ["campaign", "adset", "account"] {
        let api = Api::start(world.clone()).await;
        let config = format!("insights: {{ level: {level} }}\n{config}");
        let page = api.exporter(&config).await.page_all_up().await;
        let page = if page.all("account_spend", &[]).len() == 2 {
            page
        } else {
            api.exporter(&config)
                .await
                .page_when(|page| page.all("account_spend", &[]).len() == 2)
                .await
        };
        for (window, since, until) in [
            ("today", "2026-11-23", "2026-11-23"),
            ("last_7d", "2026-11-16", "2026-11-22"),
        ] {
            let expected = api.truth(ACCOUNT, since, until).unwrap();
            let spend: f64 = expected.values["marketing_messages_spend"].parse().unwrap();
            let labels = [("window", window), ("currency", "EUR")];
            assert_eq!(page.value("account_spend", &labels), Some(spend), "{level}");
            let rows: f64 = page
                .all("spend", &[("window", window)])
                .iter()
                .map(|s| s.value())
                .sum();
            assert!(
                (rows - spend).abs() < 1e-6,
                "{level}: {rows} should be {spend}"
            );
            page.assert("account_spend_unattributed", &labels, "0");
        }
    }
}

#[tokio::test]
async fn unattributed_spend_is_requested_again_when_campaigns_come_or_go() {
    let mut world = World::with_campaigns(4, 0);
    world.accounts[0].campaigns[0].is_message = false;
    let api = Api::start(world).await;
    let exporter = api.exporter(&config(FAST, "")).await;
    let today = [("window", "today")];
    // The clock of the simulator does not move, so that the sum is exact once all was requested again.
    let is_explained = |page: &Page| {
        let total = page.value("account_spend", &today);
        let rest = page.value("account_spend_unattributed", &today);
        let rows = page.all("spend", &today);
        let rows: f64 = rows.iter().map(|row| row.value()).sum();
        let sum = rest.map(|rest| rest + rows);
        sum.zip(total)
            .is_some_and(|(sum, total)| (sum - total).abs() < 1e-6)
    };
    for (is_message, rows) in [(false, 3), (true, 4), (false, 3)] {
        api.simulator
            .update_world(|world| world.accounts[0].campaigns[0].is_message = is_message);
        let page = exporter
            .page_when(|page| is_explained(page) && page.all("spend", &today).len() == rows)
            .await;
        let expected = api.truth(ACCOUNT, "2026-11-23", "2026-11-23").unwrap();
        let expected: f64 = expected.values["marketing_messages_spend"].parse().unwrap();
        assert_eq!(
            page.value("account_spend", &today),
            Some(expected),
            "{rows} rows"
        );
    }
}

#[tokio::test]
async fn status_filter_is_reduced_where_the_api_refuses_it() {
    for (fault, archived) in [
        ("rejected_status=DELETED@endpoint:insights", 1),
        ("rejected_status=ARCHIVED@endpoint:insights", 0),
        ("rejected_status=ACTIVE@endpoint:insights", 0),
    ] {
        let mut world = World::with_campaigns(4, 0);
        world.accounts[0].campaigns[0].status = Status::Archived;
        world.accounts[0].campaigns[1].status = Status::Deleted;
        let api = Api::start(world).await;
        api.inject_faults(&[fault]);
        let exporter = api.exporter(&config(FAST, "")).await;
        exporter.page_all_up().await;
        let page = exporter
            .page_when(|page| !page.all("account_spend_unattributed", &[]).is_empty())
            .await;
        let rows = page.all("spend", &[("window", "today")]).len();
        assert_eq!(rows, 2 + archived, "{fault}");
        // What is not shown is not attributed to a campaign.
        let rest = page.value("account_spend_unattributed", &[("window", "today")]);
        assert!(rest > Some(0.0), "{fault}");
        let refused = || {
            let requests = api.simulator.requests();
            requests
                .iter()
                .filter(|request| request.status != 200)
                .count()
        };
        let (before, calls) = (refused(), api.calls("/insights"));
        wait_until("further polls", || api.calls("/insights") > calls + 3).await;
        assert_eq!(refused(), before, "{fault}");
    }
}
