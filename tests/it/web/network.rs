//! Listeners, paths and headers: health listener, route prefix, cross-site requests, common headers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{
    CertificateAuthority, Folder, GuardedServer, LOW_BCRYPT_COST, request, served_address,
};
use crate::harness::wait_until;
use crate::process::{BUSINESS, Program};

async fn exchange(address: std::net::SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut response = String::new();
    let _ = stream.read_to_string(&mut response).await;
    response
}

fn method_request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn every_response_has_protective_headers() {
    let folder = Folder::new();
    let server = GuardedServer::start(&folder.write("web.yaml", "")).await;
    for (method, path, headers, status) in [
        ("GET", "/", "", 200),
        ("GET", "/metrics", "", 200),
        ("GET", "/metrics", "Accept-Encoding: gzip\r\n", 200),
        ("HEAD", "/metrics", "", 200),
        ("GET", "/metrics?business=acme", "", 200),
        ("GET", "/metrics?business=none", "", 404),
        ("GET", "/api/status", "Accept-Encoding: gzip\r\n", 200),
        ("GET", "/-/healthy", "", 200),
        ("GET", "/none", "", 404),
        ("POST", "/metrics", "", 405),
        ("DELETE", "/none", "", 404),
        ("GET", "/-/reload", "", 405),
        ("POST", "/-/reload", "", 403),
        ("POST", "/-/reload", "Sec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let mut stream = server.connect().await;
        let text = method_request(method, path, headers);
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let response = String::from_utf8_lossy(&bytes);
        let head = response.split("\r\n\r\n").next().unwrap();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {head}"
        );
        for header in ["x-content-type-options: nosniff", "cache-control: no-store"] {
            assert!(head.contains(header), "{method} {path}: {head}");
        }
        if status == 405 {
            assert!(head.contains("allow: "), "{head}");
        }
        let is_compressed = headers.contains("gzip");
        assert_eq!(
            head.contains("content-encoding: gzip"),
            is_compressed,
            "{head}"
        );
    }
}

#[tokio::test]
async fn host_header_must_be_unique() {
    let folder = Folder::new();
    let server = GuardedServer::start(&folder.write("web.yaml", "")).await;
    for (text, status) in [
        ("GET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (
            "GET /-/healthy HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
            400,
        ),
        ("GET /-/healthy HTTP/1.0\r\n\r\n", 200),
    ] {
        let response = exchange(server.address, text).await;
        assert!(
            response.contains(&format!(" {status} ")),
            "{text}: {response}"
        );
    }
}

