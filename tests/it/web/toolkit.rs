//! Web config files of the kinds in exporter-toolkit's own tests start and serve, or are refused for
//! the same reason, with keys generated here.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use marketing_messages_exporter::http::WebConfigFile;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use tokio::task::spawn_blocking;

use super::{CertificateAuthority, Folder, GuardedServer, LOW_BCRYPT_COST, TlsClient};
use crate::harness::HttpResponse;

const PAIR: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn folder() -> (CertificateAuthority, Folder) {
    let authority = CertificateAuthority::new("ours");
    let (certificate, key) = authority.issue("localhost");
    let folder = Folder::new();
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    folder.write("ca.crt", &authority.pem());
    folder.write("empty.pem", "");
    (authority, folder)
}

/// Self-signed certificate of a client that is not a CA, and its key.
fn self_signed(name: &str, purposes: &[ExtendedKeyUsagePurpose]) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = purposes.to_vec();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn files_are_accepted_or_refused_as_by_exporter_toolkit() {
    let (_, folder) = folder();
    let hash = bcrypt::hash("x", LOW_BCRYPT_COST).unwrap();
    let verify = format!("{PAIR}  client_auth_type: VerifyClientCertIfGiven\n");
    let pem = |name: &str| {
        let text = std::fs::read_to_string(folder.0.join(name)).unwrap();
        text.replace('\n', "\n    ")
    };
    let inline = format!(
        "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n",
        pem("server.crt"),
        pem("server.key")
    );
    // Text of the file, and a part of the error if it is refused.
    for (text, error) in [
        (String::new(), None),
        (verify.clone(), None),
        (inline, None),
        (
            format!(
                "{verify}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]\n"
            ),
            None,
        ),
        (format!("{verify}  curve_preferences: [CurveP521]\n"), None),
        (
            format!("{verify}http_server_config: {{ http2: no }}\n"),
            None,
        ),
        (
            format!("{PAIR}  client_auth_type: RequireAnyClientCert\n"),
            None,
        ),
        (
            format!("{PAIR}  client_auth_type: RequireAndVerifyClientCert\n"),
            None,
        ),
        (
            format!(
                "{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [a]\n"
            ),
            None,
        ),
        (format!("basic_auth_users: {{ a: {hash} }}\n"), None),
        (
            "rate_limit: { interval: 1.5s, burst: 5 }\n".to_owned(),
            None,
        ),
        (
            "http_server_config: { headers: { X-Frame-Options: deny, X-XSS-Protection: 1 } }\n"
                .to_owned(),
            None,
        ),
        ("hWkNKCp3fvIX3Fpl\n".to_owned(), Some("expected a mapping")),
        ("tls_config: {}\n".to_owned(), Some("unknown key")),
        (
            "tls_server_config: { cert_file: server.crt }\n".to_owned(),
            Some("key_file: "),
        ),
        (
            "tls_server_config: { key_file: server.key }\n".to_owned(),
            Some("cert_file: "),
        ),
        (
            "tls_server_config: { cert_file: '', key_file: '', client_auth_type: x }\n".to_owned(),
            Some("client_auth_type: "),
        ),
        (
            PAIR.replace("server.crt", "empty.pem"),
            Some("cert_file: expected a certificate"),
        ),
        (
            PAIR.replace("server.key", "empty.pem"),
            Some("key_file: expected a private key"),
        ),
        (PAIR.replace("server.crt", "gone"), Some("cert_file: gone")),
        (PAIR.replace("server.key", "gone"), Some("key_file: gone")),
        (
            format!("{PAIR}  client_ca_file: ca.crt\n"),
            Some("client_auth_type: "),
        ),
        (
            format!("{verify}  client_ca_file: gone\n"),
            Some("client_ca_file: gone"),
        ),
        (
            format!("{PAIR}  client_allowed_sans: [a]\n"),
            Some("client_allowed_sans: "),
        ),
        (
            format!("{verify}  cipher_suites: [TLS_MADE_UP]\n"),
            Some("cipher_suites[0]: "),
        ),
        (
            format!("{verify}  curve_preferences: [CurveP0]\n"),
            Some("curve_preferences[0]: "),
        ),
        (
            format!("{verify}  min_version: TLS111\n"),
            Some("min_version: "),
        ),
        (
            format!(
                "{verify}  max_version: TLS12\n  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n"
            ),
            Some("cipher_suites: expected at least one supported"),
        ),
        (
            "http_server_config: { headers: { X-Content-Type-Options: sniff } }\n".to_owned(),
            Some("X-Content-Type-Options: "),
        ),
        (
            "http_server_config: { headers: { Server: x } }\n".to_owned(),
            Some("headers.Server: "),
        ),
        (
            "basic_auth_users: [a]\n".to_owned(),
            Some("basic_auth_users: "),
        ),
        (
            "basic_auth_users: { a: plain }\n".to_owned(),
            Some("basic_auth_users.a: "),
        ),
    ] {
        let result = WebConfigFile::load(&folder.write("web.yaml", &text));
        match error {
            None => assert!(result.is_ok(), "{text}: {:?}", result.err()),
            Some(part) => {
                let refused = result.expect_err(&text).to_string();
                assert!(refused.contains(part), "{text}: {refused}");
            }
        }
    }
}

