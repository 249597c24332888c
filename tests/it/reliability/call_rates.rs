//! Calls an hour at the default settings, as docs/scaling.md lists them.

use std::sync::Arc;
use std::time::Duration;

use graph_simulator::{Simulator, World};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::harness::{Exporter, NOW, parse, pass};

const HOUR: Duration = Duration::from_secs(3600);

const SECOND: Duration = Duration::from_secs(1);

/// Time after which the calls of the start are over.
const SETTLED_AFTER: Duration = Duration::from_secs(30 * 60);

/// Returns the calls of an hour, insights first, then all others.
async fn calls_an_hour(world: World, config: &str) -> (usize, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (start_time, start) = (NOW.parse::<jiff::Timestamp>().unwrap(), Instant::now());
    let clock = Arc::new(move || start_time + start.elapsed());
    let api = Simulator::start(listener, world, clock).await.unwrap();
    let config = format!("graph: {{ timeout: 10h }}\n{config}");
    let exporter = Exporter::start(&parse(&config, &api.url())).await;
    let request_count = || api.request_count();
    pass(SETTLED_AFTER, SECOND, request_count).await;
    let before = api.requests().len();
    pass(HOUR, SECOND, request_count).await;
    let requests = api.requests();
    let hour = &requests[before..];
    let insights = hour.iter().filter(|call| call.path.ends_with("/insights"));
    let insights = insights.count();
    exporter.stop().await;
    (insights, hour.len() - insights)
}

/// Returns a config with one business that has the first ad accounts of [`World::with_businesses`].
fn accounts(count: u64) -> String {
    let ids = (0..count).map(|number| format!("{{ id: act_{} }}", 10_150_000_000_010_000 + number));
    let ids: Vec<String> = ids.collect();
    format!(
        "businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{}] }}]\n",
        ids.join(", ")
    )
}

#[tokio::test(start_paused = true)]
async fn ad_account_needs_at_most_seven_calls_an_hour() {
    for count in [1, 10] {
        let world = World::with_businesses(10, 3);
        let (insights, others) = calls_an_hour(world, &accounts(count)).await;
        println!("{count} ad accounts: {insights} insights, {others} other calls");
        let count = usize::try_from(count).unwrap();
        // Four polls of `today`, one of them together with `last_30d`, and the spend of the whole ad account. One more
        // of each, because an hour has no fixed beginning.
        assert!(insights <= 5 * count + 1, "{insights} for {count}");
        assert!(others <= count + 1, "{others} for {count}");
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "measurement for docs/scaling.md that takes minutes"]
async fn measure_calls_an_hour() {
    let campaigns = (0..40_u64)
        .map(|number| format!("{{ id: \"{}\" }}", 120_210_001_000_000_000 + number * 1_000));
    let campaigns: Vec<String> = campaigns.collect();
    let campaign_sources = format!(
        "businesses: [{{ name: acme, access_token_env: EVERYONE, campaigns: [{}] }}]\n",
        campaigns.join(", ")
    );
    let mut businesses = "businesses:\n".to_owned();
    for number in 0..2_000_u64 {
        businesses += &format!(
            "  - {{ name: b{number}, access_token_env: BUSINESS{number}, ad_accounts: [{{ id: act_{} }}] }}\n",
            10_150_000_000_010_000 + number
        );
    }
    for (name, world, config) in [
        (
            "40 campaign sources",
            World::with_campaigns(40, 0),
            campaign_sources,
        ),
        (
            "200 ad accounts",
            World::with_businesses(200, 3),
            accounts(200),
        ),
        (
            "2,000 businesses",
            World::with_businesses(2_000, 3),
            businesses,
        ),
    ] {
        let (insights, others) = calls_an_hour(world, &config).await;
        println!("{name}: {insights} insights, {others} other calls");
    }
}
