//! Limits that no client can exhaust for the others: connections, slow readers, password checks.

use std::sync::Arc;
use std::time::Duration;

use marketing_messages_exporter::http::WebConfigFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::{CONFIG, Folder, GuardedServer, HANG_GUARD, LOW_BCRYPT_COST, request};
use crate::harness::{Visitor, pass};

const SECOND: Duration = Duration::from_secs(1);

/// Size of socket buffers, which the system can round up.
const SOCKET_BUFFER_BYTES: u32 = 4096;

/// Businesses of a server with large pages.
const BUSINESSES: usize = 200;

/// Maximum number of unread responses that are rendered on request, as documented.
const MAX_SLOW_READERS: usize = 16;

/// Credentials `alice:open`.
const ALICE: &str = "Authorization: Basic YWxpY2U6b3Blbg==\r\n";

async fn unprotected() -> (Folder, GuardedServer) {
    let folder = Folder::new();
    let web = folder.write("web.yaml", "");
    let server = GuardedServer::start(&web).await;
    (folder, server)
}

/// Returns the value of a self metric.
fn value(page: &str, name: &str) -> f64 {
    let prefix = format!("marketing_messages_exporter_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn idle_connections_do_not_block_scrapes_and_probes() {
    let (_folder, server) = unprotected().await;
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(server.connect().await);
    }
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        let response = server.get(path, "").await;
        assert!(!response.is_empty(), "{path} should be answered");
    }
    let page = server.get("/metrics", "").await;
    assert!(value(&page, "http_connections") <= 512.0, "{page}");
    // The oldest ones were closed.
    let closed = timeout(HANG_GUARD, idle[0].read(&mut [0])).await.unwrap();
    assert_eq!(closed.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn first_header_must_arrive_within_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = GuardedServer::start_with(listener, WebConfigFile::none(), CONFIG);
    let mut silent = server.connect().await;
    let mut partial = server.connect().await;
    partial.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut persistent = server.connect().await;
    let request = b"HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
    persistent.write_all(request).await.unwrap();
    assert_ne!(persistent.read(&mut [0; 4096]).await.unwrap(), 0);
    let start = Instant::now();
    for stream in [&mut silent, &mut partial] {
        let read = timeout(HANG_GUARD, stream.read(&mut [0])).await;
        assert_eq!(read.expect("connection should be closed").unwrap_or(0), 0);
    }
    let elapsed = start.elapsed().as_secs();
    assert!(elapsed >= 9, "closed after {elapsed} s");
    // An idle persistent connection stays open for longer.
    persistent.write_all(request).await.unwrap();
    assert_ne!(persistent.read(&mut [0; 4096]).await.unwrap(), 0);
}

/// Starts a server with small socket buffers, which its pages exceed.
async fn with_large_pages() -> GuardedServer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = "businesses:\n".to_owned();
    for number in 0..BUSINESSES {
        config += &format!(
            "  - {{ name: b{number}, access_token_env: T, ad_accounts: [{{ id: act_1{number} }}] }}\n"
        );
    }
    let listener = socket.listen(64).unwrap();
    GuardedServer::start_with(listener, WebConfigFile::none(), &config)
}

/// Sends a request and reads one byte of the response.
async fn read_one_byte(server: &GuardedServer, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    stream
}

#[tokio::test(start_paused = true)]
async fn slow_readers_of_pages_made_on_request_are_limited() {
    let names = (0..BUSINESSES).map(|number| format!("business=b{number}"));
    let selected = format!("/metrics?{}", names.collect::<Vec<_>>().join("&"));
    for path in ["/metrics", &selected, "/", "/api/status"] {
        let server = Arc::new(with_large_pages().await);
        let mut readers = Vec::new();
        for _ in 0..MAX_SLOW_READERS {
            readers.push(read_one_byte(&server, path).await);
        }
        let (other, requested) = (Arc::clone(&server), path.to_owned());
        let refused = tokio::spawn(async move { other.get(&requested, "").await });
        pass(4 * SECOND, SECOND, || 0).await;
        assert!(!refused.is_finished(), "{path}: should wait for a reader");
        let visitor = Visitor {
            address: server.address,
        };
        for other in ["/metrics", "/-/healthy", "/-/ready"] {
            let response = visitor.request("GET", other, "Accept-Encoding: gzip\r\n");
            assert_ne!(response.await.header("content-length"), None, "{other}");
        }
        pass(2 * SECOND, SECOND, || 0).await;
        assert!(refused.is_finished(), "{path}: should wait for 5 s");
        let refused = refused.await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 503 "), "{path}: {refused}");
        assert!(refused.contains("retry-after: 5\r\n"), "{path}: {refused}");
        // A client that reads too little within 20 s is disconnected, and another takes its place.
        pass(20 * SECOND, SECOND, || 0).await;
        let response = server.get(path, "").await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{path}: {response}");
        let length = response.split_once("\r\n\r\n").unwrap().1.len();
        for mut reader in readers {
            let mut rest = Vec::new();
            // Fails if the connection was reset.
            let _ = timeout(HANG_GUARD, reader.read_to_end(&mut rest))
                .await
                .unwrap();
            assert!(rest.len() < length, "{path}: {} of {length}", rest.len());
        }
    }
}

#[tokio::test]
async fn right_password_is_accepted_while_others_guess() {
    let folder = Folder::new();
    let slow_hash = bcrypt::hash("x", 10).unwrap();
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    let web = format!("basic_auth_users: {{ alice: {hash}, slow: {slow_hash} }}\n");
    let server = GuardedServer::start(&folder.write("web.yaml", &web)).await;
    let mut guesses = Vec::new();
    for number in 0..100 {
        let password = format!("slow:guess{number}");
        let encoded = base64(&password);
        let mut stream = server.connect().await;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {encoded}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        guesses.push(stream);
    }
    let response = server.get("/metrics", ALICE).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    // Some guesses still wait: the other user was not queued behind them.
    let last = guesses.last_mut().unwrap();
    assert!(
        timeout(Duration::ZERO, last.read(&mut [0])).await.is_err(),
        "guesses should be checked one at a time"
    );
    let page = server.get("/metrics", ALICE).await;
    assert!(value(&page, "http_auth_failures_total") < 100.0);
}

#[tokio::test]
async fn refused_clients_do_not_use_up_the_rate_limit() {
    let folder = Folder::new();
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    let web = format!(
        "basic_auth_users: {{ alice: {hash} }}\nrate_limit: {{ interval: 1h, burst: 2 }}\n"
    );
    let server = GuardedServer::start(&folder.write("web.yaml", &web)).await;
    for _ in 0..5 {
        assert!(
            server
                .get("/metrics", "")
                .await
                .starts_with("HTTP/1.1 401 ")
        );
        assert!(
            server
                .get("/-/healthy", ALICE)
                .await
                .starts_with("HTTP/1.1 200 ")
        );
    }
    for status in ["200", "200", "429"] {
        let response = server.get("/metrics", ALICE).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
    }
    let stream = server.connect().await;
    assert!(
        request(stream, "/-/ready", ALICE)
            .await
            .starts_with("HTTP/1.1 ")
    );
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * digit)) & 63;
            encoded.push(char::from(DIGITS[index as usize]));
        }
    }
    encoded
}
