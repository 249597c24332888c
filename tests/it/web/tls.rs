//! TLS: certificates, versions, suites, and what clients must show.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::{Authority, Client, Folder, Guarded, PATIENCE, ask};

/// A server's certificate in a folder, and a web config that names it, with more lines.
fn folder(authority: &Authority, more: &str) -> Folder {
    let folder = Folder::new();
    let (certificate, key) = authority.vouches_for("localhost");
    folder.write("server.crt", &certificate);
    folder.write("server.key", &key);
    let pair = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    folder.write("web.yaml", &format!("{pair}{more}"));
    folder
}

async fn start(folder: &Folder) -> Guarded {
    Guarded::start(&folder.0.join("web.yaml")).await
}

#[tokio::test]
async fn https_is_served_and_nothing_else() {
    let authority = Authority::new("ours");
    let folder = folder(
        &authority,
        "http_server_config: { http2: true, headers: { Strict-Transport-Security: max-age=60 } }\n",
    );
    let server = start(&folder).await;
    let client = Client::trusting(&authority);
    let answer = server.secure(&client).await.unwrap();
    assert!(answer.text.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
    assert!(
        answer
            .text
            .contains("strict-transport-security: max-age=60"),
        "{answer:?}"
    );
    assert_eq!(answer.version, ProtocolVersion::TLSv1_3);
    let older = client.speaking(&TLS12);
    let answer = server.secure(&older).await.unwrap();
    assert_eq!(answer.version, ProtocolVersion::TLSv1_2);
    // Who speaks plain HTTP is told so, and nothing else.
    let told = ask(server.plain().await, "/metrics", "").await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert!(told.ends_with("client sent an HTTP request to an HTTPS server\n"));
    let stranger = Client::trusting(&Authority::new("another"));
    server.secure(&stranger).await.unwrap_err();
}

#[tokio::test]
async fn versions_suites_and_curves_are_those_of_the_file() {
    let authority = Authority::new("ours");
    let older = folder(
        &authority,
        "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n  curve_preferences: [CurveP384]\n",
    );
    let server = start(&older).await;
    let answer = server.secure(&Client::trusting(&authority)).await.unwrap();
    assert_eq!(answer.version, ProtocolVersion::TLSv1_2);
    assert_eq!(
        answer.suite,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(answer.group, "secp384r1");
    server
        .secure(&Client::trusting(&authority).speaking(&TLS13))
        .await
        .unwrap_err();
    let newer = folder(&authority, "  min_version: TLS13\n");
    let server = start(&newer).await;
    server
        .secure(&Client::trusting(&authority).speaking(&TLS12))
        .await
        .unwrap_err();
    server.secure(&Client::trusting(&authority)).await.unwrap();
}

#[tokio::test]
async fn a_certificate_may_stand_in_the_file_itself() {
    let authority = Authority::new("ours");
    let (certificate, key) = authority.vouches_for("localhost");
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
    let server = Guarded::start(&web).await;
    server.secure(&Client::trusting(&authority)).await.unwrap();
}

#[tokio::test]
async fn clients_show_what_the_file_asks_for() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let plain = || Client::trusting(&ours);
    // For each kind: does nothing do, a stranger's certificate, ours?
    for (kind, nothing, strangers, known) in [
        ("NoClientCert", true, true, true),
        ("RequestClientCert", true, true, true),
        ("RequireAnyClientCert", false, true, true),
        ("RequireClientCert", false, true, true),
        ("VerifyClientCertIfGiven", true, false, true),
        ("RequireAndVerifyClientCert", false, false, true),
    ] {
        let ca = match kind {
            "VerifyClientCertIfGiven" | "RequireAndVerifyClientCert" => {
                "  client_ca_file: ca.crt\n"
            }
            _ => "",
        };
        let folder = folder(&ours, &format!("  client_auth_type: {kind}\n{ca}"));
        folder.write("ca.crt", &ours.pem());
        let server = start(&folder).await;
        for version in [&TLS12, &TLS13] {
            for (client, welcome) in [
                (plain(), nothing),
                (plain().showing(theirs.vouches_for("prometheus")), strangers),
                (plain().showing(ours.vouches_for("prometheus")), known),
            ] {
                let shown = client.shows.is_some();
                let answer = server.secure(&client.speaking(version)).await;
                assert_eq!(answer.is_ok(), welcome, "{kind} {shown}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_clients_with_an_allowed_name_are_let_in() {
    let authority = Authority::new("ours");
    let folder = folder(
        &authority,
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.example, 192.0.2.7]\n",
    );
    folder.write("ca.crt", &authority.pem());
    let server = start(&folder).await;
    for (name, welcome) in [
        ("prometheus.example", true),
        ("192.0.2.7", true),
        ("other.example", false),
    ] {
        let client = Client::trusting(&authority).showing(authority.vouches_for(name));
        assert_eq!(server.secure(&client).await.is_ok(), welcome, "{name}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_counts_from_the_next_handshake() {
    let authority = Authority::new("ours");
    let folder = folder(&authority, "");
    let server = start(&folder).await;
    let client = Client::trusting(&authority);
    let first = server.secure(&client).await.unwrap().certificate;
    let (certificate, key) = authority.vouches_for("localhost");
    // Half-way through, certificate and key do not fit: the old ones stand.
    folder.write("server.crt", &certificate);
    assert_eq!(server.secure(&client).await.unwrap().certificate, first);
    folder.write("server.key", &key);
    assert_ne!(server.secure(&client).await.unwrap().certificate, first);
    folder.write("web.yaml", "tls_server_config: { cert_file: gone.crt }\n");
    server.secure(&client).await.unwrap();
}

#[tokio::test]
async fn who_never_says_hello_is_hung_up_on() {
    let authority = Authority::new("ours");
    let folder = folder(&authority, "");
    let server = start(&folder).await;
    let mut silent = server.plain().await;
    let begun = Instant::now();
    let closed = timeout(PATIENCE, silent.read(&mut [0])).await;
    assert_eq!(closed.expect("hung up").unwrap_or(0), 0);
    assert!(begun.elapsed() > Duration::from_secs(5));
}