#[tokio::test]
async fn pinned_self_signed_client_certificates_are_accepted() {
    let (authority, folder) = folder();
    let client_auth = [ExtendedKeyUsagePurpose::ClientAuth];
    let pinned = self_signed("prometheus", &client_auth);
    let other = self_signed("prometheus", &client_auth);
    let for_servers = self_signed("prometheus", &[ExtendedKeyUsagePurpose::ServerAuth]);
    let without_purpose = self_signed("prometheus", &[]);
    // One entry of the bundle is damaged; Go skips it.
    let bundle = format!(
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n{}{}{}{}",
        authority.pem(),
        pinned.0,
        for_servers.0,
        without_purpose.0
    );
    folder.write("clients.pem", &bundle);
    let web = format!(
        "{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: clients.pem\n"
    );
    let server = GuardedServer::start(&folder.write("web.yaml", &web)).await;
    let issued = authority.issue("prometheus");
    for (certificate, is_accepted) in [
        (Some(pinned.clone()), true),
        (Some(without_purpose), true),
        (Some(issued), true),
        (Some(other), false),
        (Some(for_servers), false),
        (None, false),
    ] {
        let mut client = TlsClient::new(&authority);
        client.certificate = certificate.clone();
        let response = server.get_over_tls(&client).await;
        assert_eq!(
            response.is_ok(),
            is_accepted,
            "{certificate:?}: {response:?}"
        );
    }
    let web = format!("{web}  client_allowed_sans: [grafana]\n");
    folder.write("web.yaml", &web);
    let client = TlsClient::new(&authority).with_certificate(pinned);
    assert!(server.get_over_tls(&client).await.is_err());
}

#[tokio::test]
async fn roots_of_the_system_verify_clients_without_a_client_ca() {
    let (authority, folder) = folder();
    let web = format!("{PAIR}  client_auth_type: VerifyClientCertIfGiven\n");
    let server = GuardedServer::start(&folder.write("web.yaml", &web)).await;
    let client = TlsClient::new(&authority);
    assert!(server.get_over_tls(&client).await.is_ok());
    let client = client.with_certificate(authority.issue("prometheus"));
    assert!(server.get_over_tls(&client).await.is_err());
}

#[tokio::test]
async fn header_of_the_page_takes_precedence_over_the_file() {
    let folder = Folder::new();
    let web = "http_server_config: { headers: { Content-Security-Policy: default-src 'self', X-XSS-Protection: 1 } }\n";
    let server = GuardedServer::start(&folder.write("web.yaml", web)).await;
    let landing = server.get("/", "").await;
    assert!(
        !landing.contains("content-security-policy: default-src 'self'\r\n"),
        "{landing}"
    );
    let page = server.get("/metrics", "").await;
    assert!(
        page.contains("content-security-policy: default-src 'self'\r\n"),
        "{page}"
    );
    assert!(page.contains("x-xss-protection: 1\r\n"), "{page}");
}

