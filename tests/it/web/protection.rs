//! A web config that is re-read while the exporter serves never lowers protection, unless an operator
//! reloads it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    CertificateAuthority, Folder, GuardedServer, LOW_BCRYPT_COST, TlsClient, request,
    served_address,
};
use crate::process::Program;

/// Credentials `alice:open` and `bob:open`.
const ALICE: &str = "Authorization: Basic YWxpY2U6b3Blbg==\r\n";
const BOB: &str = "Authorization: Basic Ym9iOm9wZW4=\r\n";

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn users() -> String {
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    format!("basic_auth_users:\n  alice: {hash}\n  bob: {hash}\n")
}

const SCOPES: &str = "business_scopes:\n  alice: [\"*\"]\n  bob: [other]\n";

fn folder_with_certificate() -> (CertificateAuthority, Folder) {
    let authority = CertificateAuthority::new("ours");
    let (certificate, key) = authority.issue("localhost");
    let folder = Folder::new();
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    (authority, folder)
}

/// Changes a file that is re-read on the next connection.
enum Change {
    Write(String),
    Delete,
    Unreadable,
}

#[tokio::test]
async fn lower_protection_is_not_applied_by_a_connection() {
    let (authority, folder) = folder_with_certificate();
    let full = format!("{TLS}{}{SCOPES}", users());
    let web = folder.write("web.yaml", &full);
    let server = GuardedServer::start(&web).await;
    let client = TlsClient::new(&authority);
    let metric = "web_config_last_reload_successful ";
    let value_of_metric = async || {
        let page = server.get_path_over_tls(&client, "/metrics", ALICE).await;
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        let line = page
            .lines()
            .find(|line| line.contains(metric) && !line.starts_with('#'));
        line.and_then(|line| line.split(' ').nth(1))
            .map(str::to_owned)
    };
    assert_eq!(value_of_metric().await.as_deref(), Some("1"));
    for change in [
        Change::Write(String::new()),
        Change::Write("# only a comment\n".to_owned()),
        Change::Write("tls_server_config:\n".to_owned()),
        Change::Write("{}\n".to_owned()),
        Change::Write(TLS.to_owned()),
        Change::Write(format!("{TLS}{}", users())),
        Change::Write(format!("{}{SCOPES}", users())),
        Change::Write(format!("{TLS}basic_auth_users:\n")),
        Change::Write(format!("{TLS}{}business_scopes:\n", users())),
        Change::Write("http_server_config: { http2: true }\n".to_owned()),
        Change::Write(full[..full.len() / 2].to_owned()),
        Change::Delete,
        Change::Unreadable,
    ] {
        let text = match &change {
            Change::Write(text) => {
                // In place, as an editor or a full disk does it.
                fs::write(&web, text).unwrap();
                text.as_str()
            }
            Change::Delete => {
                fs::remove_file(&web).unwrap();
                "deleted"
            }
            Change::Unreadable => {
                // Tests that run as root can read every file, so this is a folder instead.
                fs::create_dir(&web).unwrap();
                fs::set_permissions(&web, fs::Permissions::from_mode(0o000)).unwrap();
                "unreadable"
            }
        };
        let plain = server.get("/metrics", "").await;
        assert!(plain.starts_with("HTTP/1.1 400 "), "{text}: {plain}");
        for (headers, status) in [("", "401"), (BOB, "404")] {
            let path = "/metrics?business=acme";
            let response = server.get_path_over_tls(&client, path, headers).await;
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status} ")),
                "{text}: {response}"
            );
        }
        assert_eq!(value_of_metric().await.as_deref(), Some("0"), "{text}");
    }
    fs::remove_dir(&web).unwrap();
    folder.write("web.yaml", &full);
    assert_eq!(value_of_metric().await.as_deref(), Some("1"));
}

#[tokio::test]
async fn plain_connection_ends_when_tls_is_switched_on() {
    let (authority, folder) = folder_with_certificate();
    let web = folder.write("web.yaml", "http_server_config: { http2: true }\n");
    let server = GuardedServer::start(&web).await;
    let mut stream = server.connect().await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut text = Vec::new();
    stream.write_all(request).await.unwrap();
    while !String::from_utf8_lossy(&text).contains("page_bytes ") {
        assert_ne!(
            stream.read_buf(&mut text).await.unwrap(),
            0,
            "response should be complete"
        );
    }
    folder.write("web.yaml", TLS);
    // A new connection applies the file at once.
    let client = TlsClient::new(&authority);
    assert!(server.get_over_tls(&client).await.is_ok());
    let _ = stream.write_all(request).await;
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest).await;
    let later = rest.rfind("HTTP/1.1 ").map(|start| &rest[start..]);
    assert!(
        later.is_none_or(|response| response.starts_with("HTTP/1.1 400 ")),
        "a plain connection should not be served: {rest}"
    );
}

#[tokio::test]
async fn operator_can_lower_protection_with_a_file_that_has_settings() {
    let folder = Folder::new();
    let web = folder.write("web.yaml", &users());
    let flag = format!("--web.config.file={}", web.display());
    let flags = [
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-lifecycle",
        &flag,
    ];
    let program = Program::start(crate::process::BUSINESS, &flags);
    let address = served_address(&program).await;
    let get = async |headers: &str| {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        request(stream, "/metrics", headers).await
    };
    let reload = async || {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let text =
            format!("POST /-/reload HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{ALICE}\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    };
    for empty in ["", "# all gone\n", "basic_auth_users:\n"] {
        folder.write("web.yaml", empty);
        let response = reload().await;
        assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
        assert!(response.contains("found an empty file"), "{response}");
        assert!(get("").await.starts_with("HTTP/1.1 401 "));
    }
    folder.write("web.yaml", "http_server_config: { http2: true }\n");
    assert!(get("").await.starts_with("HTTP/1.1 401 "));
    let response = reload().await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(get("").await.starts_with("HTTP/1.1 200 "));
    let warnings = program.lines("web config with less protection is in force");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("level=warn") && warnings[0].contains("basic_auth_users has no user"),
        "{warnings:?}"
    );
    let errors = program.lines("keeping the previous web config");
    assert!(
        errors.iter().all(|line| line.contains("level=error")),
        "{errors:?}"
    );
}
