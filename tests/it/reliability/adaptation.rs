//! Adaptation: what the API cannot give is learnt once, told once, and costs nothing else.

use std::time::Duration;

use marketing_messages_exporter::simulator::World;
use tokio::time::sleep;

use super::program::{Folder, Program};
use crate::harness::{Api, token};

/// The binary on two ad accounts and two windows of the demo.
async fn serve(api: &Api, folder: &Folder) -> Program {
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
async fn adaptation_a_rejected_field_is_warned_about_once_and_the_others_go_on() {
    let api = Api::demo().await;
    api.break_with(&["rejected_field=marketing_messages_read_rate"]);
    let folder = Folder::new();
    let program = serve(&api, &folder).await;
    let polls =
        |n: f64| move |page: &crate::page::Page| page.value("exporter_polls_total", &[]) >= Some(n);
    let page = program.visitor.page_when(polls(20.0)).await;
    page.assert(
        "exporter_field_rejected",
        &[("field", "marketing_messages_read_rate")],
        "1",
    );
    page.assert_absent("read_ratio", &[]);
    assert!(page.all("delivered", &[]).len() >= 12 && page.all("conversions", &[]).len() >= 120);
    assert!(page.all("up", &[]).iter().all(|up| up.number == "1"));
    // Each source asked for it once.
    let errors = page.all("exporter_api_request_errors_total", &[]);
    let errors: f64 = errors.iter().map(|errors| errors.value()).sum();
    assert!(errors <= 2.0, "{errors}");
    let log = program.log();
    assert_eq!(
        log.matches("the API does not take this field").count(),
        1,
        "{log}"
    );
}

#[tokio::test]
async fn adaptation_an_upgraded_version_is_on_the_page_and_warned_about_once() {
    let api = Api::demo().await;
    api.break_with(&["version=v27.0"]);
    let folder = Folder::new();
    let program = serve(&api, &folder).await;
    let page = program
        .visitor
        .page_when(|page| page.value("exporter_polls_total", &[]) >= Some(12.0))
        .await;
    let versions = [("configured", "v26.0"), ("answered", "v27.0")];
    page.assert("exporter_api_version_info", &versions, "1");
    assert_eq!(page.all("exporter_api_version_info", &[]).len(), 1);
    let log = program.log();
    assert_eq!(
        log.matches("another API version answered").count(),
        1,
        "{log}"
    );
    assert!(log.contains("auto-upgraded"), "Meta's own warning: {log}");
    api.mend();
    program
        .visitor
        .page_when(|page| {
            page.value("exporter_api_version_info", &[("answered", "v26.0")]) == Some(1.0)
                && page.all("exporter_api_version_info", &[]).len() == 1
        })
        .await;
}

#[tokio::test]
async fn adaptation_a_page_size_that_worked_is_kept_by_every_later_poll() {
    let api = Api::start(World::with_campaigns(30, 0)).await;
    api.break_with(&["too_large=8;code=1487534@endpoint:insights"]);
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
    let refused = requests
        .iter()
        .filter(|request| request.status != 200)
        .count();
    assert_eq!(refused, 6, "500, 250, 125, 62, 31, 15, and never again");
}

#[tokio::test]
async fn retry_an_outage_of_two_answers_is_not_even_a_failed_poll() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let program = serve(&api, &folder).await;
    program.visitor.page_up().await;
    let requests = api.simulator.requests().len();
    api.break_with(&["unavailable=2@act_10150000000001101*2"]);
    sleep(Duration::from_secs(2)).await;
    let page = program.visitor.page().await;
    let labels = [("reason", "unavailable"), ("code", "2")];
    page.assert("exporter_api_request_errors_total", &labels, "2");
    page.assert(
        "exporter_poll_failures_total",
        &[("reason", "unavailable")],
        "0",
    );
    assert!(page.all("up", &[]).iter().all(|up| up.number == "1"));
    assert!(api.simulator.requests().len() > requests + 10);
}
