//! Basic authentication, and reloads of users and passwords.

use super::{Folder, GuardedServer, LOW_BCRYPT_COST};

/// Credentials `alice:open` and `alice:shut`.
const ALICE_OPEN: &str = "Authorization: Basic YWxpY2U6b3Blbg==\r\n";
const ALICE_SHUT: &str = "Authorization: Basic YWxpY2U6c2h1dA==\r\n";

fn users(password: &str) -> String {
    let hash = bcrypt::hash(password, LOW_BCRYPT_COST).unwrap();
    format!("basic_auth_users:\n  alice: {hash}\n")
}

#[tokio::test]
async fn all_paths_require_credentials() {
    let folder = Folder::new();
    let server = GuardedServer::start(&folder.write("web.yaml", &users("open"))).await;
    for path in [
        "/",
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/none",
    ] {
        let refused = server.get(path, "").await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{path}: {refused}");
        assert!(refused.contains("www-authenticate: Basic"), "{refused}");
        let refused = server.get(path, ALICE_SHUT).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{path}: {refused}");
        assert!(!refused.contains("acme"), "{refused}");
    }
    let response = server.get("/metrics", ALICE_OPEN).await;
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
}

#[tokio::test]
async fn changed_password_applies_to_next_connection() {
    let folder = Folder::new();
    let web = folder.write("web.yaml", &users("open"));
    let server = GuardedServer::start(&web).await;
    assert!(server.get("/metrics", ALICE_OPEN).await.contains("200 OK"));
    folder.write("web.yaml", &users("shut"));
    assert!(server.get("/metrics", ALICE_OPEN).await.contains(" 401 "));
    assert!(server.get("/metrics", ALICE_SHUT).await.contains("200 OK"));
    // An invalid file does not disable authentication.
    folder.write("web.yaml", "basic_auth_user: {}\n");
    assert!(server.get("/metrics", "").await.contains(" 401 "));
    assert!(server.get("/metrics", ALICE_SHUT).await.contains("200 OK"));
}

#[tokio::test]
async fn configured_headers_and_rate_limit_apply() {
    let folder = Folder::new();
    let web = "http_server_config: { headers: { X-Frame-Options: deny, Content-Security-Policy: default-src 'self' } }\nrate_limit: { interval: 1h, burst: 2 }\n";
    let server = GuardedServer::start(&folder.write("web.yaml", web)).await;
    let response = server.get("/", "").await;
    assert!(response.contains("x-frame-options: deny"), "{response}");
    assert_eq!(response.matches("content-security-policy").count(), 1);
    assert!(server.get("/", "").await.contains("200 OK"));
    let refused = server.get("/", "").await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
}