#[tokio::test]
async fn openmetrics_is_served_to_clients_that_prefer_it() {
    let folder = Folder::new();
    let server = GuardedServer::start(&folder.write("web.yaml", "")).await;
    let prefer =
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";
    for (path, gzip) in [
        ("/metrics", ""),
        ("/metrics", "Accept-Encoding: gzip\r\n"),
        ("/metrics?business=acme", ""),
        ("/metrics?business=acme", "Accept-Encoding: gzip\r\n"),
    ] {
        let visitor = crate::harness::Visitor {
            address: server.address,
        };
        let response: HttpResponse = visitor
            .request("GET", path, &format!("{prefer}{gzip}"))
            .await;
        let content_type = response.header("content-type").unwrap().to_owned();
        assert!(
            content_type.starts_with("application/openmetrics-text; version=1.0.0"),
            "{content_type}"
        );
        let text = if gzip.is_empty() {
            response.text()
        } else {
            response.gunzipped()
        };
        assert!(text.ends_with("# EOF\n"), "{path}: {text}");
        assert_eq!(text.matches("# EOF").count(), 1, "{path}");
        assert!(
            text.contains("# TYPE marketing_messages_exporter_polls counter\n"),
            "{text}"
        );
        assert!(
            text.contains("marketing_messages_exporter_polls_total{business=\"acme\"}"),
            "{text}"
        );
        let plain = visitor.request("GET", path, gzip).await;
        let plain = if gzip.is_empty() {
            plain.text()
        } else {
            plain.gunzipped()
        };
        assert!(!plain.contains("# EOF"), "{plain}");
    }
}

/// Whether OpenSSL is installed. It generates keys and verifies signatures that ring does not support.
fn has_openssl() -> bool {
    Command::new("openssl").arg("version").output().is_ok()
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the output of a verified request with `openssl s_client`.
fn openssl_request(folder: &Path, address: SocketAddr, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &address.to_string(),
            "-CAfile",
            "server.crt",
        ])
        .args(["-verify_return_error", "-ign_eof"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = "GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(request.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn p521_and_large_rsa_keys_work() {
    if !has_openssl() {
        return;
    }
    let p521: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
    let rsa: &[&str] = &["-newkey", "rsa:5120"];
    for (key_arguments, curve) in [(p521, "CurveP521"), (rsa, "X25519")] {
        let folder = Folder::new();
        let create = [
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
        ];
        let files = ["-keyout", "server.key", "-out", "server.crt"];
        openssl(
            &folder.0,
            &[&create[..], key_arguments, &files[..]].concat(),
        );
        let web = format!("{PAIR}  curve_preferences: [{curve}]\n");
        let server = GuardedServer::start(&folder.write("web.yaml", &web)).await;
        for version in ["-tls1_2", "-tls1_3"] {
            let (path, address) = (folder.0.clone(), server.address);
            let request = move || openssl_request(&path, address, &[version]);
            let output = spawn_blocking(request).await.unwrap();
            assert!(
                output.contains("HTTP/1.1 200 OK"),
                "{version} {curve}: {output}"
            );
            let is_p521 = output.contains("P-521") || output.contains("secp521r1");
            assert_eq!(is_p521, curve == "CurveP521", "{version}: {output}");
        }
        // TLS 1.1 is refused.
        let (path, address) = (folder.0.clone(), server.address);
        let old = spawn_blocking(move || openssl_request(&path, address, &["-tls1_1"]));
        assert!(
            !old.await.unwrap().contains("HTTP/1.1 200"),
            "TLS 1.1 should be refused"
        );
        // The health check does not support all curves, but all keys.
        let web = folder.write("web.yaml", PAIR);
        let server = GuardedServer::start(&web).await;
        let mut healthcheck = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"));
        healthcheck
            .arg("healthcheck")
            .arg(format!("--web.config.file={}", web.display()))
            .arg(format!("--web.listen-address={}", server.address));
        let output = spawn_blocking(move || healthcheck.output().unwrap());
        let output = output.await.unwrap();
        assert!(output.status.success(), "{curve}: {output:?}");
    }
}
