//! Shutdown and overload: the exporter ends in time, and slow or malformed clients do not affect others.

use std::time::Duration;

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
async fn shutdown_waits_for_neither_requests_nor_clients() {
    let api = Api::demo().await;
    api.inject_faults(&["hang"]);
    let folder = Folder::new();
    configure(&api, &folder, "15m");
    let state = format!("--state.file={}", folder.path("state").display());
    let mut program = Program::start(&folder, &[&state]).await;
    crate::harness::wait_until("requests hang", || api.simulator.requests().len() >= 2).await;
    // A client that does not read the response, and one that does not send a request.
    let mut slow = TcpStream::connect(program.visitor.address).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let _silent = TcpStream::connect(program.visitor.address).await.unwrap();
    program.signal("TERM");
    // Waits for less than the timeouts of requests and slow clients.
    let status = program.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn slow_and_half_open_clients_do_not_delay_scrapes() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "1s");
    let program = Program::start(&folder, &[]).await;
    program.visitor.page_all_up().await;
    let mut clients = Vec::new();
    for number in 0..300 {
        let mut client = TcpStream::connect(program.visitor.address).await.unwrap();
        match number % 3 {
            // Sends nothing.
            0 => {}
            // Does not complete its header.
            1 => client
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nX-Slow: ")
                .await
                .unwrap(),
            // Sends many requests and reads no response.
            _ => {
                let requests = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(40);
                client.write_all(requests.as_bytes()).await.unwrap();
            }
        }
        clients.push(client);
    }
    for _ in 0..10 {
        // Each must be answered before the slow clients reach their time limits.
        let gzip = "Accept-Encoding: gzip\r\n";
        let response = program.visitor.request("GET", "/metrics", gzip).await;
        assert_eq!(response.status, 200);
    }
    assert_eq!(program.visitor.get("/-/healthy").await.status, 200);
    drop(clients);
}

#[tokio::test]
async fn exporter_recovers_from_too_many_open_files() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, "300ms");
    let state = format!("--state.file={}", folder.path("state").display());
    let program = Program::start_with(&folder, &[&state], "ulimit -n 48; exec \"$0\" \"$@\"").await;
    let before = program.visitor.page_all_up().await;
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(TcpStream::connect(program.visitor.address).await.unwrap());
    }
    // No connection can be accepted and no file opened.
    sleep(Duration::from_secs(3)).await;
    let log = program.log();
    assert!(log.contains("Too many open files"), "{log}");
    drop(clients);
    let page = program.visitor.page_all_up().await;
    assert_eq!(program.visitor.get("/-/healthy").await.status, 200);
    assert_eq!(
        page.all("delivered", &[]).len(),
        before.all("delivered", &[]).len()
    );
    // Token files that could not be read do not count as invalid tokens.
    let unauthenticated = [("reason", "unauthenticated")];
    page.assert("exporter_poll_failures_total", &unauthenticated, "0");
    let lines = program
        .log()
        .matches("accepting a connection failed")
        .count();
    assert!(
        (1..=2).contains(&lines),
        "the warning should be rate limited: {lines} lines in three seconds"
    );
}

#[tokio::test]
async fn header_without_end_is_refused() {
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
    let mut response = Vec::new();
    // Fails if the connection was reset.
    let _ = client.read_to_end(&mut response).await;
    let response = String::from_utf8_lossy(&response);
    assert!(
        response.is_empty() || response.starts_with("HTTP/1.1 431"),
        "{response}"
    );
    assert_eq!(program.visitor.get("/-/healthy").await.status, 200);
}
