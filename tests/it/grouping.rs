//! Campaign sources: those of one ad account are polled together, and yield to an ad account source.

use graph_simulator::{LoggedRequest, Status, World};

use crate::harness::{Api, wait_until};
use crate::simulator_agreement::assert_row;

const ACCOUNT: &str = "act_10150000000009001";

/// First and last day of the window `today`.
const TODAY: [&str; 2] = ["2026-11-23", "2026-11-23"];

/// Config of a business with these sources.
fn config(polling: &str, sources: &str) -> String {
    format!(
        "polling: {{ {polling} }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, {sources} }}]
"
    )
}

/// Returns campaign sources with these ids.
fn campaigns(ids: &[String]) -> String {
    let sources = ids.iter().map(|id| format!("{{ id: \"{id}\" }}"));
    format!("campaigns: [{}]", sources.collect::<Vec<_>>().join(", "))
}

/// Returns the ids of the campaigns of the only ad account.
fn campaign_ids(world: &World) -> Vec<String> {
    let campaigns = world.accounts[0].campaigns.iter();
    campaigns.map(|campaign| campaign.id.to_string()).collect()
}

fn insights(api: &Api) -> Vec<LoggedRequest> {
    let requests = api.simulator.requests().into_iter();
    requests
        .filter(|request| request.path.ends_with("/insights"))
        .collect()
}

/// Returns the number of all requests when `polls` requests for insights have been sent.
async fn requests_of(world: &World, sources: &str, polls: usize) -> usize {
    let api = Api::start(world.clone()).await;
    let exporter = api.exporter(&config("interval: 100ms", sources)).await;
    let page = exporter.page_all_up().await;
    assert_eq!(page.all("spend", &[]).len(), 40);
    for campaign in page.all("campaign_info", &[]) {
        let id = campaign.label("campaign_id");
        let expected = api.truth(id, TODAY[0], TODAY[1]).unwrap();
        assert_row(&page, &[("campaign_id", id)], &expected);
    }
    wait_until("polls", || insights(&api).len() >= polls).await;
    exporter.stop().await;
    // Requests that were sent while the exporter stopped count for neither.
    let requests = api.simulator.requests();
    let is_insights = |request: &&LoggedRequest| request.path.ends_with("/insights");
    let others = requests.iter().filter(|r| !is_insights(r)).count();
    polls + others
}

#[tokio::test]
async fn campaigns_of_an_account_cost_what_the_account_costs() {
    const POLLS: usize = 40;
    let world = World::with_campaigns(40, 3);
    let account = requests_of(
        &world,
        &format!("ad_accounts: [{{ id: {ACCOUNT} }}]"),
        POLLS,
    )
    .await;
    let ids = &campaign_ids(&world)[..40];
    let together = requests_of(&world, &campaigns(ids), POLLS).await;
    assert!(
        together * 10 <= account * 11,
        "{together} requests, {account} of the ad account"
    );
}

#[tokio::test]
async fn later_discoveries_are_one_request_of_the_account() {
    let world = World::with_campaigns(5, 3);
    let ids = campaign_ids(&world);
    let api = Api::start(world).await;
    let polling = "interval: 100ms, discovery_interval: 100ms";
    let exporter = api.exporter(&config(polling, &campaigns(&ids[..5]))).await;
    exporter.page_all_up().await;
    let discoveries = || {
        let requests = api.simulator.requests().into_iter();
        let others = requests.filter(|request| !request.path.ends_with("/insights"));
        others.collect::<Vec<_>>()
    };
    let before = discoveries().len();
    wait_until("discoveries", || discoveries().len() > before + 6).await;
    for request in &discoveries()[before..] {
        assert!(request.path.ends_with(ACCOUNT), "{request:?}");
        let fields = request.param("fields").unwrap();
        assert!(ids[..5].iter().all(|id| fields.contains(id)), "{fields}");
    }
}

#[tokio::test]
async fn account_that_cannot_be_read_is_polled_by_campaign() {
    let world = World::with_campaigns(4, 0);
    let ids = campaign_ids(&world);
    let api = Api::start(world).await;
    api.inject_faults(&["forbidden@endpoint:account", "forbidden@endpoint:campaigns"]);
    let exporter = api
        .exporter(&config("interval: 100ms", &campaigns(&ids)))
        .await;
    let page = exporter.page_all_up().await;
    assert_eq!(page.all("delivered", &[]).len(), 4);
    page.assert_absent("account_info", &[]);
    let refused = || {
        let requests = api.simulator.requests();
        let refused = requests.iter().filter(|request| request.status != 200);
        refused.count()
    };
    let (before, polls) = (refused(), insights(&api).len());
    wait_until("further polls", || insights(&api).len() > polls + 12).await;
    assert_eq!(
        refused(),
        before,
        "the ad account should not be requested again"
    );
    for request in &insights(&api)[polls..] {
        assert!(!request.path.contains("act_"), "{}", request.path);
    }
}

