//! TLS: certificates, protocol versions, cipher suites and client certificates.

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::{CertificateAuthority, Folder, GuardedServer, HANG_GUARD, TlsClient, request};

/// Returns a folder with a server certificate and a web config that uses it, followed by `more_settings`.
fn folder(authority: &CertificateAuthority, more_settings: &str) -> Folder {
    let folder = Folder::new();
    let (certificate, key) = authority.issue("localhost");
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    let certificate_settings =
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    folder.write(
        "web.yaml",
        &format!("{certificate_settings}{more_settings}"),
    );
    folder
}

async fn start(folder: &Folder) -> GuardedServer {
    GuardedServer::start(&folder.0.join("web.yaml")).await
}

#[tokio::test]
async fn https_port_serves_only_https() {
    let authority = CertificateAuthority::new("ours");
    let folder = folder(
        &authority,
        "http_server_config: { http2: true, headers: { Strict-Transport-Security: max-age=60 } }\n",
    );
    let server = start(&folder).await;
    let client = TlsClient::new(&authority);
    let response = server.get_over_tls(&client).await.unwrap();
    assert!(response.text.starts_with("HTTP/1.1 200 OK"), "{response:?}");
    assert!(
        response
            .text
            .contains("strict-transport-security: max-age=60"),
        "{response:?}"
    );
    assert_eq!(response.version, ProtocolVersion::TLSv1_3);
    let tls12_client = client.with_version(&TLS12);
    let response = server.get_over_tls(&tls12_client).await.unwrap();
    assert_eq!(response.version, ProtocolVersion::TLSv1_2);
    // A plain HTTP request gets Go's error text and no metrics.
    let response = request(server.connect().await, "/metrics", "").await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.ends_with("client sent an HTTP request to an HTTPS server\n"));
    let client_of_other_ca = TlsClient::new(&CertificateAuthority::new("another"));
    server.get_over_tls(&client_of_other_ca).await.unwrap_err();
}

#[tokio::test]
async fn configured_versions_suites_and_curves_apply() {
    let authority = CertificateAuthority::new("ours");
    let tls12_only = folder(
        &authority,
        "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n  curve_preferences: [CurveP384]\n",
    );
    let server = start(&tls12_only).await;
    let response = server
        .get_over_tls(&TlsClient::new(&authority))
        .await
        .unwrap();
    assert_eq!(response.version, ProtocolVersion::TLSv1_2);
    assert_eq!(
        response.suite,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(response.group, "secp384r1");
    server
        .get_over_tls(&TlsClient::new(&authority).with_version(&TLS13))
        .await
        .unwrap_err();
    let tls13_only = folder(&authority, "  min_version: TLS13\n");
    let server = start(&tls13_only).await;
    server
        .get_over_tls(&TlsClient::new(&authority).with_version(&TLS12))
        .await
        .unwrap_err();
    server
        .get_over_tls(&TlsClient::new(&authority))
        .await
        .unwrap();
}

#[tokio::test]
async fn inline_certificate_is_used() {
    let authority = CertificateAuthority::new("ours");
    let (certificate, key) = authority.issue("localhost");
    let indented = |pem: &str| pem.replace('\n', "\n    ");
    let folder = Folder::new();
    let web = folder.write(
        "web.yaml",
        &format!(
            "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n",
            indented(&certificate),
            indented(&key)
        ),
    );
    let server = GuardedServer::start(&web).await;
    server
        .get_over_tls(&TlsClient::new(&authority))
        .await
        .unwrap();
}

#[tokio::test]
async fn client_auth_type_decides_which_clients_are_accepted() {
    let (ours, theirs) = (
        CertificateAuthority::new("ours"),
        CertificateAuthority::new("theirs"),
    );
    let client = || TlsClient::new(&ours);
    // Accepted without a certificate, with one of another CA, and with one of the configured CA.
    for (auth_type, without, with_other_ca, with_our_ca) in [
        ("NoClientCert", true, true, true),
        ("RequestClientCert", true, true, true),
        ("RequireAnyClientCert", false, true, true),
        ("RequireClientCert", false, true, true),
        ("VerifyClientCertIfGiven", true, false, true),
        ("RequireAndVerifyClientCert", false, false, true),
    ] {
        let ca = match auth_type {
            "VerifyClientCertIfGiven" | "RequireAndVerifyClientCert" => {
                "  client_ca_file: ca.crt\n"
            }
            _ => "",
        };
        let folder = folder(&ours, &format!("  client_auth_type: {auth_type}\n{ca}"));
        folder.write("ca.crt", &ours.pem());
        let server = start(&folder).await;
        for version in [&TLS12, &TLS13] {
            for (client, is_accepted) in [
                (client(), without),
                (
                    client().with_certificate(theirs.issue("prometheus")),
                    with_other_ca,
                ),
                (
                    client().with_certificate(ours.issue("prometheus")),
                    with_our_ca,
                ),
            ] {
                let has_certificate = client.certificate.is_some();
                let response = server.get_over_tls(&client.with_version(version)).await;
                assert_eq!(
                    response.is_ok(),
                    is_accepted,
                    "{auth_type} {has_certificate}: {response:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn only_clients_with_allowed_san_are_accepted() {
    let authority = CertificateAuthority::new("ours");
    let folder = folder(
        &authority,
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.example, 192.0.2.7]\n",
    );
    folder.write("ca.crt", &authority.pem());
    let server = start(&folder).await;
    for (name, is_accepted) in [
        ("prometheus.example", true),
        ("192.0.2.7", true),
        ("other.example", false),
    ] {
        let client = TlsClient::new(&authority).with_certificate(authority.issue(name));
        assert_eq!(
            server.get_over_tls(&client).await.is_ok(),
            is_accepted,
            "{name}"
        );
    }
}

#[tokio::test]
async fn renewed_certificate_is_used_from_next_handshake() {
    let authority = CertificateAuthority::new("ours");
    let folder = folder(&authority, "");
    let server = start(&folder).await;
    let client = TlsClient::new(&authority);
    let first = server.get_over_tls(&client).await.unwrap().certificate;
    let (certificate, key) = authority.issue("localhost");
    // The new certificate does not match the old key, so the previous pair stays in force.
    folder.write("server.crt", &certificate);
    assert_eq!(
        server.get_over_tls(&client).await.unwrap().certificate,
        first
    );
    folder.write("server.key", &key);
    assert_ne!(
        server.get_over_tls(&client).await.unwrap().certificate,
        first
    );
    folder.write("web.yaml", "tls_server_config: { cert_file: gone.crt }\n");
    server.get_over_tls(&client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connection_without_client_hello_is_closed() {
    let authority = CertificateAuthority::new("ours");
    let folder = folder(&authority, "");
    let server = start(&folder).await;
    let mut stream = server.connect().await;
    let start_time = Instant::now();
    let closed = timeout(HANG_GUARD, stream.read(&mut [0])).await;
    assert_eq!(closed.expect("connection should be closed").unwrap_or(0), 0);
    let elapsed = start_time.elapsed().as_secs();
    assert!(elapsed >= 10, "closed after {elapsed} s");
}
