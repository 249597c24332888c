//! Restart: values are restored from the state file with their age, and the schedule is kept.

use std::fs;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::heavy::{answer, error, filtered_ids, id};
use super::program::{Folder, Program};
use crate::harness::{Api, token, wait_until};
use crate::page::{Page, Sample};
use crate::scripted_server::ScriptedServer;

pub(super) fn configure(api: &Api, folder: &Folder, polling: &str) {
    let token = folder.write("token", &token("EVERYONE"));
    folder.write(
        "config.yaml",
        &format!(
            "graph: {{ url: \"{}\" }}
polling: {{ {polling} }}
businesses:
  - name: acme
    access_token_file: {}
    ad_accounts: [{{ id: act_10150000000001101 }}, {{ id: act_10150000000001102 }}, {{ id: act_10150000000001201 }}]
    campaigns: [{{ id: \"120210000000041000\" }}]
",
            api.simulator.url(),
            token.display()
        ),
    );
}

pub(super) fn state(folder: &Folder) -> String {
    format!("--state.file={}", folder.path("state").display())
}

/// Waits until the text of the saved state meets a condition.
async fn saved(folder: &Folder, description: &str, condition: impl Fn(&str) -> bool) {
    let is_saved = || {
        let saved = marketing_messages_exporter::state::read(&folder.path("state"));
        saved
            .ok()
            .flatten()
            .is_some_and(|saved| condition(&format!("{saved:?}")))
    };
    wait_until(description, is_saved).await;
}

/// Returns the samples of a page without the self metrics.
fn campaign_samples(page: &Page) -> Vec<Sample> {
    let is_self_metric = |name: &str| {
        name.starts_with("marketing_messages_exporter_") || name.starts_with("process_")
    };
    page.samples()
        .filter(|sample| !is_self_metric(&sample.name))
        .cloned()
        .collect()
}

/// Returns the times of the next polls.
fn schedule(page: &Page) -> Vec<f64> {
    page.all("exporter_next_poll_timestamp_seconds", &[])
        .iter()
        .map(|next| next.value())
        .collect()
}

#[tokio::test]
async fn restart_after_kill_restores_values_and_schedule() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let mut program = Program::start(&folder, &[&state(&folder)]).await;
    program.visitor.page_all_up().await;
    saved(&folder, "all windows", |state| {
        state.matches("up: true").count() == 8
    })
    .await;
    let before = program.visitor.page().await;
    program.signal("KILL");
    program.ended().await;
    let calls = api.simulator.requests().len();
    let program = Program::start(&folder, &[&state(&folder)]).await;
    let after = program.visitor.page().await;
    assert_eq!(program.visitor.get("/-/ready").await.status, 200);
    let (restored, saved) = (campaign_samples(&after), campaign_samples(&before));
    assert_eq!(
        restored, saved,
        "values and timestamps should be restored exactly"
    );
    assert!(restored.len() > 400, "{} samples", restored.len());
    let (old, new) = (schedule(&before), schedule(&after));
    assert_eq!(old.len(), 8);
    for (old, new) in old.iter().zip(&new) {
        assert!(
            (old - new).abs() < 1.5,
            "the next poll should be kept: {old}, then {new}"
        );
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        api.simulator.requests().len(),
        calls,
        "no request should be sent before the next regular poll"
    );
    let page = program.visitor.page().await;
    assert_eq!(campaign_samples(&page), saved);
}

#[tokio::test]
async fn restart_keeps_throttling_pause_but_retries_bad_token() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let throttled = "throttled=80000;minutes=30@act_10150000000001101";
    api.inject_faults(&[throttled]);
    let flags = [state(&folder), "--web.enable-lifecycle".to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut program = Program::start(&folder, &flags).await;
    let paused_until = |page: &Page| {
        page.value(
            "exporter_api_paused_until_timestamp_seconds",
            &[("source", "act_10150000000001101")],
        )
    };
    let is_paused = |page: &Page| paused_until(page).is_some();
    let page = program.visitor.page_when(is_paused).await;
    let before = paused_until(&page).unwrap();
    // An invalid token pauses the whole business, so it must not come first.
    api.inject_faults(&[throttled, "denied@act_10150000000001201"]);
    let response = program.visitor.request("POST", "/-/poll", "").await;
    assert_eq!(response.status, 202, "{}", response.text());
    program
        .visitor
        .page_when(|page| page.value("exporter_token_valid", &[]) == Some(0.0))
        .await;
    // Not the one of the other source.
    let minute = Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(before);
    let minute = minute.to_string()[..16].to_owned();
    saved(&folder, "the pause", |state| {
        let mut pauses = state.split("paused_until: Some").skip(1);
        pauses.any(|rest| rest.chars().take(80).collect::<String>().contains(&minute))
    })
    .await;
    program.signal("KILL");
    program.ended().await;
    api.clear_faults();
    let calls = |account: &str| {
        api.simulator
            .requests()
            .iter()
            .filter(|r| r.path.contains(account))
            .count()
    };
    let throttled = calls("1101");
    let program = Program::start(&folder, &[&state(&folder)]).await;
    let page = program
        .visitor
        .page_when(|page| {
            let polled = page.value(
                "up",
                &[("source", "act_10150000000001201"), ("window", "today")],
            );
            // Metrics of businesses are rendered at most once a second.
            polled == Some(1.0) && paused_until(page).is_some()
        })
        .await;
    let after = paused_until(&page).unwrap();
    assert!(
        (before - after).abs() < 5.0,
        "the end of the pause should be kept: {before}, then {after}"
    );
    assert_eq!(calls("1101"), throttled);
    page.assert("exporter_token_valid", &[], "1");
}

#[tokio::test]
async fn unusable_state_file_is_renamed_with_a_warning() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let mut program = Program::start(&folder, &[&state(&folder)]).await;
    program.visitor.page_all_up().await;
    let path = folder.path("state");
    wait_until("the state file exists", || path.exists()).await;
    program.signal("TERM");
    assert!(program.ended().await.success());
    let complete = fs::read(&path).unwrap();
    let truncated = complete[..complete.len() / 2].to_vec();
    for (bytes, cause) in [
        (truncated, "damaged"),
        (
            b"marketing-messages-exporter state 99\nunknown content".to_vec(),
            "written by another release",
        ),
    ] {
        fs::write(&path, &bytes).unwrap();
        let mut program = Program::start(&folder, &[&state(&folder)]).await;
        let log = program.log();
        let warning = log
            .lines()
            .find(|line| line.contains("level=warn") && line.contains("state file"));
        assert!(
            warning.is_some_and(|line| line.contains(cause)),
            "the warning should name the cause {cause:?}: {log}"
        );
        assert_eq!(fs::read(folder.path("state.refused")).unwrap(), bytes);
        program.visitor.page_all_up().await;
        program.signal("TERM");
        assert!(program.ended().await.success());
        assert!(
            fs::read(&path)
                .unwrap()
                .starts_with(b"marketing-messages-exporter state 7\n")
        );
    }
}

#[tokio::test]
async fn rejected_field_is_not_requested_after_a_restart() {
    const FIELD: &str = "website_purchase_roas";
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    api.inject_faults(&["rejected_field=website_purchase_roas"]);
    let flags = [state(&folder), "--web.enable-lifecycle".to_owned()];
    let flags = flags.each_ref().map(String::as_str);
    let mut program = Program::start(&folder, &flags).await;
    program.visitor.page_all_up().await;
    saved(&folder, "the rejected field of all sources", |state| {
        state.matches("up: true").count() == 8 && state.matches(FIELD).count() == 4
    })
    .await;
    program.signal("KILL");
    program.ended().await;
    api.clear_faults();
    let before = api.simulator.requests().len();
    let program = Program::start(&folder, &flags).await;
    program.visitor.request("POST", "/-/poll", "").await;
    wait_until("all sources are polled", || {
        let requests = api.simulator.requests();
        let insights = requests[before..].iter();
        insights
            .filter(|call| call.path.ends_with("/insights"))
            .count()
            >= 4
    })
    .await;
    for call in &api.simulator.requests()[before..] {
        let fields = call.param("fields").unwrap_or_default();
        assert!(!fields.contains(FIELD), "{} {fields}", call.path);
    }
    let page = program.visitor.page().await;
    page.assert("exporter_field_rejected", &[("field", FIELD)], "1");
}

#[tokio::test]
async fn splits_and_heavy_campaigns_are_known_after_a_restart() {
    const REFUSAL: &str = "Please reduce the amount of data you're asking for";
    let is_too_heavy = |path: &str, query: &str| {
        let ids = filtered_ids(query);
        let has_actions = query.contains("actions") && (ids.is_empty() || ids.contains(&id(7)));
        let is_split = !ids.is_empty() && ids.len() <= 20;
        path.ends_with("/insights")
            && !query.contains("level=account")
            && (has_actions || !is_split)
    };
    let server = ScriptedServer::start(move |path, query| {
        if is_too_heavy(path, query) {
            return error(500, 1, None, REFUSAL);
        }
        answer(path, query, 60)
    })
    .await;
    let folder = Folder::new();
    let token = folder.write("token", "EAAGm0");
    folder.write(
        "config.yaml",
        &format!(
            "graph: {{ url: \"{}\" }}
polling: {{ interval: 200ms, backoff_max: 200ms }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_file: {}, ad_accounts: [{{ id: act_1 }}] }}]
",
            server.url(),
            token.display()
        ),
    );
    let mut program = Program::start(&folder, &[&state(&folder)]).await;
    let heavy = format!("too_heavy: {{\"{}\"}}", id(7));
    let is_known = |state: &str| state.contains(&heavy) && state.contains("per_query: Some(");
    saved(&folder, "the splits", is_known).await;
    program.signal("KILL");
    program.ended().await;
    let before = server.requests().len();
    let program = Program::start(&folder, &[&state(&folder)]).await;
    let polls = |page: &Page| page.value("exporter_polls_total", &[]);
    let page = program
        .visitor
        .page_when(|page| polls(page) >= Some(3.0))
        .await;
    let campaign = id(7);
    let labels = [
        ("reason", "actions_too_heavy"),
        ("campaign_id", campaign.as_str()),
    ];
    page.assert("exporter_rows_withheld", &labels, "1");
    let requests = server.requests().split_off(before);
    let refused: Vec<_> = requests
        .iter()
        .filter(|(path, query)| is_too_heavy(path, query))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}