#[tokio::test]
async fn requests_and_refusals_are_counted_and_logged() {
    let folder = Folder::new();
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    let (certificate, key) = CertificateAuthority::new("ours").issue("localhost");
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    let web = folder.write(
        "web.yaml",
        &format!("basic_auth_users: {{ alice: {hash} }}\n"),
    );
    let flag = format!("--web.config.file={}", web.display());
    let program = Program::start(BUSINESS, &["--web.listen-address=127.0.0.1:0", &flag]);
    let address = served_address(&program).await;
    let alice = "Authorization: Basic YWxpY2U6b3Blbg==\r\n";
    let get = async |path: &str, headers: &str| {
        request(TcpStream::connect(address).await.unwrap(), path, headers).await
    };
    for _ in 0..3 {
        get("/metrics", "Authorization: Basic YWxpY2U6c2h1dA==\r\n").await;
    }
    get("/secret-path", alice).await;
    let page = get("/metrics", alice).await;
    for line in [
        "http_requests_total{code=\"401\",path=\"/metrics\"} 3\n",
        "http_requests_total{code=\"404\",path=\"other\"} 1\n",
        "http_auth_failures_total 3\n",
        "http_connections 1\n",
        "web_config_last_reload_successful 1\n",
        "tls_handshake_failures_total 0\n",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(!page.contains("tls_certificate_expiry"), "{page}");
    wait_until("refusal is logged", || {
        !program.lines("login refused").is_empty()
    })
    .await;
    let lines = program.lines("login refused");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("level=warn") && lines[0].contains("peer=127.0.0.1"),
        "{lines:?}"
    );
    let policy = program.lines("access policy in force");
    assert!(
        policy[0].contains("tls=false") && policy[0].contains("users=1"),
        "{policy:?}"
    );
    // TLS is switched on; a client that does not trust the certificate fails the handshake.
    let tls = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
    folder.write(
        "web.yaml",
        &format!("{tls}basic_auth_users: {{ alice: {hash} }}\n"),
    );
    exchange(address, "\u{16}\u{3}\u{1}\0\u{5}hello").await;
    wait_until("handshake is logged", || {
        !program.lines("TLS handshake failed").is_empty()
    })
    .await;
    let lines = program.lines("TLS handshake failed");
    assert!(
        lines[0].contains("level=warn") && lines[0].contains("peer=127.0.0.1"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn health_listener_serves_only_probes() {
    let folder = Folder::new();
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    let (certificate, key) = CertificateAuthority::new("ours").issue("localhost");
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    let tls = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
    let web = format!("{tls}basic_auth_users: {{ alice: {hash} }}\n");
    let web = folder.write("web.yaml", &web);
    let flags = [
        "--web.listen-address=127.0.0.1:0",
        "--web.health-listen-address=127.0.0.1:0",
        &format!("--web.config.file={}", web.display()),
    ];
    let program = Program::start(BUSINESS, &flags);
    let listening = || program.lines("listening for health checks").pop();
    wait_until("exporter listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let address = line.split("address=").nth(1).unwrap();
    let address: std::net::SocketAddr = address.split(' ').next().unwrap().parse().unwrap();
    served_address(&program).await;
    for (method, path, status) in [
        ("GET", "/-/healthy", "200"),
        ("HEAD", "/-/healthy", "200"),
        ("GET", "/metrics", "404"),
        ("GET", "/", "404"),
        ("GET", "/api/status", "404"),
        ("POST", "/-/reload", "404"),
    ] {
        let response = exchange(address, &method_request(method, path, "")).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {response}"
        );
    }
    let ready = exchange(address, &method_request("GET", "/-/ready", "")).await;
    assert!(!ready.contains("acme"), "{ready}");
    let flag = format!("--web.health-listen-address={address}");
    let healthcheck = std::process::Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
        .args(["healthcheck", &flag, "--web.listen-address=127.0.0.1:9"])
        .output()
        .unwrap();
    assert!(healthcheck.status.success(), "{healthcheck:?}");
}

#[tokio::test]
async fn route_prefix_applies_to_all_paths() {
    for flag in [
        "--web.route-prefix=/exporter/",
        "--web.external-url=https://example.org/exporter",
    ] {
        let program = Program::start(BUSINESS, &["--web.listen-address=127.0.0.1:0", flag]);
        let address = served_address(&program).await;
        for (path, status) in [
            ("/exporter/", "200"),
            ("/exporter/metrics", "200"),
            ("/exporter/-/healthy", "200"),
            ("/exporter/api/status", "200"),
            ("/exporter", "302"),
            ("/", "302"),
            ("/metrics", "404"),
            ("/exporterx", "404"),
            ("/-/healthy", "404"),
        ] {
            let response = exchange(address, &method_request("GET", path, "")).await;
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status} ")),
                "{path}: {response}"
            );
            if status == "302" {
                assert!(response.contains("location: /exporter/\r\n"), "{response}");
            }
        }
        let healthcheck =
            std::process::Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
                .args([
                    "healthcheck",
                    flag,
                    &format!("--web.listen-address={address}"),
                ])
                .output()
                .unwrap();
        assert!(healthcheck.status.success(), "{healthcheck:?}");
    }
}

#[tokio::test]
async fn port_without_host_serves_ipv4_and_ipv6() {
    let program = Program::start(BUSINESS, &["--web.listen-address=:0"]);
    let port = served_address(&program).await.port();
    for host in ["127.0.0.1", "::1"] {
        let ip: std::net::IpAddr = host.parse().unwrap();
        let response = exchange((ip, port).into(), &method_request("GET", "/-/healthy", "")).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{host}: {response}");
    }
    wait_until("open access is logged", || {
        !program
            .lines("every client can read all metrics")
            .is_empty()
    })
    .await;
}

#[test]
fn invalid_listen_address_is_refused_with_remedy() {
    for (address, expected) in [("10919", "write :10919"), (":http", "expected a port from")] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
            .args(["demo", &format!("--web.listen-address={address}")])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(!stderr.contains("free the address"), "{stderr}");
    }
}
