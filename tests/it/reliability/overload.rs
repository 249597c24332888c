//! Shutdown and overload: it ends when it is told to, and serves those who ask properly.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::program::{Folder, Program};
use crate::harness::{Api, token};

fn configure(api: &Api, folder: &Folder, interval: &str) {
    let token = folder.write("token", &token("EVERYONE"));
    let accounts =
        [1101, 1102, 1201, 1301, 1401].map(|n| format!("{{ id: act_1015000000000{n} }}"));
    folder.write(
        "config.yaml",
        &format!(
            "graph: {{ url: \"{}\" }}
polling: {{ interval: {interval}, backoff_max: 500ms }}
businesses: [{{ name: acme, access_token_file: {}, ad_accounts: [{}] }}]
",
            api.simulator.url(),
            token.display(),
            accounts.join(", ")
        ),
    );
}

#[tokio::test]
async fn shutdown_takes_less_than_five_seconds_while_every_request_hangs() {
    let api = Api::demo().await;
    api.break_with(&["hang"]);
    let folder = Folder::new();
    configure(&api, &folder, "15m");
    let state = format!("--state.file={}", folder.path("state").display());
    let mut program = Program::start(&folder, &[&state]).await;
    crate::harness::wait_until("requests hang", || api.simulator.requests().len() >= 2).await;
    // And a client that will never read its answer, and one that never asks.
    let mut slow = TcpStream::connect(program.visitor.address).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let _silent = TcpStream::connect(program.visitor.address).await.unwrap();
    program.signal("TERM");
    let (status, took) = program.ended().await;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// The slowest of ten scrapes.
async fn slowest_scrape(program: &Program) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let start = Instant::now();
        let answer = program
            .visitor
            .ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")
            .await;
        assert_eq!(answer.status, 200);
        slowest = slowest.max(start.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    slowest
}

#[tokio::test]
async fn overload_three_hundred_slow_and_half_open_clients_do_not_delay_a_scrape() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "1s");
    let program = Program::start(&folder, &[]).await;
    program.visitor.page_up().await;
    let mut clients = Vec::new();
    for number in 0..300 {
        let mut client = TcpStream::connect(program.visitor.address).await.unwrap();
        match number % 3 {
            // Says nothing.
            0 => {}
            // Never comes to the point.
            1 => client
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nX-Slow: ")
                .await
                .unwrap(),
            // Asks again and again, and reads nothing.
            _ => {
                let many = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(40);
                client.write_all(many.as_bytes()).await.unwrap();
            }
        }
        clients.push(client);
    }
    let slowest = slowest_scrape(&program).await;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    println!("the slowest of ten scrapes: {slowest:?}");
    assert_eq!(program.visitor.get("/-/healthy").await.status, 200);
    drop(clients);
}

#[tokio::test]
async fn overload_running_out_of_file_descriptors_is_survived() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "300ms");
    let state = format!("--state.file={}", folder.path("state").display());
    let program = Program::start_with(&folder, &[&state], "ulimit -n 48; exec \"$0\" \"$@\"").await;
    let before = program.visitor.page_up().await;
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(TcpStream::connect(program.visitor.address).await.unwrap());
    }
    // Nobody is accepted and no file can be opened any more.
    sleep(Duration::from_secs(3)).await;
    let log = program.log();
    assert!(log.contains("Too many open files"), "{log}");
    drop(clients);
    let page = program.visitor.page_up().await;
    assert_eq!(program.visitor.get("/-/healthy").await.status, 200);
    assert_eq!(
        page.all("delivered", &[]).len(),
        before.all("delivered", &[]).len()
    );
    let denied = [("reason", "denied")];
    page.assert("exporter_poll_failures_total", &denied, "0");
    let lines = program.log().matches("are not accepted").count();
    assert!((1..=2).contains(&lines), "{lines} lines in three seconds");
}

#[tokio::test]
async fn overload_a_header_without_end_is_refused() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "15m");
    let program = Program::start(&folder, &[]).await;
    let mut client = TcpStream::connect(program.visitor.address).await.unwrap();
    client
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n")
        .await
        .unwrap();
    let line = format!("X-Long: {}\r\n", "x".repeat(1000));
    for _ in 0..100 {
        if client.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    drop(client.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(program.visitor.get("/-/healthy").await.status, 200);
}
