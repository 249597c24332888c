//! Tokens: a dead one pauses its business, a new one heals it, and its expiry is told.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use marketing_messages_exporter::secret::SecretSource;
use marketing_messages_exporter::simulator::World;

use super::program::Folder;
use crate::harness::{Api, Exporter, parse, token};

const THREE: &str = "polling: { interval: 200ms }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
  - { name: hinode, access_token_env: HINODE, ad_accounts: [{ id: act_10150000000001301 }] }
";

/// What is looked at every ten seconds, and a poll.
const HEALED: Duration = Duration::from_secs(12);

#[tokio::test]
async fn tokens_a_dead_one_pauses_and_a_rewritten_file_or_a_swapped_link_heals_it() {
    let api = Api::demo().await;
    let folder = Folder::new();
    // As Kubernetes mounts secrets: the token is a link through a link to a folder, which is what
    // is swapped.
    folder.write("one/token", &token("NORDLICHT"));
    symlink("one", folder.path("..data")).unwrap();
    symlink("..data/token", folder.path("nordlicht")).unwrap();
    let mut config = parse(THREE, &api.simulator.url());
    config.businesses[0].token = SecretSource::File(folder.write("aurora", &token("AURORA")));
    config.businesses[1].token = SecretSource::File(folder.path("nordlicht"));
    let exporter = Exporter::start(&config).await;
    let good = exporter.page_up().await;
    api.simulator.update_world(|world| {
        for token in &mut world.tokens {
            if ["aurora", "nordlicht"].contains(&token.business.as_str()) {
                token.text = format!("EAANewTokenOf{}", token.business);
            }
        }
    });
    let page = exporter
        .page_when(|page| {
            ["aurora", "nordlicht"].iter().all(|name| {
                page.value("exporter_token_valid", &[("business", name)]) == Some(0.0)
                    && page.value("up", &[("business", name)]) == Some(0.0)
            })
        })
        .await;
    for business in ["aurora", "nordlicht"] {
        page.assert("up", &[("business", business)], "0");
        let held = page.value(
            "exporter_api_held_until_timestamp_seconds",
            &[("business", business)],
        );
        assert!(held.is_some());
    }
    assert_eq!(
        page.all("delivered", &[]).len(),
        good.all("delivered", &[]).len(),
        "values stay"
    );
    let refused = |business: &str| {
        let requests = api.simulator.requests();
        let old = token(business);
        requests
            .iter()
            .filter(|r| r.status != 200 && r.bearer.as_ref() == Some(&old))
            .count()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        refused("AURORA") <= 2,
        "five intervals, {} calls",
        refused("AURORA")
    );
    let began = Instant::now();
    folder.write("aurora", "EAANewTokenOfaurora\n");
    folder.write("two/token", "EAANewTokenOfnordlicht");
    symlink("two", folder.path("..new")).unwrap();
    fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    let page = exporter.page_up().await;
    assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
    for business in ["aurora", "nordlicht", "hinode"] {
        page.assert("exporter_token_valid", &[("business", business)], "1");
    }
    page.assert_absent("exporter_api_held_until_timestamp_seconds", &[]);
    assert!(refused("AURORA") <= 2 && refused("NORDLICHT") <= 2);
}

#[tokio::test]
async fn tokens_a_good_one_that_is_replaced_is_used_at_the_next_poll() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let mut config = parse(THREE, &api.simulator.url());
    config.businesses[0].token = SecretSource::File(folder.write("aurora", &token("AURORA")));
    let exporter = Exporter::start(&config).await;
    exporter.page_up().await;
    folder.write("aurora", &token("EVERYONE"));
    let new = token("EVERYONE");
    crate::harness::wait_until("the new token is sent", || {
        api.simulator
            .requests()
            .iter()
            .any(|r| r.bearer.as_ref() == Some(&new))
    })
    .await;
    let page = exporter.page().await;
    let denied = [("business", "aurora"), ("reason", "denied")];
    page.assert("exporter_poll_failures_total", &denied, "0");
}

#[tokio::test]
async fn tokens_expiry_is_told_where_an_app_secret_lets_us_ask() {
    let mut world = World::demo();
    for token in &mut world.tokens {
        token.expires_at = match token.business.as_str() {
            "aurora" => 1_797_000_000,
            _ => 0,
        };
    }
    let api = Api::start(world).await;
    let app = format!("graph: {{ app_id: \"1234567890\", app_secret_env: APP_SECRET }}\n{THREE}");
    let exporter = api.exporter(&app).await;
    exporter.page_up().await;
    let aurora = [("business", "aurora")];
    let page = exporter
        .page_when(|page| {
            page.value("exporter_token_expires_timestamp_seconds", &aurora)
                .is_some()
        })
        .await;
    page.assert(
        "exporter_token_expires_timestamp_seconds",
        &aurora,
        "1797000000",
    );
    for never in ["nordlicht", "hinode"] {
        page.assert_absent(
            "exporter_token_expires_timestamp_seconds",
            &[("business", never)],
        );
    }
    let asked = api.calls("debug_token");
    assert!((1..=3).contains(&asked), "once a business, {asked}");
}

#[tokio::test]
async fn tokens_expiry_is_not_asked_for_without_an_app_secret() {
    let api = Api::demo().await;
    let exporter = api.exporter(THREE).await;
    let page = exporter.page_up().await;
    page.assert_absent("exporter_token_expires_timestamp_seconds", &[]);
    assert_eq!(api.calls("debug_token"), 0);
}

#[tokio::test]
async fn tokens_no_poll_waits_for_the_question_when_they_expire() {
    let api = Api::demo().await;
    api.break_with(&["hang@endpoint:debug_token"]);
    let app = format!("graph: {{ app_id: \"1234567890\", app_secret_env: APP_SECRET }}\n{THREE}");
    let began = Instant::now();
    let exporter = api.exporter(&app).await;
    exporter.page_up().await;
    exporter
        .page_when(|page| {
            let polls = page.all("exporter_polls_total", &[]);
            polls.len() == 3 && polls.iter().all(|polls| polls.value() >= 3.0)
        })
        .await;
    // One request may take 30 s.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(api.calls("debug_token") >= 1);
}
