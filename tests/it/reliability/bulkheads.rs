//! Bulkheads: requests of one business that hang do not delay the polls of another.

use graph_simulator::{Token, World};

use crate::harness::{Api, Exporter};

/// Returns the demo world with an additional business `many`, with forty more campaigns.
fn world() -> World {
    let mut world = World::demo();
    let many = World::with_campaigns(40, 0);
    world.tokens.push(Token {
        text: "EAASimulatedTokenOfMany".to_owned(),
        business: "many".to_owned(),
        app: world.apps[0].id.clone(),
        expires_at: 0,
        data_access_expires_at: 0,
        visible_accounts: None,
    });
    world.accounts.extend(many.accounts);
    world
}

/// Waits until `kereru` was polled 15 times, at an interval of 200 ms. Returns the mean number of polls of each of the
/// hanging businesses in that time, which the timeout of their requests limits, however busy the machine is.
async fn hanging_polls_during_15_polls(exporter: &Exporter, hanging: &str) -> f64 {
    let labels = [("business", "kereru")];
    let polls = |page: &crate::page::Page| page.value("exporter_polls_total", &labels).unwrap();
    let hanging_polls = |page: &crate::page::Page| {
        let polls = page.all("exporter_polls_total", &[]);
        let counts: Vec<f64> = polls
            .iter()
            .filter(|sample| {
                sample
                    .labels
                    .iter()
                    .any(|(_, value)| value.starts_with(hanging))
            })
            .map(|sample| sample.value())
            .collect();
        counts.iter().sum::<f64>() / counts.len() as f64
    };
    let before = exporter
        .page_when(|page| page.value("up", &labels) == Some(1.0))
        .await;
    let after = exporter
        .page_when(|page| polls(page) >= polls(&before) + 15.0)
        .await;
    after.assert("up", &labels, "1");
    hanging_polls(&after) - hanging_polls(&before)
}

#[tokio::test]
async fn hanging_sources_do_not_delay_another_business() {
    let api = Api::start(world()).await;
    api.inject_faults(&["hang@business:many"]);
    let ids = (0..40).map(|n| format!("{{ id: \"{}\" }}", 120_210_001_000_000_000_u64 + n * 1_000));
    let config = format!(
        "polling: {{ interval: 200ms }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - {{ name: many, access_token_env: MANY, campaigns: [{}] }}
  - {{ name: kereru, access_token_env: KERERU, ad_accounts: [{{ id: act_10150000000001401 }}] }}
",
        ids.collect::<Vec<_>>().join(", ")
    );
    let exporter = api.exporter(&config).await;
    let polls = hanging_polls_during_15_polls(&exporter, "many").await;
    assert!(polls < 12.0, "{polls} polls of the hanging business");
    let requests = api.simulator.requests();
    let hanging = requests
        .iter()
        .filter(|r| r.business.as_deref() == Some("many"));
    // All campaigns are polled together.
    assert_eq!(hanging.count(), 1);
}

#[tokio::test]
async fn hanging_businesses_do_not_delay_another_business() {
    let mut world = world();
    for number in 0..12 {
        world.tokens.push(Token {
            text: format!("EAASimulatedTokenOfH{number}"),
            business: format!("h{number}"),
            ..world.tokens[0].clone()
        });
    }
    let api = Api::start(world).await;
    let faults: Vec<String> = (0..12).map(|n| format!("hang@business:h{n}")).collect();
    let mut config = "graph: { timeout: 500ms }
polling: { interval: 200ms }
windows: [{ name: today, date_preset: today }]
businesses:
"
    .to_owned();
    for number in 0..12 {
        config += &format!(
            "  - {{ name: h{number}, access_token_env: H{number}, ad_accounts: [{{ id: act_{} }}] }}\n",
            8_000 + number
        );
    }
    config += "  - { name: kereru, access_token_env: KERERU, ad_accounts: [{ id: act_10150000000001401 }] }\n";
    api.inject_faults(&faults.iter().map(String::as_str).collect::<Vec<_>>());
    let exporter = api.exporter(&config).await;
    // Waits until every hanging business counts as degraded after a first failure.
    exporter
        .page_when(|page| {
            let failed = page.all("exporter_poll_failures_total", &[("reason", "unavailable")]);
            failed.iter().filter(|failed| failed.value() > 0.0).count() == 12
        })
        .await;
    let polls = hanging_polls_during_15_polls(&exporter, "h").await;
    assert!(polls < 12.0, "{polls} polls of each hanging business");
}
