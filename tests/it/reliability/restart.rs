//! Restart: what was known is known at once, as old as it is, and nobody is asked sooner for it.

use std::fs;
use std::time::Duration;

use tokio::time::sleep;

use super::program::{Folder, Program, is_there};
use crate::harness::{Api, token, wait_until};
use crate::page::{Page, Sample};

fn configure(api: &Api, folder: &Folder, polling: &str) {
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

fn state(folder: &Folder) -> String {
    format!("--state.file={}", folder.path("state").display())
}

/// The campaigns' part of the page, and its ages.
fn known(page: &Page) -> Vec<Sample> {
    let about_itself = |name: &str| {
        name.starts_with("marketing_messages_exporter_") || name.starts_with("process_")
    };
    page.samples()
        .filter(|sample| !about_itself(&sample.name))
        .cloned()
        .collect()
}

fn schedule(page: &Page) -> Vec<f64> {
    page.all("exporter_next_poll_timestamp_seconds", &[])
        .iter()
        .map(|next| next.value())
        .collect()
}

#[tokio::test]
async fn restart_after_kill_9_the_page_is_back_before_any_call_and_polls_keep_their_places() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let mut program = Program::start(&folder, &[&state(&folder)]).await;
    program.visitor.page_up().await;
    // The file is written at most two seconds after a poll.
    sleep(Duration::from_millis(2_500)).await;
    let before = program.visitor.page().await;
    program.signal("KILL");
    program.ended().await;
    let calls = api.simulator.requests().len();
    let program = Program::start(&folder, &[&state(&folder)]).await;
    let after = program.visitor.page().await;
    assert_eq!(program.visitor.get("/-/ready").await.status, 200);
    assert_eq!(known(&after), known(&before), "to the digit, ages included");
    assert!(known(&after).len() > 400, "{}", known(&after).len());
    let (old, new) = (schedule(&before), schedule(&after));
    assert_eq!(old.len(), 8);
    for (old, new) in old.iter().zip(&new) {
        assert!((old - new).abs() < 1.5, "{old} {new}");
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        api.simulator.requests().len(),
        calls,
        "nothing was asked again"
    );
    let page = program.visitor.page().await;
    assert_eq!(known(&page), known(&before));
}

#[tokio::test]
async fn restart_a_hold_outlives_it_but_a_dead_token_is_tried_at_once() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    api.break_with(&[
        "throttled=80000;minutes=30@act_10150000000001101",
        "denied@act_10150000000001201",
    ]);
    let mut program = Program::start(&folder, &[&state(&folder)]).await;
    let held = |page: &Page| {
        page.value(
            "exporter_api_held_until_timestamp_seconds",
            &[("source", "act_10150000000001101")],
        )
    };
    let page = program
        .visitor
        .page_when(|page| {
            held(page).is_some() && page.value("exporter_token_valid", &[]) == Some(0.0)
        })
        .await;
    let before = held(&page).unwrap();
    sleep(Duration::from_millis(2_500)).await;
    program.signal("KILL");
    program.ended().await;
    api.mend();
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
            page.value(
                "up",
                &[("source", "act_10150000000001201"), ("window", "today")],
            ) == Some(1.0)
        })
        .await;
    let after = held(&page).expect("it waits on");
    assert!((before - after).abs() < 5.0, "{before} {after}");
    assert_eq!(calls("1101"), throttled);
    page.assert("exporter_token_valid", &[], "1");
}

#[tokio::test]
async fn restart_a_torn_foreign_or_future_state_file_is_set_aside_with_a_warning() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let mut program = Program::start(&folder, &[&state(&folder)]).await;
    program.visitor.page_up().await;
    let path = folder.path("state");
    wait_until("a state file", || is_there(&path)).await;
    program.signal("TERM");
    assert!(program.ended().await.0.success());
    let whole = fs::read(&path).unwrap();
    let torn = whole[..whole.len() / 2].to_vec();
    for (bytes, why) in [
        (torn, "torn"),
        (b"{\"some\": \"json\"}".to_vec(), "not a state file"),
        (
            b"marketing-messages-exporter state 99\nwho knows".to_vec(),
            "another release wrote it",
        ),
    ] {
        fs::write(&path, &bytes).unwrap();
        let mut program = Program::start(&folder, &[&state(&folder)]).await;
        let log = program.log();
        let warning = log
            .lines()
            .find(|line| line.contains("level=warn") && line.contains("state file"));
        assert!(
            warning.is_some_and(|line| line.contains(why)),
            "{why}: {log}"
        );
        assert_eq!(fs::read(folder.path("state.refused")).unwrap(), bytes);
        program.visitor.page_up().await;
        program.signal("TERM");
        assert!(program.ended().await.0.success());
        assert!(
            fs::read(&path)
                .unwrap()
                .starts_with(b"marketing-messages-exporter state 2\n")
        );
    }
}
