//! Access tokens: an invalid one pauses its business, a new one resumes it; export of the expiry.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use graph_simulator::World;
use marketing_messages_exporter::model::SecretSource;
use tokio::time::Instant;

use super::program::Folder;
use crate::harness::{Api, Exporter, parse, token};

const PAUSED_UNTIL: &str = "exporter_api_paused_until_timestamp_seconds";
const TOKEN_EXPIRES: &str = "exporter_token_expires_timestamp_seconds";
const DATA_ACCESS_EXPIRES: &str = "exporter_token_data_access_expires_timestamp_seconds";

const THREE_BUSINESSES: &str = "polling: { interval: 200ms }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, ad_accounts: [{ id: act_10150000000001201 }] }
  - { name: hinode, access_token_env: HINODE, ad_accounts: [{ id: act_10150000000001301 }] }
";

/// Ten seconds until a token file is read again, and one poll.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(12);

#[tokio::test(start_paused = true)]
async fn changed_token_file_resumes_the_business() {
    let api = Api::demo().await;
    let folder = Folder::new();
    // As Kubernetes mounts secrets: the token is a link through `..data`, a link to a folder. An
    // update replaces `..data`.
    folder.write("one/token", &token("NORDLICHT"));
    symlink("one", folder.path("..data")).unwrap();
    symlink("..data/token", folder.path("nordlicht")).unwrap();
    let mut config = parse(THREE_BUSINESSES, &api.simulator.url());
    config.businesses[0].token = SecretSource::File(folder.write("aurora", &token("AURORA")));
    config.businesses[1].token = SecretSource::File(folder.path("nordlicht"));
    let exporter = Exporter::start(&config).await;
    let before = exporter.page_all_up().await;
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
        let paused_until = page.value(PAUSED_UNTIL, &[("business", business)]);
        assert!(paused_until.is_some(), "{business} should be paused");
    }
    assert_eq!(
        page.all("delivered", &[]).len(),
        before.all("delivered", &[]).len(),
        "values should remain"
    );
    let refused_calls = |business: &str| {
        let old_token = token(business);
        let requests = api.simulator.requests();
        requests
            .iter()
            .filter(|request| request.status != 200 && request.bearer.as_ref() == Some(&old_token))
            .count()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let calls = refused_calls("AURORA");
    assert!(
        calls <= 2,
        "a paused business should send no requests for five intervals: {calls}"
    );
    let start = Instant::now();
    folder.write("aurora", "EAANewTokenOfaurora\n");
    folder.write("two/token", "EAANewTokenOfnordlicht");
    symlink("two", folder.path("..new")).unwrap();
    fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    let page = exporter.page_all_up().await;
    assert!(start.elapsed() < RECOVERY_TIMEOUT, "{:?}", start.elapsed());
    for business in ["aurora", "nordlicht", "hinode"] {
        page.assert("exporter_token_valid", &[("business", business)], "1");
    }
    page.assert_absent(PAUSED_UNTIL, &[]);
    let calls = ["AURORA", "NORDLICHT"].map(refused_calls);
    assert!(
        calls.iter().all(|calls| *calls <= 2),
        "the old tokens should not be sent again: {calls:?}"
    );
}

#[tokio::test]
async fn replaced_valid_token_is_used_by_the_next_poll() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let mut config = parse(THREE_BUSINESSES, &api.simulator.url());
    config.businesses[0].token = SecretSource::File(folder.write("aurora", &token("AURORA")));
    let exporter = Exporter::start(&config).await;
    exporter.page_all_up().await;
    folder.write("aurora", &token("EVERYONE"));
    let new_token = token("EVERYONE");
    crate::harness::wait_until("a request with the new token", || {
        api.simulator
            .requests()
            .iter()
            .any(|request| request.bearer.as_ref() == Some(&new_token))
    })
    .await;
    let page = exporter.page().await;
    let unauthenticated = [("business", "aurora"), ("reason", "unauthenticated")];
    page.assert("exporter_poll_failures_total", &unauthenticated, "0");
}

#[tokio::test]
async fn token_expiry_is_exported_with_an_app_secret() {
    let mut world = World::demo();
    for token in &mut world.tokens {
        // 0: never.
        match token.business.as_str() {
            "aurora" => token.expires_at = 1_797_000_000,
            "hinode" => token.data_access_expires_at = 1_798_000_000,
            _ => {}
        }
    }
    let api = Api::start(world).await;
    let config = format!(
        "graph: {{ app_id: \"1234567890\", app_secret_env: APP_SECRET }}\n{THREE_BUSINESSES}"
    );
    let exporter = api.exporter(&config).await;
    exporter.page_all_up().await;
    let aurora = [("business", "aurora")];
    let page = exporter
        .page_when(|page| page.value(TOKEN_EXPIRES, &aurora).is_some())
        .await;
    page.assert(TOKEN_EXPIRES, &aurora, "1797000000");
    for business in ["nordlicht", "hinode"] {
        page.assert_absent(TOKEN_EXPIRES, &[("business", business)]);
    }
    let hinode = [("business", "hinode")];
    exporter
        .page_when(|page| page.value(DATA_ACCESS_EXPIRES, &hinode) == Some(1_798_000_000.0))
        .await;
    for business in ["aurora", "nordlicht"] {
        page.assert_absent(DATA_ACCESS_EXPIRES, &[("business", business)]);
    }
    let calls = api.calls("debug_token");
    assert!(
        (1..=3).contains(&calls),
        "each of the three businesses should be looked up at most once: {calls}"
    );
}

#[tokio::test]
async fn token_expiry_is_not_requested_without_an_app_secret() {
    let api = Api::demo().await;
    let exporter = api.exporter(THREE_BUSINESSES).await;
    let page = exporter.page_all_up().await;
    page.assert_absent(TOKEN_EXPIRES, &[]);
    assert_eq!(api.calls("debug_token"), 0);
}

#[tokio::test]
async fn polls_do_not_wait_for_debug_token() {
    let api = Api::demo().await;
    api.inject_faults(&["hang@endpoint:debug_token"]);
    let config = format!(
        "graph: {{ app_id: \"1234567890\", app_secret_env: APP_SECRET }}\n{THREE_BUSINESSES}"
    );
    // `debug_token` hangs for 30 s, longer than the test waits for a page.
    let exporter = api.exporter(&config).await;
    exporter.page_all_up().await;
    exporter
        .page_when(|page| {
            let polls = page.all("exporter_polls_total", &[]);
            polls.len() == 3 && polls.iter().all(|sample| sample.value() >= 3.0)
        })
        .await;
    assert!(api.calls("debug_token") >= 1);
}

#[tokio::test]
async fn every_source_shows_the_error_of_the_token() {
    let api = Api::demo().await;
    api.inject_faults(&["denied=463"]);
    // More sources than requests in flight: the requests of some are not sent, because the business is paused already.
    let accounts =
        [1101, 1102, 1201, 1301].map(|number| format!("{{ id: act_1015000000000{number} }}"));
    let config = format!(
        "businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{}] }}]",
        accounts.join(", ")
    );
    let exporter = api.exporter(&config).await;
    exporter.page_after_first_round().await;
    let status = exporter.get("/api/status").await.text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let sources = status["businesses"][0]["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 4);
    for source in sources {
        for window in source["windows"].as_array().unwrap() {
            let error = &window["error"];
            assert_eq!(error["code"], 190, "{source:#}");
            assert_eq!(error["reason"], "unauthenticated", "{source:#}");
            assert!(error["remedy"].is_string(), "{source:#}");
        }
    }
}
