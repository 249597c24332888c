//! State file of a running exporter: exit status, crashes, failures, polls on request and signals.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use graph_simulator::World;
use marketing_messages_exporter::state;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::program::{Folder, Program};
use super::restart::{configure, state as state_flag};
use crate::harness::{Api, set_clock, token as demo_token, wait_until};

/// Runs the exporter, which should refuse to start. Returns exit status and log.
fn refused(folder: &Folder) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
        .arg(format!(
            "--config.file={}",
            folder.path("config.yaml").display()
        ))
        .arg("--web.listen-address=127.0.0.1:0")
        .arg(state_flag(folder))
        .env("TEST_CLOCK_OFFSET_MS", set_clock().as_millis().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), log)
}

#[tokio::test]
async fn foreign_state_file_exits_with_2_and_is_unchanged() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    for content in [
        "businesses: []\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "EAAGm0",
    ] {
        fs::write(folder.path("state"), content).unwrap();
        let (code, log) = refused(&folder);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains("not a state file"), "{log}");
        assert_eq!(folder.read("state"), content);
        assert!(!folder.path("state.refused").exists());
    }
    assert!(api.simulator.requests().is_empty());
}

#[tokio::test]
async fn state_file_in_use_exits_with_1() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let program = Program::start(&folder, &[&state_flag(&folder)]).await;
    program.visitor.page_all_up().await;
    let requests = api.simulator.requests().len();
    let (code, log) = refused(&folder);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("in use by another process"), "{log}");
    assert_eq!(api.simulator.requests().len(), requests);
}

#[tokio::test]
async fn kill_at_any_moment_leaves_a_usable_file() {
    let api = Api::demo().await;
    tokio::join!(
        kill_repeatedly(&api, [0, 137]),
        kill_repeatedly(&api, [274, 411]),
        kill_repeatedly(&api, [548, 685]),
    );
}

/// Kills the exporter at moments of a write, of which none is more likely than another.
async fn kill_repeatedly(api: &Api, moments_ms: [u64; 2]) {
    let folder = Folder::new();
    // Something changes with every write.
    configure(api, &folder, "interval: 200ms, backoff_max: 200ms");
    let mut is_saved = false;
    for moment in moments_ms {
        let mut program = Program::start(&folder, &[&state_flag(&folder)]).await;
        let log = program.log();
        assert!(!log.contains("cannot use the state file"), "{log}");
        assert_eq!(log.contains("state restored"), is_saved, "{log}");
        sleep(Duration::from_millis(1_800 + moment)).await;
        program.signal("KILL");
        program.ended().await;
        is_saved = state::read(&folder.path("state")).unwrap().is_some();
    }
    assert!(is_saved);
}

#[tokio::test]
async fn missing_folder_is_logged_and_counted() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let flag = format!("--state.file={}", folder.path("missing/state").display());
    let program = Program::start(&folder, &[&flag]).await;
    let failures = "exporter_state_write_failures_total";
    let page = program
        .visitor
        .page_when(|page| page.value(failures, &[]).is_some_and(|count| count > 0.0))
        .await;
    assert_eq!(
        page.value("exporter_state_last_write_timestamp_seconds", &[]),
        None
    );
    let log = program.log();
    assert!(log.contains("folder_exists=false"), "{log}");
    program.visitor.page_all_up().await;
}

#[tokio::test]
async fn last_write_is_exported() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let program = Program::start(&folder, &[&state_flag(&folder)]).await;
    let last_write = "exporter_state_last_write_timestamp_seconds";
    let page = program
        .visitor
        .page_when(|page| page.value(last_write, &[]).is_some())
        .await;
    page.assert("exporter_state_write_failures_total", &[], "0");
    let without = Program::start(&folder, &[]).await;
    let page = without.visitor.page().await;
    assert_eq!(page.value(last_write, &[]), None);
    assert_eq!(page.value("exporter_state_write_failures_total", &[]), None);
}

#[tokio::test]
async fn poll_on_request_polls_all_sources() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "");
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    program.visitor.page_all_up().await;
    let before = api.simulator.requests().len();
    assert_eq!(program.visitor.get("/-/poll").await.status, 405);
    let response = program.visitor.request("POST", "/-/poll", "").await;
    assert_eq!(response.status, 202);
    wait_until("all ad accounts are polled again", || {
        let requests = api.simulator.requests();
        let accounts = ["1101", "1102", "1201"];
        accounts.iter().all(|account| {
            let mut later = requests[before..].iter();
            later.any(|call| call.path.ends_with(&format!("{account}/insights")))
        })
    })
    .await;
    let cross_site = program
        .visitor
        .request("POST", "/-/poll", "Sec-Fetch-Site: cross-site\r\n")
        .await;
    assert_eq!(cross_site.status, 403);
    let disabled = Program::start(&folder, &[]).await;
    assert_eq!(
        disabled.visitor.request("POST", "/-/poll", "").await.status,
        403
    );
}

#[tokio::test]
async fn second_signal_exits_at_once_with_its_number() {
    // A page that does not fit into the buffers of a connection.
    let api = Api::start(World::with_campaigns(700, 1)).await;
    let folder = Folder::new();
    let token = folder.write("token", &demo_token("EVERYONE"));
    folder.write(
        "config.yaml",
        &format!(
            "graph: {{ url: \"{}\" }}\nbusinesses: [{{ name: many, access_token_file: {}, ad_accounts: [{{ id: act_10150000000009001 }}] }}]\n",
            api.simulator.url(),
            token.display()
        ),
    );
    for (second, number) in [("INT", 2), ("TERM", 15)] {
        let script = "ulimit -c unlimited; exec \"$0\" \"$@\"";
        let mut program = Program::start_with(&folder, &[], script).await;
        program.visitor.page_all_up().await;
        // The response is never read, so that the shutdown waits for it.
        let mut reader = TcpStream::connect(program.visitor.address).await.unwrap();
        reader
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        reader.readable().await.unwrap();
        program.signal("TERM");
        // Both signals are not merged, because the first one is handled by then.
        while TcpStream::connect(program.visitor.address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
        program.signal(second);
        let status = program.ended().await;
        assert_eq!(status.code(), Some(128 + number), "{status}");
        assert!(!status.core_dumped());
    }
}

#[tokio::test]
async fn log_level_changes_with_signals() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "interval: 200ms, backoff_max: 200ms");
    let program = Program::start(&folder, &[]).await;
    program.visitor.page_all_up().await;
    assert!(!program.log().contains("level=debug"));
    program.signal("USR1");
    program.logs("level=debug").await;
    program.signal("USR2");
    program.logs("log level changed\" level=info").await;
}

#[tokio::test]
async fn repeated_failures_are_logged_once() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "interval: 200ms, backoff_max: 200ms");
    api.inject_faults(&["rejected=803@act_10150000000001101&endpoint:insights"]);
    let program = Program::start(&folder, &[]).await;
    let failures = |page: &crate::page::Page| {
        page.value("exporter_poll_failures_total", &[("reason", "rejected")])
    };
    program
        .visitor
        .page_when(|page| failures(page).is_some_and(|count| count >= 8.0))
        .await;
    // One line per window.
    let log = program.log();
    assert_eq!(log.matches("poll failed").count(), 2, "{log}");
    api.clear_faults();
    program.logs("poll recovered").await;
    let log = program.log();
    let recovery = log.lines().find(|line| line.contains("poll recovered"));
    assert!(recovery.unwrap().contains("failed_for_seconds="), "{log}");
}
