//! The real program with a web config file: exit statuses, and reloads.

use std::process::Command;

use tokio::task::spawn_blocking;

use super::{Authority, Folder, Guarded, ask};
use crate::harness::wait_until;
use crate::process::Program;

fn exporter(arguments: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    (ran.status.code(), told)
}

#[test]
fn a_wrong_web_config_is_refused_at_start() {
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
        let (code, told) = exporter(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {told}");
        assert!(told.contains("no such file"), "{told}");
    }
    let (_, told) = exporter(&["demo", &flag]);
    assert!(
        told.contains("web.yaml:2: tls_server_config.cert_file: none.crt"),
        "{told}"
    );
    folder.write("web.yaml", "basic_auth_users: { alice: hunter2 }\n");
    let (code, told) = exporter(&["demo", &flag]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("basic_auth_users.alice") && !told.contains("hunter2"),
        "{told}"
    );
}

#[tokio::test]
async fn healthcheck_follows_the_web_config() {
    let authority = Authority::new("ours");
    let (certificate, key) = authority.vouches_for("localhost");
    let folder = Folder::new();
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    folder.write("ca.crt", &authority.pem());
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    let hash = bcrypt::hash("open", 4).unwrap();
    for web in [
        String::new(),
        tls.to_owned(),
        format!("{tls}basic_auth_users: {{ alice: {hash} }}\n"),
        format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"),
    ] {
        let path = folder.write("web.yaml", &web);
        let server = Guarded::start(&path).await;
        let flag = format!("--web.config.file={}", path.display());
        let listen = format!("--web.listen-address=:{}", server.address.port());
        let asked = move || exporter(&["healthcheck", &flag, &listen]);
        let (code, told) = spawn_blocking(asked).await.unwrap();
        assert_eq!(code, Some(0), "{web}: {told}");
    }
}

#[test]
fn healthcheck_fails_where_nobody_answers() {
    let (code, told) = exporter(&["healthcheck", "--web.listen-address=127.0.0.1:9"]);
    assert_eq!(code, Some(1), "{told}");
    let (code, told) = exporter(&["healthcheck", "--web.config.file=no-such-file"]);
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn it_listens_on_every_address_that_is_named_also_by_ipv6() {
    let folder = Folder::new();
    let config = folder.write("config.yaml", "businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]\ngraph: { url: \"http://127.0.0.1:9\" }\n");
    let mut ports = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let free = std::net::TcpListener::bind(address).unwrap();
        ports.push(free.local_addr().unwrap().to_string());
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
        .arg(format!("--config.file={}", config.display()))
        .args(
            ports
                .iter()
                .map(|port| format!("--web.listen-address={port}")),
        )
        .env("T", "token")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let healthy = |port: &String| {
        let asked = format!("--web.listen-address={port}");
        (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            exporter(&["healthcheck", &asked]).0 == Some(0)
        })
    };
    let all = ports.iter().all(healthy);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(all, "{ports:?}");
}

#[tokio::test]
async fn plain_http_where_https_is_served_is_logged_once_and_not_each_time() {
    let folder = Folder::new();
    let (certificate, key) = Authority::new("ours").vouches_for("localhost");
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    let web = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
    let web = folder.write("web.yaml", web);
    let flag = format!("--web.config.file={}", web.display());
    let program = Program::bare(&["demo", "--web.listen-address=127.0.0.1:0", &flag]);
    let listening = || program.lines("message=listening").pop();
    wait_until("it listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let address = line.split("address=").nth(1).unwrap();
    let address = address.split(' ').next().unwrap();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let told = ask(stream, "/metrics", "").await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    }
    let said = || program.lines("plain HTTP where HTTPS is served");
    wait_until("it is logged", || !said().is_empty()).await;
    assert_eq!(said().len(), 1);
    assert!(said()[0].contains("peer=127.0.0.1"), "{:?}", said());
}
