//! Adaptation to rejected fields, page sizes and API versions: applied and logged once.

use graph_simulator::World;

use super::program::{Folder, Program};
use crate::harness::{Api, token, wait_until};

/// Starts the binary with two ad accounts and two windows of the demo.
async fn start_program(api: &Api, folder: &Folder) -> Program {
    let token = folder.write("token", &token("EVERYONE"));
    folder.write(
        "config.yaml",
        &format!(
            "graph: {{ url: \"{}\" }}
polling: {{ interval: 150ms }}
windows: [{{ name: today, date_preset: today }}, {{ name: week, date_preset: last_7d }}]
businesses: [{{ name: acme, access_token_file: {}, ad_accounts: [{{ id: act_10150000000001101 }}, {{ id: act_10150000000001102 }}] }}]
",
            api.simulator.url(),
            token.display()
        ),
    );
    Program::start(folder, &[]).await
}

#[tokio::test]
async fn rejected_field_is_logged_once_and_others_remain() {
    let api = Api::demo().await;
    api.inject_faults(&["rejected_field=marketing_messages_read_rate"]);
    let folder = Folder::new();
    let program = start_program(&api, &folder).await;
    let page = program
        .visitor
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(20.0))
        .await;
    page.assert(
        "exporter_field_rejected",
        &[("field", "marketing_messages_read_rate")],
        "1",
    );
    page.assert_absent("read_ratio", &[]);
    assert!(page.all("delivered", &[]).len() >= 12 && page.all("conversions", &[]).len() >= 120);
    assert!(page.all("up", &[]).iter().all(|up| up.number == "1"));
    let errors = page.all("exporter_api_request_errors_total", &[]);
    let errors: f64 = errors.iter().map(|sample| sample.value()).sum();
    assert!(
        errors <= 2.0,
        "each of the two sources should request the field at most once: {errors}"
    );
    let log = program.log();
    assert_eq!(log.matches("field rejected by the API").count(), 1, "{log}");
    // The API accepts the field again, and a reload requests it.
    api.clear_faults();
    program.signal("HUP");
    let page = program
        .visitor
        .page_when(|page| page.all("read_ratio", &[("window", "today")]).len() >= 3)
        .await;
    page.assert_absent("exporter_field_rejected", &[]);
}

#[tokio::test]
async fn upgraded_api_version_is_exported_and_logged_once() {
    let api = Api::demo().await;
    api.inject_faults(&["version=v28.0"]);
    let folder = Folder::new();
    let program = start_program(&api, &folder).await;
    let page = program
        .visitor
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(12.0))
        .await;
    let versions = [("configured", "v27.0"), ("answered", "v28.0")];
    page.assert("exporter_api_version_info", &versions, "1");
    assert_eq!(page.all("exporter_api_version_info", &[]).len(), 1);
    let configured = versions[0].1;
    page.assert(
        "exporter_api_version_warning",
        &[("version", configured)],
        "1",
    );
    // The end of the newest version is not known.
    page.assert_absent("exporter_api_version_end_timestamp_seconds", &[]);
    let log = program.log();
    assert_eq!(
        log.matches("API version differs from the configured one")
            .count(),
        1,
        "{log}"
    );
    assert!(
        log.contains("auto-upgraded"),
        "Meta's warning should be logged: {log}"
    );
    api.clear_faults();
    program
        .visitor
        .page_when(|page| {
            page.value("exporter_api_version_info", &[("answered", "v27.0")]) == Some(1.0)
                && page.all("exporter_api_version_info", &[]).len() == 1
        })
        .await;
}

#[tokio::test]
async fn reduced_page_size_is_kept_by_later_polls() {
    let api = Api::start(World::with_campaigns(30, 0)).await;
    api.inject_faults(&["too_large=8;code=1487534@endpoint:insights"]);
    let config = "polling: { interval: 150ms }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000009001 }] }]
";
    let exporter = api.exporter(config).await;
    let page = exporter
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(5.0))
        .await;
    assert_eq!(page.all("delivered", &[]).len(), 30);
    page.assert("up", &[], "1");
    let requests = api.simulator.requests();
    let rejected = requests
        .iter()
        .filter(|request| request.status != 200)
        .count();
    // With the limits 500, 250, 125, 62, 31 and 15.
    assert_eq!(
        rejected, 6,
        "the first poll should find the page size, and later polls keep it"
    );
}

#[tokio::test]
async fn two_failed_attempts_do_not_fail_the_poll() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let program = start_program(&api, &folder).await;
    program.visitor.page_all_up().await;
    api.inject_faults(&["unavailable=2@act_10150000000001101*2"]);
    let labels = [("reason", "unavailable"), ("code", "2")];
    program
        .visitor
        .page_when(|page| page.value("exporter_api_request_errors_total", &labels) == Some(2.0))
        .await;
    let requests_before = api.simulator.request_count();
    wait_until("ten further requests", || {
        api.simulator.request_count() >= requests_before + 10
    })
    .await;
    let page = program.visitor.page().await;
    page.assert("exporter_api_request_errors_total", &labels, "2");
    page.assert(
        "exporter_poll_failures_total",
        &[("reason", "unavailable")],
        "0",
    );
    assert!(page.all("up", &[]).iter().all(|up| up.number == "1"));
}
