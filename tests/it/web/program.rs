//! The real binary with a web config file: exit status, health check and logs.

use std::process::Command;

use tokio::task::spawn_blocking;

use super::{CertificateAuthority, Folder, GuardedServer, LOW_BCRYPT_COST, request};
use crate::harness::wait_until;
use crate::process::Program;

/// Runs the binary and returns its exit status and its standard error.
fn exporter(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr)
}

#[test]
fn invalid_web_config_is_refused_at_start() {
    let folder = Folder::new();
    let web = folder.write(
        "web.yaml",
        "tls_server_config:\n  cert_file: none.crt\n  key_file: none.key\n",
    );
    let config = folder.write(
        "config.yaml",
        "businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]\n",
    );
    let config = format!("--config.file={}", config.display());
    let flag = format!("--web.config.file={}", web.display());
    for arguments in [
        vec![config.as_str(), flag.as_str()],
        vec!["demo", flag.as_str()],
        vec!["demo", "--web.config.file=no-such-file"],
    ] {
        let (code, stderr) = exporter(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("file not found"), "{stderr}");
    }
    let (_, stderr) = exporter(&["demo", &flag]);
    assert!(
        stderr.contains("web.yaml:2: tls_server_config.cert_file: none.crt"),
        "{stderr}"
    );
    folder.write("web.yaml", "basic_auth_users: { alice: hunter2 }\n");
    let (code, stderr) = exporter(&["demo", &flag]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("basic_auth_users.alice") && !stderr.contains("hunter2"),
        "{stderr}"
    );
}

#[tokio::test]
async fn healthcheck_follows_the_web_config() {
    let authority = CertificateAuthority::new("ours");
    let (certificate, key) = authority.issue("localhost");
    let folder = Folder::new();
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    folder.write("ca.crt", &authority.pem());
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    for web in [
        String::new(),
        tls.to_owned(),
        format!("{tls}basic_auth_users: {{ alice: {hash} }}\n"),
        format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"),
    ] {
        let path = folder.write("web.yaml", &web);
        let server = GuardedServer::start(&path).await;
        let flag = format!("--web.config.file={}", path.display());
        let listen = format!("--web.listen-address=:{}", server.address.port());
        let healthcheck = move || exporter(&["healthcheck", &flag, &listen]);
        let (code, stderr) = spawn_blocking(healthcheck).await.unwrap();
        assert_eq!(code, Some(0), "{web}: {stderr}");
    }
}

#[test]
fn healthcheck_without_server_fails() {
    let (code, stderr) = exporter(&["healthcheck", "--web.listen-address=127.0.0.1:9"]);
    assert_eq!(code, Some(1), "{stderr}");
    let (code, stderr) = exporter(&["healthcheck", "--web.config.file=no-such-file"]);
    assert_eq!(code, Some(1), "{stderr}");
}

#[test]
fn all_listen_addresses_are_served() {
    let folder = Folder::new();
    let config = folder.write("config.yaml", "businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]\ngraph: { url: \"http://127.0.0.1:9\" }\n");
    let mut addresses = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let free = std::net::TcpListener::bind(address).unwrap();
        addresses.push(free.local_addr().unwrap().to_string());
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
        .arg(format!("--config.file={}", config.display()))
        .args(
            addresses
                .iter()
                .map(|address| format!("--web.listen-address={address}")),
        )
        .env("T", "token")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let becomes_healthy = |address: &String| {
        let flag = format!("--web.listen-address={address}");
        (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            exporter(&["healthcheck", &flag]).0 == Some(0)
        })
    };
    let all_healthy = addresses.iter().all(becomes_healthy);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(all_healthy, "all addresses should be served: {addresses:?}");
}

#[tokio::test]
async fn plain_http_on_https_port_is_logged_once() {
    let folder = Folder::new();
    let (certificate, key) = CertificateAuthority::new("ours").issue("localhost");
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    let web = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
    let web = folder.write("web.yaml", web);
    let flag = format!("--web.config.file={}", web.display());
    let program = Program::bare(&["demo", "--web.listen-address=127.0.0.1:0", &flag]);
    let listening = || program.lines("msg=listening").pop();
    wait_until("exporter listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let address = line.split("address=").nth(1).unwrap();
    let address = address.split(' ').next().unwrap();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let response = request(stream, "/metrics", "").await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    }
    let warnings = || program.lines("plain HTTP request on an HTTPS port");
    wait_until("request is logged", || !warnings().is_empty()).await;
    assert_eq!(warnings().len(), 1);
    assert!(warnings()[0].contains("peer=127.0.0.1"), "{:?}", warnings());
}