#[tokio::test]
async fn ids_of_ads_and_ad_sets_count_as_their_campaign() {
    let world = World::with_campaigns(4, 0);
    let ids = campaign_ids(&world);
    let adset = world.accounts[0].campaigns[1].adsets[0].id.to_string();
    let ad = world.accounts[0].campaigns[2].adsets[0].ads[0]
        .id
        .to_string();
    let configured = [ids[0].clone(), adset, ad];
    let api = Api::start(world).await;
    let exporter = api
        .exporter(&config("interval: 100ms", &campaigns(&configured)))
        .await;
    let page = exporter.page_all_up().await;
    for (configured, id) in configured.iter().zip(&ids) {
        let expected = api.truth(id, TODAY[0], TODAY[1]).unwrap();
        assert_row(&page, &[("campaign_id", configured)], &expected);
    }
    let polls = insights(&api).len();
    wait_until("further polls", || insights(&api).len() > polls + 4).await;
    for request in insights(&api).split_off(polls + 1) {
        let filter = request.param("filtering").unwrap();
        assert!(ids[..3].iter().all(|id| filter.contains(id)), "{filter}");
    }
    exporter.stop().await;
    // Next to the ad account, they are duplicates.
    let sources = format!(
        "ad_accounts: [{{ id: {ACCOUNT} }}], {}",
        campaigns(&configured)
    );
    let exporter = api.exporter(&config("interval: 100ms", &sources)).await;
    let page = exporter
        .page_when(|page| page.all("up", &[]).len() == 1 && page.all("delivered", &[]).len() == 4)
        .await;
    assert_eq!(page.all("campaign_info", &[]).len(), 4);
}

#[tokio::test]
async fn source_is_duplicate_only_while_the_account_has_values() {
    let world = World::with_campaigns(3, 0);
    let id = campaign_ids(&world)[1].clone();
    let api = Api::start(world).await;
    let sources = format!(
        "ad_accounts: [{{ id: {ACCOUNT} }}], {}",
        campaigns(std::slice::from_ref(&id))
    );
    let polling = "interval: 100ms, stale_after: 500ms, backoff_max: 100ms";
    let exporter = api.exporter(&config(polling, &sources)).await;
    let source = [("source", id.as_str())];
    exporter
        .page_when(|page| {
            page.all("delivered", &[]).len() == 3 && page.all("up", &source).is_empty()
        })
        .await;
    let own = || {
        let requests = insights(&api);
        requests.iter().filter(|r| r.path.contains(&id)).count()
    };
    let (before, polls) = (own(), insights(&api).len());
    wait_until("further polls", || insights(&api).len() > polls + 6).await;
    assert_eq!(own(), before, "a duplicate should not be polled");
    // Queries of the campaign itself have no level.
    api.inject_faults(&["rejected_param=level@endpoint:insights"]);
    let page = exporter
        .page_when(|page| page.all("delivered", &[]).len() == 1)
        .await;
    page.assert("up", &source, "1");
    assert_eq!(page.all("delivered", &[("campaign_id", &id)]).len(), 1);
    api.clear_faults();
    exporter
        .page_when(|page| {
            page.all("delivered", &[]).len() == 3 && page.all("up", &source).is_empty()
        })
        .await;
}

#[tokio::test]
async fn archived_source_is_polled_no_more_often_than_discovered() {
    let mut world = World::with_campaigns(2, 0);
    let ids = campaign_ids(&world);
    world.accounts[0].campaigns[0].status = Status::Archived;
    let api = Api::start(world).await;
    let [archived, active] = [&ids[..1], &ids[1..]].map(campaigns);
    let text = format!(
        "polling: {{ interval: 100ms }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - {{ name: archived, access_token_env: EVERYONE, {archived} }}
  - {{ name: active, access_token_env: EVERYONE, {active} }}
"
    );
    let exporter = api.exporter(&text).await;
    exporter.page_all_up().await;
    let polls = |id: &str| {
        let requests = insights(&api);
        requests.iter().filter(|r| r.path.contains(id)).count()
    };
    wait_until("polls of the other campaign", || polls(&ids[1]) > 8).await;
    // Its status is known only after the first poll.
    assert!(polls(&ids[0]) <= 2, "{}", polls(&ids[0]));
}
