//! Bulkheads: whoever hangs takes nobody along.

use std::time::Duration;

use marketing_messages_exporter::simulator::{Token, World};
use tokio::time::{Instant, sleep};

use crate::harness::{Api, Exporter};

/// The demo's businesses, and `many`, which has forty campaigns of its own.
fn world() -> World {
    let mut world = World::demo();
    let many = World::with_campaigns(40, 0);
    world.tokens.push(Token {
        text: "EAASimulatedTokenOfMany".to_owned(),
        business: "many".to_owned(),
        app: world.apps[0].id.clone(),
        expires_at: 0,
        sees: None,
    });
    world.accounts.extend(many.accounts);
    world
}

/// How often `kereru` is polled in three seconds, of the fifteen times that it should be.
async fn polls_in_three_seconds(exporter: &Exporter) -> f64 {
    let labels = [("business", "kereru")];
    let polls = |page: &crate::page::Page| page.value("exporter_polls_total", &labels).unwrap();
    let skipped = |page: &crate::page::Page| page.value("exporter_polls_skipped_total", &labels);
    let before = exporter
        .page_when(|page| page.value("up", &labels) == Some(1.0))
        .await;
    let began = Instant::now();
    sleep(Duration::from_secs(3)).await;
    let after = exporter.page().await;
    after.assert("up", &labels, "1");
    // One that a busy machine makes late is no pile-up.
    let skipped = skipped(&after).unwrap() - skipped(&before).unwrap();
    assert!(skipped <= 2.0, "{skipped} polls skipped");
    (polls(&after) - polls(&before)) * 3.0 / began.elapsed().as_secs_f64()
}

#[tokio::test]
async fn bulkheads_forty_hanging_sources_of_one_business_leave_anothers_polls_on_time() {
    let api = Api::start(world()).await;
    api.break_with(&["hang@business:many"]);
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
    let began = Instant::now();
    let exporter = api.exporter(&config).await;
    let polls = polls_in_three_seconds(&exporter).await;
    assert!(polls >= 10.0, "{polls} of 15");
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "at once: {:?}",
        began.elapsed()
    );
    let waiting = api.simulator.requests();
    let waiting = waiting
        .iter()
        .filter(|r| r.business.as_deref() == Some("many"));
    assert_eq!(waiting.count(), 2, "a quarter of the eight");
}

#[tokio::test]
async fn bulkheads_twelve_hanging_businesses_leave_a_thirteenths_polls_on_time() {
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
    api.break_with(&faults.iter().map(String::as_str).collect::<Vec<_>>());
    let exporter = api.exporter(&config).await;
    // By now each of them has failed once, and is known to.
    exporter
        .page_when(|page| {
            let failed = page.all("exporter_poll_failures_total", &[("reason", "unavailable")]);
            failed.iter().filter(|failed| failed.value() > 0.0).count() == 12
        })
        .await;
    let polls = polls_in_three_seconds(&exporter).await;
    assert!(polls >= 10.0, "{polls} of 15");
}
